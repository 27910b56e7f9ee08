"""How to split a budget between solutions and verifications of each.

S solutions are drawn, a generative verifier judges each V times, and the solution with the highest mean
verdict is the answer.  In units of one solution, with ``ratio`` tokens of a verification a token of a
solution, that costs

    C(S, V) = S (1 + ratio V)

From recorded solutions with their verdicts, success(S, V) is the exact mean over all S-subsets of the
solutions, and over random V-subsets of the verdicts.  For each budget C the law takes the V, and with it
S = floor(C / (1 + ratio V)), of the highest success, and fits

    S_opt ~ C^a,   V_opt ~ C^b

by least squares in logarithms.  Where ratio V is much above 1, a + b is near 1 by the cost alone; what
is found out is which grows faster.  S093 reports a > b for its verifiers.

Source: S093 (arXiv 2504.01005).  Cost: O(problems S log S) for each V and draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats, Ints
from outthink.lab import stats
from outthink.lab.pools import Bools, Pools
from outthink.lab.stats import Estimate
from outthink.laws import base
from outthink.laws.base import Band
from outthink.laws.vote import ballots_of


class Best(NamedTuple):
    """The best split at each budget: solutions, verifications of each, success; ``(points,)``."""

    solutions: Floats
    verdicts: Floats
    success: Floats


def best_of_subsets(scores: Floats, right: npt.ArrayLike, sizes: Sequence[int] | Ints) -> Floats:
    """The chance that the best-scored of a random subset is right, for many sizes: ``(sizes,)``.

    What ``outthink.select.coverage.best_at_k`` gives for one; of equal scores any is taken.
    """
    y, k = np.asarray(right, dtype=np.float64), np.asarray(sizes, dtype=np.int64)
    n = len(scores)
    _, group = np.unique(-scores, return_inverse=True)
    group = group.ravel()
    mean = np.bincount(group, y) / np.bincount(group)
    ranked = mean[np.sort(group)]
    # C(n - 1 - r, k - 1) / C(n, k), by logarithms of factorials
    logs = np.concatenate([[0.0], np.log(np.arange(1, n + 1)).cumsum()])
    below = n - 1 - np.arange(n)
    left = below - (k[:, None] - 1)
    share = logs[below] - logs[np.maximum(left, 0)] + np.log(k)[:, None]
    share = share + (logs[n - k] - logs[n])[:, None]
    return np.asarray(np.where(left >= 0, np.exp(share), 0.0) @ ranked)


@dataclass(frozen=True, eq=False)
class SplitLaw:
    """Success by split, and how the best one grows with the budget.

    ``success (problems, budgets, verdicts)`` is NaN where the split needs more solutions than there
    are; ``levels`` are the V, ``budgets`` the C.  ``vote (problems, budgets)`` is a majority vote at
    the same budget, without a verifier (NaN likewise).
    """

    ratio: float
    budgets: Floats
    levels: Ints
    success: Floats
    vote: Floats
    weights: Floats
    a: Estimate
    b: Estimate
    best: Best
    drawn: Floats

    @property
    def parameters(self) -> Mapping[str, Estimate]:
        """``a`` is the exponent of solutions, ``b`` that of verifications."""
        return {"a": self.a, "b": self.b}

    @property
    def residuals(self) -> Floats:
        """Log of the best number of solutions at each budget, minus the law's."""
        fitted = self.predict(self.budgets).value
        return np.asarray(np.log(self.best.solutions) - np.log(fitted))

    def predict(self, x: npt.ArrayLike) -> Band:
        """The best number of solutions at budgets ``x``, by the power law."""
        return self._line(x, 0)

    def verdicts(self, x: npt.ArrayLike) -> Band:
        """The best number of verifications of each, by the power law."""
        return self._line(x, 1)

    def _line(self, x: npt.ArrayLike, which: int) -> Band:
        c = np.atleast_1d(np.asarray(x, dtype=np.float64))
        values = self.best.solutions if which == 0 else self.best.verdicts
        slope, start = _line(self.budgets, values)
        drawn = self.drawn[:, which]
        curves = np.exp(drawn[:, :1] * np.log(c) + drawn[:, 1:])
        return base.band(c, np.exp(slope * np.log(c) + start), curves)

    def plot(self, path: str | Path) -> Path:
        """Left: the best S and V against the budget, with the power laws.  Right: success."""
        grid = np.geomspace(self.budgets[0], self.budgets[-1], 40)
        with base.Sheet(path, 2) as (left, right):
            base.draw(left, self.predict(grid), base.BLUE, f"solutions, C^{self.a.value:.2f}")
            name = f"verifications, C^{self.b.value:.2f}"
            base.draw(left, self.verdicts(grid), base.ORANGE, name, "--")
            base.dots(left, self.budgets, self.best.solutions, "", base.BLUE)
            base.dots(left, self.budgets, self.best.verdicts, "", base.ORANGE)
            left.set_yscale("log")
            left.set_ylabel("best number")
            top = base.band(self.budgets, self.best.success, self._draws_at_best())
            base.draw(right, top, base.BLUE, "best split")
            seen = np.isfinite(self.vote).all(axis=0)
            shown = base.band(
                self.budgets[seen],
                self.vote[:, seen].mean(axis=0),
                self.weights @ self.vote[:, seen],
            )
            base.draw(right, shown, base.BLACK, "vote, no verifier", ":")
            for i, level in enumerate(self.levels[:: max(1, len(self.levels) // 3)]):
                at = int(np.flatnonzero(self.levels == level)[0])
                mean = self.success[:, :, at].mean(axis=0)
                colour = base.COLOURS[(i + 1) % len(base.COLOURS)]
                right.plot(
                    self.budgets, mean, "--", color=colour, linewidth=1, label=f"V = {level}"
                )
            right.set_ylabel("share of problems right")
            for ax in (left, right):
                base.counting(ax, "budget C (solutions' worth of tokens)")
                ax.legend()
        return Path(path)

    def _draws_at_best(self) -> Floats:
        at = np.searchsorted(self.levels, self.best.verdicts)
        return self.weights @ self.success[:, np.arange(len(self.budgets)), at]

    def to_json(self) -> dict[str, Any]:
        """Exponents, and the best split at each budget."""
        return base.facts(
            "split",
            self.parameters,
            ratio=self.ratio,
            problems=len(self.success),
            budgets=self.budgets.tolist(),
            solutions=self.best.solutions.tolist(),
            verdicts=self.best.verdicts.tolist(),
            success=self.best.success.tolist(),
            vote=self.vote.mean(axis=0).tolist(),
            residuals=self.residuals.tolist(),
        )


def fit_split(
    right: Bools,
    verdicts: Floats,
    ratio: float,
    classes: npt.NDArray[Any] | None = None,
    budgets: npt.ArrayLike | None = None,
    shuffles: int = 8,
    draws: int = base.DRAWS,
    seed: int = 0,
) -> SplitLaw:
    """Fit the split to recorded solutions ``(problems, S)`` with verdicts ``(problems, S, V)`` in [0, 1].

    A missing verdict is NaN; a solution without any scores 0.  ``ratio`` is the cost of a verification
    over that of a solution.  ``classes`` (answers, -1 for none) give the vote to compare with; without
    them all wrong solutions count as one answer, the vote's worst case.  ``budgets`` are powers of
    sqrt(2) from 2 (1 + ratio) to what the solutions at hand allow with every V.
    """
    right = np.asarray(right, dtype=np.bool_)
    verdicts = np.asarray(verdicts, dtype=np.float64)
    if verdicts.ndim != 3 or verdicts.shape[:2] != right.shape or len(right) < 2:
        raise BadInput(
            f"a split needs right (problems, S) and verdicts (problems, S, V) of 2 problems or more, "
            f"not {right.shape} and {verdicts.shape}"
        )
    if not ratio > 0:
        raise BadInput(f"ratio={ratio:g}: a verification costs more than nothing")
    problems, most, judges = verdicts.shape
    levels = base.grid_of(judges, 12)
    rng = base.generator(seed)
    if budgets is None:
        # beyond most (1 + ratio) the splits with few verdicts run out of solutions
        start, end = 2 * (1 + ratio), most * (1 + ratio)
        cost = start * 2 ** (np.arange(0, 2 * np.log2(max(end / start, 1)) + 1e-9) / 2)
    else:
        cost = np.atleast_1d(np.asarray(budgets, dtype=np.float64))
    if len(cost) < 2:
        raise BadInput(f"{most} solutions a problem leave no two budgets to fit a power law to")
    solutions = np.floor(cost[:, None] / (1 + ratio * levels)).astype(np.int64)
    success = np.full((problems, len(cost), len(levels)), np.nan)
    for v, level in enumerate(levels):
        sizes = solutions[:, v]
        able = (sizes >= 1) & (sizes <= most)
        rounds = 1 if level == judges else shuffles
        for i in range(problems):
            total = np.zeros(int(able.sum()))
            for _ in range(rounds):
                order = rng.permuted(np.tile(np.arange(judges), (most, 1)), axis=1)[:, :level]
                chosen = np.take_along_axis(verdicts[i], order, axis=1)
                there = np.isfinite(chosen)
                scores = np.where(there, chosen, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
                total += best_of_subsets(scores, right[i], sizes[able])
            success[i, able, v] = total / rounds
    vote = _vote(right, classes, cost)
    weights = stats.resample(problems, draws, rng) / problems
    best = _best(success.mean(axis=0), solutions, levels)
    slopes = np.array([_line(cost, best.solutions), _line(cost, best.verdicts)])
    drawn = np.empty((draws, 2, 2))
    for d, w in enumerate(weights):
        other = _best(np.tensordot(w, success, axes=1), solutions, levels)
        drawn[d] = _line(cost, other.solutions), _line(cost, other.verdicts)
    a, b = (base.estimate(slopes[i, 0], drawn[:, i, 0]) for i in (0, 1))
    return SplitLaw(ratio, cost, levels, success, vote, weights, a, b, best, drawn)


def verdicts_of(pools: Pools, prefix: str) -> Floats:
    """The score columns whose names begin with ``prefix`` as verdicts ``(problems, S, V)``."""
    names = [name for name in pools.scores if name.startswith(prefix)]
    if len(names) < 2:
        known = ", ".join(pools.scores) or "none"
        raise BadInput(f"{len(names)} score columns begin with {prefix!r}; there are: {known}")
    return np.stack([pools.scores[name] for name in names], axis=2)


def _best(success: Floats, solutions: Ints, levels: Ints) -> Best:
    """The best V at each budget; a budget that allows no split at all is an error."""
    able = np.isfinite(success)
    if not able.any(axis=1).all():
        raise BadInput("a budget needs more solutions than are recorded, or less than one")
    at = np.where(able, success, -1).argmax(axis=1)
    row = np.arange(len(success))
    return Best(
        solutions[row, at].astype(np.float64), levels[at].astype(np.float64), success[row, at]
    )


def _line(cost: Floats, values: Floats) -> tuple[float, float]:
    slope, start = np.polyfit(np.log(cost), np.log(values), 1)
    return float(slope), float(start)


def _vote(right: Bools, classes: npt.NDArray[Any] | None, cost: Floats) -> Floats:
    """A vote of floor(C) solutions, exact over subsets; NaN beyond the recorded ones."""
    kinds = np.where(right, 0, 1) if classes is None else np.asarray(classes)
    most = right.shape[1]
    there = np.ones_like(right)
    names = tuple(str(i) for i in range(len(right)))
    pools = Pools(kinds.astype(np.int32), right, np.zeros(right.shape), there, names)
    table = [
        [b.accuracy(int(c)) if c < most + 1 else np.nan for c in cost] for b in ballots_of(pools)
    ]
    return np.array(table)
