"""Responses in OpenAI's newer form, from chat completions: one body, or the events of a stream.

A body is made as a stream of one chunk, so that both are the same to the last field.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from outthink.gateway.errors import Fault
from outthink.models._server import count

#: an SSE event: its name and its data
Event = tuple[str | None, dict[str, Any]]

#: service tiers that an answer may name
TIERS = ("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")
#: what a part of an item holds its text in
TEXTS = {"output_text": "text", "refusal": "refusal", "reasoning_text": "text"}
#: calls: how an id begins, the events of what is written, and the field that holds it
CALLS = {
    "function_call": ("fc", "response.function_call_arguments", "arguments"),
    "custom_tool_call": ("ctc", "response.custom_tool_call_input", "input"),
}
#: why a response is incomplete, by the reason for which the chat completion ended
CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}
#: fields of the request that an answer repeats as they are
REPEATED = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "temperature",
    "top_p",
    "user",
)


def from_chat(done: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """The response that a chat completion makes; ``body`` is the request as it came."""
    choice = _first(done) if isinstance(done, dict) else None
    if choice is None or not isinstance(choice.get("message"), dict):
        raise Fault(502, "the model's server gave no answer", code="upstream_malformed")
    message = dict(choice["message"])
    calls = message.get("tool_calls")
    calls = [c for c in calls if isinstance(c, dict)] if isinstance(calls, list) else []
    message["tool_calls"] = [{**call, "index": i} for i, call in enumerate(calls)]
    whole = {**choice, "delta": message, "finish_reason": choice.get("finish_reason") or "stop"}
    reply = _Reply(done, body)
    for _ in (*reply.take({**done, "choices": [whole]}), *reply.end()):
        pass  # what a stream would have told of it
    return reply.response()


async def events(
    chunks: AsyncIterator[dict[str, Any]], body: dict[str, Any]
) -> AsyncIterator[Event]:
    """The events of a stream, from the chunks of a chat completion, which are closed at the end.

    Nothing comes before the first chunk, so that what fails before it can still have a status of its
    own.  A chunk ``{"error": ...}`` ends the response as failed, and so does an end without a reason.
    """
    reply: _Reply | None = None
    try:
        async for chunk in chunks:
            if not isinstance(chunk, dict):
                continue
            if reply is None:
                reply = _Reply(chunk, body)
                for event in reply.begin():
                    yield event
            told = reply.fail(chunk["error"]) if chunk.get("error") else reply.take(chunk)
            for event in told:
                yield event
            if reply.status == "failed":
                return
        if reply is None:
            reply = _Reply({}, body)
            for event in reply.begin():
                yield event
        for event in reply.end():
            yield event
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


def _first(chunk: Mapping[str, Any]) -> dict[str, Any] | None:
    """The choice with index 0: a response is one answer."""
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and not choice.get("index"):
            return choice
    return None


@dataclass
class _Part:
    """A part of a message or of what was thought."""

    kind: str
    pieces: list[str] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)

    def body(self) -> dict[str, Any]:
        out: dict[str, Any] = {"type": self.kind, TEXTS[self.kind]: "".join(self.pieces)}
        if self.kind == "output_text":
            out |= {"annotations": [], "logprobs": list(self.logprobs)}
        return out


@dataclass
class _Item:
    """An item of the output; ``place`` is its index there, once it was told of."""

    kind: str
    parts: list[_Part] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    name: str = ""
    call: str = ""
    place: int = -1
    id: str = ""
    status: str = "in_progress"

    def body(self) -> dict[str, Any]:
        out: dict[str, Any] = {"id": self.id, "type": self.kind, "status": self.status}
        if self.kind in CALLS:
            written = CALLS[self.kind][2]
            out |= {"call_id": self.call, "name": self.name, written: "".join(self.pieces)}
        elif self.kind == "reasoning":
            out |= {"summary": [], "content": [part.body() for part in self.parts]}
        else:
            out |= {"role": "assistant", "content": [part.body() for part in self.parts]}
        return out


class _Reply:
    """A response that grows by chunks, and the events that tell of it.

    The message and the calls stay open to the end, as chunks may come back to them; thoughts are
    closed by whatever follows, and further ones are another item.
    """

    def __init__(self, first: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        given, created, model = first.get("id"), first.get("created"), first.get("model")
        named = isinstance(given, str) and given
        self.stem = str(given).removeprefix("chatcmpl-") if named else uuid.uuid4().hex
        number = isinstance(created, (int, float)) and not isinstance(created, bool)
        self.created = created if number else int(time.time())
        self.model = model if isinstance(model, str) else str(body.get("model") or "")
        self.asked, self.status, self.finish = body, "in_progress", ""
        self.output: list[_Item] = []
        self.calls: dict[int, _Item] = {}
        self.message: _Item | None = None
        self.thought: _Item | None = None
        #: the field that thoughts come in: some servers send the same in two
        self.field = ""
        #: log probabilities that came before the text which they are of
        self.logprobs: list[dict[str, Any]] = []
        self.usage: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.extra: dict[str, Any] = {}
        self.tier: str | None = None
        self.number = 0

    # -- what comes

    def begin(self) -> Iterator[Event]:
        for kind in ("response.created", "response.in_progress"):
            yield self._event(kind, response=self.response())

    def take(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """A chunk; one without choices or usage, such as that of a progress, tells nothing."""
        choice, usage = _first(chunk), chunk.get("usage")
        self.usage = usage if isinstance(usage, dict) else self.usage
        if isinstance(chunk.get("outthink"), dict) and (choice or usage):
            self.extra["outthink"] = chunk["outthink"]
        tier, finish = chunk.get("service_tier"), choice and choice.get("finish_reason")
        self.tier = str(tier) if tier in TIERS else self.tier
        self.finish = finish if isinstance(finish, str) else self.finish
        if choice is None:
            return
        delta = choice.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        for name in ("reasoning_content", "reasoning"):
            text = delta.get(name)
            if isinstance(text, str) and text and self.field in ("", name):
                self.field = name
                yield from self._thought(text)
        self.logprobs += _logprobs(choice.get("logprobs"))
        text = delta.get("content")
        if isinstance(text, list):  # parts, as some servers give them
            texts = [p.get("text") for p in text if isinstance(p, dict)]
            text = "".join(t for t in texts if isinstance(t, str))
        text = text if isinstance(text, str) else ""
        if text or (self.logprobs and self.message):
            yield from self._words("output_text", text)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            yield from self._words("refusal", refusal)
        calls = delta.get("tool_calls")
        for piece in calls if isinstance(calls, list) else ():
            if isinstance(piece, dict):
                yield from self._piece(piece)

    def end(self) -> Iterator[Event]:
        """There is no further chunk."""
        if not self.finish and self.usage is None:
            message = "the model's server ended its answer before it was finished"
            yield from self.fail({"message": message, "code": "upstream_unreachable"})
            return
        yield from self._tell(max(self.calls, default=0))
        if not self.output:
            yield from self._words("output_text", "")
        cut = self.finish in CUT
        for item in self.output:
            if item.status == "in_progress":
                last = item is self.output[-1]
                yield from self._close(item, "incomplete" if cut and last else "completed")
        self.status = "incomplete" if cut else "completed"
        yield self._event(f"response.{self.status}", response=self.response())

    def fail(self, error: Any) -> Iterator[Event]:
        """An error ends it: the event that clients raise, then what there is, as failed."""
        told = error if isinstance(error, dict) else {"message": error}
        message = str(told.get("message") or "the answer failed")
        kind, code, param = (told.get(k) for k in ("type", "code", "param"))
        kind, code = str(kind or "server_error"), None if code is None else str(code)
        param = None if param is None else str(param)
        self.status = "failed"
        whole = {"type": kind, "code": code, "message": message, "param": param}
        # the documented event has its words at the top, clients look for an object "error"
        yield self._event("error", code=code, message=message, param=param, error=whole)
        known = "server_error"
        if "rate_limit" in f"{kind} {code}":
            known = "rate_limit_exceeded"
        elif kind == "invalid_request_error":
            known = "invalid_prompt"
        self.error = {"code": known, "message": message}
        for item in self.output:
            item.status = "incomplete" if item.status == "in_progress" else item.status
        yield self._event("response.failed", response=self.response())

    # -- items

    def _event(self, kind: str, **data: Any) -> Event:
        self.number += 1
        return kind, {"type": kind, "sequence_number": self.number - 1, **data}

    def _add(self, item: _Item, prefix: str) -> Event:
        item.place = len(self.output)
        item.id = f"{prefix}_{self.stem}_{item.place}"
        self.output.append(item)
        return self._event("response.output_item.added", output_index=item.place, item=item.body())

    def _thought(self, text: str) -> Iterator[Event]:
        if self.thought is None:
            self.thought = _Item("reasoning")
            yield self._add(self.thought, "rs")
        yield from self._grow(self.thought, "reasoning_text", text)

    def _words(self, kind: str, text: str) -> Iterator[Event]:
        yield from self._thought_out()
        if self.message is None:
            self.message = _Item("message")
            yield self._add(self.message, "msg")
        yield from self._grow(self.message, kind, text)

    def _thought_out(self) -> Iterator[Event]:
        if self.thought is not None:
            yield from self._close(self.thought, "completed")
            self.thought = None

    def _grow(self, item: _Item, kind: str, text: str) -> Iterator[Event]:
        index = next((i for i, part in enumerate(item.parts) if part.kind == kind), len(item.parts))
        where = {"item_id": item.id, "output_index": item.place, "content_index": index}
        if index == len(item.parts):
            item.parts.append(_Part(kind))
            body = item.parts[index].body()
            yield self._event("response.content_part.added", **where, part=body)
        item.parts[index].pieces.append(text)
        seen = {}
        if kind == "output_text":
            seen, self.logprobs = {"logprobs": self.logprobs}, []
            item.parts[index].logprobs += seen["logprobs"]
        if text or seen.get("logprobs"):
            yield self._event(f"response.{kind}.delta", **where, delta=text, **seen)

    def _piece(self, piece: Mapping[str, Any]) -> Iterator[Event]:
        """A piece of a call, which is told of once its name is whole: when its arguments begin."""
        index = piece.get("index")
        if not isinstance(index, int):  # some servers count none: an id begins a call
            index = len(self.calls) - (not piece.get("id") and bool(self.calls))
        custom = piece.get("type") == "custom" or isinstance(piece.get("custom"), dict)
        item = self.calls.setdefault(
            index, _Item("custom_tool_call" if custom else "function_call")
        )
        inner = piece.get("custom" if item.kind == "custom_tool_call" else "function")
        inner = inner if isinstance(inner, dict) else {}
        name, text = inner.get("name"), inner.get(CALLS[item.kind][2])
        if item.place < 0:
            item.call = item.call or str(piece.get("id") or "")
            item.name += name if isinstance(name, str) else ""
        if not isinstance(text, str) or not text:
            return
        yield from self._tell(index)
        item.pieces.append(text)
        where = {"item_id": item.id, "output_index": item.place}
        yield self._event(f"{CALLS[item.kind][1]}.delta", **where, delta=text)

    def _tell(self, last: int) -> Iterator[Event]:
        """The calls up to the index ``last`` begin."""
        for index in sorted(self.calls):
            item = self.calls[index]
            if index <= last and item.place < 0:
                yield from self._thought_out()
                item.call = item.call or f"call_{self.stem}_{len(self.output)}"
                yield self._add(item, CALLS[item.kind][0])

    def _close(self, item: _Item, status: str) -> Iterator[Event]:
        where: dict[str, Any] = {"item_id": item.id, "output_index": item.place}
        for index, part in enumerate(item.parts):
            at, body = {**where, "content_index": index}, part.body()
            text = {k: v for k, v in body.items() if k in (TEXTS[part.kind], "logprobs")}
            yield self._event(f"response.{part.kind}.done", **at, **text)
            yield self._event("response.content_part.done", **at, part=body)
        if item.kind in CALLS:
            _, name, written = CALLS[item.kind]
            yield self._event(f"{name}.done", **where, **{written: "".join(item.pieces)})
        item.status = status
        yield self._event("response.output_item.done", output_index=item.place, item=item.body())

    # -- the whole

    def response(self) -> dict[str, Any]:
        """The response as it is now, with the fields of its request as OpenAI repeats them."""
        asked = self.asked
        why = CUT.get(self.finish) if self.status == "incomplete" else None
        text, reasoning = asked.get("text") or {}, asked.get("reasoning") or {}
        choice, parallel = asked.get("tool_choice"), asked.get("parallel_tool_calls")
        return {
            "id": f"resp_{self.stem}",
            "object": "response",
            "created_at": self.created,
            "status": self.status,
            "background": False,
            "error": self.error,
            "incomplete_details": why and {"reason": why},
            "model": self.model,
            "output": [item.body() for item in self.output],
            "parallel_tool_calls": True if parallel is None else parallel,
            "previous_response_id": None,
            "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
            "service_tier": self.tier,
            "store": False,  # nothing is kept, whatever was asked
            "text": {**text, "format": text.get("format") or {"type": "text"}},
            "tool_choice": "auto" if choice is None else choice,
            "tools": asked.get("tools") or [],
            "top_logprobs": asked.get("top_logprobs") or 0,
            "truncation": "disabled",  # nothing is left out: what is too long is refused
            "usage": _usage(self.usage),
            "metadata": asked.get("metadata") or {},
            **{name: asked.get(name) for name in REPEATED},
            **self.extra,
        }


def _usage(usage: dict[str, Any] | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    prompt, written = count(usage, "prompt_tokens") or 0, count(usage, "completion_tokens") or 0
    read, thought = (usage.get(f"{k}_tokens_details") for k in ("prompt", "completion"))
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": count(read, "cached_tokens") or 0,
            "cache_write_tokens": count(read, "cache_write_tokens") or 0,
        },
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": count(thought, "reasoning_tokens") or 0},
        "total_tokens": count(usage, "total_tokens") or prompt + written,
    }


def _logprobs(found: Any) -> list[dict[str, Any]]:
    """Log probabilities of the text; the bytes of a token are given where they were left out."""
    tokens = found.get("content") if isinstance(found, dict) else None
    out = []
    for token in tokens if isinstance(tokens, list) else ():
        if isinstance(token, dict):
            out.append(_token(token) | {"top_logprobs": [_token(t) for t in _dicts(token)]})
    return out


def _dicts(token: Mapping[str, Any]) -> list[dict[str, Any]]:
    top = token.get("top_logprobs")
    return [t for t in top if isinstance(t, dict)] if isinstance(top, list) else []


def _token(token: Mapping[str, Any]) -> dict[str, Any]:
    text, raw = str(token.get("token", "")), token.get("bytes")
    raw = raw if isinstance(raw, list) else list(text.encode("utf-8", "replace"))
    return {"token": text, "bytes": raw, "logprob": token.get("logprob", 0.0)}
