"""The runs of a bench in columns ``(arms, problems, seeds)``: what summaries are computed on."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from outthink.core.errors import BadInput, nearest
from outthink.core.nouns import Floats, Ints
from outthink.lab.records import AXES, Results


@dataclass(frozen=True, eq=False)
class Columns:
    """A number a run; NaN where the run failed, is not there, or has none.

    ``right`` is 1 or 0, ``confidence`` in [0, 1], ``costs`` has a column for each axis.
    ``candidates`` and ``right_candidates`` count, 0 where there are none; ``odd`` are the right ones
    at odd places (1, 3, ...) among the candidates.  ``tried`` counts the runs there are, failed ones
    too, ``(arms,)``.
    """

    labels: tuple[str, ...]
    problems: tuple[str, ...]
    seeds: tuple[int, ...]
    right: Floats
    confidence: Floats
    costs: dict[str, Floats]
    candidates: Ints
    right_candidates: Ints
    odd: Ints
    tried: Ints

    def shares(self) -> Floats:
        """The share of a problem's finished runs that is right, ``(arms, problems)``."""
        return over_seeds(self.right)

    def spent(self, axis: str) -> Floats:
        """The mean cost of a problem's finished runs, ``(arms, problems)``."""
        return over_seeds(self.costs[axis])

    def place(self, label: str) -> int:
        """The number of an arm; ``BadInput`` for a label that none has."""
        if label not in self.labels:
            raise BadInput(f"no arm is called {label!r}{nearest(label, self.labels)}")
        return self.labels.index(label)


def over_seeds(values: Floats) -> Floats:
    """The mean over the last axis without the NaN ones; NaN where all are."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def columns(results: Results) -> Columns:
    """The columns of a bench; of two rows of one run, the later counts.

    The problems are those of ``questions`` and whatever else was run; the seeds those that the design
    plans (``facts["design"]["seeds"]``, a number) and those that were run.  Raises ``BadInput`` for a
    run of an unknown arm, or a candidate that is not among the samples.
    """
    labels = tuple(arm.label for arm in results.arms)
    if not labels or len(set(labels)) < len(labels):
        raise BadInput("a bench needs arms, each with a label of its own")
    arm_at = {label: i for i, label in enumerate(labels)}
    runs = {(run.arm, run.problem, run.seed): run for run in results.runs}
    names = dict.fromkeys((*results.questions, *(problem for _, problem, _ in runs)))
    if not names:
        raise BadInput("a bench needs problems: it has neither questions nor runs")
    design = results.facts.get("design")
    planned = design.get("seeds") if isinstance(design, dict) else None
    seeds = set(range(planned)) if isinstance(planned, int) else set()
    seeds |= {seed for _, _, seed in runs}
    seed_at = {seed: i for i, seed in enumerate(sorted(seeds or {0}))}
    name_at = {name: i for i, name in enumerate(names)}
    models = [arm.model for arm in results.arms]

    known: defaultdict[tuple[str, str, int], dict[int, bool]] = defaultdict(dict)
    for sample in results.samples:
        known[sample.model, sample.problem, sample.seed][sample.number] = sample.right

    shape = (len(labels), len(names), len(seed_at))
    right, confidence = np.full(shape, np.nan), np.full(shape, np.nan)
    costs = {axis: np.full(shape, np.nan) for axis in AXES}
    counts = np.zeros((3, *shape), dtype=np.int64)
    tried = np.zeros(len(labels), dtype=np.int64)
    for run in runs.values():
        if run.arm not in arm_at:
            raise BadInput(f"a run is of arm {run.arm!r}{nearest(run.arm, labels)}")
        at = arm_at[run.arm], name_at[run.problem], seed_at[run.seed]
        tried[at[0]] += 1
        if run.right is None:
            continue
        right[at] = run.right
        if run.confidence is not None:
            confidence[at] = run.confidence
        for axis, column in costs.items():
            column[at] = getattr(run, axis)
        if results.samples and run.candidates:
            found = known[models[at[0]], run.problem, run.seed]
            try:
                good = [found[number] for number in run.candidates]
            except KeyError as missing:
                raise BadInput(
                    f"{run.arm!r} on {run.problem!r}, seed {run.seed}: candidate {missing} is not "
                    "among the samples"
                ) from None
            counts[(slice(None), *at)] = len(good), sum(good), sum(good[1::2])
    return Columns(
        labels=labels,
        problems=tuple(names),
        seeds=tuple(seed_at),
        right=right,
        confidence=confidence,
        costs=costs,
        candidates=counts[0],
        right_candidates=counts[1],
        odd=counts[2],
        tried=tried,
    )
