"""Thoughts that are cut and made to go on: what stands in the text, and how long the thought is."""

import pytest

import outthink
from outthink.core.errors import BadInput, MissingNeed
from outthink.testing import check_strategy

# the price of a token is a power of two, so that sums of dollars do not depend on their order
SIMULATED = "simulated(steps=5, price=7.62939453125, flops=1e6)"
QUESTION = (
    "Ada has 8 stamps. Jade has 4 fewer than Ada. Ben has 3 times as many as Jade. "
    "Dan has 5 more than Ben. How many stamps has Dan?"
)


def solve(spec, model="fly(think=4)", seed=0):
    return outthink.solve(QUESTION, model=model, strategy=spec, seed=seed)


@pytest.mark.parametrize("spec", ["budget_forcing", "budget_forcing(tokens=20, waits=2, n=3)"])
def test_it_keeps_the_laws(spec):
    check_strategy(spec, SIMULATED)


@pytest.mark.parametrize("tokens", [1, 7, 30])
def test_no_thought_is_longer_than_it_may_and_each_is_ended_once(tokens):
    for seed in range(3):
        answer = solve(f"budget_forcing(tokens={tokens}, waits=2, n=2)", seed=seed)
        for sample in answer.candidates:
            thought = sample.parent
            assert thought.total_tokens <= tokens
            assert sample.text.count("</think>") == 1
            assert thought.text.endswith("</think>\n")
            assert sample.finish == "stop"


def test_each_wait_takes_away_one_end_and_puts_the_word_there():
    first = solve("budget_forcing(waits=0)").text.partition("</think>")[0]
    for waits in (1, 2):
        found = solve(f"budget_forcing(waits={waits}, wait='hold on\\n')").text
        assert found.startswith(first + "hold on\n")
        assert found.count("hold on\n") == waits


def test_without_force_it_is_the_plain_answer():
    # greedily, since calls that are parted have other seeds
    forced = solve("budget_forcing(waits=0, temperature=0.0)")
    assert forced.text == solve("greedy").text


def test_a_cue_stands_after_an_end_that_was_forced_and_after_no_other():
    cut = solve("budget_forcing(tokens=4, cue='answer:')")
    assert "</think>\nanswer:" in cut.text
    own = solve("budget_forcing(waits=0, cue='CUE')")
    assert "CUE" not in own.text


def test_a_model_that_does_not_think_has_its_whole_text_taken_as_the_thought():
    answer = solve("budget_forcing(waits=1, wait='so\\n')", "simulated")
    assert any("taken as a thought" in note for note in answer.notes)
    assert "so\n" in answer.text
    assert answer.answer is not None


def test_wrong_parameters_and_a_model_without_prefixes_are_refused():
    for spec in ("budget_forcing(tokens=0)", "budget_forcing(waits=-1)", "budget_forcing(n=0)"):
        with pytest.raises(BadInput):
            solve(spec)
    with pytest.raises(MissingNeed):
        outthink.solve(QUESTION, model=_without_prefix(), strategy="budget_forcing")


def _without_prefix():
    from outthink.core.registry import build
    from outthink.testing import Ledger

    return Ledger(build("simulated", "model").open(), frozenset({"PREFIX"}))
