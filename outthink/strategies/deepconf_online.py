"""DeepConf, online: traces are stopped where the model gets unsure, and sampling when the vote is sure.

1. ``warmup`` traces are written whole.  Their lowest window confidences (``select.confidence``) set the
   bar s: what the ``keep`` most confident of them reach.
2. Further traces are written, ``width`` side by side; one whose window falls below s is stopped.
3. Traces that stay above s vote, weighted by their lowest window.  When the leading answer has the share
   ``tau`` of the weight, or after n traces, it is the answer.

The bar, the weights and both ends are those of Fu et al. 2025 (arXiv 2508.15260): ``keep=0.1`` is its
DeepConf-low, 0.9 its DeepConf-high.  Ours: a trace is looked at every ``chunk`` tokens, so one that is
stopped has up to ``chunk - 1`` tokens too many, and the share is looked at after each ``width`` traces.

Cost: at most n samples, in as many calls as chunks.  Needs LOGPROBS and PREFIX.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import strategy
from outthink.core.run import Run
from outthink.select.confidence import consensus, stops_at, text_confidence, threshold
from outthink.select.vote import weighted
from outthink.strategies._common import check, voting, without_logprobs
from outthink.strategies._rounds import begun, goes_on, onward
from outthink.strategies.deepconf import confidences


@strategy("deepconf_online", needs=("LOGPROBS", "PREFIX"))
@dataclass(frozen=True)
class DeepConfOnline:
    """Traces that fall below the warm-up's confidence are stopped; sampling ends at consensus."""

    n: int = 64
    warmup: int = 16
    keep: float = 0.9
    tau: float = 0.95
    window: int = 2048
    chunk: int = 256
    width: int = 8
    top: int = 20
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 100_000), warmup=(1, None), keep=(0.0, 1.0), tau=(0.0, 1.0))
        check(self, window=(1, None), chunk=(1, None), width=(1, None), top=(2, 100))
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Set the bar, then write, stop and vote until sure."""
        limit = self.max_tokens or run.model().max_tokens
        warm = await run.gather(
            min(self.warmup, self.n), propose=voting(run),
            top_logprobs=self.top, temperature=self.temperature, max_tokens=limit,
        )  # fmt: skip
        lowest = text_confidence(confidences(warm), "lowest", self.window)
        without_logprobs(run, lowest)  # no trace is below a bar that is NaN, and all weigh the same
        bar = float(threshold(lowest, self.keep))
        voters, made = warm, len(warm)
        while True:
            answer, sure = await self._vote(run, voters, bar)
            run.propose(answer)
            if sure >= self.tau or made >= self.n or run.limit is not None:
                return answer
            wave = begun(run, min(self.width, self.n - made))
            made += len(wave)
            voters = voters + await self._written(run, wave, limit, bar)

    async def _written(self, run: Run, wave: list[Sample], limit: int, bar: float) -> list[Sample]:
        """Those of the wave that end and never fall below the bar."""
        for _ in range(limit):
            wave = await onward(
                run, wave, limit,
                tokens=self.chunk, top_logprobs=self.top, temperature=self.temperature,
            )  # fmt: skip
            below = stops_at(confidences(wave), self.window, bar) > 0
            wave = [trace for trace, low in zip(wave, below, strict=True) if not low]
            if run.limit is not None or not any(goes_on(trace, limit) for trace in wave):
                break
        return [trace for trace in wave if not goes_on(trace, limit)]

    async def _vote(self, run: Run, voters: list[Sample], bar: float) -> tuple[Answer, float]:
        """The vote of the traces above the bar, by their lowest window, and the leader's share."""
        values = text_confidence(confidences(voters), "lowest", self.window)
        pool = (await run.pool(voters)).with_scores("confidence", values)
        weights = np.where(values >= bar, np.maximum(values, 0.0), 0.0)
        if not (weights[pool.classes >= 0] > 0).any():
            weights = np.ones(len(voters))
        answer = run.answer(pool, weighted(pool.classes, weights), weights)
        return answer, float(consensus(pool.classes, weights))
