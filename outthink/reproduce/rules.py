"""Verdict rules: what a claim demands of an estimate, fixed before anything is measured.

A rule is a range R of values.  With I, the 95 % interval of the estimate,

    holds           I lies in R
    does not hold   I and R have no value in common
    cannot tell     I lies across an end of R, or there is no estimate (NaN)

so a verdict needs data enough to exclude the opposite, and "cannot tell" is an answer.  A rule's text
is made from its ends: what is printed is what is applied.  The ends of ``above`` and ``below`` are not
in the range, those of ``between`` and ``agrees`` are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from outthink.core.errors import BadInput
from outthink.lab.stats import Estimate

Verdict = Literal["holds", "does not hold", "cannot tell"]
#: what several claims come to
Overall = Literal["holds", "does not hold", "cannot tell", "holds in part"]


@dataclass(frozen=True)
class Rule:
    """A range of values, with or without its ends, and what it is called."""

    low: float
    high: float
    closed: bool
    text: str

    def verdict(self, estimate: Estimate) -> Verdict:
        """The verdict on an estimate; its value plays no part, only its interval does."""
        low, high = estimate.low, estimate.high
        if math.isnan(low) or math.isnan(high):
            return "cannot tell"
        if self.closed:
            inside, outside = (
                self.low <= low and high <= self.high,
                high < self.low or low > self.high,
            )
        else:
            inside, outside = (
                self.low < low and high < self.high,
                high <= self.low or low >= self.high,
            )
        return "holds" if inside else "does not hold" if outside else "cannot tell"


def above(threshold: float) -> Rule:
    """The whole interval lies above the threshold."""
    _finite(threshold)
    return Rule(threshold, math.inf, False, f"95 % interval above {_shown(threshold)}")


def below(threshold: float) -> Rule:
    """The whole interval lies below the threshold."""
    _finite(threshold)
    return Rule(-math.inf, threshold, False, f"95 % interval below {_shown(threshold)}")


def between(low: float, high: float) -> Rule:
    """The whole interval lies between two values."""
    _finite(low, high)
    if low > high:
        raise BadInput(f"between({low:g}, {high:g}): the lower end comes first")
    return Rule(low, high, True, f"95 % interval in {_shown(low)} to {_shown(high)}")


def agrees(published: float, tolerance: float) -> Rule:
    """The whole interval lies within a tolerance of the published value."""
    _finite(published, tolerance)
    if tolerance < 0:
        raise BadInput(f"agrees(tolerance={tolerance:g}): a tolerance is not negative")
    text = f"95 % interval within {_shown(tolerance)} of {_shown(published)}"
    return Rule(published - tolerance, published + tolerance, True, text)


def overall(verdicts: Iterable[Verdict]) -> Overall:
    """``holds`` where all claims do, ``does not hold`` where some do not and none does.

    Without either it cannot tell; any other mixture holds in part.
    """
    found = set(verdicts)
    if found == {"holds"}:
        return "holds"
    if "holds" in found:
        return "holds in part"
    return "does not hold" if "does not hold" in found else "cannot tell"


def _finite(*values: float) -> None:
    for value in values:
        if not math.isfinite(value):
            raise BadInput(f"a rule's ends are numbers, not {value}")


def _shown(value: float) -> str:
    return repr(float(value)).removesuffix(".0")
