"""Auto: spend by difficulty, as a plan made from measurements says (compute-optimal scaling).

A few samples are drawn first; how far they agree says how hard the problem is, and the plan says which
strategy pays at that level (Snell et al., S050, arXiv 2408.03314, with difficulty judged by agreement
in place of a verifier; Wu et al., S081, arXiv 2408.00724).  Where the plan names the vote of the first
samples itself, they are the answer, and nothing more is drawn.

``outthink bench`` measures, ``outthink plan DIR --budget tokens=1k --save plan.json`` makes the plan.

Cost: the probe, then that of the level's strategy.  Needs what the plan's strategies need.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from outthink.core import registry
from outthink.core.nouns import Answer, Problem, digest
from outthink.core.registry import strategy
from outthink.core.run import Run
from outthink.route.levels import UNPLANNED, Level, level_of, read_levels
from outthink.strategies._common import voting


@strategy("auto", sources=("S050", "S081"))
@dataclass(frozen=True)
class Auto:
    """Probe the difficulty, then do what the ``plan`` (a file) has for it.

    Without a plan: four samples that agree are the answer, else a vote of 16 more.
    """

    plan: str | None = None
    probe: int = field(init=False, default=0)
    levels: tuple[Level, ...] = field(init=False, default=())
    parts: tuple[Any, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        probe, levels = UNPLANNED if self.plan is None else read_levels(self.plan)
        parts = tuple(registry.build(level.strategy, "strategy") for level in levels)
        for name, value in (("probe", probe), ("levels", levels), ("parts", parts)):
            object.__setattr__(self, name, value)

    @property
    def order_matters(self) -> bool:
        """Does it for a strategy of the plan?"""
        return any(getattr(part, "order_matters", False) for part in self.parts)

    @property
    def fingerprint(self) -> str:
        """What the plan says: another plan in the same file is another strategy."""
        return digest(f"{self.probe}/{self.levels}")[:16]

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Draw the probe, look up its level, and go on there."""
        vote = voting(run)
        first = await vote(await run.gather(self.probe, propose=vote))
        run.propose(first)
        agreement = first.confidence or 0.0
        at = level_of(self.levels, agreement)
        run.note("level", agreement=agreement, strategy=self.levels[at].strategy)
        if self.parts[at] == registry.build(f"self_consistency(n={self.probe})", "strategy"):
            return first
        answer: Answer = await self.parts[at](problem, run)
        return answer
