"""A generative verifier: a language model is asked whether a solution is right; the score is P(yes).

    score(x, y) = p(yes | x, y, "Is this solution right?")

The solution stands in the chat as the assistant's own message, and the user asks about it (GenRM, Zhang
et al., arXiv 2408.15240).  With ``check`` the model writes a check c before its verdict, and the score
is the mean over n of them (GenRM-CoT):

    score(x, y) = 1/n sum_k p(yes | x, y, c_k),   c_k ~ p(. | x, y)

Where the model gives log-probabilities, a "yes" that it wrote with probability p counts p and a "no"
1 - p: that of the first token of the reply, or, after a thought or "verdict:", of the least probable at
its end.  Without, and where the verdict stands elsewhere, they count 1 and 0.  When the samples of such
checks are better spent on more solutions and a vote: S093, arXiv 2504.01005.

Cost: n samples for each different text; a text that holds nothing is wrong and costs nothing.

The solution is data by its role alone: it may argue for itself, and a server's template may let marks in
it pass for the end of a message.  Where texts may be hostile, ``judge`` puts them between tags that they
cannot forge.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from outthink.core.errors import BadInput, BudgetExhausted
from outthink.core.model import LOGPROBS, PREFIX
from outthink.core.nouns import Floats, Message, Problem, Sample, Score
from outthink.core.registry import part, register
from outthink.core.run import Run
from outthink.models.fly import JUDGING
from outthink.verify.judgement import Asked, insist, plain

#: what every request begins with; ``fly`` judges when it is asked in these words
OPENING = JUDGING
REQUEST = f"{OPENING} Answer with one word: yes or no."
CHECK = (
    f"{OPENING} Check it step by step, then end with one line\nverdict: X\nwhere X is yes or no."
)
#: how a check begins where the model can go on from a beginning
THOUGHT = "<think>\n"

# -- reading a verdict -----------------------------------------------------------------------------

_FIELDS = ("verdict", "correct", "right", "answer")
_GOOD = r"correct|right|true|valid|accurate"
_BAD = r"incorrect|wrong|false|invalid|inaccurate"
_HOW = (
    r"(?:(?:in\s+fact|indeed|clearly|definitely|completely|fully|entirely|quite|all|also|therefore"
    r"|thus|absolutely|totally)\s+)*"
)
#: "no", but not the one of "no errors"
_NO = r"no(?!\s+(?:\w+\s+)?(?:errors?|mistakes?|problems?|issues?|flaws?|doubts?)\b)"
_SAYS = (
    rf"{_HOW}(?:(?P<no>(?:{_NO}|{_BAD}|not\s+{_HOW}(?:{_GOOD}))\b)"
    rf"|(?P<yes>(?:yes|{_GOOD}|not\s+(?:{_BAD}))\b))(?!\s*(?:/|or\b|and\b))"
)
_WHAT = (
    r"(?:(?:the|this|that|your)\s+)?(?:(?:proposed|given|final|whole|above)\s+)?"
    r"(?:solution|answer|result|reasoning|response|everything|it|this|that)\s+(?:is|was|s)\s+"
)
_SO = (
    r"(?:(?:(?:so|thus|hence|therefore|overall|finally|in\s+conclusion|conclusion"
    r"|(?:my\s+|the\s+)?(?:final\s+)?(?:answer|judge?ment)(?:\s+(?:is|was|s))?)\b(?:\s*[,:])?"
    rf"|{re.escape(OPENING)}|is\s+(?:the|this)\s+solution\s+(?:right|correct)\?)\s*)*+"
)
_NAMED = re.compile(
    rf"\bverdict\b(?:\s+(?:is|that))*\s*(?:[:=]|-(?=\s))?\s*\(?\s*(?:{_WHAT})?{_SAYS}",
    re.IGNORECASE,
)
_LONE = re.compile(
    rf"\(?{_SO}(?:{_WHAT})?{_SAYS}(?:[\s.!)]*|\s*[,;:(-]?\s*(?:because|since|as|for)\b.*)",
    re.IGNORECASE,
)
_FIRST = re.compile(
    rf"{_SO}(?:(?P<no>{_NO}|incorrect|wrong)|(?P<yes>yes|correct))\b"
    r"(?=\s*(?:[.,;:!)-]|$|(?:because|since|as|it|this|that|the|step)\b))(?!\s*(?:/|or\b|and\b))",
    re.IGNORECASE,
)


def verdict(text: str, check: bool = False, cut: bool = False) -> bool | None:
    """Does a reply say that the solution is right?  ``None`` when it does not say.

    Read from the last "verdict: yes", ``{"verdict": "no"}`` or ``[[yes]]``; from the first word, or,
    after a ``check``, from that of the last line; from a last line such as "No.", "incorrect" or "the
    solution is not right".  Of a text that was ``cut`` short the last line is not read.
    """
    said = plain(text.replace("\u2019", "'"), _FIELDS)
    said = re.sub(r"\b(is|was|are)n t\b", r"\1 not", said)
    lines = said.splitlines()
    named = list(_NAMED.finditer(said))
    found = named[-1] if named else None
    if found is None and lines and not check:
        found = _FIRST.match(lines[0])
    if found is None and lines and not cut:
        found = _LONE.fullmatch(lines[-1]) or _FIRST.match(lines[-1])
    return None if found is None else found["yes"] is not None


_WORD = rf"(?:(?P<no>no|{_BAD})|(?P<yes>yes|{_GOOD}))"
_AT_START = re.compile(rf" ?{_WORD}\b", re.IGNORECASE)
_AT_END = re.compile(rf"(?:</think(?:ing)?>\n+|[:=] ?){_WORD}(?P<rest>\n?)\Z", re.IGNORECASE)


def _tokens_of(text: str, logprobs: Floats, right: bool, check: bool) -> Floats:
    """The log-probabilities of the tokens that the verdict is among; none where that cannot be told.

    The first one; or, after a thought or a colon, those at the end.  There it may be the last or the one
    before, since some models count the end of the text as a token; the others are the form, which is sure.
    """
    first, last = _AT_START.match(text), _AT_END.search(text)
    # a token is a byte or more: where there are more, those of hidden thoughts come first
    aligned = len(logprobs) <= len(text.encode("utf-8", "replace")) + 1
    if first is not None and (first["yes"] is not None) == right and aligned and not check:
        return logprobs[:1]
    if last is not None and (last["yes"] is not None) == right:
        return logprobs[-2 - len(last["rest"]) :]
    return logprobs[:0]


def chance(text: str, logprobs: Floats | None, right: bool, check: bool = False) -> float:
    """P(yes) by a reply whose verdict was read: from its token's probability, else 1 or 0."""
    p = 1.0
    if logprobs is not None:
        tokens = _tokens_of(text, logprobs, right, check)
        if len(tokens) and np.isfinite(tokens).all():
            p = math.exp(min(float(tokens.min()), 0.0))
    return p if right else 1.0 - p


