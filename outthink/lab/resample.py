"""Decision rules replayed over recorded samples: what would have been decided, at what price.

A resample draws the recorded samples of a problem without replacement, in a random order; a rule sees
them one after the other and decides at each budget, or where its stopping rule ends the vote.  Over R
orders pi_r, for a problem with n samples and a budget b <= n:

    right(b) = (1 / R)  sum_r  P(the answer chosen from y[pi_r(1)] ... y[pi_r(b)] is right)

An order is a uniform random permutation for every problem that has n samples, so each problem's mean is
unbiased, and so is their average, though problems with equally many samples share the R orders: only
independence between problems is given up, and rules that are replayed together are compared on the same
draws.  Without a stopping rule these are estimates of ``outthink.select.coverage``'s quantities.

Sources: Chen et al. 2021 (arXiv 2107.03374) for drawing subsets of what was recorded; Wang et al. 2023
(arXiv 2203.11171); Aggarwal et al. 2023 (arXiv 2305.11860) and Li et al. 2024 (arXiv 2401.10480) for votes
that stop.  Cost: about 10 ns a sample and resample for each rule on one core, a few dozen MB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput, nearest
from outthink.core.nouns import Floats, Ints
from outthink.lab.pools import Pools
from outthink.lab.stats import Difference, Estimate, mean_interval, ratio, share_difference
from outthink.stop.base import TOP, Running, Stop

#: rows (a problem and an order each) that are stepped through together, and tallies that they may have
ROWS = 16_384
CELLS = 1 << 22
#: sums of weights within this share of each other are a tie, as in ``outthink.select.vote``
TIE = 1e-12

#: a rule of one's own: classes, scores and tokens ``(rows, budget)`` in the order drawn, a generator;
#: gives the place of the chosen sample in each row, ``(rows,)``
Choose = Callable[[Ints, Mapping[str, Floats], Floats, np.random.Generator], Ints]


@dataclass(frozen=True)
class Vote:
    """The class with most votes, or the largest sum of the scores called ``weights``.

    ``ties``: ``random`` counts a tie of m classes by the share of them that is right; ``first`` takes
    the class that appeared first (of a vote that counts).  -1 wins only alone, and a weight that is not
    above 0 can only break a tie at 0.
    """

    weights: str = ""
    stop: Stop | None = None
    ties: Literal["random", "first"] = "random"

    def __post_init__(self) -> None:
        if self.ties not in ("random", "first"):
            raise BadInput(f"ties={self.ties!r}{nearest(str(self.ties), ('random', 'first'))}")
        if self.weights and self.ties == "first":
            raise BadInput("ties='first' is for a vote that counts: leave out the weights")


@dataclass(frozen=True)
class Best:
    """The sample with the highest of the scores called ``score``; equal ones by the share right.

    A sample without an answer is best only where none has one, a score of NaN only where all are.
    """

    score: str
    stop: Stop | None = None


@dataclass(frozen=True)
class Coverage:
    """Is any sample right?  The upper limit of every rule: pass@k."""

    stop: Stop | None = None


Rule = Vote | Best | Coverage | Choose


@dataclass(frozen=True, eq=False)
class Replayed:
    """What a rule came to, ``(problems, budgets)``, each a mean over resamples.

    ``right``: how often it was right; ``samples`` and ``tokens`` (in ``unit``): what it drew.
    ``stopped``: how often its stopping rule ended it; ``right_stopped``: how often that, and right.
    """

    problems: tuple[str, ...]
    budgets: tuple[int, ...]
    right: Floats
    samples: Floats
    tokens: Floats
    stopped: Floats
    right_stopped: Floats
    unit: str = "tokens"

    def accuracy(self) -> list[Estimate]:
        """For each budget, the share right and its 95 % interval over problems.

        Rows of one name (a problem with several seeds) are one problem.
        """
        _, place = np.unique(self.problems, return_inverse=True)
        rows = np.bincount(place)
        out = []
        for column in self.right.T:
            shares = np.bincount(place, weights=column) / rows
            out.append(Estimate(float(shares.mean()), *mean_interval(shares)))
        return out


class Saving(NamedTuple):
    """What a rule that stops leaves of a whole vote: the accuracy gained or lost, the share of tokens."""

    accuracy: Difference
    tokens: Estimate


def saving(early: Replayed, whole: Replayed) -> Saving:
    """The last budget of one rule against that of another, paired over the same problems."""
    if early.problems != whole.problems or early.unit != whole.unit:
        raise BadInput("a saving needs the same problems, in one order, and costs in one unit")
    columns = []
    _, place = np.unique(early.problems, return_inverse=True)
    for found in (early, whole):
        for column in (found.right, found.tokens):
            columns.append(np.asarray(np.bincount(place, weights=column[:, -1]), np.float64))
    rows = np.bincount(place)
    gained = share_difference(columns[0] / rows, columns[2] / rows)
    return Saving(gained, ratio(columns[1], columns[3]))


def replay(
    pools: Pools,
    rules: Sequence[Rule],
    budgets: Sequence[int],
    resamples: int = 1000,
    seed: int = 0,
    orders: Ints | None = None,
    threads: int = 2,
) -> list[Replayed]:
    """Each rule at each of the ``budgets`` (samples a problem), all on the same orders.

    ``orders (resamples, n)`` takes these instead of random ones: ``np.arange(n)[None]`` is the order
    in which the samples were recorded.  The result does not depend on ``threads``.  Raises
    ``BadInput`` for a budget that a problem has not the samples for, or a column of scores that
    there is not.
    """
    rules, steps = list(rules), sorted({int(b) for b in budgets})
    least = int(pools.counts.min())
    if not steps or steps[0] < 1 or steps[-1] > least:
        few = pools.problems[int(np.argmin(pools.counts))]
        raise BadInput(
            f"budgets={list(budgets)}: name some from 1 to {least}, the samples of the problem "
            f"{few!r}; pools.take leaves problems out"
        )
    if resamples < 1 or threads < 1:
        raise BadInput(f"resamples={resamples}, threads={threads}: both are at least 1")
    for rule in rules:
        column = ""
        if isinstance(rule, (Vote, Best)):
            column = rule.weights if isinstance(rule, Vote) else rule.score
        if column and column not in pools.scores:
            raise BadInput(f"no scores {column!r}{nearest(column, pools.scores)}")
    sizes = [int(n) for n in np.unique(pools.counts)]
    if orders is not None:
        orders = np.asarray(orders, dtype=np.intp)
        drawn = orders.ndim == 2 and orders.shape[1] == sizes[0] and len(orders)
        if len(sizes) > 1 or not drawn or (np.sort(orders) != np.arange(sizes[0])).any():
            raise BadInput(f"orders need rows that hold 0 ... n - 1 once, n in {sizes}")
    jobs: list[tuple[Ints, Callable[[], Floats]]] = []
    for n in sizes:
        mine = np.flatnonzero(pools.counts == n)
        pi = orders if orders is not None else random_orders(n, resamples, seed)
        kinds = int(pools.classes[mine].max()) + 2
        for rows, part in _chunks(mine, len(pi), n, kinds):
            rng = np.random.default_rng([seed, n, len(jobs)])
            jobs.append((rows, partial(_replay, pools, rules, steps, rows, pi[part], rng)))
    # sums of right, samples, tokens, stopped, right and stopped
    total = np.zeros((len(rules), 5, len(pools), len(steps)))
    with ThreadPoolExecutor(threads) as pool:
        for (rows, _), sums in zip(jobs, pool.map(lambda job: job[1](), jobs), strict=True):
            total[:, :, rows] += sums
    total /= resamples if orders is None else len(orders)
    return [
        Replayed(pools.problems, tuple(steps), right, samples, tokens, stopped, both, pools.unit)
        for right, samples, tokens, stopped, both in total
    ]


def random_orders(n: int, resamples: int, seed: int) -> Ints:
    """Uniform random permutations of 0 ... n - 1, ``(resamples, n)``."""
    rng = np.random.default_rng([seed, n])
    return rng.permuted(np.tile(np.arange(n, dtype=np.intp), (resamples, 1)), axis=1)


def route(first: Replayed, second: Replayed) -> Replayed:
    """A cascade: the first where its stopping rule was content, the second where it was not.

    ``first`` stops where it is sure (``Share(0.8, least=4)`` at a budget of 4 asks once); the second's
    draws do not depend on the first's, so with s = stopped, for each problem

        right = right_stopped + (1 - s) * right_2,    tokens = tokens_1 + (1 - s) * tokens_2

    Both have the same problems, and the same number of budgets or one of them a single one.
    """
    if first.problems != second.problems or first.unit != second.unit:
        raise BadInput("a route needs the same problems, in one order, and costs in one unit")
    widths = len(first.budgets), len(second.budgets)
    if widths[0] != widths[1] and 1 not in widths:
        raise BadInput(
            f"{widths[0]} and {widths[1]} budgets cannot be paired: give one, or as many"
        )
    on = 1.0 - first.stopped
    pairs = zip(
        first.budgets * (max(widths) // widths[0]),
        second.budgets * (max(widths) // widths[1]),
        strict=True,
    )
    return Replayed(
        first.problems,
        tuple(a + b for a, b in pairs),
        first.right_stopped + on * second.right,
        first.samples + on * second.samples,
        first.tokens + on * second.tokens,
        first.stopped + on * second.stopped,
        first.right_stopped + on * second.right_stopped,
        first.unit,
    )


def _chunks(problems: Ints, resamples: int, n: int, kinds: int) -> Iterable[tuple[Ints, slice]]:
    """Blocks of problems and of orders: at most ``ROWS`` rows, and ``CELLS`` tallies or one order."""
    width = min(resamples, ROWS, max(1, CELLS // n))
    height = max(1, min(ROWS, CELLS // kinds) // width)
    for p in range(0, len(problems), height):
        for r in range(0, resamples, width):
            yield problems[p : p + height], slice(r, r + width)


# -- one block of problems, one block of orders -------------------------------------------------------


class _Block:
    """The columns of a block, ready to be drawn from: ``(problems, samples)``.

    ``slot`` is where the tallies ``(slots, orders)`` of a sample's class begin, ``worth`` is 1 where
    the class is right, ``none`` the worth of no answer ``(problems, 1)``.
    """

    def __init__(self, pools: Pools, rows: Ints, orders: Ints) -> None:
        n, width = orders.shape[1], len(orders)
        self.shape = (len(rows), width)
        self.n = n
        self.orders = np.ascontiguousarray(orders.T)
        self.lane = np.arange(width, dtype=np.intp)
        self.small: Any = np.int16 if n < 16_000 else np.int32
        self.classes = pools.classes[rows, :n]
        self.right = pools.right[rows, :n].astype(self.small)
        self.tokens = pools.tokens[rows, :n]
        self.scores = {name: column[rows, :n] for name, column in pools.scores.items()}
        self.slot = np.empty((len(rows), n), dtype=np.intp)
        self.worth = np.empty((len(rows), n), dtype=self.small)
        none = np.zeros((len(rows), 1))
        empty: list[int] = []
        slots = 0
        #: where the tallies of each problem's answers begin and end
        self.own: list[tuple[int, int]] = []
        for p, classes in enumerate(self.classes):
            kinds, place = np.unique(np.maximum(classes, -1), return_inverse=True)
            worth = np.zeros(len(kinds), dtype=self.small)
            np.maximum.at(worth, place, self.right[p])
            self.worth[p] = worth[place]
            self.slot[p] = (slots + place) * width
            if kinds[0] < 0:
                empty.append(slots)
                none[p] = worth[0]
            self.own.append((slots + int(kinds[0] < 0), slots + len(kinds)))
            slots += len(kinds)
        self.slots, self.empty, self.none = slots, empty, none

    def tallies(self, dtype: Any, bottom: float) -> npt.NDArray[Any]:
        """Zeros for each class and order, flat; ``bottom`` for the class of no answer."""
        out = np.zeros((self.slots, self.shape[1]), dtype=dtype)
        out[self.empty] = bottom
        return out.reshape(-1)


class _Step:
    """One sample of each row: its place in the tallies (that of the one before it), its worth."""

    def __init__(self, block: _Block) -> None:
        self.block, self.number = block, 0
        self.at: Ints = block.orders[0]
        self.place, self.before = (np.full(block.shape, -1, dtype=np.intp) for _ in range(2))
        self.worth = np.empty(block.shape, dtype=block.small)

    def to(self, number: int) -> None:
        self.number, self.at = number, self.block.orders[number]
        self.place, self.before = self.before, self.place
        self.block.slot.take(self.at, axis=1, out=self.place, mode="clip")
        self.place += self.block.lane
        self.draw(self.block.worth, self.worth)

    def draw(self, column: npt.NDArray[Any], out: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A column's value at this sample of each row."""
        return column.take(self.at, axis=1, out=out, mode="clip")


