"""Answers that may be withheld: right, wrong or not attempted, and how questions move between the three.

    accuracy A/n,   hallucination B/n,   withheld C/n,   accuracy where it attempts A/(A + B)

Between two levels of thinking on the same questions, what changed among the wrong is, exactly,

    change of B = (C to B + A to B) - (B to C + B to A)

so that one sees whether wrong answers fell because more is known (B to A) or because less is said (B to C),
and whether they rose because more was ventured (C to B).

Source: S105 (Zhao, Hooi and Ng 2025, arXiv 2509.06861), with the letters of its grader.  Cost: none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput
from outthink.core.nouns import Ints

#: right, wrong, not attempted
GRADES = ("A", "B", "C")


def numbers(grades: Sequence[str]) -> Ints:
    """Letters as places in ``GRADES``, ``(n,)``; ``BadInput`` for another letter."""
    odd = sorted({g for g in grades if g not in GRADES})
    if odd:
        raise BadInput(f"grade {odd[0]!r:.20}: a grade is one of {', '.join(GRADES)}")
    return np.array([GRADES.index(g) for g in grades], dtype=np.int64)


def grade(answered: npt.ArrayLike, right: npt.ArrayLike) -> Ints:
    """Grades of runs that gave an answer or none, ``(n,)``."""
    tried = np.asarray(answered, dtype=bool)
    return np.where(tried & np.asarray(right, dtype=bool), 0, np.where(tried, 1, 2)).astype(
        np.int64
    )


@dataclass(frozen=True)
class Shares:
    """Shares of the three grades; ``given`` is the accuracy where it attempts, NaN where it never does."""

    right: float
    wrong: float
    withheld: float

    @classmethod
    def of(cls, grades: Ints) -> Shares:
        """Of grades ``(n,)``."""
        return cls(*(np.bincount(grades, minlength=3) / len(grades)).tolist())

    @property
    def given(self) -> float:
        """Right among those that were attempted."""
        tried = self.right + self.wrong
        return self.right / tried if tried else float("nan")


@dataclass(frozen=True)
class Moves:
    """How many questions moved from each grade (rows) to each (columns), ``(3, 3)``."""

    table: Ints

    @classmethod
    def between(cls, before: Ints, after: Ints) -> Moves:
        """Of the same questions at two levels."""
        if before.shape != after.shape:
            raise BadInput(
                f"{len(before)} and {len(after)} grades: the same questions at two levels"
            )
        return cls(np.bincount(3 * before + after, minlength=9).reshape(3, 3))

    @property
    def change(self) -> int:
        """By how many the wrong answers rose."""
        return int(self.table[:, 1].sum() - self.table[1].sum())

    @property
    def ventured(self) -> int:
        """Newly attempted, and wrong (C to B)."""
        return int(self.table[2, 1])

    @property
    def lost(self) -> int:
        """Right before, wrong now (A to B)."""
        return int(self.table[0, 1])

    @property
    def abstained(self) -> int:
        """Wrong before, withheld now (B to C)."""
        return int(self.table[1, 2])

    @property
    def recalled(self) -> int:
        """Wrong before, right now (B to A)."""
        return int(self.table[1, 0])
