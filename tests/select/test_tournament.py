"""Tournaments: who wins with a perfect, a silent and a biased judge, and the published bound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.select.tournament import Knockout, League, knockout_bound
from outthink.select.vote import majority

CLASSES = st.lists(st.integers(-1, 4), min_size=1, max_size=12)


def number(classes):
    """Classes numbered in the order in which they appear."""
    new = {}
    return np.array([-1 if c < 0 else new.setdefault(c, len(new)) for c in classes])


def play(core, prefer):
    """Let ``prefer(a, b)`` say the first one's share of each pair; the comparisons that were needed."""
    asked = 0
    while core.ask().shape[-2]:
        pairs = core.ask()
        asked += int((~core.settled(pairs)).sum())
        core.tell(prefer(pairs[..., 0], pairs[..., 1]))
    return asked


def silent(a, b):
    return np.full(a.shape, np.nan)


@pytest.mark.parametrize("form", [Knockout, League])
@pytest.mark.parametrize("share", [np.nan, 0.5])
@given(classes=CLASSES)
def test_a_judge_that_says_nothing_leaves_the_plain_vote(form, share, classes):
    c = number(classes)
    core = form(c)
    play(core, lambda a, b: np.full(a.shape, share))
    assert int(core.winner()) == majority(c)


@pytest.mark.parametrize("form", [Knockout, League])
@given(classes=CLASSES, good=st.integers(0, 4))
def test_a_perfect_judge_gives_coverage(form, classes, good):
    c = number(classes)
    core = form(c)
    play(core, lambda a, b: np.where(c[a] == c[b], 0.5, np.where(c[a] == good, 1.0, c[b] != good)))
    won = c[int(core.winner())]
    assert (won == good) == bool((c == good).any())


@given(CLASSES)
def test_a_text_without_an_answer_wins_only_alone(classes):
    c = number(classes)
    for core in (Knockout(c), League(c), League(c, opponents=1)):
        play(core, lambda a, b: np.where(c[a] < 0, 1.0, 0.0))
        assert c[int(core.winner())] >= 0 or c.max() < 0


@given(st.integers(1, 17))
def test_who_meets_whom(n):
    everyone = np.arange(n)
    asked = play(core := Knockout(everyone), lambda a, b: (a < b).astype(float))
    assert asked == n - 1
    assert core.winner() == 0
    assert play(League(everyone), silent) == n * (n - 1) // 2
    for opponents in (1, 2):
        pairs = League(everyone, opponents=opponents).ask()
        assert len(pairs) <= n * opponents
        met = np.bincount(pairs.ravel(), minlength=n)
        assert n < 2 * opponents + 2 or (met == 2 * opponents).all()


def test_an_odd_one_goes_on_to_the_head_of_the_next_round():
    core = Knockout(np.arange(5))
    core.tell(np.array([1.0, 0.0]))
    assert core.standing.tolist() == [4, 0, 3]
    core.tell(np.array([0.0]))
    assert core.standing.tolist() == [3, 0]


@given(CLASSES)
def test_equal_answers_are_not_compared(classes):
    c = number(classes)
    core = Knockout(c)
    while len(core.ask()):
        pairs = core.ask()
        same = (c[pairs[:, 0]] == c[pairs[:, 1]]) & (c[pairs[:, 0]] >= 0)
        assert (core.settled(pairs) >= same).all()
        core.tell(np.full(len(pairs), np.nan))


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 4))
def test_rows_are_played_each_by_itself(seed, n, rows):
    rng = np.random.default_rng(seed)
    c = np.stack([number(r) for r in rng.integers(-1, 3, (rows, n))])
    beats = rng.random((n, n))

    for make in (Knockout, League):
        whole = make(c)
        play(whole, lambda a, b: beats[a, b])
        for i in range(rows):
            alone = make(c[i])
            play(alone, lambda a, b: beats[a, b])
            assert whole.winner()[i] == alone.winner()


def test_in_a_league_the_highest_share_of_wins_is_best():
    beats = np.array([[0.5, 1, 1, 0], [0, 0.5, 1, 1], [0, 0, 0.5, 1], [1, 0, 0, 0.5]])
    core = League(np.arange(4))
    play(core, lambda a, b: beats[a, b])
    np.testing.assert_allclose(core.rates, [2 / 3, 2 / 3, 1 / 3, 1 / 3])
    assert core.winner() == 0


@pytest.mark.parametrize(("n", "k"), [(4, 2), (8, 8), (32, 16)])
@pytest.mark.parametrize(("p_gen", "p_comp"), [(0.3, 0.7), (0.5, 0.9)])
def test_a_knockout_fails_no_more_often_than_the_published_bound(n, k, p_gen, p_comp):
    """All wrong answers are one class, as the proof allows, and it is the more frequent."""
    rng = np.random.default_rng(1)
    right = rng.random((4000, n)) < p_gen
    core = Knockout(right.astype(int), np.ones(right.shape))

    def compare(a, b):
        first = np.take_along_axis(right, a, -1)
        wins = rng.binomial(k, np.where(first, p_comp, 1 - p_comp))
        wins = np.where(2 * wins == k, rng.integers(0, 2, wins.shape) * k, wins)
        return wins / k

    play(core, compare)
    failed = 1 - np.take_along_axis(right, core.winner()[:, None], -1).mean()
    assert failed <= knockout_bound(n, k, p_gen, p_comp) + 0.02
    if (n, k, p_gen) == (32, 16, 0.3):
        votes = right.mean(axis=1) > 0.5
        assert 1 - votes.mean() > 0.95 > 0.6 > failed  # where the vote is wrong almost always


def test_the_bound_in_numbers():
    assert knockout_bound(1, 2, 0.3, 0.7) == pytest.approx(0.7)
    assert knockout_bound(8, 16, 0.5, 0.8) == pytest.approx(0.5**8 + 3 * np.exp(-32 * 0.09))
