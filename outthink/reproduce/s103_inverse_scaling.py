"""S103, Inverse Scaling in Test-Time Compute (arXiv 2507.14417): when thinking longer makes answers worse.

The paper builds tasks on which large reasoning models get worse as they think longer, by a budget that is
asked for and by the length that runs have by themselves.  No model here can be distracted by a sentence, so
the tasks are there for other models (``outthink.lab.counting``), and what is tried is the instrument
(``outthink.lab.overthinking``):

- simulated models, whose accuracy falls with the budget or does not: does it see the fall, how often does
  it see one that is not there, and does difficulty alone deceive it;
- recorded: Codex on BIG-Bench Hard, at once and with a chain of thought, by task; o1-mini on AIME, where
  more thinking pays: the control;
- fly, live: its dial of thinking as the budget, and the lengths of its runs at one dial.

Not tried: the regression, deduction and questionnaire tasks, and every model of the paper.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from outthink.core.nouns import Floats
from outthink.lab.overthinking import Natural, Trend, natural, spearman, trend
from outthink.lab.rows import read_table
from outthink.lab.stats import Estimate
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import difference, exact, mean
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above, below
from outthink.tasks import problems as problems_of

PAPER = "arXiv 2507.14417"
BUDGETS = (512, 1024, 2048, 4096)
SIMULATED = (
    "simulation: 100 questions, budgets 512 to 4096, 3 runs each, chance falls by .1 d log(budget)"
)
BBH = "recorded: code-davinci-002 on BIG-Bench Hard, 27 tasks, 6,511 questions, at once and with a chain"
FLY = "live: fly on chain easy, 200 test problems, 4 runs"
DIALS = (2, 3, 4, 6)

CLAIMS = {
    "power": Claim(
        text="A model that 5 distractors make worse with length is told to be",
        published="no figure",
        source=f"{PAPER}, the protocol; the judge is ours",
        setting=f"{SIMULATED}, d = 5",
        statistic="share of simulated models whose effect has its interval below 0",
        rule=above(0.9),
    ),
    "false alarms": Claim(
        text="A model that length does not touch is seldom told to be worse",
        published="at most .05",
        source="the level of its p",
        setting=f"{SIMULATED}, d = 0",
        statistic="share of simulated models whose effect has its interval below 0",
        rule=below(0.05),
    ),
    "difficulty": Claim(
        text="Difficulty alone, which makes runs longer and wrong, is not taken for an effect of length",
        published="no figure",
        source=f"{PAPER}, natural overthinking",
        setting="simulation: 100 questions of different difficulty, 5 runs, length follows difficulty only",
        statistic="share of simulated models whose longest runs are told to be worse than their shortest",
        rule=below(0.05),
    ),
    "word sorting": Claim(
        text="Thinking first can make answers worse: sorting words",
        published="-.10 (recounted)",
        source="recorded answers of arXiv 2210.09261",
        setting=BBH,
        statistic="accuracy with a chain minus at once, paired, word_sorting",
        rule=below(0),
    ),
    "bbh": Claim(
        text="and makes them better on the whole",
        published=".737 against .528 (recounted)",
        source="recorded answers of arXiv 2210.09261",
        setting=BBH,
        statistic="accuracy with a chain minus at once, paired, all tasks",
        rule=above(0),
    ),
    "control": Claim(
        text="Where more thinking pays, the instrument says so: o1-mini on AIME",
        published=".20 with 363 tokens, .70 with 88k",
        source="hughbzhang/o1_inference_scaling_laws",
        setting="recorded: o1-mini, 30 AIME problems, 11 budgets, one accuracy each",
        statistic="rank correlation of tokens and accuracy",
        rule=above(0.6),
    ),
    "dial": Claim(
        text="fly thinks itself worse: the longest dial against the best",
        published="-.067 (fly's card)",
        source="outthink/models/fly/CARD.md; of large models no figure",
        setting=FLY,
        statistic="accuracy with dial 6 minus with dial 3, paired",
        rule=below(0),
    ),
    "natural": Claim(
        text="Of runs of one question the longest is worse than the shortest",
        published="no figure",
        source=f"{PAPER}, natural overthinking",
        setting=f"{FLY} with dial 4",
        statistic="right of the longest run minus of the shortest, paired",
        rule=below(0),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few models, problems and runs."""
    rng = trial.rng()
    models = 60 if trial.quick else 1000
    falls = {d: [_budgeted(rng, d) for _ in range(models)] for d in (0, 1, 3, 5)}
    alone = [_by_difficulty(rng) for _ in range(models)]
    by_task = _bbh(trial)
    chain, direct = (
        np.concatenate([v[mode] for v in by_task.values()]) for mode in ("cot", "direct")
    )
    o1 = _o1(trial)
    dials, runs = _fly(trial, rng)
    at = {d: i for i, d in enumerate(DIALS)}
    words = by_task["word_sorting"]
    measured = {
        "power": mean(np.array([float(t.worse) for t in falls[5]])),
        "false alarms": mean(np.array([float(t.worse) for t in falls[0]])),
        "difficulty": mean(np.array([float(n.effect.high < 0) for n in alone])),
        "word sorting": difference(words["cot"], words["direct"]),
        "bbh": difference(chain, direct),
        "control": exact(spearman(*o1)[0]),
        "dial": difference(dials[:, at[6]], dials[:, at[3]]),
        "natural": runs.effect,
    }
    tables: dict[str, list[dict[str, Any]]] = {
        "simulated models": [
            {
                "distractors": d,
                "mean effect": float(np.mean([t.effect.value for t in found])),
                "told worse by the interval": float(np.mean([t.worse for t in found])),
                "told inverse by rank and p": float(np.mean([t.inverse for t in found])),
            }
            for d, found in falls.items()
        ],
        "difficulty alone": [
            {
                "pooled rank correlation": float(np.mean([n.pooled for n in alone])),
                "longest minus shortest": float(np.mean([n.effect.value for n in alone])),
            }
        ],
        "BIG-Bench Hard": _tasks_table(by_task),
        "fly, dials": [
            {"dial": d, "accuracy": float(dials[:, i].mean())} for i, d in enumerate(DIALS)
        ],
        "fly, runs by length": [
            {"place": i + 1, "accuracy": float(v)} for i, v in enumerate(runs.curve)
        ],
    }
    places = range(1, len(runs.curve) + 1)
    panels = (
        Panel("fly, chain easy", "dial", "accuracy",
              (_line("dials", DIALS, dials.mean(axis=0)),), log=False),
        Panel("fly, runs of one question by length", "place, the shortest first", "accuracy",
              (_line("dial 4", places, runs.curve),), log=False),
        Panel("o1-mini on AIME", "tokens", "accuracy", (_line("more thinking", *o1),)),
    )  # fmt: skip
    return Findings(measured, tables, panels, [_told(falls[0], by_task, runs, dials, rng)])


