"""Plan: which strategy, at which n, on which model, for a budget or a target accuracy.

``advise`` reads a bench.  The best arm of a budget is the most accurate one whose mean cost is within
it; of a target, the cheapest that reaches it.  What such a choice is worth is not the winner's own
figure, which luck made look good: the arm is chosen on one half of the problems and measured on the
other, both ways round (two-fold cross-fitting).  Where a paired difference to the winner may be 0, the
advice says that the data cannot tell.

``by_difficulty`` is compute-optimal scaling (Snell et al., S050, arXiv 2408.03314; Wu et al., S081,
arXiv 2408.00724) without labels at run time: a few samples are drawn first, and how far they agree
says how hard the problem is.  For levels ``l`` of agreement it chooses one arm each,

    max_a  sum_l  P(l) E[right | l, a_l]    with   sum_l P(l) E[cost | l, a_l] <= budget

by enumeration.  ``auto`` runs such a plan.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from outthink.core import registry
from outthink.core.budget import Budget
from outthink.core.errors import BadInput
from outthink.core.nouns import Floats, Ints
from outthink.lab import stats
from outthink.lab.columns import Columns, columns
from outthink.lab.records import AXES, Arm, Results
from outthink.lab.stats import Difference, Estimate
from outthink.lab.summary import halves, pareto, quantile_groups
from outthink.route.levels import FORMAT, Level
from outthink.store.export import replacing

#: levels of agreement at most
LEVELS = 3
#: what a limit of a budget is called among the axes of cost
AXIS_OF = {"tokens": "completion_tokens", "seconds": "critical_seconds"}


@dataclass(frozen=True)
class Advice:
    """What to run, what it may be expected to give, and whether the data can tell.

    ``expected`` is cross-fitted; ``costs`` are means a problem, by axis.  ``rivals`` are the arms that
    cannot be told apart from ``arm``, with accuracy over it; the ``cheapest`` of them costs less than
    ``arm``, if any does.  ``arm`` is ``None`` where no arm fits, and ``reason`` says why.
    """

    goal: str
    arm: Arm | None
    reason: str
    expected: Estimate | None = None
    costs: Mapping[str, Estimate] = field(default_factory=dict)
    rivals: tuple[tuple[str, Difference], ...] = ()
    cheapest: str | None = None

    @property
    def certain(self) -> bool:
        """Can the data tell?"""
        return self.arm is not None and not self.rivals

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "goal": self.goal,
            "arm": None if self.arm is None else vars(self.arm),
            "reason": self.reason,
            "certain": self.certain,
            "expected": None if self.expected is None else self.expected._asdict(),
            "costs": {axis: found._asdict() for axis, found in self.costs.items()},
            "rivals": [{"arm": label, **gap._asdict()} for label, gap in self.rivals],
            "cheapest": self.cheapest,
        }


class _Bench:
    """A bench's columns over the problems that every arm has finished."""

    def __init__(self, results: Results) -> None:
        found = columns(results)
        shares = found.shares()
        whole = np.asarray(np.isfinite(shares).all(axis=0))
        if whole.sum() < 4:
            raise BadInput(
                f"{int(whole.sum())} problems are finished by every arm: a plan needs at least 4; "
                "'outthink bench --out DIR' goes on with the bench"
            )
        self.results, self.found, self.runs = results, found, len(found.seeds)
        self.right = shares[:, whole]
        self.costs = {axis: found.spent(axis)[:, whole] for axis in AXES}
        self.first = halves([p for p, w in zip(found.problems, whole.tolist(), strict=True) if w])
        if self.first.all() or not self.first.any():
            self.first = np.arange(self.right.shape[1]) % 2 == 0


def axis_of(limit: str) -> str:
    """The axis of cost that a limit of a budget is on."""
    return AXIS_OF.get(limit, limit)


def advise(
    results: Results,
    budget: Budget | str | None = None,
    target: float | None = None,
    axis: str = "completion_tokens",
) -> Advice:
    """The most accurate arm within a budget (mean cost a problem), or the cheapest that reaches a target.

    ``axis`` is the cost that is to be small where a target is given, and between equals.  With neither,
    the most accurate arm of all.  Raises ``BadInput`` for both at once, or a bench that is too small.
    """
    limits = Budget.parse(budget) if isinstance(budget, str) else budget or Budget()
    if target is not None and limits.limits():
        raise BadInput("give a budget or a target accuracy, not both")
    if target is not None and not 0 < target <= 1:
        raise BadInput(f"target={target}: an accuracy above 0 and at most 1")
    if axis not in AXES:
        raise BadInput(f"axis={axis!r}: one of {', '.join(AXES)}")
    bench = _Bench(results)
    if target is not None:
        return _for_target(bench, target, axis)
    return _within(bench, limits, axis)


