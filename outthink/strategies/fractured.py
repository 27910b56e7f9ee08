"""Fractured sampling: answers are drawn from several depths of each thought, not from its end alone.

    n thoughts;  each is cut after h / H of its length, h = 1 ... H;  m answers are drawn at each cut

All n H m answers enter the vote, or a ``verifier`` chooses.  A thought is paid for once, and an answer is
short: depths and answers cost little beside another thought.

With ``every``, a thought is written so many tokens at a time, up to H times, answers are drawn after each
part, and it is ended as soon as two depths in a row come to the same answer: what was agreed on is not
thought about further.

Source: S059 (Liao et al. 2025, arXiv 2505.12992) and its code, where n = 16, H = 16, m = 4; the last depth
is the whole thought.  Ours: cuts are even in characters, not in tokens; the rule that ends a thought (the
paper saves tokens by agreement between depths, its code has no such rule); a text that ends without the
mark that ends a thought is one answer, at its last depth.

Cost: n thoughts, n H m answers; with ``every`` a round of calls for each depth.  Needs PREFIX, and thinking
that is in the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from outthink.core.model import Thinking
from outthink.core.nouns import Answer, Problem, Sample
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.select.vote import majority
from outthink.strategies._common import answer_of, check, thinking_of, voting
from outthink.strategies._rounds import begun
from outthink.strategies._thinking import close, ends_thought


@strategy("fractured", sources=("S059",), needs=("PREFIX",))
@dataclass(frozen=True)
class Fractured:
    """A vote of ``answers`` answers at each of ``depths`` depths of n thoughts."""

    n: int = 4
    depths: int = 4
    answers: int = 1
    every: int | None = None
    verifier: Any = part("verifier", None)
    temperature: float = 1.0
    tokens: int | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 10_000), depths=(1, 1000), answers=(1, 1000), every=(1, None))
        check(self, temperature=(0.0, 5.0), tokens=(1, None), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Think, cut, answer at each cut, choose among all answers."""
        marks = thinking_of(run)
        if self.every is not None:
            return await answer_of(run, await self._in_parts(run, marks, self.every), self.verifier)
        thoughts = await self._think(run, marks, begun(run, self.n), self.tokens)
        cuts = list[Sample]()
        for s in thoughts:
            long = len(s.delta) - len(marks.close) * ends_thought(s, marks)
            at = sorted({h * long // self.depths for h in range(1, self.depths)})
            cuts += [close(run, s, marks, keep) for keep in at]
        vote = voting(run)
        run.propose(await vote(thoughts))
        # the whole thoughts first: a budget that gives out costs the shallow answers
        made = [s for group in await self._answer(run, marks, thoughts) for s in group]
        run.propose(await vote(made or thoughts))
        if run.limit is None:
            made += [s for group in await self._answer(run, marks, cuts, made) for s in group]
        return await answer_of(run, made or thoughts, self.verifier)

    async def _think(
        self, run: Run, marks: Thinking, thoughts: list[Sample], tokens: int | None
    ) -> list[Sample]:
        """Each thought to its end, or ``tokens`` further."""
        return await run.extend(
            thoughts,
            stop=(marks.close,),
            tokens=tokens or run.model().max_tokens,
            temperature=self.temperature,
        )

    async def _answer(
        self, run: Run, marks: Thinking, thoughts: list[Sample], made: Sequence[Sample] = ()
    ) -> list[list[Sample]]:
        """``answers`` answers to each thought, which is ended first; a text that ended is its own."""
        counts = [1 if s.finish == "stop" else self.answers for s in thoughts]
        asked = list[Sample]()
        for s, count in zip(thoughts, counts, strict=True):
            ready = s.finish == "stop" or ends_thought(s, marks)
            asked += [s if ready else close(run, s, marks)] * count

        found = await run.extend(
            asked,
            stop=(),
            propose=voting(run, made),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        each = iter(found)
        groups = [[next(each) for _ in range(count)] for count in counts]
        return [[s for s in group if s.finished] for group in groups]

    async def _in_parts(self, run: Run, marks: Thinking, every: int) -> list[Sample]:
        """Thoughts a part at a time, each until it ends or two depths agree; all answers."""
        thoughts, going = begun(run, self.n), list(range(self.n))
        made, last = list[Sample](), [list[Sample]() for _ in going]
        for _ in range(self.depths):
            longer = await self._think(run, marks, [thoughts[i] for i in going], every)
            on = []
            answers = await self._answer(run, marks, longer, made)
            for i, s, fresh in zip(going, longer, answers, strict=True):
                thoughts[i] = s
                made += fresh
                ended = s.finished or ends_thought(s, marks)
                if not ended and not await self._agree(run, last[i], fresh):
                    on.append(i)
                last[i] = fresh
            run.propose(await voting(run)(made or thoughts))
            going = on
            if not going or run.limit is not None:
                break
        return made or thoughts

    async def _agree(self, run: Run, before: list[Sample], now: list[Sample]) -> bool:
        """Do most answers of two depths come to the same?"""
        if not before or not now:
            return False
        classes = (await run.pool([*before, *now])).classes
        old, new = classes[: len(before)], classes[len(before) :]
        won = int(new[majority(new)])
        return won >= 0 and won == old[majority(old)]
