"""What a bench leaves: one row a run, one row a distinct candidate, and what was asked.

``Results`` is written to a folder as ``results.parquet`` (runs), ``samples.parquet`` (candidates) and
``bench.json`` (the design, versions, what failed); ``FORMAT`` is the version of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FORMAT = 1

#: what a run may cost, each with its unit: the axes that accuracy is shown against
AXES = {
    "completion_tokens": "completion tokens",
    "total_tokens": "prompt and completion tokens",
    "calls": "calls",
    "critical_seconds": "seconds on the critical path",
    "usd": "USD",
    "flops": "FLOPs",
}


@dataclass(frozen=True)
class Arm:
    """One thing that is compared: a strategy on a model within a budget.  ``label`` is unique.

    ``series`` is the spec that it was swept from (lists and all): arms of one series and model are
    points of one curve.
    """

    label: str
    model: str
    strategy: str
    budget: str = ""
    series: str = ""


@dataclass(frozen=True)
class RunRow:
    """One run: an arm on a problem with a seed.

    ``right`` is ``None`` for a run that failed (``error`` says how).  ``candidates`` are the numbers
    of its samples among those of (model, problem, seed), ``scores`` the verifier's value of each (or
    empty), ``confidence`` in [0, 1] or ``None``.  ``new_tokens`` are completion tokens of samples that
    no arm before it had: what the run costs beside the others.  Seconds: ``seconds`` is wall time now,
    ``critical_seconds`` the longest chain of calls that waited for one another, as they took when
    they were made.
    """

    arm: str
    problem: str
    seed: int
    right: bool | None
    answer: str | None = None
    confidence: float | None = None
    stopped: str = "finished"
    error: str | None = None
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    new_tokens: int = 0
    seconds: float = 0.0
    critical_seconds: float = 0.0
    usd: float = 0.0
    flops: float = 0.0
    candidates: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()

    @property
    def total_tokens(self) -> int:
        """Prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class SampleRow:
    """One candidate text of a (model, problem, seed): ``number`` is what ``RunRow.candidates`` holds.

    ``count`` is how many samples have this text, ``tokens`` and ``logprob`` are those of one.
    ``group`` numbers its answer among those of the (model, problem, seed), -1 for none.
    """

    model: str
    problem: str
    seed: int
    number: int
    text: str
    answer: str | None
    group: int
    right: bool
    tokens: int
    logprob: float | None = None
    count: int = 1


@dataclass(repr=False)
class Results:
    """A bench, whole: ``facts`` has the design, the task, versions and dates, plain values all.

    ``questions`` maps a problem's name to its question, ``references`` to its right answer where that
    is a text.
    """

    facts: dict[str, Any]
    arms: list[Arm]
    runs: list[RunRow]
    samples: list[SampleRow] = field(default_factory=list)
    questions: Mapping[str, str] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        done = sum(run.right is not None for run in self.runs)
        return f"Results({len(self.arms)} arms, {len(self.questions)} problems, {done} runs)"

    def summary(self, baseline: str | None = None) -> dict[str, Any]:
        """The figures with their intervals; see ``outthink.lab.summary.summarise``."""
        from outthink.lab.summary import summarise

        return summarise(self, baseline or self.facts.get("baseline"))

    @property
    def problems(self) -> list[str]:
        """The names of the problems, in the order of the task."""
        return list(self.questions)

    def of(self, arm: Arm | str) -> list[RunRow]:
        """The runs of an arm."""
        label = arm if isinstance(arm, str) else arm.label
        return [run for run in self.runs if run.arm == label]

    def arm(self, label: str) -> Arm:
        """The arm of a label."""
        return next(a for a in self.arms if a.label == label)
