"""Self-consistency: draw n samples and give the answer that most of them reach.

    answer = argmax_a  sum_i w_i [ans(y_i) = a],   y_1 ... y_n ~ p(. | x)

with w_i = 1 (Wang et al., arXiv 2203.11171), or the score of a verifier (weighted vote).  Answers are
grouped by equivalence, not as strings; a text without an answer is a class of its own that cannot win
while another exists.  ``ties`` says which of equally heavy answers wins: the one with more samples
(``count``; then the first), the ``first`` to appear, the one with the best single ``score``, or a
``random`` one.

Cost: n samples (and n scores with ``weights``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.strategies._common import check, decide


@strategy("self_consistency")
@dataclass(frozen=True)
class SelfConsistency:
    """The answer that most of n samples reach, or that weighs most; ``ties`` says who wins a tie."""

    n: int = 16
    weights: Any = part("verifier", None)
    ties: Literal["count", "first", "score", "random"] = "count"
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 100_000), temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample, group, vote."""

        async def plain(samples: list[Sample]) -> Answer:
            return decide(run, await run.pool(samples), None, True, self.ties)

        samples = await run.gather(
            self.n, propose=plain, temperature=self.temperature, max_tokens=self.max_tokens
        )
        if self.weights is None:
            return await plain(samples)
        scores = await run.score(samples, self.weights)
        values = [s.value for s in scores]
        return decide(run, await run.pool(samples), values, True, self.ties)
