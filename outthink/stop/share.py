"""Stop when the leading answer has a large enough share of the samples: ``first / drawn >= threshold``.

The share of the vote is self-consistency's confidence (Wang et al., arXiv 2203.11171); ``least``
samples are drawn before it is looked at, since a first sample has all of the vote.  With ``least``
equal to the budget it decides, once, whether a vote is sure enough to be kept: the test of a cascade
from a cheap model to a costly one.

Source: the ratio criterion that adaptive consistency is compared with (arXiv 2305.11860); cascades by
agreement: Yue et al. 2023 (arXiv 2310.03094).  Cost: at least ``least`` samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.registry import register
from outthink.stop.base import Bools, Running


@register("stop", "share")
@dataclass(frozen=True)
class Share:
    """Stop when the leader has a share of at least ``threshold`` of at least ``least`` samples."""

    threshold: float = 0.8
    least: int = 4
    looks_ahead: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise BadInput(f"share: threshold={self.threshold} must be above 0, and at most 1")
        if self.least < 1:
            raise BadInput(f"share: least={self.least} must be at least 1")

    def stops(self, seen: Running) -> Bools:
        """Has the leader its share?"""
        drawn = np.asarray(seen.drawn)
        return np.asarray((drawn >= self.least) & (seen.first >= self.threshold * drawn))
