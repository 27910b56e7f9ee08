"""Answers at several depths of a thought: where it is cut, how many there are, what they cost."""

from itertools import pairwise

import pytest

import outthink
from outthink.core.errors import BadInput
from outthink.testing import check_strategy

# the price of a token is a power of two, so that sums of dollars do not depend on their order
SIMULATED = "simulated(steps=6, price=7.62939453125, flops=1e6)"
QUESTION = (
    "Ada has 8 stamps. Jade has 4 fewer than Ada. Ben has 3 times as many as Jade. "
    "Dan has 5 more than Ben. How many stamps has Dan?"
)


def solve(spec, model="fly(think=4)", seed=0, **more):
    return outthink.solve(QUESTION, model=model, strategy=spec, seed=seed, **more)


def thoughts(answer):
    """The thought of each candidate, without the mark that ends it."""
    return [s.text.partition("</think>")[0].rstrip("\n") for s in answer.candidates]


@pytest.mark.parametrize(
    "spec",
    [
        "fractured(n=2, depths=3)",
        "fractured(n=2, depths=3, every=9)",
        "fractured(n=2, depths=2, verifier=prm(model=simulated_prm))",
    ],
)
def test_it_keeps_the_laws(spec):
    check_strategy(spec, SIMULATED)


@pytest.mark.parametrize(("n", "depths", "answers"), [(1, 1, 1), (2, 4, 1), (2, 3, 2)])
def test_there_are_n_depths_answers_and_each_thought_is_paid_for_once(n, depths, answers):
    answer = solve(f"fractured(n={n}, depths={depths}, answers={answers})")
    assert len(answer.candidates) == n * depths * answers
    assert all(s.finish == "stop" for s in answer.candidates)
    found = thoughts(answer)
    whole, cut = set(found[: n * answers]), found[n * answers :]
    assert len(whole) <= n
    for thought in cut:
        assert any(w.startswith(thought) for w in whole)
    own = sum(s.tokens for s in answer.candidates)
    paid = answer.usage.completion_tokens
    assert paid - own == sum(s.parent.tokens for s in answer.candidates[: n * answers : answers])


def test_cuts_are_even():
    answer = solve("fractured(n=1, depths=4)")
    whole, *cut = thoughts(answer)
    for h, thought in zip((1, 2, 3), cut, strict=True):
        assert abs(len(thought) - h * len(whole) / 4) <= 2


def test_one_depth_is_the_plain_thought_and_answer():
    plain = solve("greedy")
    assert solve("fractured(n=1, depths=1, temperature=0.0)").text == plain.text


def test_a_thought_is_ended_where_two_depths_agree():
    whole = solve("fractured(n=1, depths=1)").usage.completion_tokens
    saved = 0
    for seed in range(4):
        answer = solve("fractured(n=1, depths=50, every=8)", seed=seed)
        said = [s.text.rpartition("answer:")[2].strip() for s in answer.candidates]
        # it goes on while neighbours differ; then they agree, or the thought has ended by itself
        assert all(a != b for a, b in pairwise(said[:-1]))
        saved += answer.usage.completion_tokens < whole
    assert saved


def test_depths_bound_the_parts():
    answer = solve("fractured(n=1, depths=2, every=5)")
    assert len(answer.candidates) <= 2
    assert max(s.parent.total_tokens for s in answer.candidates) <= 10


def test_a_budget_that_gives_out_costs_the_shallow_answers():
    full = solve("fractured(n=2, depths=4)")
    tight = solve("fractured(n=2, depths=4)", budget="calls=4")
    assert 0 < len(tight.candidates) < len(full.candidates)
    assert all(s.text.count("</think>") == 1 for s in tight.candidates)
    assert tight.stopped == "calls"


def test_wrong_parameters_are_refused():
    for spec in ("fractured(n=0)", "fractured(depths=0)", "fractured(every=0)"):
        with pytest.raises(BadInput):
            solve(spec)
