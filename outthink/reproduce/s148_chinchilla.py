"""S148, Chinchilla Scaling: A replication attempt (arXiv 2404.10102).

The third estimate of Hoffmann et al. (arXiv 2203.15556), L(N, D) = E + A / N^alpha + B / D^beta, is
refitted to 245 runs that were read off their figure 4, the five of highest loss left out.  Whether
the constants come out as the replication found; whether those of Hoffmann et al. fit the points; and
how wide an honest interval is.

Intervals are percentiles over bootstrap draws of the runs (the unit here is a run), each refitted.
"""

from __future__ import annotations

import numpy as np

from outthink.core.nouns import Floats
from outthink.lab.stats import Estimate, half_width
from outthink.laws.chinchilla import HOFFMANN, LossLaw, fit_loss, read_runs
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import exact
from outthink.reproduce.rules import above, agrees, below, between

PAPER = "arXiv 2404.10102"
RUNS = "recorded: 240 of the 245 runs of Hoffmann et al.'s figure 4"
#: the 99.9 % point of chi-squared with 5 degrees of freedom
FAR = 20.5

CLAIMS = {
    "E": Claim(
        text="The loss that no size or data removes",
        published="1.817 (se .026)",
        source=PAPER,
        setting=RUNS,
        statistic="E of the refit",
        rule=agrees(1.817, 0.026),
    ),
    "alpha": Claim(
        text="The exponent of size",
        published=".3478 (se .015)",
        source=PAPER,
        setting=RUNS,
        statistic="alpha of the refit",
        rule=agrees(0.3478, 0.015),
    ),
    "beta": Claim(
        text="The exponent of data",
        published=".3658 (se .021)",
        source=PAPER,
        setting=RUNS,
        statistic="beta of the refit",
        rule=agrees(0.3658, 0.021),
    ),
    "misfit": Claim(
        text="Hoffmann et al.'s constants do not fit their own points",
        published="residuals not centred",
        source=PAPER,
        setting=RUNS,
        statistic="mean of observed minus predicted loss by their constants (nats a token)",
        rule=below(-0.02),
    ),
    "distance": Claim(
        text="Hoffmann et al.'s constants are far from the refit",
        published="chi-squared 238 of 5 degrees",
        source=PAPER,
        setting=RUNS,
        statistic="chi-squared of 5 degrees by the bootstrap's covariance",
        rule=above(FAR),
    ),
    "split": Claim(
        text="Parameters and tokens should grow alike, as by the other two estimates",
        published=".513 (se .020); Hoffmann's own .454",
        source=PAPER,
        setting=RUNS,
        statistic="exponent of the best size in compute, beta / (alpha + beta)",
        rule=between(0.46, 0.56),
    ),
    "excludes": Claim(
        text="The best size does not grow as Hoffmann et al.'s constants say",
        published=".454",
        source=PAPER,
        setting=RUNS,
        statistic="exponent of the best size in compute",
        rule=above(0.454),
    ),
    "width": Claim(
        text="An honest 80 % interval of that exponent is 50 times as wide as published",
        published=".051 against .001",
        source=PAPER,
        setting=RUNS,
        statistic="width of the bootstrap's 80 % interval",
        rule=agrees(0.051, 0.015),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few bootstrap draws."""
    runs = read_runs(trial.folder("chinchilla") / "svg_extracted_data.csv")
    law = fit_loss(*runs, drop=5, draws=60 if trial.quick else 4000, seed=trial.seed)
    found = law.parameters
    gaps = residuals(law, HOFFMANN)
    half = half_width(gaps)
    low, high = np.quantile(shares(law), (0.1, 0.9))
    # the refit itself is what is compared: its constants, not those of other runs
    measured = {name: exact(found[name].value) for name in ("E", "alpha", "beta")} | {
        "misfit": Estimate(
            float(gaps.mean()), float(gaps.mean()) - half, float(gaps.mean()) + half
        ),
        "distance": exact(law.distance(HOFFMANN)),
        "split": found["exponent"],
        "excludes": found["exponent"],
        "width": exact(high - low),
    }
    rows = [
        {"parameter": name, "value": e.value, "low": e.low, "high": e.high,
         "hoffmann": theirs}
        for (name, e), theirs in zip(
            found.items(), (*HOFFMANN, HOFFMANN[4] / (HOFFMANN[3] + HOFFMANN[4])), strict=True)
    ]  # fmt: skip
    constants = tuple(found[name].value for name in ("A", "B", "E", "alpha", "beta"))
    own = residuals(law, constants)
    fits = [
        {"constants": name, "mean residual": float(v.mean()), "mean size": float(np.abs(v).mean())}
        for name, v in (("refit", own), ("Hoffmann et al.", gaps))
    ]
    tables = {"parameters": rows, "residuals": fits}
    return Findings(measured, tables, _panels(law, own, gaps))


def residuals(law: LossLaw, constants: tuple[float, ...]) -> Floats:
    """Observed loss minus that by these constants, nats a token, ``(runs,)``."""
    a, b, e, alpha, beta = constants
    return np.asarray(law.loss - (e + a / law.size**alpha + b / law.tokens**beta))


def shares(law: LossLaw) -> Floats:
    """The exponent of the best size in compute of each bootstrap draw, ``(draws,)``."""
    alpha, beta = law.drawn[:, 3], law.drawn[:, 4]
    return np.asarray(beta / (alpha + beta))


def _panels(law: LossLaw, own: Floats, gaps: Floats) -> tuple[Panel, ...]:
    order = np.argsort(law.loss)
    loss = law.loss[order].tolist()
    part = np.linspace(0, 1, 101)
    drawn = np.quantile(shares(law), part)
    return (
        Panel(
            "residuals, runs by their loss", "observed loss", "observed minus predicted (nats a token)",
            (Line("refit", loss, own[order].tolist(), style="dots"),
             Line("Hoffmann et al.'s constants", loss, gaps[order].tolist(), style="dots")),
            log=False,
        ),
        Panel(
            "exponent of the best size: bootstrap", "beta / (alpha + beta)", "share of draws below",
            (Line("refit", drawn.tolist(), part.tolist(), style="dashed"),),
            log=False,
        ),
    )  # fmt: skip


REPRODUCTION = Reproduction(
    "S148", CLAIMS, measure,
    full=Cost(seconds=50), quick=Cost(seconds=2),
    sets=("chinchilla",),
)  # fmt: skip
