"""Votes that stop: what they answer, and what they leave undrawn."""

import numpy as np
import pytest

import outthink
from outthink.core.errors import BadInput
from outthink.core.registry import build
from outthink.stop.base import ending
from outthink.testing import check_strategy

QUESTIONS = [f"How many are {i} and {i}?" for i in range(12)]
MODEL = "simulated(accuracy=0.6, correlation=0.4)"


def answers(strategy, model=MODEL, **options):
    return [outthink.solve(q, model=model, strategy=strategy, seed=3, **options) for q in QUESTIONS]


@pytest.mark.parametrize("stop", ["beta(0.9)", "window(4)", "certain", "share(0.7, 3)"])
def test_a_vote_that_stops_is_the_vote_of_what_the_rule_saw(stop):
    rule = build(stop, "stop")
    for whole, early in zip(
        answers("self_consistency(n=20)"),
        answers(f"self_consistency(n=20, stop={stop})"),
        strict=True,
    ):
        drawn = [s.text for s in whole.candidates]
        said = [text.rsplit("answer: ", 1)[1] for text in drawn]
        classes = np.array([said.index(a) for a in said])
        end = ending(rule, classes, 20) or 20
        assert [s.text for s in early.candidates] == drawn[:end]
        assert early.usage.completion_tokens == sum(s.tokens for s in early.candidates)


def test_certain_gives_the_answer_of_the_whole_vote_for_less():
    whole, early = (
        answers("self_consistency(n=21)"),
        answers("self_consistency(n=21, stop=certain)"),
    )
    assert [a.answer for a in whole] == [a.answer for a in early]
    spent = [sum(a.usage.completion_tokens for a in found) for found in (whole, early)]
    assert spent[1] < 0.9 * spent[0]


@pytest.mark.parametrize("width", [1, 3, 16])
def test_the_width_changes_what_is_spent_and_never_the_answer(width):
    slow = "simulated(accuracy=0.6, correlation=0.4, token_seconds=0.0002, latency=0.001)"
    plain = answers("self_consistency(n=16, stop=beta)", slow)
    wide = answers(f"self_consistency(n=16, stop=beta, width={width})", slow)
    for a, b in zip(plain, wide, strict=True):
        assert (a.answer, a.confidence) == (b.answer, b.confidence)
        assert [s.text for s in a.candidates] == [s.text for s in b.candidates]
        assert b.usage.completion_tokens >= a.usage.completion_tokens
    if width == 1:
        assert sum(a.usage.completion_tokens for a in wide) == sum(
            a.usage.completion_tokens for a in plain
        )


def test_what_is_under_way_when_the_vote_is_decided_costs_what_it_had_written():
    """32 at once and the first ends it: the rest had not been written to their ends."""
    slow = "simulated(accuracy=1.0, tokens=40, latency=0.15, spread=0.6)"
    found = answers("self_consistency(n=32, stop=share(1.0, 1), width=32)", slow)
    assert all(len(a.candidates) == 1 and a.usage.calls == 32 for a in found)
    whole = 32 * sum(found[0].candidates[0].tokens for _ in found)
    assert sum(a.usage.completion_tokens for a in found) < 0.9 * whole


def test_a_sample_that_fails_does_not_keep_the_vote_waiting():
    flaky = "simulated(accuracy=1.0, failures=0.5, retries=0, latency=0.002)"
    found = answers("self_consistency(n=40, stop=share(1.0, 4), width=4)", flaky)
    assert all(4 <= len(a.candidates) < 12 for a in found)


def test_what_failed_is_not_to_come_any_more():
    """Of nine that were asked for f fail, so that d that agree are certain where 2 d > 9 - f."""
    fewer = 0
    for seed in range(8):
        kinds = []
        found = outthink.solve(
            QUESTIONS[0],
            model="simulated(accuracy=1.0, failures=0.4)",
            strategy="self_consistency(n=9, stop=certain, width=1)",
            seed=seed,
            observer=lambda kind, data, kinds=kinds: kinds.append(kind),
        )
        drawn, failed = len(found.candidates), kinds.count("failure")
        assert 2 * drawn > 9 - failed
        fewer += 2 * drawn <= 9
    assert fewer


def test_a_vote_that_its_rule_ended_was_not_ended_by_the_budget():
    """Seven calls are allowed and under way at once, and an eighth would be asked for."""
    for latency in (0.0, 0.004):
        found = answers(
            "self_consistency(n=16, stop=share(1.0, 7), width=16)",
            f"simulated(accuracy=1.0, latency={latency})",
            budget="calls=7",
        )
        assert {a.stopped for a in found} == {"finished"}
        assert {len(a.candidates) for a in found} == {7}


def test_a_budget_ends_the_vote_with_what_there_is():
    for strategy in ("self_consistency(n=40, stop=beta(0.9999))",
                     "self_consistency(n=40, stop=beta(0.9999), width=8)"):  # fmt: skip
        for a in answers(strategy, budget="tokens=150"):
            assert a.usage.completion_tokens <= 150
            assert a.answer is not None


def test_a_width_is_for_votes_that_may_stop():
    with pytest.raises(BadInput, match="stop=beta"):
        build("self_consistency(n=4, width=2)", "strategy")
    with pytest.raises(BadInput, match="width=0"):
        build("self_consistency(n=4, stop=beta, width=0)", "strategy")


@pytest.mark.parametrize("how", ["stop=beta(0.8)", "stop=beta(0.8), width=3", "stop=window(2)"])
def test_a_vote_that_stops_keeps_the_laws(how):
    check_strategy(f"self_consistency(n=5, {how})")
