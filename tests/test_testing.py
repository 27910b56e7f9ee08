"""The laws hold for all of ours, and broken strategies, models and verifiers are caught."""

import asyncio
import dataclasses
import itertools

import anyio
import pytest

import outthink
from outthink.core.budget import Budget, Meter, Usage
from outthink.core.errors import BadInput, BudgetExhausted
from outthink.core.model import PREFIX, Request
from outthink.core.nouns import Answer, Score
from outthink.core.registry import entries, register
from outthink.models.simulated import Simulated, SimulatedModel
from outthink.strategies.self_consistency import SelfConsistency
from outthink.testing import check_model, check_strategy, check_verifier

SMALL = {"n": 4, "branch": 2, "length": 2, "m": 2}
#: what runs on no simulated model as it is meant to: those that compute inside one, or close a thought
MODELS = {
    "carbon": "fly", "token_ensemble": "fly", "value_of_computation": "fly",
    "no_thinking": "fly(think=2)",
}  # fmt: skip
#: verifiers that need no key and no other service
OWN = [v for v in ("prm", "orm", "numeric", "exact") if v in entries("verifier")]


def small(name):
    """A registered strategy, no wider than need be."""
    cls = entries("strategy")[name].make
    known = {f.name for f in dataclasses.fields(cls)}
    return cls(**{k: v for k, v in SMALL.items() if k in known})


@pytest.mark.parametrize("name", sorted(entries("strategy")))
def test_every_strategy_keeps_the_laws(name):
    check_strategy(small(name), MODELS.get(name))


@pytest.mark.parametrize("spec", ["simulated", "simulated(latency=0.002)", "simulated(steps=0)",
                                  "simulated_prm", "fly", "fly-prm"])  # fmt: skip
def test_models_keep_the_laws(spec):
    check_model(spec)


@pytest.mark.parametrize("name", ["prm(model=simulated_prm)", "prm", "orm"])
def test_verifiers_keep_the_laws(name):
    check_verifier(name)


# -- strategies that break a law ------------------------------------------------------------------


@pytest.fixture
def broken():
    """Registers strategies for one test."""
    counter = itertools.count()

    def make(call, kind="strategy", needs=(), base=object, **fields):
        names = [(k, type(v), dataclasses.field(default=v)) for k, v in fields.items()]
        body = {"__call__": call, "__doc__": "Broken on purpose."}
        cls = dataclasses.make_dataclass("Broken", names, namespace=body, frozen=True)
        name = f"broken_{next(counter)}"
        made.append((kind, name))
        cls = register(kind, name, needs=needs)(cls)
        return cls()

    made = []
    yield make
    for kind, name in made:
        entries(kind).pop(name)


def refused(strategy, name):
    with pytest.raises(AssertionError, match=f"law '{name}' is broken"):
        check_strategy(strategy)


async def majority(run, samples):
    pool = await run.pool(samples)
    return run.answer(pool, 0)


def test_a_sound_strategy_passes(broken):
    async def call(self, problem, run):
        return await majority(run, await run.gather(self.n, propose=lambda s: majority(run, s)))

    check_strategy(broken(call, n=3))


def test_calling_the_model_past_the_meter_is_caught(broken):
    async def call(self, problem, run):
        ticket = Meter(Budget()).reserve(Usage(calls=1))
        await run.model().generate(Request(problem.messages, n=3), ticket)
        return await majority(run, await run.gather(2))

    refused(broken(call), "budget")


def test_taking_the_first_to_finish_is_caught(broken):
    async def call(self, problem, run):
        samples = []
        async with run.samples(6) as stream:
            async for sample in stream:
                samples.append(sample)
        if not samples:
            raise BudgetExhausted(run.limit)
        return run.answer(await run.pool(samples), 0)

    refused(broken(call), "determinism")


def test_finishing_order_may_be_declared(broken):
    async def call(self, problem, run):
        samples = []
        async with run.samples(6) as stream:
            async for sample in stream:
                samples.append(sample)
                run.propose(run.answer(await run.pool(samples), 0))
        if not samples:
            raise BudgetExhausted(run.limit)
        return run.answer(await run.pool(samples), 0)

    strategy = broken(call)
    type(strategy).order_matters = True
    check_strategy(strategy)


def test_global_state_is_caught(broken):
    calls = itertools.count(2)

    async def call(self, problem, run):
        return await majority(run, await run.gather(next(calls)))

    with pytest.raises(AssertionError, match=r"law '(determinism|seed)' is broken"):
        check_strategy(broken(call))


def test_own_randomness_is_caught(broken):
    import random

    async def call(self, problem, run):
        samples = await run.gather(6)
        random.shuffle(samples)
        return run.answer(await run.pool(samples), 0)

    with pytest.raises(AssertionError, match=r"law '(determinism|seed)' is broken"):
        check_strategy(broken(call))


def test_an_undeclared_need_is_caught(broken):
    async def call(self, problem, run):
        nodes = await run.extend([run.root()])
        return await majority(run, await run.extend(nodes))

    refused(broken(call), "needs")
    check_strategy(broken(call, needs=(PREFIX,)))


