"""DeepConf, offline: a vote in which only the traces that the model was sure of count, as sure as it was.

    answer = argmax_a  sum_i C_i [ans(y_i) = a]  over the ``keep`` most confident of n traces

with C_i the confidence of trace i, from the ``top`` likeliest tokens at each place: the ``mean`` over its
tokens, its ``tail``, its ``lowest`` window of tokens, or the mean of the ``bottom`` tenth of its windows
(``select.confidence``).  The paper keeps 10 % or 90 %, with windows of 2,048 tokens: for short texts
take a shorter one.

Source: Fu et al. 2025 (arXiv 2508.15260), and its code for the edges; defaults of n and ``keep`` are ours.
Cost: n samples.  Needs LOGPROBS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from outthink.core.nouns import Answer, Floats, Problem, Sample
from outthink.core.registry import strategy
from outthink.core.run import Run
from outthink.select.confidence import Measure, confident, text_confidence, token_confidence
from outthink.select.vote import weighted
from outthink.strategies._common import check, without_logprobs


def confidences(samples: Sequence[Sample]) -> Floats:
    """The confidence at each token of each text, ``(n, t)``, NaN after its end; nats."""
    traces = [s.trace("top_logprobs") for s in samples]
    rows = [np.zeros(0) if t is None else token_confidence(t) for t in traces]
    out = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
    for line, row in zip(out, rows, strict=True):
        line[: len(row)] = row
    return out


@strategy("deepconf", needs=("LOGPROBS",))
@dataclass(frozen=True)
class DeepConf:
    """n samples, of which the most confident vote, weighted by confidence."""

    n: int = 16
    keep: float = 0.9
    measure: Measure = "bottom"
    window: int = 2048
    top: int = 20
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 100_000), keep=(0.0, 1.0), window=(1, None), top=(2, 100))
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample, measure, vote."""

        async def vote(samples: list[Sample]) -> Answer:
            values = text_confidence(confidences(samples), self.measure, self.window)
            without_logprobs(run, values)  # their weights are all 1
            pool = (await run.pool(samples)).with_scores("confidence", values)
            weights = confident(values, pool.classes, self.keep)
            return run.answer(pool, weighted(pool.classes, weights), weights)

        return await vote(
            await run.gather(
                self.n,
                propose=vote,
                top_logprobs=self.top,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
            )
        )
