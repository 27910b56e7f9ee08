"""RPC: its laws, its limits and ablations."""

import numpy as np
import pytest

import outthink
from outthink.api import needs_of
from outthink.core.errors import BadInput
from outthink.core.registry import build
from outthink.select.likelihood import path_weights
from outthink.select.vote import elect, support
from outthink.tasks import chain
from outthink.testing import check_rule, check_strategy

PROBLEM = chain.make(6, 30, 4)


def solve(spec, seed=0, **more):
    return outthink.solve(PROBLEM.question, strategy=spec, seed=seed, **more)


def test_it_keeps_the_laws_of_a_strategy_and_of_a_rule():
    check_strategy("rpc(n=4)")

    def rule(classes, scores, tokens, rng):
        texts = np.broadcast_to(np.arange(classes.shape[-1]), classes.shape)
        weights = path_weights(classes, np.log(scores["p"]), texts, prune=False)
        return elect(support(classes, weights), classes)

    check_rule(rule, scores=("p",))


def test_it_asks_for_log_probabilities_and_known_rules():
    assert needs_of(build("rpc", "strategy")) == {"LOGPROBS"}
    with pytest.raises(BadInput, match="rule"):
        solve("rpc(rule=sc)")


@pytest.mark.parametrize("path", ["mean", "sum"])
def test_the_most_probable_path_is_the_one_of_highest_log_probability(path):
    found = solve(f"rpc(n=8, rule=ppl, path={path})")
    scale = [s.total_tokens if path == "mean" else 1 for s in found.candidates]
    logp = [s.total_logprob / k for s, k in zip(found.candidates, scale, strict=True)]
    assert found.text == found.candidates[int(np.argmax(logp))].text
    assert found.scores["logprob"] == pytest.approx(logp)


def test_the_confidence_is_the_share_of_the_distinct_paths_probability():
    found = solve("rpc(n=12, rule=pc, path=sum)")
    paths = {s.text: s.total_logprob for s in found.candidates}
    total = sum(np.exp(v) for v in paths.values())
    mine = sum(np.exp(v) for t, v in paths.items() if t.endswith(f"answer: {found.answer}\n"))
    assert found.confidence == pytest.approx(mine / total)


def test_one_sample_is_the_answer_and_the_rules_share_their_samples():
    assert solve("rpc(n=1)").answer == solve("self_consistency(n=1)").answer
    texts = {
        rule: [s.text for s in solve(f"rpc(n=6, rule={rule})").candidates]
        for rule in ("rpc", "pc", "ppl")
    }
    assert texts["rpc"] == texts["pc"] == texts["ppl"]


def test_pruning_leaves_at_least_the_most_probable_path():
    for seed in range(3):
        found = solve("rpc(n=8)", seed=seed)
        assert found.confidence is not None
        assert found.confidence > 0


@pytest.mark.parametrize("path", ["mean", "sum"])
def test_it_answers_an_easy_question_on_fly(path):
    easy = chain.make(3, 9, 4)
    found = outthink.solve(easy.question, strategy=f"rpc(n=8, path={path})")
    assert found.answer == str(easy.answer)
