import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from outthink.core.errors import BadInput
from outthink.models.inside import log_softmax
from outthink.select.logit_shift import fit_shift, loss_at, token_basis


def drawn(seed, tokens=40, vocabulary=12, delta=None, temperature=1.0):
    """Logits, and tokens drawn from them after a shift and at a temperature."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(tokens, vocabulary)) * 2
    u = (z + (0 if delta is None else delta)) / temperature
    y = (u + rng.gumbel(size=u.shape)).argmax(axis=1)
    return z, y


@given(st.integers(0, 10**6), st.floats(0.4, 2.0), st.floats(0.0, 1.0), st.booleans())
def test_the_gradient_is_that_of_the_loss(seed, temperature, penalty, hidden):
    z, y = drawn(seed)
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(5, 12)) if hidden else token_basis(y, 12)
    delta = rng.normal(size=len(basis))
    at = loss_at(delta, temperature, z, y, basis, penalty)

    def value(x):
        return loss_at(x[:-1], np.exp(x[-1]), z, y, basis, penalty).loss

    x = np.append(delta, np.log(temperature))
    near = 1e-6 * np.eye(len(x))
    found = [(value(x + e) - value(x - e)) / 2e-6 for e in near]
    assert at.gradient == pytest.approx(found, abs=1e-6)
    assert np.linalg.eigvalsh(at.curvature).min() > -1e-9


def test_the_curvature_is_what_is_expected_of_the_gradient_s_slope():
    # over tokens drawn from the shifted logits themselves, the gradient's derivative averages to it
    z, _ = drawn(1, tokens=1, vocabulary=4)
    delta, temperature, basis = np.array([0.3, -0.5, 0.2, 0.0]), 0.8, np.eye(4)
    p = np.exp(log_softmax((z[0] + delta) / temperature))

    def expected(x):
        all_of_them = [loss_at(x[:-1], np.exp(x[-1]), z, np.array([v]), basis) for v in range(4)]
        return sum(share * at.gradient for share, at in zip(p, all_of_them, strict=True))

    x = np.append(delta, np.log(temperature))
    slopes = [(expected(x + e) - expected(x - e)) / 2e-5 for e in 1e-5 * np.eye(5)]
    found = loss_at(delta, temperature, z, np.array([0]), basis).curvature
    assert np.array(slopes) == pytest.approx(found, abs=1e-5)


@pytest.mark.parametrize("fit", ["both", "shift", "temperature"])
def test_it_finds_the_least_loss_and_never_rises(fit):
    z, y = drawn(3, delta=np.linspace(-1, 1, 12), temperature=0.7)
    basis = token_basis(y, 12)
    found = fit_shift(z, y, basis, penalty=1e-2, fit=fit)
    assert (np.diff(found.losses) < 0).all()

    def value(x):
        delta = x[:-1] * (fit != "temperature")
        warmth = x[-1] * (fit != "shift")
        return loss_at(delta, np.exp(warmth), z, y, basis, 1e-2).loss

    bounds = [(None, None)] * len(basis) + [(np.log(0.3), np.log(1.5))]
    least = minimize(value, np.zeros(len(basis) + 1), bounds=bounds).fun
    assert found.losses[-1] == pytest.approx(least, abs=1e-6)
    assert (found.delta == 0).all() or fit != "temperature"
    assert found.temperature == 1 or fit != "shift"


def test_what_made_the_texts_is_found_again():
    delta = np.array([2.0, -1.0, 0.0, 0.5, -1.5, 0.0])
    z, y = drawn(0, tokens=40_000, vocabulary=6, delta=delta, temperature=0.6)
    found = fit_shift(z, y, np.eye(6), penalty=0.0)
    # a shift of all logits changes nothing
    moved = found.delta - found.delta.mean() - (delta - delta.mean())
    assert abs(moved).max() < 0.1
    assert found.temperature == pytest.approx(0.6, abs=0.02)


def test_a_heavy_penalty_leaves_only_the_temperature():
    z, y = drawn(4, temperature=0.5)
    alone = fit_shift(z, y, token_basis(y, 12), fit="temperature")
    held = fit_shift(z, y, token_basis(y, 12), penalty=1e6)
    assert abs(held.bias).max() < 1e-4
    assert held.temperature == pytest.approx(alone.temperature, abs=1e-3)


def test_the_temperature_stays_within_its_bounds():
    z, _ = drawn(5)
    likeliest = z.argmax(axis=1)
    cold = fit_shift(z, likeliest, token_basis(likeliest, 12), bounds=(0.4, 1.5))
    assert cold.temperature == pytest.approx(0.4)
    rare = z.argmin(axis=1)
    warm = fit_shift(z, rare, token_basis(rare, 12), penalty=100.0)
    assert warm.temperature == pytest.approx(1.5)


def test_only_the_tokens_that_occur_are_moved():
    z, y = drawn(6, tokens=5, vocabulary=30)
    found = fit_shift(z, y, token_basis(y, 30))
    assert set(np.flatnonzero(found.bias)) <= set(y)
    assert token_basis([3, 1, 3], 5).tolist() == [[0, 1, 0, 0, 0], [0, 0, 0, 1, 0]]


def test_the_order_of_tokens_and_what_every_logit_shares_are_nothing_to_it():
    z, y = drawn(7)
    basis, order = token_basis(y, 12), np.random.default_rng(0).permutation(len(y))
    first = fit_shift(z, y, basis)
    again = fit_shift((z + 5.0)[order], y[order], basis)
    assert again.bias == pytest.approx(first.bias, abs=1e-6)
    assert again.temperature == pytest.approx(first.temperature, abs=1e-6)


def test_wrong_input_says_what_is_wrong():
    z, y = drawn(8)
    with pytest.raises(BadInput, match="tokens, vocabulary"):
        fit_shift(z, y[:-1], np.eye(12))
    with pytest.raises(BadInput, match="start=2 must lie"):
        fit_shift(z, y, np.eye(12), start=2.0)
    with pytest.raises(BadInput, match="penalty=-1"):
        fit_shift(z, y, np.eye(12), penalty=-1.0)
