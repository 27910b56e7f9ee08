"""One request on its way: read, resolved, admitted, answered, counted.

It is passed through (``proxy``) or a strategy runs for it (``runs``); what comes of that goes out in the
form of its endpoint, whole or as a stream.  Whatever happens, its claims are settled and its line is
written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import anyio
import orjson

from outthink.core.budget import Budget, Meter, Usage
from outthink.core.errors import ModelError
from outthink.core.run import Run
from outthink.gateway import chat, completions, responses
from outthink.gateway.asgi import Call, ClientLeft, dumped, event
from outthink.gateway.chat import Asked
from outthink.gateway.errors import Fault, exhausted, fault_of
from outthink.gateway.proxy import Passing, spent
from outthink.gateway.resolve import Resolved, refuse_beyond
from outthink.gateway.runs import Outcome, solve, trace_of

if TYPE_CHECKING:
    from outthink.gateway.app import Gateway
    from outthink.gateway.config import KeyConfig
    from outthink.gateway.ledger import Account

log = logging.getLogger("outthink.gateway")

#: chunks of a stream that wait for the client to read
PENDING = 64


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


class Asking:
    """A request to one of the endpoints that spend something."""

    def __init__(self, gateway: Gateway, call: Call, form: Form, endpoint: str) -> None:
        self.gateway, self.call, self.form, self.endpoint = gateway, call, form, endpoint
        self.run = secrets.token_hex(8)
        self.key: KeyConfig | None = None
        self.resolved: Resolved | None = None
        self.account: Account | None = None
        self.usage = Usage()
        self.status, self.stopped, self.first = 0, "", 0.0
        self.fault: Fault | None = None
        self.admitted = False
        #: what the client sent, less our own options, for the form to echo
        self.given: dict[str, Any] = {}

    @property
    def plan(self) -> Resolved:
        """What answers; known once the request was read."""
        assert self.resolved is not None
        return self.resolved

    @property
    def passing(self) -> bool:
        """Is it passed through?"""
        return self.plan.strategy is None and self.plan.served.server is not None

    async def answer(self) -> None:
        """All of it."""
        try:
            with self.gateway.spans.request(self.call.scope, self.endpoint) as span:
                try:
                    await self._ask()
                except ClientLeft:
                    self.status = 499
                except Exception as error:
                    self.fault = await told(self.call, error)
                    self.status = self.fault.status
                span.status(self.status or self.call.status)
                span.spent(self.usage)
                span.note(run=self.run, stopped=self.stopped)
        finally:
            self._note()

    async def _ask(self) -> None:
        gateway, call = self.gateway, self.call
        key = self.key = gateway.key(call)
        if gateway.draining:
            raise Fault(503, "the gateway is going down", code="draining", retry_after=1.0)
        body, raw = await call.json(gateway.config.server.body_bytes)
        asked = chat.parse(body, call.headers)
        self.resolved = gateway.catalog.resolve(asked, key)
        self.given = dict(asked.body)
        raw_form = self.passing and self.form.raw
        if self.form.to_chat is not None and not raw_form:
            ours = {"outthink": body["outthink"]} if "outthink" in body else {}
            body = self.form.to_chat({**self.given, **ours})
            plain = {k: v for k, v in body.items() if k != "outthink"}
            asked = replace(chat.parse(plain, call.headers), options=asked.options)
        refuse_beyond(self.plan.served, asked.body)
        call.extra.append((b"x-outthink-run", self.run.encode()))
        async with call.attended():
            place = gateway.gate.enter(key.id if key else None, key.concurrent if key else None)
            async with place, self._accounted():
                gateway.metrics.started()
                self.admitted = True
                last: bytes | None = None
                if raw_form:
                    # of a body with two equal names the server might take the one that was not checked
                    kept = raw if asked.whole and key is None else None
                    last = await self._pass(asked, kept)
                elif asked.stream:
                    await self._stream(asked)
                else:
                    last = await self._whole(asked)
            # the place and the key's share are given back first: the client's next request may need them
            if last is None:
                await call.begin()
                await call.end()
            else:
                await call.respond(200, last)

    @contextlib.asynccontextmanager
    async def _accounted(self) -> AsyncIterator[None]:
        """Within what the key may spend, settled at the end whatever happens."""
        if self.key is None or self.gateway.ledger is None:
            yield
            return
        deadline = self.gateway.config.server.deadline_seconds
        account = await self.gateway.ledger.admit(self.key, time.time() + deadline)
        self.account = account
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await account.close()

    # -- the pass-through ------------------------------------------------------------------------

    async def _pass(self, asked: Asked, raw: bytes | None) -> bytes | None:
        """What is passed through, ``None`` where it was a stream."""
        passing = Passing(self.plan, asked, self.form.path, raw)
        async with self._sending(passing):
            if asked.stream:
                await self._pass_stream(passing)
                return None
            answer = await passing.answer()
        self.call.extra += self._headers(passing.usage)
        return answer

    async def _pass_stream(self, passing: Passing) -> None:
        call = self.call
        call.extra += self._headers(None)
        stream = passing.stream()
        async with contextlib.aclosing(stream):
            async for part in stream:
                self.first = self.first or call.seconds
                await call.begin()
                await call.send(part)

    @contextlib.asynccontextmanager
    async def _sending(self, passing: Passing) -> AsyncIterator[None]:
        """Around what is passed through: within its limits and its deadline, and settled at the end."""
        budget = self.plan.budget
        try:
            if self._limited(passing.asked):
                await passing.reserve(self.account, replace(budget, seconds=None))
            left = (budget.seconds or math.inf) - self.call.seconds
            with (
                self.gateway.spans.call(self.plan.served.name) as span,
                anyio.fail_after(None if math.isinf(left) else max(left, 0.0)) as scope,
            ):
                self.gateway.passing.add(scope)
                try:
                    yield
                finally:
                    self.gateway.passing.discard(scope)
                span.spent(passing.usage)
        except TimeoutError:
            passing.failed(worked=True)
            if self.gateway.draining:
                raise exhausted("draining") from None
            raise Fault(
                504, "the deadline passed before the answer was whole", code="deadline_exceeded"
            ) from None
        except ModelError as error:
            passing.failed(worked=bool(getattr(error, "worked", False)))
            raise
        finally:
            self.usage = passing.settle()

    def _limited(self, asked: Asked) -> bool:
        """Does a limit bind that a pass-through must keep to, beside the deadline?"""
        config = self.gateway.config
        alias = config.aliases.get(self.plan.label)
        budgets = (asked.options.budget, config.server.budget, alias.budget if alias else None)
        told = {name for budget in budgets if budget is not None for name in budget.limits()}
        return bool(told - {"seconds"} or (self.account is not None and self.account.limits()))

    # -- a whole answer in the form of the endpoint ------------------------------------------------

    async def _whole(self, asked: Asked) -> bytes:
        if self.passing:
            one = Passing(self.plan, asked, self.form.path)
            async with self._sending(one):
                done = orjson.loads(await one.answer())
                if one.usage is not None and one.usage.estimated:
                    done["usage"] = chat.usage_of(one.usage)
        else:
            done = await self._done(asked, None)
        self.call.extra += self._headers(self.usage, done.get("outthink"))
        form = self.form.from_chat
        return dumped(form(done, self.given) if form else done)

    async def _done(
        self, asked: Asked, observer: Callable[[str, Mapping[str, Any]], None] | None
    ) -> dict[str, Any]:
        """The chat completion of a strategy's run."""
        gateway, plan = self.gateway, self.plan
        seconds = (plan.budget.seconds or math.inf) - self.call.seconds
        if seconds <= 0:
            raise Fault(504, "the deadline passed in the queue", code="deadline_exceeded")
        plan = replace(plan, budget=replace(plan.budget, seconds=seconds))
        started: list[Run] = []
        # over all of it: a probe, the run, what makes up for missing choices
        meter = Meter(Budget(), self.account)

        def start(run: Run) -> None:
            started.append(run)
            gateway.runs.add(run)

        trace = asked.options.trace or gateway.config.server.record
        try:
            with gateway.spans.strategy(plan.strategy_name, plan.label) as span:
                outcome = await solve(
                    plan, asked, self.key, self.run, account=meter,
                    observer=observer, on_start=start, record=trace,
                )  # fmt: skip
                span.spent(outcome.answer.usage)
                span.note(stopped=outcome.answer.stopped, confidence=outcome.answer.confidence)
        except Fault as fault:
            if fault.code == "budget_exhausted" and self.account is not None:
                raise spent("tokens", self.account) from None
            raise
        finally:
            for run in started:
                gateway.runs.discard(run)
            self.usage = meter.spent
        return self._completion(asked, outcome, trace)

    def _completion(self, asked: Asked, outcome: Outcome, trace: bool) -> dict[str, Any]:
        answer = outcome.answer
        if warning := self.gateway.seeded(asked, self.key):
            answer = replace(answer, notes=(*answer.notes, warning))
        self.stopped = answer.stopped
        done = chat.completion(self.run, int(time.time()), self.plan.label, outcome.choices, answer)
        kept = {"object": "outthink.run", "id": self.run, **answer.to_json()}
        if trace:
            kept |= trace_of(answer)
        else:
            # what was said is nobody's to look up unless the client asked for it
            kept = {k: v for k, v in kept.items() if k not in ("answer", "text", "distribution")}
            kept["samples_kept"] = 'no: ask with "outthink": {"trace": true}'
        self.gateway.shelf.put(self.run, self.key.id if self.key else None, kept)
        return done

    # -- a stream in the form of the endpoint -------------------------------------------------------

    async def _stream(self, asked: Asked) -> None:
        """The answer's chunks as soon as it is decided, with signs of life until then."""
        # bounded: a client that does not read holds the upstream back
        queue: asyncio.Queue[Any] = asyncio.Queue(PENDING)
        call, form, failure = self.call, self.form, list[Exception]()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._produce, asked, queue)
            if asked.options.progress:
                await call.begin()
            try:
                source = self._pieces(queue)
                shaped = form.events(source, self.given) if form.events else _named(source)
                async for name, value in shaped:
                    await call.begin()
                    await call.send(event(value, name))
                if form.done and not self.fault:
                    await call.send(b"data: [DONE]\n\n")
            except Exception as error:
                tasks.cancel_scope.cancel()
                failure.append(error)
        if failure:
            raise failure[0]

    async def _produce(self, asked: Asked, queue: asyncio.Queue[Any]) -> None:
        """Put into the queue what is to go out: chunks, signs of progress, an end or an error."""

        def observe(kind: str, data: Mapping[str, Any]) -> None:
            wanted = asked.options.progress and kind in ("sample", "scores", "proposal")
            if wanted and not queue.full():
                queue.put_nowait(("progress", self._progress(kind, data)))

        try:
            if self.passing:
                await self._chunks_passed(asked, queue)
            else:
                done = await self._done(asked, observe)
                usage = asked.include_usage or self.form.events is not None
                for piece in chat.chunks(done, usage):
                    await queue.put(("chunk", piece))
            await queue.put(("end", None))
        except Exception as error:
            await queue.put(("error", error))

    async def _chunks_passed(self, asked: Asked, queue: asyncio.Queue[Any]) -> None:
        """The upstream's own chunks, for a form that translates them."""
        body = {k: v for k, v in asked.body.items() if k != "stream_options"}
        asked = replace(asked, include_usage=False, body=body)
        one = Passing(self.plan, asked, self.form.path)
        head: dict[str, Any] = {}
        async with self._sending(one):
            stream = one.stream()
            async with contextlib.aclosing(stream):
                async for part in stream:
                    for line in part.splitlines():
                        data = line[5:].strip()
                        if line.startswith(b"data:") and data != b"[DONE]":
                            chunk = orjson.loads(data)
                            chunk.pop("usage", None)  # the true one comes at the end
                            if chunk.get("choices"):
                                head = {k: v for k, v in chunk.items() if k != "choices"}
                                await queue.put(("chunk", chunk))
            used = one.settle()
            facts = {"run": self.run, "calls": used.calls, "estimated": used.estimated}
            last = {**head, "choices": [], "usage": chat.usage_of(used), "outthink": facts}
            await queue.put(("chunk", last))

    async def _pieces(self, queue: asyncio.Queue[Any]) -> AsyncIterator[dict[str, Any]]:
        """What the queue has, until its end; an error is raised where nothing was sent yet."""
        while True:
            kind, value = await self._next(queue)
            if kind == "end":
                return
            if kind == "error":
                if not self.call.streaming:
                    raise value
                self.fault = fault_of(value)
                self.status = self.fault.status
                _log(value, self.fault)
                yield self.fault.body()
                return
            if kind == "chunk":
                self.first = self.first or self.call.seconds
            yield value

    async def _next(self, queue: asyncio.Queue[Any]) -> Any:
        """The next thing to send; a comment goes out where none comes for a while."""
        while True:
            try:
                async with asyncio.timeout(self.gateway.config.server.keepalive_seconds):
                    return await queue.get()
            except TimeoutError:
                await self.call.begin()
                await self.call.send(b": keep-alive\n\n")

    def _progress(self, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """A sign of progress as a chunk without choices."""
        told: dict[str, Any] = {"event": kind}
        if kind == "sample":
            told |= {"tokens": data["tokens"], "finish": data["finish"]}
        elif kind == "proposal":
            told |= {"answer": data["answer"], "distribution": dict(data["distribution"])}
        return {
            "id": f"chatcmpl-{self.run}",
            "object": "outthink.progress",
            "created": int(time.time()),
            "model": self.plan.label,
            "choices": [],
            "outthink": {"run": self.run, "seconds": round(self.call.seconds, 3), **told},
        }

    # -- the books ---------------------------------------------------------------------------------

    def _headers(
        self, usage: Usage | None, facts: Mapping[str, Any] | None = None
    ) -> list[tuple[bytes, bytes]]:
        """The headers that say what was done."""
        found: dict[str, Any] = {
            "strategy": "pass-through" if self.passing else self.plan.strategy_name
        }
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
            (f"x-outthink-{k}".encode(), str(v).encode("latin-1", "replace"))
            for k, v in found.items()
        ]

    def _note(self) -> None:
        """Count a request that has ended, and write its line into the log."""
        status = self.status or self.call.status or 499
        key = self.key.name if self.key else ""
        model, strategy, shown = "", "", ""
        if self.resolved is not None:
            model = self.resolved.label
            strategy = "" if self.passing else self.resolved.strategy_name
            shown = strategy or "pass-through"
        code = (self.fault.code or "invalid") if self.fault else ""
        seconds, metrics = self.call.seconds, self.gateway.metrics
        if self.admitted:
            metrics.finished(
                self.endpoint, model, strategy, key, status, seconds, self.usage, self.stopped, code
            )
            if self.first:
                metrics.first_token(self.endpoint, model, strategy, self.first)
        else:
            metrics.refused(code or "left", key, self.endpoint, status, model, strategy)
        if log.isEnabledFor(logging.INFO):
            usage = self.usage
            line: dict[str, Any] = {
                "t": round(time.time(), 3),
                "run": self.run,
                "key": key,
                "path": self.endpoint,
                "model": model,
                "strategy": shown,
                "status": status,
                "seconds": round(seconds, 4),
                "calls": usage.calls,
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "usd": usage.usd,
                "stopped": self.stopped,
                **({"error": code} if code else {}),
            }
            log.info("%s", orjson.dumps(line).decode())


async def told(call: Call, error: Exception) -> Fault:
    """Answer with an error, as far as anything can still be said."""
    fault = fault_of(error)
    _log(error, fault)
    with contextlib.suppress(OSError, RuntimeError):
        if call.streaming or not call.status:
            await call.fail(fault)
    return fault


def _log(error: Exception, fault: Fault) -> None:
    """An error of our own goes into the log: where, not what, since that may hold a prompt."""
    if fault.status == 500 and not isinstance(error, (Fault, ModelError)):
        name = type(error).__name__
        quiet = (RuntimeError, RuntimeError(name), error.__traceback__)
        log.error("a request failed: %s", name, exc_info=quiet)


async def _named(source: AsyncIterator[dict[str, Any]]) -> AsyncIterator[tuple[str | None, Any]]:
    """Chunks as events: only signs of progress have a name."""
    async for value in source:
        yield ("outthink.progress" if value.get("object") == "outthink.progress" else None), value
