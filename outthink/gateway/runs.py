"""A strategy's run behind a request: its problem, its parameters, its choices, its trace."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from outthink.api import reader_of
from outthink.core.budget import Budget, Meter
from outthink.core.errors import OutthinkError
from outthink.core.nouns import Answer, Sample, digest
from outthink.core.run import Run
from outthink.gateway.chat import Asked, choice_of, own_params_of, params_of, problem_of
from outthink.gateway.config import KeyConfig
from outthink.gateway.errors import Fault, exhausted
from outthink.gateway.reader import ChatReader
from outthink.gateway.resolve import Resolved, heated, is_hot
from outthink.strategies.greedy import Greedy
from outthink.strategies.self_consistency import SelfConsistency
from outthink.verify.extract import reader_for

#: characters of all traces that are kept in memory
CHARACTERS = 1 << 25
#: strategies that write marks of thinking into the text themselves
THINKERS = ("budget_forcing", "no_thinking")

Observer = Callable[[str, Mapping[str, Any]], None]


def seed_of(asked: Asked, key: KeyConfig | None) -> int:
    """The run's seed: drawn, or of the client's own; each sample's seed is derived from it.

    Two keys that send one seed share nothing that is remembered.
    """
    if asked.seed is None:
        return secrets.randbits(62)
    return int(digest(f"{key.id if key else ''}/{asked.seed}")[:16], 16) >> 2


def strategy_of(asked: Asked, resolved: Resolved) -> tuple[Any, list[str]]:
    """The strategy with the client's temperature where it says none itself, and notes."""
    strategy = resolved.strategy if resolved.strategy is not None else Greedy()
    heat = asked.temperature
    if heat == 0 and is_hot(strategy):
        name = resolved.strategy_name
        return strategy, [
            f"temperature 0 would make every sample of {name} the same: it draws at its own"
        ]
    return (strategy if heat is None else heated(strategy, min(heat, 5.0))), []


def schema_of(asked: Asked) -> tuple[Mapping[str, Any] | None, bool]:
    """The JSON schema that an answer must keep to, and whether it must be JSON at all."""
    form = asked.body.get("response_format")
    if not isinstance(form, Mapping):
        return None, False
    if form.get("type") == "json_schema":
        held = form.get("json_schema")
        schema = held.get("schema") if isinstance(held, Mapping) else None
        return (schema if isinstance(schema, Mapping) else {}), True
    return None, form.get("type") == "json_object"


@dataclass(frozen=True)
class Outcome:
    """The answer of a run and the choices that go out."""

    answer: Answer
    choices: Sequence[Mapping[str, Any]]


async def solve(
    resolved: Resolved,
    asked: Asked,
    key: KeyConfig | None,
    run: str,
    *,
    account: Meter | None = None,
    observer: Observer | None = None,
    on_start: Callable[[Run], None] | None = None,
    record: bool = False,
) -> Outcome:
    """Run the strategy; raises ``Fault`` where the budget ended it before an answer."""
    session = resolved.served.session
    problem = problem_of(asked, {"key": key.id} if key else {})
    strategy, notes = strategy_of(asked, resolved)
    schema, json_mode = schema_of(asked)
    if json_mode and (name := resolved.strategy_name) in THINKERS:
        raise Fault(
            400,
            f"{name} writes thoughts of its own into the text, which would break the JSON that "
            "response_format asks for: leave it out, or use another strategy",
            code="unsupported",
            param="response_format",
        )
    listed = asked.body.get("tools") or asked.body.get("functions") or ()
    tools = tuple(t for t in listed if isinstance(t, Mapping))
    reader = ChatReader(
        reader_for(problem, reader_of(strategy)),
        schema=schema,
        json_mode=json_mode,
        stops=asked.stops,
        tools=tools,
        choice=asked.body.get("tool_choice") or asked.body.get("function_call"),
        parallel=asked.body.get("parallel_tool_calls") is not False,
    )
    seed = seed_of(asked, key)
    if resolved.served.server is None:
        params, told = own_params_of(asked)
        notes += told
    else:
        params = params_of(asked)

    async def once(strategy: Any, seed: int, name: str, budget: Budget) -> Answer:
        return await session.solve(
            problem,
            strategy,
            budget,
            seed=seed,
            run=name,
            observer=observer,
            on_start=on_start,
            params=params,
            reader=reader,
            account=account,
            record=record and session.store is not None,
        )

    answer = await once(strategy, seed, run, resolved.budget)
    if not answer.candidates and not answer.text and answer.stopped != "finished":
        raise exhausted(answer.stopped)
    if answer.answer is None and (answer.sample or not answer.text) and (schema or json_mode):
        notes.append("no sample kept to the response format")
    picked = await picks(answer, reader, asked.n)
    if reader.must_call and not (picked[0][1] and picked[0][1].extra.get("tool_calls")):
        notes.append("no sample called a tool, which tool_choice requires")
    if len(picked) < asked.n:
        # what the strategy drew is not enough for so many choices: plain samples make up for it
        missing = asked.n - len(picked)
        more = SelfConsistency(n=missing)
        if asked.temperature:
            more = replace(more, temperature=min(asked.temperature, 5.0))
        try:
            rest = await once(more, seed ^ 1, f"{run}-more", left(resolved.budget, answer))
        except (Fault, OutthinkError):
            rest = None  # those that are there were paid for
        if rest is not None:
            picked += [(s.text, s) for s in rest.candidates if s.finished]
            answer = replace(answer, usage=answer.usage + rest.usage)
        if len(picked) < asked.n:
            notes.append(f"{len(picked)} of {asked.n} choices: the further samples failed")
    answer = replace(answer, notes=(*answer.notes, *notes))
    choices = [
        choice_of(i, text, sample, asked.stops)
        for i, (text, sample) in enumerate(picked[: asked.n])
    ]
    return Outcome(answer, choices)


