"""A remembered run once more, from the store alone: nothing is paid.

The strategy runs as it did, with the recorded spec, budget and seed; the model in its place serves
what is stored and refuses everything else.  Admission repeats too, because prices and token counts
are those of the run, so answer and usage come out the same: that a strategy's every choice depends
on nothing but its samples and the seed is thereby checked, not believed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

import anyio

from outthink.core import errors, registry
from outthink.core.budget import Budget, Meter, Price, Reservation, Usage
from outthink.core.errors import BadInput, BudgetExhausted, ModelError, OutthinkError
from outthink.core.model import Judged, Reply, Request, Thinking
from outthink.core.nouns import Answer, Message, Node, Problem, canonical, digest, dotted
from outthink.core.run import Reader, Record, Run, World, _unwrapped, execute, lasting, sample_name

if TYPE_CHECKING:
    from outthink.store.db import Store, StoredRun

#: ends that a clock or a person brought about: at which sample, only the store knows
_OUTSIDE = ("seconds", "interrupted", "cancelled")
#: seconds without a stored sample after which such a run has reached its end again
_QUIET = 0.3
#: seconds that a sample waits at most for those that had come before it
_LATE = 5.0


class Replay(NamedTuple):
    """The answer, whether it is the recorded one, and where not, what differs."""

    answer: Answer
    same: bool
    differences: tuple[str, ...] = ()


class StoreOnly:
    """A model that has only the store: everything as the recorded one, but no live call.

    ``open_counter`` opens the real model to count prompt tokens; it is used for prompts other than
    the run's first, whose count is recorded.  Where it cannot be opened, the count is estimated in
    proportion to the text.  ``failed`` has the calls that gave nothing, by node or by digest of what was
    to be scored: they fail again, at the same cost.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        first: Sequence[Message],
        open_counter: Callable[[], Any],
        failed: Mapping[Any, Mapping[str, Any]],
    ) -> None:
        self.name = str(facts["name"])
        self.capabilities = frozenset(facts.get("capabilities", ()))
        self.price = Price(**facts.get("price", {}))
        self.native_n = bool(facts.get("native_n", False))
        self.max_tokens = int(facts.get("max_tokens", 1024))
        self.per_call: int | None = facts.get("per_call")
        if "step" in facts:
            self.step = str(facts["step"])
        marks = facts.get("thinking")
        self.thinking = None if marks is None else Thinking(**marks)
        #: how a call that is not stored ends: it fails as one may have in the recorded run,
        #: ends the run, or waits until the run is ended from outside
        self.refusal: Literal["fail", "end", "wait"] = "fail"
        #: calls that wait
        self.waiting = 0
        self._first, self._open = canonical([dict(m) for m in first]), open_counter
        self._known = facts.get("prompt_tokens")
        self._counter: Any = None
        self._failed = failed
        #: what was asked for that is not stored, for the note
        self.lacks = ""

    def _live(self) -> Any:
        """The real model, opened once; ``False`` where it cannot be."""
        if self._counter is None:
            try:
                self._counter = self._open()
            except (OutthinkError, OSError, ImportError):
                self._counter = False
        return self._counter

    @property
    def inside(self) -> Any:
        """The real model's inside: what is computed there is not stored, and is computed again."""
        inside = getattr(self._live(), "inside", None)
        if inside is None:
            raise AttributeError("inside")
        return inside

    def count_tokens(self, messages: Sequence[Message], prefix: str = "") -> int:
        """Prompt tokens as the recorded run counted them."""
        text = canonical([dict(m) for m in messages])
        if not prefix and self._known is not None and text == self._first:
            return int(self._known)
        if live := self._live():
            return int(live.count_tokens(messages, prefix))
        scale = self._known / len(self._first.encode()) if self._known else 1.0
        size = len(text.encode("utf-8", "replace")) + len(prefix.encode("utf-8", "replace"))
        return math.ceil(size * scale)

    async def generate(self, request: Request, ticket: Reservation) -> Reply:
        """Refuse: what is asked here was not stored."""
        asked = f"max_tokens={request.max_tokens}, temperature={request.temperature:g}"
        places = ", ".join(map(dotted, request.nodes[:4]))
        self.lacks = f"sample {places} of {self.name} with {asked}"
        return await self._refuse(ticket, list(request.nodes))

    async def reward(
        self, items: Sequence[Judged], ticket: Reservation
    ) -> tuple[list[tuple[float, ...]], Usage]:
        """Refuse: what is asked here was not stored."""
        self.lacks = f"scores of {self.name} for {len(items)} texts"
        return await self._refuse(ticket, [digest(item.key()) for item in items])

    async def _refuse(self, ticket: Reservation, asked: Sequence[Any]) -> NoReturn:
        if (known := self._known_failure(asked)) is not None:
            await self._fail_again(ticket, known)
        if self.refusal == "wait":
            ticket.partial = Usage()
            await self._wait()
        if self.refusal == "end":
            ticket.partial = Usage()
            raise BudgetExhausted("store")
        raise ModelError("the store does not hold this call, and a replay makes no live ones")

    def recorded_cost(self, nodes: Sequence[Node]) -> Usage | None:
        """What a call for these nodes cost that gave nothing; ``None`` where it gave something."""
        known = self._known_failure(nodes)
        if known is None:
            return None
        cost = Usage.from_json(known["cost"]) + Usage.from_json(known["lost"])
        calls = cost.calls + known["attempts"]
        return replace(cost, calls=calls, stored_calls=calls)

    def _known_failure(self, asked: Sequence[Any]) -> Mapping[str, Any] | None:
        """The event of the call that gave nothing of these; a what-if has none."""
        if self.refusal == "end":
            return None
        return next((self._failed[what] for what in asked if what in self._failed), None)

    async def _wait(self) -> None:
        """Until the run, or the strategy, ends this call."""
        self.waiting += 1
        try:
            await anyio.sleep_forever()
        finally:
            self.waiting -= 1

    async def _fail_again(self, ticket: Reservation, known: Mapping[str, Any]) -> NoReturn:
        """Fail, or be cancelled, as in the recorded run, at what it cost."""
        lost, cost = Usage.from_json(known["lost"]), Usage.from_json(known["cost"])
        for i in range(known["attempts"]):
            ticket.another_attempt(stored=True, lost=None if i else lost)
        ticket.partial, ticket.whole = replace(cost, stored_calls=cost.calls), True
        if known["kind"] == "cancelled":
            await self._wait()
        if known["limit"]:
            raise BudgetExhausted(known["limit"])
        kind = getattr(errors, str(known["type"]), None)
        if not (isinstance(kind, type) and issubclass(kind, ModelError)):
            kind = ModelError
        error = kind(str(known["error"]))
        if not lasting(error):
            await anyio.sleep(_QUIET)  # it ends what is beside it, which was there before it
        raise error

    async def aclose(self) -> None:
        """Close the model that counted, if one was opened."""
        if self._counter:
            await self._counter.aclose()


