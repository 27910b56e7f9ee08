"""Chat completions: what a client asked for, and the answer of a run in OpenAI's form.

Whatever the client sent goes on: what the gateway itself reads (the model, the strategy, ``n``,
``stream``, limits and temperature) is taken out, tools and messages become the problem, and every
other field, known or not, goes with each call that writes a candidate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from outthink.core.budget import Budget, Usage
from outthink.core.errors import BadInput, nearest
from outthink.core.nouns import Answer, Problem, Sample
from outthink.gateway.errors import Fault, wrong
from outthink.gateway.reader import cut

#: fields of a request that the gateway reads, and no call repeats as they are
OWN = frozenset(
    (
        "model", "messages", "stream", "stream_options", "n", "seed", "tools", "max_tokens",
        "max_completion_tokens", "temperature", "outthink",
    )
)  # fmt: skip
#: fields that decide what is asked and what it may cost
SPENT = frozenset((*OWN, "best_of", "prompt", "input", "max_output_tokens"))
#: what the ``outthink`` object of a request may hold
OPTIONS = ("strategy", "budget", "trace", "progress")
#: choices of one answer at most, as OpenAI has it
MOST = 128
#: characters of a model's name, and of a strategy's spec, at most
LONGEST = 4096
#: characters of a piece of a streamed answer, about
PIECE = 48


@dataclass(frozen=True)
class Options:
    """How the client wants its answer to be found."""

    strategy: str | None = None
    budget: Budget | None = None
    trace: bool = False
    progress: bool = False


@dataclass(frozen=True)
class Asked:
    """A request for a chat completion; ``body`` is as it came, less the ``outthink`` object."""

    body: Mapping[str, Any]
    model: str
    options: Options = field(default_factory=Options)
    stream: bool = False
    include_usage: bool = False
    n: int = 1
    seed: int | None = None
    #: is the body just what came, so that its bytes can go on as they are?
    whole: bool = True

    @property
    def max_tokens(self) -> int | None:
        """The most that one sample may have, in tokens."""
        given = [self.body.get(name) for name in ("max_completion_tokens", "max_tokens")]
        return min((g for g in given if g), default=None)  # 0 is none, as clients send it

    @property
    def temperature(self) -> float | None:
        """The temperature, where it was sent."""
        found = self.body.get("temperature")
        return None if found is None else float(found)

    @property
    def stops(self) -> tuple[str, ...]:
        """The client's own stop strings."""
        found = self.body.get("stop")
        return (found,) if isinstance(found, str) else tuple(found or ())


def parse(body: Any, headers: Mapping[str, str]) -> Asked:
    """What a body asks for; raises ``Fault`` 400 that names the field."""
    if not isinstance(body, dict):
        raise Fault(400, "the body is no JSON object", code="invalid_json")
    model = body.get("model")
    if not isinstance(model, str) or not model.strip():
        raise Fault(400, "model is missing: write the name of a model", param="model")
    if len(model) > LONGEST:
        raise Fault(400, f"model is longer than {LONGEST:,} characters", param="model")
    for name in body:
        if name not in SPENT and name.lower() in SPENT:
            # servers in Go take it for the other, which was checked
            raise Fault(
                400,
                f"{name[:40]!r}: write it {name.lower()!r}",
                code="unknown_field",
                param=name[:40],
            )
    stream = _typed(body, "stream", bool, False)
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise wrong("stream_options", options, "an object")
    n = _typed(body, "n", int, 1)
    if not 1 <= n <= MOST:
        raise wrong("n", n, f"a whole number from 1 to {MOST}")
    seed = _typed(body, "seed", int, None)
    for name in ("max_tokens", "max_completion_tokens"):
        limit = _typed(body, name, int, None)
        if limit is not None and limit < 0:
            raise wrong(name, limit, "at least 0, where 0 is no limit")
    temperature = _typed(body, "temperature", (int, float), None)
    if temperature is not None and not 0 <= temperature <= 2:
        raise wrong("temperature", temperature, "a number from 0 to 2")
    if "messages" in body:  # a text completion asks for a number of them
        _typed(body, "logprobs", bool, None)
    top = _typed(body, "top_logprobs", int, None)
    if top is not None and not 0 <= top <= 128:
        raise wrong("top_logprobs", top, "a whole number from 0 to 20")
    stop = body.get("stop")
    listed = isinstance(stop, list) and all(isinstance(s, str) for s in stop)
    if stop is not None and not isinstance(stop, str) and not listed:
        raise wrong("stop", stop, "a text or a list of texts")
    given = body.get("outthink")
    whole = given is None
    if not whole:
        body = {k: v for k, v in body.items() if k != "outthink"}
    return Asked(
        body,
        model,
        _options(given, headers),
        stream,
        bool(options and options.get("include_usage")),
        n,
        seed,
        whole,
    )


