"""What the gateway counts, for Prometheus.

Every label value is bounded: models, keys (by their names) and hosts are those of the configuration,
strategies those that are registered, anything else is ``other``.  No text of a request is among them.
With several workers each writes its numbers into a file of one folder (``shared``), and whichever
worker is asked adds them up.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import outthink
from outthink.core import registry
from outthink.core.budget import Usage
from outthink.core.errors import MissingNeed

if TYPE_CHECKING:
    from outthink.gateway.config import Config

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: the variable by which prometheus_client learns of the folder; read when it is first imported
FOLDER = "PROMETHEUS_MULTIPROC_DIR"

#: what labels may say beside the names of the configuration
ENDPOINTS = frozenset(
    ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/models", "/v1/runs")
)
STOPS = frozenset(
    (
        "finished", "tokens", "total_tokens", "calls", "seconds", "usd", "flops",
        "error", "failed", "interrupted", "cancelled", "draining", "store",
    )
)  # fmt: skip
CAUSES = frozenset(("unreachable", "timeout", "malformed", "cancelled"))
#: codes of faults are our own and few; what should not be ever more is held to it all the same
REASONS = 64
LIMITS = ("requests_per_minute", "tokens_per_day", "usd_per_month", "concurrent")
STATUSES = frozenset(range(100, 600))
KINDS = ("prompt", "completion", "cached", "reasoning")
#: what stands for no strategy, and for no name
PASS, NONE, OTHER = "pass-through", "none", "other"

#: seconds; each twice the one before, so that a quantile is as exact at 10 ms as at 5 minutes
BUCKETS = tuple(0.005 * 2**i for i in range(17))


@dataclass(frozen=True)
class Measure:
    """One metric: ``kind`` is Prometheus's, ``across`` how a gauge's values of workers become one."""

    name: str
    kind: str
    labels: tuple[str, ...]
    told: str
    across: str = "livesum"


MEASURES = (
    Measure("outthink_requests_total", "counter", ("endpoint", "model", "strategy", "status"),
            "Requests that were answered, by HTTP status; 499 where the client left."),
    Measure("outthink_request_seconds", "histogram", ("endpoint", "model", "strategy"),
            "Seconds from a request's first byte to the last of its answer, the queue included."),
    Measure("outthink_first_token_seconds", "histogram", ("endpoint", "model", "strategy"),
            "Seconds from a request's first byte to the first token of its stream."),
    Measure("outthink_calls_total", "counter", ("model",),
            "Calls of models that requests for this model made, retries included."),
    Measure("outthink_tokens_total", "counter", ("model", "kind"),
            "Tokens; cached ones are among the prompt's, reasoning ones among the completion's."),
    Measure("outthink_usd_total", "counter", ("model", "key"),
            "Dollars spent, by the prices of the configuration."),
    Measure("outthink_stopped_total", "counter", ("strategy", "reason"),
            "Runs of strategies by what ended them: finished, a limit of the budget, or a failure."),
    Measure("outthink_refused_total", "counter", ("reason", "key"),
            "Requests that were refused before a call was made, by the code of the error."),
    Measure("outthink_in_flight", "gauge", (), "Requests that are worked on now."),
    Measure("outthink_queued", "gauge", (), "Requests that wait for a place now."),
    Measure("outthink_upstream_seconds", "histogram", ("host", "status"),
            "Seconds that an HTTP request to an upstream took, to its last byte; every attempt counts."),
    Measure("outthink_upstream_in_flight", "gauge", ("host",),
            "HTTP requests to an upstream that are under way now."),
    Measure("outthink_upstream_open", "gauge", ("host",),
            "1 while the circuit breaker keeps requests from this upstream, else 0.", "livemax"),
    Measure("outthink_key_tokens_total", "counter", ("key",),
            "Prompt and completion tokens that a key has spent."),
    Measure("outthink_key_limit", "gauge", ("key", "limit"),
            "The limits of a key: tokens_per_day and the rest; +Inf where a reload took one away.",
            "livemostrecent"),
    Measure("outthink_build_info", "gauge", ("version",), "1, and the version.", "livemax"),
)  # fmt: skip


def table() -> str:
    """All metrics as a Markdown table, for the docs."""
    rows = ["| metric | kind | labels | |", "| --- | --- | --- | --- |"]
    for m in MEASURES:
        labels = ", ".join(f"`{label}`" for label in m.labels)
        rows.append(f"| `{m.name}` | {m.kind} | {labels} | {m.told} |")
    return "\n".join(rows) + "\n"


@contextlib.contextmanager
def shared() -> Iterator[Path]:
    """Have the workers that are started meanwhile add up what they count, in files of one folder.

    For the parent process, before it starts them.  The folder is a new one that is removed at the
    end, or that of ``PROMETHEUS_MULTIPROC_DIR``, where numbers of a former start are removed.
    """
    chosen = os.environ.get(FOLDER)
    folder = Path(chosen or tempfile.mkdtemp(prefix="outthink-metrics-"))
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("counter", "gauge", "histogram"):
        for left in folder.glob(f"{kind}_*.db"):
            left.unlink()
    os.environ[FOLDER] = str(folder)
    try:
        yield folder
    finally:
        if not chosen:
            del os.environ[FOLDER]
            shutil.rmtree(folder, ignore_errors=True)


def ended(pid: int) -> None:
    """A worker is no more: what it held open is; what it has counted stays.  For the parent."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


