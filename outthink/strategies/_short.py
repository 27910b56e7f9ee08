"""What the methods that prefer short texts share: a race of samples, and their vote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outthink.core.nouns import Answer, Sample
from outthink.core.run import Proposal, Run
from outthink.select.short import short_vote
from outthink.strategies._common import present


def ended(sample: Sample) -> bool:
    """Did the model end this text itself (or come to a stop string)?  ``max_tokens`` is no end."""
    return sample.finish != "length"


def short_voting(run: Run, before: Sequence[Sample] = ()) -> Proposal:
    """The vote over ``before`` and the samples that it is given; the shortest text stands for it."""
    earlier = tuple(before)

    async def vote(samples: list[Sample]) -> Answer:
        pool = await run.pool([*earlier, *samples])
        return run.answer(pool, int(short_vote(pool.classes, pool.tokens)))

    return vote


async def race(run: Run, n: int, m: int, propose: Proposal, **params: Any) -> list[Sample]:
    """The samples that have ended when ``m`` of ``n`` have, in that order; the others are cancelled.

    Where none ends, those that ``max_tokens`` cut.  ``propose`` answers with what is there so far.
    The samples are those of a child run of its own for each (n, m): were they shared through a store
    with other strategies, those that are there already would come in at once, whatever their length.
    """
    lane = run
    for size in (n, m):
        lane = [lane.spawn() for _ in range(size)][-1]
    done: list[Sample] = []
    async with lane.samples(n, **params) as arriving:
        async for sample in arriving:
            done.append(sample)
            run.propose(await propose(_counting(done)))
            if sum(map(ended, done)) >= m:
                break
    return _counting(present(lane, done))


def _counting(done: Sequence[Sample]) -> list[Sample]:
    return [s for s in done if ended(s)] or list(done)
