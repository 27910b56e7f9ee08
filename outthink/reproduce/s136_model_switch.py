"""S136, ModelSwitch: Do We Truly Need So Many Samples? (arXiv 2504.00762).

Several models asked in turn until one agrees with itself, and a vote over all, beat many samples of the
best of them, where the models fail on different problems.  Here:

- a simulation of two models that are equally good: with difficulties of their own; equally hard for
  both, with other wrong answers; and with the same favourite wrong answer, the control, where nothing
  can be gained;
- recorded single answers of many models (ZeroEval): the vote over the models in the middle, which is
  what is left of the method with one sample a model;
- fly and fly-xs, live: trained on the same data, so that their errors are much alike.

Not tried: the six benchmarks of the paper, external weights (``trust``), the reward model.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.recorded import normal
from outthink.lab.rows import read_table, text_of_value
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import cell, difference, exact
from outthink.reproduce.rules import above, agrees, between
from outthink.select.agree import switch_weights
from outthink.select.vote import elect, support
from outthink.tasks import problems as problems_of
from outthink.train.evaluate import Result

PAPER = "arXiv 2504.00762, abstract"
TABLE = (
    "MATH: 81 % of two models with 35 samples, 79.8 % of the better alone with 512 (second-hand)"
)
SIMULATION = (
    "simulation: two models, 8 samples each, 3,000 questions, chance to be right logistic in a "
    "difficulty ~ N(-1, 2); {}"
)
GAIN = "switch of two models minus a vote of 16 samples of one, paired"
ZERO = "recorded: ZeroEval, one answer of each model, models of {} right"
FLY = "live: fly, then fly-xs, on chain {}, 100 test problems, n=10 (5 of each)"
K = 8

CLAIMS = {
    "independent": Claim(
        text="Two models that find different questions hard gain much over one",
        published=TABLE,
        source=PAPER,
        setting=SIMULATION.format("each with difficulties of its own"),
        statistic=GAIN,
        rule=above(0.05),
    ),
    "other wrong": Claim(
        text="Two models with the same difficulties and other wrong answers gain",
        published="no figure",
        source=PAPER,
        setting=SIMULATION.format("the same difficulties, different favourite wrong answers"),
        statistic=GAIN,
        rule=above(0),
    ),
    "same wrong": Claim(
        text="Control: with the same difficulties and favourite wrong answers there is no gain",
        published="no figure",
        source=PAPER,
        setting=SIMULATION.format("the same difficulties, the same favourite wrong answer"),
        statistic=GAIN,
        rule=between(-0.02, 0.02),
    ),
    "entropy": Claim(
        text="The weights by entropy change little against votes that count",
        published="no figure (the released driver counts)",
        source="JianhaoChen-nju/ModelSwitch",
        setting=SIMULATION.format("each with difficulties of its own"),
        statistic="switch with weights by entropy minus with weights of 1, paired",
        rule=between(-0.03, 0.03),
    ),
    "middle math": Claim(
        text="A vote of 22 middle models on MATH level 5",
        published=".685 (refitted from the published answers)",
        source="WildEval/ZeroEval, answers",
        setting=ZERO.format(".30 to .60"),
        statistic="accuracy of the plurality",
        rule=agrees(0.685, 0.005),
    ),
    "middle gsm": Claim(
        text="A vote of 19 middle models on GSM8K",
        published=".957 (refitted from the published answers)",
        source="WildEval/ZeroEval, answers",
        setting=ZERO.format(".80 to .93"),
        statistic="accuracy of the plurality",
        rule=agrees(0.957, 0.005),
    ),
    "pool math": Claim(
        text="Models that complete each other: the vote beats the best of its voters, MATH",
        published="no figure",
        source=PAPER,
        setting=ZERO.format(".30 to .60"),
        statistic="plurality minus the best of the models, paired",
        rule=above(0),
    ),
    "pool gsm": Claim(
        text="The vote beats the best of its voters, GSM8K",
        published="no figure",
        source=PAPER,
        setting=ZERO.format(".80 to .93"),
        statistic="plurality minus the best of the models, paired",
        rule=above(0),
    ),
    "live": Claim(
        text="Two models switched beat the better of them alone, at as many samples",
        published=TABLE,
        source=PAPER,
        setting=FLY.format("medium"),
        statistic="model_switch minus self_consistency of the model whose vote is better, paired",
        rule=above(0),
    ),
    "saved": Claim(
        text="Fewer samples are drawn",
        published="34 % fewer (second-hand)",
        source=PAPER,
        setting=FLY.format("easy"),
        statistic="share of the 10 samples that is not drawn",
        rule=above(0.1),
    ),
    "kept": Claim(
        text="and no accuracy is lost by it",
        published="no figure",
        source=PAPER,
        setting=FLY.format("easy"),
        statistic="model_switch minus self_consistency(n=10) of fly, paired",
        rule=above(-0.03),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick simulates less and asks fly little."""
    settings = ("independent", "other wrong", "same wrong")
    simulated = {s: simulate(s, trial.rng(), 300 if trial.quick else 3000) for s in settings}
    measured = {s: difference(v["switch"], v["one model"]) for s, v in simulated.items()}
    own = simulated["independent"]
    measured["entropy"] = difference(own["switch"], own["switch, counted"])
    rows: dict[str, list[dict[str, object]]] = {
        "simulation": [
            {"models": s, "decision": name, "accuracy": cell(v), "samples": _drawn(name, found)}
            for s, found in simulated.items()
            for name, v in found.items()
            if name != "samples"
        ],
        "ZeroEval": [],
    }
    for key, name, low, high in (
        ("math", "zeroeval_math_l5", 0.3, 0.6),
        ("gsm", "zeroeval_gsm", 0.8, 0.93),
    ):
        voted, best, models = _middle(trial, name, low, high)
        measured[f"middle {key}"] = exact(float(voted.mean()))
        measured[f"pool {key}"] = difference(voted, best)
        rows["ZeroEval"].append(
            {"set": name, "models": models, "plurality": cell(voted), "best": cell(best)}
        )
    live = {
        level: _live(trial, level) for level in (("easy",) if trial.quick else ("medium", "easy"))
    }
    switch, alone, small = live.get("medium", live["easy"])
    measured["live"] = difference(switch.right, max((alone, small), key=lambda r: r.accuracy).right)
    switch, alone, _ = live["easy"]
    n = len(alone.answers[0].candidates)
    used = np.array([float(len(a.candidates)) for a in switch.answers])
    measured["saved"] = difference(1.0 - used / n, np.zeros(len(used)))
    measured["kept"] = difference(switch.right, alone.right)
    rows["fly and fly-xs"] = [
        {
            "level": level,
            "model": name,
            "accuracy": cell(r.right),
            "samples": float(np.mean([len(a.candidates) for a in r.answers])),
        }
        for level, results in live.items()
        for name, r in zip(("switch", "fly", "fly-xs"), results, strict=True)
    ]
    panels = (
        Panel("Two equal models, 16 samples", "samples", "accuracy", tuple(
            Line(f"{s}: {name}", [_drawn(name, found)], [float(found[name].mean())], style="dots")
            for s, found in simulated.items()
            for name in ("one model", "switch", "pooled vote")
        ), log=False),
    )  # fmt: skip
    return Findings(measured, rows, panels)


