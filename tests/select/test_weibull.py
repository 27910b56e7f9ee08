"""The mixture: it climbs, keeps its bounds, finds what made the data, and what it prunes."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outthink.select.weibull import FLOOR, START, fit, likely

logs = st.lists(st.floats(-30.0, 0.0), min_size=1, max_size=20).map(np.array)


def density(x, k, s):
    return k / s * (x / s) ** (k - 1) * np.exp(-((x / s) ** k))


def likelihood(x, share, shape, scale):
    parts = [w * density(x, k, s) for w, k, s in zip(share, shape, scale, strict=True)]
    return float(np.log(sum(parts)).sum())


@settings(max_examples=10)
@given(logs)
def test_the_fit_keeps_its_bounds_and_names_the_larger_mean_first(logp):
    from math import gamma

    share, shape, scale = fit(logp)
    assert share.sum() == pytest.approx(1)
    assert 0.2 - 1e-9 <= share[0] <= 0.8 + 1e-9
    assert (shape >= 0.01).all()
    assert (shape <= 1000).all()
    assert (scale >= 0.01 - 1e-12).all()
    means = [s * gamma(1 + 1 / k) for k, s in zip(shape, scale, strict=True)]
    assert means[0] >= means[1]


@settings(max_examples=10)
@given(logs)
def test_it_climbs_from_where_it_starts(logp):
    x = np.exp(logp)
    assert likelihood(x, *fit(logp)) >= likelihood(x, *START) - 1e-6


def test_it_finds_the_two_components_that_made_the_data():
    rng = np.random.default_rng(1)
    high = rng.random(20_000) < 0.6
    x = np.where(high, 0.9 * rng.weibull(30, 20_000), 0.4 * rng.weibull(5, 20_000))
    share, shape, scale = fit(np.log(x))
    assert share[0] == pytest.approx(0.6, abs=0.02)
    assert shape == pytest.approx([30, 5], rel=0.05)
    assert scale == pytest.approx([0.9, 0.4], rel=0.02)


def test_it_is_as_likely_as_what_the_released_code_finds_or_likelier():
    """That code climbs with scipy's L-BFGS-B from the same start within the same bounds."""
    optimize = pytest.importorskip("scipy.optimize")

    def loss(params, x):
        w, k1, s1, k2, s2 = params
        return -likelihood(x, (w, 1 - w), (k1, k2), (s1, s2))

    rng, behind = np.random.default_rng(2), []
    for i in range(12):
        few = np.exp(-rng.gamma(4, 0.03, 32))
        x = few if i % 2 else np.where(rng.random(32) < 0.5, few, 0.6 * few)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = optimize.minimize(
                loss, [0.5, 1, 1, 1.5, 2], args=(x,), bounds=[(0.2, 0.8), *[(0.01, None)] * 4]
            )
        behind.append(-theirs.fun - likelihood(x, *fit(np.log(x))))
    assert np.median(behind) < 0.01
    assert max(behind) < 2


@settings(max_examples=10)
@given(logs)
def test_what_is_above_the_mean_is_never_pruned_and_something_is_always_left(logp):
    kept, p = likely(logp), np.exp(logp)
    assert kept[p > p.mean()].all()
    assert kept.any()


def test_of_two_clear_groups_the_improbable_one_is_pruned():
    rng = np.random.default_rng(5)
    logp = np.log(np.concatenate([rng.normal(0.9, 0.02, 20), rng.normal(0.3, 0.05, 20)]))
    assert likely(logp).tolist() == [True] * 20 + [False] * 20


def test_equal_probabilities_are_all_kept():
    for n in (1, 2, 16):
        assert likely(np.full(n, -0.1)).all()


def test_impossible_and_underflowing_paths_are_no_error():
    assert likely(np.array([-0.1, -np.inf, -0.2])).tolist()[1] is False
    assert likely(np.full(4, 3 * FLOOR)).all()
    assert not likely(np.full(3, -np.inf)).any()


def test_the_order_of_the_paths_changes_nothing():
    rng = np.random.default_rng(7)
    rows = np.log(rng.uniform(0.01, 0.99, (60, 9)))
    turn = rng.permuted(np.tile(np.arange(9), (60, 1)), axis=1)
    moved = np.take_along_axis(likely(rows), turn, axis=1)
    assert (likely(np.take_along_axis(rows, turn, axis=1)) == moved).all()


def test_many_rows_at_once_are_the_rows_one_by_one():
    rows = -np.random.default_rng(6).gamma(2, 1.5, (2, 10, 12))
    whole = likely(rows)
    for i in np.ndindex(2, 10):
        assert (whole[i] == likely(rows[i])).all()
