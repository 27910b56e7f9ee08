"""How far samples agree: against counting by hand, and ModelSwitch's formula as its repository has it."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.select.agree import consistency, leaders, own_weight, settled, switch_weights
from outthink.select.vote import elect, support, weighted

rows = st.lists(st.integers(-1, 4), min_size=1, max_size=9)


def by_hand(row):
    """The weight of one model's answers, step by step."""
    answers = [a for a in row if a >= 0]
    if not answers:
        return 0.0
    counts, k = Counter(answers), len(answers)
    if len(counts) == 1:
        return 1.0
    entropy = -sum(c / k * math.log2(c / k) for c in counts.values())
    return 1 / k + (1 - 1 / k) * (1 - entropy / math.log2(len(counts)))


@given(rows)
def test_leader_votes_and_weight_are_those_of_counting(row):
    counts = Counter(a for a in row if a >= 0)
    klass, votes = leaders(np.array(row))
    top = max(counts.values(), default=0)
    assert votes == top
    first = next((a for a in row if a >= 0 and counts[a] == top), -1)
    assert klass == first
    answered = sum(counts.values())
    share = top / answered if answered > 1 else 0.0
    assert consistency(np.array(row)) == pytest.approx(share)
    assert own_weight(np.array(row)) == pytest.approx(by_hand(row), abs=1e-12)


@given(st.lists(rows.filter(lambda r: len(r) < 7), min_size=1, max_size=4))
def test_many_rows_at_once_are_each_as_alone(some):
    wide = max(map(len, some))
    padded = np.array([[*row, *[-1] * (wide - len(row))] for row in some])
    # -1 is no answer and no vote: padding changes nothing
    for together, row in zip(own_weight(padded), some, strict=True):
        assert together == pytest.approx(by_hand(row), abs=1e-12)


def test_the_weight_is_1_where_all_agree_and_one_over_k_where_they_are_evenly_split():
    assert own_weight(np.array([3, 3, 3, 3])) == 1.0
    assert own_weight(np.array([0, 1, 2, 3])) == pytest.approx(1 / 4)
    # whatever the number of answers among which it is split
    assert own_weight(np.array([0, 0, 1, 1])) == pytest.approx(1 / 4)
    assert own_weight(np.array([-1, -1])) == 0.0


@given(rows, st.permutations(range(5)))
def test_renaming_answers_and_another_order_change_no_weight(row, names):
    named = np.array([names[a] if a >= 0 else -1 for a in row])
    assert own_weight(named[::-1].copy()) == pytest.approx(float(own_weight(np.array(row))))


def test_a_question_is_settled_when_every_temperature_is_sure_of_the_same_answer():
    sure, split = [1, 1, 1, 1, 2], [1, 1, 1, 2, 2]
    assert settled(np.array([sure, sure]))
    assert not settled(np.array([sure, split])), "three of five are fewer than .8"
    assert settled(np.array([sure, split]), intra=0.6)
    assert not settled(np.array([sure, [0, 0, 0, 0, 0]]))
    assert settled(np.array([sure, sure, [0, 0, 0, 0, 0]]), cross=2 / 3)
    assert not settled(np.array([[1, 1, 1, 1, -1, -1]] * 2)), "no answer counts against a source"
    assert not settled(np.full((2, 3), -1)), "no answers agree on nothing"
    many = np.array([[sure, sure], [sure, split]])
    assert settled(many).tolist() == [True, False]


def test_sources_after_a_consistent_one_have_no_weight():
    agreed, split, other = [5, 5], [1, 2], [3, 3]
    assert switch_weights(np.array([agreed, split, other]))[:, 0].tolist() == [1, 0, 0]
    assert switch_weights(np.array([split, agreed, other]))[:, 0].tolist() == [0.5, 1, 0]
    assert (switch_weights(np.array([split, [1, 3], other]), entropy=False) == 1).all()
    half = switch_weights(np.array([split, agreed, other]), threshold=0.5)
    assert half[:, 0].tolist() == [0.5, 0, 0]
    trusted = switch_weights(np.array([split, other, agreed]), trust=[3, 2, 1], entropy=False)
    assert trusted[:, 0].tolist() == [3, 2, 0]


@given(st.lists(st.integers(-1, 3), min_size=6, max_size=6))
def test_one_source_alone_is_a_plain_vote(row):
    classes = np.array([row])
    weights = switch_weights(classes)
    place = elect(support(classes, weights), classes)[0]
    assert row[place] == row[weighted(np.array(row), np.ones(6), "first")]
