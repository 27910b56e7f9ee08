"""short-m@k: those that end first vote; of a model that thinks, those whose thoughts end first."""

import numpy as np
import pytest

import outthink
from outthink.core.errors import BadInput
from outthink.select.short import race_cost, short_vote
from outthink.tasks import chain
from outthink.testing import check_strategy
from tests.strategies.timed import Timed


def test_it_keeps_the_laws():
    check_strategy("short_m(n=4, m=2)")


def rows(*answers):
    """The i-th text ends i-th, and is the longer the later."""
    return [(0.02 * (i + 1), "so " * i + f"\nanswer: {a}", "stop") for i, a in enumerate(answers)]


@pytest.mark.parametrize(
    ("m", "wanted"), [(1, "1"), (2, "1"), (3, "2"), (5, "2"), (6, "3"), (99, "3")]
)
def test_the_first_m_vote_and_a_tie_goes_to_the_shortest(m, wanted):
    model = Timed(*rows(1, 2, 2, 3, 3, 3))
    answer = outthink.solve("q?", model=model, strategy=f"short_m(n=6, m={m})")
    assert answer.answer == wanted
    assert len(answer.candidates) == min(m, 6)


def test_of_two_answers_level_the_shortest_text_decides_not_the_first_to_come():
    model = Timed((0.01, "long long long\nanswer: 1", "stop"), (0.04, "answer: 2", "stop"))
    assert outthink.solve("q?", model=model, strategy="short_m(n=2, m=2)").answer == "2"


def test_what_is_cut_has_no_vote():
    model = Timed(
        (0.01, "answer: 1", "length"), (0.02, "answer: 1", "length"), (0.03, "long\nanswer: 2", "stop")
    )  # fmt: skip
    answer = outthink.solve("q?", model=model, strategy="short_m(n=3, m=3)")
    assert (answer.answer, len(answer.candidates)) == ("2", 1)


def test_of_a_model_that_thinks_the_thoughts_race_and_the_winners_answer():
    problem = chain.make(4, 20, 3)
    answer = outthink.solve(problem.question, model="fly(think=free)", strategy="short_m(n=6, m=2)")
    assert len(answer.candidates) == 2
    for sample in answer.candidates:
        assert sample.parent.text.endswith("</think>\n")
        assert sample.delta.startswith("answer: ")
        assert sample.finish == "stop"
    thoughts = [s.parent.tokens for s in answer.candidates]
    whole = outthink.solve(
        problem.question, model="fly(think=free)", strategy="self_consistency(n=6)"
    )
    assert answer.usage.completion_tokens < whole.usage.completion_tokens
    assert answer.usage.completion_tokens <= 6 * (max(thoughts) + 6) + 2 * 12


def test_no_place_among_the_first_none_is_refused():
    with pytest.raises(BadInput, match="m=0"):
        outthink.solve("q?", strategy="short_m(m=0)")


@pytest.mark.parametrize("seed", range(4))
def test_live_and_the_rule_over_recorded_lengths_agree(seed):
    """A token takes 4 ms: the race, its choice and its cost are those of ``select.short``."""
    rng = np.random.default_rng(seed)
    n, m = 6, int(rng.integers(1, 7))
    lengths = rng.permutation(np.arange(3, 30, 3))[:n]
    classes = rng.integers(0, 3, n)
    texts = [f"{'so ' * (size - 2)}answer: {c}" for size, c in zip(lengths, classes, strict=True)]
    model = Timed(*((0.004 * size, t, "stop") for size, t in zip(lengths, texts, strict=True)))
    answer = outthink.solve("q?", model=model, strategy=f"short_m(n={n}, m={m})")
    assert answer.text == texts[int(short_vote(classes, lengths, m))]
    spent = answer.usage.completion_tokens
    assert spent == pytest.approx(float(race_cost(lengths, m)), rel=0.25, abs=n)
    assert model.cancelled == n - m
