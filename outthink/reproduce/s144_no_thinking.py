"""S144, Reasoning Models Can Be Effective Without Thinking (arXiv 2504.09858): answers, not a thought.

The paper closes the thought of DeepSeek-R1-Distill-Qwen-32B before it begins and finds that, at equal
tokens, answers without a thought are better where the budget is low, the more so the more of them are
drawn.  There an answer without a thought is still a solution in steps.  fly's answer after a thought is the
number alone, so two things stand for it here:

- fly(think=3) with its thought closed: the method to the letter, on a model that has only the number left;
- fly without a thought, which writes the steps of a solution: what the paper's model then does.

Thinking within a budget is budget forcing: cut, closed, answered.  And recorded: Codex on BIG-Bench Hard,
at once and with a chain of thought, what it costs a model that was not made to think.

Not tried: the paper's tasks and verifiers.  Latency is the tokens of the longest of the texts drawn side by
side, as in the paper.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from outthink.core.nouns import Floats
from outthink.lab.rows import read_table
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import difference, exact
from outthink.reproduce.rules import above, agrees
from outthink.select.coverage import pass_at_k
from outthink.tasks import check
from outthink.tasks import problems as problems_of
from outthink.tasks.base import TaskProblem
from outthink.train.evaluate import Result

PAPER = "arXiv 2504.09858"
AMC = "51.3 against 28.9 (AMC 23, 700 tokens)"
CLOSED = "live: fly(think=3) on chain easy, 150 test problems, thought closed, 16 answers"
STEPS = "live: fly without a thought on chain easy, 150 test problems, 4 solutions"
MEDIUM = "live: fly without a thought on chain medium, 80 test problems, 8 solutions"
BBH = "recorded: code-davinci-002 on BIG-Bench Hard, 6,511 questions"
CODEX = "recounted from recorded answers of arXiv 2210.09261"
#: tokens that a thought may have
BUDGETS = (16, 32, 64)

CLAIMS = {
    "low": Claim(
        text="Within a low budget an answer without a thought is better than after a thought that is cut",
        published=AMC,
        source=f"{PAPER}, abstract",
        setting=CLOSED,
        statistic="one answer, thought closed, minus one after 16 tokens of thought, paired",
        rule=above(0),
    ),
    "low, steps": Claim(
        text="The same where the answer without a thought is a solution in steps",
        published=AMC,
        source=f"{PAPER}, abstract",
        setting=f"{STEPS}; a thought of 32 tokens has as many tokens",
        statistic="one solution minus one answer after 32 tokens of thought, paired",
        rule=above(0),
    ),
    "coverage": Claim(
        text="At equal tokens, many answers without a thought hold a right one more often than one thought",
        published="NoThinking ahead at all budgets for k > 1 (figure 6)",
        source=f"{PAPER}, section 3.3",
        setting=CLOSED,
        statistic="pass@k, thought closed, k by tokens, minus one full thought, paired",
        rule=above(0),
    ),
    "coverage, steps": Claim(
        text="The same where an answer without a thought is a solution in steps",
        published="NoThinking ahead at all budgets for k > 1 (figure 6)",
        source=f"{PAPER}, section 3.3",
        setting=STEPS,
        statistic="pass@k of solutions, k by tokens (at least 1), minus one full thought, paired",
        rule=above(0),
    ),
    "vote": Claim(
        text="Put together by vote they are comparable with one full thought, at a fraction of its latency",
        published="comparable at up to 9 x lower latency",
        source=f"{PAPER}, abstract",
        setting=CLOSED,
        statistic="vote of 16, thought closed, minus one full thought, paired",
        rule=above(-0.05),
    ),
    "confidence": Claim(
        text="Votes by confidence choose better than a plain majority",
        published="generally better (table 2)",
        source=f"{PAPER}, section 4",
        setting=MEDIUM,
        statistic="vote by self-certainty (q = .5) minus majority (q = 0), paired",
        rule=above(0),
    ),
    "surest": Claim(
        text="The surest answer alone is worse than a vote by confidence",
        published="consistently worse (table 2)",
        source=f"{PAPER}, section 4",
        setting=MEDIUM,
        statistic="vote by self-certainty (q = .5) minus the surest (q = 100), paired",
        rule=above(0),
    ),
    "at once": Claim(
        text="A model that was not made to think loses by answering at once",
        published=".528",
        source=CODEX,
        setting=BBH,
        statistic="accuracy at once, mean of the tasks",
        rule=agrees(0.528, 0.0005),
    ),
    "chain": Claim(
        text="against a chain of thought before the answer",
        published=".737",
        source=CODEX,
        setting=BBH,
        statistic="accuracy with a chain of thought, mean of the tasks",
        rule=agrees(0.737, 0.0005),
    ),
    "either": Claim(
        text="and each is right where the other is not",
        published=".828",
        source=CODEX,
        setting=BBH,
        statistic="share of questions on which either is right",
        rule=agrees(0.828, 0.0005),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems and samples on fly."""
    split, count, n, k = ("dev", 6, 8, 2) if trial.quick else ("test", 150, 16, 4)
    problems = problems_of("chain", "easy", split, count, trial.seed)
    closed = f"no_thinking(n={n})"
    cuts = [f"budget_forcing(tokens={b}, waits=0, n={k})" for b in BUDGETS]
    full = f"self_consistency(n={k})"
    plain, *within, whole = trial.run(
        "thought closed, cut and full", [closed, *cuts, full], problems, "fly(think=3)"
    )
    (steps,) = trial.run("solutions", [f"no_thinking(n={k}, prefill='')"], problems)
    level, few, m = ("easy", 4, 3) if trial.quick else ("medium", 80, 8)
    votes = {q: f"no_thinking(n={m}, prefill='', q={q})" for q in (0, 0.5, 1, 100)}
    found = trial.run(
        "votes by confidence",
        list(votes.values()),
        problems_of("chain", level, split, few, trial.seed),
    )
    by_q = dict(zip(votes, found, strict=True))
    ways = {
        "closed": plain,
        **{f"thought of {b}": r for b, r in zip(BUDGETS, within, strict=True)},
        "full thought": whole,
        "solution": steps,
    }
    tokens = {name: _tokens(r) for name, r in ways.items()}
    one = {name: _pass(r, problems, 1) for name, r in ways.items()}
    equal = {
        name: _many(tokens["full thought"], tokens[name], _width(r)) for name, r in ways.items()
    }
    codex = _codex(trial)
    measured = {
        "low": difference(one["closed"], one["thought of 16"]),
        "low, steps": difference(one["solution"], one["thought of 32"]),
        "coverage": difference(_pass(plain, problems, equal["closed"]), one["full thought"]),
        "coverage, steps": difference(
            _pass(steps, problems, equal["solution"]), one["full thought"]
        ),
        "vote": difference(plain.right, one["full thought"]),
        "confidence": difference(by_q[0.5].right, by_q[0].right),
        "surest": difference(by_q[0.5].right, by_q[100].right),
        "at once": exact(np.mean([task.mean() for task in codex["direct"]])),
        "chain": exact(np.mean([task.mean() for task in codex["cot"]])),
        "either": exact(np.concatenate(codex["either"]).mean()),
    }
    tables: dict[str, list[dict[str, Any]]] = {
        "ways": [
            {
                "way": name,
                "tokens": tokens[name],
                "latency": _latency(r),
                "one": float(one[name].mean()),
                f"any of {_width(r)}": float(_pass(r, problems, _width(r)).mean()),
                "vote": r.accuracy,
                "k at the tokens of a full thought": equal[name],
            }
            for name, r in ways.items()
        ],
        "votes by confidence": [{"q": q, "accuracy": r.accuracy} for q, r in by_q.items()],
    }
    panels = (
        Panel("fly, chain easy: any of k right", "tokens", "share of problems",
              tuple(_curve(name, r, problems, tokens[name]) for name, r in ways.items())),
    )  # fmt: skip
    return Findings(measured, tables, panels, [_told(tokens, equal)])


