"""The ``chain`` family: word problems whose answer needs k dependent steps.

Each sentence but the first gives one quantity in terms of an earlier one, so the k-th value needs
all steps before it.  The reference solution writes one step a line and ends with ``answer: N``.
Two dials set the difficulty: ``steps`` (1-12) and ``digits`` (1-4), the length of the largest value.

A problem is a pure function of ``(steps, digits, seed)``.  Its split is decided by a hash of its
text, never by its seed, so no problem of the test split can be met in training by another road.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_STEPS = 12
MAX_DIGITS = 4

NAMES = (
    "Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivan", "Jade", "Kai", "Lena",
    "Milo", "Nora", "Otto", "Pia", "Quin", "Rosa", "Sam", "Tara", "Uma", "Vera", "Will", "Zoe",
)  # fmt: skip
THINGS = (
    "coins", "books", "pens", "cards", "apples", "shells", "stamps", "beads", "nuts", "keys",
)  # fmt: skip

#: The dials of each level: a range of steps, and the numbers of digits to draw from.  Chosen on
#: the dev split (one in twelve medium problems has three digits, which fly can hardly do).
LEVELS: dict[str, tuple[tuple[int, int], tuple[int, ...]]] = {
    "easy": ((2, 4), (1, 2)),
    "medium": ((12, 12), (2,) * 11 + (3,)),
    "hard": ((6, 9), (3,)),
}

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Step:
    """One dependent step: ``left op right = value``."""

    left: int
    op: str
    right: int
    value: int

    def __str__(self) -> str:
        return f"{self.left} {self.op} {self.right} = {self.value}"


@dataclass(frozen=True)
class ChainProblem:
    """A word problem, its true steps and its answer."""

    question: str
    steps: tuple[Step, ...]
    answer: int
    digits: int
    seed: int

    @property
    def solution(self) -> str:
        """The reference solution: one step a line, then ``answer: N``."""
        return "".join(f"{step}\n" for step in self.steps) + f"answer: {self.answer}\n"

    @property
    def split(self) -> str:
        """``"train"``, ``"dev"`` or ``"test"``: decided by a hash of the question alone."""
        return split_of(self.question)


def split_of(question: str) -> str:
    """The split a question belongs to: 8 in 10 train, 1 in 10 dev, 1 in 10 test."""
    bucket = int.from_bytes(hashlib.sha256(question.encode()).digest()[:8], "big") % 10
    return "test" if bucket == 0 else "dev" if bucket == 1 else "train"


def _sentence(name: str, prev: str, op: str, n: int) -> str:
    return {
        "+": f"{name} has {n} more than {prev}.",
        "-": f"{name} has {n} fewer than {prev}.",
        "*": f"{name} has {n} times as many as {prev}.",
        "/": f"{name} has 1/{n} as many as {prev}.",
    }[op]


def _step(rng: random.Random, value: int, cap: int) -> Step:
    """A random step from ``value`` that stays in ``1..cap``."""
    while True:
        op = rng.choice("++--**/")
        if op == "+" and value < cap:
            n = rng.randint(1, cap - value)
            return Step(value, op, n, value + n)
        if op == "-" and value > 1:
            n = rng.randint(1, value - 1)
            return Step(value, op, n, value - n)
        if op == "*" and value * 2 <= cap:
            n = rng.randint(2, min(9, cap // value))
            return Step(value, op, n, value * n)
        if op == "/":
            divisors = [d for d in range(2, 10) if value % d == 0]
            if divisors:
                n = rng.choice(divisors)
                return Step(value, op, n, value // n)


def make(steps: int, digits: int = 2, seed: int = 0) -> ChainProblem:
    """The problem of these dials and seed.

    Raises ``ValueError`` when a dial is out of range.
    """
    if not 1 <= steps <= MAX_STEPS:
        raise ValueError(f"steps={steps}: a chain has 1 to {MAX_STEPS} steps")
    if not 1 <= digits <= MAX_DIGITS:
        raise ValueError(f"digits={digits}: numbers have 1 to {MAX_DIGITS} digits")
    rng = random.Random(f"chain/{steps}/{digits}/{seed}")
    cap = 10**digits - 1
    names = rng.sample(NAMES, steps + 1)
    thing = rng.choice(THINGS)
    value = rng.randint(1, cap)
    lines = [f"{names[0]} has {value} {thing}."]
    done: list[Step] = []
    for i in range(steps):
        step = _step(rng, value, cap)
        lines.append(_sentence(names[i + 1], names[i], step.op, step.right))
        done.append(step)
        value = step.value
    lines.append(f"How many {thing} has {names[steps]}?")
    return ChainProblem(" ".join(lines), tuple(done), value, digits, seed)


def level_problems(level: str, split: str, seed: int = 0) -> Iterator[ChainProblem]:
    """An endless stream of the problems of a level and split, fixed by ``seed``."""
    if level not in LEVELS:
        raise ValueError(f"level={level!r}: the levels are {', '.join(LEVELS)}")
    (low, high), digits = LEVELS[level]
    rng = random.Random(f"level/{level}/{split}/{seed}")
    if split not in SPLITS:
        raise ValueError(f"split={split!r}: the splits are {', '.join(SPLITS)}")
    while True:
        problem = make(rng.randint(low, high), rng.choice(digits), rng.getrandbits(48))
        if problem.split == split:
            yield problem


def stream(
    split: str,
    seed: int = 0,
    steps: tuple[int, int] = (1, MAX_STEPS),
    digits: tuple[int, int] = (1, MAX_DIGITS),
) -> Iterator[ChainProblem]:
    """An endless stream of problems of one split with the dials drawn from these ranges."""
    if split not in SPLITS:
        raise ValueError(f"split={split!r}: the splits are {', '.join(SPLITS)}")
    rng = random.Random(f"stream/{split}/{seed}/{steps}/{digits}")
    while True:
        problem = make(rng.randint(*steps), rng.randint(*digits), rng.getrandbits(48))
        if problem.split == split:
            yield problem


_QUESTION = re.compile(r"\w+ has \d+ \w+\..* How many \w+ has \w+\?", re.DOTALL)


def is_chain(question: str) -> bool:
    """Has the text the shape of a problem of this family?"""
    return _QUESTION.fullmatch(question.strip()) is not None


_LINE = re.compile(r"^(\d+) ([-+*/]) (\d+) = (\d+)$")


def step_labels(problem: ChainProblem, text: str) -> list[bool]:
    """For each finished line of ``text``: is the solution still right after it?

    A line is right when it is literally the next true step, or the true answer line after the last
    step; once a line is wrong, every later line counts as wrong, since it builds on a wrong value.
    Addition and multiplication may name their operands in either order.
    """
    labels: list[bool] = []
    right = True
    lines = text.split("\n")
    for i, line in enumerate(lines[:-1] if text.endswith("\n") else lines):
        if i < len(problem.steps):
            found = _LINE.match(line.strip())
            true = problem.steps[i]
            ok = False
            if found:
                left, op, n, value = int(found[1]), found[2], int(found[3]), int(found[4])
                same = (left, n) == (true.left, true.right)
                swapped = op in "+*" and (n, left) == (true.left, true.right)
                ok = op == true.op and (same or swapped) and value == true.value
        else:
            ok = i == len(problem.steps) and line.strip() == f"answer: {problem.answer}"
        right = right and ok
        labels.append(right)
    return labels


def right_lines(problem: ChainProblem, place: int, previous: int | None) -> tuple[str, ...]:
    """The right texts of line ``place``, given the value that the line before it came to.

    ``previous`` is ``None`` for a line that came to nothing readable: then no line is right.
    """
    if place == 0:
        previous = problem.steps[0].left
    if previous is None or place > len(problem.steps):
        return ()
    if place == len(problem.steps):
        return (f"answer: {previous}",)
    op, n = problem.steps[place].op, problem.steps[place].right
    if op == "/" and previous % n:
        return ()
    value = {"+": previous + n, "-": previous - n, "*": previous * n, "/": previous // n}[op]
    if value < 0:
        return ()
    straight = f"{previous} {op} {n} = {value}"
    return (straight, f"{n} {op} {previous} = {value}") if op in "+*" else (straight,)


def right_so_far(problem: ChainProblem, text: str) -> list[bool]:
    """For each character: is its line, up to there, the beginning of a right one?

    A line is judged by what the text says before it, so a later line may be right after a wrong one.
    """
    out: list[bool] = []
    previous: int | None = None
    for place, line in enumerate(text.split("\n")):
        wanted = [w + "\n" for w in right_lines(problem, place, previous)]
        shown = line + "\n"
        out += [any(w.startswith(shown[:end]) for w in wanted) for end in range(1, len(shown) + 1)]
        found = _LINE.match(line)
        previous = int(found[4]) if found else None
    return out[: len(text)]


def spoiled(problem: ChainProblem, rng: random.Random, share: float) -> str:
    """A solution in which each line is spoiled with probability ``share``; later lines follow it.

    A spoiled line has a wrong result, misreads a number or an operation, or ends too early.
    """
    lines: list[str] = []
    value = problem.steps[0].left
    for step in problem.steps:
        left, op, n = value, step.op, step.right
        kind = rng.choice(("digit", "digit", "near", "near", "left", "right", "op", "end"))
        kind = kind if rng.random() < share else ""
        if kind == "end" and lines:
            break
        if kind == "left":
            left = _misread(rng, left)
        if kind == "right":
            n = _misread(rng, n)
        if kind == "op":
            op = rng.choice([o for o in "+-*/" if o != op])
        value = {"+": left + n, "-": left - n, "*": left * n, "/": left // max(n, 1)}[op]
        if kind == "digit":
            value = _misread(rng, max(value, 0))
        if kind == "near":
            value += rng.choice((-10, -2, -1, 1, 2, 10))
        value = max(value, 0)
        lines.append(f"{left} {op} {n} = {value}")
    last = _misread(rng, value) if rng.random() < share / 4 else value
    return "".join(line + "\n" for line in lines) + f"answer: {last}\n"


def _misread(rng: random.Random, n: int) -> int:
    """``n`` with one digit changed."""
    digits = list(str(n))
    at = rng.randrange(len(digits))
    digits[at] = rng.choice([d for d in "0123456789" if d != digits[at]])
    return int("".join(digits))


def check(problem: ChainProblem, text: str) -> bool:
    """Does the text end in the right ``answer:`` line?  (The outcome only, not the way.)"""
    found = re.findall(r"^answer: (\d+)\s*$", text, flags=re.MULTILINE)
    return bool(found) and int(found[-1]) == problem.answer
