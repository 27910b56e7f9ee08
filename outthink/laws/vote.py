"""Majority vote against samples: what a vote of n is worth, exactly, and where it ends.

With answer distribution q over a problem's classes, the vote over n independent samples is right when a
right class r has m votes and every other at most m; of t + 1 classes level at m, r wins one time in t + 1:

    acc(n) = sum_r sum_m  n! [x^n]  (q_r x)^m / m!  int_0^1 prod_{j != r} f_j(x, y) dy
    f_j(x, y) = sum_{i < m} (q_j x)^i / i!  +  y (q_j x)^m / m!

(the integral of y^t is 1 / (t + 1)).  The coefficient is taken with Poisson weights on the circle
\\|x\\| = 1, the integral by Gauss and Legendre's rule, of enough nodes to be exact: no simulation, errors
near 1e-12.  The same with binomial weights gives the mean over all subsets of n of the samples at hand,
which is unbiased.  For n to infinity the vote is right where the most likely answer is.

A law of votes has no parameters: it is the samples' own distribution, carried on.  Up to the samples at
hand ``predict`` is the unbiased mean over subsets.  Beyond them it takes the shares seen for the truth,
which is biased towards the vote of all samples: the limit so found is that vote's accuracy.
``undecided`` says how many problems could still turn.

Sources: the limit and its difference from coverage, S053 (arXiv 2407.21787) section 4; the vote itself,
Wang et al. (arXiv 2203.11171).  The exact sum is this module's own.

Cost: O(K n^2) a problem and n, for K classes; milliseconds at n = 100.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats, Ints
from outthink.lab import stats
from outthink.lab.pools import Bools, Pools
from outthink.lab.stats import Estimate
from outthink.laws import base
from outthink.laws.base import Band

#: samples of a vote at most: time and memory grow with their number
MOST = 100_000


def vote_accuracy(
    counts: npt.ArrayLike, right: npt.ArrayLike, n: int, blank: float = 0, replace: bool = True
) -> float:
    """The chance that a vote over n samples is right; ties are broken at random.

    ``counts (K,)`` are how often each answer was seen, or any weights in proportion to q, and ``right
    (K,)`` whether it is; ``blank`` counts the samples without an answer, which cannot win.  With
    ``replace`` the n samples are independent; without, they are a random subset of those counted.
    """
    weight = np.asarray(counts, dtype=np.float64)
    good = np.asarray(right, dtype=np.bool_)
    total = weight.sum() + blank
    if weight.shape != good.shape or (weight < 0).any() or blank < 0 or not total > 0:
        raise BadInput(
            "a vote needs a count of at least 0, and whether it is right, of each answer"
        )
    if n < 1 or (not replace and n > total):
        raise BadInput(f"a vote over n={n} of {total:g} samples: needs 1 <= n <= {total:g}")
    if n > MOST:
        raise BadInput(f"a vote over n={n:,}: up to {MOST:,} is computed, beyond it is the limit")
    if not good[weight > 0].any():
        return 0.0
    # the vote of all samples needs no sum
    if not replace and n == total:
        top = weight == weight.max()
        return float(good[top].mean())
    kept = weight > 0
    rivals = int(kept.sum()) - 1
    weights = np.append(weight[kept], blank)
    # Weighted so, the total T of all classes is n with a chance near 1 / sqrt(n), and n +- size with
    # none worth the name: so few points on the circle tell T = n from all the others.
    size = int(9 * math.sqrt(n)) + 20
    if replace:
        mass = _poisson(n * weights / total, n)
    else:
        mass = _binomial(weights.astype(np.int64), n / total, n)
    root = np.exp(2j * np.pi * np.arange(size // 2 + 1) / size)
    # the other half of the circle has the conjugate values
    fold = np.where((np.arange(len(root)) == 0) | (2 * np.arange(len(root)) == size), 1.0, 2.0)
    pick = fold * root ** (-n)
    terms = mass[:, :, None] * root ** np.arange(n + 1)[:, None]
    below = np.cumsum(terms, axis=1) - terms
    whole = terms.sum(axis=1)
    chance = float((whole.prod(axis=0) @ pick).real)
    value = 0.0
    for r in np.flatnonzero(good[kept]):
        others = np.delete(np.arange(rivals + 1), r)
        votes = np.flatnonzero(mass[r] > 1e-16)
        votes = votes[votes > 0]
        ties = np.minimum(rivals, n // votes - 1)
        for t in np.unique(ties):
            nodes, shares = np.polynomial.legendre.leggauss(int(t) // 2 + 1)
            block = max(1, 1_000_000 // (len(nodes) * (rivals + 1) * len(root)))
            level = votes[ties == t]
            for m in np.split(level, range(block, len(level), block)):
                # (nodes, rivals, votes, points): the product over rivals, the mean over nodes
                y = ((nodes + 1) / 2)[:, None, None, None]
                rest = below[others][:, m] + y * terms[others][:, m]
                mean = np.tensordot(shares / 2, rest.prod(axis=1), axes=1)
                value += float(((mean * terms[r, m]).sum(axis=0) * whole[-1] @ pick).real)
    return min(max(value / chance, 0.0), 1.0)


def _poisson(rate: Floats, n: int) -> Floats:
    """Poisson probabilities of 0 to n, ``(rates, n + 1)``."""
    i = np.arange(n + 1)
    logs = np.concatenate([[0.0], np.log(i[1:]).cumsum()])
    with np.errstate(divide="ignore", invalid="ignore"):
        power = np.where(i == 0, 0.0, i * np.log(rate)[:, None])
    return np.asarray(np.exp(power - rate[:, None] - logs))


def _binomial(trials: Ints, p: float, n: int) -> Floats:
    """Binomial probabilities of 0 to n, ``(trials, n + 1)``."""
    i = np.arange(n + 1)
    logs = np.concatenate([[0.0], np.log(np.arange(1, trials.max() + n + 1)).cumsum()])
    t = trials[:, None]
    choose = logs[t] - logs[i] - logs[np.maximum(t - i, 0)]
    found = np.exp(choose + i * math.log(p) + np.maximum(t - i, 0) * math.log1p(-p))
    return np.asarray(np.where(i <= t, found, 0.0))


@dataclass(frozen=True, eq=False)
class Ballot:
    """A problem's answers: how often each was seen, whether it is right; samples without an answer."""

    counts: Ints
    right: Bools
    blank: int

    @property
    def total(self) -> int:
        """All samples of the problem."""
        return int(self.counts.sum()) + self.blank

    @property
    def limit(self) -> float:
        """The chance that the most frequent answer is right (a tie counts by its share)."""
        top = self.counts == self.counts.max(initial=0)
        return float(self.right[top].mean()) if len(self.counts) else 0.0

    def accuracy(self, n: int) -> float:
        """A vote of n: over subsets up to all samples, beyond by the shares seen."""
        if not len(self.counts):
            return 0.0
        return vote_accuracy(self.counts, self.right, n, self.blank, replace=n > self.total)


