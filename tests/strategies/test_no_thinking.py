"""Answers without a thought: what is put before them, and how they are put together."""

import numpy as np
import pytest

import outthink
from outthink.core.errors import BadInput, MissingNeed
from outthink.core.registry import build
from outthink.testing import Ledger, check_strategy

SIMULATED = "simulated(steps=6, price=7.62939453125, flops=1e6)"
QUESTION = "Ada has 8 stamps. Jade has 4 fewer than Ada. How many stamps has Jade?"


def solve(spec, model="fly(think=3)", seed=0):
    return outthink.solve(QUESTION, model=model, strategy=spec, seed=seed)


@pytest.mark.parametrize(
    "spec",
    ["no_thinking(n=4)", "no_thinking(n=4, q=0.5)"],
)
def test_it_keeps_the_laws(spec):
    check_strategy(spec, SIMULATED)


def test_with_a_verifier_it_keeps_the_laws():
    check_strategy("no_thinking(n=3, verifier=prm(model=simulated_prm))", SIMULATED)


def test_the_thought_is_closed_before_it_begins():
    answer = solve("no_thinking(n=6)")
    assert len(answer.candidates) == 6
    assert answer.usage.calls == 1
    assert all(s.text.startswith("</think>\n") for s in answer.candidates)
    told = solve("no_thinking(n=1)", "simulated(steps=6)")
    assert told.text.startswith("<think>\nOkay, I think I have finished thinking.\n</think>\n")
    given = solve("no_thinking(n=1, prefill='step 1: so ')", "simulated(steps=6)")
    assert given.text.startswith("step 1: so ")


def test_a_model_without_thoughts_has_nothing_to_close():
    answer = solve("no_thinking(n=4, prefill='')", "fly")
    assert answer.answer == "4"
    assert not any("think" in s.text for s in answer.candidates)
    greedy = solve("no_thinking(n=1, prefill='', temperature=0.0)", "fly")
    assert greedy.text == solve("greedy", "fly").text


def test_q_0_is_the_vote_and_a_large_q_gives_the_surest():
    for seed in range(4):
        plain, same = (
            solve("no_thinking(n=9)", seed=seed),
            solve("no_thinking(n=9, q=0)", seed=seed),
        )
        assert {s.text for s in plain.candidates} == {s.text for s in same.candidates}
        votes = sorted(plain.distribution.values(), reverse=True)
        if len(votes) == 1 or votes[0] > votes[1]:
            assert same.answer == plain.answer
        sure = solve("no_thinking(n=9, q=100)", seed=seed)
        best = int(np.argmax(sure.scores["self-certainty"]))
        assert sure.text == sure.candidates[best].text


def test_only_a_vote_by_confidence_needs_log_probabilities():
    blind = Ledger(build(SIMULATED, "model").open(), frozenset({"LOGPROBS"}))
    assert solve("no_thinking(n=2)", blind).answer is not None
    with pytest.raises(MissingNeed):
        solve("no_thinking(n=2, q=1)", blind)


def test_a_verifier_chooses_the_text_that_it_scores_highest():
    answer = solve("no_thinking(n=8, verifier=prm)")
    scores = answer.scores["verifier"]
    assert answer.text == answer.candidates[int(np.argmax(scores))].text


def test_two_ways_of_choosing_are_one_too_many():
    with pytest.raises(BadInput, match="q=1"):
        solve("no_thinking(q=1, verifier=prm)")
    with pytest.raises(BadInput):
        solve("no_thinking(q=-1)")
