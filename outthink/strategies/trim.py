"""Trimming: search how short the reasoning may be before the answer breaks, and give the short text.

A few samples without a limit say what the answer is and how sure it is; then a limit on length is
bisected: while most samples under it keep the answer and are shorter, it falls, and where they do not it
rises.  The shortest text that carries the answer of most is given.

The limit is a word to the system (``limit``, with ``{tokens}`` in it: from 0 to the mean length without
one), or the place in ``models``, which are ordered from short to long and of which the last has none.

Source: EDIT, S138 (arXiv 2509.06174).  Its aims, its bisection with patience and its prompted limit are
the paper's; the update (``search.trim``), the words and the defaults are ours, since no full text was at
hand.

Cost: m samples a round, for about log2(10) + ``patience`` rounds: more than the one text that it gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.search.trim import Trim as Search
from outthink.strategies._common import check
from outthink.strategies._prompts import instructed
from outthink.strategies._short import short_voting

LIMIT = "Solve the problem within {tokens} tokens."


@strategy("trim", sources=("S138",))
@dataclass(frozen=True)
class Trim:
    """The short text that still carries the answer, found by bisecting a limit on length."""

    m: int = 4
    limit: str = LIMIT
    models: Any = part("model", (), many=True)
    patience: int = 2
    slack: float = 0.25
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, m=(1, 1_000), patience=(0, 100), slack=(0.0, 1.0))
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))
        if not self.models and "{tokens}" not in self.limit:
            raise BadInput(f"trim: limit={self.limit!r} must say {{tokens}} where the number goes")
        if len(self.models) == 1:
            raise BadInput("trim: models=[...] needs two or more, from short to long")

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample freely, then under ever tighter limits; give the shortest that kept the answer."""
        made = await self._draw(problem, run, None, [])
        pool = await run.pool(made)
        mean = int(np.ceil(pool.tokens.mean()))
        low, high, gap = 0, mean, max(1, mean // 10)
        if self.models:
            low, high, gap = -1, len(self.models) - 1, 1
        search = Search(high, low, gap, self.patience, self.slack)
        search.start(pool.classes, pool.tokens.astype(np.float64))
        while run.limit is None and (limit := search.ask()) is not None:
            run.propose(run.answer(pool, search.best))
            fresh = await self._draw(problem, run, limit, made)
            made = [*made, *fresh]
            pool = await run.pool(made)
            new = slice(len(made) - len(fresh), None)
            search.tell(limit, pool.classes[new], pool.tokens[new].astype(np.float64))
            run.note("trimmed", limit=limit, high=search.high, low=search.low)
        return run.answer(pool, search.best)

    async def _draw(
        self, problem: Problem, run: Run, limit: int | None, made: list[Sample]
    ) -> list[Sample]:
        """``m`` samples under a limit, or without one."""
        params: dict[str, Any] = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        if self.models:
            params["model"] = self.models[-1 if limit is None else limit]
        elif limit is not None:
            words = self.limit.replace("{tokens}", str(max(limit, 1)))
            params["messages"] = instructed(problem.messages, words)
        return await run.gather(self.m, propose=short_voting(run, made), **params)
