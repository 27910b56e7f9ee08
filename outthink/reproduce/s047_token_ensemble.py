"""S047, TTAug (arXiv 2510.03574): averaging predictions token by token over rephrased inputs.

The paper's inputs are pictures and paraphrased questions; fly's are one problem under other names: who has
what is renamed and the things are others, which changes neither the numbers, the order of the facts nor the
answer.  A solution names nobody, so all inputs go on with the same text, as lockstep decoding needs.

Beside the token-level average of 4 inputs: one greedy pass, a vote of the greedy answers of the same 4
inputs (as many passes), and a vote of 4 samples of the question as it stands.  As a table: fly together
with fly-xs, which has the same tokens.

Not tried: pictures, TTAdapt (it trains weights), paraphrases by a model.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.core.registry import spec_of
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import cell, difference
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above
from outthink.select.vote import majority
from outthink.strategies.token_ensemble import TokenEnsemble
from outthink.tasks import problems as problems_of
from outthink.tasks.base import NAMES, TaskProblem
from outthink.tasks.chain import THINGS

PAPER = "arXiv 2510.03574, abstract and section 4"
FLY = "live: fly on chain hard, 80 test problems, 4 inputs: as it stands and under 3 other sets of names"

CLAIMS = {
    "one pass": Claim(
        text="The token-level average of several inputs answers better than one pass",
        published="consistent gains over nine benchmarks, no single figure",
        source=PAPER,
        setting=FLY,
        statistic="average of 4 inputs minus the question as it stands, both greedy, paired",
        rule=above(0),
    ),
    "answer vote": Claim(
        text="Averaging tokens is better than voting on answers, at equal passes",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="average of 4 inputs minus the vote of their 4 greedy answers, paired",
        rule=above(0),
    ),
    "temperature": Claim(
        text="Other inputs are a better source of variety than a temperature, at equal passes",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="average of 4 inputs minus self_consistency(4) at temperature 1, paired",
        rule=above(0),
    ),
    "no loss": Claim(
        text="The average of 4 inputs is not below a single pass",
        published="no figure",
        source="our falsification",
        setting=FLY,
        statistic="average of 4 inputs minus the mean of the 4 single passes, paired",
        rule=above(-0.02),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems and 2 inputs."""
    level, split, count, k = ("medium", "dev", 3, 2) if trial.quick else ("hard", "test", 80, 4)
    problems = problems_of("chain", level, split, count, trial.seed)
    inputs = [problems, *([renamed(p, i) for p in problems] for i in range(1, k))]
    single = [trial.run(f"input {i}", ["greedy"], some)[0] for i, some in enumerate(inputs)]
    (sampled,) = trial.run("samples", [f"self_consistency(n={k})"], problems)
    together = _ensemble(trial, "average", problems, inputs)
    models = _ensemble(trial, "two models", problems, [problems], "fly-xs")
    (smaller,) = trial.run("fly-xs", ["greedy"], problems, "fly-xs")
    # each input's answers are pools of one sample; their classes are made the same by the answer's text
    answers = [[a.answer for a in r.answers] for r in single]
    right = np.array([r.right for r in single])
    chosen = np.array([majority(_classes(row)) for row in zip(*answers, strict=True)])
    voted = right[chosen, np.arange(count)]
    measured = {
        "one pass": difference(together, single[0].right),
        "answer vote": difference(together, voted),
        "temperature": difference(together, sampled.right),
        "no loss": difference(together, right.mean(axis=0)),
    }
    arms: dict[str, tuple[Floats, int]] = {
        "one greedy pass": (single[0].right, 1),
        "mean of the single passes": (right.mean(axis=0), 1),
        "token-level average": (together, k),
        "vote of their answers": (voted, k),
        "vote of samples": (sampled.right, k),
        "one sample": (np.asarray(pools(sampled, problems).right.mean(axis=1)), 1),
        "fly and fly-xs, averaged": (models, 2),
        "fly-xs, one greedy pass": (smaller.right, 1),
    }
    rows = [{"arm": name, "passes": n, "accuracy": cell(v)} for name, (v, n) in arms.items()]
    same = float(np.mean([len(set(row)) == 1 for row in zip(*answers, strict=True)]))
    notes = [f"The {k} inputs have one and the same greedy answer on {same:.0%} of the problems."]
    lines = tuple(Line(name, [n], [float(v.mean())], style="dots") for name, (v, n) in arms.items())
    panel = Panel(f"fly, chain {level}", "passes a token", "accuracy", lines, log=False)
    return Findings(measured, {"arms": rows}, (panel,), notes)


def renamed(problem: TaskProblem, salt: int) -> TaskProblem:
    """The same problem about other people and other things."""
    rng = random.Random(f"{problem.question}/{salt}")
    others = dict(zip(NAMES, rng.sample(NAMES, len(NAMES)), strict=True))
    thing = next(t for t in THINGS if f" {t} " in problem.question)
    others[thing] = rng.choice([t for t in THINGS if t != thing])
    said = re.compile(r"\b(" + "|".join(map(re.escape, others)) + r")\b")
    return replace(problem, question=said.sub(lambda m: others[m[0]], problem.question))


def _ensemble(
    trial: Trial,
    label: str,
    problems: Sequence[TaskProblem],
    inputs: Sequence[Sequence[TaskProblem]],
    other: str = "",
) -> Floats:
    """Which problems the token-level average has right, ``(problems,)``."""
    right = []
    for i, problem in enumerate(problems):
        prompts = tuple(some[i].question for some in inputs)
        spec = spec_of(TokenEnsemble(prompts=prompts, models=(other,) if other else ()))
        (result,) = trial.run(f"{label} {i}", [spec], [problem])
        right.append(float(result.right[0]))
    return np.array(right)


def _classes(answers: Sequence[str | None]) -> Ints:
    """Numbers of equal answers, -1 for none."""
    known: dict[str, int] = {}
    return np.array([-1 if a is None else known.setdefault(a, len(known)) for a in answers])


REPRODUCTION = Reproduction(
    "S047", CLAIMS, measure,
    full=Cost(calls=900, tokens=130_000, seconds=240),
    quick=Cost(calls=20, tokens=3_000, seconds=5),
)  # fmt: skip
