"""Farthest-point choice: against trying every set, and what it must not depend on."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.errors import BadInput
from outthink.select.diverse import farthest, ngram_distances

points = st.lists(
    st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=8, unique=True
)


def distances(some):
    p = np.array(some, dtype=np.float64)
    return np.sqrt(((p[:, None] - p[None]) ** 2).sum(axis=-1))


def least(d, chosen):
    return min(d[i, j] for i, j in combinations(chosen, 2))


@given(points, st.integers(2, 8))
def test_it_is_at_least_half_as_spread_as_the_best_set_there_is(some, k):
    d, k = distances(some), min(k, len(some))
    chosen = farthest(d, k).tolist()
    assert len(set(chosen)) == k
    best = max(least(d, s) for s in combinations(range(len(some)), k))
    assert least(d, chosen) >= best / 2 - 1e-9


@given(points, st.integers(1, 8))
def test_every_next_one_is_the_farthest_from_those_before(some, k):
    d = distances(some)
    chosen = farthest(d, min(k, len(some))).tolist()
    assert d[chosen[0]].sum() == pytest.approx(d.sum(axis=1).min())
    for t in range(1, len(chosen)):
        gap = d[:, chosen[:t]].min(axis=1)
        assert gap[chosen[t]] == pytest.approx(gap.max())


def test_of_copies_one_is_taken_before_any_twice():
    texts = ["a + b = 3"] * 5 + ["zz yy xx"] + ["a - b = 9 left"]
    chosen = farthest(ngram_distances(texts), 3).tolist()
    assert {texts[i] for i in chosen} == set(texts)
    assert sorted(farthest(ngram_distances(texts), 7).tolist()) == list(range(7))
    assert farthest(ngram_distances(["same"] * 3), 2).tolist() == [0, 1]


def test_many_matrices_at_once_are_each_as_alone():
    rng = np.random.default_rng(0)
    stack = np.stack([distances(rng.normal(size=(6, 2))) for _ in range(5)])
    together = farthest(stack, 4)
    assert [row.tolist() for row in together] == [farthest(d, 4).tolist() for d in stack]


@given(st.lists(st.text(max_size=12), min_size=1, max_size=5))
def test_distances_of_texts_are_symmetric_and_0_for_the_same_text(texts):
    d = ngram_distances([*texts, texts[0]])
    assert d == pytest.approx(d.T)
    assert ((d >= 0) & (d <= 1)).all()
    assert d[0, -1] == 0
    assert (np.diag(d) == 0).all()


def test_texts_without_a_gram_in_common_are_at_distance_1():
    assert ngram_distances(["one two", "three four"])[0, 1] == 1.0


def test_what_cannot_be_chosen_is_refused():
    with pytest.raises(BadInput, match="k=4: choose from 1 to 3"):
        farthest(np.zeros((3, 3)), 4)
    with pytest.raises(BadInput, match="one row and one column"):
        farthest(np.zeros((3, 2)), 1)
