"""Until confident: one sample where a verifier is sure, all of them where it is not."""

import anyio
import numpy as np
import pytest

import outthink
from outthink.api import Session
from outthink.core.errors import BadInput
from outthink.models.simulated import right_answer
from outthink.stop.confident import first_agreed, first_sure
from outthink.testing import check_strategy

INNER = "prm(model=simulated_prm)"
PERFECT = "prm(model=simulated_prm(auroc=1))"
QUESTIONS = [f"Ada has {k} pens. Ben has 4 more than Ada. How many?" for k in range(30)]


def solve_all(spec, model="simulated(accuracy=0.5)"):
    async def main():
        async with Session(model) as session:
            return [await session.solve(q, spec, seed=i) for i, q in enumerate(QUESTIONS)]

    return anyio.run(main)


@pytest.mark.parametrize("of", ["sample", "answer"])
def test_it_keeps_the_laws(of):
    check_strategy(f"until_confident(n=4, threshold=0.7, of={of}, verifier={INNER})")


def test_a_sure_verifier_costs_one_sample_and_one_that_is_never_sure_all():
    low, high = (
        solve_all(f"until_confident(n=6, verifier={INNER}, threshold=0)"),
        solve_all(f"until_confident(n=6, verifier={INNER}, threshold=2)"),
    )
    assert {len(a.candidates) for a in low} == {1}
    assert {len(a.candidates) for a in high} == {6}
    best = solve_all(f"best_of_n(n=6, verifier={INNER})")
    assert [a.text for a in high] == [a.text for a in best]


def test_a_perfect_verifier_gives_coverage_for_the_samples_that_it_takes():
    found = solve_all(f"until_confident(n=8, verifier={PERFECT}, threshold=0.5)")
    right = [a.answer == right_answer(q) for a, q in zip(found, QUESTIONS, strict=True)]
    assert np.mean(right) > 0.95
    drawn = [len(a.candidates) for a in found]
    assert np.mean(drawn) < 3.5
    assert all(a.confidence > 0.5 for a, y in zip(found, right, strict=True) if y)


@pytest.mark.parametrize(("of", "rule"), [("sample", first_sure), ("answer", first_agreed)])
def test_the_live_run_is_the_rule_and_width_changes_what_it_costs_alone(of, rule):
    # unsure scores: noise on the reward model
    noisy = f"flawed(verifier={INNER}, noise=1.5)"
    whole = solve_all(f"best_of_n(n=8, verifier={noisy})")
    found = {
        width: solve_all(
            f"until_confident(n=8, verifier={noisy}, threshold=0.85, of={of}, width={width})"
        )
        for width in (1, 3)
    }
    for i, full in enumerate(whole):
        answers = [s.text.rpartition("answer:")[2].strip() for s in full.candidates]
        names = {a: k for k, a in enumerate(dict.fromkeys(answers))}
        classes = np.array([names[a] for a in answers])
        wanted = rule(classes, np.array(full.scores["verifier"]), 0.85)
        one, three = found[1][i], found[3][i]
        assert len(one.candidates) == wanted.drawn
        assert one.text == three.text == full.candidates[int(wanted.chosen)].text
        assert one.confidence == pytest.approx(three.confidence)
        assert wanted.drawn <= len(three.candidates) < wanted.drawn + 3


def test_easy_questions_cost_less_than_hard_ones():
    spec = f"until_confident(n=8, verifier={PERFECT}, threshold=0.5)"
    drawn = [
        np.mean([len(a.candidates) for a in solve_all(spec, f"simulated(accuracy={p})")])
        for p in (0.9, 0.3)
    ]
    assert drawn[0] < 1.5 < drawn[1]


def test_a_share_is_a_share():
    with pytest.raises(BadInput, match="threshold"):
        outthink.solve(
            "1 + 1?", model="simulated",
            strategy=f"until_confident(threshold=1.5, of=answer, verifier={INNER})",
        )  # fmt: skip


def test_the_models_own_yes_is_a_confidence():
    question = "Ada has 8 stamps. Jade has 4 fewer than Ada. How many stamps has Jade?"
    answer = outthink.solve(
        question, model="fly", strategy="until_confident(n=8, verifier=yes_no, threshold=0.6)"
    )
    assert answer.answer == "4"
    assert answer.confidence >= 0.6
    assert len(answer.candidates) < 8
