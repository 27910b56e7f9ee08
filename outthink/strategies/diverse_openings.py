"""Diverse openings: many short beginnings, of which the n that differ most are continued.

Samples of one model repeat each other, and more samples then cover little more.  ``width`` beginnings of
``length`` tokens are cheap; a spread-out set of n of them (greedy farthest point by n-grams of words,
``outthink.select.diverse``) is continued to the end, and decided on by vote or by a verifier's best:

    o_1 ... o_width ~ p(first tokens | x),    S = farthest(o, n),    y_i ~ p(. | x, o_i), i in S

What is unlike the rest may be so because it is wrong: coverage may rise while single samples get worse,
and a higher temperature is the control.

Source: ADAPT (S149, arXiv 2506.04611) trains a reasoning model on beginnings (512 tokens) of a more
diverse one's answers beside its own, and then samples as usual.  Training is left out: the same aim, a
spread of first tokens, is reached by choosing among the model's own.  The choice is ours.

Cost: width * length tokens, and n samples less their beginnings; n scores with a verifier.  Needs a model
that continues a given beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from outthink.core.errors import BadInput
from outthink.core.nouns import Answer, Problem
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.select.diverse import farthest, ngram_distances
from outthink.strategies._common import answer_of, check, voting
from outthink.strategies._openings import begin, complete


@strategy("diverse_openings", sources=("S149",), needs=("PREFIX",))
@dataclass(frozen=True)
class DiverseOpenings:
    """The n most different of ``width`` openings, continued: a vote, or a verifier's best."""

    n: int = 8
    width: int = 32
    length: int = 16
    verifier: Any = part("verifier", None)
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 10_000), width=(1, 10_000), length=(1, None))
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))
        if self.width < self.n:
            raise BadInput(f"diverse_openings: width={self.width} must be at least n={self.n}")

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Draw openings, keep the most different, continue them, decide."""
        begun = await begin(run, self.width, self.length, self.temperature)
        if run.limit is None:
            kept = farthest(ngram_distances([s.shown for s in begun]), min(self.n, len(begun)))
            begun = [begun[i] for i in sorted(kept.tolist())]
            run.note("openings", texts=[s.text for s in begun])
            begun = await complete(run, begun, self.temperature, self.max_tokens)
        answer = await voting(run)(begun)
        run.propose(answer)
        return answer if self.verifier is None else await answer_of(run, begun, self.verifier)
