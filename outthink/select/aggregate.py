"""From the scores of steps to the score of a solution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from outthink.core.errors import BadInput, nearest

Aggregate = Literal["last", "min", "product", "mean"]
AGGREGATES: tuple[str, ...] = get_args(Aggregate)


def aggregate(steps: Sequence[float], how: str = "last") -> float:
    """One score from step scores: the last, least, product or mean; NaN where there is no step.

    ``last``: Snell et al. (S050) and Beeching; ``min`` and ``product``: Lightman et al.
    (arXiv 2305.20050).
    """
    if how not in AGGREGATES:
        raise BadInput(f"aggregate={how!r}{nearest(how, AGGREGATES)}")
    if not len(steps):
        return float("nan")
    values = np.asarray(steps, dtype=np.float64)
    if how == "last":
        return float(values[-1])
    if how == "min":
        return float(values.min())
    return float(values.prod() if how == "product" else values.mean())
