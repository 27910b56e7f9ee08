"""The secretary rule: of values that come one by one, stop at one that is likely the least.

Of K values in random order the first r are looked at and let go; then the first that is as small as the
least of them is taken, or the last.  With r / K = 1/e the least of all is taken with probability 1/e
as K grows, and no rule has a better chance; for K and r it is

    P(r, K) = r/K sum_{t=r+1}^{K} 1/(t - 1),   P(0, K) = 1/K

and ``look(K)`` is the r that makes it largest.

Sources: Lindley 1961, Ferguson 1989; for the rounds of SEAT: S055 (arXiv 2507.06829).  Entropies of a few
answers tie often: one that equals the least is taken here, where the textbook's values all differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput
from outthink.core.nouns import Ints


def chance(r: int, rounds: int) -> float:
    """P(r, K): how often the least of K different values in random order is the one that is taken."""
    if not 0 <= r < rounds:
        raise BadInput(f"of {rounds} values 0 to {rounds - 1} are let go, not {r}")
    if r == 0:
        return 1.0 / rounds
    return r / rounds * math.fsum(1.0 / (t - 1) for t in range(r + 1, rounds + 1))


def look(rounds: int) -> int:
    """How many of K values to let go for the best chance: about K / e, and 1 of 2."""
    if rounds < 1:
        raise BadInput(f"rounds={rounds} must be at least 1")
    # P(r + 1, K) - P(r, K) = (1/(r + 1) + ... + 1/(K - 1) - 1) / K
    left, r = math.fsum(1.0 / t for t in range(1, rounds)), 0
    while left > 1.0 - 1e-12:
        r += 1
        left -= 1.0 / r
    return r


def stops(values: Sequence[float], rounds: int) -> bool:
    """Is the last of these values, the first of K, the one to stop at?"""
    r = look(rounds)
    if not r < len(values) < rounds:
        return len(values) >= rounds
    return r == 0 or values[-1] <= min(values[:r])


def place(values: npt.ArrayLike, r: int | None = None) -> Ints:
    """Where the rule stops in each row of ``values (..., K)``, from 0: ``(...)``; r is ``look(K)``."""
    v = np.asarray(values, dtype=np.float64)
    if not v.ndim or not v.shape[-1]:
        raise BadInput(f"the rule needs values, not the shape {v.shape}")
    k = v.shape[-1]
    r = look(k) if r is None else r
    if not 0 <= r < k:
        raise BadInput(f"of {k} values 0 to {k - 1} are let go, not {r}")
    least = v[..., :r].min(axis=-1, keepdims=True, initial=np.inf)
    taken = v[..., r:] <= least
    found = np.where(taken.any(axis=-1), r + taken.argmax(axis=-1), k - 1)
    return np.asarray(found, dtype=np.int64)
