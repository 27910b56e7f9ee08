"""Best of majority: its laws, its limits, and what its threshold is for."""

from dataclasses import dataclass

import pytest

import outthink
from outthink.core.errors import BadInput, MissingNeed
from outthink.core.nouns import Score
from outthink.core.registry import entries, register
from outthink.models.simulated import right_answer
from outthink.select.best_of_majority import best_of_majority
from outthink.tasks import chain
from outthink.testing import check_rule, check_strategy

QUESTION = "What is 6 * 7?"
MODEL = "simulated(accuracy=0.6, wrong=40, preferred=0)"
SPEC = "best_of_majority(n={n}, k={k}, alpha={alpha}, verifier=prm(model=simulated_prm))"


def solve(n=16, k=1, alpha=0.1, seed=0, strategy=SPEC, model=MODEL):
    spec = strategy.format(n=n, k=k, alpha=alpha)
    return outthink.solve(QUESTION, model=model, strategy=spec, seed=seed)


def test_it_keeps_the_laws_of_a_strategy_and_of_a_rule():
    check_strategy("best_of_majority(n=4, k=2, verifier=prm(model=simulated_prm))")
    for alpha in (0.0, 0.3, 1.0):
        check_rule(
            lambda c, s, t, rng, alpha=alpha: best_of_majority(c, s["reward"], 1, alpha)[:, 0],
            scores=("reward",),
        )


def test_it_needs_a_verifier_and_a_threshold_in_range():
    with pytest.raises(MissingNeed, match="needs a verifier"):
        outthink.solve(QUESTION, model=MODEL, strategy="best_of_majority(n=4)")
    with pytest.raises(BadInput, match="alpha=2"):
        solve(alpha=2.0)


@pytest.mark.parametrize("seed", range(4))
def test_its_limits_are_best_of_n_and_the_vote(seed):
    best = solve(strategy="best_of_n(n={n}, verifier=prm(model=simulated_prm))", seed=seed)
    vote = solve(strategy="self_consistency(n={n}, ties=first)", seed=seed)
    assert solve(alpha=0.0, seed=seed).answer == best.answer
    frequent = solve(alpha=1.0, seed=seed)
    assert frequent.distribution[frequent.answer] == vote.distribution[vote.answer]


def test_what_is_submitted_is_k_different_answers_the_answer_first():
    found = solve(k=3, alpha=0.0)
    assert len(found.submissions) == len(set(found.submissions)) == 3
    assert found.submissions[0] == found.text
    assert len(solve(k=3, alpha=1.0).submissions) == 1
    assert solve(n=1, k=3).submissions == (solve(n=1).text,)


def test_with_every_answer_submitted_and_a_right_one_among_them_it_has_passed():
    found = solve(n=8, k=8, alpha=0.0)
    texts = {s.text for s in found.candidates}
    right = f"answer: {right_answer(QUESTION)}"
    assert any(right in t for t in found.submissions) == any(right in t for t in texts)
    assert len(found.submissions) == len(found.distribution)


def test_a_verifier_that_loves_what_is_rare_misleads_best_of_n_and_not_this():
    @register("verifier", "contrary")
    @dataclass(frozen=True)
    class Contrary:
        """Scores a text the higher the further its answer is from the truth."""

        async def __call__(self, problem, samples, run):
            said = [int(s.text.rpartition(":")[2]) for s in samples]
            return [Score(float(v - int(right_answer(QUESTION)))) for v in said]

    spec = "best_of_majority(n={n}, k={k}, alpha={alpha}, verifier=contrary)"
    try:
        for seed in range(4):
            assert solve(64, alpha=0.0, seed=seed, strategy=spec).answer != right_answer(QUESTION)
            assert solve(64, alpha=0.2, seed=seed, strategy=spec).answer == right_answer(QUESTION)
    finally:
        entries("verifier").pop("contrary")


def test_it_answers_an_easy_question_on_fly():
    problem = chain.make(3, 9, 4)
    found = outthink.solve(problem.question, strategy="best_of_majority(n=8, k=2, verifier=prm)")
    assert found.answer == str(problem.answer)
    assert chain.check(problem, found.submissions[0])
