"""S096, DivSampling: Diversified Sampling Improves Scaling LLM Inference (arXiv 2502.11027).

Samples of differently perturbed prompts fail less alike than samples of one prompt, so the best of n gains:
by Jensen's inequality (1 - E p_d)^n is at most E (1 - p_d)^n.  A later version says that under a vote the
gain may vanish.  Here:

- a simulation against both formulas (``outthink.laws.mixture``);
- recorded samples of GPT-4 on the Game of 24 under two prompts, mixed half and half;
- fly, live, asked in two ways that it was trained on, with and without a thought, mixed half and half.

What cannot be shown: what personas, instructions or nonsense before a question do.  fly reads the question
and the dial of thought, nothing else, so ``diverse_prompts`` runs on it and changes nothing; and in no
recorded set are many prompts of one question.  Equally many samples of each of two prompts cover no less
than the mean of the two in expectation, whatever the data: the claims of that kind test the estimate
and say how large the gap is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.laws.coverage import pass_table
from outthink.laws.mixture import fresh, observed, stationary
from outthink.reproduce._votes import vote_credit
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import cell, difference, exact
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above, below
from outthink.tasks import problems as problems_of
from outthink.tasks.base import TaskProblem
from outthink.train.evaluate import Result

PAPER = "arXiv 2502.11027, abstract of version 4"
GAME = "recorded: GPT-4 on the Game of 24, 100 puzzles x 100 samples of the prompts io and cot"
FLY = "live: fly and fly(think=free) on chain medium, 80 test problems, 8 samples of each"
RELATIVE = "relative gains of 10.8 % (reasoning, EM@100), 9.6 % (mathematics), 9.5 % (code)"
KS = (1, 4, 16, 64)

CLAIMS = {
    "formulas": Claim(
        text="One prompt for all samples misses with E (1 - p_d)^n, fresh ones with (1 - E p_d)^n",
        published="formulas",
        source="arXiv 2502.11027, theorem",
        setting="simulation: 8 prompts, p_d ~ Beta(.3, 3), 200 questions, n = 1, 4, 16, 64",
        statistic="largest distance of the simulated coverage from either formula, in standard errors",
        rule=below(3.5),
    ),
    "mixed": Claim(
        text="Two prompts mixed cover more than the two do in the mean, at equal samples",
        published=RELATIVE,
        source=PAPER,
        setting=GAME,
        statistic="coverage of 8 + 8 samples minus the mean coverage of 16 of each, paired",
        rule=above(0),
    ),
    "crossing": Claim(
        text="Where the two cross, the mixture is no worse than the better one",
        published="no figure",
        source=PAPER,
        setting=GAME,
        statistic="coverage of 4 + 4 samples minus the better prompt's coverage of 8, paired",
        rule=above(-0.02),
    ),
    "better": Claim(
        text="and with many samples the mixture covers more than the better prompt alone",
        published=RELATIVE,
        source=PAPER,
        setting=GAME,
        statistic="coverage of 50 + 50 samples minus the better prompt's coverage of 100, paired",
        rule=above(0),
    ),
    "live": Claim(
        text="Two ways of asking the same model cover more than the two do in the mean",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="coverage of 2 + 2 samples minus the mean coverage of 4 of each, paired",
        rule=above(0),
    ),
    "vote": Claim(
        text="Under a vote the advantage may vanish: a vote gains less than coverage does",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="(coverage of 2 + 2 minus the mean coverage of 4) minus (the same of votes), paired",
        rule=above(0),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick simulates less and asks fly little."""
    error = _simulated(trial, 40 if trial.quick else 400)
    sets = [trial.pools("tot_game24_io"), trial.pools("tot_game24_cot")]
    # the two prompts were given the same puzzles, not in the same order
    second = [sets[1].problems.index(p) for p in sets[0].problems]
    drawn = np.stack([sets[0].counts, sets[1].counts[second]], axis=1)
    right = np.stack([sets[0].correct, sets[1].correct[second]], axis=1)
    mixed, alone, best = _mixture(drawn, right, 16)
    eight, _, better8 = _mixture(drawn, right, 8)
    hundred, _, better100 = _mixture(drawn, right, 100)
    live, vote, rows = _live(trial)
    measured = {
        "formulas": exact(error),
        "mixed": difference(mixed, alone),
        "crossing": difference(eight, better8),
        "better": difference(hundred, better100),
        "live": difference(live, np.zeros_like(live)),
        "vote": difference(live, vote),
    }
    ks = [2, 4, 8, 16, 32, 64, 100]
    curves = {k: _mixture(drawn, right, k) for k in ks}
    tables: dict[str, list[dict[str, object]]] = {
        "Game of 24": [
            {
                "samples": k,
                "io": float(_alone(drawn, right, 0, k).mean()),
                "cot": float(_alone(drawn, right, 1, k).mean()),
                "half and half": cell(curves[k][0]),
            }
            for k in ks
        ],
        "fly, two ways of asking": rows,
    }
    panels = (
        Panel("GPT-4, Game of 24: two prompts", "samples", "share solved", (
            Line("io", ks, [float(_alone(drawn, right, 0, k).mean()) for k in ks]),
            Line("cot", ks, [float(_alone(drawn, right, 1, k).mean()) for k in ks]),
            Line("half and half", ks, [float(curves[k][0].mean()) for k in ks], style="dashed"),
        )),
    )  # fmt: skip
    notes = [
        f"At 16 samples the mixture covers {mixed.mean():.3f}, the better prompt {best.mean():.3f}."
    ]
    return Findings(measured, tables, panels, notes)


