"""How well scores rank right from wrong, and how well they say how sure to be.

``auroc`` is the chance that a right text has a higher score than a wrong one; ``ece`` the mean distance
between what is said and what holds, over bins of equal width (Guo et al. 2017, arXiv 1706.04599).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from outthink.core.nouns import Floats


def auroc(scores: Floats, labels: Floats) -> float:
    """The area under the ROC curve: ties count half; NaN where all labels are alike."""
    right = np.asarray(labels) > 0.5
    positives = int(right.sum())
    negatives = len(right) - positives
    if not positives or not negatives:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[place.ravel()]
    total = float(ranks[right].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)


def ece(scores: Floats, labels: Floats, bins: int = 15) -> float:
    """The expected calibration error of probabilities: ``sum_b |b|/n |mean score - share right|``."""
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    said = np.bincount(place, scores, minlength=bins)
    held = np.bincount(place, labels, minlength=bins)
    return float(np.abs(said - held).sum() / len(scores))


def by_cluster(
    statistic: Callable[[Floats, Floats], float],
    clusters: Sequence[tuple[Sequence[float], Sequence[float]]],
    rng: np.random.Generator,
    draws: int = 300,
) -> tuple[float, tuple[float, float]]:
    """A statistic of all (scores, labels) and its 95 % interval, by drawing clusters with replacement.

    A cluster is what depends on each other: the texts of one problem.
    """
    scores = [np.asarray(s, dtype=np.float64) for s, _ in clusters]
    labels = [np.asarray(y, dtype=np.float64) for _, y in clusters]
    value = statistic(np.concatenate(scores), np.concatenate(labels))
    found = []
    for _ in range(draws):
        some = rng.integers(0, len(clusters), len(clusters))
        found.append(
            statistic(
                np.concatenate([scores[i] for i in some]), np.concatenate([labels[i] for i in some])
            )
        )
    low, high = np.nanquantile(found, (0.025, 0.975))
    return value, (float(low), float(high))
