"""Coverage: the chance that at least one of k samples is right; that a vote, or the best-scored, is.

Sources: Chen et al. 2021 (arXiv 2107.03374); Large Language Monkeys (S053, arXiv 2407.21787).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outthink.core.nouns import Ints


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased pass@k from ``c`` right ones among ``n`` samples: ``1 - C(n-c, k) / C(n, k)``.

    Raises ``ValueError`` unless ``0 <= c <= n`` and ``1 <= k <= n``.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass_at_k(n={n}, c={c}, k={k}): needs 0 <= c <= n and 1 <= k <= n")
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def maj_at_k(
    classes: Ints,
    right: Sequence[bool] | np.ndarray[tuple[int], np.dtype[np.bool_]],
    k: int,
    rng: np.random.Generator,
    draws: int = 1000,
) -> float:
    """The chance that a majority vote over k of the n samples is right, ties broken at random.

    The mean over ``draws`` random subsets without replacement (one where ``k = n``); a tie of m
    classes counts by the share of them that is right, -1 cannot win while another class is there.
    """
    classes = np.asarray(classes, dtype=np.int64)
    n = len(classes)
    if not 1 <= k <= n:
        raise ValueError(f"maj_at_k of {n} samples, k={k}: needs 1 <= k <= n")
    kinds, place = np.unique(classes, return_inverse=True)
    member = place.ravel()[:, None] == np.arange(len(kinds))[None, :]
    value = np.array([bool(np.asarray(right)[member[:, j]].any()) for j in range(len(kinds))])
    chosen = np.zeros((1 if k == n else draws, n))
    subsets = np.argsort(rng.random(chosen.shape), axis=1)[:, :k]
    np.put_along_axis(chosen, subsets, 1.0, axis=1)
    votes = chosen @ member
    if kinds[0] < 0 and len(kinds) > 1:
        votes[:, 0] = np.where(votes[:, 1:].sum(axis=1) > 0, 0.0, votes[:, 0])
    winners = votes == votes.max(axis=1, keepdims=True)
    return float(((winners * value).sum(axis=1) / winners.sum(axis=1)).mean())


def best_at_k(
    scores: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]],
    right: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]],
    k: int,
) -> float:
    """The chance that the best-scored of k of the n samples is right, over all subsets of size k.

    Exact: the sample of rank r (from 0, the best) is the best of a subset with probability
    ``C(n-1-r, k-1) / C(n, k)``; of samples with equal scores any is taken, all equally often.
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(right, dtype=np.float64)
    n = len(s)
    if len(y) != n or not 1 <= k <= n:
        raise ValueError(f"best_at_k of {n} scores and {len(y)} labels, k={k}: needs 1 <= k <= n")
    # share[r]: the chance that the best is at rank r
    share = np.zeros(n)
    share[0] = k / n
    for r in range(1, n - k + 1):
        share[r] = share[r - 1] * (n - k - r + 1) / (n - r)
    _, group = np.unique(-s, return_inverse=True)
    group = group.ravel()
    mean = np.bincount(group, y) / np.bincount(group)
    order = np.argsort(group, kind="stable")
    return float((share * mean[group[order]]).sum())
