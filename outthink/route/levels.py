"""Levels of difficulty, told by how far a few samples agree, and what to do at each.

A plan is made from measurements by ``outthink.laws.plan`` (Snell et al., S050, arXiv 2408.03314) and
kept in a file; this is what running one needs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from outthink.core.errors import BadInput

FORMAT = 1


@dataclass(frozen=True)
class Level:
    """Problems whose first samples agree at least ``agreement`` (share of the leading answer), and the
    spec of the strategy for them."""

    agreement: float
    strategy: str


#: the probe and the levels where nothing was measured: what agrees is taken, what does not gets more
UNPLANNED = (4, (Level(0.0, "self_consistency(n=16)"), Level(1.0, "self_consistency(n=4)")))


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
    except (ValueError, KeyError, TypeError):
        raise BadInput(
            f"{path} is no plan: 'outthink plan DIR --budget LIMIT --save FILE' writes one"
        ) from None
    if version != FORMAT:
        raise BadInput(f"{path} is a plan of format {version}, this outthink reads {FORMAT}")
    if probe < 1 or not levels or sorted(levels, key=lambda v: v.agreement) != list(levels):
        raise BadInput(f"{path} is no plan: it needs a probe of samples and levels in order")
    return probe, levels
