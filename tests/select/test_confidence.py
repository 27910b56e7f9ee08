"""Confidence from the likeliest tokens: by definition, at the edges, and what it is good for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.select.calibration import auroc
from outthink.select.confidence import (
    confident,
    consensus,
    group_confidence,
    stops_at,
    text_confidence,
    threshold,
    token_confidence,
)
from outthink.select.vote import elect, support

LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=5)


def padded(lengths, seed=0):
    rng = np.random.default_rng(seed)
    rows = [rng.exponential(5.0, n) for n in lengths]
    out = np.full((len(rows), max(max(lengths), 1)), np.nan)
    for line, row in zip(out, rows, strict=True):
        line[: len(row)] = row
    return out, rows


def groups(row, window):
    """The means of all whole windows; of a shorter text, its own."""
    if len(row) < window:
        return [np.mean(row)] if len(row) else []
    return [np.mean(row[i : i + window]) for i in range(len(row) - window + 1)]


def by_definition(row, measure, window):
    if not len(row):
        return np.nan
    if measure == "mean":
        return np.mean(row)
    if measure == "tail":
        return np.mean(row[-window:])
    found = sorted(groups(row, window))
    few = 1 if measure == "lowest" else max(1, int(len(found) * 0.1))
    return np.mean(found[:few])


@given(LENGTHS, st.integers(1, 15), st.sampled_from(["mean", "tail", "lowest", "bottom"]))
def test_measures_are_what_they_are_said_to_be(lengths, window, measure):
    array, rows = padded(lengths)
    wanted = [by_definition(row, measure, window) for row in rows]
    assert np.allclose(text_confidence(array, measure, window), wanted, equal_nan=True)


def test_the_lowest_tenth_of_many_windows():
    row = np.random.default_rng(1).exponential(5.0, 500)
    found = sorted(groups(row, 32))
    assert len(found) == 469
    assert text_confidence(row, "bottom", 32) == pytest.approx(np.mean(found[:46]))
    assert text_confidence(row, "bottom", 32, share=1.0) == pytest.approx(np.mean(found))


@given(LENGTHS, st.integers(1, 15))
def test_groups_end_at_their_last_token(lengths, window):
    array, rows = padded(lengths)
    found = group_confidence(array, window)
    for line, row in zip(found, rows, strict=True):
        assert np.allclose(line[~np.isnan(line)], groups(row, window))


def test_token_confidence_is_minus_the_mean_of_what_came():
    top = np.log([[0.7, 0.2, 0.05], [0.97, 0.01, 0.01]])
    found = token_confidence(top)
    assert found == pytest.approx(-top.mean(axis=1))
    assert found[1] > found[0]  # one token that takes all: sure
    assert token_confidence(top - 2.0) == pytest.approx(found + 2.0)
    short = np.array([[-0.1, -2.0, -np.inf], [-np.inf] * 3])
    assert token_confidence(short) == pytest.approx([1.05, np.nan], nan_ok=True)


@given(st.lists(st.floats(0, 9), min_size=1, max_size=9), st.floats(0, 1))
def test_the_bar_is_the_quantile_and_what_is_missing_does_not_count(values, keep):
    found = threshold(np.array([*values, np.nan, np.nan]), keep)
    assert found == pytest.approx(np.percentile(values, 100 * (1 - keep)))


def test_the_most_confident_vote_with_their_confidence():
    values, classes = np.array([4.0, 3.0, 2.0, 9.0]), np.array([0, 1, 1, -1])
    assert confident(values, classes, 1.0).tolist() == [4, 3, 2, 0]
    assert confident(values, classes, 0.0).tolist() == [4, 0, 0, 0]
    assert confident(values, classes, 0.5).tolist() == [4, 3, 0, 0]
    # without any confidence, or any answer, it is a plain vote
    assert confident(np.full(4, np.nan), classes, 0.5).tolist() == [1, 1, 1, 1]
    assert confident(values, np.full(4, -1), 0.5).tolist() == [1, 1, 1, 1]
    equal = confident(np.full(4, 0.1 + 0.2), np.zeros(4, dtype=int), 0.3)
    assert (equal > 0).all()


@given(LENGTHS, st.integers(1, 6), st.floats(1, 8))
def test_a_text_is_stopped_at_the_first_window_below_the_bar(lengths, window, bar):
    array, rows = padded(lengths)
    found = stops_at(array, window, bar)
    for at, row in zip(found, rows, strict=True):
        low = [i for i in range(window, len(row) + 1) if np.mean(row[i - window : i]) < bar - 1e-12]
        assert at == (low[0] if low else 0)


@given(LENGTHS, st.integers(1, 6), st.floats(1, 8))
def test_a_text_is_stopped_where_its_lowest_window_is_below_the_bar(lengths, window, bar):
    array, _ = padded(lengths)
    long_enough = (~np.isnan(array)).sum(axis=-1) >= window
    low = text_confidence(array, "lowest", window) < bar
    assert ((stops_at(array, window, bar) > 0) == (long_enough & low)).all()


def test_consensus_is_the_leaders_share_of_what_answers_weigh():
    classes = np.array([[0, 0, 1, -1], [0, 1, 2, 3], [-1, -1, -1, -1]])
    weights = np.array([[1.0, 2.0, 1.0, 9.0]] * 3)
    assert consensus(classes, weights) == pytest.approx([0.75, 9 / 13, 0.0])
    assert consensus(classes[0], np.zeros(4)) == 0


def test_an_unknown_measure_is_refused():
    with pytest.raises(BadInput, match="measure='lowst'"):
        text_confidence(np.ones(3), "lowst")


def simulated_traces(questions=300, n=32, t=120, dip=15, seed=0):
    """Wrong traces are as sure as right ones, but for a short dip that few right ones have."""
    rng = np.random.default_rng(seed)
    right = rng.random((questions, n)) < rng.beta(2, 2.5, questions)[:, None]
    classes = np.where(right, 0, 1 + (rng.random((questions, n)) > 0.7))
    level = rng.normal(12.0, 0.8, (questions, n, 1))
    c = level + rng.normal(0.0, 2.0, (questions, n, t))
    dips = rng.random((questions, n)) < np.where(right, 0.15, 0.7)
    at = rng.integers(0, t - dip, (questions, n))[..., None]
    place = np.arange(t)
    c -= 5.0 * (dips[..., None] & (place >= at) & (place < at + dip))
    return c, classes, right


def test_a_short_doubt_shows_in_the_lowest_window_and_drowns_in_the_mean():
    c, classes, right = simulated_traces()
    area = {
        m: auroc(text_confidence(c, m, 15).ravel(), right.ravel())
        for m in ("mean", "tail", "lowest", "bottom")
    }
    assert area["lowest"] > 0.75
    assert area["bottom"] > 0.7
    assert area["mean"] < 0.65
    assert area["tail"] < 0.65

    def accuracy(weights):
        return float(
            (classes[np.arange(300), elect(support(classes, weights), classes)] == 0).mean()
        )

    low = text_confidence(c, "lowest", 15)
    plain, kept = accuracy(np.ones(classes.shape)), accuracy(confident(low, classes, 0.5))
    assert kept > plain + 0.1
    # stopping at the bar of 8 warm-up traces drops wrong traces first, and saves their rest
    bar = threshold(low[:, :8], 0.5)
    stopped = stops_at(c[:, 8:], 15, bar[:, None])
    spent = np.where(stopped > 0, stopped, c.shape[-1])
    assert spent.mean() < 0.8 * c.shape[-1]
    assert right[:, 8:][stopped == 0].mean() > right[:, 8:].mean() + 0.15
