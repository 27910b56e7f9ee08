"""Estimates for claims: exact figures, means, paired differences, and the bootstrap over problems.

And what is shown of them in tables and pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats, Ints
from outthink.lab.stats import Estimate, mean_interval, paired
from outthink.reproduce.base import Line, Style

Setting = TypeVar("Setting", bound=Hashable)


def exact(value: float) -> Estimate:
    """A figure recomputed from the very data it was published for: there is nothing to sample."""
    return Estimate(float(value), float(value), float(value))


def mean(shares: Floats) -> Estimate:
    """The mean of shares in [0, 1], one a problem, ``(problems,)``."""
    return Estimate(float(shares.mean()), *mean_interval(shares))


def cell(shares: Floats) -> list[float]:
    """The mean of shares and the ends of its interval, as a table has them."""
    return list(mean(shares))


def mean_line(
    label: str, x: Sequence[float], columns: Iterable[Floats], style: Style = "line"
) -> Line:
    """Means with their intervals, at each ``x`` of its column of shares, ``(problems,)``."""
    found = [mean(np.asarray(shares)) for shares in columns]
    ends = [e.low for e in found], [e.high for e in found]
    return Line(label, list(x), [e.value for e in found], *ends, style)


def tuned(
    columns: Mapping[Setting, Floats], values: Mapping[Setting, Floats] | None = None
) -> Floats:
    """Each problem's value at the setting that is best on the other half, ``(problems,)``.

    Cross-fitted, so that choosing the best of several is not itself a gain: ``columns`` say what is
    best, ``values`` (the same unless told) are what is taken there.
    """
    size = len(next(iter(columns.values())))
    half = np.arange(size) % 2 == 0
    out = np.empty(size)
    for mine in (half, ~half):
        best = max(columns, key=lambda setting: float(columns[setting][~mine].mean()))
        out[mine] = (columns if values is None else values)[best][mine]
    return out


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


def ratio(a: Floats, b: Floats, rng: np.random.Generator, draws: int) -> Estimate:
    """``sum a / sum b`` over the same problems, drawn again together; NaN of none."""

    def of(at: Ints) -> float:
        return float(a[at].sum() / b[at].sum())

    if not len(a):
        return Estimate(np.nan, np.nan, np.nan)
    return bootstrap(of, len(a), rng, draws)[0]
