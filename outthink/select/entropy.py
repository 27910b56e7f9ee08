"""Entropies: of the next token while a text was written, and of the answers of a round.

    token     H = 1/m sum_t H_t,   H_t = -sum_j p_tj log2 p_tj   (bits a token)
    semantic  SE = -sum_c p_c ln p_c,   p_c = share of the answers in class c   (nats)

Of the distribution of a token a server tells the k likeliest alone.  H_t is that of these k, made to sum
to one: what lies beyond is left out, so that H is a little too low where the tail is heavy (S051, arXiv
2511.02309, takes k = 20).  The classes of the semantic entropy are those of equal answers; a text
without an answer is one more (S055, arXiv 2507.06829; Kuhn et al., arXiv 2302.09664).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats

#: an entropy below this weighs no more: a text of which every token was certain has 0
LEAST = 1e-10


def token_entropy(top_logprobs: npt.ArrayLike) -> Floats:
    """H_t in bits of ``top_logprobs (..., k)`` in nats; -inf fills the place of what is not there.

    NaN where nothing is.
    """
    logp = np.asarray(top_logprobs, dtype=np.float64)
    if not logp.shape or not logp.shape[-1]:
        raise BadInput(f"an entropy needs log-probabilities, not the shape {logp.shape}")
    top = logp.max(axis=-1, keepdims=True)
    known = np.isfinite(top)
    p = np.exp(np.where(known, logp - np.where(known, top, 0.0), np.nan))
    p /= p.sum(axis=-1, keepdims=True)
    return np.asarray(-(p * np.log2(np.where(p > 0, p, 1.0))).sum(axis=-1)) + 0.0


def mean_entropy(top_logprobs: npt.ArrayLike) -> float:
    """H in bits a token of one text, ``top_logprobs (tokens, k)``; NaN where no token has any."""
    rows = np.asarray(top_logprobs, dtype=np.float64)
    found = token_entropy(rows) if rows.size else np.zeros(0)
    found = found[~np.isnan(found)]
    return float(found.mean()) if len(found) else float("nan")


def inverse(entropies: npt.ArrayLike) -> Floats:
    """The weights ``1 / max(H, 1e-10)``; 0 where H is not a number."""
    h = np.asarray(entropies, dtype=np.float64)
    return np.where(np.isnan(h), 0.0, 1.0 / np.maximum(np.nan_to_num(h), LEAST))


def semantic_entropy(classes: npt.ArrayLike) -> Floats:
    """SE in nats of each row of ``classes (..., n)``: 0 where all agree, ln n where no two do."""
    c = np.asarray(classes, dtype=np.int64)
    if not c.ndim or not c.shape[-1]:
        raise BadInput(f"an entropy of answers needs answers, not the shape {c.shape}")
    # a sample's class has so many members: -sum p ln p is the mean of -ln p over the samples
    members = (c[..., :, None] == c[..., None, :]).sum(axis=-1)
    return np.asarray(-np.log(members / c.shape[-1]).mean(axis=-1)) + 0.0
