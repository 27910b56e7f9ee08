import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from outthink.core.errors import BadInput
from outthink.select.entropy import inverse, mean_entropy, semantic_entropy, token_entropy


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=8), st.floats(-5, 0))
def test_it_is_that_of_the_known_tokens_made_to_sum_to_one(weights, shift):
    # what the k likeliest sum to does not count: only what they are to each other
    logp = np.log(weights) + shift
    assert token_entropy(logp) == pytest.approx(entropy(weights, base=2), abs=1e-12)


def test_certainty_is_0_and_k_even_tokens_are_log2_k():
    assert token_entropy([[0.0, -np.inf, -np.inf]]).tolist() == [0.0]
    assert token_entropy(np.full((2, 8), np.log(1 / 8))) == pytest.approx([3.0, 3.0])
    assert token_entropy([[-0.7, -np.inf]]).tolist() == token_entropy([[-0.7]]).tolist() == [0.0]


def test_what_lies_beyond_the_k_likeliest_is_left_out_so_it_rises_with_k():
    p = np.sort(np.random.default_rng(0).dirichlet(np.full(50, 0.2), 200), axis=1)[:, ::-1]
    rising = np.array([token_entropy(np.log(p[:, :k])) for k in (1, 2, 5, 20, 50)])
    assert (np.diff(rising, axis=0) >= 0).all()
    assert rising[-1] == pytest.approx(entropy(p, base=2, axis=1))


def test_the_mean_is_over_the_tokens_of_a_text():
    rows = np.log([[0.5, 0.5], [1.0, 1e-300]])
    assert mean_entropy(rows) == pytest.approx(0.5)
    assert np.isnan(mean_entropy(np.zeros((0, 20))))
    # a token of which the server told nothing is not counted
    assert mean_entropy(np.vstack([rows, np.full((1, 2), -np.inf)])) == pytest.approx(0.5)
    assert np.isnan(mean_entropy(np.full((3, 2), -np.inf)))


def test_weights_fall_as_the_entropy_rises_and_never_are_infinite():
    w = inverse([0.0, 0.1, 0.2, np.nan])
    assert np.isfinite(w).all()
    assert w[0] > w[1] > w[2] > w[3] == 0
    assert w[1] == pytest.approx(10.0)


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=9))
def test_semantic_entropy_is_that_of_the_shares_of_classes(classes):
    counts = np.unique(classes, return_counts=True)[1]
    assert semantic_entropy(classes) == pytest.approx(entropy(counts), abs=1e-12)
    # neither the order of the samples nor the names of the classes count
    turned = [7 - c for c in classes[::-1]]
    assert semantic_entropy(turned) == pytest.approx(semantic_entropy(classes), abs=1e-12)


def test_semantic_entropy_of_many_rounds_at_once():
    found = semantic_entropy([[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 2, -1]])
    assert found == pytest.approx([0.0, np.log(2), np.log(4)])


def test_wrong_input_says_what_is_wrong():
    with pytest.raises(BadInput, match="log-probabilities"):
        token_entropy(np.zeros((3, 0)))
    with pytest.raises(BadInput, match="needs answers"):
        semantic_entropy([])
