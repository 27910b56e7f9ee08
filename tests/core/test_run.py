"""The run: waves, deadlines, failures, cancellation, children, and what they cost."""

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import outthink
from outthink.api import Session
from outthink.core.budget import Budget, Meter, Price, Usage
from outthink.core.errors import (
    BadInput,
    BudgetExhausted,
    MissingNeed,
    ModelError,
    NotAuthorised,
    ServerFailed,
    StoreError,
    VerifierError,
)
from outthink.core.model import Generation, Reply
from outthink.core.nouns import Answer, Problem, Sample, Score
from outthink.core.registry import build, strategy
from outthink.core.run import FLOOR, Run, World, execute
from outthink.models.simulated import Simulated, right_answer
from outthink.verify.extract import reader_for

QUESTION = "How many?"


def run_of(model, budget=None, concurrency=None, seed=0, question=QUESTION):
    problem = Problem.of(question)
    limiter = anyio.Semaphore(concurrency) if concurrency else None
    world = World({"main": model}, reader_for(problem, None), limiter=limiter)
    limits = Budget.parse(budget) if isinstance(budget, str) else budget or Budget()
    return Run(problem, world, Meter(limits), seed)


def go(strategy, model=None, budget=None, **options):
    """The answer and the run of an async function taken as a strategy."""
    model = model or Simulated().open()

    async def main():
        before = asyncio.all_tasks()
        run = run_of(model, budget, **options)
        answer = await execute(strategy, run)
        assert asyncio.all_tasks() == before, "a task was left behind"
        assert run.meter.reserved == Usage(), "a reservation was left open"
        return answer, run

    return anyio.run(main)


def vote(n, **params):
    async def strategy(problem, run):
        async def choose(samples):
            return run.answer(await run.pool(samples), 0)

        return await choose(await run.gather(n, propose=choose, **params))

    return strategy


class Scripted:
    """A model that does as a function says: ``write(request, ticket)`` gives a reply."""

    name, capabilities, price, native_n, max_tokens = "scripted", frozenset(), Price(), False, 50

    def __init__(self, write, **attributes):
        self.write, self.calls = write, 0
        for name, value in attributes.items():
            setattr(self, name, value)

    def count_tokens(self, messages, prefix=""):
        return 10

    async def generate(self, request, ticket):
        self.calls += 1
        reply = self.write(request, ticket)
        return await reply if asyncio.iscoroutine(reply) else reply

    async def aclose(self):
        pass


def reply(*texts, tokens=5, prompt=10, usage=None):
    rows = tuple(Generation(text, tokens) for text in texts)
    return Reply(rows, usage or Price().usage(prompt, tokens * len(texts)))


# -- budgets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", ["tokens=60", "calls=1", "total_tokens=90", "flops=1e8"])
def test_budgets_hold_and_name_the_limit(budget):
    answer, _ = go(vote(20), Simulated(latency=0.001).open(), budget)
    limit, bound = next(iter(Budget.parse(budget).limits().items()))
    assert answer.usage.amount(limit) <= bound
    if limit != "calls":  # one call gives all n samples
        assert answer.stopped == limit
        assert len(answer.candidates) < 20


@settings(max_examples=15)
@given(st.integers(1, 400), st.integers(1, 12), st.integers(0, 3))
def test_waves_are_the_same_under_any_concurrency_and_order(tokens, n, seed):
    seen = set()
    for concurrency, order in ((1, 0), (3, 1), (64, 2)):
        model = Simulated(latency=0.0005, spread=1.0, latency_seed=order).open()
        model.native_n = False
        answer, _ = go(vote(n, max_tokens=30), model, f"tokens={tokens}", concurrency=concurrency,
                       seed=seed)  # fmt: skip
        texts = tuple(s.text for s in answer.candidates)
        usage = dataclasses.replace(answer.usage, seconds=0.0)
        seen.add((answer.answer, answer.stopped, texts, usage))
        assert answer.usage.completion_tokens <= tokens
    assert len(seen) == 1


def test_a_wave_settles_and_leaves_room_for_the_next():
    # 26 tokens are written where 100 are reserved: one at a time, many still fit
    model = Simulated().open()
    model.native_n = False
    answer, _ = go(vote(50, max_tokens=100), model, "tokens=300")
    assert len(answer.candidates) >= 8


