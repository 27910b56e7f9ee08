"""When to stop drawing samples: what a stopping rule sees, and what it is.

A rule is a frozen dataclass, registered as a ``stop``, with one pure method, ``stops(seen)``.  It sees
how a vote stands after a sample, for any number of votes at once: arrays of one shape, which may be
``(rows, n)`` (every sample of many recorded orders), ``(rows,)`` (many orders at one sample) or
``()`` (one live vote).  A vote ends at the first sample at which its rule says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput

Bools = npt.NDArray[np.bool_]
AnyInts = npt.NDArray[np.integer]
#: answers whose votes a rule may look at
TOP = 5


@dataclass(frozen=True, eq=False)
class Running:
    """How votes stand after ``drawn`` samples, in arrays of one shape (or that broadcast to it).

    ``first`` and ``second`` are the votes of the leading class and of the one behind it (equal in a
    tie, 0 where there is none); ``same`` is how many samples at the end have one and the same answer;
    ``left`` is how many more the budget allows.  A text without an answer votes for nothing, and agrees
    only with its like.  ``votes (..., TOP)`` are those of the most frequent answers, the largest first,
    for rules that say ``looks_at_votes``.
    """

    drawn: AnyInts
    first: AnyInts
    second: AnyInts
    same: AnyInts
    left: AnyInts
    votes: AnyInts | None = None

    @classmethod
    def of(cls, classes: AnyInts, budget: int | None = None) -> Running:
        """After each sample of ``classes (..., n)``, -1 for no answer; ``budget`` is n if not given."""
        c = np.asarray(classes)
        if c.ndim == 0 or not c.shape[-1]:
            raise BadInput(f"a vote needs samples, not classes of the shape {c.shape}")
        n = c.shape[-1]
        if budget is not None and budget < n:
            raise BadInput(f"a budget of {budget} samples cannot have drawn {n}")
        kinds, place = np.unique(c, return_inverse=True)
        own = place.reshape(c.shape)[..., None] == np.arange(len(kinds))
        votes = own[..., kinds >= 0].cumsum(axis=-2)
        pad = np.zeros((*c.shape, max(0, TOP - votes.shape[-1])), dtype=votes.dtype)
        top = np.sort(np.concatenate([votes, pad], axis=-1), axis=-1)[..., : -TOP - 1 : -1]
        drawn = np.broadcast_to(np.arange(1, n + 1), c.shape)
        again = np.zeros(c.shape, dtype=bool)
        again[..., 1:] = c[..., 1:] == c[..., :-1]
        # how many were drawn before the run of equal answers that ends here
        before = np.maximum.accumulate(np.where(again, 0, drawn - 1), axis=-1)
        left = (n if budget is None else budget) - drawn
        return cls(drawn, top[..., 0], top[..., 1], drawn - before, left, top)


def fewest(stop: Stop, classes: Sequence[int] | AnyInts, budget: int) -> int:
    """How many more samples a vote must draw before its rule can end it, ``budget - drawn`` at most.

    It ends soonest where all that come agree, with the leader or with the last one.  So many can be
    drawn side by side, and none is drawn that the rule, asked after each, would not have drawn.
    """
    c = np.asarray(classes, dtype=np.int64)
    left = budget - len(c)
    if left <= 1:
        return left
    known = c[c >= 0]
    guesses = {int(np.bincount(known).argmax()) if len(known) else 0, *c[-1:].tolist()}
    soonest = left
    for guess in guesses:
        ahead = np.concatenate([c, np.full(left, guess, dtype=np.int64)])
        ends = np.flatnonzero(stop.stops(Running.of(ahead, budget))[len(c) :])
        soonest = min([soonest, *(ends[:1] + 1).tolist()])
    return soonest


def ending(stop: Stop, classes: Sequence[int] | AnyInts, budget: int) -> int | None:
    """After how many of these samples the rule ends the vote; ``None`` where it goes on."""
    c = np.asarray(classes, dtype=np.int64)
    if not len(c):
        return None
    ends = np.flatnonzero(stop.stops(Running.of(c, budget)))
    return int(ends[0]) + 1 if len(ends) else None


class Stop(Protocol):
    """A stopping rule; ``looks_ahead`` says that it asks what is ``left`` of the budget."""

    looks_ahead: ClassVar[bool]
    #: also ``looks_at_votes = True``, for a rule that asks for more than the first two answers' votes

    def stops(self, seen: Running) -> Bools:
        """Is this the end?  One truth for each vote, of the arrays' shape."""
        ...
