"""S029, Efficient Test-Time Scaling via Self-Calibration (arXiv 2503.00031): stopping by confidence.

The paper trains language models to say, in one token, how far their samples would agree with an answer,
and then stops sampling, or weighs votes, by that.  Here nothing is trained: fly's own P(yes) is mapped by
two numbers (``calibrated``), fitted to the paper's labels on problems of another split, without right
answers.  A map that rises keeps the order of scores, so it can change a threshold's meaning and a vote's
weights, not how well P(yes) tells right from wrong.  What a confidence that was trained is worth is shown
by fly's reward model, which was trained on right and wrong.

Methods are compared at equal mean samples: a rule's threshold is set so that it draws as many (between
two thresholds of a grid, a mixture of both); samples of a problem are replayed in random orders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.pools import Pools
from outthink.lab.resample import Best, Replayed, Vote, random_orders, replay
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, cell, difference, mean_line
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above, below
from outthink.select.calibration import auroc, brier, ece
from outthink.select.recalibrate import consistency, mapped, platt
from outthink.stop.beta import Beta
from outthink.stop.confident import Stopped, first_agreed, first_sure
from outthink.stop.share import Share
from outthink.tasks import problems as problems_of

PAPER = "arXiv 2503.00031, abstract"
FIT = "40 dev problems x 16 samples to fit on, 100 test problems x 16 to try it on"
MEDIUM = "live: fly on chain medium, 100 test problems x 16 samples"
STOPPED = "MathQA .810 -> .836 (early stopping over best-of-n, budget 16)"
EQUAL = "at 4 samples in the mean, paired"

CLAIMS = {
    "calibration, easy": Claim(
        text="Fitted to self-consistency's labels, P(yes) is better calibrated",
        published="no figure",
        source=PAPER,
        setting=f"live: fly on chain easy, {FIT}",
        statistic="expected calibration error after minus before",
        rule=below(0),
    ),
    "calibration, medium": Claim(
        text="So it is where half of the samples are wrong",
        published="no figure",
        source=PAPER,
        setting=f"live: fly on chain medium, {FIT}",
        statistic="expected calibration error after minus before",
        rule=below(0),
    ),
    "early stopping, P(yes)": Claim(
        text="Early stopping by the model's own P(yes) beats best-of-n by it",
        published=STOPPED,
        source=PAPER,
        setting=MEDIUM,
        statistic=f"until_confident(verifier=yes_no) minus best of 4, {EQUAL}",
        rule=above(0),
    ),
    "early stopping, trained": Claim(
        text="Early stopping by a confidence that was trained beats best-of-n by it",
        published=STOPPED,
        source=PAPER,
        setting=MEDIUM,
        statistic=f"until_confident(verifier=prm) minus best of 4 by fly-prm, {EQUAL}",
        rule=above(0),
    ),
    "over adaptive consistency": Claim(
        text="Early stopping by a confidence that was trained beats adaptive consistency",
        published="no figure in the abstract",
        source=PAPER,
        setting=MEDIUM,
        statistic=f"until_confident(verifier=prm) minus a vote that stops (beta), {EQUAL}",
        rule=above(0),
    ),
    "weighted vote that stops": Claim(
        text="Adaptive consistency gains where votes are weighed by confidence",
        published="no figure in the abstract",
        source=PAPER,
        setting=MEDIUM,
        statistic=f"until_confident(of=answer, verifier=yes_no) minus the same without weights, {EQUAL}",
        rule=above(0),
    ),
    "weighted vote": Claim(
        text="A vote gains where it is weighed by confidence",
        published="no figure in the abstract",
        source=PAPER,
        setting=MEDIUM,
        statistic="vote of 16 weighed by P(yes) minus the plain vote of 16, paired",
        rule=above(0),
    ),
}

#: mean samples at which methods are compared
BUDGET = 4
#: where a rule stands: the share right and the samples drawn, ``(problems,)`` each
Point = tuple[Floats, Floats]


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems and samples."""
    fit, test, n = (6, 8, 6) if trial.quick else (40, 100, 16)
    measured: dict[str, Any] = {}
    rows, notes = list[dict[str, Any]](), list[str]()
    for level in ("easy", "medium"):
        learn, _ = _drawn(trial, level, "dev", fit, n)
        found, trained = _drawn(trial, level, "dev" if trial.quick else "test", test, n)
        slope, offset = platt(learn.scores["yes"], _labels(learn))
        before, right = found.scores["yes"], found.right.astype(np.float64)
        after = mapped(before, slope, offset)

        def change(
            at: Ints, before: Floats = before, after: Floats = after, y: Floats = right
        ) -> float:
            return ece(after[at].ravel(), y[at].ravel()) - ece(before[at].ravel(), y[at].ravel())

        (measured[f"calibration, {level}"],) = bootstrap(change, test, trial.rng(), trial.draws)
        for name, said in (
            ("P(yes)", before),
            ("calibrated", after),
            ("its label", _labels(found)),
        ):
            rows.append(_row(level, name, said, right))
        notes.append(
            f"{level}: calibrated(verifier=yes_no, slope={slope:.2f}, offset={offset:.2f}). On dev the "
            f"labels' mean is {np.nanmean(_labels(learn)):.3f}, and {learn.right.mean():.3f} of the "
            "samples are right: where wrong answers scatter, agreement is less than accuracy."
        )
    # the last level is medium: there methods are compared
    scored = replace(found, scores={**found.scores, "prm": trained})
    gaps, curves = _compare(scored, after, trial)
    measured |= gaps
    table = [_standing(name, point) for name, points in curves.items() for point in points]
    lines = [_line(name, points) for name, points in curves.items()]
    panel = Panel("fly, chain medium", "samples in the mean", "accuracy", lines)
    return Findings(measured, {"confidence": rows, "methods": table}, (panel,), notes)


