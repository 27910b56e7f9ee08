import numpy as np
import pytest

from outthink.core.errors import BadInput
from outthink.laws.base import Law
from outthink.laws.sequential import fit_sequential, read_configurations

LENGTH = np.array([1, 2, 4, 8, 16])
CHAINS = 16 // LENGTH


def simulated(problems=400, depth=0.06, seed=0):
    """Easy problems are best revised (length 16), hard ones want 4 by 4."""
    rng = np.random.default_rng(seed)
    easy = rng.random(problems)
    peak = np.where(easy > 0.5, 4, 2)[:, None]
    chance = 0.2 + 0.6 * easy[:, None] - depth * (np.log2(LENGTH) - peak) ** 2
    chance = np.clip(chance, 0, 1)
    return (rng.random(chance.shape) < chance).astype(float), easy


def test_each_bin_gets_its_own_ratio():
    success, easy = simulated(2000)
    law = fit_sequential(success, LENGTH, CHAINS, easy, bins=2)
    assert [e.value for e in law.best] == [16.0, 1.0]
    assert law.share_best.sum(axis=1) == pytest.approx(1)
    assert law.gain.low > 0


def test_choosing_by_bin_gains_nothing_where_ratios_are_alike():
    gains = []
    for seed in range(10):
        success, easy = simulated(300, depth=0.0, seed=seed)
        law = fit_sequential(success, LENGTH, CHAINS, easy, draws=1, seed=seed)
        gains.append(law.gain.value)
        # in sight of the same problems the best of each bin looks better, always
        assert law.table.max(axis=1).mean() >= law.table.mean(axis=0).max() - 1e-12
    assert abs(np.mean(gains)) < 0.02


def test_an_interval_says_that_ratios_are_alike():
    flat, easy = simulated(100, depth=0.0)
    sharp, _ = simulated(2000, depth=0.15)
    alike = fit_sequential(flat, LENGTH, CHAINS, easy, bins=1).best[0]
    assert alike.high / alike.low >= 4
    clear = fit_sequential(sharp[:, :], LENGTH, CHAINS, simulated(2000)[1], bins=2).best[0]
    assert clear.low == clear.high == 16


def test_bins_are_by_difficulty_and_even():
    success, easy = simulated(50)
    law = fit_sequential(success, LENGTH, CHAINS, easy, draws=2)
    assert np.bincount(law.bins).tolist() == [10] * 5
    assert easy[law.bins == 0].min() >= easy[law.bins == 1].max()
    assert law.residuals[law.bins == 3].mean(axis=0) == pytest.approx(0, abs=1e-12)


def test_a_table_is_read_and_its_gaps_are_named(tmp_path):
    path = tmp_path / "runs.csv"
    head = "problem,length,chains,success,difficulty\n"
    path.write_text(head + "a,1,2,1,0.5\na,1,2,0,0.5\na,2,1,1,0.5\nb,1,2,0,0.1\nb,2,1,0,0.1\n")
    success, length, chains, difficulty = read_configurations(path)
    assert success.tolist() == [[0.5, 1], [0, 0]]
    assert (length * chains).tolist() == [2, 2]
    assert difficulty.tolist() == [0.5, 0.1]
    path.write_text(head + "a,1,2,1,0.5\na,2,1,1,0.5\nb,1,2,0,0.1\n")
    with pytest.raises(BadInput, match=r"problem b lacks length x chains = \(2, 1\)"):
        read_configurations(path)
    path.write_text("problem,length\na,1\n")
    with pytest.raises(BadInput, match="no column chains, success, difficulty"):
        read_configurations(path)


def test_it_keeps_the_protocol(tmp_path):
    success, easy = simulated(60)
    law = fit_sequential(success, LENGTH, CHAINS, easy, draws=30)
    assert isinstance(law, Law)
    band = law.predict([1, 5])
    assert band.value[0] > band.value[1]
    assert law.plot(tmp_path / "sequential.png").stat().st_size > 10_000
    assert law.to_json()["budget"] == 16


def test_wrong_input_says_what_is_wrong():
    success, easy = simulated(60)
    with pytest.raises(BadInput, match="one budget"):
        fit_sequential(success, LENGTH, CHAINS + 1, easy)
    with pytest.raises(BadInput, match="need at least 80"):
        fit_sequential(success, LENGTH, CHAINS, easy, bins=40)
    with pytest.raises(BadInput, match="bins are 1 to 5"):
        fit_sequential(success, LENGTH, CHAINS, easy, draws=1).predict(6)
