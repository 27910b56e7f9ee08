"""CarBoN, calibrated best-of-n: fit the model's logits to its best samples, then draw the rest from that.

1. explore: N1 = ``explore`` n samples at temperature T0, scored
2. calibrate: D+ = the k best scored; delta and T minimise
       - mean over the tokens of D+ of log softmax((z + delta B) / T)[token] + penalty |delta|^2
3. exploit: N2 = n - N1 samples with the logits (z + delta B) / T
4. choose over all N1 + N2, by score or by the vote of scores

``shift=hidden``: B is the output head, delta a vector that is added to the last hidden state;
``shift=tokens``: delta has an entry for each token of D+.  ``fit`` takes the shift or the temperature
alone (the paper's ablations).  ``guide`` is a verifier that chooses D+, where another judges at the end.

Exact to the paper as its abstract and reviews tell it: the two phases, joint fit of an input's own delta
(before the output head) and T by the likelihood of the top k with an L2 penalty on delta, choice over all.
Ours: halves, k = max(4, N1 / 4), penalty, T held from 0.3 to 1.5, Fisher scoring for the fit; the logits
of D+ are computed by reading its texts once more.

Source: Tang, Chen and Cavallaro 2025 (S086, arXiv 2510.15674).
Cost: n samples, n scores, k texts read, a fit.  Needs LOGITS and a verifier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.models.inside import log_softmax
from outthink.select.logit_shift import Fits, Shift, fit_shift, token_basis
from outthink.strategies._common import answer_of, check, voting

#: where T is held
BOUNDS = (0.3, 1.5)
#: a token that had no such chance anywhere in D+ stays as it is: requests stay short
LIKELY = 1e-5


@strategy("carbon", sources=("S086",), needs=("LOGITS", "VERIFIER"))
@dataclass(frozen=True)
class Carbon:
    """Best of n, of which a part is drawn from the model as calibrated to the best of the others."""

    n: int = 16
    verifier: Any = part("verifier", None)
    explore: float = 0.5
    k: int | None = None
    guide: Any = part("verifier", None)
    shift: Literal["hidden", "tokens"] = "hidden"
    fit: Fits = "both"
    penalty: float = 1e-3
    vote: Literal["best", "weighted"] = "best"
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 100_000), explore=(0.0, 1.0), k=(1, None), penalty=(0.0, None))
        check(self, temperature=BOUNDS, max_tokens=(1, None))
        if self.guide is not None and self.verifier is None:
            raise BadInput("carbon: a guide chooses what is fitted; verifier=... judges at the end")

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Explore, calibrate, exploit, choose."""
        first = max(1, round(self.explore * self.n))
        samples = await run.gather(
            first, propose=voting(run), temperature=self.temperature, max_tokens=self.max_tokens
        )
        answer = await self._choose(run, samples)
        run.propose(answer)
        if first == self.n or run.limit is not None:
            return answer
        shift = await self._calibrate(problem, run, samples)
        run.note("calibrated", temperature=shift.temperature, losses=shift.losses)
        # rounded, so that a store finds the same request again on another machine
        bias = {i: round(float(b), 3) for i, b in enumerate(shift.bias) if abs(b) >= 5e-4}
        samples += await run.gather(
            self.n - first,
            logit_bias=bias,
            temperature=round(shift.temperature, 3),
            max_tokens=self.max_tokens,
        )
        return await self._choose(run, samples)

    async def _choose(self, run: Run, samples: list[Sample]) -> Answer:
        return await answer_of(run, samples, self.verifier, vote=self.vote == "weighted")

    async def _calibrate(self, problem: Problem, run: Run, samples: list[Sample]) -> Shift:
        """The shift that makes the best of these samples likelier."""
        scores = await run.score(samples, self.guide or self.verifier)
        values = np.nan_to_num([s.value for s in scores], nan=-np.inf)
        k = self.k or max(4, len(samples) // 4)
        best = [samples[i] for i in np.argsort(-values, kind="stable")[:k]]
        model = run.model()

        def work(inside: Any, wrote: Callable[[int], None]) -> Shift:
            head = inside.prompt(problem.messages)
            rows, tokens = list[Any](), list[int]()
            for sample in best:
                ends = inside.ends if sample.finish == "stop" and len(inside.ends) == 1 else ()
                ids = (*inside.encode(sample.text), *ends)[: inside.context - len(head)]
                rows.append(inside.logits((*head, *ids))[len(head) - 1 : -1])
                tokens += ids
                wrote(0)
            if not tokens:
                return Shift(np.zeros(0), np.zeros(0), self.temperature, ())
            basis = token_basis(tokens, inside.vocabulary)
            if self.shift == "hidden":
                basis = inside.lens(np.eye(inside.width)) - inside.lens(np.zeros(inside.width))
            logits = np.concatenate(rows)
            fitted = fit_shift(
                logits, tokens, basis, penalty=self.penalty,
                start=self.temperature, bounds=BOUNDS, fit=self.fit,
            )  # fmt: skip
            likely = log_softmax(logits).max(axis=0) >= np.log(LIKELY)
            return replace(fitted, bias=np.where(likely, fitted.bias, 0.0))

        reads = sum(model.count_tokens(problem.messages, s.text) for s in best)
        return await run.inside(work, reads=reads)
