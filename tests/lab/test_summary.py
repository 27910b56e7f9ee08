import json
import math
from collections import defaultdict
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.lab import stats
from outthink.lab.records import AXES, Arm, Results, RunRow, SampleRow
from outthink.lab.summary import (
    halves,
    pareto,
    quantile_groups,
    round_budgets,
    round_targets,
    summarise,
    table,
)
from outthink.select.calibration import aurc, brier, ece, risk_coverage
from tests.lab import made_up


@pytest.fixture(scope="module")
def results():
    return made_up.results(60, seeds=3)


@pytest.fixture(scope="module")
def summary(results):
    return summarise(results)


def arm_of(summary, label):
    return next(arm for arm in summary["arms"] if arm["label"] == label)


def by_problem(runs, value=lambda run: float(run.right)):
    """The mean of each problem's finished runs, by plain loops."""
    found = defaultdict(list)
    for run in runs:
        if run.right is not None:
            found[run.problem].append(value(run))
    return {name: sum(values) / len(values) for name, values in found.items()}


def small(right, candidates=None, confidence=None, seeds=(0,), labels=("one", "two")):
    """Two arms on problems p0, p1, ...; ``right (problems, arms)`` with every seed."""
    runs, samples = [], []
    for i, row in enumerate(right):
        for seed in seeds:
            for j, label in enumerate(labels):
                some = () if candidates is None else tuple(range(len(candidates[i])))
                runs.append(
                    RunRow(
                        label, f"p{i}", seed, None if row[j] is None else bool(row[j]),
                        confidence=None if confidence is None else confidence[i],
                        calls=1 + j, completion_tokens=10 * (1 + j), candidates=some,
                    )
                )  # fmt: skip
            for number, good in enumerate(candidates[i] if candidates else ()):
                samples.append(
                    SampleRow("m", f"p{i}", seed, number, f"{number}", None, -1, good, 5)
                )
    arms = [Arm(label, "m", label) for label in labels]
    return Results({}, arms, runs, samples, {f"p{i}": f"{i}?" for i in range(len(right))})


# -- one arm -----------------------------------------------------------------------------------------


def test_the_summary_is_plain_and_counts_every_run(results, summary):
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["planned"] == summary["finished"] == len(results.runs) == 10 * 60 * 3
    assert summary["seeds"] == [0, 1, 2]
    assert summary["baseline"] == results.arms[0].label
    assert [arm["label"] for arm in summary["arms"]] == [arm.label for arm in results.arms]
    alone = sum(run.completion_tokens for run in results.runs)
    assert summary["sharing"]["alone_tokens"] == alone
    drawn = sum(sample.tokens for sample in results.samples)
    assert summary["sharing"]["saved"] == pytest.approx(1 - drawn / alone)


def test_accuracy_cost_and_difference_are_those_of_plain_loops(results, summary):
    base = by_problem(results.of(results.arms[0]))
    for arm in results.arms:
        told, found = arm_of(summary, arm.label), by_problem(results.of(arm))
        values = np.array(list(found.values()))
        assert told["accuracy"] == pytest.approx(stats.share(values, 3)._asdict())
        for axis in AXES:
            spent = by_problem(results.of(arm), lambda run, axis=axis: getattr(run, axis))
            want = stats.mean(np.array(list(spent.values())))
            assert told["costs"][axis] == pytest.approx(want._asdict())
        if arm is results.arms[0]:
            assert told["difference"] is None
            continue
        gap = stats.share_difference(values, np.array([base[name] for name in found]), 3)
        told_gap = {k: told["difference"][k] for k in ("value", "low", "high", "p")}
        share = told["tokens_share"]
        assert share["low"] <= share["value"] <= share["high"]
        assert told_gap == pytest.approx(gap._asdict())
        assert told["difference"]["p"] <= told["difference"]["p_holm"] <= 1


def test_another_baseline_turns_the_difference_round(results, summary):
    first, other = results.arms[0].label, results.arms[3].label
    turned = summarise(results, baseline=other)
    assert turned["baseline"] == other
    gap = arm_of(turned, first)["difference"]
    there = arm_of(summary, other)["difference"]
    assert gap["value"] == pytest.approx(-there["value"])
    assert gap["low"] == pytest.approx(-there["high"])
    assert gap["p"] == pytest.approx(there["p"])
    with pytest.raises(BadInput, match="no arm is called 'smal'"):
        summarise(results, baseline="smal")


