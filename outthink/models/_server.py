"""An OpenAI-compatible server as the models ask it: errors by cause, JSON and events, retries.

Requests are sent by ``_wire`` and made again here only.  Every further attempt is asked of the meter.
Keys are read from the environment, or given with an endpoint, and never leave the ``Authorization``
header.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import anyio

from outthink.core.budget import Reservation, Usage
from outthink.core.errors import (
    BadInput,
    Malformed,
    MissingNeed,
    ModelError,
    NoSuchModel,
    NotAuthorised,
    RateLimited,
    Refused,
    ServerFailed,
    TimedOut,
    Unreachable,
)
from outthink.core.nouns import Message, read_json
from outthink.models._endpoint import Endpoint as Endpoint
from outthink.models._endpoint import check_key, check_url, retry_after
from outthink.models._wire import ASKED, SECRET, Exchange, Headers, Transport, Wire, too_long

T = TypeVar("T")

DEFAULT_URL = "https://api.openai.com/v1"
#: what may be well the next time
PASSING = (RateLimited, ServerFailed, Unreachable, TimedOut, Malformed)


NONE: Headers = {}
JSON: Headers = {"Content-Type": "application/json"}
ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)
#: bytes of an answer that are read at most, and how many more for each token asked for
BODY, TOKEN = 1 << 25, 1 << 10
#: what the template of a chat may add to a message, and to the whole
MESSAGE, TEMPLATE = 8, 32


def estimate_tokens(text: str) -> int:
    """An upper estimate of the tokens in a text, for a server that does not tell.

    ASCII letters and spaces count half a token each, all other bytes (digits, signs, what is not
    ASCII) a whole one; and it is at least the number of words.  Common tokenizers use 3 to 5 bytes a
    token for English prose, but one a digit and up to one a byte for rare scripts.
    """
    raw = text.encode("utf-8", errors="replace")
    whole = len(raw.translate(None, _HALF))
    return max(whole + (len(raw) - whole + 1) // 2, len(text.split()))


_HALF = bytes(b for b in range(128) if chr(b).isalpha() or chr(b).isspace())


def estimate_chat(messages: Sequence[Message]) -> int:
    """An upper estimate of the tokens of a chat, its template included; 1,100 for an image."""
    total = TEMPLATE
    for message in messages:
        content = message.get("content")
        total += MESSAGE
        if isinstance(content, str):
            total += estimate_tokens(content)
        elif content:
            for part in content if isinstance(content, (list, tuple)) else (content,):
                plain = isinstance(part, Mapping) and part.get("type") == "text"
                total += estimate_tokens(str(part.get("text", ""))) if plain else 1100
        if message.get("tool_calls"):
            total += estimate_tokens(json.dumps(message["tool_calls"], default=str))
    return total


def uncounted(name: str, prices: str, parameters: float) -> dict[str, str]:
    """The limits of a budget that cannot hold, and why: ``prices`` names those that are missing."""
    told: dict[str, str] = {}
    if prices:
        told["usd"] = (
            f"the price of {name} is not known; give {prices} (USD per million tokens; 0 where it is "
            "free)"
        )
    if not parameters:
        told["flops"] = f"the size of {name} is not known; give parameters="
    return told


def configured() -> tuple[bool, str]:
    """Does the environment name a server or a key?  Else what to do."""
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
        return True, ""
    return False, "set OPENAI_API_KEY, or give base_url= of a server"


def count(values: Any, name: str) -> int | None:
    """A count that a server reports, or ``None`` where it is missing or impossible."""
    found = values.get(name) if isinstance(values, dict) else None
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None
    return int(found) if 0 <= found < 1 << 53 else None


@dataclass(frozen=True)
class Address:
    """Where a server is, how it is asked, and for how long (seconds)."""

    base_url: str | None
    api_key_env: str
    retries: int
    connect_seconds: float
    read_seconds: float

    def check(self, who: str) -> None:
        """Raise ``BadInput`` for what cannot be an address."""
        if self.base_url is not None:
            check_url(self.base_url, f"{who}: base_url")
        if self.retries < 0:
            raise BadInput(f"{who}: retries={self.retries} must be at least 0")
        for name in ("connect_seconds", "read_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise BadInput(f"{who}: {name}={getattr(self, name)} must be above 0")


class Server(Wire):
    """A live model behind one server, or behind several that serve the same: ``endpoints``.

    Without them the server and its key are those that ``address`` and the environment name; with them
    nothing is read from the environment but proxies and certificates.  ``transport`` is a seam that a
    test can replace.
    """

    def __init__(
        self,
        address: Address,
        model: str,
        transport: Transport | None = None,
        endpoints: Sequence[Endpoint] = (),
    ) -> None:
        self.address = address
        self._key_from = "" if endpoints else address.api_key_env
        if not endpoints:
            endpoints = [self._named(address, model, transport is not None)]
            #: what tells this server from others in the store, and what errors call it
            self.place = endpoints[0].base.partition("://")[2]
            self.host = endpoints[0].host
        else:
            self.place = self.host = model
        try:
            super().__init__(endpoints, address.connect_seconds, address.read_seconds, transport)
        except BadInput as error:
            raise BadInput(f"{model}: {error}") from None

    @staticmethod
    def _named(address: Address, model: str, replaced: bool) -> Endpoint:
        """The endpoint that an address and the environment name."""
        base = address.base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL
        if address.base_url is None:
            check_url(base, "OPENAI_BASE_URL")
        key = os.environ.get(address.api_key_env, "").strip()
        check_key(key, f"{model}: the key in {address.api_key_env}")
        endpoint = Endpoint(base, key)
        if not key and not endpoint.local and not replaced:
            told = f"{model}: no key for {endpoint.host}: set {address.api_key_env}"
            if address.base_url is None:
                told += (
                    " (a name that outthink does not know is a model of the default server; "
                    "'outthink models' lists those that it knows)"
                )
            raise MissingNeed(told)
        return endpoint

    def exchange(
        self,
        path: str,
        content_of: Callable[[Endpoint], bytes],
        headers: Headers = NONE,
        method: str = "POST",
    ) -> Exchange:
        """Raw access: a request, and its answer as it comes, whatever its status.

        ``content_of`` gives the body for the endpoint that is picked (its ``model`` may have another
        name there).  ``headers`` are the caller's, safe to pass on; an ``Authorization`` among them is
        not, and the endpoint's takes its place.  A connection that cannot be made is made to another
        endpoint; nothing is sent twice.  A key that comes back in a part is starred out.

        Raises ``Unreachable`` or ``TimedOut`` where no endpoint answers or the answer breaks off.
        """
        return Exchange(self, path, content_of, headers, method, secret=True)

    def _send(self, path: str, body: Mapping[str, Any]) -> Exchange:
        """The exchange of a body in JSON."""

        def content_of(endpoint: Endpoint) -> bytes:
            named = body if endpoint.model is None else {**body, "model": endpoint.model}
            return ENCODER.encode(named).encode("utf-8", errors="replace")

        return Exchange(self, path, content_of, JSON, "POST")

    async def _accept(self, answer: Exchange) -> None:
        """Raise the error of an answer that is none."""
        packed = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if packed not in ("", "identity"):
            # it was asked not to, and a few bytes may unpack to gigabytes
            raise Malformed(
                f"{answer.endpoint.host}: the answer is packed ({packed[:40]}), which was not asked"
            )
        if answer.status >= 300:
            told = (await self._body(answer, BODY)).decode("utf-8", errors="replace")
            self.refuse(answer.status, answer.headers, told, answer.endpoint.host)

    async def _body(self, answer: Exchange, most: int) -> bytes:
        return _redacted(await answer.read(most), answer.endpoint)

    async def post(self, path: str, body: Mapping[str, Any], tokens: int = 0) -> Any:
        """Send a body to ``base`` + ``path``; the JSON that comes back, of some ``tokens``.

        Raises the ``ModelError`` of the cause.
        """
        async with self._send(path, body) as answer:
            await self._accept(answer)
            raw = await self._body(answer, BODY + TOKEN * tokens)
        try:
            data = read_json(raw)
        except ValueError:
            shown = self.clean(raw.decode("utf-8", errors="replace"))
            raise Malformed(f"{answer.endpoint.host}: the answer is not JSON: {shown}") from None
        return self._faultless(data, answer.endpoint)

    def _faultless(self, data: Any, endpoint: Endpoint) -> Any:
        """What came, unless it is an error that a server sends as if all were well."""
        if isinstance(data, dict) and data.get("error"):
            raise ServerFailed(f"{endpoint.host}: {self.told(data)}")
        return data

    async def events(
        self, path: str, body: Mapping[str, Any], tokens: int = 0
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Send a body; the server-sent events that come back, until the server says ``[DONE]``.

        Lines end with LF, CR or both; the lines of an event's data belong together, and an event on one
        line needs no blank line after it.  A plain JSON answer is an event.
        """
        async with self._send(path, body) as answer:
            await self._accept(answer)
            most, endpoint = BODY + TOKEN * tokens, answer.endpoint
            if "json" in answer.headers.get("Content-Type", "").lower():
                whole = await self._body(answer, most)
                yield self._event(whole.decode("utf-8", "replace"), endpoint)
                return
            pending: list[str] = []
            async for line in _lines(answer, most):
                if line.startswith("data:"):
                    data = line[5:].removeprefix(" ")
                    if data.strip() == "[DONE]":
                        break
                    if len(pending) == 1 and _is_json(pending[0]):
                        yield self._event(pending.pop(), endpoint)
                    pending.append(data)
                elif not line and pending:
                    text, pending = "\n".join(pending), []
                    if text.strip():
                        yield self._event(text, endpoint)
            if "".join(pending).strip():
                yield self._event("\n".join(pending), endpoint)

    def _event(self, text: str, endpoint: Endpoint) -> dict[str, Any]:
        """The event that a text is."""
        try:
            value = read_json(text)
        except ValueError:
            raise Malformed(f"{endpoint.host}: a broken event in the stream") from None
        if not isinstance(value, dict):
            raise Malformed(f"{endpoint.host}: an event in the stream that is no object")
        event: dict[str, Any] = self._faultless(value, endpoint)
        return event

    async def insist(
        self,
        ticket: Reservation,
        attempt: Callable[[], Awaitable[T]],
        adapt: Callable[[str], bool] | None = None,
    ) -> T:
        """Attempt a call until it succeeds, ``retries`` times more at most.

        An attempt after which the server may have worked (no answer in time, a broken connection, an
        answer that cannot be read) is charged as what it may have cost at most.  A further attempt goes
        to an endpoint that was not asked yet, where one is well.  ``adapt`` is told what a refusal says
        and answers whether another attempt would now differ.
        """
        asked: set[Endpoint] | None = set() if len(self.endpoints) > 1 else None
        before = ASKED.set(asked)
        try:
            return await self._insist(ticket, attempt, adapt, asked)
        finally:
            ASKED.reset(before)

    async def _insist(
        self,
        ticket: Reservation,
        attempt: Callable[[], Awaitable[T]],
        adapt: Callable[[str], bool] | None,
        asked: set[Endpoint] | None,
    ) -> T:
        failed = 0
        while True:
            try:
                return await attempt()
            except PASSING as error:
                failed += 1
                lost = _lost(error, ticket)
                # nothing is under way during the pause: ended now, the call costs what was asked
                ticket.partial, ticket.failure = replace(lost, calls=1), str(error)
                if failed > self.address.retries:
                    raise
                # another server can be asked at once
                if asked is None or not self.another(asked):
                    await anyio.sleep(_pause(failed, getattr(error, "retry_after", None)))
            except Refused as error:
                failed += 1
                lost = Usage()
                ticket.partial = Usage(calls=1)
                if adapt is None or not adapt(str(error)):
                    raise
            await ticket.meter.secure(replace(lost, calls=1))
            ticket.another_attempt(lost=lost)
            ticket.partial = None

    def told(self, body: Any) -> str:
        """What the body of an error says."""
        error = body.get("error", body) if isinstance(body, dict) else body
        message = error.get("message") or error.get("detail") if isinstance(error, dict) else None
        return self.clean(str(message if message else error))

    def refuse(self, status: int, headers: Headers, text: str, host: str) -> None:
        """Raise the error of a status that says one."""
        if status < 300:
            return
        try:
            told = self.told(read_json(text))
        except ValueError:
            told = self.clean(text)
        if status in (401, 403) and not self._key_from:
            told = "it refuses this key"  # whose parts its own words may hold
        error = self._refusal(status, headers, f"{host} says {status}: {told}")
        error.status = status
        raise error

    def _refusal(self, status: int, headers: Headers, what: str) -> ModelError:
        if status < 400:
            where = self.clean(headers.get("Location", "elsewhere"))
            return NoSuchModel(f"{what}: it sends to {where}; write that as base_url")
        if status in (401, 403):
            key = f"the key in {self._key_from}" if self._key_from else "its key"
            return NotAuthorised(f"{what}; check {key}")
        if status == 404:
            return NoSuchModel(f"{what}; check the model's name and base_url")
        if status == 429:
            return RateLimited(what, retry_after(headers.get("Retry-After")))
        if status in (408, 504):
            return TimedOut(what)
        if status >= 500 or status == 409:
            return ServerFailed(what, retry_after(headers.get("Retry-After")))
        return Refused(what)


