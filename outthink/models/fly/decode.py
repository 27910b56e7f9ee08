"""Batched decoding with continuous refill: one worker serves every caller.

Callers hand in jobs (a prompt, ``n`` rows) from any thread; the worker reads each prompt once, forks
its state into a slot for each row, writes one token for every row at a time, and gives a freed slot
to the next row that waits.  Each row draws from its own generator, so its text depends on its seed
alone.  Rows are computed in spans of slots, by as many threads as there are cores; how many rows are
in the making at once is limited by ``max_rows`` and by the memory that their keys and values take.
Neither changes a bit of any row.
"""

from __future__ import annotations

import os
import queue
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from outthink.models.fly.engine import CHUNK, DESK, F32, MANY, Network, State, one_thread
from outthink.models.fly.tokenizer import Tokenizer

F64 = npt.NDArray[np.float64]
#: slots computed in one go at most, and for how many a thread of its own pays
SPAN, FEW = 64, 8


@dataclass(eq=False)
class Job:
    """``n = len(seeds)`` continuations of ``ids``; ``done`` is called once, in the worker."""

    ids: tuple[int, ...]
    seeds: tuple[int, ...]
    max_new: int
    temperature: float
    top_p: float
    top_k: int
    stop: tuple[bytes, ...]
    done: Callable[[Job, BaseException | None], None]
    #: how many of the largest log-probabilities to keep of each place
    top: int = 0
    #: added to the logits of the ids, ``(tokenizer.size,)``
    bias: F64 | None = None
    cancelled: bool = False
    rows: list[Row] = field(default_factory=list)
    left: int = 0


@dataclass(eq=False)
class Row:
    """One text in the making."""

    job: Job
    rng: random.Random
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    tops: list[F64] = field(default_factory=list)
    written: bytes = b""
    finish: str = ""
    stopped_by: bytes | None = None
    start: State | None = None
    logits: F32 | None = None
    drawn: tuple[int, float] | None = None
    weight: int = 0


