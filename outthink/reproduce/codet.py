"""The recorded test matrix of CodeT (arXiv 2207.10397): which samples pass which model-written tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from outthink.core.nouns import Floats
from outthink.lab.pools import Bools


def matrix(folder: Path) -> Bools:
    """Which samples of HumanEval pass which tests, ``(164, 100, 40)``; false where there is no test."""
    packed = np.load(folder / "test_matrix.npz")
    return np.unpackbits(packed["passed"], axis=-1)[:, :, :40].astype(bool)


def dual_agreement(passed: Bools) -> Floats:
    """CodeT's score of each sample: how many pass the same tests as it does, times those tests."""
    _, group, count = np.unique(passed, axis=0, return_inverse=True, return_counts=True)
    return np.asarray(count[group.ravel()] * passed.sum(axis=1), dtype=np.float64)
