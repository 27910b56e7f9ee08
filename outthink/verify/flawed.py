"""A verifier made worse on purpose, to see what imperfect verifiers do to a search.

The score s of a better verifier is turned, by chance, where the verifier errs,

    s' = 1 - s   with probability ``false_positives`` where s < 1/2, ``false_negatives`` where s > 1/2

and then moved by a bias for length and by noise, in logits:

    z = logit(0.01 + 0.98 s') + length_bias (characters - usual_length) / 100 + noise e
    score = 1 / (1 + exp(-z))

with e standard normal, or Student-t with ``tail`` degrees of freedom.  What it shows:

- false positives are a ceiling: the first of n samples that passes is right with the probability
  p / (p + f (1 - p)) at most, whatever n (S077, arXiv 2411.17501; p: share of right samples);
- with normal noise best-of-n still rises with n, with heavy tails it rises and then falls back to p:
  the best score is then the largest error (reward over-optimisation, Gao et al., arXiv 2210.10760;
  heavy tails: arXiv 2407.14503; S004);
- a search over steps loses what its verifier errs on once (S018, arXiv 2502.00271).

The error is systematic, as that of a real verifier is: a function of (seed, question, text), so asking
again does not help.  Texts that differ in a letter err independently of each other.

Cost: that of the better verifier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from outthink.core.errors import BadInput
from outthink.core.nouns import Problem, Sample, Score, canonical
from outthink.core.registry import part, register
from outthink.core.run import Run
from outthink.models.simulated import draw, normal

#: how far from 0 and 1 a score is held before its logit is taken
EDGE = 0.01

#: parameter: its least and greatest value
_RANGES = {
    "false_positives": (0.0, 1.0),
    "false_negatives": (0.0, 1.0),
    "length_bias": (-100.0, 100.0),
    "usual_length": (0, 1_000_000),
    "noise": (0.0, 100.0),
}
_TAILS = (0.5, 1000.0)


def student(tail: float, *key: Any) -> float:
    """A Student-t number with ``tail`` degrees of freedom that is a function of ``key``.

    Bailey's polar method (Mathematics of Computation 62, 1994).
    """
    u, v = 1.0 - draw("radius", *key), draw("angle", *key)
    radius = math.sqrt(tail * math.expm1(-2.0 / tail * math.log(u)))
    return radius * math.cos(2.0 * math.pi * v)


@register("verifier", "flawed", sources=("S004", "S018", "S077"))
@dataclass(frozen=True)
class Flawed:
    """Another verifier with errors put in: a function of the seed, the question and the text.

    ``false_positives``, ``false_negatives``: the share of the texts scored below (above) 0.5 whose score
    s becomes 1 - s.  ``length_bias``: logits for every 100 characters beyond ``usual_length``.
    ``noise``: standard deviation of normal noise, in logits.  ``tail``: the noise is Student-t with this
    many degrees of freedom instead, of scale ``noise`` (1 where that is 0): the fewer, the heavier its
    tails.  With all of them 0 the scores are the other verifier's own.
    """

    verifier: Any = part("verifier")
    false_positives: float = 0.0
    false_negatives: float = 0.0
    length_bias: float = 0.0
    usual_length: int = 200
    noise: float = 0.0
    tail: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise BadInput(f"flawed: {name}={value:g} must be from {low:g} to {high:g}")
        low, high = _TAILS
        if self.tail != 0 and not low <= self.tail <= high:
            raise BadInput(f"flawed: tail={self.tail:g} must be from {low:g} to {high:g}, or 0")

    @property
    def judges_text(self) -> bool:
        """Does the other verifier judge texts, whether an answer can be read from them or not?"""
        return bool(getattr(self.verifier, "judges_text", False))

    async def __call__(self, problem: Problem, samples: Sequence[Sample], run: Run) -> list[Score]:
        """Have the other verifier score the samples, and get some of it wrong."""
        scores = await run.score(samples, self.verifier)
        question = canonical([dict(m) for m in problem.messages])
        return [
            self._spoiled(score, question, sample.shown)
            for score, sample in zip(scores, samples, strict=True)
        ]

    def _spoiled(self, score: Score, question: str, text: str) -> Score:
        """A score with its error; that of the steps goes with it, and none is given for them."""
        value = self.value(score.value, question, text)
        return score if value == score.value or math.isnan(value) else Score(value)

    def value(self, score: float, question: str, text: str) -> float:
        """What becomes of the other verifier's score of a text; one that is not a number stays so."""
        moved = self.noise or self.tail or self.length_bias
        if math.isnan(score) or not (moved or self.false_positives or self.false_negatives):
            return score
        if not 0 <= score <= 1:
            raise BadInput(f"flawed: verifier gave {score:g}, and scores from 0 to 1 are needed")
        key = (self.seed, question, text)
        if score < 0.5:
            turned = draw("false positive", *key) < self.false_positives
        else:
            turned = draw("false negative", *key) < self.false_negatives
        score = 1.0 - score if turned else score
        if not moved:
            return score
        held = EDGE + (1.0 - 2.0 * EDGE) * score
        z = math.log(held / (1.0 - held))
        z += self.length_bias * (len(text) - self.usual_length) / 100.0
        if self.tail:
            z += (self.noise or 1.0) * student(self.tail, "tail", *key)
        elif self.noise:
            z += self.noise * normal("noise", *key)
        return 1.0 / (1.0 + math.exp(-z)) if z > -700.0 else 0.0
