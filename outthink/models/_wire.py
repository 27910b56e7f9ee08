"""The wire to OpenAI-compatible servers: pooled connections, which endpoint is asked, one exchange.

This is the only place where requests are sent.  A connection is kept for a while after an answer.  A
server may close it at the very moment at which the next request is written; RFC 9112 (9.3.1) allows
such a request again, as it was never read.  It is taken for such when the connection had been used
before, ended before a byte of the answer, and ended within ``STALE`` seconds: then it is sent once
more, at once, on a connection of its own, and nothing is charged for it.  Anything else that breaks
may have been worked on, and is told so.
"""

from __future__ import annotations

import asyncio
import functools
import io
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from time import monotonic
from types import TracebackType
from typing import Any, Protocol
from weakref import WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDict
from yarl import URL

from outthink.core.errors import BadInput, Broken, Malformed, ModelError, TimedOut, Unreachable
from outthink.models._endpoint import Endpoint, proxy_of, retry_after, trusted

#: seconds for which an idle connection is kept; servers close theirs after 5 and more
KEPT = 4.0
#: a used connection that ends so soon (seconds) without a byte of the answer was closed while idle
STALE = 1.0
#: seconds that the check of a server may take
CHECK = 5.0
#: a shorter key may be a word of the answer
SECRET = 16
#: bytes that a socket takes at once, and above which a body is written in pieces
AT_ONCE, PIECES = 1 << 16, 1 << 20
#: bytes of a header at most
HEADER = 1 << 16

Headers = Mapping[str, str]
#: a seam: method, address, headers and body give status, headers and the body's parts
Transport = Callable[
    [str, str, Headers, bytes], Awaitable[tuple[int, Headers, AsyncIterator[bytes]]]
]


class Watcher(Protocol):
    """What watches one call: it is told the status, and may have headers to send."""

    def status(self, status: int) -> None:
        """The status of the answer."""

    def headers(self) -> Headers:
        """Headers that go with the request, such as ``traceparent``."""


#: the path and the endpoint of a call give what is entered around it
Watch = Callable[[str, "Endpoint"], AbstractContextManager[Watcher]]


#: was the connection of this task's last request used before?
REUSED: ContextVar[bool] = ContextVar("REUSED", default=False)
#: the endpoints that the attempts of a call have asked so far
ASKED: ContextVar[set[Endpoint] | None] = ContextVar("ASKED", default=None)


class _Connection(ResponseHandler):
    """A connection that leaves no reader waiting, and is gone when it is closed.

    aiohttp tells a reader when the connection is lost, but not when the framing of a body breaks or
    when it closes the connection itself: the reader would wait for ever.  And one that is closed would
    first send what is left of a request that nobody waits for, to a server that may read nothing.
    """

    def set_exception(self, error: BaseException, *cause: Any) -> None:
        body = self._payload
        super().set_exception(error, *cause)
        _break(body, error)

    def close(self) -> None:
        body, wire = self._payload, self.transport
        if wire is not None and wire.get_write_buffer_size():
            wire.abort()
        super().close()
        _break(body, aiohttp.ClientPayloadError())


def _break(body: aiohttp.StreamReader | None, error: BaseException) -> None:
    """Tell the reader of a body that no more of it will come."""
    if body is not None and not body.is_eof() and body.exception() is None:
        known = isinstance(error, aiohttp.ClientError)
        body.set_exception(error if known else aiohttp.ClientPayloadError())


