"""Greedy clusters of texts by a pair judge, and which cluster is followed up (DeepPrune, S159).

Texts are taken in the order in which they came.  With J(i, j) the judge's probability that i and j end
in the same answer, and the clusters so far,

    s(i, c) = mean of J(i, j) over at most p members j of c, drawn at random
    i joins argmax_c s(i, c) where that is above tau; else it opens a new cluster,
    and where there are K of them already it joins the best all the same.

At most ``finish`` texts of the largest cluster are then written to their end.

Source: Tu et al. 2025 (arXiv 2510.08483).  Cost: at most p judgements for each cluster and text.
"""

from __future__ import annotations

import numpy as np

from outthink.core.nouns import Floats, Ints


def greedy_clusters(
    judged: Floats, tau: float, most: int, compare: int, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """The cluster of each text, ``(..., n)``, numbered as they were opened, and judgements made ``(...)``.

    ``judged (..., n, n)``: only what stands below the diagonal is looked at.  ``most`` clusters at most;
    ``compare`` members of each are asked about.
    """
    n = judged.shape[-1]
    rows = np.asarray(judged, dtype=np.float64).reshape(-1, n, n)
    labels = np.zeros((len(rows), n), dtype=np.int64)
    opened = np.ones(len(rows), dtype=np.int64)
    asked = np.zeros(len(rows), dtype=np.int64)
    for i in range(1, n):
        # members in a random order: the first ``compare`` of each cluster are asked about
        order = np.argsort(rng.random((len(rows), i)), axis=-1)
        mine = np.take_along_axis(labels[:, :i], order, axis=-1)
        seen = np.take_along_axis(rows[:, i, :i], order, axis=-1)
        member = mine[:, :, None] == np.arange(min(most, i))
        member &= member.cumsum(axis=1, dtype=np.int32) <= compare
        counts = member.sum(axis=1)
        sums = np.einsum("rj,rjc->rc", seen, member)
        mean = np.divide(sums, counts, out=np.full(sums.shape, -np.inf), where=counts > 0)
        best = mean.argmax(axis=1)
        joins = (mean.max(axis=1) > tau) | (opened >= most)
        labels[:, i] = np.where(joins, best, opened)
        opened += ~joins
        asked += counts.sum(axis=1)
    shape = judged.shape[:-2]
    return labels.reshape(*shape, n), asked.reshape(shape)


def to_finish(labels: Ints, finish: int, rng: np.random.Generator) -> Ints:
    """Which texts are written to their end, ``(..., n)`` of 0 and 1: at most ``finish``, at random.

    Of the largest cluster (the earliest of several), or of all texts where every cluster is a single
    one: there is then nothing to choose by.
    """
    n = labels.shape[-1]
    sizes = (labels[..., :, None] == labels[..., None, :]).sum(axis=-1)
    largest = sizes.max(axis=-1, keepdims=True)
    leader = np.take_along_axis(labels, sizes.argmax(axis=-1)[..., None], axis=-1)
    able = (labels == leader) | (largest == 1)
    draws = np.where(able, rng.random(labels.shape), np.inf)
    rank = np.argsort(np.argsort(draws, axis=-1), axis=-1)
    return np.asarray(able & (rank < min(finish, n)), dtype=np.int64)
