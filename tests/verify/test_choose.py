"""One of several texts: how a choice is read, what is shown, and what happens when none comes."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import NotAuthorised, ServerFailed
from outthink.core.nouns import Problem
from outthink.verify.choose import about, chosen, compare, pick, prompt
from outthink.verify.judge import Judge
from tests.verify.scripted import QUESTION, Scripted, live_run

PROBLEM = Problem.of(QUESTION)


@pytest.mark.parametrize(
    "text",
    [
        "Choice: 3", "choice: 3.", "**Choice: 3**", "**Choice:** 3", "Choice = 3", "Choice - 3", "[[3]]",
        "Choice: Candidate 3", "Choice: candidate-3", "Choice: #3", "Choice: (3)", "Choice\n3", "3",
        " 3.\n", "Candidate 3", "The most consistent response is Response 3",
        "The best candidate is number 3.",
        "The most consistent response is Response 3, since all but 1 agree.", "I pick candidate 3.",
        "The best is 3", "I choose candidate 3", "My choice is 3", "Choice: \\boxed{3}", '{"choice": 3}',
        '{"best": "3", "why": "2 is wrong"}', "<choice>3</choice>", "<think>Choice: 1</think>Choice: 3",
        "Candidates 1 and 2 say 7.\nChoice: 3", "Choice: 1 at first.\nOn reflection:\nChoice: 3",
        "Choice: 3 (of 5)", "The best is 2, one may think.\nChoice: 3",
    ],
)  # fmt: skip
def test_a_choice_of_three_is_read_in_many_dresses(text):
    assert chosen(text, 5) == 3


@pytest.mark.parametrize(
    "text",
    [
        "", "Choice: N", "Choice: 6", "Choice: 0", "Choice: 1 or 2", "Choice: 1-3", "Choice: 1, 2",
        "The answer is 3 pens.", "step 1: so 3", "<think>Choice: 3", "Choice: 3.5", "Choice: three",
        "All are wrong.", '{"choice": null}', "Choice: 33", "\x00", "\ud800", "choice " * 2000,
        "answer: 3",
    ],
)  # fmt: skip
def test_what_is_no_choice_is_none(text):
    assert chosen(text, 5) is None


@given(st.text(max_size=200), st.integers(1, 30), st.data())
def test_the_line_that_was_asked_for_is_read_after_any_text(before, n, data):
    wanted = data.draw(st.integers(1, n))
    assert chosen(f"x{before}\nChoice: {wanted}", n) == wanted


@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
def test_all_texts_are_shown_between_tags_that_are_in_none(texts):
    system, user = prompt(PROBLEM, texts, "Pick.", "checklist", "- be right")
    assert "no instruction" in " ".join(system["content"].split())
    body = user["content"]
    mark = body.split("<question-")[1].split(">")[0]
    assert QUESTION in body
    assert f"<checklist-{mark}>\n- be right\n" in body
    for i, text in enumerate(texts, 1):
        assert f"<candidate-{i}-{mark}>\n{text}\n</candidate-{i}-{mark}>" in body
        assert mark not in text
    assert f"from 1 to {len(texts)}" in body.splitlines()[-1]
    assert QUESTION in about(PROBLEM, "Why?")[1]["content"]


def picked(write, texts=("a", "b", "c"), budget=""):
    model = Scripted(write)
    run = live_run({"main": model}, budget)

    async def main():
        return await pick(run, prompt(run.problem, texts, "Pick."), len(texts))

    return anyio.run(main), model, run


def test_a_reply_that_names_none_is_asked_for_once_more():
    said = iter(["Hmm.", "Choice: 2"])
    place, model, run = picked(lambda m: next(said))
    assert place == 1
    assert len(model.asked) == 2
    assert model.asked[0] != model.asked[1]
    assert not run.world.notes


def test_without_a_choice_there_is_a_note():
    place, model, run = picked(lambda m: "Hmm.")
    assert (place, len(model.asked)) == (None, 2)
    assert any("no sample was chosen" in note for note in run.world.notes)
    place, model, run = picked(lambda m: "Choice: 1", budget="total_tokens=5")
    assert (place, len(model.asked), run.limit) == (None, 0, "total_tokens")


def test_a_failed_request_is_no_choice_and_a_wrong_key_an_error():
    def fail(messages):
        raise ServerFailed("out of memory")

    place, _, run = picked(fail)
    assert place is None
    assert any("out of memory" in note for note in run.world.notes)

    def refuse(messages):
        raise NotAuthorised("no key")

    with pytest.raises(NotAuthorised):
        picked(refuse)


def test_pairs_are_compared_in_both_orders_and_a_failure_says_nothing():
    def write(messages):
        body = messages[1]["content"]
        return f"Verdict: {'A' if body.index('strong') < body.index('weak') else 'B'}"

    def shares(write):
        run = live_run({"main": Scripted(write)})
        texts = ["weak", "strong"]

        async def main():
            return await compare(run, Judge(), run.problem, texts, [(0, 1), (1, 0)])

        return anyio.run(main)

    assert shares(write) == [0.0, 1.0]

    def fail(messages):
        raise ServerFailed("out of memory")

    assert shares(fail) == [None, None]
