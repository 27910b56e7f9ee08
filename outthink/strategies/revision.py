"""Sequential revision: each attempt sees the attempts before it (Snell et al., S050, arXiv 2408.03314).

``n`` attempts in ``n / length`` parallel chains.  Attempt t of a chain is drawn with up to ``memory``
(4, as published) former attempts of its chain in the context and the request to correct them.  The
answer is chosen over all attempts of all chains: by majority, or, with a verifier, by the weighted
vote of each chain's best attempt (hierarchical selection, section 6 of the paper).

The paper trains a model to revise; here the revision is asked for in words, so it is worth what the
model's own ability to correct itself is worth.

Cost: n samples; prompts grow by the attempts shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from outthink.core.errors import BadInput
from outthink.core.nouns import Answer, Message, Problem, Sample
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.select.best import best
from outthink.strategies._attempts import after, grow_chains
from outthink.strategies._common import check, decide, voting


@strategy("revision", sources=("S050",))
@dataclass(frozen=True)
class Revision:
    """Chains of attempts, each shown the former ones and asked to correct them."""

    n: int = 8
    length: int = 4
    verifier: Any = part("verifier", None)
    memory: int = 4
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 10_000), length=(1, None), memory=(1, 100))
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))
        if self.n % self.length and self.n > self.length:
            raise BadInput(f"revision: n={self.n} must be a multiple of length={self.length}")

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Grow all chains by one attempt a round, then choose."""

        def ask(chains: list[list[Sample]]) -> list[tuple[Message, ...]]:
            return [after(problem, chain[-self.memory :]) for chain in chains]

        chains = await grow_chains(
            run, self.n, self.length, ask, voting(run),
            temperature=self.temperature, max_tokens=self.max_tokens,
        )  # fmt: skip
        made = [s for chain in chains for s in chain]
        if self.verifier is None:
            return decide(run, await run.pool(made))
        scores = [score.value for score in await run.score(made, self.verifier)]
        pool = await run.pool(made)
        tops, first = list[int](), 0
        for chain in chains:
            mine = slice(first, first := first + len(chain))
            tops.append(mine.start + best(scores[mine], pool.classes[mine]))
        chosen = await run.pool([made[i] for i in tops])
        return decide(run, chosen, [scores[i] for i in tops], True)
