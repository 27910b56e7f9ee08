"""Adaptive consistency: stop when the leading answer is the more frequent one almost surely.

With v1 votes for the leader and v2 for the runner-up, all other answers set aside, and a uniform prior
on the leader's probability p among the two:

    P(p > 1/2 | v1, v2) = I_{1/2}(v2 + 1, v1 + 1) = P(Bin(v1 + v2 + 1, 1/2) <= v1) > threshold

The probability rises with v1, so the rule is a table: the votes that a leader needs for each count of
the runner-up.

Source: Aggarwal et al. 2023 (arXiv 2305.11860), the criterion ``Beta``.  Cost: one look into a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb
from typing import ClassVar

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.nouns import Ints
from outthink.core.registry import register
from outthink.stop.base import Bools, Running


def leads(first: int, second: int) -> float:
    """``P(p > 1/2)`` after ``first`` and ``second`` votes, from whole numbers throughout."""
    if min(first, second) < 0:
        raise BadInput(f"votes are at least 0, not {first} and {second}")
    m = first + second + 1
    return sum(comb(m, k) for k in range(first + 1)) / (1 << m)


@lru_cache(maxsize=64)
def votes_needed(threshold: float, size: int) -> Ints:
    """The least votes of a leader that stop, for a runner-up with 0 ... size - 1: ``(size,)``.

    One walk along the boundary with s = sum_{k <= v1} C(m, k), m = v1 + v2 + 1, in whole numbers:
    a vote more for the runner-up makes it 2 s - C(m, v1), one more for the leader 2 s + C(m, v1 + 1).
    """
    top, bottom = threshold.as_integer_ratio()
    needed = np.empty(size, dtype=np.int64)
    v1, m, s, c = 0, 1, 1, 1  # c = C(m, v1)
    for v2 in range(size):
        while s * bottom <= top << m:
            after = c * (m - v1) // (v1 + 1)
            s = 2 * s + after
            c += after  # C(m + 1, v1 + 1)
            v1, m = v1 + 1, m + 1
        needed[v2] = v1
        s = 2 * s - c
        c = c * (m + 1) // (m + 1 - v1)
        m += 1
    needed.setflags(write=False)
    return needed


@register("stop", "beta")
@dataclass(frozen=True)
class Beta:
    """Stop when the leader is the more frequent of the top two with probability > ``threshold``."""

    threshold: float = 0.95
    looks_ahead: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0.5 <= self.threshold < 1:
            raise BadInput(f"beta: threshold={self.threshold} must be at least 0.5, and below 1")

    def stops(self, seen: Running) -> Bools:
        """Has the leader the votes it needs?"""
        second = np.asarray(seen.second)
        needed = votes_needed(self.threshold, 1 << int(second.max(initial=0)).bit_length())
        return np.asarray(seen.first >= needed.take(second))
