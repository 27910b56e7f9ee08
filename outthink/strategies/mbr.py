"""Minimum Bayes risk: draw n samples, give the one that is most like all of them.

    answer = argmax_i  1/n sum_j u(y_i, y_j),   y_1 ... y_n ~ p(. | x)

The utility u says what a text is worth if another is what was wanted: an overlap of texts where no two
are equal (summaries, code, translations), equality of answers (``exact``) where a vote is possible, and
then it is the plain majority vote.

Source: Eikema and Aziz 2020 (arXiv 2005.10283), with the samples as candidates and as references; the
vote as a case of it, and what else is one: Bertsch et al. 2023 (arXiv 2310.01387).  Ours: a text without
an answer counts as a reference, and wins only where no other has one.

Cost: n samples; n^2 utilities, which are no calls of a model.  ``ngram_cosine`` takes all pairs at once;
the others take up to some milliseconds for each pair of long texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.select import mbr as rule
from outthink.select.utilities import NgramCosine, utilities_of
from outthink.strategies._common import check


@strategy("mbr")
@dataclass(frozen=True)
class Mbr:
    """The sample of the highest mean utility to all n; ``utility`` says how two texts are compared."""

    n: int = 16
    utility: Any = part("utility", NgramCosine())
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 1_000), temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample, compare all pairs, choose."""

        async def choose(samples: list[Sample]) -> Answer:
            pool = await run.pool(samples)
            u = utilities_of(self.utility, pool)
            pool = pool.with_scores("utility", rule.expected_utility(u))
            return run.answer(pool, int(rule.mbr(u, pool.classes)))

        return await choose(
            await run.gather(
                self.n, propose=choose, temperature=self.temperature, max_tokens=self.max_tokens
            )
        )
