"""S004, Best-of-Majority (arXiv 2510.03199): frequent answers only, then the highest rewards.

The paper's claim: best-of-n submits worse answers the more samples it sees, since the reward model errs
most on what is rare; a rule that keeps frequent answers first does not, and beats best-of-n and the vote.
Tried here

- on simulated problems: one right answer, five common wrong ones, 2,000 rare wrong ones of which the
  reward model overrates one in twenty; and, as a control, the same without that error;
- on recorded code samples (CodeGen-Mono-16B on HumanEval) with the tests that a model wrote as the reward:
  programs that pass the same tests are one answer, its reward is their number.  Equal rewards are ordered
  at random for every rule, so that only the threshold tells them apart.  The threshold is cross-fitted:
  chosen on half of the problems, tried on the other half.

Not tried: the paper's math benchmarks and reward models; its regret bounds (constants are not claimed).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats, Ints
from outthink.reproduce.base import Claim, Cost, Findings, Panel, Reproduction, Trial
from outthink.reproduce.codet import matrix
from outthink.reproduce.estimates import cell, difference, mean_line, tuned
from outthink.reproduce.rules import above, below
from outthink.select.best_of_majority import best_of_majority

Bools = npt.NDArray[np.bool_]
PAPER = "arXiv 2510.03199, abstract"
MADE = "simulation: 400 problems, a reward model that overrates rare wrong answers"
PLAIN = "simulation: 400 problems, a reward model that errs on common answers alone"
CODE = "recorded: CodeGen-Mono-16B on HumanEval, 164 problems x 100 samples, model-written tests"
#: submissions and threshold of the simulation; thresholds that are tried on the recorded samples
K, ALPHA, ALPHAS = 3, 0.05, (0.02, 0.05, 0.1, 0.2, 0.4)
SIZES = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
COMMON, RARE = 5, 2000

CLAIMS = {
    "best falls": Claim(
        text="Best-of-n falls with more samples",
        published="no figure",
        source=PAPER,
        setting=MADE,
        statistic="best-of-n, pass@3 of 1024 samples minus that of 16, paired",
        rule=below(0),
    ),
    "keeps": Claim(
        text="Best-of-majority does not degrade with more samples",
        published="no figure",
        source=PAPER,
        setting=MADE,
        statistic="best-of-majority, pass@3 of 1024 samples minus that of 64, paired",
        rule=above(-0.02),
    ),
    "over best": Claim(
        text="Best-of-majority is better than best-of-n at many samples",
        published="no figure",
        source=PAPER,
        setting=MADE,
        statistic="best-of-majority minus best-of-n, pass@3 of 1024 samples, paired",
        rule=above(0),
    ),
    "over vote": Claim(
        text="Best-of-majority is better than the vote at many samples",
        published="no figure",
        source=PAPER,
        setting=MADE,
        statistic="best-of-majority minus the three most frequent, pass@3 of 1024, paired",
        rule=above(0),
    ),
    "control": Claim(
        text="Where the reward model does not err on what is rare, best-of-n does not fall",
        published="control",
        source=PAPER,
        setting=PLAIN,
        statistic="best-of-n, pass@3 of 1024 samples minus that of 16, paired",
        rule=above(-0.02),
    ),
    "code over best": Claim(
        text="Best-of-majority is better than best-of-n",
        published="no figure",
        source=PAPER,
        setting=CODE,
        statistic="cross-fitted best-of-majority minus most tests passed, pass@1 of 100, paired",
        rule=above(0),
    ),
    "code over vote": Claim(
        text="Best-of-majority is better than the vote",
        published="no figure",
        source=PAPER,
        setting=CODE,
        statistic="cross-fitted best-of-majority minus the most frequent, pass@1 of 100, paired",
        rule=above(0),
    ),
    "code keeps": Claim(
        text="Best-of-majority does not degrade with more samples",
        published="no figure",
        source=PAPER,
        setting=CODE,
        statistic="cross-fitted best-of-majority, pass@1 of 100 samples minus that of 25, paired",
        rule=above(-0.02),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes fewer problems and orders."""
    rng = trial.rng()
    count = 60 if trial.quick else 400
    heavy = _by_size(*simulated(rng, count, overrated=0.05))
    plain = _by_size(*simulated(rng, count, overrated=0.0))
    last, early = SIZES[-1], 16
    found, passed = trial.pools("codet_humaneval"), matrix(trial.folder("codet_humaneval"))
    code = _recorded(passed, found.right, rng, 4 if trial.quick else 40)
    kept = {n: tuned({a: code[f"{a}", n] for a in ALPHAS}) for n in (25, 100)}
    measured = {
        "best falls": difference(heavy["best", last], heavy["best", early]),
        "keeps": difference(heavy["majority", last], heavy["majority", 64]),
        "over best": difference(heavy["majority", last], heavy["best", last]),
        "over vote": difference(heavy["majority", last], heavy["vote", last]),
        "control": difference(plain["best", last], plain["best", early]),
        "code over best": difference(kept[100], code["best", 100]),
        "code over vote": difference(kept[100], code["vote", 100]),
        "code keeps": difference(kept[100], kept[25]),
    }
    tables = {
        "simulation": _rows(heavy),
        "control": _rows(plain),
        "recorded": _rows({**code, **{("cross-fitted", n): v for n, v in kept.items()}}),
    }
    panels = (
        _panel("Rare wrong answers overrated", heavy, SIZES),
        _panel("Errors on common answers alone", plain, SIZES),
        _panel("HumanEval, model-written tests", code, (10, 25, 50, 100), "pass@1"),
    )
    return Findings(measured, tables, panels)


