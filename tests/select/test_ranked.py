"""Ranked votes: the plain vote as their limit, closed forms, a brute-force election."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.select import ranked
from outthink.select.ranked import RULES, rank_vote
from outthink.select.vote import majority

BALLOTS = st.lists(
    st.lists(st.integers(0, 4), max_size=4, unique=True).map(tuple), min_size=1, max_size=9
).filter(any)


def rows(ballots, width=None):
    width = width or max(map(len, ballots))
    return np.array([[*b, *[-1] * (width - len(b))] for b in ballots])


def named(ballots):
    """The same ballots with answers numbered in the order of being named."""
    new = {}
    return [tuple(new.setdefault(c, len(new)) for c in b) for b in ballots], len(new)


@pytest.mark.parametrize("rule", RULES)
@given(classes=st.lists(st.integers(-1, 4), min_size=1, max_size=12).filter(lambda c: max(c) >= 0))
def test_rankings_of_one_answer_are_the_plain_vote(rule, classes):
    ballots, kinds = named([(c,) if c >= 0 else () for c in classes])
    _, won = rank_vote(rows(ballots, 1), kinds, rule)
    numbered = np.array([b[0] if b else -1 for b in ballots])
    assert won == numbered[majority(numbered)]


def test_points_are_those_of_the_reference_code():
    """A ranking of m gives its first m points and 1 / 1, its last 1 point and 1 / m."""
    found = rows([(0, 1, 2), (1, 0), (2,)])
    assert ranked.borda(found, 3).tolist() == [3 + 1, 2 + 2, 1 + 1]
    np.testing.assert_allclose(
        ranked.mean_reciprocal_rank(found, 3), [1 + 1 / 2, 1 / 2 + 1, 1 / 3 + 1]
    )


def test_a_second_choice_of_all_wins_by_points_and_falls_first_in_a_runoff():
    ballots = rows([(0, 2, 1), (0, 2, 1), (0, 2, 1), (1, 2, 0), (1, 2, 0), (1, 2, 0), (2, 1, 0)])
    assert rank_vote(ballots, 3, "borda")[1] == 2
    assert rank_vote(ballots, 3, "irv")[1] == 1  # the one ballot for 2 passes on to 1
    held = rank_vote(ballots, 3, "irv")[0]
    assert held.tolist() == [3, 4, 1]


def test_a_runoff_passes_votes_on_where_a_plurality_drops_them():
    ballots = rows([(0,), (0,), (0,), (1, 2), (1, 2), (2, 1), (2, 1)])
    assert rank_vote(ballots, 3, "irv")[1] != 0
    assert Counter(b[0] for b in ballots.tolist()).most_common(1)[0][0] == 0


def slow_irv(ballots, kinds):
    """The election by hand: count, strike the worst, count again."""
    standing = set(range(kinds))
    points = Counter(dict.fromkeys(standing, 0))
    for b in ballots:
        for i, c in enumerate(b):
            points[c] += len(b) - i
    while len(standing) > 1:
        votes = Counter(dict.fromkeys(standing, 0))
        for b in ballots:
            top = next((c for c in b if c in standing), None)
            if top is not None:
                votes[top] += 1
        standing.remove(min(standing, key=lambda c: (votes[c], points[c], -c)))
    return standing.pop()


@given(BALLOTS)
def test_brute_force(ballots):
    ballots, kinds = named(ballots)
    found = rows(ballots)
    assert rank_vote(found, kinds, "irv")[1] == slow_irv(ballots, kinds)
    points, turns = [0.0] * kinds, [0.0] * kinds
    for b in ballots:
        for i, c in enumerate(b):
            points[c] += len(b) - i
            turns[c] += 1 / (i + 1)
    np.testing.assert_allclose(rank_vote(found, kinds, "borda")[0], points)
    np.testing.assert_allclose(rank_vote(found, kinds, "mrr")[0], turns)
    assert rank_vote(found, kinds, "borda")[1] == int(np.argmax(points))


@pytest.mark.parametrize("rule", RULES)
@given(ballots=BALLOTS, seed=st.integers(0, 100))
def test_the_order_of_the_samples_does_not_matter(rule, ballots, seed):
    ballots, kinds = named(ballots)
    order = np.random.default_rng(seed).permutation(len(ballots))
    found = rows(ballots)
    one, other = rank_vote(found, kinds, rule), rank_vote(found[order], kinds, rule)
    np.testing.assert_allclose(one[0], other[0])
    assert one[1] == other[1]


@pytest.mark.parametrize("rule", RULES)
@given(ballots=BALLOTS, seed=st.integers(0, 100))
def test_the_winner_is_the_strongest(rule, ballots, seed):
    ballots, kinds = named(ballots)
    strength, won = rank_vote(rows(ballots), kinds, rule)
    assert strength[won] == pytest.approx(strength.max())


def test_a_majority_of_first_places_wins_a_runoff():
    for ballots in itertools.product(itertools.permutations(range(3)), repeat=3):
        first = Counter(b[0] for b in ballots).most_common(1)[0]
        if first[1] > 1:
            assert rank_vote(rows(ballots), 3, "irv")[1] == first[0]


@given(st.integers(0, 1000), st.integers(1, 4))
def test_leading_axes_are_decided_each_by_itself(seed, elections):
    rng = np.random.default_rng(seed)
    found = rng.integers(-1, 4, (elections, 2, 5, 3))
    found[..., 0, 0] = 0
    for rule in RULES:
        strength, won = rank_vote(found, 4, rule)
        assert strength.shape == (elections, 2, 4)
        for at in np.ndindex(elections, 2):
            alone = rank_vote(found[at], 4, rule)
            np.testing.assert_allclose(strength[at], alone[0])
            assert won[at] == alone[1]


def test_gaps_and_repetitions_are_closed():
    np.testing.assert_array_equal(
        ranked.ranks(np.array([[2, 2, -1, 0, 1], [-1, 1, 1, 1, -1]]), 3), [[2, 3, 1], [0, 1, 0]]
    )


def test_wrong_words_are_refused():
    with pytest.raises(BadInput, match="did you mean 'borda'"):
        rank_vote(np.array([[0]]), 1, "bordar")
    with pytest.raises(ValueError, match="at least one answer"):
        rank_vote(np.array([[-1]]), 0)
