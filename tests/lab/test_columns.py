import numpy as np
import pytest

from outthink.core.errors import BadInput
from outthink.lab.columns import columns
from outthink.lab.records import Arm, Results, RunRow, SampleRow

ARMS = [Arm("a", "m", "greedy"), Arm("b", "m", "vote")]


def sample(problem, number, right, seed=0, model="m"):
    return SampleRow(model, problem, seed, number, "text", "1", 0, right, 10)


def test_runs_stand_where_they_belong_and_what_is_missing_is_nan():
    runs = [
        RunRow("b", "q", 1, True, confidence=0.5, completion_tokens=7, prompt_tokens=3),
        RunRow("a", "p", 0, None, stopped="failed", error="no answer in time"),
        RunRow("a", "p", 1, False),
    ]
    found = columns(Results({}, ARMS, runs, questions={"p": "?", "q": "?"}))
    assert found.problems == ("p", "q")
    assert found.seeds == (0, 1)
    assert found.right[1, 1, 1] == 1
    assert found.right[0, 0, 1] == 0
    assert np.isnan(found.right).sum() == 6
    assert found.tried.tolist() == [2, 1]
    assert found.spent("total_tokens")[1, 1] == 10
    assert np.isnan(found.spent("total_tokens")[1, 0])
    assert found.shares()[0, 0] == 0


def test_candidates_are_counted_as_often_as_they_were_drawn():
    """A text that was drawn twice is one row of the samples and two candidates."""
    runs = [RunRow("b", "p", 0, True, candidates=(0, 1, 0, 2, 0))]
    samples = [sample("p", 0, True), sample("p", 1, False), sample("p", 2, True)]
    found = columns(Results({}, ARMS, runs, samples, {"p": "?"}))
    assert found.candidates[1, 0, 0] == 5
    assert found.right_candidates[1, 0, 0] == 4
    # places 1 and 3
    assert found.odd[1, 0, 0] == 1


def test_samples_of_another_model_or_seed_are_others():
    arms = [Arm("a", "m", "greedy"), Arm("b", "n", "greedy")]
    runs = [RunRow(arm, "p", seed, True, candidates=(0,)) for arm in "ab" for seed in (0, 1)]
    rows = [(0, "m", True), (1, "m", False), (0, "n", False), (1, "n", True)]
    samples = [sample("p", 0, right, seed, model) for seed, model, right in rows]
    found = columns(Results({}, arms, runs, samples, {"p": "?"}))
    assert found.right_candidates[:, 0, :].tolist() == [[1, 0], [0, 1]]


def test_a_run_that_was_done_again_counts_once():
    runs = [RunRow("a", "p", 0, None), RunRow("a", "p", 0, True)]
    found = columns(Results({}, ARMS, runs))
    assert found.tried.tolist() == [1, 0]
    assert found.right[0, 0, 0] == 1


def test_planned_seeds_count_before_they_are_run():
    runs = [RunRow("a", "p", 0, True)]
    assert columns(Results({"design": {"seeds": 3}}, ARMS, runs)).seeds == (0, 1, 2)


@pytest.mark.parametrize(
    ("results", "says"),
    [
        (Results({}, [], []), "needs arms"),
        (Results({}, [ARMS[0], ARMS[0]], []), "label of its own"),
        (Results({}, ARMS, []), "needs problems"),
        (Results({}, ARMS, [RunRow("aa", "p", 0, True)]), "arm 'aa'"),
        (
            Results({}, ARMS, [RunRow("a", "p", 0, True, candidates=(4,))], [sample("p", 0, True)]),
            "candidate 4",
        ),
    ],
)
def test_what_cannot_be_a_bench_says_so(results, says):
    with pytest.raises(BadInput, match=says):
        columns(results)
