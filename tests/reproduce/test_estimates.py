"""Estimates for claims."""

import numpy as np
import pytest

from outthink.reproduce.estimates import (
    bootstrap,
    cell,
    difference,
    exact,
    mean,
    mean_line,
    ratio,
    tuned,
)

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


def test_a_ratio_is_of_sums_that_are_drawn_together():
    spent = RNG(0).uniform(1, 9, 50)
    found = ratio(3 * spent, spent, RNG(1), 40)
    assert found == pytest.approx((3.0, 3.0, 3.0))
    assert ratio(spent, np.ones(50), RNG(1), 40).value == pytest.approx(spent.mean())
    assert all(np.isnan(ratio(spent[:0], spent[:0], RNG(1), 40)))


def test_a_setting_is_tuned_on_the_other_half():
    columns = {0.5: np.array([1.0, 0.0, 1.0, 0.0]), 1.0: np.array([0.0, 0.5, 0.0, 0.5])}
    # even problems are best at .5 and odd ones at 1: each half gets the other's
    assert tuned(columns).tolist() == [0.0, 0.0, 0.0, 0.0]
    assert tuned({0.7: np.arange(4.0)}).tolist() == [0, 1, 2, 3]
    values = {0.5: np.full(4, 10.0), 1.0: np.full(4, 20.0)}
    assert tuned(columns, values).tolist() == [20.0, 10.0, 20.0, 10.0]


def test_tables_and_pictures_show_the_same_interval():
    shares = RNG(0).random(30)
    assert cell(shares) == list(mean(shares))
    drawn = mean_line("one", [1, 2], [shares, shares**2], "dots")
    assert (drawn.x, drawn.style) == ([1, 2], "dots")
    told = zip(drawn.y, drawn.low, drawn.high, strict=True)
    assert list(told) == [mean(shares), mean(shares**2)]
