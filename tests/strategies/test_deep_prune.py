"""DeepPrune: a judge's groups decide what is finished, and what is not finished costs its opening."""

from dataclasses import replace

import pytest

import outthink
from outthink.core.errors import BadInput
from outthink.select.pairs import SameEnd
from outthink.select.utilities import Exact
from outthink.strategies.deep_prune import DeepPrune
from outthink.tasks import problems as problems_of
from outthink.testing import check_strategy

PROBLEMS = problems_of("chain", "medium", "dev", 2, 6)


def test_it_keeps_the_laws():
    check_strategy("deep_prune(n=4, opening=10, finish=2)")


def test_with_one_group_that_is_finished_whole_it_is_the_plain_vote():
    for problem in PROBLEMS:
        answer = outthink.solve(
            problem.question, strategy=DeepPrune(n=6, opening=20, tau=0.0, finish=6)
        )
        assert len(answer.candidates) == 6
        assert answer.usage.completion_tokens == sum(c.total_tokens for c in answer.candidates)
        votes = [c.text.split("answer: ")[-1].strip() for c in answer.candidates]
        assert votes.count(answer.answer) == max(map(votes.count, votes))


def test_what_is_not_finished_costs_its_opening_and_no_more():
    for problem in PROBLEMS:
        answer = outthink.solve(problem.question, strategy=DeepPrune(n=8, opening=24, finish=3))
        followed = answer.candidates
        assert 1 <= len(followed) <= 3
        whole = sum(c.total_tokens for c in followed)
        assert answer.usage.completion_tokens == whole + 24 * (8 - len(followed))
        assert answer.usage.completion_tokens < 8 * whole / len(followed)


def test_where_no_two_are_alike_any_are_finished():
    answer = outthink.solve(
        PROBLEMS[0].question, strategy=DeepPrune(n=6, opening=24, tau=1.0, finish=4)
    )
    assert len(answer.candidates) == 4


def test_a_perfect_judge_finishes_the_answer_of_the_full_vote():
    # the first line of these texts is the value of their class: equal openings, equal answers
    model = "simulated(accuracy=0.5, steps=1, tokens=3)"
    agreed, spent = 0, []
    for seed in range(30):
        part = DeepPrune(n=15, opening=3, judge=Exact(of="text"), finish=2)
        whole = replace(part, finish=15, tau=0.0, judge=SameEnd())
        pruned, full = (
            outthink.solve(f"question {seed}", model=model, strategy=p, seed=seed)
            for p in (part, whole)
        )
        assert len({c.text.split()[-1] for c in pruned.candidates}) == 1
        counts = sorted(full.distribution.values())
        if len(counts) > 1 and counts[-1] == counts[-2]:
            continue
        agreed += pruned.answer == full.answer
        spent.append(pruned.usage.completion_tokens < full.usage.completion_tokens)
    assert agreed == len(spent) >= 20
    assert all(spent)


def test_openings_longer_than_the_texts_leave_nothing_to_finish():
    answer = outthink.solve(PROBLEMS[0].question, strategy=DeepPrune(n=4, opening=500))
    assert answer.usage.calls == 1
    assert answer.answer is not None


def test_parameters_out_of_range_are_refused():
    with pytest.raises(BadInput, match=r"tau=1\.5"):
        DeepPrune(tau=1.5)
    with pytest.raises(BadInput, match="opening=0"):
        outthink.solve("2 + 2?", strategy="deep_prune(opening=0)")
