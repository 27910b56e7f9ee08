"""Soft self-consistency: its laws and its limits."""

import numpy as np
import pytest

import outthink
from outthink.core.errors import BadInput
from outthink.select.likelihood import SOFT, token_score
from outthink.tasks import chain
from outthink.testing import check_strategy

PROBLEM = chain.make(6, 30, 4)


def solve(spec, seed=0, model="fly"):
    return outthink.solve(PROBLEM.question, strategy=spec, seed=seed, model=model)


def test_it_keeps_the_laws_of_a_strategy():
    check_strategy("soft_self_consistency(n=4)")


@pytest.mark.parametrize("how", SOFT)
def test_it_gives_the_sample_of_the_highest_score(how):
    found = solve(f"soft_self_consistency(n=8, aggregate={how})")
    scores = [token_score(s.logprobs, how) for s in found.candidates]
    assert found.scores["probability"] == pytest.approx(scores)
    assert found.text == found.candidates[int(np.argmax(scores))].text


def test_equal_probabilities_give_the_first_sample_and_not_the_vote():
    """Samples are not counted: on a model whose tokens are all certain the first wins."""
    sure = "simulated(accuracy=0.5, steps=0)"
    for seed in range(6):
        found = solve("soft_self_consistency(n=5)", seed, sure)
        scores = found.scores["probability"]
        assert found.text == found.candidates[int(np.argmax(scores))].text
        if len(set(scores)) == 1:
            assert found.text == found.candidates[0].text


def test_one_sample_is_the_answer():
    one = solve("soft_self_consistency(n=1)")
    assert one.answer == solve("self_consistency(n=1)").answer


def test_an_unknown_aggregate_is_refused():
    with pytest.raises(BadInput, match="aggregate"):
        solve("soft_self_consistency(aggregate=sum)")


def test_it_answers_an_easy_question_on_fly():
    easy = chain.make(3, 9, 4)
    found = outthink.solve(easy.question, strategy="soft_self_consistency(n=8)")
    assert found.answer == str(easy.answer)
