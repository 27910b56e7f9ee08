"""The gateway as an ASGI application: who asks, what for, may it be, and then the answer.

Plain ASGI, without middleware in between: a client that leaves is noticed at once, and everything that
was begun for it ends.  A request takes this way: key, body, resolution (``resolve``), admission
(``admission``, ``ledger``), then the pass-through (``proxy``) or a strategy's run (``runs``), whose
answer goes out in the form of its endpoint (``chat``, ``responses``, ``completions``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio
import orjson

import outthink
from outthink.core.errors import BadInput, ModelError, OutthinkError, nearest
from outthink.core.nouns import digest
from outthink.core.run import Run
from outthink.gateway.admission import Gate
from outthink.gateway.asgi import Call, ClientLeft, Message, Receive, Send
from outthink.gateway.asking import FORMS, Asking, told
from outthink.gateway.chat import Asked
from outthink.gateway.config import Config, KeyConfig
from outthink.gateway.document import document
from outthink.gateway.errors import Fault, unknown
from outthink.gateway.keys import find_key
from outthink.gateway.metrics import CONTENT_TYPE, Metrics
from outthink.gateway.resolve import Catalog
from outthink.gateway.runs import Shelf, no_such_run
from outthink.gateway.settings import exposed, is_loopback
from outthink.gateway.spans import Spans
from outthink.store import open_store

if TYPE_CHECKING:
    from outthink.gateway.ledger import Ledger

log = logging.getLogger("outthink.gateway")

#: hosts by which a gateway without keys may be called: a web page can make no other name mean it
HERE = ("localhost", "127.0.0.1", "[::1]", "::1")
#: what is shown to anybody
OPEN = ("/healthz", "/readyz", "/openapi.json")
#: settings that a reload cannot change
FIXED = ("host", "port", "workers", "store", "header_bytes", "header_seconds", "drain_seconds")
#: seconds between two looks at servers that were given up
TENDING = 2.0
#: seeded requests that are remembered, to warn where one comes again
SEEDED = 4096


class Gateway:
    """The application; ``async with`` opens its models and its store."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.draining = False
        self.metrics = Metrics(config)
        self.spans = Spans()
        server = config.server
        self.gate = Gate(server.concurrent, server.queue, server.queue_seconds, self.metrics.queued)
        self.shelf = Shelf(server.traces, server.trace_seconds)
        self.runs: set[Run] = set()
        #: what is passed through now
        self.passing: set[anyio.CancelScope] = set()
        self._host = config.server.host
        self.store: Any = None
        self.ledger: Ledger | None = None
        self.catalog = Catalog(config)
        self._seeded: OrderedDict[str, None] = OrderedDict()
        self._document = orjson.dumps(document(outthink.__version__))
        self._created = int(time.time())
        self._stack = contextlib.AsyncExitStack()

    # -- opening, reloading, closing ---------------------------------------------------------

    async def __aenter__(self) -> Gateway:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._closing)
            if self.config.store:
                await self._keep(self.config.store)
            self.catalog = await stack.enter_async_context(Catalog(self.config, self.store))
            self.catalog.check()
            self._watch(self.catalog)
            tending = asyncio.ensure_future(self._tend())
            stack.push_async_callback(_finish, tending)
            stack.push_async_callback(self.spans.aclose)
            self._stack = stack.pop_all()
        return self

    async def _keep(self, url: str) -> None:
        """Open the store."""
        from outthink.gateway.ledger import Ledger

        self.store = await open_store(url)
        self.ledger = Ledger(self.store)

    async def _closing(self) -> None:
        if self.store is not None:
            await self.store.aclose()

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TENDING)
            await self.catalog.tend()

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def reload(self, config: Config) -> None:
        """Take a new configuration; what is under way ends with the old one.

        Raises ``BadInput`` and changes nothing where the new one cannot be used.
        """
        if not config.keys and not is_loopback(self._host):
            raise BadInput(exposed(self._host))  # the socket stays what it was
        lasts = max(self.config.server.deadline_seconds, config.server.deadline_seconds)
        if config.store and self.store is None:
            await self._keep(config.store)
        fresh = Catalog(config, self.store)
        await fresh.__aenter__()
        try:
            fresh.check()
        except BaseException:
            await fresh.__aexit__(None, None, None)
            raise
        old, self.catalog = self.catalog, fresh
        server = config.server
        for name in FIXED:
            if getattr(server, name) != getattr(self.config.server, name):
                log.warning("a new %s needs a restart", name)
        self.config = config
        self.gate.concurrent, self.gate.queue = server.concurrent, server.queue
        self.gate.seconds = server.queue_seconds
        self.metrics.know(config)
        self._watch(fresh)

        async def retire() -> None:
            # its connections are closed when its last request must have ended, or the gateway ends
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(lasts)
            await old.__aexit__(None, None, None)

        self._stack.push_async_exit(fresh)
        self._stack.push_async_callback(_finish, asyncio.ensure_future(retire()))

    def _watch(self, catalog: Catalog) -> None:
        for served in catalog.served.values():
            if served.server is not None:
                served.server.watch = self._watcher
            self.spans.follow(served.model, served.name)
        catalog.opened = self.spans.follow

    def _watcher(self, path: str, endpoint: Any) -> Any:
        return _Watch(self, endpoint)

    def drain(self) -> None:
        """Say that no more should come."""
        self.draining = True
        log.warning("draining: %d requests are under way", self.gate.inside)

    def end_runs(self) -> None:
        """End every run under way with the best answer that it has."""
        for run in list(self.runs):
            run.cancel("draining")
        for scope in list(self.passing):
            scope.deadline = asyncio.get_running_loop().time()

    # -- ASGI ----------------------------------------------------------------------------------

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one exchange."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        call = Call(scope, receive, send)
        try:
            await self._route(call)
        except ClientLeft:
            pass
        except Exception as error:
            await told(call, error)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message: Message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.__aenter__()
                except OutthinkError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.__aexit__(None, None, None)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _route(self, call: Call) -> None:
        path, method = call.path, call.method
        if path in FORMS:
            if method != "POST":
                raise _method("POST")
            await Asking(self, call, FORMS[path], path).answer()
            return
        if path in OPEN and method not in ("GET", "HEAD"):
            raise _method("GET")
        if path == "/healthz":
            await call.reply(200, {"status": "ok"})
            return
        if path == "/readyz":
            ready = not self.draining
            await call.reply(200 if ready else 503, {"status": "ready" if ready else "draining"})
            return
        if path == "/openapi.json":
            await call.respond(200, self._document)
            return
        there = path in ("/v1/models", "/metrics") or path.startswith(("/v1/models/", "/v1/runs/"))
        if not there:
            hint = (
                f"; did you mean /v1{path}?" if f"/v1{path}" in FORMS or path == "/models" else ""
            )
            raise Fault(404, f"no such path: {path[:80]}{hint}", code="path_not_found")
        if method not in ("GET", "HEAD"):
            raise _method("GET")
        if path == "/metrics":
            await self._metrics(call)
            return
        key = self.key(call)
        if path == "/v1/models":
            listed = [self._model(name) for name in await self._names(key)]
            await call.reply(200, {"object": "list", "data": listed})
        elif path.startswith("/v1/models/"):
            name = path.removeprefix("/v1/models/")
            known = await self._names(key)
            # behind a wildcard the upstream judges a name, as it does in a chat
            wild = "*" in self.catalog.served and (key is None or "*" in key.models)
            if name not in known and not wild:
                raise unknown("model", f"no model {name[:80]!r}{nearest(name, known)}")
            await call.reply(200, self._model(name))
        else:
            # what some clients have is the id of the completion
            run = path.removeprefix("/v1/runs/").removeprefix("chatcmpl-")
            await self._trace(call, run, key)

    # -- who asks --------------------------------------------------------------------------------

    def key(self, call: Call) -> KeyConfig | None:
        """The key that a request comes with; raises ``Fault`` 401 or 403."""
        if not self.config.keys:
            if _host(call.headers.get("host", "localhost")) not in HERE:
                raise Fault(
                    403,
                    "this gateway has no keys and answers only to localhost: make one with "
                    "'outthink serve new-key NAME'",
                    code="host_not_allowed",
                )
            return None
        given = call.headers.get("authorization", "")
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            token = call.headers.get("api-key") or call.headers.get("x-api-key") or ""
        if not token.strip():
            raise Fault(401, "no key: send 'Authorization: Bearer KEY'", code="missing_api_key")
        key = find_key(self.config.keys, token.strip())
        if key is None:
            raise Fault(401, "this key is not known", code="invalid_api_key")
        return key

    async def _names(self, key: KeyConfig | None) -> list[str]:
        """The models that a key may ask for, those of the server behind a wildcard among them."""
        names = self.catalog.names(key)
        if "*" in self.catalog.served and (key is None or "*" in key.models):
            names += [n for n in await self.catalog.listed() if n not in names]
        return names

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "outthink"}

    async def _metrics(self, call: Call) -> None:
        if not self.config.server.open_metrics:
            key = self.key(call)
            if key is not None and not key.admin:
                raise Fault(403, "/metrics needs an admin key", code="admin_only")
        kind = [(b"content-type", CONTENT_TYPE.encode())]
        await call.respond(200, self.metrics.text(), kind)

    async def _trace(self, call: Call, run: str, key: KeyConfig | None) -> None:
        owner = key.id if key else None
        found = self.shelf.get(run, owner)
        if found is None and self.store is not None:
            found = await self._stored(run, owner)
        if found is None:
            raise no_such_run(run)
        await call.reply(200, found)

    async def _stored(self, run: str, owner: str | None) -> dict[str, Any] | None:
        try:
            known = await self.store.get_run(run)
        except OutthinkError:
            return None
        mine = known.id == run and known.problem.get("meta", {}).get("key") == owner
        if not mine or known.answer is None:
            return None
        samples = [
            {
                "node": list(s.node),
                "text": s.text,
                "finish": s.finish,
                "tokens": s.total_tokens,
                "role": s.role,
                "scores": {name: values[0] for name, values in s.scores.items()},
            }
            for s in await self.store.samples_of(known)
        ]
        answer = dict(known.answer)
        return {"object": "outthink.run", "id": run, **answer, "samples": samples}

    def seeded(self, asked: Asked, key: KeyConfig | None) -> str | None:
        """A warning where a seeded request comes once more: it is given the same draws."""
        if asked.seed is None:
            return None
        said = json.dumps(asked.body, sort_keys=True)  # orjson writes less deep than it reads
        mark = digest(f"{key.id if key else ''}/{said}")
        before = mark in self._seeded
        self._seeded[mark] = None
        if len(self._seeded) > SEEDED:
            self._seeded.popitem(last=False)
        if not before:
            return None
        return "this request came before with the same seed: leave the seed out for another draw"


