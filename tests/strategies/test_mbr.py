"""Minimum Bayes risk, also across languages: the vote as its limit, texts that no vote can tell equal."""

import itertools

import anyio
import pytest

import outthink
from outthink.api import asolve
from outthink.core.errors import BadInput
from outthink.core.registry import entries, register
from outthink.testing import check_strategy
from tests.verify.scripted import QUESTION, Scripted

TALK = (
    "The cat sat on the mat.",
    "A cat was sitting on the mat.",
    "The dog ate my homework.",
    "The cat was sitting on a mat.",
)


def writer(texts, other=()):
    """Writes these texts in turn; where it is told a language, the others."""
    turns = {False: itertools.cycle(texts), True: itertools.cycle(other or texts)}
    return Scripted(lambda messages: next(turns[messages[0]["role"] == "system"]))


def solve(strategy, model, **more):
    return anyio.run(lambda: asolve(QUESTION, model=model, strategy=strategy, **more))


@pytest.mark.parametrize(
    "spec", ["mbr(n=4)", "mbr(n=4, utility=exact)", "cross_mbr(n=3, evidence=2)"]
)
def test_the_laws(spec):
    check_strategy(spec)


@pytest.mark.parametrize("model", ["fly", "simulated(accuracy=0.3, correlation=0.3)"])
def test_with_equality_it_gives_what_the_vote_gives(model):
    question = "Uma has 85 books. Ben has 1/5 as many as Uma. How many books has Ben?"
    for seed in range(8):
        mine, vote = (
            outthink.solve(question, model=model, strategy=spec, seed=seed)
            for spec in ("mbr(n=7, utility=exact)", "self_consistency(n=7)")
        )
        assert (mine.answer, mine.text) == (vote.answer, vote.text)
        assert mine.confidence == pytest.approx(vote.confidence)


@pytest.mark.parametrize("utility", ["ngram_cosine", "token_f1", "rouge_l", "chrf", "edit"])
def test_among_texts_that_all_differ_it_gives_the_central_one(utility):
    answer = solve(f"mbr(n=4, utility={utility})", writer(TALK))
    assert "cat" in answer.text
    assert min(answer.scores["utility"]) == answer.scores["utility"][2]  # the dog
    assert answer.text == TALK[answer.scores["utility"].index(max(answer.scores["utility"]))]


def test_one_sample_is_the_answer():
    assert solve("mbr(n=1)", writer(TALK)).text == TALK[0]


def test_a_utility_of_ones_own():
    import dataclasses

    @register("utility", "longest")
    @dataclasses.dataclass(frozen=True)
    class Longest:
        """Worth something to all that are shorter."""

        def __call__(self, text, reference):
            return float(len(text) > len(reference))

    try:
        assert solve("mbr(n=4, utility=longest)", writer(TALK)).text == max(TALK, key=len)
    finally:
        entries("utility").pop("longest")


def test_evidence_in_another_language_decides_and_is_never_chosen():
    weak = ("answer: 5", "answer: 7", "answer: 9")
    model = writer(weak, ("la respuesta: 7\nanswer: 7",))
    answer = solve('cross_mbr(n=3, evidence=2, languages=["Spanish", "English"])', model)
    assert answer.text == "answer: 7"
    assert len(answer.candidates) == 3
    told = [m[0]["content"] for m in model.asked if m[0]["role"] == "system"]
    assert len(told) == 4
    assert sum("Spanish" in t for t in told) == sum("English" in t for t in told) == 2
    assert all(m[-1]["content"] == QUESTION for m in model.asked)
    # without evidence all are level, and the first is given
    assert solve("cross_mbr(n=3, evidence=0)", writer(weak)).text == weak[0]


def test_evidence_that_the_budget_leaves_out_is_done_without():
    weak = ("answer: 5", "answer: 7", "answer: 7")
    answer = solve("cross_mbr(n=3, evidence=3)", writer(weak, ("answer: 5",)), budget="calls=3")
    assert (answer.answer, answer.stopped) == ("7", "calls")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("mbr(n=0)", "n=0"),
        ("mbr(utility=chrff)", "did you mean 'chrf'"),
        ("cross_mbr(languages=[])", "name at least one"),
        ("cross_mbr(evidence=-1)", "evidence=-1"),
    ],
)
def test_wrong_parameters_are_refused(spec, said):
    with pytest.raises(BadInput, match=said):
        outthink.solve(QUESTION, strategy=spec)