class _Tied:
    """Who is level at the top: ``many`` of them, ``good`` of those right.

    All cases are sums of 0 and 1 in whole numbers of 16 bits: those go through a processor 16 or 32 at
    a time, while a choice by a random mask stumbles at every other row.
    """

    def __init__(self, block: _Block) -> None:
        self.block = block
        self.many, self.good, self._over, self._top = (
            np.zeros(block.shape, dtype=block.small) for _ in range(4)
        )

    def share(self, at: Any = slice(None)) -> Floats:
        """The chance that the choice is right: of all rows, flat, or of those at some places."""
        many, good = self.many.reshape(-1)[at], self.good.reshape(-1)[at]
        out = good / np.maximum(many, 1)
        if not many.all():
            none = np.broadcast_to(self.block.none, self.block.shape).reshape(-1)[at]
            out = np.where(many == 0, none, out)
        return np.asarray(out, dtype=np.float64)

    def update(self, worth: npt.NDArray[Any]) -> None:
        """``_over`` is 1 where this one is above all others, ``_top`` where it is above or joins them.

        Leaves in ``_over`` what is left of those that were there: 0 or 1.
        """
        keep, top = self._over, self._top
        np.subtract(1, keep, out=keep)
        self.many *= keep
        self.many += top
        top *= worth
        self.good *= keep
        self.good += top