def _budgeted(rng: np.random.Generator, distractors: int) -> Trend:
    """A simulated model on a task: its chance falls by .1 for each distractor and e-fold of the budget."""
    ease = rng.normal(1.5, 1.0, size=(100, 1))
    fall = 0.1 * distractors * np.log(np.array(BUDGETS) / BUDGETS[0])
    chance = 1 / (1 + np.exp(fall - ease))
    right = rng.binomial(3, chance) / 3
    return trend(BUDGETS, right, rng, 400)


def _by_difficulty(rng: np.random.Generator) -> Natural:
    """Runs whose length and chance both follow the question's difficulty, and nothing else."""
    hard = rng.random((100, 1))
    tokens = np.exp(6 + 2 * hard + 0.3 * rng.normal(size=(100, 5)))
    return natural(tokens, rng.random((100, 5)) < 0.95 - 0.8 * hard, rng, 400)


def _bbh(trial: Trial) -> dict[str, dict[str, Floats]]:
    """Right or not of each question, by task and mode."""
    table = read_table(str(trial.folder("bbh_codex") / "outputs.parquet"), "bbh_codex")
    found: dict[str, dict[str, dict[Any, float]]] = defaultdict(lambda: {"cot": {}, "direct": {}})
    for row in table.rows:
        found[str(row["task"])][str(row["mode"])][row["item"]] = float(bool(row["correct"]))
    out: dict[str, dict[str, Floats]] = {}
    for task, modes in sorted(found.items()):
        items = sorted(modes["cot"].keys() & modes["direct"].keys())
        out[task] = {m: np.array([modes[m][i] for i in items]) for m in ("cot", "direct")}
    return out


