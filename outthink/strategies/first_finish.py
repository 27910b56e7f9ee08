"""First finish search: start n samples together, and give the one that ends first.

    answer = ans(y_i),  i = argmin_i |y_i|,   y_1 ... y_n ~ p(. | x), all of them a token at a time

The others are cancelled where they are (Agarwal, Sengupta and Chakraborty, S097, arXiv 2505.18149).  Short
texts of a model that thinks are more often right than its long ones on the same question, where that
holds: with lengths N(mu_c, s) of right and N(mu_w, s) of wrong texts, where mu_c < mu_w.  Where wrong texts
are short, or much more spread, this loses (``outthink reproduce S097``).

A text that ``max_tokens`` cuts has not ended; where none ends, the vote of what was cut is given.  On
models that compute here the first to end is the shortest, to a few tokens, as long as all samples fit
into one batch; on a server it is the first by the clock (the paper's asynchronous form).

Cost: up to n calls, about n times the tokens of the shortest text (to a few tokens, which the clock
decides: it does not repeat exactly); time: that of the shortest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import strategy
from outthink.core.run import Run
from outthink.strategies._common import check, decide
from outthink.strategies._short import ended, race


@strategy("first_finish", sources=("S097",))
@dataclass(frozen=True)
class FirstFinish:
    """The first of n samples to end; the others are cancelled."""

    n: int = 8
    temperature: float = 1.0
    max_tokens: int | None = None
    order_matters: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, n=(1, 1_000), temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Start all, take the first, cancel the rest."""

        async def first(samples: list[Sample]) -> Answer:
            pool = await run.pool(samples)
            return run.answer(pool, 0) if ended(samples[0]) else decide(run, pool)

        return await first(
            await race(
                run, self.n, 1, first, temperature=self.temperature, max_tokens=self.max_tokens
            )
        )