class Metrics:
    """The numbers of one worker.  A request calls ``refused``, or ``started`` and then ``finished``."""

    def __init__(self, config: Config) -> None:
        try:
            import prometheus_client
        except ImportError:
            raise MissingNeed(
                "metrics need prometheus-client: pip install 'outthink[gateway]'"
            ) from None
        # the time at which each series was made doubles what is scraped, and nobody asks for it
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = prometheus_client.CollectorRegistry()
        self._measures = {m.name: self._made(prometheus_client, m) for m in MEASURES}
        self._in_flight = self._measures["outthink_in_flight"]
        self._queued = self._measures["outthink_queued"]
        self._models: set[str] = set()
        self._keys: set[str] = set()
        self._hosts: set[str] = set()
        self._reasons: set[str] = set()
        self._limited: set[tuple[str, str]] = set()
        self._open: dict[str, bool] = {}
        self._strategies = {*registry.entries("strategy"), PASS}
        self._rows: dict[tuple[str, str, str, str], _Row] = {}
        self._upstreams: dict[str, Any] = {}
        self._upstream_seconds: dict[tuple[str, int | str], Any] = {}
        self.know(config)
        self._of("outthink_build_info", outthink.__version__).set(1)
        if FOLDER not in os.environ:
            prometheus_client.ProcessCollector(registry=self._registry)

    def _made(self, library: Any, measure: Measure) -> Any:
        given = (measure.name, measure.told, measure.labels)
        if measure.kind == "counter":
            return library.Counter(*given, registry=self._registry)
        if measure.kind == "histogram":
            return library.Histogram(*given, registry=self._registry, buckets=BUCKETS)
        return library.Gauge(*given, registry=self._registry, multiprocess_mode=measure.across)

    def _of(self, name: str, *labels: str) -> Any:
        """A metric for these label values."""
        return self._measures[name].labels(*labels)

    def know(self, config: Config) -> None:
        """Take the names of a configuration; those of a former one stay known until the end.

        Else what a request began under one name would be ended under another.
        """
        self._models.update(config.models, config.aliases)
        self._keys.update(key.name for key in config.keys.values())
        bounds = {
            (key.name, limit): bound
            for key in config.keys.values()
            for limit in LIMITS
            if (bound := getattr(key, limit)) is not None
        }
        self._limited.update(bounds)
        for labels in self._limited:
            self._of("outthink_key_limit", *labels).set(bounds.get(labels, math.inf))
        for model in config.models.values():
            self._hosts.update(upstream.host for upstream in model.upstreams)
        for host in self._hosts - self._open.keys():
            self.upstream_open(host, False)

    def started(self) -> None:
        """A request was admitted: it is worked on from now until ``finished``."""
        self._in_flight.inc()

    def queued(self, change: int) -> None:
        """So many more requests (fewer, below zero) wait for a place."""
        self._queued.inc(change)

    def finished(
        self,
        endpoint: str,
        model: str,
        strategy: str,
        key: str,
        status: int,
        seconds: float,
        usage: Usage | None = None,
        stopped: str = "",
        fault: str = "",
    ) -> None:
        """An admitted request has ended, after ``seconds`` since it came.

        ``endpoint`` is the path's template, ``strategy`` the registered name ("" for the
        pass-through), ``key`` the key's name ("" for none), ``stopped`` what ended the run,
        ``fault`` the code of the error that was answered: without a call it was a refusal.
        """
        self._in_flight.dec()
        row = self._row(endpoint, model, strategy, key)
        row.requests(status).inc()
        row.seconds.observe(seconds)
        if usage is not None:
            row.spend(usage)
        if stopped:
            row.stopped(stopped).inc()
        if fault and (usage is None or not usage.calls):
            row.refused(self._reason(fault)).inc()

    def refused(
        self, reason: str, key: str, endpoint: str, status: int, model: str = "", strategy: str = ""
    ) -> None:
        """A request was refused before it was admitted; ``reason`` is the fault's code."""
        row = self._row(endpoint, model, strategy, key)
        row.requests(status).inc()
        row.refused(self._reason(reason)).inc()

    def _reason(self, code: str) -> str:
        if len(self._reasons) < REASONS and code.isidentifier():
            self._reasons.add(code)
        return _among(code, self._reasons)

    def first_token(self, endpoint: str, model: str, strategy: str, seconds: float) -> None:
        """The first token of a stream went out, after ``seconds``."""
        self._row(endpoint, model, strategy, "").first.observe(seconds)

    def upstream_started(self, host: str) -> None:
        """An HTTP request goes out to an upstream; ``upstream`` ends it."""
        self._upstream(host).inc()

    def upstream(self, host: str, status: int | str, seconds: float) -> None:
        """It has ended: with an HTTP status, or with one of ``CAUSES``."""
        self._upstream(host).dec()
        place = (host, status)
        found = self._upstream_seconds.get(place)
        if found is None:
            known = _among(host, self._hosts)
            shown = str(status) if status in STATUSES or status in CAUSES else OTHER
            found = self._of("outthink_upstream_seconds", known, shown)
            if known == host and shown == str(status):
                self._upstream_seconds[place] = found
        found.observe(seconds)

    def _upstream(self, host: str) -> Any:
        found = self._upstreams.get(host)
        if found is None:
            known = _among(host, self._hosts)
            found = self._of("outthink_upstream_in_flight", known)
            if known == host:
                self._upstreams[host] = found
        return found

    def upstream_open(self, host: str, is_open: bool) -> None:
        """How the circuit breaker of an upstream stands; to be told after each call."""
        if self._open.get(host) != is_open and host in self._hosts:
            self._open[host] = is_open
            self._of("outthink_upstream_open", host).set(int(is_open))

    def text(self) -> bytes:
        """All numbers, of all workers, in Prometheus's text format (``CONTENT_TYPE``)."""
        from prometheus_client import CollectorRegistry, generate_latest, multiprocess

        if FOLDER not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _row(self, endpoint: str, model: str, strategy: str, key: str) -> _Row:
        """What is counted for requests of one kind: looked up by their names once, not each time."""
        place = (endpoint, model, strategy, key)
        row = self._rows.get(place)
        if row is None:
            bounded = (
                _among(endpoint, ENDPOINTS),
                _among(model, self._models),
                _among(strategy or PASS, self._strategies),
                _among(key, self._keys),
            )
            row = self._rows.get(bounded)
            if row is None:
                row = self._rows[bounded] = _Row(self._of, *bounded)
            if all(name in ("", shown) for name, shown in zip(place, bounded, strict=True)):
                self._rows[place] = row
        return row


