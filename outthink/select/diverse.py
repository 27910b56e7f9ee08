"""A spread-out choice: greedy farthest-point selection (Gonzalez 1985).

The first chosen is the one nearest to all others (the medoid), each next the one whose distance to the
nearest chosen one is largest:

    i_1 = argmin_i sum_j d(i, j),    i_t = argmax_i  min_{s < t} d(i, i_s)

For distances that keep the triangle inequality the least distance between two chosen is at least half of
the largest possible.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats, Ints
from outthink.select.utilities import NgramCosine


def farthest(distances: Floats, k: int) -> Ints:
    """The places ``(..., k)`` of a spread-out choice, in the order chosen; ``distances (..., m, m)``.

    Of equally far ones the first; where fewer than k differ, copies are taken last.
    """
    d = np.asarray(distances, dtype=np.float64)
    if d.ndim < 2 or d.shape[-1] != d.shape[-2]:
        raise BadInput(f"distances={d.shape}: one row and one column for each")
    if not 1 <= k <= d.shape[-1]:
        raise BadInput(f"k={k}: choose from 1 to {d.shape[-1]}")
    at = np.argmin(d.sum(axis=-1), axis=-1)
    out = [at]
    nearest = np.full(d.shape[:-1], np.inf)
    for _ in range(k - 1):
        column = np.take_along_axis(d, at[..., None, None], axis=-1)[..., 0]
        nearest = np.minimum(nearest, column)
        # one that was chosen is not chosen again, though all that are left be at distance 0
        np.put_along_axis(nearest, at[..., None], -1.0, axis=-1)
        at = np.argmax(nearest, axis=-1)
        out.append(at)
    return np.stack(out, axis=-1)


def ngram_distances(texts: Sequence[str]) -> Floats:
    """``1 - ngram_cosine`` of all pairs of texts, ``(texts, texts)`` in [0, 1]; 0 for equal ones."""
    return np.clip(1.0 - NgramCosine().matrix(texts, texts), 0.0, 1.0)
