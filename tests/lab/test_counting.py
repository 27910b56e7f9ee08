"""Counting questions with distractors: the answer, the dial and the seed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.lab.counting import CATEGORIES, LEVELS, counting, problems


@given(st.integers(0, 9), st.integers(0, 10_000))
def test_the_answer_is_2_and_the_seed_decides_all(distractors, seed):
    made, again = counting(distractors, seed), counting(distractors, seed)
    assert made.reference == "2"
    assert made.question == again.question
    # a beginning, the distractors, the question
    assert made.question.count(". ") == distractors + 1
    first, second = made.meta["things"]
    things = CATEGORIES[made.meta["category"]]
    assert first in things[0]
    assert second in things[1]
    assert first in made.question
    assert second in made.question


def test_things_of_a_category_are_different_and_no_number_is_in_a_question_without_distractors():
    for one, other in CATEGORIES.values():
        assert not set(one) & set(other)
    for made in problems(20, levels=(0,)):
        assert not any(c.isdigit() for c in made.question)


def test_a_set_has_as_many_of_each_level_and_no_text_twice():
    found = problems(25, seed=3)
    assert [p.meta["distractors"] for p in found] == [d for d in LEVELS for _ in range(25)]
    assert len({p.question for p in found}) == len({p.id for p in found}) == 100
    assert {p.question for p in found}.isdisjoint(
        p.question for p in problems(25, levels=(1, 3, 5), seed=4)
    )


def test_what_cannot_be_is_refused():
    with pytest.raises(BadInput, match="distractors=-1"):
        counting(-1, 0)
    with pytest.raises(BadInput, match="fewer questions"):
        problems(500, levels=(0,))
