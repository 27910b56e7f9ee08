"""Sweeps and designs: lists multiply out, labels are unique, and nothing wrong gets past."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core import registry
from outthink.core.errors import BadInput, SpecError
from outthink.lab.design import Design, sweep


def test_lists_multiply_out_in_order():
    assert list(sweep("self_consistency(n=[1,4,16])")) == [
        "self_consistency(n=1)", "self_consistency(n=4)", "self_consistency(n=16)",
    ]  # fmt: skip
    found = sweep("best_of_n(n=[2,4], verifier=[prm, judge(scale=[5,10])])")
    assert len(found) == 2 * (1 + 2)
    assert "best_of_n(n=4, verifier=judge(scale=5))" in found


def test_a_spec_without_lists_is_itself_and_a_default_is_said_as_it_was_written():
    assert sweep("greedy") == {"greedy": "greedy"}
    assert sweep("self_consistency(n=16)") == {"self_consistency(n=16)": "self_consistency"}


def test_one_point_that_two_lists_name_is_one_arm():
    design = Design("t", strategies=("self_consistency(n=[1,4])", "self_consistency(n=[4,8])"))
    assert [arm.label for arm in design.arms()] == [
        "self_consistency(n=1)", "self_consistency(n=4)", "self_consistency(n=8)",
    ]  # fmt: skip
    # and knows the first sweep that it is of
    assert design.arms()[1].series == "self_consistency(n=[1,4])"


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=5, unique=True),
    st.lists(st.sampled_from(["count", "first", "score"]), min_size=1, max_size=3, unique=True),
)
def test_a_sweep_has_the_product_of_its_lists_and_every_spec_builds(ns, ties):
    found = sweep(f"self_consistency(n={ns}, ties=[{', '.join(ties)}])")
    assert len(found) == len(ns) * len(ties)
    for text, canonical in found.items():
        assert registry.build(text, "strategy") == registry.build(canonical, "strategy")


def test_models_and_budgets_are_in_the_label_where_they_differ():
    one = Design("t", strategies="greedy", budgets="tokens=1k")
    assert [arm.label for arm in one.arms()] == ["greedy within tokens=1000"]
    two = Design(
        "t", models="simulated(accuracy=[.3, .6])", strategies="greedy", budgets=("", "calls=2")
    )
    labels = [arm.label for arm in two.arms()]
    assert len(set(labels)) == len(labels) == 4
    assert "greedy on simulated(accuracy=0.3) within calls=2" in labels
    assert {arm.model for arm in two.arms()} == {"simulated(accuracy=0.3)", "simulated"}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("self_consistancy(n=[1])", "did you mean 'self_consistency'"),
        ("self_consistency(n=[])", "at least one value"),
        ("self_consistency(n=[1,x])", "whole number"),
        ("self_consistency(n=[[1,2],3])", "whole number"),
        (f"self_consistency(n={list(range(1, 1002))})", "more than 1000"),
    ],
)
def test_what_is_wrong_in_a_sweep_is_said(spec, said):
    with pytest.raises(SpecError, match=said):
        sweep(spec)


def test_a_toml_file_and_python_say_the_same(tmp_path):
    file = tmp_path / "d.toml"
    file.write_text(
        'task = "fly:chain,n=3"\nmodel = "fly"\nstrategy = ["greedy", "self_consistency(n=[1,2])"]\n'
        'budget = "tokens=2k"\nseeds = 2\nbaseline = "greedy"\n'
    )
    assert Design.read(file) == Design(
        "fly:chain,n=3",
        ("fly",),
        ("greedy", "self_consistency(n=[1,2])"),
        ("tokens=2k",),
        2,
        "greedy",
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "no task"),
        ({"task": "t", "stategy": "greedy"}, "did you mean 'strategy'"),
        ({"task": "t", "strategy": "greedy", "strategies": ["greedy"]}, "twice"),
        ({"task": "t", "seeds": 0}, "seeds=0"),
        ({"task": "t", "seeds": True}, "seeds=True"),
        ({"task": "t", "budget": "tokns=3"}, "tokns"),
        ({"task": "t", "strategy": []}, "at least one"),
        ({"task": " "}, "no task"),
    ],
)
def test_a_wrong_design_is_refused(values, said):
    with pytest.raises(BadInput, match=said):
        Design.of(values)


def test_a_baseline_is_named_by_its_beginning():
    values = {"task": "t", "strategy": ["greedy", "self_consistency(n=[1,2])"]}
    assert Design.of(values).base() == "greedy"
    assert (
        Design.of({**values, "baseline": "self_consistency(n=2"}).base() == "self_consistency(n=2)"
    )
    for wrong in ("self", "nothing"):
        with pytest.raises(BadInput, match="beginning of"):
            Design.of({**values, "baseline": wrong}).base()


def test_a_file_that_is_no_toml_says_where(tmp_path):
    with pytest.raises(BadInput, match="cannot read"):
        Design.read(tmp_path / "none.toml")
    (tmp_path / "x.toml").write_text("task = ")
    with pytest.raises(BadInput, match="no TOML"):
        Design.read(tmp_path / "x.toml")