def left(budget: Budget, answer: Answer) -> Budget:
    """What a run has left of its budget; raises ``Fault`` where that is nothing."""
    rest: dict[str, Any] = {}
    for name, limit in budget.limits().items():
        rest[name] = limit - answer.usage.amount(name)
        if rest[name] <= 0:
            raise exhausted(name)
    return Budget(**rest)


async def picks(answer: Answer, reader: ChatReader, n: int) -> list[tuple[str, Sample | None]]:
    """The texts of ``n`` choices, best first: the answer, then one sample of each other answer.

    Then further samples in the order in which they were drawn.
    """
    chosen = answer.sample or next(
        (s for s in answer.candidates if s.text == answer.text and s.finished), None
    )
    out: list[tuple[str, Sample | None]] = [(answer.text, chosen)]
    if n == 1:
        return out
    whole = [s for s in answer.candidates if s.finished and s is not chosen]
    found = [reader.read(s) for s in whole]
    mine = reader.read(chosen) if chosen is not None else answer.answer
    classes = (await reader.group([mine, *found])).tolist()
    seen, first, rest = {classes[0]}, list[tuple[float, Sample]](), list[Sample]()
    for sample, name, number in zip(whole, found, classes[1:], strict=True):
        if number < 0 or number in seen:
            rest.append(sample)
            continue
        seen.add(number)
        first.append((answer.distribution.get(str(name), 0.0), sample))
    first.sort(key=lambda pair: -pair[0])
    return (out + [(s.text, s) for s in [*(s for _, s in first), *rest]])[:n]


# -- what is remembered of a run -----------------------------------------------------------------


def trace_of(answer: Answer) -> dict[str, Any]:
    """What the key that made a run may see of it: every sample, with its scores by verifier."""
    samples = [
        {
            "node": list(s.node),
            "text": s.text,
            "finish": s.finish,
            "tokens": s.total_tokens,
            "logprob": s.total_logprob,
            "role": s.role,
            **({"tool_calls": s.extra["tool_calls"]} if s.extra.get("tool_calls") else {}),
            "scores": {name: row[i] for name, row in answer.scores.items() if i < len(row)},
            "chosen": s is answer.sample,
        }
        for i, s in enumerate(answer.candidates)
    ]
    return {"distribution": dict(answer.distribution), "samples": samples}


class Shelf:
    """The latest runs of this process, each with the key that made it; bounded in number and time."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most, self.seconds, self.size = most, seconds, 0
        self._runs: OrderedDict[str, tuple[float, str | None, dict[str, Any], int]] = OrderedDict()

    def put(self, run: str, key: str | None, facts: dict[str, Any]) -> None:
        """Keep what is known of a run."""
        size = sum(len(sample["text"]) for sample in facts.get("samples", ()))
        self._runs[run] = (time.monotonic(), key, facts, size)
        self.size += size
        while self._runs and (len(self._runs) > self.most or self.size > CHARACTERS):
            self.size -= self._runs.popitem(last=False)[1][3]

    def get(self, run: str, key: str | None) -> dict[str, Any] | None:
        """What is known of a run, for the key that made it and nobody else."""
        found = self._runs.get(run)
        if found is None or found[1] != key or time.monotonic() - found[0] > self.seconds:
            return None
        return found[2]


def no_such_run(run: str) -> Fault:
    """The answer for a run that is not there, and for one of another key."""
    return Fault(
        404,
        f"no run {run[:40]!r} of this key: runs are kept for a while, and only with trace=true where "
        "there are several workers",
        code="run_not_found",
    )
