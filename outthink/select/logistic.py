"""Logistic regression: the weights that make labels likeliest, held near a centre.

    minimise  sum_i r_i (log(1 + exp(x_i . w)) - y_i x_i . w)  +  1/2 sum_j penalty_j (w_j - centre_j)^2

By Newton's method; the loss is convex, and a step is halved until it helps.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats


def sigmoid(z: npt.ArrayLike) -> Floats:
    """``1 / (1 + exp(-z))``; of NaN it is NaN."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(z, -700.0, 700.0))))


def fit_logistic(
    design: Floats,
    labels: Floats,
    penalty: Floats,
    centre: Floats | None = None,
    weights: Floats | None = None,
    steps: int = 100,
) -> Floats:
    """w ``(k,)`` of ``design (n, k)`` and ``labels (n,)`` in [0, 1], which weigh 1 if not told.

    ``penalty (k,)`` holds w near ``centre (k,)``, 0 if not told; a penalty of 0 holds nothing.
    """
    start = np.zeros(design.shape[1]) if centre is None else np.asarray(centre, dtype=np.float64)
    r = np.ones(len(design)) if weights is None else weights

    def loss(at: Floats) -> float:
        z = design @ at
        held = 0.5 * (penalty * (at - start) ** 2).sum()
        return float((r * (np.logaddexp(0.0, z) - labels * z)).sum() + held)

    now, value = start, loss(start)
    for _ in range(steps):
        p = sigmoid(design @ now)
        slope = design.T @ (r * (labels - p)) - penalty * (now - start)
        curve = (design * (r * p * (1.0 - p))[:, None]).T @ design + np.diag(penalty)
        # where nothing holds a weight the curvature may have no inverse: the shortest step then
        step = np.linalg.lstsq(curve, slope, rcond=None)[0]
        # a loss that rises by rounding alone is no rise
        while (after := loss(now + step)) > value + 1e-12 * abs(value):
            step = step / 2
        now, value = now + step, after
        if np.abs(step).max() < 1e-10:
            break
    return np.asarray(now)
