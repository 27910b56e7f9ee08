"""The best sample by score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outthink.core.nouns import Floats, Ints


def best(scores: Sequence[float] | Floats, classes: Ints | None = None) -> int:
    """The index of the highest score; the earlier one on a tie.

    A score that is not a number never wins against one that is.  With ``classes``, a text without an
    answer (-1) does not win while another sample has one.
    """
    s = np.asarray(scores, dtype=np.float64)
    if not len(s):
        raise ValueError("no sample to choose from")
    s = np.where(np.isnan(s), -np.inf, s)
    order = np.zeros(len(s)) if classes is None else (np.asarray(classes) >= 0).astype(float)
    allowed = order == order.max()
    top = s[allowed].max()
    return int(np.argmax(allowed & (s == top)))
