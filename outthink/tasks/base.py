"""What the task families share: splits, levels, streams, export.

A family is a module (``chain``, ``countdown``, ``lookup``, ``program``) with the same functions, the
protocol ``Family``.  A problem is a pure function of its dials and its seed; its split is decided by
a hash of its text, never by its seed, so no test problem can be met in training by another road.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

SPLITS = ("train", "dev", "test")

#: names that problems speak of
NAMES = (
    "Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivan", "Jade", "Kai", "Lena",
    "Milo", "Nora", "Otto", "Pia", "Quin", "Rosa", "Sam", "Tara", "Uma", "Vera", "Will", "Zoe",
)  # fmt: skip

#: A text in pieces, and for each piece whether a model should learn to write it: mistakes that a
#: text makes on purpose, to mend them, are read and not learned.
Marked = list[tuple[str, bool]]

#: The dials of a level: for each the values that are drawn from, all equally often.
Level = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class TaskProblem:
    """A problem of a family: what is asked, a reference solution, and the answer.

    ``solution`` ends with the answer in the form that the family's ``check`` reads.
    """

    family: str
    question: str
    solution: str
    answer: str
    dials: tuple[tuple[str, int], ...]
    seed: int

    @property
    def split(self) -> str:
        """``"train"``, ``"dev"`` or ``"test"``: decided by a hash of the question alone."""
        return split_of(self.question)

    def record(self) -> dict[str, Any]:
        """Plain values, as they are exported."""
        return {
            "family": self.family,
            **dict(self.dials),
            "seed": self.seed,
            "split": self.split,
            "question": self.question,
            "solution": self.solution,
            "answer": self.answer,
        }


class Family(Protocol):
    """What every family's module has."""

    NAME: str
    #: how its answers are read (``outthink.verify.extract.TextReader``)
    READER: str
    #: each dial with its smallest and largest value
    DIALS: Mapping[str, tuple[int, int]]
    #: the dials of each level, chosen on dev and frozen
    LEVELS: Mapping[str, Level]

    def make(self, *, seed: int = 0, **dials: int) -> Any:
        """The problem of these dials and seed; ``ValueError`` for a dial out of range."""
        ...

    def is_question(self, text: str) -> bool:
        """Has the text the shape of a question of this family?"""
        ...

    def check(self, problem: Any, text: str) -> bool:
        """Does the text end in a right answer?  (The outcome only, not the way.)"""
        ...

    def step_labels(self, problem: Any, text: str) -> list[bool]:
        """For each finished line: is the solution still right after it?"""
        ...

    def right_so_far(self, problem: Any, text: str) -> list[bool]:
        """For each character: is its line, up to there, the beginning of a right one?"""
        ...

    def false_path(self, problem: Any, text: str) -> bool:
        """Is the answer right and the way to it wrong?"""
        ...

    def spoiled(self, problem: Any, rng: random.Random, share: float) -> str:
        """A solution with mistakes: each line is spoiled with probability ``share``."""
        ...

    def thoughts(self, problem: Any, rng: random.Random) -> tuple[Marked, str]:
        """What may be thought before the answer, of a length and style drawn by ``rng``; and the
        answer as it is then written."""
        ...

    def ending(self, problem: Any) -> str:
        """The answer alone, as it ends a text."""
        ...

    def critique(self, problem: Any, text: str) -> str:
        """A check of a solution, line by line, up to the first mistake."""
        ...


def split_of(question: str) -> str:
    """The split a question belongs to: 8 in 10 train, 1 in 10 dev, 1 in 10 test."""
    bucket = int.from_bytes(hashlib.sha256(question.encode()).digest()[:8], "big") % 10
    return "test" if bucket == 0 else "dev" if bucket == 1 else "train"


def check_split(split: str) -> None:
    """Raise ``ValueError`` for a split that is none."""
    if split not in SPLITS:
        raise ValueError(f"split={split!r}: the splits are {', '.join(SPLITS)}")


