"""Another verifier's score, mapped so that it says how often it is right.

    score' = sigmoid(slope logit(score) + offset)

Two numbers, fitted on samples of a few dozen problems (``outthink.lab.calibrate``), no right answer
needed: the labels are how far a model agrees with itself.  With a slope above 0 the order of scores is
kept, so best-of-n chooses as before; what changes is where ``until_confident`` stops, what ``selective``
answers, and how much a vote believes.

Source: Self-Calibration (S029, arXiv 2503.00031), which trains the language model to say such shares; this
maps what it says, and leaves its weights alone.  Cost: that of the other verifier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.nouns import Problem, Sample, Score
from outthink.core.registry import part, register
from outthink.core.run import Run
from outthink.select.recalibrate import mapped


@register("verifier", "calibrated", sources=("S029",))
@dataclass(frozen=True)
class Calibrated:
    """Another verifier's probabilities through ``sigmoid(slope logit(score) + offset)``."""

    verifier: Any = part("verifier")
    slope: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        for name in ("slope", "offset"):
            if not math.isfinite(getattr(self, name)):
                raise BadInput(f"calibrated: {name}={getattr(self, name)} must be a finite number")

    @property
    def judges_text(self) -> bool:
        """Does the other verifier judge texts, whether an answer can be read from them or not?"""
        return bool(getattr(self.verifier, "judges_text", False))

    async def __call__(self, problem: Problem, samples: Sequence[Sample], run: Run) -> list[Score]:
        """Have the other verifier score the samples, and map what it says."""
        values = np.array([score.value for score in await run.score(samples, self.verifier)])
        odd = values[(values < 0) | (values > 1)]
        if odd.size:
            raise BadInput(
                f"calibrated: the verifier gave {odd[0]:g}, and scores from 0 to 1 are needed"
            )
        return [Score(float(v)) for v in mapped(values, self.slope, self.offset)]