class _Watch:
    """Metrics and a span of one HTTP request to an upstream."""

    __slots__ = ("_began", "_endpoint", "_host", "_metrics", "_open", "_span", "_status")

    def __init__(self, gateway: Gateway, endpoint: Any) -> None:
        self._metrics = gateway.metrics
        self._endpoint, self._host, self._open = endpoint, endpoint.host, bool(endpoint.open_until)
        self._status: int | str = "cancelled"
        self._began = 0.0
        self._span = gateway.spans.attempt(endpoint.base_url)

    def __enter__(self) -> _Watch:
        self._began = time.monotonic()
        self._metrics.upstream_started(self._host)
        self._span.__enter__()
        return self

    def status(self, status: int) -> None:
        """The upstream's answer has this status."""
        self._status = status
        self._span.status(status)

    def headers(self) -> Mapping[str, str]:
        """What goes along: the trace's context."""
        return self._span.headers()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, ModelError) and not isinstance(self._status, int):
            name = type(error).__name__.lower()
            self._status = {"timedout": "timeout"}.get(name, name)
        self._metrics.upstream(self._host, self._status, time.monotonic() - self._began)
        if bool(self._endpoint.open_until) != self._open:
            self._metrics.upstream_open(self._host, not self._open)
        self._span.__exit__(kind, error, trace)


def checked(config: Config) -> None:
    """Raise ``BadInput`` where a model cannot be opened, or not do what a strategy asks of it."""

    async def open_all() -> None:
        async with Catalog(config) as catalog:
            catalog.check()

    asyncio.run(open_all())


def _host(header: str) -> str:
    """The host in a Host header, without its port."""
    name, colon, port = header.strip().lower().rpartition(":")
    return (
        name
        if colon and port.isdigit() and (name.endswith("]") or ":" not in name)
        else header.lower()
    )


def _method(allowed: str) -> Fault:
    return Fault(405, f"this path takes {allowed}", code="method_not_allowed", allow=allowed)


async def _finish(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
