"""Reward models as verifiers: scores of steps (process) or of the whole (outcome)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from outthink.core.errors import BadInput, nearest
from outthink.core.nouns import Problem, Sample, Score
from outthink.core.registry import part, register
from outthink.core.run import Run
from outthink.models.fly import FlyOrm, FlyPrm
from outthink.select.aggregate import AGGREGATES, Aggregate, aggregate


@register("verifier", "prm", sources=("S050",), needs=("REWARD",))
@dataclass(frozen=True)
class Prm:
    """A process reward model: each step's probability of being right, made one score by ``aggregate``."""

    model: Any = part("model", FlyPrm())
    aggregate: Aggregate = "last"

    def __post_init__(self) -> None:
        if self.aggregate not in AGGREGATES:
            raise BadInput(
                f"prm: aggregate={self.aggregate!r}{nearest(self.aggregate, AGGREGATES)}"
            )

    async def __call__(self, problem: Problem, samples: Sequence[Sample], run: Run) -> list[Score]:
        """Score each text by its steps."""
        found = await run.reward(samples, self.model)
        return [Score(aggregate(steps, self.aggregate), tuple(steps)) for steps in found]


@register("verifier", "orm", needs=("REWARD",))
@dataclass(frozen=True)
class Orm:
    """An outcome reward model: one score for the whole text (its last one)."""

    model: Any = part("model", FlyOrm())

    async def __call__(self, problem: Problem, samples: Sequence[Sample], run: Run) -> list[Score]:
        """Score each text as a whole."""
        found = await run.reward(samples, self.model)
        return [Score(aggregate(steps, "last")) for steps in found]
