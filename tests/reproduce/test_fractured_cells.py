"""What S059 reads off its pool: arms, equal tokens, coverage and votes, against plain counting."""

from itertools import combinations

import numpy as np
import pytest

from outthink.reproduce.s059_fractured import Cells, _equal


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    classes = rng.integers(-1, 3, (20, 4, 4, 2))
    answer = rng.integers(4, 9, classes.shape).astype(float)
    return Cells(classes, classes == 0, answer, rng.integers(50, 90, (20, 4)).astype(float))


def test_depths_are_even_and_hold_the_last(cells):
    assert [np.arange(4)[cells.depths(h)].tolist() for h in (1, 2, 4)] == [
        [3],
        [1, 3],
        [0, 1, 2, 3],
    ]


@pytest.mark.parametrize(("n", "h", "m"), [(1, 1, 1), (2, 2, 1), (3, 4, 2), (4, 4, 2)])
def test_coverage_and_votes_are_those_of_all_subsets_counted_one_by_one(cells, n, h, m):
    at = np.arange(4)[cells.depths(h)]
    for p in range(5):
        found, voted = [], []
        for some in combinations(range(4), n):
            flat = [int(cells.classes[p, t, d, j]) for t in some for d in at for j in range(m)]
            found.append(0 in flat)
            votes = {k: flat.count(k) for k in set(flat) if k >= 0}
            top = [k for k, v in votes.items() if v == max(votes.values())]
            voted.append((0 in top) / len(top) if top else 0.0)
        assert cells.any(n, h, m)[p] == pytest.approx(np.mean(found))
        assert cells.vote(n, h, m)[p] == pytest.approx(np.mean(voted))


def test_a_thought_is_paid_for_once(cells):
    more = cells.tokens(2, 4, 1) - cells.tokens(2, 1, 1)
    assert more == pytest.approx(2 * cells.answer[:, :, :3, 0].sum(axis=2).mean())


def test_thoughts_alone_are_given_the_tokens_of_the_arm(cells):
    assert _equal(cells, "any", 2, 1, 1) == pytest.approx(cells.any(2, 1, 1))
    between = _equal(cells, "any", 2, 4, 1)
    low, high = cells.any(2, 1, 1), cells.any(3, 1, 1)
    assert ((low <= between) & (between <= high)).all()