def simulate(setting: str, rng: np.random.Generator, questions: int) -> dict[str, Floats]:
    """Is each decision right, ``(questions,)``; and how many samples the switch drew.

    A wrong sample falls on the favourite wrong answer of its model six times in ten, else on any of four.
    """
    shape = (questions, 2)
    ease = rng.normal(1.0, 2.0, size=shape)
    favourite = rng.integers(1, 5, size=shape)
    if setting != "independent":
        ease[:, 1] = ease[:, 0]
    if setting == "same wrong":
        favourite[:, 1] = favourite[:, 0]
    elif setting == "other wrong":
        favourite[:, 1] = 1 + (favourite[:, 0] - 1 + rng.integers(1, 4, questions)) % 4
    chance = 1 / (1 + np.exp(-ease))[..., None]
    wide = (*shape, 2 * K)
    wrong = np.where(rng.random(wide) < 0.6, favourite[..., None], rng.integers(1, 5, size=wide))
    classes = np.where(rng.random(wide) < chance, 0, wrong)
    two = classes[:, :, :K]
    counted = switch_weights(two, entropy=False)
    return {
        "one model": _vote(classes[:, 0], np.ones((questions, 2 * K))),
        "switch": _vote(two, switch_weights(two)),
        "switch, counted": _vote(two, counted),
        "pooled vote": _vote(two, np.ones(two.shape)),
        "samples": (counted > 0).sum(axis=(1, 2)).astype(np.float64),
    }


