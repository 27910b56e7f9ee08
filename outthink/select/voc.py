"""The value of computation of a chain of thought: what it does for an answer, less what it costs.

    R(z) = log (p(y | x, z) + e) / (p(y | x) + e) - gamma log(1 + length of z)        e = 1e-6, gamma = 0.1

x is the question, y an answer, z a chain of so many tokens.  An empty chain changes nothing and costs
nothing: its R is 0, and a chain of less is worse than none.

Source: S139 (De Sabbata et al. 2024, arXiv 2410.05563) and its code.  There y is the right answer and the
model is trained on the chains of greatest R.  Without one, ``likeliest`` takes the answer that the chains
together make likeliest, argmax_y sum_i p(y | x, z_i): ours.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats, Ints

#: keeps an answer that is impossible without a chain from deciding alone
FLOOR = 1e-6


def reward(
    after: npt.ArrayLike, before: npt.ArrayLike, lengths: npt.ArrayLike, gamma: float = 0.1
) -> Floats:
    """R of chains of so many tokens, in arrays of one shape.

    ``after`` and ``before`` are the log-probabilities (nats) of the answer with the chain and without.
    """
    gain = np.log(np.exp(after) + FLOOR) - np.log(np.exp(before) + FLOOR)
    return np.asarray(gain - gamma * np.log1p(lengths))


def likeliest(after: Floats) -> Ints:
    """Which answer the chains together make likeliest, ``(...)``.

    Of log-probabilities ``(..., n, answers)``; a chain that is NaN has no say.
    """
    told = np.where(np.isnan(after), -np.inf, after)
    return np.asarray(np.exp(told).sum(axis=-2).argmax(axis=-1), dtype=np.int64)
