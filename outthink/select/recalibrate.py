"""Make a confidence mean what it says, without knowing one right answer (self-calibration).

Labels come from the samples themselves.  A sample's label is the share of its answer in the confidence
of all samples of its problem (soft self-consistency),

    l_i = sum_j c_j [a_j = a_i] / sum_j c_j

and two numbers are fitted to them, as Platt does with right and wrong:

    c' = sigmoid(slope logit(c) + offset)

The labels are what the model agrees with itself about, not what is right.  With equal c their mean over
a problem's samples is sum_a share(a)^2.  That is the accuracy where all samples agree and are right, and
less where wrong answers scatter: a model that is right half of the time, and never wrong twice in one
way, is taught to believe its right answers half.

Source: Huang et al. 2025 (S029, arXiv 2503.00031) for the labels, exactly (samples without an answer
have none); the map is Platt's (1999) in logits, in place of training the language model on them.
"""

from __future__ import annotations

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.select.logistic import fit_logistic, sigmoid
from outthink.select.vote import support

#: confidences are held this far from 0 and 1
EDGE = 1e-4


def consistency(classes: Ints, confidence: Floats | None = None) -> Floats:
    """The label of each sample, ``(..., n)`` of ``classes (..., n)``: the share of its answer.

    NaN for a text without an answer, and for all where no confidence is above 0.
    """
    c = np.asarray(classes)
    w = np.ones(c.shape) if confidence is None else np.asarray(confidence, dtype=np.float64)
    w = np.where(np.isfinite(w) & (c >= 0), np.maximum(w, 0.0), 0.0)
    total = np.broadcast_to(w.sum(axis=-1, keepdims=True), c.shape)
    known = (c >= 0) & (total > 0)
    return np.asarray(np.divide(support(c, w), total, out=np.full(c.shape, np.nan), where=known))


def logit(p: Floats) -> Floats:
    """``log(p / (1 - p))``, with p held ``EDGE`` from 0 and 1."""
    held = np.clip(np.asarray(p, dtype=np.float64), EDGE, 1.0 - EDGE)
    return np.asarray(np.log(held) - np.log1p(-held))


def mapped(p: Floats, slope: float, offset: float) -> Floats:
    """``sigmoid(slope logit(p) + offset)``; NaN stays NaN."""
    return sigmoid(slope * logit(p) + offset)


def platt(confidence: Floats, labels: Floats) -> tuple[float, float]:
    """The slope and offset that make ``mapped(confidence)`` likeliest, given labels in [0, 1].

    The least of the cross-entropy, summed over what has a label and a confidence, plus half the
    squared distance of (slope, offset) from (1, 0): with few labels it stays near what was said.
    """
    c, y = np.asarray(confidence, np.float64).ravel(), np.asarray(labels, np.float64).ravel()
    known = np.isfinite(c) & np.isfinite(y)
    design = np.stack([logit(c[known]), np.ones(int(known.sum()))], axis=1)
    slope, offset = fit_logistic(design, y[known], np.ones(2), np.array([1.0, 0.0]))
    return float(slope), float(offset)
