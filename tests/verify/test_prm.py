"""Reward models as verifiers: aggregates, and what a score costs."""

import math
from dataclasses import dataclass

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outthink
from outthink.core.budget import Price
from outthink.core.errors import BadInput, BudgetExhausted
from outthink.core.model import REWARD
from outthink.core.registry import build
from outthink.models.fly import FlyPrm
from outthink.models.simulated import Simulated, SimulatedPrm, right_answer
from outthink.select.aggregate import AGGREGATES
from outthink.tasks import chain
from outthink.verify.prm import Orm, Prm
from tests.verify.scripted import QUESTION, live_run, sample, scores

CLOSED = {
    "last": lambda steps: steps[-1],
    "min": min,
    "product": math.prod,
    "mean": lambda steps: math.fsum(steps) / len(steps),
}


@dataclass(init=False, eq=False)
class Given:
    """A reward model that gives each text the steps it was told; counts what it is asked."""

    name, capabilities, native_n, max_tokens = "given", frozenset({REWARD}), False, 1
    price, registered = Price(1e6), ("model", "given")

    def __init__(self, steps):
        self.steps, self.asked = steps, []

    def open(self):
        return self

    def count_tokens(self, messages, prefix=""):
        return 3 + len(prefix)

    async def reward(self, items, ticket):
        self.asked.append([item.text for item in items])
        tokens = sum(self.count_tokens(item.messages, item.text) for item in items)
        return [tuple(self.steps[item.text]) for item in items], self.price.usage(tokens, 0)

    async def aclose(self):
        pass


STEPS = st.lists(st.floats(0, 1), max_size=8)


@given(st.lists(STEPS, min_size=1, max_size=5), st.sampled_from(AGGREGATES))
def test_a_score_is_the_aggregate_of_its_steps_and_nan_where_there_is_none(steps, how):
    model = Given({str(i): s for i, s in enumerate(steps)})
    found, _ = scores(Prm(model=model, aggregate=how), list(model.steps))
    for value, own in zip(found, steps, strict=True):
        assert value == pytest.approx(CLOSED[how](own)) if own else math.isnan(value)


@given(STEPS.filter(bool))
def test_aggregates_are_ordered_as_they_must_be(steps):
    model = Given({"x": steps})
    value = {how: scores(Prm(model=model, aggregate=how), ["x"])[0][0] for how in AGGREGATES}
    tiny = 1e-12
    assert value["product"] <= value["min"] + tiny <= value["mean"] + 2 * tiny
    assert value["min"] <= value["last"]
    assert scores(Orm(model=model), ["x"])[0] == [value["last"]]


def test_equal_texts_are_scored_and_paid_for_once():
    steps = {"a": [0.1], "bb": [0.2, 0.9], "": []}
    model = Given(steps)
    texts = ["a", "bb", "a", "", "bb", "a"]

    async def main():
        run = live_run({model: model})
        samples = [sample(i, text, run.problem) for i, text in enumerate(texts)]
        first = await run.reward(samples, model)
        assert first == [tuple(steps[t]) for t in texts]
        assert model.asked == [["a", "bb", ""]]
        spent = run.meter.spent
        assert (spent.calls, spent.prompt_tokens, spent.completion_tokens) == (1, 4 + 5 + 3, 0)
        assert spent.usd == 12
        assert run.meter.outstanding == 0
        scored = await run.score(samples, Prm(model=model))
        assert [s.steps for s in scored] == first
        again = await run.score(samples, Prm(model=model))  # known by their place in the tree
        assert [s.value for s in again[:3]] == [0.1, 0.9, 0.1]
        assert len(model.asked) == 2

    anyio.run(main)


@pytest.mark.parametrize("budget", ["total_tokens=11", "usd=11", "total_tokens=1"])
def test_what_does_not_fit_is_not_asked(budget):
    model = Given({"a": [0.1], "bb": [0.2], "": []})
    with pytest.raises(BudgetExhausted) as caught:
        scores(Prm(model=model), ["a", "bb", ""], budget=budget)
    assert caught.value.limit == budget.partition("=")[0]
    assert model.asked == []
    found, run = scores(Prm(model=model), ["a", "bb", "a"], budget="total_tokens=9")
    assert (found, run.meter.spent.total_tokens) == ([0.1, 0.2, 0.1], 9)