def _affordable(bench: _Bench, limits: Budget, some: Any = slice(None)) -> list[int]:
    """The arms whose mean cost over some problems keeps every limit."""
    return [
        i
        for i in range(len(bench.right))
        if all(
            bench.costs[axis_of(limit)][i, some].mean() <= bound
            for limit, bound in limits.limits().items()
        )
    ]


def _within(bench: _Bench, limits: Budget, axis: str) -> Advice:
    goal = f"most accurate within {limits}" if limits.limits() else "most accurate"
    price = bench.costs[axis]
    fit = _affordable(bench, limits)
    if not fit:
        least = min(range(len(price)), key=lambda i: price[i].mean())
        unit = next(iter(limits.limits()))
        cost = bench.costs[axis_of(unit)][least].mean()
        label = bench.found.labels[least]
        return Advice(
            goal, None, f"no arm is within it: {label} costs {cost:,.4g} {unit} a problem"
        )

    def choose(some: Any) -> int | None:
        mine = _affordable(bench, limits, some)
        if not mine:
            return None
        return min(mine, key=lambda i: (-bench.right[i, some].mean(), price[i, some].mean()))

    best = choose(slice(None))
    assert best is not None
    rivals = _rivals(bench, best, fit)
    reason = "every other arm within it is less accurate, beyond chance" if len(fit) > 1 else ""
    if len(fit) == 1:
        reason = "it is the only arm within it"
    if rivals:
        reason = f"the data cannot tell it from {len(rivals)} other" + "s" * (len(rivals) > 1)
    return _advice(bench, goal, best, _crossed(bench, choose), rivals, axis, reason)


def _for_target(bench: _Bench, target: float, axis: str) -> Advice:
    goal = f"cheapest in {AXES[axis]} that reaches {target:g}"
    price = bench.costs[axis]

    def choose(some: Any) -> int | None:
        mine = [i for i in range(len(price)) if bench.right[i, some].mean() >= target - 1e-9]
        return min(mine, key=lambda i: price[i, some].mean()) if mine else None

    everyone = [stats.share(row, bench.runs) for row in bench.right]
    best = choose(slice(None))
    if best is None:
        top = max(range(len(everyone)), key=lambda i: everyone[i].value)
        most = everyone[top]
        may = "it may still reach it" if most.high >= target else "none does, beyond chance"
        told = f"{bench.found.labels[top]} comes nearest with {most.value:.3f}"
        return Advice(
            goal, None, f"no arm reaches it; {told} ({most.low:.3f} to {most.high:.3f}): {may}"
        )
    # a cheaper one that may reach it, or the chosen one that may not
    doubtful = [
        i
        for i in range(len(price))
        if price[i].mean() < price[best].mean() and everyone[i].high >= target
    ]
    gaps = [
        (
            bench.found.labels[i],
            stats.share_difference(bench.right[i], bench.right[best], bench.runs),
        )
        for i in doubtful
    ]
    sure = everyone[best].low >= target - 1e-9
    reason = "it reaches it beyond chance" if sure else "that it reaches it may be chance"
    if gaps:
        reason += f", and the data cannot rule out {len(gaps)} cheaper arm" + "s" * (len(gaps) > 1)
    found = _advice(bench, goal, best, _crossed(bench, choose), tuple(gaps), axis, reason)
    if sure or gaps:
        return found
    # the arm itself is in doubt
    own = Difference(0.0, everyone[best].low - target, everyone[best].high - target, float("nan"))
    return replace(found, rivals=((bench.found.labels[best], own),))


def _rivals(bench: _Bench, best: int, fit: Sequence[int]) -> tuple[tuple[str, Difference], ...]:
    """The arms that may be as accurate: the interval of their difference holds 0."""
    others = [i for i in fit if i != best]
    gaps = [stats.share_difference(bench.right[i], bench.right[best], bench.runs) for i in others]
    near = [
        (bench.found.labels[i], gap) for i, gap in zip(others, gaps, strict=True) if gap.high >= 0
    ]
    return tuple(sorted(near, key=lambda pair: -pair[1].value))