def _typed(body: Mapping[str, Any], name: str, kind: Any, default: Any) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        words = {bool: "true or false", int: "a whole number"}
        raise wrong(name, value, words.get(kind, "a number"))
    return value


def _options(given: Any, headers: Mapping[str, str]) -> Options:
    """The ``outthink`` object of a body, else the headers for clients that can set nothing else."""
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise wrong("outthink", given, f"an object with {', '.join(OPTIONS)}")
    for name in given:
        if name not in OPTIONS:
            raise Fault(
                400,
                f"outthink has no field {str(name)[:60]!r}{nearest(str(name), OPTIONS)}",
                code="unknown_field",
                param=f"outthink.{str(name)[:60]}",
            )
    found = {**_from_headers(headers), **{k: v for k, v in given.items() if v is not None}}
    strategy = found.get("strategy")
    if isinstance(strategy, str) and len(strategy) > LONGEST:
        told = f"outthink.strategy is longer than {LONGEST:,} characters"
        raise Fault(400, told, code="invalid_strategy", param="outthink.strategy")
    if strategy is not None and not isinstance(strategy, str):
        raise wrong("outthink.strategy", strategy, "a text such as 'self_consistency(n=8)'")
    for name in ("trace", "progress"):
        if not isinstance(found.get(name, False), bool):
            raise wrong(f"outthink.{name}", found[name], "true or false")
    return Options(
        strategy,
        _budget(found.get("budget")),
        found.get("trace", False),
        found.get("progress", False),
    )


def _from_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for header in headers:
        name = header.removeprefix("x-outthink-")
        if name != header and name not in OPTIONS:
            raise Fault(
                400,
                f"no header x-outthink-{name[:60]}{nearest(name, OPTIONS)}",
                code="unknown_field",
                param=header[:80],
            )
    for name in OPTIONS:
        value = headers.get(f"x-outthink-{name}")
        if value is None:
            continue
        if name in ("trace", "progress"):
            words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
            out[name] = words.get(value.strip().lower(), value)
        else:
            out[name] = value
    return out


def _budget(value: Any) -> Budget | None:
    if value is None:
        return None
    try:
        if isinstance(value, str):
            return Budget.parse(value)
        if isinstance(value, dict) and all(isinstance(k, str) for k in value):
            known = [limit.name for limit in fields(Budget)]
            for name in value:
                if name not in known:
                    raise BadInput(f"unknown limit {name[:40]!r}{nearest(name, known)}")
            return Budget(**value)
    except BadInput as error:
        raise Fault(400, str(error), code="invalid_budget", param="outthink.budget") from None
    raise wrong("outthink.budget", value, "a text such as 'tokens=20k, seconds=30', or an object")


# -- to a problem --------------------------------------------------------------------------------


def problem_of(asked: Asked, meta: Mapping[str, Any]) -> Problem:
    """The chat as a problem; raises ``Fault`` 400 for messages that are none."""
    messages = asked.body.get("messages")
    if not isinstance(messages, list):
        raise wrong("messages", messages, "a list of messages")
    functions = asked.body.get("functions") or []
    if not isinstance(functions, list):
        raise wrong("functions", functions, "a list of functions")
    tools = asked.body.get("tools") or ()
    if not isinstance(tools, (list, tuple)) or not all(isinstance(t, dict) for t in tools):
        raise wrong("tools", tools, "a list of tools")
    try:
        return Problem(tuple(messages), tools=tuple(tools), meta=dict(meta))
    except BadInput as error:
        raise Fault(400, str(error), code="invalid_messages", param="messages") from None


#: what a bundled model heeds of a request, and what means nothing to it or is heeded elsewhere
HEEDED = ("top_p", "top_k")
ASIDE = frozenset(
    (
        "stop", "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
        "response_format", "tool_choice", "parallel_tool_calls", "function_call", "modalities",
    )
)  # fmt: skip


def own_params_of(asked: Asked) -> tuple[dict[str, Any], list[str]]:
    """``params_of`` for a bundled model, which reads no fields: what it heeds, and notes of the rest."""
    out = params_of(asked)
    extra = out.pop("extra")
    out |= {k: extra[k] for k in HEEDED if k in extra}
    try:
        bias = {int(k): float(v) for k, v in (extra.get("logit_bias") or {}).items()}
    except (AttributeError, TypeError, ValueError):
        raise wrong(
            "logit_bias", extra["logit_bias"], "an object of token ids and numbers"
        ) from None
    if bias:
        out["logit_bias"] = bias
    rest = [
        k for k, v in extra.items() if k not in (*HEEDED, "logit_bias") and k not in ASIDE and v
    ]
    notes = [f"this bundled model does not know {', '.join(sorted(rest))[:200]}"] if rest else []
    return out, notes


