"""NoThinking: the thought is closed before it begins, and many short answers are drawn side by side.

    y_1 ... y_n ~ p(. | x, <think> Okay, I think I have finished thinking. </think>)

At equal tokens many answers without a thought may be worth more than one with it.  They are put together by
a ``verifier`` (the best), by confidence where ``q`` is given (the texts are ranked by self-certainty, and
one of rank r among n has (n - r + 1)^q votes: 0 is the majority, and the larger the more the surest
decides), or else by majority.

Source: S144 (Ma et al. 2025, arXiv 2504.09858); self-certainty and its vote: Kang et al. 2025 (arXiv
2502.18581), whose code has q = 0.5.  Ours: a model that names its marks (fly) gets them with nothing in
between, others the paper's sentence, or whatever ``prefill`` says instead (empty for a model that does not
think: it answers without a thought anyway); self-certainty is over the ``top`` likeliest tokens at each
place, where the paper has the whole vocabulary.

Cost: n samples (and n scores with a verifier).  Needs PREFIX, and LOGPROBS with ``q``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from outthink.core.errors import BadInput
from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.select.certainty import borda_vote, rank_weights, self_certainty
from outthink.strategies._common import (
    answer_of,
    check,
    thinking_of,
    traced,
    voting,
    without_logprobs,
)

SENTENCE = "Okay, I think I have finished thinking.\n"


@strategy("no_thinking", sources=("S144",), needs=("PREFIX",))
@dataclass(frozen=True)
class NoThinking:
    """n answers without a thought, put together by a verifier, by confidence (``q``) or by vote."""

    n: int = 16
    verifier: Any = part("verifier", None)
    q: float | None = None
    top: int = 20
    prefill: str | None = None
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 100_000), q=(0.0, 100.0), top=(2, None))
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))
        if self.q is not None and self.verifier is not None:
            raise BadInput(f"no_thinking: q={self.q} is for a vote by confidence, not a verifier")

    @property
    def extra_needs(self) -> tuple[str, ...]:
        """A vote by confidence needs log-probabilities."""
        return ("LOGPROBS",) if self.q is not None else ()

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Close the thought, draw answers, put them together."""
        marks, own = thinking_of(run), getattr(run.model(), "thinking", None) is not None
        head = marks.open + ("" if own else SENTENCE) + marks.close
        head = head if self.prefill is None else self.prefill
        closed = run.edit(run.root(), add=head) if head else run.root()
        made = await run.extend(
            [closed] * self.n,
            stop=(),
            propose=voting(run),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            top_logprobs=0 if self.q is None else self.top,
        )
        # where the budget gave out a sample comes back as it was
        return await self._choose(run, [s for s in made if s is not closed] or [closed])

    async def _choose(self, run: Run, samples: list[Sample]) -> Answer:
        sure = traced(samples, "top_logprobs", self_certainty)
        if self.q is None or without_logprobs(run, sure):
            return await answer_of(run, samples, self.verifier)
        pool = (await run.pool(samples)).with_scores("self-certainty", sure)
        return run.answer(
            pool, int(borda_vote(pool.classes, sure, self.q)), rank_weights(sure, self.q)
        )
