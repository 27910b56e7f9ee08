"""S098, Bag of Tricks for Inference-time Computation (arXiv 2502.07191): what pays at a given budget.

The paper varies what people overlook, the proposer's temperature and the verifier's reward, and then
compares methods.  Here:

- recorded code samples (CodeGen-Mono-16B on HumanEval, with the tests that a model wrote for CodeT):
  which reward chooses among 100;
- fly, live: temperatures, three rewards for best-of-n, and a table of methods at equal samples.

The gain of a tuned temperature is cross-fitted: the temperature that is best on half of the problems
is tried on the other half, and the other way round, so that choosing the best of several is not itself
the gain.

Not tried: instruction prompts and top-p (fly has neither), the eight tasks of the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from outthink.core.nouns import Floats
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.codet import dual_agreement, matrix
from outthink.reproduce.estimates import cell, difference, exact, mean_line, tuned
from outthink.reproduce.live import one_sample, pools
from outthink.reproduce.rules import above, agrees
from outthink.select.coverage import best_at_k
from outthink.tasks import check
from outthink.tasks import problems as problems_of
from outthink.tasks.base import TaskProblem
from outthink.train.evaluate import Result

PAPER, CODET = "arXiv 2502.07191, abstract", "arXiv 2207.10397"
HUMAN = "recorded: CodeGen-Mono-16B on HumanEval, 164 problems x 100 samples, model-written tests"
FLY = "live: fly on chain medium, 200 test problems, 8 samples"
TEMPERATURES = (0.4, 0.7, 1.0, 1.3)
#: what the paper's repository has where nothing is said
DEFAULT = 0.7
TUNED = "at the best of four temperatures (cross-fitted) minus at 0.7, paired"

CLAIMS = {
    "dual": Claim(
        text="Dual agreement chooses as CodeT reports",
        published=".367",
        source=CODET,
        setting=HUMAN,
        statistic="accuracy of the solution of greatest dual agreement",
        rule=agrees(0.367, 0.005),
    ),
    "reward": Claim(
        text="The kind of reward decides: agreement of solutions and tests over tests alone",
        published="no figure (CodeT: .367)",
        source=PAPER,
        setting=HUMAN,
        statistic="dual agreement minus most tests passed, paired",
        rule=above(0),
    ),
    "proxy": Claim(
        text="A poor proxy is worse than none: the shortest solution",
        published="no figure",
        source=PAPER,
        setting=HUMAN,
        statistic="random sample minus shortest, paired",
        rule=above(0),
    ),
    "temperature one": Claim(
        text="Tuning the temperature alone improves one sample",
        published="up to 5 %",
        source=PAPER,
        setting=FLY,
        statistic=f"one sample {TUNED}",
        rule=above(0),
    ),
    "temperature best": Claim(
        text="Tuning the temperature alone improves best-of-8 with a reward model",
        published="up to 5 %",
        source=PAPER,
        setting=FLY,
        statistic=f"best_of_n(n=8, verifier=prm) {TUNED}",
        rule=above(0),
    ),
    "trained": Claim(
        text="A trained reward model chooses better than self-evaluation",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="best-of-8 by fly-prm minus by yes_no, paired, temperature 1",
        rule=above(0),
    ),
    "self": Claim(
        text="Self-evaluation is at least as good as a random choice",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="best-of-8 by yes_no minus a random sample, paired, temperature 1",
        rule=above(-0.02),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems and samples on fly."""
    selectors = _selectors(trial)
    measured = {
        "dual": exact(selectors["dual agreement"].mean()),
        "reward": difference(selectors["dual agreement"], selectors["most tests"]),
        "proxy": difference(selectors["random"], selectors["shortest"]),
    }
    level, split, count, n = ("easy", "dev", 4, 2) if trial.quick else ("medium", "test", 200, 8)
    problems = problems_of("chain", level, split, count, trial.seed)
    by_temperature: dict[float, tuple[Floats, Floats]] = {}
    for t in TEMPERATURES:
        (best,) = trial.run(
            f"temperature {t}", [f"best_of_n(n={n}, temperature={t}, verifier=prm)"], problems
        )
        by_temperature[t] = one_sample(pools(best, problems)), best.right
    one = {t: v[0] for t, v in by_temperature.items()}
    chosen = {t: v[1] for t, v in by_temperature.items()}
    measured["temperature one"] = difference(tuned(one), one[DEFAULT])
    measured["temperature best"] = difference(tuned(chosen), chosen[DEFAULT])

    specs = [
        f"best_of_n(n={n}, verifier=yes_no)",
        f"self_consistency(n={n})",
        f"best_of_n(n={n}, verifier=prm)",
        f"best_of_n(n={n}, verifier=prm, vote=weighted)",
        f"beam_search(n={n}, prm=prm)",
        f"dvts(n={n}, prm=prm)",
        f"particle_filter(n={n}, prm=prm)",
        f"revision(n={n}, length={min(4, n)})",
    ]
    results = trial.run("methods", specs, problems)
    judged, trained = results[0], results[2]
    measured["trained"] = difference(trained.right, judged.right)
    measured["self"] = difference(judged.right, one[1.0])
    tables = {
        "selectors": [_share(name, v) for name, v in selectors.items()],
        "temperature": [
            {"temperature": t, "one sample": cell(one[t]), "best of n": cell(chosen[t])}
            for t in TEMPERATURES
        ],
        "methods": [_method(r) for r in results],
    }
    at = list(TEMPERATURES)
    panels = (
        Panel(f"fly, chain {level}: temperature", "temperature", "accuracy",
              (_line("one sample", at, one), _line(f"best of {n} (prm)", at, chosen)), log=False),
        Panel(f"fly, chain {level}: methods, at equal samples", "model calls", "accuracy",
              tuple(_point(r) for r in results)),
    )  # fmt: skip
    return Findings(measured, tables, panels, [_repeats(judged, problems)])