def _vote(classes: Ints, weights: Floats) -> Floats:
    """Is the vote right (class 0)?"""
    flat = classes.reshape(len(classes), -1)
    place = elect(support(flat, weights.reshape(flat.shape)), flat)
    chosen = np.take_along_axis(flat, place[:, None], axis=1)[:, 0]
    return np.asarray(chosen == 0, dtype=np.float64)


def _drawn(name: str, found: dict[str, Floats]) -> float:
    return float(found["samples"].mean()) if name.startswith("switch") else 2.0 * K


def _middle(trial: Trial, name: str, low: float, high: float) -> tuple[Floats, Floats, int]:
    """Right or not by problem: the plurality of the models within this accuracy, and their best model.

    Answers are in the order of the models' names; of equally frequent ones the first counts.
    """
    table = read_table(str(trial.folder(name) / "answers.parquet"), name)
    by_model: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in table.rows:
        by_model[str(row["model"])].append(dict(row))
    shares = {m: float(np.mean([r["correct"] for r in rows])) for m, rows in by_model.items()}
    middle = sorted(m for m, share in shares.items() if low <= share <= high)
    known = {m: {r["problem"]: r for r in by_model[m]} for m in middle}
    best = max(middle, key=lambda m: shares[m])
    problems = list(known[best])
    voted = []
    for problem in problems:
        rows = [known[m][problem] for m in middle if problem in known[m]]
        answers = [text_of_value(r["answer"]) for r in rows]
        forms = [None if not a else normal(a) for a in answers]
        numbers: dict[str, int] = {}
        classes = np.array(
            [-1 if f is None else numbers.setdefault(f, len(numbers)) for f in forms]
        )
        winner = classes == classes[elect(support(classes), classes)]
        voted.append(float(np.array([bool(r["correct"]) for r in rows])[winner].any()))
    right = [float(known[best][p]["correct"]) for p in problems]
    return np.array(voted), np.array(right), len(middle)


def _live(trial: Trial, level: str) -> tuple[Result, Result, Result]:
    """The switch, and each model's own vote, on one level of chain."""
    count, n = (4, 4) if trial.quick else (100, 10)
    problems = problems_of("chain", level, "dev" if trial.quick else "test", count, trial.seed)
    specs = [f"model_switch(models=[fly-xs], n={n})", f"self_consistency(n={n})"]
    switch, alone = trial.run(f"fly, {level}", specs, problems)
    (small,) = trial.run(f"fly-xs, {level}", specs[1:], problems, model="fly-xs")
    return switch, alone, small


REPRODUCTION = Reproduction(
    "S136", CLAIMS, measure,
    full=Cost(calls=800, tokens=260_000, seconds=130),
    quick=Cost(calls=20, tokens=2_000, seconds=6),
    sets=("zeroeval_math_l5", "zeroeval_gsm"),
)  # fmt: skip