class _Count(_Tied):
    """A vote that counts, with the votes of the first and of the second.

    With d = (votes of this sample's class) - (votes of the leader), which is at most 1: d = 1 leaves
    the class alone at the top and the second where it was, d = 0 joins the top.
    """

    def __init__(self, block: _Block) -> None:
        super().__init__(block)
        self.tally = block.tallies(block.small, np.iinfo(block.small).min // 2)
        self.first, self.second, self.votes, self._work = (
            np.zeros(block.shape, dtype=block.small) for _ in range(4)
        )

    def add(self, step: _Step) -> None:
        votes, over, top = self.votes, self._over, self._top
        self.tally.take(step.place, out=votes, mode="clip")
        votes += 1
        self.tally[step.place] = votes
        np.subtract(votes, self.first, out=over)
        np.add(over, 1, out=top)
        np.maximum(over, 0, out=over)
        np.maximum(top, 0, out=top)
        top -= over
        self.first += over
        self.update(step.worth)
        np.multiply(votes, self._over, out=self._work)
        np.maximum(self.second, self._work, out=self.second)

    def leading(self) -> Ints:
        """The votes of the most frequent answers of each row, the largest first: ``(p, orders, TOP)``."""
        out = np.zeros((*self.block.shape, TOP), dtype=np.int64)
        tally = self.tally.reshape(self.block.slots, -1)
        for p, (first, end) in enumerate(self.block.own):
            top = -np.sort(-tally[first:end], axis=0)[:TOP]
            out[p, :, : len(top)] = top.T
        return out


class _Earliest:
    """A vote that counts; of equal classes the one that appeared first: the largest key.

    ``key = votes * (n + 1) + (n - step of the first appearance)``.
    """

    def __init__(self, block: _Block) -> None:
        self.unit = block.n + 1
        wide = np.int32 if self.unit * self.unit < 1 << 30 else np.int64
        self.tally = block.tallies(wide, np.iinfo(wide).min // 2)
        self.best, self._key, self._late = (np.zeros(block.shape, dtype=wide) for _ in range(3))
        self.good = np.broadcast_to(block.none, block.shape).astype(block.small)
        self._over, self._work = np.empty_like(self.good), np.empty_like(self.good)

    def add(self, step: _Step) -> None:
        key = self._key
        self.tally.take(step.place, out=key, mode="clip")
        np.copyto(self._late, key == 0)
        self._late *= self.unit - 1 - step.number
        key += self._late
        key += self.unit
        self.tally[step.place] = key
        np.copyto(self._over, key > self.best)
        np.subtract(step.worth, self.good, out=self._work)
        self._work *= self._over
        self.good += self._work
        np.maximum(self.best, key, out=self.best)

    def share(self, at: Any = slice(None)) -> Floats:
        return np.asarray(self.good.reshape(-1)[at], dtype=np.float64)


class _Weigh(_Tied):
    """A vote that weighs."""

    def __init__(self, block: _Block, column: str) -> None:
        super().__init__(block)
        weights = block.scores[column]
        # the least weight is no zero: a class that was seen is told from one that was not
        self.weights = np.where(np.isfinite(weights) & (weights > 0), weights, 1e-300)
        self.tally = block.tallies(np.float64, -np.inf)
        self.best, self._sum, self._before, self._bound = (np.zeros(block.shape) for _ in range(4))

    def add(self, step: _Step) -> None:
        total, before, bound = self._sum, self._before, self._bound
        self.tally.take(step.place, out=before, mode="clip")
        step.draw(self.weights, total)
        total += before
        self.tally[step.place] = total
        np.multiply(self.best, 1.0 + TIE, out=bound)
        over = total > bound
        np.multiply(self.best, 1.0 - TIE, out=bound)
        joins = before < bound
        joins &= total >= bound
        np.copyto(self._over, over)
        joins |= over
        np.copyto(self._top, joins)
        self.update(step.worth)
        np.maximum(self.best, total, out=self.best)


class _Top(_Tied):
    """The best score, by its rank among the problem's."""

    def __init__(self, block: _Block, column: str) -> None:
        super().__init__(block)
        scores = np.where(np.isnan(block.scores[column]), -np.inf, block.scores[column])
        ranks = [np.unique(row, return_inverse=True)[1].ravel() + 1 for row in scores]
        self.ranks = np.where(block.classes >= 0, np.stack(ranks), 0).astype(block.small)
        self.best = np.full(block.shape, -1, dtype=block.small)
        self._rank, self._right = np.empty_like(self.best), np.empty_like(self.best)

    def add(self, step: _Step) -> None:
        rank = step.draw(self.ranks, self._rank)
        np.copyto(self._over, rank > self.best)
        np.copyto(self._top, rank >= self.best)
        self.update(step.draw(self.block.right, self._right))
        np.maximum(self.best, rank, out=self.best)


class _Any:
    """Was any sample right?"""

    def __init__(self, block: _Block) -> None:
        self.right = block.right
        self.found, self._drawn = (np.zeros(block.shape, dtype=block.small) for _ in range(2))

    def add(self, step: _Step) -> None:
        np.maximum(self.found, step.draw(self.right, self._drawn), out=self.found)

    def share(self, at: Any = slice(None)) -> Floats:
        return np.asarray(self.found.reshape(-1)[at], dtype=np.float64)


class _Watch:
    """What stopping rules see besides the votes: runs of equal answers, and what was spent."""

    def __init__(self, block: _Block) -> None:
        self.block = block
        self.same, self._equal = (np.zeros(block.shape, dtype=block.small) for _ in range(2))
        self.tokens, self._price = (np.zeros(block.shape) for _ in range(2))

    def add(self, step: _Step) -> None:
        np.copyto(self._equal, step.place == step.before)
        self.same *= self._equal
        self.same += 1
        self.tokens += step.draw(self.block.tokens, self._price)


class _End:
    """Where a stopping rule ended each row, and what the decision was worth there; all flat."""

    def __init__(self, block: _Block, stop: Stop, decision: Any, budget: int) -> None:
        self.stop, self.decision, self.budget = stop, decision, budget
        self.shape, size = block.shape, block.shape[0] * block.shape[1]
        self.open = np.ones(size, dtype=bool)
        self.going = True
        self.share, self.samples, self.tokens = (np.zeros(size) for _ in range(3))

    def look(self, count: _Count, watch: _Watch, number: int) -> None:
        """Ask the rule after ``number`` samples."""
        left = np.asarray(self.budget - number)
        votes = count.leading() if getattr(self.stop, "looks_at_votes", False) else None
        seen = Running(np.asarray(number), count.first, count.second, watch.same, left, votes)
        at = np.flatnonzero(self.stop.stops(seen).reshape(-1) & self.open)
        if len(at):
            self.share[at] = self.decision.share(at)
            self.tokens[at] = watch.tokens.reshape(-1)[at]
            self.samples[at] = number
            self.open[at] = False
            self.going = bool(self.open.any())

    def sums(self, watch: _Watch, number: int) -> list[Floats]:
        """Sums over orders at a budget of ``number``: right, samples, tokens, stopped, both."""
        share = np.where(self.open, self.decision.share(), self.share)
        samples = np.where(self.open, number, self.samples)
        tokens = np.where(self.open, watch.tokens.reshape(-1), self.tokens)
        both = np.where(self.open, 0.0, self.share)
        columns = (share, samples, tokens, ~self.open, both)
        return [a.reshape(self.shape).sum(axis=1) for a in columns]


def _decision(block: _Block, rule: Any, known: dict[Any, Any]) -> Any:
    """What keeps a rule's decision up to date; rules that decide alike share it."""
    makers: tuple[Any, ...]
    if isinstance(rule, Best):
        makers = (_Top, rule.score)
    elif isinstance(rule, Coverage):
        makers = (_Any,)
    elif rule.weights:
        makers = (_Weigh, rule.weights)
    else:
        makers = (_Count,) if rule.ties == "random" else (_Earliest,)
    if makers not in known:
        known[makers] = makers[0](block, *makers[1:])
    return known[makers]


def _replay(
    pools: Pools,
    rules: Sequence[Rule],
    budgets: Sequence[int],
    rows: Ints,
    orders: Ints,
    rng: np.random.Generator,
) -> Floats:
    """Sums over these orders for these problems: ``(rules, 5, problems, budgets)``."""
    block = _Block(pools, rows, orders)
    out = np.zeros((len(rules), 5, len(rows), len(budgets)))
    known: dict[Any, Any] = {}
    plain: dict[int, Any] = {}
    ends: dict[int, list[_End]] = {}
    used = _uses(block, budgets)
    for i, rule in enumerate(rules):
        if not isinstance(rule, (Vote, Best, Coverage)):
            out[i, 0] = _chosen(block, rule, budgets, rng)
        elif rule.stop is None:
            plain[i] = _decision(block, rule, known)
        else:
            decision = _decision(block, rule, known)
            own = budgets if rule.stop.looks_ahead else [budgets[-1]]
            ends[i] = [_End(block, rule.stop, decision, b) for b in own]
        if i not in ends:
            out[i, 1] = np.asarray(budgets) * len(orders)
            out[i, 2] = used
    step, watch = _Step(block), _Watch(block)
    every = [end for some in ends.values() for end in some]
    count: Any = _decision(block, Vote(), known) if every else None
    for j in range(budgets[-1] if known else 0):
        going = [end for end in every if end.going and end.budget > j]
        if going or plain:
            step.to(j)
            for decision in known.values():
                decision.add(step)
        if going:
            watch.add(step)
            for end in going:
                end.look(count, watch, j + 1)
        if j + 1 in budgets:
            b = budgets.index(j + 1)
            for i, decision in plain.items():
                out[i, 0, :, b] = decision.share().reshape(block.shape).sum(axis=1)
            for i, some in ends.items():
                out[i, :, :, b] = some[b if len(some) > 1 else 0].sums(watch, j + 1)
    return out


def _uses(block: _Block, budgets: Sequence[int]) -> Floats:
    """Tokens of the first b samples, summed over the orders: ``(problems, budgets)``."""
    uses = [np.bincount(block.orders[:b].ravel(), minlength=block.n) for b in budgets]
    return np.asarray(block.tokens @ np.stack(uses, axis=1).astype(np.float64), dtype=np.float64)


def _chosen(
    block: _Block, rule: Choose, budgets: Sequence[int], rng: np.random.Generator
) -> Floats:
    """How often a rule of one's own was right, summed over the orders: ``(problems, budgets)``."""
    out = np.zeros((block.shape[0], len(budgets)))
    for b, budget in enumerate(budgets):
        at = block.orders[:budget].T
        for p in range(block.shape[0]):
            scores = {name: column[p][at] for name, column in block.scores.items()}
            drawn = block.classes[p][at].astype(np.int64), scores, block.tokens[p][at]
            place = np.asarray(rule(*drawn, rng))
            if place.shape != (len(at),) or ((place < 0) | (place >= budget)).any():
                raise BadInput(
                    f"a rule gives the place (0 to {budget - 1}) of the chosen sample in each of "
                    f"{len(at)} rows, not an array of the shape {place.shape}"
                )
            out[p, b] = block.right[p][at[np.arange(len(at)), place]].sum()
    return out
