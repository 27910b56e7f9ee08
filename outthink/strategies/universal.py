"""Universal self-consistency: the model reads all its samples and picks the most consistent one.

    answer = y_k,   k ~ p(. | x, y_1 ... y_n, "which agrees best with most of them?")

A vote needs answers that can be told equal; a model can tell what most texts of any kind agree on.

Source: Chen et al. 2023 (arXiv 2311.17311): all samples in one prompt, one greedy reply that names one.
Ours: the wording, and the tags that texts cannot forge; equal texts are all shown, since they count; a
choice that has no answer where others have one, and a reply that names none (twice), leave the vote,
and a note says so.  Where all texts are equal nothing is asked.

Cost: n samples and one call that reads them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from outthink.core.nouns import Answer, Problem
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.strategies._common import check, decide, voting
from outthink.verify.choose import pick, prompt

REQUEST = (
    "All candidates answer the question. Compare them and pick the most consistent one: the one that "
    "agrees best with what the majority of the candidates says. Be brief."
)


@strategy("universal")
@dataclass(frozen=True)
class Universal:
    """The sample of n that a model (``judge``; the run's own without it) finds most consistent."""

    n: int = 8
    judge: Any = part("model", None)
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 1_000), temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample, show all, pick."""
        samples = await run.gather(
            self.n, propose=voting(run), temperature=self.temperature, max_tokens=self.max_tokens
        )
        texts = [s.shown for s in samples]
        if len(set(texts)) == 1:
            return await voting(run)(samples)
        place = await pick(run, prompt(problem, texts, REQUEST), len(texts), self.judge)
        pool = await run.pool(samples)
        if place is not None and pool.classes[place] < 0 <= pool.classes.max():
            run.warn("the sample that was chosen has no answer: the vote decides")
            place = None
        return decide(run, pool) if place is None else run.answer(pool, place)
