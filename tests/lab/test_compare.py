import json
from dataclasses import replace

import numpy as np
import pytest

from outthink.lab import stats
from outthink.lab.compare import compare, table
from outthink.lab.records import Arm, Results, RunRow

ARMS = [Arm("vote", "m", "self_consistency(n=4)"), Arm("greedy", "m", "greedy")]


def bench(right, tokens=100, seeds=1, facts=None, arms=ARMS):
    """``right (problems, arms)``: what each arm has right, the same with every seed."""
    runs = [
        RunRow(arm.label, f"p{i}", seed, bool(row[j]), completion_tokens=tokens + i * (j + 1))
        for i, row in enumerate(right)
        for j, arm in enumerate(arms)
        for seed in range(seeds)
    ]
    return Results(
        facts or {}, list(arms), runs, questions={f"p{i}": f"{i}?" for i in range(len(right))}
    )


def halves(n=60, seed=0):
    return np.random.default_rng(seed).random((n, 2)) < 0.5


def test_a_bench_against_itself_differs_in_nothing():
    found = compare(bench(halves()), bench(halves()))
    json.dumps(found, allow_nan=False)
    assert found["paired"]
    assert found["problems"] == {"shared": 60, "only_a": [], "only_b": [], "changed": []}
    assert not found["design"]
    assert not found["only_a"] + found["only_b"]
    for row in found["arms"]:
        assert row["difference"]["value"] == 0
        assert row["difference"]["p"] == 1
        assert row["difference"]["low"] < 0 < row["difference"]["high"]
        assert row["costs"]["completion_tokens"]["difference"]["value"] == 0
        assert row["a"] == row["b"]
        assert not row["changed"]


def test_the_difference_is_the_seconds_minus_the_firsts_on_the_same_problems():
    x, y = halves(), halves(seed=1) | halves(seed=2)
    found = compare(bench(x), bench(y, tokens=130))
    row = found["arms"][0]
    want = stats.share_difference(y[:, 0].astype(float), x[:, 0].astype(float))._asdict()
    assert {k: row["difference"][k] for k in want} == pytest.approx(want)
    assert row["difference"]["p_holm"] >= row["difference"]["p"]
    assert row["costs"]["completion_tokens"]["b"] - row["costs"]["completion_tokens"]["a"] == 30
    gap = row["costs"]["completion_tokens"]["difference"]
    assert (gap["value"], gap["low"], gap["high"], gap["p"]) == (30, 30, 30, 0)
    back = compare(bench(y), bench(x))["arms"][0]["difference"]
    assert back["value"] == -row["difference"]["value"]
    assert table(found)[0]["difference"] == row["difference"]
    assert table(found)[0]["completion_tokens"]["b"] == row["costs"]["completion_tokens"]["b"]


def test_only_shared_problems_with_both_runs_count():
    a, b = bench(halves(50)), bench(halves(60))
    b.runs = [
        replace(run, right=None) if (run.arm, run.problem) == ("vote", "p3") else run
        for run in b.runs
        if (run.arm, run.problem) != ("vote", "p4")
    ]
    b.questions = {**b.questions, "p5": "another question"}
    found = compare(a, b)
    assert found["problems"]["shared"] == 49
    assert found["problems"]["changed"] == ["p5"]
    assert found["problems"]["only_b"] == [f"p{i}" for i in range(50, 60)]
    assert [row["problems"] for row in found["arms"]] == [47, 49]


def test_arms_and_facts_of_only_one_are_named():
    new = Arm("beam", "m", "beam_search(n=4)")
    other = [replace(ARMS[0], budget="tokens=1k"), new]
    a = bench(halves(), facts={"task": "x", "design": {"seeds": 1, "width": 4}, "created": "now"})
    b = bench(halves(), facts={"task": "x", "design": {"seeds": 3, "width": 4}, "v": 2}, arms=other)
    found = compare(a, b)
    assert found["only_a"] == ["greedy"]
    assert found["only_b"] == ["beam"]
    assert [row["label"] for row in found["arms"]] == ["vote"]
    assert found["arms"][0]["changed"] == {"budget": ["", "tokens=1k"]}
    assert found["design"] == [
        {"what": "design.seeds", "a": 1, "b": 3},
        {"what": "v", "a": None, "b": 2},
    ]


def test_different_problems_are_compared_unpaired():
    x, y = halves(40), halves(70, 5)
    b = bench(y)
    b.questions = {f"q{i}": f"{i}?" for i in range(70)}
    b.runs = [replace(run, problem="q" + run.problem[1:]) for run in b.runs]
    found = compare(bench(x), b)
    assert not found["paired"]
    row = found["arms"][0]
    assert row["problems"] == [40, 70]
    want = stats.two_shares(y[:, 0].astype(float), x[:, 0].astype(float))
    assert row["difference"]["value"] == pytest.approx(want.value)
    assert row["difference"]["p"] == pytest.approx(want.p)
    assert row["costs"]["completion_tokens"]["difference"] is None


def test_an_arm_that_never_finished_has_no_figures():
    b = bench(halves(5))
    b.runs = [replace(run, right=None) if run.arm == "vote" else run for run in b.runs]
    found = compare(bench(halves(5)), b)
    row = found["arms"][0]
    assert row["difference"] is None
    assert row["a"] is None
    assert found["arms"][1]["difference"]
    assert len(table(found)) == 2


def test_seeds_are_averaged_inside_a_problem():
    x, y = halves(), halves(seed=3)
    once, many = compare(bench(x), bench(y)), compare(bench(x, seeds=3), bench(y, seeds=2))
    # seeds that agree change nothing
    assert many["arms"][0]["difference"] == once["arms"][0]["difference"]
