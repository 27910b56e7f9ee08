"""``solve`` and ``asolve``: the library's front door.

A ``Session`` opens models once and runs many problems on them; ``solve`` is a session of one.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import os
import secrets
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import anyio

from outthink.core import registry
from outthink.core.budget import Budget, Meter, Usage
from outthink.core.errors import BadInput, MissingNeed, StoreError
from outthink.core.model import CAPABILITIES, PREFIX, REWARD, Model
from outthink.core.nouns import Answer, Message, Problem
from outthink.core.run import Memory, Reader, Run, World, execute

Observer = Callable[[str, Mapping[str, Any]], None]

DEFAULT_STRATEGY = "self_consistency(n=16, stop=beta)"


def parts_of(part: Any, kind: str) -> Iterator[Any]:
    """Every registered part of a kind inside a strategy or verifier, itself included."""
    if getattr(part, "registered", ("",))[0] == kind:
        yield part
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        for field in dataclasses.fields(part):
            yield from parts_of(getattr(part, field.name), kind)
    elif isinstance(part, (list, tuple)):
        for item in part:
            yield from parts_of(item, kind)


def needs_of(part: Any) -> frozenset[str]:
    """What a strategy needs of its model, its own parameters considered."""
    needs: frozenset[str] = frozenset()
    # parts_of goes to every depth itself: to ask each part for its own needs again would double at each
    for inner in (part, *parts_of(part, "strategy")):
        kind, name = inner.registered
        needs |= registry.entries(kind)[name].needs | frozenset(getattr(inner, "extra_needs", ()))
    for verifier in parts_of(part, "verifier"):
        # one that has no model of its own asks the run's
        if getattr(verifier, "model", None) is None:
            needs |= registry.entries("verifier")[verifier.registered[1]].needs - {REWARD}
    return needs


def check_needs(strategy: Any, model: Model, probed: bool = True) -> None:
    """Raise ``MissingNeed`` when the model lacks what the strategy needs: before any token.

    What a probe finds out (PREFIX) is left out until the model is ``probed``.
    """
    for part in parts_of(strategy, "strategy"):
        own = [f.name for f in dataclasses.fields(part) if f.metadata.get("kind") == "verifier"]
        asks = "VERIFIER" in registry.entries("strategy")[part.registered[1]].needs
        if asks and own and not any(any(parts_of(getattr(part, at), "verifier")) for at in own):
            name, at = part.registered[1], own[0]
            raise MissingNeed(
                f"{name} needs a verifier: write {name}({at}=prm) where fly's reward model knows "
                f"the problems, else another of 'outthink verifiers', such as {name}({at}=judge)"
            )
    for need in sorted(needs_of(strategy) - (frozenset() if probed else {PREFIX})):
        name = strategy.registered[1]
        if need in CAPABILITIES and need not in model.capabilities:
            have = ", ".join(sorted(model.capabilities)) or "none"
            raise MissingNeed(
                f"{name} needs a model with {need}, which {model.name} lacks (it has: {have}); "
                + getattr(model, "hints", {}).get(need, "'outthink models' says what each can do")
            )


@functools.lru_cache(maxsize=1024)
def _reader_of(strategy: Any) -> str | None:
    told = {v.reader for v in parts_of(strategy, "verifier") if hasattr(v, "reader")}
    return told.pop() if len(told) == 1 else None


def reader_of(strategy: Any) -> str | None:
    """The spec of the reader that the strategy's verifiers read answers by, where they agree."""
    with contextlib.suppress(TypeError):  # a value in it cannot be looked up
        return _reader_of(strategy)
    told = {v.reader for v in parts_of(strategy, "verifier") if hasattr(v, "reader")}
    return told.pop() if len(told) == 1 else None


def check_main(model: Model) -> None:
    """Raise ``BadInput`` for a model that writes nothing."""
    if REWARD in model.capabilities:
        name = model.name
        raise BadInput(f"{name} scores texts and writes none: it belongs in a verifier, as in prm")


def check_verifiers(strategy: Any, opened: Mapping[Any, Model]) -> None:
    """Raise ``BadInput`` for a verifier whose model cannot do what the verifier asks of it."""
    for verifier in parts_of(strategy, "verifier"):
        inner = getattr(verifier, "model", None)
        if inner is None or inner not in opened:
            continue
        name, model = verifier.registered[1], opened[inner]
        scores = REWARD in registry.entries("verifier")[name].needs
        if scores and REWARD not in model.capabilities:
            raise MissingNeed(
                f"{name} needs a reward model, and {model.name} is none: write one of "
                "'outthink models', or let this model judge: judge(model=...)"
            )
        if not scores:
            check_main(model)


