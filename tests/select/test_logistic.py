"""Logistic regression: its closed forms, and the least of its loss by another way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from outthink.select.logistic import fit_logistic, sigmoid


@given(st.integers(1, 20), st.integers(1, 20))
def test_with_an_offset_alone_it_is_the_log_of_the_odds(right, wrong):
    labels = np.repeat([1.0, 0.0], [right, wrong])
    (found,) = fit_logistic(np.ones((len(labels), 1)), labels, np.zeros(1))
    assert found == pytest.approx(np.log(right / wrong), abs=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_weights_have_less_loss(seed):
    rng = np.random.default_rng(seed)
    design, labels, weights = rng.normal(size=(40, 3)) * 3, rng.random(40), rng.random(40)
    penalty, centre = rng.random(3), rng.normal(size=3)

    def loss(w):
        z = design @ w
        held = 0.5 * (penalty * (w - centre) ** 2).sum()
        return (weights * (np.logaddexp(0, z) - labels * z)).sum() + held

    found = fit_logistic(design, labels, penalty, centre, weights)
    assert found == pytest.approx(minimize(loss, np.zeros(3), tol=1e-12).x, abs=1e-4)
    assert loss(found) <= loss(minimize(loss, np.zeros(3), tol=1e-12).x) + 1e-9


def test_without_data_it_stays_at_its_centre():
    nothing = np.zeros((0, 2))
    assert fit_logistic(nothing, np.zeros(0), np.ones(2), np.array([1.0, -2.0])).tolist() == [1, -2]


def test_the_sigmoid_has_no_overflow_and_leaves_nan():
    assert sigmoid([0.0, 1e6, -1e6])[:2].tolist() == [0.5, 1.0]
    assert 0 <= sigmoid(-1e6) < 1e-300
    assert np.isnan(sigmoid(np.nan))