class Decoder:
    """The worker over one ``Network``; its threads end after ``idle`` seconds without work."""

    def __init__(
        self,
        network: Network,
        tokenizer: Tokenizer,
        max_rows: int = 64,
        idle: float = 5.0,
        threads: int | None = None,
        cache_limit: int = 72 << 20,
    ) -> None:
        self.network, self.tokenizer, self.max_rows, self.idle = network, tokenizer, max_rows, idle
        self.threads = threads or min(_cores(), 4)
        #: bytes that the keys and values of rows in the making may take
        self.cache_limit = cache_limit
        self._inbox: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> None:
        """Hand in a job from any thread."""
        with self._lock:
            self._inbox.put(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="fly", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        with one_thread(), _helpers(self.threads - 1) as self._spread:
            self._serve()

    def _serve(self) -> None:
        active: list[Row] = []
        waiting: deque[Row] = deque()
        while True:
            try:
                block = not active and not waiting
                job = self._inbox.get(block, self.idle if block else None)
            except queue.Empty:
                if not active and not waiting:
                    with self._lock:
                        if self._inbox.empty():
                            self.network.release()
                            self._thread = None
                            return
                    continue
            else:
                self._accept(job, waiting)
                continue
            try:
                self._step(active, waiting)
            except Exception as error:  # the callers must hear of it, the worker lives on
                jobs = {id(r.job): r.job for r in [*active, *waiting]}
                active.clear()
                waiting.clear()
                for failed in jobs.values():
                    failed.done(failed, error)

    def _accept(self, job: Job, waiting: deque[Row]) -> None:
        """Read the prompt (what is not known of it yet) and queue its rows."""
        if job.cancelled:
            job.done(job, None)
            return
        try:
            state, logits = self._read(job.ids)
        except Exception as error:
            job.done(job, error)
            return
        job.left = len(job.seeds)
        for seed in job.seeds:
            row = Row(job, random.Random(seed), start=state, logits=logits)
            job.rows.append(row)
            waiting.append(row)

    def _read(self, ids: tuple[int, ...]) -> tuple[State, F32]:
        net = self.network
        known = net.longest(ids, len(ids) - 1)
        at = 0
        net.clear(DESK)
        if known is not None:
            net.load(DESK, known)
            at = len(known.ids)
        hidden: F32 = np.zeros((1, net.hidden), np.float32)
        while at < len(ids):
            part = ids[at : at + 256]
            hidden = net.forward([(DESK, at, part)])
            at += len(part)
        return net.keep(DESK, ids), net.logits(hidden[-1:])[0]

    def _step(self, active: list[Row], waiting: deque[Row]) -> None:
        """Fill free slots, take each row's next token, drop the finished, read and draw."""
        for place in range(len(active) - 1, -1, -1):
            if active[place].job.cancelled:
                self._drop(active, place)
        self._fill(active, waiting)
        for row in active:
            assert row.drawn is not None
            self._append(row, *row.drawn)
        for place in range(len(active) - 1, -1, -1):
            row = active[place]
            if row.finish:
                if row.finish != "stop":  # it may be continued
                    self.network.keep(place, (*row.job.ids, *row.tokens[:-1]))
                self._drop(active, place)
        count = len(active)
        parts = max(-(-count // SPAN), min(self.threads, count // FEW), min(count, 1))
        edges = [count * i // parts for i in range(parts + 1)] if parts else []

        def read(first: int, end: int) -> None:
            rows = active[first:end]
            groups = [
                (first + i, len(r.job.ids) + len(r.tokens) - 1, r.tokens[-1:])
                for i, r in enumerate(rows)
            ]
            self._choose(rows, self.network.logits(self.network.forward(groups)))

        self.network.settle(count)
        self._spread(read, list(pairwise(edges)))

    def _fill(self, active: list[Row], waiting: deque[Row]) -> None:
        """Give free slots to rows that wait, as far as the memory goes, and draw their first token."""
        net, fresh = self.network, []
        used = sum(r.weight for r in active)
        states = Counter(id(r.start) for r in active)
        while waiting and len(active) < self.max_rows:
            row = waiting[0]
            if row.job.cancelled:
                self._end(waiting.popleft())
                continue
            assert row.start is not None
            need = min(len(row.job.ids) + row.job.max_new, net.context)
            own = need
            if states[id(row.start)] >= MANY:  # what it shares is there already
                own -= len(row.start.ids) // CHUNK * CHUNK
            row.weight = own * net.token_bytes
            if active and used + row.weight > self.cache_limit:
                break
            used += row.weight
            states[id(row.start)] += 1
            waiting.popleft()
            if len(active) >= net.slots:
                net.reserve(min(2 * len(active) + 8, self.max_rows))
            net.load(len(active), row.start)
            active.append(row)
            fresh.append(row)
        if fresh:
            self._choose(fresh, np.stack([r.logits for r in fresh if r.logits is not None]))

    def _choose(self, rows: list[Row], logits: F32) -> None:
        for row, token, logprob in zip(rows, *self._draw(rows, logits), strict=True):
            row.drawn = int(token), float(logprob)

    def _draw(self, rows: list[Row], logits: F32) -> tuple[npt.NDArray[np.int64], F64]:
        """One token for each row by inversion of its distribution, and its log-probability.

        The log-probability is that of the model itself (temperature 1, nothing cut away), in nats.
        """
        raw = logits.astype(np.float64)
        raw -= raw.max(axis=1, keepdims=True)
        p = np.exp(raw)
        norm = np.log(np.add.reduce(p, axis=1))
        for i, row in enumerate(rows):
            if row.job.top:
                k = min(row.job.top, self.tokenizer.size)
                known = raw[i, : self.tokenizer.size]
                row.tops.append(np.sort(np.partition(known, -k)[-k:])[::-1] - norm[i])
        p = p[:, : self.tokenizer.size]  # no text has the ids beyond
        own, raw = raw, self._biased(rows, raw)
        warm = [i for i, r in enumerate(rows) if r.job.temperature != 1.0 or r.job.bias is not None]
        if warm:
            heat = np.array([[max(rows[i].job.temperature, 1e-6)] for i in warm])
            p[warm] = np.exp(raw[warm, : p.shape[1]] / heat)
        for i, row in enumerate(rows):
            job = row.job
            if 0 < job.top_k < p.shape[1]:
                p[i, p[i] < np.partition(p[i], -job.top_k)[-job.top_k]] = 0.0
            if job.top_p < 1.0:
                order = np.argsort(-p[i], kind="stable")
                mass = np.cumsum(p[i, order]) / p[i].sum()
                p[i, order[int(np.searchsorted(mass, job.top_p)) + 1 :]] = 0.0
        edges = np.cumsum(p, axis=1)
        u = np.array([r.rng.random() for r in rows]) * edges[:, -1]
        tokens = np.count_nonzero(edges <= u[:, None], axis=1)
        tokens = np.minimum(tokens, p.shape[1] - 1)
        for i, row in enumerate(rows):
            if row.job.temperature <= 0:
                tokens[i] = raw[i].argmax()
        return tokens, own[np.arange(len(rows)), tokens] - norm

    def _biased(self, rows: list[Row], raw: F64) -> F64:
        """The logits with each job's bias, the largest of a row at 0 again."""
        shifts = [(i, row.job.bias) for i, row in enumerate(rows) if row.job.bias is not None]
        if not shifts:
            return raw
        out = raw.copy()
        for i, bias in shifts:
            out[i, : len(bias)] += bias
            out[i] -= out[i].max()
        return out

    def _append(self, row: Row, token: int, logprob: float) -> None:
        job = row.job
        row.tokens.append(token)
        row.logprobs.append(logprob)
        if token == self.tokenizer.eos:
            row.finish = "stop"
            return
        before = len(row.written)
        row.written += self.tokenizer.id_bytes[token]
        hits = []
        for stop in job.stop:
            found = row.written.find(stop, max(0, before - len(stop) + 1))
            if found >= 0:
                hits.append((found, stop))
        if hits:
            cut, row.stopped_by = min(hits)
            row.written, row.finish = row.written[:cut], "step"
        elif len(row.tokens) >= job.max_new:
            row.finish = "length"

    def _drop(self, active: list[Row], place: int) -> None:
        """Take a row out; the last row moves into its slot, so that slots stay dense."""
        row, last = active[place], len(active) - 1
        if place != last:
            self.network.move(last, place)
            active[place] = active[last]
        self.network.clear(last)
        active.pop()
        row.start = None
        self._end(row)

    def _end(self, row: Row) -> None:
        row.job.left -= 1
        if row.job.left == 0:
            row.job.done(row.job, None)


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


Spread = Callable[[Callable[..., None], list[tuple[int, int]]], None]


@contextmanager
def _helpers(count: int) -> Iterator[Spread]:
    """``spread(call, arguments)`` runs calls in this thread and up to ``count`` others; all are awaited."""
    tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
    started = 0

    def help_out() -> None:
        while (task := tasks.get()) is not None:
            task()

    def spread(call: Callable[..., None], arguments: list[tuple[int, int]]) -> None:
        nonlocal started
        left = deque(arguments)
        failed: list[Exception] = []
        here = min(count, len(arguments) - 1)

        def work() -> None:
            while not failed:
                try:
                    some = left.popleft()
                except IndexError:
                    return
                try:
                    call(*some)
                except Exception as error:
                    failed.append(error)

        done = threading.Semaphore(0)

        def task() -> None:
            work()
            done.release()

        for _ in range(here):
            tasks.put(task)
        while started < here:
            threading.Thread(target=help_out, name="fly-helper", daemon=True).start()
            started += 1
        work()
        for _ in range(here):
            done.acquire()
        if failed:
            raise failed[0]

    try:
        yield spread
    finally:
        for _ in range(started):
            tasks.put(None)
