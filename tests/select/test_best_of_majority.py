"""Best-of-majority: its limits, its invariances, and a plain count beside it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.select.best import best
from outthink.select.best_of_majority import best_of_majority
from outthink.select.vote import majority

cases = st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 5)), min_size=1, max_size=12).map(
    lambda rows: (np.array([c for c, _ in rows]), np.array([float(s) for _, s in rows]))
)
alphas = st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])
rewards = st.sampled_from(["best", "mean"])


def plainly(classes, scores, k, alpha, reward):
    """The rule as one would say it, an answer at a time."""
    real = [c for c in dict.fromkeys(classes.tolist()) if c >= 0] or [-1]
    count = {c: int((classes == c).sum()) for c in real}
    kept = [c for c in real if count[c] >= alpha * len(classes)]
    kept = kept or [c for c in real if count[c] == max(count.values())]
    stands = {c: min(np.flatnonzero(classes == c), key=lambda i: (-scores[i], i)) for c in kept}
    worth = {
        c: getattr(scores[classes == c], "max" if reward == "best" else "mean")() for c in kept
    }
    ranked = sorted(kept, key=lambda c: (-worth[c], -count[c], stands[c]))[:k]
    return [int(stands[c]) for c in ranked] + [-1] * (k - len(ranked))


@given(cases, st.integers(1, 4), alphas, rewards)
def test_it_is_the_rule_said_plainly(case, k, alpha, reward):
    assert best_of_majority(*case, k, alpha, reward).tolist() == plainly(*case, k, alpha, reward)


@given(cases, st.randoms())
def test_without_a_threshold_one_submission_is_best_of_n(case, random):
    classes, _ = case
    scores = np.array(random.sample(range(100), len(classes)), dtype=float)
    assert best_of_majority(classes, scores)[0] == best(scores, classes)


@given(cases)
def test_at_the_highest_frequency_it_is_the_majority_with_ties_by_reward(case):
    classes, scores = case
    real = classes[classes >= 0] if (classes >= 0).any() else classes
    top = np.unique(real, return_counts=True)[1].max() / len(classes)
    for alpha in (top, 1.0):
        chosen = best_of_majority(classes, scores, 1, alpha)[0]
        wanted = majority(classes, "score", scores)
        assert (classes == classes[chosen]).sum() == (classes == classes[wanted]).sum()
        assert scores[chosen] == scores[wanted]


@given(cases, st.integers(1, 3), alphas)
def test_it_submits_different_answers_and_an_unread_text_only_alone(case, k, alpha):
    classes, scores = case
    found = [int(i) for i in best_of_majority(classes, scores, k, alpha) if i >= 0]
    assert found
    assert len({int(classes[i]) for i in found}) == len(found)
    assert all(classes[i] >= 0 for i in found) or (classes < 0).all()


@given(cases, st.integers(1, 3), alphas, rewards)
def test_a_monotone_change_of_rewards_and_new_names_of_answers_change_nothing(
    case, k, alpha, reward
):
    classes, scores = case
    names = np.array([7, 3, 9, 0, 5, -1])  # of classes 0 ... 4 and -1
    there = best_of_majority(classes, scores, k, alpha, reward)
    assert (best_of_majority(names[classes], 2 * scores + 1, k, alpha, reward) == there).all()


def test_many_rows_at_once_are_the_rows_one_by_one():
    rng = np.random.default_rng(3)
    classes, scores = rng.integers(-1, 5, (3, 50, 9)), rng.integers(0, 4, (3, 50, 9)) / 2
    scores[rng.random(scores.shape) < 0.1] = np.nan
    for reward in ("best", "mean"):
        whole = best_of_majority(classes, scores, 2, 0.2, reward)
        assert whole.shape == (3, 50, 2)
        for i in np.ndindex(3, 50):
            assert (whole[i] == best_of_majority(classes[i], scores[i], 2, 0.2, reward)).all()


def test_an_answer_without_a_score_comes_last():
    classes, scores = np.array([0, 1, 2]), np.array([np.nan, -5.0, np.nan])
    assert best_of_majority(classes, scores, 3).tolist() == [1, 0, 2]
    assert best_of_majority(classes, scores, 3, reward="mean").tolist() == [1, 0, 2]


def test_an_answer_seen_once_is_dropped_though_its_reward_is_the_highest():
    classes = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    scores = np.array([0.6, 0.5, 0.6, 0.2, 0.1, 0.2, 0.2, 0.99])
    assert classes[best_of_majority(classes, scores)[0]] == 2
    assert classes[best_of_majority(classes, scores, alpha=0.2)[0]] == 0
    assert classes[best_of_majority(classes, scores, 2, 0.2)].tolist() == [0, 1]


def test_what_is_out_of_range_is_refused():
    with pytest.raises(BadInput, match="alpha"):
        best_of_majority(np.zeros(2, int), np.zeros(2), alpha=1.5)
    with pytest.raises(BadInput, match="reward"):
        best_of_majority(np.zeros(2, int), np.zeros(2), reward="least")
