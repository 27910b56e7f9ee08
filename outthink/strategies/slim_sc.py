"""Slim-SC: drop chains that think what another one thinks, while they run (S027, arXiv 2509.13990).

Chains whose newest thoughts are near-duplicates cost tokens and add little.  n chains advance a thought
a round; after ``delay`` rounds, of each pair of running chains with

    u(newest thought of i, newest thought of j) >= threshold

one is dropped, a ``random`` one or the one whose own thoughts are more alike (``diversity``); the
chains that are left vote.  With ``inherit`` a chain leaves its vote to the one that it was like.

The two ways to drop are the paper's as others tell them, thoughts of at ``least`` 25 tokens its code's
(the embedding is a sentence encoder there, here any utility: hashed n-grams by default).  Ours: rounds
in place of a clock, the newest thoughts compared with one another, pairs settled so that what goes is
like one that stays (``select.prune``), ``delay``, and ``inherit``.  A round ends at one of ``marks``, or
where a step of the model does, or after ``tokens`` tokens; a thought is as many whole rounds as it needs
for its length, and one that ends at a mark is compared when its chain has gone on: it may be the answer.

Cost: at most n samples, in as many calls as chains have thoughts.  Needs PREFIX.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.nouns import Answer, Floats, Problem, Sample
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.select.prune import heirs, sameness
from outthink.select.utilities import NgramCosine, utility_matrix
from outthink.select.vote import weighted
from outthink.strategies._common import check, present, step_of
from outthink.strategies._rounds import begun, goes_on, onward, vote_so_far


@strategy("slim_sc", sources=("S027",), needs=("PREFIX",))
@dataclass(frozen=True)
class SlimSc:
    """n chains, of which near-duplicates are dropped as they run; the rest vote."""

    n: int = 16
    threshold: float = 0.98
    how: Literal["random", "diversity"] = "diversity"
    delay: int = 4
    marks: tuple[str, ...] = ()
    tokens: int | None = None
    least: int = 25
    inherit: bool = False
    utility: Any = part("utility", NgramCosine())
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 10_000), threshold=(0.0, 2.0), delay=(1, None), tokens=(1, None))
        check(self, least=(1, None), temperature=(0.0, 5.0), max_tokens=(1, None))
        if not all(self.marks):
            raise BadInput(f"slim_sc: marks={list(self.marks)}: a mark is not empty")

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Think on, compare, drop; then vote."""
        limit = self.max_tokens or run.model().max_tokens
        stop = () if self.tokens else self.marks or (step_of(run, None),)
        rng = run.rng("prune")
        chains, heir = begun(run, self.n), np.arange(self.n)
        for round_ in range(1, limit + 1):
            at = np.unique(heir)
            some = await onward(
                run, [chains[i] for i in at], limit,
                stop=stop, tokens=self.tokens, temperature=self.temperature,
            )  # fmt: skip
            for i, chain in zip(at, some, strict=True):
                chains[i] = chain
            run.propose(await vote_so_far(run, present(run, some)))
            running = np.array([i for i in at if goes_on(chains[i], limit)])
            if run.limit is not None or not len(running):
                break
            if round_ >= self.delay:
                mine = [chains[i] for i in running]
                thoughts = [self._thought(chain) for chain in mine]
                like = utility_matrix(self.utility, thoughts, thoughts)
                there = np.array([bool(thought) for thought in thoughts])
                worth = self._worth(mine, rng)
                taken = heirs(np.minimum(like, like.T), worth, self.threshold, there)
                successor = np.arange(self.n)
                successor[running] = running[taken]
                heir = successor[heir]
                run.note("pruned", round=round_, left=len(np.unique(heir)))
        return await self._vote(run, chains, heir)

    def _thought(self, chain: Sample) -> str:
        """The newest thought of a chain that goes on; empty where it has none that is long enough."""
        rounds = chain.lineage() if self.tokens else chain.lineage()[:-1]
        text, length = "", 0
        while length < self.least and rounds:
            text, length = rounds[-1].delta + text, length + rounds[-1].tokens
            rounds.pop()
        return text if length >= self.least else ""

    def _worth(self, chains: list[Sample], rng: np.random.Generator) -> Floats:
        """What decides which of a pair stays, ``(chains,)``."""
        if self.how == "random":
            return rng.random(len(chains))
        told = [[s.delta for s in chain.lineage() if s.delta] for chain in chains]
        return np.array([-sameness(utility_matrix(self.utility, t, t)) for t in told])

    async def _vote(self, run: Run, chains: list[Sample], heir: Any) -> Answer:
        kept, votes = np.unique(heir, return_counts=True)
        made = [
            (chains[i], v) for i, v in zip(kept, votes, strict=True) if chains[i].finish != "root"
        ]
        # a chain that the budget left unfinished has no answer yet
        made = [m for m in made if m[0].finished] or made
        pool = await run.pool([chain for chain, _ in made])
        weights = np.array([float(v) if self.inherit else 1.0 for _, v in made])
        return run.answer(pool, weighted(pool.classes, weights), weights)
