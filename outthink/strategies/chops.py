"""CHOPS (checklisted one-pass selection): a checklist is written for the question, then one reply picks.

    c ~ p(. | x, "what must a good answer fulfil?"),   answer = y_k,   k ~ p(. | x, c, y_1 ... y_n)

A judge that sees all candidates at once compares them at the price of one call; a checklist of its own
making keeps it to what the question asks for.

Source: Khairi et al. 2025 (S021, arXiv 2506.20544), who hedge the samples (one greedy, the others hot:
``hedged``) and let the model itself or a larger one choose.  Ours: the wording; equal texts are
shown once, those without an answer only where none has one; without a checklist the model picks all the
same, and a reply that names none, twice, leaves the vote.

Cost: n samples, one call for the checklist and one that reads all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from outthink.core.nouns import Answer, Problem
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.strategies._common import check, decide
from outthink.strategies.hedged import hedge
from outthink.verify.choose import about, pick, prompt, reply
from outthink.verify.extract import spoken

CHECKLIST = (
    "Write a short checklist of what a good answer to this question has to fulfil: at most eight points, "
    "one a line. Do not answer the question."
)
REQUEST = "Check each candidate against the checklist, point by point, and pick the best one."
#: where no checklist came
PLAIN = "Compare the candidates and pick the best one."


@strategy("chops", sources=("S021",))
@dataclass(frozen=True)
class Chops:
    """Hedged samples; a model (``judge``; the run's own without it) writes a checklist and picks one."""

    n: int = 5
    judge: Any = part("model", None)
    temperature: float = 0.7
    min_p: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 1_000), temperature=(0.0, 5.0), min_p=(0.0, 1.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample, write the checklist, show it with the samples, pick."""
        samples = await hedge(run, self.n, self.temperature, self.min_p, self.max_tokens)
        pool = await run.pool(samples)
        # a text without an answer is no candidate where another has one
        able = [i for i, c in enumerate(pool.classes) if c >= 0] or list(range(len(samples)))
        first = {samples[i].shown: i for i in reversed(able)}
        texts = sorted(first, key=lambda text: first[text])
        if len(texts) == 1:
            return decide(run, pool)
        said = await reply(run, about(problem, CHECKLIST), self.judge)
        points = spoken(said or "").strip()
        more = ("checklist", points) if points else ()
        asked = prompt(problem, texts, REQUEST if points else PLAIN, *more)
        place = await pick(run, asked, len(texts), self.judge)
        if place is None:
            return decide(run, pool)
        return run.answer(pool, first[texts[place]])
