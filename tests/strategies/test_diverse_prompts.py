"""Diverse prompts: what each sample was asked, and what stays as it was."""

from collections import Counter
from dataclasses import replace

import pytest

import outthink
from outthink.core.registry import build
from outthink.strategies import _perturbations as texts
from outthink.strategies.diverse_prompts import LISTS
from outthink.testing import Ledger, check_strategy

QUESTION = "What is 6 * 7?"


class Told(Ledger):
    """Answers the request for ideas or other words with these texts, and the rest as simulated."""

    def __init__(self, *said):
        super().__init__(build("simulated(accuracy=1)", "model").open())
        self.said = list(said)

    async def generate(self, request, ticket):
        reply = await super().generate(request, ticket)
        content = request.messages[0]["content"]
        if content.startswith(("Do not solve", "Write the problem")):
            rows = [
                replace(g, text=self.said[i % len(self.said)])
                for i, g in enumerate(reply.generations)
            ]
            reply = replace(reply, generations=tuple(rows))
        return reply


def solve(spec, model=None, question=QUESTION, seed=0):
    book = model or Ledger(build("simulated", "model").open())
    answer = outthink.solve(question, model=book, strategy=spec, seed=seed)
    return answer, [r.messages for r in book.requests for _ in range(r.n)]


@pytest.mark.parametrize("how", ["instruction", "ideas", "rephrase"])
def test_it_keeps_the_laws_of_a_strategy(how):
    check_strategy(f"diverse_prompts(n=4, how={how}, variants=2)")


@pytest.mark.parametrize("how", LISTS)
def test_texts_are_dealt_out_evenly_and_the_question_stays(how):
    _, prompts = solve(f"diverse_prompts(n=20, how={how})")
    dealt = Counter(messages[0]["content"] for messages in prompts)
    assert set(dealt) == set(LISTS[how])
    assert sorted(dealt.values()) == [2] * 4 + [3] * 4
    assert all(messages[1:] == ({"role": "user", "content": QUESTION},) for messages in prompts)
    _, few = solve(f"diverse_prompts(n=20, how={how}, variants=2)")
    assert sorted(Counter(m[0]["content"] for m in few).values()) == [10, 10]


def test_another_seed_deals_otherwise_and_the_trace_has_what_was_dealt():
    first = [m[0]["content"] for m in solve("diverse_prompts(n=8)")[1]]
    other = [m[0]["content"] for m in solve("diverse_prompts(n=8)", seed=1)[1]]
    assert first != other
    seen = []
    book = Ledger(build("simulated", "model").open())
    outthink.solve(
        QUESTION,
        model=book,
        strategy="diverse_prompts(n=8)",
        observer=lambda kind, data: seen.append((kind, data)),
    )
    (event,) = [data for kind, data in seen if kind == "perturbations"]
    assert event["how"] == "instruction"
    assert event["dealt"] == first


def test_ideas_are_asked_for_once_and_each_sample_gets_one():
    model = Told("1. Count on fingers.\n\n- Use a table\n2) Use a table\n")
    _, prompts = solve("diverse_prompts(n=4, how=ideas, variants=5)", model)
    assert prompts[0][0]["content"].startswith("Do not solve the problem yet. List 5")
    ideas = Counter(m[0]["content"] for m in prompts[1:])
    assert ideas == dict.fromkeys(
        (texts.APPROACH.format(idea=i) for i in ("Count on fingers.", "Use a table")), 2
    )


def test_other_words_take_the_place_of_the_question():
    model = Told("How much is six times seven?", "Multiply 6 by 7.")
    _, prompts = solve("diverse_prompts(n=4, how=rephrase, variants=2)", model)
    assert all(QUESTION in m[0]["content"] for m in prompts[:2])
    assert Counter(m[-1]["content"] for m in prompts[2:]) == dict.fromkeys(model.said, 2)


def test_a_model_that_gives_no_ideas_is_asked_the_plain_question():
    answer, prompts = solve("diverse_prompts(n=2, how=ideas)", Told(" \n"))
    assert [len(m) for m in prompts] == [2, 1, 1]
    assert any("gave no ideas" in note for note in answer.notes)


def test_a_verifier_finds_the_best_of_all():
    spec = "diverse_prompts(n=6, verifier=prm(model=simulated_prm))"
    answer, _ = solve(spec)
    assert len(answer.scores["verifier"]) == 6
    top = max(range(6), key=lambda i: answer.scores["verifier"][i])
    assert answer.text == answer.candidates[top].text
