"""Ranked voting: each sample names several answers, the likeliest first, and the rankings are counted.

    borda   an answer at place r of m gets m + 1 - r points      mrr   it gets 1 / r
    irv     the answer with the fewest first places falls, and its rankings pass to their next

A sample that is wrong may have the right answer second; a vote of first choices throws that away.

Source: Wang, Wang and Huang 2025 (arXiv 2505.10772), 8 samples at temperature 0.7.  There examples show
how to rank, all options of a multiple choice or a few answers to an open question.  Ours: it is asked for
in words, in a system message, up to ``places`` answers; a text without a ranking is a ranking of the one
answer read from it; answers are grouped by equivalence; for ties see ``select.ranked``.  The text shown is
the one that names the winner earliest; where its own reading is another, a line with the winner is added.

Cost: n samples, each longer by its ranking.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from outthink.core.nouns import Answer, Pool, Problem, Sample
from outthink.core.registry import strategy
from outthink.core.run import Run
from outthink.select.ranked import rank_vote
from outthink.strategies._common import check
from outthink.strategies._prompts import instructed
from outthink.verify.extract import spoken

REQUEST = (
    "Reason first. Then end with up to {} possible final answers, each different, the likeliest first, "
    "in this form:\nRanking:\n1. (answer)\n2. (answer)"
)
_HEAD = re.compile(r"^[\s*#>_]*(?:the\s+)?(?:final\s+)?ranking\b[^:\n]*:[ \t*_]*(.*)$", re.I | re.M)
_ITEM = re.compile(r"^\s*(?:[-*\u2022]\s*)?\**\(?\d{1,2}[.):]\)?\**\s*(\S.*)$")


def ranking(text: str) -> list[str]:
    """The answers after the last "Ranking:", in their order; empty without one.

    Numbered, one to a line, or on the same line with ">" between them.
    """
    heads = list(_HEAD.finditer(spoken(text)))
    if not heads:
        return []
    same = heads[-1][1].strip()
    if same:
        items = same.rstrip(".").split(">")
    else:
        items = []
        for line in spoken(text)[heads[-1].end() :].splitlines():
            found = _ITEM.match(line)
            if found:
                items.append(found[1])
            elif line.strip() and items:
                break
    return [item for item in (i.strip().strip("*`").strip() for i in items) if item]


@strategy("ranked_vote")
@dataclass(frozen=True)
class RankedVote:
    """The answer that wins a ranked vote of n samples, by Borda, instant runoff or reciprocal ranks."""

    n: int = 8
    rule: Literal["borda", "irv", "mrr"] = "borda"
    places: int = 3
    temperature: float = 0.7
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 10_000), places=(1, 50), temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Ask for rankings, read them, count."""
        reader = run.world.reader

        def answers(sample: Sample) -> list[str]:
            items = ranking(sample.text)[: self.places]
            if not items:
                one = run.world.read(sample)
                return [] if one is None else [one]
            return [reader.extract(f"answer: {item}") or item for item in items]

        async def choose(samples: list[Sample]) -> Answer:
            named = [answers(s) for s in samples]
            flat = [answer for some in named for answer in some]
            if not flat:
                return run.answer(await run.pool(samples), 0)
            classes = (await reader.group(flat)).tolist()
            names = dict(zip(reversed(classes), reversed(flat), strict=True))
            rankings = np.full((len(named), self.places), -1)
            for row, some in zip(rankings, named, strict=True):
                row[: len(some)], classes = classes[: len(some)], classes[len(some) :]
            strength, won = rank_vote(rankings, len(names), self.rule)
            shares = {names[c]: s for c, s in enumerate((strength / strength.sum()).tolist())}
            # the sample that names the winner earliest stands for it
            holds = rankings == won
            at = np.where(holds.any(axis=1), holds.argmax(axis=1), self.places)
            firsts = tuple(some[0] if some else None for some in named)
            pool = Pool(tuple(samples), firsts, rankings[:, 0])
            stands, answer = samples[int(at.argmin())], names[int(won)]
            read = run.world.read(stands)
            same = read is not None and len(set((await reader.group([read, answer])).tolist())) == 1
            return replace(
                run.answer(pool, int(at.argmin())),
                answer=answer,
                text=stands.text if same else f"{stands.text.rstrip()}\nanswer: {answer}",
                confidence=shares[names[int(won)]],
                distribution=dict(sorted(shares.items(), key=lambda item: -item[1])),
            )

        return await choose(
            await run.gather(
                self.n,
                messages=instructed(problem.messages, REQUEST.format(self.places)),
                propose=choose,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
            )
        )
