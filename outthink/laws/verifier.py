"""Best of n under an imperfect verifier: asking again until it accepts.

Samples are drawn until the verifier accepts one, at most n; none accepted is an abstention.  A sample is
right with chance p; the verifier accepts a wrong one with chance f (false positive) and rejects a right
one with chance g (false negative):

    accepts   a = p (1 - g) + (1 - p) f
    right     R(n) = p (1 - g) / a (1 - (1 - a)^n)
    wrong     W(n) = (1 - p) f / a (1 - (1 - a)^n)
    ceiling   R(n to infinity) = p (1 - g) / a,  the verifier's precision on this problem

With benefit 1 for a right answer, ``cost`` for a wrong one, 0 for abstaining and ``price`` a sample, the
worth is U(n) = R(n) - cost W(n) - price (1 - (1 - a)^n) / a.  For one problem without a price it only
rises or only falls in n; a best n inside exists because problems differ: easy ones are accepted at once
and rightly, hard ones late and mostly wrongly.

The law gives each problem its own p, f and g.  What is known of them are counts: right samples, accepted
ones among the wrong, rejected ones among the right; and their distributions over problems, a beta each
(with a share at 0 where the AIC wants one), fitted to all counts by maximum likelihood.  A problem's p, f
and g then have beta posteriors, and its R(n) and W(n) are means over them: so n may go beyond the
samples, and the problems' hardness stays tied to how they fool the verifier, which is what sets the
ceiling.  Where a problem has no right sample, its g is the average one; where none was ever accepted, what
an n far beyond the samples would bring is the prior's word alone.

Source: S077 (arXiv 2411.17501); the closed forms are elementary.  Cost: a millisecond a problem.  Needs
scipy (extra ``lab``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput, nearest
from outthink.core.nouns import Floats, Ints
from outthink.lab import stats
from outthink.lab.pools import Bools, Pools
from outthink.lab.stats import Estimate
from outthink.laws import base
from outthink.laws.base import Band
from outthink.laws.coverage import fit_counts, pass_table


class Outcome(NamedTuple):
    """Chances that an answer is given and right, given and wrong; mean samples drawn."""

    right: Floats
    wrong: Floats
    samples: Floats

    def worth(self, cost: float, price: float = 0.0) -> Floats:
        """Benefit 1 for right, ``-cost`` for wrong, 0 for none, ``-price`` a sample."""
        return self.right - cost * self.wrong - price * self.samples


def resample(p: npt.ArrayLike, f: npt.ArrayLike, g: npt.ArrayLike, n: npt.ArrayLike) -> Outcome:
    """What comes of at most n samples (``inf`` is allowed); all arguments broadcast."""
    p, f, g, n = (np.asarray(v, dtype=np.float64) for v in (p, f, g, n))
    if any(((v < 0) | (v > 1)).any() for v in (p, f, g)) or (n < 0).any():
        raise BadInput("p, f and g are chances in [0, 1], and n is not negative")
    true, false = p * (1 - g), (1 - p) * f
    accept = true + false
    with np.errstate(divide="ignore", invalid="ignore"):
        done = np.where(n == 0, 0.0, -np.expm1(n * np.log1p(-accept)))
        each = np.where(accept > 0, done / accept, 0.0)
    return Outcome(true * each, false * each, np.where(accept > 0, each, n))


def resample_observed(accepted: Bools, right: Bools, present: Bools, n: npt.ArrayLike) -> Outcome:
    """The same from recorded samples, exactly: means over all orders of each problem's samples.

    ``(problems, samples)`` each; gives ``(problems, points)``.  A first accepted sample is any of the
    accepted with the same chance, and there is one within n unless all n are among the rejected.
    """
    total = present.sum(axis=1)
    taken = (accepted & present).sum(axis=1)
    good = (accepted & right & present).sum(axis=1)
    sizes = np.atleast_1d(np.asarray(n, dtype=np.int64))
    done = pass_table(total, taken, sizes)
    share = (good / np.maximum(taken, 1))[:, None]
    # a sample j is drawn unless one of the j - 1 before it was accepted
    steps = np.arange(1, int(sizes.max()) + 1)
    drawn = np.ones((len(total), len(steps)))
    if len(steps) > 1:
        drawn[:, 1:] = 1 - pass_table(total, taken, steps[:-1])
    mean = drawn.cumsum(axis=1)[:, sizes - 1]
    return Outcome(share * done, (1 - share) * done, mean)


#: trials and hits of each problem, ``(problems,)`` each
Pair = tuple[Ints, Ints]


@dataclass(frozen=True, eq=False)
class VerifierLaw:
    """How resampling under a verifier goes on.

    ``mixtures`` are (alpha, beta, share at 0) of p, f and g over problems, ``pairs`` their counts;
    ``observed`` is what the samples themselves say at ``n``, ``(problems, points)``; ``weights (draws,
    problems)`` are the bootstrap's (it leaves the mixtures as they are: a problem's own counts weigh
    more).
    """

    mixtures: Floats
    pairs: tuple[Pair, Pair, Pair]
    p: Estimate
    f: Estimate
    g: Estimate
    ceiling: Estimate
    n: Ints
    observed: Outcome
    weights: Floats

    @property
    def parameters(self) -> Mapping[str, Estimate]:
        """Shares of samples right, of wrong ones accepted, of right ones rejected; the ceiling.

        The ceiling is S077's: the mean precision of the verifier, 0 where it accepted no sample.
        """
        return {"p": self.p, "f": self.f, "g": self.g, "ceiling": self.ceiling}

    @property
    def residuals(self) -> Floats:
        """Observed minus predicted accuracy at ``n``."""
        return np.asarray(self.observed.right.mean(axis=0) - self.outcome(self.n).right)

    def by_problem(self, n: npt.ArrayLike) -> Outcome:
        """Right, wrong and samples at each n of each problem, ``(problems, points)``."""
        sizes = np.atleast_1d(np.asarray(n, dtype=np.float64))
        counts = np.column_stack([column for pair in self.pairs for column in pair])
        kinds, place = np.unique(counts, axis=0, return_inverse=True)
        rows = [_expected(self.mixtures, row.reshape(3, 2), sizes) for row in kinds]
        return Outcome(*(np.array(part)[place.ravel()] for part in zip(*rows, strict=True)))

    def outcome(self, n: npt.ArrayLike) -> Outcome:
        """Right, wrong and samples at each n, means over problems."""
        return Outcome(*(part.mean(axis=0) for part in self.by_problem(n)))

    def predict(self, x: npt.ArrayLike) -> Band:
        """Accuracy (answered, and rightly) of at most n samples, with 95 % intervals over problems."""
        n = np.atleast_1d(np.asarray(x, dtype=np.float64))
        right = self.by_problem(n).right
        return base.band(n, right.mean(axis=0), self.weights @ right)

    def best_n(self, cost: float, price: float = 0.0, most: int | None = None) -> int:
        """The n of the highest worth, from 0 (always abstain) to ``most`` (the samples at hand).

        Exact to 40 or so, beyond that to about 2 %.
        """
        most = int(self.n[-1]) if most is None else most
        n = np.append(0, base.grid_of(most, 48))
        at = int(np.argmax(self.outcome(n).worth(cost, price)))
        low, high = int(n[max(at - 1, 0)]), int(n[min(at + 1, len(n) - 1)])
        near = np.unique(np.linspace(low, high, min(high - low, 40) + 1).round())
        return int(near[int(np.argmax(self.outcome(near).worth(cost, price)))])

    def plot(self, path: str | Path, costs: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)) -> Path:
        """Left: accuracy and wrong answers against n.  Right: worth by the cost of a wrong answer."""
        seen = self.n
        grid = base.grid_of(10 * int(seen[-1]), 30)
        law = self.outcome(grid)
        with base.Sheet(path, 2) as (left, right):
            base.draw(left, self.predict(grid), base.BLUE, "right")
            left.plot(grid, law.wrong, "--", color=base.ORANGE, linewidth=1.4, label="wrong")
            base.dots(left, seen, self.observed.right.mean(axis=0), "observed", base.BLUE)
            base.dots(left, seen, self.observed.wrong.mean(axis=0), "", base.ORANGE)
            left.set_ylabel("share of problems")
            right.axhline(0, color="#888", linewidth=0.7)
            for colour, line, cost in zip(
                base.COLOURS, ("-", "--", "-.", ":"), costs, strict=False
            ):
                worth = law.worth(cost)
                name = f"wrong costs {cost:g}"
                right.plot(grid, worth, line, color=colour, linewidth=1.4, label=name)
                right.plot(grid[worth.argmax()], worth.max(), "o", color=colour, markersize=4)
            right.set_ylabel("worth a problem (right answers)")
            for ax in (left, right):
                base.counting(ax, "samples at most, n")
                ax.axvline(seen[-1], color="#888", linewidth=0.7, linestyle=":")
                ax.legend()
        return Path(path)

    def to_json(self) -> dict[str, Any]:
        """Parameters, the three distributions, and the curve at ``n``."""
        named = ("p", "f", "g")
        parts = ("alpha", "beta", "zero")
        return base.facts(
            "verifier",
            self.parameters,
            mixtures={
                name: dict(zip(parts, map(float, row), strict=True))
                for name, row in zip(named, self.mixtures, strict=True)
            },
            n=self.n.tolist(),
            observed=self.observed.right.mean(axis=0).tolist(),
            observed_wrong=self.observed.wrong.mean(axis=0).tolist(),
            residuals=self.residuals.tolist(),
        )


def fit_verifier(
    pools: Pools,
    score: str | None = None,
    threshold: float = 0.5,
    draws: int = base.DRAWS,
    seed: int = 0,
) -> VerifierLaw:
    """Fit p, f and g to recorded samples: the verifier accepts a score of at least ``threshold``.

    ``score`` names the verifier (the only one, unless told).  A sample without a score is rejected.
    The ceiling counts what was accepted, 0 for a problem where nothing was; predictions smooth it, and
    may from few samples pass it.
    """
    accepted = accepted_by(pools, score, threshold)
    there = pools.present.any(axis=1)
    accepted, right, present = accepted[there], pools.right[there], pools.present[there]
    if len(present) < 2:
        raise BadInput(f"a law is fitted over problems: {len(present)} with samples is too few")
    good, bad = right & present, ~right & present
    if not good.any() or not bad.any():
        raise BadInput("false positives and negatives need both right and wrong samples")
    pairs = (
        (present.sum(axis=1), good.sum(axis=1)),
        (bad.sum(axis=1), (bad & accepted).sum(axis=1)),
        (good.sum(axis=1), (good & ~accepted).sum(axis=1)),
    )
    weights = stats.resample(len(present), draws, base.generator(seed)) / len(present)
    with np.errstate(invalid="ignore"):
        p, f, g = (
            base.estimate(hits.sum() / trials.sum(), (weights @ hits) / (weights @ trials))
            for trials, hits in pairs
        )
    taken = (accepted & present).sum(axis=1)
    precision = (good & accepted).sum(axis=1) / np.maximum(taken, 1)
    ceiling = base.estimate(float(precision.mean()), weights @ precision)
    mixtures = np.array([fit_counts(n, c) for n, c in pairs])
    n = base.grid_of(int(present.sum(axis=1).min()), 16)
    observed = resample_observed(accepted, right, present, n)
    return VerifierLaw(mixtures, pairs, p, f, g, ceiling, n, observed, weights)


def accepted_by(pools: Pools, score: str | None, threshold: float) -> Bools:
    """Which samples the verifier accepts."""
    names = list(pools.scores)
    # how likely a model finds its own text is no verdict
    verdicts = [name for name in names if name != "logprob"]
    if score is None and len(verdicts) == 1:
        score = verdicts[0]
    if score is None:
        many = f"several scores ({', '.join(verdicts)}): name one with score" if verdicts else ""
        none = "no verifier's scores: of a bench, take an arm that has some, such as best_of_n"
        raise BadInput(f"the pools have {many or none}")
    if score not in pools.scores:
        raise BadInput(f"no scores {score!r} in the pools{nearest(score, names)}")
    with np.errstate(invalid="ignore"):
        return np.asarray(pools.scores[score] >= threshold)


#: quadrature points of p, f and g
_POINTS = (24, 8, 6)


def _expected(mixtures: Floats, counts: Ints, n: Floats) -> Outcome:
    """Means over the posteriors of a problem's p, f and g: three independent betas, or 0."""
    (p, wp), (f, wf), (g, wg) = (
        _posterior(mixture, int(pair[0]), int(pair[1]), points)
        for mixture, pair, points in zip(mixtures, counts, _POINTS, strict=True)
    )
    weight = (wp[:, None, None] * wf[:, None] * wg).ravel()
    # (points of p, of f, of g, n)
    each = resample(p[:, None, None, None], f[:, None, None], g[:, None], n)
    return Outcome(*(weight @ values.reshape(len(weight), -1) for values in each))


