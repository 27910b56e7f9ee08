import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.lab.pools import Pools
from outthink.laws.base import Law
from outthink.laws.split import best_of_subsets, fit_split, verdicts_of
from outthink.select.coverage import best_at_k, pass_at_k


@given(st.integers(1, 12), st.data())
@settings(max_examples=50, deadline=None)
def test_many_sizes_at_once_are_each_the_best_of_a_subset(n, data):
    scores = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=float)
    right = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    sizes = list(range(1, n + 1))
    ours = best_of_subsets(scores, right, sizes)
    assert ours == pytest.approx([best_at_k(scores, right, k) for k in sizes])


def simulated(quality, sharpness, problems=50, solutions=64, verdicts=16, seed=0):
    """A solution says yes with a chance around ``quality`` if right, its complement if wrong."""
    rng = np.random.default_rng(seed)
    p = rng.beta(0.5, 1.2, problems)
    right = rng.random((problems, solutions)) < p[:, None]
    classes = np.where(right, 0, rng.integers(1, 11, right.shape))
    mean = np.where(right, quality, 1 - quality)
    yes = rng.beta(sharpness * mean, sharpness * (1 - mean))
    said = rng.random((*right.shape, verdicts)) < yes[:, :, None]
    return right, said.astype(float), classes


def test_one_verdict_a_solution_that_is_never_wrong_is_coverage():
    right, _, _ = simulated(0.8, 4)
    law = fit_split(right, right[:, :, None].astype(float), 1.0, draws=0)
    assert law.best.verdicts.tolist() == [1.0] * len(law.budgets)
    for i, s in enumerate(law.best.solutions.astype(int)):
        cover = np.mean([pass_at_k(64, int(c), int(s)) for c in right.sum(axis=1)])
        assert law.best.success[i] == pytest.approx(cover)


def test_no_budget_is_overdrawn_and_the_best_is_the_best():
    right, said, classes = simulated(0.75, 6)
    law = fit_split(right, said, 2.0, classes, draws=10)
    assert (law.best.solutions * (1 + 2 * law.best.verdicts) <= law.budgets + 1e-9).all()
    mean = law.success.mean(axis=0)
    assert law.best.success == pytest.approx(np.nanmax(mean, axis=1))


def test_a_sharper_verifier_wants_more_solutions_and_fewer_verdicts():
    exponents = []
    for sharpness in (1, 12):
        runs = [fit_split(*simulated(0.75, sharpness, seed=s)[:2], 1.0, draws=0, shuffles=3)
                for s in range(3)]  # fmt: skip
        exponents.append(np.mean([(law.a.value, law.b.value) for law in runs], axis=0))
    assert exponents[1][0] > exponents[0][0]
    # where verdicts of one solution agree, more of them say nothing new
    blunt, sharp = exponents
    assert sharp[0] > sharp[1]
    assert sharp[0] - sharp[1] > blunt[0] - blunt[1]


def test_verification_overtakes_the_vote_as_the_budget_grows():
    right, said, classes = simulated(0.8, 6, problems=80)
    law = fit_split(right, said, 1.0, classes, draws=0)
    voted = np.isfinite(law.vote).all(axis=0)
    ahead = law.best.success[voted] - law.vote[:, voted].mean(axis=0)
    assert ahead[0] < ahead[-1]
    assert ahead[-1] > 0


def test_it_keeps_the_protocol(tmp_path):
    right, said, classes = simulated(0.75, 6, problems=20, solutions=32, verdicts=8)
    law = fit_split(right, said, 1.0, classes, draws=20)
    assert isinstance(law, Law)
    assert law.residuals.shape == law.budgets.shape
    assert law.a.low <= law.a.high
    assert law.plot(tmp_path / "split.png").stat().st_size > 10_000
    assert law.to_json()["law"] == "split"


def test_wrong_input_says_what_is_wrong():
    right, said, _ = simulated(0.75, 6, problems=4, solutions=8, verdicts=2)
    with pytest.raises(BadInput, match=r"verdicts \(problems, S, V\)"):
        fit_split(right, said[:, :, 0], 1.0)
    with pytest.raises(BadInput, match="more than nothing"):
        fit_split(right, said, 0.0)
    with pytest.raises(BadInput, match="more solutions than are recorded"):
        fit_split(right, said, 1.0, budgets=[4, 1000])
    there = np.ones_like(right)
    pools = Pools(right.astype(np.int32), right, there * 1.0, there, tuple("abcd"),
                  {"judge.0": said[:, :, 0], "judge.1": said[:, :, 1]})  # fmt: skip
    assert np.array_equal(verdicts_of(pools, "judge"), said)
    with pytest.raises(BadInput, match=r"there are: judge\.0, judge\.1"):
        verdicts_of(pools, "other")
