"""Best of n: draw n samples, let a verifier score them, give the best.

    answer = argmax_i v(x, y_i),   y_1 ... y_n ~ p(. | x)

With ``vote`` the scores are summed over samples of the same answer instead, and the heaviest answer
wins (best-of-n weighted, S050, arXiv 2408.03314).  The verifier decides what a score is: the last,
least or mean step of a process reward model, an outcome score, a judge's rating.  Judges and tests
give equal scores often; ``ties`` says who wins then: the answer that most of those that tie reach
(``majority``), the ``first``, the ``shortest``, or a ``random`` one.  A text without an answer wins only
where no other has one, or where the verifier judges texts and not answers (``regex``).

Cost: n samples and n scores.  Needs a verifier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from outthink.core.errors import BadInput
from outthink.core.nouns import Answer, Problem
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.strategies._common import answer_of, check, voting


@strategy("best_of_n", sources=("S050",), needs=("VERIFIER",))
@dataclass(frozen=True)
class BestOfN:
    """The sample of n that a verifier scores highest; ``ties`` says who wins a tie."""

    n: int = 16
    verifier: Any = part("verifier", None)
    vote: Literal["best", "weighted"] = "best"
    ties: Literal["majority", "first", "shortest", "random"] = "majority"
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 100_000), temperature=(0.0, 5.0), max_tokens=(1, None))
        if self.vote == "weighted" and self.ties == "shortest":
            raise BadInput("best_of_n: ties=shortest is for single samples, not for vote=weighted")

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample, score, choose."""
        samples = await run.gather(
            self.n, propose=voting(run), temperature=self.temperature, max_tokens=self.max_tokens
        )
        vote = self.vote == "weighted"
        # of equally heavy answers the one with more samples is the majority
        ties = "count" if vote and self.ties == "majority" else self.ties
        return await answer_of(run, samples, self.verifier, vote, ties)