def test_a_task_left_behind_is_caught(broken):
    kept = []

    async def call(self, problem, run):
        kept.append(asyncio.ensure_future(asyncio.sleep(30)))
        return await majority(run, await run.gather(2))

    refused(broken(call), "structured")


def test_swallowing_the_cancellation_is_caught(broken):
    async def call(self, problem, run):
        try:
            samples = await run.gather(5)
        except asyncio.CancelledError:
            raise RuntimeError("I will not stop") from None
        return await majority(run, samples)

    refused(broken(call), "anytime")


def test_a_crash_on_texts_without_an_answer_is_caught(broken):
    async def call(self, problem, run):
        samples = await run.gather(2)
        pool = await run.pool(samples)
        answer = run.answer(pool, 0)
        return dataclasses.replace(answer, answer=str(int(answer.answer) + 1))

    refused(broken(call), "hostile")


def test_failing_with_one_sample_is_caught(broken):
    async def call(self, problem, run):
        if self.n < 2:
            raise BadInput("two at least")
        return await majority(run, await run.gather(self.n))

    refused(broken(call, n=3), "n=1")


def test_a_mutable_strategy_is_caught():
    @register("strategy", "mutable_one")
    @dataclasses.dataclass
    class MutableOne:
        """Not frozen."""

        n: int = 2

        async def __call__(self, problem, run):
            return Answer(None, "")

    try:
        refused(MutableOne(), "spec")
    finally:
        entries("strategy").pop("mutable_one")


# -- models and verifiers that break a law --------------------------------------------------------


class Wrong(SimulatedModel):
    """A model whose reply is spoiled by ``spoil(reply, request)``."""

    def __init__(self, spoil, **dials):
        super().__init__(Simulated(**dials))
        self.spoil = spoil

    async def generate(self, request, ticket):
        request = self.spoil.get("request", lambda r: r)(request)
        reply = await super().generate(request, ticket)
        return self.spoil.get("reply", lambda r: r)(reply)


def change(**of):
    """Spoil each generation by functions of it."""

    def spoil(reply):
        rows = tuple(
            dataclasses.replace(g, **{k: f(g) for k, f in of.items()}) for g in reply.generations
        )
        return dataclasses.replace(reply, generations=rows)

    return {"reply": spoil}


drawn = itertools.count()
MUTANTS = {
    "usage": change(tokens=lambda g: g.tokens + 1),
    "n": {"request": lambda r: dataclasses.replace(r, seeds=(7,) * r.n)},
    "max_tokens": {"request": lambda r: dataclasses.replace(r, max_tokens=99)},
    "stop": change(text=lambda g: g.text + (g.stopped_by or "")),
    "seeds": {"request": lambda r: dataclasses.replace(
        r, seeds=tuple(next(drawn) for _ in range(r.n)))},
    "prefix": {"request": lambda r: dataclasses.replace(r, prefix="")},
    "logprobs": change(logprobs=lambda g: None),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_model_that_breaks_a_law_is_caught(name):
    with pytest.raises(AssertionError, match=f"law '{name}' is broken"):
        check_model(Wrong(MUTANTS[name]))


def test_a_model_that_cannot_be_cancelled_is_caught():
    class Deaf(SimulatedModel):
        async def generate(self, request, ticket):
            with anyio.CancelScope(shield=True):
                if request.n == 4 and request.temperature != 0 and self.begun > 10:
                    await anyio.sleep(2.5)
            return await super().generate(request, ticket)

    with pytest.raises(AssertionError, match="law 'cancellation' is broken"):
        check_model(Deaf(Simulated()))


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("scores", lambda samples: [Score(0.5)] * (len(samples) - 1)),
        ("scores", lambda samples: [Score(float("nan"))] * len(samples)),
        ("company", lambda samples: [Score(i / len(samples)) for i in range(len(samples))]),
        ("company", lambda samples: [Score(1 / len(samples))] * len(samples)),
    ],
)
def test_a_verifier_that_breaks_a_law_is_caught(broken, name, spoil):
    async def call(self, problem, samples, run):
        return spoil(samples)

    with pytest.raises(AssertionError, match=f"law '{name}' is broken"):
        check_verifier(broken(call, kind="verifier"))


def test_specs_and_objects_are_taken():
    check_strategy("self_consistency(n=2)")
    check_strategy(SelfConsistency(n=2))


def test_samples_that_are_lost_when_the_run_is_ended_are_caught(broken):
    async def call(self, problem, run):
        samples = [await run.sample() for _ in range(4)]
        return run.answer(await run.pool(samples), 0)

    with pytest.raises(AssertionError, match="law 'anytime' is broken: cancelled before the last"):
        check_strategy(broken(call))


def test_a_strategy_without_an_answer_is_caught(broken):
    async def call(self, problem, run):
        return Answer(None, "")

    with pytest.raises(AssertionError, match="law 'runs' is broken"):
        check_strategy(broken(call))


def test_what_is_no_answer_is_said(broken):
    async def call(self, problem, run):
        return "hello"

    with pytest.raises(BadInput, match="returned a str, not an Answer"):
        outthink.solve("q?", model="simulated", strategy=broken(call))
