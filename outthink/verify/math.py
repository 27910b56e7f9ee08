"""Mathematical equivalence by math-verify, in processes that can be stopped.

Simplifying ``9^{9^{9^9}}`` never ends.  So math-verify runs in a few worker processes; one that does
not answer in time is killed by the kernel and replaced.  Limits are in seconds for one comparison.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from outthink.core.errors import BadInput, VerifierError
from outthink.core.nouns import Problem, Sample, Score
from outthink.core.registry import register
from outthink.core.run import Run
from outthink.verify.extract import TextReader, canonical_answer, latex

WORKERS = max(1, min(4, os.cpu_count() or 1))
START_SECONDS = 60.0

_NUMBER = re.compile(r"-?\d+(?:/\d+)?")
_DECIMAL = re.compile(r"-?\d+(?:\.\d+)?(?:\s*\\?%)?|-?\d+/\d+|-?\\frac\{-?\d+\}\{\d+\}")
_WORDS = re.compile(r"[A-Za-z]{4,}(?: [A-Za-z]+)*")


class _Worker:
    """One process of ``_math_worker``."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("_math_worker.py")
        #: was it stopped because its time was over?
        self.late = False
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )

    def greet(self) -> None:
        """Wait until it is ready; raises ``VerifierError`` when it cannot work."""
        hello = self._line(START_SECONDS)
        if hello is None or "ready" not in hello:
            why = (hello or {}).get("broken", "its process ended at once")
            raise VerifierError(f"math-verify does not run: {why}")

    def _line(self, seconds: float) -> dict[str, Any] | None:
        """The next line, or ``None`` when the process ends first; it is killed after ``seconds``."""
        assert self.process.stdout is not None
        timer = threading.Timer(seconds, self.stop)
        timer.daemon = True
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        return json.loads(line) if line.endswith("\n") else None

    def ask(self, golds: Sequence[str], answer: str, seconds: float) -> dict[str, Any] | None:
        """The reply, or ``None`` when the worker was stopped or had died."""
        assert self.process.stdin is not None
        request = {"golds": list(golds), "answer": answer, "seconds": seconds}
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except OSError:
            return None
        return self._line(seconds * len(golds) + 1.0)

    def stop(self) -> None:
        """Have the process end now; ``ask`` gives ``None``."""
        self.late = True
        self.process.kill()

    def close(self) -> None:
        """End the process and see it gone."""
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if stream:
                    stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        alarm = getattr(signal, "SIGALRM", None)
        self.late = self.late or (alarm is not None and self.process.returncode == -alarm)


