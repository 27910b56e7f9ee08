"""Levels of difficulty, told by how far a few samples agree, and what to do at each.

A plan is made from measurements by ``outthink.laws.plan`` (Snell et al., S050, arXiv 2408.03314) and
kept in a file; this is what running one needs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outthink.core.errors import BadInput
from outthink.core.grammar import Call, parse

FORMAT = 1
#: samples of a probe at most
MOST_PROBES = 10_000


@dataclass(frozen=True)
class Level:
    """Problems whose first samples agree at least ``agreement`` (share of the leading answer), and the
    spec of the strategy for them."""

    agreement: float
    strategy: str


#: the probe and the levels where nothing was measured: what agrees is taken, what does not gets more
UNPLANNED = (4, (Level(0.0, "self_consistency(n=16)"), Level(1.0, "self_consistency(n=4)")))


def _names(tree: Any, name: str) -> bool:
    """Does a spec's tree name this anywhere?"""
    if isinstance(tree, Call):
        inner = [*tree.args, *(value for _, value in tree.kwargs)]
        return tree.name == name or any(_names(v, name) for v in inner)
    return isinstance(tree, list) and any(_names(v, name) for v in tree)


def level_of(levels: Sequence[Level], agreement: float) -> int:
    """The place of the last level whose ``agreement`` is reached; the first where none is."""
    reached = [i for i, level in enumerate(levels) if level.agreement <= agreement + 1e-9]
    return max(reached, default=0)


def read_levels(path: str | Path) -> tuple[int, tuple[Level, ...]]:
    """The number of first samples and the levels of a plan's file; ``BadInput`` where it is none."""
    try:
        values = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
        version = values["format"]
        levels = tuple(Level(float(v["agreement"]), str(v["strategy"])) for v in values["levels"])
        probe = int(values["probe"])
    except OSError as error:
        raise BadInput(f"cannot read the plan {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise BadInput(
            f"{path} is no plan: 'outthink plan DIR --budget LIMIT --save FILE' writes one"
        ) from None
    if version != FORMAT:
        raise BadInput(f"{path} is a plan of format {version}, this outthink reads {FORMAT}")
    shares = [level.agreement for level in levels]
    ordered = sorted(shares) == shares and all(0 <= share <= 1 for share in shares)
    if not 1 <= probe <= MOST_PROBES or not levels or not ordered:
        raise BadInput(
            f"{path} is no plan: it needs a probe of 1 to {MOST_PROBES:,} samples, and levels of "
            "agreement in order, from 0 to 1"
        )
    if any(_names(parse(level.strategy), "auto") for level in levels):
        raise BadInput(f"{path} is no plan: a level cannot be auto itself")
    return probe, levels
