"""S097, First Finish Search (arXiv 2505.18149): start n samples, take the first that ends.

- Simulation of the paper's law: lengths of right and wrong texts are normal, so the shortest of n is right
  with probability n * integral of a phi_c(x) S(x)^(n-1), where S is the chance to be longer than x.  Where
  right texts are shorter this rises with n; where wrong ones are much more spread, or shorter, it falls.
- Recorded code samples (a model that does not think): the control, where the shortest is a poor choice.
- fly, live: whether the gain has the sign of the gap in length between wrong and right samples of the same
  problem, with free thinking, with a dial, and with written steps; and what a race costs.

Not tried: the paper's models and contests, beam search and budget forcing as rivals.
"""

from __future__ import annotations

from math import erf

import anyio
import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.core.registry import build
from outthink.lab.pools import Pools
from outthink.lab.stats import Estimate
from outthink.reproduce._lengths import (
    Lengths,
    chances,
    first_drawn,
    gaps,
    mean_known,
    short,
    signed,
    thoughts,
)
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, difference, mean
from outthink.reproduce.rules import above, below, between
from outthink.tasks import problems as problems_of
from outthink.tasks.base import TaskProblem
from outthink.train.evaluate import Contender, Result
from outthink.train.evaluate import measure as run_all

ABSTRACT, THEORY = "arXiv 2505.18149, abstract", "arXiv 2505.18149, the analysis of normal lengths"
SIMULATED = "simulation: normal lengths in tokens, 57 % right"
HUMAN = "recorded: CodeGen-Mono-16B on HumanEval, 164 problems x 100 samples, lengths in characters"
THINKS = "fly(think=free)"
FLY = f"live: {THINKS} on chain easy, 120 test problems, 8 samples"
#: right shorter; wrong ones three times as spread; right longer; no difference
SETTINGS = {
    "right shorter": Lengths(12_000, 16_000, 3_000, 3_000, spread=0),
    "wrong more spread": Lengths(12_000, 12_000, 3_000, 9_000, spread=0),
    "right longer": Lengths(16_000, 12_000, 3_000, 3_000, spread=0),
    "no difference": Lengths(12_000, 12_000, 3_000, 3_000, spread=0),
}
SIZES = (1, 2, 4, 8, 16)
ORGANISMS = {
    "free": (THINKS, "easy"),
    "dial": ("fly(think=5)", "easy"),
    "steps": ("fly", "medium"),
}

