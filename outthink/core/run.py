"""``Run``: the only door through which a strategy touches the world.

Everything a strategy asks for is admitted by the meter (worst case reserved before, truth settled
after), drawn from a seed that depends on the sample's place in the tree and on nothing else,
remembered by the store, and cancelled when the budget, the deadline or the caller ends the run.

Admission goes in *waves*: as many samples as fit at their worst case go out together, and the next
are admitted when the wave has settled.  What is admitted is therefore independent of the order in
which samples come back, so answers and usage repeat under any concurrency.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import math
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import numpy as np

from outthink.core.budget import Budget, Meter, Reservation, Usage
from outthink.core.errors import (
    BadInput,
    BudgetExhausted,
    Malformed,
    MissingNeed,
    ModelError,
    NoSuchModel,
    NotAuthorised,
    Refused,
    TimedOut,
    WorldError,
)
from outthink.core.model import Generation, Judged, Model, Reply, Request, prompt_tokens, reading
from outthink.core.nouns import (
    Answer,
    Floats,
    Ints,
    Message,
    Node,
    Pool,
    Problem,
    Sample,
    Score,
    digest,
    dotted,
    finite,
)

T = TypeVar("T")

#: a sample is not asked for when fewer tokens than this are left for it
FLOOR = 16


class Reader(Protocol):
    """How answers are read from texts and when two of them are the same."""

    def extract(self, text: str) -> str | None:
        """The answer in a text, or ``None``.

        A reader may take ``cut=True`` too, for a text that ``max_tokens`` cut short; one with a method
        ``read(sample)`` is asked that instead, where an answer is more than text (a tool call).
        """
        ...

    async def group(self, answers: Sequence[str | None]) -> Ints:
        """Class numbers ``(n,)`` by equivalence, in order of first appearance; -1 for ``None``."""
        ...


@dataclass(frozen=True)
class Record:
    """What the store keeps of one sample: the generation, and what it would have cost alone.

    ``usage["short"]`` names the first sample of a call that gave fewer than it was asked for,
    ``usage["lost"]`` is what its failed attempts may have cost.
    """

    generation: Mapping[str, Any]
    usage: Mapping[str, Any]


class Memory(Protocol):
    """The store as a run sees it.  A ``put`` returns when a crash can no longer undo it."""

    async def get(self, model: str, request: str, samples: Sequence[str]) -> dict[str, Record]:
        """The records of these sample indices that exist."""
        ...

    async def put(
        self, model: str, request: str, records: Mapping[str, Record]
    ) -> Mapping[str, Record] | None:
        """Remember finished samples; the first writer of a key wins.

        Gives the records that were there before, of other writers.
        """
        ...

    async def put_all(self, model: str, batch: Mapping[str, Mapping[str, Record]]) -> Any:
        """Remember the samples of several requests, all or none: one call's usage is spread over them."""
        ...

    async def begin(self, run: str, facts: Mapping[str, Any]) -> None:
        """A run starts: its problem, spec, model, budget and seed."""
        ...

    async def finish(self, run: str, answer: Mapping[str, Any], trace: Mapping[str, Any]) -> None:
        """A run has ended: its answer, and the trace (samples with parents and scores, events)."""
        ...


Verifier = Callable[[Problem, Sequence[Sample], "Run"], Awaitable[list[Score]]]
Proposal = Callable[[list[Sample]], Awaitable[Answer]]


