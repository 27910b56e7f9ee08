"""Trends of accuracy over budgets and lengths: closed forms, scipy, and what difficulty must not do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from outthink.core.errors import BadInput
from outthink.lab.overthinking import natural, spearman, trend, two_sided

lists = st.lists(st.integers(0, 6), min_size=3, max_size=12)


@given(lists, st.randoms())
def test_rank_correlations_are_those_of_scipy(x, random):
    y = [random.randint(0, 4) for _ in x]
    rho, p = spearman(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert np.isnan(rho)
        assert np.isnan(p)
        return
    known = stats.spearmanr(x, y)
    assert rho == pytest.approx(known.statistic)
    assert p == pytest.approx(known.pvalue, abs=1e-9)


@pytest.mark.parametrize("free", [1, 2, 3, 4, 7, 10, 31])
def test_the_tails_are_those_of_students_t(free):
    for t in (0.0, 0.3, 1.0, 2.5, 40.0):
        assert two_sided(-t, free) == pytest.approx(2 * stats.t.sf(t, free), abs=1e-12)


def test_with_4_budgets_only_a_strict_fall_is_inverse_scaling():
    rng = np.random.default_rng(0)
    for accuracy, inverse in (
        ((0.9, 0.8, 0.7, 0.6), True),
        ((0.9, 0.8, 0.7, 0.75), False),
        ((0.6, 0.7, 0.8, 0.9), False),
        ((0.8, 0.8, 0.8, 0.8), False),
    ):
        found = trend((0, 1024, 2048, 4096), np.tile(accuracy, (50, 1)), rng, 50)
        assert found.inverse == inverse
        assert found.effect.value == pytest.approx(accuracy[-1] - accuracy[0])


def test_the_interval_holds_the_effect_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        right = rng.random((80, 3)) < np.array([0.7, 0.65, 0.6])
        low, high = trend((1, 2, 3), right, rng, 200).effect[1:]
        held += low <= -0.1 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_difficulty_alone_makes_a_pooled_correlation_and_no_effect():
    # hard questions have longer runs and are wrong more often; within one question nothing goes with length
    rng = np.random.default_rng(2)
    hard = rng.random((300, 1))
    tokens = 100 + 400 * hard + 50 * rng.random((300, 6))
    right = rng.random((300, 6)) < 0.95 - 0.8 * hard
    found = natural(tokens, right, rng)
    assert found.pooled < -0.3
    assert found.effect.low < 0 < found.effect.high
    assert found.curve.mean() == pytest.approx(right.mean())


def test_longer_runs_that_are_worse_are_seen_and_ties_are_shared():
    tokens = np.tile([30, 10, 20], (40, 1))
    right = np.tile([0, 1, 1], (40, 1))
    found = natural(tokens, right, np.random.default_rng(0), 50)
    assert found.curve.tolist() == [1, 1, 0]
    assert found.effect == (-1, -1, -1)
    level = natural(np.ones((5, 4)), np.tile([1, 0, 0, 0], (5, 1)), np.random.default_rng(0), 50)
    assert level.curve.tolist() == [0.25] * 4


def test_shapes_that_do_not_fit_are_refused():
    rng = np.random.default_rng(0)
    for budgets in ((1, 2), (1, 2, 2), (1,)):
        with pytest.raises(BadInput):
            trend(budgets, np.zeros((4, 3)), rng)
    with pytest.raises(BadInput):
        natural(np.zeros((3, 1)), np.zeros((3, 1)), rng)
