"""Hedged sampling: the greedy text is there, first, and is the answer of one sample."""

import anyio
import pytest

import outthink
from outthink.api import asolve
from outthink.core.errors import BadInput
from outthink.core.model import Generation, Reply
from outthink.tasks import problems as problems_of
from outthink.testing import check_strategy
from tests.verify.scripted import QUESTION, Scripted

CHAIN = (
    "Uma has 85 books. Ben has 1/5 as many as Uma. Jo has 7 more than Ben. How many books has Jo?"
)


@pytest.mark.parametrize(
    "spec", ["hedged(n=4)", "hedged(n=4, min_p=0.1, verifier=prm(model=simulated_prm))"]
)
def test_the_laws(spec):
    check_strategy(spec)


def test_one_sample_is_the_greedy_answer():
    one, greedy = (outthink.solve(CHAIN, strategy=s, seed=5) for s in ("hedged(n=1)", "greedy"))
    assert (one.text, one.usage.calls) == (greedy.text, 1)


def test_the_greedy_text_is_first_and_the_others_are_drawn():
    problem = problems_of("chain", "medium", "dev", 1, 2)[0].question
    answer = outthink.solve(problem, strategy="hedged(n=6, temperature=1.3)", seed=2)
    greedy = outthink.solve(problem, strategy="greedy").text
    texts = [s.text for s in answer.candidates]
    assert texts[0] == greedy
    assert len(set(texts[1:])) > 1


class Temperatures(Scripted):
    """Says what it was asked for."""

    def __init__(self, by_temperature):
        super().__init__(None)
        self.by_temperature, self.requests = by_temperature, []

    async def generate(self, request, ticket):
        self.requests.append(request)
        text = self.by_temperature(request.temperature, len(self.requests))
        await anyio.sleep(0)
        return Reply((Generation(text, 5),), self.price.usage(10, 5))


def solve(strategy, model, **more):
    return anyio.run(lambda: asolve(QUESTION, model=model, strategy=strategy, **more))


def test_temperatures_and_min_p_are_sent():
    model = Temperatures(lambda t, k: "answer: 7")
    solve("hedged(n=3, temperature=0.9, min_p=0.2)", model)
    assert [r.temperature for r in model.requests] == [0.0, 0.9, 0.9]
    assert [dict(r.extra) for r in model.requests] == [{}, {"min_p": 0.2}, {"min_p": 0.2}]


def test_where_hot_samples_all_differ_the_greedy_one_wins_the_vote():
    """The worst case of a vote among scattered samples is the safe one."""
    answer = solve("hedged(n=5)", Temperatures(lambda t, k: f"answer: {7 if not t else 100 + k}"))
    assert answer.answer == "7"
    vote = solve("self_consistency(n=5)", Temperatures(lambda t, k: f"answer: {100 + k}"))
    assert vote.answer == "101"


def test_hot_samples_that_agree_outvote_a_wrong_greedy_one():
    answer = solve("hedged(n=5)", Temperatures(lambda t, k: f"answer: {7 if t else 3}"))
    assert (answer.answer, answer.confidence) == ("7", 0.8)


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_the_safe_one_is_there_from_the_first_call_on(calls):
    model = Temperatures(lambda t, k: f"answer: {7 if not t else 100 + k}")
    answer = solve("hedged(n=5)", model, budget=f"calls={calls}")
    assert (answer.answer, answer.stopped) == ("7", "calls")
    assert len(answer.candidates) == calls


@pytest.mark.parametrize(
    ("spec", "said"), [("hedged(n=0)", "n=0"), ("hedged(min_p=1.5)", "min_p=1.5")]
)
def test_wrong_parameters_are_refused(spec, said):
    with pytest.raises(BadInput, match=said):
        outthink.solve(QUESTION, strategy=spec)