def test_coverage_is_the_share_of_subsets_with_a_right_one():
    rng = np.random.default_rng(3)
    pools = [(rng.random(6) < p).tolist() for p in (0.0, 0.2, 0.5, 0.9)]
    told = summarise(small([(1, 1)] * 4, pools))["arms"][0]["coverage"]
    assert told["k"] == [1, 2, 4, 6]
    for k, value, low, high in zip(*told.values(), strict=True):
        want = np.mean([np.mean([any(s) for s in combinations(pool, k)]) for pool in pools])
        assert value == pytest.approx(want)
        assert 0 <= low <= value <= high <= 1


def test_coverage_pools_seeds_and_goes_as_far_as_a_run():
    results = small([(1, 1)] * 3, [[True, False], [False, False], [True, True]], seeds=(0, 1, 2))
    # of the six samples of the first problem, three are right
    told = summarise(results)["arms"][0]["coverage"]
    assert told["k"] == [1, 2]
    pair = 1 - math.comb(3, 2) / math.comb(6, 2)
    assert told["value"] == pytest.approx([(0.5 + 0 + 1) / 3, (pair + 0 + 1) / 3])


def test_an_arm_that_stops_early_is_covered_by_what_it_drew():
    pools = [[True], [False, False, False, True], [False]]
    told = summarise(small([(1, 1)] * 3, pools))["arms"][0]["coverage"]
    assert told["k"] == [1, 2, 4]
    assert told["value"] == pytest.approx([(1 + 0.25) / 3, (1 + 0.5) / 3, 2 / 3])


def test_calibration_is_that_of_all_runs(results, summary):
    for arm in results.arms:
        runs = results.of(arm)
        said = np.array([run.confidence for run in runs])
        held = np.array([run.right for run in runs], dtype=float)
        told = arm_of(summary, arm.label)["confidence"]
        assert told["ece"]["value"] == pytest.approx(ece(said, held))
        assert told["brier"]["value"] == pytest.approx(brier(said, held))
        assert told["aurc"]["value"] == pytest.approx(aurc(said, held))
        for name in ("ece", "brier", "aurc"):
            assert 0 <= told[name]["low"] <= told[name]["value"] <= told[name]["high"] <= 1
        assert told["curve"]["coverage"][-1] == 1
        assert told["curve"]["accuracy"][-1] == pytest.approx(held.mean())
        # where a threshold falls on a share answered, the curve is exact
        shares, risks = risk_coverage(said, held)
        for share, height in zip(told["curve"]["coverage"], told["curve"]["accuracy"], strict=True):
            for exact in np.flatnonzero(np.isclose(shares, share)):
                assert height == pytest.approx(1 - risks[exact])
        rows = told["reliability"]
        assert sum(row["n"] for row in rows) == len(runs)
        gaps = sum(row["n"] * abs(row["said"] - row["held"]) for row in rows)
        assert gaps / len(runs) == pytest.approx(ece(said, held))


def test_the_accuracy_of_all_answers_has_about_the_interval_of_the_accuracy(summary):
    for arm in summary["arms"]:
        curve = arm["confidence"]["curve"]
        ends = arm["accuracy"]["low"], arm["accuracy"]["high"]
        assert (curve["low"][-1], curve["high"][-1]) == pytest.approx(ends, abs=0.02)


def test_an_honest_confidence_is_not_told_to_be_dishonest():
    rng = np.random.default_rng(5)
    chance = rng.random(400)
    right = rng.random(400) < chance
    told = summarise(small(list(zip(right, right, strict=True)), confidence=chance))
    found = told["arms"][0]["confidence"]["ece"]
    assert found["value"] > 0.02
    assert found["low"] == 0
    bold = summarise(small(list(zip(right, right, strict=True)), confidence=np.ones(400)))
    assert bold["arms"][0]["confidence"]["ece"]["low"] > 0.3


# -- what is missing ---------------------------------------------------------------------------------


