"""Rules that prefer short texts: who ends first, who is short in a vote.

Lengths are counted where all texts of a row grow by one token at a time, so the order of lengths is the
order in which they end.  With L_(m) the m-th smallest length of those that end,

    first finish        argmin_i L_i                                  (S097, arXiv 2505.18149)
    short-m@k           a vote among the m that end first, a tie to the shortest text
                                                                      (S152, arXiv 2505.17813)
    shortest majority   argmax_a c_a / log l_a, with c_a texts of answer a, of mean length l_a
                                                                      (S066, arXiv 2502.12215)

A race ends when m texts have: the others are cut at L_(m), and all cost sum_i min(L_i, L_(m)).  Classes
and lengths are ``(..., n)``; every rule gives the place of a sample, ``(...)``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats, Ints
from outthink.select.vote import support

Bools = npt.NDArray[np.bool_]


def shortest(lengths: npt.ArrayLike, among: Bools | None = None) -> Ints:
    """The first place of the least length, of those ``among`` (of all where a row has none)."""
    size = np.asarray(lengths, dtype=np.float64)
    if among is not None:
        size = np.where(among | ~among.any(axis=-1, keepdims=True), size, np.inf)
    return np.asarray(size.argmin(axis=-1), dtype=np.int64)


def ended_first(lengths: npt.ArrayLike, m: int, ended: Bools | None = None) -> Bools:
    """Which texts have ended when ``m`` have, ``(..., n)``: of equal lengths the earlier places.

    ``ended`` says which end at all (a text that a limit cuts does not); fewer than ``m`` are all that
    there are.  Where none ends, all count.
    """
    size = np.asarray(lengths, dtype=np.float64)
    able = np.ones(size.shape, dtype=bool) if ended is None else np.asarray(ended, dtype=bool)
    order = np.argsort(np.where(able, size, np.inf), axis=-1, kind="stable")
    rank = np.argsort(order, axis=-1, kind="stable")
    return np.asarray((able & (rank < m)) | ~able.any(axis=-1, keepdims=True))


def race_cost(lengths: npt.ArrayLike, m: int, ended: Bools | None = None) -> Floats:
    """``sum_i min(L_i, L_(m))``: what a race costs that ends with the m-th text to end, ``(...)``.

    Where fewer end, all that the texts cost.
    """
    size = np.asarray(lengths, dtype=np.float64)
    able = np.ones(size.shape, dtype=bool) if ended is None else np.asarray(ended, dtype=bool)
    ends = np.sort(np.where(able, size, np.inf), axis=-1)
    last = ends[..., m - 1 : m] if m <= size.shape[-1] else np.full((*size.shape[:-1], 1), np.inf)
    return np.asarray(np.minimum(size, last).sum(axis=-1), dtype=np.float64)


def short_vote(
    classes: Ints, lengths: npt.ArrayLike, m: int | None = None, ended: Bools | None = None
) -> Ints:
    """The vote of the ``m`` texts that end first (of all without), a tie to the shortest text.

    The shortest text of the class that won stands for it.  ``m = 1`` is first finish.
    """
    c = np.asarray(classes)
    counts = ended_first(lengths, c.shape[-1] if m is None else m, ended)
    votes = support(np.where(counts, c, -1), counts.astype(np.float64))
    # where none of those that count has an answer, the first to end stands for them
    votes = np.where(counts, votes, -1.0)
    return shortest(lengths, votes == votes.max(axis=-1, keepdims=True))


def shortest_majority(classes: Ints, lengths: npt.ArrayLike) -> Ints:
    """The class of the largest ``c / log(l)``, by its shortest text; a tie to the shorter one.

    Lengths below 2 tokens count as 2: the paper's lengths are thousands, and log 1 is no divisor.
    """
    c = np.asarray(classes)
    votes = support(c)
    mean = support(c, np.asarray(lengths, dtype=np.float64)) / np.maximum(votes, 1.0)
    score = votes / np.log(np.maximum(mean, 2.0))
    top = score.max(axis=-1, keepdims=True)
    return shortest(lengths, (score >= top * (1 - 1e-12)) & (votes > 0))