# -- simulated_prm -----------------------------------------------------------------------------------


def solution(question, klass, steps=3):
    """A text as ``simulated`` writes it, wrong from the first step on where ``klass`` is not 0."""
    from outthink.models.simulated import Truth

    truth = Truth(question)
    lines = [f"step {i + 1}: so {truth.value(i, klass)}" for i in range(steps)]
    return "\n".join([*lines, f"answer: {truth.final(klass)}"])


@pytest.mark.parametrize("how", AGGREGATES)
def test_a_perfect_process_reward_model_tells_right_from_wrong(how):
    texts = [solution(QUESTION, klass) for klass in (0, 1, 2)]
    verifier = Prm(model=SimulatedPrm(auroc=1.0), aggregate=how)
    found, run = scores(verifier, texts)
    assert found[0] > 0.99
    assert max(found[1:]) < 0.01
    assert run.meter.spent.calls == 1


def test_a_simulated_score_wins_as_often_as_its_auroc_says():
    auroc, n, wins = 0.8, 600, 0
    verifier = Orm(model=SimulatedPrm(auroc=auroc))

    async def main():
        live = verifier.model.open()
        from outthink.core.model import Judged

        won = 0
        for i in range(n):
            question = f"Question {i}?"
            messages = ({"role": "user", "content": question},)
            items = [Judged(messages, solution(question, k, steps=1)) for k in (0, 1)]
            (right, wrong), _ = await live.reward(items, None)
            won += right[0] > wrong[0]
        return won

    wins = anyio.run(main)
    assert wins / n == pytest.approx(auroc, abs=4 * math.sqrt(auroc * (1 - auroc) / n))


@pytest.mark.parametrize("verifier", ["prm", "orm"])
def test_best_of_n_with_a_perfect_verifier_finds_what_is_there(verifier):
    found = []
    for seed in range(12):
        answer = outthink.solve(
            QUESTION, model=Simulated(accuracy=0.3, correlation=0.0), seed=seed,
            strategy=f"best_of_n(n=8, verifier={verifier}(model=simulated_prm(auroc=1)))",
        )  # fmt: skip
        right = right_answer(QUESTION)
        there = any(s.text.endswith(f"answer: {right}") for s in answer.candidates)
        assert (answer.answer == right) == there
        found.append(there)
    assert any(found)


# -- fly-prm -----------------------------------------------------------------------------------------


def test_fly_prm_has_a_score_for_each_line_and_sees_a_slip():
    problem = chain.make(4, 99, 11)
    good = problem.solution
    first = problem.steps[0]
    bad = good.replace(f"= {first.value}\n", f"= {first.value + 3}\n", 1)
    assert bad != good
    for how in AGGREGATES:
        found, run = scores(Prm(aggregate=how), [good, bad, good], question=problem.question)
        assert found[0] == found[2] > found[1]
        assert run.meter.spent.calls == 1
        book = run.world.scores[f'prm(aggregate="{how}")' if how != "last" else "prm"]
        for score, text in zip(book.values(), [good, bad, good], strict=True):
            assert len(score.steps) == text.count("\n")
            assert score.value == pytest.approx(CLOSED[how](score.steps))
    whole, _ = scores(Orm(), [good, bad], question=problem.question)
    assert whole[0] > whole[1]


def test_specs():
    assert build("prm", "verifier") == Prm() == Prm(model=FlyPrm(), aggregate="last")
    assert build("prm(model=simulated_prm(auroc=0.9), aggregate=min)", "verifier") == Prm(
        SimulatedPrm(auroc=0.9), "min"
    )
    for make in (lambda: Prm(aggregate="mn"), lambda: build("prm(aggregate=mn)", "verifier")):
        with pytest.raises(BadInput, match="did you mean 'min'"):
            make()
