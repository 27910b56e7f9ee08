"""Votes of many subsets at once are votes of one at a time, a tie counted by its share that is right."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from outthink.reproduce._votes import vote_credit


def one(classes, weights, right):
    sums = Counter()
    for c, w in zip(classes, weights, strict=True):
        if c >= 0 and w > 0:
            sums[c] += w
    if not sums:
        return 0.0
    level = [c for c, s in sums.items() if s == max(sums.values())]
    good = dict(zip(classes, right, strict=True))
    return sum(good[c] for c in level) / len(level)


@given(st.integers(0, 10**6), st.integers(1, 8))
def test_each_vote_is_what_it_is_alone(seed, n):
    rng = np.random.default_rng(seed)
    classes = rng.integers(-1, 4, (6, n))
    weights = rng.integers(0, 3, (6, n)).astype(float)
    right = classes == rng.integers(0, 4, (6, 1))
    found = vote_credit(classes, weights, right)
    assert found.shape == (6,)
    assert np.allclose(found, [one(*row) for row in zip(classes, weights, right, strict=True)])