class _ReadOnly:
    """The store without its pen, and without what it was given since: of calls that failed in the run."""

    def __init__(self, store: Store, races: Sequence[Sequence[str]]) -> None:
        self.store, self.reads = store, 0
        #: of the samples that came one by one: the race, and the place in it
        self.turns = {name: (i, j) for i, race in enumerate(races) for j, name in enumerate(race)}
        self.came = [0] * len(races)
        #: names of samples and digests of requests that the run did not get
        self.lacking: set[str] = set()

    async def get(self, model: str, request: str, samples: Sequence[str]) -> dict[str, Record]:
        self.reads += 1
        if digest(request) in self.lacking:
            return {}
        wanted = [name for name in samples if name not in self.lacking]
        found = await self.store.get(model, request, wanted)
        for name in wanted:
            if name in self.turns:
                race, place = self.turns[name]
                with anyio.move_on_after(_LATE):
                    while self.came[race] < place:
                        await anyio.sleep(0.001)
                self.came[race] += 1
        return found

    async def put(self, model: str, request: str, records: Mapping[str, Record]) -> None:
        raise AssertionError("a replay writes nothing")

    async def put_all(self, model: str, batch: Mapping[str, Mapping[str, Record]]) -> None:
        raise AssertionError("a replay writes nothing")

    async def begin(self, run: str, facts: Mapping[str, Any]) -> None:
        raise AssertionError("a replay writes nothing")

    async def finish(self, run: str, answer: Mapping[str, Any], trace: Mapping[str, Any]) -> None:
        raise AssertionError("a replay writes nothing")


