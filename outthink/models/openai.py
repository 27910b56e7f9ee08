"""Any OpenAI-compatible server as a model: vLLM, SGLang, llama.cpp, Ollama, hosted APIs.

No hidden cap on the calls in flight; time limits are on; a cancelled call closes its connection.  What
a server can do is learned once: whether it honours ``n``, which name it gives ``max_tokens``, whether
it continues a prefix.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import anyio
import numpy as np

from outthink.core.budget import Meter, Price, Reservation, Usage
from outthink.core.errors import (
    BadInput,
    BudgetExhausted,
    Malformed,
    ModelError,
    NoSuchModel,
    Refused,
    TimedOut,
    Unreachable,
)
from outthink.core.model import (
    LOGPROBS,
    PREFIX,
    SEEDS,
    Generation,
    Reply,
    Request,
    falling,
    prompt_tokens,
)
from outthink.core.nouns import Floats, Message, text_of
from outthink.core.registry import fallback, register
from outthink.models._server import (
    DEFAULT_URL,
    Address,
    Endpoint,
    Server,
    configured,
    count,
    estimate_chat,
    estimate_tokens,
    uncounted,
)
from outthink.models._wire import Transport
from outthink.models.prices import price_of

#: the probe of prefix continuation: a chat, the beginning of its answer, and how much may follow
COUNT: Message = {"role": "user", "content": "Count from 1 to 20, separated by commas."}
PROBE = "1, 2, 3, 4, 5, 6, 7,"
PROBE_TOKENS = 8
PrefixMode = Literal["auto", "continue", "prefix", "completions", "none"]


class Unusable(ModelError):
    """A server answers a probe with what cannot be read."""


@register("model", "openai")
@dataclass(frozen=True)
class OpenAI:
    """A model behind an OpenAI-compatible server.

    ``base_url``: default ``OPENAI_BASE_URL``, else OpenAI's own.  ``api_key_env`` names the variable
    that holds the key; a server on this machine needs none.  ``prefix``: how the server continues an
    answer begun (``auto`` probes it when a strategy needs it).  ``seeds``: send each sample its own
    seed, one call a sample.  ``stream``: read the answer as it is written, so that stop strings and
    cancellation end it at once.  ``usd_prompt`` and ``usd_completion`` (per million tokens) and
    ``parameters`` (for FLOPs) go before the price table.
    """

    name: str
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    prefix: PrefixMode = "auto"
    stream: bool = False
    seeds: bool = False
    max_tokens: int = 1024
    retries: int = 4
    connect_seconds: float = 5.0
    read_seconds: float = 120.0
    usd_prompt: float | None = None
    usd_completion: float | None = None
    parameters: float = 0.0

    def __post_init__(self) -> None:
        if not self.name:
            raise BadInput("openai: the model's name is empty")
        if self.max_tokens < 1:
            raise BadInput(f"openai: max_tokens={self.max_tokens} must be at least 1")
        self.address.check("openai")

    @property
    def address(self) -> Address:
        """Where the server is and how it is asked."""
        return Address(
            self.base_url, self.api_key_env, self.retries, self.connect_seconds, self.read_seconds
        )

    def open(
        self, transport: Transport | None = None, *, endpoints: Sequence[Endpoint] = ()
    ) -> OpenAIModel:
        """The running model; ``transport`` is a seam for tests.

        With ``endpoints`` it stands behind several servers, which are asked instead of ``base_url``
        with keys of their own: nothing is read from the environment by ``api_key_env``.
        """
        return OpenAIModel(self, transport, endpoints)

    @staticmethod
    def usable() -> tuple[bool, str]:
        """Is there a key or an address in the environment?"""
        return configured()

    #: what a server may be able to do, for lists; an opened model says what its server can
    can = (LOGPROBS, f"{PREFIX} (where a probe finds it)", f"{SEEDS} (with seeds=true)")


def from_name(name: str) -> OpenAI:
    """A bare unknown model name is a model of the default server."""
    return OpenAI(name)


fallback("model", from_name)


class OpenAIModel:
    """The live client."""

    def __init__(
        self, spec: OpenAI, transport: Transport | None, endpoints: Sequence[Endpoint] = ()
    ) -> None:
        self.spec = spec
        self.server = Server(spec.address, spec.name, transport, endpoints)
        self.host = self.server.host
        # where a model's servers may change, its name alone tells it from others in the store
        usual = bool(endpoints) or self.server.endpoints[0].base == DEFAULT_URL
        self.name = spec.name if usual else f"{spec.name}@{self.server.place}"
        self.max_tokens = spec.max_tokens
        self.native_n = not spec.seeds
        self.capabilities = frozenset({LOGPROBS} | ({SEEDS} if spec.seeds else set()))
        if spec.prefix not in ("auto", "none"):
            self.capabilities |= {PREFIX}
        self._mode: str = spec.prefix if spec.prefix != "auto" else "none"
        self._limit_name, self._hot, self._stream_usage = "max_tokens", True, True
        self._probed = False
        listed = price_of(spec.name)
        known = listed or Price()
        #: limits of a budget that cannot hold, and why
        unpriced = listed is None and (spec.usd_prompt is None or spec.usd_completion is None)
        missing = "usd_prompt= and usd_completion=" if unpriced else ""
        self.uncounted = uncounted(spec.name, missing, spec.parameters)
        self.hints = {
            PREFIX: "the probe found no way to continue a prefix: if the server has one, say so "
            "with prefix=continue, prefix or completions",
            SEEDS: "write seeds=true if the server honours them",
        }
        self.price = Price(
            known.prompt if spec.usd_prompt is None else spec.usd_prompt,
            known.completion if spec.usd_completion is None else spec.usd_completion,
            known.cached if spec.usd_prompt is None else None,
            2.0 * spec.parameters,
        )

    def __repr__(self) -> str:
        return f"OpenAIModel({self.name!r})"

    def count_tokens(self, messages: Sequence[Message], prefix: str = "") -> int:
        """An upper estimate, the chat's template included; 1,100 for an image."""
        return estimate_chat(messages) + (estimate_tokens(prefix) if prefix else 0)

    async def prepare(self, needs: frozenset[str], meter: Meter) -> None:
        """Find out, once, whether the server continues a prefix, when a strategy needs it.

        It must go on counting where the probe stops: a server that ignores the wish starts anew.  The
        probe (at most three calls of ``PROBE_TOKENS``) is charged to ``meter``.

        Raises ``BadInput`` when the budget leaves no room for it, ``ModelError`` when the server
        cannot be reached at all.
        """
        if PREFIX not in needs or self._probed or self.spec.prefix != "auto":
            return
        request = Request((COUNT,), prefix=PROBE, max_tokens=PROBE_TOKENS, temperature=0.0)
        prompt = prompt_tokens(self, request.messages, request.prefix)
        for mode in ("continue", "prefix", "completions"):
            try:
                ticket = meter.reserve(self.price.usage(prompt, PROBE_TOKENS))
            except BudgetExhausted as error:
                raise BadInput(
                    f"the budget of {error.limit} leaves no room to find out whether {self.name} "
                    f'continues a prefix: say so with openai({self.spec.name!r}, prefix="continue") '
                    "('prefix' or 'completions', as the server has it), or raise the budget"
                ) from None
            with anyio.move_on_after(min(meter.deadline(), self.spec.read_seconds)):
                if await self._continues(mode, request, ticket):
                    self._mode = mode
                    self.capabilities |= {PREFIX}
                    break
                continue
            if meter.deadline() <= 0:
                return  # the run ends at once, and nothing is known
            raise TimedOut(f"{self.host}: no answer to a probe in time")
        self._probed = True

    async def _continues(self, mode: str, request: Request, ticket: Reservation) -> bool:
        """Does the server go on where the probe stops, if it is asked in this way?"""

        async def once(asked: Request) -> Reply:
            path, body = self._path(asked, mode), self._body(asked, mode)
            data = await self.server.post(path, body, PROBE_TOKENS)
            ticket.partial = self._used(data)
            try:
                return self._reply(data, asked)
            except Malformed as error:
                # it has this endpoint, and what it says there is of no use
                raise Unusable(str(error)) from None

        try:
            reply = await self._insist(request, ticket, once)
        except (Refused, NoSuchModel, Malformed, Unusable) as error:
            ticket.settle(ticket.partial or Usage(calls=1))
            if isinstance(error, NoSuchModel) and mode != "completions":
                raise
            return False
        except BaseException:
            ticket.settle(ticket.partial or replace(ticket.cost, estimated=True))
            raise
        ticket.settle(reply.usage)
        return reply.generations[0].text.lstrip(" ,").startswith("8")

    @property
    def _dress(self) -> tuple[Any, ...]:
        """What was learned of the server so far, and shapes a body."""
        return self._limit_name, self._hot, self._stream_usage

    async def generate(self, request: Request, ticket: Reservation) -> Reply:
        """Answer a request, with retries; raises the ``ModelError`` of its cause."""
        return await self._insist(request, ticket, lambda asked: self._once(asked, ticket))

    async def _insist(
        self, request: Request, ticket: Reservation, once: Callable[[Request], Awaitable[Reply]]
    ) -> Reply:
        """Ask ``once``, and again where the server failed or wants the request in another dress."""
        asked, sent = request, self._dress

        async def attempt() -> Reply:
            nonlocal sent
            sent = self._dress
            return await once(asked)

        def adapt(said: str) -> bool:
            nonlocal asked
            changed = self._adapt(said, asked, sent)
            asked = changed or asked
            return changed is not None

        before = self._limit_name, self._hot, self._stream_usage, self.native_n
        try:
            return await self.server.insist(ticket, attempt, adapt)
        except Refused:
            # what was learned did not help: it was something else that a server repeats of a request
            if asked is not request or self._dress != before[:3]:
                self._limit_name, self._hot, self._stream_usage, self.native_n = before
            raise

    def _adapt(self, message: str, request: Request, sent: tuple[Any, ...]) -> Request | None:
        """Learn from a refusal of what was ``sent``; the request to send instead, or ``None``.

        A call beside this one may have learned it first: then the next body differs all the same.
        """
        low = message.lower()
        if "max_completion_tokens" in low:
            self._limit_name = "max_completion_tokens"
        elif "temperature" in low and request.temperature <= 2:  # more than that hardly any takes
            self._hot = False
        elif "stream_options" in low:
            self._stream_usage = False
        if self._dress != sent:
            return request
        words = low.replace("'", " ").replace('"', " ").replace("`", " ").replace("=", " ").split()
        if request.n > 1 and "n" in words:
            self.native_n = False
            return replace(request, n=1, seeds=request.seeds[:1])
        return None

    def _body(self, request: Request, mode: str) -> dict[str, Any]:
        messages = [dict(m) for m in request.messages]
        body: dict[str, Any] = {"model": self.spec.name, self._limit_name: request.max_tokens}
        if self._hot:
            body["temperature"] = request.temperature
            if request.top_p < 1.0:
                body["top_p"] = request.top_p
        if request.top_k:
            body["top_k"] = request.top_k
        if request.n > 1:
            body["n"] = request.n
        if request.stop:
            body["stop"] = list(request.stop)
        if request.seeds and self.spec.seeds and request.n == 1:
            body["seed"] = request.seeds[0]
        if request.logprobs:
            plain = mode == "completions" and request.prefix
            body["logprobs"] = max(request.top_logprobs, 1) if plain else True
            if request.top_logprobs and not plain:
                body["top_logprobs"] = request.top_logprobs
        if request.logit_bias:
            body["logit_bias"] = {str(k): v for k, v in request.logit_bias.items()}
        if request.tools:
            body["tools"] = [dict(t) for t in request.tools]
        body = {**body, **request.extra, **_own_wishes(body, request.extra)}
        if not request.prefix:
            body["messages"] = messages
            return body
        if mode == "completions":
            spoken = "".join(f"{m['role']}: {m.get('content') or ''}\n" for m in messages)
            body["prompt"] = f"{spoken}assistant: {request.prefix}"
            return body
        begun: dict[str, Any] = {"role": "assistant", "content": request.prefix}
        if mode == "prefix":
            begun["prefix"] = True
        else:
            body.update({"continue_final_message": True, "add_generation_prompt": False})
        body["messages"] = [*messages, begun]
        return body

    def _path(self, request: Request, mode: str) -> str:
        plain = bool(request.prefix) and mode == "completions"
        return "/completions" if plain else "/chat/completions"

    async def _once(self, request: Request, ticket: Reservation) -> Reply:
        body = self._body(request, self._mode)
        path = self._path(request, self._mode)
        # what a stream does not carry in pieces that are read here is asked for whole
        whole = request.tools or request.logprobs or _wants_logprobs(request)
        if self.spec.stream and request.n == 1 and not whole:
            return await self._streamed(path, body, request, ticket)
        data = await self.server.post(path, body, request.max_tokens * request.n)
        # should the answer be of no use, it costs what the server says all the same
        ticket.partial = self._used(data)
        reply = self._reply(data, request)
        ticket.partial = None
        return reply

    def _used(self, data: Any) -> Usage | None:
        """What a body says it cost, if it says so."""
        usage = data.get("usage") if isinstance(data, dict) else None
        prompt, written = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
        if prompt is None or written is None:
            return None
        cached, reasoning = _details(usage)
        return self.price.usage(prompt, written, cached=cached, reasoning=reasoning)

    async def _streamed(
        self, path: str, body: dict[str, Any], request: Request, ticket: Reservation
    ) -> Reply:
        """Read server-sent events; stop strings end the connection, cancellation is charged as seen.

        A piece is a token or more: a server that goes on beyond ``max_tokens`` pieces is cut off.
        """
        body = {**body, "stream": True}
        if self._stream_usage:
            body["stream_options"] = {"include_usage": True}
        text, finish, usage = "", None, None
        said, stopped_by = dict[str, Any](), dict[str, Any]()
        prompt = prompt_tokens(self, request.messages, request.prefix, request.tools)
        ticket.partial = replace(self.price.usage(prompt, 0), estimated=True)
        seen = 0
        events = self.server.events(path, body, request.max_tokens)
        async with contextlib.aclosing(events):
            async for event in events:
                usage = event.get("usage") or usage
                for choice in self._choices(event):
                    piece, more = _content(choice, "delta") or ("", {})
                    # a server may repeat the prefix, which is none of what it wrote
                    echo = bool(piece) and not more and request.prefix.startswith(text + piece)
                    text += piece
                    seen += bool(piece or more) and not echo
                    for name, value in more.items():
                        joins = isinstance(value, (str, list)) and type(said.get(name)) is type(
                            value
                        )
                        said[name] = said[name] + value if joins else value
                    finish = choice.get("finish_reason") or finish
                    if "stop_reason" in choice:
                        stopped_by = {"stop_reason": choice["stop_reason"]}
                ticket.partial = replace(self.price.usage(prompt, max(seen, 1)), estimated=True)
                if seen > request.max_tokens:
                    finish = "length"
                    break
                # nor are the prefix's own stop strings
                fresh = text.removeprefix(request.prefix)
                echoing = bool(request.prefix) and request.prefix.startswith(text)
                if not echoing and any(stop in fresh for stop in request.stop):
                    finish = finish or "stop"
                    break
        if finish is None:
            raise Unreachable(f"{self.host}: the stream broke off")
        whole = {"message": {"content": text, **said}, "finish_reason": finish, **stopped_by}
        written = count(usage, "completion_tokens")
        less = written is not None and written < seen
        if less and isinstance(usage, dict):
            usage = {**usage, "completion_tokens": seen}
        reply = self._reply({"choices": [whole], "usage": usage}, request)
        ticket.partial = None
        if less or seen > reply.usage.completion_tokens:
            most = max(seen, reply.usage.completion_tokens)
            reply = replace(
                reply,
                usage=self.price.usage(
                    reply.usage.prompt_tokens,
                    most,
                    cached=reply.usage.cached_tokens,
                    reasoning=reply.usage.reasoning_tokens,
                    estimated=True,
                ),
                generations=(replace(reply.generations[0], tokens=most),),
            )
        return reply

    def _choices(self, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The choices in an event of a stream."""
        choices = event.get("choices") or []
        if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
            raise Malformed(f"{self.host}: an event in the stream with broken choices")
        return choices

    def _reply(self, data: Any, request: Request) -> Reply:
        """Read a body in OpenAI's form; what is missing or impossible is estimated and said."""
        try:
            return self._read(data, request)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            told = self.server.clean(f"{type(error).__name__}: {error}")
            raise Malformed(f"{self.host}: an answer that cannot be read ({told})") from None

    def _read(self, data: Any, request: Request) -> Reply:
        if not isinstance(data, dict) or not isinstance(data.get("choices"), list):
            raise Malformed(f"{self.host}: an answer without choices")
        choices = [c for c in data["choices"] if isinstance(c, dict)]
        if len(choices) > 1 and isinstance(data.get("outthink"), dict):
            # another gateway's choices are its distinct answers, best first, and no draws
            self.native_n, choices = False, choices[:1]
        if not choices:
            raise Malformed(f"{self.host}: an answer without choices")
        if not any(map(_content, choices)):
            raise Malformed(f"{self.host}: an answer without content")
        generations = [self._generation(c, request) for c in choices]
        texts = {g.text for g in generations}
        notes: list[str] = []
        if len(generations) > 1 and len(texts) == 1 and request.temperature > 0:
            (same,) = texts
            if len(same) > 80:
                self.native_n = False
                notes.append(
                    f"{self.name} gave equal texts for n={request.n}: asked one by one now"
                )
                generations = generations[:1]
        # what a model thinks, or says beside the text, is written and paid for too
        wrote = [
            g.text + "".join(_written(k, v) for k, v in g.extra.items() if k in WRITTEN)
            for g in generations
        ]
        own = sum(
            # a generation's tokens are those of its logprobs, or this estimate already
            g.tokens if text == g.text else _own(text, request.max_tokens)
            for text, g in zip(wrote, generations, strict=True)
        )
        usage = data.get("usage") if isinstance(data.get("usage"), dict) else None
        prompt, written = count(usage, "prompt_tokens") or None, count(usage, "completion_tokens")
        wrong = prompt is None or written is None
        least = max(1, own // 16, self._least(generations, wrote, request))
        if written is not None and any(wrote) and written < least:
            wrong = True
            if len(generations) > 1:
                self.native_n = (
                    False  # some servers count the first of several: one by one they do not
                )
            notes.append(f"{self.name} misreports usage ({written} tokens for what it wrote)")
        if wrong or prompt is None or written is None:
            prompt = prompt_tokens(self, request.messages, request.prefix, request.tools)
            written = own
        cached, reasoning = _details(usage)
        total = self.price.usage(
            prompt, written, cached=cached, reasoning=reasoning, estimated=wrong
        )
        if len(generations) == 1:
            generations = [_counting(generations[0], written)]
        else:
            shares = np.array([max(g.tokens, 1) for g in generations], dtype=np.float64)
            cuts = np.floor(np.cumsum(shares) / shares.sum() * written + 1e-9)
            counts = np.diff(np.concatenate([[0.0], cuts]))
            generations = [_counting(g, int(t)) for g, t in zip(generations, counts, strict=True)]
        return Reply(tuple(generations), total, tuple(notes))

    @staticmethod
    def _least(generations: Sequence[Generation], wrote: Sequence[str], request: Request) -> int:
        """Fewer tokens than this the texts cannot have: nearly every word is one or more."""
        total = 0
        for g, text in zip(generations, wrote, strict=True):
            words = 3 * len(text.split()) // 4
            if g.logprob is not None and len(generations) > 1:
                words = max(words, g.tokens)
            total += max(words, request.max_tokens) if g.finish == "length" and words else words
        return total

    def _generation(self, choice: Mapping[str, Any], request: Request) -> Generation:
        raw, extra = _content(choice) or ("", {})
        text = raw
        if request.prefix and text.startswith(request.prefix):
            text = text[len(request.prefix) :]
        finish = str(choice.get("finish_reason") or "stop")
        stopped_by: str | None = None
        hits = [(text.find(s), s) for s in request.stop if s in text]
        if hits:
            cut, stopped_by = min(hits)
            text, finish = text[:cut], "step"
        elif finish == "stop" and request.stop:
            reason = choice.get("stop_reason", ...)
            if isinstance(reason, str) and reason:
                finish, stopped_by = "step", reason
            elif reason is ...:
                finish = "unknown"
        logprobs, tops = None, None
        entries = choice.get("logprobs")
        if isinstance(entries, dict):
            content = entries.get("content")
            values = (
                [e["logprob"] for e in content] if content else entries.get("token_logprobs") or []
            )
            values = [float(v) for v in values if v is not None]
            if _wants_logprobs(request):
                extra["logprobs"] = entries
            logprobs = np.array(values) if values else None
            tops = _tops(entries, request.top_logprobs)
        tokens = len(logprobs) if logprobs is not None else _own(text, request.max_tokens)
        return Generation(
            text,
            tokens,
            finish,
            stopped_by,
            float(logprobs.sum()) if logprobs is not None else None,
            logprobs if request.logprobs else None,
            extra,
            tops,
        )

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self.server.aclose()


def _tops(entries: Mapping[str, Any], k: int) -> Floats | None:
    """The ``k`` largest log-probabilities of each place, falling; -inf where the server gave fewer."""
    content = entries.get("content")
    if content:
        rows = [[float(t["logprob"]) for t in e.get("top_logprobs") or ()] for e in content]
    else:  # of the completions endpoint: a mapping of tokens for each place
        rows = [
            [float(v) for v in (place or {}).values()]
            for place in entries.get("top_logprobs") or ()
        ]
    return falling(rows, k) if k and any(rows) else None


def _counting(g: Generation, tokens: int) -> Generation:
    """The generation with its share of the counted tokens; ``replace`` takes ten times as long."""
    return Generation(
        g.text, tokens, g.finish, g.stopped_by, g.logprob, g.logprobs, g.extra, g.top_logprobs
    )


def _own(text: str, max_tokens: int) -> int:
    """Our upper estimate of a text that may have ``max_tokens``: more only where its words are more."""
    return min(estimate_tokens(text), max(max_tokens, len(text.split())))


def _own_wishes(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """What a strategy sets for its own samples, which the caller's wish for all does not overwrite."""
    own = {k: body[k] for k in ("seed", "stop", "logprobs", "top_logprobs") if k in body}
    if "stop" in own:
        also = extra.get("stop") or ()
        also = (also,) if isinstance(also, str) else also
        own["stop"] = list(dict.fromkeys((*own["stop"], *also)))
    if "top_logprobs" in own:
        own["top_logprobs"] = max(own["top_logprobs"], extra.get("top_logprobs") or 0)
    return own


def _details(usage: Any) -> tuple[int, int]:
    """The tokens of a prompt that were read before, and those of an answer that were thought."""
    read = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    wrote = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    return count(read, "cached_tokens") or 0, count(wrote, "reasoning_tokens") or 0


def _wants_logprobs(request: Request) -> bool:
    """Does the caller, and not only a strategy, want the log-probabilities as the server says them?"""
    return request.extra.get("logprobs") not in (None, False)


#: what a message may hold beside its text and was written token by token, and what else
WRITTEN = ("refusal", "tool_calls", "function_call", "reasoning_content", "reasoning")
BESIDE = (*WRITTEN, "reasoning_details", "annotations", "audio")


def _written(name: str, value: Any) -> str:
    """What a model wrote of a field beside the text: of a call its name and its arguments."""
    if name not in ("tool_calls", "function_call"):
        return str(value)
    out: list[str] = []
    for call in value if isinstance(value, list) else [{"function": value}]:
        for held in call.values() if isinstance(call, dict) else ():
            if isinstance(held, dict):
                told = (held.get(k) for k in ("name", "arguments", "input"))
                out += [v for v in told if isinstance(v, str)]
    return " ".join(out)


def _content(choice: Mapping[str, Any], name: str = "message") -> tuple[str, dict[str, Any]] | None:
    """The text of a choice and what it holds besides; ``None`` for one without either."""
    message = choice.get(name)
    if not isinstance(message, dict):
        message = choice.get("message")
    if not isinstance(message, dict):
        message = {}
    raw = message.get("content", choice.get("text"))
    if isinstance(raw, list):
        raw = "".join(text_of([part]) for part in raw)
    extra = {k: message[k] for k in BESIDE if message.get(k)}
    return (raw if isinstance(raw, str) else "", extra) if isinstance(raw, str) or extra else None
