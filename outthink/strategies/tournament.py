"""A tournament among samples: pairs are compared by a judge, and the last one standing is the answer.

    knockout  neighbours meet, K comparisons a pair, the winner goes on; ceil(log2 n) rounds
    league    each meets the next ``opponents`` of the others; the highest share of wins is best

A vote fails where a wrong answer is the most frequent; a tournament needs only that a right one is
among the samples and that the judge prefers right to wrong more often than not:

    P(wrong) <= (1 - p_gen)^n + ceil(log2 n) exp(-2 K (p_comp - 1/2)^2)      (knockout)

Source: Chen, Pan, Li, Ding and Zhou 2024 (arXiv 2411.19477).  As there: half of the K comparisons in
each order, all n samples take part, and equal answers are not compared.  Ours: a tie goes to the
more frequent answer, so that a judge that says nothing leaves the plain vote; in a league a pair that
would meet twice meets once; ``distinct`` lets one sample of each answer take part, which costs less and
forgets how often each came.

Cost: n samples; at most K (n - 1) comparisons (knockout), K n (n - 1) / 2 (league).  A judge at
temperature 0 says the same each time: with ``k`` above 2 give it one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.nouns import Answer, Floats, Ints, Pool, Problem
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.select.tournament import Knockout, League
from outthink.select.vote import support
from outthink.strategies._common import check, voting
from outthink.verify.choose import compare
from outthink.verify.judge import Judge


@strategy("tournament")
@dataclass(frozen=True)
class Tournament:
    """A knockout or a league among n samples, ``k`` comparisons a pair by a ``judge``."""

    n: int = 8
    k: int = 2
    form: Literal["knockout", "league"] = "knockout"
    opponents: int | None = None
    distinct: bool = False
    judge: Any = part("verifier", Judge())
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 1_000), k=(2, 1_000), opponents=(1, None), temperature=(0.0, 5.0))
        check(self, max_tokens=(1, None))
        if self.k % 2:
            raise BadInput(f"tournament: k={self.k} must be even: half in each order")
        if self.opponents is not None and self.form != "league":
            raise BadInput("tournament: opponents are those of a league: form=league")
        if not isinstance(self.judge, Judge):
            raise BadInput("tournament: judge= takes a judge, such as judge(gpt-5-mini)")

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample, let them meet, give who is left."""
        samples = await run.gather(
            self.n, propose=voting(run), temperature=self.temperature, max_tokens=self.max_tokens
        )
        pool = await run.pool(samples)
        places = np.arange(len(pool))
        if self.distinct and pool.classes.max() >= 0:
            places = np.sort(np.unique(pool.classes, return_index=True)[1])
            places = places[pool.classes[places] >= 0]
        classes, weight = pool.classes[places], support(pool.classes)[places]
        core: Knockout | League = (
            Knockout(classes, weight)
            if self.form == "knockout"
            else League(classes, weight, self.opponents)
        )
        silent = False
        while len(pairs := core.ask()):
            share = np.full(len(pairs), np.nan)
            open_ = np.flatnonzero(~core.settled(pairs))
            if len(open_) and not silent:
                share[open_] = await self._meet(problem, run, pool, places[pairs[open_]])
                silent = bool(np.isnan(share[open_]).all())
            core.tell(share)
            run.propose(run.answer(pool, int(places[core.winner()])))
        if silent:
            run.warn("the judge preferred none: the vote decides")
        return run.answer(pool, int(places[core.winner()]))

    async def _meet(self, problem: Problem, run: Run, pool: Pool, pairs: Ints) -> Floats:
        """The share of its k comparisons that the first of each pair won, NaN for no verdict."""
        texts = [s.shown for s in pool.samples]
        met = [(int(a), int(b)) for a, b in np.repeat(pairs, self.k // 2, axis=0)]
        said = await compare(run, self.judge, problem, texts, met)
        shares = np.array([np.nan if s is None else s for s in said]).reshape(len(pairs), -1)
        told = ~np.isnan(shares)
        sums, count = np.where(told, shares, 0.0).sum(axis=1), told.sum(axis=1)
        return np.where(count > 0, sums / np.maximum(count, 1), np.nan)
