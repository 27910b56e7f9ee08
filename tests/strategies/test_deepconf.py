"""DeepConf: the sure ones vote; online the unsure are stopped, and sampling ends when the vote is sure."""

import numpy as np
import pytest

import outthink
from outthink.core.errors import BadInput
from outthink.select.confidence import stops_at, text_confidence, threshold
from outthink.strategies.deepconf import DeepConf, confidences
from outthink.strategies.deepconf_online import DeepConfOnline
from outthink.tasks import problems as problems_of
from outthink.testing import check_strategy

PROBLEMS = problems_of("chain", "medium", "dev", 2, 7)
ONLINE = DeepConfOnline(n=16, warmup=4, keep=0.5, tau=1.0, window=8, chunk=8, width=6)


def solve(problem, part, seed=0):
    return outthink.solve(problem.question, strategy=part, seed=seed)


@pytest.mark.parametrize(
    "spec",
    ["deepconf(n=4, window=8)", "deepconf_online(n=6, warmup=3, window=6, chunk=8, width=2)"],
)
def test_they_keep_the_laws(spec):
    check_strategy(spec)


def answers(samples):
    """The answers, empty where there is none."""
    return np.array([c.text.partition("answer: ")[2].strip() for c in samples])


def test_the_vote_is_that_of_the_most_confident_with_their_confidence():
    for problem in PROBLEMS:
        answer = solve(problem, DeepConf(n=8, window=12, keep=0.5))
        c = confidences(answer.candidates)
        assert c.shape == (8, max(s.tokens for s in answer.candidates))
        values = text_confidence(c, "bottom", 12)
        assert values == pytest.approx(answer.scores["confidence"])
        told = answers(answer.candidates)
        able = told != ""
        weights = np.where(able & (values >= np.median(values[able])), values, 0.0)
        assert answer.confidence == pytest.approx(
            weights[told == answer.answer].sum() / weights.sum()
        )
        assert answer.confidence == max(answer.distribution.values())


def test_keeping_none_takes_the_most_confident_alone():
    answer = solve(PROBLEMS[0], DeepConf(n=8, keep=0.0, measure="mean", window=8))
    best = int(np.argmax(answer.scores["confidence"]))
    assert answer.text == answer.candidates[best].text
    assert answer.confidence == 1


def test_equal_confidences_give_the_plain_vote():
    # alike texts, and a plain vote, of a model that is as sure of one word as of another
    answer = outthink.solve("q", model="simulated(accuracy=1, steps=0)", strategy=DeepConf(n=5))
    assert answer.confidence == 1
    assert sorted(set(answer.scores["confidence"])) == [0.0]


def test_a_trace_that_votes_never_fell_below_the_bar_and_the_others_were_stopped():
    spent = fixed = 0
    for problem in PROBLEMS:
        answer = solve(problem, ONLINE)
        c = confidences(answer.candidates)
        bar = threshold(text_confidence(c[:4], "lowest", 8), 0.5)
        assert not stops_at(c[4:], 8, bar).any()
        assert 4 <= len(answer.candidates) < 16
        spent += answer.usage.completion_tokens
        fixed += solve(problem, DeepConf(n=16)).usage.completion_tokens
    assert spent < fixed


def test_a_stopped_trace_has_less_than_a_chunk_too_many():
    seen = []

    def observe(kind, data):
        if kind == "sample" and len(data["node"]) > 1:
            seen.append((data["node"], data["tokens"]))

    answer = outthink.solve(PROBLEMS[0].question, strategy=ONLINE, observer=observe)
    chunks = {}
    for node, tokens in seen:
        chunks.setdefault(tuple(node[:2]), []).append(tokens)
    voted = {c.node[:2] for c in answer.candidates if len(c.node) > 1}
    assert len(chunks) == 12
    assert len(voted) < 12
    assert all(max(tokens) <= 8 for tokens in chunks.values())


def test_a_window_longer_than_the_texts_stops_none():
    part = DeepConfOnline(n=10, warmup=4, keep=0.5, tau=1.0, window=500, chunk=40, width=3)
    answer = solve(PROBLEMS[1], part)
    assert len(answer.candidates) == 10
    assert answer.usage.completion_tokens == sum(c.total_tokens for c in answer.candidates)


def test_sampling_ends_when_the_vote_is_sure():
    easy = "Ada has 8 stamps. Jade has 4 fewer than Ada. How many stamps has Jade?"
    answer = outthink.solve(
        easy, strategy=DeepConfOnline(n=64, warmup=4, window=8, tau=0.6, temperature=0.7)
    )
    assert answer.answer == "4"
    assert len(answer.candidates) == 4
    assert answer.usage.calls == 1


def test_parameters_out_of_range_are_refused():
    with pytest.raises(BadInput, match="keep=10"):
        DeepConf(keep=10)
    with pytest.raises(BadInput, match="top=1"):
        DeepConfOnline(top=1)
    with pytest.raises(BadInput, match="measure"):
        outthink.solve("2 + 2?", strategy="deepconf(measure=least)")
