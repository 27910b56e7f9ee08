"""S054, Is That Your Final Answer? (arXiv 2502.13962): thinking longer, and answering only where sure.

A model thinks within a budget, is made to answer, and the probability of the answer's tokens is its
confidence; below a threshold it says nothing.  On fly, one thought a problem, with budgets set in two ways:

- the dial of thinking, which tells it how long to think (``fly(think=1)``, 2, 3, 5), sampled;
- the paper's: one long thought (``fly(think=4)``, greedy), cut after so many tokens and ended by force.

Utilities are at a threshold that was best on the other half of the problems (cross-fitted), so that
choosing it is not itself the gain.  The paper's models answer AIME; its 0.95 is a threshold for those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, difference
from outthink.reproduce.rules import above, below
from outthink.select.calibration import aurc, auroc, ece, risk_coverage
from outthink.select.overconfidence import overconfidence
from outthink.select.selective import ODDS, best_threshold
from outthink.tasks import problems as problems_of

PAPER = "arXiv 2502.13962, abstract and curves"
DIALS = (1, 2, 3, 5)
CUTS = (32, 64, 96, 160)
ON = "chain easy, 250 test problems, one answer each"
FLY = f"live: fly(think=1), 2, 3 and 5 on {ON}"
FORCED = f"live: fly(think=4), cut after 32, 64, 96 and 160 tokens, on {ON}"

CLAIMS = {
    "risk, dial": Claim(
        text="More thinking makes the answers that are kept safer, at every share kept",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="area under risk against coverage, dial 3 minus dial 1",
        rule=below(0),
    ),
    "risk, forced": Claim(
        text="More thinking makes the answers that are kept safer, at every share kept",
        published="no figure",
        source=PAPER,
        setting=FORCED,
        statistic="area under risk against coverage, 160 tokens minus 32",
        rule=below(0),
    ),
    "confidence": Claim(
        text="More thinking makes a model surer of its right answers",
        published="no figure",
        source=PAPER,
        setting=FORCED,
        statistic="mean confidence of right answers, 160 tokens minus 32",
        rule=above(0),
    ),
    "separation": Claim(
        text="Confidence tells right answers from wrong ones",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="mean confidence of right answers minus wrong ones, all dials",
        rule=above(0),
    ),
    "threshold, jeopardy": Claim(
        text="Where a wrong answer costs what a right one earns, holding back pays",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="utility at a cross-fitted threshold minus answering all, r = 1, mean over dials",
        rule=above(0),
    ),
    "threshold, high stakes": Claim(
        text="Where a wrong answer costs twenty right ones, holding back pays",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="utility at a cross-fitted threshold minus answering all, r = 20, mean over dials",
        rule=above(0),
    ),
    "compute, jeopardy": Claim(
        text="More thinking earns more at Jeopardy's odds",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="utility at a cross-fitted threshold, r = 1, dial 3 minus dial 1, paired",
        rule=above(0),
    ),
}


@dataclass(frozen=True)
class Answers:
    """How sure a model was of its answers, whether they are right, and what they took: ``(problems,)``."""

    confidence: Floats
    right: Floats
    tokens: Floats

    def earned(self, odds: float, threshold: float | None = None) -> Floats:
        """What each answer earns: all are given, or those above a threshold fitted on the other half."""
        gain = self.right - odds * (1.0 - self.right)
        if threshold is not None:
            return np.where(self.confidence >= threshold, gain, 0.0)
        half = np.arange(len(gain)) % 2 == 0
        out = np.zeros(len(gain))
        for mine in (half, ~half):
            at = best_threshold(self.confidence[~mine], self.right[~mine], odds)
            out[mine] = np.where(self.confidence[mine] >= at, gain[mine], 0.0)
        return out


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems and two budgets of each kind."""
    quick = trial.quick
    split, count = ("dev", 12) if quick else ("test", 250)
    problems = problems_of("chain", "easy", split, count, trial.seed)

    def asked(label: str, inner: str, model: str) -> Answers:
        spec = f"selective(strategy={inner}, threshold=0, verifier=final_answer)"
        (result,) = trial.run(label, [spec], problems, model)
        said = np.array([a.confidence or 0.0 for a in result.answers])
        return Answers(said, result.right, result.tokens)

    dials = {
        k: asked(f"dial {k}", "self_consistency(n=1)", f"fly(think={k})")
        for k in ((1, 3) if quick else DIALS)
    }
    cut = "budget_forcing(tokens={}, waits=0, temperature=0)"
    forced = {
        t: asked(f"cut at {t}", cut.format(t), "fly(think=4)")
        for t in ((CUTS[0], CUTS[-1]) if quick else CUTS)
    }
    low, high, short, long = dials[1], dials[3], forced[CUTS[0]], forced[CUTS[-1]]

    def over(statistic: Callable[[Ints], float]) -> Any:
        return bootstrap(statistic, count, trial.rng(), trial.draws)[0]

    def risk(some: Answers, at: Ints) -> float:
        return aurc(some.confidence[at], some.right[at])

    def sure(some: Answers, at: Ints, right: float = 1.0) -> float:
        kept = some.confidence[at][some.right[at] == right]
        return float(kept.mean()) if len(kept) else float("nan")

    def apart(at: Ints) -> float:
        said = np.concatenate([a.confidence[at] for a in dials.values()])
        right = np.concatenate([a.right[at] for a in dials.values()]) > 0
        return (
            float(said[right].mean() - said[~right].mean())
            if 0 < right.mean() < 1
            else float("nan")
        )

    def pays(odds: float) -> Any:
        kept = np.mean([a.earned(odds) for a in dials.values()], axis=0)
        return difference(kept, np.mean([a.earned(odds, 0.0) for a in dials.values()], axis=0))

    measured = {
        "risk, dial": over(lambda at: risk(high, at) - risk(low, at)),
        "risk, forced": over(lambda at: risk(long, at) - risk(short, at)),
        "confidence": over(lambda at: sure(long, at) - sure(short, at)),
        "separation": over(apart),
        "threshold, jeopardy": pays(ODDS["jeopardy"]),
        "threshold, high stakes": pays(ODDS["high stakes"]),
        "compute, jeopardy": difference(high.earned(1.0), low.earned(1.0)),
    }
    named = {f"dial {k}": a for k, a in dials.items()} | {
        f"cut at {t}": a for t, a in forced.items()
    }
    panels = (
        _curves("fly on chain easy: the dial", dials),
        _curves("fly on chain easy: ended by force", forced),
    )
    wrong = np.concatenate([a.confidence[a.right == 0] for a in dials.values()])
    notes = [
        f"fly says what its thoughts came to: of the wrong answers half have a confidence above "
        f"{np.median(wrong):.4f}. It ranks them below right ones all the same, so thresholds that pay "
        "are near 1, and have to be fitted."
    ] * bool(len(wrong))
    return Findings(measured, {"answers": [_row(n, a) for n, a in named.items()]}, panels, notes)