def test_the_last_sample_is_shortened_to_what_is_left_but_not_below_the_floor():
    model = Simulated(steps=30).open()
    answer, _ = go(vote(1, max_tokens=200), model, "tokens=40")
    assert answer.usage.completion_tokens == 40
    assert answer.candidates[0].finish == "length"
    answer, _ = go(vote(1, max_tokens=200), model, f"tokens={FLOOR - 1}")
    assert answer.answer is None
    assert answer.usage.calls == 0
    assert answer.stopped == "tokens"


def test_no_concurrency_exceeds_the_limiter():
    peak = 0

    async def write(request, ticket):
        nonlocal peak
        peak = max(peak, model.active)
        model.active += 1
        peak = max(peak, model.active)
        await anyio.sleep(0.001)
        model.active -= 1
        return reply("answer: 1")

    model = Scripted(write, active=0)
    go(vote(20), model, concurrency=4)
    assert peak == 4


def test_an_overdraft_is_charged_and_ends_the_run():
    def write(request, ticket):
        return reply("answer: 5", tokens=500)

    model = Scripted(write)
    answer, run = go(vote(10, max_tokens=20), model, "tokens=100")
    assert answer.usage.completion_tokens >= 500
    assert answer.stopped == "tokens"
    assert model.calls <= 5, "no call after the wave that overdrew"
    assert any("overdraft" in note for note in answer.notes)
    assert answer.answer == "5"
    with pytest.raises(BudgetExhausted):
        run.meter.reserve(Usage(calls=1))


def test_a_server_that_says_too_little_is_charged_by_its_texts():
    for usage in (Usage(), Usage(calls=1, prompt_tokens=10, completion_tokens=1)):
        model = Scripted(lambda r, t, u=usage: Reply((Generation("answer: 5", 0),), u))
        answer, _ = go(vote(3, max_tokens=50), model)
        assert answer.usage.completion_tokens == 3 * len("answer: 5")
        assert answer.usage.prompt_tokens == 30
        assert answer.usage.estimated
        assert any("estimate" in note for note in answer.notes)


def test_a_model_without_texts_fails_instead_of_asking_for_ever():
    model = Scripted(lambda r, t: Reply((), Price().usage(10, 0)), native_n=True)
    with pytest.raises(ModelError, match="without a text"):
        go(vote(4), model)
    assert model.calls == 1


# -- n, failures, retries ------------------------------------------------------------------------


def test_an_ignored_n_is_topped_up():
    model = Scripted(lambda r, t: reply(f"answer: {r.seeds[0]}"), native_n=True)
    answer, _ = go(vote(6), model)
    assert len({s.text for s in answer.candidates}) == 6
    assert model.calls == 6
    assert not model.native_n


def test_more_texts_than_asked_for_are_left_out():
    model = Scripted(lambda r, t: reply(*["answer: 1"] * 5))
    answer, _ = go(vote(2), model)
    assert len(answer.candidates) == 2


def test_some_failures_are_noted_and_the_rest_is_used():
    def write(request, ticket):
        if model.calls % 2:
            raise ServerFailed("down")
        return reply("answer: 1")

    model = Scripted(write)
    answer, _ = go(vote(10), model)
    assert len(answer.candidates) == 5
    assert answer.usage.calls == 10
    assert any("5 calls failed" in note for note in answer.notes)
    assert answer.stopped == "finished"


def test_all_failures_raise_the_last_one():
    with pytest.raises(ServerFailed):
        go(vote(5), Simulated(failures=1.0).open())


def test_a_wrong_key_ends_the_run_at_once():
    def write(request, ticket):
        raise NotAuthorised("no key")

    with pytest.raises(NotAuthorised):
        go(vote(5), Scripted(write))


def test_retries_are_counted_and_bounded_by_the_calls():
    answer, _ = go(vote(8), Simulated(failures=0.4, retries=20).open())
    model = Simulated(failures=1.0, retries=20).open()
    with pytest.raises(BudgetExhausted):
        anyio.run(run_of(model, "calls=3").sample)
    answer, _ = go(vote(1), model, "calls=3")
    assert answer.usage.calls == 3
    assert answer.stopped == "calls"


def test_a_failure_after_a_proposal_keeps_the_proposal():
    async def strategy(problem, run):
        run.propose(Answer("7", "seven"))
        raise VerifierError("the judge is away")

    answer, _ = go(strategy)
    assert (answer.answer, answer.stopped) == ("7", "error")
    assert any("the judge is away" in note for note in answer.notes)


# -- the end of a run ----------------------------------------------------------------------------


