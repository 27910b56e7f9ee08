"""Bias, slope and trend of what is said against what holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.select.overconfidence import bias, by_level, overconfidence, slope, trend

GOLD = st.lists(st.integers(0, 3), min_size=2, max_size=30)


@given(GOLD)
def test_one_who_is_always_very_sure_follows_nothing(gold):
    said = np.full(len(gold), 3)
    assert bias(said, gold) == pytest.approx(3 - np.mean(gold))
    if len(set(gold)) > 1:
        assert slope(said, gold) == 0.0
    else:
        assert np.isnan(slope(said, gold))
    assert by_level(said, gold) == dict.fromkeys(sorted(set(gold)), 3.0)


@given(GOLD, st.floats(-2, 2), st.floats(-1, 1))
def test_a_straight_line_comes_back(gold, steep, shift):
    said = steep * np.array(gold) + shift
    assert bias(said, gold) == pytest.approx(said.mean() - np.mean(gold), abs=1e-9)
    if len(set(gold)) > 1:
        assert slope(said, gold) == pytest.approx(steep, abs=1e-9)


def test_overconfidence_is_what_is_said_beyond_what_holds():
    assert overconfidence([1.0, 1.0, 1.0, 1.0], [1, 0, 1, 0]) == 0.5
    assert overconfidence([0.5, 0.5], [1, 0]) == 0.0
    assert overconfidence([np.nan, 1.0], [0, 1]) == 0.0


@given(st.floats(-3, 3), st.floats(-1, 1))
def test_a_trend_is_the_gain_of_thinking_e_times_as_long(gain, start):
    tokens = np.array([16, 64, 200, 900])
    values = start + gain * np.log(tokens)
    assert trend(tokens, values) == pytest.approx(gain, abs=1e-9)
    rows = np.stack([values, np.zeros(4)])
    assert trend(tokens, rows) == pytest.approx([gain, 0.0], abs=1e-9)


@pytest.mark.parametrize("tokens", [[8], [8, 8], [0, 8]])
def test_a_trend_needs_budgets_that_differ(tokens):
    with pytest.raises(BadInput, match="budgets"):
        trend(tokens, np.zeros(len(tokens)))