async def replay(
    store: Store,
    run_id: str,
    *,
    strategy: Any = None,
    budget: Budget | str | None = None,
    model: Any = None,
    reader: Reader | str | None = None,
) -> Replay:
    """Run a finished run again against the store only, and compare.

    ``strategy``, ``budget`` or ``reader`` put another in the recorded one's place: what would it have
    made of the same samples?  It ends (``stopped == "store"``) where it asks for one that is not
    there.  ``model`` and ``reader`` are needed where the run was given objects, not specs: the model
    to count prompt tokens, the reader to read answers.  Answer, text, distribution, why it ended and
    usage are compared, but for the seconds and for how much came from the store; and not the usage
    of a run that a clock or a person ended with calls under way.
    """
    run = await store.get_run(run_id)
    if run.answer is None or run.stopped == "failed":
        how = "failed" if run.answer is not None else "is unfinished"
        raise BadInput(
            f"the run {run.id} {how}: there is no answer to compare with; solve the problem again "
            "with this store, and what it holds is not paid for twice"
        )
    from outthink.api import parts_of

    given = run.problem
    problem = Problem(
        tuple(given["messages"]),
        reference=given.get("reference"),
        choices=tuple(given.get("choices", ())),
        tests=tuple(given.get("tests", ())),
        id=given.get("id", ""),
        tools=tuple(run.facts.get("tools", ())),
        meta=given.get("meta", {}),
    )
    built = registry.build(strategy or run.strategy, "strategy")
    if budget is None:
        limits: dict[str, Any] = dict(run.budget)
        budget = Budget(**limits)
    elif isinstance(budget, str):
        budget = Budget.parse(budget)
    failed: dict[Any, Mapping[str, Any]] = {}
    races: list[list[Node]] = []
    for event in await store.events_of(run):
        if event["kind"] == "arrived":
            races.append([tuple(node) for node in event["nodes"]])
        if event["kind"] in ("failure", "cancelled") and "cost" in event:
            failed |= {tuple(node): event for node in event["nodes"]}
            failed |= dict.fromkeys(event["texts"], event)
    models = _models(run, problem, list(parts_of(built, "model")), model, failed)
    if reader is None or isinstance(reader, str):
        from outthink.verify.extract import reader_for

        found: Reader = reader_for(problem, reader or run.facts.get("reader"))
    else:
        found = reader
    same_spec = registry.spec_of(built) == run.strategy and budget.limits() == run.budget
    races = races if same_spec else []
    view = _ReadOnly(store, [[sample_name(run.seed, node) for node in race] for race in races])
    meter = Meter(budget)
    if "probe" in run.facts:
        # what the server could do was found out within the budget
        probe = Usage.from_json(run.facts["probe"])
        meter.charge(replace(probe, stored_calls=probe.calls))
    there = {node for race in races for node in race}

    async def settle(nodes: Sequence[Node], done: Mapping[Node, Any]) -> None:
        with anyio.move_on_after(_LATE):
            while any(node in there and node not in done for node in nodes):
                await anyio.sleep(0.001)

    params = run.facts.get("params", {})
    world = World(models, found, view, settle=settle, params=params)
    live = Run(problem.public(), world, meter, run.seed)
    if same_spec:
        had = {sample.node for sample in await store.samples_of(run)}
        for what in failed:
            if isinstance(what, str):
                view.lacking.add(what)
            elif what not in had:
                view.lacking.add(sample_name(run.seed, what))
        if run.stopped != "seconds":  # what the replay takes is not what the run took
            meter.budget = replace(budget, seconds=None)
    for stand_in in models.values():
        if not same_spec:
            stand_in.refusal = "end"
        elif run.stopped in _OUTSIDE:
            stand_in.refusal = "wait"
    try:
        answer = await _until_quiet(built, live, models, view, run.stopped or "")
    finally:
        with anyio.CancelScope(shield=True):
            for stand_in in models.values():
                await stand_in.aclose()
    notes = answer.notes
    if answer.stopped == "store":
        lacks = next((m.lacks for m in models.values() if m.lacks), "what it asks for next")
        notes = (*notes, f"the store does not hold {lacks}")
    answer = replace(
        answer, run=run.id, strategy=registry.spec_of(built), model=run.model, notes=notes
    )
    differences = tuple(compare(run.answer, answer.to_json()))
    if same_spec and run.stopped in _OUTSIDE:
        # what was under way at the end was charged, and is not in the store
        differences = tuple(d for d in differences if not d.startswith("usage."))
    return Replay(answer, not differences, differences)


