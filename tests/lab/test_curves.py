import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.lab.curves import cost_to_reach, mean_height

POINTS = st.lists(
    st.tuples(st.integers(1, 1000), st.integers(0, 20).map(lambda i: i / 20)),
    min_size=2,
    max_size=6,
    unique_by=lambda p: p[0],
)


def height(points, at):
    """The curve at a cost, read off by numpy."""
    points = sorted(points)
    return np.interp(np.log(at), np.log([c for c, _ in points]), [a for _, a in points])


@given(POINTS, st.integers(1, 100), st.integers(1, 100))
def test_the_area_is_that_of_a_fine_sum(points, low, more):
    high = low * (1 + more)
    costs, accuracy = zip(*points, strict=True)
    edges = np.exp(np.linspace(np.log(low), np.log(high), 20_001))
    fine = height(points, np.sqrt(edges[1:] * edges[:-1])).mean()
    assert mean_height(costs, accuracy, low, high) == pytest.approx(fine, abs=1e-3)


def test_a_level_curve_has_its_height_and_a_straight_one_its_middle():
    assert mean_height([10, 100, 1000], [0.7, 0.7, 0.7], 10, 1000) == pytest.approx(0.7)
    assert mean_height([1000, 10], [0.9, 0.3], 10, 1000) == pytest.approx(0.6)
    assert mean_height([10, 1000], [0.3, 0.9], 100, 1000) == pytest.approx(0.75)


@given(POINTS, st.integers(1, 20).map(lambda i: i / 20))
def test_the_cost_of_a_target_is_the_first_where_the_curve_has_it(points, target):
    costs, accuracy = zip(*points, strict=True)
    found = float(cost_to_reach(costs, accuracy, target))
    if max(accuracy) < target:
        assert found == np.inf
        return
    assert min(costs) <= found * (1 + 1e-9)
    assert height(points, found) >= target - 1e-9
    before = np.geomspace(min(costs), max(min(costs), found * 0.999), 200)
    if found * 0.999 > min(costs):
        assert (height(points, before) < target).all()


def test_halfway_up_is_the_geometric_middle():
    assert cost_to_reach([100, 400], [0.2, 0.6], 0.4) == pytest.approx(200)
    assert cost_to_reach([100, 400], [0.2, 0.6], 0.1) == pytest.approx(100)


def test_many_curves_at_once_are_each_alone():
    rng = np.random.default_rng(0)
    costs, accuracy = rng.uniform(1, 100, (50, 4)), rng.random((50, 4))
    areas, reached = mean_height(costs, accuracy, 5, 60), cost_to_reach(costs, accuracy, 0.5)
    for i in range(50):
        assert areas[i] == pytest.approx(float(mean_height(costs[i], accuracy[i], 5, 60)))
        assert reached[i] == pytest.approx(float(cost_to_reach(costs[i], accuracy[i], 0.5)))


def test_points_of_equal_cost_do_not_break_the_curve():
    assert 0.4 <= mean_height([10, 10, 100], [0.4, 0.6, 0.6], 10, 100) <= 0.6
    assert cost_to_reach([10, 10, 100], [0.4, 0.6, 0.6], 0.5) == pytest.approx(10)
