"""Selective: answer only where sure enough, else say nothing.

    answer = the inner strategy's, where its confidence >= threshold; none otherwise

The confidence is the inner strategy's own (the share of a vote), or, with a ``verifier``, that verifier's
score of the chosen text: ``final_answer``, the probability of the answer's tokens, as published, or
``yes_no``, or ``calibrated``.  An answer that is held back keeps its text, its confidence and a note.
Where a right answer earns 1 and a wrong one costs r, a confidence that is the chance to be right pays
from r / (1 + r) on; ``outthink.select.selective`` finds the threshold that paid on problems you know.

Exact: the rule, and the published confidence.  Ours: any strategy, any verifier; a run that ends early
answers by the same rule, and says nothing where the verifier had not been asked.

Source: Jurayj, Cheng and Van Durme 2025 (S054, arXiv 2502.13962).
Cost: that of the inner strategy, and one score with a verifier.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from outthink.core.errors import BudgetExhausted
from outthink.core.nouns import Answer, Node, Problem, Sample
from outthink.core.registry import part, strategy
from outthink.core.run import Proposal, Run
from outthink.strategies._common import check
from outthink.strategies.self_consistency import SelfConsistency


class _Heard(Run):
    """The same run through another door: what is proposed here is judged before it is proposed there."""

    __slots__ = ("judge", "run")

    def __init__(self, run: Run, judge: Callable[[Answer], Answer]) -> None:
        self.__dict__ = run.__dict__
        self.run, self.judge = run, judge

    def propose(self, answer: Answer) -> None:
        """Publish what is left of an answer that was judged."""
        self.run.propose(self.judge(answer))

    def _propose_from(self, done: Mapping[Node, Sample], propose: Proposal | None) -> None:
        async def judged(samples: list[Sample]) -> Answer:
            assert propose is not None
            return self.judge(await propose(samples))

        self.run._propose_from(done, None if propose is None else judged)


@strategy("selective", sources=("S054",))
@dataclass(frozen=True)
class Selective:
    """Another strategy's answer where its confidence reaches ``threshold``; no answer elsewhere."""

    strategy: Any = part("strategy", SelfConsistency(n=8))
    threshold: float = 0.5
    verifier: Any = part("verifier", None)

    def __post_init__(self) -> None:
        check(self, threshold=(0.0, 1.0))

    @property
    def order_matters(self) -> bool:
        """Does it for the inner strategy?"""
        return bool(getattr(self.strategy, "order_matters", False))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Have it answered, ask how sure that is, and keep it or hold it back."""
        judge = self.held if self.verifier is None else _silent
        answer: Answer = await self.strategy(problem, _Heard(run, judge))
        if self.verifier is not None:
            try:
                answer = replace(answer, confidence=await self._score(run, answer))
            except BudgetExhausted:
                run.warn("no answer: no budget was left to ask the verifier")
                raise
        kept = self.held(answer)
        if kept.answer is None and answer.answer is not None:
            sure = "unknown" if answer.confidence is None else f"{answer.confidence:.3g}"
            run.warn(f"no answer: its confidence, {sure}, is below {self.threshold:g}")
        return kept

    def held(self, answer: Answer) -> Answer:
        """The answer, or none where it is not sure enough."""
        sure = answer.confidence is not None and answer.confidence >= self.threshold
        return answer if sure else _silent(answer)

    async def _score(self, run: Run, answer: Answer) -> float | None:
        """The verifier's score of the chosen text; ``None`` where there is none."""
        same = (s for s in answer.candidates if s.text == answer.text)
        chosen = answer.sample or next(same, None)
        if chosen is None or chosen.text != answer.text:
            return None
        (score,) = await run.score([chosen], self.verifier)
        return score.value if math.isfinite(score.value) else None


def _silent(answer: Answer) -> Answer:
    return replace(answer, answer=None)
