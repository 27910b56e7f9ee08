"""S055, SEAT (arXiv 2507.06829): rounds of answers that see each other, ended by semantic entropy.

Live on fly: five rounds of four attempts, each shown the round before (fly reads the latest two of it).
All rounds are drawn, and every way to stop is then tried on the same rounds: the secretary rule, a
threshold (of the entropies of the other half of the problems, so that no problem sets its own), and each
fixed number of rounds.  What a rule is worth is held against a fixed number of as many rounds in the mean.

Not tried: sixteen and more answers a round, AIME and MATH-500.
"""

from __future__ import annotations

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.pools import Bools, Classes
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, cell, difference, mean
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above
from outthink.select.calibration import auroc
from outthink.select.entropy import semantic_entropy
from outthink.select.vote import weighted
from outthink.stop.secretary import place
from outthink.tasks import problems as problems_of

PAPER = "arXiv 2507.06829, abstract"
FLY = "live: fly on chain medium, 100 test problems, 5 rounds of 4 attempts"
#: of the entropies of round 1 of the other half: a threshold that so many of them meet
QUANTILE = 0.2

CLAIMS = {
    "entropy": Claim(
        text="Semantic entropy says how likely the majority is right",
        published="strong negative correlation",
        source="arXiv 2507.06829, figure 1",
        setting=FLY,
        statistic="AUROC of low entropy for a right majority, round 1",
        rule=above(0.7),
    ),
    "rounds": Claim(
        text="Rounds that see each other, stopped by the rule, beat the first round alone",
        published="no figure in the abstract",
        source=PAPER,
        setting=FLY,
        statistic="secretary rule minus round 1, paired",
        rule=above(0),
    ),
    "no loss": Claim(
        text="Stopping early loses nothing against all rounds",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="secretary rule minus all 5 rounds, paired",
        rule=above(-0.02),
    ),
    "saved": Claim(
        text="It saves rounds",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="share of the 5 rounds that the secretary rule does not draw",
        rule=above(0.1),
    ),
    "equal rounds": Claim(
        text="At an equal number of rounds the rule beats a fixed number",
        published="no figure",
        source="our control",
        setting=FLY,
        statistic="secretary rule minus fixed rounds of the same mean (interpolated), paired",
        rule=above(0),
    ),
    "collapse": Claim(
        text="A small model that reads its own answers comes to agree on wrong ones",
        published="semantic entropy collapse in 7B models",
        source=PAPER,
        setting=FLY,
        statistic="share that agrees in full on a wrong answer: round 5 minus round 1, paired",
        rule=above(0),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems and 3 rounds of 3."""
    split, count, n, rounds = ("dev", 4, 3, 3) if trial.quick else ("test", 100, 4, 5)
    problems = problems_of("chain", "medium", split, count, trial.seed)
    (result,) = trial.run("rounds", [f"seat(n={n}, rounds={rounds}, threshold=-1.0)"], problems)
    found = pools(result, problems)
    classes = found.classes.reshape(count, rounds, n)
    entropy = semantic_entropy(classes)
    right = _majorities(found.classes, found.right, rounds)
    each = np.arange(count)
    stops = {
        "secretary": place(entropy),
        f"threshold, quantile {QUANTILE}": _threshold(entropy),
        **{f"fixed, {t + 1}": np.full(count, t) for t in range(rounds)},
    }
    taken = {name: right[each, at] for name, at in stops.items()}
    at = stops["secretary"]
    agreed = (entropy == 0) & (right == 0)
    measured = {
        "rounds": difference(taken["secretary"], right[:, 0]),
        "no loss": difference(taken["secretary"], right[:, -1]),
        "saved": mean(1 - (at + 1) / rounds),
        "equal rounds": difference(taken["secretary"], fixed(right, float(at.mean()))),
        "collapse": difference(agreed[:, -1] * 1.0, agreed[:, 0] * 1.0),
    }
    (measured["entropy"],) = bootstrap(
        lambda i: auroc(-entropy[i, 0], right[i, 0]), count, trial.rng(), trial.draws
    )
    by_round = [
        {
            "round": t + 1,
            "accuracy of the majority": cell(right[:, t]),
            "right attempts": float(found.right.reshape(count, rounds, n)[:, t].mean()),
            "mean entropy (nats)": float(entropy[:, t].mean()),
            "agrees in full": float((entropy[:, t] == 0).mean()),
            "agrees in full, wrong": float(agreed[:, t].mean()),
            "AUROC": auroc(-entropy[:, t], right[:, t]),
        }
        for t in range(rounds)
    ]
    rules = [
        {"stop": name, "accuracy": cell(taken[name]), "rounds": float(stop.mean() + 1)}
        for name, stop in stops.items()
    ]
    x = list(range(1, rounds + 1))
    lines = (
        Line("majority right", x, [float(v) for v in right.mean(axis=0)]),
        Line("agree in full on a wrong answer", x, [float(v) for v in agreed.mean(axis=0)]),
        Line("mean entropy (nats)", x, [float(v) for v in entropy.mean(axis=0)], style="dashed"),
    )
    panel = Panel("fly, chain medium", "round", "share of problems", lines, log=False)
    return Findings(measured, {"rounds": by_round, "rules": rules}, (panel,))


def _majorities(classes: Classes, right: Bools, rounds: int) -> Floats:
    """Is the majority of each round right, ties by the votes of all rounds so far?  (problems, rounds)."""
    out = np.zeros((len(classes), rounds))
    n = classes.shape[1] // rounds
    for t in range(rounds):
        latest = (np.arange((t + 1) * n) >= t * n).astype(np.float64)
        for i, row in enumerate(classes):
            out[i, t] = right[i, weighted(row[: (t + 1) * n].astype(np.int64), latest)]
    return out


def _threshold(entropy: Floats) -> Ints:
    """Where a threshold from round 1 of the other half stops each problem, ``(problems,)``."""
    out = np.zeros(len(entropy), dtype=np.int64)
    half = np.arange(len(entropy)) % 2 == 0
    for mine in (half, ~half):
        least = np.quantile(entropy[~mine, 0], QUANTILE)
        met = entropy[mine] <= least
        out[mine] = np.where(met.any(axis=1), met.argmax(axis=1), entropy.shape[1] - 1)
    return out


def fixed(right: Floats, at: float) -> Floats:
    """What a fixed number of rounds has right, between two numbers by their mixture, ``(problems,)``."""
    low = int(at)
    share = at - low
    return (1 - share) * right[:, low] + share * right[:, min(low + 1, right.shape[1] - 1)]


REPRODUCTION = Reproduction(
    "S055", CLAIMS, measure,
    full=Cost(calls=600, tokens=180_000, seconds=150),
    quick=Cost(calls=20, tokens=5_000, seconds=4),
)  # fmt: skip