class _Pool(aiohttp.TCPConnector):
    """Tells of each connection that it gives whether it was used before.

    aiohttp's own hooks for this (``TraceConfig``) cost a fifth of a call.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory: Any = functools.partial(_Connection, loop=self._loop)
        self._used: WeakSet[Any] = WeakSet()

    async def connect(self, *args: Any, **options: Any) -> Any:
        connection = await super().connect(*args, **options)
        used = connection.protocol in self._used
        REUSED.set(used)
        if not used:
            self._used.add(connection.protocol)
        return connection


class Wire:
    """Connections to the servers of a model; ``transport`` is a seam that a test can replace.

    Raises ``BadInput`` when the environment names a proxy or certificates that cannot be used.
    """

    #: entered around each call, for metrics and traces
    watch: Watch | None = None

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        connect_seconds: float,
        read_seconds: float,
        transport: Transport | None = None,
    ) -> None:
        self.endpoints = tuple(endpoints)
        self._transport = transport
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=connect_seconds, sock_read=read_seconds
        )
        self._whole = connect_seconds + 2 * read_seconds
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._turn = 0
        self._keys = sorted({e.key for e in self.endpoints if e.key}, key=len, reverse=True)
        self._proxies: dict[Endpoint, URL | None] = {}
        self._trust: ssl.SSLContext | None = None
        if transport is not None:
            return
        try:
            for endpoint in self.endpoints:
                self._proxies[endpoint] = None if endpoint.local else proxy_of(endpoint.base)
                if endpoint.base.startswith("https:"):
                    names = ("SSL_CERT_FILE", "SSL_CERT_DIR")
                    self._trust = trusted(*(os.environ.get(name) or None for name in names))
        except (OSError, ValueError) as error:
            raise BadInput(
                "the proxy or the certificates that the environment names cannot be used "
                f"({type(error).__name__}: {self.clean(str(error))})"
            ) from None

    def pick(self, tried: Collection[Endpoint] = (), avoid: Collection[Endpoint] = ()) -> Endpoint:
        """The least loaded endpoint that is well and was not ``tried``, in turn among equals.

        One of ``avoid`` is taken only where no other is well; where none is, the one that will be
        soonest.
        """
        if len(self.endpoints) == 1:
            return self.endpoints[0]
        now = monotonic()
        left = [e for e in self.endpoints if e not in tried]
        ready = [e for e in left if e.ready(now)]
        ready = [e for e in ready if e not in avoid] or ready
        if ready:
            least = min(e.in_flight for e in ready)
            equal = [e for e in ready if e.in_flight == least]
            self._turn += 1
            chosen = equal[self._turn % len(equal)]
        else:
            chosen = min(left, key=lambda e: max(e.open_until, e.busy_until))
        return chosen

    def another(self, avoid: Collection[Endpoint]) -> bool:
        """Is an endpoint well that is not one of these?"""
        now = monotonic()
        return any(e not in avoid and e.ready(now) for e in self.endpoints)

    async def check(self, endpoint: Endpoint) -> bool:
        """Does it answer ``GET /models`` in ``CHECK`` seconds, whatever it says?  Then it is well."""
        exchange = Exchange(self, "/models", _nothing, {}, "GET", endpoint)
        try:
            async with asyncio.timeout(CHECK), exchange as answer:
                await answer.read(PIECES)
        except TimeoutError:
            endpoint.failed()
            return False
        except Malformed:
            return True  # a long list
        except ModelError:
            return False
        return answer.status < 500

    async def ask(
        self, endpoint: Endpoint, method: str, url: str, headers: CIMultiDict[str], raw: bytes
    ) -> tuple[int, Headers, Callable[[], Awaitable[bytes]], aiohttp.ClientResponse | None]:
        """Status, headers, what gives the next part (empty at the end), and what is to be closed."""
        if self._transport is not None:
            status, got, parts = await self._transport(method, url, headers, raw)
            return status, CIMultiDict(got), functools.partial(_next, parts), None
        send = functools.partial(self._deliver, endpoint, method, url, headers, raw)
        if len(raw) <= AT_ONCE:
            response = await send()
        else:
            # aiohttp begins to count when all is sent: a server that reads nothing would hold it
            async with asyncio.timeout(self._whole):
                response = await send()
        return response.status, response.headers, response.content.readany, response

    async def _deliver(
        self, endpoint: Endpoint, method: str, url: str, headers: CIMultiDict[str], raw: bytes
    ) -> aiohttp.ClientResponse:
        REUSED.set(False)
        began = monotonic()
        try:
            return await self._request(False, endpoint, method, url, headers, raw)
        except aiohttp.ClientConnectorError:
            raise
        except DROPPED as error:
            if not (REUSED.get() and _silent(error) and monotonic() - began < STALE):
                raise
        return await self._request(True, endpoint, method, url, headers, raw)

    async def _request(
        self,
        alone: bool,
        endpoint: Endpoint,
        method: str,
        url: str,
        headers: CIMultiDict[str],
        raw: bytes,
    ) -> aiohttp.ClientResponse:
        return await self._session(alone).request(
            method,
            url,
            data=(raw if len(raw) <= PIECES else io.BytesIO(raw)) or None,
            headers=headers,
            allow_redirects=False,
            proxy=self._proxies[endpoint],
        )

    def _session(self, alone: bool) -> aiohttp.ClientSession:
        """The session of the running loop; one whose connections stand ``alone`` pools none."""
        if (found := self._sessions.get(alone)) is not None:
            return found
        trust: ssl.SSLContext | bool = self._trust or True
        if alone:
            pool = _Pool(limit=0, force_close=True, ssl=trust)
        else:
            pool = _Pool(limit=0, keepalive_timeout=KEPT, ssl=trust)
        self._sessions[alone] = aiohttp.ClientSession(
            connector=pool,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,
            # proxies are looked up once, here: aiohttp would in a thread, for each request
            trust_env=False,
            max_line_size=HEADER,
            max_field_size=HEADER,
        )
        return self._sessions[alone]

    def failure(self, error: Exception, host: str) -> ModelError:
        """The error of a connection that could not be made or broke."""
        unsent = isinstance(error, UNSENT)
        if isinstance(error, TimeoutError):
            return TimedOut(f"{host}: no answer in time ({type(error).__name__})", not unsent)
        what = f"{host}: {self.clean(_said(error)).rstrip('.')}"
        hint = "; is the server up?" if isinstance(error, aiohttp.ClientConnectorError) else ""
        return Unreachable(what + hint, not unsent)

    def clean(self, text: str) -> str:
        """A short piece of a server's text, without the keys."""
        for key in self._keys:
            text = text.replace(key, "[key]")
        return " ".join(text.split())[:300]

    async def aclose(self) -> None:
        """Close the pooled connections."""
        while self._sessions:
            await self._sessions.popitem()[1].close()


