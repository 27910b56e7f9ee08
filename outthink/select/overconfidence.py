"""How far what is said lies above what holds, and how that goes with the length of thinking.

Of ordered levels (low 0 ... very high 3), ``predicted`` against ``gold``, both ``(n,)``:

    bias  = mean(predicted - gold)                 above 0: over-confident
    slope = cov(predicted, gold) / var(gold)       1: follows the truth, 0: says the same whatever holds

and of probabilities, ``confidence`` against ``right``: ``mean(confidence) - mean(right)``.  A trend is the
slope of any of these on the logarithm of the tokens that were thought.

Source: Lacombe, Wu and Dilworth 2025 (S153, arXiv 2508.15050), confidence in statements of which experts
have said how sure they are (ClimateX, arXiv 2311.17107) against the budget of thinking.  The formulas are
the usual ones; expected calibration error and Brier score are in ``outthink.select.calibration``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats


def bias(predicted: npt.ArrayLike, gold: npt.ArrayLike) -> float:
    """The mean of predicted minus true levels."""
    return float((np.asarray(predicted, np.float64) - np.asarray(gold, np.float64)).mean())


def slope(predicted: npt.ArrayLike, gold: npt.ArrayLike) -> float:
    """The least-squares slope of predicted on true levels; NaN where those are all the same."""
    x, y = np.asarray(gold, np.float64), np.asarray(predicted, np.float64)
    spread = ((x - x.mean()) ** 2).sum()
    return float(((x - x.mean()) * (y - y.mean())).sum() / spread) if spread else float("nan")


def by_level(predicted: npt.ArrayLike, gold: npt.ArrayLike) -> dict[int, float]:
    """The mean predicted level for each true level that occurs."""
    y, levels = np.asarray(predicted, np.float64), np.asarray(gold)
    return {int(level): float(y[levels == level].mean()) for level in np.unique(levels)}


def overconfidence(confidence: npt.ArrayLike, right: npt.ArrayLike) -> float:
    """The mean of confidences minus the share that is right; an answer that has none said 0."""
    said = np.nan_to_num(np.asarray(confidence, np.float64), nan=0.0)
    return float(said.mean() - np.asarray(right, np.float64).mean())


def trend(tokens: npt.ArrayLike, values: Floats) -> Floats:
    """The slope of ``values (..., budgets)`` on ``log(tokens)``, one for each row: ``(...)``.

    What a value gains where thinking is e times as long; by least squares.
    """
    t = np.asarray(tokens, np.float64)
    if t.ndim != 1 or len(t) < 2 or (t <= 0).any() or not np.ptp(t):
        raise BadInput("a trend needs two different budgets at least, of tokens above 0")
    x = np.log(t) - np.log(t).mean()
    return np.asarray((np.asarray(values, np.float64) * x).sum(axis=-1) / (x * x).sum())
