"""The first tokens of answers: drawn by themselves, and continued to the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outthink.core.nouns import Sample
from outthink.core.run import Run
from outthink.strategies._common import voting


async def begin(
    run: Run, k: int, length: int, temperature: float, model: Any = "main"
) -> list[Sample]:
    """``k`` beginnings of ``length`` tokens (or whole answers that are shorter); fewer where the
    budget gave out, one that is empty where it allows none."""
    settings: dict[str, Any] = {"temperature": temperature, "model": model}
    root = run.root()
    drawn = await run.extend([root] * k, stop=(), tokens=length, **settings)
    found = [s for s in drawn if s is not root] or [root]
    run.propose(run.answer(await run.pool(found), 0))
    return found


async def complete(
    run: Run,
    begun: Sequence[Sample],
    temperature: float,
    max_tokens: int | None,
    before: Sequence[Sample] = (),
) -> list[Sample]:
    """The beginnings continued to the end; those that the budget did not allow are left out.

    Where it allowed none, as they are.  One that was whole already is one sample, however often given.
    What has ended, with the samples from ``before``, is voted on if the run ends meanwhile.
    """
    settings: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens}
    done = await run.extend(begun, stop=(), propose=voting(run, before), **settings)
    return list({s.node: s for s in done if s.finished}.values()) or list(begun)
