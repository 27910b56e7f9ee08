"""Shortest right answer over several efforts: sample at each effort, give the shortest that is agreed on.

    answer = argmin { |y| : ans(y) = a* },   a* = the vote over n samples at each of several efforts

Thinking-optimal scaling (Yang et al., S057, arXiv 2502.18080) finds that the best length of thought lies
between the ends and differs from problem to problem, so it keeps the shortest right text over low,
medium and high effort.  The paper then trains a model on these texts, which is left out here; and it
knows the right answer, in whose place stands the one that most samples agree on.

An effort is what the system is told (``efforts``, in our words), or a model of its own: ``models``, such as
[fly(think=2), fly(think=4)].  Of two answers with equally many samples the one with the shorter text wins.

Cost: n samples at each effort; what is short is the text that is given, not the search for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from outthink.core.errors import BadInput
from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.strategies._common import check
from outthink.strategies._prompts import instructed
from outthink.strategies._short import short_voting

EFFORTS = (
    "Be quick: reason in as few steps as you can, then answer.",
    "Reason step by step, then answer.",
    "Take your time: reason at length, try other ways, check every step, then answer.",
)


@strategy("shortest_right", sources=("S057",))
@dataclass(frozen=True)
class ShortestRight:
    """The shortest text that carries the agreed answer, of n samples at each of several efforts."""

    n: int = 2
    efforts: tuple[str, ...] = EFFORTS
    models: Any = part("model", (), many=True)
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 1_000), temperature=(0.0, 5.0), max_tokens=(1, None))
        if not self.models and not all(e.strip() for e in self.efforts or ("",)):
            raise BadInput(
                "shortest_right: efforts=[] needs a text for each effort, or models=[...]"
            )

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample at each effort, vote over all, take the shortest of the winners."""
        made: list[Sample] = []
        ways: list[dict[str, Any]] = [{"model": model} for model in self.models] or [
            {"messages": instructed(problem.messages, effort)} for effort in self.efforts
        ]
        for way in ways:
            made += await run.gather(
                self.n,
                propose=short_voting(run, made),
                temperature=self.temperature,
                max_tokens=self.max_tokens,
                **way,
            )
            if run.limit is not None:
                break
        return await short_voting(run)(made)
