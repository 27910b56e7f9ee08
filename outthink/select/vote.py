"""Votes over answer classes.

Samples come as ``classes (n,)``: equal numbers are equal answers, -1 is a text without an answer.
It is a class of its own that cannot win while another exists.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outthink.core.nouns import Floats, Ints


def tally(classes: Ints, weights: Sequence[float] | Floats | None = None) -> tuple[Ints, Floats]:
    """The classes in order of first appearance (without -1 unless alone) and their weights' sums.

    A weight that is negative or not a number counts as 0.
    """
    classes = np.asarray(classes, dtype=np.int64)
    if classes.ndim != 1 or not len(classes):
        raise ValueError("a vote needs at least one sample")
    w = np.ones(len(classes)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != classes.shape:
        raise ValueError(f"{len(classes)} samples and {len(w)} weights")
    w = np.where(np.isfinite(w), np.maximum(w, 0.0), 0.0)
    found, first = np.unique(classes, return_index=True)
    found = found[np.argsort(first)]
    real = found[found >= 0]
    kinds = real if len(real) else found
    sums = np.array([w[classes == kind].sum() for kind in kinds])
    return kinds.astype(np.int64), sums


def weighted(classes: Ints, weights: Sequence[float] | Floats) -> int:
    """The sample that stands for the heaviest class: its own heaviest, the earlier one on a tie.

    Classes of equal weight: the one with more samples, then the one that came first.
    """
    kinds, sums = tally(classes, weights)
    counts = np.array([(np.asarray(classes) == kind).sum() for kind in kinds])
    near = np.isclose(sums, sums.max(), rtol=1e-12, atol=0.0)
    winner = kinds[int(np.argmax(np.where(near, counts, -1)))]
    w = np.asarray(weights, dtype=np.float64)
    w = np.where(np.isfinite(w), np.maximum(w, 0.0), 0.0)
    mine = np.asarray(classes) == winner
    return int(np.argmax(np.where(mine, w, -1.0)))


def majority(classes: Ints) -> int:
    """The first sample of the most frequent class; ties go to the class that came first."""
    return weighted(classes, np.ones(len(classes)))