def test_the_deadline_ends_with_the_last_proposal():
    async def strategy(problem, run):
        run.propose(Answer("7", "seven"))
        await run.sample()

    model = Simulated(latency=30, spread=0).open()
    started = time.monotonic()
    answer, _ = go(strategy, model, "seconds=0.1")
    assert time.monotonic() - started < 2
    assert (answer.answer, answer.stopped) == ("7", "seconds")
    assert model.active == 0
    assert answer.usage.calls == 1, "a cancelled call is charged"


def test_the_deadline_before_any_answer_says_so():
    answer, _ = go(vote(2), Simulated(latency=30).open(), "seconds=0.05")
    assert answer.answer is None
    assert answer.stopped == "seconds"
    assert any("before the first answer" in note for note in answer.notes)


def test_cancel_ends_with_what_is_there():
    model = Simulated(latency=0.02, spread=1.0).open()
    model.native_n = False

    async def main():
        run = run_of(model)
        seen = []

        def observer(kind, data):
            if kind == "sample":
                seen.append(data)
                if len(seen) == 3:
                    run.cancel("enough")

        run.world.observer = observer
        return await execute(vote(12), run)

    answer = anyio.run(main)
    assert answer.stopped == "enough"
    assert 3 <= len(answer.candidates) < 12
    assert model.active == 0


def test_cancelled_before_it_began():
    async def main():
        run = run_of(Simulated().open())
        run.cancel("early")
        return await execute(vote(2), run)

    answer = anyio.run(main)
    assert (answer.answer, answer.stopped, answer.usage.calls) == (None, "early", 0)


def test_the_callers_cancellation_passes_through():
    model = Simulated(latency=30).open()

    async def main():
        run = run_of(model)
        with anyio.move_on_after(0.05) as scope:
            await execute(vote(4), run)
        assert scope.cancelled_caught
        assert run.meter.reserved == Usage()
        assert model.active == 0

    anyio.run(main)


def test_leaving_the_block_cancels_what_is_in_flight():
    model = Simulated(latency=0.05, spread=1.0).open()
    model.native_n = False

    async def strategy(problem, run):
        async with run.samples(16) as stream:
            await anext(stream)
        assert model.active == 0
        return Answer("x", "")

    answer, run = go(strategy, model)
    assert model.begun == 16
    assert answer.usage.calls == 16
    assert len(run.world.samples) < 16
    whole = 16 * sample_tokens()
    assert answer.usage.completion_tokens < whole, "a cancelled call costs what it had written"


def sample_tokens():
    answer, _ = go(vote(1))
    return answer.usage.completion_tokens


def test_samples_come_as_they_finish():
    model = Simulated(latency=0.02, spread=1.0).open()
    model.native_n = False
    order = []

    async def strategy(problem, run):
        async with run.samples(8) as stream:
            async for sample in stream:
                order.append(sample.node)
        return Answer("x", "")

    go(strategy, model)
    assert sorted(order) == [(i,) for i in range(8)]
    assert order != sorted(order)


def test_an_error_inside_the_block_is_raised_as_itself():
    async def strategy(problem, run):
        async with run.samples(3) as stream:
            async for _ in stream:
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        go(strategy)


# -- seeds, trees, children ----------------------------------------------------------------------


def test_extending_a_sample_twice_gives_two_continuations():
    async def strategy(problem, run):
        first = await run.extend([run.root()])
        both = await run.extend([first[0], first[0], first[0]])
        assert [s.node for s in both] == [(0, 0, 0), (0, 0, 1), (0, 0, 2)]
        assert len({s.text for s in both}) == 3
        assert all(s.text.startswith(first[0].text) and s.parent is first[0] for s in both)
        assert all(s.text.count("\n") == 2 and s.depth == 2 for s in both)
        assert both[0].total_tokens == first[0].tokens + both[0].tokens
        assert both[0].total_logprob == pytest.approx(first[0].logprob + both[0].logprob)
        return run.answer(await run.pool(both), 0)

    go(strategy)


def test_steps_to_the_end_make_a_whole_text_and_finished_ones_pass_through():
    async def strategy(problem, run):
        nodes = [run.root() for _ in range(4)]
        for _ in range(6):
            nodes = await run.extend(nodes)
        assert all(s.finished for s in nodes)
        again = await run.extend(nodes)
        assert all(a is b for a, b in zip(again, nodes, strict=True))
        assert all(s.text.count("\n") == 3 and "answer: " in s.text for s in nodes)
        return run.answer(await run.pool(nodes), 0)

    go(strategy, Simulated(steps=3).open())


