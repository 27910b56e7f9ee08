"""Self-certainty and the vote of its ranks: closed forms, limits, and votes counted one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.select.certainty import borda_vote, rank_weights, self_certainty
from outthink.select.vote import majority


def test_a_uniform_prediction_has_none_and_it_rises_with_peakedness():
    v = 32
    uniform = np.full((5, v), -np.log(v))
    assert self_certainty(uniform) == pytest.approx(0.0, abs=1e-12)
    last = 0.0
    for sharpness in (0.5, 1.0, 2.0, 4.0):
        logits = -sharpness * np.arange(v, dtype=float)
        logp = logits - np.log(np.exp(logits).sum())
        now = self_certainty(np.tile(logp, (5, 1)))
        assert now > last
        last = now


def test_it_is_the_divergence_of_the_uniform_from_each_prediction():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(16), size=7)
    kl = (np.log(1 / 16 / p) / 16).sum(axis=1)
    assert self_certainty(np.log(p)) == pytest.approx(kl.mean())
    # places at which a server gave nothing say nothing
    told = np.vstack([np.log(p), np.full((1, 16), -np.inf)])
    assert self_certainty(told) == pytest.approx(kl.mean())
    assert np.isnan(self_certainty(np.zeros((0, 16))))


def counted(classes, scores, q):
    """The votes of the paper's code, in a loop; scores without ties."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    votes = {}
    for rank, i in enumerate(order, 1):
        if classes[i] >= 0:
            votes[classes[i]] = votes.get(classes[i], 0.0) + (len(scores) - rank + 1) ** q
    return votes


rows = st.integers(1, 9).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-1, 3), min_size=n, max_size=n),
        st.permutations(range(n)),
        st.floats(0, 4),
    )
)


@given(rows)
def test_it_agrees_with_the_votes_counted_one_by_one(row):
    classes, scores, q = np.array(row[0]), np.array(row[1], dtype=float), row[2]
    votes = counted(classes, scores, q)
    chosen = int(borda_vote(classes, scores, q))
    if not votes:
        assert chosen == scores.argmax()
        return
    assert votes[classes[chosen]] == pytest.approx(max(votes.values()))
    assert scores[chosen] == scores[classes == classes[chosen]].max()


@given(rows, st.randoms())
def test_neither_the_order_nor_the_names_matter(row, random):
    classes, scores, q = np.array(row[0]), np.array(row[1], dtype=float), row[2]
    order = list(range(len(classes)))
    random.shuffle(order)
    renamed = np.where(classes >= 0, 7 - classes, -1)[order]
    votes = sorted(counted(classes, scores, q).values())
    if len(votes) > 1 and np.isclose(votes[-1], votes[-2]):
        return
    again = order[int(borda_vote(renamed, scores[order], q))]
    assert again == int(borda_vote(classes, scores, q))


@given(rows)
def test_q_0_is_the_majority_and_a_large_q_the_surest(row):
    classes, scores = np.array(row[0]), np.array(row[1], dtype=float)
    plain = int(borda_vote(classes, scores, 0.0))
    assert classes[plain] == classes[majority(classes)]
    surest = int(borda_vote(classes, scores, 60.0))
    able = np.flatnonzero(classes >= 0) if (classes >= 0).any() else np.arange(len(classes))
    assert surest == able[scores[able].argmax()]


def test_equal_scores_give_equal_votes_and_nan_ranks_last():
    w = rank_weights(np.array([1.0, 1.0, 3.0, np.nan]), 1.0)
    assert w.tolist() == [0.625, 0.625, 1.0, 0.25]
    assert borda_vote(np.array([0, 1]), np.array([np.nan, np.nan])) == 0


def test_rows_are_judged_each_for_itself():
    rng = np.random.default_rng(1)
    classes, scores = rng.integers(-1, 3, (40, 6)), rng.random((40, 6))
    together = borda_vote(classes, scores, 0.7)
    assert together.tolist() == [
        int(borda_vote(c, s, 0.7)) for c, s in zip(classes, scores, strict=True)
    ]