def test_failed_and_unfinished_runs_are_counted_and_left_out(results):
    first, other = results.arms[0].label, results.arms[1].label

    def mend(run):
        if run.arm == other and run.problem in ("chain-000", "chain-001"):
            return replace(run, right=None, stopped="error", error="no answer in time")
        return replace(run, right=None) if (run.problem, run.seed) == ("chain-002", 0) else run

    kept = [mend(run) for run in results.runs if (run.arm, run.problem) != (first, "chain-003")]
    holed = replace(results, runs=kept)
    told = summarise(holed)
    assert told["unfinished"] == 3
    assert told["failed"] == 6 + 10
    assert told["planned"] == told["finished"] + told["failed"] + told["unfinished"]
    arms = told["arms"]
    assert (arms[0]["unfinished"], arms[0]["failed"], arms[0]["problems"]) == (3, 1, 59)
    assert (arms[1]["unfinished"], arms[1]["failed"], arms[1]["problems"]) == (0, 7, 58)
    assert arms[1]["stopped"]["error"] == 6
    one, two = (by_problem(holed.of(label)) for label in (first, other))
    assert arms[1]["accuracy"]["value"] == pytest.approx(np.mean(list(two.values())))
    both = [two[name] - one[name] for name in two if name in one]
    assert len(both) == 57
    assert arms[1]["difference"]["value"] == pytest.approx(np.mean(both))
    assert table(told)[1]["failed"] == 7


def test_an_arm_of_which_nothing_finished_stays_in_the_list():
    told = summarise(small([(1, None), (0, None)]))
    assert told["failed"] == 2
    arm = told["arms"][1]
    assert arm["accuracy"] is arm["difference"] is arm["coverage"] is arm["confidence"] is None
    assert arm["costs"] == {}
    assert told["axes"]["calls"]["pareto"] == ["one"]
    assert table(told)[1]["accuracy"] is None
    turned = summarise(small([(1, None), (0, None)]), baseline="two")
    assert turned["arms"][0]["difference"] is None


# -- against a cost ----------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=8),
)
def test_the_front_is_what_nothing_beats(points):
    costs, accuracy = np.array(points, dtype=float).T
    front = pareto(costs, accuracy)
    beaten = [
        any(
            c <= costs[i] and a >= accuracy[i] and (c, a) != (costs[i], accuracy[i])
            for c, a in zip(costs, accuracy, strict=True)
        )
        for i in range(len(points))
    ]
    wanted = {points[i] for i in range(len(points)) if not beaten[i]}
    assert {points[i] for i in front} == wanted
    assert len(front) == len(wanted)
    assert sorted(front, key=lambda i: costs[i]) == front


def test_series_their_areas_and_their_costs_of_a_target(results):
    told = summarise(results, targets=[0.3, 0.6, 1.0])
    for axis, found in told["axes"].items():
        series = {(row["series"], row["model"]): row for row in found["series"]}
        assert len(series) == 3
        for row in series.values():
            costs = [arm_of(told, label)["costs"][axis]["value"] for label in row["arms"]]
            assert costs == sorted(costs)
        for row in found["to_reach"]:
            arms = [arm_of(told, a) for a in series[row["series"], row["model"]]["arms"]]
            best = max(arm["accuracy"]["value"] for arm in arms)
            assert (row["cost"] is None) == (best < row["target"])
            if row["cost"]:
                cost = row["cost"]
                assert arms[0]["costs"][axis]["value"] <= cost["value"] * (1 + 1e-9)
                assert cost["low"] <= cost["value"] <= (cost["high"] or math.inf)
    assert "usd" in told["axes"]


def test_areas_are_mean_accuracies_over_the_costs_that_all_series_have():
    arms = [Arm(f"{s}{n}", "m", f"{s}{n}", series=s) for s in "ab" for n in (1, 4, 16)]
    right = {"a1": 0.2, "a4": 0.4, "a16": 0.8, "b1": 0.5, "b4": 0.5, "b16": 0.5}
    runs = [
        RunRow(arm.label, f"p{i}", 0, i < 100 * right[arm.label],
               calls=int(arm.label[1:]) * (2 if arm.series == "b" else 1))
        for arm in arms for i in range(100)
    ]  # fmt: skip
    told = summarise(Results({}, arms, runs))["axes"]["calls"]
    area = {row["series"]: row["area"] for row in told["series"]}
    # from 2 calls, the least of b, to 16, the most of a: halfway from 1 to 4 on, then up to 16
    assert area["a"]["value"] == pytest.approx((0.35 * 1 + 0.6 * 2) / 3)
    assert area["b"]["value"] == pytest.approx(0.5)
    assert area["b"]["low"] < 0.45 < 0.55 < area["b"]["high"]


