"""Rows with named columns, read from files or from the hub, and what their values mean."""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outthink.core.errors import BadInput, MissingNeed, WorldError, nearest
from outthink.core.nouns import read_json

Row = Mapping[str, Any]

#: how a file may end that is read as a table; all but Parquet also with .gz
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
LETTERS = "ABCDEFGHIJ"

#: the usual names of a column, the likeliest first
USUAL = {
    "question": ("question", "problem", "prompt", "input", "text"),
    "answer": ("answer", "target", "reference", "gold", "answerkey", "solution"),
    "choices": ("choices", "options"),
    "tests": ("tests", "test", "test_list"),
    "id": ("id", "task_id", "unique_id", "question_id"),
}


@dataclass(frozen=True, eq=False)
class Table:
    """Rows and where they are from; ``kind`` is the task that asks, for what errors say."""

    kind: str
    source: str
    rows: Sequence[Row]

    @property
    def columns(self) -> list[str]:
        """The names of all columns, in order of first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def wrong(self, what: str, number: int | None = None) -> BadInput:
        """An error about the table, or about row ``number`` (from 1 on)."""
        where = self.source if number is None else f"row {number} of {self.source}"
        return BadInput(f"{self.kind}: {where} {what}")

    def usual(self, *roles: str) -> str | None:
        """The first column that has a usual name of a role, or that name, whatever its case."""
        by_name = {name.casefold(): name for name in reversed(self.columns)}
        names = [name for role in roles for name in USUAL.get(role, (role,))]
        return next((by_name[name] for name in names if name in by_name), None)

    def column(self, role: str, given: str | None = None) -> str:
        """The column ``given``, else the usual one; ``BadInput`` where there is none."""
        if given:
            if given not in self.columns:
                raise self.wrong(f"has no column {given!r}{nearest(given, self.columns)}")
            return given
        found = self.usual(role)
        if found is None:
            listed = ", ".join(self.columns[:40])
            how = f'; write {role}="COLUMN"' if self.kind in ("file", "hub") else ""
            raise self.wrong(f"has no column for the {role}; its columns are {listed}{how}")
        return found

    def texts(self, role: str, column: str) -> list[str]:
        """The texts of a column; a row without one is an error."""
        out = []
        for number, row in enumerate(self.rows, 1):
            text = text_of_value(row.get(column))
            if text is None:
                raise self.wrong(f"has no {role}: {column} is {row.get(column)!r:.60}", number)
            out.append(text)
        return out


# -- reading -----------------------------------------------------------------------------------------


def is_table(path: str) -> bool:
    """Does a path end as a file that can be read?"""
    return path.lower().removesuffix(".gz").endswith(SUFFIXES)


def read_table(path: str, kind: str = "file") -> Table:
    """The rows of a JSON, JSON-lines, CSV, TSV (each also ``.gz``) or Parquet file.

    Raises ``BadInput`` for a file that is absent, empty or none of these.
    """
    file = Path(os.path.expanduser(path))
    ending = Path(file.name.lower().removesuffix(".gz")).suffix
    if ending not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise BadInput(
            f"{kind}: {path} is no table that is known: name a file that ends in {known}"
        )
    try:
        if ending == ".parquet":
            rows = _parquet(file, kind)
        else:
            raw = file.read_bytes()
            text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("utf-8-sig")
            if ending in (".csv", ".tsv"):
                rows = _csv(text, "\t" if ending == ".tsv" else ",", kind == "mmlu")
            else:
                rows = _json(text, ending == ".jsonl")
    except MissingNeed:
        raise
    except (OSError, ValueError, EOFError, zlib.error, csv.Error) as error:
        raise BadInput(f"{kind}: {path} cannot be read: {error}") from None
    return _table(kind, path, rows)


def hub_table(name: str, subset: str, split: str) -> Table:
    """The rows of a split of a data set on the hub, through the library ``datasets``."""
    try:
        from datasets import load_dataset
    except ImportError:
        raise MissingNeed(
            "hub: the library datasets is absent: pip install 'outthink[hub]'"
        ) from None
    try:
        rows = list(load_dataset(name, subset or None, split=split))
    except Exception as error:  # the library raises whatever its own parts do
        raise WorldError(
            f"hub: {name} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return _table("hub", name, rows)


def _table(kind: str, source: str, rows: Iterable[Any]) -> Table:
    table = Table(kind, source, list(rows))
    if not table.rows:
        raise table.wrong("has no rows")
    for number, row in enumerate(table.rows, 1):
        if not isinstance(row, Mapping):
            raise table.wrong("is no object with named values", number)
    return table


def _json(text: str, lines: bool) -> list[Any]:
    """One value a line; or, where not ``lines`` for sure, one list, or one object that holds one."""
    if not lines:
        try:
            whole = read_json(text)
        except ValueError:
            return _json(text, True)
        if isinstance(whole, Mapping):
            held = [
                v for v in whole.values() if isinstance(v, list) and v and isinstance(v[0], dict)
            ]
            return held[0] if len(held) == 1 else [whole]
        return whole if isinstance(whole, list) else [whole]
    out = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                out.append(read_json(line))
            except ValueError as error:
                raise ValueError(f"line {number} is no JSON: {error}") from None
    return out


def _csv(text: str, delimiter: str, mmlu: bool) -> list[dict[str, Any]]:
    """Rows under the names of the first; MMLU's own files have none: question, options, letter."""
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    if not rows:
        return []
    names = rows[0]
    known = {"question", "answer"} & {name.casefold() for name in names}
    if mmlu and not known and len(names) > 3 and re.fullmatch("[A-J]", names[-1]):
        names, rows = ["question", *LETTERS[: len(names) - 2], "answer"], [[], *rows]
    return [dict(zip(names, row, strict=False)) for row in rows[1:]]


def _parquet(file: Path, kind: str) -> list[Any]:
    try:
        from pyarrow.parquet import read_table as read
    except ImportError:
        raise MissingNeed(f"{kind}: a Parquet file needs pip install 'outthink[lab]'") from None
    return list(read(file).to_pylist())


# -- values ------------------------------------------------------------------------------------------


def text_of_value(value: Any) -> str | None:
    """A value as text: ``27.0`` is ``"27"``, a list of one text that text; ``None`` for no value."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        value = int(value) if value == int(value) and abs(value) < 1e15 else value
    if isinstance(value, (str, int, float)):
        return str(value).strip("\n") if str(value).strip() else None
    return None


def listed(value: Any) -> list[str] | None:
    """Texts of a list, of a list written as JSON, or of options by letter; ``None`` where it is none."""
    if isinstance(value, str):
        try:
            value = read_json(value)
        except ValueError:
            return None
    if isinstance(value, Mapping):
        by_letter = sorted(value) == list(LETTERS[: len(value)])
        value = value.get("text") or ([value[k] for k in sorted(value)] if by_letter else None)
    if not isinstance(value, (list, tuple)) or not value:
        return None
    texts = [text_of_value(v) for v in value]
    return None if None in texts else [t for t in texts if t is not None]


def statements(value: Any) -> tuple[str, ...] | None:
    """Tests as Python statements: one text, or a list of them."""
    if isinstance(value, str) and value.strip():
        return tuple(listed(value) or [value]) if value.lstrip().startswith("[") else (value,)
    found = listed(value) if isinstance(value, (list, tuple)) else None
    return tuple(found) if found else None