# -- asking for one --------------------------------------------------------------------------------


@register("verifier", "yes_no", sources=("S093",))
@dataclass(frozen=True)
class YesNo:
    """A language model is asked whether the solution is right; the score is its probability of "yes".

    ``model``: any model; without it, the run's own.  ``check``: it writes a check before its verdict.
    ``n``: the mean of so many replies, which needs a ``temperature`` above 0.  A reply that says neither
    is asked for once more; then it does not count, and a text without any has no score.  Where the
    budget does not last for all, the run ends with what it had proposed before.
    """

    model: Any = part("model", None)
    check: bool = False
    n: int = 1
    temperature: float = 0.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.n <= 1000:
            raise BadInput(f"yes_no: n={self.n} must be from 1 to 1000")
        if not 0 <= self.temperature <= 5:
            raise BadInput(f"yes_no: temperature={self.temperature:g} must be from 0 to 5")
        if self.n > 1 and self.temperature == 0:
            raise BadInput(
                f"yes_no: n={self.n} replies at temperature 0 are all the same: give a temperature"
            )
        if self.max_tokens is not None and self.max_tokens < 1:
            raise BadInput(f"yes_no: max_tokens={self.max_tokens} must be at least 1")

    async def __call__(self, problem: Problem, samples: Sequence[Sample], run: Run) -> list[Score]:
        """Ask about each text; equal texts once."""
        texts = [t for t in dict.fromkeys(s.shown for s in samples) if t.strip()]
        chats = [(*problem.messages, {"role": "assistant", "content": text}) for text in texts]
        value = dict(zip(texts, await self._ask(run, chats), strict=True)) if texts else {}
        return [Score(value.get(s.shown, 0.0)) for s in samples]

    async def _ask(self, run: Run, chats: Sequence[tuple[Message, ...]]) -> list[float]:
        """P(yes) of each chat: the mean over its replies, not a number where none says."""
        request = CHECK if self.check else REQUEST
        asked = [(*chat, {"role": "user", "content": request}) for chat in chats]
        prompts = [prompt for prompt in asked for _ in range(self.n)]

        async def again(silent: Sequence[int]) -> Asked[float]:
            brief = f"{request}\n\nBe brief, and do end with yes or no."
            last: Message = {"role": "user", "content": brief}
            return await self._replies(run, [(*chats[i // self.n], last) for i in silent], False)

        found = await self._replies(run, prompts, self.check)
        replies = await insist(run, "yes_no", "replies", found, again)
        means = []
        for i in range(0, len(replies), self.n):
            said = [p for p in replies[i : i + self.n] if p is not None]
            means.append(math.fsum(said) / len(said) if said else math.nan)
        return means

    async def _replies(
        self, run: Run, prompts: Sequence[tuple[Message, ...]], think: bool
    ) -> Asked[float]:
        """For each prompt: did a reply come, and what P(yes) does it give?

        Raises ``BudgetExhausted`` when the budget does not last: scores of some would be compared with
        no score of others.
        """
        role = "main" if self.model is None else self.model
        live = run.model(role)
        params: dict[str, Any] = {"temperature": self.temperature, "tools": (), "role": "judge"}
        if self.max_tokens is not None:
            params["max_tokens"] = self.max_tokens
        if LOGPROBS in live.capabilities:
            params["logprobs"] = True
        if think and PREFIX in live.capabilities:
            # replies to one prompt grow from one beginning
            begun: dict[int, Sample] = {}
            for prompt in prompts:
                if id(prompt) not in begun:
                    begun[id(prompt)] = replace(run.root(prompt), delta=THOUGHT)
            starts = [begun[id(prompt)] for prompt in prompts]
            grown = await run.extend(starts, stop=(), model=role, **params)
            replies = [r if r.finished else None for r in grown]
        else:
            replies = await run.batch(prompts, model=role, **params)
        if run.limit is not None and any(reply is None for reply in replies):
            raise BudgetExhausted(run.limit)
        return [(r is not None, None if r is None else self._read(r)) for r in replies]

    def _read(self, reply: Sample) -> float | None:
        right = verdict(reply.delta, self.check, reply.finish == "length")
        if right is None:
            return None
        return chance(reply.delta, reply.logprobs, right, self.check)
