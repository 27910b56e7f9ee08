"""Best of majority: of the answers that samples reach often enough, those of the highest reward.

    kept = {a : share of the n samples that reach a >= alpha};   submit the k of kept of highest v

A reward model is trusted on what the model itself writes often, and errs most on what it writes
rarely: more samples show best-of-n more of the latter, and this none of it (Di et al. 2025, S004,
arXiv 2510.03199).  ``alpha = 0`` is best-of-n over answers, ``alpha = 1`` the majority vote; the
paper's bound asks for an alpha of the order of one over the coverage coefficient.

The answer is the first submission; all are in ``Answer.submissions``.  How frequent the answers are is
its distribution.  Ours: an answer's reward is its best or mean sample's (``reward``), and the rules
where nothing is frequent enough or rewards are equal (``outthink.select.best_of_majority``).

Cost: n samples and n scores.  Needs a verifier.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from outthink.core.nouns import Answer, Problem
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.select.best_of_majority import Reward, best_of_majority
from outthink.strategies._common import check, voting


@strategy("best_of_majority", sources=("S004",), needs=("VERIFIER",))
@dataclass(frozen=True)
class BestOfMajority:
    """The ``k`` best-scored answers among those that a share ``alpha`` of n samples reaches."""

    n: int = 16
    k: int = 1
    alpha: float = 0.1
    verifier: Any = part("verifier", None)
    reward: Reward = "best"
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 100_000), k=(1, 1000), alpha=(0.0, 1.0))
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample, score, keep the frequent answers, submit the best of them."""
        samples = await run.gather(
            self.n, propose=voting(run), temperature=self.temperature, max_tokens=self.max_tokens
        )
        scores = [s.value for s in await run.score(samples, self.verifier)]
        pool = (await run.pool(samples)).with_scores("verifier", scores)
        found = best_of_majority(
            pool.classes, pool.scores["verifier"], self.k, self.alpha, self.reward
        )
        places = [int(i) for i in found if i >= 0]
        answer = run.answer(pool, places[0])
        return replace(answer, submissions=tuple(pool.samples[i].text for i in places))
