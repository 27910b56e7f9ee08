"""Self-certainty: how far from uniform a model's predictions were as it wrote; and the vote of its ranks.

With p_t the prediction at token t of T, over V tokens,

    self-certainty = 1/T sum_t KL(uniform || p_t) = - 1 / (T V)  sum_t sum_v log(V p_t(v))      (nats)

The texts are ranked by it, the surest first, and a text of rank r among n has (n - r + 1)^q votes:
q = 0 is the plain majority, and the larger q the more the surest text decides.

Source: Kang, Zhao and Song 2025 (arXiv 2502.18581) and its code: all n texts are ranked, those without an
answer too, and only those with one vote.  Ours: from the k likeliest tokens at each place, the sum goes
over those k as if they were all, which is exact where k = V; texts that are equally sure share their
ranks, where the code ranks the earlier one higher.
"""

from __future__ import annotations

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.select.confidence import token_confidence
from outthink.select.vote import elect, support


def self_certainty(top_logprobs: Floats) -> float:
    """The self-certainty (nats) of a text from ``(tokens, k)``; NaN of one without a token."""
    known = np.isfinite(top_logprobs).sum(axis=-1)
    if not known.any():
        return float("nan")
    from_uniform = token_confidence(top_logprobs)[known > 0] - np.log(known[known > 0])
    return float(from_uniform.mean())


def rank_weights(scores: Floats, q: float) -> Floats:
    """The votes of each text, ``(..., n)``: ``((n - rank + 1) / n)^q``, 1 for the surest.

    Equal scores share the mean of their ranks; NaN ranks below all.
    """
    s = np.where(np.isnan(scores), -np.inf, np.asarray(scores, dtype=np.float64))
    n = s.shape[-1]
    better = (s[..., None, :] > s[..., :, None]).sum(axis=-1)
    level = (s[..., None, :] == s[..., :, None]).sum(axis=-1)
    rank = better + (level + 1) / 2
    return np.asarray(((n - rank + 1) / n) ** q)


def borda_vote(classes: Ints, scores: Floats, q: float = 0.5) -> Ints:
    """The place of the surest text of the answer with most votes, ``(...)``."""
    strength = support(classes, rank_weights(scores, q))
    won = np.take_along_axis(classes, elect(strength, classes)[..., None], axis=-1)
    sure = np.where(np.isnan(scores), -np.finfo(np.float64).max, scores)
    return np.asarray(np.where(classes == won, sure, -np.inf).argmax(axis=-1), dtype=np.int64)
