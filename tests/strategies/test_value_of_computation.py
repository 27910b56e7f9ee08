"""Chains that are worth their tokens: which is chosen, and when none is."""

import numpy as np
import pytest

import outthink
from outthink.core.errors import BadInput, MissingNeed
from outthink.testing import check_strategy

QUESTION = (
    "Ada has 8 stamps. Jade has 4 fewer than Ada. Ben has 3 times as many as Jade. "
    "How many stamps has Ben?"
)


def solve(spec, model="fly(think=4)", seed=0):
    return outthink.solve(QUESTION, model=model, strategy=spec, seed=seed)


def test_it_keeps_the_laws():
    check_strategy("value_of_computation(n=2)", "fly")


def test_of_the_chains_that_reach_the_answer_the_one_of_greatest_reward_is_given():
    for model in ("fly(think=4)", "fly"):
        answer = solve("value_of_computation(n=6)", model)
        worth = np.array(answer.scores["reward"])
        mine = next(i for i, s in enumerate(answer.candidates) if s.text == answer.text)
        own = [
            i
            for i, s in enumerate(answer.candidates)
            if s.text.rpartition("answer:")[2].strip() == answer.answer
        ]
        assert worth[mine] == max(worth[own])


def test_where_length_is_dear_the_answer_stands_alone_and_its_reward_is_0():
    answer = solve("value_of_computation(n=6, gamma=20)")
    assert answer.text == f"</think>\nanswer: {answer.answer}\n"
    assert answer.scores["reward"][-1] == 0.0
    assert max(answer.scores["reward"][:-1]) < 0


def test_a_dearer_token_never_makes_the_chosen_chain_longer():
    # what is drawn and the answer do not depend on the price
    cheap, dear = (solve(f"value_of_computation(n=8, gamma={g})") for g in (0, 2))
    assert cheap.answer == dear.answer
    lengths = [
        next(s.total_tokens for s in a.candidates if s.text == a.text) for a in (cheap, dear)
    ]
    assert lengths[1] <= lengths[0]


def test_it_reads_the_chains_again_and_pays_for_it():
    plain, worth = solve("self_consistency(n=4)"), solve("value_of_computation(n=4)")
    assert worth.usage.calls == plain.usage.calls + 1
    assert worth.usage.completion_tokens == plain.usage.completion_tokens
    assert worth.usage.prompt_tokens > plain.usage.prompt_tokens


def test_it_needs_a_model_that_can_be_read_and_a_price_of_at_least_0():
    with pytest.raises(MissingNeed):
        solve("value_of_computation", "simulated")
    with pytest.raises(BadInput):
        solve("value_of_computation(gamma=-1)")
