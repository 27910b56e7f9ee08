"""Coverage against samples: an exponentiated power law, and the beta-binomial mixture behind it.

Both say how pass@k, the mean chance that one of k samples is right, goes on past the samples at hand.

    power law        c(k) = exp(a k^b),  a < 0, b < 0
    beta-binomial    p_i ~ Beta(alpha, beta),  c_i | p_i ~ Binomial(n_i, p_i)
                     c(k) = (1 - z) (1 - B(alpha, beta + k) / B(alpha, beta))

where z is the share of problems that are never solved (0 unless it is asked for).  The first is fitted to
the unbiased pass@k of the samples, least squares in c over k evenly spaced in the logarithm; the second
by maximum likelihood to the counts.  They agree in the tail: with z = 0 the share unsolved falls as
k^-alpha, a power law that comes from the problems that are hardest, not from any single one, each of
which is solved exponentially fast.

Far beyond the samples both are as good as what they assume of the problems not solved yet, and the interval
takes that for true: where the two part, neither is to be believed.

Sources: the power law is that of S053 (arXiv 2407.21787); why there is one, and that it can be read
off the distribution of p_i, is Schaeffer et al. 2025 (arXiv 2502.17578).

Cost: milliseconds a fit.  The beta-binomial needs scipy (extra ``lab``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats, Ints
from outthink.lab import stats
from outthink.lab.stats import Estimate
from outthink.laws import base
from outthink.laws.base import Band, Samples


def pass_table(n: Ints, c: Ints, k: npt.ArrayLike) -> Floats:
    """Unbiased pass@k of each problem, ``(problems, points)``: ``1 - C(n-c, k) / C(n, k)``.

    The k may not exceed the samples of any problem.
    """
    ks = np.asarray(k, dtype=np.int64)
    if ks.min() < 1 or ks.max() > n.min():
        raise BadInput(f"pass@k needs 1 <= k <= {n.min()}, the fewest samples of a problem")
    logs = np.concatenate([[0.0], np.log(np.arange(1, n.max() + 1)).cumsum()])
    wrong = (n - c)[:, None]
    fail = logs[wrong] - logs[np.maximum(wrong - ks, 0)] - logs[n][:, None] + logs[n[:, None] - ks]
    return np.where(wrong < ks, 1.0, -np.expm1(fail))


@dataclass(frozen=True, eq=False)
class _Coverage:
    """What both laws share: counts, the k of the fit, and the figure."""

    n: Ints
    c: Ints
    k: Ints
    drawn: Floats

    @property
    def observed(self) -> Floats:
        """Unbiased pass@k at the k of the fit."""
        return np.asarray(pass_table(self.n, self.c, self.k).mean(axis=0))

    @property
    def residuals(self) -> Floats:
        """Observed minus fitted pass@k, at ``k``."""
        return self.observed - self.predict(self.k).value

    def predict(self, x: npt.ArrayLike) -> Band:
        """Pass@k at any k > 0, with 95 % intervals over problems."""
        k = np.atleast_1d(np.asarray(x, dtype=np.float64))
        if k.min() <= 0:
            raise BadInput(f"pass@k is predicted for k > 0, not {k.min():g}")
        return base.band(k, self._curve(self._values, k), self._curve(self.drawn.T, k))

    @property
    def _values(self) -> Floats:
        return np.array([e.value for e in self.parameters.values()])

    @property
    def parameters(self) -> Mapping[str, Estimate]:
        """The fitted parameters by name."""
        raise NotImplementedError

    @staticmethod
    def _curve(parameters: Floats, k: Floats) -> Floats:
        """Values of the law for parameters in columns: ``(draws, points)``, or ``(points,)``."""
        raise NotImplementedError

    def plot(self, path: str | Path, truth: Samples | None = None) -> Path:
        """Pass@k against k: observed, fitted, and ten times further (or as far as ``truth`` goes).

        ``truth`` are the samples that the fit did not see: its pass@k is drawn too.
        """
        held = None if truth is None else base.counts_of(truth)
        with base.Sheet(path) as (ax,):
            show(ax, {self.formula: self}, held)
            ax.legend(loc="lower right")
        return Path(path)

    formula = ""


def show(ax: Any, laws: Mapping[str, _Coverage], held: tuple[Ints, Ints] | None = None) -> None:
    """Draw laws fitted to the same samples, what they were fitted to, and what came after."""
    first = next(iter(laws.values()))
    last = int(first.k[-1])
    end = 10 * last if held is None else int(held[0].min())
    for colour, style, (name, law) in zip(base.COLOURS, ("-", "--"), laws.items(), strict=False):
        base.draw(ax, law.predict(np.geomspace(1, end, 60)), colour, name, style)
    if held is not None:
        k = base.grid_of(end)
        every = pass_table(*held, k).mean(axis=0)
        ax.plot(k, every, "o", color=base.BLACK, markersize=2.6, label="all samples")
    base.dots(ax, first.k, first.observed, "seen by the fit")
    ax.axvline(last, color="#888", linewidth=0.7, linestyle=":")
    base.counting(ax, "samples k")
    ax.set_ylabel("pass@k (share of problems)")


# -- the power law -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PowerLaw(_Coverage):
    """``c(k) = exp(a k^b)``; ``drawn (draws, 2)`` are the bootstrap's (a, b)."""

    a: Estimate
    b: Estimate

    formula = "exp(a k^b)"

    @property
    def parameters(self) -> Mapping[str, Estimate]:
        """``a`` is log pass@1 of the law; ``b`` the exponent of -log pass@k."""
        return {"a": self.a, "b": self.b}

    @staticmethod
    def _curve(parameters: Floats, k: Floats) -> Floats:
        a, b = parameters[..., None]
        return np.asarray(np.exp(a * k**b))

    def to_json(self) -> dict[str, Any]:
        """Parameters, and what it was fitted to."""
        return base.facts(
            "coverage",
            self.parameters,
            formula=self.formula,
            problems=len(self.n),
            k=self.k.tolist(),
            observed=self.observed.tolist(),
            residuals=self.residuals.tolist(),
        )


