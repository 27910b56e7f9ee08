"""Inverse-entropy voting: attempts that see those before them, and weigh by how sure they were.

    answer = argmax_a sum_i w_i [ans(y_i) = a],   w_i = 1 / max(H_i, 1e-10)
    H_i = mean over the tokens of y_i of the entropy of its 20 likeliest next tokens (bits)

``n`` attempts in ``n / length`` chains: attempt t of a chain sees those before it (the latest ``memory``,
all unless told) and is asked to correct them.  ``length=n`` is the published sequential arm, one chain of
3, 6 or 9 attempts; ``length=1`` its parallel arm, attempts that know nothing of each other.

Exact: w, H over the 20 likeliest tokens made to sum to one, every attempt with a vote.  Ours: the words of
the request, several chains, that a text without log-probabilities has no weight while another has one.

Source: Sharma and Chopra 2025, "The Sequential Edge" (S051, arXiv 2511.02309).
Cost: n samples with top log-probabilities; prompts grow by the attempts shown.  Needs LOGPROBS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.nouns import Answer, Message, Problem, Sample
from outthink.core.registry import strategy
from outthink.core.run import Run
from outthink.select.entropy import inverse, mean_entropy
from outthink.select.vote import weighted
from outthink.strategies._attempts import after, grow_chains
from outthink.strategies._common import check, traced, without_logprobs


@strategy("inverse_entropy", sources=("S051",), needs=("LOGPROBS",))
@dataclass(frozen=True)
class InverseEntropy:
    """Chains of attempts that see the former ones; a vote of all, by the inverse of their entropy."""

    n: int = 6
    length: int = 6
    memory: int | None = None
    top: int = 20
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 10_000), length=(1, None), memory=(1, None), top=(2, 1000))
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))
        if self.n % self.length and self.n > self.length:
            raise BadInput(
                f"inverse_entropy: n={self.n} must be a multiple of length={self.length}"
            )

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Grow all chains by one attempt a round, then vote."""

        async def vote(samples: list[Sample]) -> Answer:
            found = traced(samples, "top_logprobs", mean_entropy)
            weights = np.ones(len(found)) if without_logprobs(run, found) else inverse(found)
            pool = (await run.pool(samples)).with_scores("entropy", found)
            return run.answer(pool, weighted(pool.classes, weights), weights)

        def ask(chains: list[list[Sample]]) -> list[tuple[Message, ...]]:
            if not any(chains):
                # one prompt for all, which is read once
                return [after(problem, ())] * len(chains)
            shown = [chain[-self.memory :] if self.memory else chain for chain in chains]
            return [after(problem, some) for some in shown]

        chains = await grow_chains(
            run, self.n, self.length, ask, vote,
            temperature=self.temperature, max_tokens=self.max_tokens, top_logprobs=self.top,
        )  # fmt: skip
        return await vote([s for chain in chains for s in chain])
