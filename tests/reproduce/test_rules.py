"""Verdict rules: an interval on one side of a range decides, one across an end does not."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.lab.stats import Estimate
from outthink.reproduce.rules import above, agrees, below, between, overall

numbers = st.floats(-100, 100).map(lambda v: round(v, 3))
VERDICTS = ("holds", "does not hold", "cannot tell")


@st.composite
def estimates(draw):
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    return Estimate(value, low, high)


rules = st.one_of(
    numbers.map(above),
    numbers.map(below),
    st.tuples(numbers, numbers).map(lambda ends: between(*sorted(ends))),
    st.tuples(numbers, numbers.map(abs)).map(lambda v: agrees(*v)),
)


@given(numbers, estimates())
def test_above_asks_for_the_whole_interval(threshold, e):
    wanted = (
        "holds" if e.low > threshold else "does not hold" if e.high <= threshold else "cannot tell"
    )
    assert above(threshold).verdict(e) == wanted


@given(numbers, estimates())
def test_below_is_above_seen_in_a_mirror(threshold, e):
    mirrored = Estimate(-e.value, -e.high, -e.low)
    assert below(threshold).verdict(e) == above(-threshold).verdict(mirrored)


@given(numbers, numbers.map(abs), estimates())
def test_to_agree_is_to_lie_between_the_published_value_and_its_tolerance(value, tolerance, e):
    same = between(value - tolerance, value + tolerance)
    assert agrees(value, tolerance).verdict(e) == same.verdict(e)


@given(numbers, numbers)
def test_between_two_ends_is_no_less_than_the_one_and_no_more_than_the_other(a, b):
    low, high = sorted((a, b))
    rule = between(low, high)
    for x in (low, high):
        assert rule.verdict(Estimate(x, x, x)) == "holds"
    assert rule.verdict(Estimate(low - 1, low - 1, low - 1)) == "does not hold"
    assert rule.verdict(Estimate(low, low - 1, low)) == "cannot tell"


@given(rules, numbers)
def test_an_exact_figure_always_gets_a_verdict(rule, x):
    assert rule.verdict(Estimate(x, x, x)) in ("holds", "does not hold")


@given(rules, estimates(), st.floats(0, 50), st.floats(0, 50))
def test_a_wider_interval_never_decides_more(rule, e, left, right):
    wide = rule.verdict(Estimate(e.value, e.low - left, e.high + right))
    assert wide in (rule.verdict(e), "cannot tell")


@given(rules, estimates())
def test_what_is_printed_is_what_is_applied(rule, e):
    """A rule read back from its own text gives the same verdicts."""
    ends = [
        float(x) for x in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", rule.text.removeprefix("95 %"))
    ]
    if "above" in rule.text:
        again = above(*ends)
    elif "below" in rule.text:
        again = below(*ends)
    elif "within" in rule.text:
        again = agrees(ends[1], ends[0])
    else:
        again = between(*ends)
    assert again == rule
    assert again.verdict(e) == rule.verdict(e)


@given(rules)
def test_without_an_estimate_nothing_can_be_told(rule):
    assert rule.verdict(Estimate(math.nan, math.nan, math.nan)) == "cannot tell"


@given(st.lists(st.sampled_from(VERDICTS), min_size=1))
def test_the_overall_verdict_says_holds_only_of_all(verdicts):
    found = overall(verdicts)
    assert (found == "holds") == (set(verdicts) == {"holds"})
    assert (found == "holds in part") == ("holds" in verdicts and set(verdicts) != {"holds"})
    if found == "does not hold":
        assert "does not hold" in verdicts
    assert overall(reversed(verdicts)) == found


@pytest.mark.parametrize(
    "make",
    [
        lambda: above(math.nan),
        lambda: below(math.inf),
        lambda: between(2, 1),
        lambda: agrees(1, -1),
    ],
)
def test_a_rule_without_sense_is_refused(make):
    with pytest.raises(BadInput):
        make()