def fit_power_law(
    samples: Samples, most: int | None = None, draws: int = base.DRAWS, seed: int = 0
) -> PowerLaw:
    """Fit ``c(k) = exp(a k^b)`` to unbiased pass@k for k up to ``most`` (all samples unless told).

    ``draws`` are the bootstrap draws over problems; 0 gives no intervals (NaN).
    """
    n, c = base.counts_of(samples)
    most = int(n.min()) if most is None else most
    if most < 2:
        raise BadInput("a power law of samples needs at least 2 samples a problem")
    k = base.grid_of(most)
    table = pass_table(n, c, k)
    rng = base.generator(seed)
    weights = np.vstack([np.ones(len(n)), stats.resample(len(n), draws, rng)]) / len(n)
    found = _least_squares(weights @ table, k)
    if np.isnan(found[0]).any():
        raise BadInput(f"pass@k is {table.mean():.3g} at every k: there is no curve to fit")
    a, b = (base.estimate(found[0, i], found[1:, i]) for i in (0, 1))
    return PowerLaw(n, c, k, found[1:], a, b)


def _least_squares(y: Floats, k: Ints) -> Floats:
    """(a, b) of each row of ``y (rows, points)``: damped Gauss-Newton, all rows at once.

    Starts from the straight line of log(-log y) in log k; a row with fewer than two points inside
    (0, 1) gives NaN.
    """
    x = np.log(k)
    inside = (y > 0) & (y < 1 - 1e-12)
    target = np.log(-np.log(np.where(inside, y, 0.5)))
    total = inside.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = (inside * x).sum(axis=1) / total
        spread = (inside * (x - middle[:, None]) ** 2).sum(axis=1)
        b = (inside * (x - middle[:, None]) * target).sum(axis=1) / spread
        u = (inside * target).sum(axis=1) / total - b * middle
    fitted = total >= 2
    u, b = np.where(fitted, u, 0.0), np.where(fitted, b, 0.0)

    def curve(u: Floats, b: Floats) -> Floats:
        return np.asarray(np.exp(-np.exp(u[:, None] + b[:, None] * x)))

    damping = np.full(len(y), 1e-3)
    value = curve(u, b)
    loss = ((y - value) ** 2).sum(axis=1)
    for _ in range(50):
        # d value / du and d value / db
        du = value * np.log(np.maximum(value, 1e-300))
        db = du * x
        gap = y - value
        uu, bb = (du * du).sum(axis=1), (db * db).sum(axis=1)
        ub, gu, gb = (du * db).sum(axis=1), (du * gap).sum(axis=1), (db * gap).sum(axis=1)
        uu, bb = uu * (1 + damping) + 1e-12, bb * (1 + damping) + 1e-12
        det = uu * bb - ub * ub
        step_u, step_b = (bb * gu - ub * gb) / det, (uu * gb - ub * gu) / det
        tried = curve(u + step_u, b + step_b)
        new = ((y - tried) ** 2).sum(axis=1)
        better = new < loss
        u, b = np.where(better, u + step_u, u), np.where(better, b + step_b, b)
        value, loss = np.where(better[:, None], tried, value), np.where(better, new, loss)
        damping = np.where(better, damping / 5, damping * 10)
    found = np.stack([-np.exp(u), b], axis=1)
    return np.where(fitted[:, None], found, np.nan)