@dataclass
class World:
    """What a run shares with its children."""

    models: Mapping[Any, Model]
    reader: Reader
    store: Memory | None = None
    observer: Callable[[str, Mapping[str, Any]], None] | None = None
    limiter: anyio.Semaphore | None = None
    notes: list[str] = field(default_factory=list)
    events: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    samples: dict[Node, Sample] = field(default_factory=dict)
    scores: dict[str, dict[Node, Score]] = field(default_factory=dict)
    #: seconds of the longest chain of calls that waited for one another, as they took when made
    critical: float = 0.0
    #: in a replay: waits for those of these samples of a race that had come in the recorded run
    settle: Callable[[Sequence[Node], Mapping[Node, Sample]], Awaitable[None]] | None = None
    #: request parameters of every call that writes candidates (role "main"), where the strategy says
    #: nothing else; ``extra`` is joined, and the smaller ``max_tokens`` holds
    params: Mapping[str, Any] = field(default_factory=dict)
    _read: dict[Sample, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._knows_cut = _knows_cut(self.reader.extract)
        self._reads: Any = getattr(self.reader, "read", None)

    def read(self, sample: Sample) -> str | None:
        """The answer in a sample, or ``None``; each is read once."""
        if sample not in self._read:
            if self._reads is not None:
                self._read[sample] = self._reads(sample)
                return self._read[sample]
            extract: Any = self.reader.extract
            cut = sample.finish == "length" and self._knows_cut
            self._read[sample] = extract(sample.text, cut=True) if cut else extract(sample.text)
        return self._read[sample]


def _knows_cut(extract: Callable[..., str | None]) -> bool:
    return "cut" in _parameters(getattr(extract, "__func__", extract))


@functools.lru_cache(maxsize=256)
def _parameters(function: Any) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


@dataclass(frozen=True)
class _Job:
    node: Node
    messages: tuple[Message, ...]
    prefix: str = ""
    parent: Sample | None = None


class Run:
    """One spending of a budget on one problem.  See the module's docstring for its promises."""

    def __init__(
        self,
        problem: Problem,
        world: World,
        meter: Meter,
        seed: int = 0,
        node: Node = (),
        parent: Run | None = None,
    ) -> None:
        self.problem, self.world, self.meter, self.seed = problem, world, meter, seed
        self.node, self.parent = node, parent
        #: the limit that kept a sample from being made, if any did
        self.limit: str | None = None
        self._next = 0
        self._children: dict[Node, int] = {}
        self._proposal: Callable[[], Awaitable[Answer | None]] | None = None
        self._scope: anyio.CancelScope | None = None
        #: what a child that no ``execute`` runs is doing now, and what ends it
        self._doing: set[anyio.CancelScope] = set()
        self._reason: str | None = None

    # -- what a strategy may ask ----------------------------------------------------------------

    def model(self, role: Any = "main") -> Model:
        """The opened model of a role, or of a model spec named in the strategy."""
        try:
            return self.world.models[role]
        except (KeyError, TypeError):
            raise MissingNeed(f"no model for the role {role!r} was opened for this run") from None

    @property
    def place(self) -> int:
        """The last number of the next sample's node."""
        return self._next

    def rng(self, *node: int | str) -> np.random.Generator:
        """A random generator that depends on the run's seed and ``node`` only."""
        return np.random.default_rng(self._entropy("rng", *self.node, *node))

    def note(self, kind: str, **data: Any) -> None:
        """Add an event to the trace: for observers, never read back by a strategy."""
        self.world.events.append((kind, data))
        if self.world.observer:
            self.world.observer(kind, data)

    def warn(self, text: str) -> None:
        """Add a note to the answer (once)."""
        if text not in self.world.notes:
            self.world.notes.append(text)

    def propose(self, answer: Answer) -> None:
        """Publish the best answer so far: what the run gives if it ends now."""

        async def ready() -> Answer:
            return answer

        self._proposal = ready
        self.note("proposal", answer=answer.answer, distribution=dict(answer.distribution))

    def root(self, messages: Sequence[Message] | None = None) -> Sample:
        """A sample with nothing written yet, to be extended."""
        return Sample(self._allocate(1)[0], messages=tuple(messages or self.problem.messages))

    async def sample(self, **params: Any) -> Sample:
        """One sample; raises ``BudgetExhausted`` when it does not fit."""
        return (await self.gather(1, **params))[0]

    async def gather(
        self,
        n: int,
        *,
        messages: Sequence[Message] | None = None,
        model: Any = "main",
        propose: Proposal | None = None,
        **params: Any,
    ) -> list[Sample]:
        """Up to ``n`` samples in their own order: fewer when the budget or the model gave out.

        ``propose`` turns the samples that are there into an answer; it is asked if the run ends.
        Raises ``BudgetExhausted`` when not even one sample fits, ``ModelError`` when all failed.
        """
        done: dict[Node, Sample] = {}
        self._propose_from(done, propose)

        def emit(sample: Sample) -> None:
            done[sample.node] = sample

        base = tuple(messages if messages is not None else self.problem.messages)
        jobs = [_Job(node, base) for node in self._allocate(n)]
        await self._produce(jobs, model, params, emit)
        if n and not done:
            raise BudgetExhausted(self.limit or "calls")
        return [done[node] for node in sorted(done)]

    def _propose_from(self, done: Mapping[Node, Sample], propose: Proposal | None) -> None:
        """Have ``propose`` asked for an answer from the samples that are there when the run ends."""
        before = self._proposal
        if propose is None:
            return

        async def current() -> Answer | None:
            if done:
                return await propose([done[node] for node in sorted(done)])
            return await before() if before else None

        self._proposal = current

    async def batch(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        model: Any = "main",
        propose: Proposal | None = None,
        **params: Any,
    ) -> list[Sample | None]:
        """One sample for each prompt, side by side; ``None`` where the budget or the model gave out.

        ``propose`` is as in ``gather``.  Raises ``ModelError`` when all failed.
        """
        nodes = self._allocate(len(prompts))
        jobs = [_Job(node, tuple(p)) for node, p in zip(nodes, prompts, strict=True)]
        done: dict[Node, Sample] = {}
        self._propose_from(done, propose)

        def emit(sample: Sample) -> None:
            done[sample.node] = sample

        await self._produce(jobs, model, params, emit)
        return [done.get(node) for node in nodes]

    @contextlib.asynccontextmanager
    async def samples(
        self,
        n: int,
        *,
        messages: Sequence[Message] | None = None,
        model: Any = "main",
        width: int | None = None,
        propose: Proposal | None = None,
        lost: set[Node] | None = None,
        **params: Any,
    ) -> AsyncIterator[AsyncIterator[Sample]]:
        """``n`` samples as they finish, each a call of its own, at most ``width`` under way at once.

        Leaving the block cancels what is under way; it is charged for what it had written, or, of a
        server that does not stream, for what it may have written at most.  The samples' nodes count
        up from ``run.place``; ``lost`` is given those whose call failed.  ``propose`` is as in
        ``gather``.
        """
        done: dict[Node, Sample] = {}
        self._propose_from(done, propose)

        def emit(sample: Sample) -> None:
            done[sample.node] = sample
            # what had arrived of a cancelled call is kept, though no one waits for it any more
            with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                send.send_nowait(sample)

        base = tuple(messages if messages is not None else self.problem.messages)
        jobs = [_Job(node, base) for node in self._allocate(n)]
        lane = anyio.Semaphore(max(width or n, 1))
        send, receive = anyio.create_memory_object_stream[Sample](max(n, 1))
        error: list[BaseException] = []

        async def produce() -> None:
            async with send:
                try:
                    await self._produce(jobs, model, params, emit, lane, lost)
                except (ModelError, BudgetExhausted) as caught:
                    error.append(caught)

        async def consume() -> AsyncGenerator[Sample, None]:
            async with receive:
                async for sample in receive:
                    yield sample
            if error:
                raise error[0]

        try:
            with _unwrapped():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(produce)
                    stream = consume()
                    try:
                        yield stream
                    finally:
                        if self.world.settle is not None:
                            await self.world.settle([job.node for job in jobs], done)
                        tasks.cancel_scope.cancel()
                        receive.close()
                        with anyio.CancelScope(shield=True):
                            await stream.aclose()
        finally:
            # in their order, for a replay: who came first may decide
            self.note("arrived", nodes=[list(node) for node in done])

    async def extend(
        self,
        samples: Sequence[Sample],
        *,
        stop: Sequence[str] = ("\n",),
        tokens: int | None = None,
        propose: Proposal | None = None,
        **params: Any,
    ) -> list[Sample]:
        """Each sample with one more step (up to a ``stop`` string); finished ones pass through.

        With ``tokens`` a step is so many tokens long at most, and one that was cut there can go on.
        The same sample may stand in the list several times: each gets its own continuation.  Where
        the budget gives out, the sample comes back unextended and ``run.limit`` says why.
        ``propose`` is asked for an answer from those that have ended, if the run ends meanwhile.
        Needs a model with PREFIX.
        """
        if tokens is not None:
            if not isinstance(tokens, int) or tokens < 1:
                raise BadInput(f"tokens={tokens!r}: a step has at least one token, a whole number")
            params["max_tokens"] = tokens
        jobs: list[_Job] = []
        place: dict[Node, int] = {}
        out = list(samples)
        for i, sample in enumerate(samples):
            if sample.finished:
                continue
            k = self._children.get(sample.node, 0)
            self._children[sample.node] = k + 1
            node = (*sample.node, k)
            place[node] = i
            jobs.append(_Job(node, sample.messages, sample.text, sample))

        done = {sample.node: sample for sample in out if sample.finished}
        self._propose_from(done, propose)

        def emit(sample: Sample) -> None:
            if tokens is not None and sample.finish == "length" and sample.tokens >= tokens:
                sample = replace(sample, finish="step")
                self.world.samples[sample.node] = sample
            out[place[sample.node]] = sample
            if sample.finished:
                done[sample.node] = sample

        model = params.pop("model", "main")
        await self._produce(jobs, model, {**params, "stop": tuple(stop)}, emit)
        return out

    def edit(self, sample: Sample, keep: int | None = None, add: str = "") -> Sample:
        """A sample that ends otherwise: ``keep`` characters of its own ``delta``, then ``add``.

        It can be extended (Run.extend); nothing is drawn, so nothing is spent.  What is added is no
        token of its own: it is part of the prompt of what follows.  For thoughts that are cut, ended
        or made to go on.
        """
        whole = len(sample.delta)
        kept = whole if keep is None else min(max(keep, 0), whole)
        tokens = round(sample.tokens * kept / whole) if whole else 0
        k = self._children.get(sample.node, 0)
        self._children[sample.node] = k + 1
        lines, tops = sample.logprobs, sample.top_logprobs
        known = 0.0 if not tokens else None if lines is None else float(lines[:tokens].sum())
        edited = replace(
            sample,
            node=(*sample.node, k),
            delta=sample.delta[:kept] + add,
            finish="step",
            tokens=tokens,
            logprobs=None if lines is None else lines[:tokens],
            top_logprobs=None if tops is None else tops[:tokens],
            logprob=sample.logprob if kept == whole else known,
        )
        self.world.samples[edited.node] = edited
        self.note("edit", node=edited.node, of=sample.node, kept=kept, added=add)
        return edited

    def make(
        self,
        text: str,
        *,
        tokens: int,
        logprobs: Floats | None = None,
        messages: Sequence[Message] | None = None,
        finish: str = "stop",
        role: str = "main",
    ) -> Sample:
        """A sample that was written inside the model (``Run.inside``), or put together from others."""
        if tokens < 0 or (logprobs is not None and len(logprobs) != tokens):
            many = "none" if logprobs is None else len(logprobs)
            raise BadInput(f"tokens={tokens}: at least 0, and as many as logprobs ({many})")
        sample = Sample(
            self._allocate(1)[0],
            text,
            finish=finish,
            tokens=tokens,
            logprob=None if logprobs is None else float(np.sum(logprobs)),
            logprobs=logprobs,
            messages=tuple(messages or self.problem.messages),
            role=role,
        )
        self.world.samples[sample.node] = sample
        self.note("sample", node=sample.node, tokens=tokens, finish=finish, text=text)
        return sample

    async def inside(
        self,
        work: Callable[[Any, Callable[[int], None]], T],
        *,
        reads: int,
        writes: int = 0,
        model: Any = "main",
    ) -> T:
        """What ``work(inside, wrote)`` gives, computed in a worker thread and metered.

        ``inside`` is the model's (``outthink.models.inside``); ``reads`` prompt tokens and at most
        ``writes`` completion tokens are reserved, and ``wrote(k)`` says that k more were written.  It
        raises where the run has ended, so call it often.  The store keeps nothing of it: what is
        computed here costs no server, and is computed again.  Raises ``BudgetExhausted`` where it does
        not fit, ``MissingNeed`` for a model without an inside.
        """
        live: Any = self.model(model)
        if not hasattr(live, "inside"):
            raise MissingNeed(f"{live.name} has no inside: use fly, local or another with LOGITS")
        if min(reads, writes) < 0:
            raise BadInput(f"reads={reads} and writes={writes} are counts of at least 0")
        ticket = await self._reserve(live.price.usage(reads, writes, calls=1))
        written, ended, since = 0, False, self.world.critical

        def wrote(k: int) -> None:
            nonlocal written
            if ended:
                raise BudgetExhausted("cancelled")
            if k < 0:
                raise BadInput(f"{k} tokens cannot have been written")
            if written + k > writes:
                raise BadInput(f"{written + k} tokens were written where {writes} were reserved")
            written += k

        def used() -> Usage:
            usage: Usage = live.price.usage(reads, written, calls=1)
            return usage

        found: list[T] = []
        began = self.meter.clock()
        try:
            with _unwrapped(), self._in_time():
                async with self._slot():
                    await anyio.lowlevel.checkpoint()
                    ticket.partial = used()
                    found.append(
                        await anyio.to_thread.run_sync(
                            work, live.inside, wrote, abandon_on_cancel=True
                        )
                    )
        except BaseException as error:
            if ticket.partial is not None:
                ticket.partial = used()
            self._abandon(ticket, error)
            raise
        finally:
            ended = True
        if not found:  # a child run that was ended from outside
            ticket.settle(used())
            raise BudgetExhausted(self.limit or "seconds")
        self._waited(since, self.meter.clock() - began)
        self._settle(ticket, used())
        return found[0]

    async def score(self, samples: Sequence[Sample], verifier: Any) -> list[Score]:
        """A verifier's score of each sample; asked once for each sample of the tree."""
        known = self.world.scores.setdefault(_label(verifier), {})
        fresh: dict[Node, Sample] = {s.node: s for s in samples if s.node not in known}
        if fresh:
            scores = await verifier(self.problem, list(fresh.values()), self)
            for node, score in zip(fresh, scores, strict=True):
                known[node] = score
            self.note("scores", verifier=_label(verifier), values=[s.value for s in scores])
        return [known[s.node] for s in samples]

    async def reward(self, samples: Sequence[Sample], model: Any) -> list[tuple[float, ...]]:
        """The step scores that a reward model gives each sample, metered and remembered."""
        live: Any = self.model(model)
        known = self.world.scores.get("reward/" + live.name, {})
        items = [
            Judged(
                s.messages, s.shown, s.parent.text if s.parent and s.parent.node in known else ""
            )
            for s in samples
        ]
        if (
            items
            and (remark := getattr(live, "remark", None))
            and (told := remark(items[0].messages))
        ):
            self.warn(told)
        keys = [item.key() for item in items]
        # equal texts are scored, paid for and stored once
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        chosen = sorted(first.values())
        alone = getattr(live, "per_call", None) == 1
        # texts of one call cost what reading them costs, whether the store has their scores or not
        costs = dict(zip(chosen, reading(live, [items[i] for i in chosen]), strict=True))
        calls = [[i] for i in chosen] if alone else [chosen] if chosen else []
        out: dict[int, tuple[float, ...]] = {}
        refused, failures = list[Refused](), list[ModelError | BudgetExhausted]()
        tickets: list[Reservation] = []
        try:
            for call in calls:
                read = sum(costs[i].prompt_tokens for i in call)
                tickets.append(await self._reserve(live.price.usage(read, 0, calls=1)))
            with _unwrapped(), self._in_time():
                async with anyio.create_task_group() as tasks:
                    for call, ticket in zip(calls, tickets, strict=True):
                        these = {i: (keys[i], items[i], costs[i]) for i in call}
                        tasks.start_soon(
                            self._judge, live, alone, these, ticket, out, refused, failures
                        )
        finally:
            for ticket in tickets:
                if ticket.open:
                    ticket.release()
        if failures:
            raise failures[0]
        if refused and not out:
            raise refused[0]
        if refused:
            self.warn(f"{len(refused)} texts got no score: {refused[0]}")
            out.update({i: () for i in chosen if i not in out})
        if len(out) < len(chosen):
            raise BudgetExhausted(self.limit or "seconds")
        if not refused and (empty := sum(not out[i] for i in chosen)):
            self.warn(f"{empty} texts got no score: they are longer than {live.name} reads")
        steps = [out[first[key]] for key in keys]
        book = self.world.scores.setdefault("reward/" + live.name, {})
        for s, found in zip(samples, steps, strict=True):
            book[s.node] = Score(found[-1] if found else math.nan, found)
        return steps

    async def _judge(
        self,
        live: Any,
        alone: bool,
        texts: Mapping[int, tuple[str, Judged, Usage]],
        ticket: Reservation,
        out: dict[int, tuple[float, ...]],
        refused: list[Refused],
        failures: list[ModelError | BudgetExhausted],
    ) -> None:
        """One call of a reward model, for these texts; puts their step scores into ``out``.

        What failed is put into a list: what is under way beside it is not lost.
        """
        store, used, sending = self.world.store, Usage(), False
        since, took = self.world.critical, 0.0
        try:
            for i, (key, _, cost) in texts.items():
                record = (await store.get(live.name, key, ["0"])).get("0") if store else None
                if record:
                    took = max(took, _usage_of(record).seconds)
                    out[i] = tuple(record.generation["steps"])
                    used = used + (_again(ticket, record) if alone else cost)
            missing = [i for i in texts if i not in out]
            used = replace(used, calls=1, stored_calls=1)
            if missing:
                async with self._slot():
                    await anyio.lowlevel.checkpoint()
                    sending = True
                    began = self.meter.clock()
                    found, usage = await live.reward([texts[i][1] for i in missing], ticket)
                    seconds = self.meter.clock() - began
                    took = max(took, seconds)
                    if alone:
                        used = usage
                    else:
                        used = replace(sum((c for _, _, c in texts.values()), Usage()), calls=1)
                    ticket.partial = used
                    batch = {
                        texts[i][0]: {
                            "0": Record(
                                {"steps": list(steps)},
                                _kept(usage if alone else texts[i][2], ticket, seconds),
                            )
                        }
                        for i, steps in zip(missing, found, strict=True)
                    }
                    out.update(zip(missing, found, strict=True))
                    if store:
                        await store.put_all(live.name, batch)
        except BaseException as error:
            if not sending:
                ticket.partial = replace(used, calls=0, stored_calls=0)
            elif isinstance(error, BudgetExhausted) and error.limit == "store":
                ticket.partial = used if used.total_tokens else Usage()
            self._abandon(ticket, error)
            self._failed([texts[i][0] for i in texts if i not in out], ticket, error)
            if isinstance(error, Refused):
                refused.append(error)
            else:
                self._endure(error, failures)
            return
        self._waited(since, took)
        try:
            self._settle(ticket, used)
        except BudgetExhausted as error:
            failures.append(error)

    def spawn(self, budget: Budget | None = None, problem: Problem | None = None) -> Run:
        """A child run: its claims count here too, and its own budget may be smaller."""
        node = self._allocate(1)[0]
        meter = Meter(budget or Budget(), self.meter, self.meter.clock)
        return Run(problem or self.problem, self.world, meter, self.seed, node, self)

    async def pool(self, samples: Sequence[Sample]) -> Pool:
        """The samples in columns: answers extracted and grouped by equivalence."""
        answers = tuple(self.world.read(s) for s in samples)
        return Pool(tuple(samples), answers, await self.world.reader.group(answers))

    def answer(
        self, pool: Pool, chosen: int, weights: Sequence[float] | np.ndarray[Any, Any] | None = None
    ) -> Answer:
        """The answer that chooses sample ``chosen``; ``weights`` give the classes' distribution."""
        w = np.ones(len(pool)) if weights is None else np.asarray(weights, dtype=np.float64)
        w = np.where(np.isfinite(w), np.maximum(w, 0.0), 0.0)
        total = float(w.sum())
        shares: dict[str, float] = {}
        for klass in dict.fromkeys(int(c) for c in pool.classes if c >= 0):
            members = pool.classes == klass
            name = pool.answers[int(np.argmax(members))]
            shares[str(name)] = float(w[members].sum()) / total if total > 0 else 0.0
        mine = pool.classes == pool.classes[chosen]
        # a text without an answer has no share of the votes to be sure of
        known = total > 0 and pool.classes[chosen] >= 0
        confidence = float(w[mine].sum()) / total if known else None
        return Answer(
            answer=pool.answers[chosen],
            text=pool.samples[chosen].text,
            sample=pool.samples[chosen],
            confidence=confidence,
            distribution=dict(sorted(shares.items(), key=lambda item: -item[1])),
            candidates=pool.samples,
            scores={k: tuple(map(float, v)) for k, v in pool.scores.items()},
        )

    def cancel(self, reason: str = "cancelled") -> None:
        """End the run now; the last proposal is its answer."""
        self._reason = self._reason or reason
        for scope in (self._scope, *self._doing):
            if scope is not None:
                scope.cancel()

    # -- how it is done --------------------------------------------------------------------------

    def _entropy(self, *path: Any) -> int:
        text = "/".join(str(p) for p in (self.seed, *path))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")

    def _allocate(self, n: int) -> list[Node]:
        first, self._next = self._next, self._next + n
        return [(*self.node, first + i) for i in range(n)]

    @contextlib.contextmanager
    def _in_time(self) -> Iterator[None]:
        """End what the block does at this run's own deadline or cancellation.

        A run under ``execute`` has its scope there; a child whose methods are called by its parent
        has none, and its end is not the parent's.
        """
        if self._scope is not None or self.parent is None:
            yield
            return
        left = self.meter.deadline()
        scope = anyio.move_on_after(None if math.isinf(left) else max(left, 0.0))
        self._doing.add(scope)
        try:
            with scope:
                if self._reason is not None:
                    scope.cancel()
                yield
        finally:
            self._doing.discard(scope)
        if scope.cancelled_caught:
            self.limit = self.limit or self._reason or "seconds"

    def _slot(self) -> contextlib.AbstractAsyncContextManager[Any]:
        return self.world.limiter if self.world.limiter else contextlib.nullcontext()

    async def _reserve(self, cost: Usage) -> Reservation:
        await self.meter.secure(cost)
        try:
            return self.meter.reserve(cost)
        except BudgetExhausted as error:
            self._limited(error.limit)
            raise

    def _limited(self, limit: str) -> None:
        """Say so here and in the runs above, up to the one whose own budget binds."""
        tightest = self.meter.tightest(limit)
        run: Run | None = self
        while run is not None:
            run.limit = run.limit or limit
            run = None if run.meter is tightest else run.parent

    def _settle(self, ticket: Reservation, usage: Usage) -> None:
        ticket.given = True
        over = ticket.settle(usage)
        if ticket.lost.total_tokens:
            self.warn("failed attempts are charged as what they may have cost at most")
        if usage.estimated:
            self.warn("the server gave no usable token counts: tokens are our own upper estimate")
        if over:
            self._overdrawn(over)
            raise BudgetExhausted(over)

    def _overdrawn(self, limit: str) -> None:
        self.warn(f"a call cost more than was reserved for it: overdraft of {limit}, run ended")
        self._limited(limit)

    def _abandon(self, ticket: Reservation, error: BaseException) -> None:
        """Close the claim of a call that did not end well, at what it may have cost."""
        if not ticket.open:
            return
        if ticket.failure and not isinstance(error, ModelError):
            self.warn(f"a call was given up: {ticket.failure}")
        over = None
        if ticket.partial is not None:
            over = ticket.settle(ticket.partial)
        elif isinstance(error, ModelError) and not isinstance(error, TimedOut):
            ticket.settle(Usage(calls=ticket.cost.calls))
        elif isinstance(error, BudgetExhausted):
            # no further attempt fits: the first one was made
            ticket.settle(Usage(calls=ticket.cost.calls))
        elif isinstance(error, BadInput):
            ticket.release()
        else:
            ticket.settle(replace(ticket.cost, estimated=True))
        if over:
            self._overdrawn(over)

    def _failed(self, what: Sequence[Any], ticket: Reservation, error: BaseException) -> None:
        """Note that a call gave nothing, and what it cost: a replay has it from there."""
        limit = error.limit if isinstance(error, BudgetExhausted) else None
        ended = isinstance(error, anyio.get_cancelled_exc_class())
        known = ended or isinstance(error, (ModelError, BudgetExhausted))
        if ticket.given or limit == "store" or not known:
            return
        self.note(
            "cancelled" if ended else "failure",
            nodes=[list(w) for w in what if isinstance(w, tuple)],
            texts=[digest(w) for w in what if isinstance(w, str)],
            type=type(error).__name__,
            limit=limit,
            error=str(error),
            attempts=ticket.attempts,
            lost=_plain(ticket.lost),
            cost=_plain(ticket.actual),
        )

    def _endure(self, error: BaseException, failures: list[Any]) -> None:
        """Take an error of one call where what is under way beside it is not lost; else raise it."""
        if not lasting(error):
            raise error
        if isinstance(error, BudgetExhausted):  # it cost too much, or a further attempt did not fit
            self._limited(error.limit)
        else:
            failures.append(error)

    def _admit(
        self,
        pending: list[_Job],
        model: Model,
        max_tokens: int,
        tools: Sequence[Any],
        apart: bool = False,
    ) -> list[tuple[list[_Job], Reservation, int]]:
        """Claim as many of the pending jobs as fit at their worst case, in their order."""
        wave: list[tuple[list[_Job], Reservation, int]] = []
        at = 0
        counted: dict[str, int] = {}
        while at < len(pending):
            job = pending[at]
            # the prompt is the same object for the samples of one gather: count it once
            mark = f"{id(job.messages)}/{job.prefix}"
            if mark not in counted:
                counted[mark] = prompt_tokens(model, job.messages, job.prefix, tools)
            prompt = counted[mark]
            same = 1
            while (
                model.native_n
                and not apart
                and at + same < len(pending)
                and pending[at + same].prefix == job.prefix
                and pending[at + same].messages is job.messages
            ):
                same += 1
            while same > 0:
                cost = model.price.usage(prompt, max_tokens * same, calls=1)
                if self.meter.binding(cost) is None:
                    break
                fit = self.meter.affordable_tokens(model.price, prompt, 1) // max_tokens
                same = min(same - 1, max(fit, 0))
            if same > 0:
                wave.append((pending[at : at + same], self.meter.reserve(cost), max_tokens))
                at += same
                continue
            # while runs beside this one have calls out, what they give back may be enough
            if not wave and not self.meter.busy():
                cost = model.price.usage(prompt, max_tokens, calls=1)
                limit = self.meter.binding(cost) or "tokens"
                less = min(self.meter.affordable_tokens(model.price, prompt, 1), max_tokens)
                cost = model.price.usage(prompt, less, calls=1)
                if less >= min(FLOOR, max_tokens) and self.meter.binding(cost) is None:
                    wave.append(([job], self.meter.reserve(cost), less))
                else:
                    self._limited(limit)
            break
        return wave

    async def _produce(
        self,
        jobs: Sequence[_Job],
        role: Any,
        params: Mapping[str, Any],
        emit: Callable[[Sample], None],
        lane: anyio.Semaphore | None = None,
        lost: set[Node] | None = None,
    ) -> None:
        """Make the samples of these jobs, wave by wave, and hand each to ``emit``.

        With a ``lane`` each is a call of its own, and as many are under way as it has room for.
        """
        model = self.model(role)
        settings = self._settings(role, params)
        max_tokens = int(settings.pop("max_tokens", None) or model.max_tokens)
        tools = settings.get("tools", self.problem.tools)
        pending, made, last = list(jobs), 0, None
        failures: list[ModelError] = []
        while pending and self._reason is None:
            apart, now = lane is not None, tuple(pending)
            await self.meter.secure(lambda: _worst(model, now, max_tokens, tools, apart))  # noqa: B023
            wave = self._admit(pending, model, max_tokens, tools, apart)
            if not wave:
                if self.meter.busy():
                    await self._settled()
                    continue
                break
            taken = {job.node for group, _, _ in wave for job in group}
            pending = [job for job in pending if job.node not in taken]
            again: list[_Job] = []
            counts: list[int] = []

            async def call(
                group: list[_Job],
                ticket: Reservation,
                tokens: int,
                again: list[_Job] = again,
                counts: list[int] = counts,
            ) -> None:
                try:
                    async with lane or contextlib.nullcontext():
                        rest = await self._call(model, role, group, ticket, tokens, settings, emit)
                except BaseException as error:
                    self._failed([j.node for j in group], ticket, error)
                    self._endure(error, failures)
                    if lost is not None:
                        lost.update(j.node for j in group if j.node not in self.world.samples)
                    if isinstance(error, BudgetExhausted):
                        counts.append(sum(j.node in self.world.samples for j in group))
                else:
                    again.extend(rest)
                    counts.append(len(group) - len(rest))

            with _unwrapped(), self._in_time():
                try:
                    async with anyio.create_task_group() as tasks:
                        for entry in wave:
                            tasks.start_soon(call, *entry)
                finally:
                    for _, ticket, _ in wave:
                        if ticket.open:
                            ticket.release()
            made += sum(counts)
            if not sum(counts) and any(isinstance(f, Refused) for f in failures):
                break  # what is asked next would be refused as well
            pending = sorted([*again, *pending], key=lambda job: job.node)
        if self._reason is not None:  # ended while nothing was under way
            self.limit = self.limit or self._reason
            await anyio.lowlevel.checkpoint()
        if failures:
            last = failures[-1]
            if made == 0:
                raise last
            self.warn(f"{len(failures)} calls failed, the rest was used: {last}")

    @staticmethod
    def _candidate(role: Any, params: Mapping[str, Any]) -> bool:
        """Are these calls for candidates: texts of the run's own model that may be the answer?"""
        return bool(role == "main" and params.get("role", "main") == "main")

    def _settings(self, role: Any, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a call: the strategy's, and for candidates those of ``World.params``."""
        given = self.world.params
        if not given or not self._candidate(role, params):
            return dict(params)
        said = {k: v for k, v in params.items() if v is not None}
        limits = [p["max_tokens"] for p in (given, said) if p.get("max_tokens")]
        extra = {**given.get("extra", {}), **said.get("extra", {})}
        out = {**given, **said, "extra": extra}
        return {**out, "max_tokens": min(limits)} if limits else out

    async def _settled(self) -> None:
        """Wait until another claim on this budget is closed."""
        event = anyio.Event()
        self.meter.on_change(event.set)
        await event.wait()

    async def _call(
        self,
        model: Model,
        role: Any,
        group: list[_Job],
        ticket: Reservation,
        max_tokens: int,
        settings: Mapping[str, Any],
        emit: Callable[[Sample], None],
    ) -> list[_Job]:
        """One call for the samples of ``group``; returns those that it did not give."""
        stop = tuple(settings.get("stop", ()))
        role = str(settings.get("role") or (role if isinstance(role, str) else _label(role)))
        request = Request(
            messages=group[0].messages,
            prefix=group[0].prefix,
            max_tokens=max_tokens,
            n=len(group),
            tools=settings.get("tools", self.problem.tools),
            seeds=tuple(self._entropy("sample", *job.node) % (1 << 31) for job in group),
            nodes=tuple(job.node for job in group),
            **{k: v for k, v in settings.items() if k not in ("stop", "tools", "role")},
            stop=stop,
            role=role,
        )
        store = self.world.store
        key = request.key() if store else ""
        index = {sample_name(self.seed, job.node): job for job in group}
        used, known = Usage(), list[Usage]()
        sending = counted = False
        since, took = self.world.critical, 0.0
        try:
            found = await store.get(model.name, key, list(index)) if store else {}
            rest: list[_Job] = []
            if short := _short_call(found, next(iter(index))):
                # recorded from a server that ignored n: this call gave these and no more
                model.native_n = False
                rest = [job for name, job in index.items() if name not in short]
                index = {name: job for name, job in index.items() if name in short}
                found = {name: found[name] for name in index}
            missing = {name: job for name, job in index.items() if name not in found}
            known = [_usage_of(record) for record in found.values()]
            took = max((u.seconds for u in known), default=0.0)
            if found and not missing:
                whole = _together(model, known)
                used = replace(whole, calls=1, stored_calls=1)
                _again(ticket, max(found.values(), key=lambda r: r.usage["calls"]))
            for name, record in found.items():
                generation = _generation(record.generation)
                self._emit(emit, generation, index[name], role, stop, stored=True)
            if missing:
                live = request
                if len(missing) < request.n:
                    seeds = dict(zip(index, request.seeds, strict=True))
                    nodes = tuple(job.node for job in missing.values())
                    wanted = tuple(seeds[n] for n in missing)
                    live = replace(request, n=len(missing), seeds=wanted, nodes=nodes)
                # the slot is held until the store has them: no more calls than that can be lost
                async with self._slot():
                    # one that waited for the slot while the run ended is not sent
                    await anyio.lowlevel.checkpoint()
                    sending = True
                    began = self.meter.clock()
                    reply = await model.generate(live, ticket)
                    seconds = self.meter.clock() - began
                    took = max(took, seconds)
                    for text in reply.notes:
                        self.warn(text)
                    given = reply.generations[: len(missing)]
                    reply = _counted(model, reply, live)
                    used = _together(model, [*known, reply.usage])
                    if used.calls != reply.usage.calls:
                        used = replace(used, calls=reply.usage.calls)
                    ticket.partial, counted = used, True
                    if not given:
                        raise Malformed(f"{model.name} answered without a text")
                    if len(given) < len(missing):
                        model.native_n = False
                        self.note("n ignored", asked=len(missing), given=len(given))
                    earlier: Mapping[str, Record] = {}
                    try:
                        if store:
                            mark = {"short": next(iter(missing))}
                            records: dict[str, Record] = {}
                            for i, (name, one) in enumerate(zip(missing, given, strict=False)):
                                usage = _kept(_share(model, reply, i, len(given)), ticket, seconds)
                                if len(given) < len(missing):
                                    usage |= mark
                                records[name] = Record(_written(one), usage)
                            earlier = await store.put(model.name, key, records) or {}
                    finally:  # what is paid for is used even where it could not be kept
                        for name, generation in zip(missing, given, strict=False):
                            # where another run was first: there is one sample of a key
                            if name in earlier:
                                generation = _generation(earlier[name].generation)
                            self._emit(emit, generation, index[name], role, stop, stored=False)
                rest = list(missing.values())[len(given) :]
        except BaseException as error:
            # of a stand-in for a model, in a replay
            recorded = getattr(model, "recorded_cost", None)
            if not sending and recorded and (cost := recorded([j.node for j in group])):
                ticket.partial = cost
            elif not sending and ticket.partial is None:
                ticket.partial = _together(model, known) if known else used
            elif known and not counted and not ticket.whole and ticket.partial is not None:
                whole = _together(model, [*known, ticket.partial])
                ticket.partial = replace(whole, calls=max(ticket.partial.calls, 1))
            if ticket.arrived:
                await self._salvage(model, key, list(missing.items()), ticket, role, stop, emit)
            self._abandon(ticket, error)
            raise
        self._waited(since, took)
        self._settle(ticket, used)
        return rest

    def _waited(self, since: float, seconds: float) -> None:
        """A call that began when the critical path was ``since`` long took so many seconds.

        What had ended before it began is taken to be what it waited for.
        """
        self.world.critical = max(self.world.critical, since + seconds)

    async def _salvage(
        self,
        model: Model,
        key: str,
        jobs: list[tuple[str, _Job]],
        ticket: Reservation,
        role: str,
        stop: tuple[str, ...],
        emit: Callable[[Sample], None],
    ) -> None:
        """Keep the samples of a cancelled call that were finished all the same."""
        places = sorted(ticket.arrived)
        given = tuple(ticket.arrived[i] for i in places)
        spent = ticket.partial or Usage()
        written = sum(g.tokens for g in given)
        usage = model.price.usage(spent.prompt_tokens, written, cached=spent.cached_tokens)
        reply = Reply(given, usage)
        records = {
            jobs[place][0]: Record(_written(g), _plain(_share(model, reply, i, len(given))))
            for i, (place, g) in enumerate(zip(places, given, strict=True))
        }
        if self.world.store:
            with anyio.CancelScope(shield=True):
                await self.world.store.put(model.name, key, records)
        for place, g in zip(places, given, strict=True):
            self._emit(emit, g, jobs[place][1], role, stop, stored=False)

    def _emit(
        self,
        emit: Callable[[Sample], None],
        g: Generation,
        job: _Job,
        role: str,
        stop: tuple[str, ...],
        stored: bool,
    ) -> None:
        delta, finish = g.text, g.finish
        if finish == "step":
            delta += g.stopped_by or ""
        elif finish == "unknown" and stop:
            # the server does not say which: an empty continuation is the end
            finish = "step" if delta else "stop"
            delta += stop[0] if delta else ""
        elif finish == "unknown":
            finish = "stop"
        sample = Sample(
            job.node,
            delta,
            job.parent,
            finish,
            g.tokens,
            g.logprob,
            g.logprobs,
            job.messages,
            role,
            stored,
            g.extra,
            g.top_logprobs,
        )
        self.world.samples[sample.node] = sample
        emit(sample)
        self.note("sample", node=sample.node, tokens=sample.tokens, finish=finish, text=delta)


def _worst(
    model: Model, jobs: Sequence[_Job], max_tokens: int, tools: Sequence[Any], apart: bool
) -> Usage:
    """What these samples cost at most, all of them."""
    calls, prompts, counted = 0, 0, dict[str, int]()
    before: _Job | None = None
    for job in jobs:
        mark = f"{id(job.messages)}/{job.prefix}"
        if mark not in counted:
            counted[mark] = prompt_tokens(model, job.messages, job.prefix, tools)
        same = before and before.messages is job.messages and before.prefix == job.prefix
        if apart or not model.native_n or not same:
            calls, prompts = calls + 1, prompts + counted[mark]
        before = job
    return model.price.usage(prompts, max_tokens * len(jobs), calls=calls)


def _counted(model: Model, reply: Reply, request: Request) -> Reply:
    """The reply with at least the usage that its texts show: a token is a byte or more.

    A server that reports nothing, or less than it wrote, is charged by our own upper estimate.
    """
    u = reply.usage
    shown = sum(
        g.tokens
        if g.tokens > 0
        else min(len(g.text.encode("utf-8", "replace")), request.max_tokens)
        for g in reply.generations
    )
    if u.calls >= 1 and u.completion_tokens >= shown and u.prompt_tokens >= 0:
        return reply
    prompt = u.prompt_tokens
    if prompt <= 0:
        prompt = prompt_tokens(model, request.messages, request.prefix, request.tools)
    tokens = max(u.completion_tokens, shown)
    usage = model.price.usage(prompt, tokens, calls=max(u.calls, 1), estimated=True)
    return replace(reply, usage=usage)


def _share(model: Model, reply: Reply, i: int, kept: int) -> Usage:
    """What sample ``i`` of a call would have cost alone: the call, the prompt and its own tokens.

    What a server charged beyond the ``kept`` samples' tokens goes with the first.
    """
    if kept == 1:
        return reply.usage
    u, tokens = reply.usage, reply.generations[i].tokens
    reasoning = 0
    if i == 0:
        tokens = u.completion_tokens - sum(g.tokens for g in reply.generations[1:kept])
        reasoning = u.reasoning_tokens
    return model.price.usage(
        u.prompt_tokens, tokens, cached=u.cached_tokens, reasoning=reasoning,
        calls=u.calls, estimated=u.estimated,
    )  # fmt: skip


def _together(model: Model, parts: Sequence[Usage]) -> Usage:
    """What samples of one prompt cost as one call: the prompt counts once, their tokens add up.

    So a call of which a part was stored, or whose samples were stored by several calls, counts as it
    would have without the store.
    """
    if len(parts) == 1:
        return parts[0]
    prompt = max(parts, key=lambda u: (u.prompt_tokens, -u.cached_tokens))
    return model.price.usage(
        prompt.prompt_tokens,
        sum(u.completion_tokens for u in parts),
        cached=prompt.cached_tokens,
        reasoning=sum(u.reasoning_tokens for u in parts),
        calls=max(u.calls for u in parts),
        estimated=any(u.estimated for u in parts),
    )


def sample_name(seed: int, node: Node) -> str:
    """What the store calls a sample: its index in the key."""
    return f"{seed}:{dotted(node)}"


def _usage_of(record: Record) -> Usage:
    return Usage.from_json(record.usage)


def _kept(share: Usage, ticket: Reservation, seconds: float) -> dict[str, Any]:
    """What the store keeps of a sample's usage: with the attempts of its call that failed, and
    the seconds that the call took."""
    kept = _plain(replace(share, calls=share.calls + ticket.attempts, seconds=seconds))
    return {**kept, "lost": _plain(ticket.lost)} if ticket.lost != Usage() else kept


def _again(ticket: Reservation, record: Record) -> Usage:
    """Charge again what the attempts cost that failed when this was recorded; its own usage."""
    usage = _usage_of(record)
    lost = Usage.from_json(record.usage["lost"]) if "lost" in record.usage else None
    for i in range(usage.calls - 1):
        ticket.another_attempt(stored=True, lost=None if i else lost)
    return replace(usage, calls=1, stored_calls=1)


def _short_call(found: Mapping[str, Record], first: str) -> set[str]:
    """The samples of the call that gave ``first``, where it gave fewer than it was asked for."""
    mark = found[first].usage.get("short") if first in found else None
    return {n for n, r in found.items() if r.usage.get("short") == mark} if mark else set()


def _plain(usage: Usage) -> dict[str, Any]:
    values = usage.to_json()
    values.pop("total_tokens")
    return values


def _written(g: Generation) -> dict[str, Any]:
    values: dict[str, Any] = {"text": g.text, "tokens": g.tokens, "finish": g.finish}
    if g.stopped_by is not None:
        values["stopped_by"] = g.stopped_by
    if g.logprob is not None:
        values["logprob"] = g.logprob
    if g.logprobs is not None:
        values["logprobs"] = [float(x) for x in g.logprobs]
    if g.top_logprobs is not None:
        values["top_logprobs"] = finite(g.top_logprobs.tolist())
    if g.extra:
        values["extra"] = dict(g.extra)
    return values


def _generation(values: Mapping[str, Any]) -> Generation:
    known = dict(values)
    if known.get("logprobs") is not None:
        known["logprobs"] = np.asarray(known["logprobs"], dtype=np.float64)
    if known.get("top_logprobs") is not None:
        rows = [[-math.inf if v is None else v for v in row] for row in known["top_logprobs"]]
        known["top_logprobs"] = np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
    return Generation(**known)


def _label(part: Any) -> str:
    """The spec of a part, for the trace."""
    from outthink.core.registry import spec_of

    return spec_of(part) if hasattr(part, "registered") else getattr(part, "__name__", str(part))


def lasting(error: BaseException) -> bool:
    """Does this error of one call leave those beside it worth their while?"""
    if isinstance(error, BudgetExhausted):
        return error.limit != "store"
    return isinstance(error, ModelError) and not isinstance(error, (NotAuthorised, NoSuchModel))


@contextlib.contextmanager
def _unwrapped() -> Any:
    """Raise the one error of a task group as itself."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to show for a group: the gravest cause, never a cancellation beside it."""
    flat: list[BaseException] = []
    todo: list[BaseException] = [group]
    while todo:
        error = todo.pop()
        if isinstance(error, BaseExceptionGroup):
            todo.extend(error.exceptions)
        else:
            flat.append(error)
    order = (KeyboardInterrupt, SystemExit, BadInput, NotAuthorised, NoSuchModel, Refused)
    flat.sort(key=lambda e: next((i for i, kind in enumerate(order) if isinstance(e, kind)), 99))
    return flat[0]


async def execute(strategy: Any, run: Run) -> Answer:
    """Let a strategy spend the run's budget; always ends with an answer or a clear error.

    The deadline, the budget and ``run.cancel`` end it with the last proposal; an error of the world
    does too when there is a proposal, and is said in ``stopped`` and ``notes``.
    """
    answer: Answer | None = None
    failure: BaseException | None = None
    stopped = "finished"
    seconds = run.meter.deadline()
    scope = anyio.move_on_after(None if math.isinf(seconds) else max(seconds, 0.0))
    run._scope = scope
    with scope:
        if run._reason is not None:
            scope.cancel()
            await anyio.lowlevel.checkpoint()
        try:
            with _unwrapped():
                answer = await strategy(run.problem, run)
            if not isinstance(answer, Answer):
                name, kind = _label(strategy), type(answer).__name__
                raise BadInput(
                    f"the strategy {name} returned a {kind}, not an Answer: make one with run.answer"
                )
        except BudgetExhausted as error:
            stopped = error.limit
        except WorldError as error:
            failure, stopped = error, "error"
    if answer is None and failure is None and scope.cancelled_caught:
        stopped = run._reason or "seconds"
    elif answer is not None and run.limit is not None:
        stopped = run.limit
    if answer is None and run._proposal is not None:
        try:
            with anyio.move_on_after(2.0, shield=True):
                answer = await run._proposal()
        except WorldError as error:
            run.warn(f"the last answers were not compared: {error}")
        quick = getattr(run.world.reader, "quick", None)
        if answer is None and quick is not None:
            # to tell equal answers by computing takes too long now: by their normal forms
            run.world.reader = quick()
            with anyio.move_on_after(2.0, shield=True):
                answer = await run._proposal()
    if answer is None:
        if failure is not None:
            raise failure
        answer = Answer(None, "")
        if stopped not in ("finished", "interrupted", "cancelled", "store"):
            run.warn(f"the limit of {stopped} was reached before the first answer")
    if failure is not None:
        run.warn(f"ended early: {failure}")
    cut = [s for s in answer.candidates if s.finish == "length" and run.world.read(s) is None]
    if cut:
        most = max(s.tokens for s in cut)
        run.warn(
            f"{len(cut)} of {len(answer.candidates)} samples were cut at {most:,} tokens, before an "
            "answer: raise max_tokens or the budget"
        )
    return replace(
        answer,
        usage=run.meter.usage(),
        critical_seconds=run.world.critical,
        budget=run.meter.budget,
        stopped=stopped,
        seed=run.seed,
        notes=tuple(run.world.notes),
    )