def _simulated(trial: Trial, draws: int) -> float:
    """The largest distance between formula and simulation, in standard errors of its mean."""
    rng, worst = trial.rng(), 0.0
    p = rng.beta(0.3, 3.0, size=(200, 8))
    question = np.arange(len(p))[:, None, None]
    for n in KS:
        kept = rng.integers(0, 8, size=(len(p), draws, 1)).repeat(n, axis=2)
        anew = rng.integers(0, 8, size=(len(p), draws, n))
        for law, source in ((stationary, kept), (fresh, anew)):
            seen = (rng.random(source.shape) < p[question, source]).any(axis=2)
            # questions are fixed: what varies is the draw within each
            spread = np.sqrt((seen.var(axis=1) / draws).mean() / len(p))
            worst = max(worst, abs(float(seen.mean() - law(p, n).mean())) / float(spread))
    return worst


def _alone(drawn: Ints, right: Ints, source: int, k: int) -> Floats:
    """Unbiased coverage of k samples of one source, of each problem."""
    return np.asarray(pass_table(drawn[:, source], right[:, source], [k])[:, 0])


def _mixture(drawn: Ints, right: Ints, k: int) -> tuple[Floats, Floats, Floats]:
    """Coverage of k samples, half of each source; of k of one source, in the mean; of the better one."""
    half = observed(drawn, right, (k // 2, k // 2))
    both = [_alone(drawn, right, i, k) for i in (0, 1)]
    return half, np.asarray((both[0] + both[1]) / 2), max(both, key=lambda c: float(c.mean()))


def _live(trial: Trial) -> tuple[Floats, Floats, list[dict[str, object]]]:
    """Of fly asked in two ways: gains of the mixture in coverage and in votes, and a table."""
    level, count, n = ("easy", 4, 4) if trial.quick else ("medium", 80, 8)
    problems = problems_of("chain", level, "test", count, trial.seed)
    spec = [f"self_consistency(n={n})"]
    ways = {m: trial.run(m, spec, problems, model=m)[0] for m in ("fly", "fly(think=free)")}
    each = [pools(r, problems) for r in ways.values()]
    drawn = np.stack([p.counts for p in each], axis=1)
    right = np.stack([p.correct for p in each], axis=1)
    mixed, alone, _ = _mixture(drawn, right, 4)
    first, second = ways.values()
    groups = n // 4
    votes = [
        np.mean([_vote(r, problems, g, 4) for g in range(groups)], axis=0) for r in (first, second)
    ]
    both = np.mean(
        [_vote(_joined(first, second, g), problems, 0, 4) for g in range(2 * groups)], axis=0
    )
    rows: list[dict[str, object]] = [
        {
            "samples": name,
            "coverage": cell(coverage),
            "vote": cell(voted),
        }
        for name, coverage, voted in (
            ("4 of fly", _alone(drawn, right, 0, 4), votes[0]),
            ("4 of fly(think=free)", _alone(drawn, right, 1, 4), votes[1]),
            ("2 and 2", mixed, both),
        )
    ]
    return mixed - alone, both - (votes[0] + votes[1]) / 2, rows


def _joined(a: Result, b: Result, g: int) -> Result:
    """The g-th two candidates of each as one result."""
    pair = slice(2 * g, 2 * g + 2)
    answers = [
        replace(x, candidates=x.candidates[pair] + y.candidates[pair])
        for x, y in zip(a.answers, b.answers, strict=True)
    ]
    return replace(a, answers=answers)


def _vote(result: Result, problems: list[TaskProblem], g: int, k: int) -> Floats:
    """Is the vote of the g-th k candidates right?  Ties by the share of tied answers that is."""
    some = slice(k * g, k * g + k)
    cut = [replace(a, candidates=a.candidates[some]) for a in result.answers]
    found = pools(replace(result, answers=cut), problems)
    return vote_credit(found.classes.astype(np.int64), np.ones(found.classes.shape), found.right)


REPRODUCTION = Reproduction(
    "S096", CLAIMS, measure,
    full=Cost(calls=160, tokens=165_000, seconds=90),
    quick=Cost(calls=8, tokens=2_000, seconds=3),
    sets=("tot_game24",),
)  # fmt: skip
