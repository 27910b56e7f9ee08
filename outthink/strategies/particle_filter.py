"""Particle filter: sequential Monte Carlo over solution steps (S036, arXiv 2502.01618).

n particles grow one step at a time.  After each step, with r_i the process reward of particle i,

    w_i = log(r_i / (1 - r_i)),   theta = softmax(w / T),   resample n particles from theta

by systematic resampling; the weight of a step replaces the earlier one.  Unlike a beam it keeps a
doubtful particle with the probability it deserves, so a verifier's error is not final.  The answer is
the finished particle of the greatest weight (``vote="best"``) or the weighted vote.

``ess``: resample only when the effective sample size falls to ess * n (1: at every step, as
published).

Cost: at most n steps a round.  Needs PREFIX and a verifier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from outthink.core.nouns import Answer, Problem
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.search.steps import Particles
from outthink.strategies._common import check, step_of
from outthink.strategies._search import grow


@strategy("particle_filter", sources=("S036",), needs=("PREFIX", "VERIFIER"))
@dataclass(frozen=True)
class ParticleFilter:
    """n partial solutions, resampled after every step in proportion to their promise."""

    n: int = 16
    prm: Any = part("verifier", None)
    softmax: float = 1.0
    ess: float = 1.0
    vote: Literal["best", "weighted"] = "best"
    temperature: float = 1.0
    max_steps: int = 40
    step: str | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 10_000), softmax=(1e-3, 1e3), ess=(0.0, 1.0), max_steps=(1, 10_000))
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Filter until all particles are finished."""
        core = Particles(self.n, run.rng("resample"), self.softmax, self.ess)
        answer = await grow(
            run,
            core,
            self.prm,
            vote=self.vote == "weighted",
            step=step_of(run, self.step),
            max_steps=self.max_steps,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        run.note("effective sample sizes", values=[round(s, 2) for s in core.sizes])
        return answer