CLAIMS = {
    "law": Claim(
        text="The shortest of n is right as often as the law of two normal lengths says",
        published="a formula",
        source=THEORY,
        setting=f"{SIMULATED}; four settings, n from 1 to 16",
        statistic="largest distance between simulated and computed accuracy",
        rule=below(0.01),
    ),
    "rises": Claim(
        text="Where right texts are shorter, equally spread, more samples are better",
        published="a statement",
        source=THEORY,
        setting=f"{SIMULATED}; right 12k, wrong 16k, both +- 3k",
        statistic="accuracy of the shortest of 16 minus one sample",
        rule=above(0),
    ),
    "spread": Claim(
        text="Where wrong texts are much more spread, the first to finish is worse than any",
        published="a statement",
        source=THEORY,
        setting=f"{SIMULATED}; both 12k, right +- 3k, wrong +- 9k",
        statistic="accuracy of the shortest of 16 minus one sample",
        rule=below(0),
    ),
    "code": Claim(
        text="Control: of a model that does not think, the shortest is no better choice than any",
        published="no figure (these data: shortest .073, any .224)",
        source="arXiv 2505.18149, limits; CodeT's data",
        setting=HUMAN,
        statistic="shortest of 8 minus one sample, paired",
        rule=below(0),
    ),
    "shorter": Claim(
        text="Right texts of a model that thinks are shorter than wrong ones on the same problem",
        published="no figure",
        source=ABSTRACT,
        setting=FLY,
        statistic="mean length of wrong minus of right samples, over problems with both, tokens",
        rule=above(0),
    ),
    "gain": Claim(
        text="The first to finish is more often right than one sample",
        published="82.23 % on AIME with DeepSeek-R1, 15 % above one sample",
        source=ABSTRACT,
        setting=FLY,
        statistic="shortest of 8 minus one sample, paired",
        rule=above(0),
    ),
    **{
        f"sign {name}": Claim(
            text="The gain has the sign of the gap in length within a problem",
            published="a statement",
            source=THEORY,
            setting=FLY.replace(THINKS, model).replace("easy", level),
            statistic="shortest of 8 minus one sample, times the sign of the mean gap (wrong minus right)",
            rule=above(0),
        )
        for name, (model, level) in ORGANISMS.items()
    },
    "lockstep": Claim(
        text="A race costs about n times the shortest text",
        published="n L_min",
        source="arXiv 2505.18149, cost of the synchronous form",
        setting=f"live: {THINKS} on chain easy, 40 test problems one after another, without a store",
        statistic="tokens of first_finish(n=8) over 8 times those of its text",
        rule=between(0.8, 1.25),
    ),
    "saves": Claim(
        text="It takes fewer tokens than a vote of as many samples",
        published="up to 45 % fewer (second hand)",
        source="arXiv 2505.18149",
        setting=f"live: {THINKS} on chain easy, 40 test problems one after another, without a store",
        statistic="tokens of first_finish(n=8) over those of self_consistency(n=8)",
        rule=below(1),
    ),
}  # fmt: skip


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems."""
    rng = trial.rng()
    count = 20_000 if trial.quick else 200_000
    simulated = {name: _simulate(s, count, rng) for name, s in SETTINGS.items()}
    laws = {name: [expected(s, n) for n in SIZES] for name, s in SETTINGS.items()}
    off = max(
        (abs(e.value - law), (e.high - e.low) / 2)
        for name, row in simulated.items()
        for e, law in zip(row, laws[name], strict=True)
    )
    measured = {
        "law": Estimate(off[0], max(off[0] - off[1], 0.0), off[0] + off[1]),
        "rises": _change(simulated["right shorter"]),
        "spread": _change(simulated["wrong more spread"]),
    }
    code = trial.pools("codet_humaneval")
    shortest, one = chances(code, [short(1), first_drawn()], 8, 200)
    measured["code"] = difference(shortest, one)

    split, size, n = ("dev", 6, 4) if trial.quick else ("test", 120, 8)
    rows = [_row("recorded code", code, shortest, one)]
    for name, (model, level) in ORGANISMS.items():
        drawn = thoughts(trial, model, problems_of("chain", level, split, size, trial.seed), n)
        shortest, one = chances(drawn, [short(1), first_drawn()], n, 200)
        gap = gaps(drawn)
        if name == "free":
            measured["gain"] = difference(shortest, one)
            measured["shorter"] = mean_known(gap, trial)
        measured[f"sign {name}"] = signed(gap, shortest - one, trial)
        rows.append(_row(f"{model}, {level}", drawn, shortest, one))
    raced = problems_of("chain", "easy", split, 3 if trial.quick else 40, trial.seed)
    measured |= _race(trial, raced, n)
    tables = {
        "gap and gain": rows,
        "simulation": [
            {"setting": name, "n": k, "simulated": list(e), "law": law}
            for name, row in simulated.items()
            for k, e, law in zip(SIZES, row, laws[name], strict=True)
        ],
    }
    lines = [
        Line(name, SIZES, [e.value for e in r], [e.low for e in r], [e.high for e in r], "dots")
        for name, r in simulated.items()
    ] + [Line(f"{name}: law", SIZES, law, style="dashed") for name, law in laws.items()]
    panel = Panel("the shortest of n: simulation and law", "samples", "accuracy", lines)
    return Findings(measured, tables, (panel,))


def expected(s: Lengths, n: int) -> float:
    """The chance that the shortest of n is right: ``n * integral of a phi_c(x) S(x)^(n-1) dx``."""
    low = min(s.right - 8 * s.right_sd, s.wrong - 8 * s.wrong_sd)
    high = max(s.right + 8 * s.right_sd, s.wrong + 8 * s.wrong_sd)
    x = np.linspace(low, high, 20_001)
    density = np.exp(-0.5 * ((x - s.right) / s.right_sd) ** 2) / (s.right_sd * np.sqrt(2 * np.pi))
    longer = s.accuracy * _above(x, s.right, s.right_sd)
    longer = longer + (1 - s.accuracy) * _above(x, s.wrong, s.wrong_sd)
    return float(np.trapezoid(n * s.accuracy * density * longer ** (n - 1), x))


def _above(x: Floats, mean: float, spread: float) -> Floats:
    """The chance of a normal number above x."""
    z = (x - mean) / (spread * np.sqrt(2))
    return np.asarray([0.5 * (1 - erf(v)) for v in z], dtype=np.float64)


def _simulate(s: Lengths, count: int, rng: np.random.Generator) -> list[Estimate]:
    """The accuracy of the shortest of 1, 2, 4, ... simulated samples."""
    drawn = s.draw(count, SIZES[-1], rng)
    out = []
    for n in SIZES:
        place = drawn.tokens[:, :n].argmin(axis=1)
        right = drawn.right[np.arange(count), place].astype(np.float64)
        out.append(mean(right))
    return out


def _change(row: list[Estimate]) -> Estimate:
    """From one sample to the most, as of independent draws."""
    first, last = row[0], row[-1]
    half = float(np.hypot(first.high - first.low, last.high - last.low)) / 2
    change = last.value - first.value
    return Estimate(change, change - half, change + half)


def _race(trial: Trial, problems: list[TaskProblem], n: int) -> dict[str, Estimate]:
    """What the live strategy costs, one problem at a time so that all samples are in one batch.

    Without a store, from which a second run would have what ended for nothing, and at once.
    """
    specs = [f"first_finish(n={n})", f"self_consistency(n={n})"]
    contenders = [Contender(s, s) for s in specs]

    async def main() -> list[Result]:
        return await run_all(contenders, problems, model=THINKS, seed=trial.seed, width=1)

    first, vote = anyio.run(main)
    trial.models.add(build(THINKS, "model").open().name)
    for result in (first, vote):
        trial.spent = sum((a.usage for a in result.answers), trial.spent)
    chosen = np.array([float(a.candidates[0].tokens) for a in first.answers])

    def ratios(at: Ints) -> Floats:
        spent = first.tokens[at].sum()
        return np.array([spent / (n * chosen[at].sum()), spent / vote.tokens[at].sum()])

    lockstep, saves = bootstrap(ratios, len(problems), trial.rng(), trial.draws)
    return {"lockstep": lockstep, "saves": saves}


def _row(name: str, found: Pools, shortest: Floats, one: Floats) -> dict[str, object]:
    return {
        "samples": name,
        "wrong minus right, length": float(np.nanmean(gaps(found))),
        "one sample": float(one.mean()),
        "shortest": float(shortest.mean()),
    }


REPRODUCTION = Reproduction(
    "S097", CLAIMS, measure,
    full=Cost(calls=3_500, tokens=270_000, seconds=170),
    quick=Cost(calls=120, tokens=8_000, seconds=8),
    sets=("codet_humaneval",),
)  # fmt: skip
