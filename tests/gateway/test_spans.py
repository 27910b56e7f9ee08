"""One tree of spans a request, by the conventions; traces go on; no text is in any of them."""

import asyncio
import contextlib
import json
import logging
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import pytest

from outthink import Session
from outthink.core.budget import Usage
from outthink.core.errors import ServerFailed
from outthink.gateway import spans as module
from outthink.gateway.spans import CAPTURE, OFF, Spans
from outthink.models.openai import OpenAI

CHAT = "/v1/chat/completions"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
SECRET = "the prompt nobody may see"


def scope(**headers):
    named = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    return {"method": "POST", "path": CHAT, "http_version": "1.1", "headers": named}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in ("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_PROPAGATORS", CAPTURE):
        monkeypatch.delenv(name, raising=False)
    for name in (*module._ENDPOINTS, *module._PROTOCOLS, "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def made():
    """Spans, and what gives those that have ended, by name."""
    why = "needs OpenTelemetry: pip install 'outthink[otel]'"
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason=why)
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def named(start=""):
        return [s for s in exporter.get_finished_spans() if s.name.startswith(start)]

    return Spans(provider), named


class Upstream:
    """An upstream behind a model: answers ``statuses`` in turn, the last one for good."""

    def __init__(self, *statuses):
        self.statuses, self.headers = list(statuses), []

    async def __call__(self, method, url, headers, content):
        self.headers.append({name.lower(): value for name, value in headers.items()})
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        body = {"error": {"message": f"no: {SECRET}"}}
        if status == 200:
            usage = {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 2},
            }
            choice = {"message": {"content": f"{SECRET}: answer: 7"}, "finish_reason": "stop"}
            body = {"choices": [choice], "usage": usage}

        async def parts():
            yield json.dumps(body).encode()

        return status, {"content-type": "application/json"}, parts()


@contextlib.asynccontextmanager
async def session(spans, upstream):
    """A session on that upstream, watched as the gateway watches it."""
    url = "http://10.0.0.7:8000/v1"
    model = OpenAI("qwen3-8b", base_url=url, retries=1, usd_prompt=1e6, usd_completion=1e6).open(
        upstream
    )
    model.native_n = False

    model.server.watch = lambda path, endpoint: spans.attempt(endpoint.base)
    spans.follow(model, "qwen3-8b")
    async with Session(model) as opened:
        yield opened


async def solve(spans, upstream, strategy="self_consistency(n=3)", **headers):
    """A request as the gateway takes it."""
    async with session(spans, upstream) as opened:
        with spans.request(scope(**headers), CHAT) as root:
            with spans.strategy(strategy.partition("(")[0], "qwen3-8b") as run:
                answer = await opened.solve(SECRET, strategy)
                run.note(confidence=answer.confidence, stopped=answer.stopped)
            root.status(200)
            root.note(run="r1", key="team-a")
    return answer


def told(span):
    return dict(span.attributes)


def test_a_request_is_one_tree(made):
    spans, named = made
    asyncio.run(solve(spans, Upstream(200)))
    (root,), (run,), calls = named("POST"), named("invoke_workflow"), named("chat")
    assert [root.name, run.name] == [f"POST {CHAT}", "invoke_workflow self_consistency"]
    assert [c.name for c in calls] == ["chat qwen3-8b"] * 3
    assert len(named()) == 5
    assert root.parent is None
    assert run.parent.span_id == root.context.span_id
    assert {c.parent.span_id for c in calls} == {run.context.span_id}
    assert {s.context.trace_id for s in named()} == {root.context.trace_id}
    assert [s.kind.name for s in (root, run, calls[0])] == ["SERVER", "INTERNAL", "CLIENT"]


def test_each_span_says_what_the_conventions_ask_for(made):
    spans, named = made
    asyncio.run(solve(spans, Upstream(200)))
    (root,), (run,), call = named("POST"), named("invoke_workflow"), named("chat")[0]
    assert told(root) == {
        "http.request.method": "POST",
        "http.route": CHAT,
        "url.path": CHAT,
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
        "outthink.run": "r1",
        "outthink.key": "team-a",
    }
    assert told(run) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "self_consistency",
        "gen_ai.request.model": "qwen3-8b",
        "outthink.confidence": 1.0,
        "outthink.stopped": "finished",
    }
    assert told(call) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "qwen3-8b",
        "gen_ai.request.max_tokens": told(call)["gen_ai.request.max_tokens"],
        "gen_ai.request.temperature": told(call)["gen_ai.request.temperature"],
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "server.address": "10.0.0.7",
        "server.port": 8000,
        "outthink.role": "main",
        "outthink.usd": 14.0,
    }


