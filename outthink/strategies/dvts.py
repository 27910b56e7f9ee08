"""Diverse verifier tree search: many small beams instead of one (Beeching et al., 2024).

``n`` first steps are split into ``n / branch`` independent subtrees of ``branch`` candidates.  Each
subtree keeps its single best candidate by the verifier's value and extends it ``branch`` times, so no
subtree can crowd out another.  The finished candidates of all subtrees are put to a verifier-weighted
vote.  The published write-up ("Scaling test-time compute with open models") has branch = 4 and at
most 40 rounds.

Cost: at most n steps a round.  Needs PREFIX and a verifier.
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


@strategy("dvts", needs=("PREFIX", "VERIFIER"))
@dataclass(frozen=True)
class Dvts:
    """Independent subtrees, each keeping its one best candidate, and a weighted vote at the end."""

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
            raise BadInput(f"dvts: n={self.n} must be a multiple of branch={self.branch}")

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Search with n / branch beams of width one."""
        branch = min(self.branch, self.n)
        return await grow(
            run,
            Beam(self.n, branch, groups=max(1, self.n // branch)),
            self.prm,
            vote=self.vote == "weighted",
            step=step_of(run, self.step),
            max_steps=self.max_steps,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            lookahead=self.lookahead,
        )
