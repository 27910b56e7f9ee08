import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.gateway.values import DEPTH, read_value, write_value

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def same(a, b):
    """Are two values equal as JSON has it, where true is not 1?"""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b and type(a) in (int, float) if type(b) in (int, float) else a == b


def turned(value):
    """The same value, its keys the other way round."""
    if isinstance(value, dict):
        return {k: turned(v) for k, v in reversed(value.items())}
    return [turned(v) for v in value] if isinstance(value, list) else value


@given(VALUES)
def test_what_is_written_is_read_as_the_same_value(value):
    text = write_value(value)
    assert same(read_value(text), value)
    text.encode()


@given(VALUES, st.integers(0, 3))
def test_layout_and_the_order_of_keys_change_nothing(value, indent):
    again = read_value(f" \n{json.dumps(turned(value), indent=indent)}\t")
    assert write_value(again) == write_value(value)


@given(VALUES, VALUES)
def test_two_values_are_one_text_exactly_where_they_are_equal(a, b):
    assert (write_value(a) == write_value(b)) == same(a, b)


def test_numbers_are_equal_by_value():
    for one, other in (
        ("1", "1.0"),
        ("1e2", "100"),
        ("-0.0", "0"),
        ("0.10", "0.1"),
        ("1E+3", "1000"),
    ):
        assert write_value(read_value(one)) == write_value(read_value(other))
    large = ("9007199254740993", "9007199254740992")
    for one, other in (("1", "true"), ("0", "false"), ("1", '"1"'), ("0", "null"), large):
        assert write_value(read_value(one)) != write_value(read_value(other))


@pytest.mark.parametrize(
    "text",
    ["", "NaN", "[Infinity]", "1e999", "{'a': 1}", "{a: 1}", "[1,]", "1 2", "\ufeff1", "9" * 5000,
     "```json\n1\n```", "[" * 10_000 + "]" * 10_000, '"a\nb"', "Here: {}"],
)  # fmt: skip
def test_what_a_client_could_not_parse_is_no_value(text):
    with pytest.raises(ValueError, match=r"."):
        read_value(text)


def test_a_value_nested_too_deep_is_not_written():
    deep = 0
    for _ in range(DEPTH):
        deep = [deep]
    assert len(write_value(deep)) == 2 * DEPTH + 1
    with pytest.raises(ValueError, match="deeper than 64"):
        write_value([deep])
    assert not math.isinf(read_value("1e308"))
