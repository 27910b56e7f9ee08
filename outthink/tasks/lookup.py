"""The ``lookup`` family: follow a path of facts that stand, shuffled, among others in the question.

"Ada's boss is Ben."  The question asks for the end of a path of ``hops`` facts; the others are
there to distract: the same relation of other people, other relations of the same people.  The
reference solution writes one hop a line and ends with ``answer: NAME``.  Dials: ``hops`` (1-6) and
``facts`` (how many stand in the text, at least the hops).
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from itertools import pairwise

from outthink.tasks import base as shared
from outthink.tasks.base import NAMES, Level, Marked, TaskProblem, beginnings, checked, labels_of

NAME = "lookup"
READER = "auto"
DIALS = {"hops": (1, 6), "facts": (1, 60)}

RELATIONS = ("boss", "friend", "coach", "tutor", "agent", "nurse", "guard", "uncle")

#: Chosen on the dev split and frozen.
LEVELS: dict[str, Level] = {
    "easy": {"hops": (1, 2), "facts": (4, 6, 8)},
    "medium": {"hops": (3, 4), "facts": (12, 16)},
    "hard": {"hops": (5, 6), "facts": (24, 32)},
}

#: "``whom``'s ``relation`` is ``who``"
Fact = tuple[str, str, str]


@dataclass(frozen=True)
class LookupProblem(TaskProblem):
    """The facts of the text, and the path that is asked for."""

    facts: tuple[Fact, ...]
    path: tuple[Fact, ...]


def make(hops: int = 3, facts: int = 12, seed: int = 0) -> LookupProblem:
    """The problem of these dials and seed; ``ValueError`` for a dial out of range.

    Fewer ``facts`` than ``hops`` means no distracting ones.
    """
    dials = {"hops": hops, "facts": facts}
    shared.check_dials(NAME, dials, DIALS)
    rng = random.Random(f"lookup/{hops}/{facts}/{seed}")
    people = rng.sample(NAMES, hops + 1)
    path = [(whom, rng.choice(RELATIONS), who) for whom, who in pairwise(people)]
    known = {(whom, relation): who for whom, relation, who in path}
    while len(known) < max(hops, facts):
        near = rng.random()
        whom = rng.choice(people) if near < 0.4 else rng.choice(NAMES)
        relation = rng.choice(path)[1] if near > 0.6 else rng.choice(RELATIONS)
        who = rng.choice(NAMES)
        if who != whom:
            known.setdefault((whom, relation), who)
    told = [(whom, relation, who) for (whom, relation), who in known.items()]
    rng.shuffle(told)
    text = " ".join(f"{whom}'s {relation} is {who}." for whom, relation, who in told)
    asked = "".join(f"'s {relation}" for _, relation, _ in path)
    question = f"{text} Who is {people[0]}{asked}?"
    lines = [f"{whom}'s {relation} is {who}" for whom, relation, who in path]
    solution = "".join(line + "\n" for line in lines) + f"answer: {people[-1]}\n"
    return LookupProblem(
        NAME, question, solution, people[-1], tuple(dials.items()), seed, tuple(told), tuple(path)
    )


_QUESTION = re.compile(r"\w+'s \w+ is \w+\..* Who is \w+(?:'s \w+)+\?", re.DOTALL)


def is_question(text: str) -> bool:
    """Has the text the shape of a question of this family?"""
    return _QUESTION.fullmatch(text.strip()) is not None


def check(problem: LookupProblem, text: str) -> bool:
    """Does the text end in the right ``answer:`` line?  (The outcome only, not the way.)"""
    found = re.findall(r"^answer: (\w+)\s*$", text, flags=re.MULTILINE)
    return bool(found) and found[-1] == problem.answer


_HOP = re.compile(r"(\w+)'s (\w+) is (\w+)")


def _right(problem: LookupProblem, text: str) -> list[list[str]]:
    """For each line the right texts of it, given the name that the line before it came to."""
    known = {(whom, relation): who for whom, relation, who in problem.facts}
    out: list[list[str]] = []
    previous: str | None = problem.path[0][0]
    for place, line in enumerate(text.rstrip("\n").split("\n")):
        if previous is None or place > len(problem.path):
            out.append([])
        elif place == len(problem.path):
            out.append([f"answer: {previous}"])
        else:
            relation = problem.path[place][1]
            who = known.get((previous, relation))
            out.append([] if who is None else [f"{previous}'s {relation} is {who}"])
        found = _HOP.fullmatch(line)
        previous = found[3] if found else None
    return out


def right_so_far(problem: LookupProblem, text: str) -> list[bool]:
    """For each character: is its line, up to there, the beginning of the right hop from where the
    text itself stands?"""
    return beginnings(text, _right(problem, text))


def step_labels(problem: LookupProblem, text: str) -> list[bool]:
    """For each finished line: is the path still right after it?"""
    return labels_of(text, right_so_far(problem, text))


def false_path(problem: LookupProblem, text: str) -> bool:
    """Is the answer right although a hop on the way to it is wrong, or missing?"""
    labels = step_labels(problem, text)
    return check(problem, text) and not (all(labels) and len(labels) == len(problem.path) + 1)


def _other(problem: LookupProblem, rng: random.Random, relation: str, who: str) -> str:
    """Another name, rather one that the facts give for this relation."""
    near = [w for _, r, w in problem.facts if r == relation and w != who]
    return (
        rng.choice(near)
        if near and rng.random() < 0.7
        else rng.choice([n for n in NAMES if n != who])
    )


def spoiled(problem: LookupProblem, rng: random.Random, share: float) -> str:
    """A solution in which each hop is spoiled with probability ``share``; later hops follow it."""
    known = {(whom, relation): who for whom, relation, who in problem.facts}
    lines: list[str] = []
    at = problem.path[0][0]
    for _, relation, _ in problem.path:
        who = known.get((at, relation)) or _other(problem, rng, relation, at)
        if rng.random() < share:
            kind = rng.choice(("who", "who", "relation", "end"))
            if kind == "end" and lines:
                break
            if kind == "relation":
                relation = rng.choice(RELATIONS)
                who = known.get((at, relation), who)
            else:
                who = _other(problem, rng, relation, who)
        lines.append(f"{at}'s {relation} is {who}")
        at = who
    if rng.random() < share / 4:
        at = rng.choice(NAMES)
    return "".join(line + "\n" for line in lines) + f"answer: {at}\n"


def ending(problem: LookupProblem) -> str:
    """The answer line."""
    return f"answer: {problem.answer}\n"


def thoughts(problem: LookupProblem, rng: random.Random) -> tuple[Marked, str]:
    """Thinking of one of several lengths: the names only, the hops, or the hops with doubt: a wrong
    name is looked up again ("wait"); slips are read, not learned."""
    style = rng.choices(("names", "hops", "doubt"), (1, 2, 2))[0]
    out: Marked = []
    for whom, relation, who in problem.path:
        if style == "names":
            out.append((f"{who}\n", True))
            continue
        if style == "doubt" and rng.random() < 0.3:
            wrong = _other(problem, rng, relation, who)
            out += [(f"{whom}'s {relation} is", True), (f" {wrong}", False), ("\nwait\n", True)]
        out.append((f"{whom}'s {relation} is {who}\n", True))
    return out, ending(problem)


def critique(problem: LookupProblem, text: str) -> str:
    """Each line with "ok", up to the first wrong one: what should stand there, and "no"."""
    return checked(text, _right(problem, text), len(problem.path) + 1)
