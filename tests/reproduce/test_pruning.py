"""The replays of pruning: with nothing dropped the vote of all, and controls that drop as many."""

import numpy as np
import pytest

from outthink.reproduce.s027_slim_sc import Chains, credit, ends_alike, likeness, prune
from outthink.reproduce.s159_deepprune import TRACES, made_up


def chains():
    """Two chains that think the same and end the same, one that thinks otherwise; 30 tokens a line."""
    same = ["one way to see it\n", "and so on it goes\n", "answer: 1\n"]
    other = ["quite another idea\n", "which leads elsewhere\n", "answer: 2\n"]
    tokens = np.tile([30.0, 60.0, 70.0], (3, 1))
    return Chains(
        [same, list(same), other], tokens, np.array([0, 0, 1]), np.array([True, True, False])
    )


def run(how, threshold=0.98, quota=None, draws=4):
    made = chains()
    chosen = np.tile(np.arange(3), (draws, 1))
    known = likeness(made)
    rng = np.random.default_rng(0)
    return made, chosen, prune(made, known, chosen, how, rng, threshold, 2, quota)


def test_with_nothing_dropped_it_is_the_vote_of_all():
    made, chosen, found = run("diversity", threshold=1.01)
    assert (found.tokens == 210).all()
    assert (found.right == credit(made, chosen, np.ones(chosen.shape))).all()
    assert not found.dropped.any()


@pytest.mark.parametrize("how", ["diversity", "random"])
def test_one_of_two_that_think_alike_goes_after_the_second_line(how):
    made, _, found = run(how)
    assert (found.dropped == [0, 0, 1, 0]).all()
    assert (found.tokens == 60 + 70 + 70).all()
    # one vote each: a tie; with the vote inherited the pair has two again
    assert found.right == pytest.approx(0.5)
    assert found.inherited == pytest.approx(1.0)
    assert ends_alike(made, likeness(made)[0], 0.98, 2) == 1.0


def test_the_control_drops_as_many_in_the_same_rounds():
    _, _, slim = run("diversity", draws=300)
    _, _, blind = run("blind", quota=slim.dropped, draws=300)
    assert (blind.dropped == slim.dropped).all()
    assert (blind.tokens == slim.tokens).all()
    # one of the three is gone: the odd one in a third of the draws, else there is a tie
    assert blind.right.mean() == pytest.approx(1 / 3 + 2 / 3 * 0.5, abs=0.05)


def test_a_judge_that_knows_nothing_adds_nothing_and_a_good_one_does():
    rng = np.random.default_rng(1)
    blind, good = made_up(750, 0.5, 0.0, rng), made_up(750, 0.95, 0.0, rng)
    assert abs((blind.pruned - blind.random).mean()) < 0.03
    assert (good.pruned - good.random).mean() > 0.05
    assert good.tokens.mean() < 0.2 * TRACES * 12_000
