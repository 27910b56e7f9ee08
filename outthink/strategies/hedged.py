"""Hedged sampling: one greedy sample beside n - 1 drawn at a temperature.

With few samples a hot draw may go wrong altogether, the more so in a language that the model knows
less; the greedy text is a safe one among them, and the hot ones keep what is to be gained.

    Y = {y at temperature 0} + {y_2 ... y_n at the temperature, cut by min-p},   choose in Y

Source: Khairi et al. 2025 (S021, arXiv 2506.20544): 5 samples, one of them greedy, min-p where the
language is a weak one (min-p: a token must have at least ``min_p`` times the probability of the
likeliest; arXiv 2407.01082).  Ours: the choice, by vote (the greedy text wins ties) or, with a
verifier, by the highest score; the paper's is a judge that sees all of them (``chops``).  ``min_p`` is
sent to a server as its own parameter of that name (vLLM, SGLang, llama.cpp); other models ignore it.

Cost: n samples, the greedy one first (and n scores with ``verifier``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from outthink.core.errors import BudgetExhausted
from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.strategies._common import answer_of, check, voting


async def hedge(
    run: Run, n: int, temperature: float, min_p: float | None, max_tokens: int | None
) -> list[Sample]:
    """One greedy sample, then ``n - 1`` at the temperature; the vote among them is proposed."""
    extra: dict[str, Any] = {} if min_p is None else {"extra": {"min_p": min_p}}
    vote = voting(run)
    safe = await run.gather(1, propose=vote, temperature=0.0, max_tokens=max_tokens)
    run.propose(await vote(safe))
    if n == 1 or run.limit is not None:
        return safe
    try:
        hot = await run.gather(
            n - 1,
            propose=voting(run, safe),
            temperature=temperature,
            max_tokens=max_tokens,
            **extra,
        )
    except BudgetExhausted:
        hot = []
    return [*safe, *hot]


@strategy("hedged", sources=("S021",))
@dataclass(frozen=True)
class Hedged:
    """A greedy sample and n - 1 hot ones, chosen by vote or by a verifier."""

    n: int = 5
    verifier: Any = part("verifier", None)
    temperature: float = 0.7
    min_p: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 100_000), temperature=(0.0, 5.0), min_p=(0.0, 1.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample safely and widely, choose."""
        samples = await hedge(run, self.n, self.temperature, self.min_p, self.max_tokens)
        return await answer_of(run, samples, self.verifier)
