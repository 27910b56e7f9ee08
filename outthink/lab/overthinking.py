"""Does thinking longer make a model worse?  The trend over budgets, and over runs of one question.

Two ways of being longer, and they need two looks:

- a budget that is asked for (``trend``): the rank correlation of budget and accuracy with its p, and the
  effect, accuracy at the largest budget minus at the least, by a bootstrap of questions;
- the length that runs have by themselves (``natural``): runs of one question are ranked by length, since
  harder questions have longer runs and worse accuracy without one being the other's cause.  All runs in one
  correlation, ``pooled``, show that and not what length does.

Source: S103 (Gema et al. 2025, arXiv 2507.14417): a model scales inversely on a task where the correlation
is negative and its p below .05.  With 4 budgets that is any strict fall, which comes by chance in 1 of 24
orders; so the interval of the effect, which the paper has not, is the better judge.  Cost: milliseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats
from outthink.lab.stats import Estimate, percentiles, resample
from outthink.select.calibration import ranks


@dataclass(frozen=True)
class Trend:
    """How accuracy goes with the budget."""

    rho: float
    p: float
    effect: Estimate

    @property
    def inverse(self) -> bool:
        """The published verdict: a negative rank correlation with p below .05."""
        return self.rho < 0 and self.p < 0.05

    @property
    def worse(self) -> bool:
        """The interval of the effect lies below 0."""
        return self.effect.high < 0


@dataclass(frozen=True)
class Natural:
    """How accuracy goes with the length that runs have by themselves.

    ``curve (runs,)``: accuracy of the shortest run of each question, of the next, ..., of the longest.
    ``effect``: the longest minus the shortest.  ``pooled``: the rank correlation over all runs.
    """

    curve: Floats
    effect: Estimate
    pooled: float


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[float, float]:
    """The rank correlation of two lists and its two-sided p, by Student's t as is usual.

    NaN of fewer than three values, or where all of one list are equal.
    """
    a, b = ranks(x), ranks(y)
    if len(a) < 3 or not a.std() or not b.std():
        return math.nan, math.nan
    rho = float(np.clip(np.corrcoef(a, b)[0, 1], -1.0, 1.0))
    if 1 - abs(rho) < 1e-12:
        return math.copysign(1.0, rho), 0.0
    free = len(a) - 2
    return rho, two_sided(rho * math.sqrt(free / (1 - rho * rho)), free)


def two_sided(t: float, free: int) -> float:
    """The chance that Student's t with so many degrees of freedom is further from 0 than ``t``.

    The finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    angle = math.atan(abs(t) / math.sqrt(free))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = free % 2
    term, total = (math.cos(angle) if odd else 1.0), 0.0
    for j in range(free // 2 if not odd else (free - 1) // 2):
        total += term
        term *= square * ((2 * j + 2) / (2 * j + 3) if odd else (2 * j + 1) / (2 * j + 2))
    inside = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return max(0.0, 1.0 - inside)


def trend(
    budgets: npt.ArrayLike, right: npt.ArrayLike, rng: np.random.Generator, draws: int = 2000
) -> Trend:
    """Of shares right ``(questions, budgets)``, each the mean of a question's runs at a budget."""
    b, y = np.asarray(budgets, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if y.ndim != 2 or b.shape != y.shape[1:] or len(b) < 2 or len(set(b.tolist())) < len(b):
        raise BadInput(f"{b.shape} budgets and shares of {y.shape}: questions in rows, all budgets")
    rho, p = spearman(b, y.mean(axis=0))
    change = y[:, b.argmax()] - y[:, b.argmin()]
    return Trend(rho, p, _bootstrap(change, rng, draws))


def natural(
    tokens: npt.ArrayLike, right: npt.ArrayLike, rng: np.random.Generator, draws: int = 2000
) -> Natural:
    """Of runs ``(questions, runs)`` with their lengths; runs of equal length share what they are worth."""
    t, y = np.asarray(tokens, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if t.shape != y.shape or t.ndim != 2 or t.shape[1] < 2:
        raise BadInput(
            f"lengths {t.shape} and results {y.shape}: questions in rows, 2 runs or more"
        )
    same = t[:, None, :] == t[:, :, None]
    shared = (same * y[:, None, :]).sum(axis=-1) / same.sum(axis=-1)
    ordered = np.take_along_axis(shared, np.argsort(t, axis=1, kind="stable"), axis=1)
    effect = _bootstrap(ordered[:, -1] - ordered[:, 0], rng, draws)
    return Natural(ordered.mean(axis=0), effect, spearman(t.ravel(), y.ravel())[0])


def _bootstrap(values: Floats, rng: np.random.Generator, draws: int) -> Estimate:
    """The mean and its 95 % percentile interval over questions drawn again."""
    weights = resample(len(values), draws, rng)
    return percentiles(float(values.mean()), weights @ values / len(values))
