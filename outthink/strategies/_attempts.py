"""Attempts that see those before them: the chat that shows them, and chains that grow side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from outthink.core.nouns import Answer, Message, Problem, Sample
from outthink.core.run import Proposal, Run
from outthink.strategies._common import present

REQUEST = (
    "Your earlier attempts stand above and may be wrong. Find the mistake, if there is one, and "
    "solve the problem again from the start, in the same form."
)


def after(problem: Problem, attempts: Iterable[Sample]) -> tuple[Message, ...]:
    """The problem, each attempt with the request to correct it after it."""
    messages: list[Message] = list(problem.messages)
    for attempt in attempts:
        messages.append({"role": "assistant", "content": attempt.shown})
        messages.append({"role": "user", "content": REQUEST})
    return tuple(messages)


async def grow_chains(
    run: Run,
    n: int,
    length: int,
    ask: Callable[[list[list[Sample]]], Sequence[Sequence[Message]]],
    propose: Proposal,
    **params: Any,
) -> list[list[Sample]]:
    """``n`` attempts in ``n / length`` chains, one more of each a round; fewer where the budget gave out.

    ``ask`` makes the prompts of a round from the chains so far.
    """
    length = min(length, n)
    chains: list[list[Sample]] = [[] for _ in range(max(1, n // length))]
    made: list[Sample] = []

    async def so_far(fresh: list[Sample]) -> Answer:
        return await propose([*made, *fresh])

    for _ in range(length):
        attempts = await run.batch(ask(chains), propose=so_far, **params)
        for chain, attempt in zip(chains, attempts, strict=True):
            if attempt is not None:
                chain.append(attempt)
        made = present(run, [s for chain in chains for s in chain])
        run.propose(await propose(made))
        if run.limit is not None:
            break
    return [chain for chain in chains if chain]