def _o1(trial: Trial) -> tuple[Floats, Floats]:
    """Tokens and accuracies of o1-mini, by majority vote beyond what it can be asked to think."""
    rows = read_table(str(trial.folder("o1_aime_budget") / "results.csv"), "o1_aime_budget").rows
    mine = [r for r in rows if r["method"] == "majority_vote"]
    return (
        np.array([float(str(r["avg_tokens_used"])) for r in mine]),
        np.array([float(str(r["accuracy"])) for r in mine]),
    )


def _fly(trial: Trial, rng: np.random.Generator) -> tuple[Floats, Natural]:
    """Shares right ``(problems, dials)``, and the runs at dial 4 by their length."""
    split, count, n = ("dev", 4, 2) if trial.quick else ("test", 200, 4)
    problems = problems_of("chain", "easy", split, count, trial.seed)
    columns, runs = [], None
    for dial in DIALS:
        (result,) = trial.run(
            f"dial {dial}", [f"self_consistency(n={n})"], problems, f"fly(think={dial})"
        )
        found = pools(result, problems)
        columns.append(found.right.mean(axis=1))
        if dial == 4:
            runs = natural(found.tokens, found.right, rng, trial.draws)
    assert runs is not None
    return np.stack(columns, axis=1), runs


def _tasks_table(by_task: dict[str, dict[str, Floats]]) -> list[dict[str, Any]]:
    gaps = {task: difference(m["cot"], m["direct"]) for task, m in by_task.items()}
    return [
        {
            "task": task,
            "at once": float(by_task[task]["direct"].mean()),
            "with a chain": float(by_task[task]["cot"].mean()),
            "gap": list(gaps[task]),
        }
        for task in sorted(gaps, key=lambda t: gaps[t].value)
    ]


def _told(
    null: list[Trend],
    by_task: dict[str, dict[str, Floats]],
    runs: Natural,
    dials: Floats,
    rng: np.random.Generator,
) -> str:
    gaps: list[Estimate] = [difference(m["cot"], m["direct"]) for m in by_task.values()]
    fall = trend(DIALS, dials, rng, 400)
    return (
        f"The published rule (rank correlation below 0 with p below .05) tells "
        f"{np.mean([t.inverse for t in null]):.3f} of the models that length does not touch to scale "
        "inversely: of 4 budgets any strict fall will do. On BIG-Bench Hard a chain is worse on "
        f"{sum(g.value < 0 for g in gaps)} of {len(gaps)} tasks, with an interval below 0 on "
        f"{sum(g.high < 0 for g in gaps)}. Over fly's dials the rank correlation is {fall.rho:.2f} (p "
        f"{fall.p:.2f}): a dial too short is worse than one too long. All runs of fly in one correlation "
        f"of length and right: {runs.pooled:.2f}."
    )


def _line(label: str, x: Any, y: Any) -> Line:
    return Line(label, [float(v) for v in x], [float(v) for v in y])


REPRODUCTION = Reproduction(
    "S103", CLAIMS, measure,
    full=Cost(calls=800, tokens=250_000, seconds=150),
    quick=Cost(calls=16, tokens=3_000, seconds=4),
    sets=("bbh_codex", "o1_aime_budget"),
)  # fmt: skip
