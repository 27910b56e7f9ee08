"""Right, wrong and withheld answers: the counts, and the identity of their changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.lab.transitions import Moves, Shares, grade, numbers

pairs = st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("ABC")), min_size=1)


@given(pairs)
def test_the_change_of_wrong_answers_is_what_moved_into_them_less_what_moved_out(found):
    before, after = (numbers([pair[i] for pair in found]) for i in (0, 1))
    moves = Moves.between(before, after)
    assert moves.change == moves.ventured + moves.lost - moves.abstained - moves.recalled
    assert moves.change == (after == 1).sum() - (before == 1).sum()
    assert moves.table.sum() == len(found)
    for i, a in enumerate("ABC"):
        for j, b in enumerate("ABC"):
            assert moves.table[i, j] == found.count((a, b))


def test_shares_and_the_accuracy_of_what_was_attempted():
    found = Shares.of(numbers("AABBBCCCCC"))
    assert (found.right, found.wrong, found.withheld) == (0.2, 0.3, 0.5)
    assert found.given == pytest.approx(0.4)
    assert np.isnan(Shares.of(numbers("CC")).given)


def test_a_run_without_an_answer_is_withheld():
    assert grade([True, True, False], [True, False, False]).tolist() == [0, 1, 2]


def test_other_letters_and_other_questions_are_refused():
    with pytest.raises(BadInput, match="grade 'D'"):
        numbers("ABD")
    with pytest.raises(BadInput):
        Moves.between(numbers("AB"), numbers("A"))
