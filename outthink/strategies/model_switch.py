"""ModelSwitch: ask several models in turn, and stop as soon as one agrees with itself.

Models that fail on different problems complete each other, and a model whose answers are all the same is
likely right; so the run's own model is asked first, and the next one of ``models`` only where the
consistency of the last, the share of its leading answer, is below ``threshold``.  The vote is over the
answers of all that were asked:

    score(a) = sum_j  trust_j  w_j  c_j(a),    w_j = 1/k + (1 - 1/k) (1 - H_j / log2 D_j)

with c_j(a) the answers a of model j, k of its answers that could be read, H_j their entropy in bits and
D_j how many different ones there are: w = 1 where all agree, 1/k where they are evenly split.  A tie goes
to the answer that was seen first.  With a verifier its best of all samples is the answer.

Source: S136, arXiv 2504.00762, and its repository (JianhaoChen-nju/ModelSwitch: k = 5, threshold 1; the
weights as in its analysis, while its driver counts votes: ``weights=count``).  ``trust`` is one prior
number a model, the run's own first.  Ours: a lone answer agrees with nothing, so that a model with fewer
than two is never consistent.  Without ``models`` it is a vote of the run's own model alone.

Cost: at most n samples, n / (1 + models) from each model that is asked; one wait for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from outthink.core.errors import BadInput, BudgetExhausted
from outthink.core.nouns import Answer, Floats, Pool, Problem, Sample
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.select.agree import consistency, own_weight
from outthink.select.vote import weighted
from outthink.strategies._common import answer_of, check


@strategy("model_switch", sources=("S136",))
@dataclass(frozen=True)
class ModelSwitch:
    """The run's own model, then ``models`` in turn, until one is consistent; a weighted vote."""

    models: Any = part("model", (), many=True)
    n: int = 10
    threshold: float = 1.0
    trust: tuple[float, ...] = ()
    weights: Literal["entropy", "count"] = "entropy"
    verifier: Any = part("verifier", None)
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 100_000), threshold=(0.0, 1.0))
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))
        if not isinstance(self.models, tuple):
            raise BadInput("model_switch: models is a list, such as models=[fly-xs]")
        if self.trust and (len(self.trust) != 1 + len(self.models) or min(self.trust) < 0):
            raise BadInput(
                f"model_switch: trust={list(self.trust)} must be {1 + len(self.models)} numbers of at "
                "least 0: one for the run's own model, then one for each of models"
            )

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Ask a model, look at its consistency, switch or stop; then the vote."""
        asked = ("main", *self.models)
        groups: list[list[Sample]] = []

        async def vote(fresh: list[Sample]) -> Answer:
            return await self._vote(run, [*groups, fresh] if fresh else groups)

        for j, model in enumerate(asked):
            k = self.n // len(asked) + (j < self.n % len(asked))
            if not k or run.limit is not None:
                break
            settings: dict[str, Any] = {"model": model, "temperature": self.temperature}
            try:
                groups.append(
                    await run.gather(k, propose=vote, max_tokens=self.max_tokens, **settings)
                )
            except BudgetExhausted:
                if not groups:
                    raise
                break
            run.propose(await vote([]))
            share = float(consistency((await run.pool(groups[-1])).classes))
            run.note("consistency", model=j, share=share)
            if share >= self.threshold:
                break
        if self.verifier is None:
            return await vote([])
        samples = [s for group in groups for s in group]
        return await answer_of(run, samples, self.verifier)

    async def _vote(self, run: Run, groups: list[list[Sample]]) -> Answer:
        pool = await run.pool([s for group in groups for s in group])
        w = self._weights(pool, [len(group) for group in groups])
        return run.answer(pool, weighted(pool.classes, w, "first"), w)

    def _weights(self, pool: Pool, sizes: list[int]) -> Floats:
        """What each sample weighs, ``(n,)``."""
        w = np.ones(len(pool))
        first = 0
        for j, size in enumerate(sizes):
            mine = slice(first, first := first + size)
            if self.weights == "entropy":
                w[mine] = own_weight(pool.classes[mine])
            if self.trust:
                w[mine] *= self.trust[j]
        return w
