"""Estimates with intervals: shares, means, paired differences.

Problems are the unit: what is drawn again, or counted as one, is a problem with all its seeds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

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


def wilson(k: float, n: int, z: float = Z) -> tuple[float, float]:
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
