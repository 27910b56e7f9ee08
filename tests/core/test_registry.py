"""Specs and objects are two forms of one thing."""

import dataclasses
import itertools
import time
import types
import typing

import numpy as np
import pytest

from outthink.core.errors import BadInput, SpecError
from outthink.core.grammar import Call
from outthink.core.registry import KINDS, build, entries, part, register, spec_of

EVERY = [(kind, name) for kind in KINDS for name in entries(kind)]


def values_for(hint):
    """A few values that a hint allows."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for option in typing.get_args(hint):
            yield from values_for(option)
    elif typing.get_origin(hint) is typing.Literal:
        yield from typing.get_args(hint)
    elif hint is bool:
        yield from (True, False)
    elif hint is int:
        yield from (1, 2, 4, 8, 100)
    elif hint is float:
        yield from (0.0, 0.25, 1.0, 2.0, 1e-5)
    elif hint is str:
        yield from ("x", 'two "words"', "true", "12", "é\n", "")
    elif hint is type(None):
        yield None


#: what a required parameter takes when any text will not do
VALID = {("numeric", "reference"): ("12", -0.5), ("choice", "reference"): ("B", "j")}


def variants(cls):
    """Objects of a part, with each parameter varied over what it may be."""
    hints = typing.get_type_hints(cls)
    fields = [f for f in dataclasses.fields(cls) if f.init]
    wanted = [
        f.name
        for f in fields
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    part = cls.registered[1]
    known = [VALID.get((part, name)) or list(values_for(hints[name]))[:2] for name in wanted]
    bases = itertools.product(*known)
    for base in bases:
        fixed = dict(zip(wanted, base, strict=True))
        yield fixed
        for f in fields:
            if f.name not in wanted and "kind" not in f.metadata:
                for value in values_for(hints[f.name]):
                    yield {**fixed, f.name: value}


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_part_comes_back_from_its_spec(kind, name):
    cls = entries(kind)[name].make
    made = 0
    for values in variants(cls):
        try:
            thing = cls(**values)
        except BadInput:
            continue
        made += 1
        assert build(spec_of(thing), kind) == thing
    assert made or not list(variants(cls)), f"no parameters were accepted by {name}"


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_part_is_frozen_documented_and_hashable(kind, name):
    entry = entries(kind)[name]
    assert dataclasses.is_dataclass(entry.make)
    assert entry.make.__dataclass_params__.frozen
    assert entry.summary.endswith((".", ":")) or entry.summary
    assert "dataclass" not in entry.summary.lower()


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_an_unknown_parameter_of_any_part_is_refused(kind, name):
    with pytest.raises(SpecError, match="no parameter 'nonesuch'"):
        build(f"{name}(nonesuch=1)", kind)


def test_a_nested_part_is_built_and_written_back():
    text = "best_of_n(n=4, verifier=revision_of(n=2))"
    with pytest.raises(SpecError, match="unknown verifier 'revision_of'") as error:
        build(text, "strategy")
    assert error.value.at == text.index("revision_of")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("self_consistancy", "did you mean 'self_consistency'"),
        ("beam_serch(n=4)", "did you mean 'beam_search'"),
        ("self_consistency(m=4)", "no parameter 'm'"),
        ("self_consistency(tempratur=1)", "did you mean 'temperature'"),
        ("self_consistency(n='8')", "n='8' must be a whole number"),
        ("self_consistency(n=8.5)", "must be a whole number"),
        ("self_consistency(n=true)", "must be a whole number"),
        ("self_consistency(n=[1])", "must be a whole number"),
        ("self_consistency(n=f(1))", "plain value"),
        ("self_consistency(8, n=8)", "twice"),
        ("self_consistency(1, none, count, 1.0, none, none, none, 2)", "takes at most"),
        ("best_of_n(vote=wieghted)", "must be one of best, weighted"),
        ("self_consistency(n=0)", "at least|from 1"),
        ("12", "is named"),
        ("[greedy]", "is named"),
    ],
)
def test_what_is_wrong_is_said(spec, said):
    with pytest.raises(SpecError, match=said):
        build(spec, "strategy")


def test_objects_pass_through_and_calls_are_built():
    built = build("self_consistency(n=3)", "strategy")
    assert build(built, "strategy") is built
    assert build(Call("self_consistency", (), (("n", 3),)), "strategy") == built


def test_missing_parameters_are_named():
    @register("utility", "needy")
    @dataclasses.dataclass(frozen=True)
    class Needy:
        """Wants two."""

        first: int
        second: str
        third: int = 3

    with pytest.raises(SpecError, match="needy needs first, second"):
        build("needy", "utility")
    assert build("needy(1, two)", "utility") == Needy(1, "two")
    assert spec_of(Needy(1, "two", 4)) == 'needy(first=1, second="two", third=4)'
    entries("utility").pop("needy")


def test_a_name_is_given_once():
    @register("utility", "taken")
    @dataclasses.dataclass(frozen=True)
    class One:
        """One."""

    with pytest.raises(BadInput, match="registered already"):

        @register("utility", "taken")
        @dataclasses.dataclass(frozen=True)
        class Two:
            """Two."""

    entries("utility").pop("taken")


def test_a_list_of_parts_is_a_tuple_of_objects():
    @register("utility", "several")
    @dataclasses.dataclass(frozen=True)
    class Several:
        """Holds strategies."""

        inner: typing.Any = part("strategy", (), many=True)

    built = build("several([greedy, self_consistency(n=2)])", "utility")
    assert [p.registered[1] for p in built.inner] == ["greedy", "self_consistency"]
    assert build(spec_of(built), "utility") == built
    entries("utility").pop("several")


@pytest.mark.parametrize(
    ("kind", "name", "values", "said"),
    [
        ("strategy", "self_consistency", {"n": "8"}, "n='8' must be a whole number"),
        ("strategy", "self_consistency", {"n": 8.0}, "whole number"),
        ("strategy", "self_consistency", {"n": True}, "whole number"),
        ("strategy", "self_consistency", {"n": None}, "whole number"),
        ("strategy", "self_consistency", {"temperature": "hot"}, "a number"),
        ("strategy", "best_of_n", {"vote": "wieghted"}, "did you mean 'weighted'"),
        ("strategy", "best_of_n", {"verifier": 3}, "is no verifier"),
        ("strategy", "best_of_n", {"verifier": build("greedy", "strategy")}, "is no verifier"),
        ("verifier", "prm", {"model": object()}, "is no model"),
        ("model", "simulated", {"accuracy": "high"}, "a number"),
        ("model", "openai", {"name": 3}, "a text"),
        ("model", "simulated", {"accuracy": "x" * 10_000}, "must be a number"),
    ],
)
def test_an_object_made_in_python_is_checked_like_a_spec(kind, name, values, said):
    with pytest.raises(BadInput, match=said) as caught:
        entries(kind)[name].make(**values)
    assert len(str(caught.value)) < 400


def test_numbers_of_numpy_and_specs_of_parts_are_taken():
    made = entries("strategy")["self_consistency"].make(n=np.int64(3), temperature=np.float32(0.5))
    assert spec_of(made) == "self_consistency(n=3, temperature=0.5)"
    made = entries("strategy")["best_of_n"].make(verifier="prm")
    assert made == build("best_of_n(verifier=prm)", "strategy")


def test_a_long_number_is_read_or_refused_at_once():
    begun = time.monotonic()
    for text in ("1" * 50_000, "1" * 50_000 + "x", "1." * 50_000, "-" * 50_000 + "1"):
        with pytest.raises(SpecError):
            build(f"self_consistency(n={text})", "strategy")
    assert time.monotonic() - begun < 20


def test_a_part_that_inherits_keeps_what_its_parent_checks():
    @register("strategy", "wide")
    @dataclasses.dataclass(frozen=True)
    class Wide(entries("strategy")["self_consistency"].make):
        """The same, under another name."""

    try:
        with pytest.raises(BadInput, match="n=-5"):
            Wide(n=-5)
        with pytest.raises(BadInput, match="wide: n='x'"):
            Wide(n="x")
    finally:
        entries("strategy").pop("wide")
