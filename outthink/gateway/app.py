"""The gateway as an ASGI application: who asks, what for, may it be, and then the answer.

Plain ASGI, without middleware in between: a client that leaves is noticed at once, and everything that
was begun for it ends.  A request takes this way: key, body, resolution (``resolve``), admission
(``admission``, ``ledger``), then the pass-through (``proxy``) or a strategy's run (``runs``), whose
answer goes out in the form of its endpoint (``chat``, ``responses``, ``completions``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import anyio
import orjson

import outthink
from outthink.core.budget import Budget, Meter, Usage
from outthink.core.errors import ModelError, OutthinkError, StoreError
from outthink.core.nouns import digest
from outthink.core.run import Run
from outthink.gateway import chat, completions, responses
from outthink.gateway.admission import Gate
from outthink.gateway.asgi import JSON, Call, ClientLeft, Message, Receive, Send, event
from outthink.gateway.chat import Asked
from outthink.gateway.config import Config, KeyConfig
from outthink.gateway.document import document
from outthink.gateway.errors import Fault, fault_of
from outthink.gateway.keys import find_key
from outthink.gateway.metrics import CONTENT_TYPE, Metrics
from outthink.gateway.proxy import Passing, spent
from outthink.gateway.resolve import Catalog, Resolved, refuse_beyond
from outthink.gateway.runs import Outcome, Shelf, no_such_run, solve, trace_of
from outthink.gateway.spans import Spans
from outthink.store import open_store

if TYPE_CHECKING:
    from outthink.gateway.ledger import Account, Ledger

log = logging.getLogger("outthink.gateway")

#: hosts by which a gateway without keys may be called: a web page can make no other name mean it
HERE = ("localhost", "127.0.0.1", "[::1]", "::1")
#: chunks of a stream that wait for the client to read
PENDING = 64
#: seconds after which it is seen whether the configuration is a new one
TENDED = 60.0
#: seeded requests that are remembered, to warn where one comes again
SEEDED = 4096


@dataclass(frozen=True)
class Form:
    """How an endpoint asks and is answered, in terms of chat completions."""

    path: str
    to_chat: Callable[[dict[str, Any]], dict[str, Any]] | None
    from_chat: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]] | None
    events: Callable[..., AsyncIterator[tuple[str | None, dict[str, Any]]]] | None
    #: does a pass-through go to the same endpoint of the upstream?
    raw: bool
    #: does a stream end with [DONE]?
    done: bool = True


FORMS = {
    "/v1/chat/completions": Form("/chat/completions", None, None, None, True),
    "/v1/completions": Form(
        "/completions", completions.to_chat, completions.from_chat, completions.events, True
    ),
    "/v1/responses": Form(
        "/chat/completions", responses.to_chat, responses.from_chat, responses.events, False, False
    ),
}


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
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TENDED):
                    await self.catalog.tend()

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def reload(self, config: Config) -> None:
        """Take a new configuration; what is under way ends with the old one.

        Raises ``BadInput`` and changes nothing where the new one cannot be used.
        """
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
        self.config = config
        self.gate.concurrent, self.gate.queue = server.concurrent, server.queue
        self.gate.seconds = server.queue_seconds
        self.metrics.know(config)
        self._watch(fresh)

        async def retire() -> None:
            # its connections are closed when its last request must have ended, or the gateway ends
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(server.deadline_seconds)
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

    def end_runs(self) -> None:
        """End every run under way with the best answer that it has."""
        for run in list(self.runs):
            run.cancel("draining")

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
            await self._failed(call, error)

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

    async def _failed(self, call: Call, error: Exception) -> Fault:
        fault = fault_of(error)
        if fault.status == 500 and not isinstance(error, (Fault, ModelError)):
            log.error("a request failed: %s", type(error).__name__, exc_info=_quiet(error))
        with contextlib.suppress(OSError, RuntimeError):
            if call.status and not call.streaming:
                return fault  # an answer was begun: nothing more can be said
            await call.fail(fault)
        return fault

    async def _route(self, call: Call) -> None:
        path, method = call.path, call.method
        if path in FORMS:
            if method != "POST":
                raise _method("POST")
            await self._answer(call, FORMS[path], path)
            return
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
        known = path in ("/v1/models", "/metrics") or path.startswith(("/v1/models/", "/v1/runs/"))
        if not known:
            raise Fault(404, f"no such path: {path[:80]}", code="path_not_found")
        if method not in ("GET", "HEAD"):
            raise _method("GET")
        if path == "/metrics":
            await self._metrics(call)
            return
        key = self._key(call)
        if path == "/v1/models":
            listed = [self._model(name) for name in await self._names(key)]
            await call.reply(200, {"object": "list", "data": listed})
        elif path.startswith("/v1/models/"):
            name = path.removeprefix("/v1/models/")
            if name not in await self._names(key):
                raise Fault(404, f"no model {name[:80]!r}", code="model_not_found", param="model")
            await call.reply(200, self._model(name))
        else:
            await self._trace(call, path.removeprefix("/v1/runs/"), key)

    # -- who asks --------------------------------------------------------------------------------

    def _key(self, call: Call) -> KeyConfig | None:
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
            key = self._key(call)
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

    # -- an answer -------------------------------------------------------------------------------

    async def _answer(self, call: Call, form: Form, endpoint: str) -> None:
        """The three endpoints that spend something."""
        record = _Record(call, endpoint)
        try:
            with self.spans.request(call.scope, endpoint) as span:
                try:
                    await self._ask(call, form, record)
                except ClientLeft:
                    record.status = 499
                except Exception as error:
                    fault = await self._failed(call, error)
                    record.status, record.fault = fault.status, fault
                span.status(record.status or call.status)
                span.spent(record.usage)
                span.note(run=record.run, stopped=record.stopped)
        finally:
            self._note(record)

    async def _ask(self, call: Call, form: Form, record: _Record) -> None:
        key = record.key = self._key(call)
        if self.draining:
            raise Fault(503, "the gateway is going down", code="draining", retry_after=1.0)
        body, raw = await call.json(self.config.server.body_bytes)
        asked = chat.parse(body, call.headers)
        resolved = record.resolved = self.catalog.resolve(asked, key)
        passing = resolved.strategy is None and resolved.served.server is not None
        given = dict(asked.body)
        if form.to_chat is not None and not (passing and form.raw):
            body = form.to_chat(
                {**given, "outthink": body["outthink"]} if "outthink" in body else given
            )
            asked = replace(
                chat.parse({k: v for k, v in body.items() if k != "outthink"}, call.headers),
                options=asked.options,
            )
        refuse_beyond(resolved.served, asked.body)
        call.extra.append((b"x-outthink-run", record.run.encode()))
        async with call.attended():
            queue = self.gate.enter(key.id if key else None, key.concurrent if key else None)
            async with queue, self._account(key) as account:
                self.metrics.started()
                record.admitted = True
                if passing and form.raw:
                    await self._pass(call, form, record, asked, raw, account)
                else:
                    await self._run(call, form, record, asked, given, account, passing)

    @contextlib.asynccontextmanager
    async def _account(self, key: KeyConfig | None) -> AsyncIterator[Account | None]:
        """What the key may spend, settled at the end whatever happens."""
        if key is None or self.ledger is None:
            yield None
            return
        deadline = self.config.server.deadline_seconds
        account = await self.ledger.admit(key, time.time() + deadline)
        try:
            yield account
        finally:
            with anyio.CancelScope(shield=True):
                await account.close()

    # -- the pass-through ------------------------------------------------------------------------

    async def _pass(
        self, call: Call, form: Form, record: _Record, asked: Asked, raw: bytes, account: Any
    ) -> None:
        passing = Passing(record.resolved_now, asked, raw, form.path)
        async with self._sending(call, record, passing, account):
            if asked.stream:
                await self._pass_stream(call, record, passing)
                return
            answer = await passing.answer()
            passing.settle()
            call.extra += _told(record, passing.usage)
            await call.respond(200, answer)

    @contextlib.asynccontextmanager
    async def _sending(
        self, call: Call, record: _Record, passing: Passing, account: Any
    ) -> AsyncIterator[None]:
        """Around what is passed through: within its limits and its deadline, and settled at the end."""
        budget = record.resolved_now.budget
        try:
            bound = passing.asked.options.budget or self._limited(record.resolved_now)
            if bound or (account is not None and account.limits()):
                await passing.reserve(account, replace(budget, seconds=None))
            left = (budget.seconds or math.inf) - call.seconds
            with (
                self.spans.call(record.resolved_now.served.name) as span,
                anyio.fail_after(None if math.isinf(left) else max(left, 0.0)),
            ):
                yield
                span.spent(passing.usage)
        except TimeoutError:
            passing.failed(worked=True)
            raise Fault(
                504, "the deadline passed before the answer was whole", code="deadline_exceeded"
            ) from None
        except ModelError as error:
            passing.failed(worked=bool(getattr(error, "worked", False)))
            raise
        finally:
            passing.settle()
            record.usage = passing.usage or Usage()

    def _limited(self, resolved: Resolved) -> bool:
        """Does a limit bind that a pass-through must keep to, beside the deadline?"""
        alias = self.config.aliases.get(resolved.label)
        return bool(self.config.server.budget or (alias and alias.budget))

    async def _pass_stream(self, call: Call, record: _Record, passing: Passing) -> None:
        call.extra += _told(record, None)

        def opened() -> None:
            if not record.first:
                record.first = call.seconds

        stream = passing.stream(opened)
        async with contextlib.aclosing(stream):
            async for part in stream:
                await call.begin()
                await call.send(part)
        passing.settle()
        await call.begin()
        await call.end()

    # -- a strategy, or a form that is not passed through raw ---------------------------------------

    async def _run(
        self,
        call: Call,
        form: Form,
        record: _Record,
        asked: Asked,
        given: dict[str, Any],
        account: Any,
        passing: bool,
    ) -> None:
        if asked.stream:
            await self._run_stream(call, form, record, asked, given, account, passing)
            return
        if passing:
            one = Passing(record.resolved_now, asked, orjson.dumps(asked.body), form.path)
            async with self._sending(call, record, one, account):
                done = orjson.loads(await one.answer())
        else:
            done = await self._done(call, record, asked, account, None)
        call.extra += _told(record, record.usage, done.get("outthink"))
        await call.reply(200, form.from_chat(done, given) if form.from_chat else done)

    async def _done(
        self,
        call: Call,
        record: _Record,
        asked: Asked,
        account: Any,
        observer: Callable[[str, Mapping[str, Any]], None] | None,
    ) -> dict[str, Any]:
        """The chat completion of a strategy's run."""
        resolved = record.resolved_now
        seconds = (resolved.budget.seconds or math.inf) - call.seconds
        if seconds <= 0:
            raise Fault(504, "the deadline passed in the queue", code="deadline_exceeded")
        resolved = replace(resolved, budget=replace(resolved.budget, seconds=seconds))
        started: list[Run] = []

        def start(run: Run) -> None:
            started.append(run)
            self.runs.add(run)

        trace = asked.options.trace or self.config.server.record
        try:
            with self.spans.strategy(resolved.strategy_name, resolved.label) as span:
                outcome = await solve(
                    resolved, asked, record.key, record.run, account=account,
                    observer=observer, on_start=start, record=trace,
                )  # fmt: skip
                span.spent(outcome.answer.usage)
                span.note(stopped=outcome.answer.stopped, confidence=outcome.answer.confidence)
        except Fault as fault:
            if fault.code == "budget_exhausted" and account is not None:
                raise spent("tokens", account) from None
            raise
        finally:
            for run in started:
                self.runs.discard(run)
            record.usage = sum((r.meter.spent for r in started), Usage())
        return self._completion(record, asked, outcome, trace)

    def _completion(
        self, record: _Record, asked: Asked, outcome: Outcome, trace: bool
    ) -> dict[str, Any]:
        answer = outcome.answer
        if warning := self._again(asked, record.key):
            answer = replace(answer, notes=(*answer.notes, warning))
        record.stopped = answer.stopped
        done = chat.completion(
            record.run, int(time.time()), record.resolved_now.label, outcome.choices, answer
        )
        kept = {"object": "outthink.run", "id": record.run, **answer.to_json()}
        if trace:
            kept |= trace_of(answer)
        else:
            # what was said is nobody's to look up unless the client asked for it
            kept = {k: v for k, v in kept.items() if k not in ("answer", "text", "distribution")}
        self.shelf.put(record.run, record.key.id if record.key else None, kept)
        return done

    def _again(self, asked: Asked, key: KeyConfig | None) -> str | None:
        """A warning where a seeded request comes once more: it is given the same draws."""
        if asked.seed is None:
            return None
        mark = digest(
            f"{key.id if key else ''}/{orjson.dumps(asked.body, option=orjson.OPT_SORT_KEYS).decode()}"
        )
        before = mark in self._seeded
        self._seeded[mark] = None
        if len(self._seeded) > SEEDED:
            self._seeded.popitem(last=False)
        if not before:
            return None
        return "this request came before with the same seed: leave the seed out for another draw"

    async def _run_stream(
        self,
        call: Call,
        form: Form,
        record: _Record,
        asked: Asked,
        given: dict[str, Any],
        account: Any,
        passing: bool,
    ) -> None:
        """A stream: the answer's chunks as soon as it is decided, with signs of life until then."""
        # bounded: a client that does not read holds the upstream back
        queue: asyncio.Queue[Any] = asyncio.Queue(PENDING)
        progress = asked.options.progress

        def observe(kind: str, data: Mapping[str, Any]) -> None:
            if progress and kind in ("sample", "scores", "proposal") and not queue.full():
                queue.put_nowait(("progress", _progress(record, kind, data)))

        async def produce() -> None:
            try:
                if passing:
                    await self._chunks_passed(call, record, asked, account, queue)
                else:
                    done = await self._done(call, record, asked, account, observe)
                    for piece in chat.chunks(done, asked.include_usage or form.events is not None):
                        await queue.put(("chunk", piece))
                await queue.put(("end", None))
            except Exception as error:
                await queue.put(("error", error))

        async def pieces() -> AsyncIterator[dict[str, Any]]:
            while True:
                kind, value = await self._next(call, queue)
                if kind == "end":
                    return
                if kind == "error":
                    if not call.streaming:
                        raise value
                    fault = await self._told_late(value)
                    record.status, record.fault = fault.status, fault
                    yield fault.body()
                    return
                if kind == "chunk" and not record.first:
                    record.first = call.seconds
                yield value

        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(produce)
            if progress:
                await call.begin()
            try:
                source = pieces()
                shaped = form.events(source, given) if form.events else _plain(source)
                async for name, value in shaped:
                    await call.begin()
                    await call.send(event(value, name))
                if form.done and not record.fault:
                    await call.send(b"data: [DONE]\n\n")
                await call.begin()
                await call.end()
            except Exception as error:
                tasks.cancel_scope.cancel()
                failure = error
        if failure is not None:
            raise failure

    async def _told_late(self, error: Exception) -> Fault:
        fault = fault_of(error)
        if fault.status == 500 and not isinstance(error, Fault):
            log.error("a stream failed: %s", type(error).__name__, exc_info=_quiet(error))
        return fault

    async def _next(self, call: Call, queue: asyncio.Queue[Any]) -> Any:
        """The next thing to send; a comment goes out where none comes for a while."""
        while True:
            try:
                async with asyncio.timeout(self.config.server.keepalive_seconds):
                    return await queue.get()
            except TimeoutError:
                await call.begin()
                await call.send(b": keep-alive\n\n")

    async def _chunks_passed(
        self, call: Call, record: _Record, asked: Asked, account: Any, queue: asyncio.Queue[Any]
    ) -> None:
        """The upstream's own chunks, for a form that translates them."""
        body = {**asked.body, "stream_options": {"include_usage": True}}
        asked = replace(asked, include_usage=True, body=body)
        one = Passing(record.resolved_now, asked, orjson.dumps(body), "/chat/completions")
        async with self._sending(call, record, one, account):
            stream = one.stream(lambda: None)
            async with contextlib.aclosing(stream):
                async for part in stream:
                    for line in part.splitlines():
                        data = line[5:].strip()
                        if line.startswith(b"data:") and data != b"[DONE]":
                            await queue.put(("chunk", orjson.loads(data)))

    # -- the books ---------------------------------------------------------------------------------

    def _note(self, record: _Record) -> None:
        """Count a request that has ended, and write its line into the log."""
        status = record.status or record.call.status or 499
        key = record.key.name if record.key else ""
        model = record.resolved.label if record.resolved else ""
        strategy = (
            record.resolved.strategy_name if record.resolved and record.resolved.strategy else ""
        )
        seconds = record.call.seconds
        if record.admitted:
            self.metrics.finished(
                record.endpoint, model, strategy, key, status, seconds, record.usage, record.stopped,
                record.fault.code or "" if record.fault else "",
            )  # fmt: skip
            if record.first:
                self.metrics.first_token(record.endpoint, model, strategy, record.first)
        else:
            reason = (record.fault.code if record.fault else "") or "invalid"
            self.metrics.refused(reason, key, record.endpoint, status, model, strategy)
        if log.isEnabledFor(logging.INFO):
            u = record.usage
            line: dict[str, Any] = {
                "t": round(time.time(), 3),
                "run": record.run,
                "key": key,
                "path": record.endpoint,
                "model": model,
                "strategy": strategy or "pass-through",
                "status": status,
                "seconds": round(seconds, 4),
                "calls": u.calls,
                "prompt_tokens": u.prompt_tokens,
                "completion_tokens": u.completion_tokens,
                "usd": u.usd,
                "stopped": record.stopped,
            }
            if record.fault:
                line["error"] = record.fault.code
            log.info("%s", orjson.dumps(line).decode())


