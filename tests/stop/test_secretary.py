from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.stop.secretary import chance, look, place, stops


@pytest.mark.parametrize("rounds", range(1, 8))
def test_the_chance_is_the_share_of_all_orders_in_which_the_least_is_taken(rounds):
    orders = np.array(list(permutations(range(rounds))))
    for r in range(rounds):
        taken = orders[np.arange(len(orders)), place(orders, r)]
        assert (taken == 0).mean() == pytest.approx(chance(r, rounds))


def test_looking_at_as_many_as_is_best():
    for rounds in range(1, 60):
        best = max(chance(r, rounds) for r in range(rounds))
        assert chance(look(rounds), rounds) == pytest.approx(best)
    assert [look(k) for k in (1, 2, 3, 4, 5, 8, 10, 100)] == [0, 1, 1, 1, 2, 3, 3, 37]


def test_the_textbook_s_limit():
    assert look(100_000) / 100_000 == pytest.approx(1 / np.e, abs=1e-4)
    assert chance(look(100_000), 100_000) == pytest.approx(1 / np.e, abs=1e-4)
    # published, Ferguson 1989, table 2: K = 5, 10, 50
    assert chance(2, 5) == pytest.approx(0.433, abs=5e-4)
    assert chance(3, 10) == pytest.approx(0.399, abs=5e-4)
    assert chance(18, 50) == pytest.approx(0.374, abs=5e-4)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=9))
def test_value_by_value_it_stops_at_its_place(values):
    rounds = len(values)
    where = int(place(values))
    assert [stops(values[:t], rounds) for t in range(1, where + 1)] == [False] * where
    assert stops(values[: where + 1], rounds)


def test_many_rows_at_once_are_as_each_alone():
    rows = np.random.default_rng(0).integers(0, 5, (3, 20, 6))
    each = [[int(place(row)) for row in block] for block in rows]
    assert place(rows).tolist() == each


def test_only_the_order_of_values_counts():
    rows = np.random.default_rng(1).random((50, 7))
    assert (place(rows) == place(np.exp(3 * rows) - 7)).all()


def test_a_value_as_small_as_the_least_is_taken():
    assert place([0.0, 0.5, 0.0, 0.0], r=1) == 2
    assert place([1.0, 2.0, 2.0], r=1) == 2
    assert place([1.0, 2.0, 3.0], r=0) == 0


def test_wrong_input_says_what_is_wrong():
    with pytest.raises(BadInput, match="rounds=0"):
        look(0)
    with pytest.raises(BadInput, match="0 to 2 are let go, not 3"):
        place([1.0, 2.0, 3.0], r=3)
    with pytest.raises(BadInput, match="not 5"):
        chance(5, 5)
    with pytest.raises(BadInput, match="needs values"):
        place([])
