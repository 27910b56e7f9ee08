"""S061, On the Role of Temperature Sampling in Test-Time Scaling (arXiv 2510.02611).

Qwen3 of 0.6 to 8 billion parameters, T from 0.0 to 1.2, 1,024 samples each: different temperatures solve
different questions, so that the union over temperatures covers more than as many samples of one; and
a vote that ends where all temperatures agree makes it cheap.

Here: fly on countdown, where a sample tries one path and temperature decides how odd a path.  The best
single temperature is chosen on dev, by its coverage, and given as many samples as the grid.  The vote is
tried on easy chain problems.

Not tried: 1,024 samples a temperature, where the paper's single temperatures have stopped to gain.
"""

from __future__ import annotations

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.pools import Pools
from outthink.laws.coverage import pass_table
from outthink.laws.mixture import observed
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import cell, difference
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above
from outthink.tasks import problems as problems_of
from outthink.train.evaluate import Result

PAPER = "arXiv 2510.02611, abstract"
GRID = (0.3, 0.6, 0.9, 1.2)
FLY = "live: fly on countdown medium, 80 test problems, temperatures .3, .6, .9, 1.2"
CHAIN = "live: fly on chain easy, 80 test problems, n=16 over the same grid"

CLAIMS = {
    "union": Claim(
        text="A grid of temperatures covers more than the best single one, at equal samples",
        published="+7.3 points over one temperature, mean of four models and five benchmarks",
        source=PAPER,
        setting=FLY,
        statistic="coverage of 8 samples at each minus that of 32 at the one that is best on dev, paired",
        rule=above(0),
    ),
    "other sets": Claim(
        text="Temperatures solve different problems: another one adds what more of the same does not",
        published="no figure",
        source="arXiv 2510.02611, figure 1c",
        setting=FLY,
        statistic="coverage of 8 at the best and 8 at the second best on dev minus that of 16 at the "
        "best, paired",
        rule=above(0),
    ),
    "saved": Claim(
        text="Ending where all temperatures agree saves samples on easy questions",
        published="up to 78 % (second-hand)",
        source="arXiv 2510.02611, multi-temperature voting",
        setting=CHAIN,
        statistic="share of the 16 samples that is not drawn",
        rule=above(0.25),
    ),
    "kept": Claim(
        text="and loses no accuracy",
        published="no figure",
        source="arXiv 2510.02611, multi-temperature voting",
        setting=CHAIN,
        statistic="accuracy of the vote that ends early minus that of the whole vote, paired",
        rule=above(-0.02),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems and samples."""
    few, some, each = (4, 4, 2) if trial.quick else (30, 80, 8)
    total = each * len(GRID)
    dev = problems_of("countdown", "medium", "dev", few, trial.seed)
    test = problems_of("countdown", "medium", "test", some, trial.seed)
    grid = f"temperatures(n={total}, exit=false, grid={list(GRID)})"
    wide = f"temperatures(n={2 * total}, exit=false, grid={list(GRID)})"
    seen = by_temperature(pools(trial.run("dev", [wide], dev)[0], dev))
    ranked = np.argsort(-_coverage(*seen, 2 * each).mean(axis=0), kind="stable")
    best, second = (int(i) for i in ranked[:2])
    spread, single = trial.run(
        "test", [grid, f"self_consistency(n={total}, temperature={GRID[best]})"], test
    )
    drawn, right = by_temperature(pools(spread, test))
    alone = pools(single, test)
    counts, correct = alone.counts, alone.correct
    one = pass_table(counts, correct, [total])[:, 0]
    union = observed(drawn, right, [each] * len(GRID))
    # both from independent samples: half of them at the best, half at the second
    pair = observed(
        np.stack([counts, drawn[:, second]], axis=1),
        np.stack([correct, right[:, second]], axis=1),
        (each, each),
    )
    measured = {
        "union": difference(union, one),
        "other sets": difference(pair, pass_table(counts, correct, [2 * each])[:, 0]),
    }
    easy = problems_of("chain", "easy", "test", some, trial.seed)
    n = 2 * len(GRID) if trial.quick else 16
    ended, whole = trial.run(
        "vote", [f"temperatures(n={n})", f"temperatures(n={n}, exit=false)"], easy
    )
    left = 1.0 - _samples(ended) / n
    measured["saved"] = difference(left, np.zeros(some))
    measured["kept"] = difference(ended.right, whole.right)
    tables: dict[str, list[dict[str, object]]] = {
        "temperature": [
            {
                "temperature": t,
                "one sample": cell(right[:, i] / drawn[:, i]),
                f"coverage of {each}": cell(_coverage(drawn, right, each)[:, i]),
                f"dev: coverage of {2 * each}": float(_coverage(*seen, 2 * each)[:, i].mean()),
                "solved here alone": int(((right > 0).sum(axis=1) == 1)[right[:, i] > 0].sum()),
            }
            for i, t in enumerate(GRID)
        ],
        "at equal samples": [
            {"samples": f"{each} at each of {len(GRID)}", "coverage": cell(union)},
            {"samples": f"{total} at {GRID[best]}", "coverage": cell(one)},
        ],
        "vote": [_vote("ends early", ended), _vote("all samples", whole)],
    }
    ks = np.arange(1, each + 1)
    panels = (
        Panel(
            "fly, countdown medium: coverage", "samples", "share solved",
            (
                Line("all temperatures", list(ks * len(GRID)),
                     [float(observed(drawn, right, [k] * len(GRID)).mean()) for k in ks]),
                Line(f"at {GRID[best]}", list(range(1, total + 1)),
                     pass_table(counts, correct, np.arange(1, total + 1)).mean(axis=0).tolist()),
            ),
        ),
    )  # fmt: skip
    return Findings(measured, tables, panels)


def by_temperature(found: Pools) -> tuple[Ints, Ints]:
    """Samples and right ones at each temperature, ``(problems, temperatures)``: equal blocks."""
    blocks = found.right.reshape(len(found), len(GRID), -1)
    return np.full(blocks.shape[:2], blocks.shape[2]), blocks.sum(axis=2)


def _coverage(drawn: Ints, right: Ints, k: int) -> Floats:
    """Unbiased pass@k of each problem and temperature."""
    columns = [pass_table(drawn[:, i], right[:, i], [k])[:, 0] for i in range(drawn.shape[1])]
    return np.stack(columns, axis=1)


def _samples(result: Result) -> Floats:
    return np.array([float(len(a.candidates)) for a in result.answers])


def _vote(name: str, result: Result) -> dict[str, object]:
    return {
        "vote": name,
        "accuracy": cell(result.right),
        "samples": float(_samples(result).mean()),
        "tokens": float(result.tokens.mean()),
    }


REPRODUCTION = Reproduction(
    "S061", CLAIMS, measure,
    full=Cost(calls=2_500, tokens=370_000, seconds=160),
    quick=Cost(calls=100, tokens=8_000, seconds=3),
)  # fmt: skip