def test_extend_gives_back_what_the_budget_left_unextended():
    async def strategy(problem, run):
        nodes = await run.extend([run.root() for _ in range(10)], max_tokens=20)
        assert run.limit == "tokens"
        assert 0 < sum(s.finish == "root" for s in nodes) < 10
        return Answer("x", "")

    answer, _ = go(strategy, Simulated().open(), "tokens=50")
    assert answer.stopped == "tokens"


def test_the_seed_decides_and_nothing_else():
    one, _ = go(vote(5), seed=1)
    same, _ = go(vote(5), seed=1)
    other, _ = go(vote(5), seed=2)
    texts = [tuple(s.text for s in a.candidates) for a in (one, same, other)]
    assert texts[0] == texts[1] != texts[2]


def test_a_child_spends_from_both_and_its_end_is_not_the_parents():
    async def strategy(problem, run):
        child = run.spawn(Budget(tokens=60))
        inner = await execute(vote(20), child)
        assert inner.stopped == "tokens"
        assert inner.usage.completion_tokens <= 60
        more = await run.gather(3)
        assert len({s.node for s in [*more, *inner.candidates]}) == 3 + len(inner.candidates)
        return run.answer(await run.pool(more), 0)

    answer, run = go(strategy, Simulated().open(), "tokens=1k")
    assert answer.stopped == "finished"
    assert run.meter.spent.completion_tokens == sum(s.tokens for s in run.world.samples.values())


def test_a_child_is_bound_by_the_budget_above():
    async def strategy(problem, run):
        return await execute(vote(50), run.spawn(Budget(tokens=10_000)))

    answer, _ = go(strategy, Simulated().open(), "tokens=100")
    assert answer.usage.completion_tokens <= 100
    assert answer.stopped == "tokens"


def test_children_side_by_side_share_the_budget():
    async def strategy(problem, run):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(execute, vote(10), run.spawn())
        return Answer("x", "")

    answer, _ = go(strategy, Simulated(latency=0.002).open(), "tokens=300,calls=20")
    assert answer.usage.completion_tokens <= 300
    assert answer.usage.calls <= 20


def test_scores_are_asked_for_once():
    asked = []

    async def length(problem, samples, run):
        asked.append([s.node for s in samples])
        return [Score(float(len(s.text))) for s in samples]

    async def strategy(problem, run):
        some = await run.gather(3)
        first = await run.score(some, length)
        assert await run.score([some[2], some[0], some[2]], length) == [
            first[2], first[0], first[2],
        ]  # fmt: skip
        return Answer("x", "")

    go(strategy)
    assert asked == [[(0,), (1,), (2,)]]


def test_batch_gives_each_prompt_its_sample():
    async def strategy(problem, run):
        prompts = [({"role": "user", "content": f"q{i}"},) for i in range(3)]
        some = await run.batch(prompts)
        assert [s.messages for s in some] == prompts
        assert run.problem.public() == run.problem
        return Answer("x", "")

    go(strategy)


def test_a_role_that_is_not_there_is_a_missing_need():
    with pytest.raises(MissingNeed, match="'draft'"):
        run_of(Simulated().open()).model("draft")


# -- solve ---------------------------------------------------------------------------------------


def test_solve_counts_right_answers():
    answer = outthink.solve(
        QUESTION, model="simulated(accuracy=0.9)", strategy="self_consistency(n=9)"
    )
    assert answer.answer == right_answer(QUESTION)


def test_solve_works_in_a_thread():
    out = []
    thread = threading.Thread(
        target=lambda: out.append(outthink.solve(QUESTION, model="simulated", strategy="greedy"))
    )
    thread.start()
    thread.join(20)
    assert out
    assert out[0].stopped == "finished"


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "nonesuch"}, {"model": "nonesuch"}, {"budget": "tokens=-1"}, {"seed": "1"},
        {"concurrency": 0}, {"strategy": "beam_search(n=4)"},
    ],
)  # fmt: skip
def test_bad_input_comes_before_anything_is_spent(options):
    model = Simulated().open()
    with pytest.raises(BadInput):
        outthink.solve(QUESTION, **{"model": model, "strategy": "greedy", **options})
    assert model.begun == 0


