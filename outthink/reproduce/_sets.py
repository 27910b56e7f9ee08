"""Columns of the recorded sets that reproductions read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from outthink.core.nouns import Floats
from outthink.lab.pools import Bools, Classes


def columns(file: Path) -> dict[str, list[Any]]:
    """A Parquet file as lists."""
    import pyarrow.parquet as pq

    found: dict[str, list[Any]] = pq.read_table(file).to_pydict()
    return found


def game24(folder: Path, prompt: str) -> Bools:
    """Right samples of Game of 24 for a prompt (``io`` or ``cot``), ``(100, 100)``."""
    rows = columns(folder / "samples.parquet")
    keep = [
        (i, s, c)
        for i, p, s, c in zip(
            rows["idx"], rows["prompt"], rows["sample"], rows["correct_recomputed"], strict=True
        )
        if p == prompt
    ]
    return _square(keep)


def humaneval(folder: Path) -> Bools:
    """Right samples of HumanEval, ``(164, 100)``."""
    rows = columns(folder / "samples.parquet")
    return _square(list(zip(rows["problem"], rows["sample"], rows["correct"], strict=True)))


def last_letters(folder: Path) -> tuple[Classes, Bools]:
    """Answer classes (-1 for none) and right samples of the last letters, ``(500, 40)`` each."""
    rows = columns(folder / "samples.parquet")
    right = _square(list(zip(rows["problem"], rows["sample"], rows["correct"], strict=True)))
    classes = np.full(right.shape, -1, dtype=np.int32)
    numbers: list[dict[str, int]] = [{} for _ in range(len(right))]
    for p, s, a in zip(rows["problem"], rows["sample"], rows["answer"], strict=True):
        if a:
            classes[p, s] = numbers[p].setdefault(a, len(numbers[p]))
    return classes, right


def _square(rows: list[tuple[int, int, int]]) -> Bools:
    """(problem, sample, right) as a table."""
    names = {p: i for i, p in enumerate(sorted({p for p, _, _ in rows}))}
    table = np.zeros((len(names), 1 + max(s for _, s, _ in rows)), dtype=bool)
    for p, s, c in rows:
        table[names[p], s] = bool(c)
    return table


def test_matrix(folder: Path) -> Bools:
    """Which samples of HumanEval pass which of the model-written tests, ``(164, 100, 40)``."""
    packed = np.load(folder / "test_matrix.npz")
    return np.unpackbits(packed["passed"], axis=-1)[:, :, :40].astype(bool)


def lengths(folder: Path) -> Floats:
    """Characters of the samples of HumanEval, ``(164, 100)``."""
    chars = columns(folder / "samples.parquet")["chars"]
    return np.asarray(chars, dtype=np.float64).reshape(164, 100)
