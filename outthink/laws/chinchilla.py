"""The parametric loss law of model size and training tokens.

    L(N, D) = E + A / N^alpha + B / D^beta

fitted by least Huber loss (width 1e-3) of log residuals, with the law as a log-sum-exp:

    log L = logsumexp(log A - alpha log N, log B - beta log D, log E)

by L-BFGS from the best points of a grid of starts.  At a budget C = 6 N D the best model has
N* = G (C / 6)^s, with s = beta / (alpha + beta) and G = (alpha A / (beta B))^(1 / (alpha + beta)).

Sources: Hoffmann et al. 2022 (arXiv 2203.15556), approach 3; S148 (arXiv 2404.10102), which finds that
its published constants do not fit its own points.  Intervals: bootstrap over the runs, each refitted
from the estimate.  Cost: a second a fit, a few milliseconds a draw.  Needs scipy (extra ``lab``).
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats
from outthink.lab.stats import Estimate
from outthink.laws import base
from outthink.laws.base import Band

#: width of the Huber loss, in log loss
WIDTH = 1e-3
#: the constants that Hoffmann et al. report: A, B, E, alpha, beta
HOFFMANN = (406.4, 410.7, 1.69, 0.34, 0.28)
#: starts that are followed to their end, of the grid's 4,500
FOLLOWED = 24


@dataclass(frozen=True, eq=False)
class LossLaw:
    """The fitted law; ``size`` (parameters), ``tokens`` and ``loss`` (nats a token) are ``(runs,)``.

    ``theta`` is (log A, log B, log E, alpha, beta), ``drawn (draws, 5)`` the bootstrap's;
    ``objective`` the summed Huber loss.
    """

    size: Floats
    tokens: Floats
    loss: Floats
    theta: Floats
    drawn: Floats
    objective: float

    @property
    def parameters(self) -> Mapping[str, Estimate]:
        """``A``, ``B``, ``E``, ``alpha``, ``beta``; ``exponent`` is that of N* in compute."""
        values, drawn = _natural(self.theta[None])[0], _natural(self.drawn)
        names = ("A", "B", "E", "alpha", "beta", "exponent")
        return {name: base.estimate(values[i], drawn[:, i]) for i, name in enumerate(names)}

    @property
    def residuals(self) -> Floats:
        """Log of the observed loss minus the law's."""
        return np.log(self.loss) - _log_loss(self.theta, np.log(self.size), np.log(self.tokens))[0]

    def predict(self, x: npt.ArrayLike) -> Band:
        """Loss at ``x``, rows of (parameters, tokens); the band's x is the compute 6 N D (FLOPs)."""
        pairs = np.atleast_2d(np.asarray(x, dtype=np.float64))
        if pairs.shape[1] != 2 or (pairs <= 0).any():
            raise BadInput("loss is predicted at rows of (parameters, tokens), both above 0")
        n, d = np.log(pairs).T
        drawn = np.array([_log_loss(t, n, d)[0] for t in self.drawn]).reshape(-1, len(n))
        value = np.exp(_log_loss(self.theta, n, d)[0])
        return base.band(6 * pairs.prod(axis=1), value, np.exp(drawn))

    def optimum(self, flops: npt.ArrayLike) -> Band:
        """The best number of parameters at training budgets in FLOPs."""
        c = np.atleast_1d(np.asarray(flops, dtype=np.float64))
        return base.band(c, _optimum(self.theta[None], c)[0], _optimum(self.drawn, c))

    def distance(self, other: tuple[float, float, float, float, float]) -> float:
        """How far constants (A, B, E, alpha, beta) are from these: chi-squared of 5 degrees.

        ``d' C^-1 d`` with the bootstrap's covariance C, in (log A, log B, log E, alpha, beta).
        """
        if len(self.drawn) < 20:
            raise BadInput("a distance needs the covariance of at least 20 bootstrap draws")
        theta = np.array([*np.log(other[:3]), *other[3:]])
        gap = theta - self.theta
        return float(gap @ np.linalg.solve(np.cov(self.drawn.T), gap))

    def plot(self, path: str | Path) -> Path:
        """Left: observed loss against the law's.  Right: the best size by compute."""
        fitted = np.exp(_log_loss(self.theta, np.log(self.size), np.log(self.tokens))[0])
        flops = 6 * self.size * self.tokens
        with base.Sheet(path, 2) as (left, right):
            ends = [min(fitted.min(), self.loss.min()), max(fitted.max(), self.loss.max())]
            left.plot(ends, ends, color="#888", linewidth=0.8)
            seen = left.scatter(
                fitted, self.loss, c=np.log10(self.size), s=9, cmap="cividis", linewidths=0
            )
            left.figure.colorbar(seen, ax=left, label="log10 of parameters")
            left.set_xlabel("loss of the law (nats a token)")
            left.set_ylabel("observed loss (nats a token)")
            grid = np.geomspace(flops.min(), 100 * flops.max(), 40)
            base.draw(right, self.optimum(grid), base.BLUE, "best size N*")
            theirs = np.array([[*np.log(HOFFMANN[:3]), *HOFFMANN[3:]]])
            right.plot(
                grid, _optimum(theirs, grid)[0], "--", color=base.ORANGE, linewidth=1.4,
                label="by Hoffmann's constants",
            )  # fmt: skip
            right.plot(flops, self.size, ".", color="#888", markersize=2, label="runs")
            right.set_xscale("log")
            right.set_yscale("log")
            right.set_xlabel("training compute (FLOPs)")
            right.set_ylabel("parameters")
            right.legend()
        return Path(path)

    def to_json(self) -> dict[str, Any]:
        """Parameters, the objective and the residuals."""
        return base.facts(
            "chinchilla",
            self.parameters,
            runs=len(self.loss),
            objective=self.objective,
            residuals=self.residuals.tolist(),
        )


