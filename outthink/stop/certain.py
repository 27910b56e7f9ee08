"""Stop when the samples that are left cannot change who leads: ``first - second > left``.

A runner-up, or an answer not seen yet, would have to win all of them and could still not draw level, so
the plain vote over the whole budget is decided.  The promise holds for a vote that counts; where the
decision weighs its votes, this is a heuristic as the other rules are.

Source: folklore of majority votes; the limit of adaptive consistency (arXiv 2305.11860) without a
model of the samples.  Cost: none, and no accuracy lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from outthink.core.registry import register
from outthink.stop.base import Bools, Running


@register("stop", "certain")
@dataclass(frozen=True)
class Certain:
    """Stop when the samples that are left can no longer change the majority."""

    looks_ahead: ClassVar[bool] = True

    def stops(self, seen: Running) -> Bools:
        """Is the lead larger than what is left?"""
        return np.asarray(seen.first - seen.second > seen.left)
