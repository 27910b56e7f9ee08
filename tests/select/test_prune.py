"""Of chains that are alike one stays, and what goes has an heir that it is like."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from outthink.select.prune import heirs, sameness


def one_by_one(similarity, worth, threshold, alive):
    """The rule for one set of chains, as it is told."""
    n, stays, heir = len(worth), [], list(range(n_ := len(worth)))
    for i in sorted(range(n_), key=lambda i: (-worth[i], i)):
        if not alive[i]:
            continue
        like = [j for j in stays if similarity[i][j] >= threshold]
        if like:
            heir[i] = like[0]  # of those that stay the one of most worth came first
        else:
            stays.append(i)
    assert n == len(heir)
    return heir


def made_up(seed, rows, n):
    rng = np.random.default_rng(seed)
    similarity = rng.integers(0, 5, (rows, n, n)) / 4
    similarity = np.maximum(similarity, np.swapaxes(similarity, 1, 2))
    similarity[:, np.arange(n), np.arange(n)] = 1.0
    return similarity, rng.integers(0, 4, (rows, n)) / 2, rng.random((rows, n)) < 0.8


@given(st.integers(0, 10**6), st.integers(1, 9), st.sampled_from([0.25, 0.5, 0.75, 1.0, 1.5]))
def test_many_sets_at_once_are_settled_as_one_by_one(seed, n, threshold):
    similarity, worth, alive = made_up(seed, 5, n)
    found = heirs(similarity, worth, threshold, alive)
    for k in range(5):
        assert found[k].tolist() == one_by_one(similarity[k], worth[k], threshold, alive[k])


@given(st.integers(0, 10**6), st.integers(1, 9))
def test_no_two_that_stay_are_alike_and_what_goes_is_like_its_heir(seed, n):
    (similarity,), (worth,), _ = made_up(seed, 1, n)
    heir = heirs(similarity, worth, 0.75)
    stays = np.flatnonzero(heir == np.arange(n))
    assert len(stays) >= 1
    between = similarity[np.ix_(stays, stays)] - np.eye(len(stays))
    assert (between < 0.75).all()
    for i in range(n):
        assert heir[heir[i]] == heir[i]
        assert similarity[i, heir[i]] >= 0.75
        assert worth[heir[i]] >= worth[i]


def test_nobody_goes_above_every_similarity_and_one_stays_below_all():
    similarity, worth, _ = made_up(1, 3, 6)
    assert (heirs(similarity, worth, 1.01) == np.arange(6)).all()
    assert (heirs(similarity, worth, 0.0) == worth.argmax(axis=-1)[:, None]).all()


def test_the_names_of_the_chains_do_not_matter():
    (similarity,), _, _ = made_up(2, 1, 8)
    worth = np.random.default_rng(0).permutation(8).astype(float)
    order = np.random.default_rng(3).permutation(8)
    plain = heirs(similarity, worth, 0.8)
    renamed = heirs(similarity[np.ix_(order, order)], worth[order], 0.8)
    assert (order[renamed] == plain[order]).all()


def test_one_set_of_pairs_serves_many_draws_of_worth():
    (similarity,), _, _ = made_up(4, 1, 7)
    worth = np.random.default_rng(0).random((50, 7))
    found = heirs(similarity, worth, 0.75)
    assert all((found[k] == heirs(similarity, worth[k], 0.75)).all() for k in range(50))
    assert len({tuple(row) for row in found}) > 1


def test_how_alike_thoughts_are_is_the_mean_over_their_pairs():
    (similarity,), _, _ = made_up(5, 1, 5)
    pairs = [similarity[i, j] for i in range(5) for j in range(i)]
    assert np.isclose(sameness(similarity), np.mean(pairs))
    assert sameness(np.ones((1, 1))) == 0
    assert np.allclose(sameness(np.stack([similarity, np.ones((5, 5))])), [np.mean(pairs), 1])
