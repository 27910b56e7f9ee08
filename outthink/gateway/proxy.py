"""The pass-through: a request and its answer as they are, bytes as they come, metered all the same.

The body goes on untouched unless the model has another name at the upstream, a limit lowers
``max_tokens``, or a stream has to report its usage; nothing else of it is read.  What comes back
goes out as it is, once it is known to be an answer: an upstream's failure keeps its status, and
what is no answer at all (HTML, half a body, an error with status 200) is told as 502.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson

from outthink.core.budget import Budget, Meter, Reservation, Usage
from outthink.core.errors import Malformed
from outthink.core.run import FLOOR
from outthink.gateway.chat import Asked
from outthink.gateway.errors import Fault, exhausted
from outthink.gateway.resolve import Resolved
from outthink.models._endpoint import retry_after
from outthink.models._server import Endpoint, Server, estimate_chat, estimate_tokens

if TYPE_CHECKING:
    from outthink.gateway.ledger import Account

#: what an upstream's status is called, where it does not say itself
CODES = {404: "upstream_not_found", 429: "upstream_rate_limited", 504: "upstream_timeout"}
HEADERS = {"Content-Type": "application/json"}
#: what the limit of an answer is called
LIMITS = ("max_tokens", "max_completion_tokens")
#: bytes of one event of a stream at most
EVENT = 1 << 23
#: bytes of an answer that are read at most
MOST = 1 << 26
#: bytes of an upstream's error that are read at most
ERROR = 1 << 16
_ENDS = re.compile(rb"\r\n\r\n|\n\n|\r\r")


@dataclass
class Passing:
    """One request on its way: what goes to the upstream, and what is known of its cost."""

    resolved: Resolved
    asked: Asked
    path: str
    #: the bytes that came, where they may go on as they are
    raw: bytes | None = None
    meter: Meter | None = None
    ticket: Reservation | None = None
    prompt: int = 0
    usage: Usage | None = None
    #: pieces of text that were seen in a stream, a token or more each
    seen: int = 0
    #: the server that answers
    host: str = ""
    #: did anything go to an upstream, and did its stream come to an end?
    sent: bool = False
    whole: bool = False
    #: the choices of a stream that began, and whether they have ended
    ended: dict[Any, bool] = field(default_factory=dict)
    _changes: dict[str, Any] = field(default_factory=dict)

    @property
    def server(self) -> Server:
        """Where it goes."""
        server = self.resolved.served.server
        assert server is not None
        return server

    async def reserve(self, account: Account | None, budget: Budget) -> None:
        """Claim the worst case where a limit binds; lowers ``max_tokens`` to what is left.

        Raises ``Fault`` where not even a short answer fits.
        """
        model, config = self.resolved.served.model, self.resolved.served.config
        meter = self.meter = Meter(budget, account)
        wanted = self.asked.max_tokens or config.max_tokens
        self.prompt = self._count()
        n = self.asked.n * self._times()
        await meter.secure(lambda: model.price.usage(self.prompt, wanted * n))
        fits = min(meter.affordable_tokens(model.price, self.prompt, n), wanted)
        cost = model.price.usage(self.prompt, max(fits, 1) * n)
        limit = meter.binding(cost)
        if fits < min(FLOOR, wanted) or limit is not None:
            raise spent(limit or "tokens", account)
        self.ticket = meter.reserve(cost)
        # a body with two equal names says one thing to us and may say another to the server
        self.raw = None
        given = [k for k in LIMITS if self.asked.body.get(k) is not None]
        if not given or any(self.asked.body[k] != fits for k in given):
            learned = getattr(model, "_limit_name", LIMITS[0]) if "chat" in self.path else LIMITS[0]
            self._changes.update(dict.fromkeys(given or [learned], fits))

    def _times(self) -> int:
        """How many prompts, or drafts of each choice, a text completion asks for."""
        prompt, best = self.asked.body.get("prompt"), self.asked.body.get("best_of")
        several = isinstance(prompt, list) and not all(isinstance(t, int) for t in prompt)
        drafts = math.ceil(best / self.asked.n) if isinstance(best, int) and best > 0 else 1
        return (max(len(prompt), 1) if several and isinstance(prompt, list) else 1) * max(drafts, 1)

    def _count(self) -> int:
        messages = self.asked.body.get("messages")
        if isinstance(messages, list) and all(isinstance(m, dict) for m in messages):
            tools = self.asked.body.get("tools")
            return estimate_chat(messages) + (estimate_tokens(str(tools)) if tools else 0)
        return estimate_tokens(str(self.asked.body.get("prompt", "")))

    def content(self, endpoint: Endpoint) -> bytes:
        """The body for an endpoint."""
        self.sent = True
        name = endpoint.model or self.resolved.served.name
        changes = dict(self._changes)
        if name != self.asked.model:
            changes["model"] = name
        if self.raw is not None and not changes:
            return self.raw
        try:
            return orjson.dumps({**self.asked.body, **changes})
        except TypeError:  # orjson reads deeper than it writes
            raise Fault(400, "the body is nested too deep", code="invalid_json") from None

    def settle(self) -> Usage:
        """Close the claim at what it cost, as far as that is known.

        A stream that was left costs what was seen of it, a whole answer what it may have cost at most.
        """
        if self.usage is None:
            whole = self.ticket is not None and not self.asked.stream
            most = self.ticket.cost if whole and self.ticket is not None else None
            known = self._guess() if most is None else replace(most, estimated=True)
            self.usage = known if self.sent else Usage()
        if self.ticket is not None and self.ticket.open:
            self.ticket.settle(self.usage)
        return self.usage

    def failed(self, worked: bool) -> None:
        """Close the claim of a call that gave nothing; ``worked``: it may have cost its most."""
        self.usage = self.usage or Usage(calls=1)
        if self.ticket is not None and self.ticket.open:
            if worked:
                self.usage = replace(self.ticket.cost, estimated=True)
            self.ticket.settle(self.usage)

    def _guess(self) -> Usage:
        """What an answer cost of which the upstream did not say it."""
        if not self.prompt:
            self.prompt = self._count()
        price = self.resolved.served.model.price
        return price.usage(self.prompt, self.seen, estimated=True)

    # -- whole answers ---------------------------------------------------------------------------

    async def answer(self) -> bytes:
        """The upstream's answer, read whole; raises ``Fault`` or a ``ModelError``."""
        try:
            raw = await self._whole()
        except Fault as fault:
            if not self._renamed(fault):
                raise
            self._reopen()
            raw = await self._whole()
        data = self._read(raw)
        choices = data.get("choices")
        if not isinstance(choices, list) or not choices or not all(map(_is_choice, choices)):
            raise Malformed(f"{self.host}: an answer without choices")
        texts = [_text(c) for c in choices]
        self.usage = self._usage(data.get("usage"))
        if self.usage is None or self.usage.completion_tokens < sum(map(_least, texts)):
            whole = [text + _calls(c) for text, c in zip(texts, choices, strict=True)]
            self.seen = sum(map(estimate_tokens, whole))
            self.usage = self._guess()
        return raw

    async def _whole(self) -> bytes:
        async with self.server.exchange(self.path, self.content, HEADERS) as answer:
            self.host = answer.endpoint.host
            if answer.status != 200:
                raise await self._refusal(answer)
            self._unpacked(answer)
            raw: bytes = await answer.read(MOST)
            return raw

    def _unpacked(self, answer: Any) -> None:
        """Raise for a packed answer: none was asked for, and a few bytes may unpack to gigabytes."""
        packed = answer.headers.get("content-encoding", "identity").strip().lower()
        if packed not in ("", "identity"):
            raise Malformed(f"{self.host}: the answer is packed ({packed[:40]})")

    def _read(self, raw: bytes) -> dict[str, Any]:
        try:
            data = orjson.loads(raw)
        except ValueError:
            raise Malformed(f"{self.host}: the answer is not JSON") from None
        if not isinstance(data, dict):
            raise Malformed(f"{self.host}: the answer is no object")
        if data.get("error"):
            raise Fault(502, f"{self.host}: {self.server.told(data)}", code="upstream_failed")
        return data

    async def _refusal(self, answer: Any) -> Fault:
        """An upstream's error as the client sees it: its status, its words, its Retry-After."""
        status = answer.status
        self.failed(worked=False)
        if status in (401, 403):
            # its words may hold a part of the key, which is the gateway's
            return Fault(
                status,
                f"{self.host} refuses the gateway's key for it",
                type="upstream_error",
                code="upstream_unauthorized",
            )
        raw = await answer.read(ERROR)
        try:
            data = orjson.loads(raw)
        except ValueError:
            data = raw.decode("utf-8", "replace")
        told = self.server.told(data)
        wait = answer.headers.get("retry-after")
        held = data.get("error") if isinstance(data, dict) else None
        kept = held if isinstance(held, dict) else {}
        code, param = (
            v if isinstance(v, str) else None for v in (kept.get("code"), kept.get("param"))
        )
        fault = Fault(
            status if status >= 400 else 502,  # one that sends elsewhere is set up wrongly
            f"{self.host} says {status}: {told}",
            type="upstream_error" if status >= 500 else None,
            code=code
            or CODES.get(status, "upstream_failed" if status >= 500 else "upstream_refused"),
            param=param,
        )
        if wait:
            fault.retry_after = retry_after(wait)
        return fault

    def _usage(self, told: Any) -> Usage | None:
        if not isinstance(told, dict):
            return None
        prompt, written = told.get("prompt_tokens"), told.get("completion_tokens") or 0
        if not isinstance(prompt, int) or not isinstance(written, int) or prompt < 1 or written < 0:
            return None
        held, thought = (
            told.get(f"{name}_tokens_details") or {} for name in ("prompt", "completion")
        )
        return self.resolved.served.model.price.usage(
            prompt,
            written,
            cached=_count(held, "cached_tokens"),
            reasoning=_count(thought, "reasoning_tokens"),
        )

    # -- streams ---------------------------------------------------------------------------------

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The events of the upstream's stream as bytes, each part as it comes.

        The usage is asked for in any case, unless the server does not know how, and shown where the
        client asked.  Raises ``Fault`` or a ``ModelError``; of a stream that breaks off after its
        beginning too.
        """
        served = self.resolved.served
        ask, refused = not (served.silent or self.asked.include_usage), False
        while True:
            try:
                async for part in self._streamed(ask):
                    served.silent = served.silent or refused
                    yield part
                return
            except Fault as fault:
                # where the client sent some, it may be its own that are refused
                own = "stream_options" in self.asked.body
                if ask and not own and fault.status == 400 and "stream_options" in fault.message:
                    ask, refused = False, True
                elif not self._renamed(fault):
                    raise
                self._reopen()

    def _renamed(self, fault: Fault) -> bool:
        """Does the server know the limit that we added by its newer name?  Then it has that now."""
        old, new = LIMITS
        added = old in self._changes and old not in self.asked.body
        if not added or fault.status != 400 or new not in fault.message:
            return False
        self._changes[new] = self._changes.pop(old)
        return True

    def _reopen(self) -> None:
        """Another attempt: the refusal closed the claim at nothing, and what comes now is claimed anew."""
        self.usage = None
        if self.meter is not None and self.ticket is not None:
            self.ticket = self.meter.reserve(self.ticket.cost)

    async def _streamed(self, ask: bool) -> AsyncGenerator[bytes, None]:
        if ask:
            given = self.asked.body.get("stream_options") or {}
            self._changes["stream_options"] = {**given, "include_usage": True}
        else:
            self._changes.pop("stream_options", None)
        async with self.server.exchange(self.path, self.content, HEADERS) as answer:
            self.host = answer.endpoint.host
            if answer.status != 200:
                raise await self._refusal(answer)
            kind = answer.headers.get("content-type", "")
            if "event-stream" not in kind.lower():
                self._unpacked(answer)
                self._read(await answer.read(MOST))
                raise Malformed(f"{self.host}: no stream came, though one was asked for")
            self._unpacked(answer)
            rest, seen = b"", 0
            async for part in answer.parts():
                rest += part
                # what was looked at before holds no end, but for the first half of one
                kept, rest = self._events(rest, max(seen - 3, 0))
                if (seen := len(rest)) > EVENT:
                    raise Malformed(f"{self.host}: an event longer than {EVENT >> 20} MiB")
                if kept:
                    yield kept
            if rest.strip():
                kept, _ = self._events(rest + b"\n\n")
                if kept:
                    yield kept
        if not self.whole:
            raise Malformed(f"{self.host}: the stream broke off")
        if self.usage is not None and self.usage.completion_tokens < self.seen // 2:
            self.usage = self._guess()  # a piece is a token or more

    def _events(self, data: bytes, start: int = 0) -> tuple[bytes, bytes]:
        """The whole events that are to go on, and the beginning of the next one."""
        out: list[bytes] = []
        at = 0
        for end in _ENDS.finditer(data, start):
            event = data[at : end.end()]
            at = end.end()
            if self._goes_on(event):
                out.append(event)
        return b"".join(out), data[at:]

    def _goes_on(self, event: bytes) -> bool:
        """Look at an event; does the client want it?  Raises for what is none, and for an error."""
        if b"data:" not in event:
            return True  # a comment
        if b"[DONE]" in event and _payload(event) == b"[DONE]":
            self.whole = True
            return True
        told = _data(event)
        if told is None:
            raise Malformed(f"{self.host}: a broken event in the stream")
        if told.get("error"):
            raise Fault(502, f"{self.host}: {self.server.told(told)}", code="upstream_failed")
        choices = told.get("choices")
        if isinstance(choices, list) and choices:
            self.seen += max(1, *(len(_said(c).split()) for c in choices))
            for choice in (c for c in choices if isinstance(c, dict)):
                index = str(choice.get("index"))
                over = bool(choice.get("finish_reason"))
                self.ended[index] = over or self.ended.get(index, False)
            self.whole = bool(self.ended) and all(self.ended.values())
        if told.get("usage"):
            self.usage = self._usage(told["usage"]) or self.usage
            return bool(choices) or self.asked.include_usage
        return True


def spent(limit: str, account: Account | None) -> Fault:
    """Not even one answer fits into what is left: of the key's allowance, or of the request's budget."""
    if account is not None and account.shortage is not None:
        return account.shortage
    return exhausted(limit)


def _least(text: str) -> int:
    """Fewer tokens than this a text cannot have: nearly every word is one or more."""
    return 3 * len(text.split()) // 4


def _text(choice: Any) -> str:
    """What a choice says in words."""
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return str(choice.get("text") or "") if isinstance(choice, dict) else ""
    said = (message.get(k) for k in ("content", "reasoning_content", "reasoning", "refusal"))
    return " ".join(text for text in said if isinstance(text, str))


def _calls(choice: Any) -> str:
    """What a choice calls, as text."""
    message = choice.get("message") if isinstance(choice, dict) else None
    held = (message or {}).get("tool_calls") if isinstance(message, dict) else None
    return str(held) if held else ""


def _is_choice(choice: Any) -> bool:
    return isinstance(choice, dict) and (
        isinstance(choice.get("message"), dict) or "text" in choice
    )


def _said(choice: Any) -> str:
    """What a piece of a stream holds, as far as it is text."""
    delta = choice.get("delta") if isinstance(choice, dict) else None
    if not isinstance(delta, dict):
        return str(choice.get("text") or "") if isinstance(choice, dict) else ""
    return " ".join(v for v in delta.values() if isinstance(v, str))


def _count(told: Any, name: str) -> int:
    found = told.get(name) if isinstance(told, dict) else None
    return found if isinstance(found, int) and found > 0 else 0


def _payload(event: bytes) -> bytes:
    lines = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines)


def _data(event: bytes) -> dict[str, Any] | None:
    """The JSON of an event's data, where it is an object."""
    try:
        found = orjson.loads(_payload(event))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
