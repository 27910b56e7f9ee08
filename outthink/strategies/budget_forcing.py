"""Budget forcing: make a model think for at most, or for at least, so long.

    too long    a thought of ``tokens`` tokens is cut, the mark that ends it is put there, the answer comes
    too short   the model's own end of thinking is taken away ``waits`` times, and "Wait" put there instead

The thought may not exceed ``tokens`` with the waits either.  What follows the end of the thought is the
answer; of several chains (``n``) the answer that most reach.  ``cue`` is put after an end that was forced,
such as "Final Answer:".  A text that ends without a mark that ends a thought is taken as a thought
altogether: it is made to go on ``waits`` times, and a note says so.

Source: s1 (Muennighoff et al. 2025, arXiv 2501.19393) and its code.  Ours: the word that makes it go on is
the model's own where it has one; words that are put in are no tokens of the thought; what is put in begins
on a new line where nothing parts it from the text.  A learned token in the place of the word (arXiv
2506.11274) is another method, and is not here.

Cost: 2 + ``waits`` calls a chain, each reading what stands before it; for ``n`` > 1 a call more for each
chain that waits where others do not.  Needs PREFIX, and thinking that is in the text.
"""

from __future__ import annotations

from dataclasses import dataclass

from outthink.core.nouns import Answer, Problem
from outthink.core.registry import strategy
from outthink.core.run import Run
from outthink.strategies._common import check, thinking_of, voting
from outthink.strategies._rounds import begun, goes_on, onward
from outthink.strategies._thinking import ends_thought, put


@strategy("budget_forcing", needs=("PREFIX",))
@dataclass(frozen=True)
class BudgetForcing:
    """Thinking that is cut after ``tokens`` tokens, and made to go on ``waits`` times before that."""

    tokens: int | None = None
    waits: int = 1
    n: int = 1
    wait: str | None = None
    cue: str = ""
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, tokens=(1, None), waits=(0, 1000), n=(1, 10_000))
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Think, wait, think on; then answer."""
        marks = thinking_of(run)
        wait = marks.wait if self.wait is None else self.wait
        limit = self.tokens or run.model().max_tokens
        vote = voting(run)
        thoughts, waited = begun(run, self.n), [0] * self.n
        open_ = list(range(self.n))
        while open_ and run.limit is None:
            longer = await onward(
                run,
                [thoughts[i] for i in open_],
                limit,
                stop=(marks.close,),
                temperature=self.temperature,
            )
            on = []
            for i, s in zip(open_, longer, strict=True):
                mark = ends_thought(s, marks)
                short = s.total_tokens < limit and waited[i] < self.waits
                if short and (mark or s.finish == "stop"):
                    s = put(run, s, len(s.delta) - len(marks.close) if mark else None, wait)
                    waited[i] += 1
                    mark = False
                thoughts[i] = s
                if not mark and goes_on(s, limit):
                    on.append(i)
            open_ = on
            run.propose(await vote(thoughts))
        if any(s.finish == "stop" for s in thoughts):
            run.warn(
                f"a text ended without {marks.close.strip()!r}: all of it was taken as a thought"
            )
        if run.limit is not None:
            return await vote(thoughts)
        answered = [
            s
            if s.finish == "stop" or ends_thought(s, marks)
            else put(run, s, None, marks.close + self.cue)
            for s in thoughts
        ]
        return await vote(
            await run.extend(
                answered,
                stop=(),
                propose=vote,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
            )
        )
