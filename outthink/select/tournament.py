"""Tournaments: which candidates meet, and who wins, given who is preferred in each comparison.

Cores to ask and tell, vectorised over leading axes of ``classes (..., n)``: ``ask()`` gives the pairs
that meet, ``(..., pairs, 2)`` places; ``settled(pairs)`` those that need no comparison; ``tell(share)``
takes the share of its comparisons that the first of each pair won, ``(..., pairs)``, NaN where nothing
was said; ``winner()`` is a place, ``(...)``.  Equal answers need no comparison (in a knockout the
earlier goes on, in a league each has half), and an answer beats a text without one (-1).

With N candidates, right with probability p_gen, and K comparisons a pair, each for the right one with
probability p_comp > 1/2, a knockout fails with probability at most

    (1 - p_gen)^N + ceil(log2 N) exp(-2 K (p_comp - 1/2)^2)

Source: Chen, Pan, Li, Ding and Zhou 2024 (arXiv 2411.19477) and its code: neighbours meet, an odd last
one goes on, to the head of the next round; in a league each meets the next ``opponents``, round the
table, and the highest share of wins is best.  Ours: a tie goes to the candidate of more ``weight``
(votes), then of the lower class (number them by first appearance), then to the earlier, where the code
draws: a judge that says nothing leaves the vote.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats, Ints
from outthink.select.vote import able, elect, support

Bools = npt.NDArray[np.bool_]


def knockout_bound(n: int, k: int, p_gen: float, p_comp: float) -> float:
    """The most that a knockout of ``n`` candidates, ``k`` comparisons a pair, can fail (a probability)."""
    rounds = math.ceil(math.log2(n)) if n > 1 else 0
    return (1 - p_gen) ** n + rounds * math.exp(-2 * k * (p_comp - 0.5) ** 2)


class _Core:
    """What both forms share: who the candidates are, and what their votes weigh."""

    def __init__(self, classes: Ints, weight: Floats | None = None) -> None:
        self.classes = np.asarray(classes, dtype=np.int64)
        self.n = self.classes.shape[-1]
        self.weight = support(self.classes) if weight is None else np.asarray(weight, np.float64)

    def _known(self, pairs: Ints) -> tuple[Floats, Bools]:
        """The share that needs no comparison, and where there is one."""
        a, b = (np.take_along_axis(self.classes, pairs[..., i], axis=-1) for i in (0, 1))
        share = np.where(a == b, 0.5, np.where(b < 0, 1.0, 0.0))
        return share, ((a == b) & (a >= 0)) | ((a < 0) != (b < 0))

    def settled(self, pairs: Ints) -> Bools:
        """Which pairs need no comparison: ``(..., pairs)``."""
        return self._known(pairs)[1]

    def _told(self, pairs: Ints, share: Floats) -> Floats:
        known, there = self._known(pairs)
        said = np.broadcast_to(np.asarray(share, dtype=np.float64), known.shape)
        return np.where(there, known, np.where(np.isnan(said), 0.5, said))


class Knockout(_Core):
    """Rounds of pairs; who loses is out."""

    def __init__(self, classes: Ints, weight: Floats | None = None) -> None:
        super().__init__(classes, weight)
        #: the places of those who are in, in the order in which they meet: ``(..., m)``
        self.standing: Ints = np.broadcast_to(np.arange(self.n), self.classes.shape)

    def ask(self) -> Ints:
        """The pairs of this round; none when one is left."""
        m = self.standing.shape[-1]
        return self.standing[..., : m - m % 2].reshape(*self.standing.shape[:-1], m // 2, 2)

    def tell(self, share: Floats) -> None:
        """Who goes on."""
        pairs = self.ask()
        first = self._told(pairs, share)
        a, b = pairs[..., 0], pairs[..., 1]
        weight_a, weight_b = (np.take_along_axis(self.weight, x, -1) for x in (a, b))
        class_a, class_b = (np.take_along_axis(self.classes, x, -1) for x in (a, b))
        earlier = (class_b < class_a) | ((class_b == class_a) & (b < a))
        second = (weight_b > weight_a) | ((weight_b == weight_a) & earlier)
        ahead = np.where((first < 0.5) | ((first == 0.5) & second), b, a)
        odd = self.standing[..., 2 * pairs.shape[-2] :]
        self.standing = np.concatenate([odd, ahead], axis=-1)

    def winner(self) -> Ints:
        """The one who is left; before the end, whoever stands and weighs most."""
        held = np.take_along_axis(self.weight, self.standing, -1)
        classes = np.take_along_axis(self.classes, self.standing, -1)
        place = elect(held, classes)
        return np.asarray(np.take_along_axis(self.standing, place[..., None], -1)[..., 0])


class League(_Core):
    """Each meets the next ``opponents`` (all others without it); the best share of wins is first."""

    def __init__(
        self, classes: Ints, weight: Floats | None = None, opponents: int | None = None
    ) -> None:
        super().__init__(classes, weight)
        most = self.n - 1 if opponents is None else min(opponents, self.n - 1)
        met = {
            tuple(sorted((i, (i + j) % self.n))) for i in range(self.n) for j in range(1, most + 1)
        }
        self._pairs = np.array(sorted(met), dtype=np.int64).reshape(-1, 2)
        #: the share of its comparisons that each won, ``(..., n)``
        self.rates: Floats = np.full(self.classes.shape, 0.5)
        self._over = not met

    def ask(self) -> Ints:
        """All pairs, once."""
        pairs = self._pairs[:0] if self._over else self._pairs
        return np.broadcast_to(pairs, (*self.classes.shape[:-1], *pairs.shape))

    def tell(self, share: Floats) -> None:
        """Count the wins."""
        first = self._told(self.ask(), share)
        a, b = (np.arange(self.n)[:, None] == self._pairs[:, i] for i in (0, 1))
        self.rates = (first @ a.T + (1 - first) @ b.T) / np.maximum((a | b).sum(axis=1), 1)
        self._over = True

    def winner(self) -> Ints:
        """The one with the highest share; of equals the one who weighs most, then the earlier."""
        may = able(self.classes)
        best = np.where(may, self.rates, -np.inf).max(axis=-1, keepdims=True)
        level = may & np.isclose(self.rates, best, rtol=1e-12, atol=0.0)
        return elect(np.where(level, self.weight, -np.inf), self.classes)
