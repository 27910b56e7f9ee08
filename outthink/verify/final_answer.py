"""How sure a model is of its answer: the probability of the answer's tokens after its thoughts.

    score = prod_t p(a_t | question, all that stands before the answer, a_<t)

The text is cut before its answer, and the model is asked for the answer again, without sampling: the
score is the probability of what it says where that is the same answer, and 0 where it is another.  So
thoughts that were cut short and ended by force show how far they had come.  What a text commits itself
to it will say with probability near 1, right or wrong: the score tells doubt from conviction, not truth
from error.

Exact: greedy, the sum of the answer's log-probabilities, no other tokens; a text without an answer counts
as not sure (the paper's code has exp(-5) there, ours is 0).  Ours: the place of the answer is where the
text gives it last, so text of any form will do; the released code asks for it in a box, and counts digits.
A server that gives no log-probabilities leaves no score.  Where tokens are our own upper estimate, what
the model says may go beyond the answer, and the score is lower by that.

Source: Jurayj, Cheng and Van Durme 2025 (S054, arXiv 2502.13962) and its code.
Cost: a call a text, of as many tokens as its answer has.  Needs PREFIX and log-probabilities.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from outthink.core.errors import BudgetExhausted, MissingNeed
from outthink.core.model import LOGPROBS, PREFIX
from outthink.core.nouns import Problem, Sample, Score
from outthink.core.registry import register
from outthink.core.run import Run

#: no letter or digit comes next, nor what makes a number another one: "7" is not in "7.5" or "7/8"
_ENDS = r"(?!\w|[.,/]\d)"


def place_of(text: str, answer: str) -> int | None:
    """Where a text gives an answer last, by itself rather than within a word or number; or ``None``."""
    if not answer or answer not in text:
        return None
    whole = list(re.finditer(rf"(?<![\w./]){re.escape(answer)}{_ENDS}", text))
    return whole[-1].start() if whole else text.rfind(answer)


def before_answer(text: str, answer: str) -> int | None:
    """Where the answer begins that a text gives last, the space before it included; ``None`` if nowhere."""
    at = place_of(text, answer)
    return None if at is None else len(text[:at].rstrip())


def says(text: str, answer: str) -> bool:
    """Does a text begin with the answer, and not with another that only begins as it does?"""
    ends = _ENDS if answer[-1:].isalnum() else ""
    return re.match(rf"\s*{re.escape(answer)}{ends}", text) is not None


def cut(run: Run, sample: Sample, at: int) -> Sample:
    """The sample with its first ``at`` characters: to be extended."""
    ends = len(sample.text)
    for part in reversed(sample.lineage()):
        begins = ends - len(part.delta)
        if at >= begins:
            return run.edit(part, keep=at - begins)
        ends = begins
    return run.edit(sample, keep=0)


@register("verifier", "final_answer", sources=("S054",), needs=(PREFIX, LOGPROBS))
@dataclass(frozen=True)
class FinalAnswer:
    """The run's own model is asked again for a text's answer: the probability that it gives it."""

    async def __call__(self, problem: Problem, samples: Sequence[Sample], run: Run) -> list[Score]:
        """Ask once for each different beginning."""
        live = run.model()
        for need in (PREFIX, LOGPROBS):
            if need not in live.capabilities:
                raise MissingNeed(
                    f"final_answer needs a model with {need}, which {live.name} lacks"
                )
        answers = (await run.pool(samples)).answers
        scores = [0.0] * len(samples)
        asked: dict[tuple[str, int], Sample] = {}
        places: dict[int, tuple[str, int]] = {}
        for i, (sample, answer) in enumerate(zip(samples, answers, strict=True)):
            if answer is None:
                continue
            at = before_answer(sample.text, answer)
            if at is None:
                scores[i] = math.nan
                continue
            text = sample.text
            upto = (place_of(text, answer) or 0) + len(answer)
            tokens = live.count_tokens(sample.messages, text[:upto])
            tokens -= live.count_tokens(sample.messages, text[:at])
            places[i] = (text[:at], max(1, tokens))
            if places[i] not in asked:
                asked[places[i]] = cut(run, sample, at)
        said = await self._ask(run, asked)
        for i, place in places.items():
            given = said[place].logprob
            sure = math.nan if given is None else math.exp(min(given, 0.0))
            scores[i] = sure if says(said[place].delta, answers[i] or "") else 0.0
        return [Score(value) for value in scores]

    async def _ask(
        self, run: Run, asked: dict[tuple[str, int], Sample]
    ) -> dict[tuple[str, int], Sample]:
        """What the model says next, of at most so many tokens.

        Raises ``BudgetExhausted`` when the budget does not last: some would be compared with none.
        """
        out: dict[tuple[str, int], Sample] = {}
        for tokens in sorted({tokens for _, tokens in asked}):
            mine = {place: begun for place, begun in asked.items() if place[1] == tokens}
            given = await run.extend(
                list(mine.values()),
                temperature=0.0,
                max_tokens=tokens,
                logprobs=True,
                tools=(),
                role="judge",
            )
            for place, begun, sample in zip(mine, mine.values(), given, strict=True):
                if sample is begun:
                    raise BudgetExhausted(run.limit or "calls")
                out[place] = sample
        return out