def _row(name: str, a: Answers) -> dict[str, Any]:
    right = a.right > 0
    return {
        "budget": name, "tokens": float(a.tokens.mean()), "right": float(a.right.mean()),
        "confidence": float(a.confidence.mean()),
        "of right ones": float(a.confidence[right].mean()) if right.any() else None,
        "of wrong ones": float(a.confidence[~right].mean()) if not right.all() else None,
        "over-confidence": overconfidence(a.confidence, a.right),
        "ece": ece(a.confidence, a.right),
        "auroc": auroc(a.confidence, a.right), "aurc": aurc(a.confidence, a.right),
        **{f"utility, r={r:g}": float(a.earned(r).mean()) for r in ODDS.values()},
        **{f"all, r={r:g}": float(a.earned(r, 0.0).mean()) for r in ODDS.values()},
    }  # fmt: skip


def _curves(title: str, some: Mapping[int, Answers]) -> Panel:
    lines = []
    for a in some.values():
        kept, wrong = risk_coverage(a.confidence, a.right)
        lines.append(Line(f"{a.tokens.mean():.0f} tokens", kept.tolist(), wrong.tolist()))
    return Panel(title, "share answered", "share of these that is wrong", lines, log=False)


REPRODUCTION = Reproduction(
    "S054", CLAIMS, measure,
    full=Cost(calls=4_400, tokens=150_000, seconds=120),
    quick=Cost(calls=130, tokens=3_500, seconds=4),
)  # fmt: skip
