import numpy as np
import pytest
from scipy.optimize import approx_fprime

from outthink.core.errors import BadInput
from outthink.laws.base import Law
from outthink.laws.chinchilla import HOFFMANN, _objective, fit_loss, read_runs


@pytest.fixture(scope="module")
def refit(data):
    runs = read_runs(data / "chinchilla" / "svg_extracted_data.csv")
    return fit_loss(*runs, drop=5, draws=150)


def test_the_published_refit_comes_out(refit):
    """S148's points without the five highest losses; A and B move far for little in the loss."""
    found = {name: e.value for name, e in refit.parameters.items()}
    assert refit.objective == pytest.approx(0.0010183, rel=1e-3)
    assert found["E"] == pytest.approx(1.817, abs=1e-3)
    assert found["alpha"] == pytest.approx(0.347, abs=1e-3)
    assert found["beta"] == pytest.approx(0.367, abs=1e-3)
    assert found["A"] == pytest.approx(477, rel=0.01)
    assert found["B"] == pytest.approx(2141, rel=0.01)
    assert found["exponent"] == pytest.approx(0.513, abs=2e-3)


def test_its_intervals_are_as_wide_as_the_published_ones(refit):
    # standard errors of S148: E 0.026, alpha 0.015, beta 0.021, exponent 0.020
    published = {"E": 0.026, "alpha": 0.015, "beta": 0.021, "exponent": 0.020}
    for name, error in published.items():
        found = refit.parameters[name]
        assert (found.high - found.low) / (2 * 1.96) == pytest.approx(error, rel=0.35)


def test_hoffmanns_constants_do_not_fit_hoffmanns_points(refit):
    """Chi-squared of 5 degrees: 20.5 has p = 0.001."""
    assert refit.distance(HOFFMANN) > 100
    a, b, e, alpha, beta = HOFFMANN
    theirs = e + a / refit.size**alpha + b / refit.tokens**beta
    assert np.mean(refit.loss - theirs) < -0.03
    assert np.abs(refit.loss - theirs).mean() > 3 * np.abs(refit.residuals * refit.loss).mean()


def simulated(noise, runs=200, seed=0):
    rng = np.random.default_rng(seed)
    size, tokens = np.exp(rng.uniform(17, 23, runs)), np.exp(rng.uniform(20, 26, runs))
    loss = 1.7 + 400 / size**0.34 + 900 / tokens**0.33
    return size, tokens, loss * np.exp(noise * rng.standard_normal(runs))


def test_exact_points_give_exact_constants():
    law = fit_loss(*simulated(0.0), draws=0)
    assert law.predict([[1e9, 1e10]]).value[0] == pytest.approx(
        1.7 + 400 / 1e9**0.34 + 900 / 1e10**0.33, rel=1e-5
    )
    assert law.parameters["alpha"].value == pytest.approx(0.34, rel=2e-3)


def test_noise_is_seen_through_within_the_interval():
    law = fit_loss(*simulated(0.01), draws=60)
    for name, truth in {"E": 1.7, "alpha": 0.34, "beta": 0.33}.items():
        found = law.parameters[name]
        width = found.high - found.low
        assert found.low - width < truth < found.high + width


def test_the_best_size_has_the_lowest_loss_on_its_budget():
    law = fit_loss(*simulated(0.0), draws=0)
    budget = 1e20
    best = law.optimum(budget).value[0]

    def loss(size):
        return law.predict([[size, budget / (6 * size)]]).value[0]

    assert loss(best) < loss(1.05 * best)
    assert loss(best) < loss(best / 1.05)


def test_the_gradient_is_that_of_the_objective():
    n, d, y = (np.log(v) for v in simulated(0.02, 40))
    theta = np.array([6.0, 7.0, 0.5, 0.33, 0.35])
    slope = approx_fprime(theta, lambda t: _objective(t, n, d, y)[0], 1e-8)
    assert _objective(theta, n, d, y)[1] == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_it_keeps_the_protocol(refit, tmp_path):
    assert isinstance(refit, Law)
    assert refit.residuals.shape == (240,)
    assert refit.plot(tmp_path / "chinchilla.png").stat().st_size > 10_000
    assert refit.to_json()["runs"] == 240


def test_wrong_input_says_what_is_wrong(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("size,tokens\n1,2\n")
    with pytest.raises(BadInput, match="needs columns size, tokens and loss; it has: size, tokens"):
        read_runs(path)
    path.write_text("size,tokens,loss\n1,2,high\n")
    with pytest.raises(BadInput, match="column loss"):
        read_runs(path)
    with pytest.raises(BadInput, match="too few"):
        fit_loss([1e9] * 9, [1e9] * 9, [2.0] * 9)
    with pytest.raises(BadInput, match="above 0"):
        fit_loss([0.0], [1.0], [1.0])
