"""Initial thought transfer: a donor writes the first tokens of each answer, the model goes on from there.

The first tokens of thought decide much of what follows, so that a model which begins badly (in a
language it knows little of) gains from the beginnings of one that begins well:

    o_i ~ p_donor(first ``length`` tokens | x),    y_i ~ p(. | x, o_i),    answer by vote

Without a ``donor`` the best-agreed beginning is handed on: ``openings`` whole samples are drawn first, and
the beginning of the first that reached their leading answer begins all the others.

Source: MITT (S025, arXiv 2505.15508), which trains the taker on the donor's beginnings (LoRA, prefixes
only, no labels).  That is left out: here beginnings are handed over as text, and the donor, its
``donor_temperature`` and ``length`` are ours to choose.  ``scramble`` is the control: the words of each
beginning in random order.

Cost: n samples, of which the donor writes the first tokens (all n, or ``openings`` that are dealt out in
turn).  Needs a model that continues a given beginning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.strategies._common import check, voting
from outthink.strategies._openings import begin, complete


@strategy("initial_thought", sources=("S025",), needs=("PREFIX",))
@dataclass(frozen=True)
class InitialThought:
    """n samples that begin as a ``donor`` does; without one, as the best-agreed of the first samples."""

    n: int = 8
    donor: Any = part("model", None)
    length: int = 16
    openings: int | None = None
    scramble: bool = False
    temperature: float = 1.0
    donor_temperature: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 100_000), length=(1, None), openings=(1, None), max_tokens=(1, None))
        check(self, temperature=(0.0, 5.0), donor_temperature=(0.0, 5.0))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Beginnings, then the rest of each; a vote over all that reached an end."""
        warmth = self.temperature if self.donor_temperature is None else self.donor_temperature
        whole: list[Sample] = []
        vote = voting(run)
        if self.donor is not None:
            k = min(self.n, self.openings or self.n)
            begun = await begin(run, k, self.length, warmth, self.donor)
        else:
            k = min(self.n, self.openings or max(1, self.n // 2))
            begun = await begin(run, k, self.length, warmth)
            whole = await complete(run, begun, self.temperature, self.max_tokens)
            leading = await vote(whole)
            run.propose(leading)
            chosen = next(s for s in whole if s is leading.sample)
            if k == self.n or run.limit is not None or chosen.depth < 2:
                return leading  # no budget is left, or its beginning is all of it
            begun = [chosen.lineage()[1]]
        if run.limit is not None:
            return await vote(begun)
        if self.scramble:
            begun = [self._scrambled(run, i, s) for i, s in enumerate(begun)]
        run.note("openings", texts=[s.text for s in begun])
        dealt = [begun[i % len(begun)] for i in range(self.n - len(whole))]
        rest = await complete(run, dealt, self.temperature, self.max_tokens, whole)
        whole = [*whole, *rest]
        return await vote(whole)

    def _scrambled(self, run: Run, i: int, opening: Sample) -> Sample:
        """The opening with its words, and the space after each, in random order."""
        words = re.findall(r"\S+\s*", opening.delta)
        order = run.rng("scramble", i).permutation(len(words))
        return run.edit(opening, keep=0, add="".join(words[j] for j in order))
