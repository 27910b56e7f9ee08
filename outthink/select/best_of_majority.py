"""The k best-rewarded among the frequent answers (best-of-majority).

    kept = {a : share of samples that reach a >= alpha},   submit the k of kept with the highest reward

Source: Di, Ji, Li, Zhao and Gu 2025 (S004, arXiv 2510.03199), algorithm "best-of-majority": frequency
among all n samples, then the top k of an outcome reward.  Ours: an answer's reward is the best or the
mean of its samples' rewards (a reward of the paper belongs to the answer itself); where no answer is
frequent enough the most frequent ones are kept, so that ``alpha = 1`` is the majority vote with ties
by reward; of equal rewards the more frequent answer comes first, then the one whose sample does.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from outthink.core.errors import BadInput, nearest
from outthink.core.nouns import Floats, Ints

Reward = Literal["best", "mean"]
REWARDS: tuple[str, ...] = get_args(Reward)


def best_of_majority(
    classes: Ints, scores: Floats, k: int = 1, alpha: float = 0.0, reward: Reward = "best"
) -> Ints:
    """The places of up to ``k`` samples, one for each submitted answer, best first: ``(..., k)``.

    ``classes`` and ``scores`` are ``(..., n)``; -1 fills up where fewer answers were kept.  The
    sample that stands for an answer is its highest-scored, then its first.  A score of NaN is less
    than any other; of a mean it is left out.  A text without an answer (class -1) counts in the n of
    the frequency, and is submitted only where no sample of its row has an answer.
    """
    if reward not in REWARDS:
        raise BadInput(f"reward={reward!r}{nearest(str(reward), REWARDS)}")
    if k < 1 or not 0.0 <= alpha <= 1.0:
        raise BadInput(f"k={k}, alpha={alpha}: k is at least 1, alpha from 0 to 1")
    c = np.asarray(classes, dtype=np.int64)
    s = np.broadcast_to(np.asarray(scores, dtype=np.float64), c.shape)
    shape, n = c.shape, c.shape[-1]
    c, s = c.reshape(-1, n), s.reshape(-1, n)
    row, place = np.indices(c.shape).reshape(2, -1)
    flat, known = c.ravel(), ~np.isnan(s.ravel())
    value = np.where(known, s.ravel(), -np.inf)
    # all samples of a row's answer side by side, the one that stands for it at their head
    order = np.lexsort((place, -value, flat, row))
    row, place, flat = row[order], place[order], flat[order]
    value, known = value[order], known[order]
    head = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(flat, prepend=-2) != 0))
    count = np.diff(head, append=len(row))
    worth = value[head]
    if reward == "mean":
        scored = np.add.reduceat(known, head, dtype=np.int64)
        total = np.add.reduceat(np.where(known, value, 0.0), head)
        worth = np.where(scored > 0, total / np.maximum(scored, 1), -np.inf)
    row, place, answered = row[head], place[head], flat[head] >= 0
    # by reward among the frequent ones of each row
    some = np.zeros(len(c), dtype=bool)
    np.logical_or.at(some, row, answered)
    able = answered | ~some[row]
    most = np.zeros(len(c), dtype=np.int64)
    np.maximum.at(most, row, np.where(able, count, 0))
    kept = able & (count >= np.minimum(alpha * n - 1e-9, most[row]))
    row, place, count, worth = row[kept], place[kept], count[kept], worth[kept]
    order = np.lexsort((place, -count, -worth, row))
    row, place = row[order], place[order]
    rank = np.arange(len(row)) - np.flatnonzero(np.diff(row, prepend=-1))[row]
    out = np.full((len(c), k), -1, dtype=np.int64)
    out[row[rank < k], rank[rank < k]] = place[rank < k]
    return out.reshape(*shape[:-1], k)
