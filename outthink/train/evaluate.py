"""Measure strategies on fresh problems of a level: accuracy, tokens, paired gaps with intervals.

Problems come from a split that training never saw, the same ones for every strategy, so gaps are
paired.  With a store the work resumes where it stopped, and strategies share their samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import numpy as np

from outthink.api import Session
from outthink.core.budget import Budget
from outthink.core.nouns import Answer, Floats
from outthink.lab.grade import held
from outthink.lab.stats import mean_interval, paired, wilson
from outthink.select.coverage import pass_at_k
from outthink.tasks import check
from outthink.tasks import family as family_named
from outthink.tasks import problems as problems_of
from outthink.tasks.base import TaskProblem
from outthink.verify.extract import TextReader

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Contender:
    """A strategy at a budget, under the label it has in tables."""

    label: str
    strategy: str
    budget: str = ""


@dataclass
class Result:
    """What one contender did: arrays ``(problems,)``."""

    contender: Contender
    right: Floats
    tokens: Floats
    flops: Floats
    seconds: Floats
    answers: list[Answer] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        """Share of problems answered right."""
        return float(self.right.mean())

    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        return wilson(float(self.right.sum()), len(self.right))


async def measure(
    contenders: Sequence[Contender],
    problems: Sequence[TaskProblem],
    *,
    model: Any = "fly",
    store: str | None = None,
    seed: int = 0,
    width: int = 12,
    progress: Progress | None = None,
) -> list[Result]:
    """Run every contender on every problem, ``width`` problems at a time."""
    total, done = len(contenders) * len(problems), 0
    found: dict[tuple[int, int], Answer] = {}
    reader = family_named(problems[0].family).READER
    async with Session(model, store=store, reader=reader) as session:

        async def one(i: int, slot: anyio.Semaphore) -> None:
            nonlocal done
            async with slot:
                for c, contender in enumerate(contenders):
                    found[c, i] = await session.solve(
                        problems[i].question,
                        contender.strategy,
                        Budget.parse(contender.budget),
                        seed=seed * 1_000_003 + i,
                    )
                    done += 1
                    if progress:
                        progress(done, total)

        slot = anyio.Semaphore(width)
        async with anyio.create_task_group() as tasks:
            for i in range(len(problems)):
                tasks.start_soon(one, i, slot)
    results, read = [], TextReader(how=reader)
    for c, contender in enumerate(contenders):
        answers = [found[c, i] for i in range(len(problems))]
        graded = zip(answers, problems, strict=True)
        right = [float(not held(a, read) and check(p, a.text)) for a, p in graded]
        results.append(
            Result(
                contender,
                np.array(right),
                np.array([float(a.usage.completion_tokens) for a in answers]),
                np.array([a.usage.flops for a in answers]),
                np.array([a.usage.seconds for a in answers]),
                answers,
            )
        )
    return results


def coverage(result: Result, problems: Sequence[TaskProblem]) -> dict[int, float]:
    """Mean unbiased pass@k of a contender's candidates, for k = 1, 2, 4, ... up to their number."""
    counts = [
        (sum(check(p, s.text) for s in a.candidates), len(a.candidates))
        for a, p in zip(result.answers, problems, strict=True)
    ]
    most = min(n for _, n in counts)
    ks = [2**i for i in range(most.bit_length()) if 2**i <= most]
    return {k: float(np.mean([pass_at_k(n, c, k) for c, n in counts])) for k in ks}


def evaluate(
    level: str = "medium",
    problems: int = 500,
    n: int = 16,
    split: str = "dev",
    strategies: Sequence[str] | None = None,
    *,
    family: str = "chain",
    model: Any = "fly",
    store: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Accuracy of each strategy on a level of a family, and the paired gaps between neighbours in the list.

    The default compares a vote and verifier-guided search of width ``n`` with a single sample.
    Returns plain values: ``rows`` (label, accuracy, 95 % interval, mean tokens), ``gaps`` (mean and
    95 % interval), ``coverage`` (pass@k).
    """
    fresh = problems_of(family, level, split, problems, seed)
    specs = list(strategies or ()) or [
        f"self_consistency(n={n})",
        f"best_of_n(n={n}, verifier=prm)",
        f"best_of_n(n={n}, verifier=prm, vote=weighted)",
        f"beam_search(n={n}, prm=prm)",
        f"dvts(n={n}, prm=prm)",
        f"particle_filter(n={n}, prm=prm)",
    ]
    contenders = [Contender(spec, spec) for spec in specs]

    async def main() -> list[Result]:
        return await measure(
            contenders, fresh, model=model, store=store, seed=seed, progress=progress
        )

    results = anyio.run(main)
    rows: list[dict[str, Any]] = []
    columns: dict[str, Floats] = {}
    curve: Mapping[int, float] = {}
    sampled = [r for r in results if r.contender.strategy.startswith(("self_cons", "best_of"))]
    if sampled:
        base = sampled[0]
        share = np.array(
            [
                np.mean([check(p, s.text) for s in a.candidates])
                for a, p in zip(base.answers, fresh, strict=True)
            ]
        )
        curve = coverage(base, fresh)
        each = base.tokens / np.array([len(a.candidates) for a in base.answers])
        between = mean_interval(share)
        name = "pass@1 (one sample)"
        columns[name] = share
        rows.append(
            {
                "label": name,
                "accuracy": float(share.mean()),
                "interval": list(between),
                "tokens": float(each.mean()),
            }
        )
    for r in results:
        columns[r.contender.label] = r.right
        rows.append(
            {
                "label": r.contender.label,
                "accuracy": r.accuracy,
                "interval": list(r.interval()),
                "tokens": float(r.tokens.mean()),
                "flops": float(r.flops.mean()),
            }
        )
    names = list(columns)
    gaps = []
    for i, high in enumerate(names):
        for low in names[:i]:
            mean, lower, upper = paired(columns[high], columns[low])
            gaps.append({"of": high, "over": low, "gap": mean, "interval": [lower, upper]})
    return {
        "family": family,
        "level": level,
        "split": split,
        "problems": problems,
        "n": n,
        "seed": seed,
        "rows": rows,
        "gaps": gaps,
        "coverage": {str(k): v for k, v in curve.items()},
    }
