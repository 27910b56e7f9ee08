"""CarBoN: its limits, what is fitted, and what the fit does to the second half."""

import anyio
import numpy as np
import pytest

import outthink
from outthink.core.errors import BadInput, MissingNeed
from outthink.core.registry import build
from outthink.tasks import chain
from outthink.testing import check_strategy

PROBLEM = chain.make(6, 50, 3)


def solve(n=8, seed=0, **params):
    more = "".join(f", {k}={v}" for k, v in params.items())
    spec = f"carbon(n={n}, verifier=prm{more})"
    notes = []

    def watch(kind, data):
        if kind == "calibrated":
            notes.append(data)

    async def main():
        return await outthink.asolve(PROBLEM.question, strategy=spec, seed=seed, observer=watch)

    return anyio.run(main), notes


def test_it_keeps_the_laws_of_a_strategy():
    check_strategy("carbon(n=2, k=1, verifier=prm)", "fly")


def test_it_needs_logits_and_a_verifier_before_anything_is_spent():
    with pytest.raises(MissingNeed, match="LOGITS"):
        outthink.solve(
            "x?", model="simulated", strategy="carbon(verifier=prm(model=simulated_prm))"
        )
    with pytest.raises(MissingNeed, match="verifier"):
        outthink.solve(PROBLEM.question, strategy="carbon")
    for wrong in ("explore=1.5", "temperature=0.1", "penalty=-1", "k=0"):
        with pytest.raises(BadInput, match=wrong.split("=")[0]):
            build(f"carbon(verifier=prm, {wrong})", "strategy")
    with pytest.raises(BadInput, match="judges at the end"):
        build("carbon(guide=prm)", "strategy")


def test_all_explored_is_best_of_n():
    best = outthink.solve(PROBLEM.question, strategy="best_of_n(n=8, verifier=prm)")
    found, fits = solve(explore=1.0)
    assert not fits
    assert (found.text, found.distribution) == (best.text, best.distribution)


def test_the_first_half_are_the_plain_samples_and_all_are_chosen_from():
    plain = outthink.solve(PROBLEM.question, strategy="self_consistency(n=4)")
    found, fits = solve()
    assert len(found.candidates) == 8
    assert len(fits) == 1
    assert [s.text for s in found.candidates[:4]] == [s.text for s in plain.candidates]
    scores = found.scores["verifier"]
    assert found.text == found.candidates[int(np.argmax(scores))].text
    # what is kept of the exploration holds the result up
    assert max(scores) >= max(scores[:4])


def test_a_penalty_without_end_leaves_the_shift_at_nothing():
    for shift in ("hidden", "tokens"):
        held, _ = solve(fit="shift", penalty=1e9, shift=shift)
        plain = outthink.solve(PROBLEM.question, strategy="self_consistency(n=8)")
        assert [s.text for s in held.candidates] == [s.text for s in plain.candidates]


def test_the_second_half_is_drawn_from_the_fitted_model():
    # with no penalty and one text to fit to, what comes after is that text again and again
    greedy, fits = solve(n=12, k=1, penalty=0.0, explore=0.25)
    first, rest = greedy.candidates[:3], greedy.candidates[3:]
    best = first[int(np.argmax(greedy.scores["verifier"][:3]))].text
    assert fits[0]["temperature"] < 0.9
    assert fits[0]["losses"][-1] < fits[0]["losses"][0]
    assert np.mean([s.text == best for s in rest]) >= 0.5


def test_a_guide_may_choose_what_is_fitted_to():
    alone, fits = solve(k=1)
    same, again = solve(guide="prm", k=1)
    assert [s.text for s in same.candidates] == [s.text for s in alone.candidates]
    assert again == fits
    other, moved = solve(guide="flawed(prm, noise=100, seed=1)", k=1)
    assert [s.text for s in other.candidates[:4]] == [s.text for s in alone.candidates[:4]]
    assert moved != fits
    # the guide has no say at the end
    scores = np.array(other.scores["verifier"])
    assert other.text == other.candidates[int(scores.argmax())].text
