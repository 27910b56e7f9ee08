"""Trimming bisects: it finds a sharp threshold, keeps the answer, and gives up in time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.search.trim import Trim


def play(search, threshold, m=4, floor=0, wrong=1):
    """A model that is right from the threshold on and as long as it may be, but never below ``floor``."""
    asked = []
    while (limit := search.ask()) is not None:
        asked.append(limit)
        kind = 0 if limit >= threshold else wrong
        search.tell(limit, np.full(m, kind), np.full(m, float(max(limit, floor))))
    return asked


def started(high, m=4, **settings):
    search = Trim(high, **settings)
    search.start(np.zeros(m, dtype=int), np.full(m, float(high)))
    return search


@given(st.integers(10, 2000), st.floats(0.05, 0.95))
def test_a_sharp_threshold_is_found_to_the_gap(high, share):
    threshold = max(1, int(share * high))
    search = started(high, patience=100)
    asked = play(search, threshold)
    assert search.high == threshold
    assert search.low == threshold - 1
    assert len(asked) <= np.ceil(np.log2(high)) + 1
    assert search.best == 4 * (1 + max(i for i, a in enumerate(asked) if a == threshold)) or (
        threshold == high and search.best == 0
    )


def test_its_text_is_the_shortest_of_those_that_kept_the_answer():
    search = started(100, gap=10)
    search.tell(50, np.array([0, 0, 0, 1]), np.array([50.0, 48, 52, 20]))
    assert (search.low, search.high) == (0, 50)
    assert search.best == 4 + 1
    search.tell(25, np.array([0, 1, 1, 1]), np.array([10.0, 25, 25, 25]))
    assert (search.low, search.high) == (25, 50)
    # a short text of a round that broke does not count
    assert search.best == 4 + 1


@pytest.mark.parametrize("patience", [0, 1, 2])
def test_it_gives_up_after_as_many_misses_in_a_row(patience):
    search = started(1000, patience=patience)
    asked = play(search, threshold=1001)  # every limit breaks the answer
    assert len(asked) == patience + 1
    assert search.high == 1000


def test_a_model_that_does_not_obey_is_a_miss_too():
    search = started(1000, patience=1)
    asked = play(search, threshold=0, floor=1000)
    assert asked == [500, 250]


def test_what_comes_under_tight_limits_does_not_change_the_answer():
    search = Trim(100, patience=9)
    search.start(np.array([0, 0, 1, 2]), np.array([100.0, 90, 100, 100]))
    for _ in range(3):
        limit = search.ask()
        search.tell(limit, np.array([1, 1, 1, 1]), np.array([60.0, 50, 50, 55]))
    assert (search.answer, search.best, search.high, search.misses) == (0, 1, 100, 3)


def test_a_ladder_is_tried_down_to_its_first_rung():
    search = Trim(high=3, low=-1)
    search.start(np.zeros(2, dtype=int), np.array([80.0, 82]))
    asked = []
    while (rung := search.ask()) is not None:
        asked.append(rung)
        search.tell(rung, np.zeros(2, dtype=int), np.full(2, 10.0 * (rung + 1)))
    assert asked == [1, 0]
    assert search.high == 0


def test_texts_without_an_answer_lead_only_alone():
    search = Trim(10)
    search.start(np.array([-1, -1, 5]), np.array([1.0, 2, 9]))
    assert search.answer == 5
    assert search.best == 2
    empty = Trim(10)
    empty.start(np.array([-1, -1]), np.array([4.0, 3]))
    assert empty.best == 1
    empty.tell(5, np.array([-1, 2]), np.array([3.0, 4]))
    assert (empty.answer, empty.best, empty.high) == (2, 3, 5)
