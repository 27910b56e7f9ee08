"""Tournaments: a judge that knows gives coverage, one that says nothing the vote, and what each costs."""

import itertools

import anyio
import pytest

import outthink
from outthink.api import asolve
from outthink.core.errors import BadInput
from outthink.core.registry import build, spec_of
from outthink.testing import check_strategy
from tests.verify.scripted import QUESTION, Scripted, shown

TEXTS = ("answer: 3", "answer: 5", "answer: 5", "answer: 7", "answer: 5", "answer: 3")

#: a text from which no answer is read
NOTHING = "It is not clear to me what the question asks for, nor whether it can be told at all."


def model(prefer, texts=TEXTS):
    """Writes the texts in turn; ``prefer(a, b)`` is its verdict on two answers."""
    turn = itertools.cycle(texts)

    def write(messages):
        if messages[0]["role"] != "system":
            return next(turn)
        blocks = shown(messages)
        a, b = (blocks[f"solution-{x}"].removeprefix("answer: ") for x in "AB")
        return f"Verdict: {prefer(a, b)}"

    return Scripted(write)


def knows(a, b):
    """7 is right."""
    return "tie" if (a == "7") == (b == "7") else "A" if a == "7" else "B"


def solve(strategy, live, **more):
    return anyio.run(lambda: asolve(QUESTION, model=live, strategy=strategy, **more))


FORMS = ["tournament(n=6)", "tournament(n=6, form=league)", "tournament(n=6, distinct=true)"]


@pytest.mark.parametrize(
    "spec", ["tournament(n=4)", "tournament(n=4, form=league, opponents=2, distinct=true)"]
)
def test_the_laws(spec):
    check_strategy(spec)


@pytest.mark.parametrize("spec", FORMS)
def test_a_judge_that_knows_finds_the_right_one_among_a_wrong_majority(spec):
    answer = solve(spec, model(knows))
    assert (answer.answer, answer.stopped) == ("7", "finished")
    assert answer.confidence == pytest.approx(1 / 6)


@pytest.mark.parametrize("spec", FORMS)
@pytest.mark.parametrize("word", ["tie", "A", "unsure"])
def test_a_judge_that_says_nothing_of_the_texts_leaves_the_vote(spec, word):
    vote = solve("self_consistency(n=6)", model(knows))
    answer = solve(spec, model(lambda a, b: word))
    assert answer.text == vote.text == "answer: 5"
    assert any("the vote decides" in note for note in answer.notes) == (word == "unsure")


def test_the_calls_are_those_of_the_docstring():
    different = [f"answer: {i}" for i in range(6)]
    by_number = lambda a, b: "A" if int(a) > int(b) else "B"  # noqa: E731
    for spec, comparisons in (
        ("tournament(n=6)", 2 * 5),
        ("tournament(n=6, k=4)", 4 * 5),
        ("tournament(n=6, form=league)", 2 * 15),
        ("tournament(n=6, form=league, opponents=2)", 2 * 12),
    ):
        live = model(by_number, different)
        answer = solve(spec, live)
        assert len(live.asked) == answer.usage.calls == 6 + comparisons
        assert answer.answer == "5"
    # equal answers are not compared: six samples of three answers
    live = model(knows)
    solve("tournament(n=6, distinct=true)", live)
    assert len(live.asked) == 6 + 2 * 2
    live = model(knows, ["answer: 5"])
    assert solve("tournament(n=6)", live).answer == "5"
    assert len(live.asked) == 6


def test_more_comparisons_mend_a_judge_that_is_often_wrong():
    """It is right in three of four comparisons; the majority of 2 ties, that of 8 is right."""
    turn = itertools.count()

    def shaky(a, b):
        return knows(a, b) if next(turn) % 8 < 6 else {"A": "B", "B": "A"}.get(knows(a, b), "tie")

    texts = ("answer: 7", "answer: 3")
    assert solve("tournament(n=2, k=8)", model(shaky, texts)).answer == "7"


def test_a_run_that_ends_early_gives_who_is_ahead():
    beats = lambda a, b: "A" if int(a) > int(b) else "B"  # noqa: E731
    texts = ["answer: 1", "answer: 2", "answer: 3", "answer: 4"]
    for calls, wanted in ((4, "1"), (7, "1"), (8, "2"), (9, "2"), (10, "4")):
        answer = solve("tournament(n=4)", model(beats, texts), budget=f"calls={calls}")
        assert answer.answer == wanted
        assert (answer.stopped == "finished") == (calls >= 10)


def test_a_text_without_an_answer_needs_no_judge_to_lose():
    live = model(lambda a, b: "tie", (NOTHING, "answer: 7"))
    assert solve("tournament(n=2)", live).answer == "7"
    assert len(live.asked) == 2


def test_specs():
    spec = 'tournament(n=4, judge=judge("gpt-5-mini", temperature=1.0))'
    found = build(spec, "strategy")
    assert found.judge.temperature == 1.0
    assert build(spec_of(found), "strategy") == found
    assert spec_of(build("tournament", "strategy")) == "tournament"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("tournament(k=3)", "k=3 must be even"),
        ("tournament(k=0)", "k=0"),
        ("tournament(opponents=2)", "form=league"),
        ("tournament(judge=prm)", "takes a judge"),
        ("tournament(form=cup)", "knockout"),
    ],
)
def test_wrong_parameters_are_refused(spec, said):
    with pytest.raises(BadInput, match=said):
        outthink.solve(QUESTION, strategy=spec)
