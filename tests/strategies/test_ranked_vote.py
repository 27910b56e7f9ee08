"""Ranked voting: how rankings are read, second choices that win, and the plain vote without rankings."""

import itertools

import anyio
import pytest

import outthink
from outthink.api import asolve
from outthink.core.errors import BadInput
from outthink.core.nouns import Problem
from outthink.lab.grade import grade
from outthink.strategies.ranked_vote import ranking
from outthink.testing import check_strategy
from tests.verify.scripted import QUESTION, Scripted


@pytest.mark.parametrize(
    "text",
    [
        "Ranking:\n1. 20\n2. 22\n3. 18", "So 20.\n\n**Ranking:**\n1. 20\n2. 22\n3. 18\n",
        "ranking:\n1) 20\n2) 22\n3) 18", "Ranking:\n\n(1) 20\n(2) 22\n(3) 18",
        "### Ranking:\n1. **20**\n2. 22\n3. 18",
        "Ranking: 20 > 22 > 18", "The ranking of answers by likelihood is: 20 > 22 > 18.",
        "Final ranking:\n1: 20\n2: 22\n3: 18\n\nDone.\n4. not this",
        "Ranking:\n1. 5\n\nNo.\nRanking:\n1. 20\n2. 22\n3. 18",
        "<think>Ranking: 1 > 2</think>Ranking: 20 > 22 > 18",
    ],
)  # fmt: skip
def test_a_ranking_is_read_in_many_dresses(text):
    assert ranking(text) == ["20", "22", "18"]


@pytest.mark.parametrize(
    "text", ["", "answer: 7", "1. 20\n2. 22", "Ranking:", "Ranking:\nnothing", "My rank is 1"]
)
def test_what_is_no_ranking_is_empty(text):
    assert ranking(text) == []


def writer(texts):
    turn = itertools.cycle(texts)
    return Scripted(lambda messages: next(turn))


def solve(strategy, texts, **more):
    return anyio.run(lambda: asolve(QUESTION, model=writer(texts), strategy=strategy, **more))


@pytest.mark.parametrize("spec", ["ranked_vote(n=4)", 'ranked_vote(n=4, rule="irv", places=2)'])
def test_the_laws(spec):
    check_strategy(spec)


@pytest.mark.parametrize("rule", ["borda", "irv", "mrr"])
def test_without_rankings_it_is_the_plain_vote(rule):
    for seed in range(5):
        mine, vote = (
            outthink.solve(QUESTION, model="simulated(accuracy=0.4)", strategy=spec, seed=seed)
            for spec in (f"ranked_vote(n=6, rule={rule}, temperature=1)", "self_consistency(n=6)")
        )
        assert (mine.answer, mine.text) == (vote.answer, vote.text)


SECOND = tuple(f"Ranking:\n1. {first}\n2. 7" for first in (3, 3, 5, 9, 5))


def test_a_second_choice_of_all_wins_by_points_and_not_by_runoff():
    answer = solve("ranked_vote(n=5, rule=borda)", SECOND)
    assert answer.answer == "7"
    assert answer.confidence == pytest.approx(5 / 15)
    shares = {"7": 5 / 15, "3": 4 / 15, "5": 4 / 15, "9": 2 / 15}
    assert answer.distribution == pytest.approx(shares)
    assert solve("ranked_vote(n=5, rule=irv)", SECOND).answer == "3"


def test_the_text_that_names_the_winner_earliest_stands_for_it():
    texts = ("Ranking: 5 > 7", "Ranking: 7 > 3", "Ranking: 3 > 7")
    answer = solve("ranked_vote(n=3)", texts)
    assert (answer.answer, answer.text) == ("7", f"{texts[1]}\nanswer: 7")


def test_the_text_is_graded_as_the_answer_is():
    problem = Problem(({"role": "user", "content": QUESTION},), reference="7")
    won = solve("ranked_vote(n=5)", SECOND)
    lost = solve("ranked_vote(n=5, rule=irv)", SECOND)
    assert anyio.run(grade, problem, [won.text, lost.text]) == [True, False]
    plain = solve("ranked_vote(n=1)", ["Some thought.\nanswer: 7"])
    assert plain.text == "Some thought.\nanswer: 7"


def test_equal_answers_in_different_dress_are_one_and_places_limits_the_list():
    texts = ("Ranking:\n1. 1/2\n2. 3", "Ranking:\n1. 0.5 kg\n2. 4", "answer: 3")
    assert solve("ranked_vote(n=3)", texts).answer == "1/2"
    long = "Ranking: 1 > 2 > 3 > 4 > 5"
    assert list(solve("ranked_vote(n=1, places=2)", [long]).distribution) == ["1", "2"]


def test_it_asks_for_a_ranking_and_leaves_the_question_as_it_is():
    model = writer(SECOND)
    anyio.run(lambda: asolve(QUESTION, model=model, strategy="ranked_vote(n=2, places=4)"))
    system, user = model.asked[0]
    assert "up to 4 possible final answers" in system["content"]
    assert user["content"] == QUESTION


def test_texts_without_any_answer_give_the_first():
    nothing = "It is not clear to me what the question asks for, nor whether it can be told at all."
    answer = solve("ranked_vote(n=2)", (nothing, f"{nothing} No."))
    assert (answer.answer, answer.text) == (None, nothing)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("ranked_vote(n=0)", "n=0"),
        ("ranked_vote(places=0)", "places=0"),
        ("ranked_vote(rule=stv)", "borda"),
    ],
)
def test_wrong_parameters_are_refused(spec, said):
    with pytest.raises(BadInput, match=said):
        outthink.solve(QUESTION, strategy=spec)
