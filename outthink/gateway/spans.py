"""Traces by OpenTelemetry, one tree a request, by its conventions for HTTP and for generative AI.

``POST /v1/chat/completions`` (server) holds ``invoke_workflow STRATEGY`` holds one ``chat MODEL`` a call
of a model; a pass-through holds its one call itself.  The standard ``OTEL_*`` variables say whether and
where spans go.  Without them nothing is made, and a trace that a client began is passed on as it came.

No text of a prompt, an answer or an error is ever in a span, whatever
``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` says: one variable would copy what all clients
say to where the gateway's keys do not reach.  What a run said is in the store, for the key that made it.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import threading
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread

import outthink
from outthink.core.budget import Usage
from outthink.core.model import Request

log = logging.getLogger("outthink.gateway")

#: seconds for the last spans to go out at the end
CLOSING = 5.0
CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_STATE = re.compile(rb"[ -~]{1,512}")
_NOTHING: Mapping[str, str] = {}
#: the trace of a client, where no spans are made
_CARRIED: ContextVar[Mapping[str, str]] = ContextVar("_CARRIED", default=_NOTHING)


class Span:
    """A span as the gateway sees it, entered with ``with``; this one is none, and does nothing."""

    __slots__ = ()

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def status(self, status: int) -> None:
        """The HTTP status of the answer."""

    def spent(self, usage: Usage | None, finishes: Sequence[str] = ()) -> None:
        """What it cost, and why each text ended."""

    def note(self, **facts: str | int | float | bool | None) -> None:
        """Facts of our own: attributes ``outthink.NAME``; never a text from a request."""

    def headers(self) -> Mapping[str, str]:
        """What an upstream is sent so that its spans join the trace."""
        return _CARRIED.get()


OFF = Span()


class Spans:
    """Makes the spans of a process; ``provider`` is what the variables of the environment name."""

    def __init__(self, provider: Any = None) -> None:
        self._provider = provider if provider is not None else _provider(os.environ)
        self._made: _Maker | None = None
        if self._provider is not None:
            self._made = _Maker(self._provider)

    @property
    def on(self) -> bool:
        """Are spans made?"""
        return self._made is not None

    def request(self, scope: Mapping[str, Any], endpoint: str) -> Span:
        """The root: a request to an ``endpoint`` (a path's template), within the client's trace if any."""
        if self._made is not None:
            return self._made.request(scope, endpoint)
        for name, _ in scope["headers"]:
            if name == b"traceparent":
                return _Carried(scope)
        return OFF

    def strategy(self, name: str, model: str) -> Span:
        """A run of a strategy (its registered name) on a model."""
        return OFF if self._made is None else self._made.strategy(name, model)

    def call(self, model: str, operation: str = "chat") -> Span:
        """A call of a model at a server, with all its attempts."""
        if self._made is None:
            return OFF
        return self._made.call(model, operation, self._made.client, {})

    def attempt(self, url: str) -> Span:
        """One HTTP request of a call: tells the call which server answers, and what failed.

        ``url`` is the endpoint's; it makes no span of its own.
        """
        return OFF if self._made is None else self._made.attempt(url)

    def carried(self) -> Mapping[str, str]:
        """What an upstream is sent so that its spans join the trace of this task."""
        return _CARRIED.get() if self._made is None else self._made.carried()

    def follow(self, model: Any, name: str) -> None:
        """Have each call of an opened model be a span, whoever makes it; ``name`` is the model's."""
        if self._made is not None and not getattr(model, "followed", False):
            self._made.follow(model, name)

    async def aclose(self) -> None:
        """Send what is left, for ``CLOSING`` seconds at most."""
        if self._provider is None:
            return
        # a collector that does not answer must not hold up the end of the process
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        await anyio.to_thread.run_sync(last.join, CLOSING)


class _Carried(Span):
    """A request whose trace is the client's alone: it is passed on, if it is well formed."""

    __slots__ = ("_before", "_scope")

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self._scope = scope

    def __enter__(self) -> Span:
        found = dict(self._scope["headers"])
        parent, state = found[b"traceparent"], found.get(b"tracestate", b"")
        headers = dict[str, str]()
        if _PARENT.fullmatch(parent):
            headers["traceparent"] = parent.decode()
            if _STATE.fullmatch(state):
                headers["tracestate"] = state.decode()
        self._before = _CARRIED.set(headers)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _CARRIED.reset(self._before)


# -- with OpenTelemetry --------------------------------------------------------------------------


def _provider(environ: Mapping[str, str]) -> Any:
    """What the variables of the environment name; ``None`` where they ask for no traces.

    Where the library is missing this is told once: whole clusters set these variables for everybody.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    kind = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if not kind:
        kind = "otlp" if any(environ.get(name) for name in _ENDPOINTS) else "none"
    if kind == "none":
        return None
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), "http/protobuf")
    try:
        exporter = _exporter(kind, protocol)
    except ImportError:
        what = "opentelemetry-exporter-otlp-proto-grpc" if protocol == "grpc" else "OpenTelemetry"
        log.warning(
            "no traces: %s is not installed: pip install %s",
            what,
            what if protocol == "grpc" else "'outthink[otel]'",
        )
        return None
    if exporter is None:
        log.warning("no traces: OTEL_TRACES_EXPORTER is neither otlp, console nor none")
        return None
    if environ.get(CAPTURE, "").strip().lower() not in ("", "false", "no_content"):
        log.warning("%s is set, but prompts and answers are in no span", CAPTURE)
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    facts = {"service.version": outthink.__version__}
    if "service.name" not in environ.get("OTEL_RESOURCE_ATTRIBUTES", "") and not environ.get(
        "OTEL_SERVICE_NAME"
    ):
        facts["service.name"] = "outthink-gateway"
    provider = TracerProvider(resource=Resource.create(facts), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _exporter(kind: str, protocol: str) -> Any:
    if kind == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    if kind != "otlp":
        return None
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import (  # type: ignore[import-not-found]
            trace_exporter,
        )

        return trace_exporter.OTLPSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


class _Maker:
    """Makes spans with a provider."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry import context, propagate, trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.trace, self.context = trace, context
        self.client, self.internal = trace.SpanKind.CLIENT, trace.SpanKind.INTERNAL
        self.tracer = provider.get_tracer("outthink.gateway", outthink.__version__)
        # baggage is the client's, and upstreams are not: it goes on only where that is asked for
        chosen = bool(os.environ.get("OTEL_PROPAGATORS"))
        self.propagator: Any = (
            propagate.get_global_textmap() if chosen else TraceContextTextMapPropagator()
        )
        self.fields = frozenset(name.encode() for name in self.propagator.fields)

    def request(self, scope: Mapping[str, Any], endpoint: str) -> Span:
        given = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in self.fields
        }
        parent = self.propagator.extract(given) if given else None
        method = scope["method"]
        facts = {
            "http.request.method": method,
            "http.route": endpoint,
            "url.path": endpoint,
            "url.scheme": scope.get("scheme", "http"),
            "network.protocol.version": scope.get("http_version", "1.1"),
        }
        name = f"{method} {endpoint}"
        return _Live(self, name, self.trace.SpanKind.SERVER, facts, parent)

    def strategy(self, name: str, model: str) -> Span:
        facts = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": name,
            "gen_ai.request.model": model,
        }
        return _Live(self, f"invoke_workflow {name}", self.internal, facts)

    def call(self, model: str, operation: str, kind: Any, facts: Mapping[str, Any]) -> Span:
        # what is known of a server is that it speaks OpenAI's API
        provider = "openai" if kind is self.client else "outthink"
        facts = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
            **facts,
        }
        return _Live(self, f"{operation} {model}", kind, facts)

    def attempt(self, url: str) -> Span:
        return _Attempt(self, self.trace.get_current_span(), url)

    def carried(self) -> Mapping[str, str]:
        headers = dict[str, str]()
        self.propagator.inject(headers)
        return headers

    def follow(self, model: Any, name: str) -> None:
        kind = self.client if hasattr(model, "server") else self.internal
        if (generate := getattr(model, "generate", None)) is not None:

            @functools.wraps(generate)
            async def generating(request: Request, ticket: Any) -> Any:
                with self.call(name, "chat", kind, _asked(request)) as span:
                    reply = await generate(request, ticket)
                    span.spent(reply.usage, [g.finish for g in reply.generations])
                return reply

            model.generate = generating
        if (reward := getattr(model, "reward", None)) is not None:

            @functools.wraps(reward)
            async def judging(items: Sequence[Any], ticket: Any) -> Any:
                with self.call(name, "score", kind, {"outthink.texts": len(items)}) as span:
                    scores, usage = await reward(items, ticket)
                    span.spent(usage)
                return scores, usage

            model.reward = judging
        model.followed = True


