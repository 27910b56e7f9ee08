"""S077, The Limits of Inference Scaling Through Resampling (arXiv 2411.17501): imperfect verifiers.

"Sample until the tests pass" converges to the precision of the tests, not to 1.  With a_i the chance
that a sample of problem i passes the verifier, p_i that it passes and is right, K samples at most,
stopped at the first that passes:

    accepted and right   R_i(K) = (1 - (1 - a_i)^K) p_i / a_i
    accepted and wrong   W_i(K) = (1 - (1 - a_i)^K) (1 - p_i / a_i)
    ceiling              mean_i p_i / a_i          (0 where a_i = 0)
    utility              U(K) = mean_i R_i(K) - c W_i(K)

(``outthink.laws.verifier``, and exactly for a pool of recorded samples).

Recorded samples: CodeGen-Mono-16B on HumanEval.  The verifier is the first five tests that a model
wrote (CodeT) and that the reference solution passes: tests that are right but few, as in the paper,
where HumanEval's own tests are the verifier and HumanEval+ the truth; here HumanEval's are the truth.
Which tests are right is found by running the reference solutions in the sandbox.  A problem without a
right test accepts nothing.  Beside it a simulation, with its closed form.

Not tried: that weaker models have more false positives, which needs many models on the same tests.
"""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from outthink.core.errors import WorldError
from outthink.core.nouns import Floats, Ints
from outthink.lab.pools import Bools
from outthink.laws.coverage import pass_table
from outthink.laws.verifier import resample, resample_observed
from outthink.reproduce import codet
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, difference, mean
from outthink.reproduce.rules import above, below, between
from outthink.verify.sandbox import run_python

PAPER = "arXiv 2411.17501"
HUMAN = (
    "recorded: CodeGen-Mono-16B on HumanEval, 164 problems x 100 samples, verifier: the first 5 "
    "right tests that a model wrote"
)
SIMULATED = "simulation: 2,000 problems, right with p ~ Beta(.3, .7), wrong ones pass with .05"
#: right tests of the verifier, in the claims and in the tables
TESTS, ALL_TESTS = 5, (1, 3, 5, 10, 40)
#: pass@1 of code-davinci-002 on HumanEval: .658 after a gain of .188 (arXiv 2207.10397, abstract)
STRONGER = 0.47
COSTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
K = np.arange(1, 101)

