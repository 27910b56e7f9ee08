"""Rules that prefer short texts: against plain loops, and their limits."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.select.short import (
    ended_first,
    race_cost,
    short_vote,
    shortest,
    shortest_majority,
)
from outthink.select.vote import majority
from outthink.testing import check_rule

ROWS = st.integers(1, 7).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-1, 3), min_size=n, max_size=n),
        st.lists(st.integers(1, 9), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.integers(1, 8),
    )
)


def raced(lengths, ended, m):
    """A clock that ticks: who has ended when m have, and what was written until then."""
    able = [i for i, e in enumerate(ended) if e]
    if not able:
        return list(range(len(lengths))), sum(lengths)
    done = sorted(able, key=lambda i: (lengths[i], i))[:m]
    stop = lengths[done[-1]] if len(done) == m else max(lengths)
    return done, sum(min(size, stop) for size in lengths)


def voted(classes, lengths, among):
    real = [i for i in among if classes[i] >= 0] or list(among)
    votes = Counter(classes[i] for i in real)
    top = [i for i in real if votes[classes[i]] == max(votes.values())]
    return min(top, key=lambda i: (lengths[i], i))


@given(ROWS)
def test_a_race_is_what_a_ticking_clock_says(row):
    classes, lengths, ended, m = row
    c, size, able = np.array(classes), np.array(lengths), np.array(ended)
    done, cost = raced(lengths, ended, m)
    assert np.flatnonzero(ended_first(size, m, able)).tolist() == sorted(done)
    assert race_cost(size, m, able) == cost
    assert short_vote(c, size, m, able) == voted(classes, lengths, done)


@given(ROWS)
def test_all_of_them_is_the_vote_and_one_is_the_shortest(row):
    classes, lengths, _, _ = row
    c, size = np.array(classes), np.array(lengths)
    n = len(c)
    assert short_vote(c, size, n) == short_vote(c, size) == short_vote(c, size, n + 3)
    assert short_vote(c, size, 1) == shortest(size)
    # where no two answers tie, the vote's answer
    votes = Counter(k for k in classes if k >= 0).most_common(2)
    if votes and (len(votes) == 1 or votes[0][1] > votes[1][1]):
        assert c[short_vote(c, size)] == c[majority(c)] == votes[0][0]


@given(ROWS)
def test_shortest_majority_is_the_papers_score(row):
    classes, lengths, _, _ = row
    chosen = int(shortest_majority(np.array(classes), np.array(lengths)))
    real = [i for i, k in enumerate(classes) if k >= 0] or range(len(classes))
    score = {}
    for k in {classes[i] for i in real}:
        mine = [lengths[i] for i in real if classes[i] == k]
        score[k] = len(mine) / math.log(max(sum(mine) / len(mine), 2.0))
    assert score[classes[chosen]] == pytest.approx(max(score.values()))
    mine = [i for i in real if score[classes[i]] == pytest.approx(max(score.values()))]
    assert lengths[chosen] == min(lengths[i] for i in mine)


def test_equal_lengths_leave_the_vote_and_two_samples_give_the_shorter():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, (200, 9))
    chosen = shortest_majority(classes, np.full(classes.shape, 50))
    for row, place in zip(classes, chosen, strict=True):
        votes = Counter(row)
        assert votes[row[place]] == max(votes.values())
    assert shortest_majority(np.array([0, 1]), np.array([900, 100])) == 1
    # three votes of long texts outweigh two of texts a third as long: log 900 / log 300 < 3 / 2
    assert shortest_majority(np.array([0, 0, 0, 1, 1]), np.array([900] * 3 + [300] * 2)) == 0


def test_rules_work_on_any_leading_axes():
    rng = np.random.default_rng(1)
    classes, lengths = rng.integers(-1, 3, (4, 5, 6)), rng.integers(1, 50, (4, 5, 6))
    ended = rng.random((4, 5, 6)) < 0.8
    for rule in (
        lambda c, s, e: short_vote(c, s, 2, e),
        lambda c, s, e: shortest_majority(c, s),
        lambda c, s, e: race_cost(s, 3, e),
    ):
        whole = rule(classes, lengths, ended)
        assert whole.shape == (4, 5)
        for at in np.ndindex(4, 5):
            assert rule(classes[at], lengths[at], ended[at]) == whole[at]


def test_a_race_costs_no_less_for_more_and_all_for_all():
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 500, (50, 8))
    costs = np.stack([race_cost(lengths, m) for m in range(1, 10)])
    assert (np.diff(costs, axis=0) >= 0).all()
    assert (costs[7] == lengths.sum(axis=1)).all()
    assert (costs[0] == 8 * lengths.min(axis=1)).all()


def test_they_are_choosing_rules():
    check_rule(lambda c, scores, tokens, rng: short_vote(c, tokens))
    check_rule(lambda c, scores, tokens, rng: shortest_majority(c, tokens))


def test_a_race_does_not_wait_for_an_answer():
    classes, lengths = np.array([2, -1, 2, 3]), np.array([9, 1, 8, 7])
    assert short_vote(classes, lengths, 1) == 1
    assert short_vote(classes, lengths, 2) == 3
    assert short_vote(classes, lengths, 4) == 2
