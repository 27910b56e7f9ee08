"""S021, When Life Gives You Samples (arXiv 2506.20544): few samples, one of them safe, chosen together.

The paper samples five texts in many languages, one of them greedy, and chooses with a checklist (CHOPS)
or with evidence in another language (X-MBR).  Here:

- closed form: minimum Bayes risk under equality is the vote;
- simulation: languages of which hot samples are worse by some standard deviations than the greedy text,
  and a noisy judge: what hedging does to the worst case and to the best of five;
- simulation: answers in a weak language, with evidence from a strong one, at equal samples;
- fly, live: hot samples (temperature 1.3) with and without a greedy one.

Not tried: languages (fly reads one), CHOPS (fly can check no list and picks none), min-p (fly has it
not), win rates of open-ended texts.  What greedy decoding is worth on fly is more than in large models:
it leaves out nearly all slips.  ``countdown``, where that need not hold, is shown beside.
"""

from __future__ import annotations

import numpy as np

from outthink.core.nouns import Floats
from outthink.lab.stats import Estimate
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, cell, difference, exact
from outthink.reproduce.live import one_sample, pools
from outthink.reproduce.rules import above, agrees
from outthink.select.mbr import mbr
from outthink.select.vote import elect, support
from outthink.tasks import problems as problems_of

PAPER = "arXiv 2506.20544"
N, EVIDENCE, HOT = 5, 3, 1.3
#: how many standard deviations hot samples of a language are worse than its greedy text
WEAKNESS = (0.0, 0.5, 1.0, 1.5)
SIMULATION = "simulation: hot samples one standard deviation below the greedy text, 5 samples"
CHAIN = "live: fly on chain medium, 150 test problems, 5 samples at temperature 1.3"