def test_a_target_outside_shares_is_bad_input(results):
    for bad in (0.0, 1.5, 80):
        with pytest.raises(BadInput, match="target"):
            summarise(results, targets=[bad])


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6))
def test_targets_are_few_round_and_within_what_was_measured(counts):
    means = np.array(counts) / 50
    found = round_targets(means[:, None])
    assert len(found) <= 5
    assert all(means.min() < t <= means.max() for t in found)
    assert found == sorted(found)


@given(st.floats(1e-9, 1e15), st.floats(1, 1e6))
def test_budgets_are_round_and_reach_from_the_cheapest_to_the_dearest(low, times):
    high = low * times
    found = round_budgets(low, high)
    assert found == sorted(found)
    assert low <= found[0] <= 2.6 * low
    assert high <= found[-1] <= 2.6 * high
    assert all(f"{x:e}"[0] in "125" and f"{x:.6e}"[2:8] == "000000" for x in found)


def test_the_best_arm_is_chosen_on_one_half_and_reported_on_the_other(results, summary):
    first = dict(zip(results.problems, halves(results.problems), strict=True))
    assert 15 < sum(first.values()) < 45
    figures = {}
    for arm in results.arms:
        right = by_problem(results.of(arm))
        spent = by_problem(results.of(arm), lambda run: run.completion_tokens)
        figures[arm.label] = [
            np.mean([values[name] for name in right if first[name] == half])
            for values, half in ((spent, True), (right, True), (right, False))
        ]
    assert summary["best_at"]["completion_tokens"]
    for row in summary["best_at"]["completion_tokens"]:
        within = [f for f in figures.values() if f[0] <= row["budget"]]
        cost, seen, reported = figures[row["chosen"]]
        assert cost <= row["budget"]
        assert seen == max(f[1] for f in within)
        assert row["seen"]["value"] == pytest.approx(seen)
        assert row["reported"]["value"] == pytest.approx(reported)


def test_what_is_reported_has_no_part_in_the_choice(results, summary):
    first = dict(zip(results.problems, halves(results.problems), strict=True))
    turned = [
        run if first[run.problem] else replace(run, right=not run.right) for run in results.runs
    ]
    again = summarise(replace(results, runs=turned))
    for axis, rows in summary["best_at"].items():
        for row, other in zip(rows, again["best_at"][axis], strict=True):
            assert other["chosen"] == row["chosen"]
            assert other["seen"] == row["seen"]
            assert other["reported"]["value"] == pytest.approx(1 - row["reported"]["value"])


# -- by difficulty -----------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 8), min_size=1, max_size=60))
def test_groups_keep_ties_together_and_the_order(levels):
    group = quantile_groups(np.array(levels, dtype=float))
    by_level = defaultdict(set)
    for level, g in zip(levels, group, strict=True):
        by_level[level].add(int(g))
    assert all(len(found) == 1 for found in by_level.values())
    order = [found.pop() for _, found in sorted(by_level.items())]
    assert order == sorted(order)
    assert set(order) == set(range(max(order) + 1))
    assert max(order) < 5


def test_groups_without_ties_are_of_equal_size():
    assert np.bincount(quantile_groups(np.arange(50.0))).tolist() == [10] * 5


def test_with_seeds_the_bins_are_of_one_and_the_accuracies_of_the_others(results, summary):
    bins = summary["bins"]
    assert "seed 0" in bins["how"]
    assert sum(b["problems"] for b in bins["bins"]) == 60
    widest = "small: self_consistency n=16"
    assert repr(widest) in bins["how"]
    rate = {
        name: np.mean(
            [s.right for s in results.samples if (s.model, s.problem, s.seed) == ("small", name, 0)]
        )
        for name in results.problems
    }
    later = by_problem([run for run in results.of(widest) if run.seed > 0])
    for b in bins["bins"]:
        assert len(b["names"]) == b["problems"]
        rates = [rate[name] for name in b["names"]]
        assert (b["low"], b["high"]) == pytest.approx((min(rates), max(rates)))
        want = np.mean([later[name] for name in b["names"]])
        assert b["arms"][widest]["value"] == pytest.approx(want)
    edges = [(b["low"], b["high"]) for b in bins["bins"]]
    assert all(one[1] < two[0] for one, two in pairwise(edges))


