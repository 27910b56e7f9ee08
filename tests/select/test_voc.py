"""The value of computation: its closed form and its limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.select.voc import FLOOR, likeliest, reward

logs = st.floats(-30, 0)


@given(logs, st.floats(0, 10))
def test_an_empty_chain_is_worth_exactly_nothing(before, gamma):
    assert reward(before, before, 0, gamma) == 0.0


@given(logs, logs, st.integers(0, 10_000), st.floats(0, 10))
def test_it_is_the_gain_less_the_price_of_length(after, before, length, gamma):
    gain = np.log((np.exp(after) + FLOOR) / (np.exp(before) + FLOOR))
    assert reward(after, before, length, gamma) == pytest.approx(gain - gamma * np.log(1 + length))
    # the floor bounds what a chain can be worth
    assert reward(after, before, length, gamma) <= np.log(1 / FLOOR) + 1e-5


def test_it_rises_with_what_the_chain_does_and_falls_with_its_length():
    assert (np.diff(reward(np.linspace(-9, 0, 20), -5.0, 30)) > 0).all()
    assert (np.diff(reward(-0.1, -5.0, np.arange(50))) < 0).all()
    # without a price the length does not matter
    assert len(set(reward(-0.1, -5.0, np.arange(50), 0.0).tolist())) == 1


def test_many_values_at_once_are_those_one_by_one():
    rng = np.random.default_rng(0)
    after, before, lengths = (
        -rng.random((3, 4)),
        -5 * rng.random((3, 4)),
        rng.integers(0, 99, (3, 4)),
    )
    every = reward(after, before, lengths)
    one = [
        float(reward(a, b, n))
        for a, b, n in zip(after.flat, before.flat, lengths.flat, strict=True)
    ]
    assert every.ravel().tolist() == pytest.approx(one)


def test_the_likeliest_answer_is_the_vote_where_each_chain_is_sure_of_its_own():
    sure = np.log(np.array([[0.98, 0.01, 0.01], [0.01, 0.98, 0.01], [0.01, 0.98, 0.01]]))
    assert likeliest(sure) == 1
    # a chain that is in doubt has a part of a vote for each
    doubt = np.log(np.array([[0.9, 0.1], [0.3, 0.7], [0.45, 0.55]]))
    assert likeliest(doubt) == 0
    assert likeliest(np.stack([doubt, doubt[:, ::-1]])).tolist() == [0, 1]
    assert likeliest(np.vstack([doubt, np.full((1, 2), np.nan)])) == 0
