"""RPC: perplexity consistency with reasoning pruning.

    c(a) = sum of p(t) over the distinct sampled texts t that reach a and are not pruned
    answer = argmax_a c(a)

A vote learns a path's probability by counting how often it comes; the model can say it outright, so
that the error of the confidence falls exponentially in n and not as 1/n (Zhou et al. 2025, S084, arXiv
2510.15444; earlier 2502.00511).  Paths that a mixture of two Weibull distributions puts among the
improbable ones are dropped first (``outthink.select.weibull``).  ``rule`` has the ablations:
``rpc``, ``pc`` (without pruning), ``ppl`` (the answer of the single most probable path).

``path`` says what p(t) is: the probability of the text (``sum`` of log-probabilities), as the theory
has it, or that of a token in the geometric ``mean``, as the released code has it.  With the mean all
paths weigh much the same, so that where texts come several times an answer's weight is little more
than the number of its different texts; with the sum long texts differ by orders of magnitude.

As in the released code: the mixture's start and bounds, the guard of the mean, each text once, a text
without an answer in the mixture too.  Ours: how the mixture is fitted, the first of equal answers.

Cost: n samples.  Needs log-probabilities; they should be those of the temperature that is sampled at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from outthink.core.nouns import Answer, Floats, Pool, Problem, Sample
from outthink.core.registry import strategy
from outthink.core.run import Run
from outthink.select.best import best
from outthink.select.likelihood import path_weights
from outthink.select.vote import weighted
from outthink.strategies._common import check, decide, without_logprobs


@strategy("rpc", sources=("S084",), needs=("LOGPROBS",))
@dataclass(frozen=True)
class RPC:
    """The answer whose distinct, likely paths have the most probability under the model."""

    n: int = 16
    rule: Literal["rpc", "pc", "ppl"] = "rpc"
    path: Literal["mean", "sum"] = "mean"
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 100_000), temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample, prune, add up the probabilities."""

        async def choose(samples: list[Sample]) -> Answer:
            pool = await run.pool(samples)
            return self._choose(run, pool.with_scores("logprob", log_paths(pool, self.path)))

        samples = await run.gather(
            self.n,
            propose=choose,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            logprobs=True,
        )
        return await choose(samples)

    def _choose(self, run: Run, pool: Pool) -> Answer:
        logp = pool.scores["logprob"]
        if without_logprobs(run, logp):
            return decide(run, pool)
        known: dict[str, int] = {}
        numbers = np.array([known.setdefault(s.shown, len(known)) for s in pool.samples])
        weights = path_weights(pool.classes, logp, numbers, self.rule == "rpc")
        if self.rule == "ppl":
            return run.answer(pool, best(logp, pool.classes), weights)
        return run.answer(pool, weighted(pool.classes, weights, "first"), weights)


def log_paths(pool: Pool, path: str) -> Floats:
    """log p(t) of each sample in nats, ``(n,)``; NaN where the model gave none."""
    whole = [np.nan if s.total_logprob is None else s.total_logprob for s in pool.samples]
    return np.array(whole) / (np.maximum(pool.tokens, 1) if path == "mean" else 1)
