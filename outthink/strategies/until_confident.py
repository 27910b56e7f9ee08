"""Until confident: draw one sample after the other, and stop at the first that a verifier is sure of.

    c_k = v(x, y_k);   stop at the first k with c_k >= threshold and give y_k, else the best of n

A question that is easy for the model costs one sample, one that is hard has all n (early-stopping
best-of-n).  ``of=answer`` looks at the vote instead: it stops where the heaviest answer has the share
``threshold`` of all confidence so far, from the second sample on (adaptive consistency with confidence).
The confidence is any verifier's score: ``yes_no``, the model's own P(yes), as published; ``calibrated``
says how to make it mean what it says; a reward model.

Exact: both rules.  Where no sample is sure, the paper's method is best-of-n, so the best seen is given;
its code takes the heaviest answer in one place and the last sample in another.  Ours: ``width`` samples
at a time, looked at in their order, so the answer does not depend on it and up to width - 1 are drawn in
vain.  Not here: the training that makes a language model's P(yes) reliable.

Source: Self-Calibration, Huang et al. 2025 (S029, arXiv 2503.00031).
Cost: between 1 (2 with ``of=answer``) and n samples, and a score each.  Needs a verifier.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from outthink.core.errors import BadInput, BudgetExhausted
from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.stop.confident import first_agreed, first_sure
from outthink.strategies._common import check, decide


@strategy("until_confident", sources=("S029",), needs=("VERIFIER",))
@dataclass(frozen=True)
class UntilConfident:
    """Samples until a verifier is sure of one (or, ``of=answer``, of an answer): ``n`` at most."""

    n: int = 16
    verifier: Any = part("verifier", None)
    threshold: float = 0.8
    of: Literal["sample", "answer"] = "sample"
    width: int = 1
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 100_000), width=(1, 100_000))
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))
        if self.of == "answer" and not 0 < self.threshold <= 1:
            raise BadInput(
                f"until_confident: threshold={self.threshold:g} is a share with of=answer: above 0, "
                "and at most 1"
            )

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Draw, score, look; until one is sure."""
        samples: list[Sample] = []
        answer: Answer | None = None

        async def so_far(fresh: list[Sample]) -> Answer:
            # what was drawn and not yet scored is worth a vote where there is nothing better
            return answer or decide(run, await run.pool(fresh))

        while len(samples) < self.n:
            wave = min(self.width, self.n - len(samples))
            try:
                samples += await run.gather(
                    wave, propose=so_far, temperature=self.temperature, max_tokens=self.max_tokens
                )
            except BudgetExhausted:
                if answer is None:
                    raise
                return answer
            sure, answer = await self._look(run, samples)
            run.propose(answer)
            if sure or run.limit is not None:
                break
        assert answer is not None
        return answer

    async def _look(self, run: Run, samples: list[Sample]) -> tuple[bool, Answer]:
        """Is this the end, and the answer of what is there?"""
        values = [score.value for score in await run.score(samples, self.verifier)]
        pool = (await run.pool(samples)).with_scores("verifier", values)
        scores = pool.scores["verifier"]
        rule = first_sure if self.of == "sample" else first_agreed
        drawn, chosen, sure = rule(pool.classes, scores, self.threshold)
        weights = scores.copy()
        weights[int(drawn) :] = 0.0  # drawn beside the one that ended it
        answer = run.answer(pool, int(chosen), weights)
        own = values[int(chosen)]
        if self.of == "sample" and math.isfinite(own):
            answer = replace(answer, confidence=own)
        return bool(sure), answer
