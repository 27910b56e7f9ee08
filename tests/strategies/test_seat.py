"""SEAT: when it stops, what it shows, and that agreement is not truth."""

import numpy as np
import pytest

import outthink
from outthink.core.registry import build
from outthink.select.entropy import semantic_entropy
from outthink.stop.secretary import look, place
from outthink.tasks import chain
from outthink.testing import check_strategy

PROBLEM = chain.make(10, 99, 5)


def solve(spec, model="fly", seed=0, question=PROBLEM.question):
    return outthink.solve(question, model=model, strategy=spec, seed=seed)


def entropies(found, n):
    answers = [s.text.split("answer: ")[-1].strip() for s in found.candidates]
    kinds = {a: i for i, a in enumerate(dict.fromkeys(answers))}
    return semantic_entropy(np.array([kinds[a] for a in answers]).reshape(-1, n))


def test_it_keeps_the_laws_of_a_strategy():
    check_strategy("seat(n=3, rounds=3)")
    check_strategy("seat(n=2, rounds=3, threshold=0.0)")


def test_one_round_is_the_vote():
    one, vote = solve("seat(n=5, rounds=1)"), solve("self_consistency(n=5)")
    assert [s.text for s in one.candidates] == [s.text for s in vote.candidates]
    assert (one.answer, one.distribution) == (vote.answer, vote.distribution)


def test_a_round_is_shown_the_round_before_and_nothing_else():
    found = solve("seat(n=2, rounds=3, threshold=-1.0)")
    assert len(found.candidates) == 6
    first, second, third = (found.candidates[i : i + 2] for i in (0, 2, 4))
    for before, these in ((first, second), (second, third)):
        for s in these:
            shown = [m["content"] for m in s.messages if m["role"] == "assistant"]
            assert shown == [b.text for b in before]


@pytest.mark.parametrize("seed", range(2))
def test_the_secretary_stops_the_rounds_where_it_would_stop_all_of_them(seed):
    every = solve("seat(n=4, rounds=5, threshold=-1.0)", seed=seed)
    values = entropies(every, 4)
    some = solve("seat(n=4, rounds=5)", seed=seed)
    assert len(some.candidates) // 4 == int(place(values)) + 1 > look(5)


def test_a_threshold_stops_at_the_first_round_that_meets_it():
    loose = solve("seat(n=3, rounds=4, threshold=1.1)")
    assert len(loose.candidates) == 3
    sure = "simulated(accuracy=1.0)"
    assert len(solve("seat(n=3, rounds=4, threshold=0.0)", sure).candidates) == 3
    unlike = "simulated(accuracy=0.0, wrong=1000, preferred=0.0)"
    assert len(solve("seat(n=3, rounds=4, threshold=0.0)", unlike).candidates) == 12


def test_agreement_on_a_wrong_answer_stops_it_as_well():
    wrong = "simulated(accuracy=0.0, wrong=1, correlation=0.0)"
    found = solve("seat(n=4, rounds=4, threshold=0.0)", wrong, question="What is 6 * 7?")
    assert len(found.candidates) == 4
    assert found.confidence == 1.0
    right = solve("greedy", "simulated(accuracy=1.0)", question="What is 6 * 7?")
    assert found.answer != right.answer


def test_its_answer_is_the_majority_of_the_last_round():
    found = solve("seat(n=5, rounds=3, threshold=-1.0)")
    said = [s.text.split("answer: ")[-1].strip() for s in found.candidates[10:]]
    assert said.count(found.answer) == max(said.count(a) for a in said)
    assert found.confidence == pytest.approx(said.count(found.answer) / 5)


def test_wrong_parameters_are_refused():
    for wrong in ("n=0", "rounds=0", "rounds=1000"):
        with pytest.raises(outthink.core.errors.BadInput, match=wrong):
            build(f"seat({wrong})", "strategy")
