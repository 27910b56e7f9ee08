"""What several strategies share: range checks, votes, and the shell around a search core."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import numpy as np

from outthink.core.errors import BadInput, BudgetExhausted
from outthink.core.model import Thinking
from outthink.core.nouns import Answer, Node, Pool, Sample
from outthink.core.run import Run
from outthink.search.steps import Tree
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


def decide(
    run: Run,
    pool: Pool,
    scores: Sequence[float] | None,
    vote: bool,
    ties: str | None = None,
    needs_answer: bool = True,
) -> Answer:
    """The answer of a pool: by (weighted) vote over answer classes, or its best-scored sample.

    The text shown is the best-scored one of the winning class.  ``ties`` is a rule of
    ``select.vote`` or ``select.best``; a random one draws from the run's seed.  Without
    ``needs_answer`` the best-scored sample wins even if no answer could be read from it.
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
    propose: Callable[[list[Sample]], Awaitable[Answer]],
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
    drawn += [waiting[at] for at in sorted(waiting)]
    if not drawn:
        raise BudgetExhausted(run.limit or "calls")
    return drawn


async def grow(
    run: Run,
    core: Tree,
    verifier: Any,
    *,
    vote: bool,
    step: str,
    max_steps: int,
    temperature: float,
    max_tokens: int | None,
    lookahead: int = 0,
) -> Answer:
    """Drive an ask / tell core: extend what it asks for, score the children, tell it.

    Ends when the core is done, after ``max_steps`` rounds, or when the budget gives out; proposes the
    answer of what is there after every round.
    """
    nodes: list[Sample] = [run.root()]
    answer: Answer | None = None
    for _ in range(max_steps):
        asked = core.ask()
        if not asked:
            break
        old = [nodes[i] for i in asked]
        options: dict[str, Any] = {"stop": (step,), "max_tokens": max_tokens}
        new = await run.extend(old, temperature=temperature, **options)
        grown = [(i, c) for i, o, c in zip(asked, old, new, strict=True) if c is not o]
        seen = [c for _, c in grown]
        for _ in range(lookahead):
            seen = await run.extend(seen, temperature=0.0, **options)
        scores = await run.score(seen, verifier)
        for (i, child), score in zip(grown, scores, strict=True):
            core.tell(i, score.value, child.finished)
            nodes.append(child)
        answer = await outcome(run, core, nodes, vote)
        run.propose(answer)
        if run.limit is not None:
            break
    if answer is None:
        answer = await outcome(run, core, nodes, vote)
    return answer


async def outcome(run: Run, core: Tree, nodes: list[Sample], vote: bool) -> Answer:
    """The answer of a search so far: from its finished nodes, else from its frontier."""
    found = core.leaves() or [i for i in dict.fromkeys(core.frontier) if i]
    found = found or list(range(1, len(nodes))) or [0]
    pool = await run.pool([nodes[i] for i in found])
    return decide(run, pool, [core.value[i] for i in found], vote)
