"""What fewer samples would have come to: rules over random subsets of the samples at hand, and the
accuracy of a fractional number of samples, which compares strategies at equal cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from outthink.core.nouns import Floats
from outthink.lab.pools import Pools
from outthink.laws.split import best_of_subsets
from outthink.laws.vote import ballots_of
from outthink.train.evaluate import Result

Choice = Literal["vote", "best", "weighted"]
#: random subsets a problem of a weighted vote, which has no closed form
DRAWS = 200


def scores_of(result: Result, width: int) -> Floats:
    """The verifier's scores of the first ``width`` candidates, ``(problems, width)``; 0 for none."""
    rows = [a.scores["verifier"][:width] for a in result.answers]
    return np.nan_to_num(np.array(rows, dtype=np.float64), nan=0.0)


def curve(
    found: Pools,
    choice: Choice,
    sizes: Sequence[int],
    scores: Floats | None = None,
    rng: np.random.Generator | None = None,
) -> Floats:
    """Accuracy of a rule over random subsets of each size, ``(problems, sizes)``.

    Exact for ``vote`` and ``best``; ``weighted`` (the answer of the greatest sum of scores) is a mean
    over random subsets.  A sample without an answer cannot win.
    """
    if choice == "vote":
        # errors of rounding would be differences where there are none
        exact = [[b.accuracy(k) for k in sizes] for b in ballots_of(found)]
        return np.asarray(np.round(exact, 10))
    if scores is None:
        raise ValueError(f"the rule {choice} needs scores")
    read = found.classes >= 0
    if choice == "best":
        able = np.where(read, scores, -1.0)
        pairs = zip(able, found.right & read, strict=True)
        return np.asarray(np.round([best_of_subsets(s, y, sizes) for s, y in pairs], 10))
    rng = np.random.default_rng(0) if rng is None else rng
    return np.array([_weighted(found, scores, i, sizes, rng) for i in range(len(found))])


def _weighted(
    found: Pools, scores: Floats, i: int, sizes: Sequence[int], rng: np.random.Generator
) -> list[float]:
    classes, right = found.classes[i], found.right[i]
    kinds = int(classes.max()) + 1
    if kinds == 0:
        return [0.0] * len(sizes)
    member = classes[:, None] == np.arange(kinds)
    good = (member & right[:, None]).any(axis=0)
    # a score of 0 still counts as a vote where no other answer has more
    heavy = member * (scores[i][:, None] + 1e-12)
    rank = rng.permuted(np.tile(np.arange(len(classes)), (DRAWS, 1)), axis=1)
    out = []
    for k in sizes:
        sums = (rank < k).astype(np.float64) @ heavy
        out.append(float((good[sums.argmax(axis=1)] & (sums.max(axis=1) > 0)).mean()))
    return out


def at(table: Floats, sizes: Sequence[int], x: float) -> Floats:
    """Each problem's accuracy at ``x`` samples, linear between sizes and level beyond: ``(problems,)``."""
    return np.array([np.interp(x, sizes, row) for row in table])


def samples_to_match(accuracy: Floats, target: float) -> float:
    """How many samples a rising curve (of 1, 2, ... samples) needs for an accuracy; linear between.

    1 where one sample has it, NaN where none does.
    """
    top = np.maximum.accumulate(accuracy)
    if target > top[-1]:
        return float("nan")
    i = int(np.argmax(top >= target))
    if i == 0:
        return 1.0
    return float(i + (target - top[i - 1]) / (top[i] - top[i - 1]))