def test_a_session_runs_many_problems_side_by_side():
    async def main():
        async with outthink.Session("simulated(latency=0.002)", concurrency=4) as session:
            answers = {}

            async def one(i):
                answers[i] = await session.solve(f"q{i}", "self_consistency(n=3)")

            async with anyio.create_task_group() as tasks:
                for i in range(6):
                    tasks.start_soon(one, i)
            alone = await session.solve("q3", "self_consistency(n=3)")
        assert alone.text == answers[3].text

    anyio.run(main)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_gives_the_answer_so_far():
    code = textwrap.dedent("""
        import outthink
        from outthink.models.simulated import Simulated
        model = Simulated(latency=0.3, spread=1.2).open()
        model.native_n = False
        def observer(kind, data):
            if kind == "sample":
                print("SAMPLE", flush=True)
        answer = outthink.solve("How many?", model=model, strategy="self_consistency(n=200)",
                                concurrency=8, observer=observer)
        print("STOPPED", answer.stopped, len(answer.candidates), answer.answer)
    """)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        for line in child.stdout:
            if line.startswith("SAMPLE"):
                child.send_signal(signal.SIGINT)
                break
        out = child.communicate(timeout=20)[0]
    finally:
        child.kill()
    assert child.returncode == 0
    last = out.strip().split("\n")[-1].split()
    assert last[:2] == ["STOPPED", "interrupted"]
    assert int(last[2]) >= 1
    assert last[3].isdigit()


def test_sample_root_has_no_text():
    assert Sample((0,)).text == ""


def test_solve_works_where_a_loop_is_running_as_in_a_notebook():
    async def cell():
        return outthink.solve("q?", model="simulated", strategy="self_consistency(n=3)")

    answer = anyio.run(cell)
    assert answer.stopped == "finished"
    with pytest.raises(BadInput):
        anyio.run(_bad_cell)


async def _bad_cell():
    return outthink.solve("q?", model="simulated", strategy="self_consistency(n=0)")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 5}, "Budget"),
        ({"strategy": 3}, "no strategy"),
        ({"strategy": build("prm", "verifier")}, "the verifier prm is no strategy"),
        ({"model": "fly-prm"}, "scores texts"),
        ({"strategy": "dvts"}, r"dvts\(prm="),
    ],
)
def test_objects_of_another_kind_are_said(options, words):
    with pytest.raises(BadInput, match=words):
        outthink.solve("q?", **{"model": "simulated", **options})
    for problem in (None, 3, {}, ["x"]):
        with pytest.raises(BadInput):
            outthink.solve(problem, model="simulated")


def test_a_session_that_is_not_open_says_so():
    async def main():
        await Session("simulated").solve("q?")

    with pytest.raises(BadInput, match="async with"):
        anyio.run(main)


def test_no_samples_are_no_limit():
    @strategy("test_none")
    @dataclass(frozen=True)
    class Nothing:
        """Asks for nothing."""

        async def __call__(self, problem, run):
            """Ask for nothing."""
            assert await run.gather(0) == []
            return run.answer(await run.pool([await run.sample()]), 0)

    assert outthink.solve("q?", model="simulated", strategy=Nothing()).stopped == "finished"


# -- children, cancelled or late -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["late", "cancelled"])
def test_what_a_child_does_for_its_parent_ends_when_the_child_does(how):
    """Its parent goes on: with what came, or with an error that names the limit."""

    async def strategy(problem, run):
        child = run.spawn(Budget(seconds=0.2) if how == "late" else None)
        begun = time.monotonic()
        async with anyio.create_task_group() as tasks:
            if how == "cancelled":

                async def end():
                    await anyio.sleep(0.2)
                    child.cancel("enough")

                tasks.start_soon(end)
            with pytest.raises(BudgetExhausted, match="seconds" if how == "late" else "enough"):
                await child.gather(2)
        assert time.monotonic() - begun < 5
        assert child.limit == ("seconds" if how == "late" else "enough")
        assert run.limit is None
        return run.answer(await run.pool([Sample((0, 0), "answer: 1", finish="stop")]), 0)

    answer, run = go(strategy, Simulated(latency=10, spread=0).open())
    assert answer.stopped == "finished"
    assert run.meter.outstanding == 0


