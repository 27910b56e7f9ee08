"""Soft self-consistency: the sample whose tokens the model itself finds most probable.

    answer = argmax_i f(p(y_i1), ..., p(y_iT)),   f = mean, min, or product (to the power 1/T)

A vote needs samples that agree; where the right answers are many and each is rare, none has two votes.
The model's own probabilities rank them all the same (Wang, Prasad, Stengel-Eskin and Bansal 2024,
arXiv 2402.13212).  Exactly as there, samples are not counted: an answer is worth as much as its best
sample, and equal scores give the first.  ``product`` is normalised for length, as in the released
code.  Ours: the paper scores short actions, read again without the thoughts that led to them; here
all tokens of the text that was written count; without any log-probabilities it is the plain vote.

Cost: n samples.  Needs log-probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import strategy
from outthink.core.run import Run
from outthink.select.best import best
from outthink.select.likelihood import Soft, token_score
from outthink.strategies._common import check, decide, traced, without_logprobs


@strategy("soft_self_consistency", needs=("LOGPROBS",))
@dataclass(frozen=True)
class SoftSelfConsistency:
    """The sample of n with the highest mean, least or (geometric) mean token probability."""

    n: int = 16
    aggregate: Soft = "mean"
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 100_000), temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample, score each by its own tokens, choose the best."""

        async def choose(samples: list[Sample]) -> Answer:
            scores = traced(samples, "logprobs", lambda t: token_score(t, self.aggregate))
            pool = (await run.pool(samples)).with_scores("probability", scores)
            if without_logprobs(run, scores):
                return decide(run, pool)
            return run.answer(pool, best(scores, pool.classes), scores)

        samples = await run.gather(
            self.n,
            propose=choose,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            logprobs=True,
        )
        return await choose(samples)
