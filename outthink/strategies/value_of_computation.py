"""Rational metareasoning at test time: of n chains of thought, the one that is worth its tokens.

    R(z) = log p(y | x, z) - log p(y | x) - gamma log(1 + length of z)

Every chain reads every candidate answer: p(y | x, z) is the probability of answer y after chain z.  The
answer is the one that the chains together make likeliest; of the chains that reach it, and of no chain at
all (R = 0), the one of greatest R is given.  With ``target=own`` each chain is judged by its own answer
instead, and the chain of greatest R decides.

Source: S139 (De Sabbata et al. 2024, arXiv 2410.05563), which trains a model on such chains by the right
answer; R, its floor of 1e-6 and gamma = 0.1 are those of its code.  Ours: training is left out, and so y is
what the model itself makes likeliest.  A chain is what stands before the line of the answer, without the
mark that ends a thought; without a chain the answer's line follows the question (and that mark) at once.

Cost: n samples; each chain is read once more, with the candidate answers.  Needs LOGITS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from outthink.core.nouns import Answer, Floats, Pool, Problem
from outthink.core.registry import strategy
from outthink.core.run import Run
from outthink.models.inside import likelihoods
from outthink.select.voc import likeliest, reward
from outthink.strategies._common import check, decide, thinking_of, voting
from outthink.verify.final_answer import place_of


class _Chain(NamedTuple):
    """A sample in parts: its place in the pool, its class, the chain, the answer's line and the answer."""

    at: int
    kind: int
    thought: str
    cue: str
    answer: str


@strategy("value_of_computation", sources=("S139",), needs=("LOGITS",))
@dataclass(frozen=True)
class ValueOfComputation:
    """Of n chains, or none, the one that raises the likeliest answer most for its length."""

    n: int = 8
    gamma: float = 0.1
    target: Literal["likeliest", "own"] = "likeliest"
    temperature: float = 1.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, n=(1, 10_000), gamma=(0.0, None), temperature=(0.0, 5.0), max_tokens=(1, None))

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Draw chains, read each with every answer, choose."""
        samples = await run.gather(
            self.n, propose=voting(run), temperature=self.temperature, max_tokens=self.max_tokens
        )
        pool = await run.pool(samples)
        run.propose(decide(run, pool))
        chains = [
            _Chain(i, int(k), *found)
            for i, (s, a, k) in enumerate(zip(samples, pool.answers, pool.classes, strict=True))
            if (found := _parts(s.text, a))
        ]
        if not chains:
            return decide(run, pool)
        return await self._choose(run, pool, chains, thinking_of(run).close)

    async def _choose(self, run: Run, pool: Pool, chains: list[_Chain], mark: str) -> Answer:
        """The chain of greatest R, from what each makes of each answer."""
        answers = {c.kind: c.answer for c in reversed(chains)}
        kinds = list(dict.fromkeys(c.kind for c in chains))
        # no chain at all: the answer's line after the question, or after a thought that is ended
        none = (mark if mark in chains[0].thought else "") + chains[0].cue
        after, before, lengths = await self._read(run, pool, chains, none, mark, answers, kinds)
        own = np.array([kinds.index(c.kind) for c in chains])
        star = np.full(len(own), likeliest(after))
        goal = own if self.target == "own" else star
        worth = reward(after[np.arange(len(own)), goal], before[goal], lengths, self.gamma)
        able = np.where(own == goal, worth, -np.inf)
        column = np.full(len(pool), np.nan)
        column[[c.at for c in chains]] = worth
        chosen = chains[int(able.argmax())].at
        if able.max() < 0:
            best = int(before.argmax()) if self.target == "own" else int(star[0])
            text = none + answers[kinds[best]]
            made = run.make(text, tokens=0, messages=pool.samples[0].messages)
            pool, column = await run.pool([*pool.samples, made]), np.append(column, 0.0)
            chosen = len(pool) - 1
        weights = _weights(pool, kinds, np.exp(after).mean(axis=0))
        return run.answer(pool.with_scores("reward", column), chosen, weights)

    async def _read(
        self,
        run: Run,
        pool: Pool,
        chains: list[_Chain],
        none: str,
        mark: str,
        answers: Mapping[int, str],
        kinds: Sequence[int],
    ) -> tuple[Floats, Floats, Floats]:
        """Log-probabilities of the answers after each chain and without one, and the chains' tokens.

        ``(chains, answers)``, ``(answers,)`` and ``(chains,)``.
        """
        heads = [none, *(c.thought + c.cue for c in chains)]
        model, messages = run.model(), pool.samples[0].messages

        def work(inside: Any, wrote: Callable[[int], None]) -> tuple[Floats, Floats]:
            ids, texts = inside.prompt(messages), [inside.encode(answers[k]) for k in kinds]
            room = inside.context - max(map(len, texts))

            def states() -> Iterator[Any]:
                for head in heads:
                    wrote(0)
                    yield inside.read((*ids, *inside.encode(head))[:room])

            found = likelihoods(inside, states(), texts)
            lengths = [len(inside.encode(c.thought.replace(mark, ""))) for c in chains]
            return found, np.array(lengths, dtype=np.float64)

        count = model.count_tokens
        told = sum(count(messages, answers[k]) - count(messages) for k in kinds)
        reads = sum(count(messages, head) + told for head in heads)
        found, lengths = await run.inside(work, reads=reads)
        return found[1:], found[0], lengths


def _weights(pool: Pool, kinds: list[int], shares: Floats) -> Floats:
    """Each text's part of its answer's share, ``(n,)``."""
    counts = {k: int((pool.classes == k).sum()) for k in kinds}
    told = dict(zip(kinds, shares, strict=True))
    return np.array([told[c] / counts[c] if c in told else 0.0 for c in pool.classes.tolist()])


def _parts(text: str, answer: str | None) -> tuple[str, str, str] | None:
    """The chain, the beginning of the answer's line, and the answer with what ends it; ``None`` without."""
    at = place_of(text, answer or "")
    if answer is None or at is None:
        return None
    head = text[:at].rstrip(" ")
    cut = head.rfind("\n") + 1
    return head[:cut], head[cut:], text[len(head) : at + len(answer) + 1]