def fit_loss(
    size: npt.ArrayLike,
    tokens: npt.ArrayLike,
    loss: npt.ArrayLike,
    drop: int = 0,
    draws: int = base.DRAWS,
    seed: int = 0,
) -> LossLaw:
    """Fit to runs; ``drop`` leaves out that many of the highest losses (S148 drops 5 of its 245)."""
    n, d, y = (np.asarray(v, dtype=np.float64) for v in (size, tokens, loss))
    if n.ndim != 1 or not n.shape == d.shape == y.shape or any((v <= 0).any() for v in (n, d, y)):
        raise BadInput("runs are (size, tokens, loss), one of each a run, all above 0")
    if len(y) - drop < 10:
        raise BadInput(f"{len(y) - drop} runs are too few for five parameters; 10 is the least")
    kept = np.sort(np.argsort(y, kind="stable")[: len(y) - drop])
    n, d, y = n[kept], d[kept], y[kept]
    logs = np.log(n), np.log(d), np.log(y)
    starts = _starts(*logs)
    theta, value = min((_descend(s, *logs) for s in starts), key=lambda found: found[1])
    rng = base.generator(seed)
    drawn = np.empty((draws, 5))
    for i in range(draws):
        at = rng.integers(len(y), size=len(y))
        drawn[i] = _descend(theta, *(v[at] for v in logs))[0]
    return LossLaw(n, d, y, theta, drawn, value)


def read_runs(path: str | Path) -> tuple[Floats, Floats, Floats]:
    """(size, tokens, loss) of a CSV file.

    Columns ``size``, ``tokens`` and ``loss``; or those of S148's table, ``Model Size``, ``Training
    FLOP`` and ``loss``, where tokens are FLOP / (6 size).
    """
    with open(path, newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    found = set(rows[0]) if rows else set()

    def column(name: str) -> Floats:
        try:
            return np.array([float(row[name]) for row in rows])
        except ValueError as error:
            raise BadInput(f"{path}, column {name}: {error}") from None

    if {"size", "tokens", "loss"} <= found:
        return column("size"), column("tokens"), column("loss")
    if {"Model Size", "Training FLOP", "loss"} <= found:
        size = column("Model Size")
        return size, column("Training FLOP") / (6 * size), column("loss")
    raise BadInput(
        f"{path} needs columns size, tokens and loss; it has: {', '.join(sorted(found))}"
    )


def _natural(theta: Floats) -> Floats:
    """(A, B, E, alpha, beta, exponent of N*) in columns."""
    share = theta[:, 4] / (theta[:, 3] + theta[:, 4])
    return np.column_stack([np.exp(theta[:, :3]), theta[:, 3:], share])


def _optimum(theta: Floats, flops: Floats) -> Floats:
    a, b, _, alpha, beta = theta.T[:, :, None]
    total = alpha + beta
    log = (np.log(alpha / beta) + a - b) / total + beta / total * np.log(flops / 6)
    return np.asarray(np.exp(log))


def _log_loss(theta: Floats, n: Floats, d: Floats) -> tuple[Floats, Floats]:
    """The law's log loss ``(runs,)``, and the shares of its three terms ``(3, runs)``."""
    a, b, e, alpha, beta = theta
    terms = np.stack([a - alpha * n, b - beta * d, np.full(len(n), e)])
    top = terms.max(axis=0)
    parts = np.exp(terms - top)
    total = parts.sum(axis=0)
    return top + np.log(total), parts / total


def _objective(theta: Floats, n: Floats, d: Floats, y: Floats) -> tuple[float, Floats]:
    """Summed Huber loss of log residuals and its gradient."""
    value, share = _log_loss(theta, n, d)
    gap = value - y
    size = np.abs(gap)
    total = np.where(size <= WIDTH, gap * gap / 2, WIDTH * (size - WIDTH / 2)).sum()
    slope = np.clip(gap, -WIDTH, WIDTH)
    pull = share @ slope
    return float(total), np.array([*pull, -(share[0] * n) @ slope, -(share[1] * d) @ slope])


def _starts(n: Floats, d: Floats, y: Floats) -> list[Floats]:
    """The ``FOLLOWED`` best points of Hoffmann's grid of starts."""
    grid = itertools.product(
        np.arange(0, 26, 5.0), np.arange(0, 26, 5.0), np.arange(-1, 1.1, 0.5),
        np.arange(0, 2.1, 0.5), np.arange(0, 2.1, 0.5),
    )  # fmt: skip
    points = [np.array(point) for point in grid]
    return sorted(points, key=lambda t: _objective(t, n, d, y)[0])[:FOLLOWED]


def _descend(start: Floats, n: Floats, d: Floats, y: Floats) -> tuple[Floats, float]:
    """L-BFGS; the objective is scaled, or its size of 1e-3 would end the search early."""
    scale = 1 / WIDTH**2 / len(y)

    def scaled(theta: Floats) -> tuple[float, Floats]:
        value, slope = _objective(theta, n, d, y)
        return value * scale, slope * scale

    options = {"maxiter": 3000, "maxfun": 6000, "ftol": 1e-14, "gtol": 1e-8, "maxcor": 20}
    optimize = base.scipy("optimize")
    done = optimize.minimize(scaled, start, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(done.x), float(done.fun) / scale
