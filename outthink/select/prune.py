"""Which of several like texts goes on: pruning near-duplicates among chains that run side by side.

Two chains are *like* where their similarity is at least a threshold.  One of each like pair is
dropped, the one that is worth less (Slim-SC: S027, arXiv 2509.13990), with

    worth_i = a random number                              (random pruning)
    worth_i = - mean similarity of i's own thoughts        (diversity pruning)

Pairs are settled from the chain of most worth down, so that of all that are like one another one stays,
no two that stay are alike, and every chain that goes is like one that stays: its *heir*.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats, Ints

Bools = npt.NDArray[np.bool_]


def heirs(similarity: Floats, worth: Floats, threshold: float, alive: Bools | None = None) -> Ints:
    """For each chain the one that stands for it, ``(..., n)``: itself where it stays.

    ``similarity (..., n, n)`` is symmetric; of equal ``worth (..., n)`` the earlier counts for more.
    A chain that is not ``alive (..., n)`` is like none, and its own.  One that is like several that
    stay goes to the one of most worth.
    """
    n = worth.shape[-1]
    like = np.asarray(similarity) >= threshold
    if alive is not None:
        like = like & alive[..., :, None] & alive[..., None, :]
    order = np.argsort(-worth, axis=-1, kind="stable")
    shape = np.broadcast_shapes(like.shape[:-1], worth.shape)
    like, order = np.broadcast_to(like, (*shape, n)), np.broadcast_to(order, shape)
    own = np.broadcast_to(np.arange(n), shape)
    heir = np.full(shape, -1, dtype=np.int64)
    for k in range(n):
        # the next one by worth stays unless one that stays has taken it
        at = order[..., k : k + 1]
        stays = np.take_along_axis(heir, at, axis=-1) < 0
        row = np.take_along_axis(like, at[..., None], axis=-2)[..., 0, :]
        takes = stays & (row | (own == at)) & (heir < 0)
        heir = np.where(takes, at, heir)
    return heir


def sameness(similarity: Floats) -> Floats:
    """The mean similarity of a chain's thoughts to one another, ``(...)`` of ``(..., m, m)``.

    0 for fewer than two thoughts: nothing is said twice.
    """
    m = similarity.shape[-1]
    if m < 2:
        return np.zeros(similarity.shape[:-2])
    whole = similarity.sum(axis=(-2, -1)) - np.trace(similarity, axis1=-2, axis2=-1)
    return np.asarray(whole / (m * (m - 1)))
