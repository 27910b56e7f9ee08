"""S057, Thinking-Optimal Scaling (arXiv 2502.18080): longest is not best; keep the shortest right text.

On fly, whose dial says about how long to think (``8 * 2**dial`` tokens, 1 to 6), at two levels:

- accuracy by dial: is the best inside, and is it longer where problems are harder?
- the paper's choice of training texts, the shortest right one over a low, a medium and a high effort: by
  how much is it shorter than right texts of the best single effort?
- the same without knowing what is right: the shortest text with the answer that most of them have
  (``shortest_right``), against a vote of as many samples at the best single effort.

The best dial is cross-fitted: that of one half of the problems is tried on the other half.  The paper's
training on the chosen texts is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.pools import Pools
from outthink.lab.stats import Estimate
from outthink.reproduce._lengths import thoughts
from outthink.reproduce.base import Claim, Cost, Findings, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, cell, difference, mean_line, ratio, tuned
from outthink.reproduce.live import one_sample
from outthink.reproduce.rules import above, below
from outthink.select.vote import majority
from outthink.tasks import check
from outthink.tasks import problems as problems_of
from outthink.tasks.base import TaskProblem
from outthink.train.evaluate import Result

ABSTRACT, FIGURE = "arXiv 2502.18080, abstract", "arXiv 2502.18080, section 3"
FLY = "live: fly(think=1 ... 6) on chain {}, 50 test problems, 6 samples at each dial"
LEVELS = ("easy", "medium")
DIALS = (1, 2, 3, 4, 5, 6)
#: low, medium and high effort
EFFORTS = (2, 4, 6)

CLAIMS = {
    **{
        f"{what} {level}": Claim(
            text=text,
            published="no figure",
            source=FIGURE,
            setting=FLY.format(level),
            statistic=f"one sample at the best dial (cross-fitted) minus at dial {dial}, paired",
            rule=above(0),
        )
        for level in LEVELS
        for what, dial, text in (
            ("too long", 6, "Thinking longer than some length impairs accuracy"),
            ("too short", 1, "Thinking too shortly impairs it too: the best length is inside"),
        )
    },
    "harder": Claim(
        text="The best length differs between domains: harder problems want longer thoughts",
        published="no figure",
        source=ABSTRACT,
        setting=FLY.format("easy and medium"),
        statistic="best dial on medium minus best dial on easy",
        rule=above(0),
    ),
    **{
        f"{what} {level}": Claim(
            text=text,
            published="no figure",
            source=source,
            setting=FLY.format(level),
            statistic=statistic,
            rule=rule,
        )
        for level in LEVELS
        for what, source, text, statistic, rule in (
            (
                "oracle",
                ABSTRACT,
                "The shortest right text over efforts is shorter than right texts of the best effort",
                "its mean tokens over those of the shortest right of 6 at the best dial, on the problems "
                "that both solve",
                below(1),
            ),
            (
                "agreed",
                "ours: without labels",
                "The shortest text with the agreed answer over efforts is as often right as a vote",
                "2 samples at each of dials 2, 4, 6 minus a vote of 6 at the best dial, paired",
                above(-0.03),
            ),
            (
                "tokens",
                "ours: without labels",
                "and it is shorter than the text that the vote gives",
                "its mean tokens over those of the first text with the vote's answer",
                below(1),
            ),
        )
    },
}  # fmt: skip


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems."""
    split, size, n = ("dev", 4, 3) if trial.quick else ("test", 50, 6)
    lengths = EFFORTS if trial.quick else DIALS
    measured: dict[str, Estimate] = {}
    rows, lines = [], []
    accuracy: dict[str, dict[int, Floats]] = {}
    for level in LEVELS:
        problems = problems_of("chain", level, split, size, trial.seed)
        drawn = {d: thoughts(trial, f"fly(think={d})", problems, n) for d in lengths}
        one = {d: one_sample(found) for d, found in drawn.items()}
        accuracy[level] = one
        best = tuned(one)
        measured[f"too long {level}"] = difference(best, one[lengths[-1]])
        measured[f"too short {level}"] = difference(best, one[lengths[0]])
        dials = ", ".join(f'"fly(think={d})"' for d in EFFORTS)
        spec = f"shortest_right(n={max(n // len(EFFORTS), 1)}, models=[{dials}])"
        (result,) = trial.run(f"efforts, {level}", [spec], problems)
        measured |= {f"{k} {level}": v for k, v in _chosen(result, drawn, problems, trial).items()}
        x = [float(found.tokens.mean()) for found in drawn.values()]
        lines.append(mean_line(f"chain {level}", x, one.values()))
        rows += [
            {"level": level, "dial": d, "tokens": t, "accuracy": cell(v)}
            for (d, v), t in zip(one.items(), x, strict=True)
        ]

    def harder(at: Ints) -> float:
        return peak(accuracy["medium"], at) - peak(accuracy["easy"], at)

    measured["harder"] = bootstrap(harder, size, trial.rng(), trial.draws)[0]
    panel = Panel("fly: how long to think", "tokens", "accuracy of one sample", lines)
    return Findings(measured, {"dials": rows}, (panel,))


def peak(columns: Mapping[int, Floats], at: Ints) -> float:
    """The dial with the highest mean over these problems; the mean of those that tie."""
    means = {d: float(v[at].mean()) for d, v in columns.items()}
    top = max(means.values())
    return float(np.mean([d for d, v in means.items() if v >= top - 1e-12]))


def _chosen(
    result: Result, drawn: Mapping[int, Pools], problems: Sequence[TaskProblem], trial: Trial
) -> dict[str, Estimate]:
    """What the shortest right, and the shortest agreed, over efforts are worth: see the claims."""
    given = [next(s for s in a.candidates if s.text == a.text) for a in result.answers]
    over = np.array([
        min((s.tokens for s in a.candidates if check(p, s.text)), default=np.nan)
        for a, p in zip(result.answers, problems, strict=True)
    ])  # fmt: skip
    votes, firsts, least = {}, {}, {}
    rows = np.arange(len(problems))
    for dial, found in drawn.items():
        first = np.array([majority(c.astype(np.int64)) for c in found.classes])
        votes[dial] = found.right[rows, first].astype(np.float64)
        firsts[dial] = found.tokens[rows, first]
        right = np.where(found.right, found.tokens, np.inf).min(axis=1)
        least[dial] = np.where(np.isfinite(right), right, np.nan)
    shortest, vote = tuned(votes, least), tuned(votes, firsts)
    both = ~np.isnan(over) & ~np.isnan(shortest)
    return {
        "oracle": ratio(over[both], shortest[both], trial.rng(), trial.draws),
        "agreed": difference(result.right, tuned(votes)),
        "tokens": ratio(np.array([float(s.tokens) for s in given]), vote, trial.rng(), trial.draws),
    }


REPRODUCTION = Reproduction(
    "S057", CLAIMS, measure,
    full=Cost(calls=900, tokens=380_000, seconds=190),
    quick=Cost(calls=50, tokens=8_000, seconds=6),
)  # fmt: skip
