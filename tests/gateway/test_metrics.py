"""Numbers for Prometheus: true, bounded, without secrets, and added up over processes."""

import itertools
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip(
    "prometheus_client", reason="needs prometheus-client: pip install 'outthink[gateway]'"
)
from prometheus_client.parser import text_string_to_metric_families

from outthink.core.budget import Usage
from outthink.gateway.config import Alias, Config, KeyConfig, ModelConfig, ServerConfig, Upstream
from outthink.gateway.metrics import BUCKETS, FOLDER, MEASURES, Metrics, shared, table

CHAT = "/v1/chat/completions"


def config(*hosts: str, **limits: float) -> Config:
    upstreams = tuple(Upstream(url=f"http://{host}/v1", key_env="UPSTREAM_KEY") for host in hosts)
    key = KeyConfig(id="k1d2e3f4", name="team-a", salt="c2FsdHNhbHQ", hash="aGFzaGhhc2g", **limits)
    return Config(
        server=ServerConfig(),
        models={"qwen3-8b": ModelConfig(name="qwen3-8b", upstreams=upstreams)},
        aliases={"careful": Alias(name="careful", model="qwen3-8b")},
        keys={key.id: key},
    )


@pytest.fixture
def metrics(monkeypatch):
    monkeypatch.delenv(FOLDER, raising=False)
    return Metrics(config("10.0.0.1:8000", "10.0.0.2:8000"))


