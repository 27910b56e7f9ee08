"""Estimates for claims."""

import numpy as np
import pytest

from outthink.reproduce.estimates import bootstrap, difference, exact, mean

RNG = np.random.default_rng


def test_an_exact_figure_has_no_interval():
    assert exact(0.33) == (0.33, 0.33, 0.33)


def test_the_bootstrap_of_a_mean_is_the_normal_interval():
    values = RNG(0).random(400)
    (found,) = bootstrap(lambda some: float(values[some].mean()), 400, RNG(1), 4000)
    wanted = mean(values)
    assert found.value == wanted.value
    assert found.low == pytest.approx(wanted.low, abs=0.003)
    assert found.high == pytest.approx(wanted.high, abs=0.003)


def test_several_statistics_are_drawn_together():
    values = RNG(0).random(100)
    low, high = bootstrap(lambda some: np.array([values[some].mean()] * 2), 100, RNG(1), 50)
    assert low == high


def test_a_statistic_that_no_draw_has_is_no_estimate():
    (found,) = bootstrap(lambda some: float("nan"), 5, RNG(0), 20)
    assert all(np.isnan(found))


def test_one_problem_is_too_few_for_a_difference():
    assert np.isnan(difference(np.ones(1), np.zeros(1)).value)
    assert np.isnan(difference(np.ones(0), np.zeros(0)).value)