def _crossed(bench: _Bench, choose: Any) -> Estimate | None:
    """The accuracy of what is chosen on the half that a problem is not in."""
    got = np.full(bench.right.shape[1], np.nan)
    for half in (bench.first, ~bench.first):
        arm = choose(half)
        if arm is not None:
            got[~half] = bench.right[arm, ~half]
    got = got[np.isfinite(got)]
    return stats.share(got, bench.runs) if len(got) else None


def _advice(
    bench: _Bench,
    goal: str,
    best: int,
    expected: Estimate | None,
    rivals: tuple[tuple[str, Difference], ...],
    axis: str,
    reason: str,
) -> Advice:
    label = bench.found.labels[best]
    costs = {
        name: stats.mean(values[best]) for name, values in bench.costs.items() if values[best].any()
    }
    price = {name: bench.costs[axis][i].mean() for i, name in enumerate(bench.found.labels)}
    cheaper = [name for name, _ in rivals if price[name] < price[label]]
    cheapest = min(cheaper, key=lambda name: price[name]) if cheaper else None
    return Advice(goal, bench.results.arm(label), reason, expected, costs, rivals, cheapest)


# -- by difficulty -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class DifficultyPlan:
    """Draw ``probe`` samples; their agreement names the level (from the least on) and its strategy.

    ``expected`` and ``cost`` (on ``axis``) are cross-fitted, ``over_best`` compares with the best single
    arm within the same budget, chosen likewise.
    """

    model: str
    budget: str
    axis: str
    probe: int
    levels: tuple[Level, ...]
    expected: Estimate
    cost: Estimate
    over_best: Difference
    single: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "format": FORMAT,
            "model": self.model,
            "budget": self.budget,
            "axis": self.axis,
            "probe": self.probe,
            "levels": [vars(level) for level in self.levels],
            "expected": self.expected._asdict(),
            "cost": self.cost._asdict(),
            "over_best": self.over_best._asdict(),
            "single": self.single,
        }

    def save(self, path: str | Path) -> None:
        """Write it as JSON, for ``auto(plan=...)``."""
        with replacing(Path(path)) as beside:
            beside.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")


class _Rows:
    """One model's arms in rows, one a run of the probe: (problem, seed)."""

    def __init__(self, found: Columns, arms: Sequence[int], probe: int, axis: str) -> None:
        self.axis, right = axis, found.right[arms]
        whole = np.isfinite(right).all(axis=0)
        self.problem: Ints = np.nonzero(whole)[0]
        self.right: Floats = right[:, whole]
        said = np.nan_to_num(found.confidence[arms[probe]], nan=0.0)
        self.agreement: Floats = said[whole]
        cost = found.costs[axis][arms][:, whole]
        # the probe's own vote is what has been drawn already
        self.cost: Floats = np.where(
            np.arange(len(arms))[:, None] == probe, cost, cost + cost[probe]
        )
        #: what an arm costs that is run at once, without a probe
        self.alone: Floats = cost