def test_scores_that_come_too_late_for_a_child_are_a_limit():
    slow = build("simulated_prm(latency=10)", "model")

    async def main():
        live = slow.open()
        run = run_of(Simulated().open())
        run.world.models = {**run.world.models, slow: live}
        sample = await run.sample()
        child = run.spawn(Budget(seconds=0.1))
        with pytest.raises(BudgetExhausted, match="seconds"):
            await child.reward([sample], slow)
        assert run.meter.outstanding == 0

    anyio.run(main)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 0}, "Budget"),
        ({"budget": False}, "Budget"),
        ({"seed": 1 << 63}, "63 bits"),
        ({"seed": True}, "whole number"),
        ({"concurrency": 2.5}, "concurrency"),
        ({"reader": 5}, "reader"),
        ({"store": 5}, "store"),
        ({"observer": 5}, "observer"),
        ({"strategy": "best_of_n(verifier=prm(model=simulated))"}, "needs a reward model"),
        ({"strategy": "best_of_n(verifier=judge(model=simulated_prm))"}, "scores texts"),
        ({"strategy": 'beam_search(step="", prm=prm(model=simulated_prm))'}, "step is empty"),
    ],
)
def test_wrong_settings_are_said_before_anything_is_spent(options, words):
    model = Simulated().open()
    with pytest.raises(BadInput, match=words):
        outthink.solve(QUESTION, **{"model": model, **options})
    assert model.begun == 0


def test_a_store_may_be_a_path(tmp_path):
    outthink.solve(QUESTION, model="simulated", strategy="greedy", store=tmp_path / "s.db")
    assert (tmp_path / "s.db").exists()


class Flawed:
    """A store that loses what its methods named in ``broken`` are given."""

    def __init__(self, *broken, there=None):
        self.broken, self.there = broken, there

    async def get(self, model, request, samples):
        return {}

    async def put(self, model, request, records):
        self._fail("put")
        return self.there(records) if self.there else {}

    async def put_all(self, model, batch):
        self._fail("put")

    async def begin(self, run, facts):
        pass

    async def finish(self, run, answer, trace):
        self._fail("finish")

    def _fail(self, name):
        if name in self.broken:
            raise StoreError("no room left")


def test_an_answer_is_not_lost_with_the_store_that_should_keep_it():
    answer = outthink.solve(
        QUESTION, model="simulated", strategy="self_consistency(n=4)", store=Flawed("finish")
    )
    assert answer.answer is not None
    assert any("not recorded as finished" in note for note in answer.notes)


def test_samples_that_could_not_be_kept_are_the_answer_all_the_same():
    answer = outthink.solve(
        QUESTION, model="simulated", strategy="self_consistency(n=4)", store=Flawed("put")
    )
    assert answer.stopped == "error"
    assert len(answer.candidates) == 4
    assert any("no room left" in note for note in answer.notes)


def test_of_two_writers_of_one_sample_both_go_on_with_the_first():
    def there(records):
        name = next(iter(records))
        return {name: dataclasses.replace(
            records[name], generation={**records[name].generation, "text": "answer: 123456"}
        )}  # fmt: skip

    answer = outthink.solve(
        QUESTION, model="simulated", strategy="greedy", store=Flawed(there=there)
    )
    assert answer.answer == "123456"


def test_tools_count_as_part_of_the_prompt():
    tool = {"type": "function", "function": {"name": "f", "description": "words " * 1000}}
    messages = ({"role": "user", "content": QUESTION},)
    spent = [
        outthink.solve(Problem(messages, tools=tools), model="simulated", strategy="greedy",
                       budget="total_tokens=400").stopped
        for tools in ((), (tool,))
    ]  # fmt: skip
    assert spent[0] == "finished"
    assert spent[1] == "total_tokens"


@pytest.mark.parametrize("spec", ["revision(n=4, length=2)", "self_consistency(n=4)"])
def test_a_cancellation_between_two_calls_is_not_lost(spec):
    runs = []

    def observe(kind, data):
        if kind == "proposal" or (kind == "sample" and spec.startswith("self")):
            runs[0].cancel("enough")

    answer = outthink.solve(
        QUESTION, model="simulated", strategy=spec, observer=observe, on_start=runs.append
    )
    assert answer.stopped == "enough"
    assert answer.answer is not None


def test_the_critical_path_is_the_longest_chain_of_calls_live_and_from_the_store(tmp_path):
    model = "simulated(latency=0.1, spread=0)"

    def critical(strategy, **more):
        return outthink.solve("Which?", model=model, strategy=strategy, **more).critical_seconds

    store, took = str(tmp_path / "calls.db"), []
    for spec, calls in (("self_consistency(n=4)", 1), ("revision(n=4, length=4)", 4)):
        live = critical(spec, store=store)
        assert live >= calls * 0.1
        # nothing is called, and it still takes what it took
        assert critical(spec, store=store) == pytest.approx(live)
        took.append(live)
    assert took[0] < took[1]
    assert critical("best_of_n(n=3, verifier=prm(model=simulated_prm))") >= 0.1
