"""Confidence-based early stopping, against the rule as a loop over samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.select.best import best
from outthink.select.vote import tally
from outthink.stop.base import Running
from outthink.stop.confident import first_agreed, first_sure
from outthink.stop.share import Share

ROWS = st.lists(
    st.tuples(st.integers(-1, 3), st.integers(0, 10).map(lambda k: k / 10)), min_size=1, max_size=9
)
THRESHOLDS = st.sampled_from([0.05, 0.3, 0.5, 0.6, 0.85, 1.0, 1.5])


def columns(rows):
    classes, scores = zip(*rows, strict=True)
    return np.array(classes), np.array(scores)


@given(ROWS, THRESHOLDS)
def test_early_stopping_is_the_loop_that_asks_after_each_sample(rows, threshold):
    classes, scores = columns(rows)
    found = first_sure(classes, scores, threshold)
    for k, (c, s) in enumerate(rows, 1):
        if c >= 0 and s >= threshold:
            assert (found.drawn, found.chosen, found.sure) == (k, k - 1, True)
            return
    assert not found.sure
    assert found.drawn == len(rows)
    assert found.chosen == best(scores, classes, "majority")


@given(ROWS, THRESHOLDS)
def test_the_weighted_vote_stops_where_the_heaviest_answer_has_its_share(rows, threshold):
    classes, scores = columns(rows)
    found = first_agreed(classes, scores, threshold)
    for k in range(2, len(rows) + 1):
        kinds, sums = tally(classes[:k], scores[:k])
        if kinds[0] >= 0 and sums.sum() > 0 and sums.max() >= threshold * sums.sum() - 1e-9:
            assert found.sure
            assert found.drawn == k
            break
    else:
        assert not found.sure
        assert found.drawn == len(rows)
    kinds, sums = tally(classes[: found.drawn], scores[: found.drawn])
    given_class = classes[found.chosen]
    assert sums[kinds.tolist().index(given_class)] == pytest.approx(sums.max())
    assert found.chosen < found.drawn
    mine = (classes == given_class) & (np.arange(len(rows)) < found.drawn)
    assert scores[found.chosen] == scores[mine].max()


@given(st.lists(st.integers(0, 3), min_size=2, max_size=9), st.sampled_from([0.51, 0.7, 0.9]))
def test_with_equal_confidence_it_is_adaptive_consistency_by_shares(answers, threshold):
    classes = np.array(answers)
    found = first_agreed(classes, np.ones(len(classes)), threshold)
    ends = np.flatnonzero(Share(threshold, least=2).stops(Running.of(classes)))
    assert found.drawn == (ends[0] + 1 if len(ends) else len(classes))


@given(st.lists(ROWS, min_size=1, max_size=4), THRESHOLDS)
def test_rows_are_looked_at_each_by_itself(some, threshold):
    n = min(map(len, some))
    classes = np.array([[c for c, _ in row[:n]] for row in some])
    scores = np.array([[s for _, s in row[:n]] for row in some])
    for rule in (first_sure, first_agreed):
        together = rule(classes, scores, threshold)
        for i in range(len(some)):
            alone = rule(classes[i], scores[i], threshold)
            assert [int(a) for a in alone] == [int(t[i]) for t in together]


@given(ROWS, THRESHOLDS, st.permutations(range(4)))
def test_what_answers_are_called_plays_no_part(rows, threshold, names):
    classes, scores = columns(rows)
    renamed = np.array([names[c] if c >= 0 else -1 for c in classes])
    for rule in (first_sure, first_agreed):
        a, b = rule(classes, scores, threshold), rule(renamed, scores, threshold)
        assert [int(x) for x in a] == [int(x) for x in b]


@given(ROWS)
def test_a_lower_threshold_never_draws_more(rows):
    classes, scores = columns(rows)
    drawn = [int(first_sure(classes, scores, t).drawn) for t in (0.1, 0.4, 0.7, 1.1)]
    assert drawn == sorted(drawn)


def test_a_text_without_an_answer_is_never_sure_and_a_score_of_nan_neither():
    found = first_sure(np.array([-1, 0, 1]), np.array([1.0, np.nan, 0.2]), 0.5)
    assert not found.sure
    assert found.chosen == 2
    found = first_agreed(np.array([-1, 0, 0, 1]), np.array([1.0, np.nan, np.nan, 0.1]), 0.9)
    assert found.sure
    assert found.chosen == 3
    nothing = np.array([-1, -1])
    assert not first_sure(nothing, np.ones(2), 0.5).sure
    assert not first_agreed(nothing, np.ones(2), 0.5).sure


def test_of_calibrated_confidences_the_answer_given_early_is_right_as_often_as_promised():
    rng = np.random.default_rng(0)
    scores = rng.random((20_000, 8))
    right = rng.random(scores.shape) < scores
    classes = np.where(right, 0, np.arange(1, 9))
    found = first_sure(classes, scores, 0.9)
    early = right[np.arange(len(right)), found.chosen][found.sure]
    assert early.mean() == pytest.approx(0.95, abs=0.01)  # the mean of what is above 0.9
    assert found.drawn.mean() == pytest.approx(sum(0.9**k for k in range(8)), abs=0.1)
