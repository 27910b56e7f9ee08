"""Adaptive consistency over all answers: stop when the leader is the most frequent one almost surely.

With v_1 >= v_2 >= ... votes and a uniform prior on the answers' probabilities, these are Dirichlet with
the parameters v_i + 1.  A Dirichlet variable is a ratio of Gamma variables, so

    P(p_1 > p_2, p_3, ... | v) = int f(t; v_1 + 1) prod_{i >= 2} F(t; v_i + 1) dt > threshold

with density f and distribution function F of Gamma variables of these shapes.  Of whole numbers:
F(t; k) = 1 - e^-t sum_{j < k} t^j / j!.  With two answers it is the rule ``beta``; a third that has votes
makes the leader less sure.

Source: Aggarwal et al. 2023 (arXiv 2305.11860), the criterion ``Dirichlet``, over the ``TOP`` most
frequent answers as in its code, which draws at random where this integrates.  A leader that is alone
is measured against an answer without votes, as in ``beta``: our choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import lgamma, sqrt
from typing import ClassVar

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats
from outthink.core.registry import register
from outthink.stop.base import TOP, AnyInts, Bools, Running

#: points of the integral
POINTS = 160


@lru_cache(maxsize=8)
def _table(most: int) -> tuple[Floats, Floats]:
    """``log F(t; k)`` and ``f(t; k) dt`` for k = 1 ... most + 1 at ``POINTS`` places t: each ``(k, t)``.

    Places and weights are those of Gauss and Legendre on the square root of t, where the density is
    smooth and nearly as wide for each k.
    """
    x, w = np.polynomial.legendre.leggauss(POINTS)
    high = sqrt(most + 1) + 6.0
    root = (x + 1) * high / 2
    t, weight = root**2, w * high * root  # dt = 2 root d(root)
    k = np.arange(most + 1)
    powers = k[:, None] * np.log(t) - t - np.array([lgamma(j + 1) for j in k])[:, None]
    density = np.exp(powers)  # f(t; k + 1) = t^k e^-t / k!
    below = 1.0 - np.cumsum(density, axis=0)
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(below, 0.0)), density * weight


def leads(votes: AnyInts) -> Floats:
    """P(the first is the most frequent) for ``votes (..., k)``, the largest first: ``(...)``."""
    v = np.asarray(votes, dtype=np.int64)
    if v.ndim == 0 or v.shape[-1] < 2 or (v < 0).any():
        raise BadInput(f"votes are counts of two answers at least, not {votes!r}")
    # tables for sizes of powers of two: few are made
    logs, density = _table(1 << max(int(v.max(initial=1)) - 1, 1).bit_length())
    others = logs[v[..., 1]]
    for i in range(2, v.shape[-1]):
        # an answer without votes was not seen: it has no part
        others = others + np.where((v[..., i] > 0)[..., None], logs[v[..., i]], 0.0)
    found = (density[v[..., 0]] * np.exp(others)).sum(axis=-1)
    return np.asarray(np.minimum(found, 1.0), dtype=np.float64)


@register("stop", "dirichlet")
@dataclass(frozen=True)
class Dirichlet:
    """Stop when the leader is the most frequent of all answers with probability > ``threshold``."""

    threshold: float = 0.95
    looks_ahead: ClassVar[bool] = False
    looks_at_votes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise BadInput(f"dirichlet: threshold={self.threshold} must be above 0, and below 1")

    def stops(self, seen: Running) -> Bools:
        """Is the leader the most frequent?"""
        if seen.votes is None:
            raise BadInput(f"dirichlet looks at the votes of the first {TOP} answers")
        # equal votes are met again and again: each is worked out once
        kinds, place = np.unique(
            seen.votes.reshape(-1, seen.votes.shape[-1]), axis=0, return_inverse=True
        )
        sure = leads(kinds) > self.threshold
        return np.asarray(sure[place.ravel()].reshape(seen.votes.shape[:-1]))
