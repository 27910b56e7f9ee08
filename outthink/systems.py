"""The 182 published systems and studies that the project grew from, and what runs each."""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from importlib.resources import files
from typing import Any

from outthink.core.errors import BadInput, likely

STATES = ("works", "part", "not yet")


@lru_cache(maxsize=1)
def _rows() -> tuple[dict[str, Any], ...]:
    text = files("outthink.data").joinpath("systems.json").read_text(encoding="utf-8")
    return tuple(json.loads(text))


def load() -> list[dict[str, Any]]:
    """One row for each system: id, name, title, family, runs (spec or command), state, note, verdict.

    ``verdict`` is what its published claims came to when they were tried: ``outthink reproduce``.
    """
    return [dict(row) for row in _rows()]


def find(ident: str) -> dict[str, Any]:
    """The row of an id such as ``S036``, or of a name; raises ``BadInput`` for an unknown one."""
    for row in load():
        if ident.strip().lower() in (str(row["id"]).lower(), str(row["name"]).lower()):
            return row
    hint = likely(ident.strip().lower(), [str(r["name"]) for r in load()])
    raise BadInput(f"no system {ident[:60]!r}{hint}; 'outthink systems' lists all, S001 to S182")


def counts() -> dict[str, int]:
    """How many systems are in each state."""
    found = Counter(row["state"] for row in load())
    return {state: found.get(state, 0) for state in STATES}
