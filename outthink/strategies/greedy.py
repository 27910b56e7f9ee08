"""Greedy: one sample at temperature 0, the baseline of everything else.

Cost: one call.
"""

from __future__ import annotations

from dataclasses import dataclass

from outthink.core.nouns import Answer, Problem
from outthink.core.registry import strategy
from outthink.core.run import Run
from outthink.strategies._common import check


@strategy("greedy")
@dataclass(frozen=True)
class Greedy:
    """One sample, at temperature 0 unless told otherwise."""

    temperature: float = 0.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample once."""
        sample = await run.sample(temperature=self.temperature, max_tokens=self.max_tokens)
        return run.answer(await run.pool([sample]), 0)
