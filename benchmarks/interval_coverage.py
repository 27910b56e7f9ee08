"""How often 95 % intervals hold the truth: accuracy, paired differences, calibration, by simulation.

Problems are as hard as a beta distribution says; a run is right with its problem's chance.  Nominal is
95 %; what an interval should keep to is 93 to 97.  ``python benchmarks/interval_coverage.py [DRAWS]``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from outthink.core.nouns import Floats
from outthink.lab import stats, summary
from outthink.lab.curves import mean_height
from outthink.select.calibration import aurc, ece

#: the beta distribution's a + b: problems all but decided, uniform at 0.5, much alike
SPREADS = (0.3, 2.0, 10.0)


def held(low: float, high: float, truth: float) -> bool:
    return low - 1e-12 <= truth <= high + 1e-12


def bench(rng: np.random.Generator, n: int, seeds: int, p: float, spread: float) -> Floats:
    """Shares right of ``n`` problems."""
    return rng.binomial(seeds, rng.beta(spread * p, spread * (1 - p), n)) / seeds


def by_t(values: Floats, seeds: int) -> tuple[float, float]:
    return stats.mean(values)[1:]


def by_bootstrap(values: Floats, seeds: int) -> tuple[float, float]:
    n = len(values)
    return stats.percentiles(float(values.mean()), stats.resample(n, 400) @ values / n)[1:]


def by_share(values: Floats, seeds: int) -> tuple[float, float]:
    return stats.share(values, seeds)[1:]


def pairs(
    rng: np.random.Generator, n: int, seeds: int, p: float, gain: float, shared: float
) -> tuple[Floats, Floats]:
    """Two arms; ``shared`` is the part of their runs that have the same luck."""
    chance = rng.beta(2 * p, 2 * (1 - p), (n, 1))
    better = chance + (1 - chance) * gain / (1 - p)
    luck = rng.random((n, seeds))
    other = np.where(rng.random((n, seeds)) < shared, luck, rng.random((n, seeds)))
    return (other < better).mean(axis=1), (luck < chance).mean(axis=1)


def confident(rng: np.random.Generator, n: int, seeds: int, kind: str) -> tuple[Floats, Floats]:
    """Confidence and right, ``(n, seeds)``: honest, boastful, or the share of 16 votes."""
    chance = rng.beta(1, 1, (n, 1)) * np.ones((1, seeds))
    right = (rng.random((n, seeds)) < chance).astype(float)
    said = {"honest": chance, "bold": np.sqrt(chance)}.get(kind)
    return rng.binomial(16, chance) / 16 if said is None else said, right


def accuracy(draws: int) -> None:
    methods: dict[str, Callable[[Floats, int], tuple[float, float]]] = {
        "share": by_share,
        "t": by_t,
        "bootstrap": by_bootstrap,
    }
    print("accuracy" + " " * 27 + "".join(f"{name:>10}" for name in methods))
    for n, seeds, p in product((20, 100, 500), (1, 4), (0.01, 0.03, 0.1, 0.5, 0.9, 0.99)):
        # with one seed the spread does not matter: a run is right with chance p
        for spread in SPREADS if seeds > 1 else (2.0,):
            rng = np.random.default_rng(1)
            benches = [bench(rng, n, seeds, p, spread) for _ in range(draws)]
            cells = []
            for name, interval in methods.items():
                some = benches[: max(draws // 8, 100)] if name == "bootstrap" else benches
                cells.append(np.mean([held(*interval(v, seeds), p) for v in some]))
            what = f"n={n} seeds={seeds} p={p:g} spread={spread:g}"
            print(f"{what:<35}" + "".join(f"{100 * c:10.1f}" for c in cells), flush=True)


def differences(draws: int) -> None:
    print(f"{'differences':<42}{'interval':>10}{'p < .05':>10}")
    for n, seeds, p, gain, shared in product(
        (20, 100, 500), (1, 4), (0.1, 0.5, 0.9), (0.0, 0.05), (0.0, 0.8)
    ):
        rng = np.random.default_rng(2)
        found = [
            stats.share_difference(*pairs(rng, n, seeds, p, gain, shared), seeds)
            for _ in range(draws)
        ]
        kept = np.mean([held(d.low, d.high, gain) for d in found])
        sure = np.mean([d.p < 0.05 for d in found])
        what = f"n={n} seeds={seeds} p={p:g} gain={gain:g} shared={shared:g}"
        print(f"{what:<42}{100 * kept:10.1f}{100 * sure:10.1f}", flush=True)


def calibration(draws: int) -> None:
    print(f"{'confidence':<35}{'ECE':>10}{'AURC':>10}{'Brier':>10}{'top half':>10}")
    for kind in ("honest", "votes", "bold"):
        many = confident(np.random.default_rng(3), 400_000, 1, kind)
        said, right = (x.ravel() for x in many)
        order = np.argsort(-said + 1e-9 * np.random.default_rng(4).random(len(said)))
        truth = (
            ece(said, right),
            aurc(said, right),
            float(((said - right) ** 2).mean()),
            float(right[order[: len(order) // 2]].mean()),
        )
        for n, seeds in product((100, 500), (1, 4)):
            rng = np.random.default_rng(5)
            kept = np.zeros(4)
            for _ in range(draws):
                told = summary.confidence_of(*confident(rng, n, seeds, kind), stats.resample(n))
                curve = told["curve"] if told else {}
                ends = [(told[k]["low"], told[k]["high"]) for k in ("ece", "aurc", "brier")]
                ends.append((curve["low"][9], curve["high"][9]))
                kept += [held(*end, t) for end, t in zip(ends, truth, strict=True)]
            what = f"{kind} n={n} seeds={seeds}"
            print(f"{what:<35}" + "".join(f"{100 * k / draws:10.1f}" for k in kept), flush=True)


def areas(draws: int) -> None:
    """A series of three arms whose accuracy rises with cost; costs differ from problem to problem."""
    print(f"{'area under a series':<35}{'interval':>10}")
    costs = np.array([100.0, 400.0, 1600.0])
    for n, p in product((100, 500), (0.1, 0.5, 0.9)):
        gains = np.array([0.0, 0.3, 0.5]) * (1 - p)
        truth = float(mean_height(costs, p + gains, 100.0, 1600.0))
        rng, weights, kept = np.random.default_rng(6), stats.resample(n), 0
        for _ in range(draws):
            chance = rng.beta(2 * p, 2 * (1 - p), (n, 1))
            chance = chance + (1 - chance) * gains / (1 - p)
            right = (rng.random((n, 1)) < chance).astype(float)
            spent = costs * rng.lognormal(-0.125, 0.5, (n, 1))
            table = np.vstack([np.full(n, 1.0), weights])
            points = mean_height(table @ spent / n, table @ right / n, 100.0, 1600.0)
            found = stats.bounded(float(points[0]), float(points[1:].std()), n)
            kept += held(found.low, found.high, truth)
        print(f"{f'n={n} p={p:g}':<35}{100 * kept / draws:10.1f}", flush=True)


def main() -> None:
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    started = time.perf_counter()
    accuracy(draws)
    differences(draws)
    calibration(max(draws // 5, 100))
    areas(max(draws // 5, 100))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
