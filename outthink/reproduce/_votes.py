"""Votes of many subsets at once, ties counted by the share of them that is right."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats, Ints
from outthink.select.vote import support


def vote_credit(classes: Ints, weights: Floats, right: npt.NDArray[np.bool_]) -> Floats:
    """The chance that a weighted vote is right, ``(...)`` of ``(..., n)`` each.

    A tie of m classes counts by the share of them that is right; a text without an answer, or without
    a weight, never wins: a vote of such texts alone is wrong.
    """
    counts = (classes >= 0) & (weights > 0)
    strength = np.where(counts, support(classes, weights), 0.0)
    level = counts & (strength >= strength.max(axis=-1, keepdims=True) * (1 - 1e-12))
    # each class of a tie counts once, however many texts it has
    share = level / np.maximum(support(classes, level.astype(np.float64)), 1.0)
    total = share.sum(axis=-1)
    hit = (share * right).sum(axis=-1)
    return np.asarray(np.divide(hit, total, out=np.zeros_like(total), where=total > 0))
