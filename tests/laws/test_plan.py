"""Plans: the winner, what it is worth, and when the data cannot tell."""

import numpy as np
import pytest

import outthink
from outthink.core.errors import BadInput
from outthink.lab.records import Arm, Results, RunRow
from outthink.laws.plan import advise, by_difficulty
from outthink.route.levels import Level, level_of, read_levels
from tests.lab import made_up


def bench(right, cost, confidence=None, strategies=None):
    """Results of arms (rows of ``right``) with a fixed cost each."""
    right = np.asarray(right)
    specs = strategies or [f"self_consistency(n={2**i})" for i in range(len(right))]
    arms = [Arm(spec, "simulated", spec) for spec in specs]
    said = np.ones(right.shape) if confidence is None else np.asarray(confidence)
    runs = [
        RunRow(
            arm.label, f"p{j}", 0, bool(right[i, j]), confidence=float(said[i, j]), calls=1,
            completion_tokens=int(cost[i]),
        )
        for i, arm in enumerate(arms)
        for j in range(right.shape[1])
    ]  # fmt: skip
    return Results({}, arms, runs, [], {f"p{j}": f"Which is {j}?" for j in range(right.shape[1])})


def some(shares, n=400, seed=0):
    """Right or wrong with these shares, nested: who solves less solves a part of the same."""
    order = np.random.default_rng(seed).random(n)
    return np.array([order < share for share in shares])


def test_the_most_accurate_within_the_budget_and_the_cheapest_that_reaches_the_target():
    results = bench(some([0.3, 0.6, 0.95]), [10, 40, 160])
    inside = advise(results, "tokens=50")
    assert inside.arm.strategy == "self_consistency(n=2)"
    assert inside.certain
    assert inside.expected.low < 0.6 < inside.expected.high
    assert inside.costs["completion_tokens"].value == 40
    assert advise(results).arm.strategy == "self_consistency(n=4)"
    assert advise(results, target=0.5).arm.strategy == "self_consistency(n=2)"
    assert advise(results, target=0.85).certain


def test_what_does_not_fit_is_said_with_the_nearest():
    results = bench(some([0.3, 0.6]), [10, 40])
    poor = advise(results, "tokens=5")
    assert poor.arm is None
    assert "self_consistency(n=1) costs 10" in poor.reason
    far = advise(results, target=0.95)
    assert far.arm is None
    assert "none does, beyond chance" in far.reason


def test_equals_are_named_with_the_cheapest_of_them():
    # both right on 60 of 100, on other problems
    first = np.arange(100) < 60
    results = bench([first, np.roll(first, 40), np.arange(100) < 5], [10, 40, 5])
    found = advise(results, "tokens=100")
    assert found.arm.strategy == "self_consistency(n=1)"  # the cheaper of equals
    assert not found.certain
    assert [label for label, _ in found.rivals] == ["self_consistency(n=2)"]
    assert found.cheapest is None
    better = np.array([first, np.arange(100) < 62])
    found = advise(bench(better, [10, 40]))
    assert found.arm.strategy == "self_consistency(n=2)"
    assert found.cheapest == "self_consistency(n=1)"


def test_a_target_that_may_be_reached_by_chance_is_no_certainty():
    found = advise(bench([np.arange(50) < 15, np.arange(50) < 31], [10, 40]), target=0.58)
    assert found.arm.strategy == "self_consistency(n=2)"
    assert not found.certain
    assert "chance" in found.reason


def test_the_winner_of_many_equals_is_not_worth_its_own_figure():
    """Twenty arms without any difference: the best looks good, and is said to be worth the truth."""
    looks, worth = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        results = bench(rng.random((20, 40)) < 0.5, np.full(20, 10))
        found = advise(results)
        rows = results.of(found.arm)
        looks.append(np.mean([row.right for row in rows]))
        worth.append(found.expected.value)
    assert np.mean(looks) > 0.6
    assert abs(np.mean(worth) - 0.5) < 4 * np.std(worth) / len(worth) ** 0.5


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"budget": "tokens=5", "target": 0.5}, "not both"),
        ({"target": 1.5}, "above 0"),
        ({"axis": "tokens"}, "one of completion_tokens"),
        ({"budget": "tokns=5"}, "tokns"),
    ],
)
def test_wrong_questions_are_refused(more, said):
    with pytest.raises(BadInput, match=said):
        advise(bench(some([0.3, 0.6]), [10, 40]), **more)


def test_too_small_a_bench_is_refused():
    with pytest.raises(BadInput, match="at least 4"):
        advise(bench(some([0.5, 0.9], 3), [10, 40]))


# -- by difficulty -----------------------------------------------------------------------------------

STRATEGIES = ["self_consistency(n=4)", "self_consistency(n=64)", "best_of_n(n=8, verifier=prm)"]