CLAIMS = {
    "equality": Claim(
        text="Minimum Bayes risk under equality of answers is the majority vote",
        published="identity",
        source="arXiv 2310.01387, section 5",
        setting="simulation: 20,000 pools of 1 to 12 samples in up to 5 classes",
        statistic="share of pools in which both choose the same sample",
        rule=agrees(1.0, 0.0),
    ),
    "worst": Claim(
        text="A greedy text among hot ones lifts the worst case",
        published="no figure",
        source=f"{PAPER}, hedged sampling",
        setting=f"{SIMULATION}, a judge with noise of the same size",
        statistic="5 % quantile of the chosen text's quality, hedged minus hot",
        rule=above(0),
    ),
    "best": Claim(
        text="A greedy text among hot ones does not lower the best of five",
        published="no figure",
        source=f"{PAPER}, hedged sampling",
        setting=SIMULATION,
        statistic="mean quality of the best of five, hedged minus hot, paired",
        rule=above(0),
    ),
    "evidence": Claim(
        text="Evidence in a stronger language chooses better than as many more samples",
        published="no figure",
        source=f"{PAPER}, X-MBR",
        setting="simulation: answers right with log-odds -0.8 and +0.8 (+ difficulty) in the two languages",
        statistic="X-MBR (5 + 3 of evidence) minus MBR of 8, accuracy, paired",
        rule=above(0),
    ),
    "vote": Claim(
        text="Hedging lifts a vote of five",
        published="no figure",
        source=f"{PAPER}, hedged sampling",
        setting=CHAIN,
        statistic="hedged(n=5) minus self_consistency(n=5), paired",
        rule=above(0),
    ),
    "coverage": Claim(
        text="Hedging does not lower what five samples cover",
        published="no figure",
        source=f"{PAPER}, hedged sampling",
        setting=CHAIN,
        statistic="share of problems with a right sample, hedged minus hot, paired",
        rule=above(-0.02),
    ),
    "five": Claim(
        text="Five hedged samples, one chosen, are better than one greedy text",
        published="+6.8 points of win rate",
        source=f"{PAPER}, abstract",
        setting="live: fly on chain hard, 100 test problems",
        statistic="hedged(n=5, verifier=prm) minus greedy, paired",
        rule=above(0),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems of an easy level, and few simulated ones."""
    measured: dict[str, Estimate] = {"equality": exact(equality(trial.rng()))}
    size = 400 if trial.quick else 4_000
    languages = {w: hedging(trial, w, size) for w in WEAKNESS}
    measured["worst"], measured["best"] = languages[1.0]
    strong, more, few = evidence(trial.rng(), size)
    measured["evidence"] = difference(strong, more)

    many = 4 if trial.quick else 150
    split = "dev" if trial.quick else "test"
    levels = (("chain", "easy"), ("chain", "easy"), ("countdown", "easy"))
    if not trial.quick:
        levels = (("chain", "medium"), ("chain", "hard"), ("countdown", "medium"))
    specs = [f"self_consistency(n={N}, temperature={HOT})", f"hedged(n={N}, temperature={HOT})"]
    rows = []
    for at, (family, level) in enumerate(levels):
        problems = problems_of(
            family, level, split, many if at != 1 else min(many, 100), trial.seed
        )
        if at == 1:
            chosen, greedy = trial.run(
                "one or five", [f"hedged(n={N}, verifier=prm)", "greedy"], problems
            )
            measured["five"] = difference(chosen.right, greedy.right)
            continue
        found = trial.run(f"{family} {level}", [*specs, "greedy"], problems)
        hot, hedged = (pools(r, problems) for r in found[:2])
        if at == 0:
            measured["vote"] = difference(found[1].right, found[0].right)
            measured["coverage"] = difference(covered(hedged.right), covered(hot.right))
        rows.append({
            "problems": f"{family} {level}", "greedy": cell(found[2].right),
            "one hot sample": cell(one_sample(hot)), "vote of 5 hot": cell(found[0].right),
            "vote of 5 hedged": cell(found[1].right), "5 hot cover": cell(covered(hot.right)),
            "5 hedged cover": cell(covered(hedged.right)),
        })  # fmt: skip
    tables = {
        "fly": rows,
        "evidence": [
            {"choice": name, "accuracy": cell(values)}
            for name, values in (
                (f"MBR of {N}", few), (f"MBR of {N + EVIDENCE}", more), ("X-MBR", strong),
            )
        ],
    }  # fmt: skip
    lines = []
    for i, label in enumerate(("worst case (5 %)", "best of five")):
        value, low, high = ([float(languages[w][i][j]) for w in WEAKNESS] for j in range(3))
        lines.append(Line(label, WEAKNESS, value, low, high))
    panel = Panel(
        "simulation: hedged minus hot", "hot samples below the greedy text (standard deviations)",
        "quality (standard deviations)", lines, log=False,
    )  # fmt: skip
    note = (
        "Hedging costs the best of five where hot samples are as good as the greedy text "
        f"({languages[0.0][1].value:+.2f} standard deviations), and pays where they are worse "
        f"({languages[1.5][1].value:+.2f} at 1.5): it is for languages and temperatures that are weak."
    )
    return Findings(measured, tables, (panel,), [note])


def equality(rng: np.random.Generator) -> float:
    """The share of random pools in which MBR under equality and the vote choose the same sample."""
    same = []
    for n in range(1, 13):
        classes = rng.integers(-1, 5, (20_000 // 12 + 1, n))
        equal = (classes[..., :, None] == classes[..., None, :]) & (classes >= 0)[..., None]
        same.append(mbr(equal.astype(float), classes) == elect(support(classes), classes))
    return float(np.concatenate(same).mean())


def hedging(trial: Trial, weakness: float, size: int) -> tuple[Estimate, Estimate]:
    """The worst case of what a noisy judge chooses, and the best of five: hedged minus hot.

    Quality of a hot sample ~ N(-weakness, 1), of the greedy text ~ N(0, 1/4); the judge adds N(0, 1).
    The hedged pool has four of the five hot samples.
    """
    rng = trial.rng()
    hot = rng.normal(-weakness, 1.0, (size, N))
    hedged = np.concatenate([rng.normal(0.0, 0.25, (size, 1)), hot[:, 1:]], axis=1)
    noise = rng.normal(0.0, 1.0, (size, N))
    kept = [np.take_along_axis(q, (q + noise).argmax(1)[:, None], 1)[:, 0] for q in (hedged, hot)]

    def worst(at: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
        return float(np.quantile(kept[0][at], 0.05) - np.quantile(kept[1][at], 0.05))

    (low,) = bootstrap(worst, size, rng, trial.draws)
    return low, difference(hedged.max(axis=1), hot.max(axis=1))


def evidence(rng: np.random.Generator, size: int) -> tuple[Floats, Floats, Floats]:
    """Right or not: X-MBR with a strong language's evidence, MBR of as many weak ones, MBR of five.

    A problem's difficulty ~ N(0, 1) adds to the log-odds of being right in both languages; of five wrong
    answers the first draws 40 %, in both.
    """
    hard = rng.normal(0.0, 1.0, (size, 1))

    def answers(log_odds: float, n: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        right = rng.random((size, n)) < 1 / (1 + np.exp(-log_odds - hard))
        wrong = rng.choice(np.arange(1, 6), (size, n), p=[0.4, 0.15, 0.15, 0.15, 0.15])
        return np.where(right, 0, wrong)

    weak, strong = answers(-0.8, N + EVIDENCE), answers(0.8, EVIDENCE)

    def choice(candidates: Floats, references: Floats) -> Floats:
        utility = (candidates[:, :, None] == references[:, None, :]).astype(float)
        place = mbr(utility, candidates.astype(np.int64))[:, None]
        return np.asarray(np.take_along_axis(candidates, place, 1)[:, 0] == 0, dtype=np.float64)

    own = weak[:, :N].astype(np.float64)
    both = np.concatenate([own, strong.astype(np.float64)], axis=1)
    return (
        choice(own, both),
        choice(weak.astype(np.float64), weak.astype(np.float64)),
        choice(own, own),
    )


def covered(right: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> Floats:
    """Does a problem have a right sample, ``(problems,)``?"""
    return np.asarray(right.any(axis=1), dtype=np.float64)


REPRODUCTION = Reproduction(
    "S021", CLAIMS, measure,
    full=Cost(calls=2_500, tokens=280_000, seconds=160),
    quick=Cost(calls=60, tokens=4_000, seconds=3),
)  # fmt: skip
