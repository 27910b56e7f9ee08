"""Universal self-consistency and CHOPS: the model picks, and the vote where it does not."""

import itertools
import re

import anyio
import pytest

import outthink
from outthink.api import asolve
from outthink.core.registry import entries, register
from outthink.testing import check_strategy
from tests.verify.scripted import QUESTION, Scripted

ANSWERS = ("answer: 3", "answer: 5", "answer: 5", "It is 7.\nanswer: 7")
#: a text from which no answer is read
NOTHING = "It is not clear to me what the question asks for, nor whether it can be told at all."
_CANDIDATE = re.compile(r"<candidate-(\d+)-([0-9a-f]+)>\n(.*?)\n</candidate-\1-\2>", re.S)


def model(pick, texts=ANSWERS, checklist="- It says how many."):
    """Writes the texts in turn; ``pick(candidates)`` says which number it picks, ``None`` nothing."""
    turn = itertools.cycle(texts)

    def write(messages):
        body = messages[-1]["content"]
        if messages[0]["role"] != "system":
            return next(turn)
        if "checklist" in body and "<candidate-1-" not in body:
            return checklist
        number = pick([text for _, _, text in _CANDIDATE.findall(body)])
        return "I cannot say." if number is None else f"Compared.\nChoice: {number}"

    return Scripted(write)


def solve(strategy, live, **more):
    return anyio.run(lambda: asolve(QUESTION, model=live, strategy=strategy, **more))


def seven(candidates):
    return next(i for i, text in enumerate(candidates, 1) if "7" in text)


@pytest.mark.parametrize("spec", ["universal(n=4)", "chops(n=4)"])
def test_the_laws(spec):
    check_strategy(spec)


@pytest.mark.parametrize("spec", ["universal(n=4)", "chops(n=4)"])
def test_the_one_that_is_picked_is_the_answer(spec):
    answer = solve(spec, model(seven))
    assert (answer.answer, answer.text, answer.stopped) == ("7", ANSWERS[3], "finished")
    assert answer.confidence == 0.25
    assert not answer.notes


@pytest.mark.parametrize("spec", ["universal(n=4)", "chops(n=4)"])
def test_a_model_that_names_none_leaves_the_vote(spec):
    live = model(lambda candidates: None)
    answer = solve(spec, live)
    assert answer.answer == "5"
    assert any("the vote decides" in note for note in answer.notes)


def test_universal_shows_all_samples_and_chops_each_text_once():
    seen = []

    def look(candidates):
        seen.append(candidates)
        return 1

    solve("universal(n=4)", model(look))
    solve("chops(n=4)", model(look))
    assert seen == [list(ANSWERS), [ANSWERS[0], ANSWERS[1], ANSWERS[3]]]


def test_the_calls_are_those_of_the_docstring():
    for spec, calls in (("universal(n=4)", 4 + 1), ("chops(n=4)", 4 + 2)):
        live = model(seven)
        assert solve(spec, live).usage.calls == len(live.asked) == calls


@pytest.mark.parametrize("spec", ["universal(n=3)", "chops(n=3)"])
def test_where_all_are_equal_nothing_is_asked(spec):
    live = model(seven, texts=("answer: 5",))
    assert solve(spec, live).answer == "5"
    assert len(live.asked) == 3


@pytest.mark.parametrize("spec", ["universal(n=4)", "chops(n=4)"])
def test_a_choice_without_an_answer_does_not_win(spec):
    texts = ("answer: 3", "answer: 5", "answer: 5", NOTHING)
    answer = solve(spec, model(lambda candidates: len(candidates), texts=texts))
    assert answer.answer == "5"


def test_the_checklist_is_written_for_the_question_and_shown_with_the_candidates():
    live = model(seven, checklist="- It is seven.")
    solve("chops(n=4)", live)
    written, shown = (m[-1]["content"] for m in live.asked[-2:])
    assert QUESTION in written
    assert "answer: 3" not in written
    assert "- It is seven." in shown
    # without one the model picks all the same
    assert solve("chops(n=4)", model(seven, checklist="")).answer == "7"


@pytest.mark.parametrize("spec", ["universal(n=4)", "chops(n=4)"])
@pytest.mark.parametrize("calls", range(1, 7))
def test_a_budget_that_does_not_reach_to_the_choice_leaves_the_vote(spec, calls):
    answer = solve(spec, model(seven), budget=f"calls={calls}")
    whole = {"universal(n=4)": 5, "chops(n=4)": 6}[spec]
    assert answer.usage.calls <= calls
    if calls >= whole:
        assert (answer.answer, answer.stopped) == ("7", "finished")
    else:
        assert answer.stopped == "calls"
        # the vote over what is there; a tie goes to the first
        assert answer.answer == ("3" if calls < 3 else "5")


@pytest.mark.parametrize("name", ["universal", "chops"])
def test_another_model_may_pick(name):
    import dataclasses

    @register("model", "scripted_picker")
    @dataclasses.dataclass(frozen=True)
    class Picker:
        """Picks the text with a seven in it."""

        def open(self):
            return model(seven)

    try:
        mine = model(lambda candidates: 1)
        answer = solve(f"{name}(n=4, judge=scripted_picker)", mine)
        assert answer.answer == "7"
        assert len(mine.asked) == 4
    finally:
        entries("model").pop("scripted_picker")


@pytest.mark.parametrize("spec", ["universal(n=4)", "chops(n=4)"])
def test_on_fly_which_can_pick_nothing_the_vote_decides(spec):
    question = "Uma has 85 books. Ben has 1/5 as many as Uma. How many books has Ben?"
    answer = outthink.solve(question, strategy=spec, seed=3, budget="tokens=2k")
    assert answer.answer == "17"