def _posterior(mixture: Floats, trials: int, hits: int, points: int) -> tuple[Floats, Floats]:
    """Values and weights of a chance after ``hits`` in ``trials``."""
    alpha, beta, zero = mixture
    x, w = jacobi(alpha + hits, beta + trials - hits, points)
    if not zero or hits:
        return x, w
    j = np.arange(trials)
    miss = float(np.exp(np.log((beta + j) / (alpha + beta + j)).sum()))
    never = zero / (zero + (1 - zero) * miss)
    return np.append(x, 0.0), np.append((1 - never) * w, never)


def jacobi(alpha: float, beta: float, points: int) -> tuple[Floats, Floats]:
    """Values and weights that stand for Beta(alpha, beta): exact in polynomials below ``2 points``.

    From the eigenvectors of the Jacobi matrix (Golub and Welsch), which large parameters do not harm.
    """
    a, b, k = beta - 1, alpha - 1, np.arange(points)
    twice = 2 * k + a + b
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = np.where(k == 0, (b - a) / (a + b + 2), (b * b - a * a) / (twice * (twice + 2)))
        side = k * (k + a) * (k + b) * (k + a + b) / (twice**2 * (twice + 1) * (twice - 1))
    side[1] = (1 + a) * (1 + b) / ((2 + a + b) ** 2 * (3 + a + b))
    beside = 2 * np.sqrt(side[1:])
    x, vectors = np.linalg.eigh(np.diag(middle) + np.diag(beside, 1) + np.diag(beside, -1))
    return np.clip((x + 1) / 2, 0, 1), vectors[0] ** 2
