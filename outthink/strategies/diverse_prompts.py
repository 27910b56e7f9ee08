"""Diverse prompts: each of n samples answers the question under another perturbation of its prompt.

Failures under different prompts are less alike than those under one, so the samples cover more.  With
p_d the chance to be right under perturbation d, n samples of one perturbation miss with E_d (1 - p_d)^n,
and n of fresh ones with (1 - E_d p_d)^n, which is never more (Jensen; ``outthink.laws.mixture``).  What
is gained is coverage: it takes a verifier to cash it, a vote may gain nothing.

``how``: ``instruction`` (a way of working), ``role`` (a persona) and ``jabberwocky`` (lines of nonsense,
which only move the state of the model) hold for any problem and cost nothing; ``ideas`` asks the model
for approaches to this problem, ``rephrase`` for the problem in other words.

Source: DivSampling (S096, arXiv 2502.11027).  Ours: the wording of the texts, that they go into the system
message, and that they are dealt out without replacement, in the run's own random order (dealt out
evenly misses no more than drawn at random).  Which sample had which is an event in the trace.

Cost: n samples with slightly longer prompts; one call more for ``ideas``, ``variants`` more for
``rephrase``; n scores with a verifier.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from outthink.core.nouns import Answer, Message, Problem
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.strategies import _perturbations as texts
from outthink.strategies._common import answer_of, check, present, voting
from outthink.strategies._prompts import asking, instructed

LISTS = {
    "instruction": texts.INSTRUCTIONS,
    "role": texts.ROLES,
    "jabberwocky": texts.JABBERWOCKY,
}


@strategy("diverse_prompts", sources=("S096",))
@dataclass(frozen=True)
class DiversePrompts:
    """n samples, each under one of ``variants`` perturbed prompts: a vote, or a verifier's best."""

    n: int = 16
    how: Literal["instruction", "role", "jabberwocky", "ideas", "rephrase"] = "instruction"
    variants: int = 8
    verifier: Any = part("verifier", None)
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 100_000), variants=(1, 1000))
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Find the perturbations, deal them out, sample, decide."""
        found = await self._perturbations(problem, run)
        if not found:
            run.warn(f"diverse_prompts: the model gave no {self.how}: the prompt is as it was")
            found = [""]
        order = run.rng("perturbations").permutation(len(found)).tolist()[: self.variants]
        dealt = [found[order[i % len(order)]] for i in range(self.n)]
        run.note("perturbations", how=self.how, dealt=dealt)

        drawn = await run.batch(
            [self._perturbed(problem, text) for text in dealt],
            propose=voting(run),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        return await answer_of(run, present(run, drawn), self.verifier)

    async def _perturbations(self, problem: Problem, run: Run) -> Sequence[str]:
        """The texts to deal out; what the model is asked for is without repetitions and empty ones."""
        if self.how in LISTS:
            return LISTS[self.how]
        request: dict[str, Any] = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        request |= {"tools": (), "role": "prompts"}
        if self.how == "ideas":
            asked = instructed(problem.messages, texts.IDEAS.format(k=self.variants), first=True)
            said = (await run.sample(messages=asked, **request)).text.splitlines()
            # without a list's marks: "1. ", "- "
            said = [re.sub(r"^\s*(?:[-*•]|\d+[.):])\s*", "", line) for line in said]
        else:
            content = texts.REPHRASE.format(question=problem.question)
            alone: list[Message] = [{"role": "user", "content": content}]
            said = [s.text for s in await run.gather(self.variants, messages=alone, **request)]
        return list(dict.fromkeys(kept for text in said if (kept := text.strip())))

    def _perturbed(self, problem: Problem, text: str) -> Sequence[Message]:
        if not text:
            return problem.messages
        if self.how == "rephrase":
            return asking(problem.messages, text)
        told = texts.APPROACH.format(idea=text) if self.how == "ideas" else text
        return instructed(problem.messages, told, first=True)
