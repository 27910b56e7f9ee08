"""Slim-SC: what is dropped was like what stays, costs no more from then on, and the rest is untouched."""

from dataclasses import replace

import numpy as np
import pytest

import outthink
from outthink.core.errors import BadInput
from outthink.lab.pools import Pools
from outthink.reproduce.s027_slim_sc import chains_of, likeness, prune
from outthink.strategies.slim_sc import SlimSc
from outthink.tasks import check
from outthink.tasks import problems as problems_of
from outthink.testing import check_strategy

PROBLEMS = problems_of("chain", "medium", "dev", 2, 5)
KEEP_ALL = 1.01


def solve(problem, part, seed=0):
    return outthink.solve(problem.question, strategy=part, seed=seed)


def test_it_keeps_the_laws():
    check_strategy("slim_sc(n=4, delay=2)")


def test_above_every_similarity_it_is_the_plain_vote():
    for problem in PROBLEMS:
        answer = solve(problem, SlimSc(n=6, threshold=KEEP_ALL))
        assert len(answer.candidates) == 6
        assert answer.usage.completion_tokens == sum(c.total_tokens for c in answer.candidates)
        votes = [c.text.split("answer: ")[-1].strip() for c in answer.candidates]
        assert votes.count(answer.answer) == max(map(votes.count, votes))


@pytest.mark.parametrize(
    "part", [SlimSc(n=6), SlimSc(n=6, how="random"), SlimSc(n=6, tokens=24, delay=1)]
)
def test_what_stays_is_what_it_would_have_been_and_the_rest_is_not_paid_for(part):
    saved = 0
    for problem in PROBLEMS:
        whole = solve(problem, replace(part, threshold=KEEP_ALL))
        slim = solve(problem, part)
        texts = {c.node: c.text for c in whole.candidates}
        assert 1 <= len(slim.candidates) <= 6
        assert all(texts[c.node] == c.text for c in slim.candidates)
        if len(slim.candidates) < 6:
            assert slim.usage.completion_tokens < whole.usage.completion_tokens
        saved += whole.usage.completion_tokens - slim.usage.completion_tokens
    assert saved > 0


def test_a_live_run_is_what_the_replay_of_its_whole_chains_says():
    for problem in PROBLEMS:
        whole = solve(problem, SlimSc(n=6, threshold=KEEP_ALL)).candidates
        slim = solve(problem, SlimSc(n=6))
        shape = (1, 6)
        found = Pools(
            np.zeros(shape, dtype=np.int32),
            np.array([[check(problem, c.text) for c in whole]]),
            np.array([[float(c.total_tokens) for c in whole]]),
            np.ones(shape, dtype=bool),
            ("p",),
        )
        chains = chains_of(found, 0, [c.text for c in whole])
        again = prune(
            chains, likeness(chains), np.arange(6)[None], "diversity", np.random.default_rng(0)
        )
        assert again.tokens == [slim.usage.completion_tokens]
        assert again.dropped.sum() == 6 - len(slim.candidates)


def test_chains_that_write_the_same_are_one_chain():
    answer = outthink.solve(
        PROBLEMS[0].question, strategy=SlimSc(n=5, temperature=0.0, delay=2, inherit=True)
    )
    assert len(answer.candidates) == 1
    assert answer.confidence == 1
    one = outthink.solve(PROBLEMS[0].question, strategy="greedy")
    assert answer.text == one.text
    assert answer.usage.completion_tokens < 3 * one.usage.completion_tokens


def test_inherited_votes_are_all_votes():
    plain, heirs = (solve(PROBLEMS[1], SlimSc(n=6, inherit=i)) for i in (False, True))
    assert [c.text for c in plain.candidates] == [c.text for c in heirs.candidates]
    shares = np.array(list(heirs.distribution.values())) * 6
    assert shares == pytest.approx(np.round(shares))
    assert shares.sum() == pytest.approx(6)


def test_thoughts_may_end_at_marks():
    answer = solve(PROBLEMS[0], "slim_sc(n=3, delay=1, marks=[' = ', '\\n'])")
    assert answer.usage.calls > 10
    assert answer.answer is not None


def test_parameters_out_of_range_are_refused():
    with pytest.raises(BadInput, match="delay=0"):
        SlimSc(delay=0)
    with pytest.raises(BadInput, match="a mark is not empty"):
        SlimSc(marks=(";", ""))