def test_with_one_seed_the_bins_are_of_the_samples_at_odd_places():
    pools = [[True, False] * 4, [False, True] * 4, [True, True, False, True] * 2]
    told = summarise(small([(1, 0), (0, 1), (1, 1)], pools))["bins"]
    assert "odd places" in told["how"]
    assert [(b["low"], b["names"]) for b in told["bins"]] == [(0.0, ["p0"]), (1.0, ["p1", "p2"])]
    assert told["bins"][1]["arms"]["one"]["value"] == 0.5


# -- hardly anything ---------------------------------------------------------------------------------

POOL = [[True, False, True, True]]


@pytest.mark.parametrize(
    "results",
    [
        small([(1, 0)], POOL, [0.5]),
        small([(1, 0)], POOL, [0.5], seeds=(0, 1, 2)),
        small([(1,)], labels=("one",)),
        small([(1, 1)] * 9, POOL * 9, [1.0] * 9),
        small([(0, 0)] * 9, POOL * 9, [0.0] * 9),
        small([(0, 0)] * 9, [[False]] * 9, [0.0] * 9),
        small([(0, 1)] * 9, [[]] * 9),
        small([(None, None)] * 3, POOL * 3),
        replace(small([(1, 0)] * 3), runs=[]),
        Results({}, [Arm("one", "m", "greedy")], [RunRow("one", "p", 0, True)]),
    ],
    ids=[
        "one problem",
        "one problem, three seeds",
        "one arm",
        "all right",
        "all wrong",
        "one wrong candidate",
        "no candidates",
        "all failed",
        "nothing has run",
        "no costs",
    ],
)
def test_with_hardly_anything_the_summary_is_still_one(results):
    told = summarise(results)
    json.dumps(told, allow_nan=False)
    assert len(table(told)) == len(results.arms)
    for arm in told["arms"]:
        for found in (arm["accuracy"], arm["difference"]):
            if found:
                assert found["low"] < found["high"]
                assert found["low"] <= found["value"] <= found["high"]
    for axis in told["axes"].values():
        assert axis["pareto"]


def test_all_right_is_not_known_for_certain():
    told = summarise(small([(1, 1)] * 40, POOL * 40, [1.0] * 40))["arms"][1]
    assert told["accuracy"]["low"] == pytest.approx(stats.wilson(40, 40)[0])
    assert told["difference"]["p"] == 1
    assert told["confidence"]["aurc"]["high"] > 0.05
    assert told["confidence"]["curve"]["low"][-1] < 0.95


def test_one_problem_has_a_cost_but_no_interval_of_it():
    told = summarise(small([(1, 0)], POOL))
    assert told["arms"][0]["costs"]["calls"] == {"value": 1, "low": None, "high": None}
    assert not told["best_at"]["calls"]
    assert told["bins"] is None


def test_an_arm_that_failed_on_the_hard_problems_is_not_on_the_front_for_it():
    names = [f"p{i}" for i in range(40)]
    right = [i < 20 for i in range(40)]
    runs = [RunRow("all", n, 0, r, completion_tokens=50) for n, r in zip(names, right, strict=True)]
    runs += [
        RunRow("fails", n, 0, r if i < 22 else None, completion_tokens=50)
        for i, (n, r) in enumerate(zip(names, right, strict=True))
    ]
    arms = [Arm("all", "m", "all"), Arm("fails", "m", "fails")]
    found = summarise(Results({}, arms, runs, [], dict.fromkeys(names, "?")))
    assert found["arms"][1]["accuracy"]["value"] == pytest.approx(20 / 22)
    assert found["arms"][1]["difference"]["value"] == 0
    # side by side, on the 22 that both have, they are equal: the first stands for both
    assert found["axes"]["completion_tokens"]["pareto"] == ["all"]
