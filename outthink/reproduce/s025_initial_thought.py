"""S025, MITT: Multilingual Test-Time Scaling via Initial Thought Transfer (arXiv 2505.15508).

DeepSeek-R1's distilled models begin to think differently, and less consistently, in languages that they
know little of; tuning them on the beginnings of English thoughts (no labels, prefixes only) makes them
better there.

Here there are no languages and nothing is trained: a weaker model (fly-xs) is handed the beginnings of a
stronger one (fly) as text.  On countdown the first operation decides much, and fly is the better of the
two.  Controls: fly-xs' own beginnings, and those of fly with their words in random order.  Beside it,
without a donor: the beginning of the best-agreed answer, on chain.

Not tried: the training, languages, budget forcing.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from outthink.core.nouns import Floats
from outthink.lab.pools import Pools
from outthink.laws.coverage import pass_table
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import cell, difference
from outthink.reproduce.live import one_sample, pools
from outthink.reproduce.rules import above
from outthink.tasks import check
from outthink.tasks import problems as problems_of
from outthink.tasks.base import TaskProblem
from outthink.train.evaluate import Result

PAPER = "arXiv 2505.15508, abstract"
COUNTDOWN = (
    "live: fly-xs continues 10 tokens of fly, countdown medium, 200 test problems, 8 samples, "
    "temperature .5"
)
CHAIN = "live: fly-xs on chain medium, 100 test problems, 8 samples, the first 4 whole, 40 tokens"
#: tokens of a beginning: about the first line of countdown, the first four of chain
FIRST, FOUR = 10, 40

CLAIMS = {
    "donor": Claim(
        text="Beginnings of a stronger model make the samples of a weaker one better than its own do",
        published="significant gains of DeepSeek-R1-Distill-Qwen-7B (no figure in the abstract)",
        source=PAPER,
        setting=COUNTDOWN,
        statistic="share of right samples with fly's beginnings minus with its own, paired",
        rule=above(0),
    ),
    "random": Claim(
        text="Random beginnings of equal length do not do as well",
        published="no figure",
        source=PAPER,
        setting=COUNTDOWN,
        statistic="share of right samples with fly's beginnings minus with scrambled ones, paired",
        rule=above(0),
    ),
    "consistency": Claim(
        text="The weaker model's early reasoning is less consistent than the stronger one's",
        published="no figure",
        source=PAPER,
        setting=COUNTDOWN,
        statistic="share of the most frequent first line among 8 samples, fly's beginnings minus own",
        rule=above(0),
    ),
    "agreed": Claim(
        text="Without a donor: samples that begin as the best-agreed one are better than others",
        published="no figure (not in the paper)",
        source="outthink",
        setting=CHAIN,
        statistic="share of right samples among the last 4 minus among the first 4, paired",
        rule=above(0),
    ),
    "agreed vote": Claim(
        text="and so is their vote",
        published="no figure (not in the paper)",
        source="outthink",
        setting=CHAIN,
        statistic="vote of all 8 minus a vote of 8 plain samples, paired",
        rule=above(0),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems and samples."""
    some, few, n = (4, 4, 4) if trial.quick else (200, 100, 8)
    problems = problems_of("countdown", "medium", "test", some, trial.seed)
    warm = f"n={n}, temperature=0.5"
    arms = {
        "own": f"self_consistency({warm})",
        "fly": f"initial_thought({warm}, donor=fly, length={FIRST})",
        "fly, scrambled": f"initial_thought({warm}, donor=fly, length={FIRST}, scramble=true)",
    }
    results = dict(
        zip(
            arms,
            trial.run("countdown", list(arms.values()), problems, model="fly-xs"),
            strict=True,
        )
    )
    found = {name: pools(r, problems) for name, r in results.items()}
    share = {name: one_sample(p) for name, p in found.items()}
    first = {name: _first_lines(r) for name, r in results.items()}
    measured = {
        "donor": difference(share["fly"], share["own"]),
        "random": difference(share["fly"], share["fly, scrambled"]),
        "consistency": difference(first["fly"], first["own"]),
    }
    level = "easy" if trial.quick else "medium"
    chain = problems_of("chain", level, "test", few, trial.seed)
    half = n // 2
    agreed, plain = trial.run(
        "chain",
        [
            f"initial_thought(n={n}, openings={half}, length={FOUR})",
            f"self_consistency(n={n})",
        ],
        chain,
        model="fly-xs",
    )
    # where the beginning is all of an answer there are the first samples only
    right = [np.array([float(r) for r in row]) for row in _right(agreed, chain)]
    before = np.array([row[:half].mean() for row in right])
    after = np.array([(row[half:] if len(row) > half else row).mean() for row in right])
    measured["agreed"] = difference(after, before)
    measured["agreed vote"] = difference(agreed.right, plain.right)
    tables: dict[str, list[dict[str, object]]] = {
        "countdown": [
            {
                "beginnings": name,
                "one sample": cell(share[name]),
                "coverage": cell((found[name].correct > 0).astype(np.float64)),
                "vote": cell(r.right),
                "first lines alike": cell(first[name]),
            }
            for name, r in results.items()
        ],
        "chain": [
            {"samples": "first half, whole", "one sample": cell(before)},
            {"samples": "second half, from the best-agreed", "one sample": cell(after)},
            {"samples": "plain", "one sample": cell(one_sample(pools(plain, chain)))},
            {"samples": "vote of both halves", "vote": cell(agreed.right)},
            {"samples": "vote of plain samples", "vote": cell(plain.right)},
        ],
    }
    panels = (
        Panel("fly-xs, countdown medium: coverage by beginnings", "samples", "share solved",
              tuple(_curve(name, p) for name, p in found.items())),
    )  # fmt: skip
    return Findings(measured, tables, panels)


def _right(result: Result, problems: list[TaskProblem]) -> list[list[bool]]:
    """Which candidates of each problem are right."""
    return [
        [check(p, s.text) for s in a.candidates]
        for a, p in zip(result.answers, problems, strict=True)
    ]


def _first_lines(result: Result) -> Floats:
    """The share of the most frequent first line among the candidates of each problem."""
    shares = []
    for a in result.answers:
        counts = Counter(s.text.partition("\n")[0] for s in a.candidates)
        shares.append(max(counts.values()) / len(a.candidates))
    return np.array(shares)


def _curve(name: str, found: Pools) -> Line:
    ks = list(range(1, found.classes.shape[1] + 1))
    return Line(name, ks, pass_table(found.counts, found.correct, ks).mean(axis=0).tolist())


REPRODUCTION = Reproduction(
    "S025", CLAIMS, measure,
    full=Cost(calls=3_000, tokens=360_000, seconds=150),
    quick=Cost(calls=60, tokens=3_500, seconds=3),
)  # fmt: skip
