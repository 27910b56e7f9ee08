"""Beam search against a process reward model, step by step (Snell et al., S050, arXiv 2408.03314).

1. Draw ``n`` first steps.
2. Score each by the verifier's value of the solution so far.
3. Keep the best ``n / branch``; from each draw ``branch`` next steps: ``n`` candidates again.
4. Repeat until all kept candidates are finished or ``max_steps`` is reached; among the finished ones
   the final answer is chosen by verifier-weighted vote (or as the best one).

``lookahead = k`` scores a candidate by the value of its greedy continuation k steps further on
(lookahead search of the same paper; its tokens are spent too).

Cost: at most n steps a round, ``n (1 + lookahead)`` with lookahead.  Needs PREFIX and a verifier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from outthink.core.errors import BadInput
from outthink.core.nouns import Answer, Problem
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.search.steps import Beam
from outthink.strategies._common import check, step_of
from outthink.strategies._search import grow


@strategy("beam_search", sources=("S050",), needs=("PREFIX", "VERIFIER"))
@dataclass(frozen=True)
class BeamSearch:
    """Keep the n / branch best partial solutions, extend each ``branch`` times, step by step."""

    n: int = 16
    prm: Any = part("verifier", None)
    branch: int = 4
    lookahead: int = 0
    vote: Literal["best", "weighted"] = "weighted"
    temperature: float = 1.0
    max_steps: int = 40
    step: str | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 10_000), branch=(1, None), lookahead=(0, 100), max_steps=(1, 10_000))
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))
        if self.n % self.branch and self.n > self.branch:
            raise BadInput(f"beam_search: n={self.n} must be a multiple of branch={self.branch}")

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Search with one beam."""
        return await grow(
            run,
            Beam(self.n, min(self.branch, self.n)),
            self.prm,
            vote=self.vote == "weighted",
            step=step_of(run, self.step),
            max_steps=self.max_steps,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            lookahead=self.lookahead,
        )
