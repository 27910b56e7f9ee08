"""Votes of rankings: each sample names several answers, the likeliest first.

A ranking is a row of class numbers, filled up with -1; an answer named twice counts where it stood
first, and one that is not named gets nothing.  With m_i answers in ranking i, at ranks 1 ... m_i:

    borda   points(a) = sum_i (m_i + 1 - rank_i(a))
    mrr     points(a) = sum_i 1 / rank_i(a)
    irv     each ranking votes for its first answer that still stands; the answer with the fewest
            votes falls, until one is left

Rankings of one answer each make all three the plain vote.

Source: Wang, Wang and Huang 2025 (arXiv 2505.10772), with the points of its code for rankings of unequal
length.  That code's instant runoff drops the rankings whose first answer fell, which leaves the
plurality of first choices; here they pass on to their next, as the paper says.  Ours: equal answers are
parted by Borda points, then by who was named first.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from outthink.core.errors import BadInput, nearest
from outthink.core.nouns import Floats, Ints

Rule = Literal["borda", "irv", "mrr"]
RULES: tuple[str, ...] = get_args(Rule)


def ranks(rankings: Ints, kinds: int) -> Ints:
    """At which rank, from 1 on, each ranking names each class: ``(..., n, kinds)``; 0 for not at all.

    ``rankings (..., n, m)``; gaps and repetitions are closed.
    """
    r = np.asarray(rankings, dtype=np.int64)
    m = r.shape[-1]
    own = r[..., :, None] == np.arange(kinds)
    named = own.any(axis=-2)
    first = own.argmax(axis=-2)
    # how many different classes were named up to there
    new = np.zeros((*named.shape[:-1], m), dtype=np.int64)
    lanes = np.nonzero(named)
    new[(*lanes[:-1], first[lanes])] = 1
    upto = np.take_along_axis(new.cumsum(axis=-1), first, axis=-1) if m else first
    return np.asarray(np.where(named, upto, 0))


def borda(rankings: Ints, kinds: int) -> Floats:
    """Points of each class, ``(..., kinds)``: the last of a ranking gets 1, each before it one more."""
    at = ranks(rankings, kinds)
    length = at.max(axis=-1, keepdims=True, initial=0)
    return np.asarray(np.where(at > 0, length + 1 - at, 0).sum(axis=-2), dtype=np.float64)


def mean_reciprocal_rank(rankings: Ints, kinds: int) -> Floats:
    """The sum of reciprocal ranks of each class, ``(..., kinds)``."""
    at = ranks(rankings, kinds)
    return np.asarray(np.where(at > 0, 1.0 / np.maximum(at, 1), 0.0).sum(axis=-2))


def instant_runoff(rankings: Ints, kinds: int) -> tuple[Ints, Floats]:
    """In which round each class fell, and the votes that it held then: ``(..., kinds)`` each.

    The winner fell in none: its number is ``kinds``, its votes are those of the last round.  Of those
    with the fewest votes the one with the fewest Borda points falls, then the one with the highest
    number.  Whoever has more than half of the votes that still count cannot fall.
    """
    at = ranks(rankings, kinds)
    points = borda(rankings, kinds)
    place = np.where(at > 0, at, np.iinfo(np.int64).max)
    stands = np.ones((*at.shape[:-2], kinds), dtype=bool)
    fell = np.full(stands.shape, kinds, dtype=np.int64)
    held = np.zeros(stands.shape)
    order = np.arange(kinds)
    for number in range(max(kinds - 1, 1)):
        able = stands[..., None, :] & (at > 0)
        top = np.where(able, place, np.iinfo(np.int64).max).argmin(axis=-1)
        votes = ((top[..., None] == order) & able).sum(axis=-2).astype(np.float64)
        held = np.where(stands, votes, held)
        # the fewest votes, of those the fewest points, of those the highest number
        worst = stands
        for value in (votes, points, np.broadcast_to(-1.0 * order, votes.shape)):
            least = np.where(worst, value, np.inf).min(axis=-1, keepdims=True)
            worst = worst & (value == least)
        fell = np.where(worst & (kinds > 1), number, fell)
        stands = stands & ~worst
    return fell, held


def rank_vote(rankings: Ints, kinds: int, rule: Rule = "borda") -> tuple[Floats, Ints]:
    """The strength of each class, ``(..., kinds)``, and the class that wins, ``(...)``.

    The strength is its points, or the votes that it held when it fell (``irv``).  Of equal points the
    higher Borda points win, then the lower number: number classes in the order of being named.
    """
    if rule not in RULES:
        raise BadInput(f"rule={rule!r}{nearest(str(rule), RULES)}")
    if kinds < 1:
        raise ValueError("a vote needs at least one answer")
    if rule == "irv":
        fell, held = instant_runoff(rankings, kinds)
        return held, np.asarray(fell.argmax(axis=-1))
    points = borda(rankings, kinds)
    strength = points if rule == "borda" else mean_reciprocal_rank(rankings, kinds)
    top = strength.max(axis=-1, keepdims=True)
    level = np.isclose(strength, top, rtol=1e-12, atol=0.0)
    return strength, np.asarray(np.where(level, points, -1.0).argmax(axis=-1))
