"""What a run does beside drawing: editing texts, work inside a model, samples under way side by side."""

import threading
from dataclasses import dataclass

import anyio
import numpy as np
import pytest

import outthink
from outthink.core.budget import Usage
from outthink.core.errors import BadInput, BudgetExhausted, MissingNeed, ServerFailed
from outthink.core.nouns import Answer
from outthink.core.registry import build, entries
from outthink.core.run import execute
from outthink.models.simulated import Simulated
from tests.core.test_run import go, run_of

ADA = "Ada has 8 stamps. Jade has 4 fewer than Ada. How many stamps has Jade?"


def inside(strategy, budget=None, question=ADA, model="fly"):
    return go(strategy, build(model, "model").open(), budget, question=question)


def test_a_step_of_so_many_tokens_can_be_extended_and_adds_up_to_the_whole():
    async def strategy(problem, run):
        nodes, rounds = [run.root()], 0
        while not nodes[0].finished:
            nodes = await run.extend(nodes, stop=(), tokens=5, top_logprobs=3, temperature=0)
            rounds += 1
        whole = await run.gather(1, temperature=0, logprobs=True)
        assert nodes[0].text == whole[0].text
        assert nodes[0].total_tokens == whole[0].tokens
        assert rounds == -(-whole[0].tokens // 5)
        np.testing.assert_allclose(nodes[0].trace(), whole[0].logprobs, atol=1e-3)
        assert nodes[0].trace("top_logprobs").shape == (whole[0].tokens, 3)
        assert whole[0].trace("top_logprobs") is None
        return Answer("x", "")

    inside(strategy)


def test_a_step_has_a_token():
    async def strategy(problem, run):
        await run.extend([run.root()], tokens=0)

    with pytest.raises(BadInput, match="at least one token"):
        go(strategy)


def test_an_edited_sample_ends_as_it_was_told_and_goes_on_from_there():
    async def strategy(problem, run):
        (sample,) = await run.gather(1, temperature=0, logprobs=True)
        before = run.meter.usage()
        half = run.edit(sample, keep=len(sample.text) // 2, add="8 - 4 = 4\n")
        assert run.meter.usage().completion_tokens == before.completion_tokens
        assert half.text == sample.text[: len(sample.text) // 2] + "8 - 4 = 4\n"
        assert not half.finished
        assert half.tokens == round(sample.tokens * (len(sample.text) // 2) / len(sample.text))
        assert len(half.logprobs) == half.tokens
        assert half.logprob == pytest.approx(half.logprobs.sum())
        again = run.edit(sample)
        assert (again.text, again.tokens) == (sample.text, sample.tokens)
        assert again.node != half.node
        (on,) = await run.extend([half], stop=())
        assert on.text.startswith(half.text)
        assert on.finished
        assert on.total_tokens == half.tokens + on.tokens
        return Answer("x", "")

    inside(strategy)


def test_work_inside_is_metered_and_runs_beside_the_loop():
    names = []

    def work(doors, wrote):
        names.append(threading.current_thread().name)
        (written,) = doors.write(doors.prompt([{"role": "user", "content": ADA}]), max_tokens=40)
        wrote(len(written.ids))
        return written

    async def strategy(problem, run):
        found = await run.inside(work, reads=30, writes=40)
        sample = run.make(found.text, tokens=len(found.ids), logprobs=found.logprobs)
        return run.answer(await run.pool([sample]), 0)

    answer, run = inside(strategy)
    assert (answer.usage.calls, answer.usage.prompt_tokens) == (1, 30)
    assert answer.usage.completion_tokens == answer.candidates[0].tokens
    assert answer.candidates[0].node in run.world.samples
    assert names[0] != threading.main_thread().name
    with pytest.raises(BadInput, match="were reserved"):
        inside(lambda problem, run: run.inside(lambda i, wrote: wrote(2), reads=1, writes=1))


def test_work_inside_that_does_not_fit_is_not_begun():
    begun = []

    async def strategy(problem, run):
        await run.inside(lambda doors, wrote: begun.append(1), reads=10, writes=50)

    answer, _ = inside(strategy, "tokens=20")
    assert (answer.stopped, begun, answer.usage) == ("tokens", [], answer.usage)
    assert answer.usage.calls == 0


def test_a_model_without_an_inside_says_so():
    async def strategy(problem, run):
        await run.inside(lambda doors, wrote: None, reads=1)

    with pytest.raises(MissingNeed, match="LOGITS"):
        go(strategy)


def test_work_inside_ends_with_its_run_and_is_charged_for_what_it_wrote():
    ended = threading.Event()

    def work(doors, wrote):
        try:
            for _ in range(10_000):
                wrote(1)
                threading.Event().wait(0.01)
        except BudgetExhausted:
            ended.set()
            raise

    async def strategy(problem, run):
        await run.inside(work, reads=5, writes=10_000)

    async def main():
        run = run_of(build("fly", "model").open(), "seconds=0.2", question=ADA)
        answer = await execute(strategy, run)
        assert run.meter.reserved == Usage()
        return answer

    answer = anyio.run(main)
    assert answer.stopped == "seconds"
    assert 0 < answer.usage.completion_tokens < 1000
    assert ended.wait(2)


def test_no_more_are_under_way_than_the_width_allows():
    model, peak = Simulated(latency=0.01, spread=0.5).open(), 0

    async def strategy(problem, run):
        nonlocal peak
        assert run.place == 0
        found = []
        async with run.samples(12, width=3) as stream:
            async for sample in stream:
                found.append(sample.node)
                peak = max(peak, model.active)
        assert sorted(found) == [(i,) for i in range(12)]
        assert run.place == 12
        return Answer("x", "")

    answer, _ = go(strategy, model)
    assert 2 <= peak <= 3
    assert answer.usage.calls == 12, (
        "each is a call of its own, also where a call could give several"
    )


def test_what_failed_is_told():
    class Broken:
        """Fails every third call."""

        def __init__(self):
            self.inner, self.calls = Simulated().open(), 0

        def __getattr__(self, name):
            return getattr(self.inner, name)

        async def generate(self, request, ticket):
            self.calls += 1
            if request.nodes[0][-1] % 3 == 1:
                raise ServerFailed("out of memory")
            return await self.inner.generate(request, ticket)

    async def strategy(problem, run):
        lost = set()
        async with run.samples(6, lost=lost) as stream:
            found = [s.node async for s in stream]
        assert lost == {(1,), (4,)}
        assert len(found) == 4
        return Answer("x", "")

    go(strategy, Broken())


def test_what_was_asked_for_comes_from_the_store_as_it_was(tmp_path):
    seen = []

    @outthink.strategy("tops_for_a_test")
    @dataclass(frozen=True)
    class Tops:
        """Draws with what the store has to keep."""

        async def __call__(self, problem, run):
            (sample,) = await run.gather(1, top_logprobs=4, logit_bias={3: -2.0})
            seen.append((sample.text, sample.top_logprobs, sample.stored))
            return run.answer(await run.pool([sample]), 0)

    try:
        for _ in range(2):
            outthink.solve(ADA, strategy="tops_for_a_test", store=str(tmp_path / "calls.db"))
    finally:
        entries("strategy").pop("tops_for_a_test")
    assert [stored for _, _, stored in seen] == [False, True]
    assert seen[0][0] == seen[1][0]
    np.testing.assert_array_equal(seen[0][1], seen[1][1])


def test_the_log_probability_of_an_edited_text_is_that_of_what_was_drawn():
    async def strategy(problem, run):
        plain, told = await run.sample(), await run.sample(logprobs=True)
        assert run.edit(plain, keep=5).logprob is None  # that of a part is not known
        assert run.edit(plain, keep=0).logprob == 0.0
        assert run.edit(told, keep=5).logprob == pytest.approx(told.logprobs[:1].sum(), abs=9)
        begun = run.edit(run.root(), add="8 - 4 = 4\n")
        (on,) = await run.extend([begun], stop=(), logprobs=True)
        assert on.total_logprob == pytest.approx(on.trace().sum())
        return Answer("x", "")

    inside(strategy)


def test_counts_that_cannot_be_are_refused():
    async def strategy(problem, run):
        for wrong in (
            lambda: run.make("a", tokens=-1),
            lambda: run.make("a", tokens=2, logprobs=np.zeros(3)),
        ):
            with pytest.raises(BadInput, match="tokens="):
                wrong()
        with pytest.raises(BadInput, match="reads=-1"):
            await run.inside(lambda inside, wrote: 0, reads=-1)
        with pytest.raises(BadInput, match="-2 tokens"):
            await run.inside(lambda inside, wrote: wrote(-2), reads=1, writes=1)
        with pytest.raises(BadInput, match=r"tokens=1\.5"):
            await run.extend([run.root()], tokens=1.5)
        return Answer("x", "")

    inside(strategy)
