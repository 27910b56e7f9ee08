"""The store as runs and people see it: ``Memory``, and what reads it back."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from outthink.core.budget import Usage
from outthink.core.errors import BadInput, MissingNeed, StoreError, nearest
from outthink.core.nouns import Node, digest, dotted, text_of
from outthink.core.run import Record
from outthink.store import schema
from outthink.store.address import Address, clean, dump, key_of, node_of
from outthink.store.worker import Get, Joint, JointWork, Put, Task, Worker

__all__ = ["Address", "Store", "StoredRun", "StoredSample"]


@dataclass(frozen=True)
class StoredRun:
    """One run as the store knows it; ``answer`` and ``usage`` are ``None`` while it is unfinished."""

    id: str
    created: float
    ended: float | None
    problem: Mapping[str, Any]
    strategy: str
    model: str
    budget: Mapping[str, float]
    seed: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    answer: Mapping[str, Any] | None = None
    stopped: str | None = None
    usage: Usage | None = None

    @property
    def question(self) -> str:
        """The text of the last user message."""
        messages = self.problem.get("messages", ())
        mine = [m for m in messages if m.get("role") == "user"] or list(messages)
        return text_of(mine[-1].get("content")) if mine else ""


@dataclass(frozen=True, eq=False)
class StoredSample:
    """One sample of a stored run; ``scores`` maps a verifier to its value and its step scores."""

    node: Node
    parent: Node | None
    delta: str
    finish: str
    tokens: int
    logprob: float | None
    stored: bool
    scores: Mapping[str, Sequence[float]]
    role: str = "main"
    #: what the run read from the whole text; ``None`` for an unfinished sample too
    answer: str | None = None
    above: StoredSample | None = None

    @property
    def lineage(self) -> list[StoredSample]:
        """From the first stored ancestor to this sample."""
        path: list[StoredSample] = []
        at: StoredSample | None = self
        while at is not None:
            path.append(at)
            at = at.above
        return path[::-1]

    @property
    def text(self) -> str:
        """The whole text, from the root of the tree on."""
        return "".join(s.delta for s in self.lineage)

    @property
    def total_tokens(self) -> int:
        """Completion tokens of the whole text."""
        return sum(s.tokens for s in self.lineage)


class Store:
    """The ``Memory`` of runs, and what reads it back.  Made by ``open_store``."""

    def __init__(self, address: Address, worker: Worker) -> None:
        self.address, self._worker = address, worker
        self._closed = False

    def __repr__(self) -> str:
        return f"Store({self.address.shown!r})"

    @classmethod
    async def open(cls, url: str) -> Store:
        """See ``outthink.store.open_store``."""
        address = Address.of(url)
        driver = address.url.drivername.partition("+")[2]
        if driver and importlib.util.find_spec(driver) is None:
            raise MissingNeed(
                f"a store in PostgreSQL needs {driver}: pip install 'outthink[postgres]'"
            )
        loop = asyncio.get_running_loop()
        opened = Task(loop, loop.create_future())
        store = cls(address, Worker(address, opened))
        store._worker.start()
        try:
            await opened.future
        except asyncio.CancelledError:
            store._worker.queue.put(Task(loop, loop.create_future()))
            raise
        except BaseException:
            store._worker.join()
            raise
        return store

    async def aclose(self) -> None:
        """Write what is queued, close the connection and end the thread; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        task = Task(loop, loop.create_future())
        self._worker.queue.put(task)
        try:
            await task.future
        finally:
            if task.future.done() and not task.future.cancelled():
                self._worker.join()

    async def __aenter__(self) -> Store:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _do(self, make: Callable[..., Task], **parts: Any) -> Any:
        """Queue a task for the worker and wait for it.

        A caller that is cancelled while it waits leaves the task in the queue: what was paid for is
        still remembered.
        """
        if self._closed:
            raise StoreError(f"the store {self.address.shown} is closed")
        loop = asyncio.get_running_loop()
        task = make(loop, loop.create_future(), **parts)
        self._worker.queue.put(task)
        return await task.future

    async def together(self, join: JointWork, item: Any) -> Any:
        """Have ``join`` change the store, in one transaction for all that wait for it, and say what
        it gave for ``item``.

        ``join(connection, items)`` is called in the worker's thread and gives a result for each item;
        it may be called again with the same items, when the connection or a lock was lost.
        """
        return await self._do(Joint, writes=True, join=join, item=item)

    # -- what a run asks (the protocol Memory) --------------------------------------------------

    async def get(self, model: str, request: str, samples: Sequence[str]) -> dict[str, Record]:
        """The records of these sample indices that exist."""
        if not samples:
            return {}
        found: dict[str, Record] = await self._do(
            Get, model=key_of(model), request=digest(request), samples=tuple(samples)
        )
        return found

    async def put(
        self, model: str, request: str, records: Mapping[str, Record]
    ) -> dict[str, Record]:
        """Remember finished samples, all or none; returns when a crash can no longer undo it.

        Gives the records of other writers that were there before, and stay.
        """
        return (await self.put_all(model, {request: records})).get(request, {})

    async def put_all(
        self, model: str, batch: Mapping[str, Mapping[str, Record]]
    ) -> dict[str, dict[str, Record]]:
        """``put`` for several requests, in one transaction."""
        name, now = key_of(model), time.time()
        bodies: list[dict[str, Any]] = []
        rows: list[dict[str, Any]] = []
        for request, records in batch.items():
            hashed = digest(request)
            if records:
                bodies.append({"hash": hashed, "body": clean(request)})
            for sample, record in records.items():
                row: dict[str, Any] = {"model": name, "request": hashed, "sample": key_of(sample)}
                row |= {"generation": dump(record.generation), "usage": dump(record.usage)}
                rows.append({**row, "created": now})
        if not rows:
            return {}
        found = await self._do(Put, writes=True, requests=bodies, calls=rows)
        names = {request: {key_of(n): n for n in records} for request, records in batch.items()}
        return {
            request: {by_key[k]: record for k, record in found[hashed].items()}
            for request, by_key in names.items()
            if (hashed := digest(request)) in found
        }

    async def begin(self, run: str, facts: Mapping[str, Any]) -> None:
        """A run starts (or starts again under its name): it shows as unfinished from now on."""
        rest = dict(facts)
        problem = rest.pop("problem", {})
        row = {
            "created": time.time(),
            "problem": dump(
                problem if isinstance(problem, Mapping) else {"messages": list(problem)}
            ),
            "strategy": clean(str(rest.pop("strategy", ""))),
            "model": clean(str(rest.pop("model", ""))),
            "budget": dump(rest.pop("budget", {})),
            "seed": str(rest.pop("seed", 0)),
            "facts": dump(rest),
        }
        blank = dict.fromkeys(["ended", "answer", "stopped", *(c.name for c in schema.USAGE)])
        name, insert = key_of(run), self._worker.insert

        def work(connection: sa.Connection) -> None:
            statement = insert(schema.runs).values(id=name, **row)
            again = statement.on_conflict_do_update(index_elements=["id"], set_={**row, **blank})
            connection.execute(again)
            for table in (schema.samples, schema.events):
                connection.execute(table.delete().where(table.c.run == name))

        await self._do(Task, work=work, writes=True)

    async def finish(self, run: str, answer: Mapping[str, Any], trace: Mapping[str, Any]) -> None:
        """A run has ended: its answer, usage and trace are kept together."""
        name, usage = key_of(run), answer.get("usage") or {}
        row: dict[str, Any] = {
            "ended": time.time(),
            "answer": dump(answer),
            "stopped": clean(str(answer.get("stopped", ""))),
        }
        for column in schema.USAGE:
            if column.name in usage:
                value = usage[column.name]
                # no column holds more; a server may claim any number
                row[column.name] = min(value, (1 << 63) - 1) if isinstance(value, int) else value
        if "estimated" in row:
            row["estimated"] = int(row["estimated"])
        samples = [_sample_row(name, i, s) for i, s in enumerate(trace.get("samples", ()))]
        events = []
        for i, event in enumerate(trace.get("events", ())):
            data = {k: v for k, v in event.items() if k != "kind"}
            kind = clean(str(event.get("kind", "")))
            events.append({"run": name, "position": i, "kind": kind, "data": dump(data)})

        def work(connection: sa.Connection) -> None:
            update = schema.runs.update().where(schema.runs.c.id == name).values(**row)
            if connection.execute(update).rowcount == 0:
                raise StoreError(f"it has no run {run!r} that could be finished: begin it first")
            for table, rows in ((schema.samples, samples), (schema.events, events)):
                connection.execute(table.delete().where(table.c.run == name))
                if rows:
                    connection.execute(table.insert(), rows)

        await self._do(Task, work=work, writes=True)

    # -- what is read back ----------------------------------------------------------------------

    async def list_runs(self, limit: int | None = 20) -> list[StoredRun]:
        """The latest runs, newest first; ``None`` gives all."""
        table = schema.runs

        def work(connection: sa.Connection) -> list[StoredRun]:
            order = sa.select(table).order_by(table.c.created.desc(), table.c.id.desc())
            return [_run(row) for row in connection.execute(order.limit(limit)).mappings()]

        found: list[StoredRun] = await self._do(Task, work=work)
        return found

    async def get_run(self, name: str) -> StoredRun:
        """The run with this id, or with the only id that begins so; ``"last"`` is the newest.

        Raises ``BadInput`` that names the near ones when there is none or more than one.
        """
        table = schema.runs

        def work(connection: sa.Connection) -> StoredRun:
            newest = sa.select(table).order_by(table.c.created.desc(), table.c.id.desc())
            exact = newest.where(table.c.id == key_of(name))
            row = connection.execute(exact).mappings().first()
            if row is None and name == "last":
                row = connection.execute(newest.limit(1)).mappings().first()
                if row is None:
                    raise BadInput(f"the store {self.address.shown} has no runs yet")
            if row is None:
                begins = table.c.id.startswith(clean(name), autoescape=True)
                rows = connection.execute(newest.where(begins).limit(6)).mappings().all()
                if not name or len(rows) > 1:
                    some = ", ".join(str(r["id"]) for r in rows[:5])
                    more = ", ..." if len(rows) > 5 else ""
                    raise BadInput(
                        f"several runs begin with {name!r}: {some}{more}; write more of one"
                    )
                row = rows[0] if rows else None
            if row is None:
                ids = connection.execute(
                    sa.select(table.c.id).order_by(table.c.created.desc()).limit(1000)
                )
                known = [str(i) for (i,) in ids]
                near = nearest(name, known).partition(" known:")[0].rstrip(";")
                latest = ", ".join(known[:5])
                tail = f"; the latest are {latest}" if known else "; the store has no runs yet"
                raise BadInput(
                    f"no run {name[:60]!r} in the store {self.address.shown}{near}{tail}"
                )
            return _run(row)

        found: StoredRun = await self._do(Task, work=work)
        return found

    async def samples_of(self, run: str | StoredRun) -> list[StoredSample]:
        """The samples of a run in the order of the tree; empty while it is unfinished."""
        name = key_of(run.id if isinstance(run, StoredRun) else (await self.get_run(run)).id)
        table = schema.samples

        def work(connection: sa.Connection) -> list[StoredSample]:
            rows = connection.execute(sa.select(table).where(table.c.run == name)).mappings()
            by_node: dict[Node, StoredSample] = {}
            for row in sorted(rows, key=lambda r: node_of(r["node"])):
                parent = node_of(row["parent"]) if row["parent"] is not None else None
                node = node_of(row["node"])
                by_node[node] = StoredSample(
                    node=node,
                    parent=parent,
                    delta=json.loads(row["delta"]),
                    finish=row["finish"],
                    tokens=row["tokens"],
                    logprob=row["logprob"],
                    stored=bool(row["stored"]),
                    scores=json.loads(row["scores"]),
                    role=row["role"],
                    answer=json.loads(row["answer"]) if row["answer"] is not None else None,
                    above=by_node.get(parent) if parent is not None else None,
                )
            return list(by_node.values())

        found: list[StoredSample] = await self._do(Task, work=work)
        return found

    async def events_of(self, run: str | StoredRun) -> list[dict[str, Any]]:
        """The events of a run's trace in their order, each with its ``kind``."""
        name = key_of(run.id if isinstance(run, StoredRun) else (await self.get_run(run)).id)
        table = schema.events

        def work(connection: sa.Connection) -> list[dict[str, Any]]:
            order = sa.select(table).where(table.c.run == name).order_by(table.c.position)
            rows = connection.execute(order).mappings()
            return [{"kind": row["kind"], **json.loads(row["data"])} for row in rows]

        found: list[dict[str, Any]] = await self._do(Task, work=work)
        return found

    async def export(self, run: str, path: str | Path) -> int:
        """Write the samples of a run (or of ``"all"``) to a file; see ``outthink.store.export``."""
        from outthink.store.export import export

        return await export(self, run, path)

    async def render(self, run: str, width: int = 100) -> str:
        """A run as text: what it was asked, its tree or list of samples with scores, its answer."""
        from outthink.store.export import render

        found = await self.get_run(run)
        return render(found, await self.samples_of(found), width)


