"""Tasks: named sets of problems whose answers are known, and how the command line asks for one.

``fly:...`` are seeded generators without end; ``file`` and the published sets are read from files, ``hub``
from the hub.  A task is a part of the kind ``task``; one's own is a frozen dataclass that derives from
``Task``, registered with ``register("task", name)``.
"""

from __future__ import annotations

import functools
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeVar

from outthink import tasks as families
from outthink.core.errors import BadInput, SpecError, nearest
from outthink.core.grammar import Call, parse
from outthink.core.nouns import Problem
from outthink.core.registry import build, register, spec_of
from outthink.lab.datasets import FORMS, Columns, plain
from outthink.lab.rows import hub_table, is_table, read_table
from outthink.tasks.base import Family, check_dials, level_problems, stream
from outthink.verify.extract import TextReader, reader_for

T = TypeVar("T")


class Task:
    """Problems whose answers are known; a task of one's own has ``problems`` and may say its ``reader``."""

    #: how many problems are meant where nobody says; ``None``: all
    usual: int | None = None

    @property
    def reader(self) -> str | None:
        """The spec of how answers are read (``None``: as the reader ``auto`` does)."""
        return None

    def problems(self, most: int | None = None, seed: int | None = None) -> list[Problem]:
        """The first ``most`` problems (all where ``None``), each with an id of its own.

        ``seed`` decides which, and their order; without it a file stands as it is.
        """
        raise NotImplementedError

    @property
    def spec(self) -> str:
        """The text that names this task."""
        return spec_of(self)


# -- what the command line asks for ----------------------------------------------------------------


@dataclass(frozen=True)
class TaskChoice:
    """``n`` problems of a task after the first ``skip``; ``n=None`` means all (of fly's: 100)."""

    task: Task
    n: int | None = None
    seed: int | None = None
    skip: int = 0

    def __post_init__(self) -> None:
        for name, least in (("n", 1), ("seed", 0), ("skip", 0)):
            value = getattr(self, name)
            if value is None and name != "skip":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise BadInput(f"{name}={value!r:.40} must be a whole number from {least} on")

    def load(self) -> list[Problem]:
        """The problems; ``BadInput`` where there are fewer, or where two have one id."""
        n = self.task.usual if self.n is None else self.n
        most = None if n is None else self.skip + n
        found = self.task.problems(most, self.seed)
        if len(found) < (most or self.skip + 1):
            asked = ([] if n is None else [f"n={n}"]) + ([f"skip={self.skip}"] if self.skip else [])
            listed = f"{', '.join(asked)}: " if asked else ""
            raise BadInput(f"{listed}{spec_of(self.task)} has only {len(found):,} problems")
        chosen = found[self.skip : most]
        seen: set[str] = set()
        for problem in chosen:
            if problem.id in seen:
                raise BadInput(f"{spec_of(self.task)} has two problems of the id {problem.id!r}")
            seen.add(problem.id)
        return chosen

    @property
    def reader(self) -> str | None:
        """How answers are read: as the task says, else as code where there are tests to pass."""
        told = self.task.reader
        return "code" if told is None and self.load()[0].tests else told

    @property
    def spec(self) -> str:
        """The canonical text: ``parse_task(choice.spec) == choice``."""
        options = [("n", self.n), ("seed", self.seed), ("skip", self.skip or None)]
        return spec_of(self.task) + "".join(f",{k}={v}" for k, v in options if v is not None)


_PATH = re.compile(
    r"""\s*(?P<path>[^"'(]*?[^"'(\s])\s*(?P<options>(?:,\s*[A-Za-z]\w*\s*=[^,]*)*)"""
)


def parse_task(text: str) -> TaskChoice:
    """The choice of a text: a task's spec, or the path of a file, and options after commas.

    ``fly:chain(level=hard),n=500``; ``questions.jsonl,n=100,seed=1``.  Options: ``n`` (how many), ``seed``
    (which; of a file, in which order), ``skip`` (leave out so many first).  Raises ``SpecError`` with a
    caret.
    """
    if not isinstance(text, str) or not text.strip():
        raise BadInput(
            "a task is named: write fly:chain, or the path of a file, and n=100 after it"
        )
    bare = _PATH.fullmatch(text)
    path = bare["path"] if bare and is_table(bare["path"]) else ""
    # the grammar stays one: a task and its options are the arguments of a call
    before = text[: text.index(path) + len(path)] if path else ""
    lead = "task(" + (json.dumps(path, ensure_ascii=False) if path else "")
    source = f"{lead}{text[len(before) :]})"
    try:
        return _choice(parse(source))
    except SpecError as error:
        at, reason = max(0, error.at - len(lead) + len(before)), error.reason
        if at >= len(text):  # at the bracket that was put behind it
            early = reason.startswith("unexpected")
            at = len(text.rstrip()) - 1 if early else len(text)
            reason = "a bracket too many" if early else reason.replace("found )", "found the end")
        raise SpecError(reason, text, at) from None


