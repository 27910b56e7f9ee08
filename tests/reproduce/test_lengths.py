"""The parts that the studies of length share."""

import numpy as np
import pytest

from outthink.lab.pools import Pools
from outthink.lab.resample import Vote
from outthink.reproduce._lengths import Lengths, by_length, chances, costs, first_drawn, gaps, short
from outthink.reproduce.s057_thinking_optimal import peak
from outthink.reproduce.s066_shortest_majority import correlation
from outthink.reproduce.s097_first_finish import expected
from outthink.reproduce.s138_trimming import World, search


def pools(tokens, right, classes=None):
    tokens, right = np.array(tokens, dtype=float), np.array(right, dtype=bool)
    kinds = np.where(right, 0, 1) if classes is None else np.array(classes)
    names = tuple(map(str, range(len(tokens))))
    return Pools(kinds.astype(np.int32), right, tokens, np.ones(right.shape, dtype=bool), names)


def test_the_law_of_the_shortest_has_its_limits():
    alike = Lengths(100, 100, 10, 10, accuracy=0.3)
    for n in (1, 2, 7):
        assert expected(alike, n) == pytest.approx(0.3, abs=1e-6)
    apart = Lengths(100, 300, 10, 10, accuracy=0.3)
    for n in (1, 2, 7):  # any right one is shorter than all wrong ones
        assert expected(apart, n) == pytest.approx(1 - 0.7**n, abs=1e-6)
    back = Lengths(300, 100, 10, 10, accuracy=0.3)
    assert expected(back, 3) == pytest.approx(0.3**3, abs=1e-6)


def test_gaps_are_of_problems_with_both_kinds():
    found = pools([[1, 3, 8], [5, 5, 5], [2, 2, 9]], [[1, 1, 0], [1, 1, 1], [0, 0, 1]])
    assert gaps(found).tolist()[::2] == [6.0, -7.0]
    assert np.isnan(gaps(found)[1])


def test_chances_and_costs_over_all_samples_are_what_the_rules_say():
    found = pools([[4, 2, 9, 7]], [[0, 1, 0, 0]], [[1, 0, 1, 2]])
    assert [c[0] for c in chances(found, [short(1), short(4), Vote(), by_length()], 4, 5)] == [
        1.0, 0.0, 0.0, 1.0
    ]  # fmt: skip
    assert chances(found, [first_drawn()], 1, 4000)[0][0] == pytest.approx(0.25, abs=0.03)
    assert costs(found, 4, 1, 3).tolist() == [8.0]
    assert costs(found, 4, 2, 3).tolist() == [2 + 3 * 4.0]
    assert costs(found, 4, 4, 3).tolist() == [22.0]


def test_correlation_within_a_problem_is_pearsons():
    rng = np.random.default_rng(0)
    tokens, right = rng.uniform(1, 9, (5, 12)), (rng.random((5, 12)) < 0.5).astype(float)
    right[4] = 1.0
    found = correlation(tokens, right)
    for i in range(4):
        assert found[i] == pytest.approx(np.corrcoef(tokens[i], right[i])[0, 1])
    assert np.isnan(found[4])


def test_the_peak_is_the_best_dial_of_some_problems():
    judged = {1: np.array([1.0, 0, 1, 0]), 2: np.array([0.0, 0.5, 0, 0.5])}
    assert peak(judged, np.array([0, 2])) == 1
    assert peak(judged, np.array([1])) == 2
    assert peak({1: np.ones(2), 5: np.ones(2)}, np.arange(2)) == 3


def test_trimming_a_simulated_question_ends_above_its_threshold_and_below_its_length():
    rng = np.random.default_rng(1)
    world = World.draw(100, rng)
    found = search(world, 2, rng)
    assert (found.limit <= world.natural * 1.2).all()
    assert np.median(found.limit / world.threshold) == pytest.approx(1.1, abs=0.3)
    assert found.right.mean() > 0.9
