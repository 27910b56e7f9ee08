"""S017, Think Deep, Think Fast (arXiv 2504.14047): verifier-free methods compared.

The paper's claims, tried live on fly with and without thinking (chain medium):

- for a reasoning model majority voting is competitive with, or better than, best-of-n by its own
  rating and sequential revision: "competitive" is not more than two points behind, on the same
  problems and at equal completion tokens;
- a model without reasoning stays behind a reasoning one even with a very large budget: fly that
  answers at once, and fly that writes the steps of a solution, each by a vote of 64, against one
  sample that thinks;
- right traces are shorter and have fewer hedging words than wrong ones of the same problem.

Fly's thinking is taught by imitation and is no better than its written steps: it is a poor organism
for the second claim, which is why it is tried in both readings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats
from outthink.lab.pools import Bools
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import cell, difference
from outthink.reproduce.live import one_sample, pools
from outthink.reproduce.rules import above, below
from outthink.select.coverage import maj_at_k
from outthink.tasks import problems as problems_of

PAPER = "arXiv 2504.14047, abstract"
THINKS = "fly(think=free)"
FLY = f"live: {THINKS} on chain medium, 200 test problems, 8 samples"
#: the words of doubt in fly's thoughts
DOUBTS = ("wait", "again")

CLAIMS = {
    "revision": Claim(
        text="For a reasoning model majority voting is competitive with sequential revision or better",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="vote minus revision(n=8, length=4), paired, the vote with as many samples as its tokens "
        "buy",
        rule=above(-0.02),
    ),
    "self-rated": Claim(
        text="For a reasoning model majority voting is competitive with best-of-n by its own rating, "
        "or better",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="vote of 8 minus best-of-8 by yes_no, paired",
        rule=above(-0.02),
    ),
    "at once": Claim(
        text="Without reasoning, a very large budget stays behind: answering at once",
        published="no figure",
        source=PAPER,
        setting="live: fly(think=0), vote of 64, against one sample of " + THINKS,
        statistic="vote of 64 minus one thinking sample, paired",
        rule=below(0),
    ),
    "steps": Claim(
        text="Without reasoning, a very large budget stays behind: writing a solution",
        published="no figure",
        source=PAPER,
        setting="live: fly, vote of 64, against one sample of " + THINKS,
        statistic="vote of 64 minus one thinking sample, paired",
        rule=below(0),
    ),
    "length": Claim(
        text="Right traces are shorter than wrong ones",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="log tokens of right minus wrong samples, mean over problems that have both",
        rule=below(0),
    ),
    "doubts": Claim(
        text="Right traces have fewer hedging words",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic='"wait" and "again" in right minus wrong samples, mean over problems that have both',
        rule=below(0),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems, samples and steps."""
    quick = trial.quick
    level, split, count = ("easy", "dev", 4) if quick else ("medium", "test", 200)
    n, many = (4, 8) if quick else (8, 64)
    problems = problems_of("chain", level, split, count, trial.seed)
    vote, rated, revised = trial.run(
        THINKS,
        [
            f"self_consistency(n={n})",
            f"best_of_n(n={n}, verifier=yes_no)",
            f"revision(n={n}, length={min(4, n)})",
        ],
        problems,
        THINKS,
    )
    found = pools(vote, problems)
    one = one_sample(found)
    # the vote has as many of its samples as the tokens of revision buy
    k = int(np.clip(round(n * float(revised.tokens.mean() / vote.tokens.mean())), 1, n))
    rng = trial.rng()
    classes = found.classes.astype(np.int64)
    matched = np.array(
        [maj_at_k(c, r, k, rng, 200) for c, r in zip(classes, found.right, strict=True)]
    )
    measured = {
        "revision": difference(matched, revised.right),
        "self-rated": difference(vote.right, rated.right),
    }
    rivals = {}
    for name, model in (("at once", "fly(think=0)"), ("steps", "fly")):
        (rivals[name],) = trial.run(
            f"{model}, vote of {many}", [f"self_consistency(n={many})"], problems, model
        )
        measured[name] = difference(rivals[name].right, one)
    doubts = np.array(
        [[sum(map(c.text.split().count, DOUBTS)) for c in a.candidates] for a in vote.answers]
    )
    size, doubt = (
        within(np.log(np.maximum(found.tokens, 1)), found.right),
        within(doubts, found.right),
    )
    measured["length"] = difference(size, np.zeros(len(size)))
    measured["doubts"] = difference(doubt, np.zeros(len(doubt)))
    answered = [(r, THINKS) for r in (vote, rated, revised)]
    answered += [(rivals["at once"], "fly(think=0)"), (rivals["steps"], "fly")]
    each = float(found.tokens.mean())
    rows = [("one sample", THINKS, one, each), (f"vote of {k}", THINKS, matched, k * each)]
    rows += [(r.contender.strategy, m, r.right, float(r.tokens.mean())) for r, m in answered]
    table = [
        {"what": what, "model": model, "accuracy": cell(v),
         "tokens": tokens}
        for what, model, v, tokens in rows
    ]  # fmt: skip
    points = tuple(
        Line(f"{what} ({model})", [tokens], [float(v.mean())], style="dots")
        for what, model, v, tokens in rows
    )
    panel = Panel(f"chain {level}", "completion tokens", "accuracy", points)
    short = np.array(
        [
            [c.text.count(" = ") < dict(p.dials)["steps"] for c in a.candidates]
            for p, a in zip(problems, vote.answers, strict=True)
        ]
    )
    notes = (
        f"{len(size)} of {count} problems have both right and wrong thinking samples.",
        f"On length: {_share(short, ~found.right)} of wrong traces have fewer lines than the problem "
        f"has steps, and {_share(short, found.right)} of right ones: fly goes wrong by leaving out.",
        f"On steps: one sample of fly that writes a solution is right in "
        f"{one_sample(pools(rivals['steps'], problems)).mean():.3f} of cases, one that thinks in "
        f"{one.mean():.3f}: fly that thinks is not the better reasoner of the two.",
    )
    return Findings(measured, {"methods": table}, (panel,), notes)


def _share(what: Bools, among: Bools) -> str:
    return f"{(what & among).sum() / max(among.sum(), 1):.0%}"


def within(values: npt.NDArray[Any], right: Bools) -> Floats:
    """Mean value of right samples minus of wrong ones, of each problem that has both.

    ``values`` and ``right`` are ``(problems, samples)``.
    """
    good, bad = right.sum(axis=1), (~right).sum(axis=1)
    both = (good > 0) & (bad > 0)
    gap = (values * right).sum(axis=1) / np.maximum(good, 1)
    gap = gap - (values * ~right).sum(axis=1) / np.maximum(bad, 1)
    return np.asarray(gap[both], dtype=np.float64)


REPRODUCTION = Reproduction(
    "S017", CLAIMS, measure,
    full=Cost(calls=4_000, tokens=1_800_000, seconds=900),
    quick=Cost(calls=60, tokens=4_500, seconds=4),
)  # fmt: skip