def _choice(tree: Call) -> TaskChoice:
    if not tree.args:
        raise SpecError("the task comes before its options, such as fly:chain,n=100")
    if len(tree.args) > 1:
        raise SpecError("an option is given by its name, such as n=100", "", tree.places[1])
    named, at = tree.args[0], tree.places[0]
    if isinstance(named, str):
        named = Call("file", (named,), at=at, places=(at,))
    if not isinstance(named, Call):
        raise SpecError("a task is named, such as fly:chain, or the path of a file", "", at)
    options: dict[str, Any] = dict(tree.kwargs)
    places = dict(zip(options, tree.places[1:], strict=True))
    known = ("n", "seed", "skip")
    task = build(named, "task")
    for name in options:
        if name not in known:
            inner = f"; write {named.name}({name}=...)" if name in _parameters(task) else ""
            hint = inner or nearest(name, known)
            raise SpecError(f"a task has no option {name[:60]!r}{hint}", "", places[name])
    try:
        return TaskChoice(task, **options)
    except BadInput as error:
        raise SpecError(str(error), "", places[str(error).partition("=")[0]]) from None


def _parameters(task: Task) -> tuple[str, ...]:
    return tuple(getattr(type(task), "__dataclass_fields__", ()))


# -- fly's families --------------------------------------------------------------------------------

Level = Literal["easy", "medium", "hard"]
Split = Literal["train", "dev", "test"]


class _Fly(Task):
    """Problems of one of fly's families, drawn by a seed; a dial that is given replaces the level's.

    Problems of one seed are the same for every ``n``; those that fly learned from are all of the split
    ``train``.
    """

    usual = 100
    level: Level
    split: Split

    def __post_init__(self) -> None:
        try:
            check_dials(self._name, self._dials, self._family.DIALS)
        except ValueError as error:
            raise BadInput(str(error)) from None

    @property
    def _name(self) -> str:
        return str(self.registered[1]).partition(":")[2]  # type: ignore[attr-defined]

    @property
    def _family(self) -> Family:
        return families.family(self._name)

    @property
    def _dials(self) -> dict[str, int]:
        given = {name: getattr(self, name) for name in self._family.DIALS}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def reader(self) -> str:
        """As the family says."""
        return self._family.READER

    def problems(self, most: int | None = None, seed: int | None = None) -> list[Problem]:
        """Draw them; fewer where the dials allow no more."""
        home = self._family
        found: Iterator[Any]
        if self._dials:
            dials = {**home.LEVELS[self.level], **{k: (v,) for k, v in self._dials.items()}}
            found = stream(home, self.split, seed or 0, **dials)
        else:
            found = level_problems(home, self.level, self.split, seed or 0)
        return [self._asked(p) for p in islice(found, self.usual if most is None else most)]

    def _asked(self, made: Any) -> Problem:
        dials = dict(made.dials)
        name = "/".join([made.family, *map(str, dials.values()), f"{made.seed:012x}"])
        return Problem(
            ({"role": "user", "content": made.question},),
            reference=made.answer,
            tests=(made.unit_tests,) if made.family == "program" else (),
            checker=functools.partial(_makes, made) if made.family == "countdown" else None,
            id=name,
            meta={**dials, "solution": made.solution},
        )


_SIGNS = {"\\times": "*", "\\cdot": "*", "\\div": "/", "\\left": "", "\\right": "", "\u00d7": "*",
          "\u00b7": "*", "\u00f7": "/", "\u2212": "-"}  # fmt: skip


def _makes(problem: Any, text: str) -> bool:
    """Does the expression that a text ends with, however it is written, make the target?"""
    said = TextReader().extract(text) or ""
    for sign, plainly in _SIGNS.items():
        said = said.replace(sign, plainly)
    # some go on: "(3 + 4) * 2 = 14"
    expression = said.partition("=")[0].strip()
    return families.family("countdown").check(problem, f"answer: {expression}\n")


@register("task", "fly:chain")
@dataclass(frozen=True)
class Chain(_Fly):
    """Word problems whose answer needs ``steps`` dependent steps, with values up to ``top``."""

    level: Level = "medium"
    split: Split = "test"
    steps: int | None = None
    top: int | None = None


@register("task", "fly:countdown")
@dataclass(frozen=True)
class Countdown(_Fly):
    """Make a target from some ``numbers``, each used once; any right expression counts."""

    level: Level = "medium"
    split: Split = "test"
    numbers: int | None = None
    top: int | None = None
    target: int | None = None


