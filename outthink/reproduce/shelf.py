"""Results on disk: ``S053.json`` and ``.png`` of full runs, ``S053.quick.json`` of quick ones.

A quick run never takes the place of a full one, and a table shows it only where no full one is.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from outthink.core.errors import BadInput, WorldError
from outthink.core.nouns import finite
from outthink.reproduce.base import Judged, Outcome
from outthink.reproduce.picture import draw

BEGIN, END = "<!-- outthink reproduce table -->", "<!-- end of table -->"


def place(folder: Path, ident: str, quick: bool) -> Path:
    """Where a result lies."""
    return folder / f"{ident}{'.quick' if quick else ''}.json"


def save(outcome: Outcome, folder: Path) -> Path:
    """Write a result and its plot; returns the file of the result."""
    path = place(folder, outcome.ident, outcome.quick)
    text = json.dumps(finite(outcome.to_json()), indent=1, ensure_ascii=False, allow_nan=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if outcome.panels:
            draw(outcome, path.with_suffix(".png"))
        # a run that is stopped here leaves the former result whole
        fresh = path.with_suffix(".new")
        fresh.write_text(text + "\n", encoding="utf-8")
        os.replace(fresh, path)
    except OSError as error:
        raise WorldError(f"cannot write {path}: {error.strerror}") from None
    return path


def read(folder: Path, ident: str) -> Outcome | None:
    """The full result of a system, else its quick one, else nothing."""
    for quick in (False, True):
        path = place(folder, ident, quick)
        if path.exists():
            try:
                return Outcome.from_json(json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                what = f"{path} is no result of this version"
                raise WorldError(
                    f"{what}: run 'outthink reproduce {ident}' again ({error})"
                ) from None
    return None


def summaries(folder: Path, idents: Iterable[str]) -> dict[str, str]:
    """What each system with a result came to, in a few words."""
    found = {ident: read(folder, ident) for ident in idents}
    return {ident: outcome.summary for ident, outcome in found.items() if outcome}


def measured(claim: Judged) -> str:
    """A value with its interval; an exact one alone."""
    if math.isnan(claim.value):
        return "none"
    value = _number(claim.value)
    if claim.low == claim.high:
        return value
    return f"{value} ({_number(claim.low)} to {_number(claim.high)})"


def table(outcomes: Iterable[Outcome]) -> str:
    """A Markdown table for each result: claim, setting, expected, measured, verdict."""
    lines: list[str] = []
    for o in outcomes:
        calls = f"{o.calls:,} calls ({o.stored_calls:,} of them made before, from the store)"
        spent = f", {calls}, {o.tokens:,} tokens" if o.calls else ""
        lines += [
            f"### {o.ident} {o.name}: {o.summary}",
            "",
            f"Measured {o.date[:10]}, seed {o.seed}, {o.seconds:.0f} s{spent}; "
            f"{', '.join(f'{k} {v[:12]}' if '@' not in v else v for k, v in o.versions.items())}.",
            "",
            "| claim (source) | setting and statistic | published | rule, fixed beforehand "
            "| measured (95 % interval) | verdict |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            _row(
                f"{c.text} ({c.source})",
                f"{c.setting}: {c.statistic}",
                c.published,
                c.rule,
                measured(c),
                c.verdict if c.verdict == "holds" else f"**{c.verdict}**",
            )
            for c in o.claims
        ]
        lines += ["", *(f"- {note}" for note in o.notes), *([""] if o.notes else [])]
        for rows in o.tables.values():
            head = list(dict.fromkeys(key for row in rows for key in row))
            lines += [_row(*head), "|---" * len(head) + "|"]
            lines += [_row(*(_cell(row.get(key)) for key in head)) for row in rows] + [""]
    return "\n".join(lines).rstrip() + "\n" if lines else "No results yet.\n"


def write_table(page: Path, text: str) -> None:
    """Put a table between the two marks of a page; ``BadInput`` where the page lacks them."""
    try:
        old = page.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot read {page}: {error.strerror}; --page names the page") from None
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BadInput(f"{page} has no place for the table: put in it the lines {BEGIN} and {END}")
    page.write_text(f"{before}{begin}\n\n{text}\n{end}{after}", encoding="utf-8")


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(c.replace("|", "\\|").split()) for c in cells) + " |"


def _cell(value: Any) -> str:
    """A value of a table: a number, a text, (value, low, high), (low, high), or values by name."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_cell(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        *middle, low, high = map(_cell, value)
        return f"{middle[0]} ({low} to {high})" if middle else f"{low} to {high}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "" if value is None else str(value)
    return str(value) if isinstance(value, int) else _number(value)


def _number(value: float) -> str:
    return (
        f"{value:.3f}"
        if abs(value) < 10
        else f"{value:,.4g}"
        if abs(value) < 1000
        else f"{value:,.0f}"
    )
