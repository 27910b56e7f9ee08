"""Shortest majority vote: a vote where lengths are alike, the shorter of two that differ."""

import outthink
from outthink.tasks import chain
from outthink.testing import check_strategy
from tests.strategies.test_strategies import Scripted


def test_it_keeps_the_laws():
    check_strategy("shortest_majority(n=4)")


def test_of_two_that_differ_the_shorter_wins_and_many_long_ones_outweigh_one():
    long, short = "on and on " * 30 + "\nanswer: 1", "so\nanswer: 2"
    assert Scripted([long, short]).solve("shortest_majority(n=2)").answer == "2"
    # 3 / log(92) against 1 / log(3), and 6 against it
    assert Scripted([long] * 3 + [short]).solve("shortest_majority(n=4)").answer == "2"
    assert Scripted([long] * 6 + [short]).solve("shortest_majority(n=7)").answer == "1"


def test_it_is_a_vote_over_the_same_samples():
    problem = chain.make(5, 20, 2)
    mine = outthink.solve(problem.question, strategy="shortest_majority(n=6)")
    vote = outthink.solve(problem.question, strategy="self_consistency(n=6)")
    assert [s.text for s in mine.candidates] == [s.text for s in vote.candidates]
    assert mine.distribution == vote.distribution
    assert mine.answer in vote.distribution
