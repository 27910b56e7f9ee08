"""Shortest right answer over efforts: the agreed answer, in the fewest tokens."""

import pytest

import outthink
from outthink.core.errors import BadInput
from outthink.tasks import chain
from outthink.testing import check_strategy

PROBLEM = chain.make(4, 20, 5)


def test_it_keeps_the_laws():
    check_strategy("shortest_right(n=2)")
    check_strategy('shortest_right(n=2, models=["simulated(steps=2)", "simulated(steps=5)"])')


def test_each_effort_has_its_samples_and_the_shortest_of_the_agreed_is_given():
    answer = outthink.solve(
        PROBLEM.question,
        strategy='shortest_right(n=3, models=["fly(think=2)", "fly(think=4)"])',
    )
    roles = [s.role for s in answer.candidates]
    assert len(roles) == 6
    assert len(set(roles)) == 2
    agreed = [s for s in answer.candidates if s.text.rstrip().endswith(f": {answer.answer}")]
    assert len(agreed) / 6 == pytest.approx(answer.confidence)
    chosen = next(s for s in answer.candidates if s.text == answer.text)
    assert chosen.tokens == min(s.tokens for s in agreed)


def test_an_effort_is_said_to_the_system_and_what_it_says_already_is_kept():
    messages = [
        {"role": "system", "content": "You are Ada."},
        {"role": "user", "content": PROBLEM.question},
    ]
    answer = outthink.solve(
        messages, strategy='shortest_right(n=1, efforts=["Be brief.", "Go on."])'
    )
    heads = [s.messages[0]["content"] for s in answer.candidates]
    assert heads == ["You are Ada.\n\nBe brief.", "You are Ada.\n\nGo on."]


def test_an_effort_without_words_is_refused():
    for efforts in ('["Be brief.", " "]', "[]"):
        with pytest.raises(BadInput, match="efforts"):
            outthink.solve("q?", strategy=f"shortest_right(efforts={efforts})")
