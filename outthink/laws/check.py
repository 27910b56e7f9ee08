"""What the laws' predictions are worth: fitted to few samples a problem, held against many.

For each set of recorded samples every law sees ``seen`` random samples of each problem and predicts what
all of them show: pass@n for the laws of coverage, the accuracy of a vote of n, the accuracy under a
verifier with at most n samples.  ``error`` is the mean of predicted minus observed over random choices of
the seen samples, ``size`` the mean of its absolute value, ``inside`` how often the 95 % interval held
the observed value.  The interval is over problems, while here the problems are the same: inside should
be above 95 % for a law that is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from outthink.core.errors import BadInput
from outthink.lab.pools import Pools
from outthink.laws import base, coverage
from outthink.laws.coverage import fit_beta_binomial, fit_power_law
from outthink.laws.verifier import accepted_by, fit_verifier, resample_observed
from outthink.laws.vote import fit_vote


class Row(NamedTuple):
    """One law on one set: ``at`` samples predicted from ``seen``."""

    name: str
    law: str
    seen: int
    at: int
    observed: float
    predicted: float
    error: float
    size: float
    inside: float


def shuffled(pools: Pools, rng: np.random.Generator) -> Pools:
    """The samples of each problem in a random order, those that are there first."""
    keys = rng.random(pools.classes.shape) + ~pools.present
    order = np.argsort(keys, axis=1)

    def put(column: Any) -> Any:
        return np.take_along_axis(column, order, axis=1)

    return Pools(
        put(pools.classes),
        put(pools.right),
        put(pools.tokens),
        put(pools.present),
        pools.problems,
        {name: put(column) for name, column in pools.scores.items()},
        pools.unit,
        pools.name,
    )


def check_coverage(pools: Pools, law: str, seen: int, again: int = 50, draws: int = 100) -> Row:
    """A law of ``coverage.FITS`` on a set, at the largest k."""
    found = coverage.held_out(pools, seen, law, again, draws)
    return Row(
        pools.name,
        law,
        seen,
        int(found.k[-1]),
        float(found.observed[-1]),
        float(found.predicted[-1]),
        float(found.error[-1]),
        float(found.size[-1]),
        found.inside,
    )


def check_vote(pools: Pools, seen: int, again: int = 10, draws: int = 100) -> Row:
    """The law of votes on a set, at all samples."""
    most = _most(pools, seen)
    observed = float(fit_vote(pools, draws=0).predict(most).value[0])
    rng = base.generator(0)
    bands = [fit_vote(shuffled(pools, rng).first(seen), draws).predict(most) for _ in range(again)]
    return _row(pools.name, "vote", seen, most, observed, bands)


def check_verifier(
    pools: Pools,
    seen: int,
    score: str | None = None,
    threshold: float = 0.5,
    again: int = 10,
    draws: int = 100,
) -> Row:
    """The law of resampling under a verifier on a set, at all samples."""
    most = _most(pools, seen)
    accepted = accepted_by(pools, score, threshold)
    exact = resample_observed(accepted, pools.right, pools.present, most)
    rng = base.generator(0)
    bands = [
        fit_verifier(shuffled(pools, rng).first(seen), score, threshold, draws).predict(most)
        for _ in range(again)
    ]
    return _row(pools.name, "verifier", seen, most, float(exact.right.mean()), bands)


def check(sets: Sequence[Pools], seen: int = 10, again: int = 50, draws: int = 100) -> list[Row]:
    """Every law of coverage, and the vote, on every set."""
    rows = []
    for pools in sets:
        rows += [check_coverage(pools, law, seen, again, draws) for law in coverage.FITS]
        if _votes(pools):
            rows.append(check_vote(pools, seen, max(1, again // 5), draws))
    return rows


def plot(sets: Sequence[Pools], path: str | Path, seen: int = 10) -> Path:
    """A panel a set: both laws of coverage from one random choice of ``seen`` samples, against all."""
    with base.Sheet(path, len(sets)) as panels:
        for ax, pools in zip(panels, sets, strict=True):
            few = shuffled(pools, base.generator(0)).first(seen)
            laws: Mapping[str, Any] = {
                "power law": fit_power_law(few),
                "beta-binomial": fit_beta_binomial(few),
            }
            coverage.show(ax, laws, base.counts_of(pools))
            ax.set_title(pools.name, loc="left")
        panels[0].legend(loc="upper left")
    return Path(path)


def _votes(pools: Pools) -> bool:
    """Whether equal answers are numbered as equal: a right answer is then one class, seldom more."""
    right = pools.right & pools.present
    kinds = [len(np.unique(c[r])) for c, r in zip(pools.classes, right, strict=True) if r.any()]
    return float(np.mean(kinds)) < 1.5 if kinds else False


def _most(pools: Pools, seen: int) -> int:
    most = int(pools.counts[pools.counts > 0].min())
    if not 2 <= seen < most:
        raise BadInput(f"a held-out check sees 2 to {most - 1} of {most} samples, not {seen}")
    return most


def _row(
    name: str, law: str, seen: int, at: int, observed: float, bands: Sequence[base.Band]
) -> Row:
    found = np.array([band.value[0] for band in bands])
    inside = np.mean([band.low[0] <= observed <= band.high[0] for band in bands])
    size = float(np.abs(found - observed).mean())
    error = float(found.mean()) - observed
    return Row(name, law, seen, at, observed, float(found.mean()), error, size, float(inside))
