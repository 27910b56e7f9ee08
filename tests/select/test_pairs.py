"""A judge of pairs learns what it is shown, weighs both kinds alike, and is a utility like others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.core.registry import build, spec_of
from outthink.select.calibration import auroc
from outthink.select.pairs import SameEnd, features, fit_pairs
from outthink.select.utilities import utility_matrix

TEXTS = st.lists(st.text("12 +=\nab", max_size=20), min_size=1, max_size=5)


@given(TEXTS)
def test_features_are_symmetric_and_between_0_and_1(texts):
    x = features(texts)
    assert x.shape == (len(texts), len(texts), 3)
    assert np.allclose(x, np.swapaxes(x, 0, 1))
    assert (x >= 0).all()
    assert (x <= 1 + 1e-12).all()


def test_features_say_what_is_shared():
    same, ahead, other = (
        "5 * 2 = 10\n10 + 3 = 13\n",
        "5 * 2 = 10\n10 + 3 = 13\n13 - 1 = 1",
        "9 - 9 = 0\n",
    )
    x = features([same], [same, ahead, other])[0]
    assert x[0] == pytest.approx([1, 1, 1])
    assert x[1, 1] == len(same) / len(ahead)
    assert x[1, 2] == 1  # its last whole line is the other's
    assert x[2, 2] == 0
    assert x[2, 0] < x[1, 0] < 1


def drawn(weights, count, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random((count, 3))
    p = 1 / (1 + np.exp(-(weights[0] + x @ np.array(weights[1:]))))
    return x, (rng.random(count) < p).astype(float)


def test_the_fit_finds_the_weights_that_made_the_labels():
    weights = (-1.5, 3.0, -2.0, 1.0)
    x, y = drawn(weights, 200_000)
    found = fit_pairs(x, y, ridge=0.0)
    assert found[1:] == pytest.approx(weights[1:], abs=0.06)
    # even odds of both kinds: the offset moves by the log of the odds that there were
    assert found[0] == pytest.approx(weights[0] - np.log(y.mean() / (1 - y.mean())), abs=0.06)


def test_how_many_there_are_of_a_kind_does_not_matter():
    x, y = drawn((-1.0, 2.0, 0.0, 1.0), 2_000)
    often = np.concatenate([np.arange(2_000), *[np.flatnonzero(y == 0)] * 4])
    assert fit_pairs(x[often], y[often]) == pytest.approx(fit_pairs(x, y), abs=1e-6)


def test_weights_stay_finite_where_one_feature_tells_all():
    x = np.random.default_rng(0).random((500, 3))
    found = fit_pairs(x, x[:, 0] > 0.5)
    assert np.isfinite(found).all()
    assert auroc(x @ np.array(found[1:]), x[:, 0] > 0.5) > 0.99


def test_pairs_of_one_kind_teach_nothing():
    with pytest.raises(BadInput, match="both kinds"):
        fit_pairs(np.ones((4, 3)), np.ones(4))


def test_the_judge_is_a_utility_with_its_weights_in_its_spec():
    judge = build("same_end(weights=[-1, 0.5, 2, 0])", "utility")
    assert build(spec_of(judge), "utility") == judge
    texts = ["1 + 1 = 2\n", "1 + 1 = 3\n", "1 + 1 = 2\n"]
    u = utility_matrix(judge, texts, texts)
    assert np.allclose(u, u.T)
    assert u[0, 2] == pytest.approx(1 / (1 + np.exp(-1.5)))
    assert judge(texts[0], texts[1]) == pytest.approx(u[0, 1])
    assert u[0, 1] < u[0, 2]
    assert 0.5 < SameEnd()(texts[0], texts[0]) < 1
    with pytest.raises(BadInput, match="four numbers"):
        build("same_end(weights=[1])", "utility")
