"""What a whole gateway counts and traces of what it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from outthink.gateway import app
from outthink.gateway.keys import new_key
from outthink.gateway.spans import Spans
from tests.gateway.running import Running, over, running, with_server
from tests.gateway.test_metrics import read, value
from tests.gateway.upstream import hostile

sdk = pytest.importorskip(
    "opentelemetry.sdk.trace", reason="needs OpenTelemetry: pip install 'outthink[otel]'"
)
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (  # noqa: E402
    InMemorySpanExporter,
)

ADD = [{"role": "user", "content": "What is 3 + 4?"}]
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(scope="module")
def up() -> Iterator[Any]:
    with hostile() as found:
        yield found


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives the spans that have ended, by the beginning of their names."""
    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(app, "Spans", lambda: Spans(provider))
    return lambda start: [s for s in exporter.get_finished_spans() if s.name.startswith(start)]


def ask(gate: Running, headers: dict[str, str] | None = None, **body: Any) -> Any:
    sent = {"model": "m", "messages": ADD, **body}
    return httpx.post(gate.url + "/chat/completions", json=sent, headers=headers, timeout=20)


def numbers(gate: Running) -> Any:
    return read(httpx.get(gate.root + "/metrics").content)


def test_a_strategy_is_one_tree_in_the_trace_of_the_client(spans: Any, up: Any) -> None:
    with running(over(up.url)) as gate:
        headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        body = {"model": "self_consistency(n=3)@m", "metadata": {"id": "tree", "fault": "ignore_n"}}
        told = ask(gate, headers, **body)
    (root,), (run,), calls = spans("POST"), spans("invoke_workflow"), spans("chat")
    assert f"{root.context.trace_id:032x}" == TRACE
    assert run.parent.span_id == root.context.span_id
    assert [c.parent.span_id for c in calls] == [run.context.span_id] * 3
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["outthink.run"] == told.headers["x-outthink-run"]
    assert run.attributes["outthink.stopped"] == "finished"
    written = sum(c.attributes["gen_ai.usage.output_tokens"] for c in calls)
    assert written == told.json()["usage"]["completion_tokens"]
    assert {c.attributes["server.port"] for c in calls} == {int(up.url.split(":")[2][:-3])}
    sent = {call.headers["traceparent"].split("-")[2] for call in up.book.of("tree")}
    assert sent == {f"{c.context.span_id:016x}" for c in calls}


@pytest.mark.parametrize("stream", [False, True])
def test_a_pass_through_is_one_call(spans: Any, up: Any, stream: bool) -> None:
    with running(over(up.url)) as gate:
        ask(gate, stream=stream)
        now = numbers(gate)
    (root,), (call,) = spans("POST"), spans("chat")
    assert call.parent.span_id == root.context.span_id
    assert call.attributes["gen_ai.usage.output_tokens"] > 0
    found = value(now, "outthink_requests_total", strategy="pass-through", status="200")
    assert found == value(now, "outthink_calls_total", model="m") == 1
    assert bool(value(now, "outthink_first_token_seconds_count")) == stream
    written = value(now, "outthink_tokens_total", kind="completion")
    assert written == call.attributes["gen_ai.usage.output_tokens"]


def test_an_upstream_that_fails_is_seen_by_its_status_and_then_shut_off(
    spans: Any, up: Any
) -> None:
    with running(over(up.url, retries=0)) as gate:
        for _ in range(3):
            ask(gate, metadata={"fault": "500"})
        now = numbers(gate)
    assert value(now, "outthink_upstream_seconds_count", status="500") == 3
    assert value(now, "outthink_upstream_in_flight") == 0
    assert value(now, "outthink_upstream_open") == 1
    assert value(now, "outthink_requests_total", status="500") == 3
    assert {s.status.status_code.name for s in spans("POST")} == {"ERROR"}


def test_those_who_wait_and_those_who_are_refused(up: Any) -> None:
    config = with_server(over(up.url), concurrent=1, queue=1, queue_seconds=5.0)
    with running(config) as gate:
        slow = [
            threading.Thread(target=ask, args=(gate,), kwargs={"metadata": {"latency": 1.0}})
            for _ in range(2)
        ]
        for thread in slow:
            thread.start()
        until = time.monotonic() + 5
        while not value(numbers(gate), "outthink_queued"):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert value(numbers(gate), "outthink_in_flight") == 1
        assert ask(gate).status_code == 429
        for thread in slow:
            thread.join()
        now = numbers(gate)
    assert value(now, "outthink_refused_total", reason="gateway_full") == 1
    assert value(now, "outthink_queued") == value(now, "outthink_in_flight") == 0


def test_a_key_at_its_limit_is_refused_by_name(up: Any, tmp_path: Any) -> None:
    secret, key = new_key("team-a")
    key = replace(key, requests_per_minute=1, admin=True)
    config = with_server(replace(over(up.url), keys={key.id: key}), store=str(tmp_path / "s.db"))
    with running(config) as gate:
        headers = {"authorization": f"Bearer {secret}"}
        statuses = [ask(gate, headers).status_code for _ in range(2)]
        now = read(httpx.get(gate.root + "/metrics", headers=headers).content)
    if statuses == [200, 200]:
        pytest.skip("the minute turned in between")
    assert statuses == [200, 429]
    told = {"key": "team-a", "reason": "rate_limit_exceeded"}
    assert value(now, "outthink_refused_total", **told) == 1
    assert value(now, "outthink_key_limit", key="team-a", limit="requests_per_minute") == 1
