"""Minimum Bayes risk: the text of the highest expected utility, samples standing for the distribution.

    choose argmax_i  1/m sum_j u(y_i, r_j),   r_1 ... r_m ~ p(. | x)

The references r are the candidates themselves, and others where there are some.  A candidate counts
among its own references: it adds u(y, y) = 1 to each, and changes no choice.  With u = 1 for equal
answers and 0 else the sum is the number of votes: the plain majority vote.

Source: Eikema and Aziz 2020 (arXiv 2005.10283); the vote as a case of it: Bertsch et al. 2023
(arXiv 2310.01387).
"""

from __future__ import annotations

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.select.vote import elect


def expected_utility(utility: Floats, weights: Floats | None = None) -> Floats:
    """Each candidate's mean over references, ``(..., n)`` of ``utility (..., n, m)``.

    ``weights (..., m)`` weigh the references; without, all count alike.
    """
    u = np.asarray(utility, dtype=np.float64)
    w = np.ones(u.shape[-1]) if weights is None else np.asarray(weights, dtype=np.float64)
    total = w.sum(axis=-1)
    sums = np.einsum("...nm,...m->...n", u, np.broadcast_to(w, (*u.shape[:-2], u.shape[-1])))
    return np.asarray(sums / np.where(total > 0, total, 1.0)[..., None])


def mbr(utility: Floats, classes: Ints, weights: Floats | None = None) -> Ints:
    """The place of the candidate of the highest expected utility, the first of equals: ``(...)``.

    ``utility (..., n, m)``, ``classes (..., n)``: one without an answer (-1) wins only where all are.
    """
    return elect(expected_utility(utility, weights), classes)
