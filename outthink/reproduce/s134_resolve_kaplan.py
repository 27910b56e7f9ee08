"""S134, Resolving Discrepancies in Compute-Optimal Scaling (arXiv 2406.19146): Kaplan or Chinchilla.

How the best size of a model grows with compute, N* ~ C^s: Kaplan et al. found s = .73, Hoffmann et al.
about .5.  The paper goes from one to the other in four steps, each a correction of the experiment: the
compute of the last layer is counted, the warm-up is short, the learning rate decays at the end of each
run's own tokens, the optimiser is tuned for each size.

Recomputed from the recorded grids of loss at equal compute: at each budget an Akima spline of log loss in
log size, on 25 points between neighbouring sizes; its minimum is N*, or the budget is left out where that
lies at an end or there are fewer than three sizes; then a line of log N* in log C.  (The authors weight
the budgets by the noise of the loss; the line here is plain.)  Intervals are over budgets, drawn again,
the same ones for both settings of a pair.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.laws.base import scipy
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, exact
from outthink.reproduce.rules import above, agrees, between

PAPER = "arXiv 2406.19146, the authors' stored fits"
RUNS = "recorded: losses at 12 budgets of compute, RefinedWeb"
#: name, (hparams, warmup, decay, param_count), published exponent
STEPS: tuple[tuple[str, tuple[str, str, str, str], float], ...] = (
    ("Kaplan's setting", ("base", "long", "kaplan", "kaplan"), 0.835),
    ("last layer counted", ("base", "long", "kaplan", "standard"), 0.706),
    ("short warm-up", ("base", "short", "kaplan", "standard"), 0.602),
    ("decay to the end", ("base", "short", "chinchilla", "standard"), 0.571),
    ("tuned optimiser", ("tuned", "short", "const", "standard"), 0.497),
)
NAMES = tuple(name for name, _, _ in STEPS)

CLAIMS = {
    name: Claim(
        text=f"The exponent of the best size: {name}",
        published=f"{value:g}",
        source=PAPER,
        setting=RUNS,
        statistic="slope of log N* in log C",
        rule=agrees(value, 0.02),
    )
    for name, _, value in STEPS
}
CLAIMS |= {
    f"fall {after}": Claim(
        text=f"The exponent falls by this step: {after}",
        published=f"{first:g} to {then:g}",
        source=PAPER,
        setting=RUNS,
        statistic="slope before minus slope after, at the budgets that both have",
        rule=above(0),
    )
    for (_, _, first), (after, _, then) in pairwise(STEPS)
}
CLAIMS["half"] = Claim(
    text="With all corrections size and tokens grow alike, as Hoffmann et al. say",
    published=".5",
    source=PAPER,
    setting=RUNS,
    statistic=f"slope, {NAMES[-1]}",
    rule=between(0.45, 0.55),
)


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few bootstrap draws."""
    folder = trial.folder("porian_scaling")
    found = {name: optima(folder, "rw", setting) for name, setting, _ in STEPS}
    rng = trial.rng()
    measured = {name: exact(slope(points)) for name, points in found.items()}
    for before, after in pairwise(NAMES):
        a, b = found[before], found[after]
        both = np.array(sorted(set(a) & set(b)))

        def fall(
            some: Ints, a: Mapping[float, float] = a, b: Mapping[float, float] = b,
            both: Floats = both,
        ) -> float:  # fmt: skip
            return _slope(both[some], a) - _slope(both[some], b)

        (measured[f"fall {after}"],) = bootstrap(fall, len(both), rng, trial.draws)
    last = found[NAMES[-1]]
    budgets = np.array(sorted(last))
    (measured["half"],) = bootstrap(
        lambda some: _slope(budgets[some], last), len(budgets), rng, trial.draws
    )
    table = [
        {
            "setting": name,
            "RefinedWeb": measured[name].value,
            "OpenWebText2": slope(optima(folder, "owt2", setting)),
            "published (RefinedWeb)": value,
        }
        for name, setting, value in STEPS
    ]
    lines = tuple(
        Line(name, sorted(points), [float(np.exp(points[c])) for c in sorted(points)])
        for name, points in found.items()
    )
    panel = Panel(
        "best size by compute, RefinedWeb",
        "training compute (FLOPs)",
        "parameters",
        lines,
        log_y=True,
    )
    return Findings(measured, {"exponents": table}, (panel,))


def optima(folder: Path, dataset: str, setting: tuple[str, str, str, str]) -> dict[float, float]:
    """The log of the best size at each budget (FLOPs) where it lies inside the sizes tried."""
    grid: dict[float, list[tuple[float, float]]] = {}
    with gzip.open(folder / "isoflop.csv.gz", "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            own = tuple(row[name] for name in ("hparams", "warmup", "decay", "param_count"))
            if row["dataset"] == dataset and own == setting and row["loss"] not in ("", "nan"):
                point = (np.log(float(row["n"])), np.log(float(row["loss"])))
                grid.setdefault(float(row["flops"]), []).append(point)
    return {c: best for c, points in grid.items() if (best := _minimum(points)) is not None}


def _minimum(points: list[tuple[float, float]]) -> float | None:
    """Where the spline through (log size, log loss) is least; nothing at an end."""
    if len(points) < 3:
        return None
    x, y = np.array(sorted(points)).T
    fine = np.linspace(x[0], x[-1], 25 * (len(x) - 1))
    i = int(np.argmin(scipy("interpolate").Akima1DInterpolator(x, y)(fine)))
    return float(fine[i]) if 0 < i < len(fine) - 1 else None


def slope(points: Mapping[float, float]) -> float:
    """The slope of log N* in log C over all budgets."""
    return _slope(np.array(sorted(points)), points)


def _slope(budgets: Floats, points: Mapping[float, float]) -> float:
    """The same over some of them; NaN where all are one."""
    x = np.log(budgets)
    y = np.array([points[c] for c in budgets])
    spread = float(((x - x.mean()) ** 2).sum())
    return float(((x - x.mean()) * y).sum() / spread) if spread > 0 else float("nan")


REPRODUCTION = Reproduction(
    "S134", CLAIMS, measure,
    full=Cost(seconds=5), quick=Cost(seconds=2),
    sets=("porian_scaling",),
)  # fmt: skip
