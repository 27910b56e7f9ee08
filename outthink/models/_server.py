"""The connection to an OpenAI-compatible server: one pooled client, errors by cause, retries.

This is the only place where requests are sent and made again.  Every further attempt is asked of the
meter.  The key is read from the environment and never leaves the ``Authorization`` header.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import math
import os
import random
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
import httpx

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

T = TypeVar("T")

DEFAULT_URL = "https://api.openai.com/v1"
LOCAL = ("127.0.0.1", "localhost", "::1")
#: what may be well the next time
PASSING = (RateLimited, ServerFailed, Unreachable, TimedOut, Malformed)


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
            for part in content:
                plain = isinstance(part, Mapping) and part.get("type") == "text"
                total += estimate_tokens(part.get("text", "")) if plain else 1100
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


def check_url(url: str, where: str) -> None:
    """Raise ``BadInput`` for what is no address of a server; a secret in it is not repeated."""
    shown = repr(url.rpartition("@")[2] if "@" in url else url)[:120]
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        known = known and bool(httpx.URL(url).host)
    except (ValueError, httpx.InvalidURL):
        raise BadInput(f"{where}={shown} is no address of a server") from None
    if not known or not url.isprintable() or " " in url:
        raise BadInput(f"{where}={shown} must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise BadInput(
            f"{where}: put no name or password into the address (of {shown}): a key belongs into "
            "the variable that api_key_env names"
        )
    if parts.query or parts.fragment:
        raise BadInput(f"{where}={shown}: an address ends before '?' and '#'")


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


class Server:
    """A live connection; ``transport`` is a seam that a test can replace with a function."""

    def __init__(
        self, address: Address, model: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.address = address
        base = address.base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL
        if address.base_url is None:
            check_url(base, "OPENAI_BASE_URL")
        self.base = base.rstrip("/")
        self.host = urlsplit(self.base).netloc
        #: what tells this server from others in the store
        self.place = self.base.partition("://")[2]
        self._key = os.environ.get(address.api_key_env, "").strip()
        if not (self._key.isascii() and self._key.isprintable() and " " not in self._key):
            raise BadInput(
                f"{model}: the key in {address.api_key_env} holds a space or a character that a key "
                "cannot have: set it anew"
            )
        local = (urlsplit(self.base).hostname or "") in LOCAL
        if not self._key and not local and transport is None:
            told = f"{model}: no key for {self.host}: set {address.api_key_env}"
            if address.base_url is None:
                told += (
                    " (a name that outthink does not know is a model of the default server; "
                    "'outthink models' lists those that it knows)"
                )
            raise MissingNeed(told)
        headers = {"Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            self.client = httpx.AsyncClient(
                headers=headers,
                timeout=httpx.Timeout(
                    address.read_seconds, connect=address.connect_seconds, pool=None
                ),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=1024),
                transport=transport,
                trust_env=not local,
            )
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
            told = f"{type(error).__name__}: {self.clean(str(error))}"
            raise BadInput(
                f"{model}: the proxy or the certificates that the environment names cannot be used "
                f"({told})"
            ) from None

    @contextlib.asynccontextmanager
    async def send(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[httpx.Response]:
        """The answer of ``base`` + ``path`` to a body, to be read; the ``ModelError`` of its cause."""
        raw = json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=str)
        try:
            async with self.client.stream(
                "POST",
                self.base + path,
                content=raw.encode("utf-8", errors="replace"),
                headers={"Content-Type": "application/json"},
            ) as response:
                if response.status_code >= 300:
                    told = (await self._body(response, BODY)).decode("utf-8", errors="replace")
                    self.refuse(response.status_code, response.headers, told)
                yield response
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise self.failure(error) from None

    async def _parts(self, response: httpx.Response, most: int) -> AsyncIterator[bytes]:
        """The bytes of an answer as they come; raises ``Malformed`` beyond ``most``."""
        packed = response.headers.get("content-encoding", "identity").strip().lower()
        if packed not in ("", "identity"):
            # it was asked not to, and a few bytes may unpack to gigabytes
            raise Malformed(
                f"{self.host}: the answer is packed ({packed[:40]}), which was not asked"
            )
        size = 0
        async for part in response.aiter_bytes():
            if (size := size + len(part)) > most:
                raise Malformed(f"{self.host}: the answer is longer than {most >> 20} MiB")
            yield part

    async def _body(self, response: httpx.Response, most: int) -> bytes:
        return self._redacted(b"".join([part async for part in self._parts(response, most)]))

    def _redacted(self, raw: bytes) -> bytes:
        """What came, without the key: a server may send it back.  Short ones are no secrets."""
        return raw.replace(self._key.encode(), b"[key]") if len(self._key) >= 16 else raw

    async def post(self, path: str, body: Mapping[str, Any], tokens: int = 0) -> Any:
        """Send a body to ``base`` + ``path``; the JSON that comes back, of some ``tokens``.

        Raises the ``ModelError`` of the cause.
        """
        async with self.send(path, body) as response:
            raw = await self._body(response, BODY + TOKEN * tokens)
        try:
            data = read_json(raw)
        except ValueError:
            shown = self.clean(raw.decode("utf-8", errors="replace"))
            raise Malformed(f"{self.host}: the answer is not JSON: {shown}") from None
        return self._faultless(data)

    def _faultless(self, data: Any) -> Any:
        """What came, unless it is an error that a server sends as if all were well."""
        if isinstance(data, dict) and data.get("error"):
            raise ServerFailed(f"{self.host}: {self.told(data)}")
        return data

    async def events(
        self, path: str, body: Mapping[str, Any], tokens: int = 0
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Send a body; the server-sent events that come back, until the server says ``[DONE]``.

        Lines end with LF, CR or both; the lines of an event's data belong together, and an event on one
        line needs no blank line after it.  A plain JSON answer is an event.
        """
        async with self.send(path, body) as response:
            most = BODY + TOKEN * tokens
            if "json" in response.headers.get("content-type", "").lower():
                yield self._event((await self._body(response, most)).decode("utf-8", "replace"))
                return
            pending: list[str] = []
            async for line in self._lines(response, most):
                if line.startswith("data:"):
                    data = line[5:].removeprefix(" ")
                    if data.strip() == "[DONE]":
                        break
                    if len(pending) == 1 and _is_json(pending[0]):
                        yield self._event(pending.pop())
                    pending.append(data)
                elif not line and pending:
                    text, pending = "\n".join(pending), []
                    if text.strip():
                        yield self._event(text)
            if "".join(pending).strip():
                yield self._event("\n".join(pending))

    def _event(self, text: str) -> dict[str, Any]:
        """The event that a text is."""
        try:
            value = read_json(text)
        except ValueError:
            raise Malformed(f"{self.host}: a broken event in the stream") from None
        if not isinstance(value, dict):
            raise Malformed(f"{self.host}: an event in the stream that is no object")
        event: dict[str, Any] = self._faultless(value)
        return event

    async def _lines(self, response: httpx.Response, most: int) -> AsyncIterator[str]:
        rest, first = list[bytes](), True
        async for part in self._parts(response, most):
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
                yield self._redacted(line).decode("utf-8", errors="replace")
        for line in re.split(rb"\r\n|\n|\r", b"".join(rest).removesuffix(b"\r")):
            yield self._redacted(line).decode("utf-8", errors="replace")

    async def insist(
        self,
        ticket: Reservation,
        attempt: Callable[[], Awaitable[T]],
        adapt: Callable[[str], bool] | None = None,
    ) -> T:
        """Attempt a call until it succeeds, ``retries`` times more at most.

        An attempt after which the server may have worked (no answer in time, a broken connection, an
        answer that cannot be read) is charged as what it may have cost at most.  ``adapt`` is told what
        a refusal says and answers whether another attempt would now differ.
        """
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
                await anyio.sleep(_pause(failed, getattr(error, "retry_after", None)))
            except Refused as error:
                failed += 1
                lost = Usage()
                ticket.partial = Usage(calls=1)
                if adapt is None or not adapt(str(error)):
                    raise
            ticket.another_attempt(lost=lost)
            ticket.partial = None

    def failure(self, error: Exception) -> ModelError:
        """The error of a connection that could not be made or broke."""
        unsent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
        if isinstance(error, httpx.TimeoutException):
            return TimedOut(f"{self.host}: no answer in time ({type(error).__name__})", not unsent)
        text = str(error)
        if not text or isinstance(error, (httpx.LocalProtocolError, httpx.InvalidURL)):
            # what this one says may hold a header, and the key in it
            text = type(error).__name__
        what = f"{self.host}: {self.clean(text).rstrip('.')}"
        return Unreachable(what + ("; is the server up?" if unsent else ""), not unsent)

    def told(self, body: Any) -> str:
        """What the body of an error says."""
        error = body.get("error", body) if isinstance(body, dict) else body
        message = error.get("message") if isinstance(error, dict) else None
        return self.clean(str(message if message else error))

    def refuse(self, status: int, headers: Mapping[str, str], text: str) -> None:
        """Raise the error of a status that says one."""
        if status < 300:
            return
        try:
            told = self.told(read_json(text))
        except ValueError:
            told = self.clean(text)
        what = f"{self.host} says {status}: {told}"
        if status < 400:
            where = self.clean(headers.get("location", "elsewhere"))
            raise NoSuchModel(f"{what}: it sends to {where}; write that as base_url")
        if status in (401, 403):
            raise NotAuthorised(f"{what}; check the key in {self.address.api_key_env}")
        if status == 404:
            raise NoSuchModel(f"{what}; check the model's name and base_url")
        if status == 429:
            raise RateLimited(what, _retry_after(headers.get("retry-after")))
        if status in (408, 504):
            raise TimedOut(what)
        if status >= 500 or status == 409:
            raise ServerFailed(what, _retry_after(headers.get("retry-after")))
        raise Refused(what)

    def clean(self, text: str) -> str:
        """A short piece of a server's text, without the key."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return " ".join(text.split())[:300]

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self.client.aclose()


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header (a number or a date), at most 60."""
    if not value:
        return None
    try:
        return min(max(float(value), 0.0), 60.0)
    except ValueError:
        try:
            when = email.utils.parsedate_to_datetime(value).timestamp()
        except (TypeError, ValueError, OverflowError):
            return None
        return min(max(when - time.time(), 0.0), 60.0)


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