def read(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value(numbers, name, **labels):
    """The one value with at least these labels; ``None`` where there is no such series."""
    if isinstance(numbers, Metrics):
        numbers = read(numbers.text())
    found = [
        number
        for (held, pairs), number in numbers.items()
        if held == name and labels.items() <= dict(pairs).items()
    ]
    assert len(found) < 2, (name, labels, found)
    return found[0] if found else None


def test_a_request_is_counted_once_in_each_of_its_metrics(metrics):
    usage = Usage(
        calls=8, prompt_tokens=160, completion_tokens=800, cached_tokens=140, reasoning_tokens=300,
        usd=0.25,
    )  # fmt: skip
    metrics.started()
    assert value(metrics, "outthink_in_flight") == 1
    metrics.finished(CHAT, "qwen3-8b", "self_consistency", "team-a", 200, 1.5, usage, "tokens")
    metrics.started()
    metrics.finished(CHAT, "qwen3-8b", "", "team-a", 499, 0.1)
    now = read(metrics.text())
    asked = {"endpoint": CHAT, "model": "qwen3-8b"}
    votes = {**asked, "strategy": "self_consistency"}
    assert value(now, "outthink_requests_total", **votes, status="200") == 1
    assert (
        value(now, "outthink_requests_total", **asked, strategy="pass-through", status="499") == 1
    )
    assert value(now, "outthink_request_seconds_sum", **votes) == 1.5
    assert value(now, "outthink_calls_total", model="qwen3-8b") == 8
    for kind, amount in {"prompt": 160, "completion": 800, "cached": 140, "reasoning": 300}.items():
        assert value(now, "outthink_tokens_total", model="qwen3-8b", kind=kind) == amount
    assert value(now, "outthink_usd_total", model="qwen3-8b", key="team-a") == 0.25
    assert value(now, "outthink_key_tokens_total", key="team-a") == 960
    stopped = {"strategy": "self_consistency", "reason": "tokens"}
    assert value(now, "outthink_stopped_total", **stopped) == 1
    assert value(now, "outthink_in_flight") == 0


def test_a_refused_request_is_answered_too_and_was_never_in_flight(metrics):
    metrics.queued(1)
    assert value(metrics, "outthink_queued") == 1
    metrics.queued(-1)
    metrics.refused("gateway_full", "team-a", CHAT, 429, "qwen3-8b", "best_of_n")
    metrics.refused("invalid_api_key", "", CHAT, 401)
    now = read(metrics.text())
    assert value(now, "outthink_queued") == value(now, "outthink_in_flight") == 0
    assert value(now, "outthink_refused_total", reason="gateway_full", key="team-a") == 1
    assert value(now, "outthink_refused_total", reason="invalid_api_key", key="none") == 1
    assert value(now, "outthink_requests_total", status="429", strategy="best_of_n") == 1
    assert value(now, "outthink_requests_total", status="401", model="none") == 1


def test_a_request_that_made_no_call_was_refused_and_else_it_failed(metrics):
    for usage, fault in ((Usage(), "insufficient_quota"), (Usage(calls=1), "upstream_failed")):
        metrics.started()
        metrics.finished(CHAT, "qwen3-8b", "", "team-a", 429, 0.1, usage, fault=fault)
    now = read(metrics.text())
    assert value(now, "outthink_refused_total", key="team-a", reason="insufficient_quota") == 1
    assert value(now, "outthink_refused_total", reason="upstream_failed") is None
    assert value(now, "outthink_in_flight") == 0


def test_first_tokens_and_upstreams(metrics):
    metrics.first_token(CHAT, "qwen3-8b", "", 0.02)
    metrics.upstream_started("10.0.0.1:8000")
    metrics.upstream_started("10.0.0.1:8000")
    metrics.upstream("10.0.0.1:8000", 200, 0.2)
    metrics.upstream_open("10.0.0.2:8000", True)
    now = read(metrics.text())
    assert value(now, "outthink_first_token_seconds_count", strategy="pass-through") == 1
    assert value(now, "outthink_upstream_in_flight", host="10.0.0.1:8000") == 1
    assert value(now, "outthink_upstream_seconds_count", host="10.0.0.1:8000", status="200") == 1
    assert value(now, "outthink_upstream_open", host="10.0.0.1:8000") == 0
    assert value(now, "outthink_upstream_open", host="10.0.0.2:8000") == 1
    metrics.upstream("10.0.0.1:8000", "timeout", 300.0)
    metrics.upstream_open("10.0.0.2:8000", False)
    now = read(metrics.text())
    assert value(now, "outthink_upstream_in_flight", host="10.0.0.1:8000") == 0
    assert (
        value(now, "outthink_upstream_seconds_sum", host="10.0.0.1:8000", status="timeout") == 300
    )
    assert value(now, "outthink_upstream_open", host="10.0.0.2:8000") == 0


def test_the_limits_of_a_key_are_shown_as_they_are_now(metrics):
    place = {"key": "team-a", "limit": "tokens_per_day"}
    assert value(metrics, "outthink_key_limit", **place) is None
    metrics.know(config("10.0.0.1:8000", tokens_per_day=100_000, concurrent=4))
    assert value(metrics, "outthink_key_limit", **place) == 100_000
    metrics.know(config("10.0.0.1:8000", concurrent=8))
    assert value(metrics, "outthink_key_limit", **place) == math.inf
    assert value(metrics, "outthink_key_limit", key="team-a", limit="concurrent") == 8


def test_a_quantile_is_as_exact_at_10_ms_as_at_5_minutes(metrics):
    assert BUCKETS[0] <= 0.005
    assert BUCKETS[-1] >= 300
    assert {round(b / a, 9) for a, b in itertools.pairwise(BUCKETS)} == {2}
    metrics.started()
    metrics.finished(CHAT, "qwen3-8b", "", "", 200, 0.012)
    now = read(metrics.text())
    assert value(now, "outthink_request_seconds_bucket", le="0.01") == 0
    assert value(now, "outthink_request_seconds_bucket", le="0.02") == 1


def test_names_from_outside_make_no_series(metrics):
    def shower(number):
        name = f"name-{number}"
        metrics.started()
        metrics.finished(f"/v1/{name}", name, name, name, 1000 + number, 0.1, Usage(), name, name)
        metrics.refused(f"reason_{number}", name, f"/v1/{name}", 429, name, name)
        metrics.first_token(f"/v1/{name}", name, name, 0.1)
        metrics.upstream_started(name)
        metrics.upstream(name, name, 0.1)
        metrics.upstream_open(name, True)

    for number in range(100):
        shower(number)
    series = len(read(metrics.text()))
    for number in range(100, 1000):
        shower(number)
    now = read(metrics.text())
    assert len(now) == series
    assert len(metrics._rows) == 2
    assert value(now, "outthink_requests_total", model="other", status="other") == 1000
    assert value(now, "outthink_upstream_in_flight", host="other") == 0


def test_an_alias_is_a_name_of_the_configuration(metrics):
    metrics.started()
    metrics.finished(CHAT, "careful", "", "", 200, 0.1)
    assert value(metrics, "outthink_requests_total", model="careful") == 1


def test_nothing_of_a_key_but_its_name_is_shown(metrics):
    metrics.started()
    metrics.finished(CHAT, "qwen3-8b", "", "team-a", 200, 0.1, Usage(calls=1, usd=1.0))
    text = metrics.text().decode()
    assert 'key="team-a"' in text
    for secret in ("k1d2e3f4", "c2FsdHNhbHQ", "aGFzaGhhc2g", "UPSTREAM_KEY"):
        assert secret not in text


def test_what_began_before_a_reload_ends_after_it(metrics):
    metrics.upstream_started("10.0.0.2:8000")
    metrics.know(config("10.0.0.3:8000"))
    metrics.upstream("10.0.0.2:8000", 200, 0.1)
    metrics.upstream_started("10.0.0.3:8000")
    now = read(metrics.text())
    assert value(now, "outthink_upstream_in_flight", host="10.0.0.2:8000") == 0
    assert value(now, "outthink_upstream_in_flight", host="10.0.0.3:8000") == 1


def test_the_second_request_of_a_kind_looks_nothing_up(metrics, monkeypatch):
    def request():
        metrics.started()
        metrics.upstream_started("10.0.0.1:8000")
        metrics.upstream("10.0.0.1:8000", 200, 0.2)
        usage = Usage(calls=1, prompt_tokens=20, completion_tokens=100, usd=0.001)
        metrics.finished(CHAT, "qwen3-8b", "", "team-a", 200, 0.21, usage)

    request()
    looked_up = []
    parent = type(metrics._measures["outthink_requests_total"]).__mro__[1]
    labels = parent.labels
    monkeypatch.setattr(
        parent, "labels", lambda self, *a, **k: (looked_up.append(a), labels(self, *a, **k))[1]
    )
    request()
    assert not looked_up
    assert value(metrics, "outthink_requests_total", status="200") == 2


def test_the_measures_are_what_is_shown_and_named_as_the_field_names_them(metrics):
    shown = {family.name for family in text_string_to_metric_families(metrics.text().decode())}
    for measure in MEASURES:
        # the parser takes a counter's suffix off
        assert measure.name.removesuffix("_total") in shown
        assert measure.name.endswith("_total") == (measure.kind == "counter")
    assert "process_resident_memory_bytes" in shown
    assert not [name for name in shown if name.endswith("_created")]


def test_the_docs_have_the_table():
    page = Path(__file__).parents[2] / "docs" / "operations.md"
    assert table() in page.read_text(encoding="utf-8")


# -- several processes ---------------------------------------------------------------------------

WORKER = """
    import sys
    sys.path.insert(0, {tests!r})
    from outthink.core.budget import Usage
    from outthink.gateway.metrics import Metrics
    from tests.gateway.test_metrics import CHAT, config

    metrics = Metrics(config("10.0.0.1:8000"))
    for line in sys.stdin:
        match line.split():
            case ["requests", number]:
                for _ in range(int(number)):
                    metrics.started()
                    metrics.finished(
                        CHAT, "qwen3-8b", "", "team-a", 200, 0.1, Usage(calls=1, completion_tokens=5)
                    )
            case ["begin"]:
                metrics.started()
                metrics.upstream_started("10.0.0.1:8000")
                metrics.upstream_open("10.0.0.1:8000", True)
            case ["limit", bound]:
                metrics.know(config("10.0.0.1:8000", tokens_per_day=int(bound)))
            case ["text"]:
                sys.stdout.write(metrics.text().decode())
        print("# done", flush=True)
"""


class Worker:
    """A process that counts, and does what it is told on its standard input."""

    def __init__(self) -> None:
        root = str(Path(__file__).parents[2])
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WORKER).format(tests=root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, line: str) -> bytes:
        assert self.process.stdin
        assert self.process.stdout
        print(line, file=self.process.stdin, flush=True)
        lines = []
        while (told := self.process.stdout.readline()) != "# done\n":
            assert told, "the worker has ended"
            lines.append(told)
        return "".join(lines).encode()

    def kill(self) -> int:
        self.process.kill()
        self.process.communicate()
        return self.process.pid