def check_writers(strategy: Any, opened: Mapping[Any, Model]) -> None:
    """Raise ``BadInput`` for a model of a strategy that is to write texts and cannot."""
    for part in parts_of(strategy, "strategy"):
        for f in dataclasses.fields(part):
            if f.metadata.get("kind") == "model":
                for spec in parts_of(getattr(part, f.name), "model"):
                    check_main(opened[spec])


def check_counted(limits: Budget, models: Sequence[Model]) -> None:
    """Raise ``BadInput`` for a limit that cannot hold, since a model does not count against it."""
    for limit in limits.limits():
        for model in models:
            told = getattr(model, "uncounted", {}).get(limit)
            if told:
                raise BadInput(f"a budget in {limit} cannot hold: {told}")


class Session:
    """Opened models, a store and settings, shared by many runs; an async context manager.

    ``model`` is a spec, a model part, or an opened ``Model`` (which the caller closes).
    ``concurrency`` bounds the calls in flight over all runs.  ``reader`` says how answers are read
    and compared: a spec of ``outthink.verify.extract`` or an object; ``None`` reads what it finds.
    ``opener`` gives the opened model of a model's part in a strategy, in place of opening it here; what
    it gives is not closed here.
    """

    def __init__(
        self,
        model: Any = "fly",
        *,
        store: str | Memory | None = None,
        concurrency: int | None = None,
        reader: Reader | str | None = None,
        observer: Observer | None = None,
        opener: Callable[[Any], Model] | None = None,
    ) -> None:
        whole = isinstance(concurrency, int) and not isinstance(concurrency, bool)
        if concurrency is not None and not (whole and concurrency >= 1):
            raise BadInput(f"concurrency={concurrency!r}: at least one call at a time")
        if isinstance(store, os.PathLike):
            store = os.fspath(store)
        if store is not None and not isinstance(store, str) and not hasattr(store, "put_all"):
            raise BadInput(f"store={store!r}: write a file name or URL, or give an opened store")
        reads = hasattr(reader, "extract") and hasattr(reader, "group")
        if reader is not None and not isinstance(reader, str) and not reads:
            raise BadInput(f"reader={reader!r}: write a spec such as 'boxed', or give a Reader")
        if observer is not None and not callable(observer):
            raise BadInput(f"observer={observer!r}: a function of an event's kind and data")
        self._main = registry.build(model, "model") if not _is_open(model) else model
        self._store_given, self._reader_given = store, reader
        self._concurrency, self._observer, self._opener = concurrency, observer, opener
        self._opened: dict[Any, Model] = {}
        #: the models named in strategies that were found to suit, by the strategy
        self._suited: dict[Any, dict[Any, Model]] = {}
        self._own: list[Model] = []
        self._limiter: anyio.Semaphore | None = None
        self.store: Memory | None = None

    async def __aenter__(self) -> Session:
        from outthink.store import open_store

        if self._concurrency:
            self._limiter = anyio.Semaphore(self._concurrency)
        given = self._store_given
        self.store = await open_store(given) if isinstance(given, str) else given
        self._opened["main"] = self._open(self._main)
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            for model in self._own:
                await model.aclose()
            if isinstance(self._store_given, str) and self.store is not None:
                close: Any = getattr(self.store, "aclose", None)
                if close:
                    await close()

    def _open(self, spec: Any) -> Model:
        if _is_open(spec):
            model: Model = spec
            return model
        if spec not in self._opened:
            if self._opener is not None:
                return self._opener(spec)
            model = spec.open()
            self._own.append(model)
            self._opened[spec] = model
        return self._opened[spec]

    def suit(self, built: Any) -> dict[Any, Model]:
        """The opened models that a strategy names; raises ``BadInput`` where one cannot do its part."""
        try:
            known = self._suited.get(built)
        except TypeError:  # a value in it cannot be looked up
            known, kept = None, False
        else:
            kept = len(self._suited) < 1024
        if known is not None:
            return known
        inner = {spec: self._open(spec) for spec in parts_of(built, "model")}
        self._opened.update(inner)
        check_needs(built, self.model, probed=not hasattr(self.model, "prepare"))
        check_verifiers(built, self._opened)
        check_writers(built, self._opened)
        if kept:
            self._suited[built] = inner
        return inner

    @property
    def model(self) -> Model:
        """The opened main model."""
        if "main" not in self._opened:
            raise BadInput("this session is not open: write 'async with Session(...) as session:'")
        return self._opened["main"]

    async def solve(
        self,
        problem: Problem | str | Sequence[Message],
        strategy: Any = DEFAULT_STRATEGY,
        budget: Budget | str | None = None,
        *,
        seed: int = 0,
        run: str | None = None,
        observer: Observer | None = None,
        on_start: Callable[[Run], None] | None = None,
        params: Mapping[str, Any] | None = None,
        reader: Reader | str | None = None,
        account: Meter | None = None,
        record: bool = True,
    ) -> Answer:
        """Run one strategy on one problem; see ``outthink.solve``.

        ``params`` are request parameters of every call that writes candidates (``top_p``, ``extra`` ...),
        where the strategy says nothing else; ``reader`` goes before the session's.  ``account`` is a meter
        that this run counts against too; without ``record`` nothing of it is remembered.
        """
        from outthink.verify.extract import reader_for

        given = Problem.of(problem)
        limits = Budget.parse(budget) if isinstance(budget, str) else budget
        limits = Budget() if limits is None else limits
        if not isinstance(limits, Budget):
            raise BadInput(f"budget={budget!r}: write a Budget or a text such as 'tokens=20k'")
        built = registry.build(strategy, "strategy")
        check_main(self.model)
        if isinstance(seed, bool) or not isinstance(seed, int) or abs(seed) >= 1 << 63:
            raise BadInput(f"seed={str(seed)[:40]}: a seed is a whole number of 63 bits")
        prepare = getattr(self.model, "prepare", None)
        inner = self.suit(built)
        check_counted(limits, [self.model, *inner.values()])
        reader = self._reader_given if reader is None else reader
        store = self.store if record else None
        if reader is None:
            reader = reader_of(built)
        told_reader = reader
        if reader is None or isinstance(reader, str):
            reader = reader_for(given, reader)
        meter = Meter(limits, account)
        if prepare is not None:
            await prepare(needs_of(built), meter)
            if meter.deadline() > 0:
                check_needs(built, self.model)
        probe = meter.spent
        name = run or secrets.token_hex(6)
        world = World(
            models=self._opened,
            reader=reader,
            store=store,
            observer=observer or self._observer,
            limiter=self._limiter,
            params=params or {},
        )
        live = Run(given.public(), world, meter, seed)
        if meter.overdrawn:
            live.warn(f"the probe cost more than it may: overdraft of {meter.overdrawn}, run ended")
        if on_start:
            on_start(live)
        named = hasattr(self._main, "registered")
        spec = registry.spec_of(built)
        model = registry.spec_of(self._main) if named else self.model.name
        if store:
            facts: dict[str, Any] = {
                "problem": _written(given),
                "strategy": spec,
                "model": model,
                "budget": limits.limits(),
                "seed": seed,
                "model_facts": {
                    "main": {
                        **facts_of(self.model),
                        "prompt_tokens": self.model.count_tokens(given.messages),
                    },
                    **{registry.spec_of(s): facts_of(opened) for s, opened in inner.items()},
                },
            }
            if probe != Usage():
                facts["probe"] = probe.to_json()
            if given.tools:
                facts["tools"] = [dict(t) for t in given.tools]
            if isinstance(told_reader, str):
                facts["reader"] = told_reader
            if params:
                facts["params"] = dict(params)
            await store.begin(name, facts)
        answer, why = None, ""
        try:
            answer = replace(await execute(built, live), run=name, strategy=spec, model=model)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise
        finally:
            if store:
                with anyio.CancelScope(shield=True):
                    ended = answer.to_json() if answer else {"stopped": "failed", "error": why}
                    try:
                        await store.finish(name, ended, trace_of(world))
                    except StoreError as error:
                        # an answer that is paid for is not lost to a full disk
                        if answer is None:
                            raise
                        lost = f"the run is not recorded as finished: {error}"
                        answer = replace(answer, notes=(*answer.notes, lost))
        return answer


