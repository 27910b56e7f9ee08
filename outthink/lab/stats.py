"""Estimates with intervals: shares, means, paired differences, and the bootstrap over problems.

Problems are the unit: what is drawn again, or counted as one, is a problem with all its seeds.  Values
come as ``(problems,)``, each the mean of the problem's runs.  How often the intervals hold is measured
by ``benchmarks/interval_coverage.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from outthink.core.errors import MissingNeed
from outthink.core.nouns import Floats

#: the normal quantile of a two-sided 95 % interval
Z = 1.959964


class Estimate(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """A paired difference, its 95 % interval, and the two-sided p of no difference."""

    value: float
    low: float
    high: float
    p: float


def wilson(k: float, n: float, z: float = Z) -> tuple[float, float]:
    """Wilson score interval of ``k`` successes (a fraction counts too) in ``n``."""
    p = k / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # rounding must not put the share itself outside
    return max(0.0, min(middle - half, p)), min(1.0, max(middle + half, p))


def half_width(values: Floats, z: float = Z) -> float:
    """Half of the normal interval of a mean; 0 where all values are equal, or there is one."""
    return z * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def mean_interval(shares: Floats, z: float = Z) -> tuple[float, float]:
    """95 % interval of the mean of shares in [0, 1], one a problem; Wilson's where all are equal."""
    n, mean = len(shares), float(shares.mean())
    half = half_width(shares, z)
    if half == 0:
        return wilson(mean * n, n, z)
    return max(0.0, mean - half), min(1.0, mean + half)


def paired(a: Floats, b: Floats, z: float = Z) -> tuple[float, float, float]:
    """Mean of ``a - b`` over the same problems, and its 95 % interval.

    Where all differences are equal, the interval is as wide as that of a share of none in as many.
    """
    d = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if len(d) > 1 and not d.std():
        half = wilson(0, len(d), z)[1]
        return float(d.mean()), float(d.mean()) - half, float(d.mean()) + half
    half = half_width(d, z) if len(d) > 1 else math.inf
    return float(d.mean()), float(d.mean()) - half, float(d.mean()) + half


# -- one share, one mean -----------------------------------------------------------------------------


def share(values: Floats, runs: int = 1) -> Estimate:
    """The mean of shares in [0, 1], one a problem, each of at most ``runs`` runs.

    The interval is Wilson's: of a binomial where every share is 0 or 1 (one seed), else at the
    effective size (Korn and Graubard 1998, who take it to Clopper and Pearson's).  With several seeds
    t intervals and the clustered bootstrap hold as well between 0.1 and 0.9 and fall short beyond, and
    for few problems.
    """
    value = min(1.0, max(0.0, float(values.mean())))
    return Estimate(value, *wilson_at(value, effective_size(values, runs)))


def effective_size(values: Floats, runs: int = 1) -> float:
    """How many independent runs would know the mean of these shares as well.

    The number of problems where every share is 0 or 1; at most ``runs`` times as many.
    """
    n = len(values)
    if bool(((values == 0) | (values == 1)).all()):
        return float(n)
    value = min(1.0, max(0.0, float(values.mean())))
    return min(n * runs if n > 1 else 1.0, _size(value, standard_error(values), n * runs))


def bounded(value: float, error: float, least: float) -> Estimate:
    """A number in [0, 1] of known standard error, with Wilson's interval at its effective size.

    Where nothing varies, the interval is that of ``least`` independent runs.
    """
    value = min(1.0, max(0.0, value))
    return Estimate(value, *wilson_at(value, _size(value, error, least)))


def _size(value: float, error: float, least: float) -> float:
    """The size of a binomial with this error: ``p (1 - p) / error^2``."""
    # an error of rounding alone is none
    return value * (1 - value) / error**2 if error > 1e-9 and 0 < value < 1 else float(least)


def wilson_at(value: float, size: float) -> tuple[float, float]:
    """Wilson's interval of a share known as well as from ``size`` runs."""
    return wilson(value * size, size)


def standard_error(values: Floats) -> float:
    """The standard error of a mean, one number a problem; 0 for one problem."""
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def mean(values: Floats) -> Estimate:
    """The mean of one number a problem, with its t interval; without ends for one problem."""
    value, half = _t_interval(np.asarray(values, dtype=np.float64))
    return Estimate(value, value - half, value + half)


# -- differences -------------------------------------------------------------------------------------


