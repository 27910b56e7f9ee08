"""Which paths are likely: two Weibull distributions fitted to the probabilities of a problem's paths.

    p_i  ~  w Weibull(k_1, s_1) + (1 - w) Weibull(k_2, s_2),
    Weibull(x; k, s) = k/s (x/s)^(k-1) exp(-(x/s)^k),   mean s Gamma(1 + 1/k)

Reasoning pruning (RPC, S084, arXiv 2510.15444): a path is dropped where the component of the smaller
mean is the likelier source of its probability and this is below the mean of all.  The second
condition keeps a bad fit from dropping good paths.

As in the released code: the likelihood of all n paths (equal ones too), the start (w, k_1, s_1, k_2,
s_2) = (0.5, 1, 1, 1.5, 2), and the bounds 0.2 <= w <= 0.8, k and s >= 0.01.  Ours: the maximum is
climbed by expectation and maximisation, for all rows at once, where the code asks scipy's L-BFGS-B;
and shapes end at 1,000, since a component that shrinks onto one value makes the likelihood infinite.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats

START = (0.5, 0.5), (1.0, 1.5), (1.0, 2.0)
SHARES, SHAPES, LEAST_SCALE = (0.2, 0.8), (0.01, 1000.0), 0.01
#: steps of the climb, and of Newton's method for the shapes in each
CLIMB, NEWTON = 200, 2
#: log-probabilities below this count as this: exp of less is 0
FLOOR = -690.0


class Mixture(NamedTuple):
    """Shares, shapes and scales of the two components, ``(..., 2)`` each, the larger mean first."""

    share: Floats
    shape: Floats
    scale: Floats


def _log_pdf(log_x: Floats, shape: Floats, scale: Floats) -> Floats:
    """``(..., 2, n)`` of ``log_x (..., 1, n)`` and parameters ``(..., 2, 1)``."""
    z = log_x - np.log(scale)
    return np.asarray(
        np.log(shape / scale) + (shape - 1) * z - np.exp(np.minimum(shape * z, 690.0))
    )


def _shapes(log_x: Floats, weight: Floats, shape: Floats, scale: Floats | None) -> Floats:
    """Newton's steps towards the likeliest shapes, at the best scales or at given ones.

    With z = log(x / s): sum_i r_i (1/k + z_i - e^(k z_i) z_i) = 0; at the best scale the weights
    r e^(k z) have the sum of r, so it is a matter of the two means of log x.
    """
    total = weight.sum(axis=-1, keepdims=True)
    middle = (weight * log_x).sum(axis=-1, keepdims=True) / total
    base = log_x.max(axis=-1, keepdims=True) if scale is None else np.log(scale)
    z = log_x - base
    for _ in range(NEWTON):
        e = weight * np.exp(np.minimum(shape * z, 600.0))
        ez = e * z
        s0, s1, s2 = (v.sum(axis=-1, keepdims=True) for v in (e, ez, ez * z))
        norm = s0 if scale is None else total
        value = s1 / norm - 1 / shape - (middle - base)
        slope = s2 / norm - ((s1 / norm) ** 2 if scale is None else 0.0) + 1 / shape**2
        step = shape - value / slope
        shape = np.clip(np.clip(step, shape / 4, shape * 4), *SHAPES)
    return np.asarray(shape)


def fit(logprobs: Floats) -> Mixture:
    """The mixture of each row of ``logprobs (..., n)``, log p_i in nats, all finite."""
    # sorted, so that rounding does not depend on the order of the samples
    log_x = np.maximum(np.sort(np.asarray(logprobs, dtype=np.float64)), FLOOR)[..., None, :]
    rows = log_x.shape[:-2]
    share, shape, scale = (np.broadcast_to(np.array(v)[:, None], (*rows, 2, 1)) for v in START)
    for _ in range(CLIMB):
        part = np.log(share) + _log_pdf(log_x, shape, scale)
        r = np.exp(part - part.max(axis=-2, keepdims=True))
        r = np.maximum(r / r.sum(axis=-2, keepdims=True), 1e-12)
        first = np.clip(r[..., :1, :].mean(axis=-1, keepdims=True), *SHARES)
        share = np.concatenate([first, 1 - first], axis=-2)
        free = _shapes(log_x, r, shape, None)
        top = log_x.max(axis=-1, keepdims=True)
        power = (r * np.exp(free * (log_x - top))).sum(axis=-1, keepdims=True)
        best = top + np.log(power / r.sum(axis=-1, keepdims=True)) / free
        bound = best < math.log(LEAST_SCALE)
        scale = np.where(bound, LEAST_SCALE, np.exp(np.maximum(best, math.log(LEAST_SCALE))))
        held = _shapes(log_x, r, shape, np.full_like(scale, LEAST_SCALE)) if bound.any() else free
        shape = np.where(bound, held, free)
    gamma = np.vectorize(math.gamma, otypes=[float])
    order = np.argsort(-(scale * gamma(1 + 1 / shape)), axis=-2, kind="stable")
    return Mixture(*(np.take_along_axis(v, order, axis=-2)[..., 0] for v in (share, shape, scale)))


def likely(logprobs: Floats) -> npt.NDArray[np.bool_]:
    """Which paths of each row are kept, ``(..., n)``; a log-probability of -inf never is."""
    logp = np.asarray(logprobs, dtype=np.float64)
    found = fit(np.where(np.isfinite(logp), logp, FLOOR))
    log_x = np.maximum(logp, FLOOR)[..., None, :]
    density = np.log(found.share)[..., None] + _log_pdf(
        log_x, found.shape[..., None], found.scale[..., None]
    )
    p = np.exp(logp)
    able = (density[..., 0, :] >= density[..., 1, :]) | (p >= p.mean(axis=-1, keepdims=True))
    return np.asarray(able & (logp > -np.inf))
