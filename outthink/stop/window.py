"""Early-stopping self-consistency: draw in windows, and stop when a whole window agrees.

Samples are drawn ``size`` at a time; a window whose answers are all the same (entropy 0) ends the vote,
which is then over all samples so far.  A window in which no text has an answer agrees too.

Source: Li et al. 2024 (ESC, arXiv 2401.10480).  Cost: up to ``size`` - 1 samples more than a rule that
looks after each one, for a vote that can be drawn a window at a time in parallel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.registry import register
from outthink.stop.base import Bools, Running


@register("stop", "window")
@dataclass(frozen=True)
class Window:
    """Stop when a whole window of ``size`` samples has the same answer."""

    size: int = 5
    looks_ahead: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.size < 2:
            raise BadInput(f"window: size={self.size} must be at least 2: one sample always agrees")

    def stops(self, seen: Running) -> Bools:
        """Is this the end of a window, and was all of it the same?"""
        return np.asarray((np.asarray(seen.drawn) % self.size == 0) & (seen.same >= self.size))
