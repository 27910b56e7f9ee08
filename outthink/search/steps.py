"""Ask / tell cores of search over steps: which partial solutions to extend next.

``ask()`` names the nodes to extend by one step, in order and as often as each shall be extended;
``tell(node, value, done)`` takes each child back in the same order and returns its number.  When all
that was asked is told, the core decides the next round.  Nodes live in columns that only grow:
nothing is copied, and a search over N nodes takes O(N) memory.  No model, no clock, no I/O.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from outthink.core.nouns import Floats


class Tree(ABC):
    """Nodes in columns: ``parent``, ``value`` (the verifier's, in [0, 1]), ``done``; node 0 is the root."""

    def __init__(self) -> None:
        self.parent: list[int] = [-1]
        self.value: list[float] = [float("nan")]
        self.done: list[bool] = [False]
        #: nodes in play, in their order; a node may stand there several times
        self.frontier: list[int] = [0]
        self._asked: list[int] = []
        self._told: list[int] = []

    def ask(self) -> list[int]:
        """The nodes to extend now; empty when the search is over.

        Asking ends the round before: children that were asked for and not told did not come.
        """
        if self._told:
            self._turn()
        self._asked = self.plan()
        return list(self._asked)

    def _turn(self) -> None:
        told, self._told = self._told, []
        self.turn(told)

    def tell(self, node: int, value: float, done: bool) -> int:
        """A child of ``node`` with its value; returns the child's number."""
        self.parent.append(node)
        self.value.append(value if value == value else 0.0)
        self.done.append(done)
        child = len(self.parent) - 1
        self._told.append(child)
        if len(self._told) == len(self._asked):
            self._turn()
        return child

    def leaves(self) -> list[int]:
        """The finished nodes, in order of birth."""
        return [i for i, done in enumerate(self.done) if done]

    @abstractmethod
    def plan(self) -> list[int]:
        """What to extend, given the frontier."""

    @abstractmethod
    def turn(self, born: list[int]) -> None:
        """Make the next frontier from the children that were born (all that were asked for, or some)."""


class Beam(Tree):
    """Beam search with a verifier (S050), and its diverse form: ``groups`` independent beams (DVTS).

    ``n`` first steps; each round keeps the best ``keep = n / branch`` candidates by value (of each
    group's ``n / groups``) and extends each of them ``branch`` times.  A finished candidate keeps its
    place while its value does.
    """

    def __init__(self, n: int, branch: int, groups: int = 1) -> None:
        super().__init__()
        self.n, self.branch, self.groups = n, branch, groups
        self.group = [0]

    def plan(self) -> list[int]:
        """The root ``n`` times, then every kept node ``branch`` times."""
        if self.frontier == [0]:
            return [0] * self.n
        return [node for node in self.frontier if not self.done[node] for _ in range(self.branch)]

    def turn(self, born: list[int]) -> None:
        """Keep the best of each group among the new and the finished; ties go to the earlier one."""
        first = self.frontier == [0]
        size = self.n // self.groups
        for place, child in enumerate(born):
            parent = self.parent[child]
            self.group.append(min(place // size, self.groups - 1) if first else self.group[parent])
        kept = [] if first else [node for node in self.frontier if self.done[node]]
        keep = max(1, size // self.branch)
        self.frontier = []
        for g in range(self.groups):
            mine = [node for node in kept + born if self.group[node] == g]
            mine.sort(key=lambda node: (-self.value[node], node))
            self.frontier += mine[:keep]


class Particles(Tree):
    """Particle filter over steps (S036, arXiv 2502.01618).

    ``n`` particles; after each step particle ``i`` has the weight ``logit(value_i)``, which replaces
    its earlier one, and all are resampled in proportion to ``softmax(weights / temperature)``, by
    systematic resampling, when the effective sample size falls to ``threshold * n`` (1: always).
    """

    def __init__(
        self, n: int, rng: np.random.Generator, temperature: float = 1.0, threshold: float = 1.0
    ) -> None:
        super().__init__()
        self.n, self.rng, self.temperature, self.threshold = n, rng, temperature, threshold
        self.sizes: list[float] = []

    def plan(self) -> list[int]:
        """Every particle that is not finished, as often as it stands there."""
        if self.frontier == [0]:
            return [0] * self.n
        return [node for node in self.frontier if not self.done[node]]

    def turn(self, born: list[int]) -> None:
        """Put each child in its parent's place, weigh, and resample.

        A particle whose step did not come is lost, and its place is drawn anew from the others.
        """
        fresh: dict[int, list[int]] = {}
        for child in reversed(born):
            fresh.setdefault(self.parent[child], []).append(child)
        slots = [0] * self.n if self.frontier == [0] else self.frontier
        stepped = [node if self.done[node] else (fresh.get(node) or [-1]).pop() for node in slots]
        self.frontier = [node for node in stepped if node >= 0]
        p = self.probabilities()
        self.sizes.append(effective_size(p))
        few = len(self.frontier) < self.n or self.sizes[-1] <= self.threshold * self.n + 1e-9
        if few and any(not self.done[node] for node in self.frontier):
            self.frontier = [self.frontier[i] for i in systematic(p, self.n, self.rng)]

    def probabilities(self) -> Floats:
        """``softmax(logit(value) / temperature)`` over the particles, shape ``(n,)``."""
        w = logit(np.array([self.value[node] for node in self.frontier])) / self.temperature
        w = np.exp(w - w.max())
        return np.asarray(w / w.sum())


def logit(p: Floats, edge: float = 1e-7) -> Floats:
    """``log(p / (1 - p))`` with ``p`` kept ``edge`` away from 0 and 1."""
    p = np.clip(p, edge, 1 - edge)
    return np.asarray(np.log(p / (1 - p)))


def effective_size(p: Floats) -> float:
    """The effective sample size of weights that sum to one: ``1 / sum(p^2)``, in 1..n."""
    return float(1.0 / np.sum(np.square(p)))


def systematic(p: Floats, n: int, rng: np.random.Generator) -> list[int]:
    """``n`` indices drawn in proportion to ``p (m,)`` with one uniform number.

    Index ``i`` comes ``floor(n p_i)`` or ``ceil(n p_i)`` times.
    """
    places = (rng.random() + np.arange(n)) / n
    return [
        int(i) for i in np.minimum(np.searchsorted(np.cumsum(p), places, side="right"), len(p) - 1)
    ]
