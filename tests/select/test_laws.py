"""Every rule that chooses among samples in columns keeps the laws of choosing rules."""

import numpy as np
import pytest

from outthink.lab.pools import Pools
from outthink.lab.resample import Vote, replay
from outthink.select.best_of_majority import best_of_majority
from outthink.select.certainty import borda_vote
from outthink.select.confidence import confident
from outthink.select.likelihood import path_weights
from outthink.select.short import short_vote, shortest_majority
from outthink.select.vote import elect, support
from outthink.stop.confident import first_sure
from outthink.testing import check_rule


def texts(scores):
    """Each score is a text of its own."""
    return np.argsort(np.argsort(scores, axis=-1), axis=-1)


RULES = {
    "vote": (lambda c, s, t, r: elect(support(c), c), ()),
    "weighted vote": (lambda c, s, t, r: elect(support(c, s["v"]), c), ("v",)),
    "best of n": (lambda c, s, t, r: elect(s["v"], c), ("v",)),
    "best of majority": (lambda c, s, t, r: best_of_majority(c, s["v"], 1, 0.2)[..., 0], ("v",)),
    "mean reward": (
        lambda c, s, t, r: best_of_majority(c, s["v"], 1, 0.2, "mean")[..., 0],
        ("v",),
    ),
    "Borda by certainty": (lambda c, s, t, r: borda_vote(c, s["v"], 0.5), ("v",)),
    "shortest majority": (lambda c, s, t, r: shortest_majority(c, t), ()),
    "short-3": (lambda c, s, t, r: short_vote(c, t, min(3, c.shape[-1])), ()),
    "perplexity consistency": (
        lambda c, s, t, r: elect(
            support(c, path_weights(c, np.log(s["v"]), texts(s["v"]), False)), c
        ),
        ("v",),
    ),
    "rpc": (
        lambda c, s, t, r: elect(support(c, path_weights(c, np.log(s["v"]), texts(s["v"]))), c),
        ("v",),
    ),
    "deepconf": (
        lambda c, s, t, r: elect(support(c, confident(s["v"], c, 0.6)), c),
        ("v",),
    ),
}
#: what looks at samples in their order, or counts the short ones alone
ORDERED = {"short-3"}


@pytest.mark.parametrize("name", sorted(set(RULES) - ORDERED))
def test_a_choosing_rule_keeps_the_laws(name):
    rule, columns = RULES[name]
    check_rule(rule, columns)


def test_the_shortest_few_have_the_only_votes():
    """A text without an answer may be among them, so only where all have answers does it hold."""
    rng = np.random.default_rng(0)
    classes, lengths = rng.integers(0, 4, (50, 7)), rng.permuted(np.arange(350)).reshape(50, 7)
    rule, _ = RULES["short-3"]
    few = np.argsort(lengths, axis=1)[:, :3]
    chosen = rule(classes, {}, lengths.astype(float), rng)
    assert all(place in row for place, row in zip(chosen, few, strict=True))


def test_where_all_are_equally_unsure_the_most_frequent_answer_is_given():
    classes = np.random.default_rng(1).integers(0, 3, (30, 9))
    found = first_sure(classes, np.full(classes.shape, 0.4), 2.0)
    assert not found.sure.any()
    assert (found.drawn == 9).all()
    assert found.chosen.tolist() == elect(support(classes), classes).tolist()


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_choosing_rule_is_replayed_over_recorded_samples(name):
    """With a perfect verifier best of n is coverage; every rule lies between 0 and that."""
    rng = np.random.default_rng(2)
    classes = rng.integers(-1, 4, (40, 12)).astype(np.int32)
    right = classes == rng.integers(0, 4, (40, 1))
    scores = np.where(
        right, rng.uniform(0.6, 1, classes.shape), rng.uniform(0.01, 0.5, classes.shape)
    )
    names = tuple(map(str, range(40)))
    tokens = rng.integers(5, 90, classes.shape).astype(np.float64)
    pools = Pools(classes, right, tokens, np.ones(classes.shape, bool), names, {"v": scores})
    rule, _ = RULES[name]
    found, vote = replay(pools, [rule, Vote()], [1, 6, 12], 20)
    covered = right.any(axis=1).mean()
    assert (found.right[:, 0].mean() - vote.right[:, 0].mean()) == pytest.approx(0, abs=1e-12)
    assert found.right[:, 2].mean() <= covered + 1e-12
    if name == "best of n":
        assert found.right[:, 2].mean() == pytest.approx(covered)
