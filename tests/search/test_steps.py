import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.search.steps import Beam, Particles, effective_size, logit, systematic


def drive(core, value_of, depth):
    """Run a core on a toy tree where a node's value is a function of its path."""
    paths = {0: ()}
    rounds = 0
    while asked := core.ask():
        rounds += 1
        count = {}
        for node in asked:
            k = count[node] = count.get(node, 0) + 1
            path = (*paths[node], k)
            child = core.tell(node, value_of(path), len(path) == depth)
            paths[child] = path
    return paths, rounds


def test_beam_with_a_perfect_verifier_follows_the_best_path():
    best = (4, 2, 3)

    def value(path):
        return sum(a == b for a, b in zip(path, best, strict=False)) / 3

    core = Beam(n=16, branch=4)
    paths, rounds = drive(core, value, depth=3)
    assert rounds == 3
    top = max(core.leaves(), key=lambda i: core.value[i])
    assert paths[top] == best


def test_a_beam_never_holds_more_than_its_width_and_grows_linearly():
    core = Beam(n=32, branch=4)
    rng = np.random.default_rng(0)
    sizes = []
    for _ in range(50):
        asked = core.ask()
        sizes.append(len(asked))
        for node in asked:
            core.tell(node, float(rng.random()), False)
    assert set(sizes) == {32}
    assert len(core.parent) == 1 + 50 * 32


def test_dvts_keeps_one_of_every_subtree_even_when_one_subtree_is_best():
    core = Beam(n=16, branch=4, groups=4)
    drive(core, lambda path: 1.0 / path[0], depth=3)
    assert sorted(core.group[node] for node in core.frontier) == [0, 1, 2, 3]
    alone = Beam(n=16, branch=4)
    paths, _ = drive(alone, lambda path: 1.0 / path[0], depth=3)
    assert {paths[node][0] for node in alone.frontier} == {1}


@given(
    st.lists(st.floats(0.01, 1.0), min_size=1, max_size=40), st.integers(1, 64), st.integers(0, 99)
)
def test_systematic_resampling_gives_each_its_floor_or_ceiling(weights, n, seed):
    p = np.array(weights) / sum(weights)
    counts = np.bincount(systematic(p, n, np.random.default_rng(seed)), minlength=len(p))
    assert counts.sum() == n
    assert (counts >= np.floor(n * p - 1e-9)).all()
    assert (counts <= np.ceil(n * p + 1e-9)).all()


def test_systematic_resampling_is_unbiased():
    p = np.array([0.5, 0.3, 0.15, 0.05])
    rng = np.random.default_rng(1)
    counts = sum(np.bincount(systematic(p, 7, rng), minlength=4) for _ in range(4000))
    assert np.allclose(counts / 28000, p, atol=0.005)


@given(st.integers(1, 50))
def test_effective_size_of_equal_weights_is_their_number(n):
    assert effective_size(np.full(n, 1 / n)) == pytest.approx(n)


def test_logit_is_the_inverse_of_the_logistic_and_bounded():
    x = np.linspace(-5, 5, 11)
    assert np.allclose(logit(1 / (1 + np.exp(-x))), x)
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()


def test_particles_drop_the_hopeless_and_keep_the_promising():
    core = Particles(64, np.random.default_rng(0))
    paths, _ = drive(core, lambda path: 0.95 if path[0] % 2 else 0.05, depth=4)
    odd = sum(paths[node][0] % 2 for node in core.frontier)
    assert odd / 64 > 0.9  # odds 361 to 1 at every resampling


def test_equal_particles_are_all_kept():
    core = Particles(8, np.random.default_rng(0))
    paths, _ = drive(core, lambda path: 0.5, depth=3)
    assert {paths[node][0] for node in core.frontier} == set(range(1, 9))
    assert core.sizes == pytest.approx([8.0] * 3)


def test_a_threshold_of_zero_never_resamples():
    core = Particles(8, np.random.default_rng(0), threshold=0.0)
    paths, _ = drive(core, lambda path: 0.9 if path[0] == 1 else 0.1, depth=3)
    assert {paths[node][0] for node in core.frontier} == set(range(1, 9))


def test_a_round_in_which_some_children_did_not_come_ends_when_the_next_begins():
    core = Beam(n=4, branch=2)
    born = [
        core.tell(node, value, False) for node, value in zip(core.ask(), (0.1, 0.9), strict=False)
    ]
    assert set(core.ask()) <= set(born)
    assert core.frontier
    core = Particles(4, np.random.default_rng(0))
    first = core.ask()
    born = [core.tell(node, 0.5, False) for node in first[:3]]
    asked = core.ask()
    assert len(asked) == 4
    assert set(asked) <= set(born)


def test_particles_go_on_where_only_finished_ones_came():
    core = Particles(3, np.random.default_rng(0))
    core.tell(core.ask()[0], 0.9, True)
    assert core.ask() == []
    assert len(core.leaves()) == 1
