"""Fit ``calibrated`` to a model and its verifier: samples of some questions, and no right answers.

    from outthink.core.registry import spec_of
    from outthink.lab.calibrate import calibrate

    verifier = calibrate(questions, verifier="yes_no", model="fly")
    print(spec_of(verifier))            # calibrated(verifier=yes_no, slope=..., offset=...)

The labels are self-consistency's (``outthink.select.recalibrate``): a model is taught to be as sure of an
answer as its samples agree on it.  Where most samples of the questions are right this makes confidences
mean what they say; where wrong answers scatter it makes them too low (``outthink reproduce S029``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import numpy as np

from outthink.api import Session
from outthink.core.errors import BadInput
from outthink.core.nouns import Floats, Problem
from outthink.core.registry import build
from outthink.select.recalibrate import consistency, platt
from outthink.strategies.best_of_n import BestOfN
from outthink.verify.calibrated import Calibrated
from outthink.verify.extract import reader_for


def calibrate(
    questions: Sequence[Any],
    verifier: Any = "yes_no",
    model: Any = "fly",
    *,
    n: int = 16,
    temperature: float = 1.0,
    reader: str | None = None,
    store: str | None = None,
    seed: int = 0,
    width: int = 8,
) -> Calibrated:
    """The verifier with the slope and offset that fit ``n`` samples of each question.

    A question is a text, messages or a ``Problem``; ``width`` of them are under way at once.
    """
    if not questions or n < 2:
        raise BadInput(f"calibrate: {len(questions)} questions, n={n}: at least 1, and 2 samples")
    judge = build(verifier, "verifier")
    strategy = BestOfN(n=n, verifier=judge, temperature=temperature)
    problems = [Problem.of(q) for q in questions]
    scores = np.full((len(problems), n), np.nan)
    labels = np.full((len(problems), n), np.nan)

    async def main() -> None:
        slots = anyio.Semaphore(width)
        async with Session(model, store=store, reader=reader) as session:

            async def one(i: int, problem: Problem) -> None:
                async with slots:
                    answer = await session.solve(problem, strategy, seed=seed * 1_000_003 + i)
                reads = reader_for(problem, reader)
                classes = await reads.group([reads.extract(s.text) for s in answer.candidates])
                said: Floats = np.array(answer.scores.get("verifier", [np.nan] * len(classes)))
                scores[i, : len(said)] = said
                labels[i, : len(said)] = consistency(classes, said)

            async with anyio.create_task_group() as tasks:
                for i, problem in enumerate(problems):
                    tasks.start_soon(one, i, problem)

    anyio.run(main)
    slope, offset = platt(scores, labels)
    return Calibrated(judge, round(slope, 4), round(offset, 4))
