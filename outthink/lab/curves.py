"""Accuracy as a curve of the logarithm of cost: straight between the points that were measured.

Everything takes many curves at once, ``(..., points)``: the measured one and its bootstrap draws.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats


def by_cost(costs: npt.ArrayLike, accuracy: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Log costs from the cheapest point on, and the accuracies in that order."""
    x, y = np.log(np.asarray(costs, dtype=np.float64)), np.asarray(accuracy, dtype=np.float64)
    order = np.argsort(x, axis=-1, kind="stable")
    return np.take_along_axis(x, order, -1), np.take_along_axis(y, order, -1)


def mean_height(costs: npt.ArrayLike, accuracy: npt.ArrayLike, low: float, high: float) -> Floats:
    """The mean accuracy over log costs from ``low`` to ``high``: the area under the curve by its width.

    Before its first and after its last point a curve is level.
    """
    x, y = by_cost(costs, accuracy)
    start, end = np.log(low), np.log(high)
    area = np.maximum(np.minimum(x[..., 0], end) - start, 0.0) * y[..., 0]
    area = area + np.maximum(end - np.maximum(x[..., -1], start), 0.0) * y[..., -1]
    for i in range(x.shape[-1] - 1):
        a, b = np.clip(x[..., i], start, end), np.clip(x[..., i + 1], start, end)
        middle = _between(x[..., i], x[..., i + 1], y[..., i], y[..., i + 1], (a + b) / 2)
        area = area + (b - a) * middle
    return np.asarray(area / (end - start))


def cost_to_reach(costs: npt.ArrayLike, accuracy: npt.ArrayLike, target: float) -> Floats:
    """The cost at which each curve first has the accuracy ``target``; infinite where it never has.

    That of the cheapest point where this has it already: the least cost that was measured.
    """
    x, y = by_cost(costs, accuracy)
    # a mean of thirds may miss a round number by rounding alone
    reached = y >= target - 1e-9
    i = np.argmax(reached, axis=-1)[..., None]
    before = np.maximum(i - 1, 0)
    x0, x1 = np.take_along_axis(x, before, -1), np.take_along_axis(x, i, -1)
    y0, y1 = np.take_along_axis(y, before, -1), np.take_along_axis(y, i, -1)
    cost = np.exp(_between(y0, y1, x0, x1, np.where(i > 0, target, y0)))[..., 0]
    return np.where(reached.any(axis=-1), cost, np.inf)


def _between(x0: Floats, x1: Floats, y0: Floats, y1: Floats, at: Floats) -> Floats:
    """The straight line through two points; the mean of both where they stand above each other."""
    width = x1 - x0
    part = np.divide(at - x0, width, out=np.full(np.shape(width), 0.5), where=width != 0)
    return np.asarray(y0 + part * (y1 - y0))
