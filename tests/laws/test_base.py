import builtins

import numpy as np
import pytest

from outthink.core.errors import MissingNeed
from outthink.lab import stats
from outthink.lab.pools import Pools
from outthink.laws import base


def test_bootstrap_draws_have_as_many_problems_as_there_are():
    drawn = stats.resample(30, 50, np.random.default_rng(0))
    assert drawn.shape == (50, 30)
    assert (drawn.sum(axis=1) == 30).all()


def test_a_law_without_scipy_says_what_to_install(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(base, "import_module", absent)
    with pytest.raises(MissingNeed, match=r"pip install 'outthink\[lab\]'"):
        base.scipy("optimize")


def test_scipy_is_asked_for_only_where_it_is_needed(monkeypatch):
    real = builtins.__import__

    def guarded(name, *rest, **more):
        if name.split(".")[0] == "scipy":
            raise ModuleNotFoundError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", guarded)
    from outthink.laws.coverage import fit_power_law
    from outthink.laws.vote import vote_accuracy

    assert fit_power_law(([10] * 20, [i % 10 for i in range(20)]), draws=3).a.value < 0
    assert vote_accuracy([2, 1], [1, 0], 3) > 0.5


def test_counts_come_from_pools_or_as_they_are():
    right = np.array([[True, False, True], [False, False, False], [True, True, True]])
    there = np.array([[True, True, False], [True, True, True], [False, False, False]])
    pools = Pools(right.astype(np.int32), right, np.ones((3, 3)), there, ("a", "b", "c"))
    n, c = base.counts_of(pools)
    assert (n.tolist(), c.tolist()) == ([2, 3], [1, 0])
    n, c = base.counts_of((5, [1, 2, 3]))
    assert (n.tolist(), c.tolist()) == ([5, 5, 5], [1, 2, 3])
