"""S093, when to solve, when to verify (arXiv 2504.01005): solutions or checks of them, at equal compute.

A budget buys solutions and a vote (self-consistency), or fewer solutions, each judged by several written
checks of the same model (a generative verifier), of which the best-rated is given.  In units of a
solution S solutions with V checks each cost

    C(S, V) = S (1 + ratio V)

with ``ratio`` the tokens of a check over those of a solution, both measured.  The paper finds that a vote
is better up to large budgets, that verification needs up to 8 times the compute to match it, and that
solutions should grow faster with the budget than checks.

Here fly solves and fly checks (``yes_no(check=true)``), with a check's probability of "yes" as its
verdict.  The split of solutions and checks that is compared with the vote is the one that is best on
these very problems, which favours verification.  ``outthink.laws.split`` has the surface and exponents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.pools import Bools
from outthink.lab.stats import Estimate
from outthink.laws.split import SplitLaw, fit_split
from outthink.reproduce._subsets import at, curve, samples_to_match, scores_of
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, cell, difference, mean_line
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above
from outthink.select.calibration import auroc
from outthink.tasks import problems as problems_of
from outthink.train.evaluate import Result

PAPER, LAW = "arXiv 2504.01005, abstract", "arXiv 2504.01005, section on scaling laws"
FLY = (
    "live: fly solves and checks, chain medium, 150 test problems, 16 solutions x 4 written checks"
)
NONE = Estimate(float("nan"), float("nan"), float("nan"))
#: how much more compute the paper's verifiers need at most to match a vote
TIMES = 8

CLAIMS = {
    "small": Claim(
        text="At a small budget a vote beats verification",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="vote minus best split at C = 2 (1 + ratio), paired",
        rule=above(0),
    ),
    "large": Claim(
        text="At the largest budget here a vote still beats verification",
        published='"most practical budgets"',
        source=PAPER,
        setting=FLY,
        statistic="vote minus best split at C = 16 (1 + ratio), paired",
        rule=above(0),
    ),
    "times": Claim(
        text="Verification needs more compute than a vote for the same accuracy",
        published="up to 8x",
        source=PAPER,
        setting=FLY,
        statistic="C = 16 (1 + ratio) over the samples whose vote is as good as the best split there",
        rule=above(1),
    ),
    "eight": Claim(
        text="With 8 times the compute verification matches the vote, within two points",
        published="up to 8x",
        source=PAPER,
        setting=FLY,
        statistic="best split at C = 16 (1 + ratio) minus vote at C / 8, paired",
        rule=above(-0.02),
    ),
    "exponents": Claim(
        text="The best number of solutions grows faster with the budget than that of checks",
        published="a = .57, b = .39",
        source=LAW,
        setting=FLY,
        statistic="a - b, with S_opt ~ C^a and V_opt ~ C^b; none where the best split at the largest "
        "budget is not better than at the least",
        rule=above(0),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few easy problems, solutions and checks."""
    quick = trial.quick
    level, split, count = ("easy", "dev", 6) if quick else ("medium", "test", 150)
    most, checks = (4, 2) if quick else (16, 4)
    problems = problems_of("chain", level, split, count, trial.seed)
    # the means of 1, 2, ... checks have one more check each: the same calls
    specs = [
        f"best_of_n(n={most}, verifier=yes_no(check=true, n={v}, temperature=1.0))"
        for v in range(checks, 0, -1)
    ]
    vote, word, *checked = trial.run(
        "solutions and checks",
        [f"self_consistency(n={2 * most})", f"best_of_n(n={most}, verifier=yes_no)", *specs],
        problems,
    )
    found = pools(word, problems)
    means = np.stack([scores_of(r, most) for r in reversed(checked)], axis=2)
    verdicts = apart(means)
    ratio = _ratio(checked[0], checks)
    law = fit_split(found.right, verdicts, ratio, found.classes, draws=trial.draws, seed=trial.seed)
    sizes = range(1, 2 * most + 1)
    voted = curve(pools(vote, problems), "vote", sizes)
    best = _at_best(law)
    low, high = float(law.budgets[0]), float(law.budgets[-1])

    def vote_at(budget: float) -> Floats:
        """As with solutions to verify, what is left over of a budget buys nothing."""
        return at(voted, sizes, float(np.floor(budget)))

    measured = {
        "small": difference(vote_at(low), best[:, 0]),
        "large": difference(vote_at(high), best[:, -1]),
        "times": bootstrap(
            lambda i: high / samples_to_match(voted[i].mean(axis=0), float(best[i, -1].mean())),
            len(problems), trial.rng(), trial.draws,
        )[0],
        "eight": difference(best[:, -1], vote_at(high / TIMES)),
        "exponents": _gap(law) if best[:, -1].mean() > best[:, 0].mean() else NONE,
    }  # fmt: skip
    rated = {
        f"one word, best of {most}": curve(found, "best", [most], scores_of(word, most))[:, 0],
        f"{checks} checks, best of {most}": curve(found, "best", [most], means[:, :, -1])[:, 0],
        f"{checks} checks, weighted vote of {most}": curve(
            found, "weighted", [most], means[:, :, -1], trial.rng()
        )[:, 0],
        f"vote of {most}": voted[:, most - 1],
        "one sample": voted[:, 0],
    }
    surface = [
        {"budget": float(c), "solutions": float(s), "checks": float(v), "best split": float(y),
         "vote": float(vote_at(float(c)).mean())}
        for c, s, v, y in zip(law.budgets, *law.best, strict=True)
    ]  # fmt: skip
    said = {
        "one word": scores_of(word, most),
        "one check": verdicts[:, :, 0],
        f"the mean of {checks}": means[:, :, -1],
    }
    texts = [np.array([c.text for c in a.candidates]) for a in word.answers]
    alike = [
        float(np.mean([len(set(t[y == side])) for t, y in zip(texts, found.right, strict=True)]))
        for side in (True, False)
    ]
    notes = (
        f"A check has {ratio:.2f} of the tokens of a solution.",
        f"AUROC of verdicts, over all solutions and within a problem: {_aurocs(said, found.right)}.",
        f"The {most} solutions of a problem have {alike[0]:.1f} different right texts and {alike[1]:.1f} "
        "wrong ones. A text is rated once, however often it is written, so the right one has one try and "
        "the wrong ones have many to be overrated: the best-rated is wrong the more often, the more "
        "there are. A vote counts how often each is written.",
        f"a = {law.a.value:.2f} ({law.a.low:.2f} to {law.a.high:.2f}), b = {law.b.value:.2f} "
        f"({law.b.low:.2f} to {law.b.high:.2f}); the best split has {best[:, 0].mean():.3f} at the "
        f"least budget and {best[:, -1].mean():.3f} at the largest. Where accuracy does not rise with "
        "the budget, nothing is optimal but to spend less, and exponents say nothing: the condition "
        "was added to the claim after its first run, which had none, and in which it held.",
    )
    tables: dict[str, Any] = {
        "budgets": surface,
        "choices": [{"what": k, "accuracy": cell(v)} for k, v in rated.items()],
    }
    return Findings(measured, tables, _panels(law, best, voted, sizes, level), notes)


