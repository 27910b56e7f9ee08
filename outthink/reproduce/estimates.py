"""Estimates for claims: exact figures, means, paired differences, and the bootstrap over problems."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats, Ints
from outthink.lab.stats import Estimate, mean_interval, paired


def exact(value: float) -> Estimate:
    """A figure recomputed from the very data it was published for: there is nothing to sample."""
    return Estimate(float(value), float(value), float(value))


def mean(shares: Floats) -> Estimate:
    """The mean of shares in [0, 1], one a problem, ``(problems,)``."""
    return Estimate(float(shares.mean()), *mean_interval(shares))


def difference(a: Floats, b: Floats) -> Estimate:
    """The mean of ``a - b`` over the same problems, ``(problems,)`` each; NaN of fewer than two."""
    if len(a) < 2:
        return Estimate(np.nan, np.nan, np.nan)
    return Estimate(*paired(a, b))


def bootstrap(
    statistic: Callable[[Ints], float | npt.NDArray[np.float64]],
    n: int,
    rng: np.random.Generator,
    draws: int,
) -> list[Estimate]:
    """Percentile intervals of statistics of ``n`` problems, drawn again with replacement.

    ``statistic`` takes the numbers of the problems, ``(n,)``, and gives a number or several.  A draw
    where it is NaN is left out.
    """
    whole = np.atleast_1d(statistic(np.arange(n)))
    drawn = np.array([np.atleast_1d(statistic(rng.integers(0, n, n))) for _ in range(draws)])
    # a statistic that no draw has leaves NaN, and no verdict
    known = ~np.isnan(drawn)
    out = []
    for i, value in enumerate(whole):
        column = drawn[known[:, i], i]
        low, high = np.quantile(column, (0.025, 0.975)) if len(column) else (np.nan, np.nan)
        out.append(Estimate(float(value), float(low), float(high)))
    return out