def simulated(
    rng: np.random.Generator, problems: int, overrated: float
) -> tuple[Ints, Floats, Ints]:
    """Answers ``(problems, 1024)``, their rewards, and the right answer of each problem (0).

    The right answer has a probability from 0.02 to 0.4 (log-uniform), the rare ones share 0.3, the
    common ones the rest.  A reward is 1 for the right answer and 0 for a wrong one, with an error of
    0.7 (standard deviation) on the common ones and the right one; the share ``overrated`` of the rare
    ones has about 2 instead.
    """
    right = np.exp(rng.uniform(np.log(0.02), np.log(0.4), problems))
    rest = (0.7 - right)[:, None] * rng.dirichlet(np.full(COMMON, 2.0), problems)
    few = np.concatenate([right[:, None], rest, np.full((problems, 1), 0.3)], axis=1)
    shape = problems, SIZES[-1]
    u = rng.random(shape)
    drawn = (u[..., None] > np.cumsum(few, axis=1)[:, None, :-1]).sum(axis=-1)
    drawn = np.where(drawn > COMMON, COMMON + 1 + rng.integers(0, RARE, shape), drawn)
    reward = np.zeros((problems, COMMON + 1 + RARE))
    reward[:, 0] = 1.0
    reward[:, : COMMON + 1] += rng.normal(0.0, 0.7, (problems, COMMON + 1))
    rare = (problems, RARE)
    reward[:, COMMON + 1 :] = np.where(
        rng.random(rare) < overrated, rng.normal(2.0, 0.3, rare), 0.0
    )
    return drawn, np.take_along_axis(reward, drawn, axis=1), np.zeros(problems, dtype=np.int64)


def _by_size(classes: Ints, rewards: Floats, right: Ints) -> dict[tuple[str, int], Floats]:
    """Whether a right answer is among the submissions of each rule: ``(problems,)``, by size."""
    out: dict[tuple[str, int], Floats] = {}
    for n in SIZES:
        c, r = classes[:, :n], rewards[:, :n]
        hit = c == right[:, None]
        out |= {
            ("best", n): submitted(hit, best_of_majority(c, r, K)),
            ("majority", n): submitted(hit, best_of_majority(c, r, K, ALPHA)),
            ("vote", n): submitted(hit, best_of_majority(c, counted(c), K)),
        }
    return out


def counted(classes: Ints) -> Floats:
    """How many samples of its row have the answer of each sample, ``(rows, n)``."""
    rows = [np.unique(c, return_inverse=True, return_counts=True) for c in classes]
    return np.array([count[place.ravel()] for _, place, count in rows], dtype=np.float64)


def submitted(right: Bools, places: Ints) -> Floats:
    """Is any of the submitted places right?  ``(rows,)`` of ``right (rows, n)``."""
    hit = np.take_along_axis(right, np.maximum(places, 0), axis=-1) & (places >= 0)
    return np.asarray(hit.any(axis=-1), dtype=np.float64)


def _recorded(
    passed: Bools, right: Bools, rng: np.random.Generator, orders: int
) -> dict[tuple[str, int], Floats]:
    """The chance that each rule's first submission is right, ``(problems,)``, over random orders."""
    sizes = (10, 25, 50, 100)
    sums: dict[tuple[str, int], list[Floats]] = {}
    for tests, hits in zip(passed, right, strict=True):
        order = rng.permuted(np.tile(np.arange(len(hits)), (orders, 1)), axis=1)
        kind = np.unique(tests, axis=0, return_inverse=True)[1].ravel()
        classes, right_ones = kind[order], hits[order]
        # in [0, 1), of its own for each answer: the order of equal rewards, and of equal votes
        tie = np.take_along_axis(rng.random((orders, len(hits))), classes, axis=1)
        reward = tests.sum(axis=1)[order] + tie
        for n in sizes:
            c, y = classes[:, :n], right_ones[:, :n]
            for name, alpha in {"best": 0.0, **{f"{a}": a for a in ALPHAS}}.items():
                got = submitted(y, best_of_majority(c, reward[:, :n], 1, alpha))
                sums.setdefault((name, n), []).append(got)
            voted = best_of_majority(c, counted(c) + tie[:, :n], 1)
            sums.setdefault(("vote", n), []).append(submitted(y, voted))
    return {key: np.array([rows.mean() for rows in found]) for key, found in sums.items()}


def _rows(found: Mapping[tuple[str, int], Floats]) -> list[dict[str, object]]:
    return [{"rule": name, "samples": n, "pass": cell(v)} for (name, n), v in found.items()]


def _panel(
    title: str,
    found: Mapping[tuple[str, int], Floats],
    sizes: Sequence[int],
    y: str = f"pass@{K}",
) -> Panel:
    names = list(dict.fromkeys(name for name, _ in found))
    lines = []
    for name in names:
        label = {"best": "best of n", "majority": f"best of majority, {ALPHA}"}.get(name, name)
        label = f"best of majority, {name}" if name[0] == "0" else label
        lines.append(mean_line(label, sizes, [found[name, n] for n in sizes]))
    return Panel(title, "samples", y, tuple(lines))


REPRODUCTION = Reproduction(
    "S004", CLAIMS, measure,
    full=Cost(seconds=30),
    quick=Cost(seconds=4),
    sets=("codet_humaneval",),
)  # fmt: skip
