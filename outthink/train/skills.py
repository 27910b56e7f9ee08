"""What ``fly`` is trained on: rows of token ids, one skill each, drawn from a random generator.

A row begins with ``<bos>``, the question and a newline.  Then, by skill:

- ``solve``: the reference solution; in the stage ``skills`` one of ``chain`` has slips (``tiring``);
- ``think``: ``<think>``, a dial (or none), thoughts, ``</think>`` and the answer alone;
- ``revise``: one or two attempts, each after ``<try>``, then ``<try>`` and the right solution;
- ``judge``: a solution between ``<judge>`` and ``<judge>``, then "yes" or "no", half of the time after
  a check written out in ``<think>``.

The dial is a digit: after ``<think>k`` come about ``8 * 2**k`` tokens of thought at most; 0 is none.
It is set in hindsight, from the length that the thoughts have.  Only what a model should write is
learned: not the question, not attempts, not a slip that is then mended.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from outthink.models.fly import MOST, ended
from outthink.models.fly.tokenizer import JUDGE, THINK, THOUGHT, TRY
from outthink.tasks import FAMILIES, chain, family
from outthink.tasks.base import Marked, TaskProblem, result
from outthink.tasks.chain import ChainProblem

#: rows as ``(ids, targets)``; a target is -100 where nothing is learned
Row = tuple[list[int], list[float]]
#: what a row is made of: text or a token, and whether it is learned
Draft = list[tuple[str | int, bool]]
Rows = Callable[[random.Random], list[Row]]

#: tokens of the longest row
LONGEST = 512
#: how many rows of a hundred: by skill, then by family in the order of ``FAMILIES``
MIX: dict[str, tuple[int, int, int, int]] = {
    "drill": (4, 0, 0, 0),
    "solve": (19, 11, 11, 8),
    "think": (12, 5, 4, 2),
    "revise": (7, 1, 1, 1),
    "judge": (9, 2, 2, 1),
}
#: the same with ``own`` attempts
LATER: dict[str, tuple[int, int, int, int]] = {"judge": (15, 2, 2, 1)}
#: how many lines of a reference solution are spoiled to be revised or judged; with own attempts either
#: none or so many that who copies a line in a check, and does not compute it, is often wrong
SHARES, LATER_SHARES = (0.03, 0.08, 0.15, 0.3), (0.0, 0.1, 0.3, 0.5)


def dial_of(tokens: int) -> int:
    """The dial of thoughts of this many tokens: the least k with ``tokens <= 8 * 2**k``, 0 for none."""
    if tokens == 0:
        return 0
    return min(MOST, max(1, math.ceil(math.log2(tokens / 8))))


@dataclass
class Attempts:
    """Texts that the model itself wrote for training problems: by family, dials, seed and text."""

    records: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.by_family: dict[str, list[dict[str, Any]]] = {name: [] for name in FAMILIES}
        for record in self.records:
            self.by_family[record["family"]].append(record)

    def draw(self, name: str, rng: random.Random) -> tuple[TaskProblem, list[str]] | None:
        """A problem and its texts, or ``None`` where there is none of this family."""
        have = self.by_family[name]
        if not have:
            return None
        record = rng.choice(have)
        return problem_of(record), list(record["texts"])


def problem_of(record: dict[str, Any]) -> TaskProblem:
    """The problem that a record of an attempt speaks of."""
    made: TaskProblem = family(record["family"]).make(seed=record["seed"], **record["dials"])
    return made


def draw(name: str, rng: random.Random, dials: Dials) -> TaskProblem:
    """A training problem of a family with this mixture of dials; never one of another split."""
    maker = family(name)
    while True:
        chosen = {dial: rng.choice(values) for dial, values in dials[name].items()}
        problem: TaskProblem = maker.make(seed=rng.getrandbits(48), **chosen)
        if problem.split == "train":
            return problem


Dials = dict[str, dict[str, tuple[int, ...]]]

#: the largest values of arithmetic, as often as they stand here
TOPS = (9, 20, 50, 99, 99, 99, 120, 150, 200, 300, 500, 999)
#: the dials that training problems are drawn with, values as often as they stand here
DIALS: Dials = {
    "chain": {"steps": tuple(range(1, 13)), "top": TOPS},
    "countdown": {"numbers": (3, 3, 4, 4, 5), "top": (10, 12, 15), "target": (40, 60, 99)},
    "lookup": {"hops": (1, 1, 2, 2, 3, 4, 5, 6), "facts": (3, 4, 5, 6, 8, 10, 12, 16, 24)},
    "program": {"lines": (1, 1, 1, 2, 2, 3), "examples": (4, 5, 6)},
}


class Writer:
    """Turns problems into rows with a Hugging Face tokenizer; encodes many texts at once."""

    def __init__(
        self,
        tokenizer: Any,
        attempts: Attempts | None = None,
        own: float = 0.0,
        tiring: float = 0.0,
    ) -> None:
        self.tokenizer = tokenizer
        later = attempts is not None
        self.attempts = attempts or Attempts()
        self.own = own
        self.tiring = tiring
        ids = {name: tokenizer.token_to_id(name) for name in (THINK, THOUGHT, TRY, JUDGE)}
        self.think, self.thought, self.again, self.judge = ids.values()
        self.shares = LATER_SHARES if later else SHARES
        self.table = [
            (skill, name, weight)
            for skill, weights in (MIX | LATER if later else MIX).items()
            for name, weight in zip(FAMILIES, weights, strict=True)
            if weight
        ]

    def rows(self, rng: random.Random, count: int = 64) -> list[Row]:
        """``count`` rows of the mixture; the few that are longer than ``LONGEST`` are left out."""
        kinds = rng.choices(self.table, [w for _, _, w in self.table], k=count)
        drafts = [self._draft(skill, name, rng) for skill, name, _ in kinds]
        return [row for row in self.encode(drafts) if len(row[0]) <= LONGEST]

    def encode(self, drafts: Sequence[Draft]) -> list[Row]:
        """Rows of drafts: pieces of text or token ids, each with whether it is learned.

        ``-1`` stands for the dial of the thoughts that follow.
        """
        texts = [piece for draft in drafts for piece, _ in draft if isinstance(piece, str)]
        encoded = iter([e.ids for e in self.tokenizer.encode_batch(texts)])
        out: list[Row] = []
        for draft in drafts:
            ids, marks, dial = [1], [False], -1
            for piece, learn in draft:
                if piece == -1:
                    dial = len(ids)
                    continue
                if piece == self.thought and dial >= 0:
                    told = self.tokenizer.token_to_id(str(dial_of(len(ids) - dial - 1)))
                    ids.insert(dial, told)
                    marks.insert(dial, False)
                    dial = -1
                some = [piece] if isinstance(piece, int) else next(encoded)
                ids += some
                marks += [learn] * len(some)
            ids.append(2)
            marks.append(marks[-1])
            targets = [float(i) if m else -100.0 for i, m in zip(ids, marks, strict=True)]
            out.append((ids, targets))
        return out

    def _draft(self, skill: str, name: str, rng: random.Random) -> Draft:
        if skill == "drill":
            return drill(rng)
        if skill == "solve":
            problem = draw(name, rng, DIALS)
            text = problem.solution
            if self.tiring and isinstance(problem, ChainProblem):
                text = chain.spoiled(problem, rng, 0.0, self.tiring)
            return [(problem.question + "\n", False), (text, True)]
        if skill == "think":
            return self._thinking(name, rng)
        found = self.attempts.draw(name, rng) if rng.random() < self.own else None
        if found is None:
            problem = draw(name, rng, DIALS)
            share = rng.choice(self.shares)
            texts = [family(name).spoiled(problem, rng, share) for _ in range(2)]
        else:
            problem, texts = found
            rng.shuffle(texts)
        if skill == "revise":
            return self._revision(problem, texts, rng)
        return self._judgement(problem, texts[0], rng)

    def _thinking(self, name: str, rng: random.Random) -> Draft:
        problem = draw(name, rng, DIALS)
        maker = family(name)
        head: Draft = [(problem.question + "\n", False), (self.think, False)]
        if rng.random() < 0.12:
            marked: Marked = []
            answer = maker.ending(problem)
        else:
            marked, answer = maker.thoughts(problem, rng)
        if not marked or rng.random() < 0.75:
            head.append((-1, False))
        body: Draft = [("\n", False), *marked]
        return [*head, *body, (self.thought, True), ("\n" + answer, True)]

    def _revision(self, problem: TaskProblem, texts: list[str], rng: random.Random) -> Draft:
        shown = texts[: 2 if rng.random() < 0.25 else 1]
        out: Draft = [(problem.question + "\n", False)]
        for text in shown:
            out += [(self.again, False), (ended(text), False)]
        return [*out, (self.again, False), (problem.solution, True)]

    def _judgement(self, problem: TaskProblem, text: str, rng: random.Random) -> Draft:
        maker = family(problem.family)
        right = maker.check(problem, text) and not maker.false_path(problem, text)
        out: Draft = [
            (problem.question + "\n", False),
            (self.judge, False),
            (ended(text), False),
            (self.judge, False),
        ]
        if rng.random() < 0.5:
            check = maker.critique(problem, text)
            out += [
                (self.think, False),
                ("\n", False),
                (check, True),
                (self.thought, True),
                ("\n", True),
            ]
        return [*out, ("yes\n" if right else "no\n", True)]


def drill(rng: random.Random) -> Draft:
    """Bare arithmetic, a line each, as it occurs in solutions: what pretraining text is to others."""
    out: Draft = []
    for _ in range(16):
        cap = rng.choice(TOPS)
        op = rng.choice("+-*/")
        if op in "+-":
            a, b = rng.randint(1, cap), rng.randint(1, cap)
            a, b = (max(a, b), min(a, b)) if op == "-" else (a, b)
        else:
            b = rng.randint(2, 9)
            a = rng.randint(1, max(1, cap // b))
            a = a * b if op == "/" else a
        out += [(f"{a} {op} {b} =", False), (f" {result(a, op, b)}\n", True)]
    return out
