"""The store: one worker thread, one connection, one transaction for all that waits.

**What is durable when.**  ``put`` returns after the commit of the transaction that holds its rows.
SQLite runs in WAL mode with ``synchronous=FULL``: the commit has written the log *and* synced it to
the disk, so neither ``kill -9`` nor a power cut undoes it (``NORMAL`` would survive the first but
not the second).  PostgreSQL commits are synchronous by default.  The sync is the price of a commit,
so everything that queued up while the last commit was under way shares the next one: a hundred
samples that come back together cost one or two syncs, not a hundred.

**Who wins.**  A key ``(model, request, sample index)`` is written once: later writers, in this
process or another, change nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from outthink.core.errors import OutthinkError, StoreError
from outthink.core.run import Record
from outthink.store import schema
from outthink.store.address import Address, key_of

#: seconds that a writer waits for another process to let go of an SQLite file
PATIENCE = 60.0
#: operations that share one transaction at most
BATCH = 1000
#: the lock that PostgreSQL processes take while they create or upgrade the tables
_MIGRATION_LOCK = 0x6F757474

Work = Callable[[sa.Connection], Any]
#: work for all that wait at once: what each brought, in the order in which they came, to their results
JointWork = Callable[[sa.Connection, Sequence[Any]], Sequence[Any]]


@dataclass(eq=False)
class Task:
    """Something for the worker: ``work`` on a connection, and where its result is awaited."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    work: Work | None = None
    writes: bool = False

    def done(self, result: Any = None, error: BaseException | None = None) -> None:
        """Hand the result to the loop that waits for it (if it is still there)."""

        def settle() -> None:
            if self.future.done():
                return
            if error is not None:
                self.future.set_exception(error)
            else:
                self.future.set_result(result)

        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(settle)


@dataclass(eq=False)
class Get(Task):
    """Records of a model's request, by the hash of its text."""

    model: str = ""
    request: str = ""
    samples: Sequence[str] = ()


@dataclass(eq=False)
class Put(Task):
    """Rows to be written, if nobody was first."""

    requests: Sequence[Mapping[str, Any]] = ()
    calls: Sequence[Mapping[str, Any]] = ()


@dataclass(eq=False)
class Joint(Task):
    """A part of something that is done at once for all who wait for the same ``join``."""

    join: JointWork | None = None
    item: Any = None


