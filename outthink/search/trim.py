"""Trimming: how short may the reasoning be asked to be before the answer breaks?

A bisection over a limit on length, of which larger is longer, with two goals.  The texts without a limit
say what the answer is (that of most, a*) and how sure it is (its share, s*).  Texts under the limit t
then are

    correct   where no other answer has more of them than a*, and a* has at least the share s* - slack
    brief     where those with a* are shorter, in the mean, than in the last round that was both

Correct: t is the new upper end, else the lower.  A round that was not both is a miss.  The search ends with
``patience`` + 1 misses in a row (the answer has broken, or the model does not obey), or when the ends are
``gap`` apart.  Its text is the shortest with a* of the rounds that were both.

Source: EDIT, S138 (arXiv 2509.06174): the two goals, the bisection and its patience are the paper's.  The
update is a reconstruction, since no full text was at hand; a* is not taken from all rounds together, since
wrong answers are many where the limit is too tight.  ``ask`` and ``tell``: the caller draws.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.select.short import shortest
from outthink.select.vote import tally


@dataclass
class Trim:
    """The state of one bisection over whole numbers: ``high`` holds, ``low`` does not."""

    high: int
    low: int = 0
    gap: int = 1
    patience: int = 2
    slack: float = 0.25
    #: the class of the answer, -1 before there is one; misses in a row
    answer: int = field(init=False, default=-1)
    misses: int = field(init=False, default=0)
    #: the place of its text among all that were told
    best: int = field(init=False, default=0)
    _share: float = field(init=False, default=0.0)
    _mean: float = field(init=False, default=np.inf)
    _told: int = field(init=False, default=0)

    def start(self, classes: Ints, lengths: Floats) -> None:
        """The texts without a limit: classes and lengths in tokens, ``(m,)``."""
        kinds, votes = tally(classes)
        self.answer = int(kinds[votes.argmax()])
        self._share, self._mean = _carried(self.answer, classes, lengths)
        self._keep(classes, lengths)

    def ask(self) -> int | None:
        """The limit to try next; ``None`` where the search is over."""
        if self.misses > self.patience or self.high - self.low <= self.gap:
            return None
        return (self.low + self.high) // 2

    def tell(self, limit: int, classes: Ints, lengths: Floats) -> None:
        """The texts under a limit; the numbers of classes are those of the rounds before."""
        if self.answer < 0:  # no text had an answer yet
            self.start(classes, lengths)
            self.high = limit
            return
        share, mean = _carried(self.answer, classes, lengths)
        most = float(tally(classes)[1].max()) / len(classes)
        correct = 0 < share >= max(most, self._share - self.slack) - 1e-12
        brief = mean < self._mean
        self.misses = 0 if correct and brief else self.misses + 1
        if correct:
            self.high = limit
        else:
            self.low = limit
        if correct and brief:
            self._mean = mean
            self._keep(classes, lengths)
        else:
            self._told += len(classes)

    def _keep(self, classes: Ints, lengths: Floats) -> None:
        """A round that was both: its shortest text with the answer is the best."""
        self.best = self._told + int(shortest(lengths, np.asarray(classes) == self.answer))
        self._told += len(classes)


def _carried(answer: int, classes: Ints, lengths: Floats) -> tuple[float, float]:
    """The share of an answer, and the mean length of the texts that carry it."""
    mine = np.asarray(classes) == answer
    mean = float(np.asarray(lengths)[mine].mean()) if mine.any() else np.inf
    return float(mine.mean()), mean