CLAIMS = {
    "ceiling": Claim(
        text="An imperfect verifier bounds what resampling reaches",
        published="upper bound, no figure",
        source=f"{PAPER}, abstract",
        setting=HUMAN,
        statistic="problems with a right and accepted sample among 100, minus those whose first "
        "accepted one is right, paired",
        rule=above(0),
    ),
    "share wrong": Claim(
        text="Resampling cannot lower the share of wrong ones among the accepted",
        published="no figure",
        source=f"{PAPER}, abstract",
        setting=HUMAN,
        statistic="share of accepted solutions that are wrong, at 100 samples minus at 1",
        rule=above(0),
    ),
    "stronger": Claim(
        text="No amount of resampling lifts a weak model to a single sample of a strong one",
        published=f"{STRONGER} is code-davinci-002's pass@1",
        source=f"{PAPER}, figure 1a; arXiv 2207.10397, abstract",
        setting=HUMAN,
        statistic="ceiling, mean of p / a over problems",
        rule=below(STRONGER),
    ),
    "few": Claim(
        text="The best number of samples is below 10 where a false positive costs what a right one gains",
        published="often below 10",
        source=f"{PAPER}, abstract and figure 1b",
        setting=HUMAN,
        statistic="the K of greatest utility at cost 1",
        rule=below(10),
    ),
    "bends": Claim(
        text="Past a few samples, more of them lose",
        published="the curve bends down",
        source=f"{PAPER}, abstract",
        setting=HUMAN,
        statistic="utility at 100 samples minus utility at 1, at cost 1, paired",
        rule=below(0),
    ),
    "formula": Claim(
        text="The ceiling is the mean precision of the verifier",
        published="closed form",
        source=f"{PAPER}, abstract",
        setting=SIMULATED,
        statistic="accuracy of sampling until accepted, drawn, minus the closed form",
        rule=between(-0.01, 0.01),
    ),
    "varied": Claim(
        text="Problems that differ give a finite best number, smaller where errors cost more",
        published="no figure",
        source=f"{PAPER}, abstract",
        setting=SIMULATED,
        statistic="log10 of the best K at cost 1 minus that at cost 4",
        rule=above(0),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick reads an eighth of the problems."""
    folder = trial.folder("codet_humaneval")
    right = trial.pools("codet_humaneval").right
    some = np.arange(0, len(right), 8 if trial.quick else 1)
    right, passed, count = right[some], codet.matrix(folder)[some], len(some)
    valid = right_tests(folder, some)
    verifiers = {m: accepts(passed, valid, m) for m in ALL_TESTS}
    ok = verifiers[TESTS]
    tp, fp, _ = resample_observed(ok, right, np.ones_like(ok), K)
    covered = pass_table(np.full(count, 100), (ok & right).sum(axis=1), K)

    def wrong(problems: Ints) -> float:
        t, f = tp[problems].mean(axis=0), fp[problems].mean(axis=0)
        return float(f[-1] / (t[-1] + f[-1]) - f[0] / (t[0] + f[0]))

    def best(problems: Ints) -> float:
        return float(K[np.argmax((tp - fp)[problems].mean(axis=0))])

    rng = trial.rng()
    measured = {
        # right samples that the verifier rejects are no part of it
        "ceiling": difference(covered[:, -1], tp[:, -1]),
        "share wrong": bootstrap(wrong, count, rng, trial.draws)[0],
        "stronger": mean(precision(ok, right)),
        "few": bootstrap(best, count, rng, trial.draws)[0],
        "bends": difference((tp - fp)[:, -1], (tp - fp)[:, 0]),
    }
    p, f = simulated(2000, rng)
    tried = _until_accepted(p, f, 20 if trial.quick else 1000, rng)
    measured["formula"] = difference(tried, resample(p, f, 0.0, np.inf).right)

    many = np.arange(1, 1001)
    found = resample(p[:, None], f[:, None], 0.0, many)

    worth = [found.worth(c) for c in (1.0, 4.0)]

    def falls(problems: Ints) -> float:
        weights = np.bincount(problems, minlength=len(p))
        one, four = (many[np.argmax(weights @ w)] for w in worth)
        return float(np.log10(one) - np.log10(four))

    measured["varied"] = bootstrap(falls, len(p), rng, trial.draws // 4)[0]
    alike = p[:1] * 0 + p.mean(), f[:1] * 0 + f.mean()
    tables: dict[str, list[dict[str, Any]]] = {
        "tests": [_row(m, v, right) for m, v in verifiers.items()],
        "simulation": [
            {"cost": c, "best K": best_of(p, f, c), "best K, problems alike": best_of(*alike, c)}
            for c in COSTS
        ],
    }
    lost = float((right & ~ok).sum() / right.sum())
    bare = int((~valid.any(axis=1)).sum())
    notes = [
        f"{bare} of {count} problems have no right test and accept nothing; the verifier rejects "
        f"{lost:.0%} of right samples, mostly there: the ceiling against the stronger model is lower "
        "for that too.",
        "Of simulated problems that are all alike the utility only rises, until all are accepted, or "
        "only falls: the best K is as large as matters, or 1.",
    ]
    return Findings(measured, tables, _panels(tp, fp, covered), notes)


# -- the verifier ----------------------------------------------------------------------------------

_TRY = """
import contextlib, io, json, signal
def late(*_):
    raise TimeoutError
signal.signal(signal.SIGVTALRM, late)
found = []
for code, tests in json.loads({problems!r}):
    space, row = {{}}, []
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, space)
        for test in tests:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.1)
            try:
                exec(test, space)
                row.append(1)
            except BaseException:
                row.append(0)
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    found.append(row)
print(json.dumps(found))
"""


def right_tests(folder: Path, some: Ints) -> Bools:
    """Which of the model-written tests the reference solution passes, ``(problems, 40)``."""
    with gzip.open(folder / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    problems = [rows[i] for i in some]
    tests: dict[str, list[str]] = {}
    with gzip.open(folder / "generated_tests.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            tests.setdefault(row["task_id"], []).append(row["assert"])
    found = np.zeros((len(problems), 40), dtype=bool)
    for start in range(0, len(problems), 20):  # some at a time: one process each, with its limits
        part = problems[start : start + 20]
        pairs = [(p["prompt"] + p["canonical_solution"], tests.get(p["task_id"], [])) for p in part]
        ended = run_python(_TRY.format(problems=json.dumps(pairs)), seconds=60)
        if not ended.passed:
            raise WorldError(
                f"the sandbox could not run the reference solutions: {ended.output[-200:]}"
            )
        for i, row in enumerate(json.loads(ended.output.splitlines()[-1])):
            found[start + i, : len(row)] = row
    return found


def accepts(passed: Bools, valid: Bools, m: int) -> Bools:
    """Samples that pass the first ``m`` right tests, ``(problems, samples)``; none without a test."""
    rank = valid.cumsum(axis=1)
    asked = valid & (rank <= m)
    fine = (passed | ~asked[:, None, :]).all(axis=2)
    return np.asarray(fine & asked.any(axis=1, keepdims=True))


def precision(ok: Bools, right: Bools) -> Floats:
    """The share of accepted samples that are right, 0 where none is accepted, ``(problems,)``."""
    return np.asarray((ok & right).sum(axis=1) / np.maximum(ok.sum(axis=1), 1))


def _row(m: int, ok: Bools, right: Bools) -> dict[str, Any]:
    found = resample_observed(ok, right, np.ones_like(ok), K)
    tp, fp = found.right.mean(axis=0), found.wrong.mean(axis=0)
    return {
        "right tests": m,
        "ceiling": float(precision(ok, right).mean()),
        **{f"right@{k}": float(tp[k - 1]) for k in (1, 10, 100)},
        **{f"wrong@{k}": float(fp[k - 1]) for k in (1, 10, 100)},
        "best K by cost": {f"{c:g}": int(K[np.argmax(tp - c * fp)]) for c in COSTS},
        "right ones rejected": float((right & ~ok).sum() / right.sum()),
    }


def _panels(tp: Floats, fp: Floats, covered: Floats) -> tuple[Panel, ...]:
    k = K.tolist()
    sides = tuple(
        Line(name, k, values.mean(axis=0).tolist())
        for name, values in (
            ("coverage (right and accepted)", covered),
            ("accepted and right", tp),
            ("accepted and wrong", fp),
        )
    )
    bent = tuple(
        Line(f"cost {c:g}", k, (tp - c * fp).mean(axis=0).tolist()) for c in COSTS if c <= 2
    )
    return (
        Panel(f"HumanEval, {TESTS} right tests", "samples K at most", "share of problems", sides),
        Panel("utility by the cost of a false positive", "samples K at most", "utility", bent),
    )


# -- the simulation --------------------------------------------------------------------------------


def simulated(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Chances p of being right, as varied as in code, and f = .05 of passing while wrong."""
    return rng.beta(0.3, 0.7, n), np.full(n, 0.05)


def _until_accepted(p: Floats, f: Floats, times: int, rng: np.random.Generator) -> Floats:
    """How often the first sample that is accepted is right, of so many tries at each problem.

    A sample is right with chance p and accepted if it is right, or wrong with chance f: drawn one
    after the other until all tries have one that is accepted.
    """
    right = np.zeros((len(p), times), dtype=bool)
    open_ = np.ones_like(right)
    while open_.any():
        good = rng.random(right.shape) < p[:, None]
        accepted = open_ & (good | (rng.random(right.shape) < f[:, None]))
        right |= accepted & good
        open_ &= ~accepted
    return np.asarray(right.mean(axis=1))


def best_of(p: Floats, f: Floats, cost: float) -> int:
    """The number of samples, up to 1,000, of greatest mean worth; the least where several are."""
    k = np.arange(1, 1001)
    worth = resample(p[:, None], f[:, None], 0.0, k).worth(cost).mean(axis=0)
    return int(k[np.argmax(worth > worth.max() - 1e-9)])


REPRODUCTION = Reproduction(
    "S077", CLAIMS, measure,
    full=Cost(seconds=20), quick=Cost(seconds=3),
    sets=("codet_humaneval",),
)  # fmt: skip
