"""Will two texts that have only begun end in the same answer?  A pair judge learned from features.

    P(same end | x) = 1 / (1 + exp(-(w_0 + w . x))),   x = (overlap, beginning, result)

overlap: the cosine of the hashed n-grams; beginning: the length of the beginning they share, in
characters, over the longer one's; result: does the last number of the last whole line of one stand at
the end of a line of the other (the mean of both ways).  Most pairs do end alike, so both kinds weigh the
same in the fit, as the fewer ones are oversampled in DeepPrune (S159, arXiv 2510.08483), whose judge is
a fine-tuned language model; this one reads nothing but the surface, and costs no token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats
from outthink.core.registry import register
from outthink.select.logistic import fit_logistic, sigmoid
from outthink.select.utilities import similarity_matrix

#: of ``features``
NAMES = ("overlap", "beginning", "result")
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*")


def _results(text: str) -> list[str]:
    """The last number of each whole line that has one."""
    found = (_NUMBER.findall(line) for line in text.split("\n")[:-1])
    return [numbers[-1] for numbers in found if numbers]


def _shared(a: str, b: str) -> float:
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    return same / max(len(a), len(b), 1)


def features(texts: Sequence[str], references: Sequence[str] | None = None) -> Floats:
    """Overlap, beginning and result of all pairs, ``(n, m, 3)``, each in [0, 1] and symmetric."""
    others = texts if references is None else references
    ends, its = [_results(t) for t in texts], [_results(t) for t in others]
    out = np.empty((len(texts), len(others), len(NAMES)))
    out[..., 0] = similarity_matrix(texts, others)
    out[..., 1] = [[_shared(a, b) for b in others] for a in texts]
    out[..., 2] = [
        [((a[-1:] or [""])[0] in b) / 2 + ((b[-1:] or [""])[0] in a) / 2 for b in its] for a in ends
    ]
    return out


def fit_pairs(x: Floats, same: Floats, ridge: float = 1e-3) -> tuple[float, ...]:
    """The weights ``(w_0, w)`` of greatest likelihood for ``x (pairs, features)``, both kinds alike.

    A ``ridge`` per pair on ``w`` keeps them finite where one feature tells all.
    """
    y = np.asarray(same, dtype=np.float64)
    share = y.mean()
    if not 0 < share < 1:
        raise BadInput("a pair judge is fitted to pairs of both kinds: ends that agree, and not")
    weight = np.where(y > 0.5, 0.5 / share, 0.5 / (1 - share)) / len(y)
    design = np.column_stack([np.ones(len(y)), x])
    penalty = np.array([0.0] + [ridge] * x.shape[1])
    return tuple(float(v) for v in fit_logistic(design, y, penalty, weights=weight))


@register("utility", "same_end")
@dataclass(frozen=True)
class SameEnd:
    """The chance that two openings end in the same answer, from what they share.

    ``weights``: the offset, then those of overlap, beginning and result; as given they are what a fit
    to openings of 40 tokens of ``fly`` comes to.
    """

    weights: tuple[float, ...] = (-3.0, 0.85, 1.2, 1.2)
    of: Literal["text", "answer"] = "text"

    def __post_init__(self) -> None:
        if len(self.weights) != len(NAMES) + 1 or not np.isfinite(self.weights).all():
            raise BadInput(
                f"same_end: weights={list(self.weights)} must be four numbers: the offset, and the "
                f"weights of {', '.join(NAMES)}"
            )

    def __call__(self, text: str, reference: str) -> float:
        """One pair."""
        return float(self.matrix([text], [reference])[0, 0])

    def matrix(self, texts: Sequence[str], references: Sequence[str]) -> Floats:
        """All pairs, ``(n, m)``."""
        return sigmoid(features(texts, references) @ np.array(self.weights[1:]) + self.weights[0])