def apart(means: Floats) -> Floats:
    """Verdicts out of the means of the first 1, 2, ... of them, ``(problems, solutions, V)``."""
    number = np.arange(1, means.shape[2] + 1)
    sums = means * number
    return np.clip(np.diff(sums, axis=2, prepend=0.0), 0.0, 1.0)


def _ratio(result: Result, checks: int) -> float:
    """Tokens of a check over tokens of a solution; equal texts are checked once."""
    solutions = np.array([[s.total_tokens for s in a.candidates] for a in result.answers])
    texts = sum(len({s.text for s in a.candidates}) for a in result.answers)
    each = (result.tokens.sum() - solutions.sum()) / (checks * texts)
    return float(each / solutions.mean())


def _at_best(law: SplitLaw) -> Floats:
    """Each problem's success with the best split at each budget, ``(problems, budgets)``."""
    level: Ints = np.searchsorted(law.levels, law.best.verdicts)
    return law.success[:, np.arange(len(law.budgets)), level]


def _aurocs(said: Mapping[str, Floats], right: Bools) -> str:
    """Of each kind of verdict: over all solutions, and the mean over problems with both kinds."""
    told = []
    for name, values in said.items():
        inside = [auroc(s, y.astype(np.float64)) for s, y in zip(values, right, strict=True)]
        known = [v for v in inside if not np.isnan(v)]
        whole = auroc(values.ravel(), right.ravel().astype(np.float64))
        told.append(f"{name} {whole:.3f} and {np.mean(known) if known else np.nan:.3f}")
    return ", ".join(told)


def _gap(law: SplitLaw) -> Estimate:
    drawn = law.drawn[:, 0, 0] - law.drawn[:, 1, 0]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(law.a.value - law.b.value, float(low), float(high))


def _panels(
    law: SplitLaw, best: Floats, voted: Floats, sizes: Sequence[int], level: str
) -> tuple[Panel, Panel]:
    budgets = law.budgets.tolist()

    success = Panel(
        f"fly, chain {level}", "budget C (solutions)", "accuracy",
        (
            mean_line("vote", sizes, voted.T),
            mean_line("verification, best split", budgets, best.T),
        ),
    )  # fmt: skip
    split = Panel(
        "best split", "budget C (solutions)", "number",
        (
            Line(f"solutions, C^{law.a.value:.2f}", budgets, law.predict(budgets).value.tolist()),
            Line("solutions", budgets, law.best.solutions.tolist(), style="dots"),
            Line(f"checks, C^{law.b.value:.2f}", budgets, law.verdicts(budgets).value.tolist()),
            Line("checks", budgets, law.best.verdicts.tolist(), style="dots"),
        ),
        log_y=True,
    )  # fmt: skip
    return success, split


REPRODUCTION = Reproduction(
    "S093", CLAIMS, measure,
    full=Cost(calls=7_800, tokens=2_200_000, seconds=700),
    quick=Cost(calls=40, tokens=5_000, seconds=3),
)  # fmt: skip