def test_workers_add_up_and_a_dead_one_holds_nothing_open(monkeypatch):
    monkeypatch.delenv(FOLDER, raising=False)
    workers = []
    with shared() as folder:
        try:
            workers += [Worker(), Worker()]
            first, second = workers
            first.tell("requests 3")
            second.tell("requests 4")
            first.tell("begin")
            second.tell("begin")
            first.tell("limit 10")
            second.tell("limit 20")
            for asked in workers:
                now = read(asked.tell("text"))
                assert value(now, "outthink_requests_total", status="200") == 7
                assert value(now, "outthink_tokens_total", kind="completion") == 35
                assert value(now, "outthink_request_seconds_count") == 7
                assert value(now, "outthink_in_flight") == 2
                assert value(now, "outthink_upstream_in_flight") == 2
                # one breaker, seen by both; one limit, told last by the second
                assert value(now, "outthink_upstream_open") == 1
                assert value(now, "outthink_key_limit") == 20
            end = f"from outthink.gateway.metrics import ended; ended({first.kill()})"
            subprocess.run([sys.executable, "-c", end], check=True)
            now = read(second.tell("text"))
            assert value(now, "outthink_requests_total", status="200") == 7
            assert value(now, "outthink_in_flight") == 1
            assert value(now, "outthink_upstream_in_flight") == 1
        finally:
            for worker in workers:
                worker.kill()
    assert not folder.exists()
    assert FOLDER not in os.environ


def test_a_folder_that_was_chosen_is_emptied_of_old_numbers_and_kept(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    old = [tmp_path / name for name in ("counter_7.db", "gauge_livesum_7.db", "histogram_7.db")]
    other = tmp_path / "store.db"
    for file in (*old, other):
        file.write_bytes(b"")
    with shared() as folder:
        assert folder == tmp_path
    assert not any(file.exists() for file in old)
    assert other.exists()
    assert os.environ[FOLDER] == str(tmp_path)
