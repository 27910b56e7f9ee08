"""Temperature as an axis: the same number of samples, spread over a grid of temperatures.

Different temperatures solve different problems, so that samples of several cover more than as many of
one.  Each temperature of ``grid`` is given the same share of the n samples; at temperature 0 all samples
are one and the same, so it is asked once.  A question on which all agree needs no more: samples are
drawn one of each temperature a round, and after a round

    sure(T)   the leading answer has a share of at least ``intra`` of the samples at T
    end       every temperature is sure, and a share of at least ``cross`` of them of the same answer

The others are decided over the union: by vote, or by a verifier's best.

Source: S061, arXiv 2510.02611 (grid 0.0 to 1.2 in steps of .1; intra .8 and cross 1, that is all
temperatures).  The rule to end is theirs as others restate it; that a question that never ends so is
voted on over all samples, and the grid of four, are ours (they leave it to a verifier: pass@all).

Cost: up to n samples (and as many scores), one temperature after the other, so that a tight budget is
spent the same way each time; ``exit=false`` asks each temperature once for its whole share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from outthink.core.errors import BadInput, BudgetExhausted
from outthink.core.nouns import Answer, Pool, Problem, Sample
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.select.agree import settled
from outthink.strategies._common import answer_of, check, voting


@strategy("temperatures", sources=("S061",))
@dataclass(frozen=True)
class Temperatures:
    """n samples over a grid of temperatures, ended early where all of them agree."""

    n: int = 16
    grid: tuple[float, ...] = (0.3, 0.6, 0.9, 1.2)
    exit: bool = True
    intra: float = 0.8
    cross: float = 1.0
    verifier: Any = part("verifier", None)
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 100_000), intra=(0.0, 1.0), cross=(0.0, 1.0), max_tokens=(1, None))
        wrong = [t for t in self.grid if not 0 <= t <= 5]
        if not self.grid or wrong or len(set(self.grid)) < len(self.grid):
            raise BadInput(
                f"temperatures: grid={list(self.grid)} must be different numbers from 0 to 5"
            )

    def shares(self) -> list[int]:
        """How many samples each temperature of the grid is given: as even as may be."""
        most = [1 if t == 0 else self.n for t in self.grid]
        out = [0] * len(self.grid)
        while sum(out) < min(self.n, sum(most)):
            for i in range(len(out)):
                out[i] += int(out[i] < most[i] and sum(out) < self.n)
        return out

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Draw round by round, look whether all agree, else decide over the union."""
        made: list[list[Sample]] = [[] for _ in self.grid]

        def union() -> list[Sample]:
            return [s for some in made for s in some]

        shares = self.shares()
        for _ in range(max(shares) if self.exit else 1):
            for i, temperature in enumerate(self.grid):
                k = min(shares[i] - len(made[i]), 1 if self.exit else self.n)
                if k < 1 or run.limit is not None:
                    continue
                try:
                    made[i] += await run.gather(
                        k,
                        propose=voting(run, union()),
                        temperature=temperature,
                        max_tokens=self.max_tokens,
                    )
                except BudgetExhausted:
                    if not any(made):
                        raise
            answer = await voting(run)(union())
            run.propose(answer)
            if run.limit is not None:
                break
            if self.exit and self._agree(await run.pool(union()), made):
                run.note("settled", samples=len(union()), answer=answer.answer)
                return answer
        return answer if self.verifier is None else await answer_of(run, union(), self.verifier)

    def _agree(self, pool: Pool, made: list[list[Sample]]) -> bool:
        """Is every temperature sure, and of the same answer?  Not while one has yet to be asked."""
        drawn = [len(some) for t, some in zip(self.grid, made, strict=True) if t > 0] or [1]
        if not all(made) or min(drawn) < max(drawn):
            return False
        rows, first = [], 0
        for some in made:
            row = pool.classes[first : first + len(some)]
            # at temperature 0 every further sample would be this one
            rows.append(np.resize(row, max(drawn)))
            first += len(some)
        return bool(settled(np.stack(rows), self.intra, self.cross))