def facts_of(model: Any) -> dict[str, Any]:
    """What a replay must know of a model, so that admission and usage repeat without it."""
    facts = {
        "name": model.name,
        "price": dataclasses.asdict(model.price),
        "capabilities": sorted(getattr(model, "capabilities", ())),
    }
    for name in ("native_n", "max_tokens", "step", "per_call"):
        if hasattr(model, name):
            facts[name] = getattr(model, name)
    if getattr(model, "thinking", None) is not None:
        facts["thinking"] = dataclasses.asdict(model.thinking)
    return facts


def _written(problem: Problem) -> dict[str, Any]:
    """A problem as the store keeps it; a checker, being code, is left out."""
    values = {
        "messages": [dict(m) for m in problem.messages],
        "reference": problem.reference,
        "choices": list(problem.choices),
        "tests": list(problem.tests),
        "id": problem.id,
        "meta": dict(problem.meta),
    }
    return {k: v for k, v in values.items() if v}


def trace_of(world: World) -> dict[str, Any]:
    """What an observer may want of a run: its tree of samples with scores, and its events."""
    samples = [
        {
            "node": list(s.node),
            "parent": list(s.parent.node) if s.parent is not None else None,
            "delta": s.delta,
            "finish": s.finish,
            "tokens": s.tokens,
            "logprob": s.logprob,
            "stored": s.stored,
            "role": s.role,
            "answer": world.read(s) if s.finished and s.role == "main" else None,
            "scores": {
                name: [book[s.node].value, *book[s.node].steps]
                for name, book in world.scores.items()
                if s.node in book
            },
        }
        for s in world.samples.values()
    ]
    quiet = ("sample", "scores", "proposal")
    events = [{"kind": kind, **data} for kind, data in world.events if kind not in quiet]
    return {"samples": samples, "events": events}