def share_difference(a: Floats, b: Floats, runs: int = 1) -> Difference:
    """The mean of ``a - b``, shares of at most ``runs`` runs of the same problems.

    The interval is a t interval with one more run that only ``a`` has right and one that only ``b``
    has right, each a problem of its own: so it has a width where no run differs.  For shares of 0 and
    1 this is Bonett and Price's (2012) interval of paired proportions, and p is McNemar's exact one,
    which is never too small but may exceed 0.05 where the interval just leaves 0 out.  For others p
    belongs to the interval.
    """
    d = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    whole = bool((d == np.round(d)).all())
    step = 1.0 if whole else 1.0 / runs
    wider = np.append(d, (step, -step))
    value, (middle, half) = float(d.mean()), _t_interval(wider)
    low, high = max(-1.0, min(middle - half, value)), min(1.0, max(middle + half, value))
    if whole:
        return Difference(value, low, high, mcnemar(int((d > 0).sum()), int((d < 0).sum())))
    return Difference(value, low, high, _t_test(wider))


def mean_difference(a: Floats, b: Floats) -> Difference:
    """The mean of ``a - b`` over the same problems, with the interval and p of the paired t test.

    One problem has an interval without ends, and no p (NaN).
    """
    d = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    value, half = _t_interval(d)
    return Difference(value, value - half, value + half, _t_test(d))


def two_shares(a: Floats, b: Floats, runs: int = 1) -> Difference:
    """``share(a) - share(b)`` of different problems.

    Newcombe's (1998) interval from those of the two shares, and p of the z test with a pooled share,
    both at the effective sizes.
    """
    one, two = share(a, runs), share(b, runs)
    value = one.value - two.value
    low = value - math.hypot(one.value - one.low, two.high - two.value)
    high = value + math.hypot(one.high - one.value, two.value - two.low)
    n, m = effective_size(a, runs), effective_size(b, runs)
    pooled = (n * one.value + m * two.value) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    p = math.erfc(abs(value) / error / math.sqrt(2)) if error > 0 else 1.0
    return Difference(value, low, high, p)


def mcnemar(won: int, lost: int) -> float:
    """McNemar's exact two-sided p, from the problems that only one has right and only the other has."""
    n, least = won + lost, min(won, lost)
    # exact in whole numbers: floats of the binomial would underflow beyond 1,000 problems
    tail = term = 1
    for i in range(1, least + 1):
        term = term * (n - i + 1) // i
        tail += term
    return float(min(1.0, 2 * tail / 2**n))


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p of several comparisons, in the order given; NaN stays, uncounted."""
    known = sorted((p, i) for i, p in enumerate(ps) if not math.isnan(p))
    out, worst = list(ps), 0.0
    for rank, (p, i) in enumerate(known):
        worst = max(worst, min(1.0, p * (len(known) - rank)))
        out[i] = worst
    return out


# -- the clustered bootstrap -------------------------------------------------------------------------


def resample(n: int, draws: int = 1000, rng: np.random.Generator | None = None) -> Floats:
    """How often each of ``n`` problems is in each draw of ``n`` with replacement, ``(draws, n)``.

    ``resample(n) @ sums`` is a statistic's sums in every draw, all seeds of a problem together.  The
    same draws each time, unless ``rng`` is given.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    return rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)


def percentiles(value: float, drawn: Floats) -> Estimate:
    """A value and the percentile interval of its draws; NaN ones are left out, infinite ones count."""
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return Estimate(value, -math.inf, math.inf)
    # of the draws themselves: between a number and infinity there is nothing to interpolate
    low, high = np.quantile(known, (0.025, 0.975), method="inverted_cdf")
    return Estimate(value, min(float(low), value), max(float(high), value))


def ratio(a: Floats, b: Floats, draws: Floats | None = None) -> Estimate:
    """``sum a / sum b`` over the same problems, with its percentile interval.

    ``draws`` are those of ``resample``; a draw in which ``b`` sums to 0 is left out.
    """
    draws = resample(len(a)) if draws is None else draws
    below = draws @ b
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.where(below > 0, draws @ a / below, np.nan)
    return percentiles(float(a.sum() / b.sum()), drawn)


# -- the t distribution ------------------------------------------------------------------------------


def _t_interval(values: Floats) -> tuple[float, float]:
    """The mean and half of its 95 % t interval."""
    n = len(values)
    if n == 1:
        return float(values[0]), math.inf
    quantile = float(_scipy().stdtrit(n - 1, 0.975))
    return float(values.mean()), quantile * standard_error(values)


def _t_test(values: Floats) -> float:
    """Two-sided p of a mean of 0; where all are equal 1 if that is 0, else 0."""
    n, value = len(values), float(values.mean())
    if n == 1:
        return math.nan
    error = standard_error(values)
    if error <= 1e-12 * abs(value):
        return 0.0 if value else 1.0
    return 2.0 * float(_scipy().stdtr(n - 1, -abs(value) / error))


def _scipy() -> Any:
    try:
        from scipy import special
    except ImportError:
        raise MissingNeed("t intervals need scipy: pip install 'outthink[lab]'") from None
    return special
