"""Coverage of mixed sources: the three formulas, their order, and drawing without replacement."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.laws.coverage import pass_table
from outthink.laws.mixture import fresh, observed, shared_out, stationary

chances = st.lists(st.floats(0, 1), min_size=1, max_size=5)


@given(chances, st.integers(1, 40))
def test_one_source_for_all_covers_least_and_dealing_out_covers_most(p, n):
    a, b, c = (float(f(p, n)) for f in (stationary, fresh, shared_out))
    assert a <= b + 1e-12
    assert b <= c + 1e-12
    # but never more than always the best source
    assert c <= 1 - (1 - max(p)) ** n + 1e-12


@given(st.floats(0, 1), st.integers(1, 4), st.integers(1, 40))
def test_sources_that_are_alike_are_one_source(p, sources, n):
    alone = 1 - (1 - p) ** n
    for law in (stationary, fresh, shared_out):
        assert law([p] * sources, n) == pytest.approx(alone, abs=1e-9)


def test_one_sample_is_the_mean_of_the_sources():
    for law in (stationary, fresh):
        assert law([0.1, 0.5], 1) == pytest.approx(0.3)
    assert fresh([0.1, 0.5], 1, weights=[3, 1]) == pytest.approx(0.2)


def test_formulas_agree_with_drawing():
    rng = np.random.default_rng(0)
    p, n, draws = rng.beta(1, 3, size=4), 6, 40_000
    kept = rng.integers(0, 4, size=(draws, 1)).repeat(n, axis=1)
    anew = rng.integers(0, 4, size=(draws, n))
    for law, drawn in ((stationary, kept), (fresh, anew)):
        seen = (rng.random((draws, n)) < p[drawn]).any(axis=1)
        error = seen.std() / np.sqrt(draws)
        assert abs(seen.mean() - law(p, n)) < 4 * error


def test_observed_coverage_is_that_of_all_subsets():
    right = (np.array([1, 0, 0, 1]), np.array([0, 0, 1]))
    count = [
        any(right[0][list(a)]) or any(right[1][list(b)])
        for a in combinations(range(4), 2)
        for b in combinations(range(3), 1)
    ]
    assert observed(np.array([[4, 3]]), np.array([[2, 1]]), (2, 1))[0] == pytest.approx(
        np.mean(count)
    )


def test_observed_of_one_source_is_pass_at_k():
    n, c = np.array([[10, 5]] * 3), np.array([[0, 5], [3, 0], [10, 1]])
    assert observed(n, c, (4, 0)) == pytest.approx(pass_table(n[:, 0], c[:, 0], [4])[:, 0])
    assert observed(n, c, (0, 0)).tolist() == [0, 0, 0]


def test_many_problems_at_once_and_wrong_shapes():
    p = np.array([[0.1, 0.2], [0.9, 0.4]])
    assert stationary(p, 3).shape == (2,)
    assert fresh(p, np.array([1, 2])).shape == (2,)
    with pytest.raises(BadInput, match="one for each of 2 sources"):
        fresh(p, 3, weights=[1, 2, 3])
    with pytest.raises(BadInput, match="one number for each source"):
        observed(np.ones((3, 2), int), np.ones((3, 2), int), (1,))
