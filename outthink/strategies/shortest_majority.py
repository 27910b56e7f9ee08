"""Shortest majority vote: answers that come often and in short texts.

    answer = argmax_a  c_a / log l_a,   c_a = samples that reach a,  l_a = their mean length in tokens

(Zeng et al., S066, arXiv 2502.12215, equation 1.)  With two samples that differ it takes the shorter one,
where a vote has nothing to go by; with many the length decides between answers that are nearly level.
It gains where right texts are shorter than wrong ones of the same question; where they are longer it
loses.

The paper gives the answer; the text shown is the shortest that carries it.  A tie goes to the shorter text.

Cost: n samples.
"""

from __future__ import annotations

from dataclasses import dataclass

from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import strategy
from outthink.core.run import Run
from outthink.select.short import shortest_majority
from outthink.strategies._common import check


@strategy("shortest_majority", sources=("S066",))
@dataclass(frozen=True)
class ShortestMajority:
    """The answer of n samples with the most votes for the logarithm of its texts' length."""

    n: int = 16
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 10_000), temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample, group, weigh each group by its length."""

        async def choose(samples: list[Sample]) -> Answer:
            pool = await run.pool(samples)
            return run.answer(pool, int(shortest_majority(pool.classes, pool.tokens)))

        samples = await run.gather(
            self.n, propose=choose, temperature=self.temperature, max_tokens=self.max_tokens
        )
        return await choose(samples)
