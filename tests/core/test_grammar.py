"""The grammar: reading and writing are inverse, and hostile text is refused at once."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import SpecError
from outthink.core.grammar import MAX_DEPTH, Call, dump, is_name, parse
from outthink.core.registry import build

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}([.\-:/][A-Za-z0-9_]{1,4}){0,2}", fullmatch=True)
names = names.filter(is_name)
texts = st.text(st.characters(exclude_categories=()), max_size=20)
leaves = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    texts,
    st.builds(lambda n: Call(n, bare=True), names),
)


def nodes(inner):
    kwargs = st.dictionaries(names, inner, max_size=3).map(lambda d: tuple(d.items()))
    args = st.lists(inner, max_size=3).map(tuple)
    return st.lists(inner, max_size=3) | st.builds(Call, names, args, kwargs)


trees = st.recursive(leaves, nodes, max_leaves=20)


def same(a, b):
    """Equality that tells 1 from 1.0 and True."""
    if isinstance(a, Call):
        return (
            isinstance(b, Call)
            and (a.name, a.bare) == (b.name, b.bare)
            and same(list(a.args), list(b.args))
            and [k for k, _ in a.kwargs] == [k for k, _ in b.kwargs]
            and same([v for _, v in a.kwargs], [v for _, v in b.kwargs])
        )
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(trees)
def test_parse_and_dump_are_inverse(tree):
    assert same(parse(dump(tree)), tree)


@given(trees)
def test_dump_is_a_normal_form(tree):
    assert dump(parse(dump(tree))) == dump(tree)


@given(st.text(max_size=60) | st.text("()[],=\"'\\ab1.-k \n", max_size=60))
def test_any_text_is_read_or_refused_as_a_spec_error(text):
    try:
        tree = parse(text)
    except SpecError:
        return
    assert same(parse(dump(tree)), tree)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("greedy", Call("greedy", bare=True)),
        ("f()", Call("f")),
        ("f(16, x=2k)", Call("f", (16,), (("x", 2000),))),
        ("f(1.5M)", Call("f", (1_500_000,))),
        ("f(-.5)", Call("f", (-0.5,))),
        ("f('it\\'s')", Call("f", ("it's",))),
        ("f('say \"x\"')", Call("f", ('say "x"',))),
        ("f('a\\\"b')", Call("f", ('a"b',))),
        ('f("\\u00e9\\n")', Call("f", ("é\n",))),
        ("[1, [true, none], f(g(a=[]))]", [1, [True, None], Call("f", (Call("g", (), (("a", []),)),))]),
        ("gpt-5-mini", Call("gpt-5-mini", bare=True)),
        ("org/model:v1.2", Call("org/model:v1.2", bare=True)),
        ("  f( )  ", Call("f")),
    ],
)  # fmt: skip
def test_examples(text, tree):
    assert same(parse(text), tree)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("f(1, )", 5), ("f(1 2)", 4), ("f(n=1, 2)", 7), ("f(a=1, a=2)", 7), ("f(", 2),
        ("f) ", 1), ("f(§)", 2), ("f('abc", 2), ("f(n=)", 4), ("[1, 2", 5), ("f(x)y", 4),
        ("f(12abc)", 2), ('f("\\q")', 2),
    ],
)  # fmt: skip
def test_the_caret_stands_at_the_place(text, place):
    with pytest.raises(SpecError) as error:
        parse(text)
    assert error.value.at == place
    lines = str(error.value).split("\n")
    assert lines[-1].index("^") - 2 == place


def test_the_caret_in_a_long_spec_stays_under_its_sign():
    text = f"f({', '.join(['1'] * 200)}, ?)"
    with pytest.raises(SpecError) as error:
        parse(text)
    *_, window, caret = str(error.value).split("\n")
    assert window[caret.index("^")] == "?"


@pytest.mark.parametrize(
    "text",
    [
        "f(" * 10_000 + ")" * 10_000,
        "[" * 10_000,
        "f([" * 10_000 + "])" * 10_000,
        "x" * 1_000_000,
        "f(" + "1," * 500_000 + "1)",
        '"' + "\\" * 60_000,
        "1" * 60_000,
        "-" * 60_000,
        " " * 1_000_000,
        "a." * 30_000,
        "1e" * 30_000,
        "'" * 60_001,
        "f(a=" * 10_000,
        " " * 60_000 + "?",
        "?" + " " * 60_000,
    ],
)
def test_hostile_specs_are_refused_quickly(text):
    started = time.process_time()  # of this process alone: a busy machine changes little
    with pytest.raises(SpecError):
        build(text, "strategy")
    with pytest.raises(SpecError):
        parse(text)
    assert time.process_time() - started < 1.0


def test_deep_trees_are_refused_by_dump_and_build_too():
    tree = Call("f")
    for _ in range(10_000):
        tree = Call("f", (tree,))
    with pytest.raises(SpecError):
        dump(tree)
    with pytest.raises(SpecError):
        build(tree, "strategy")


def test_the_greatest_depth_is_read_and_one_more_is_not():
    parse("[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH)
    with pytest.raises(SpecError, match="deep"):
        parse("[" * (MAX_DEPTH + 1) + "1" + "]" * (MAX_DEPTH + 1))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, object(), {1: 2}])
def test_what_cannot_be_read_back_is_not_written(value):
    with pytest.raises(SpecError):
        dump(Call("f", (value,)))


@pytest.mark.parametrize("text", ["f(1e999)", "f(-1e400)", "1e400k", "9" * 500 + ".5"])
def test_numbers_beyond_floats_are_refused(text):
    with pytest.raises(SpecError):
        parse(text)


@pytest.mark.parametrize("value", [None, 3, b"f", ["f"]])
def test_only_strings_are_parsed(value):
    with pytest.raises(SpecError):
        parse(value)
