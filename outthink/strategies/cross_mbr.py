"""Cross-lingual minimum Bayes risk (X-MBR): answers in other languages help to choose among those in one.

    answer = argmax_i  mean_{r in Y + E} u(y_i, r),   Y ~ p(. | x),   E ~ p(. | x, "in language L")

A model is not equally good in all languages: what it says in a strong one is evidence on what to choose
in a weak one.  The evidence E is compared with, and never chosen.

Source: Khairi et al. 2025 (S021, arXiv 2506.20544), where the evidence is generated in another language
and the utility is one that compares across languages.  Ours: how the language is asked for (a system
message); the default utility ``exact``, since answers such as numbers mean the same in all languages
and an overlap of words does not; evidence that the budget leaves out is done without.

Cost: n samples and ``evidence`` more for each of ``languages``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from outthink.core.errors import BadInput
from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.select import mbr as rule
from outthink.select.utilities import Exact, utilities_of
from outthink.strategies._common import check, present
from outthink.strategies._prompts import instructed

REQUEST = "Answer in {}, whatever the language of the question."


@strategy("cross_mbr", sources=("S021",))
@dataclass(frozen=True)
class CrossMbr:
    """Minimum Bayes risk among n samples, with ``evidence`` more asked for in each language."""

    n: int = 5
    evidence: int = 3
    languages: tuple[str, ...] = ("English",)
    utility: Any = part("utility", Exact())
    temperature: float = 0.7
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 1_000), evidence=(0, 1_000), temperature=(0.0, 5.0), max_tokens=(1, None))
        if not self.languages or not all(name.strip() for name in self.languages):
            raise BadInput(f"cross_mbr: languages={self.languages!r}: name at least one")

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample in the question's language and in the others, side by side; choose among the first."""
        own = tuple(problem.messages)
        prompts = [own] * self.n
        for language in self.languages:
            prompts += [instructed(own, REQUEST.format(language))] * self.evidence

        async def choose(samples: list[Sample]) -> Answer:
            mine = [s for s in samples if s.messages == own] or samples
            rest = [s for s in samples if s not in mine]
            u = utilities_of(self.utility, await run.pool([*mine, *rest]))[: len(mine)]
            pool = (await run.pool(mine)).with_scores("utility", rule.expected_utility(u))
            return run.answer(pool, int(rule.mbr(u, pool.classes)))

        found = await run.batch(
            prompts, propose=choose, temperature=self.temperature, max_tokens=self.max_tokens
        )
        return await choose(present(run, found))
