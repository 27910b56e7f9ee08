"""Minimum Bayes risk: the vote as its limit, and what more references and weights do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from outthink.select.mbr import expected_utility, mbr
from outthink.select.vote import elect, majority, support
from outthink.testing import check_rule

CLASSES = st.lists(st.integers(-1, 4), min_size=1, max_size=12)
MATRICES = st.integers(1, 7).flatmap(
    lambda n: arrays.arrays(np.float64, (n, n), elements=st.floats(0, 1, width=32))
)


def equality(classes):
    c = np.asarray(classes)
    return ((c[..., :, None] == c[..., None, :]) & (c >= 0)[..., None]).astype(float)


@given(CLASSES)
def test_under_equality_it_is_the_majority_vote(classes):
    c = np.asarray(classes)
    assert int(mbr(equality(c), c)) == majority(c)


def test_it_keeps_the_laws_of_rules():
    check_rule(lambda classes, scores, tokens, rng: mbr(equality(classes), classes))


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 1000))
def test_rows_are_decided_each_by_itself(rows, n, seed):
    c = np.random.default_rng(seed).integers(-1, 3, (rows, n))
    assert mbr(equality(c), c).tolist() == [majority(row) for row in c]


@given(MATRICES)
def test_brute_force(u):
    n = len(u)
    best = max(range(n), key=lambda i: (round(sum(u[i]) / n, 12), -i))
    mine = int(mbr(u, np.zeros(n, int)))
    assert sum(u[mine]) == pytest.approx(sum(u[best]))


@given(MATRICES, st.integers(0, 100))
def test_the_order_of_the_samples_does_not_matter_but_for_ties(u, seed):
    order = np.random.default_rng(seed).permutation(len(u))
    value = expected_utility(u)
    turned = expected_utility(u[np.ix_(order, order)])
    np.testing.assert_allclose(turned, value[order], atol=1e-12)


@given(MATRICES)
def test_a_candidate_among_its_own_references_changes_nothing(u):
    u = np.round(np.array(u), 6)  # what is less than that apart is level by rounding alone
    np.fill_diagonal(u, 1.0)
    n = len(u)
    others = (u.sum(axis=1) - 1.0) / max(n - 1, 1)
    assert int(mbr(u, np.zeros(n, int))) == int(elect(others, np.zeros(n, int))) or n == 1


def test_a_text_without_an_answer_wins_only_alone():
    u = np.array([[1.0, 0.9, 0.9], [0.1, 1.0, 0.1], [0.1, 0.1, 1.0]])
    assert mbr(u, np.array([-1, 0, 1])) == 1
    assert mbr(u, np.array([-1, -1, -1])) == 0


@given(CLASSES, st.integers(0, 100))
def test_weights_give_the_weighted_vote(classes, seed):
    c = np.asarray(classes)
    w = np.random.default_rng(seed).random(len(c))
    u = equality(c)
    assert int(mbr(u, c, w)) == int(elect(support(c, np.where(c >= 0, w, 0)), c))


def test_evidence_that_cannot_be_chosen_decides():
    """Two candidates, level among themselves; three references of another source agree with the second."""
    candidates, evidence = np.array([0, 1]), np.array([0, 1, 1, 1, 1])
    u = (candidates[:, None] == evidence).astype(float)
    assert mbr(u[:, :2], candidates) == 0
    assert mbr(u, candidates) == 1
