"""Batched decoding with continuous refill: one worker thread serves every caller.

Callers hand in jobs (a prompt, ``n`` rows) from any thread; the worker reads each prompt once, forks
its state into a slot for each row, writes one token for every row at a time, and gives a freed slot
to the next row that waits.  Each row draws from its own generator, so its text depends on its seed
alone.
"""

from __future__ import annotations

import queue
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from outthink.models.fly.engine import F32, Network, State, one_thread
from outthink.models.fly.tokenizer import Tokenizer

F64 = npt.NDArray[np.float64]


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
    written: bytes = b""
    finish: str = ""
    stopped_by: bytes | None = None
    start: State | None = None
    logits: F32 | None = None


class Decoder:
    """The worker over one ``Network``; its thread ends after ``idle`` seconds without work."""

    def __init__(
        self, network: Network, tokenizer: Tokenizer, max_rows: int = 64, idle: float = 5.0
    ) -> None:
        self.network, self.tokenizer, self.max_rows, self.idle = network, tokenizer, max_rows, idle
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
        with one_thread():
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
        slot = self.max_rows
        net.reserve(self.max_rows + 1, len(ids) + 1)
        at = 0
        if known is not None:
            net.load(slot, known)
            at = len(known.ids)
        hidden: F32 = np.zeros((1, net.hidden), np.float32)
        while at < len(ids):
            part = ids[at : at + 256]
            hidden = net.forward([(slot, at, part)])
            at += len(part)
        return net.keep(slot, ids), net.logits(hidden[-1:])[0]

    def _step(self, active: list[Row], waiting: deque[Row]) -> None:
        """Fill free slots, draw the next token of every row, drop the finished, read the rest."""
        net = self.network
        for slot in range(len(active) - 1, -1, -1):
            if active[slot].job.cancelled:
                self._drop(active, slot)
        while waiting and len(active) < self.max_rows:
            row = waiting.popleft()
            if row.job.cancelled:
                self._end(row)
                continue
            assert row.start is not None
            need = len(row.job.ids) + row.job.max_new + 1
            net.reserve(self.max_rows + 1, min(need, net.context))
            net.load(len(active), row.start)
            row.start = None
            active.append(row)
        if not active:
            return
        logits = np.stack([r.logits for r in active if r.logits is not None])
        for row, token, logprob in zip(active, *self._draw(active, logits), strict=True):
            self._append(row, int(token), float(logprob))
        for slot in range(len(active) - 1, -1, -1):
            row = active[slot]
            if row.finish:
                if row.finish == "step":
                    net.keep(slot, (*row.job.ids, *row.tokens[:-1]))
                self._drop(active, slot)
        if active:
            places = [len(r.job.ids) + len(r.tokens) - 1 for r in active]
            groups = [
                (s, p, r.tokens[-1:]) for s, (p, r) in enumerate(zip(places, active, strict=True))
            ]
            fresh = net.logits(net.forward(groups))
            for row, values in zip(active, fresh, strict=True):
                row.logits = values

    def _draw(self, rows: list[Row], logits: F32) -> tuple[npt.NDArray[np.int64], F64]:
        """One token for each row by inversion of its distribution, and its log-probability.

        The log-probability is that of the model itself (temperature 1, nothing cut away), in nats.
        """
        raw = logits.astype(np.float64)
        plain = raw - raw.max(axis=1, keepdims=True)
        plain -= np.log(np.exp(plain).sum(axis=1, keepdims=True))
        heat = np.array([max(r.job.temperature, 1e-6) for r in rows])[:, None]
        p = plain / heat
        p = np.exp(p - p.max(axis=1, keepdims=True))
        p[:, self.tokenizer.size :] = 0.0  # ids that no text has
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
        tokens = (edges <= u[:, None]).sum(axis=1)
        tokens = np.minimum(tokens, p.shape[1] - 1)
        cold = np.array([r.job.temperature <= 0 for r in rows])
        tokens = np.where(cold, raw.argmax(axis=1), tokens)
        return tokens, plain[np.arange(len(rows)), tokens]

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

    def _drop(self, active: list[Row], slot: int) -> None:
        """Take a row out; the last row moves into its slot, so that slots stay dense."""
        row, last = active[slot], len(active) - 1
        if slot != last:
            moved = active[last]
            length = len(moved.job.ids) + len(moved.tokens)
            self.network.move(last, slot, min(length, self.network.context))
            active[slot] = moved
        active.pop()
        self._end(row)

    def _end(self, row: Row) -> None:
        row.job.left -= 1
        if row.job.left == 0:
            row.job.done(row.job, None)
