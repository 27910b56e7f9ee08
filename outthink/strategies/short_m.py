"""short-m@k: start n samples, stop all when m of them have ended their thinking, and let these m vote.

    answer = argmax_a  sum_{i in S} [ans(y_i) = a],   S = the m shortest thoughts;  a tie to the shortest

(Hassid et al., S152, arXiv 2505.17813; their k is ``n`` here, m = 1 and m = 3 are theirs.)  Of a model
that says how it marks its thoughts, and can continue a text, the thoughts alone are the race: when m
are closed the others are cancelled, and the m write their answers.  Of other models the whole texts are.

A text that ``max_tokens`` cuts has not ended, and has no vote while another has.  On models that compute
here the order of ending is that of lengths, to a few tokens, as long as all samples fit into one batch; on
a server it is the clock's.  The rule alone, for recorded lengths, is ``select.short.short_vote``.

Cost: up to n calls (and m to write answers), ``sum_i min(L_i, L_(m))`` tokens with L_(m) the m-th
shortest length, and the m answers; time: that of the m-th.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from outthink.core.model import PREFIX, Thinking
from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import strategy
from outthink.core.run import Run
from outthink.select.short import short_vote
from outthink.strategies._common import check
from outthink.strategies._short import race


@strategy("short_m", sources=("S152",))
@dataclass(frozen=True)
class ShortM:
    """The vote of the first m of n samples to end their thinking; the others are cancelled."""

    n: int = 8
    m: int = 3
    temperature: float = 1.0
    max_tokens: int | None = None
    order_matters: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, n=(1, 1_000), m=(1, None), temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Race, let the winners write their answers, vote."""

        async def vote(samples: list[Sample]) -> Answer:
            pool = await run.pool(samples)
            return run.answer(pool, int(short_vote(pool.classes, lengths(samples))))

        params: dict[str, Any] = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        model = run.model()
        thinking: Thinking | None = getattr(model, "thinking", None)
        apart = thinking is not None and PREFIX in model.capabilities
        stop = (thinking.close,) if thinking is not None and apart else ()
        samples = await race(run, self.n, min(self.m, self.n), vote, stop=stop, **params)
        if apart:
            samples = await run.extend(samples, stop=(), **params)
        return await vote(samples)


def lengths(samples: list[Sample]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The tokens of each thought, or of the whole text where there is none apart: ``(n,)``."""
    return np.array([(s.parent or s).total_tokens for s in samples], dtype=np.int64)
