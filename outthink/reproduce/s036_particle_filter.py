"""S036, particle filtering (arXiv 2502.01618): resampling steps against keeping the best ones.

The paper reports that a particle filter scales 4 to 16 times better than deterministic searches (beam
search, DVTS) and best-of-n.  Here all are run live on fly with its process reward model, and compared
on the same problems at equal completion tokens: beam search and DVTS with as many particles write as
many tokens as the filter, give or take two in a hundred; best-of-n is taken at the number of samples
that the filter's tokens buy, linear between whole numbers.

"Four times better" is tried as what it means for a user: a quarter of the particles does as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from outthink.core.nouns import Floats
from outthink.lab.stats import mean_interval
from outthink.reproduce._subsets import at, curve, scores_of
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import difference
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above
from outthink.tasks import problems as problems_of
from outthink.train.evaluate import Result

PAPER = "arXiv 2502.01618, abstract"
FLY = "live: fly and fly-prm on chain hard, 200 test problems, temperature 1"
BETTER = "4-16x better scaling rate"

CLAIMS = {
    "beam": Claim(
        text="A particle filter beats beam search at equal tokens",
        published=BETTER,
        source=PAPER,
        setting=FLY,
        statistic="particle filter of 16 minus beam search of 16, paired",
        rule=above(0),
    ),
    "dvts": Claim(
        text="A particle filter beats diverse verifier tree search at equal tokens",
        published=BETTER,
        source=PAPER,
        setting=FLY,
        statistic="particle filter of 16 minus DVTS of 16, paired",
        rule=above(0),
    ),
    "best of n": Claim(
        text="A particle filter beats best-of-n at equal tokens",
        published=BETTER,
        source=PAPER,
        setting=FLY,
        statistic="particle filter of 16 minus best-of-n of as many tokens (interpolated in n), paired",
        rule=above(0),
    ),
    "rate over beam": Claim(
        text="A quarter of the particles does as well as beam search, within two points",
        published="4x (the least of 4-16x)",
        source=PAPER,
        setting=FLY,
        statistic="particle filter of 4 minus beam search of 16, paired",
        rule=above(-0.02),
    ),
    "rate over dvts": Claim(
        text="A quarter of the particles does as well as DVTS, within two points",
        published="4x (the least of 4-16x)",
        source=PAPER,
        setting=FLY,
        statistic="particle filter of 4 minus DVTS of 16, paired",
        rule=above(-0.02),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few easy problems and particles."""
    quick = trial.quick
    level, split, count = ("easy", "dev", 4) if quick else ("hard", "test", 200)
    few, many = (2, 4) if quick else (4, 16)
    problems = problems_of("chain", level, split, count, trial.seed)
    best, small, filtered, beam, dvts = trial.run(
        "samples and searches",
        [
            f"best_of_n(n={many + 1}, verifier=prm)",
            f"particle_filter(n={few}, prm=prm)",
            f"particle_filter(n={many}, prm=prm)",
            f"beam_search(n={many}, prm=prm)",
            f"dvts(n={many}, prm=prm)",
        ],
        problems,
    )
    found = pools(best, problems)
    sizes = range(1, many + 2)
    table = curve(found, "best", sizes, scores_of(best, many + 1))
    each = float(found.tokens.mean())
    matched = at(table, sizes, float(filtered.tokens.mean()) / each)
    measured = {
        "beam": difference(filtered.right, beam.right),
        "dvts": difference(filtered.right, dvts.right),
        "best of n": difference(filtered.right, matched),
        "rate over beam": difference(small.right, beam.right),
        "rate over dvts": difference(small.right, dvts.right),
    }
    searches = (small, filtered, beam, dvts)
    rows = [_row(r.contender.strategy, r.right, float(r.tokens.mean())) for r in searches]
    rows += [
        _row(f"best of {n}", table[:, n - 1], n * each) for n in (1, few, many) if n <= many + 1
    ]
    panel = Panel(
        f"fly, chain {level}", "completion tokens", "accuracy",
        (
            _line("best of n", [(n * each, table[:, n - 1]) for n in sizes]),
            _line("particle filter", [_point(small), _point(filtered)]),
            _line("beam search", [_point(beam)]),
            _line("DVTS", [_point(dvts)]),
        ),
    )  # fmt: skip
    return Findings(measured, {"strategies": rows}, (panel,), _reasons(found.right, searches, best))


def _reasons(right: np.ndarray[Any, Any], searches: tuple[Result, ...], best: Result) -> list[str]:
    """Where each of them goes wrong: problems that samples cover, and those that they do not."""
    covered = right.any(axis=1)
    names = ("particle filter of few", "particle filter", "beam search", "DVTS", "best of n")
    told = [
        f"{name} {_share(r.right, covered)} and {_share(r.right, ~covered)}"
        for name, r in zip(names, (*searches, best), strict=True)
    ]
    return [
        f"{int(covered.sum())} of {len(covered)} problems have a right one among "
        f"{right.shape[1]} samples. Right on these, and on the others: {'; '.join(told)}."
    ]


def _share(right: Floats, among: np.ndarray[Any, Any]) -> str:
    return f"{right[among].mean():.3f}" if among.any() else "none"


def _row(what: str, right: Floats, tokens: float) -> dict[str, Any]:
    accuracy = [float(right.mean()), *mean_interval(right)]
    return {"what": what, "accuracy": accuracy, "tokens": tokens}


def _point(result: Result) -> tuple[float, Floats]:
    return float(result.tokens.mean()), result.right


def _line(label: str, points: list[tuple[float, Floats]]) -> Line:
    ends = [mean_interval(right) for _, right in points]
    return Line(
        label,
        [tokens for tokens, _ in points],
        [float(right.mean()) for _, right in points],
        [low for low, _ in ends],
        [high for _, high in ends],
    )


REPRODUCTION = Reproduction(
    "S036", CLAIMS, measure,
    full=Cost(calls=34_000, tokens=1_500_000, seconds=1_300),
    quick=Cost(calls=200, tokens=3_000, seconds=4),
)  # fmt: skip
