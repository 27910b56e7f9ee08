"""How sure a model was as it wrote, from the log-probabilities of its likeliest tokens (DeepConf).

At each token, with the k likeliest of the model's distribution there,

    confidence C_i = - (1 / k)  sum_j log P_i(j)      (nats; high where one token takes all)
    group confidence G_i = mean of C over the ``window`` tokens that end at i

and of a whole text its mean, its tail (the last group of another length), its lowest group, or the mean
of the lowest tenth of its groups.  A text shorter than the window has one group, all of it.

Arrays are ``(..., t)``, t tokens, NaN after the end of a shorter text; what describes a whole text is
``(...)``.

Source: Fu et al. 2025 (arXiv 2508.15260); the edges of windows, quantiles and ties are those of its code.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput, nearest
from outthink.core.nouns import Floats, Ints
from outthink.select.vote import support

Measure = Literal["mean", "tail", "lowest", "bottom"]
MEASURES: tuple[str, ...] = get_args(Measure)


def token_confidence(top_logprobs: Floats) -> Floats:
    """The confidence at each token, ``(..., t)`` of ``(..., t, k)``, over what is finite; NaN without."""
    known = np.isfinite(top_logprobs)
    count = known.sum(axis=-1)
    total = -np.where(known, top_logprobs, 0.0).sum(axis=-1)
    return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0))


def group_confidence(confidence: Floats, window: int) -> Floats:
    """The group that ends at each token, ``(..., t)``: NaN before a whole window is there.

    Of a text shorter than the window, the group of all of it stands at its last token.
    """
    known = ~np.isnan(confidence)
    length = known.sum(axis=-1, keepdims=True)
    sums = np.cumsum(np.where(known, confidence, 0.0), axis=-1)
    before = np.zeros_like(sums)
    before[..., window:] = sums[..., :-window]
    place = np.arange(1, confidence.shape[-1] + 1)
    width = np.minimum(place, window)
    whole = (place >= window) | (place == length)
    return np.where(whole & (place <= length), (sums - before) / width, np.nan)


def text_confidence(
    confidence: Floats, measure: Measure = "bottom", window: int = 2048, share: float = 0.1
) -> Floats:
    """The confidence of each text, ``(...)``; NaN for one without a token.

    ``tail``: the mean of the last ``window`` tokens.  ``bottom``: the mean of the lowest ``share`` of
    the groups, at least one of them; ``lowest``: the lowest group.
    """
    if measure not in MEASURES:
        raise BadInput(f"measure={measure!r}{nearest(measure, MEASURES)}")
    length = (~np.isnan(confidence)).sum(axis=-1)
    if measure == "mean":
        total = np.nansum(confidence, axis=-1)
        none = np.full(length.shape, np.nan)
        return np.asarray(np.divide(total, length, out=none, where=length > 0))
    if not confidence.shape[-1]:
        return np.full(length.shape, np.nan)
    groups = group_confidence(confidence, window)
    if measure == "tail":
        last = np.maximum(length - 1, 0)[..., None]
        return np.asarray(np.take_along_axis(groups, last, axis=-1)[..., 0])
    ranked = np.sort(groups, axis=-1)  # NaN at the end
    if measure == "lowest":
        return np.asarray(ranked[..., 0])
    count = (~np.isnan(ranked)).sum(axis=-1)
    few = np.maximum(1, (count * share).astype(np.int64))
    means = np.cumsum(ranked, axis=-1) / np.arange(1, ranked.shape[-1] + 1)
    return np.asarray(np.take_along_axis(means, few[..., None] - 1, axis=-1)[..., 0])


def threshold(values: Floats, keep: float) -> Floats:
    """What the most confident ``keep`` of ``values (..., n)`` reach, ``(...)``: their quantile 1 - keep.

    Of what is no NaN, linear between neighbours; NaN where there is nothing else.
    """
    ranked = np.sort(values, axis=-1)
    count = (~np.isnan(ranked)).sum(axis=-1)
    at = (1.0 - keep) * np.maximum(count - 1, 0)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    below = np.take_along_axis(ranked, low[..., None], axis=-1)[..., 0]
    above = np.take_along_axis(ranked, high[..., None], axis=-1)[..., 0]
    return np.asarray(below + (at - low) * (above - below))


def confident(values: Floats, classes: Ints, keep: float) -> Floats:
    """Weights of a vote, ``(..., n)``: a text's confidence where it is among the ``keep``, else 0.

    The quantile is that of the texts with an answer; a row where none of them has a confidence is a
    plain vote.
    """
    able = (classes >= 0) & ~np.isnan(values)
    known = np.where(able, values, np.nan)
    # equal values may differ from their own quantile by rounding
    bar = threshold(known, keep)[..., None]
    chosen = able & (known >= bar - 1e-12 * np.abs(bar))
    weights = np.where(chosen, np.maximum(values, 0.0), 0.0)
    return np.where((weights > 0).any(axis=-1, keepdims=True), weights, 1.0)


def stops_at(confidence: Floats, window: int, bar: npt.ArrayLike) -> Ints:
    """How many tokens a text has when its group falls below ``bar (...)``, ``(...)``; 0 if it never does.

    Only whole windows count: a text shorter than one is never stopped.
    """
    groups = group_confidence(confidence, window)
    place = np.arange(1, confidence.shape[-1] + 1)
    under = (groups < np.asarray(bar)[..., None]) & (place >= window)
    if not under.shape[-1]:
        return np.zeros(under.shape[:-1], dtype=np.int64)
    return np.where(under.any(axis=-1), under.argmax(axis=-1) + 1, 0)


def consensus(classes: Ints, weights: Floats) -> Floats:
    """The share of the heaviest answer in the weight of all answers, ``(...)``; 0 without a weight."""
    answered = np.where(classes >= 0, np.maximum(weights, 0.0), 0.0)
    total = answered.sum(axis=-1)
    top = np.where(classes >= 0, support(classes, answered), 0.0).max(axis=-1, initial=0.0)
    return np.asarray(np.divide(top, total, out=np.zeros(total.shape), where=total > 0))
