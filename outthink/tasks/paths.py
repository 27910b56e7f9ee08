"""Right by the answer, or right by the way to it: what grading by answers alone does not see.

A false positive is a text whose answer is right and whose derivation is not.  ``by_path`` counts a text
only where both are; the false-positive rate is the share of what is right by its answer and not by its
path.  With y the labels by answer and z <= y those by path:

    rate = 1 - sum z / sum y

for the texts that a method gives, and for pass@N with the chance that at least one of N samples is right in
place of y and z.

Source: Wang et al. 2025 (S042, arXiv 2502.06217), where people read the derivations; here every line is
checked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from outthink.select.coverage import pass_at_k
from outthink.tasks import check, family


def by_path(problem: Any, text: str) -> bool:
    """Is the answer right, and the way to it?"""
    return check(problem, text) and not family(problem.family).false_path(problem, text)


def false_positive_rate(by_answer: npt.ArrayLike, path: npt.ArrayLike) -> float:
    """The share of what is right by its answer that is not right by its path; NaN where none is."""
    right = float(np.asarray(by_answer, np.float64).sum())
    return 1.0 - float(np.asarray(path, np.float64).sum()) / right if right else float("nan")


def covered(labels: npt.ArrayLike, k: int) -> npt.NDArray[np.float64]:
    """pass@k of each problem, ``(problems,)``, from labels ``(problems, samples)``: unbiased."""
    rows = np.asarray(labels, dtype=bool)
    return np.array([pass_at_k(rows.shape[1], int(row.sum()), k) for row in rows])
