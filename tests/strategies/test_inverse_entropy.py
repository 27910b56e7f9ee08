"""Inverse-entropy voting: its weights, its chains, and the plain vote as its limit."""

import itertools

import anyio
import numpy as np
import pytest

import outthink
from outthink.api import Session
from outthink.core.errors import BadInput, ServerFailed
from outthink.core.registry import build
from outthink.models.fly.inside import FlyInside
from outthink.select.entropy import inverse, mean_entropy, token_entropy
from outthink.select.vote import weighted
from outthink.tasks import chain
from outthink.testing import check_strategy
from tests.verify.scripted import Scripted

PROBLEM = chain.make(5, 20, 1)


def solve(spec, model="fly", seed=0):
    return outthink.solve(PROBLEM.question, model=model, strategy=spec, seed=seed)


def test_it_keeps_the_laws_of_a_strategy():
    check_strategy("inverse_entropy(n=4, length=2)")


def test_what_it_cannot_do_is_said_at_once():
    with pytest.raises(BadInput, match="multiple of length=4"):
        build("inverse_entropy(n=6, length=4)", "strategy")


def test_the_answer_is_the_heaviest_by_the_inverse_of_entropy():
    found = solve("inverse_entropy(n=6)")
    pool_entropy = np.array(found.scores["entropy"])
    expected = [mean_entropy(s.top_logprobs) for s in found.candidates]
    assert pool_entropy == pytest.approx(expected)
    answers = [s.text.split("answer: ")[-1].strip() for s in found.candidates]
    kinds = {a: i for i, a in enumerate(dict.fromkeys(answers))}
    classes = np.array([kinds[a] for a in answers])
    assert found.answer == answers[weighted(classes, inverse(pool_entropy))]


def test_the_entropy_of_the_20_likeliest_is_nearly_that_of_all():
    found = solve("inverse_entropy(n=2, length=1)")

    async def whole():
        async with Session("fly") as session:
            inside: FlyInside = session.model.inside
            out = []
            for s in found.candidates:
                head, ids = inside.prompt(s.messages), inside.encode(s.text)
                rows = inside.logits([*head, *ids])[len(head) - 1 :]
                out.append(token_entropy(rows[:, :497]).mean())
            return out

    assert found.scores["entropy"] == pytest.approx(anyio.run(whole), rel=0.02)


def test_a_chain_sees_its_own_attempts_and_no_others():
    found = solve("inverse_entropy(n=4, length=2)")
    first, second, third, fourth = found.candidates
    assert len(first.messages) == len(third.messages) == 1
    assert second.messages[1]["content"] == first.text
    assert fourth.messages[1]["content"] == third.text
    long = solve("inverse_entropy(n=3, memory=1)").candidates
    assert [len(s.messages) for s in long] == [1, 3, 3]


def test_a_chain_whose_first_attempt_failed_leaves_the_others_their_own():
    turn = itertools.count()

    def write(messages):
        if next(turn) == 0:
            raise ServerFailed("once")
        return f"answer: {len(messages)}"

    model = Scripted(write)
    model.capabilities = frozenset({"LOGPROBS"})
    answer = outthink.solve("1 + 1?", model=model, strategy="inverse_entropy(n=4, length=2)")
    assert [len(s.messages) for s in answer.candidates] == [1, 1, 3]


def test_attempts_that_know_nothing_of_each_other_are_the_plain_samples():
    apart = solve("inverse_entropy(n=4, length=1)")
    plain = solve("self_consistency(n=4)")
    assert [s.text for s in apart.candidates] == [s.text for s in plain.candidates]


def test_one_attempt_is_the_sample():
    one, plain = solve("inverse_entropy(n=1)"), solve("self_consistency(n=1)")
    assert (one.text, one.confidence) == (plain.text, 1.0)
