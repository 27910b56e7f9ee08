"""S066, Revisiting the Test-Time Scaling of o1-like Models (arXiv 2502.12215): shortest majority vote.

- Are right texts shorter than wrong ones of the same question, and does the vote that divides by the
  logarithm of length then beat the plain vote?  On fly that thinks freely, and on recorded answers of 43
  models to each question (a mixture of models, not samples of one: lengths are characters).
- Forced second thoughts: fly is made to go on thinking 1 to 4 times (``budget_forcing``), and at equal
  tokens this is compared with as many samples in parallel, by coverage and by the answer.

The gain needs the correlation, so each setting is also asked whether the gain has its sign.  The vote
breaks ties at random.  Left out: the paper's models and sets; fly is forced by its own word "again".
"""

from __future__ import annotations

import numpy as np

from outthink.core.nouns import Floats
from outthink.lab.resample import Vote
from outthink.lab.stats import Estimate
from outthink.reproduce._lengths import (
    by_length,
    chances,
    first_drawn,
    gaps,
    mean_known,
    short,
    signed,
    thoughts,
)
from outthink.reproduce._subsets import at
from outthink.reproduce.base import Claim, Cost, Findings, Panel, Reproduction, Trial
from outthink.reproduce.estimates import difference, mean_line
from outthink.reproduce.rules import above, below
from outthink.select.coverage import pass_at_k
from outthink.tasks import problems as problems_of

PAPER, TABLE, LENGTHS = (
    "arXiv 2502.12215",
    "arXiv 2502.12215, table 2",
    "arXiv 2502.12215, figure 1",
)
THINKS = "fly(think=free)"
FLY = f"live: {THINKS} on chain easy, 100 test problems, 16 samples"
ZERO = "recorded: 43 models on MATH level 5, 721 problems, one answer of each model"
FORCED = f"live: {THINKS} on chain easy, 100 test problems, up to 4 forced second thoughts"
WAITS = (0, 1, 2, 3, 4)

