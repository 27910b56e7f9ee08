"""What strategies share that write many texts side by side, a round at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outthink.core.nouns import Answer, Sample
from outthink.core.run import Run
from outthink.strategies._common import voting


def begun(run: Run, n: int) -> list[Sample]:
    """``n`` texts with nothing written yet: the first round draws them as ``gather`` would."""
    return [run.root()] * n


def goes_on(sample: Sample, limit: int) -> bool:
    """Can this text be written further, within ``limit`` tokens in all?"""
    return not sample.finished and sample.total_tokens < limit


async def onward(
    run: Run,
    samples: Sequence[Sample],
    limit: int,
    *,
    stop: Sequence[str] = (),
    tokens: int | None = None,
    **params: Any,
) -> list[Sample]:
    """Each text one round further: up to a ``stop`` string, or ``tokens`` tokens, or to its end.

    None gets longer than ``limit`` tokens in all; those that are ended or so long pass through.  If the
    run ends meanwhile, those that have ended vote.
    """
    out = list(samples)
    going = [i for i, s in enumerate(samples) if goes_on(s, limit)]
    if going:
        vote = voting(run, [s for s in samples if s.finished])
        left = limit - max(samples[i].total_tokens for i in going)
        some = left if tokens is None else min(tokens, left)
        longer = await run.extend(
            [samples[i] for i in going], stop=stop, tokens=some, propose=vote, **params
        )
        for i, sample in zip(going, longer, strict=True):
            out[i] = sample
    return out


async def vote_so_far(run: Run, samples: Sequence[Sample]) -> Answer:
    """The plain vote of the texts that have ended, or of all where none has: for a proposal."""
    return await voting(run)([s for s in samples if s.finished] or list(samples))