def _redacted(raw: bytes, endpoint: Endpoint) -> bytes:
    """What came, without the key: a server may send it back.  Short ones are no secrets."""
    key = endpoint.key.encode()
    return raw.replace(key, b"[key]") if len(key) >= SECRET else raw


async def _lines(answer: Exchange, most: int) -> AsyncIterator[str]:
    """The lines of an answer as they come; raises ``Malformed`` beyond ``most`` bytes."""
    rest, first, size = list[bytes](), True, 0
    async for part in answer.parts():
        if (size := size + len(part)) > most:
            raise too_long(answer.endpoint.host, most)
        rest.append(part)
        if b"\n" not in part and b"\r" not in part:
            continue
        data = b"".join(rest)
        if first:
            data, first = data.removeprefix(b"\xef\xbb\xbf"), False
        # a CR at the end may be half of CR LF
        held = len(data) - data.endswith(b"\r")
        *lines, last = re.split(rb"\r\n|\n|\r", data[:held])
        rest = [last + data[held:]]
        for line in lines:
            yield _redacted(line, answer.endpoint).decode("utf-8", errors="replace")
    for line in re.split(rb"\r\n|\n|\r", b"".join(rest).removesuffix(b"\r")):
        yield _redacted(line, answer.endpoint).decode("utf-8", errors="replace")


def _is_json(text: str) -> bool:
    try:
        read_json(text)
    except ValueError:
        return False
    return True


def _lost(error: ModelError, ticket: Reservation) -> Usage:
    """What an attempt that failed so may have cost beside the call itself."""
    if not getattr(error, "worked", False):
        return Usage()
    return replace(ticket.partial or ticket.cost, calls=0, stored_calls=0, estimated=True)


def _pause(attempt: int, asked: float | None) -> float:
    """Seconds before a retry: what the server asks for, else exponential with full jitter."""
    if asked is not None and not math.isnan(asked):
        return asked
    return random.uniform(0.0, min(0.25 * 2**attempt, 8.0))
