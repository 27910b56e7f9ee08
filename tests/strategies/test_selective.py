"""Selective answering: the inner strategy's answer, or none."""

from dataclasses import dataclass

import anyio
import pytest

import outthink
from outthink import Answer, strategy
from outthink.api import Session
from outthink.core.errors import BadInput
from outthink.core.registry import build, entries
from outthink.models.simulated import right_answer
from outthink.testing import check_strategy

QUESTION = "Ada has 8 stamps. Jade has 4 fewer than Ada. How many stamps has Jade?"
QUESTIONS = [f"Ada has {k} pens. Ben has 4 more than Ada. How many?" for k in range(30)]


@pytest.fixture(scope="module", autouse=True)
def a_strategy_that_proposes_and_runs_on():
    @strategy("proposes")
    @dataclass(frozen=True)
    class Proposes:
        """Proposes one answer after the other, each as sure as it is told."""

        confidence: float = 0.2

        async def __call__(self, problem, run):
            """Draw for ever."""
            while True:
                pool = await run.pool([await run.sample()])
                run.propose(
                    Answer(pool.answers[0], pool.samples[0].text, confidence=self.confidence)
                )

    yield
    entries("strategy").pop("proposes")


def solve_all(spec, model="simulated(accuracy=0.5, correlation=0.4)"):
    async def main():
        async with Session(model) as session:
            return [await session.solve(q, spec, seed=i) for i, q in enumerate(QUESTIONS)]

    return anyio.run(main)


def test_it_keeps_the_laws():
    check_strategy("selective(strategy=self_consistency(n=4), threshold=0.6)")
    check_strategy("selective(strategy=greedy, threshold=0.3, verifier=final_answer)")


def test_at_nought_it_is_the_inner_strategy():
    plain, kept = solve_all("self_consistency(n=8)"), solve_all("selective(threshold=0)")
    assert [(a.answer, a.text, a.confidence) for a in plain] == [
        (a.answer, a.text, a.confidence) for a in kept
    ]
    assert not any(a.notes for a in kept)


def test_a_higher_threshold_answers_less_and_better():
    share, accuracy = [], []
    for threshold in (0.0, 0.5, 0.8):
        found = solve_all(f"selective(threshold={threshold})")
        given = [
            a.answer == right_answer(q)
            for a, q in zip(found, QUESTIONS, strict=True)
            if a.answer is not None
        ]
        share.append(len(given))
        accuracy.append(sum(given) / len(given))
        held = [a for a in found if a.answer is None]
        assert all(a.text and a.confidence < threshold for a in held)
        assert all("no answer" in a.notes[-1] for a in held)
    assert share == sorted(share, reverse=True)
    assert share[-1] < share[0]
    assert accuracy[-1] > accuracy[0]


def test_the_verifiers_score_is_the_confidence():
    spec = "selective(strategy=self_consistency(n=3), threshold=0.5, verifier=yes_no)"
    answer = outthink.solve(QUESTION, model="fly", strategy=spec)
    assert answer.answer == "4"
    assert 0.5 <= answer.confidence < 1
    held = outthink.solve(QUESTION, model="fly", strategy=spec.replace("0.5", "0.99"))
    assert held.answer is None
    assert held.confidence == answer.confidence
    assert held.text == answer.text


@pytest.mark.parametrize(("confidence", "answered"), [(0.2, False), (0.8, True)])
def test_a_run_that_ends_early_answers_by_the_same_rule(confidence, answered):
    spec = f"selective(strategy=proposes(confidence={confidence}), threshold=0.5)"
    found = outthink.solve(QUESTION, model="simulated", strategy=spec, budget="calls=3")
    assert found.stopped == "calls"
    assert found.text
    assert (found.answer is not None) == answered


def test_a_run_that_ends_before_the_verifier_was_asked_says_nothing():
    inner = "self_consistency(n=4)"
    spec = f"selective(strategy={inner}, threshold=0, verifier=yes_no)"
    found = outthink.solve(QUESTION, model="fly", strategy=spec, budget="calls=1")
    assert found.stopped == "calls"
    assert found.answer is None
    assert found.text
    late = outthink.solve(QUESTION, model="fly", strategy=spec, budget="calls=4")
    if late.stopped == "calls":
        assert any("no budget was left to ask the verifier" in note for note in late.notes)


def test_what_depends_on_the_finishing_order_inside_does_so_outside():
    for inner, races in (("first_finish(n=3)", True), ("greedy", False)):
        assert build(f"selective(strategy={inner})", "strategy").order_matters is races
    check_strategy("selective(strategy=first_finish(n=3), threshold=0)")


def test_one_inside_the_other_holds_back_what_either_would():
    for outer, inner in ((0.9, 0.1), (0.1, 0.9)):
        spec = f"selective(threshold={outer}, strategy=selective(threshold={inner}))"
        both = solve_all(spec)
        one = solve_all("selective(threshold=0.9)")
        assert [a.answer for a in both] == [a.answer for a in one]


def test_a_threshold_is_a_probability():
    with pytest.raises(BadInput, match="threshold"):
        outthink.solve("1 + 1?", model="simulated", strategy="selective(threshold=2)")