def _drawn(trial: Trial, level: str, split: str, count: int, n: int) -> tuple[Pools, Floats]:
    """Samples of a level with P(yes), and the reward model's scores of them."""
    problems = problems_of("chain", level, split, count, trial.seed)
    judged, trained = trial.run(
        f"chain {level}, {split}",
        [f"best_of_n(n={n}, verifier=yes_no)", f"best_of_n(n={n}, verifier=prm)"],
        problems,
    )
    found = pools(judged, problems)
    yes, prm = (np.array([a.scores["verifier"] for a in r.answers]) for r in (judged, trained))
    return replace(found, scores={"yes": np.nan_to_num(yes)}), prm


def _labels(found: Pools) -> Floats:
    return consistency(found.classes.astype(np.int64), found.scores["yes"])


def _compare(
    found: Pools, after: Floats, trial: Trial
) -> tuple[dict[str, Any], dict[str, list[Point]]]:
    """Every method's points, and the claims' gaps at equal mean samples."""
    n, orders = found.classes.shape[1], 20 if trial.quick else 60
    budget = min(BUDGET, n)
    shares = [round(0.35 + 0.05 * k, 2) for k in range(14)]
    betas = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
    many = 50 if trial.quick else 400

    def recorded(rules: Sequence[Any], budgets: Sequence[int]) -> list[Replayed]:
        return replay(found, rules, budgets, many, trial.seed, threads=1)

    def by(name: str) -> list[Point]:
        (best,) = recorded([Best(name)], range(1, n + 1))
        return list(zip(best.right.T, best.samples.T, strict=True))

    def stopped(rules: Sequence[Any]) -> list[Point]:
        return [(r.right[:, 0], r.samples[:, 0]) for r in recorded(rules, [n])]

    def live(
        rule: Callable[..., Stopped], scores: Floats, thresholds: Sequence[float]
    ) -> list[Point]:
        return [_stopped(found, rule, scores, t, orders, trial.seed) for t in thresholds]

    yes, prm = found.scores["yes"], found.scores["prm"]
    levels = np.linspace(0.0, 1.0, 9 if trial.quick else 33)
    curves = {
        "best of n, P(yes)": by("yes"),
        "best of n, prm": by("prm"),
        "early stopping, P(yes)": live(first_sure, yes, np.quantile(yes, levels).tolist()),
        "early stopping, prm": live(first_sure, prm, np.quantile(prm, levels).tolist()),
        "vote that stops (beta)": stopped([Vote(stop=Beta(t)) for t in betas]),
        "vote that stops (share)": stopped([Vote(stop=Share(t, least=2)) for t in shares]),
        "by P(yes)": live(first_agreed, yes, shares),
        "by calibrated P(yes)": live(first_agreed, after, shares),
    }
    at = {name: matched(points, budget) for name, points in curves.items()}
    plain, weighed = recorded([Vote(), Vote(weights="yes")], [n])
    gaps = {
        "early stopping, P(yes)": difference(at["early stopping, P(yes)"], at["best of n, P(yes)"]),
        "early stopping, trained": difference(at["early stopping, prm"], at["best of n, prm"]),
        "over adaptive consistency": difference(
            at["early stopping, prm"], at["vote that stops (beta)"]
        ),
        "weighted vote that stops": difference(at["by P(yes)"], at["vote that stops (share)"]),
        "weighted vote": difference(weighed.right[:, 0], plain.right[:, 0]),
    }
    return gaps, curves


