"""SEAT: rounds of answers that see each other, until their semantic entropy falls.

    SE_t = -sum_c p_c ln p_c,   p_c the share of round t's n answers that say c

Round 1 draws n attempts; each attempt of a later round is shown all of the round before.  With a
``threshold`` the first round of SE_t <= threshold is the last (below 0: none is, all ``rounds`` are
drawn).  Without one, the secretary rule: the first ``stop.secretary.look(rounds)`` rounds, about 1/e of
all, are gone through, then the first whose entropy is as low as their least is the last.  The answer is
the majority of the last round's.

Low entropy is agreement, not truth: a small model that reads its own answers comes to agree on wrong ones
(the paper's entropy collapse), and more rounds make that worse.

Exact: SE over classes of equal answers, both ways to stop, rounds fed with the answers of the one before.
Ours: the majority, which of equal answers by the votes of all rounds; the words of the request; an entropy
that equals the least stops too, since those of a few answers often tie.

Source: Xu et al. 2025 (S055, arXiv 2507.06829).  Cost: n samples a round, with n attempts in the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import strategy
from outthink.core.run import Run
from outthink.select.entropy import semantic_entropy
from outthink.select.vote import weighted
from outthink.stop.secretary import stops
from outthink.strategies._attempts import after
from outthink.strategies._common import check


@strategy("seat", sources=("S055",))
@dataclass(frozen=True)
class Seat:
    """Rounds of ``n`` attempts that see the round before, until their answers agree enough."""

    n: int = 4
    rounds: int = 4
    threshold: float | None = None
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 1000), rounds=(1, 100))
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Draw rounds, each after the one before, and vote over the last."""
        made: list[Sample] = []
        entropies: list[float] = []
        last: list[Sample] = []

        async def vote(fresh: list[Sample]) -> Answer:
            pool = await run.pool([*made, *fresh])
            latest = (np.arange(len(pool)) >= len(made)).astype(np.float64)
            return run.answer(pool, weighted(pool.classes, latest), latest)

        while True:
            fresh = await run.gather(
                self.n,
                messages=after(problem, last),
                propose=None if made else vote,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
            )
            answer = await vote(fresh)
            entropies.append(float(semantic_entropy((await run.pool(fresh)).classes)))
            run.note("round", entropy=entropies[-1], answer=answer.answer)
            run.propose(answer)
            made, last = [*made, *fresh], fresh
            if run.limit is not None or self._ends(entropies):
                return answer

    def _ends(self, entropies: list[float]) -> bool:
        if self.threshold is None or len(entropies) >= self.rounds:
            return stops(entropies, self.rounds)
        return entropies[-1] <= self.threshold