# -- the beta-binomial mixture -------------------------------------------------------------------

#: logarithms of alpha and beta, and the log odds of z, stay within these
_LIMITS = ((-9.0, 9.0), (-9.0, 9.0), (-12.0, 6.0))


@dataclass(frozen=True, eq=False)
class BetaBinomial(_Coverage):
    """``p_i ~ Beta(alpha, beta)``, or 0 with chance ``zero``; ``drawn (draws, 3)`` are bootstrap fits.

    ``loglik`` is the log likelihood of the counts, without the binomial coefficients.
    """

    alpha: Estimate
    beta: Estimate
    zero: Estimate
    loglik: float

    formula = "beta-binomial"

    @property
    def parameters(self) -> Mapping[str, Estimate]:
        """``alpha`` is also the exponent of the share unsolved, where ``zero`` is 0."""
        return {"alpha": self.alpha, "beta": self.beta, "zero": self.zero}

    @property
    def aic(self) -> float:
        """Akaike's criterion, smaller is better: comparable between fits to the same counts."""
        return 2 * (2 + (self.zero.value > 0)) - 2 * self.loglik

    @staticmethod
    def _curve(parameters: Floats, k: Floats) -> Floats:
        alpha, beta, zero = parameters[..., None]
        betaln = base.scipy("special").betaln
        return np.asarray((1 - zero) * -np.expm1(betaln(alpha, beta + k) - betaln(alpha, beta)))

    def to_json(self) -> dict[str, Any]:
        """Parameters, and what it was fitted to."""
        return base.facts(
            "beta",
            self.parameters,
            formula=self.formula,
            problems=len(self.n),
            loglik=self.loglik,
            aic=self.aic,
            k=self.k.tolist(),
            observed=self.observed.tolist(),
            residuals=self.residuals.tolist(),
        )


def fit_beta_binomial(
    samples: Samples,
    zero: bool | Literal["aic"] = False,
    draws: int = base.DRAWS,
    seed: int = 0,
) -> BetaBinomial:
    """Fit the mixture by maximum likelihood.

    ``zero`` allows a share of problems that are never solved: ``"aic"`` keeps it where the likelihood
    gains more than one unit (decided anew in each bootstrap draw).  Few samples a problem cannot tell
    "never" from "seldom", and a share of "never" is a ceiling for all k: ask for it only with many.
    """
    n, c = base.counts_of(samples)
    rng = base.generator(seed)
    found = _fit(n, c, np.ones(len(n)), zero, None)
    start = np.array(found[:3])
    drawn = np.array(
        [_fit(n, c, w, zero, start)[:3] for w in stats.resample(len(n), draws, rng)]
    ).reshape(draws, 3)
    alpha, beta, share = (base.estimate(found[i], drawn[:, i]) for i in range(3))
    k = base.grid_of(int(n.min()))
    return BetaBinomial(n, c, k, drawn, alpha, beta, share, found[3])


def fit_counts(
    n: Ints, c: Ints, weights: npt.NDArray[Any] | None = None, start: Floats | None = None
) -> tuple[float, float, float]:
    """(alpha, beta, share at 0) of counts, ``zero="aic"``; problems without trials tell nothing."""
    some = n > 0
    w = np.ones(len(n)) if weights is None else weights
    return _fit(n[some], c[some], w[some], "aic", start)[:3]


def _fit(
    n: Ints, c: Ints, weights: npt.NDArray[Any], zero: bool | str, start: Floats | None
) -> tuple[float, float, float, float]:
    """(alpha, beta, z, log likelihood) of weighted counts."""
    found = _maximise(n, c, weights, False, start)
    if zero is False:
        return found
    wide = _maximise(n, c, weights, True, np.array([found[0], found[1], 0.1]))
    wanted = 1.0 if zero == "aic" else 0.0
    return wide if wide[3] > found[3] + wanted else found


