"""Saturation: where one more sample, or one more round of thought, stops paying.

    F(N) = F_max (1 - (1 - p)^N)
    gain of the next unit    F(N + 1) - F(N) = F_max p (1 - p)^N
    saturation               N* = ln(eps / (F_max p)) / ln(1 - p)

N counts units of compute: samples, of which one has to be right; or rounds, each of which mends what is
wrong with probability p and spoils nothing that is right.  From N* on a unit gains less than eps.
Fitted by least squares: the best F_max for a p is a division, and p is searched for on a grid that
is drawn in around the best.

One p stands for all problems here, and that is the law's weakness: where problems differ, the easy
ones are solved first and the rest are slower, so the curve goes on rising beyond the N* of the fit (a
mixture over problems is in ``laws.coverage``).  It cannot fall either, as accuracy does where more thinking
hurts.

Source: TTSPM (S043, arXiv 2505.20522).  Cost: milliseconds a fit.
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
from outthink.core.nouns import Floats
from outthink.lab import stats
from outthink.lab.stats import Estimate
from outthink.laws import base
from outthink.laws.base import Band, Samples
from outthink.laws.coverage import pass_table

#: -ln(1 - p) is searched for within these
_RATES = (1e-7, 30.0)


@dataclass(frozen=True, eq=False)
class Saturation:
    """One p and one ceiling; ``drawn (draws, 2)`` are the bootstrap's (p, ceiling).

    ``table (problems, points)`` is what was fitted, at ``x (points,)``.
    """

    x: Floats
    table: Floats
    p: Estimate
    ceiling: Estimate
    drawn: Floats

    @property
    def parameters(self) -> Mapping[str, Estimate]:
        """``p``: the chance of a unit; ``ceiling``: F_max."""
        return {"p": self.p, "ceiling": self.ceiling}

    @property
    def observed(self) -> Floats:
        """The mean over problems, at ``x``."""
        return np.asarray(self.table.mean(axis=0))

    @property
    def residuals(self) -> Floats:
        """Observed minus fitted, at ``x``."""
        return self.observed - self.predict(self.x).value

    @property
    def _values(self) -> Floats:
        return np.array([self.p.value, self.ceiling.value])

    def predict(self, x: npt.ArrayLike) -> Band:
        """F at any N of at least 0, with 95 % intervals over problems."""
        n = _counts(x)
        return base.band(n, curve(self._values, n), curve(self.drawn, n))

    def gain(self, x: npt.ArrayLike) -> Band:
        """What the unit after N adds."""
        n = _counts(x)
        more = [curve(v, n + 1) - curve(v, n) for v in (self._values, self.drawn)]
        return base.band(n, *more)

    def saturation(self, least: float = 0.01) -> Estimate:
        """N*, from which on a unit gains less than ``least``; 0 where the first does not gain as much."""
        if not 0 < least < 1:
            raise BadInput(f"least={least:g} is a gain above 0 and below 1")
        return base.estimate(float(saturates(self._values, least)), saturates(self.drawn, least))

    def plot(self, path: str | Path) -> Path:
        """The law and what it was fitted to, ten times as far, with N* for a gain of 0.01."""
        with base.Sheet(path) as (ax,):
            last = float(self.x[-1])
            shown = self.predict(np.geomspace(float(self.x[0]), 10 * last, 60))
            base.draw(ax, shown, base.BLUE, "F_max (1 - (1 - p)^N)")
            base.dots(ax, self.x, self.observed, "seen by the fit")
            star = self.saturation().value
            if star >= self.x[0]:
                ax.axvline(star, color="#888", linewidth=0.7, linestyle=":")
            base.counting(ax, "units N")
            ax.set_ylabel("F (share of problems)")
            ax.legend(loc="lower right")
        return Path(path)

    def to_json(self) -> dict[str, Any]:
        """Parameters, what it was fitted to, and where it saturates."""
        return base.facts(
            "saturation",
            self.parameters,
            formula="F_max (1 - (1 - p)^N)",
            problems=len(self.table),
            x=self.x.tolist(),
            observed=self.observed.tolist(),
            residuals=self.residuals.tolist(),
            saturation=self.saturation()._asdict(),
        )


def _counts(x: npt.ArrayLike) -> Floats:
    n = np.atleast_1d(np.asarray(x, dtype=np.float64))
    if n.min() < 0:
        raise BadInput(f"the law is of N at least 0, not {n.min():g}")
    return n


def curve(parameters: Floats, x: Floats) -> Floats:
    """F at ``x (points,)`` for (p, ceiling) in the last axis of ``parameters (..., 2)``."""
    p, ceiling = parameters[..., 0, None], parameters[..., 1, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(x == 0, 0.0, x * np.log1p(-p))
    return np.asarray(ceiling * -np.expm1(left))


def saturates(parameters: Floats, least: float) -> Floats:
    """N* for (p, ceiling) in the last axis of ``parameters (..., 2)``."""
    p, ceiling = parameters[..., 0], parameters[..., 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log(least / (ceiling * p)) / np.log1p(-p)
    return np.where(ceiling * p > least, found, 0.0)


def fit_saturation(
    samples: Samples, most: int | None = None, draws: int = base.DRAWS, seed: int = 0
) -> Saturation:
    """Fit to unbiased pass@N for N up to ``most`` (all samples unless told): parallel scaling."""
    n, c = base.counts_of(samples)
    most = int(n.min()) if most is None else most
    if most < 2:
        raise BadInput("a law of samples needs at least 2 samples a problem")
    at = base.grid_of(most)
    return fit_saturation_curve(np.clip(pass_table(n, c, at), 0.0, 1.0), at, draws, seed)


def fit_saturation_curve(
    success: npt.ArrayLike, x: npt.ArrayLike, draws: int = base.DRAWS, seed: int = 0
) -> Saturation:
    """Fit to any success in [0, 1], ``(problems, points)``, at N = ``x (points,)``: rounds, tokens."""
    table, at = np.asarray(success, dtype=np.float64), np.asarray(x, dtype=np.float64)
    if table.ndim != 2 or at.shape != table.shape[1:] or len(table) < 2 or len(at) < 2:
        raise BadInput(
            f"success is (problems, points), at least 2 of each, with as many x: not {table.shape} "
            f"with {at.shape}"
        )
    if (at <= 0).any() or (np.diff(at) <= 0).any():
        raise BadInput("x are units of compute: above 0, and rising")
    # unbiased pass@N of none right is 0 but for rounding
    if not table.mean() > 1e-12 or table.min() < 0 or table.max() > 1:
        raise BadInput("success lies in [0, 1], and some of it above 0: there is no curve to fit")
    rng = base.generator(seed)
    weights = np.vstack([np.ones(len(table)), stats.resample(len(table), draws, rng)]) / len(table)
    found = _least_squares(weights @ table, at)
    p, ceiling = (base.estimate(found[0, i], found[1:, i]) for i in (0, 1))
    return Saturation(at, table, p, ceiling, found[1:])


def _least_squares(y: Floats, x: Floats) -> Floats:
    """(p, ceiling) of each row of ``y (rows, points)``: ``(rows, 2)``."""
    low, high = (math.log(v) for v in _RATES)
    rates = np.broadcast_to(np.exp(np.linspace(low, high, 200)), (len(y), 200))
    width = (high - low) / 199
    for _ in range(7):
        shape = -np.expm1(-rates[..., None] * x)
        tops = np.clip(np.einsum("rgp,rp->rg", shape, y) / (shape**2).sum(axis=2), 0.0, 1.0)
        errors = ((y[:, None, :] - tops[..., None] * shape) ** 2).sum(axis=2)
        best = errors.argmin(axis=1)
        rows = np.arange(len(y))
        rate, ceiling = rates[rows, best], tops[rows, best]
        rates = rate[:, None] * np.exp(width * np.linspace(-1, 1, 21))
        width /= 10
    return np.stack([-np.expm1(-rate), ceiling], axis=1)