def ballots_of(pools: Pools) -> list[Ballot]:
    """The answers of each problem; those without samples are left out."""
    found = []
    for classes, right, there in zip(pools.classes, pools.right, pools.present, strict=True):
        if not there.any():
            continue
        kinds, place = np.unique(classes[there], return_inverse=True)
        counts = np.bincount(place.ravel())
        good = np.bincount(place.ravel(), weights=right[there]) > 0
        real = kinds >= 0
        found.append(Ballot(counts[real], good[real], int(counts[~real].sum())))
    return found


@dataclass(frozen=True, eq=False)
class VoteLaw:
    """How the accuracy of a vote goes with its size; ``weights (draws, problems)`` are the bootstrap's."""

    ballots: tuple[Ballot, ...]
    n: Ints
    observed: Floats
    one: Estimate
    limit: Estimate
    undecided: Estimate
    weights: Floats

    @property
    def parameters(self) -> Mapping[str, Estimate]:
        """Accuracy of one sample, of the vote without end, and the share of problems in doubt."""
        return {"one": self.one, "limit": self.limit, "undecided": self.undecided}

    @property
    def residuals(self) -> Floats:
        """Unbiased minus plug-in accuracy at ``n``: how far the plug-in is off where it can be seen."""
        plug = [
            [vote_accuracy(b.counts, b.right, int(n), b.blank) if len(b.counts) else 0.0]
            for n in self.n
            for b in self.ballots
        ]
        return np.asarray(self.observed - np.reshape(plug, (len(self.n), -1)).mean(axis=1))

    def predict(self, x: npt.ArrayLike) -> Band:
        """Accuracy of a vote of n samples, with 95 % intervals over problems; ``inf`` is the limit."""
        sizes = np.atleast_1d(np.asarray(x, dtype=np.float64))
        table = np.stack([_per_problem(self.ballots, n) for n in sizes], axis=1)
        return base.band(sizes, table.mean(axis=0), self.weights @ table)

    def plot(self, path: str | Path) -> Path:
        """Accuracy of the vote and coverage against the number of samples, with the limit."""
        from outthink.laws.coverage import pass_table

        total = np.array([b.total for b in self.ballots])
        right = np.array([int(b.counts[b.right].sum()) for b in self.ballots])
        most = int(total.min())
        with base.Sheet(path) as (ax,):
            shown = self.predict(base.grid_of(4 * most, 16))
            base.draw(ax, shown, base.BLUE, "vote of n")
            k = base.grid_of(most)
            table = pass_table(total, right, k)
            cover = base.band(k, table.mean(axis=0), self.weights @ table)
            base.draw(ax, cover, base.ORANGE, "any of n right (coverage)", "--")
            limit = self.limit.value
            ax.axhline(limit, color=base.BLACK, linewidth=0.9, linestyle="-.", label="its limit")
            ax.axvline(most, color="#888", linewidth=0.7, linestyle=":")
            base.counting(ax, "samples n")
            ax.set_ylabel("share of problems right")
            ax.legend()
        return Path(path)

    def to_json(self) -> dict[str, Any]:
        """Parameters and the curve up to the samples at hand."""
        return base.facts(
            "vote",
            self.parameters,
            problems=len(self.ballots),
            n=self.n.tolist(),
            observed=self.observed.tolist(),
            residuals=self.residuals.tolist(),
        )