class _Call:
    """One comparison, to be given up when nobody waits for it any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self.given_up = False

    def hold(self, worker: _Worker | None) -> None:
        """This worker is at it now (``None``: it is done)."""
        with self._lock:
            self._worker = worker
            if worker is not None and self.given_up:
                worker.stop()

    def give_up(self) -> None:
        """Stop the worker that is at it, or will be."""
        with self._lock:
            self.given_up = True
            if self._worker is not None:
                self._worker.stop()


class Workers:
    """Up to ``size`` workers, started when first needed, replaced when they die.  Thread-safe."""

    def __init__(self, size: int = WORKERS) -> None:
        self.size = size
        self._begin()

    def _begin(self) -> None:
        self._places = threading.BoundedSemaphore(self.size)
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()

    def find(
        self, golds: Sequence[str], answer: str, seconds: float, call: _Call | None = None
    ) -> int | None:
        """The index of the first of ``golds`` equal to ``answer``; -1: none; ``None``: not in time."""
        if self._owner != os.getpid():  # after a fork the pipes are the parent's
            self._begin()
        call = call or _Call()
        with self._places:
            for _ in range(2):  # a worker that something else killed is replaced, and asked again
                if call.given_up:
                    return None
                worker = self._take()
                try:
                    call.hold(worker)
                    reply = worker.ask(golds, answer, seconds)
                except BaseException:
                    self._drop(worker)
                    raise
                finally:
                    call.hold(None)
                if reply is not None and reply["found"] is not None:
                    if worker.late:  # stopped just after it had answered
                        self._drop(worker)
                    else:
                        with self._lock:
                            self._idle.append(worker)
                    return int(reply["found"])
                self._drop(worker)
                if worker.late or reply is not None:  # out of time, or of memory
                    break
            return None

    def _take(self) -> _Worker:
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                break
            if worker.process.poll() is None:
                return worker
            self._drop(worker)
        worker = _Worker()
        with self._lock:
            self._all.add(worker)
        try:
            worker.greet()
        except BaseException:
            self._drop(worker)
            raise
        return worker

    def _drop(self, worker: _Worker) -> None:
        worker.close()
        with self._lock:
            self._all.discard(worker)

    def close(self) -> None:
        """End all workers: the idle ones, and those whose computation nobody waits for any more."""
        if self._owner != os.getpid():
            return
        with self._lock:
            idle, self._idle = self._idle, []
            busy = self._all.difference(idle)
        for worker in busy:
            worker.stop()
        for worker in idle:
            self._drop(worker)


_POOL = Workers()
atexit.register(_POOL.close)
_LIMITER: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("math_workers")


async def _find(golds: Sequence[str], answer: str, seconds: float) -> int | None:
    try:
        limiter = _LIMITER.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(WORKERS)
        _LIMITER.set(limiter)
    call = _Call()
    try:
        return await anyio.to_thread.run_sync(
            _POOL.find, golds, answer, seconds, call, limiter=limiter, abandon_on_cancel=True
        )
    except BaseException:
        call.give_up()
        raise


def _kind(form: str) -> str:
    return "number" if _NUMBER.fullmatch(form) else "words" if _WORDS.fullmatch(form) else "other"


def _shown(answer: str, form: str) -> str:
    """What math-verify is asked about, or nothing where it would read a part for the whole.

    It stops without a word at a sign that it does not know.  Of numbers it is shown the exact value,
    where they are not plain decimals, percents or fractions.
    """
    text = latex(answer).strip().strip("$").strip()
    if _kind(form) == "number" and not _DECIMAL.fullmatch(text):
        power = re.fullmatch(r"([-+]?\d+(?:\.\d+)?)[eE]\+?(-?\d+)", text)
        return f"{power[1]}\\cdot10^{{{power[2]}}}" if power else form
    text = re.sub(r"\s*\*\s*(?=\\)", r"\\cdot ", _roots(re.sub(r"[ \t\r\n]+", " ", text)))
    return text if text.isascii() and text.isprintable() else ""


def _roots(text: str) -> str:
    """``sqrt(...)`` as LaTeX, whatever stands in it; as it is where a bracket is never closed."""
    out: list[str] = []
    open_: list[bool] = []
    at = 0
    for found in re.finditer(r"(?<![\\a-zA-Z])sqrt\s*\(|[()]", text):
        out.append(text[at : found.start()])
        at = found.end()
        if found[0] != ")":
            open_.append(len(found[0]) > 1)
            out.append("\\sqrt{" if open_[-1] else "(")
        else:
            out.append("}" if open_ and open_.pop() else ")")
    return text if any(open_) else "".join([*out, text[at:]])


def _pair(reference: str, answer: str) -> bool | tuple[str, str]:
    """Are they equal, as far as normal forms say?  Else what math-verify is to compare."""
    one, two = canonical_answer(reference), canonical_answer(answer)
    if one == two:
        return True
    if "words" in (_kind(one), _kind(two)):
        return False
    gold, said = _shown(reference, one), _shown(answer, two)
    return (gold, said) if gold and said else False


async def equal(reference: str, answer: str, seconds: float = 3.0) -> bool | None:
    """Are two expressions equal?  ``None`` when that could not be told within ``seconds``."""
    pair = _pair(reference, answer)
    if isinstance(pair, bool):
        return pair
    found = await _find([pair[0]], pair[1], seconds)
    return None if found is None else found == 0


def math_match(text: str, reference: str, seconds: float = 3.0) -> bool:
    """Is the answer in ``text`` mathematically equal to ``reference``?  Not being told in time is no."""
    answer = TextReader().extract(text)
    if answer is None:
        return False
    pair = _pair(reference, answer)
    return pair if isinstance(pair, bool) else _POOL.find([pair[0]], pair[1], seconds) == 0


async def merge(answers: Sequence[str], seconds: float = 2.0) -> list[int]:
    """Class numbers of answers, equal ones sharing one, in order of first appearance.

    Answers of one normal form are equal; plain numbers and words are told apart by it too, so that
    math-verify is asked only about pairs with at least one other expression.  A pair that cannot be
    decided in time stays apart, and the answer at fault is compared no more.
    """
    classes: list[int] = []
    known: dict[str, int] = {}
    heads: list[tuple[str, str]] = []
    slow: set[int] = set()
    for answer in answers:
        form = canonical_answer(answer)
        if form not in known:
            text, kind = _shown(answer, form), _kind(form)
            rivals = [
                i
                for i, (rival, other) in enumerate(heads)
                if i not in slow
                and text
                and rival
                and "words" not in (kind, other)
                and (kind, other) != ("number", "number")
            ]
            found, stuck = await _first_equal([heads[i][0] for i in rivals], text, seconds)
            slow.update(len(heads) if place < 0 else rivals[place] for place in stuck)
            known[form] = len(heads) if found < 0 else rivals[found]
            if found < 0:
                heads.append((text, kind))
        classes.append(known[form])
    return classes


async def _first_equal(rivals: list[str], text: str, seconds: float) -> tuple[int, list[int]]:
    """The first rival equal to ``text`` (-1: none), and those that hang (-1: ``text`` does)."""
    if not rivals:
        return -1, []
    found = await _find(rivals, text, seconds)
    if found is not None:
        return found, []
    if await _find(["1"], text, seconds) is None:
        return -1, [-1]
    if len(rivals) == 1:
        return -1, [0]
    stuck: list[int] = []
    for place, rival in enumerate(rivals):
        found = await _find([rival], text, seconds)
        if found == 0:
            return place, stuck
        if found is None:
            stuck.append(place)
    return -1, stuck


@register("verifier", "math")
@dataclass(frozen=True)
class MathMatch:
    """1 where the answer is mathematically equal to ``reference`` (math-verify), else 0."""

    reference: str | int | float
    seconds: float = 3.0

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= 600:
            raise BadInput(f"math: seconds={self.seconds} must be above 0 and at most 600")

    async def __call__(self, problem: Problem, samples: Sequence[Sample], run: Run) -> list[Score]:
        """Compare each answer; one that cannot be decided in time has no score."""
        answers = [run.world.read(s) for s in samples]
        verdicts: dict[str, bool | None] = {}

        async def compare(answer: str) -> None:
            verdicts[answer] = await equal(str(self.reference), answer, self.seconds)

        async with anyio.create_task_group() as tasks:
            for answer in dict.fromkeys(a for a in answers if a is not None):
                tasks.start_soon(compare, answer)
        undecided = sum(v is None for v in verdicts.values())
        if undecided:
            run.warn(f"math: {undecided} answers could not be compared in {self.seconds:g} s")
        found = [False if a is None else verdicts[a] for a in answers]
        return [Score(float("nan") if v is None else float(v)) for v in found]
