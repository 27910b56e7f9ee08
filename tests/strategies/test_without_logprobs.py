"""A server that says it gives log-probabilities and gives none: a plain vote that says so, no score."""

from dataclasses import replace

import pytest

import outthink
from outthink.core.model import Reply
from outthink.core.registry import build
from outthink.testing import Ledger

QUESTION = "Ada has 8 stamps. Jade has 4 fewer than Ada. How many stamps has Jade?"
MODEL = "simulated(accuracy=0.5)"


class Mute(Ledger):
    """The inner model's texts without their log-probabilities."""

    async def generate(self, request, ticket):
        reply = await super().generate(request, ticket)
        bare = [
            replace(g, logprob=None, logprobs=None, top_logprobs=None) for g in reply.generations
        ]
        return Reply(tuple(bare), reply.usage)


def solve(spec, seed=0):
    return outthink.solve(
        QUESTION, model=Mute(build(MODEL, "model").open()), strategy=spec, seed=seed
    )


@pytest.mark.parametrize(
    "spec",
    [
        "rpc(n=5)",
        "soft_self_consistency(n=5)",
        "inverse_entropy(n=5, length=1)",
        "no_thinking(n=5, q=1, prefill='')",
        "deepconf(n=5)",
    ],
)
def test_it_is_a_plain_vote_and_a_note_says_so(spec):
    for seed in range(3):
        found = solve(spec, seed)
        answers = [s.text.rpartition(" ")[2] for s in found.candidates]
        assert found.answer == max(answers, key=answers.count)
        assert "this is a plain vote" in found.notes[0]


def test_an_answer_that_no_one_is_sure_of_is_held_back():
    found = solve("selective(strategy=greedy, threshold=0.1, verifier=final_answer)")
    assert (found.answer, found.confidence) == (None, None)