def _maximise(
    n: Ints, c: Ints, weights: npt.NDArray[Any], zero: bool, start: Floats | None
) -> tuple[float, float, float, float]:
    """Maximum likelihood by L-BFGS-B in (log alpha, log beta, log odds of z).

    B(alpha + c, beta + n - c) / B(alpha, beta) is a product of alpha + j, j < c, of beta + j, j < n - c,
    over alpha + beta + j, j < n: all that the counts tell is how many problems reach each j.
    """
    size = int(n.max())
    j = np.arange(size)
    some = weights * (c > 0) if zero else weights
    ups, downs, alls = (_reach(x, some, size) for x in (c, n - c, n))
    # problems without a right sample, by their number of samples
    lengths = np.unique(n[c == 0]) if zero else np.zeros(0, dtype=np.int64)
    blank = np.array([weights[(c == 0) & (n == m)].sum() for m in lengths])
    solved = float(some.sum())

    def loss(t: Floats) -> tuple[float, Floats]:
        alpha, beta = math.exp(t[0]), math.exp(t[1])
        a, b, ab = alpha + j, beta + j, alpha + beta + j
        value = float(ups @ np.log(a) + downs @ np.log(b) - alls @ np.log(ab))
        both = float((alls / ab).sum())
        slope = [float((ups / a).sum()) - both, float((downs / b).sum()) - both]
        if zero:
            z = 1 / (1 + math.exp(-t[2]))
            miss = np.exp(np.cumsum(np.log(b) - np.log(ab))[lengths - 1])
            per = z + (1 - z) * miss
            value += solved * math.log1p(-z) + float(blank @ np.log(per))
            r = blank * (1 - z) * miss / per
            slope[0] -= float(r @ np.cumsum(1 / ab)[lengths - 1])
            slope[1] += float(r @ np.cumsum(1 / b - 1 / ab)[lengths - 1])
            slope.append(z * ((1 - z) * float((blank * (1 - miss) / per).sum()) - solved))
        slope[0], slope[1] = slope[0] * alpha, slope[1] * beta
        return -value, -np.array(slope)

    if start is None:
        mean = min(max(float((weights * c).sum() / (weights * n).sum()), 1e-3), 1 - 1e-3)
        start = np.array([mean, 1 - mean, 0.1])
    t = np.array([math.log(start[0]), math.log(start[1])])
    if zero:
        t = np.append(t, math.log(start[2] / (1 - start[2])))
    limits = _LIMITS[: len(t)]
    t = np.clip(t, *np.array(limits).T)
    done = base.scipy("optimize").minimize(loss, t, jac=True, method="L-BFGS-B", bounds=limits)
    z = 1 / (1 + math.exp(-done.x[2])) if zero else 0.0
    return math.exp(done.x[0]), math.exp(done.x[1]), z, -float(done.fun)


def _reach(counts: Ints, weights: npt.NDArray[Any], size: int) -> Floats:
    """The weight of the problems whose count is more than j, for each j < size."""
    at = np.bincount(counts, weights=weights, minlength=size + 1)
    return np.asarray(at[::-1].cumsum()[::-1][1 : size + 1])


# -- the held-out check --------------------------------------------------------------------------

#: what is checked: a fit without intervals
Fit = Callable[[tuple[Ints, Ints], int], _Coverage]

FITS: Mapping[str, Fit] = {
    "coverage": lambda samples, draws: fit_power_law(samples, draws=draws),
    "beta": lambda samples, draws: fit_beta_binomial(samples, draws=draws),
    "beta with zero": lambda samples, draws: fit_beta_binomial(samples, True, draws=draws),
}


class HeldOut(NamedTuple):
    """A law fitted to ``seen`` samples a problem against pass@k of all of them, at larger k.

    ``predicted`` and ``size`` (the mean of \\|predicted - observed\\|) are means over random choices of
    the seen samples; ``inside`` is how often the 95 % interval at the last k held the observed value
    (NaN without draws).
    """

    seen: int
    k: Ints
    observed: Floats
    predicted: Floats
    size: Floats
    inside: float

    @property
    def error(self) -> Floats:
        """Mean predicted minus observed, at ``k``: the bias."""
        return self.predicted - self.observed


def held_out(
    samples: Samples,
    seen: int,
    law: str = "coverage",
    again: int = 20,
    draws: int = 0,
    seed: int = 0,
) -> HeldOut:
    """Fit to ``seen`` random samples a problem, ``again`` times, and predict pass@k for larger k.

    Every problem needs more than ``seen`` samples.  ``law`` is one of ``FITS``.
    """
    n, c = base.counts_of(samples)
    most = int(n.min())
    if not 2 <= seen < most:
        raise BadInput(f"a held-out check sees 2 to {most - 1} of {most} samples, not {seen}")
    k = base.grid_of(most)
    k = k[k > seen]
    observed = pass_table(n, c, k).mean(axis=0)
    rng = base.generator(seed)
    curves, inside = [], []
    for _ in range(again):
        law_of = FITS[law]((np.full(len(n), seen), rng.hypergeometric(c, n - c, seen)), draws)
        found = law_of.predict(k)
        curves.append(found.value)
        inside.append(found.low[-1] <= observed[-1] <= found.high[-1])
    table = np.array(curves)
    share = float(np.mean(inside)) if draws else math.nan
    sizes = np.abs(table - observed).mean(axis=0)
    return HeldOut(seen, k, observed, table.mean(axis=0), sizes, share)
