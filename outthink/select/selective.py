"""Answer only where sure: what it is worth, and from which confidence on it pays.

A question is answered where its confidence reaches a threshold.  At odds r a right answer earns 1, a
wrong one costs r, no answer is 0; so with N questions

    U(threshold; r) = (right ones answered - r * wrong ones answered) / N

r = 0 is an exam (guess always), r = 1 a quiz show's odds, r = 20 high stakes.  A confidence that is the
chance to be right pays from r / (1 + r) on.  Confidences are ``(n,)``, one a question; one that is no
number answers nothing.  Risk against coverage is in ``outthink.select.calibration``.

Source: Jurayj, Cheng and Van Durme 2025 (S054, arXiv 2502.13962): the odds and their names.
"""

from __future__ import annotations

import math

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats
from outthink.select.calibration import levels

#: odds at which the paper asks for utilities, and what it calls them
ODDS = {"exam": 0.0, "jeopardy": 1.0, "high stakes": 20.0}


def break_even(odds: float) -> float:
    """The chance to be right from which on an answer pays: ``r / (1 + r)``."""
    _odds(odds)
    return odds / (1.0 + odds)


def utility(confidence: Floats, right: Floats, threshold: float, odds: float) -> float:
    """The mean over all questions of +1 (right), -odds (wrong) and 0 (not answered)."""
    _odds(odds)
    answered = np.asarray(confidence, dtype=np.float64) >= threshold
    y = np.asarray(right, dtype=np.float64)
    return float(np.where(answered, y - odds * (1.0 - y), 0.0).mean())


def answered(confidence: Floats, right: Floats, threshold: float) -> tuple[float, float]:
    """The share of questions answered, and the share of these that is right (NaN of none)."""
    some = np.asarray(confidence, dtype=np.float64) >= threshold
    known = np.asarray(right, dtype=np.float64)[some]
    return float(some.mean()), float(known.mean()) if len(known) else math.nan


def best_threshold(confidence: Floats, right: Floats, odds: float) -> float:
    """The threshold of the greatest utility on these questions; infinite where no answer pays.

    Of equal ones the lowest, which answers most.
    """
    _odds(odds)
    s, y = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    known = ~np.isnan(s)
    if not known.any():
        return math.inf
    values, place = levels(s[known])
    gain = np.cumsum(np.bincount(place, y[known] - odds * (1.0 - y[known])))
    best = len(gain) - 1 - int(np.argmax(gain[::-1] >= gain.max() - 1e-12))
    return float(values[best]) if gain[best] >= 0 else math.inf


def _odds(odds: float) -> None:
    if not (math.isfinite(odds) and odds >= 0):
        raise BadInput(f"odds={odds}: a wrong answer costs a number of at least 0")
