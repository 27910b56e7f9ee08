"""The ``chain`` family: word problems whose answer needs k dependent steps.

Each sentence but the first gives one quantity in terms of an earlier one, so the k-th value needs
all steps before it.  The reference solution writes one step a line and ends with ``answer: N``.
Two dials set the difficulty: ``steps`` (1-12) and ``top`` (9-9999), the largest value there may be.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from outthink.tasks import base as shared
from outthink.tasks.base import (
    NAMES,
    Level,
    Marked,
    TaskProblem,
    beginnings,
    checked,
    labels_of,
    misread,
    result,
)

NAME = "chain"
READER = "auto"
MAX_STEPS = 12
DIALS = {"steps": (1, MAX_STEPS), "top": (9, 9999)}

THINGS = (
    "coins", "books", "pens", "cards", "apples", "shells", "stamps", "beads", "nuts", "keys",
)  # fmt: skip

#: Chosen on the dev split and frozen.
LEVELS: dict[str, Level] = {
    "easy": {"steps": (4, 5), "top": (9, 20)},
    "medium": {"steps": (8, 10, 12), "top": (50, 99)},
    "hard": {"steps": (12,), "top": (140,)},
}


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
class ChainProblem(TaskProblem):
    """A word problem, its true steps and its answer."""

    steps: tuple[Step, ...]
    #: who has what, in the order of the text: the first name, then one for each step
    names: tuple[str, ...]


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


def make(steps: int = 6, top: int = 99, seed: int = 0) -> ChainProblem:
    """The problem of these dials and seed; ``ValueError`` for a dial out of range."""
    dials = {"steps": steps, "top": top}
    shared.check_dials(NAME, dials, DIALS)
    rng = random.Random(f"chain/{steps}/{top}/{seed}")
    names = rng.sample(NAMES, steps + 1)
    thing = rng.choice(THINGS)
    value = rng.randint(1, top)
    lines = [f"{names[0]} has {value} {thing}."]
    done: list[Step] = []
    for i in range(steps):
        step = _step(rng, value, top)
        lines.append(_sentence(names[i + 1], names[i], step.op, step.right))
        done.append(step)
        value = step.value
    lines.append(f"How many {thing} has {names[steps]}?")
    solution = "".join(f"{step}\n" for step in done) + f"answer: {value}\n"
    return ChainProblem(
        NAME, " ".join(lines), solution, str(value), tuple(dials.items()), seed, tuple(done),
        tuple(names),
    )  # fmt: skip


_QUESTION = re.compile(r"\w+ has \d+ \w+\..* How many \w+ has \w+\?", re.DOTALL)


def is_question(text: str) -> bool:
    """Has the text the shape of a question of this family?"""
    return _QUESTION.fullmatch(text.strip()) is not None


_LINE = re.compile(r"^(\d{1,9}) ([-+*/]) (\d{1,9}) = (\d{1,9})$")


def step_labels(problem: ChainProblem, text: str) -> list[bool]:
    """For each finished line of ``text``: is the solution still right after it?

    A line is right when it is literally the next true step, or the true answer line after the last
    step; once a line is wrong, every later line counts as wrong, since it builds on a wrong value.
    Addition and multiplication may name their operands in either order.
    """
    return labels_of(text, right_so_far(problem, text))


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
    value = result(previous, op, n)
    if value < 0:
        return ()
    straight = f"{previous} {op} {n} = {value}"
    return (straight, f"{n} {op} {previous} = {value}") if op in "+*" else (straight,)


def _right(problem: ChainProblem, text: str) -> list[tuple[str, ...]]:
    """For each line the right texts of it, given the value that the line before it came to."""
    out: list[tuple[str, ...]] = []
    previous: int | None = None
    for place, line in enumerate(text.rstrip("\n").split("\n")):
        out.append(right_lines(problem, place, previous))
        found = _LINE.match(line)
        previous = int(found[4]) if found else None
    return out


def right_so_far(problem: ChainProblem, text: str) -> list[bool]:
    """For each character: is its line, up to there, the beginning of a right one?

    A line is judged by what the text says before it, so a later line may be right after a wrong one.
    """
    return beginnings(text, _right(problem, text))


def spoiled(problem: ChainProblem, rng: random.Random, share: float, tiring: float = 0.0) -> str:
    """A solution in which line ``i`` is spoiled with probability ``share + tiring * i**2``; later lines
    follow it.

    A spoiled line has a wrong result, misreads a number or an operation, or ends too early.
    """
    lines: list[str] = []
    value = problem.steps[0].left
    for place, step in enumerate(problem.steps, 1):
        left, op, n = value, step.op, step.right
        kind = rng.choice(("digit", "digit", "near", "near", "left", "right", "op", "end"))
        kind = kind if rng.random() < share + tiring * place * place else ""
        if kind == "end" and lines:
            break
        if kind == "left":
            left = misread(rng, left)
        if kind == "right":
            n = misread(rng, n)
        if kind == "op":
            op = rng.choice([o for o in "+-*/" if o != op])
        value = result(left, op, n)
        if kind == "digit":
            value = misread(rng, max(value, 0))
        if kind == "near":
            value += rng.choice((-10, -2, -1, 1, 2, 10))
        value = max(value, 0)
        lines.append(f"{left} {op} {n} = {value}")
    last = misread(rng, value) if rng.random() < share / 4 else value
    return "".join(line + "\n" for line in lines) + f"answer: {last}\n"


def check(problem: ChainProblem, text: str) -> bool:
    """Does the text end in the right ``answer:`` line?  (The outcome only, not the way.)"""
    found = re.findall(r"^answer: (\d+)\s*$", text, flags=re.MULTILINE)
    return bool(found) and (found[-1].lstrip("0") or "0") == problem.answer


def false_path(problem: ChainProblem, text: str) -> bool:
    """Is the answer right although a line on the way to it is wrong, or missing?"""
    return check(problem, text) and not all(step_labels(problem, text))


# -- thinking ----------------------------------------------------------------------------------------

_INVERSE = {"+": "-", "-": "+", "*": "/", "/": "*"}
_CLOSE = (-10, -2, -1, 1, 2, 10)


def _undo(step: Step, value: int) -> tuple[str, int]:
    """The sum that leads back from ``value`` to what the step began with, and what it comes to."""
    n, op = step.right, _INVERSE[step.op]
    back = result(value, op, n)
    return f"{value} {op} {n} = {max(back, 0)}", back


def _slip(rng: random.Random, step: Step) -> int:
    """A wrong result of a step, near the right one, whose check does show it."""
    while True:
        wrong = misread(rng, step.value) if rng.random() < 0.5 else step.value + rng.choice(_CLOSE)
        if wrong > 0 and wrong != step.value and _undo(step, wrong)[1] != step.left:
            return wrong


def ending(problem: ChainProblem) -> str:
    """The answer line."""
    return f"answer: {problem.answer}\n"


def thoughts(problem: ChainProblem, rng: random.Random) -> tuple[Marked, str]:
    """Thinking of one of several lengths: some values only, all values, the steps, steps that are
    checked by going back, or the whole twice and, where the two differ, a third time.

    Each line names who it is about, so that none is lost among checks.  A slip is doubted ("wait") and
    mended; slips are read, not learned.
    """
    style = rng.choices(("skip", "values", "steps", "checks", "twice"), (1, 1, 3, 4, 2))[0]
    steps = problem.steps
    if style in ("skip", "values"):
        stride = rng.randint(2, max(2, len(steps))) if style == "skip" else 1
        last = len(steps) - 1
        said = [i for i in range(len(steps)) if i % stride == stride - 1 or i == last]
        lines = "".join(f"{problem.names[i + 1]}: {steps[i].value}\n" for i in said)
        return [(lines, True)], ending(problem)
    if style != "twice":
        share = 0.0 if style == "steps" else rng.choice((0.5, 1.0, 1.0))
        return _pass(problem, rng, share), ending(problem)
    share = rng.choice((0.0, 0.0, 1.0))
    first, came = _astray(problem, rng)
    out = [*first, ("again\n", True), *_pass(problem, rng, share)]
    if came != int(problem.answer):
        out += [("wait\n", True), *_pass(problem, rng, share)]
    return [*out, ("ok\n", True)], ending(problem)


def _pass(problem: ChainProblem, rng: random.Random, share: float) -> Marked:
    """All steps; each is checked with probability ``share``, and a slip is mended at once."""
    out: Marked = []
    for who, step in zip(problem.names[1:], problem.steps, strict=True):
        checked = rng.random() < share
        if rng.random() < 0.12:
            wrong = _slip(rng, step)
            out += [
                (f"{who}: {step.left} {step.op} {step.right} =", True),
                (f" {wrong}", False),
                ("\n", True),
            ]
            out.append(((f"{_undo(step, wrong)[0]} wait\n" if checked else "wait\n"), True))
        out.append((f"{who}: {step}\n", True))
        if checked:
            out.append((f"{_undo(step, step.value)[0]} ok\n", True))
    return out


def _astray(problem: ChainProblem, rng: random.Random) -> tuple[Marked, int]:
    """All steps with, in half of the cases, one slip that nobody sees; and what they come to."""
    slip = rng.randrange(len(problem.steps)) if rng.random() < 0.5 else -1
    out: Marked = []
    value = problem.steps[0].left
    for i, step in enumerate(problem.steps):
        who = problem.names[i + 1]
        right = right_lines(problem, i, value)
        if not right:  # a wrong value that cannot be divided: what would come is not to be learned
            guess = max(1, value // step.right)
            out.append((f"{who}: {value} {step.op} {step.right} = {guess}\n", False))
            value = guess
            continue
        if i == slip:
            value = _slip(rng, step)
            out += [
                (f"{who}: {step.left} {step.op} {step.right} =", True),
                (f" {value}", False),
                ("\n", True),
            ]
            continue
        out.append((f"{who}: {right[0]}\n", True))
        value = int(right[0].rpartition(" ")[2])
    return out, value


def critique(problem: ChainProblem, text: str) -> str:
    """Each line with "ok", up to the first wrong one: what should stand there, and "no"."""
    return checked(text, _right(problem, text), len(problem.steps) + 1)