#: nothing of the request had left when one of these came
UNSENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)
#: what a connection may fail with
BROKEN = (aiohttp.ClientError, OSError, UnicodeError)
#: how a connection ends that the server closed
DROPPED = (
    aiohttp.ServerDisconnectedError,
    aiohttp.ClientOSError,
    aiohttp.ClientConnectionResetError,
)


class Exchange:
    """One request and its answer, any status, as it comes: ``async with`` it.

    A connection that could not be made is made to another endpoint, each once.  Raises ``Unreachable``
    or ``TimedOut`` where none answers, or where the answer breaks off.  Leaving it closes the
    connection unless the answer was read to its end.
    """

    __slots__ = (
        "_content_of",
        "_given",
        "_held",
        "_method",
        "_next",
        "_only",
        "_path",
        "_response",
        "_secret",
        "_trial",
        "_wire",
        "endpoint",
        "headers",
        "status",
    )

    #: who answers
    endpoint: Endpoint
    status: int
    #: of the answer; names in any case
    headers: Headers

    def __init__(
        self,
        wire: Wire,
        path: str,
        content_of: Callable[[Endpoint], bytes],
        headers: Headers,
        method: str,
        only: Endpoint | None = None,
        secret: bool = False,
    ) -> None:
        self._wire, self._path, self._method = wire, path, method
        self._content_of, self._given = content_of, headers
        self._only, self._secret = only, secret
        self._held: AbstractContextManager[Watcher] | None = None
        self._response: aiohttp.ClientResponse | None = None
        self._trial = False

    async def __aenter__(self) -> Exchange:
        wire = self._wire
        if self._only is not None:
            await self._ask(self._only)
            return self
        asked = ASKED.get()
        tried: list[Endpoint] = []
        while True:
            endpoint = wire.pick(tried, asked or ())
            if asked is not None:
                asked.add(endpoint)
            try:
                await self._ask(endpoint)
            except Broken as error:
                tried.append(endpoint)
                if error.worked or len(tried) == len(wire.endpoints):
                    raise
            else:
                return self

    async def _ask(self, endpoint: Endpoint) -> None:
        wire = self._wire
        raw = self._content_of(endpoint)
        headers = CIMultiDict(self._given)
        headers.pop("Authorization", None)
        self.endpoint = endpoint
        endpoint.in_flight += 1
        if endpoint.open_until and self._only is None:
            self._trial = endpoint.trial = True
        watcher = None
        try:
            if wire.watch is not None and self._only is None:
                held = wire.watch(self._path, endpoint)
                watcher = held.__enter__()
                self._held = held
                headers.update(watcher.headers())
            headers.update(endpoint.headers)
            self.status, self.headers, self._next, self._response = await wire.ask(
                endpoint, self._method, endpoint.base + self._path, headers, raw
            )
            if watcher is not None:
                watcher.status(self.status)
        except BROKEN as error:
            endpoint.failed()
            failure = wire.failure(error, endpoint.host)
            self._leave(type(failure), failure, None)
            raise failure from None
        except BaseException as error:
            self._leave(type(error), error, error.__traceback__)
            raise
        if self.status >= 500:
            endpoint.failed()
        else:
            endpoint.answers()
        if self.status in (429, 503):
            endpoint.rest(retry_after(self.headers.get("Retry-After")) or 0.0)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(kind, error, trace)

    def _leave(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        response, self._response = self._response, None
        if response is not None and not response.closed:
            response.close()
        self.endpoint.in_flight -= 1
        if self._trial:
            self.endpoint.trial = self._trial = False
        held, self._held = self._held, None
        if held is not None:
            held.__exit__(kind, error, trace)

    def parts(self) -> AsyncIterator[bytes]:
        """The bytes of the answer as they come."""
        return self

    def __aiter__(self) -> Exchange:
        return self

    async def __anext__(self) -> bytes:
        endpoint = self.endpoint
        try:
            part = await self._next()
        except BROKEN as error:
            if self.status < 500:
                endpoint.failed()
            raise self._wire.failure(error, endpoint.host) from None
        if part:
            if self._secret and len(endpoint.key) >= SECRET:
                key = endpoint.key.encode()
                return part.replace(key, b"*" * len(key))
            return part
        if self.status < 500 and self.status != 429:
            endpoint.well()
        raise StopAsyncIteration

    async def read(self, most: int) -> bytes:
        """The whole answer; raises ``Malformed`` where it has more than ``most`` bytes."""
        parts, size = [], 0
        async for part in self:
            parts.append(part)
            if (size := size + len(part)) > most:
                raise too_long(self.endpoint.host, most)
        return b"".join(parts)


def too_long(host: str, most: int) -> Malformed:
    """The error of an answer that has more than ``most`` bytes."""
    return Malformed(f"{host}: the answer is longer than {most >> 20} MiB")


async def _next(parts: AsyncIterator[bytes]) -> bytes:
    """The next part that is not empty; at the end an empty one."""
    async for part in parts:
        if part:
            return part
    return b""


def _nothing(endpoint: Endpoint) -> bytes:
    return b""


def _silent(error: Exception) -> bool:
    """Did a connection end before a byte of the answer?  A disconnect says what came, if any did."""
    return not isinstance(error, aiohttp.ServerDisconnectedError) or isinstance(error.message, str)


def _said(error: Exception) -> str:
    """What a failure says, without headers, addresses or objects."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or str(error.os_error)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy says {error.status} {error.message}"
    if isinstance(error, aiohttp.ClientResponseError):
        return error.message or type(error).__name__
    if isinstance(error, aiohttp.ClientPayloadError) or not _silent(error):
        return "the answer broke off"
    if isinstance(error, aiohttp.InvalidURL):
        return type(error).__name__
    return str(error) or type(error).__name__