def _stopped(
    found: Pools,
    rule: Callable[..., Stopped],
    scores: Floats,
    threshold: float,
    orders: int,
    seed: int,
) -> Point:
    """Each problem's share right and mean samples, over random orders of its samples."""
    pi = random_orders(found.classes.shape[1], orders, seed)
    seen = rule(found.classes[:, pi], scores[:, pi], threshold)
    right = np.take_along_axis(found.right[:, pi], seen.chosen[..., None], axis=-1)[..., 0]
    return np.asarray(right.mean(axis=1)), np.asarray(seen.drawn.mean(axis=1), dtype=np.float64)


def matched(points: Sequence[Point], budget: float) -> Floats:
    """Each problem's share right where so many samples are drawn in the mean, ``(problems,)``.

    A mixture of the two points on either side; the nearest where there is none on one side.
    """
    order = sorted(points, key=lambda point: float(point[1].mean()))
    means = [float(drawn.mean()) for _, drawn in order]
    hi = min(int(np.searchsorted(means, budget)), len(order) - 1)
    lo = max(hi - 1, 0)
    gap = means[hi] - means[lo]
    share = min(max((budget - means[lo]) / gap, 0.0), 1.0) if gap > 0 else 1.0
    return np.asarray((1 - share) * order[lo][0] + share * order[hi][0])


def _row(level: str, name: str, said: Floats, right: Floats) -> dict[str, Any]:
    known = np.isfinite(said)
    s, y = said[known], right[known]
    return {
        "level": level, "confidence": name, "mean": float(s.mean()), "right": float(y.mean()),
        "ece": ece(s, y), "brier": brier(s, y), "auroc": auroc(s, y),
    }  # fmt: skip


def _standing(name: str, point: Point) -> dict[str, Any]:
    right, drawn = point
    accuracy = cell(right)
    return {"method": name, "samples": float(drawn.mean()), "accuracy": accuracy}


def _line(name: str, points: Sequence[Point]) -> Line:
    order = sorted(points, key=lambda point: float(point[1].mean()))
    drawn = [float(drawn.mean()) for _, drawn in order]
    return mean_line(name, drawn, [right for right, _ in order])


REPRODUCTION = Reproduction(
    "S029", CLAIMS, measure,
    full=Cost(calls=4_700, tokens=270_000, seconds=180),
    quick=Cost(calls=200, tokens=9_000, seconds=8),
)  # fmt: skip