def check_dials(
    family: str, given: Mapping[str, int], ranges: Mapping[str, tuple[int, int]]
) -> None:
    """Raise ``ValueError`` for a dial that the family lacks or that is out of its range."""
    for name, value in given.items():
        if name not in ranges:
            raise ValueError(f"{family} has no dial {name!r}; its dials are {', '.join(ranges)}")
        low, high = ranges[name]
        if not low <= value <= high:
            raise ValueError(f"{name}={value}: {family} takes {name} from {low} to {high}")


def level_problems(family: Family, level: str, split: str, seed: int = 0) -> Iterator[Any]:
    """An endless stream of different problems of a level and split, fixed by ``seed``."""
    if level not in family.LEVELS:
        raise ValueError(f"level={level!r}: the levels are {', '.join(family.LEVELS)}")
    check_split(split)
    rng = random.Random(f"level/{level}/{split}/{seed}")
    yield from _stream(family, family.LEVELS[level], split, rng)


def stream(family: Family, split: str, seed: int = 0, **dials: Sequence[int]) -> Iterator[Any]:
    """An endless stream of different problems of one split with the dials drawn from these values."""
    check_split(split)
    level = {k: tuple(dials.get(k, range(a, b + 1))) for k, (a, b) in family.DIALS.items()}
    rng = random.Random(f"{family.NAME}/{split}/{seed}/{level}")
    yield from _stream(family, level, split, rng)


def _stream(family: Family, level: Level, split: str, rng: random.Random) -> Iterator[Any]:
    seen: set[str] = set()
    misses = 0
    while misses < 10_000:
        dials = {name: rng.choice(values) for name, values in level.items()}
        problem = family.make(seed=rng.getrandbits(48), **dials)
        misses += 1
        if problem.split == split and problem.question not in seen:
            seen.add(problem.question)
            misses = 0
            yield problem


def export(problems: Iterable[TaskProblem], path: Path) -> int:
    """Write problems as JSON lines (``TaskProblem.record``); returns how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for problem in problems:
            file.write(json.dumps(problem.record(), ensure_ascii=False) + "\n")
            count += 1
    return count


def result(a: int, op: str, b: int) -> int:
    """``a op b`` for one of ``+-*/``; a division is rounded down, and one by nought is by one."""
    if op == "+":
        return a + b
    if op == "-":
        return a - b
    return a * b if op == "*" else a // (b or 1)


def misread(rng: random.Random, n: int) -> int:
    """``n`` with one digit changed."""
    digits = list(str(n))
    at = rng.randrange(len(digits))
    digits[at] = rng.choice([d for d in "0123456789" if d != digits[at]])
    return int("".join(digits))


def beginnings(text: str, right: Sequence[Sequence[str]]) -> list[bool]:
    """For each character of ``text``: is its line, up to there, the beginning of a right one?

    ``right[i]`` are the right texts of line i, without newline.
    """
    out: list[bool] = []
    for line, wanted in zip(text.split("\n"), right, strict=False):
        shown = line + "\n"
        whole = [w + "\n" for w in wanted]
        out += [any(w.startswith(shown[:end]) for w in whole) for end in range(1, len(shown) + 1)]
    out += [False] * (len(text) - len(out))
    return out[: len(text)]


def labels_of(text: str, so_far: Sequence[bool]) -> list[bool]:
    """For each finished line: was every line up to it right, given the lines before it?"""
    out: list[bool] = []
    right = True
    for place, char in enumerate(text):
        if char == "\n":
            right = right and so_far[place]
            out.append(right)
    return out


def checked(text: str, right: Sequence[Sequence[str]], whole: int) -> str:
    """Each line with "ok", up to the first wrong one: what should stand there, and "no".

    ``right`` is as in ``beginnings``; a text of other than ``whole`` lines ends with "no" too.
    """
    out: list[str] = []
    lines = text.rstrip("\n").split("\n")
    for line, wanted in zip(lines, right, strict=True):
        if line not in wanted:
            return "".join(out) + (f"{wanted[0]} no\n" if wanted else "no\n")
        out.append(f"{line} ok\n")
    return "".join(out) + ("" if len(lines) == whole else "no\n")
