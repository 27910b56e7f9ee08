"""The probability of an answer after its thoughts."""

import math

import anyio
import numpy as np
import pytest

import outthink
from outthink.api import Session
from outthink.core.errors import MissingNeed
from outthink.models.inside import log_softmax
from outthink.tasks import chain
from outthink.testing import check_verifier
from outthink.verify.final_answer import FinalAnswer, before_answer, says

PROBLEM = chain.make(3, 9, 4)


def test_it_keeps_the_laws():
    check_verifier("final_answer")


def test_the_answer_is_where_a_text_gives_it_last():
    assert before_answer("20 / 4 = 5\nanswer: 5\n", "5") == len("20 / 4 = 5\nanswer:")
    assert before_answer("so \\boxed{12}.", "12") == len("so \\boxed{")
    assert before_answer("five", "5") is None
    assert before_answer("no", "") is None
    assert before_answer("answer: 7 (of 17, or 7.5)", "7") == len("answer:")
    assert before_answer("so 7/8, not 0.7", "7") == len("so 7/8, not 0.")  # nowhere by itself


@pytest.mark.parametrize(
    ("said", "answer", "same"),
    [
        (" 7\n", "7", True), ("7.", "7", True), ("7 stamps", "7", True), ("7}.", "7", True),
        ("72", "7", False), ("7.5", "7", False), ("7,000", "7", False), ("7/8", "7", False),
        (" x + 1", "x", True), ("xy", "x", False), ("(1, 2)", "(1, 2)", True), ("8", "7", False),
    ],
)  # fmt: skip
def test_an_answer_that_only_begins_alike_is_another(said, answer, same):
    assert says(said, answer) == same


def score_of(text_from, model="fly"):
    """The score of one greedy text, and the text."""

    async def main():
        async with Session(model) as session:
            found = await session.solve(
                PROBLEM.question, f"best_of_n(n=1, temperature={text_from}, verifier=final_answer)"
            )
            return found.scores["verifier"][0], found.text

    return anyio.run(main)


@pytest.mark.parametrize("model", ["fly", "fly(think=2)"])
def test_it_is_the_product_of_the_probabilities_of_the_answers_tokens(model):
    score, text = score_of(0.0, model)
    live = outthink.core.registry.build(model, "model").open()
    inside = live.inside
    answer = text.rpartition(":")[2].strip()
    at = before_answer(text, answer)
    head = [*inside.prompt([{"role": "user", "content": PROBLEM.question}])]
    ids = [*head, *inside.encode(text[:at])]
    own = inside.encode(text[at : text.rfind(answer) + len(answer)])
    logits = log_softmax(inside.logits([*ids, *own]))
    total = sum(logits[len(ids) - 1 + i, token] for i, token in enumerate(own))
    assert score == pytest.approx(math.exp(total), abs=1e-3)


def test_a_text_that_says_what_the_model_would_not_say_has_nothing():
    """Thoughts that lead to 7 and an answer of 8."""

    async def main():
        async with Session("fly") as session:
            runs = []
            await session.solve("Ada has 3 pens. Ben has 4 more than Ada. How many pens has Ben?",
                                "greedy", on_start=runs.append)  # fmt: skip
            run = runs[0]
            told = [run.make(f"3 + 4 = 7\nanswer: {a}\n", tokens=9) for a in (7, 8)]
            return [s.value for s in await FinalAnswer()(run.problem, told, run)]

    right, wrong = anyio.run(main)
    assert right > 0.9
    assert wrong == 0.0


def test_equal_beginnings_are_asked_once_and_charged():
    async def main():
        async with Session("fly") as session:
            runs = []
            await session.solve(PROBLEM.question, "greedy", on_start=runs.append)
            run = runs[0]
            before = run.meter.usage().calls
            same = [run.make(PROBLEM.solution, tokens=9) for _ in range(3)]
            nothing = run.make("answer:", tokens=2)
            scores = await FinalAnswer()(run.problem, [*same, nothing], run)
            return [s.value for s in scores], run.meter.usage().calls - before

    scores, calls = anyio.run(main)
    assert len(set(scores[:3])) == 1
    assert scores[3] == 0.0
    assert calls == 1
    assert np.isfinite(scores).all()


def test_a_model_that_cannot_go_on_from_a_beginning_is_named():
    from outthink.core.model import PREFIX
    from outthink.testing import Ledger

    blind = Ledger(outthink.core.registry.build("simulated", "model").open(), frozenset({PREFIX}))
    with pytest.raises(MissingNeed, match="PREFIX"):
        outthink.solve("1 + 1?", model=blind, strategy="best_of_n(n=1, verifier=final_answer)")
