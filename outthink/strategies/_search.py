"""What step-wise searches share: the shell around an ask / tell core."""

from __future__ import annotations

from typing import Any

from outthink.core.nouns import Answer, Sample
from outthink.core.run import Run
from outthink.search.steps import Tree
from outthink.strategies._common import decide


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
