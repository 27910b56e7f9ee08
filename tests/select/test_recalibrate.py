"""Self-calibration: labels from agreement, and the map that is fitted to them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.select.calibration import ece
from outthink.select.recalibrate import consistency, logit, mapped, platt


def test_labels_are_the_shares_of_confidence_of_the_reference_code():
    classes = np.array([0, 0, 1, -1, 2])
    confidence = np.array([0.9, 0.3, 0.6, 0.8, 0.2])
    found = consistency(classes, confidence)
    assert found[[0, 1, 2, 4]] == pytest.approx([0.6, 0.6, 0.3, 0.1])
    assert np.isnan(found[3])
    assert consistency(classes)[[0, 2]] == pytest.approx([0.5, 0.25])
    assert np.isnan(consistency(classes, np.zeros(5))).all()


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=12))
def test_the_mean_label_is_the_sum_of_squared_shares(answers):
    classes = np.array(answers)
    labels = consistency(classes)
    known = classes[classes >= 0]
    if len(known):
        shares = np.bincount(known) / len(known)
        assert np.nanmean(labels) == pytest.approx((shares**2).sum())
        assert (labels[classes >= 0] <= 1).all()
        assert (labels[classes >= 0] > 0).all()


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.4, -1.0), (2.5, 1.5)])
def test_the_fit_finds_the_map_that_was_planted(slope, offset):
    rng = np.random.default_rng(0)
    said = rng.random(20_000)
    truth = mapped(said, slope, offset)
    labels = (rng.random(len(said)) < truth).astype(float)
    for targets in (labels, truth):
        assert platt(said, targets) == pytest.approx((slope, offset), abs=0.15)
    assert ece(mapped(said, *platt(said, labels)), labels) < 0.02


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
def test_the_fit_is_a_minimum_of_its_loss(pairs):
    said, labels = np.array(pairs).T
    at = np.array(platt(said, labels))

    def loss(slope, offset):
        z = slope * logit(said) + offset
        pull = 0.5 * ((slope - 1) ** 2 + offset**2)
        return (np.logaddexp(0, z) - labels * z).sum() + pull

    here = loss(*at)
    for step in np.random.default_rng(0).normal(size=(20, 2)) * 0.01:
        assert loss(*(at + step)) >= here - 1e-7


def test_without_labels_nothing_is_changed_and_few_change_little():
    nothing = np.full(3, np.nan)
    assert platt(np.full(3, 0.5), nothing) == (1.0, 0.0)
    slope, offset = platt(np.array([0.5]), np.array([1.0]))
    assert slope == pytest.approx(1.0)
    assert 0 < offset < 0.5


@given(st.floats(0.1, 3), st.floats(-3, 3))
def test_a_rising_map_keeps_the_order(slope, offset):
    said = np.linspace(0.001, 0.999, 50)
    out = mapped(said, slope, offset)
    assert (np.diff(out) > 0).all()
    assert (out > 0).all()
    assert (out < 1).all()
    assert np.isnan(mapped(np.array([np.nan]), slope, offset)).all()


def test_scattered_errors_make_the_labels_too_modest():
    """A model that is right half of the time, and never wrong twice in one way: see the docstring."""
    rng = np.random.default_rng(0)
    right = rng.random((500, 16)) < 0.5
    classes = np.where(right, 0, np.arange(1, 17))
    labels = consistency(classes)
    assert labels.mean() < 0.35
    assert right.mean() == pytest.approx(0.5, abs=0.02)
    always = np.zeros((10, 16), dtype=int)
    assert (consistency(always) == 1).all()
