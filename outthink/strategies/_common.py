"""What many strategies share: range checks, votes, and votes that may stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import numpy as np

from outthink.core.errors import BadInput, BudgetExhausted
from outthink.core.model import Thinking
from outthink.core.nouns import Answer, Floats, Node, Pool, Sample
from outthink.core.run import Proposal, Run
from outthink.select import best as best_rules
from outthink.select import vote as vote_rules
from outthink.select.best import best
from outthink.select.vote import weighted
from outthink.stop.base import Stop, ending, fewest


def check(part: Any, **ranges: tuple[float | None, float | None]) -> None:
    """Raise ``BadInput`` for a parameter outside its closed range; ``None`` values pass."""
    if getattr(part, "step", None) == "":
        raise BadInput(f"{part.registered[1]}: step is empty: write what ends a step, as '\\n'")
    for name, (low, high) in ranges.items():
        value = getattr(part, name)
        if value is None:
            continue
        if not ((low is None or value >= low) and (high is None or value <= high)):
            bounds = f"at least {low:g}" if high is None else f"from {low:g} to {high:g}"
            raise BadInput(f"{part.registered[1]}: {name}={value} must be {bounds}")


def step_of(run: Run, step: str | None) -> str:
    """The string that ends a step: as given, else the model's own, else an empty line."""
    return step if step is not None else str(getattr(run.model(), "step", "\n\n"))


def thinking_of(run: Run, model: Any = "main") -> Thinking:
    """The marks of a model that thinks: its own, else those of most open models."""
    marks: Thinking | None = getattr(run.model(model), "thinking", None)
    return marks or Thinking()


def present(run: Run, drawn: Sequence[Sample | None]) -> list[Sample]:
    """The samples that were written; ``BudgetExhausted`` where there is none."""
    made = [s for s in drawn if s is not None and s.finish != "root"]
    if not made:
        raise BudgetExhausted(run.limit or "calls")
    return made


def traced(
    samples: Sequence[Sample],
    name: Literal["logprobs", "top_logprobs"],
    measure: Callable[[Floats], float],
) -> Floats:
    """A number for each text from the array of its tokens, ``(n,)``; NaN where a text has none."""
    traces = [s.trace(name) for s in samples]
    return np.array([np.nan if t is None else measure(t) for t in traces], dtype=np.float64)


def without_logprobs(run: Run, values: Floats) -> bool:
    """Did no text come with log-probabilities, so that all ``values`` are NaN?  A note says so then."""
    none = bool(np.isnan(values).all())
    if none:
        run.warn("no log-probabilities came back: this is a plain vote")
    return none


def voting(run: Run, before: Sequence[Sample] = (), ties: str | None = None) -> Proposal:
    """The plain vote over ``before`` and the samples that it is given: what most methods propose."""
    earlier = tuple(before)

    async def vote(samples: list[Sample]) -> Answer:
        return decide(run, await run.pool([*earlier, *samples]), ties=ties)

    return vote


async def answer_of(
    run: Run,
    samples: Sequence[Sample],
    verifier: Any,
    vote: bool = False,
    ties: str | None = None,
) -> Answer:
    """The best of the samples by a verifier (or its weighted ``vote``); without one their plain vote.

    A text without an answer may be the best only for a verifier that judges texts and not answers.
    """
    if verifier is None:
        return decide(run, await run.pool(samples), ties=ties)
    scores = [s.value for s in await run.score(samples, verifier)]
    needs_answer = not getattr(verifier, "judges_text", False)
    return decide(run, await run.pool(samples), scores, vote, ties, needs_answer)


def decide(
    run: Run,
    pool: Pool,
    scores: Sequence[float] | None = None,
    vote: bool = False,
    ties: str | None = None,
    needs_answer: bool = True,
) -> Answer:
    """The answer of a pool: its best-scored sample, or a (weighted) ``vote`` over answer classes.

    Without scores it is a plain vote.  The text shown is the best-scored one of the winning class.
    ``ties`` is a rule of ``select.vote`` or ``select.best``; a random one draws from the run's seed.
    Without ``needs_answer`` the best-scored sample wins even if no answer could be read from it.
    """
    rng = run.rng("ties") if ties == "random" else None
    if scores is None:
        rule = cast(vote_rules.Ties, ties or "count")
        return run.answer(pool, weighted(pool.classes, np.ones(len(pool)), rule, rng))
    pool = pool.with_scores("verifier", scores)
    w = pool.scores["verifier"]
    if any(s.finish != "root" for s in pool.samples) and not (w > 0).any():
        what = "passed" if (w == 0).any() else "could be scored"
        run.warn(f"no sample {what}: which one is given means little")
    if vote:
        chosen = weighted(pool.classes, w, cast(vote_rules.Ties, ties or "count"), rng)
    else:
        rule_of_best = cast(best_rules.Ties, ties or "majority")
        classes = pool.classes if needs_answer else None
        if classes is None and rule_of_best == "majority":
            rule_of_best = "first"
        chosen = best(w, classes, rule_of_best, pool.tokens, rng)
    return run.answer(pool, chosen, np.where(np.isfinite(w), w, 0.0))


async def draw_until(
    run: Run,
    n: int,
    stop: Stop,
    *,
    width: int | None = None,
    propose: Proposal,
    **params: Any,
) -> list[Sample]:
    """Up to ``n`` samples, until the rule ends the vote: as many as it saw, in their own order.

    They are counted in the order in which they were asked for, not in which they came back, so a
    quick answer has no more votes than a slow one.  Without ``width``, waves of as many as must be
    drawn in any case (``stop.base.fewest``): nothing is wasted.  With it, so many are under way at
    once, and the moment the rule ends the vote the others are cancelled, charged for what they wrote.
    """
    drawn: list[Sample] = []
    if width is None:
        asked, classes = 0, np.zeros(0, dtype=np.int64)
        while asked < n:
            wave = fewest(stop, classes, n - asked + len(drawn))
            asked += wave

            async def together(fresh: list[Sample], before: Sequence[Sample] = drawn) -> Answer:
                return await propose([*before, *fresh])

            try:
                drawn = [*drawn, *await run.gather(wave, propose=together, **params)]
            except BudgetExhausted:
                if not drawn:
                    raise
                break
            classes = (await run.pool(drawn)).classes
            end = ending(stop, classes, n - asked + len(drawn))
            if end is not None:
                return drawn[:end]
            if run.limit is not None:
                break
        return drawn
    waiting, lost, place = dict[int, Sample](), set[Node](), run.place
    left, before, ended = n, run.limit, False
    async with run.samples(n, width=width, propose=propose, lost=lost, **params) as stream:
        async for sample in stream:
            waiting[sample.node[-1]] = sample
            known = len(drawn)
            while place in waiting or (*run.node, place) in lost:
                if place in waiting:
                    drawn.append(waiting.pop(place))
                else:  # one that failed is not to come any more
                    left -= 1
                place += 1
            if len(drawn) > known:
                end = ending(stop, (await run.pool(drawn)).classes, left)
                if end is not None:
                    drawn, ended = drawn[:end], True
                    break
    if ended:
        # what the budget kept from being made while this was decided was not needed
        run.limit = run.meter.overdrawn or before
        return drawn
    return present(run, [*drawn, *(waiting[at] for at in sorted(waiting))])