@register("task", "fly:lookup")
@dataclass(frozen=True)
class Lookup(_Fly):
    """Follow a path of ``hops`` among ``facts`` that stand, shuffled, in the question."""

    level: Level = "medium"
    split: Split = "test"
    hops: int | None = None
    facts: int | None = None


@register("task", "fly:program")
@dataclass(frozen=True)
class Program(_Fly):
    """Write a function of some ``lines`` from ``examples`` of what it gives; unit tests decide."""

    level: Level = "medium"
    split: Split = "test"
    lines: int | None = None
    examples: int | None = None


# -- files and the hub -----------------------------------------------------------------------------


def _first(problems: Sequence[T], most: int | None, seed: int | None) -> list[T]:
    """The first of them, in their own order or in one drawn by ``seed``."""
    out = list(problems)
    if seed is not None:
        random.Random(f"task/{seed}").shuffle(out)
    return out[:most]


def _check_reader(kind: str, reader: str | None) -> None:
    try:
        reader_for(Problem.of("?"), reader)
    except BadInput as error:
        raise BadInput(f"{kind}: reader={reader!r}: {error}") from None


@register("task", "file")
@dataclass(frozen=True)
class File(Task):
    """Questions with answers (or options, or tests) from a JSON, JSON-lines, CSV, TSV or Parquet file.

    Columns are found by their usual names; the parameters name them where they are called otherwise.
    With options the answer is a letter, an option's text or its place from 0 on; tests are Python
    statements that fail by an error.
    """

    path: str
    question: str | None = None
    answer: str | None = None
    choices: str | None = None
    tests: str | None = None
    id: str | None = None
    reader: str | None = None

    def __post_init__(self) -> None:
        _check_reader("file", self.reader)

    def problems(self, most: int | None = None, seed: int | None = None) -> list[Problem]:
        """Read the file."""
        named = Columns(self.question, self.answer, self.choices, self.tests, self.id)
        return _first(plain(read_table(self.path), named, self.reader), most, seed)


class _Published(Task):
    """A published set in a file; ``outthink.lab.datasets`` says what its rows hold."""

    path: str

    @property
    def _kind(self) -> str:
        return str(self.registered[1])  # type: ignore[attr-defined]

    @property
    def reader(self) -> str:
        """As the set's answers are read."""
        return FORMS[self._kind][0]

    def problems(self, most: int | None = None, seed: int | None = None) -> list[Problem]:
        """Read the file."""
        return _first(FORMS[self._kind][1](read_table(self.path, self._kind)), most, seed)


@register("task", "gsm8k")
@dataclass(frozen=True)
class Gsm8k(_Published):
    """GSM8K, or a set of its form: the answer is the number after ``####``; the last one is read."""

    path: str


@register("task", "math")
@dataclass(frozen=True)
class Math(_Published):
    """MATH, MATH-500, AIME, AMC: answers in LaTeX, equal as math-verify says."""

    path: str


@register("task", "mmlu")
@dataclass(frozen=True)
class Mmlu(_Published):
    """MMLU, MMLU-Pro, ARC: up to ten options, shown under letters; the letter is read."""

    path: str


@register("task", "humaneval")
@dataclass(frozen=True)
class HumanEval(_Published):
    """HumanEval: functions to be completed; a text may go on from the prompt or write all of it."""

    path: str


@register("task", "mbpp")
@dataclass(frozen=True)
class Mbpp(_Published):
    """MBPP: functions to be written from a sentence and assertions."""

    path: str


@register("task", "hub")
@dataclass(frozen=True)
class Hub(Task):
    """A data set on the Hugging Face hub, read as ``rows`` (``file`` or a published set's name).

    ``hub("openai/gsm8k", split=test, subset=main, rows=gsm8k)``.  It needs the library ``datasets``.
    """

    name: str
    split: str = "test"
    subset: str | None = None
    rows: Literal["file", "gsm8k", "math", "mmlu", "humaneval", "mbpp"] = "file"
    question: str | None = None
    answer: str | None = None
    choices: str | None = None
    tests: str | None = None
    id: str | None = None
    reader: str | None = None

    def __post_init__(self) -> None:
        _check_reader("hub", self.reader)
        if self.rows == "file":
            return
        for role in ("question", "answer", "choices", "tests", "id"):
            if getattr(self, role) is not None:
                raise BadInput(f"hub: {role}={getattr(self, role)!r} is for rows=file alone")
        if self.reader is None:
            object.__setattr__(self, "reader", FORMS[self.rows][0])

    def problems(self, most: int | None = None, seed: int | None = None) -> list[Problem]:
        """Load the split."""
        table = hub_table(self.name, self.subset or "", self.split)
        if self.rows == "file":
            named = Columns(self.question, self.answer, self.choices, self.tests, self.id)
            return _first(plain(table, named, self.reader), most, seed)
        return _first(FORMS[self.rows][1](table), most, seed)
