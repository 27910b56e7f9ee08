import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.select.aggregate import AGGREGATES, aggregate
from outthink.select.best import best
from outthink.select.coverage import pass_at_k
from outthink.select.vote import elect, majority, support, tally, weighted
from outthink.testing import check_rule

CLASSES = st.lists(st.integers(-1, 4), min_size=1, max_size=30)


@given(CLASSES)
def test_the_majority_is_a_most_frequent_class_and_no_answer_never_wins(classes):
    winner = classes[majority(np.array(classes))]
    real = [c for c in classes if c >= 0]
    if real:
        assert winner >= 0
        assert real.count(winner) == max(map(real.count, real))
    else:
        assert winner == -1


@given(CLASSES, st.integers(0, 1000), st.floats(0.01, 100))
def test_a_weighted_vote_ignores_the_unit_of_its_weights_and_the_order_of_samples(
    classes, seed, unit
):
    rng = np.random.default_rng(seed)
    c = np.array(classes)
    w = rng.random(len(c))
    winner = c[weighted(c, w)]
    assert c[weighted(c, w * unit)] == winner
    order = rng.permutation(len(c))
    assert c[order][weighted(c[order], w[order])] == winner


def test_ties_go_to_the_class_with_more_samples_and_then_to_the_first():
    assert weighted(np.array([0, 1, 1]), [1.0, 0.5, 0.5]) == 1
    assert majority(np.array([2, 1, 1, 2])) == 0
    assert weighted(np.array([0, 0]), [0.2, 0.9]) == 1


def test_weights_that_are_no_numbers_count_nothing():
    kinds, sums = tally(np.array([0, 1, 1]), [math.nan, -3.0, 0.5])
    assert kinds.tolist() == [0, 1]
    assert sums.tolist() == [0.0, 0.5]


@given(st.lists(st.floats(-5, 5) | st.just(math.nan), min_size=1, max_size=20))
def test_the_best_has_the_highest_score_and_nan_never_wins(scores):
    top = scores[best(scores)]
    numbers = [s for s in scores if not math.isnan(s)]
    if numbers:
        assert top == max(numbers)


def test_a_text_without_an_answer_is_best_only_alone():
    assert best([0.9, 0.1], np.array([-1, 0])) == 1
    assert best([0.1, 0.9], np.array([-1, -1])) == 1


@given(st.integers(1, 40), st.data())
def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_one(n, data):
    c = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    exact = 1 - math.comb(n - c, k) / math.comb(n, k)
    assert pass_at_k(n, c, k) == pytest.approx(exact, abs=1e-12)


def test_step_scores_are_aggregated_as_named():
    steps = [0.9, 0.5, 0.8]
    got = {how: aggregate(steps, how) for how in AGGREGATES}
    assert got == pytest.approx({"last": 0.8, "min": 0.5, "product": 0.36, "mean": 2.2 / 3})
    assert math.isnan(aggregate([], "min"))
    with pytest.raises(BadInput, match="min"):
        aggregate(steps, "mn")


def test_of_equal_scores_the_majority_of_those_that_tie_wins():
    classes = np.array([0, 1, 1, 0, 0, -1])
    assert best([1, 1, 1, 0, 0, 1], classes, "majority") == 1
    assert best([0, 0, 0, 0, 0, 0], classes, "majority") == 0
    assert best([np.nan] * 6, classes, "majority") == 0
    assert best([0, 0, 1, 0, 0, 1], classes, "majority") == 2
    with pytest.raises(BadInput, match="classes"):
        best([1, 1], None, "majority")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9, unique=True))
def test_without_ties_every_rule_is_the_argmax(scores):
    rng = np.random.default_rng(0)
    classes = np.zeros(len(scores), dtype=np.int64)
    lengths = np.ones(len(scores), dtype=np.int64)
    for rule in ("majority", "first", "shortest", "random"):
        assert best(scores, classes, rule, lengths, rng) == int(np.argmax(scores))


ROWS = st.integers(0, 10_000).map(
    lambda seed: np.random.default_rng(seed).integers(-1, 4, (6, 1 + seed % 9))
)


@given(ROWS, st.integers(0, 100))
def test_support_is_the_weight_of_each_samples_class(classes, seed):
    w = np.random.default_rng(seed).uniform(-0.2, 1, classes.shape)
    found = support(classes, w)
    for row, weights, sums in zip(classes, w, found, strict=True):
        for i, klass in enumerate(row):
            mine = sum(max(v, 0) for v, k in zip(weights, row, strict=True) if k == klass)
            hidden = klass < 0 and (row >= 0).any()
            assert sums[i] == pytest.approx(0 if hidden else mine)
        np.testing.assert_allclose(support(row, weights), sums)


@given(ROWS)
def test_the_largest_support_elects_the_majority(classes):
    places = elect(support(classes), classes)
    assert places.tolist() == [majority(row) for row in classes]


def test_who_has_no_answer_or_no_number_is_elected_last():
    strength = np.array([[9.0, np.nan, 1.0, 1.0], [9.0, 3.0, 9.0, 1.0], [np.nan] * 4])
    classes = np.array([[-1, 0, 1, 2], [-1, -1, -1, -1], [-1, -1, 2, 3]])
    assert elect(strength, classes).tolist() == [2, 0, 2]


def test_the_laws_of_a_choosing_rule_catch_what_breaks_them():
    check_rule(lambda c, s, t, r: elect(support(c), c))
    check_rule(lambda c, s, t, r: elect(support(c, s["v"]), c), ["v"])
    broken = {
        "answer": lambda c, s, t, r: np.zeros(len(c), dtype=int),
        "renaming": lambda c, s, t, r: elect(c.astype(float), c),
        "place": lambda c, s, t, r: np.full(len(c), c.shape[1]),
        "rows": lambda c, s, t, r: elect(support(c) - c.mean(), c) * (len(c) > 1),
        "repeats": lambda c, s, t, r: elect(np.random.default_rng().random(c.shape), c),
        "order": lambda c, s, t, r: elect(np.arange(c.shape[1]) + 0.0 * c, c),
    }
    for law, rule in broken.items():
        with pytest.raises(AssertionError, match=f"law '{law}'"):
            check_rule(rule)