def params_of(asked: Asked) -> dict[str, Any]:
    """The request parameters that go with every call for a candidate."""
    extra = {k: v for k, v in asked.body.items() if k not in OWN and v is not None}
    kinds = asked.body.get("modalities") or ()
    if not isinstance(kinds, (list, tuple)):
        raise wrong("modalities", kinds, "a list of names")
    if "audio" in kinds:
        raise Fault(
            400,
            "modalities: a strategy answers in text; ask for audio without a strategy",
            code="unsupported",
            param="modalities",
        )
    out: dict[str, Any] = {"extra": extra}
    if asked.max_tokens is not None:
        out["max_tokens"] = asked.max_tokens
    return out


# -- the answer ----------------------------------------------------------------------------------


def usage_of(usage: Usage) -> dict[str, Any]:
    """A usage in OpenAI's form: the sum over all calls."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def facts_of(answer: Answer) -> dict[str, Any]:
    """The ``outthink`` object of an answer."""
    usage = answer.usage
    return {
        "run": answer.run,
        "strategy": answer.strategy,
        "model": answer.model,
        "answer": answer.answer,
        "confidence": answer.confidence,
        "stopped": answer.stopped,
        "calls": usage.calls,
        "stored_calls": usage.stored_calls,
        "samples": len(answer.candidates),
        "usd": usage.usd,
        "seconds": round(usage.seconds, 4),
        "estimated": usage.estimated,
        "notes": list(answer.notes),
    }


def choice_of(
    index: int, text: str, sample: Sample | None, stops: Sequence[str] = ()
) -> dict[str, Any]:
    """One choice: the text with all that came with its sample (tool calls, reasoning, logprobs)."""
    extra = dict(sample.extra) if sample is not None else {}
    logprobs = extra.pop("logprobs", None)
    ended = cut(text, stops)
    finish = "stop" if sample is None or ended != text else sample.finish
    if finish in ("step", "root", "unknown"):
        finish = "stop"
    if extra.get("tool_calls"):
        finish = "tool_calls"
    message: dict[str, Any] = {"role": "assistant", "content": ended, "refusal": None}
    if not ended and (extra.get("tool_calls") or extra.get("function_call")):
        message["content"] = None
    message |= extra
    return {"index": index, "message": message, "finish_reason": finish, "logprobs": logprobs}


def completion(
    run: str, created: int, model: str, choices: Sequence[Mapping[str, Any]], answer: Answer
) -> dict[str, Any]:
    """The whole body of an answer."""
    return {
        "id": f"chatcmpl-{run}",
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": list(choices),
        "usage": usage_of(answer.usage),
        "system_fingerprint": None,
        "outthink": facts_of(answer),
    }


_WORDS = re.compile(r"\S*\s*")


def pieces(text: str, size: int = PIECE) -> Iterator[str]:
    """The text in pieces of about ``size`` characters that end between words."""
    held = ""
    for word in _WORDS.findall(text):
        held += word
        if len(held) >= size:
            yield held
            held = ""
    if held:
        yield held


def chunks(done: Mapping[str, Any], include_usage: bool) -> Iterator[dict[str, Any]]:
    """The chunks of a stream whose answer is known."""
    head = {k: done[k] for k in ("id", "created", "model", "system_fingerprint")}
    head["object"] = "chat.completion.chunk"
    left = len(done["choices"])
    for choice in done["choices"]:
        left -= 1
        for delta, more in _deltas(choice):
            one = {"index": choice["index"], "delta": delta, "finish_reason": None, **more}
            # a chunk without choices would break clients that did not ask for one
            last = not left and one["finish_reason"] is not None
            yield {**head, "choices": [one], **({"outthink": done["outthink"]} if last else {})}
    if include_usage:
        yield {**head, "choices": [], "usage": done["usage"], "outthink": done["outthink"]}


def _deltas(choice: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    message = dict(choice["message"])
    text, calls = message.pop("content", None), message.pop("tool_calls", None)
    yield {"role": message.pop("role", "assistant"), "content": "" if text else None}, {}
    for name in ("reasoning_content", "reasoning"):
        thought = message.pop(name, None)
        for piece in pieces(thought) if isinstance(thought, str) else ():
            yield {name: piece}, {}
    refusal = message.pop("refusal", None)
    for piece in pieces(refusal) if isinstance(refusal, str) else ():
        yield {"refusal": piece}, {}
    rest = {k: v for k, v in message.items() if v is not None}
    if rest:
        yield rest, {}
    first: dict[str, Any] = {"logprobs": choice["logprobs"]} if choice.get("logprobs") else {}
    for piece in pieces(text or ""):
        yield {"content": piece}, first
        first = {}
    for place, call in enumerate(calls or ()):
        yield {"tool_calls": [{"index": place, **call}]}, {}
    yield {}, {"finish_reason": choice["finish_reason"], **first}