def _asked(request: Request) -> dict[str, Any]:
    """The parameters of a request, as far as they are numbers of our own."""
    facts: dict[str, Any] = {
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": float(request.temperature),
        "outthink.role": request.role,
    }
    if request.n != 1:
        facts["gen_ai.request.choice.count"] = request.n
    if request.top_p < 1:
        facts["gen_ai.request.top_p"] = float(request.top_p)
    if request.top_k:
        facts["gen_ai.request.top_k"] = request.top_k
    return facts


class _Live(Span):
    """A span of the SDK, current while it is entered."""

    __slots__ = ("_before", "_facts", "_kind", "_maker", "_name", "_parent", "_span")

    def __init__(
        self, maker: _Maker, name: str, kind: Any, facts: Mapping[str, Any], parent: Any = None
    ) -> None:
        self._maker, self._name, self._kind = maker, name, kind
        self._facts, self._parent = facts, parent

    def __enter__(self) -> Span:
        context, trace = self._maker.context, self._maker.trace
        self._before = context.get_current()
        self._span = self._maker.tracer.start_span(
            self._name, self._parent, self._kind, dict(self._facts)
        )
        context.attach(trace.set_span_in_context(self._span, self._parent or self._before))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and isinstance(error, Exception):
            # its words may be those of a request: its kind must do
            self._failed(type(error).__name__)
        elif error is not None:
            self._span.set_attribute("outthink.cancelled", True)
        self._span.end()
        # a generator may be closed by another task, which has a context of its own
        if self._maker.trace.get_current_span() is self._span:
            self._maker.context.attach(self._before)

    def _failed(self, kind: str) -> None:
        trace = self._maker.trace
        self._span.set_attribute("error.type", kind)
        self._span.set_status(trace.Status(trace.StatusCode.ERROR))

    def status(self, status: int) -> None:
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._failed(str(status))

    def spent(self, usage: Usage | None, finishes: Sequence[str] = ()) -> None:
        if finishes:
            self._span.set_attribute("gen_ai.response.finish_reasons", list(finishes))
        if usage is None:
            return
        facts: dict[str, Any] = {
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
        }
        more = {
            "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
            "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
            "outthink.usd": usage.usd,
            "outthink.estimated": usage.estimated,
        }
        self._span.set_attributes({**facts, **{name: n for name, n in more.items() if n}})

    def note(self, **facts: str | int | float | bool | None) -> None:
        told = {f"outthink.{name}": fact for name, fact in facts.items() if fact not in (None, "")}
        self._span.set_attributes(told)

    def headers(self) -> Mapping[str, str]:
        return self._maker.carried()


@functools.lru_cache(maxsize=1024)
def _place(url: str) -> Mapping[str, Any]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname or "", "server.port": port}


class _Attempt(Span):
    """One HTTP request of the call whose span is current."""

    __slots__ = ("_maker", "_place", "_span", "_status")

    def __init__(self, maker: _Maker, span: Any, url: str) -> None:
        self._maker, self._span, self._place, self._status = maker, span, _place(url), 0

    def __enter__(self) -> Span:
        self._span.set_attributes(self._place)
        return self

    def status(self, status: int) -> None:
        self._status = status

    def headers(self) -> Mapping[str, str]:
        return self._maker.carried()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        facts = dict(self._place)
        if self._status:
            facts["http.response.status_code"] = self._status
        if self._status >= 400:
            facts["error.type"] = str(self._status)
        elif isinstance(error, Exception):
            facts["error.type"] = type(error).__name__
        else:
            return
        self._span.add_event("attempt failed", facts)