def by_difficulty(
    results: Results, budget: Budget | str, model: str | None = None, probe: int | None = None
) -> DifficultyPlan:
    """The best arm for each level of agreement of ``probe`` samples, within one limit on the mean cost.

    The probe is a plain vote of the bench (``self_consistency(n=probe)``): the narrowest of at least 3
    unless said.  Where the bench has several budgets, only arms within its first are considered.
    Raises ``BadInput`` where the bench has no such vote, or nothing fits.
    """
    asked = Budget.parse(budget) if isinstance(budget, str) else budget
    limits = asked.limits()
    if len(limits) != 1:
        raise BadInput("a plan by difficulty keeps one limit, such as tokens=1k")
    ((limit, bound),) = limits.items()
    axis, found = axis_of(limit), columns(results)
    models = list(dict.fromkeys(arm.model for arm in results.arms))
    name = models[0] if model is None else model
    if name not in models:
        raise BadInput(f"the bench has no model {name!r}; it has {', '.join(models)}")
    within = next(arm.budget for arm in results.arms if arm.model == name)
    arms = [i for i, arm in enumerate(results.arms) if arm.model == name and arm.budget == within]
    votes = {
        n: place
        for place, i in enumerate(arms)
        if (n := _votes(results.arms[i])) is not None and n >= 2
    }
    wide = [n for n in sorted(votes) if n >= 3]
    k = probe if probe is not None else wide[0] if wide else None
    if k is None or k not in votes:
        raise BadInput(
            f"the bench has no plain vote of {k or 'at least 3'} samples to tell difficulty by: add "
            f'--strategy "self_consistency(n={k or 4})"'
        )
    rows = _Rows(found, arms, votes[k], axis)
    first = halves(found.problems)[rows.problem]
    if len(set(rows.problem)) < 8 or first.all() or not first.any():
        raise BadInput("a plan by difficulty needs at least 8 problems that every arm has finished")

    def crossed(fit: Any) -> tuple[Floats, Floats]:
        got, paid = np.full(len(first), np.nan), np.full(len(first), np.nan)
        for half in (first, ~first):
            right, cost = fit(half)
            got[~half], paid[~half] = right[~half], cost[~half]
        return _by_problem(rows.problem, got), _by_problem(rows.problem, paid)

    def levelled(some: Any) -> tuple[Floats, Floats]:
        bounds, choice = _allocate(rows, some, bound)
        level = np.searchsorted(bounds, rows.agreement, side="right") - 1
        picked = np.array(choice)[np.maximum(level, 0)]
        at = np.arange(len(picked))
        return rows.right[picked, at], rows.cost[picked, at]

    def single(some: Any) -> tuple[Floats, Floats]:
        best = _single(rows, some, bound)
        return rows.right[best], rows.alone[best]

    bounds, choice = _allocate(rows, slice(None), bound)
    right, cost = crossed(levelled)
    plain, _ = crossed(single)
    runs = len(found.seeds)
    merged: list[Level] = []
    for low, arm in zip(bounds, choice, strict=True):
        spec = results.arms[arms[arm]].strategy
        if not merged or merged[-1].strategy != spec:
            merged.append(Level(float(low), spec))
    return DifficultyPlan(
        name,
        str(asked),
        axis,
        k,
        tuple(merged),
        stats.share(right, runs),
        stats.mean(cost),
        stats.share_difference(right, plain, runs),
        results.arms[arms[_single(rows, slice(None), bound)]].label,
    )


def _votes(arm: Arm) -> int | None:
    """The samples of a plain vote; ``None`` for any other arm."""
    strategy = registry.build(arm.strategy, "strategy")
    plain = registry.spec_of(type(strategy)(n=strategy.n)) if hasattr(strategy, "n") else ""
    vote = strategy.registered[1] == "self_consistency" and plain == arm.strategy
    return int(strategy.n) if vote else None


def _by_problem(problem: Ints, values: Floats) -> Floats:
    _, place = np.unique(problem, return_inverse=True)
    return np.bincount(place, weights=values) / np.bincount(place)


def _allocate(rows: _Rows, some: Any, bound: float) -> tuple[Floats, tuple[int, ...]]:
    """The lower bounds of the levels and the best arm of each, on some rows."""
    agreement = rows.agreement[some]
    group = quantile_groups(agreement, LEVELS)
    count = int(group.max()) + 1
    bounds = np.array([agreement[group == g].min() for g in range(count)])
    bounds[0] = 0.0
    right = np.array([rows.right[:, some][:, group == g].sum(axis=1) for g in range(count)])
    cost = np.array([rows.cost[:, some][:, group == g].sum(axis=1) for g in range(count)])
    # of each level only what is not both dearer and worse than another arm
    useful = [pareto(cost[g], right[g]) for g in range(count)]
    best: tuple[float, float, tuple[int, ...]] | None = None
    for arms in itertools.product(*useful):
        at = (np.arange(count), list(arms))
        paid, got = float(cost[at].sum()) / len(agreement), float(right[at].sum())
        if paid <= bound and (best is None or (got, -paid) > best[:2]):
            best = (got, -paid, arms)
    if best is None:
        least = float(cost.min(axis=1).sum()) / len(agreement)
        unit = AXES[rows.axis]
        raise BadInput(f"no plan is within {bound:,g} {unit}: the cheapest costs {least:,.4g}")
    return bounds, best[2]


def _single(rows: _Rows, some: Any, bound: float) -> int:
    """The best arm without a probe, within the bound if any is."""
    right, cost = rows.right[:, some].mean(axis=1), rows.alone[:, some].mean(axis=1)
    fit = [i for i in range(len(right)) if cost[i] <= bound] or [int(np.argmin(cost))]
    return min(fit, key=lambda i: (-right[i], cost[i]))
