"""S051, The Sequential Edge (arXiv 2511.02309): refine in a chain, and weigh votes by inverse entropy.

Live on fly, three levels of chain: one chain of 6 attempts, each of which is shown the two before it (fly
reads no more), against 6 attempts that know nothing of each other.  Both have the log-probabilities of the
20 likeliest tokens, so both votes, plain and weighted, are taken over the very same attempts.

Attempts of both arms are about equally long, so that equal numbers are equal completion tokens; what the
chain reads again of its own attempts is counted apart, and is most of what it costs.

Not tried: chains of 9, the paper's other weights, AIME and GPQA.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from outthink.core.nouns import Floats
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, cell, difference
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above, between
from outthink.select.calibration import auroc
from outthink.select.entropy import inverse
from outthink.select.vote import weighted
from outthink.tasks import problems as problems_of

PAPER = "arXiv 2511.02309, abstract"
FLY = "live: fly on chain easy, medium and hard, 60 test problems each, 6 attempts"
SIZES = (3, 6)

CLAIMS = {
    "edge": Claim(
        text="A chain with inverse-entropy voting beats parallel self-consistency",
        published="in 95.6 % of configurations, by up to 46.7 points",
        source=PAPER,
        setting=FLY,
        statistic="chain, weighted, minus parallel, plain vote, paired, all levels",
        rule=above(0),
    ),
    "sequential": Claim(
        text="Refining in a chain beats sampling afresh, by the same plain vote",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="chain minus parallel, plain votes, paired, all levels",
        rule=above(0),
    ),
    "weights": Claim(
        text="Inverse entropy is a better vote than a plain one on the same chains",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="weighted minus plain vote of the same chains, paired, all levels",
        rule=above(0),
    ),
    "weights apart": Claim(
        text="Inverse entropy is a better vote of parallel attempts too",
        published="0.5 to 3.4 points",
        source="arXiv 2511.02309, section 4",
        setting=FLY,
        statistic="weighted minus plain vote of the same parallel attempts, paired, all levels",
        rule=above(0),
    ),
    "matched": Claim(
        text="The two arms write as many tokens",
        published="matched compute",
        source=PAPER,
        setting=FLY,
        statistic="completion tokens of the chain to those of the parallel arm",
        rule=between(0.9, 1.1),
    ),
    "entropy": Claim(
        text="Within a problem the surer attempt is the right one more often",
        published="no figure",
        source="what the weights rest on",
        setting=FLY,
        statistic="AUROC of low entropy, pairs of parallel attempts of one problem",
        rule=above(0.5),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems of one level, and 3 attempts."""
    levels = ["medium"] if trial.quick else ["easy", "medium", "hard"]
    split, count, n = ("dev", 4, 3) if trial.quick else ("test", 60, 6)
    specs = [f"inverse_entropy(n={n}, length={n}, memory=2)", f"inverse_entropy(n={n}, length=1)"]
    votes: dict[tuple[str, bool], list[Floats]] = {}
    written, read = np.zeros((2, 2, len(levels) * count))
    rows, pairs = list[dict[str, object]](), list[tuple[Floats, Floats]]()
    for i, level in enumerate(levels):
        problems = problems_of("chain", level, split, count, trial.seed)
        results = trial.run(level, specs, problems)
        mine = slice(i * count, (i + 1) * count)
        for arm, (name, result) in enumerate(zip(("chain", "parallel"), results, strict=True)):
            found = pools(result, problems)
            entropy = np.array([a.scores["entropy"] for a in result.answers])
            written[arm, mine] = [a.usage.completion_tokens for a in result.answers]
            read[arm, mine] = [a.usage.prompt_tokens for a in result.answers]
            for size in SIZES if n == SIZES[-1] else (n,):
                for by_entropy in (False, True):
                    w = inverse(entropy[:, :size]) if by_entropy else np.ones((count, size))
                    at = [weighted(c[:size], v) for c, v in zip(found.classes, w, strict=True)]
                    right = found.right[np.arange(count), at].astype(np.float64)
                    if size == n:
                        votes.setdefault((name, by_entropy), []).append(right)
                    rows.append(
                        {
                            "level": level,
                            "attempts": size,
                            "arm": name,
                            "vote": "inverse entropy" if by_entropy else "plain",
                            "accuracy": cell(right),
                            "completion tokens": float(written[arm, mine].mean() * size / n),
                        }
                    )
            if name == "parallel":
                pairs += zip(-entropy, found.right.astype(np.float64), strict=True)
    all_of = {key: np.concatenate(some) for key, some in votes.items()}
    measured = {
        "edge": difference(all_of["chain", True], all_of["parallel", False]),
        "sequential": difference(all_of["chain", False], all_of["parallel", False]),
        "weights": difference(all_of["chain", True], all_of["chain", False]),
        "weights apart": difference(all_of["parallel", True], all_of["parallel", False]),
    }
    within = np.array([auroc(s, y) for s, y in pairs])
    measured["matched"], measured["entropy"] = bootstrap(
        lambda at: np.array([written[0, at].sum() / written[1, at].sum(), _mean(within[at])]),
        len(within), trial.rng(), trial.draws,
    )  # fmt: skip
    ahead = _ahead(rows)
    total = written + read
    notes = [
        f"The chain is ahead of the parallel arm in {ahead[0]}, level in {ahead[1]} and behind in "
        f"{ahead[2]} configurations of level, number of attempts and vote.",
        f"Reading its own attempts again, the chain reads {read[0].mean():.0f} prompt tokens a problem, "
        f"the parallel arm {read[1].mean():.0f}: {total[0].sum() / total[1].sum():.1f} times the tokens "
        "in all.",
    ]
    lines = tuple(
        Line(
            f"{name}, {'inverse entropy' if weigh else 'plain'}",
            list(range(len(levels))),
            [float(right.mean()) for right in votes[name, weigh]],
        )
        for name in ("chain", "parallel")
        for weigh in (False, True)
    )
    panel = Panel(
        f"fly, chain: {', '.join(levels)}; {n} attempts", "level", "accuracy", lines, log=False
    )
    return Findings(measured, {"votes": rows}, (panel,), notes)


def _mean(values: Floats) -> float:
    """The mean of what is known; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _ahead(rows: Sequence[dict[str, object]]) -> tuple[int, int, int]:
    """In how many configurations the chain is ahead, level and behind."""
    found: dict[tuple[object, ...], dict[object, float]] = {}
    for row in rows:
        accuracy = row["accuracy"]
        assert isinstance(accuracy, list)
        key = (row["level"], row["attempts"], row["vote"])
        found.setdefault(key, {})[row["arm"]] = accuracy[0]
    gaps = [pair["chain"] - pair["parallel"] for pair in found.values()]
    return sum(g > 0 for g in gaps), sum(g == 0 for g in gaps), sum(g < 0 for g in gaps)


REPRODUCTION = Reproduction(
    "S051", CLAIMS, measure,
    full=Cost(calls=2_200, tokens=180_000, seconds=200),
    quick=Cost(calls=24, tokens=2_200, seconds=4),
)  # fmt: skip
