"""Self-consistency: draw n samples and give the answer that most of them reach.

    answer = argmax_a  sum_i w_i [ans(y_i) = a],   y_1 ... y_n ~ p(. | x)

with w_i = 1 (Wang et al., arXiv 2203.11171), or the score of a verifier (weighted vote).  Answers are
grouped by equivalence, not as strings; a text without an answer is a class of its own that cannot win
while another exists.  ``ties`` says which of equally heavy answers wins: the one with more samples
(``count``; then the first), the ``first`` to appear, the one with the best single ``score``, or a
``random`` one.

With a ``stop`` the vote ends when its rule says so: ``beta`` or, over all answers, ``dirichlet`` (adaptive
consistency, Aggarwal et al., arXiv 2305.11860), ``window`` (early-stopping self-consistency, Li et al.,
arXiv 2401.10480), ``certain`` (when nothing that is left could change the majority), ``share``.  Without
``width``, as many samples are drawn side by side as the rule cannot do without, so none is wasted; with
it, so many are under way at once, and what is under way when the rule ends the vote is cancelled at the
server.  Either way samples count in the order in which they were asked for: a quick answer has no more
votes than a slow one.

Cost: n samples at most (and as many scores with ``weights``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from outthink.core.errors import BadInput
from outthink.core.nouns import Answer, Problem
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.strategies._common import answer_of, check, draw_until, voting


@strategy("self_consistency")
@dataclass(frozen=True)
class SelfConsistency:
    """The answer that most of n samples reach, or that weighs most; ``stop`` may end the vote early."""

    n: int = 16
    weights: Any = part("verifier", None)
    ties: Literal["count", "first", "score", "random"] = "count"
    temperature: float = 1.0
    max_tokens: int | None = None
    stop: Any = part("stop", None)
    width: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 100_000), temperature=(0.0, 5.0), max_tokens=(1, None))
        check(self, width=(1, 100_000))
        if self.width is not None and self.stop is None:
            raise BadInput(
                f"self_consistency: width={self.width} says how many samples a vote that may stop has "
                "under way: give it a stop, such as stop=beta"
            )

    @property
    def order_matters(self) -> bool:
        """What is cancelled had written more or less: usage depends on the order, the answer does not."""
        return self.width is not None

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Sample, group, vote."""
        plain = voting(run, ties=self.ties)
        params: dict[str, Any] = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        if self.stop is None:
            samples = await run.gather(self.n, propose=plain, **params)
        else:
            samples = await draw_until(
                run, self.n, self.stop, width=self.width, propose=plain, **params
            )
        return await answer_of(run, samples, self.weights, vote=True, ties=self.ties)
