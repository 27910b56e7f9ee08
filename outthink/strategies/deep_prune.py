"""DeepPrune: write openings, guess which will end alike, and finish some of the largest group (S159).

n traces are written for ``opening`` tokens.  A judge says of pairs how probable it is that they end in
the same answer, and greedy clustering (``select.cluster``: threshold ``tau``, at most ``groups`` of
them, ``compare`` members asked) groups them; at most ``finish`` traces of the largest group are written
to their end, and vote.  Where no two are grouped, ``finish`` of all are.

The procedure is that of arXiv 2510.08483 as its abstract and others tell it; n, ``finish``, where single
groups are drawn and whose votes count are ours.  Its judge is a language model of 4B parameters; here
it is any utility of two texts in [0, 1]: ``same_end``, which reads what two openings share, or an
overlap such as ``ngram_cosine`` with a ``tau`` to match.  A utility costs no token.

Cost: n openings and ``finish`` traces from there, in two calls each.  Needs PREFIX.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from outthink.core.nouns import Answer, Problem
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.select.cluster import greedy_clusters, to_finish
from outthink.select.pairs import SameEnd
from outthink.select.utilities import utility_matrix
from outthink.strategies._common import check, present
from outthink.strategies._rounds import begun, onward, vote_so_far


@strategy("deep_prune", sources=("S159",), needs=("PREFIX",))
@dataclass(frozen=True)
class DeepPrune:
    """n openings, grouped by whether they will end alike; some of the largest group are finished."""

    n: int = 64
    opening: int = 500
    judge: Any = part("utility", SameEnd())
    tau: float = 0.5
    groups: int = 32
    compare: int = 10
    finish: int = 10
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 10_000), opening=(1, None), tau=(0.0, 1.0), groups=(1, None))
        check(self, compare=(1, None), finish=(1, None), temperature=(0.0, 5.0))
        check(self, max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Open, group, finish, vote."""
        limit = self.max_tokens or run.model().max_tokens
        drawn = await onward(
            run, begun(run, self.n), limit, tokens=self.opening, temperature=self.temperature
        )
        openings = present(run, drawn)
        run.propose(await vote_so_far(run, openings))
        texts = [trace.shown for trace in openings]
        judged = utility_matrix(self.judge, texts, texts)
        rng = run.rng("prune")
        labels, asked = greedy_clusters(
            (judged + judged.T) / 2, self.tau, self.groups, self.compare, rng
        )
        chosen = np.flatnonzero(to_finish(labels, self.finish, rng))
        run.note("groups", sizes=np.bincount(labels).tolist(), judged=int(asked))
        traces = await onward(
            run, [openings[i] for i in chosen], limit, temperature=self.temperature
        )
        return await vote_so_far(run, traces)
