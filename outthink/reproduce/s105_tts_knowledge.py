"""S105, Test-Time Scaling Is Not Effective for Knowledge-Intensive Tasks Yet (arXiv 2509.06861).

The paper asks twelve reasoning models for facts without a book, at several levels of thinking, and grades
answers as right (A), wrong (B) or not attempted (C): more thinking hardly adds knowledge, it moves
questions between saying and not saying.  Here:

- published: the counts of its released outputs on SimpleQA, as we recounted them from its repository;
- simulated models: one whose willingness to answer rises while what it knows is fixed, and one that comes
  to know more; does the account of moves (``outthink.lab.transitions``) tell them apart;
- fly, live, as the control: arithmetic can be thought out.  A thought that is cut before its answer is
  withheld; and the model is made to go on thinking as the paper does with open models (budget forcing).

Not tried: facts, which no model here knows; the grader; the paper's twelve models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.stats import Estimate
from outthink.lab.transitions import Moves, Shares, grade
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, difference, exact
from outthink.reproduce.rules import above, below
from outthink.tasks import problems as problems_of

PAPER = "arXiv 2509.06861"
RELEASED = "XuZhao0/tts-knowledge, released outputs, recounted"
PUBLISHED = "recorded: published counts of 800 SimpleQA questions a level, 5 models"
SIMULATED = "simulation: 800 questions of which .3 are known, 5 levels of thinking"
FLY = "live: fly(think=4) on chain easy, 200 test problems"
#: shares right and wrong, by model, from the least thinking to the most
COUNTS: dict[str, tuple[tuple[float, float], ...]] = {
    "o3-mini": ((0.089, 0.144), (0.102, 0.199), (0.117, 0.266)),
    "gpt-5-mini": ((0.221, 0.406), (0.228, 0.479), (0.254, 0.569)),
    "o4-mini": ((0.180, 0.309), (0.189, 0.346), (0.180, 0.326)),
    "Gemini-2.5-flash": ((0.126, 0.291), (0.285, 0.586), (0.286, 0.593)),
    "Qwen3-8B": ((0.037, 0.771), (0.033, 0.300)),
}
LEVELS = (24, 48, 96, 256)
WAITS = (0, 1, 4)

CLAIMS = {
    "wrong with attempts": Claim(
        text="What more thinking has models say, and what it has them keep back, is mostly wrong",
        published="no figure (recounted)",
        source=RELEASED,
        setting=PUBLISHED,
        statistic="slope of the change of wrong answers on that of attempts, neighbouring levels",
        rule=above(0.5),
    ),
    "given": Claim(
        text="Where o3-mini attempts, it is right less often with high effort than with low",
        published=".305 against .382 (recounted)",
        source=RELEASED,
        setting=PUBLISHED,
        statistic="right among attempted, high effort minus low",
        rule=below(0),
    ),
    "saturation": Claim(
        text="With knowledge fixed, what is newly attempted is right less often than what was attempted",
        published="no figure",
        source=f"{PAPER}, the mechanism",
        setting=f"{SIMULATED}, willingness rises",
        statistic="right among newly attempted minus right among attempted at the least",
        rule=below(0),
    ),
    "willing": Claim(
        text="The account of moves names willingness where only willingness changes",
        published="no figure",
        source=f"{PAPER}, transition analysis",
        setting=f"{SIMULATED}, willingness rises",
        statistic="part of the net moves of wrong answers that is to and from withheld",
        rule=above(0.8),
    ),
    "knowing": Claim(
        text="and knowledge where only knowledge changes",
        published="no figure",
        source=f"{PAPER}, transition analysis",
        setting=f"{SIMULATED}, the known rise to .6",
        statistic="part of the net moves of wrong answers that is to and from withheld",
        rule=below(0.5),
    ),
    "control": Claim(
        text="What can be thought out, more thinking adds: fly's accuracy rises with the room to think",
        published="no figure",
        source=f"{PAPER}: unlike knowledge",
        setting=f"{FLY}, cut after 96 and 256 tokens",
        statistic="accuracy in 256 tokens minus in 96, paired",
        rule=above(0.1),
    ),
    "control given": Claim(
        text="and where it attempts, it is not right less often",
        published="no figure",
        source=f"{PAPER}: unlike knowledge",
        setting=f"{FLY}, cut after 96 and 256 tokens",
        statistic="right among attempted, in 256 tokens minus in 96",
        rule=above(-0.05),
    ),
    "forced": Claim(
        text="Being made to go on thinking does not raise accuracy",
        published="no figure",
        source=f"{PAPER}, budget forcing of open models",
        setting=f"{FLY}, budget forcing",
        statistic="accuracy with 4 waits minus with none, paired",
        rule=below(0.03),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems of fly."""
    rng = trial.rng()
    pairs = np.array([np.subtract(b, a) for rows in COUNTS.values() for a, b in pairwise(rows)])
    (slope,) = bootstrap(lambda i: _slope(pairs[i]), len(pairs), rng, trial.draws)
    low, *_, high = (a / (a + b) for a, b in COUNTS["o3-mini"])
    willing, knowing = _simulated(rng, willing=True), _simulated(rng, willing=False)
    cut, forced = _fly(trial)
    at = {k: i for i, k in enumerate(LEVELS)}
    measured = {
        "wrong with attempts": slope,
        "given": exact(high - low),
        "saturation": _over(lambda i: _marginal(willing[:, i]), willing, rng, trial),
        "willing": _over(lambda i: _through(willing[:, i]), willing, rng, trial),
        "knowing": _over(lambda i: _through(knowing[:, i]), knowing, rng, trial),
        "control": difference(_right(cut[at[256]]), _right(cut[at[96]])),
        "control given": _over(
            lambda i: _given(cut[at[256], i]) - _given(cut[at[96], i]), cut, rng, trial
        ),
        "forced": difference(_right(forced[-1]), _right(forced[0])),
    }
    tables = {
        "published": [
            {
                "model": model,
                "level": i,
                "right": a,
                "wrong": b,
                "withheld": 1 - a - b,
                "right of attempted": a / (a + b),
            }
            for model, rows in COUNTS.items()
            for i, (a, b) in enumerate(rows)
        ],
        "simulated, willingness rises": _levels(range(5), willing),
        "simulated, knowledge rises": _levels(range(5), knowing),
        "fly, cut": _levels(LEVELS, cut),
        "fly, made to go on": _levels(WAITS, forced),
    }
    panels = (
        _panel("Willingness rises", "level", range(5), willing),
        _panel("Knowledge rises", "level", range(5), knowing),
        _panel("fly, chain easy, cut", "tokens", LEVELS, cut),
        _panel("fly, chain easy, made to go on", "waits", WAITS, forced),
    )
    return Findings(measured, tables, panels)


