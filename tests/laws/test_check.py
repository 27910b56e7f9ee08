import numpy as np
import pytest

from outthink.core.errors import BadInput
from outthink.lab.pools import Pools
from outthink.laws import check
from outthink.laws.vote import fit_vote


def simulated(problems=80, n=40, seed=0):
    """Right answers are class 0, the others spread over 1 to 4; a score that is right in 9 of 10."""
    rng = np.random.default_rng(seed)
    right = rng.random((problems, n)) < rng.beta(0.8, 1.0, problems)[:, None]
    classes = np.where(right, 0, rng.integers(1, 5, right.shape)).astype(np.int32)
    there = np.ones_like(right)
    there[0, -5:] = False
    scores = {"judge": (right ^ (rng.random(right.shape) < 0.1)).astype(float)}
    names = tuple(map(str, range(problems)))
    return Pools(classes, right, np.ones(right.shape), there, names, scores, name="toy")


def test_shuffled_samples_are_the_same_ones():
    pools = simulated()
    mixed = check.shuffled(pools, np.random.default_rng(0))
    assert mixed.counts.tolist() == pools.counts.tolist()
    assert mixed.correct.tolist() == pools.correct.tolist()
    assert mixed.present[0].tolist() == [True] * 35 + [False] * 5
    agree = (mixed.scores["judge"] == mixed.right).mean()
    assert agree == pytest.approx((pools.scores["judge"] == pools.right).mean(), abs=0.01)


def test_every_law_is_checked_against_what_it_did_not_see(tmp_path):
    pools = simulated()
    rows = check.check([pools], seen=8, again=5, draws=40)
    assert [row.law for row in rows] == ["coverage", "beta", "beta with zero", "vote"]
    rows.append(check.check_verifier(pools, 8, again=3, draws=40))
    for row in rows:
        assert (row.name, row.seen, row.at) == ("toy", 8, 35)
        assert row.error == pytest.approx(row.predicted - row.observed)
        assert row.size >= abs(row.error) - 1e-12
        assert 0 <= row.inside <= 1
        # among near answers eight votes settle little, and the law of votes says how little
        doubt = fit_vote(pools.first(8), draws=0).undecided.value
        assert row.size < (doubt if row.law == "vote" else 0.08)
    assert check.plot([pools, pools], tmp_path / "check.png", 8).stat().st_size > 10_000


def test_more_samples_seen_are_better_predictions():
    pools = simulated(150)
    sizes = [check.check_coverage(pools, "beta", seen, 20, 0).size for seen in (4, 20)]
    assert sizes[1] < sizes[0]


def test_texts_that_are_never_equal_get_no_vote():
    pools = simulated()
    unique = np.arange(pools.classes.size, dtype=np.int32).reshape(pools.classes.shape)
    each = Pools(unique, pools.right, pools.tokens, pools.present, pools.problems)
    assert "vote" not in [row.law for row in check.check([each], 8, again=1, draws=0)]


def test_there_must_be_more_samples_than_are_seen():
    with pytest.raises(BadInput, match="2 to 34 of 35"):
        check.check_vote(simulated(), 35)