def _is_open(model: Any) -> bool:
    return not isinstance(model, str) and hasattr(model, "generate") and hasattr(model, "aclose")


async def asolve(
    problem: Problem | str | Sequence[Message],
    *,
    model: Any = "fly",
    strategy: Any = DEFAULT_STRATEGY,
    budget: Budget | str | None = None,
    seed: int = 0,
    store: str | Memory | None = None,
    concurrency: int | None = None,
    reader: Reader | str | None = None,
    observer: Observer | None = None,
    on_start: Callable[[Run], None] | None = None,
) -> Answer:
    """``solve`` for async code.  ``on_start`` is handed the run: ``run.cancel()`` ends it early."""
    session = Session(model, store=store, concurrency=concurrency, reader=reader, observer=observer)
    async with session:
        return await session.solve(problem, strategy, budget, seed=seed, on_start=on_start)


def solve(
    problem: Problem | str | Sequence[Message],
    *,
    model: Any = "fly",
    strategy: Any = DEFAULT_STRATEGY,
    budget: Budget | str | None = None,
    seed: int = 0,
    store: str | Memory | None = None,
    concurrency: int | None = None,
    reader: Reader | str | None = None,
    observer: Observer | None = None,
    on_start: Callable[[Run], None] | None = None,
) -> Answer:
    """Answer ``problem`` with ``strategy`` on ``model``, within ``budget``.

    ``problem`` is a question, a list of OpenAI messages or a ``Problem``; ``model`` and
    ``strategy`` are specs (``"fly"``, ``"best_of_n(n=16, verifier=prm)"``) or objects; ``budget`` a
    ``Budget`` or ``"tokens=20k, seconds=30"``.  One ``seed`` decides everything that is drawn.
    ``store`` is a file or URL where every call is remembered; ``observer`` sees every event of the
    run as it happens, and ``on_start`` is handed the run.  Ctrl-C ends the run with the best
    answer so far (``answer.stopped == "interrupted"``).  Works in a notebook too, where a loop is
    running already; code that is itself async awaits ``asolve``.

    Raises ``BadInput`` for a wrong value, before anything is spent, and ``WorldError`` when a
    server or a file fails and no answer was reached.
    """

    runs: list[Run] = []

    async def main() -> Answer:
        def start(run: Run) -> None:
            runs.append(run)
            if on_start:
                on_start(run)

        async with anyio.create_task_group() as tasks:
            if threading.current_thread() is threading.main_thread():
                await tasks.start(_watch_interrupts, runs)
            answer = await asolve(
                problem,
                model=model,
                strategy=strategy,
                budget=budget,
                seed=seed,
                store=store,
                concurrency=concurrency,
                reader=reader,
                observer=observer,
                on_start=start,
            )
            tasks.cancel_scope.cancel()
        return answer

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        return _beside(main, runs)
    try:
        return anyio.run(main)
    except BaseExceptionGroup as group:
        raise _only(group) from None


def _beside(main: Callable[[], Awaitable[Answer]], runs: list[Run]) -> Answer:
    """Run ``main`` in a thread of its own, since a loop runs in this one (as in a notebook)."""
    done: Future[Answer] = Future()
    loops: list[asyncio.AbstractEventLoop] = []

    async def inside() -> Answer:
        loops.append(asyncio.get_running_loop())
        return await main()

    def work() -> None:
        try:
            done.set_result(anyio.run(inside))
        except BaseExceptionGroup as group:
            done.set_exception(_only(group))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=work, name="outthink-solve", daemon=True).start()
    try:
        return done.result()
    except KeyboardInterrupt:
        if not (loops and runs):
            raise
        loops[0].call_soon_threadsafe(runs[0].cancel, "interrupted")
        return done.result()


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    from outthink.core.run import _first

    return _first(group)


async def _watch_interrupts(started: list[Run], *, task_status: Any) -> None:
    """Turn the first Ctrl-C into a cancelled run; a second one ends the program."""
    with contextlib.ExitStack() as stack:
        try:
            signals: AsyncIterator[Any] = stack.enter_context(
                anyio.open_signal_receiver(signal.SIGINT)
            )
        except (NotImplementedError, RuntimeError, ValueError):
            task_status.started()
            return
        task_status.started()
        count = 0
        async for _ in signals:
            count += 1
            if count > 1 or not started:
                raise KeyboardInterrupt
            for run in started:
                run.cancel("interrupted")