def _per_problem(ballots: tuple[Ballot, ...], n: float) -> Floats:
    """The accuracy of each problem at n; problems with the same ballot are worked out once."""
    if not (n == math.inf or (n >= 1 and n == int(n))):
        raise BadInput(f"a vote is of a whole number of samples, or inf, not {n:g}")
    known: dict[tuple[bytes, bytes, int], float] = {}
    found = np.empty(len(ballots))
    for i, ballot in enumerate(ballots):
        order = np.lexsort((ballot.counts, ballot.right))
        key = (ballot.counts[order].tobytes(), ballot.right[order].tobytes(), ballot.blank)
        if key not in known:
            known[key] = ballot.limit if n == math.inf else ballot.accuracy(int(n))
        found[i] = known[key]
    return found


def fit_vote(pools: Pools, draws: int = base.DRAWS, seed: int = 0) -> VoteLaw:
    """The law of votes of recorded samples.

    ``undecided`` is the mean chance that the most frequent answer is not the most likely one, by a
    Dirichlet posterior of the shares (the counts are its parameters).
    """
    ballots = tuple(ballots_of(pools))
    if len(ballots) < 2:
        raise BadInput(f"a law is fitted over problems: {len(ballots)} with samples is too few")
    rng = base.generator(seed)
    weights = stats.resample(len(ballots), draws, rng) / len(ballots)
    doubt = np.array([_doubt(b.counts, rng) for b in ballots])
    n = base.grid_of(min(b.total for b in ballots), 12)
    one, limit = _per_problem(ballots, 1), _per_problem(ballots, math.inf)
    observed = np.array([_per_problem(ballots, int(m)).mean() for m in n])
    shares = {"one": one, "limit": limit, "undecided": doubt}
    found = {name: base.estimate(float(v.mean()), weights @ v) for name, v in shares.items()}
    return VoteLaw(ballots, n, observed, weights=weights, **found)


def _doubt(counts: Ints, rng: np.random.Generator, draws: int = 400) -> float:
    """The chance that the most frequent answer is not the most likely, by the posterior of the shares."""
    if len(counts) < 2:
        return 0.0
    drawn = rng.standard_gamma(counts.astype(np.float64), size=(draws, len(counts)))
    return float((drawn.argmax(axis=1) != counts.argmax()).mean())