def graded(n=300, seed=0):
    """Easy problems agree and all arms solve them; on the others only the dear arms are good."""
    rng = np.random.default_rng(seed)
    easy = rng.random(n) < 0.5
    right = np.array([easy | (rng.random(n) < 0.2), easy | (rng.random(n) < 0.5),
                      easy | (rng.random(n) < 0.8)])  # fmt: skip
    said = np.where(easy, 1.0, 0.5) * np.ones((3, 1))
    return bench(right, [40, 640, 100], said, STRATEGIES), easy


def test_agreement_is_the_answer_and_doubt_gets_the_dear_strategy():
    results, _ = graded()
    plan = by_difficulty(results, "tokens=120")
    assert plan.probe == 4
    assert [level.strategy for level in plan.levels] == [STRATEGIES[2], STRATEGIES[0]]
    assert plan.levels[1].agreement == 1.0
    # half of the problems cost the probe, the others the strategy too
    assert plan.cost.value == pytest.approx(40 + 100 * 0.5, abs=8)
    # alone, the verifier fits as well: nothing is gained but tokens
    assert plan.single == STRATEGIES[2]
    assert plan.over_best.low < 0 < plan.over_best.high
    # where it does not fit for every problem, it does for the hard ones
    assert by_difficulty(results, "tokens=95").over_best.low > 0


def test_no_more_is_spent_than_allowed_and_never_less_is_right_with_more():
    results, _ = graded()
    last = 0.0
    for limit in (40, 60, 100, 200, 500):
        plan = by_difficulty(results, f"tokens={limit}")
        assert plan.cost.value <= limit * 1.1  # on the other half of the problems
        assert plan.expected.value >= last - 0.03
        last = plan.expected.value


@pytest.mark.parametrize(
    ("budget", "more", "said"),
    [
        ("tokens=10", {}, "the cheapest costs 40"),
        ("tokens=100, calls=3", {}, "one limit"),
        ("tokens=100", {"probe": 3}, r"self_consistency\(n=3\)"),
        ("tokens=100", {"model": "gpt"}, "no model"),
    ],
)
def test_what_cannot_be_planned_is_refused(budget, more, said):
    with pytest.raises(BadInput, match=said):
        by_difficulty(graded()[0], budget, **more)


def test_a_saved_plan_is_what_auto_runs(tmp_path):
    results, _ = graded()
    path = tmp_path / "plan.json"
    plan = by_difficulty(results, "tokens=100")
    plan.save(path)
    assert read_levels(path) == (4, plan.levels)

    def solve(question, model):
        return outthink.solve(
            question, model=model, strategy=f'auto(plan="{path}")', budget="calls=20"
        )

    sure = solve("Which is 1?", "simulated(accuracy=1, correlation=0)")
    assert (sure.usage.calls, len(sure.candidates)) == (1, 4)
    torn = solve("Ada has 3 pens. Ben has 4 more than Ada. How many pens has Ben?", "fly")
    assert torn.answer == "7"


def test_auto_goes_on_where_the_first_samples_do_not_agree():
    torn = outthink.solve(
        "Which?", model="simulated(accuracy=0, correlation=0, wrong=9)", strategy="auto"
    )
    assert len(torn.candidates) == 16
    assert torn.strategy == "auto"
    sure = outthink.solve("Which?", model="simulated(accuracy=1, correlation=0)", strategy="auto")
    assert len(sure.candidates) == 4


def test_a_file_that_is_no_plan_is_refused_before_anything_is_spent(tmp_path):
    path = tmp_path / "x.json"
    for text, said in (
        ("{}", "is no plan"), ("[]", "is no plan"), ('{"format": 2, "probe": 1, "levels": []}', "format 2"),
        ('{"format": 1, "probe": 0, "levels": []}', "needs a probe"),
        ('{"format": 1, "probe": 1e999, "levels": []}', "is no plan"),
        ('{"format": 1, "probe": 2, "levels": [{"agreement": 4, "strategy": "greedy"}]}', "from 0 to 1"),
        ('{"format": 1, "probe": 2, "levels": [{"agreement": 0, "strategy": "auto"}]}', "auto itself"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(BadInput, match=said):
            read_levels(path)
    with pytest.raises(BadInput, match="cannot read the plan"):
        outthink.solve("Which?", strategy=f'auto(plan="{tmp_path}/none.json")')


def test_levels_are_found_from_below():
    levels = [Level(0.0, "a"), Level(0.5, "b"), Level(1.0, "c")]
    assert [level_of(levels, x) for x in (0.0, 0.49, 0.5, 0.75, 1.0)] == [0, 0, 1, 1, 2]
    assert level_of(levels[1:], 0.1) == 0


def test_several_seeds_and_models_are_planned_for():
    results = made_up.results(80)
    found = advise(results, "tokens=3k")
    assert found.arm.model == "large"
    assert 0 < found.expected.low <= found.expected.value
