"""How well scores rank right from wrong, and how well they say how sure to be.

``auroc`` is the chance that a right text has a higher score than a wrong one; ``ece`` the mean distance
between what is said and what holds, over bins of equal width (Guo et al. 2017, arXiv 1706.04599);
``brier`` the mean squared distance.  Answering only the most confident gives a risk, the share wrong
of those answered, at each coverage, the share answered; ``aurc`` is the area under that curve (Geifman,
Uziel and El-Yaniv 2019, arXiv 1805.08206).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats, Ints


def ranks(values: npt.ArrayLike) -> Floats:
    """Ranks from 1 on, ``(n,)``; equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place.ravel()], dtype=np.float64)


def auroc(scores: Floats, labels: Floats) -> float:
    """The area under the ROC curve: ties count half; NaN where all labels are alike."""
    right = np.asarray(labels) > 0.5
    positives = int(right.sum())
    negatives = len(right) - positives
    if not positives or not negatives:
        return float("nan")
    total = float(ranks(scores)[right].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)


def ece(scores: Floats, labels: Floats, bins: int = 15) -> float:
    """The expected calibration error of probabilities: ``sum_b |b|/n |mean score - share right|``."""
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    said = np.bincount(place, scores, minlength=bins)
    held = np.bincount(place, labels, minlength=bins)
    return float(np.abs(said - held).sum() / len(scores))


def brier(scores: Floats, labels: Floats) -> float:
    """The mean squared error of probabilities (Brier 1950): 0 is best, always 0.5 gives 0.25."""
    return float(((np.asarray(scores, np.float64) - np.asarray(labels, np.float64)) ** 2).mean())


def levels(scores: Floats) -> tuple[Floats, Ints]:
    """The distinct scores from the highest on, and which of them each score is, ``(n,)``."""
    found, place = np.unique(-np.asarray(scores, dtype=np.float64), return_inverse=True)
    return -found, np.asarray(place.ravel(), dtype=np.int64)


def risk_coverage(scores: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """Coverage and risk where all with at least some score are answered, one point a distinct score.

    From the highest score on; the last point is coverage 1 and the share of all that is wrong.
    """
    _, place = levels(scores)
    counts = np.cumsum(np.bincount(place))
    wrong = np.cumsum(np.bincount(place, 1.0 - np.asarray(labels, dtype=np.float64)))
    return counts / counts[-1], wrong / counts


def aurc(scores: Floats, labels: Floats) -> float:
    """The area under risk against coverage: the mean risk of answering the top 1, 2, ..., n.

    Texts of equal score come in random order; the mean over all orders is taken, exactly.
    """
    _, place = levels(scores)
    wrong = np.bincount(place, 1.0 - np.asarray(labels, dtype=np.float64))
    return float(area_of_risk(np.bincount(place), wrong))


def area_of_risk(counts: npt.ArrayLike, wrong: npt.ArrayLike) -> Floats:
    """``aurc`` from how many texts, and how many wrong ones, have each score: ``(..., levels)``.

    From the highest score on; some counts may be 0, not all.  In a level of m texts of which the
    share w is wrong, with N texts above it of which E are wrong, the top N + j hold E + j w wrong
    ones in the mean of all orders; the sum of (E + j w) / (N + j) over j = 1..m is
    m w + (E - N w) (H(N + m) - H(N)) with the harmonic numbers H.
    """
    m = np.asarray(counts, dtype=np.int64)
    e = np.asarray(wrong, dtype=np.float64)
    ends = np.cumsum(m, axis=-1)
    harmonic = np.append(0.0, np.cumsum(1.0 / np.arange(1, int(ends.max()) + 1)))
    before, wrong_before = ends - m, np.cumsum(e, axis=-1) - e
    share = np.divide(e, m, out=np.zeros_like(e), where=m > 0)
    steps = harmonic[ends] - harmonic[before]
    total = (e + (wrong_before - before * share) * steps).sum(axis=-1)
    return np.asarray(total / ends[..., -1])


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
