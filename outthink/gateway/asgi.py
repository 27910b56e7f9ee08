"""One HTTP exchange over plain ASGI: a bounded body, a departure that is noticed, an answer begun once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

import anyio
import orjson

from outthink.gateway.errors import Fault

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

#: seconds that a body may take to come
BODY_SECONDS = 60.0
JSON = (b"content-type", b"application/json")
EVENTS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class Call:
    """A request and its answer.  ``status`` is that of the answer, 499 where the client left first."""

    def __init__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.began = time.monotonic()
        self.headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.status = 0
        self.streaming = False
        self.gone = False
        self.extra: list[tuple[bytes, bytes]] = []

    @property
    def seconds(self) -> float:
        """Since it came."""
        return time.monotonic() - self.began

    async def body(self, most: int) -> bytes:
        """The whole body; raises ``Fault`` 413 beyond ``most`` bytes."""
        told = self.headers.get("content-length", "")
        if told.isdigit() and int(told) > most:
            raise _large(most)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.gone = True
                raise ClientLeft
            part = message.get("body", b"")
            size += len(part)
            if size > most:
                raise _large(most)
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def json(self, most: int) -> tuple[Any, bytes]:
        """The value of a JSON body, and its bytes; raises ``Fault`` 400, 413 or 415."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            # also what keeps a web page from posting to a gateway on its reader's machine
            raise Fault(
                415,
                f"the content type is {kind[:60] or 'missing'}: send 'Content-Type: application/json'",
                code="unsupported_media_type",
            )
        try:
            async with asyncio.timeout(BODY_SECONDS):
                raw = await self.body(most)
        except TimeoutError:
            raise Fault(
                408, f"the body took more than {BODY_SECONDS:g} s to come", code="body_too_slow"
            ) from None
        try:
            return orjson.loads(raw), raw
        except ValueError as error:
            raise Fault(400, f"the body is not JSON: {error}", code="invalid_json") from None

    @contextlib.asynccontextmanager
    async def attended(self) -> AsyncIterator[None]:
        """Cancel the block the moment the client leaves; the body must have been read before."""
        scope = anyio.CancelScope()

        async def watch() -> None:
            while True:
                if (await self._receive())["type"] == "http.disconnect":
                    self.gone = True
                    scope.cancel()
                    return

        watcher = asyncio.ensure_future(watch())
        try:
            with scope:
                yield
        finally:
            watcher.cancel()
        if self.gone and scope.cancelled_caught:
            raise ClientLeft

    async def respond(self, status: int, raw: bytes, headers: Headers = (JSON,)) -> None:
        """The whole answer."""
        self.status = status
        length = (b"content-length", str(len(raw)).encode())
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, length, *self.extra],
            }
        )
        await self._send({"type": "http.response.body", "body": raw})

    async def reply(self, status: int, value: Any, headers: Headers = (JSON,)) -> None:
        """The whole answer, as JSON."""
        await self.respond(status, dumped(value), headers)

    async def fail(self, fault: Fault) -> None:
        """An error, or in a stream that has begun its last event."""
        if not self.streaming:
            await self.reply(fault.status, fault.body(), fault.headers())
            return
        self.status = fault.status
        await self.send(event(fault.body()))
        await self.end()

    async def begin(self) -> None:
        """Begin a stream of events (once)."""
        if not self.streaming:
            self.streaming, self.status = True, 200
            headers = [*EVENTS, *self.extra]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def send(self, part: bytes) -> None:
        """A part of a stream."""
        await self._send({"type": "http.response.body", "body": part, "more_body": True})

    async def end(self) -> None:
        """The end of a stream."""
        await self._send({"type": "http.response.body", "body": b""})


class ClientLeft(Exception):
    """The client is gone: there is nobody to answer."""


def event(value: Any, name: str | None = None) -> bytes:
    """A server-sent event of a JSON value."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + dumped(value) + b"\n\n"


def dumped(value: Any) -> bytes:
    """A value as JSON; half of a surrogate pair, which servers send, goes out as it came."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def _large(most: int) -> Fault:
    return Fault(413, f"the body is larger than {most:,} bytes", code="body_too_large")
