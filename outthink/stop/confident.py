"""Stop at the first sample that is sure, or at the first vote that is.

With confidences c_i of samples in the order drawn and their answers a_i, a threshold tau stops at

    early-stopping best-of-n          k = min {k : c_k >= tau},                           gives y_k
    adaptive consistency, by weight   k = min {k > 1 : W_k(a) >= tau sum_b W_k(b)},       gives a

with W_k(a) = sum_{i <= k} c_i [a_i = a] and a the heaviest answer after k samples.  Where nothing stops
it, early stopping gives the best seen (so with tau out of reach it is best-of-n) and the vote its
heaviest answer.  With c_i = 1 the vote is adaptive consistency by shares.

The arrays are ``(..., n)``, samples in their order; a text without an answer (-1) is never sure, has no
weight, and wins only where no other has an answer.  A confidence that is no number is none.

Source: Huang et al. 2025 (S029, arXiv 2503.00031) and its code, where the vote is looked at from the second
sample on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats, Ints
from outthink.select.vote import able, elect, support

Bools = npt.NDArray[np.bool_]

#: a share within this of the threshold has reached it
NEAR = 1e-12


class Stopped(NamedTuple):
    """Where samples that come one by one stop, in arrays ``(...)``.

    ``drawn`` counts them (all where none was ``sure``), ``chosen`` is the place of the one to give.
    """

    drawn: Ints
    chosen: Ints
    sure: Bools


def first_sure(classes: Ints, confidence: Floats, threshold: float) -> Stopped:
    """The first sample whose confidence reaches the threshold, else the best of all.

    Of equally good ones the answer that most of them give, and its first.
    """
    c, s = np.asarray(classes), np.asarray(confidence, dtype=np.float64)
    reached = (s >= threshold) & (c >= 0)
    sure = np.asarray(reached.any(axis=-1))
    first = np.asarray(reached.argmax(axis=-1))
    may = able(c)
    known = np.where(may & ~np.isnan(s), s, -np.inf)
    top = may & (known == known.max(axis=-1, keepdims=True))
    best = elect(np.where(top, support(c, top.astype(np.float64)), -1.0), c)
    n = c.shape[-1]
    drawn = np.asarray(np.where(sure, first + 1, n), dtype=np.int64)
    return Stopped(drawn, np.asarray(np.where(sure, first, best), dtype=np.int64), sure)


def first_agreed(classes: Ints, confidence: Floats, threshold: float) -> Stopped:
    """Where the heaviest answer first has the share ``threshold`` of all confidence, else the last vote.

    The place is that of its surest sample so far.
    """
    c, s = np.asarray(classes), np.asarray(confidence, dtype=np.float64)
    n = c.shape[-1]
    answered = c >= 0
    w = np.where(np.isfinite(s) & answered, np.maximum(s, 0.0), 0.0)
    # weight[..., k, j]: that of the answer of sample j after k + 1 samples
    same = (c[..., :, None] == c[..., None, :]) & answered[..., None]
    weight = np.cumsum(same * w[..., None], axis=-2)
    total = np.cumsum(w, axis=-1)
    leading = weight.max(axis=-1)
    reached = (total > 0) & (leading >= threshold * total - NEAR) & (np.arange(n) > 0)
    sure = np.asarray(reached.any(axis=-1))
    drawn = np.asarray(np.where(sure, reached.argmax(axis=-1) + 1, n), dtype=np.int64)
    seen = np.arange(n) < drawn[..., None]
    last = np.take_along_axis(weight, (drawn - 1)[..., None, None], axis=-2)[..., 0, :]
    lead = elect(np.where(seen, last, -1.0), np.where(seen, c, -1))
    mine = seen & (c == np.take_along_axis(c, lead[..., None], axis=-1))
    own = np.where(mine, np.where(np.isnan(s), -np.inf, s), -np.inf)
    return Stopped(drawn, np.where(np.isneginf(own).all(axis=-1), lead, own.argmax(axis=-1)), sure)