def _models(
    run: StoredRun,
    problem: Problem,
    parts: Sequence[Any],
    model: Any,
    failed: Mapping[Any, Mapping[str, Any]],
) -> dict[Any, StoreOnly]:
    recorded = run.facts.get("model_facts", {})
    if "main" not in recorded:  # begun by a program of its own, through Memory
        raise BadInput(f"the run {run.id} was recorded without its model's facts: solve it again")

    def opener(spec: Any, main: bool) -> Callable[[], Any]:
        def open_it() -> Any:
            given = model if main and model is not None else spec
            if hasattr(given, "count_tokens"):
                return _Lent(given)
            return registry.build(given, "model").open()

        return open_it

    models: dict[Any, StoreOnly] = {
        "main": StoreOnly(recorded["main"], problem.messages, opener(run.model, True), failed)
    }
    for spec in parts:
        name = registry.spec_of(spec)
        if name not in recorded:
            raise BadInput(
                f"the run {run.id} did not use the model {name}: the store has none of it"
            )
        models[spec] = StoreOnly(recorded[name], problem.messages, opener(spec, False), failed)
    return models


class _Lent:
    """A model that the caller closes."""

    def __init__(self, model: Any) -> None:
        self.count_tokens = model.count_tokens
        self.inside = getattr(model, "inside", None)

    async def aclose(self) -> None:
        """Leave it open."""


async def _until_quiet(
    strategy: Any, live: Run, models: Mapping[Any, StoreOnly], view: _ReadOnly, reason: str
) -> Answer:
    """Run; if only calls that wait are left, end there, as the recorded run did, for ``reason``."""

    async def watch() -> None:
        while True:
            before = view.reads
            await anyio.sleep(_QUIET)
            if view.reads == before and any(m.waiting for m in models.values()):
                live.cancel(reason)

    with _unwrapped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            answer = await execute(strategy, live)
            tasks.cancel_scope.cancel()
    return answer


def compare(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two answers, a line each; seconds and the store's share may."""
    told = []
    for name in ("answer", "text", "confidence", "distribution", "stopped"):
        if not _close(recorded.get(name), now.get(name)):
            told.append(f"{name}: recorded {recorded.get(name)!r}, now {now.get(name)!r}")
    before, after = recorded.get("usage") or {}, now["usage"]
    for name in after:
        if name not in ("seconds", "stored_calls") and not _close(before.get(name), after[name]):
            told.append(f"usage.{name}: recorded {before.get(name)!r}, now {after[name]!r}")
    return told


def _close(a: Any, b: Any) -> bool:
    """Equal, up to the rounding of sums taken in another order."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_close(a[k], b[k]) for k in a)
    if isinstance(a, float) or isinstance(b, float):
        if a is None or b is None:
            return a is b
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-15) or (a != a and b != b)
    return bool(a == b)
