"""Utilities of answering only where sure."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.select.selective import ODDS, answered, best_threshold, break_even, utility

ROWS = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=12)


def columns(rows):
    said, right = zip(*rows, strict=True)
    return np.array(said, dtype=float) / 6, np.array(right, dtype=float)


def test_the_odds_are_those_of_the_paper():
    assert list(ODDS.values()) == [0, 1, 20]
    assert break_even(0) == 0
    assert break_even(1) == 0.5
    assert break_even(20) == pytest.approx(20 / 21)


@given(ROWS, st.floats(0, 30))
def test_answering_all_earns_accuracy_minus_what_errors_cost(rows, odds):
    said, right = columns(rows)
    accuracy = right.mean()
    assert utility(said, right, 0.0, odds) == pytest.approx(accuracy - odds * (1 - accuracy))
    assert utility(said, right, math.inf, odds) == 0.0


@given(ROWS, st.floats(0, 30))
def test_no_threshold_beats_the_best_one(rows, odds):
    said, right = columns(rows)
    best = best_threshold(said, right, odds)
    most = utility(said, right, best, odds)
    tried = [utility(said, right, t, odds) for t in [*np.unique(said), math.inf]]
    assert most == pytest.approx(max(tried))
    lower = [t for t in np.unique(said) if t < best]
    assert all(utility(said, right, t, odds) < most + 1e-12 for t in lower)
    # nothing is lost by answering all where a wrong answer costs nothing
    assert utility(said, right, 0.0, 0.0) == pytest.approx(
        utility(said, right, best_threshold(said, right, 0.0), 0.0)
    )


def test_of_an_honest_confidence_the_best_threshold_is_where_an_answer_breaks_even():
    rng = np.random.default_rng(0)
    said = rng.random(200_000)
    right = (rng.random(len(said)) < said).astype(float)
    for odds in (1.0, 20.0):
        at = break_even(odds)
        assert best_threshold(said, right, odds) == pytest.approx(at, abs=0.06)
        # the integral of p - r (1 - p) from the threshold to 1
        earned = (1 - at**2) / 2 - odds * (1 - at) ** 2 / 2
        assert utility(said, right, at, odds) == pytest.approx(earned, abs=0.01)
        share, accuracy = answered(said, right, at)
        assert share == pytest.approx(1 - at, abs=0.005)
        assert accuracy == pytest.approx((1 + at) / 2, abs=0.005)


def test_a_confidence_that_is_no_number_answers_nothing():
    said, right = np.array([np.nan, np.nan]), np.array([1.0, 0.0])
    assert utility(said, right, 0.0, 1.0) == 0.0
    assert best_threshold(said, right, 0.0) == math.inf
    share, accuracy = answered(said, right, 0.0)
    assert share == 0
    assert math.isnan(accuracy)


@pytest.mark.parametrize("odds", [-1.0, math.inf, math.nan])
def test_odds_that_are_none_are_refused(odds):
    with pytest.raises(BadInput, match="odds"):
        utility(np.ones(1), np.ones(1), 0.5, odds)
