"""The best sample by score: ``argmax_i s_i`` (best-of-n)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from outthink.core.errors import BadInput, nearest
from outthink.core.nouns import Floats, Ints
from outthink.select.vote import majority

Ties = Literal["majority", "first", "shortest", "random"]
TIES: tuple[str, ...] = get_args(Ties)


def best(
    scores: Sequence[float] | Floats,
    classes: Ints | None = None,
    ties: Ties = "first",
    lengths: Sequence[int] | Ints | None = None,
    rng: np.random.Generator | None = None,
) -> int:
    """The index of the highest score.

    A score that is not a number never wins against one that is.  With ``classes``, a text without an
    answer (-1) does not win while another sample has one.  ``ties``: ``majority`` (of the classes of
    those that tie the most frequent, then the first; needs ``classes``), ``first``, ``shortest`` (of
    ``lengths``, then the first), ``random`` (drawn from ``rng``).
    """
    if ties not in TIES:
        raise BadInput(f"ties={ties!r}{nearest(ties, TIES)}")
    s = np.asarray(scores, dtype=np.float64)
    if s.ndim != 1 or not len(s):
        raise ValueError("no sample to choose from")
    allowed = np.ones(len(s), dtype=bool)
    for wish in (None if classes is None else np.asarray(classes) >= 0, ~np.isnan(s)):
        if wish is not None and (allowed & wish).any():
            allowed &= wish
    if np.isnan(s[allowed]).all():
        top = np.flatnonzero(allowed)
    else:
        top = np.flatnonzero(allowed & (s == s[allowed].max()))
    if ties == "majority":
        if classes is None:
            raise BadInput("ties='majority' needs the classes")
        return int(top[majority(np.asarray(classes)[top])])
    if ties == "shortest":
        if lengths is None:
            raise BadInput("ties='shortest' needs the lengths")
        return int(top[int(np.argmin(np.asarray(lengths)[top]))])
    if ties == "random":
        if rng is None:
            raise BadInput("ties='random' needs a random generator")
        return int(rng.choice(top))
    return int(top[0])