def test_the_trace_of_a_client_goes_on_to_the_upstream(made):
    spans, named = made
    upstream = Upstream(200)
    asyncio.run(solve(spans, upstream, traceparent=TRACEPARENT, tracestate="vendor=1"))
    (root,) = named("POST")
    assert f"{root.context.trace_id:032x}" == TRACE
    assert f"{root.parent.span_id:016x}" == PARENT
    sent = {h["traceparent"] for h in upstream.headers}
    assert sent == {f"00-{TRACE}-{c.context.span_id:016x}-01" for c in named("chat")}
    assert {h["tracestate"] for h in upstream.headers} == {"vendor=1"}


def test_baggage_is_not_for_upstreams(made):
    spans, _ = made
    upstream = Upstream(200)
    asyncio.run(solve(spans, upstream, traceparent=TRACEPARENT, baggage="user=ada"))
    assert not any("baggage" in h for h in upstream.headers)


def test_attempts_are_one_call(made):
    spans, named = made
    upstream = Upstream(503, 200)
    asyncio.run(solve(spans, upstream, "self_consistency(n=1)"))
    (call,) = named("chat")
    (event,) = call.events
    assert event.name == "attempt failed"
    assert dict(event.attributes) == {
        "server.address": "10.0.0.7",
        "server.port": 8000,
        "http.response.status_code": 503,
        "error.type": "503",
    }
    assert call.status.is_unset
    assert len(upstream.headers) == 2
    assert len({h["traceparent"] for h in upstream.headers}) == 1


def test_a_failure_is_told_by_its_kind(made):
    spans, named = made
    with pytest.raises(ServerFailed):
        asyncio.run(solve(spans, Upstream(500), "self_consistency(n=1)"))
    for span in (*named("chat"), *named("invoke_workflow")):
        assert span.status.status_code.name == "ERROR"
        assert told(span)["error.type"] == "ServerFailed"
        assert span.status.description is None


@pytest.mark.parametrize(
    ("status", "failed"), [(200, False), (429, False), (499, False), (502, True)]
)
def test_only_a_failure_of_ours_is_an_error_of_the_request(made, status, failed):
    spans, named = made
    with spans.request(scope(), CHAT) as root:
        root.status(status)
    (span,) = named()
    assert told(span)["http.response.status_code"] == status
    assert (span.status.status_code.name == "ERROR") == failed
    assert told(span).get("error.type") == (str(status) if failed else None)


def test_a_call_that_was_ended_early_is_no_error(made):
    spans, named = made

    async def left():
        async with anyio.create_task_group() as tasks:

            async def call():
                with spans.call("qwen3-8b"):
                    tasks.cancel_scope.cancel()
                    await anyio.sleep(1)

            tasks.start_soon(call)

    asyncio.run(left())
    (span,) = named("chat")
    assert span.status.is_unset
    assert told(span)["outthink.cancelled"] is True


def test_no_text_is_in_a_span(made, monkeypatch):
    monkeypatch.setenv(CAPTURE, "true")
    spans, named = made
    asyncio.run(solve(spans, Upstream(503, 200)))
    with pytest.raises(ServerFailed):
        asyncio.run(solve(spans, Upstream(500)))
    everything = "".join(span.to_json() for span in named())
    assert "chat qwen3-8b" in everything
    assert SECRET not in everything
    assert "answer: 7" not in everything


def test_a_pass_through_holds_its_one_call(made):
    spans, named = made

    async def stream():
        with spans.call("qwen3-8b") as span:
            yield spans.carried()
            span.spent(
                Usage(calls=1, prompt_tokens=3, completion_tokens=4, estimated=True), ["stop"]
            )

    async def answer():
        with spans.request(scope(), CHAT) as root:
            sent = [dict(headers) async for headers in stream()]
            root.status(200)
        return sent

    (sent,) = asyncio.run(answer())
    (root,), (call,) = named("POST"), named("chat")
    assert f"-{call.context.span_id:016x}-" in sent["traceparent"]
    assert call.parent.span_id == root.context.span_id
    assert told(call)["gen_ai.usage.output_tokens"] == 4
    assert told(call)["outthink.estimated"] is True


def test_a_stream_that_another_task_closes_leaves_no_span_behind(made, caplog):
    spans, named = made

    async def stream():
        with spans.call("qwen3-8b"):
            yield 1
            yield 2

    async def main():
        parts = stream()
        with spans.request(scope(), CHAT):
            assert await anext(parts) == 1
        await asyncio.create_task(parts.aclose())

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert {s.name for s in named()} == {f"POST {CHAT}", "chat qwen3-8b"}
    assert not caplog.records


def test_a_model_of_this_process_is_no_client(made):
    spans, named = made

    async def main():
        async with Session("fly") as opened:
            spans.follow(opened.model, "fly")
            spans.follow(opened.model, "fly")
            await opened.solve("Ada has 47 pens. How many?", "greedy")

    asyncio.run(main())
    (call,) = named("chat")
    assert call.kind.name == "INTERNAL"
    assert told(call)["gen_ai.provider.name"] == "outthink"
    assert "server.address" not in told(call)