def _repeats(r: Result, problems: Sequence[TaskProblem]) -> str:
    """What choosing by a score has to overcome: it looks at each text once, however often it came."""
    kinds = [{c.text for c in a.candidates} for a in r.answers]
    right = [
        np.mean([check(p, text) for text in texts])
        for p, texts in zip(problems, kinds, strict=True)
    ]
    most = max(len(a.candidates) for a in r.answers)
    return (
        f"On self-evaluation: of {most} samples {np.mean([len(k) for k in kinds]):.1f} are different "
        f"texts, of which {np.mean(right):.3f} are right. A random choice counts a text as often as it "
        "came, and so does a vote; a score for each text does not."
    )


def _selectors(trial: Trial) -> dict[str, Floats]:
    """The chance that each reward's choice among all samples is right, ``(problems,)``."""
    found, passed = trial.pools("codet_humaneval"), matrix(trial.folder("codet_humaneval"))
    rewards = {
        "dual agreement": [dual_agreement(rows) for rows in passed],
        "most tests": list(passed.sum(axis=2)),
        "shortest": list(-found.tokens),
        "random": list(np.zeros(found.right.shape)),
    }
    return {
        name: np.array([best_at_k(s, y, len(y)) for s, y in zip(scores, found.right, strict=True)])
        for name, scores in rewards.items()
    }


def _share(name: str, values: Floats) -> dict[str, object]:
    return {"reward": name, "accuracy": cell(values)}


def _method(r: Result) -> dict[str, object]:
    return {
        "strategy": r.contender.strategy,
        "accuracy": cell(r.right),
        "tokens": float(r.tokens.mean()),
        "calls": float(np.mean([a.usage.calls for a in r.answers])),
    }


def _line(label: str, at: Sequence[float], columns: Mapping[float, Floats]) -> Line:
    return mean_line(label, at, [columns[t] for t in at])


def _point(r: Result) -> Line:
    label = r.contender.strategy.replace(", verifier=prm", "").replace(", prm=prm", "")
    calls = float(np.mean([a.usage.calls for a in r.answers]))
    return Line(label, [calls], [r.accuracy], style="dots")


REPRODUCTION = Reproduction(
    "S098", CLAIMS, measure,
    full=Cost(calls=30_000, tokens=1_600_000, seconds=800),
    quick=Cost(calls=200, tokens=5_000, seconds=4),
    sets=("codet_humaneval",),
)  # fmt: skip
