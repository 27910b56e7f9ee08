"""The 182 published systems and studies that the project grew from, and what runs each."""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from importlib.resources import files
from typing import Any

from outthink.core.errors import BadInput, nearest

STATES = ("works", "part", "not yet")


@lru_cache(maxsize=1)
def _rows() -> tuple[dict[str, Any], ...]:
    text = files("outthink.data").joinpath("systems.json").read_text(encoding="utf-8")
    return tuple(json.loads(text))


def load() -> list[dict[str, Any]]:
    """One row for each system: id, name, title, family, runs (spec or command), state, note."""
    return [dict(row) for row in _rows()]


def find(ident: str) -> dict[str, Any]:
    """The row of an id such as ``S036``; raises ``BadInput`` for an unknown one."""
    for row in load():
        if str(row["id"]).lower() == ident.strip().lower():
            return row
    raise BadInput(f"no system {ident!r}{nearest(ident.upper(), [r['id'] for r in load()])}")


def counts() -> dict[str, int]:
    """How many systems are in each state."""
    found = Counter(row["state"] for row in load())
    return {state: found.get(state, 0) for state in STATES}
