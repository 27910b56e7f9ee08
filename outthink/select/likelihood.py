"""Scores and votes from the model's own probabilities of what it wrote.

A path is a sampled text t of T tokens with log-probabilities l_1 ... l_T (nats).

Soft self-consistency (Wang, Prasad, Stengel-Eskin and Bansal 2024, arXiv 2402.13212) scores it by
the mean or the least token probability, or by their product, which the released code takes to the
power 1/T:

    mean_i exp(l_i),   min_i exp(l_i),   exp(mean_i l_i)

Perplexity consistency (RPC, S084, arXiv 2510.15444 and 2502.00511) gives an answer the probability of
the different paths that lead to it, each counted once:

    c(a) = sum over distinct t with ans(t) = a of p(t),   p(t) = exp(sum_i l_i) or exp(mean_i l_i)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput, nearest
from outthink.core.nouns import Floats, Ints
from outthink.select.weibull import likely

Soft = Literal["mean", "min", "product"]
SOFT: tuple[str, ...] = get_args(Soft)


def token_score(logprobs: Sequence[float] | Floats, how: Soft = "mean") -> float:
    """One score of a text in [0, 1] from the log-probabilities of its tokens; NaN without a token."""
    if how not in SOFT:
        raise BadInput(f"aggregate={how!r}{nearest(str(how), SOFT)}")
    logp = np.asarray(logprobs, dtype=np.float64)
    if not len(logp):
        return float("nan")
    if how == "product":
        return float(np.exp(logp.mean()))
    return float(np.exp(logp.min()) if how == "min" else np.exp(logp).mean())


def distinct(texts: Ints) -> npt.NDArray[np.bool_]:
    """The first place of each text in its row: ``(..., n)`` of numbers that are equal for equal texts."""
    t = np.asarray(texts)
    order = np.argsort(t, axis=-1, kind="stable")
    fresh = np.diff(np.take_along_axis(t, order, axis=-1), axis=-1) != 0
    first = np.concatenate([np.ones((*t.shape[:-1], 1), dtype=bool), fresh], axis=-1)
    out = np.zeros(t.shape, dtype=bool)
    np.put_along_axis(out, order, first, axis=-1)
    return out


def path_weights(classes: Ints, logprobs: Floats, texts: Ints, prune: bool = True) -> Floats:
    """What each path adds to its answer's confidence: ``(..., n)``, the likeliest of a row being 1.

    ``logprobs (..., n)`` are log p(t), ``texts`` as for ``distinct``.  A text that came before, a
    path that is pruned (``outthink.select.weibull``) and one of log-probability NaN or -inf weigh 0.
    All of a row are scaled alike, so that long texts do not underflow: it changes no vote.  Nothing
    is pruned in a row where that would leave only texts without an answer (class -1).
    """
    logp = np.asarray(logprobs, dtype=np.float64)
    logp = np.where(np.isnan(logp), -np.inf, logp)
    counted = logp > -np.inf
    if prune:
        kept = likely(logp)
        left = (kept & (np.asarray(classes) >= 0)).any(axis=-1, keepdims=True)
        counted &= kept | ~left
    numbers = np.asarray(texts)
    counted &= distinct(np.where(counted, numbers, numbers.min(initial=0) - 1))
    top = logp.max(axis=-1, keepdims=True)
    return np.where(counted, np.exp(logp - np.where(np.isfinite(top), top, 0.0)), 0.0)
