"""Votes over answer classes.

Samples come as ``classes (n,)``: equal numbers are equal answers, -1 is a text without an answer.
It is a class of its own that cannot win while another exists.

    answer = argmax_a  sum_i w_i [class_i = a]

with ``w_i = 1``: self-consistency (Wang et al., arXiv 2203.11171); with a verifier's scores:
weighted best-of-n (S050, arXiv 2408.03314).  Every rule gives the index of the sample that stands
for the class that won.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput, nearest
from outthink.core.nouns import Floats, Ints

Ties = Literal["count", "first", "score", "random"]
TIES: tuple[str, ...] = get_args(Ties)


def _weights(classes: Ints, weights: Sequence[float] | Floats | None) -> Floats:
    w = np.ones(classes.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != classes.shape:
        raise ValueError(f"{len(classes)} samples and {len(w)} weights")
    return np.where(np.isfinite(w), np.maximum(w, 0.0), 0.0)


def tally(classes: Ints, weights: Sequence[float] | Floats | None = None) -> tuple[Ints, Floats]:
    """The classes in order of first appearance (without -1 unless alone) and their weights' sums.

    A weight that is negative or not a finite number counts as 0.
    """
    classes = np.asarray(classes, dtype=np.int64)
    if classes.ndim != 1 or not len(classes):
        raise ValueError("a vote needs at least one sample")
    w = _weights(classes, weights)
    found, first, place = np.unique(classes, return_index=True, return_inverse=True)
    sums: Floats = np.bincount(place.ravel(), weights=w, minlength=len(found)).astype(np.float64)
    order = np.argsort(first)
    kinds, sums = found[order], sums[order]
    real = kinds >= 0
    return (kinds[real], sums[real]) if real.any() else (kinds, sums)


def able(classes: Ints) -> npt.NDArray[np.bool_]:
    """Which samples ``(..., n)`` may win: those with an answer, or all of a row that has none."""
    c = np.asarray(classes)
    return np.asarray((c >= 0) | ~(c >= 0).any(axis=-1, keepdims=True))


def support(classes: Ints, weights: Sequence[float] | Floats | None = None) -> Floats:
    """For each sample the total weight of its class: ``(..., n)`` of ``classes (..., n)``.

    What a vote compares.  0 for a text without an answer, unless its row holds nothing else.
    """
    c = np.asarray(classes)
    same = c[..., :, None] == c[..., None, :]
    sums = np.einsum("...ij,...j->...i", same, _weights(c, weights))
    return np.asarray(np.where(able(c), sums, 0.0), dtype=np.float64)


def elect(strength: Floats, classes: Ints) -> Ints:
    """The first place of the largest ``strength (..., n)`` among samples with an answer: ``(...)``.

    Where no sample of a row has one, among all.  Values within 1e-12 of the largest are level with
    it, and NaN is less than all.
    """
    may = able(classes)
    s = np.where(may & ~np.isnan(strength), strength, -np.inf)
    top = s.max(axis=-1, keepdims=True)
    level = may & (np.isclose(s, top, rtol=1e-12, atol=0.0) | (s == top))
    return np.asarray(level.argmax(axis=-1), dtype=np.int64)


def weighted(
    classes: Ints,
    weights: Sequence[float] | Floats,
    ties: Ties = "count",
    rng: np.random.Generator | None = None,
) -> int:
    """The sample that stands for the heaviest class: its own heaviest, the earlier one on a tie.

    ``ties`` between classes of equal weight (to 1e-12): ``count`` (more samples, then the first),
    ``first`` (to appear), ``score`` (the heaviest single sample, then the first), ``random``.
    """
    classes = np.asarray(classes, dtype=np.int64)
    return _elect(classes, weights, _weights(classes, weights), ties, rng)


def majority(
    classes: Ints,
    ties: Ties = "first",
    scores: Sequence[float] | Floats | None = None,
    rng: np.random.Generator | None = None,
) -> int:
    """The first sample of the most frequent class.

    ``ties``: ``first`` (the class that came first), ``score`` (the class of the highest of
    ``scores``, and its sample of that score), ``random`` (drawn from ``rng``).
    """
    classes = np.asarray(classes, dtype=np.int64)
    if ties == "score" and scores is None:
        raise BadInput("ties='score' needs the scores")
    s = np.ones(len(classes)) if scores is None else np.asarray(scores, dtype=np.float64)
    s = np.where(np.isnan(s), -np.inf, s)
    return _elect(classes, None, s, ties, rng)


def _elect(
    classes: Ints,
    weights: Sequence[float] | Floats | None,
    rank: Floats,
    ties: str,
    rng: np.random.Generator | None,
) -> int:
    """The class with the most weight, ties by rule; its sample of the highest ``rank``."""
    if ties not in TIES:
        raise BadInput(f"ties={ties!r}{nearest(ties, TIES)}")
    kinds, sums = tally(classes, weights)
    near = np.flatnonzero(np.isclose(sums, sums.max(), rtol=1e-12, atol=0.0))
    if len(near) == 1 or ties == "first":
        winner = near[0]
    elif ties == "random":
        if rng is None:
            raise BadInput("ties='random' needs a random generator")
        winner = rng.choice(near)
    elif ties == "score":
        winner = near[int(np.argmax([rank[classes == kinds[i]].max() for i in near]))]
    else:
        winner = near[int(np.argmax([(classes == kinds[i]).sum() for i in near]))]
    members = np.flatnonzero(classes == kinds[winner])
    return int(members[int(np.argmax(rank[members]))])