class _Record:
    """What is known of a request as it goes."""

    def __init__(self, call: Call, endpoint: str) -> None:
        self.call, self.endpoint = call, endpoint
        self.run = secrets.token_hex(8)
        self.key: KeyConfig | None = None
        self.resolved: Resolved | None = None
        self.usage = Usage()
        self.status, self.stopped, self.first = 0, "", 0.0
        self.fault: Fault | None = None
        self.admitted = False

    @property
    def resolved_now(self) -> Resolved:
        """What answers; known once the request was read."""
        assert self.resolved is not None
        return self.resolved


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


async def _plain(source: AsyncIterator[dict[str, Any]]) -> AsyncIterator[tuple[str | None, Any]]:
    async for value in source:
        yield ("outthink.progress" if value.get("object") == "outthink.progress" else None), value


def _progress(record: _Record, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """A sign of progress as a chunk without choices."""
    told: dict[str, Any] = {"event": kind}
    if kind == "sample":
        told |= {"tokens": data["tokens"], "finish": data["finish"]}
    elif kind == "proposal":
        told |= {"answer": data["answer"], "distribution": dict(data["distribution"])}
    return {
        "id": f"chatcmpl-{record.run}",
        "object": "outthink.progress",
        "created": int(time.time()),
        "model": record.resolved_now.label,
        "choices": [],
        "outthink": {"run": record.run, "seconds": round(record.call.seconds, 3), **told},
    }


def _told(
    record: _Record, usage: Usage | None, facts: Mapping[str, Any] | None = None
) -> list[tuple[bytes, bytes]]:
    """The headers that say what was done."""
    found: dict[str, Any] = {"strategy": record.resolved_now.strategy_name}
    if usage is not None:
        found |= {
            "calls": usage.calls,
            "prompt-tokens": usage.prompt_tokens,
            "completion-tokens": usage.completion_tokens,
            "usd": f"{usage.usd:.6f}",
        }
        if usage.estimated:
            found["estimated"] = "true"
    if facts:
        found["stopped"] = facts["stopped"]
        if facts["confidence"] is not None:
            found["confidence"] = f"{facts['confidence']:.4f}"
    return [
        (f"x-outthink-{k}".encode(), str(v).encode("latin-1", "replace")) for k, v in found.items()
    ]


def _host(header: str) -> str:
    """The host in a Host header, without its port."""
    name, colon, port = header.strip().lower().rpartition(":")
    return (
        name
        if colon and port.isdigit() and (name.endswith("]") or ":" not in name)
        else header.lower()
    )


def _method(allowed: str) -> Fault:
    return Fault(405, f"this path takes {allowed}", code="method_not_allowed")


def _quiet(error: Exception) -> Any:
    """Where an error happened, without what it says: that may hold a prompt."""
    return (type(error), type(error)("(not shown)"), error.__traceback__) if not error.args else (
        type(error), RuntimeError(type(error).__name__), error.__traceback__
    )  # fmt: skip


async def _finish(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


__all__ = ["JSON", "Budget", "Gateway", "Meter", "StoreError"]
