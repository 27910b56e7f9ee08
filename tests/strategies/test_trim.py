"""Trimming: the text that is given is short and carries the answer that was there without a limit."""

import pytest

import outthink
from outthink.core.budget import Price
from outthink.core.errors import BadInput
from outthink.core.model import Generation, Reply
from outthink.tasks import chain
from outthink.testing import check_strategy


def test_it_keeps_the_laws():
    check_strategy("trim(m=2)")


class Obedient:
    """Writes as many tokens as it is told, 1000 if it is told nothing; right from 300 on."""

    name, price, native_n, max_tokens = "obedient", Price(), True, 2000
    capabilities = frozenset()

    def __init__(self):
        self.limits = []

    def count_tokens(self, messages, prefix=""):
        return 1

    async def generate(self, request, ticket):
        said = request.messages[0]["content"]
        told = [int(w) for w in said.split() if w.isdigit()]
        size = told[0] if told else 1000
        self.limits.append(size)
        text = "so " * (size - 2) + f"\nanswer: {4 if size >= 300 else 5}"
        rows = (Generation(text, size),) * request.n
        return Reply(rows, self.price.usage(1, size * request.n))

    async def aclose(self):
        pass


def test_it_bisects_to_what_the_answer_needs():
    model = Obedient()
    answer = outthink.solve("How many?", model=model, strategy="trim(m=3)")
    assert model.limits == [1000, 500, 250, 375, 312]
    assert answer.answer == "4"
    assert len(answer.text.split()) == 312
    assert answer.usage.calls == 5


def test_with_models_the_longest_has_no_limit_and_the_others_are_rungs():
    dials = ", ".join(f'"fly(think={k})"' for k in (1, 2, 3, 4))
    right = whole = given = 0
    for seed in range(6):
        problem = chain.make(3, 9, seed)
        answer = outthink.solve(problem.question, strategy=f"trim(m=3, models=[{dials}])")
        first = answer.candidates[0]
        assert "think=4" in first.role
        right += chain.check(problem, answer.text)
        whole += first.tokens
        given += next(s for s in answer.candidates if s.text == answer.text).tokens
    assert given < whole
    assert right >= 3


def test_a_limit_needs_a_place_for_the_number_and_models_need_two():
    with pytest.raises(BadInput, match="tokens"):
        outthink.solve("q?", strategy='trim(limit="Be brief.")')
    with pytest.raises(BadInput, match="two or more"):
        outthink.solve("q?", strategy="trim(models=[fly])")