class Worker(threading.Thread):
    """Does what is queued, in batches: all reads, then all writes in one transaction."""

    def __init__(self, address: Address, opened: Task) -> None:
        super().__init__(name="outthink-store", daemon=True)
        self.address, self.opened = address, opened
        self.queue: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self.transactions = 0
        self.engine: sa.Engine | None = None
        self.insert: Callable[[sa.Table], Any] = (
            sqlite.insert if address.url.drivername == "sqlite" else postgresql.insert
        )

    def run(self) -> None:
        """Open the store, then serve the queue until a task without work says to close."""
        try:
            self.connect()
        except BaseException as error:
            if self.engine is not None:
                self.engine.dispose()
            self.opened.done(error=self._told(error, True))
            return
        self.opened.done()
        while True:
            batch = [self.queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < BATCH:
                    batch.append(self.queue.get_nowait())
            closing = [t for t in batch if type(t) is Task and t.work is None]
            self._each([t for t in batch if not t.writes and t not in closing], self._read)
            self._each([t for t in batch if t.writes], self._write)
            if closing:
                if self.engine is not None:
                    self.engine.dispose()
                for task in closing:
                    task.done()
                return

    def _each(self, tasks: list[Task], how: Callable[[list[Task]], list[Any]]) -> None:
        """Do the tasks together; if one of them cannot be done, one by one, each with its own fate."""
        if not tasks:
            return
        try:
            results = how(tasks)
        except BaseException as error:
            if len(tasks) > 1 and not isinstance(error, OperationalError):
                for task in tasks:
                    self._each([task], how)
                return
            for task in tasks:
                task.done(error=self._told(error, task.writes))
            return
        for task, result in zip(tasks, results, strict=True):
            task.done(result)

    def _told(self, error: BaseException, writes: bool) -> BaseException:
        """The error as the caller shall see it: one line that names the store and no password."""
        if isinstance(error, StoreError):
            return StoreError(f"the store {self.address.shown}: {error}")
        damaged = isinstance(error, (ValueError, TypeError, KeyError)) and not writes
        if damaged and not isinstance(error, OutthinkError):
            told = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            return StoreError(
                f"the store {self.address.shown} is damaged ({told}): restore it, or name another"
            )
        if isinstance(error, OutthinkError) or not isinstance(error, (SQLAlchemyError, OSError)):
            return error
        verb = "written" if writes else "read"
        said = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        said = said.splitlines()[0]
        for secret in self.address.secrets:
            said = said.replace(secret, "***")
        help_ = ""
        if "locked" in said:
            help_ = f": another process has held it for {PATIENCE:.0f} s"
        elif "not a database" in said:
            help_ = ": name another file, or move this one away"
        elif "readonly" in said or "unable to open" in said or "permission" in said.lower():
            help_ = ": check that you may write the file and its directory, or name another"
        elif "full" in said:
            help_ = ": make room; what was remembered before is safe"
        return StoreError(f"the store {self.address.shown} cannot be {verb}: {said}{help_}")

    def _read(self, tasks: list[Task]) -> list[Any]:
        assert self.engine is not None
        wanted: dict[tuple[str, str], set[str]] = {}
        for task in tasks:
            if isinstance(task, Get):
                wanted.setdefault((task.model, task.request), set()).update(task.samples)

        def read(connection: sa.Connection) -> list[Any]:
            found: dict[tuple[str, str], dict[str, Record]] = {}
            for (model, request), names in wanted.items():
                found[model, request] = _records(connection, model, request, sorted(names))
            out: list[Any] = []
            for task in tasks:
                if isinstance(task, Get):
                    here = found[task.model, task.request]
                    out.append({n: here[n] for n in task.samples if n in here})
                elif task.work is not None:
                    out.append(task.work(connection))
            return out

        return self._transaction(read, writes=False)

    def _write(self, tasks: list[Task]) -> list[Any]:
        puts = [t for t in tasks if isinstance(t, Put)]
        bodies = {r["hash"]: r for t in puts for r in t.requests}
        rows: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        for task in puts:
            for row in task.calls:
                rows.setdefault((row["model"], row["request"], row["sample"]), row)
        joint: dict[JointWork, list[int]] = {}
        for i, part in enumerate(tasks):
            if isinstance(part, Joint) and part.join is not None:
                joint.setdefault(part.join, []).append(i)

        def write(connection: sa.Connection) -> list[Any]:
            out = [t.work(connection) if t.work is not None else None for t in tasks]
            for i, task in enumerate(tasks):
                if isinstance(task, Put):
                    out[i] = _earlier(connection, task.calls)
            # in the order of the keys, so that two writers never wait for each other in a circle
            if bodies:
                statement = self.insert(schema.requests).on_conflict_do_nothing()
                connection.execute(statement, [dict(bodies[h]) for h in sorted(bodies)])
            if rows:
                statement = self.insert(schema.calls).on_conflict_do_nothing()
                connection.execute(statement, [dict(rows[k]) for k in sorted(rows)])
            # last, in every process: what it locks is wanted by many, and is let go at once
            for join, places in joint.items():
                results = join(connection, [tasks[i].item for i in places])  # type: ignore[attr-defined]
                for i, result in zip(places, results, strict=True):
                    out[i] = result
            return out

        return self._transaction(write, writes=True)

    def _transaction(self, work: Callable[[sa.Connection], list[Any]], writes: bool) -> list[Any]:
        """Do ``work`` in a transaction; once more when the connection or a lock was lost."""
        assert self.engine is not None
        for attempt in range(3):
            try:
                with (
                    self.engine.connect() as connection,
                    connection.execution_options(outthink_writes=writes).begin(),
                ):
                    result = work(connection)
                self.transactions += writes
                return result
            except DBAPIError as error:
                state = getattr(error.orig, "sqlstate", None)
                again = error.connection_invalidated or state in ("40P01", "40001")
                if not again or attempt == 2:
                    raise
                time.sleep(0.05 * (attempt + 1))
        raise AssertionError

    # -- opening -------------------------------------------------------------------------------

    def connect(self) -> None:
        """Make the engine and bring the tables to this version (in the worker's thread)."""
        path = self.address.path
        if path is not None:
            if path.is_dir():
                raise StoreError("it is a directory: name a file in it")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise StoreError(
                    f"its directory cannot be made: {reason}; name a file where you may write"
                ) from None
        if self.address.url.drivername == "sqlite":
            self.engine = _sqlite(self.address.url)
        else:
            self.engine = sa.create_engine(
                self.address.url,
                pool_size=1,
                max_overflow=0,
                pool_pre_ping=True,
                hide_parameters=True,
            )

        def upgrade(connection: sa.Connection) -> list[Any]:
            if connection.dialect.name == "postgresql":
                lock = sa.text("SELECT pg_advisory_xact_lock(:n)")
                connection.execute(lock, {"n": _MIGRATION_LOCK})
            schema.migrate(connection)
            return []

        def version(connection: sa.Connection) -> list[Any]:
            return [schema.version_of(connection)]

        if self._transaction(version, writes=False) != [len(schema.MIGRATIONS)]:
            self._transaction(upgrade, writes=True)


def _sqlite(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(
        url,
        poolclass=sa.pool.QueuePool,
        pool_size=1,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"timeout": PATIENCE, "check_same_thread": False},
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours, below
        for patience in range(200):
            try:
                # the first of several processes turns the log on; SQLite does not wait for that
                connection.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or patience == 199:
                    raise
                time.sleep(0.05)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # a writer takes the lock first: a transaction that read before could not wait for it
        writes = connection.get_execution_options().get("outthink_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _earlier(
    connection: sa.Connection, rows: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Record]]:
    """Of these rows of calls those that another writer has written: by the hash of their request."""
    asked: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        asked.setdefault((row["model"], row["request"]), []).append(row["sample"])
    found: dict[str, dict[str, Record]] = {}
    for (model, request), samples in asked.items():
        # the names of samples are written as ``key_of`` gives them
        if there := _records(connection, model, request, samples):
            found[request] = there
    return found


def _records(
    connection: sa.Connection, model: str, request: str, names: Sequence[str]
) -> dict[str, Record]:
    """The records of these sample names; ``request`` is its hash."""
    table, by_key = schema.calls, {key_of(n): n for n in names}
    keys, found = list(by_key), {}
    for at in range(0, len(keys), 500):
        rows = connection.execute(
            sa.select(table.c.sample, table.c.generation, table.c.usage).where(
                table.c.model == model,
                table.c.request == request,
                table.c.sample.in_(keys[at : at + 500]),
            )
        )
        for sample, generation, usage in rows:
            found[by_key[sample]] = Record(json.loads(generation), json.loads(usage))
    return found
