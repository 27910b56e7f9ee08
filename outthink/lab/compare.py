"""Two benches side by side: arms of one label, paired over the problems that both have.

Differences are the second's minus the first's.  A problem is shared where both have its name with the same
question; where no problem is, arms are compared as measured on different problems.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from outthink.core.nouns import Floats, finite
from outthink.lab import stats
from outthink.lab.columns import Columns, columns
from outthink.lab.records import AXES, FORMAT, Arm, Results

Plain = dict[str, Any]

#: what differs between any two benches and says nothing
PASSING = ("created", "arms", "problems", "format")


def compare(a: Results, b: Results) -> Plain:
    """What changed from ``a`` to ``b``, as plain values.

        format
        problems   shared (how many), only_a, only_b and changed (another question or reference): names
        only_a, only_b    labels of arms
        design     [{"what": "design.seeds", "a": value, "b": value}]: facts that differ, null where absent
        paired     whether arms are compared on the same problems
        arms       [{label, problems, a, b, difference, changed, costs}]

    ``problems`` counts those where both runs of the arm finished (where unpaired: ``[of a, of b]``).
    ``a`` and ``b`` are accuracies on these with intervals, ``difference`` has interval, p, and Holm's p
    over all arms; all three are null where there is no such problem.  ``costs`` maps an axis to the
    means ``a`` and ``b`` and their paired difference (null where unpaired), ``changed`` a field of the
    arm to both values.
    """
    one, two = columns(a), columns(b)
    names_a, names_b = dict.fromkeys(one.problems), dict.fromkeys(two.problems)
    both = [name for name in names_a if name in names_b]
    changed = [
        n
        for n in both
        if a.questions.get(n) != b.questions.get(n) or a.references.get(n) != b.references.get(n)
    ]
    shared = [n for n in both if n not in set(changed)]
    arms_b = {arm.label: arm for arm in b.arms}
    rows = [_arm(one, two, arm, arms_b[arm.label], shared) for arm in a.arms if arm.label in arms_b]
    gaps = [row["difference"] for row in rows if row["difference"]]
    for gap, p in zip(gaps, stats.holm([gap["p"] for gap in gaps]), strict=True):
        gap["p_holm"] = p
    found: Plain = {
        "format": FORMAT,
        "problems": {
            "shared": len(shared),
            "only_a": [n for n in names_a if n not in names_b],
            "only_b": [n for n in names_b if n not in names_a],
            "changed": changed,
        },
        "only_a": [label for label in one.labels if label not in arms_b],
        "only_b": [label for label in two.labels if label not in one.labels],
        "design": list(_differing(a.facts, b.facts)),
        "paired": bool(shared),
        "arms": rows,
    }
    plain: Plain = finite(found)
    return plain


def _arm(one: Columns, two: Columns, arm: Arm, other: Arm, shared: list[str]) -> Plain:
    i, j = one.place(arm.label), two.place(arm.label)
    runs = max(len(one.seeds), len(two.seeds))
    at_a, at_b = _places(one, shared), _places(two, shared)
    x, y = one.shares()[i, at_a], two.shares()[j, at_b]
    known_a, known_b = np.isfinite(x), np.isfinite(y)
    if shared:
        known_a = known_b = known_a & known_b
    x, y = x[known_a], y[known_b]
    row: Plain = {
        "label": arm.label,
        "problems": len(x) if shared else [len(x), len(y)],
        "a": None,
        "b": None,
        "difference": None,
        "changed": {
            name: [value, asdict(other)[name]]
            for name, value in asdict(arm).items()
            if value != asdict(other)[name]
        },
        "costs": {},
    }
    if not len(x) or not len(y):
        return row
    row["a"] = stats.share(x, len(one.seeds))._asdict()
    row["b"] = stats.share(y, len(two.seeds))._asdict()
    over = stats.share_difference if shared else stats.two_shares
    row["difference"] = over(y, x, runs)._asdict()
    for axis in AXES:
        spent_a = one.spent(axis)[i, at_a][known_a]
        spent_b = two.spent(axis)[j, at_b][known_b]
        if spent_a.any() or spent_b.any():
            row["costs"][axis] = {
                "a": float(spent_a.mean()),
                "b": float(spent_b.mean()),
                "difference": _change(spent_b, spent_a) if shared else None,
            }
    return row


def _places(found: Columns, shared: list[str]) -> list[int]:
    """Where the shared problems stand; all problems where none is shared."""
    place = {name: i for i, name in enumerate(found.problems)}
    return [place[name] for name in shared or found.problems]


def _change(b: Floats, a: Floats) -> Plain:
    return stats.mean_difference(b, a)._asdict()


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], under: str = "") -> Iterator[Plain]:
    """Facts that are not the same, by the path to them."""
    for name in dict.fromkeys((*a, *b)):
        x, y = a.get(name), b.get(name)
        if x == y or (not under and name in PASSING):
            continue
        if isinstance(x, Mapping) and isinstance(y, Mapping):
            yield from _differing(x, y, f"{under}{name}.")
        else:
            yield {"what": f"{under}{name}", "a": x, "b": y}


def table(found: Mapping[str, Any]) -> list[Plain]:
    """A row an arm: label, problems, both accuracies, the difference, and both mean completion tokens.

    Accuracies are values with intervals, the difference one with p; null where there is nothing.
    """
    rows = []
    for arm in found["arms"]:
        tokens = arm["costs"].get("completion_tokens", {"a": 0.0, "b": 0.0, "difference": None})
        shown = ("label", "problems", "a", "b", "difference")
        rows.append({**{name: arm[name] for name in shown}, "completion_tokens": tokens})
    return rows