CLAIMS = {
    **{
        f"{name} correlation": Claim(
            text="Right texts are shorter than wrong ones of the same question",
            published="for QwQ, R1 and LIMO, on four sets",
            source=LENGTHS,
            setting=setting,
            statistic="mean correlation of length and correctness within a question",
            rule=below(0),
        )
        for name, setting in (("fly", FLY), ("models", ZERO))
    },
    **{
        f"{name} {n}": Claim(
            text=f"Of {n} texts, shortest majority beats the vote",
            published=published,
            source=TABLE,
            setting=setting,
            statistic=f"shortest majority minus vote, {n} texts, paired",
            rule=above(0),
        )
        for name, setting in (("fly", FLY), ("models", ZERO))
        for n, published in (
            (2, "R1-32B on AIME: 62.22 against 59.77"),
            (16, "R1-32B on AIME: 73.77 against 72.88; R1-14B: 71.55 against 71.77"),
        )
    },
    **{
        f"{name} sign": Claim(
            text="The gain has the sign of the gap in length",
            published="a statement",
            source=f"{PAPER}, section 6",
            setting=setting,
            statistic="gain at 2 texts, times the sign of the mean length of wrong minus right",
            rule=above(0),
        )
        for name, setting in (("fly", FLY), ("models", ZERO))
    },
    "second thoughts": Claim(
        text="Longer thinking by forced revision does not raise accuracy",
        published="QwQ and R1-1.5B fall, R1-32B, R1-14B and LIMO rise at first, then level",
        source="arXiv 2502.12215, figure 4",
        setting=FORCED,
        statistic="accuracy with 4 forced second thoughts minus with none, paired",
        rule=below(0.02),
    ),
    "coverage": Claim(
        text="At equal tokens parallel samples cover more than revisions",
        published="no figure",
        source="arXiv 2502.12215, figure 6a",
        setting=FORCED,
        statistic="pass@n at the tokens of 4 revisions minus any of the 5 answers right, paired",
        rule=above(0),
    ),
    "parallel": Claim(
        text="At equal tokens the vote of parallel samples beats the last revision",
        published="no figure",
        source="arXiv 2502.12215, figure 6b",
        setting=FORCED,
        statistic="vote at the tokens of 4 revisions minus the last revision, paired",
        rule=above(0),
    ),
}  # fmt: skip


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems and models' answers."""
    split, size, n = ("dev", 6, 8) if trial.quick else ("test", 100, 16)
    problems = problems_of("chain", "easy", split, size, trial.seed)
    drawn = thoughts(trial, THINKS, problems, n)
    models = trial.pools("zeroeval_math_l5")
    models = models.take(np.flatnonzero(models.counts >= 16)[: 60 if trial.quick else None])
    measured: dict[str, Estimate] = {}
    rows = []
    for name, found, most in (("fly", drawn, n), ("models", models, 16)):
        pairs = {k: chances(found, [by_length(), Vote(), short(1), first_drawn()], k, 200)
                 for k in (2, most)}  # fmt: skip
        measured[f"{name} correlation"] = mean_known(
            correlation(found.tokens, np.where(found.present, found.right, np.nan)), trial
        )
        measured[f"{name} 2"] = difference(*pairs[2][:2])
        measured[f"{name} 16"] = difference(*pairs[most][:2])
        measured[f"{name} sign"] = signed(gaps(found), pairs[2][0] - pairs[2][1], trial)
        for k, (smv, vote, shortest, one) in pairs.items():
            rows.append({
                "texts of": name, "n": k, "vote": float(vote.mean()),
                "shortest majority": float(smv.mean()),
                "shortest": float(shortest.mean()), "one": float(one.mean()),
            })  # fmt: skip

    specs = [f"budget_forcing(waits={w})" for w in WAITS]
    forced = trial.run("second thoughts", specs, problems, THINKS)
    right = np.stack([r.right for r in forced])
    tokens = np.array([float(r.tokens.mean()) for r in forced])
    # one answer at the end of all revisions is what they cost; the answers on the way are read for free
    alike = tokens / float(drawn.tokens.mean())
    sizes = range(1, n + 1)
    votes = np.stack([chances(drawn, [Vote()], k, 100)[0] for k in sizes], axis=1)
    cover = np.array([[pass_at_k(n, int(c), k) for k in sizes] for c in drawn.correct])
    any_of = np.maximum.accumulate(right, axis=0)
    measured["second thoughts"] = difference(right[-1], right[0])
    measured["coverage"] = difference(at(cover, sizes, alike[-1]), any_of[-1])
    measured["parallel"] = difference(at(votes, sizes, alike[-1]), right[-1])
    panel = Panel(
        f"{THINKS}, chain easy: second thoughts or more samples", "tokens a problem", "accuracy",
        [
            mean_line("last revision", tokens.tolist(), list(right)),
            mean_line("any revision", tokens.tolist(), list(any_of)),
            mean_line("vote of as many tokens", tokens.tolist(), [at(votes, sizes, x) for x in alike]),
            mean_line("any of as many tokens", tokens.tolist(), [at(cover, sizes, x) for x in alike]),
        ],
    )  # fmt: skip
    return Findings(measured, {"rules": rows, "second thoughts": _turned(right, tokens)}, (panel,))


def correlation(tokens: Floats, right: Floats) -> Floats:
    """Of each problem, the correlation of length and correctness; NaN where either is constant.

    ``(problems, samples)``, NaN where there is no sample.
    """
    x, y = np.where(np.isnan(right), np.nan, tokens), right
    x = x - np.nanmean(x, axis=1, keepdims=True)
    y = y - np.nanmean(y, axis=1, keepdims=True)
    size = np.sqrt(np.nansum(x * x, axis=1) * np.nansum(y * y, axis=1))
    out = np.full(len(x), np.nan)
    np.divide(np.nansum(x * y, axis=1), size, out=out, where=size > 1e-12)
    return out


def _turned(right: Floats, tokens: Floats) -> list[dict[str, object]]:
    """For each number of second thoughts, what they cost and how often they turned an answer."""
    return [
        {
            "second thoughts": w,
            "tokens": float(tokens[i]),
            "accuracy": float(right[i].mean()),
            "right to wrong": float(((right[0] == 1) & (right[i] == 0)).mean()),
            "wrong to right": float(((right[0] == 0) & (right[i] == 1)).mean()),
        }
        for i, w in enumerate(WAITS)
    ]


REPRODUCTION = Reproduction(
    "S066", CLAIMS, measure,
    full=Cost(calls=4_000, tokens=170_000, seconds=140),
    quick=Cost(calls=200, tokens=6_000, seconds=7),
    sets=("zeroeval_math_l5",),
)  # fmt: skip
