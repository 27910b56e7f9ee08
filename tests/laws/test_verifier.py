import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta as beta_of

from outthink.core.errors import BadInput
from outthink.lab.pools import Pools
from outthink.laws.base import Law
from outthink.laws.verifier import accepted_by, fit_verifier, jacobi, resample, resample_observed

chance = st.floats(0.01, 0.99)


@given(chance, chance, chance, st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_the_closed_form_is_the_sum_over_all_outcomes(p, f, g, n):
    kinds = {"good": p * (1 - g), "bad": (1 - p) * f}
    kinds["none"] = 1 - sum(kinds.values())
    right = wrong = drawn = 0.0
    for path in itertools.product(kinds, repeat=n):
        weight = np.prod([kinds[kind] for kind in path])
        first = next((i for i, kind in enumerate(path) if kind != "none"), None)
        drawn += weight * (n if first is None else first + 1)
        if first is not None:
            right += weight * (path[first] == "good")
            wrong += weight * (path[first] == "bad")
    assert [float(v) for v in resample(p, f, g, n)] == pytest.approx([right, wrong, drawn])


@given(chance, chance, chance)
def test_no_budget_lifts_it_over_the_verifiers_precision(p, f, g):
    precision = p * (1 - g) / (p * (1 - g) + (1 - p) * f)
    assert float(resample(p, f, g, np.inf).right) == pytest.approx(precision)
    assert float(resample(p, f, g, 50).right) <= precision + 1e-12


def test_limits_of_the_verifier():
    # a perfect one: coverage
    assert float(resample(0.1, 0, 0, 20).right) == pytest.approx(1 - 0.9**20)
    # one that takes all: one sample
    assert float(resample(0.1, 1, 0, 20).right) == pytest.approx(0.1)
    # one that takes none
    assert [float(v) for v in resample(0.1, 0, 1, 20)] == [0, 0, 20]
    assert resample(0.1, 0, 1, np.inf).samples == np.inf


@given(st.integers(2, 6), st.data())
@settings(max_examples=30, deadline=None)
def test_recorded_samples_are_averaged_over_all_their_orders(size, data):
    accepted = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    right = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    n = data.draw(st.integers(1, size))
    rows = []
    for order in itertools.permutations(range(size)):
        taken = [i for i in order[:n] if accepted[i]]
        steps = next((j + 1 for j, i in enumerate(order[:n]) if accepted[i]), n)
        rows.append([bool(taken) and right[taken[0]], bool(taken) and not right[taken[0]], steps])
    found = resample_observed(accepted[None], right[None], np.ones((1, size), dtype=bool), n)
    assert [float(v[0, 0]) for v in found] == pytest.approx(np.mean(rows, axis=0))


@pytest.mark.parametrize("pair", [(0.3, 2.0), (5.0, 1.0), (900.0, 3000.0)])
def test_the_quadrature_has_the_moments_of_the_beta(pair):
    x, w = jacobi(*pair, 24)
    for power in (0, 1, 2, 5):
        assert w @ x**power == pytest.approx(beta_of(*pair).moment(power) if power else 1)


def simulated(problems=400, n=40, correlated=False, seed=0):
    """Problems with p ~ Beta(0.6, 1.2), f ~ Beta(2, 8), g ~ Beta(2, 10); or f high where p is low."""
    rng = np.random.default_rng(seed)
    p = rng.beta(0.6, 1.2, problems)
    f = 0.5 * (1 - p) ** 3 if correlated else rng.beta(2, 8, problems)
    g = rng.beta(2, 10, problems)
    right = rng.random((problems, n)) < p[:, None]
    taken = rng.random((problems, n)) < np.where(right, 1 - g[:, None], f[:, None])
    shape = right.shape
    pools = Pools(
        right.astype(np.int32), right, np.ones(shape), np.ones(shape, dtype=bool),
        tuple(map(str, range(problems))), {"tests": taken.astype(float)},
    )  # fmt: skip
    return pools, (p, f, g)


def test_the_law_finds_what_it_was_made_from():
    pools, (p, f, g) = simulated()
    law = fit_verifier(pools, draws=50)
    n = [1, 10, 100, 1000]
    truth = resample(*(v[:, None] for v in (p, f, g)), n).right.mean(axis=0)
    assert law.predict(n).value == pytest.approx(truth, abs=0.015)
    wrong = resample(*(v[:, None] for v in (p, f, g)), n).wrong.mean(axis=0)
    assert law.outcome(n).wrong == pytest.approx(wrong, abs=0.015)
    for name, rates, weight in (("p", p, 1), ("f", f, 1 - p), ("g", g, p)):
        found = law.parameters[name]
        assert found.low < (rates * weight).mean() / np.mean(weight) < found.high


def test_cost_of_errors_makes_the_best_n_small():
    pools, _ = simulated(120, correlated=True)
    law = fit_verifier(pools, draws=0)
    best = [law.best_n(cost) for cost in (0, 0.5, 1, 2, 4)]
    assert best[0] == 40
    assert best == sorted(best, reverse=True)
    assert 0 < best[2] < 40
    # one problem alone has no best n inside: it only rises, or only falls
    for p, sign in ((0.6, 1), (0.2, -1)):
        worth = resample(p, 0.4, 0.0, np.arange(1, 200)).worth(1.0)
        assert (np.sign(np.diff(worth[:20])) == sign).all()
    # a price of samples bounds what is otherwise endless
    assert law.best_n(0, price=0.1) < 40


def test_tests_as_a_verifier_on_recorded_programs(recorded, data):
    """Passing the first 1, 3, 5 of the model's own tests, at n = 1, 10, 100."""
    pools = recorded("codet_humaneval")
    matrix = np.load(data / "codet_humaneval" / "test_matrix.npz")
    passed = np.unpackbits(matrix["passed"], axis=-1)[:, :, :40].astype(bool)
    n_tests = matrix["n_tests"]
    wanted = {
        1: ([0.121, 0.175, 0.184], [0.167, 0.392, 0.499]),
        3: ([0.061, 0.092, 0.099], [0.037, 0.131, 0.212]),
        5: ([0.036, 0.059, 0.060], [0.017, 0.071, 0.105]),
    }
    for first, (right, wrong) in wanted.items():
        real = np.minimum(first, n_tests)[:, None, None]
        seen = passed | (np.arange(40) >= real)
        accepted = seen.all(axis=2) & (real[:, :, 0] > 0)
        found = resample_observed(accepted, pools.right, pools.present, [1, 10, 100])
        assert found.right.mean(axis=0) == pytest.approx(right, abs=6e-4)
        assert found.wrong.mean(axis=0) == pytest.approx(wrong, abs=6e-4)
        scored = Pools(
            pools.classes, pools.right, pools.tokens, pools.present, pools.problems,
            {"first": accepted.astype(float)},
        )  # fmt: skip
        law = fit_verifier(scored, draws=0)
        # within the samples the law is near them; at a cost of a half few tries are best
        assert np.abs(law.residuals).max() < 0.015
        assert law.best_n(0.5) <= 3


def test_it_keeps_the_protocol(tmp_path):
    pools, _ = simulated(60, 20)
    law = fit_verifier(pools, draws=20)
    assert isinstance(law, Law)
    assert law.residuals.shape == law.n.shape
    assert law.plot(tmp_path / "verifier.png").stat().st_size > 10_000
    assert set(law.to_json()["mixtures"]) == {"p", "f", "g"}


def test_wrong_input_says_what_is_wrong():
    pools, _ = simulated(10, 5)
    with pytest.raises(BadInput, match="did you mean 'tests'"):
        fit_verifier(pools, "test")
    with pytest.raises(BadInput, match="chances"):
        resample(1.2, 0, 0, 3)
    only = Pools(pools.classes, pools.right | True, pools.tokens, pools.present, pools.problems,
                 dict(pools.scores))  # fmt: skip
    with pytest.raises(BadInput, match="both right and wrong"):
        fit_verifier(only)
    assert accepted_by(pools, None, 0.5).shape == pools.right.shape
