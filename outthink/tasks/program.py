"""The ``program`` family: write a function of a few lines from examples of what it gives.

The question shows ``examples`` pairs; other pairs are kept back as unit tests.  The reference
solution is the function in Python.  The dial ``lines`` (1-4) is the number of statements before
``return x``; ``examples`` (3-8) how many pairs are shown.  Programs are run by a small interpreter of
just these statements, so that nothing a model writes is ever executed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from outthink.tasks import base as shared
from outthink.tasks.base import Level, Marked, TaskProblem

NAME = "program"
READER = "code"
DIALS = {"lines": (1, 4), "examples": (3, 8)}
INPUTS = tuple(range(13))
TESTS = 5
LIMIT = 999

#: Chosen on the dev split and frozen.
LEVELS: dict[str, Level] = {
    "easy": {"lines": (1,), "examples": (4,)},
    "medium": {"lines": (2,), "examples": (5,)},
    "hard": {"lines": (3,), "examples": (6,)},
}

#: a statement: its kind and its numbers
Statement = tuple[str, int, int]


@dataclass(frozen=True)
class ProgramProblem(TaskProblem):
    """The statements of the reference, the pairs shown, and the pairs kept back."""

    statements: tuple[Statement, ...]
    shown: tuple[tuple[int, int], ...]
    tests: tuple[tuple[int, int], ...]

    @property
    def unit_tests(self) -> str:
        """All pairs as Python statements, for the verifier ``python_tests``."""
        return "".join(f"assert f({x}) == {y}\n" for x, y in (*self.shown, *self.tests))


def _effect(statement: Statement) -> str:
    kind, k, bound = statement
    if kind in "+-*%":
        return f"x {kind} {k}"
    if kind in ("max", "min"):
        return f"{kind}(x, {k})"
    return f"if x > {bound}: x {kind[2:]} {k}"


def line_of(statement: Statement) -> str:
    """A statement as it is written."""
    text = _effect(statement)
    return f" {text.replace(': x ', ': x = x ')}" if text.startswith("if") else f" x = {text}"


def apply(statement: Statement, x: int) -> int:
    """What a statement makes of ``x``."""
    kind, k, bound = statement
    if kind.startswith("if"):
        if x <= bound:
            return x
        kind = kind[2:]
    if kind == "+":
        return x + k
    if kind == "-":
        return x - k
    if kind == "*":
        return x * k
    if kind == "%":
        return x % k
    return max(x, k) if kind == "max" else min(x, k)


def _statement(rng: random.Random) -> Statement:
    kind = rng.choice(("+", "+", "-", "*", "*", "%", "max", "min", "if+", "if-", "if*"))
    bound = rng.randint(1, 9) if kind.startswith("if") else 0
    sign = kind.removeprefix("if")
    low, high = {"+": (1, 9), "-": (1, 9), "*": (2, 5), "%": (2, 9)}.get(sign, (2, 20))
    return kind, rng.randint(low, high), bound


def make(lines: int = 2, examples: int = 5, seed: int = 0) -> ProgramProblem:
    """The problem of these dials and seed; ``ValueError`` for a dial out of range."""
    dials = {"lines": lines, "examples": examples}
    shared.check_dials(NAME, dials, DIALS)
    rng = random.Random(f"program/{lines}/{examples}/{seed}")
    while True:
        statements = tuple(_statement(rng) for _ in range(lines))
        table = [run(statements, x) for x in INPUTS]
        if any(abs(y) > LIMIT for y in table) or len(set(table)) < 4:
            continue
        # every statement matters
        shorter = [statements[:i] + statements[i + 1 :] for i in range(lines)]
        if all([run(s, x) for x in INPUTS] != table for s in shorter):
            break
    chosen = rng.sample(INPUTS, examples + TESTS)
    shown = tuple((x, table[x]) for x in sorted(chosen[:examples]))
    tests = tuple((x, table[x]) for x in sorted(chosen[examples:]))
    question = ", ".join(f"f({x}) = {y}" for x, y in shown) + ". Write f."
    code = code_of(statements)
    return ProgramProblem(
        NAME, question, code, code, tuple(dials.items()), seed, statements, shown, tests
    )


def run(statements: Sequence[Statement], x: int) -> int:
    """What the statements make of ``x``, one after the other."""
    for statement in statements:
        x = apply(statement, x)
    return x


def code_of(statements: Sequence[Statement]) -> str:
    """The function in Python."""
    return "def f(x):\n" + "".join(f"{line_of(s)}\n" for s in statements) + " return x\n"


_QUESTION = re.compile(r"f\(\d+\) = -?\d+(?:, f\(\d+\) = -?\d+)*\. Write f\.")


def is_question(text: str) -> bool:
    """Has the text the shape of a question of this family?"""
    return _QUESTION.fullmatch(text.strip()) is not None


# -- reading and running -----------------------------------------------------------------------------

_PLAIN = re.compile(r" +x = x ([-+*%]) (\d{1,4})")
_BOUND = re.compile(r" +x = (max|min)\(x, (\d{1,4})\)")
_GUARD = re.compile(r" +if x > (\d{1,4}): x = x ([-+*]) (\d{1,4})")


def statement_of(line: str) -> Statement | None:
    """The statement that a line is, or ``None``."""
    if found := _PLAIN.fullmatch(line):
        return None if found[1] == "%" and int(found[2]) == 0 else (found[1], int(found[2]), 0)
    if found := _BOUND.fullmatch(line):
        return found[1], int(found[2]), 0
    if found := _GUARD.fullmatch(line):
        return "if" + found[2], int(found[3]), int(found[1])
    return None


def parse(text: str) -> tuple[Statement, ...] | None:
    """The statements of the last function in a text, or ``None`` where it is not whole."""
    lines = text.rstrip("\n").split("\n")
    starts = [i for i, line in enumerate(lines) if line == "def f(x):"]
    if not starts:
        return None
    out: list[Statement] = []
    for line in lines[starts[-1] + 1 :]:
        if line.strip() == "return x" and line.startswith(" "):
            return tuple(out)
        statement = statement_of(line)
        if statement is None or len(out) > 8:
            return None
        out.append(statement)
    return None


def _passes(statements: Sequence[Statement] | None, pairs: Sequence[tuple[int, int]]) -> bool:
    return statements is not None and all(run(statements, x) == y for x, y in pairs)


def check(problem: ProgramProblem, text: str) -> bool:
    """Does the function pass the examples and the tests that were kept back?"""
    return _passes(parse(text), (*problem.shown, *problem.tests))


def false_path(problem: ProgramProblem, text: str) -> bool:
    """Does the function pass all that is shown, and fail what was kept back?

    The examples are what a solver can verify, so this is a right answer by a wrong way: it fits the
    evidence and is not the function.
    """
    found = parse(text)
    return _passes(found, problem.shown) and not _passes(found, problem.tests)


def _completable(pairs: Sequence[tuple[int, int]], values: Sequence[int], more: int) -> bool:
    """Can at most ``more`` statements lead from these values to the wanted ones?  (``more <= 2``.)"""
    wanted = tuple(y for _, y in pairs)
    if tuple(values) == wanted:
        return True
    if more == 0:
        return False
    steps = [tuple(apply(s, v) for v in values) for s in _all_statements()]
    if wanted in steps:
        return True
    return more > 1 and any(
        tuple(apply(s, v) for v in row) == wanted
        for row, s in product(dict.fromkeys(steps), _all_statements())
    )


_EVERY: list[Statement] = []


def _all_statements() -> list[Statement]:
    if not _EVERY:
        for sign, low, high in (("+", 1, 9), ("-", 1, 9), ("*", 2, 5)):
            for k in range(low, high + 1):
                _EVERY.append((sign, k, 0))
                _EVERY.extend(("if" + sign, k, bound) for bound in range(1, 10))
        _EVERY.extend(("%", k, 0) for k in range(2, 10))
        _EVERY.extend((kind, k, 0) for kind in ("max", "min") for k in range(2, 21))
    return _EVERY


def _line_rights(problem: ProgramProblem, text: str) -> list[bool]:
    """For each line: can the function still become right in as many lines as the reference has?"""
    pairs = (*problem.shown, *problem.tests)
    values = [x for x, _ in pairs]
    out: list[bool] = []
    alive, ended = True, False
    for place, line in enumerate(text.rstrip("\n").split("\n")):
        if place == 0:
            alive = line == "def f(x):"
        elif ended:
            alive = False
        elif line == " return x":
            alive = alive and values == [y for _, y in pairs]
            ended = True
        else:
            statement = statement_of(line)
            if statement is None:
                alive = False
            elif alive:
                values = [apply(statement, v) for v in values]
                more = len(problem.statements) - place
                reference = problem.statements[:place]
                on_it = [run(reference, x) for x, _ in pairs] == values
                # three lines ahead are too many to try: only the reference's own way counts
                alive = on_it or (0 <= more <= 2 and _completable(pairs, values, more))
        out.append(alive)
    return out


def right_so_far(problem: ProgramProblem, text: str) -> list[bool]:
    """For each character: can the function, with this line, still become right?  (By line.)"""
    out: list[bool] = []
    for line, right in zip(text.split("\n"), _line_rights(problem, text), strict=False):
        out += [right] * (len(line) + 1)
    return (out + [False] * (len(text) - len(out)))[: len(text)]


def step_labels(problem: ProgramProblem, text: str) -> list[bool]:
    """For each finished line: can the function still become right?"""
    return shared.labels_of(text, right_so_far(problem, text))


# -- mistakes and thinking ---------------------------------------------------------------------------


def _bent(rng: random.Random, statement: Statement) -> Statement:
    """A statement that is nearly the given one, or another."""
    kind, k, bound = statement
    return rng.choice(
        [(kind, max(2, k + rng.choice((-2, -1, 1, 2))), bound), _statement(rng), _statement(rng)]
    )


def spoiled(problem: ProgramProblem, rng: random.Random, share: float) -> str:
    """The function with each statement bent, or left out, with probability ``share``."""
    out: list[Statement] = []
    for statement in problem.statements:
        if rng.random() >= share:
            out.append(statement)
        elif rng.random() < 0.8 or len(problem.statements) == 1:
            out.append(_bent(rng, statement))
    return code_of(out)


def ending(problem: ProgramProblem) -> str:
    """The function."""
    return problem.solution


def _trace(
    statements: Sequence[Statement], pairs: Sequence[tuple[int, int]]
) -> tuple[list[str], bool]:
    """What each statement makes of the shown inputs, line by line; the last says ok or no."""
    values = [x for x, _ in pairs]
    lines: list[str] = []
    for statement in statements:
        values = [apply(statement, v) for v in values]
        lines.append(f"{_effect(statement)}: {' '.join(map(str, values))}")
    right = values == [y for _, y in pairs]
    return lines, right


def thoughts(problem: ProgramProblem, rng: random.Random) -> tuple[Marked, str]:
    """Guesses tried on the examples, statement by statement ("ok", "no"), until one fits.

    Wrong guesses are read, not learned; what they come to is.
    """
    out: Marked = []
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        guess = tuple(_bent(rng, s) if rng.random() < 0.6 else s for s in problem.statements)
        lines, right = _trace(guess, problem.shown)
        if right:
            continue
        for line in lines:
            head, _, rest = line.partition(":")
            out += [(head, False), (f":{rest}\n", True)]
        out.append(("no\n", True))
    lines, _ = _trace(problem.statements, problem.shown)
    return [*out, ("".join(f"{line}\n" for line in lines) + "ok\n", True)], problem.solution


def critique(problem: ProgramProblem, text: str) -> str:
    """What the function's statements make of the examples, and "ok" or "no"."""
    found = parse(text)
    if found is None:
        return "no\n"
    lines, right = _trace(found, problem.shown)
    right = right and check(problem, text)
    return "".join(f"{line}\n" for line in lines) + ("ok\n" if right else "no\n")
