"""First finish: the first to end wins, the others are stopped and cost what they had written."""

import anyio
import pytest

import outthink
from outthink.api import Session
from outthink.core.errors import BadInput
from outthink.tasks import chain
from outthink.testing import check_strategy
from tests.strategies.timed import Timed

PROBLEM = chain.make(3, 9, 4)


def test_it_keeps_the_laws():
    check_strategy("first_finish(n=4)")


def test_the_first_to_end_wins_and_the_others_are_cancelled():
    words = " ".join(["so"] * 20)
    model = Timed(
        (5.0, words + "\nanswer: 1", "stop"),
        (0.02, "cut\nanswer: 2", "length"),
        (0.05, "quick\nanswer: 3", "stop"),
        (5.0, words + "\nanswer: 1", "stop"),
    )
    answer = outthink.solve("q?", model=model, strategy="first_finish(n=4)")
    assert answer.answer == "3"
    assert model.cancelled == 2
    # 3 words each of those that came, and a hundredth of the long ones
    assert 6 <= answer.usage.completion_tokens <= 10


def test_where_none_ends_what_was_cut_votes():
    rows = [(0.01, f"long\nanswer: {k}", "length") for k in (7, 8, 8)]
    answer = outthink.solve("q?", model=Timed(*rows), strategy="first_finish(n=3)")
    assert (answer.answer, len(answer.candidates)) == ("8", 3)


def test_on_a_model_that_computes_here_it_costs_about_n_times_the_shortest():
    spent = whole = bound = 0
    for seed in range(3):
        problem = chain.make(4, 20, seed)
        race = outthink.solve(
            problem.question, model="fly(think=free)", strategy="first_finish(n=6)"
        )
        vote = outthink.solve(
            problem.question, model="fly(think=free)", strategy="self_consistency(n=6)"
        )
        spent += race.usage.completion_tokens
        whole += vote.usage.completion_tokens
        bound += 6 * race.candidates[0].tokens
        assert len(race.candidates) == 1
    assert 0.7 * bound <= spent < whole


def test_simulated_samples_that_are_cancelled_cost_less_than_whole_ones():
    spec = "simulated(latency=0.05, spread=1.5, steps=6)"
    race = outthink.solve("q?", model=spec, strategy="first_finish(n=8)")
    vote = outthink.solve("q?", model=spec, strategy="self_consistency(n=8)")
    assert race.usage.completion_tokens < 0.7 * vote.usage.completion_tokens
    assert race.usage.calls > 1


def test_it_takes_nothing_from_a_vote_through_a_store(tmp_path):
    async def main():
        url = str(tmp_path / "calls.db")
        async with Session("fly", store=url) as session:
            await session.solve(PROBLEM.question, "self_consistency(n=4)")
            race = await session.solve(PROBLEM.question, "first_finish(n=4)")
            assert race.usage.stored_calls == 0

    anyio.run(main)


def test_one_sample_is_that_sample_and_too_many_are_refused():
    model = Timed((0.0, "only\nanswer: 5", "stop"))
    assert outthink.solve("q?", model=model, strategy="first_finish(n=1)").answer == "5"
    with pytest.raises(BadInput, match="n=0"):
        outthink.solve("q?", strategy="first_finish(n=0)")
