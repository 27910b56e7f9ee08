"""Coverage of samples that come from several sources: prompts, temperatures, models.

With p_d the chance that a sample from source d is right (d drawn with weight w_d), n samples miss with

    stationary    sum_d w_d (1 - p_d)^n            one source, drawn once, for all n
    fresh         (1 - sum_d w_d p_d)^n            a source drawn anew for each sample
    shared out    prod_d (1 - p_d)^{n_d}           n_d = w_d n samples from each

By Jensen's inequality fresh misses no more often than stationary, and by that of the arithmetic and the
geometric mean shared out no more than fresh; all are equal only where the p_d are, and the gaps grow with
their spread.  None of this says that a mixture covers more than its best source: with n large the best
source's (1 - p)^n is the least of all on each problem, but it is not the same source on every problem.

Source: DivSampling (S096, arXiv 2502.11027) for the first two; the third is for samples dealt out evenly,
also over temperatures (S061, arXiv 2510.02611).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats, Ints
from outthink.laws.coverage import pass_table


def stationary(p: npt.ArrayLike, n: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Floats:
    """Coverage of ``n`` samples of one source drawn for all; ``p (..., sources)`` gives ``(...)``."""
    miss = (1.0 - np.asarray(p, dtype=np.float64)) ** np.asarray(n)[..., None]
    return np.asarray(1.0 - np.average(miss, axis=-1, weights=_shares(p, weights)))


def fresh(p: npt.ArrayLike, n: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Floats:
    """Coverage of ``n`` samples, each of a source drawn anew."""
    mean = np.average(np.asarray(p, dtype=np.float64), axis=-1, weights=_shares(p, weights))
    return np.asarray(1.0 - (1.0 - mean) ** np.asarray(n))


def shared_out(p: npt.ArrayLike, n: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Floats:
    """Coverage of ``n`` samples dealt out to the sources by weight (not rounded to whole samples)."""
    shares = _shares(p, weights)
    each = np.asarray(n)[..., None] * shares
    return np.asarray(1.0 - ((1.0 - np.asarray(p, dtype=np.float64)) ** each).prod(axis=-1))


def observed(drawn: Ints, right: Ints, take: npt.ArrayLike) -> Floats:
    """Unbiased coverage of ``take (sources,)`` samples from each source, for each problem.

    ``drawn`` and ``right`` are ``(problems, sources)``: the samples of each that were recorded, and the
    right ones among them.  A subset of each source's is drawn without replacement:
    ``1 - prod_d C(n_d - c_d, k_d) / C(n_d, k_d)``.
    """
    n, c = np.asarray(drawn, dtype=np.int64), np.asarray(right, dtype=np.int64)
    wanted = np.asarray(take, dtype=np.int64)
    if n.ndim != 2 or n.shape != c.shape or wanted.shape != n.shape[1:]:
        raise BadInput(
            f"drawn={n.shape}, right={c.shape}, take={wanted.shape}: (problems, sources) twice, and "
            "one number for each source"
        )
    miss = np.ones(len(n))
    for d, k in enumerate(wanted.tolist()):
        if k:
            miss *= 1.0 - pass_table(n[:, d], c[:, d], [k])[:, 0]
    return 1.0 - miss


def _shares(p: npt.ArrayLike, weights: npt.ArrayLike | None) -> Floats:
    """Weights that sum to 1: equal ones where none are given."""
    sources = np.asarray(p).shape[-1]
    w = np.ones(sources) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (sources,) or (w < 0).any() or not w.sum() > 0:
        raise BadInput(f"weights={w.tolist()}: one for each of {sources} sources, none negative")
    return np.asarray(w / w.sum())