# -- without spans -------------------------------------------------------------------------------


def test_without_the_variables_nothing_is_made():
    spans = Spans()
    model = OpenAI("m", base_url="http://127.0.0.1:1/v1").open(Upstream(200))
    before = model.generate
    spans.follow(model, "m")
    assert not spans.on
    assert model.generate == before
    assert spans.request(scope(accept="*/*"), CHAT) is OFF
    assert spans.strategy("best_of_n", "m") is spans.call("m") is spans.attempt("http://a") is OFF
    assert spans.carried() == OFF.headers() == {}
    with OFF as span:
        span.status(500)
        span.spent(Usage(calls=1))
        span.note(key="team-a")
    asyncio.run(spans.aclose())


def test_without_the_variables_the_library_is_not_loaded():
    code = (
        "import sys; from outthink.gateway.spans import Spans; Spans();"
        "print(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_without_spans_the_trace_of_a_client_is_passed_on_as_it_came():
    upstream = Upstream(200)
    asyncio.run(solve(Spans(), upstream, traceparent=TRACEPARENT, tracestate="vendor=1"))
    assert len(upstream.headers) == 3
    for headers in upstream.headers:
        assert headers["traceparent"] == TRACEPARENT
        assert headers["tracestate"] == "vendor=1"


@pytest.mark.parametrize(
    "given",
    [
        {"traceparent": "not one"},
        {"traceparent": TRACEPARENT + "-more"},
        {"traceparent": TRACEPARENT + "\r\nx-evil: 1"},
        {"tracestate": "vendor=1"},
    ],
)
def test_what_is_no_trace_is_not_passed_on(given):
    with Spans().request(scope(**given), CHAT) as root:
        assert root.headers() == {}


def test_a_trace_ends_with_its_request():
    spans = Spans()
    with spans.request(scope(traceparent=TRACEPARENT), CHAT):
        assert spans.carried()
    assert not spans.carried()


# -- what the environment says -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}, False),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
            False,
        ),
    ],
)
def test_the_standard_variables_say_whether(monkeypatch, variables, on):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the OTLP exporter")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    spans = Spans()
    assert spans.on == on
    asyncio.run(spans.aclose())


@pytest.mark.parametrize(
    ("variables", "missing", "word"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, (), "neither otlp"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ("opentelemetry",), "outthink[otel]"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            ("opentelemetry.exporter.otlp.proto.grpc",),
            "proto-grpc",
        ),
    ],
)
def test_what_cannot_be_had_is_told_and_the_gateway_goes_on(
    monkeypatch, caplog, variables, missing, word
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name in missing:
        hidden = [name, *(m for m in sys.modules if m.startswith(name + "."))]
        for one in hidden:
            monkeypatch.setitem(sys.modules, one, None)
    with caplog.at_level(logging.WARNING):
        assert not Spans().on
    assert word in caplog.text


def test_that_content_is_not_captured_is_told(monkeypatch, caplog):
    pytest.importorskip("opentelemetry.sdk", reason="needs OpenTelemetry")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv(CAPTURE, "span_only")
    with caplog.at_level(logging.WARNING):
        spans = Spans()
    asyncio.run(spans.aclose())
    assert "in no span" in caplog.text


@contextlib.contextmanager
def collector(answers=True):
    """An OTLP collector on loopback: its URL and the bodies that it got; a deaf one keeps silent."""
    got, over = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            if not answers:
                over.wait(20)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def test_spans_reach_a_collector_before_the_process_ends(monkeypatch):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the OTLP exporter")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    with collector() as (url, got):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        spans = Spans()
        with spans.request(scope(), CHAT) as root:
            root.status(200)
        asyncio.run(spans.aclose())
    ((path, body),) = got
    assert path == "/v1/traces"
    sent = ExportTraceServiceRequest.FromString(body).resource_spans[0]
    facts = {a.key: a.value.string_value for a in sent.resource.attributes}
    assert facts["service.name"] == "outthink-gateway"
    assert [s.name for s in sent.scope_spans[0].spans] == [f"POST {CHAT}"]


def test_a_collector_that_does_not_answer_holds_nothing_up(monkeypatch):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the OTLP exporter")
    monkeypatch.setattr(module, "CLOSING", 0.2)
    with collector(answers=False) as (url, _):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        spans = Spans()
        with spans.request(scope(), CHAT):
            pass

        async def close():
            with anyio.fail_after(3):
                await spans.aclose()

        asyncio.run(close())


def test_the_name_of_the_service_can_be_given(monkeypatch):
    pytest.importorskip("opentelemetry.sdk", reason="needs OpenTelemetry")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    spans = Spans()
    assert spans._provider.resource.attributes["service.name"] == "mine"
    asyncio.run(spans.aclose())
