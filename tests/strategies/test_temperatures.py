"""Temperatures: its laws, who gets how many samples, and when it ends."""

from collections import Counter

import numpy as np
import pytest

import outthink
from outthink.core.errors import BadInput
from outthink.core.registry import build
from outthink.models.simulated import right_answer
from outthink.testing import Ledger, check_strategy

QUESTION = "What is 6 * 7?"


def asked(spec, model="simulated(accuracy=0.2, wrong=40, preferred=0)", **more):
    """The answer, and how many samples each temperature was asked for."""
    book = Ledger(build(model, "model").open())
    answer = outthink.solve(QUESTION, model=book, strategy=spec, **more)
    counts = Counter()
    for request in book.requests:
        counts[request.temperature] += request.n
    return answer, dict(counts)


def test_it_keeps_the_laws_of_a_strategy():
    check_strategy("temperatures(n=8)")
    check_strategy("temperatures(n=5, exit=false, grid=[0, 0.5, 1])")


@pytest.mark.parametrize("exit", ["true", "false"])
def test_samples_are_shared_out_evenly_and_greedy_is_asked_once(exit):
    answer, counts = asked(f"temperatures(n=10, grid=[0, 0.5, 1, 1.5], exit={exit})")
    assert counts == {0.0: 1, 0.5: 3, 1.0: 3, 1.5: 3}
    assert len(answer.candidates) == 10


def test_without_an_end_each_temperature_is_one_call():
    answer, _ = asked("temperatures(n=12, exit=false)")
    assert answer.usage.calls == 4


def test_a_sure_question_ends_after_one_sample_of_each_temperature():
    answer, counts = asked("temperatures(n=64)", model="simulated(accuracy=1)")
    assert counts == dict.fromkeys((0.3, 0.6, 0.9, 1.2), 1)
    assert answer.confidence == 1.0
    _, counts = asked("temperatures(n=64, exit=false)", model="simulated(accuracy=1)")
    assert sum(counts.values()) == 64


def test_a_question_without_agreement_takes_all_samples_and_is_voted_on():
    answer, counts = asked("temperatures(n=16)")
    assert sum(counts.values()) == 16
    votes = Counter(answer.distribution)
    assert votes[answer.answer] == max(votes.values())


def test_it_ends_no_later_with_laxer_thresholds():
    model = "simulated(accuracy=0.8, wrong=5)"
    for seed in range(4):
        drawn = [
            len(asked(f"temperatures(n=32, cross={c}, intra={i})", model, seed=seed)[0].candidates)
            for c, i in ((0.5, 0.5), (0.75, 0.5), (1, 0.8))
        ]
        assert drawn == sorted(drawn)


def test_a_verifier_finds_what_one_sample_of_many_has():
    simulated = "simulated(accuracy=0.3, wrong=40, preferred=0)"
    spec = "temperatures(n=16, verifier=prm(model=simulated_prm(auroc=1)))"
    found = [asked(spec, simulated, seed=seed)[0] for seed in range(4)]
    truth = right_answer(QUESTION)
    covered = [any(truth in s.text.split() for s in a.candidates) for a in found]
    assert [a.answer == truth for a in found] == covered
    assert np.mean(covered) > 0.5


@pytest.mark.parametrize("grid", ["[]", "[0.5, 0.5]", "[-1]", "[9]"])
def test_a_grid_without_meaning_is_refused(grid):
    with pytest.raises(BadInput, match="different numbers from 0 to 5"):
        build(f"temperatures(grid={grid})", "strategy")


def test_one_sample_is_the_first_temperature_and_its_answer():
    answer, counts = asked("temperatures(n=1)")
    assert counts == {0.3: 1}
    assert answer.text == answer.candidates[0].text
