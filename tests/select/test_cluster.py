"""Greedy clusters by a pair judge: a perfect judge finds the answers, and few members are asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.select.cluster import greedy_clusters, to_finish


def one_by_one(judged, tau, most):
    """The rule for one set of texts where all members are asked."""
    groups = [[0]]
    for i in range(1, len(judged)):
        means = [np.mean([judged[i, j] for j in group]) for group in groups]
        best = int(np.argmax(means))
        if means[best] > tau or len(groups) == most:
            groups[best].append(i)
        else:
            groups.append([i])
    labels = np.zeros(len(judged), dtype=int)
    for g, group in enumerate(groups):
        labels[group] = g
    return labels


def rng():
    return np.random.default_rng(0)


@given(
    st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 4), st.sampled_from([0.3, 0.5, 0.7])
)
def test_many_sets_at_once_are_grouped_as_one_by_one(seed, n, most, tau):
    judged = np.random.default_rng(seed).random((4, n, n))
    labels, asked = greedy_clusters(judged, tau, most, n, rng())
    for k in range(4):
        assert labels[k].tolist() == one_by_one(judged[k], tau, most).tolist()
    assert (asked == n * (n - 1) // 2).all()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 12))
def test_a_perfect_judge_finds_the_answers_whomever_it_asks(answers, compare):
    c = np.array(answers)
    labels, asked = greedy_clusters((c[:, None] == c) * 1.0, 0.5, 32, compare, rng())
    _, first = np.unique(c, return_index=True)
    names = {c[i]: k for k, i in enumerate(sorted(first))}
    assert labels.tolist() == [names[a] for a in answers]
    sizes = [min(compare, answers[:i].count(a)) for i in range(len(c)) for a in set(answers[:i])]
    assert asked == sum(sizes)


def test_a_judge_that_sees_nothing_alike_opens_groups_until_there_are_enough():
    labels, _ = greedy_clusters(np.zeros((6, 6)), 0.5, 3, 10, rng())
    assert labels[:3].tolist() == [0, 1, 2]
    assert (labels[3:] < 3).all()
    labels, _ = greedy_clusters(np.full((6, 6), 0.51), 0.5, 3, 10, rng())
    assert not labels.any()


def test_the_few_that_are_asked_speak_for_a_group_on_average():
    # text 5 is like two of the five members: asked one, it joins two times of five
    judged = np.zeros((2_000, 6, 6))
    judged[:, :5, :5] = 1.0
    judged[:, 5, :2] = 1.0
    labels, asked = greedy_clusters(judged, 0.5, 4, 1, rng())
    assert (asked == 5).all()
    assert np.mean(labels[:, 5] == 0) == pytest.approx(0.4, abs=0.035)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=15), st.integers(1, 6))
def test_a_few_of_the_largest_group_are_finished(labels, finish):
    found = np.array(labels)
    chosen = np.flatnonzero(to_finish(found, finish, rng()))
    sizes = np.bincount(found)
    assert 1 <= len(chosen) == min(finish, sizes.max() if sizes.max() > 1 else len(labels))
    if sizes.max() > 1:
        assert len(set(found[chosen])) == 1
        assert sizes[found[chosen[0]]] == sizes.max()


def test_every_member_is_finished_equally_often():
    labels = np.tile([1, 0, 0, 2, 0, 0], (4_000, 1))
    shares = to_finish(labels, 2, rng()).mean(axis=0)
    assert shares[[0, 3]].tolist() == [0, 0]
    assert shares[[1, 2, 4, 5]] == pytest.approx(0.5, abs=0.04)
