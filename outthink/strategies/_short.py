"""What the methods that prefer short texts share: a race of samples, and a word on length."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from outthink.core.errors import BudgetExhausted
from outthink.core.nouns import Answer, Message, Sample
from outthink.core.run import Run


def ended(sample: Sample) -> bool:
    """Did the model end this text itself (or come to a stop string)?  ``max_tokens`` is no end."""
    return sample.finish != "length"


async def race(
    run: Run, n: int, m: int, propose: Callable[[list[Sample]], Awaitable[Answer]], **params: Any
) -> list[Sample]:
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
    if not done:
        raise BudgetExhausted(lane.limit or "calls")
    return _counting(done)


def _counting(done: Sequence[Sample]) -> list[Sample]:
    return [s for s in done if ended(s)] or list(done)


def instructed(messages: Sequence[Message], words: str) -> list[Message]:
    """The messages with ``words`` as the system's, at the end of what it says already."""
    head, *rest = messages
    said = head.get("content")
    if head["role"] in ("system", "developer") and isinstance(said, str):
        return [{**head, "content": f"{said}\n\n{words}"}, *rest]
    return [{"role": "system", "content": words}, *messages]