def _simulated(rng: np.random.Generator, willing: bool) -> Ints:
    """Grades ``(levels, questions)``: a question is attempted where confidence is above a bar.

    Known questions give more confidence (1.5 standard deviations) and are nearly always answered rightly.
    """
    depth, own = rng.random(800), rng.normal(size=800)
    rows = []
    for level in np.linspace(0, 1, 5):
        known = depth < (0.3 if willing else 0.3 + 0.3 * level)
        bar = 1.5 - 2.0 * level if willing else 0.5
        sure = own + 1.5 * known + 0.3 * rng.normal(size=800)
        right = rng.random(800) < np.where(known, 0.97, 0.02)
        answered = sure > bar
        rows.append(grade(answered, answered & right))
    return np.stack(rows)


def _fly(trial: Trial) -> tuple[Ints, Ints]:
    """Grades of fly whose thoughts are cut, ``(LEVELS, problems)``, and that is made to go on."""
    split, count = ("dev", 6) if trial.quick else ("test", 200)
    problems = problems_of("chain", "easy", split, count, trial.seed)
    specs = [f"self_consistency(n=1, max_tokens={k})" for k in LEVELS]
    specs += [f"budget_forcing(waits={w})" for w in WAITS]
    results = trial.run("levels of thinking", specs, problems, "fly(think=4)")
    grades = [
        grade([a.answer is not None for a in r.answers], [x > 0.5 for x in r.right])
        for r in results
    ]
    return np.stack(grades[: len(LEVELS)]), np.stack(grades[len(LEVELS) :])


def _slope(pairs: Floats) -> float:
    """Of changes ``(pairs, right and wrong)``: wrong on attempts, least squares through 0."""
    tried = pairs.sum(axis=1)
    return float((pairs[:, 1] * tried).sum() / (tried**2).sum())


def _right(grades: Ints) -> Floats:
    return np.asarray(grades == 0, dtype=np.float64)


def _given(grades: Ints) -> float:
    return Shares.of(grades).given


def _marginal(grades: Ints) -> float:
    """Right among what the last level attempts beyond the first, minus right among the first's."""
    first, last = Shares.of(grades[0]), Shares.of(grades[-1])
    more = (last.right + last.wrong) - (first.right + first.wrong)
    return (last.right - first.right) / more - first.given if more > 0 else float("nan")


def _through(grades: Ints) -> float:
    """The part of the net moves of wrong answers, from the first level to the last, that is with C."""
    moves = Moves.between(grades[0], grades[-1])
    said, known = abs(moves.ventured - moves.abstained), abs(moves.lost - moves.recalled)
    return said / (said + known) if said + known else float("nan")


def _over(
    statistic: Callable[[Ints], float], grades: Ints, rng: np.random.Generator, trial: Trial
) -> Estimate:
    """The statistic of questions drawn again."""
    return bootstrap(statistic, grades.shape[1], rng, trial.draws)[0]


def _levels(names: Iterable[int], grades: Ints) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, line in zip(names, grades, strict=True):
        s = Shares.of(line)
        given = None if np.isnan(s.given) else s.given
        row = {"level": name, "right": s.right, "wrong": s.wrong, "withheld": s.withheld}
        rows.append({**row, "right of attempted": given})
    return rows


def _panel(title: str, x: str, names: Iterable[int], grades: Ints) -> Panel:
    shares = [Shares.of(line) for line in grades]
    at = [float(v) for v in names]
    lines = (Line("right", at, [s.right for s in shares]), Line("wrong", at, [s.wrong for s in shares]),
             Line("withheld", at, [s.withheld for s in shares], style="dashed"))  # fmt: skip
    return Panel(title, x, "share of questions", lines, log=x == "tokens")


REPRODUCTION = Reproduction(
    "S105", CLAIMS, measure,
    full=Cost(calls=2_900, tokens=180_000, seconds=130),
    quick=Cost(calls=90, tokens=4_000, seconds=5),
)  # fmt: skip
