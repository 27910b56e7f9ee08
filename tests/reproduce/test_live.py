"""What live reproductions compute agrees with counting over all subsets, and with limit cases."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.lab.pools import Pools
from outthink.laws.vote import vote_accuracy
from outthink.reproduce._subsets import at, curve, samples_to_match
from outthink.reproduce.s050_compute_optimal import by_difficulty
from outthink.reproduce.s081_inference_laws import halves
from outthink.reproduce.s093_solve_or_verify import apart

RIGHT = 0


def pools_of(*rows):
    """Pools whose answer 0 is the right one; -1 is a text without an answer."""
    classes = np.array(rows, dtype=np.int32)
    there = np.ones(classes.shape, dtype=bool)
    names = tuple(str(i) for i in range(len(rows)))
    return Pools(classes, classes == RIGHT, np.ones(classes.shape), there, names)


def over_subsets(row, scores, k, choice):
    """The mean accuracy over all subsets of k; tied answers share."""
    got = []
    for some in combinations(range(len(row)), k):
        weights: dict[int, float] = {}
        for i in (i for i in some if row[i] >= 0):
            if choice == "best":
                weights[row[i]] = max(weights.get(row[i], -1.0), scores[i])
            else:
                weights[row[i]] = weights.get(row[i], 0.0) + (1 if choice == "vote" else scores[i])
        top = [a for a, w in weights.items() if w == max(weights.values())]
        got.append(top.count(RIGHT) / len(top) if top else 0.0)
    return np.mean(got)


ROW = [0, 1, 1, -1, 0, 2, 0]
SCORES = [0.9, 0.8, 0.55, 0.99, 0.1, 0.3, 0.2]


@pytest.mark.parametrize("choice", ["vote", "best"])
def test_rules_without_chance_are_the_mean_over_all_subsets(choice):
    sizes = range(1, len(ROW) + 1)
    found = curve(pools_of(ROW, ROW[::-1]), choice, sizes, np.array([SCORES, SCORES[::-1]]))
    expected = [over_subsets(ROW, SCORES, k, choice) for k in sizes]
    np.testing.assert_allclose(found, [expected, expected], atol=1e-9)


def test_a_weighted_vote_is_near_the_mean_over_all_subsets():
    copies = 60
    found = curve(
        pools_of(*[ROW] * copies), "weighted", [1, 3, 5, 7], np.array([SCORES] * copies),
        np.random.default_rng(0),
    )  # fmt: skip
    expected = [over_subsets(ROW, SCORES, k, "weighted") for k in (1, 3, 5, 7)]
    # 12,000 subsets: a standard error below .005
    np.testing.assert_allclose(found.mean(axis=0), expected, atol=0.02)


def test_texts_without_answers_are_never_right():
    for choice in ("vote", "best", "weighted"):
        found = curve(pools_of([-1, -1], [-1, 0]), choice, [1, 2], np.array([[1.0, 1.0]] * 2))
        assert found[0].tolist() == [0.0, 0.0]
        assert found[1, 1] == 1.0


def test_scores_are_asked_for_where_a_rule_needs_them():
    with pytest.raises(ValueError, match="needs scores"):
        curve(pools_of([0, 1]), "best", [1])


def test_a_fraction_of_a_sample_lies_between_its_neighbours():
    table = np.array([[0.0, 0.4, 1.0], [1.0, 1.0, 0.0]])
    assert at(table, [1, 2, 4], 3).tolist() == pytest.approx([0.7, 0.5])
    assert at(table, [1, 2, 4], 2).tolist() == [0.4, 1.0]
    assert at(table, [1, 2, 4], 9).tolist() == [1.0, 0.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_verdicts_come_back_from_their_running_means(verdicts):
    means = np.cumsum(verdicts) / np.arange(1, len(verdicts) + 1)
    np.testing.assert_allclose(apart(means[None, None, :])[0, 0], verdicts, atol=1e-12)


def test_samples_that_match_an_accuracy():
    rising = np.array([0.2, 0.2, 0.6, 0.5, 0.8])
    assert samples_to_match(rising, 0.1) == 1.0
    assert samples_to_match(rising, 0.4) == pytest.approx(2.5)
    # a fall by chance does not count
    assert samples_to_match(rising, 0.6) == 3.0
    assert np.isnan(samples_to_match(rising, 0.9))


def test_the_arm_of_a_bin_is_chosen_on_the_other_half():
    bins = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    # a is best in bin 0 and b in bin 1, in both halves
    a = np.array([1.0, 1, 1, 1, 0, 0, 0, 0])
    assert by_difficulty({"a": a, "b": 1 - a}, bins).tolist() == [1.0] * 8
    # what is best in one half only is of no use
    even = np.arange(8) % 2 == 0
    lucky = {"a": even.astype(float), "b": (~even).astype(float)}
    assert by_difficulty(lucky, bins).tolist() == [0.0] * 8


@given(st.integers(0, 1000))
def test_choosing_by_difficulty_is_worth_nothing_where_arms_are_alike(seed):
    rng = np.random.default_rng(seed)
    arm = rng.random(12)
    bins = rng.integers(0, 3, 12)
    np.testing.assert_array_equal(by_difficulty({"a": arm, "b": arm}, bins), arm)


def test_one_half_of_the_samples_predicts_the_other_and_plugged_shares_fall_short():
    # right with .5, and wrong in one way with .35, in another with .15
    rng = np.random.default_rng(3)
    rows = rng.choice(3, p=[0.5, 0.35, 0.15], size=(500, 32))
    found = halves(pools_of(*rows), 8)
    assert found.predicted.mean() == pytest.approx(found.counted.mean(), abs=0.03)
    assert found.predicted.mean() == pytest.approx(
        vote_accuracy([50, 35, 15], [1, 0, 0], 8), abs=0.02
    )
    # an error of 16 samples' shares on top of that of a vote of 8: as good as a vote of 5.3
    assert found.plugged.mean() < found.predicted.mean() - 0.02
    assert found.plugged.mean() == pytest.approx(found.fewer.mean(), abs=0.03)
