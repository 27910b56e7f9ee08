"""The task families of ``fly``: seeded generators with exact checkers."""

from __future__ import annotations

from importlib import import_module
from itertools import islice
from typing import Any, cast

from outthink.tasks.base import Family, level_problems

FAMILIES = ("chain", "countdown", "lookup", "program")


def family(name: str) -> Family:
    """The family of this name; raises ``ValueError`` where there is none."""
    if name not in FAMILIES:
        raise ValueError(f"family={name!r}: the families are {', '.join(FAMILIES)}")
    return cast(Family, import_module(f"outthink.tasks.{name}"))


def family_of(question: str) -> Family | None:
    """The family whose questions have this shape, if any."""
    for name in FAMILIES:
        found = family(name)
        if found.is_question(question):
            return found
    return None


def check(problem: Any, text: str) -> bool:
    """Does the text end in a right answer to this problem, whatever its family?"""
    return family(problem.family).check(problem, text)


def problems(name: str, level: str, split: str, count: int, seed: int = 0) -> list[Any]:
    """The first ``count`` problems of a family's level and split; fixed by ``seed``."""
    return list(islice(level_problems(family(name), level, split, seed), count))
