import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from outthink.core.errors import BadInput
from outthink.lab.pools import Pools
from outthink.laws.base import Law
from outthink.laws.vote import Ballot, fit_vote, vote_accuracy
from outthink.select.coverage import maj_at_k


def enumerated(weights, right, blank, n):
    """The vote's chance of being right, over all ways that n samples can fall."""
    q = np.array([*weights, blank], dtype=float)
    q /= q.sum()
    value = 0.0
    for votes in itertools.product(range(n + 1), repeat=len(q)):
        if sum(votes) != n or not max(votes[:-1]):
            continue
        chance = math.factorial(n)
        for share, m in zip(q, votes, strict=True):
            chance *= share**m / math.factorial(m)
        top = [i for i, m in enumerate(votes[:-1]) if m == max(votes[:-1])]
        value += chance * np.mean([right[i] for i in top])
    return value


ballots = st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=4)


@given(ballots, st.integers(0, 3), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_the_sum_is_that_of_every_outcome(ballot, blank, n):
    weights, right = zip(*ballot, strict=True)
    assert vote_accuracy(weights, right, n, blank) == pytest.approx(
        enumerated(weights, right, blank, n), abs=1e-12
    )


@given(ballots, st.integers(0, 2), st.data())
@settings(max_examples=60, deadline=None)
def test_subsets_are_counted_as_they_are(ballot, blank, data):
    """Against every subset of the samples, each voted on its own."""
    classes = [i for i, (m, _) in enumerate(ballot) for _ in range(min(m, 3))] + [-1] * blank
    counts = [min(m, 3) for m, _ in ballot]
    good = [r for _, r in ballot]
    n = data.draw(st.integers(1, min(len(classes), 7)))
    shares = []
    for subset in itertools.combinations(classes, n):
        votes = [subset.count(i) for i in range(len(counts))]
        top = [i for i, m in enumerate(votes) if m == max(votes)]
        shares.append(np.mean([good[i] for i in top]) if max(votes) else 0.0)
    ours = vote_accuracy(counts, good, n, blank, replace=False)
    assert ours == pytest.approx(np.mean(shares), abs=1e-12)


def test_subsets_agree_with_those_drawn_at_random():
    classes = np.repeat([0, 1, 2, 3, -1], [12, 9, 5, 3, 3])
    rng = np.random.default_rng(0)
    for k in (1, 2, 8, 20, 32):
        ours = vote_accuracy([12, 9, 5, 3], [1, 0, 0, 0], k, 3, replace=False)
        assert ours == pytest.approx(maj_at_k(classes, classes == 0, k, rng, 20_000), abs=0.015)


@pytest.mark.parametrize("n", [1, 101, 1001])
def test_of_two_answers_it_is_a_binomial_tail(n):
    ours = vote_accuracy([0.53, 0.47], [True, False], n)
    assert ours == pytest.approx(binom.sf(n // 2, n, 0.53), abs=1e-11)


@given(st.integers(2, 20), st.integers(1, 60))
@settings(max_examples=30, deadline=None)
def test_of_equal_answers_each_wins_as_often(kinds, n):
    right = np.arange(kinds) == 0
    assert vote_accuracy(np.ones(kinds), right, n) == pytest.approx(1 / kinds, abs=1e-11)


def test_one_vote_is_one_sample_and_many_end_at_the_likeliest():
    assert vote_accuracy([3, 5, 2], [1, 0, 0], 1) == pytest.approx(0.3)
    assert vote_accuracy([5, 3, 2], [1, 0, 0], 2000) == pytest.approx(1, abs=1e-9)
    assert vote_accuracy([3, 5, 2], [1, 0, 0], 2000) == pytest.approx(0, abs=1e-9)
    assert Ballot(np.array([5, 3, 5]), np.array([True, False, False]), 0).limit == 0.5


def pools_of(shares, n, problems, seed=0):
    """Problems with the right answer as class 0, all of one distribution."""
    rng = np.random.default_rng(seed)
    classes = rng.choice(len(shares), p=shares, size=(problems, n)).astype(np.int32)
    there = np.ones_like(classes, dtype=bool)
    names = tuple(map(str, range(problems)))
    return Pools(classes, classes == 0, np.ones(classes.shape), there, names)


def test_up_to_the_samples_the_law_is_unbiased():
    shares, n = [0.4, 0.35, 0.25], 7
    truth = enumerated(shares, [1, 0, 0], 0, n)
    law = fit_vote(pools_of(shares, 12, 1500), draws=100)
    band = law.predict(n)
    assert band.low[0] < truth < band.high[0]


def test_beyond_them_it_is_the_vote_of_all():
    law = fit_vote(pools_of([0.5, 0.3, 0.2], 9, 200), draws=50)
    end = law.predict([9, np.inf]).value
    assert end[0] == pytest.approx(end[1])
    assert law.limit.value == pytest.approx(end[1])
    # the true limit is 1: nine samples leave doubts, and the law says how many
    assert 0.02 < law.undecided.value < 0.5
    assert law.limit.value < 1
    assert fit_vote(pools_of([0.5, 0.3, 0.2], 400, 50), draws=0).undecided.value < 0.01


def test_the_recorded_vote_is_the_published_curve(recorded):
    law = fit_vote(recorded("esc_last_letters"), draws=0)
    assert law.predict([1, 5, 10, 40]).value == pytest.approx([0.802, 0.823, 0.826, 0.83], abs=2e-3)


def test_it_keeps_the_protocol(tmp_path):
    law = fit_vote(pools_of([0.5, 0.3, 0.2], 8, 30), draws=20)
    assert isinstance(law, Law)
    assert law.residuals.shape == law.n.shape
    # one vote is one sample, with or without putting it back
    assert law.residuals[0] == pytest.approx(0, abs=1e-12)
    assert law.plot(tmp_path / "vote.png").stat().st_size > 10_000
    assert law.to_json()["parameters"]["limit"]["value"] == law.limit.value


def test_wrong_input_says_what_is_wrong():
    with pytest.raises(BadInput, match="needs a count"):
        vote_accuracy([1, -1], [1, 0], 3)
    with pytest.raises(BadInput, match="1 <= n <= 4"):
        vote_accuracy([3, 1], [1, 0], 5, replace=False)
    with pytest.raises(BadInput, match="whole number"):
        fit_vote(pools_of([0.5, 0.5], 4, 5), draws=0).predict(2.5)
