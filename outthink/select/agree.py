"""How far samples agree, and what follows from it: whether to go on, and what a vote is worth.

Classes are ``(..., n)``, -1 for a text without an answer.

- ``leaders``: the answer with most votes.
- ``settled``: do several sources agree (multi-temperature voting, S061, arXiv 2510.02611)?  A source is
  sure where its leader has a share of at least ``intra`` of its samples; the question is an easy one
  where every source is sure and a share of at least ``cross`` of them have the same leader.
- ``own_weight``: a source's weight by how consistent it is with itself (ModelSwitch, S136, arXiv
  2504.00762): with k answers, p_a the share of answer a, and D different answers,

      w = 1/k + (1 - 1/k) (1 - H / log2 D),    H = - sum_a p_a log2 p_a

  and 1 where all agree; an even split is worth 1/k a vote.
- ``switch_weights``: what each sample weighs in ModelSwitch's vote: sources are asked in turn until one
  agrees with itself, and those after it were never asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats, Ints
from outthink.select.vote import elect, support

Bools = npt.NDArray[np.bool_]


def leaders(classes: Ints) -> tuple[Ints, Ints]:
    """The class with most votes (of equal ones the first) and its votes, ``(...)``; -1 and 0 for none."""
    c = np.asarray(classes, dtype=np.int64)
    place = elect(support(c), c)
    klass = np.take_along_axis(c, place[..., None], axis=-1)[..., 0]
    votes = ((c == klass[..., None]) & (c >= 0)).sum(axis=-1)
    return klass, np.asarray(votes, dtype=np.int64)


def settled(classes: Ints, intra: float = 0.8, cross: float = 1.0) -> Bools:
    """Are sources ``(..., sources, n)`` sure, each of them, and of the same answer?  ``(...)``.

    A text without an answer counts against its source.
    """
    c = np.asarray(classes)
    klass, votes = leaders(c)
    sure = (votes > 0) & (votes >= intra * c.shape[-1] - 1e-9)
    _, same = leaders(klass)
    return np.asarray(sure.all(axis=-1) & (same >= cross * klass.shape[-1] - 1e-9))


def consistency(classes: Ints) -> Floats:
    """The leader's share of the texts with an answer, ``(...)``; 0 of fewer than two.

    One answer alone agrees with none.
    """
    _, votes = leaders(classes)
    answered = (np.asarray(classes) >= 0).sum(axis=-1)
    return np.where(answered > 1, votes / np.maximum(answered, 1), 0.0)


def own_weight(classes: Ints) -> Floats:
    """The weight of a source's answers by their entropy, ``(...)``; 0 where there is none."""
    c = np.asarray(classes)
    there = c >= 0
    k = np.maximum(there.sum(axis=-1), 1)
    # each sample's class has a share s of the answers: the mean of log s over samples is -H
    share = np.where(there, support(c) / k[..., None], 1.0)
    entropy = -np.log2(share).sum(axis=-1) / k
    kinds = np.where(there, 1.0 / (share * k[..., None]), 0.0).sum(axis=-1)
    most = np.log2(np.maximum(kinds, 1.0))
    several = kinds > 1.5
    even = np.divide(entropy, most, out=np.zeros_like(most), where=several)
    weight = 1 / k + (1 - 1 / k) * (1 - even)
    return np.where(there.any(axis=-1), np.where(several, weight, 1.0), 0.0)


def switch_weights(
    classes: Ints,
    threshold: float = 1.0,
    trust: Sequence[float] | Floats | None = None,
    entropy: bool = True,
) -> Floats:
    """The weights ``(..., sources, k)`` of k samples of each source, asked in their order.

    A source after the first whose consistency is at least ``threshold`` has weight 0: it is not asked.
    The others weigh ``trust`` (one number each, 1 if not given), times ``own_weight`` with ``entropy``.
    """
    c = np.asarray(classes)
    content = consistency(c) >= threshold
    # how many sources before it were content
    before: Ints = np.cumsum(content, axis=-1) - content
    weight: Floats = np.where(before == 0, 1.0, 0.0)
    if trust is not None:
        weight = weight * np.asarray(trust, dtype=np.float64)
    if entropy:
        weight = weight * own_weight(c)
    return np.broadcast_to(weight[..., None], c.shape).copy()
