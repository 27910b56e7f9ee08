"""Recorded samples of many problems in columns: what rules are tried on, and laws are fitted to.

Everything is ``(problems, samples)``; a problem with fewer samples than the widest has ``present``
false at its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats, Ints

Bools = npt.NDArray[np.bool_]
Classes = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Pools:
    """Samples of many problems.

    ``classes`` numbers the answers within each problem (0, 1, 2, ... in order of first appearance;
    -1 for a text without an answer), ``right`` says whether the sample is right, ``tokens`` counts
    its completion tokens (or what stands for them: see ``unit``), ``scores`` has a column for each
    verifier (NaN where there is no score), ``problems`` their names.
    """

    classes: Classes
    right: Bools
    tokens: Floats
    present: Bools
    problems: tuple[str, ...]
    scores: Mapping[str, Floats] = field(default_factory=dict)
    unit: str = "tokens"
    name: str = ""

    def __post_init__(self) -> None:
        shape = self.classes.shape
        if len(shape) != 2 or not all(shape):
            raise BadInput(f"pools need problems and samples, not the shape {shape}")
        columns = {"right": self.right, "tokens": self.tokens, "present": self.present}
        for name, column in {**columns, **self.scores}.items():
            if column.shape != shape:
                raise BadInput(f"the column {name} is {column.shape}, classes are {shape}")
        if len(self.problems) != shape[0]:
            raise BadInput(f"{len(self.problems)} names for {shape[0]} problems")

    def __len__(self) -> int:
        return len(self.problems)

    @property
    def counts(self) -> Ints:
        """Samples of each problem, ``(problems,)``."""
        return np.asarray(self.present.sum(axis=1), dtype=np.int64)

    @property
    def correct(self) -> Ints:
        """Right samples of each problem, ``(problems,)``."""
        return np.asarray((self.right & self.present).sum(axis=1), dtype=np.int64)

    def take(self, problems: Sequence[int] | Ints) -> Pools:
        """Only these problems, in this order (one may stand there several times)."""
        at = np.asarray(problems, dtype=np.int64)
        return Pools(
            self.classes[at],
            self.right[at],
            self.tokens[at],
            self.present[at],
            tuple(self.problems[i] for i in at),
            {name: column[at] for name, column in self.scores.items()},
            self.unit,
            self.name,
        )

    def first(self, n: int) -> Pools:
        """Only the first ``n`` samples of each problem."""
        return Pools(
            self.classes[:, :n],
            self.right[:, :n],
            self.tokens[:, :n],
            self.present[:, :n],
            self.problems,
            {name: column[:, :n] for name, column in self.scores.items()},
            self.unit,
            self.name,
        )
