"""The shift and the temperature of a model's logits that make given texts likelier.

    L(delta, T) = -1/M sum_t log softmax((z_t + delta B) / T)[y_t] + penalty |delta|^2

z_t are the logits before token y_t, M tokens in all.  B ``(size, vocabulary)`` says what a shift may
move: the columns of the output head, so that delta is a vector of the last hidden state, or one row a
token.  L is convex in delta, and in 1 / T, each for itself.

Made small by Fisher scoring, Newton's method with the curvature that L has in expectation: from
delta = 0, each step halved until L falls enough, T held within bounds.  No rate to choose, some ten
steps.

Source: the calibration step of CarBoN (S086, arXiv 2510.15674), which takes gradient steps.
Cost: a softmax of the M tokens a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats, Ints

#: what is fitted: the shift and the temperature, or one of the two alone
Fits = Literal["both", "shift", "temperature"]


class Slope(NamedTuple):
    """L, its gradient ``(size + 1,)`` in delta and log T, and its expected curvature, a matrix."""

    loss: float
    gradient: Floats
    curvature: Floats


@dataclass(frozen=True, eq=False)
class Shift:
    """What was fitted: ``bias (vocabulary,)`` is delta B; ``losses`` before and after each step."""

    bias: Floats
    delta: Floats
    temperature: float
    losses: tuple[float, ...]


def loss_at(
    delta: Floats,
    temperature: float,
    logits: Floats,
    tokens: Ints,
    basis: Floats,
    penalty: float = 0.0,
) -> Slope:
    """L with its derivatives; ``logits (tokens, vocabulary)``, ``tokens (tokens,)``."""
    u = (logits + delta @ basis) / temperature
    u -= u.max(axis=1, keepdims=True)
    p = np.exp(u)
    total = p.sum(axis=1)
    p /= total[:, None]
    said = u[np.arange(len(tokens)), tokens]
    pu = p * u
    mean = pu.sum(axis=1)
    share = p.mean(axis=0)
    gap = share - np.bincount(tokens, minlength=len(share)) / len(tokens)
    pushed = basis @ gap / temperature + 2.0 * penalty * delta
    value = float(np.mean(np.log(total) - said)) + penalty * float(delta @ delta)
    # the covariance of the slopes of u under p, averaged over the tokens; that in log T is -u
    b, size = basis / temperature, len(delta)
    bp = p @ b.T
    curve = np.empty((size + 1, size + 1))
    curve[:-1, :-1] = (b * share) @ b.T - bp.T @ bp / len(tokens)
    curve[:-1, :-1] += 2.0 * penalty * np.eye(size)
    curve[-1, :-1] = curve[:-1, -1] = mean @ bp / len(tokens) - b @ pu.mean(axis=0)
    curve[-1, -1] = float(np.mean((pu * u).sum(axis=1) - mean**2))
    return Slope(value, np.append(pushed, np.mean(said - mean)), curve)


def token_basis(tokens: Sequence[int] | Ints, vocabulary: int) -> Floats:
    """One row for each token that occurs: a shift of their logits, and of no other's."""
    seen = np.unique(np.asarray(tokens, dtype=np.int64))
    basis = np.zeros((len(seen), vocabulary))
    basis[np.arange(len(seen)), seen] = 1.0
    return basis


def fit_shift(
    logits: npt.ArrayLike,
    tokens: npt.ArrayLike,
    basis: npt.ArrayLike,
    *,
    penalty: float = 1e-3,
    start: float = 1.0,
    bounds: tuple[float, float] = (0.3, 1.5),
    fit: Fits = "both",
    steps: int = 50,
) -> Shift:
    """Make L small from delta = 0 and T = ``start``; it has come to rest before ``steps`` as a rule."""
    z, y = np.asarray(logits, np.float64), np.asarray(tokens, np.int64)
    b = np.asarray(basis, np.float64)
    if z.ndim != 2 or not len(z) or y.shape != (len(z),) or b.ndim != 2 or b.shape[1] != z.shape[1]:
        raise BadInput(
            f"a shift is fitted to logits (tokens, vocabulary), tokens and a basis (size, vocabulary), "
            f"not to the shapes {z.shape}, {y.shape} and {b.shape}"
        )
    if not 0 < bounds[0] <= start <= bounds[1] or penalty < 0:
        raise BadInput(
            f"start={start:g} must lie in the bounds of the temperature, {bounds[0]:g} to "
            f"{bounds[1]:g}, above 0, and penalty={penalty:g} must be at least 0"
        )
    low, high = np.log(bounds)
    free = np.append(np.full(len(b), fit != "temperature"), fit != "shift")
    at, x = loss_at(np.zeros(len(b)), start, z, y, b, penalty), np.zeros(len(free))
    x[-1] = np.log(start)
    losses = [at.loss]
    for _ in range(steps):
        # T stays at a bound while L would have it go beyond
        stuck = (x[-1] <= low and at.gradient[-1] > 0) or (x[-1] >= high and at.gradient[-1] < 0)
        moves = np.flatnonzero(free & ~np.append(np.zeros(len(b), bool), stuck))
        ridge = 1e-9 * np.eye(len(moves))
        push = np.zeros(len(x))
        push[moves] = -np.linalg.solve(
            at.curvature[np.ix_(moves, moves)] + ridge, at.gradient[moves]
        )
        falls, step = float(push @ at.gradient), 1.0
        while falls * step < -1e-10:
            new = x + step * push
            new[-1] = min(max(new[-1], low), high)
            to = loss_at(new[:-1], float(np.exp(new[-1])), z, y, b, penalty)
            if to.loss <= at.loss + 1e-4 * step * falls:
                break
            step /= 2.0
        else:
            break
        x, at = new, to
        losses.append(at.loss)
    return Shift(x[:-1] @ b, x[:-1], float(np.exp(x[-1])), tuple(losses))