class _Row:
    """The series of requests of one endpoint, model, strategy and key; each is made when it is used."""

    def __init__(self, of: Any, endpoint: str, model: str, strategy: str, key: str) -> None:
        self._of, self._names = of, (endpoint, model, strategy)
        self._model, self._strategy, self._key = model, strategy, key
        self._requests: dict[int, Any] = {}
        self._stopped: dict[str, Any] = {}

    @functools.cached_property
    def seconds(self) -> Any:
        return self._of("outthink_request_seconds", *self._names)

    @functools.cached_property
    def first(self) -> Any:
        return self._of("outthink_first_token_seconds", *self._names)

    @functools.cached_property
    def _spent(self) -> tuple[Any, ...]:
        return (
            self._of("outthink_calls_total", self._model),
            *(self._of("outthink_tokens_total", self._model, kind) for kind in KINDS),
            self._of("outthink_key_tokens_total", self._key),
            self._of("outthink_usd_total", self._model, self._key),
        )

    def requests(self, status: int) -> Any:
        found = self._requests.get(status)
        if found is None:
            shown = status if status in STATUSES else OTHER
            found = self._of("outthink_requests_total", *self._names, str(shown))
            if shown == status:
                self._requests[status] = found
        return found

    def stopped(self, reason: str) -> Any:
        reason = _among(reason, STOPS)
        found = self._stopped.get(reason)
        if found is None:
            found = self._stopped[reason] = self._of(
                "outthink_stopped_total", self._strategy, reason
            )
        return found

    def refused(self, reason: str) -> Any:
        return self._of("outthink_refused_total", reason, self._key)

    def spend(self, usage: Usage) -> None:
        amounts = (
            usage.calls,
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_tokens,
            usage.reasoning_tokens,
            usage.prompt_tokens + usage.completion_tokens,
            usage.usd,
        )
        for counter, amount in zip(self._spent, amounts, strict=True):
            if amount:
                counter.inc(amount)


def _among(name: str, known: Collection[str]) -> str:
    """A name, where it is known; else what stands for none, or for others."""
    if not name:
        return NONE
    return name if name in known else OTHER
