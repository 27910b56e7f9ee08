"""Scores and votes from token probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.select.likelihood import SOFT, distinct, path_weights, token_score
from outthink.select.vote import support

tokens = st.lists(st.floats(-20.0, 0.0), min_size=1, max_size=30)
paths = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=20)


@given(tokens)
def test_the_least_is_below_the_geometric_mean_and_that_below_the_mean(logprobs):
    least, product, mean = (token_score(logprobs, how) for how in ("min", "product", "mean"))
    assert 0 <= least <= product * (1 + 1e-9)
    assert product <= mean * (1 + 1e-9) <= 1 + 1e-6


@given(tokens)
def test_the_product_is_the_root_of_the_probability_of_the_text(logprobs):
    wanted = np.exp(sum(logprobs)) ** (1 / len(logprobs))
    assert token_score(logprobs, "product") == pytest.approx(wanted, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("how", SOFT)
def test_equal_tokens_score_as_one_of_them_and_none_has_no_score(how):
    assert token_score(np.full(9, np.log(0.3)), how) == pytest.approx(0.3)
    assert np.isnan(token_score([], how))


def test_an_unknown_way_names_the_nearest():
    with pytest.raises(BadInput, match="mean"):
        token_score([-1.0], "meen")


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_distinct_marks_the_first_of_each_text(texts):
    assert distinct(np.array(texts)).tolist() == [t not in texts[:i] for i, t in enumerate(texts)]
    both = distinct(np.array([texts, texts[::-1]]))
    assert (both[1] == distinct(np.array(texts[::-1]))).all()


@given(paths, st.floats(-900.0, 0.0))
def test_an_answer_weighs_what_its_distinct_paths_have_together(drawn, shift):
    """As a set of paths would say it; scaling all probabilities changes no share."""
    texts, classes = np.array([t for t, _ in drawn]), np.array([t % 3 for t, _ in drawn])
    logp = -0.5 - 0.3 * texts
    weights = path_weights(classes, logp + shift, texts, prune=False)
    there = {t: np.exp(-0.5 - 0.3 * t) for t in texts.tolist()}
    total = sum(there.values())
    wanted = [sum(p for t, p in there.items() if t % 3 == c) / total for c in classes.tolist()]
    assert support(classes, weights) / weights.sum() == pytest.approx(wanted)


def test_with_all_paths_seen_the_confidence_is_the_true_probability_of_the_answer():
    p = np.array([0.5, 0.2, 0.2, 0.1])
    texts = np.array([0, 0, 0, 1, 2, 3, 0, 1])
    classes = np.array([0, 1, 0, 1])[texts]
    weights = path_weights(classes, np.log(p)[texts], texts, prune=False)
    shares = support(classes, weights) / weights.sum()
    assert shares == pytest.approx(np.where(classes == 0, 0.7, 0.3))


def test_equal_probabilities_of_different_texts_are_the_plain_vote():
    weights = path_weights(np.arange(6) % 2, np.full(6, -3.0), np.arange(6))
    assert weights.tolist() == [1.0] * 6


def test_a_text_counts_once_by_the_first_of_its_copies_that_is_kept():
    logp = np.array([np.nan, -1.0, -1.0, -2.0])
    weights = path_weights(np.zeros(4, int), logp, np.array([0, 0, 0, 1]), prune=False)
    assert weights == pytest.approx([0, 1, 0, np.exp(-1)])


def test_unknown_and_impossible_paths_weigh_nothing():
    logp = np.array([np.nan, -1.0, -np.inf, -2.0])
    weights = path_weights(np.zeros(4, int), logp, np.arange(4), prune=False)
    assert weights == pytest.approx([0, 1, 0, np.exp(-1)])
    assert not path_weights(np.zeros(3, int), np.full(3, np.nan), np.arange(3)).any()


def test_pruning_never_leaves_only_texts_without_an_answer():
    logp = np.log([0.9, 0.9, 0.91, 0.3, 0.31, 0.29])
    pruned = path_weights(np.array([0, 0, 0, 1, 1, 1]), logp, np.arange(6))
    assert (pruned > 0).tolist() == [True] * 3 + [False] * 3
    unread = path_weights(np.array([-1, -1, -1, 1, 1, 1]), logp, np.arange(6))
    assert (unread > 0).all()