def _tokens(r: Result) -> float:
    """Mean tokens of one text, its thought included."""
    return float(np.mean([s.total_tokens for a in r.answers for s in a.candidates]))


def _latency(r: Result) -> float:
    """Mean tokens of the longest text of each problem."""
    return float(np.mean([max(s.total_tokens for s in a.candidates) for a in r.answers]))


def _width(r: Result) -> int:
    return min(len(a.candidates) for a in r.answers)


def _many(budget: float, each: float, most: int) -> int:
    """How many texts have together no more tokens than the budget; at least one."""
    return min(max(1, int(budget // each)), most)


def _pass(r: Result, problems: Sequence[TaskProblem], k: int) -> Floats:
    """The chance that one of k texts is right, ``(problems,)``."""
    shares = []
    for problem, answer in zip(problems, r.answers, strict=True):
        right = [check(problem, s.text) for s in answer.candidates]
        shares.append(pass_at_k(len(right), sum(right), k))
    return np.array(shares)


def _codex(trial: Trial) -> dict[str, list[Floats]]:
    """Right or not of each question of each task, at once, with a chain, and either."""
    table = read_table(str(trial.folder("bbh_codex") / "outputs.parquet"), "bbh_codex")
    found: dict[str, dict[Any, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in table.rows:
        found[str(row["task"])][row["item"]][str(row["mode"])] = float(bool(row["correct"]))
    modes = ("direct", "cot")
    out = {m: [np.array([q[m] for q in task.values()]) for task in found.values()] for m in modes}
    pairs = zip(out["direct"], out["cot"], strict=True)
    return {**out, "either": [np.maximum(a, b) for a, b in pairs]}


def _curve(name: str, r: Result, problems: Sequence[TaskProblem], each: float) -> Line:
    ks = range(1, _width(r) + 1)
    return Line(name, [each * k for k in ks], [float(_pass(r, problems, k).mean()) for k in ks])


def _told(tokens: dict[str, float], equal: dict[str, int]) -> str:
    return (
        f"A full thought and its answer have {tokens['full thought']:.0f} tokens: as many as "
        f"{equal['closed']} answers with the thought closed, or {equal['solution']} solutions in steps."
    )


REPRODUCTION = Reproduction(
    "S144", CLAIMS, measure,
    full=Cost(calls=2_400, tokens=190_000, seconds=140),
    quick=Cost(calls=70, tokens=4_000, seconds=5),
    sets=("bbh_codex",),
)  # fmt: skip