def _sample_row(run: str, position: int, sample: Mapping[str, Any]) -> dict[str, Any]:
    parent, logprob = sample.get("parent"), sample.get("logprob")
    return {
        "run": run,
        "position": position,
        "node": dotted(sample["node"]),
        "parent": dotted(parent) if parent is not None else None,
        "delta": dump(sample.get("delta", "")),
        "finish": clean(str(sample.get("finish", ""))),
        "tokens": int(sample.get("tokens", 0)),
        # SQLite keeps NaN as null: a log-probability that is not a number is none
        "logprob": float(logprob) if logprob is not None and logprob == logprob else None,
        "stored": int(bool(sample.get("stored"))),
        "scores": dump(sample.get("scores", {})),
        "role": clean(str(sample.get("role", "main"))),
        "answer": dump(sample["answer"]) if sample.get("answer") is not None else None,
    }


def _run(row: Any) -> StoredRun:
    counts = {c.name: row[c.name] for c in schema.USAGE}
    usage = None
    if counts["calls"] is not None:
        counts["estimated"] = bool(counts["estimated"])
        usage = Usage(**{k: v for k, v in counts.items() if v is not None})
    return StoredRun(
        id=row["id"],
        created=row["created"],
        ended=row["ended"],
        problem=json.loads(row["problem"]),
        strategy=row["strategy"],
        model=row["model"],
        budget=json.loads(row["budget"]),
        seed=int(row["seed"]),
        facts=json.loads(row["facts"]),
        answer=json.loads(row["answer"]) if row["answer"] is not None else None,
        stopped=row["stopped"],
        usage=usage,
    )
