"""The ``countdown`` family: make a target from some numbers, each used once.

The reference solution writes one operation a line with the numbers that are left, and ends with
``answer:`` and the expression.  Thinking is a search written out: operations are tried, dead ends
are left ("back"), until the target is met.  Dials: ``numbers`` (3-5), ``top`` (the largest number
given) and ``target`` (the largest target).  Values stay whole, positive and below 1,000; times 1 and
divided by 1 are no steps.  Sources of the game: Stream of Search (arXiv 2404.03683), and the Game of 24
of Tree of Thoughts (arXiv 2305.10601).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from outthink.tasks import base as shared
from outthink.tasks.base import Level, Marked, TaskProblem, beginnings, labels_of, misread, result

NAME = "countdown"
READER = "auto"
DIALS = {"numbers": (3, 5), "top": (5, 50), "target": (10, 200)}
LIMIT = 999

#: Chosen on the dev split and frozen.
LEVELS: dict[str, Level] = {
    "easy": {"numbers": (3,), "top": (10,), "target": (40,)},
    "medium": {"numbers": (4,), "top": (10,), "target": (40,)},
    "hard": {"numbers": (5,), "top": (15,), "target": (99,)},
}

#: an operation on two of the numbers: left, sign, right, value
Move = tuple[int, str, int, int]


@dataclass(frozen=True)
class CountdownProblem(TaskProblem):
    """Numbers, the target, and the moves of the reference solution."""

    numbers: tuple[int, ...]
    target: int
    moves: tuple[Move, ...]


def _moves(numbers: tuple[int, ...]) -> list[Move]:
    """Every operation on two of the numbers (positions in order), larger number first."""
    out: list[Move] = []
    seen: set[tuple[int, int]] = set()
    for i in range(len(numbers)):
        for j in range(i + 1, len(numbers)):
            a, b = max(numbers[i], numbers[j]), min(numbers[i], numbers[j])
            if (a, b) in seen:
                continue
            seen.add((a, b))
            if a + b <= LIMIT:
                out.append((a, "+", b, a + b))
            if a > b:
                out.append((a, "-", b, a - b))
            if b > 1:
                if a * b <= LIMIT:
                    out.append((a, "*", b, a * b))
                if a % b == 0:
                    out.append((a, "/", b, a // b))
    return out


def _after(numbers: tuple[int, ...], move: Move) -> tuple[int, ...]:
    """The numbers that are left after a move: the others in order, then its value."""
    left = list(numbers)
    left.remove(move[0])
    left.remove(move[2])
    return (*left, move[3])


@lru_cache(maxsize=200_000)
def reachable(numbers: tuple[int, ...], target: int) -> bool:
    """Can the target be made from these numbers, each used once?  (``numbers`` sorted.)"""
    if len(numbers) == 1:
        return numbers[0] == target
    if len(numbers) == 2:
        return any(m[3] == target for m in _moves(numbers))
    return any(reachable(tuple(sorted(_after(numbers, m))), target) for m in _moves(numbers))


def _line(move: Move, left: tuple[int, ...]) -> str:
    """A step as it is written: the operation, and what is left unless it is the last."""
    text = f"{move[0]} {move[1]} {move[2]} = {move[3]}"
    return text + (f" left {' '.join(map(str, left))}" if len(left) > 1 else "")


def _expression(numbers: tuple[int, ...], moves: tuple[Move, ...]) -> str:
    """The moves as one expression with brackets around every part."""
    parts: list[tuple[int, str]] = [(n, str(n)) for n in numbers]

    def take(value: int) -> str:
        at = next(i for i, (v, _) in reversed(list(enumerate(parts))) if v == value)
        return parts.pop(at)[1]

    for a, op, b, value in moves:
        parts.append((value, f"({take(a)} {op} {take(b)})"))
    return parts[-1][1][1:-1]


def make(numbers: int = 4, top: int = 12, target: int = 60, seed: int = 0) -> CountdownProblem:
    """The problem of these dials and seed; ``ValueError`` for a dial out of range."""
    dials = {"numbers": numbers, "top": top, "target": target}
    shared.check_dials(NAME, dials, DIALS)
    rng = random.Random(f"countdown/{numbers}/{top}/{target}/{seed}")
    while True:
        given = tuple(rng.randint(1, top) for _ in range(numbers))
        left, moves = given, list[Move]()
        while len(left) > 1:
            signs = rng.choice("++--**/")
            found = [m for m in _moves(left) if m[1] == signs] or _moves(left)
            move = rng.choice(found)
            moves.append(move)
            left = _after(left, move)
        if 2 <= left[0] <= target and left[0] not in given:
            break
    return _problem(given, left[0], tuple(moves), tuple(dials.items()), seed)


def _problem(
    given: tuple[int, ...],
    target: int,
    moves: tuple[Move, ...],
    dials: tuple[tuple[str, int], ...],
    seed: int,
) -> CountdownProblem:
    *some, last = map(str, given)
    question = f"Use {', '.join(some)} and {last} to make {target}."
    lines, left = list[str](), given
    for move in moves:
        left = _after(left, move)
        lines.append(_line(move, left))
    answer = _expression(given, moves)
    solution = "".join(f"{line}\n" for line in lines) + f"answer: {answer}\n"
    return CountdownProblem(NAME, question, solution, answer, dials, seed, given, target, moves)


_QUESTION = re.compile(r"Use (\d+(?:, \d+)* and \d+) to make (\d+)\.")


def is_question(text: str) -> bool:
    """Has the text the shape of a question of this family?"""
    return _QUESTION.fullmatch(text.strip()) is not None


# -- checking ----------------------------------------------------------------------------------------

_TOKEN = re.compile(r"\s*(\d{1,4}|[-+*/()])")


def value_of(expression: str) -> tuple[int, tuple[int, ...]] | None:
    """What an expression comes to and the numbers in it; ``None`` where it is none or not whole."""
    tokens, at = list[str](), 0
    text = expression.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or len(tokens) > 60:
            return None
        tokens.append(found[1])
        at = found.end()
    used: list[int] = []
    place = 0

    def peek() -> str:
        return tokens[place] if place < len(tokens) else ""

    def factor() -> int:
        nonlocal place
        token = peek()
        place += 1
        if token == "(":
            value = total()
            if peek() != ")":
                raise ValueError("a bracket is open")
            place += 1
            return value
        if not token.isdigit():
            raise ValueError("a number is missing")
        used.append(int(token))
        return int(token)

    def joined(signs: tuple[str, str], part: Callable[[], int]) -> int:
        nonlocal place
        value = part()
        while peek() in signs:
            op = peek()
            place += 1
            other = part()
            if op == "/" and (other == 0 or value % other):
                raise ValueError("not whole")
            value = result(value, op, other)
        return value

    def product() -> int:
        return joined(("*", "/"), factor)

    def total() -> int:
        return joined(("+", "-"), product)

    try:
        value = total()
    except ValueError:
        return None
    return (value, tuple(used)) if place == len(tokens) else None


_ANSWER = re.compile(r"^answer: (.+?)\s*$", re.MULTILINE)


def check(problem: CountdownProblem, text: str) -> bool:
    """Does the last answer line use every number once and come to the target?"""
    found = _ANSWER.findall(text)
    got = value_of(found[-1]) if found else None
    return (
        got is not None and got[0] == problem.target and sorted(got[1]) == sorted(problem.numbers)
    )


_STEP = re.compile(r"(\d{1,4}) ([-+*/]) (\d{1,4}) = (\d{1,4})(?: left ((?:\d{1,4} ?)+))?")


def _read(line: str, numbers: tuple[int, ...]) -> tuple[Move, tuple[int, ...]] | None:
    """The move of a line and what is left after it, if the line is a true step from ``numbers``."""
    found = _STEP.fullmatch(line)
    if found is None:
        return None
    a, op, b, value = int(found[1]), found[2], int(found[3]), int(found[4])
    have = list(numbers)
    for n in (a, b):
        if n not in have:
            return None
        have.remove(n)
    true = -1 if op == "/" and (b == 0 or a % b) else result(a, op, b)
    left = tuple(int(n) for n in (found[5] or str(value)).split())
    if value != true or value < 1 or sorted(left) != sorted((*have, value)):
        return None
    return (a, op, b, value), left


def _right(problem: CountdownProblem, text: str) -> list[list[str]]:
    """For each line: itself where it is right, else what the reference has there."""
    out: list[list[str]] = []
    numbers: tuple[int, ...] | None = problem.numbers
    for line in text.rstrip("\n").split("\n"):
        if numbers is None or len(numbers) == 1:
            good = check(problem, line + "\n") and numbers is not None
            out.append([line] if good else [])
            numbers = None
            continue
        read = _read(line, numbers)
        if read is not None and reachable(tuple(sorted(read[1])), problem.target):
            out.append([line])
            numbers = read[1]
        else:
            here = numbers
            fair = [
                m for m in _moves(here) if reachable(tuple(sorted(_after(here, m))), problem.target)
            ]
            out.append([_line(m, _after(here, m)) for m in fair])
            numbers = read[1] if read is not None else None
    return out


def right_so_far(problem: CountdownProblem, text: str) -> list[bool]:
    """For each character: is its line, up to there, the beginning of a true step from which the
    target can still be reached?  (The label is exact: what is left is searched through.)"""
    return beginnings(text, _right(problem, text))


def step_labels(problem: CountdownProblem, text: str) -> list[bool]:
    """For each finished line: are all lines true, and can the target still be reached?"""
    return labels_of(text, right_so_far(problem, text))


def false_path(problem: CountdownProblem, text: str) -> bool:
    """Is the expression right although the lines do not lead to it?"""
    labels = step_labels(problem, text)
    return check(problem, text) and not (all(labels) and len(labels) == len(problem.numbers))


# -- mistakes and thinking ---------------------------------------------------------------------------


def spoiled(problem: CountdownProblem, rng: random.Random, share: float) -> str:
    """A solution in which each line is spoiled with probability ``share``; later lines follow it.

    A spoiled line has a wrong result, or a true one that leads nowhere; the answer may be miswritten.
    """
    left, lines, moves = problem.numbers, list[str](), list[Move]()
    astray = False
    for reference in problem.moves:
        astray = astray or rng.random() < share
        move = rng.choice(_moves(left)) if astray else reference
        if rng.random() < share / 2:
            move = (*move[:3], max(1, misread(rng, move[3])))
            astray = True
        left = _after(left, move)
        moves.append(move)
        lines.append(_line(move, left))
    answer = _expression(problem.numbers, tuple(moves))
    if rng.random() < share / 4:
        places = [i for i, c in enumerate(answer) if c.isdigit()]
        at = rng.choice(places)
        answer = answer[:at] + rng.choice("123456789") + answer[at + 1 :]
    return "".join(line + "\n" for line in lines) + f"answer: {answer}\n"


def _search(
    problem: CountdownProblem, rng: random.Random, most: int
) -> tuple[list[str], tuple[Move, ...]]:
    """A depth-first search as lines, and the moves that were found.

    Moves are tried in an order that prefers those near the target; after ``most`` lines the rest of
    the dead ends are left out, as if the right move had come to mind.
    """
    lines: list[str] = []
    target = problem.target

    def order(numbers: tuple[int, ...]) -> list[Move]:
        return sorted(
            _moves(numbers), key=lambda m: rng.random() + (0.5 if m[3] > 2 * target else 0.0)
        )

    def visit(numbers: tuple[int, ...], moves: tuple[Move, ...]) -> tuple[Move, ...] | None:
        tries = order(numbers)
        if len(numbers) == 2:
            hit = [m for m in tries if m[3] == target]
            if hit:
                lines.append(_line(hit[0], _after(numbers, hit[0])))
                return (*moves, hit[0])
            near = min(tries, key=lambda m: abs(m[3] - target))
            lines.append(_line(near, _after(numbers, near)) + " no")
            return None
        for move in tries:
            left = _after(numbers, move)
            if len(lines) >= most and not reachable(tuple(sorted(left)), target):
                continue
            lines.append(_line(move, left))
            found = visit(left, (*moves, move))
            if found is not None:
                return found
            lines.append(f"back {' '.join(map(str, numbers))}")
        return None

    found = visit(problem.numbers, ())
    assert found is not None
    return lines, found


def ending(problem: CountdownProblem) -> str:
    """The answer line with the expression of the reference."""
    return f"answer: {problem.answer}\n"


def thoughts(problem: CountdownProblem, rng: random.Random) -> tuple[Marked, str]:
    """A search written out: steps, dead ends ("no", "back"), until the target is met."""
    lines, moves = _search(problem, rng, rng.choice((0, 2, 4, 8, 16, 24)))
    said = "".join(line + "\n" for line in lines)
    return [(said, True)], f"answer: {_expression(problem.numbers, moves)}\n"


def found_in(problem: CountdownProblem, text: str) -> str | None:
    """The expression of the path that a search ends with, or ``None``."""
    path: list[tuple[tuple[int, ...], Move]] = []
    numbers = problem.numbers
    for line in text.rstrip("\n").split("\n"):
        if line.startswith("back "):
            if not path:
                return None
            numbers, _ = path.pop()
            continue
        read = _read(line.removesuffix(" no"), numbers)
        if read is None:
            return None
        if line.endswith(" no"):
            continue
        path.append((numbers, read[0]))
        numbers = read[1]
    if len(numbers) != 1 or numbers[0] != problem.target:
        return None
    return _expression(problem.numbers, tuple(move for _, move in path))


def critique(problem: CountdownProblem, text: str) -> str:
    """Each line with "ok", up to the first that is untrue or leads nowhere ("no")."""
    out: list[str] = []
    for line, right in zip(text.rstrip("\n").split("\n"), _right(problem, text), strict=True):
        if line not in right:
            return "".join(out) + "no\n"
        out.append(f"{line} ok\n")
    return "".join(out) + ("" if check(problem, text) else "no\n")
