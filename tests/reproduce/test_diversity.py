"""What the studies of diverse samples compute: against counting, and what must come out of it."""

from types import SimpleNamespace

import numpy as np
import pytest

from outthink.lab.pools import Pools
from outthink.reproduce import s061_temperatures as s061
from outthink.reproduce import s096_diverse_prompts as s096
from outthink.reproduce import s136_model_switch as s136


def test_blocks_of_candidates_are_the_temperatures():
    right = np.zeros((2, 8), dtype=bool)
    right[0, 2:4], right[1, 7] = True, True
    found = Pools(
        np.zeros((2, 8), np.int32), right, np.ones((2, 8)), np.ones((2, 8), bool), ("a", "b")
    )
    drawn, solved = s061.by_temperature(found)
    assert drawn.tolist() == [[2] * 4] * 2
    assert solved.tolist() == [[0, 2, 0, 0], [0, 0, 0, 1]]


def test_half_and_half_covers_at_least_the_mean_of_both():
    rng = np.random.default_rng(0)
    drawn = np.full((50, 2), 20)
    right = rng.binomial(drawn, rng.beta(0.5, 2, size=drawn.shape))
    mixed, mean, best = s096._mixture(drawn, right, 10)
    assert mixed.mean() > mean.mean()
    assert best.mean() >= mean.mean()
    # two prompts that are one prompt: no gain in expectation, whatever the number of samples
    same = np.repeat(right[:, :1], 2, axis=1)
    assert np.abs(s096._mixture(drawn, same, 2)[0] - s096._alone(drawn, same, 0, 2)).max() < 0.05


def test_the_formulas_are_those_of_the_simulation():
    trial = SimpleNamespace(rng=lambda: np.random.default_rng(1))
    assert s096._simulated(trial, 50) < 4.5


@pytest.fixture(scope="module")
def simulated():
    return {
        s: s136.simulate(s, np.random.default_rng(0), 2000)
        for s in ("independent", "other wrong", "same wrong")
    }


def test_the_gain_of_a_second_model_comes_from_errors_that_differ(simulated):
    gain = {s: float((v["switch"] - v["one model"]).mean()) for s, v in simulated.items()}
    assert gain["independent"] > gain["other wrong"] + 0.05
    assert gain["other wrong"] > gain["same wrong"]
    assert abs(gain["same wrong"]) < 0.03


def test_switching_draws_all_samples_unless_the_first_model_agrees_with_itself(simulated):
    for found in simulated.values():
        assert set(found["samples"]) == {8.0, 16.0}
        # a second model that was not asked cannot have changed a unanimous vote of eight
        early = found["samples"] == 8
        assert (found["switch"] == found["switch, counted"])[early].all()
