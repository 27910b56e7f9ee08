"""Verifiers that know the right answer: for the lab, and for problems whose answer is known.

A strategy never sees a problem's reference, so each of them carries its own.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from outthink.core.errors import BadInput
from outthink.core.nouns import Problem, Sample, Score
from outthink.core.registry import register
from outthink.core.run import Run
from outthink.verify.extract import TextReader, canonical_answer, spoken
from outthink.verify.extract import choice as letter_of


def exact_match(text: str, reference: str) -> bool:
    """Has the answer in ``text`` the normal form of ``reference``?"""
    answer = TextReader().extract(text)
    return answer is not None and canonical_answer(answer) == canonical_answer(reference)


def numeric_match(
    text: str, reference: str | float, tolerance: float = 1e-6, relative: bool = True
) -> bool:
    """Is the number in the answer within ``tolerance`` of ``reference``?

    ``|a - r| <= tolerance * max(1, |r|)``, or without the factor where ``relative`` is false.
    """
    answer = TextReader().extract(text)
    return answer is not None and _near(answer, str(reference), tolerance, relative)


def choice_match(text: str, reference: str) -> bool:
    """Is the chosen letter that of ``reference``?"""
    letter = letter_of(spoken(text))
    return letter is not None and letter == (letter_of(reference) or reference.strip().upper())


#: a number beside words and a unit: "about 1,250.5 apples", "v = 3 m/s", "$4 each"; not "2 pi"
_ONE = re.compile(
    r"(?:(?:[a-z]+\s+)+|[a-z]\s*[=:]\s*)?[$\u20ac\u00a3]?\s*"
    r"(?P<number>[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:e[-+]?\d{1,3})?)"
    r"(?:\s+(?!pi\b|and\b)[a-z]+(?:[ /][a-z]+){0,3})?\s*\.?",
    re.IGNORECASE,
)


def _value(answer: str) -> Fraction | None:
    """The number that an answer is: alone, or the only one beside words and a unit."""
    form = canonical_answer(answer)
    with contextlib.suppress(ValueError):  # beyond 4300 digits Python reads no number
        if re.fullmatch(r"-?\d+(?:/\d+)?", form):
            return Fraction(form)
        beside = _ONE.fullmatch(form) or _ONE.fullmatch(answer.strip())
        if beside:
            return Fraction(beside["number"].replace(",", ""))
    return None


def _near(answer: str, reference: str, tolerance: float, relative: bool) -> bool:
    a, r = _value(answer), _value(reference)
    if a is None or r is None:
        return False
    scale = max(Fraction(1), abs(r)) if relative else Fraction(1)
    return abs(a - r) <= Fraction(tolerance) * scale


def _scores(found: Sequence[bool]) -> list[Score]:
    return [Score(float(x)) for x in found]


@register("verifier", "exact")
@dataclass(frozen=True)
class Exact:
    """1 where the answer has the normal form of ``reference``, else 0."""

    reference: str | int | float

    async def __call__(self, problem: Problem, samples: Sequence[Sample], run: Run) -> list[Score]:
        """Compare each answer."""
        wanted = canonical_answer(str(self.reference))
        answers = [run.world.read(s) for s in samples]
        return _scores([a is not None and canonical_answer(a) == wanted for a in answers])


@register("verifier", "numeric")
@dataclass(frozen=True)
class Numeric:
    """1 where the answer is a number near ``reference``: ``|a - r| <= tolerance * max(1, |r|)``."""

    reference: str | int | float
    tolerance: float = 1e-6
    relative: bool = True

    def __post_init__(self) -> None:
        if _value(str(self.reference)) is None:
            raise BadInput(f"numeric: reference={self.reference!r} is not a number")
        if not 0 <= self.tolerance < float("inf"):
            raise BadInput(f"numeric: tolerance={self.tolerance} must be at least 0")

    async def __call__(self, problem: Problem, samples: Sequence[Sample], run: Run) -> list[Score]:
        """Compare each answer."""
        wanted = str(self.reference)
        answers = [run.world.read(s) for s in samples]
        near = [a is not None and _near(a, wanted, self.tolerance, self.relative) for a in answers]
        return _scores(near)


@register("verifier", "choice")
@dataclass(frozen=True)
class Choice:
    """1 where the chosen option is the letter ``reference``, else 0."""

    reference: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-J]", str(self.reference).strip().upper()):
            raise BadInput(f"choice: reference={self.reference!r} must be a letter from A to J")

    async def __call__(self, problem: Problem, samples: Sequence[Sample], run: Run) -> list[Score]:
        """Compare each letter."""
        wanted = self.reference.strip().upper()
        return _scores([letter_of(spoken(s.text)) == wanted for s in samples])


@register("verifier", "regex")
@dataclass(frozen=True)
class Regex:
    """1 where ``pattern`` is found in the text (or is all of the answer: ``where="answer"``), else 0.

    A search is not stopped by the deadline: write no pattern that backtracks without end.
    """

    pattern: str
    where: Literal["text", "answer"] = "text"

    @property
    def judges_text(self) -> bool:
        """Is it the text that is judged, whether an answer can be read from it or not?"""
        return self.where == "text"

    def __post_init__(self) -> None:
        if self.where not in ("text", "answer"):
            raise BadInput(f"regex: where={self.where!r} must be text or answer")
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise BadInput(f"regex: {self.pattern!r} is not a pattern: {error}") from None

    async def __call__(self, problem: Problem, samples: Sequence[Sample], run: Run) -> list[Score]:
        """Search each text."""
        if self.where == "text":
            return _scores([bool(re.search(self.pattern, s.text)) for s in samples])
        answers = [run.world.read(s) for s in samples]
        return _scores([a is not None and bool(re.fullmatch(self.pattern, a)) for a in answers])
