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
import hashlib
import importlib.util
import json
import queue
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from outthink.core.budget import Usage
from outthink.core.errors import BadInput, MissingNeed, OutthinkError, StoreError, nearest
from outthink.core.nouns import Node
from outthink.core.run import Record
from outthink.store import schema

#: seconds that a writer waits for another process to let go of an SQLite file
PATIENCE = 60.0
#: operations that share one transaction at most
BATCH = 1000
_FORMS = "write a file name (runs.db), sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
#: the lock that PostgreSQL processes take while they create or upgrade the tables
_MIGRATION_LOCK = 0x6F757474


# -- texts ------------------------------------------------------------------------------------------


def digest(text: str) -> str:
    """SHA-256 of a text in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def clean(text: str) -> str:
    """The text with what no database takes (NUL, lone surrogates) written as JSON would."""
    return text.replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode("utf-8")


def key_of(name: str) -> str:
    """A name as part of a key: itself, or a readable beginning and a hash if too long or strange."""
    safe = clean(name)
    if safe == name and len(safe.encode()) <= 200:
        return name
    return f"{safe[:40]}#{digest(name)}"


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return str(value)


def dump(value: Any) -> str:
    """JSON that any database takes: NUL is escaped, and lone surrogates too where there are some."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), default=_plain)
    return text


def _dotted(node: Iterable[int]) -> str:
    return ".".join(str(i) for i in node)


def _node(text: str) -> Node:
    return tuple(int(i) for i in text.split(".")) if text else ()


# -- addresses --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Address:
    """A checked store URL; ``shown`` is how it may be printed (no password)."""

    url: sa.URL
    shown: str
    path: Path | None = None

    @property
    def secrets(self) -> list[str]:
        """The passwords in the URL, to be kept out of every message."""
        found = [self.url.password or ""]
        for name, value in self.url.query.items():
            if "pass" in name.lower():
                found += [value] if isinstance(value, str) else list(value)
        return [text for text in found if text]

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"

    @classmethod
    def of(cls, text: str) -> Address:
        """Read a file name or URL; raises ``BadInput`` with the allowed forms."""
        if not isinstance(text, str) or not text.strip():
            raise BadInput(f"the store has no name: {_FORMS}")
        text = text.strip()
        if "\x00" in text:
            raise BadInput(f"a store's name holds no NUL character: {_FORMS}")
        scheme, colon, rest = text.partition("://")
        if not colon:
            if re.match(r"(sqlite|postgres(ql)?)(\+\w+)?:", text):
                raise BadInput(f"the store {_hidden(text)!r} lacks '//': {_FORMS}")
            return cls._file(text)
        kind = scheme.lower().partition("+")[0]
        if kind == "sqlite":
            name = rest.partition("?")[0]
            if name and not name.startswith("/"):
                raise BadInput(f"the store {text!r} needs three slashes before the file: {_FORMS}")
            return cls._file(name[1:] or ":memory:")
        if kind in ("postgresql", "postgres"):
            try:
                url = sa.make_url(text).set(drivername="postgresql+psycopg")
            except (ArgumentError, ValueError):
                raise BadInput(
                    f"the store {_hidden(text)!r} is not a URL: {_FORMS}; write special characters "
                    "of a password as %40 (@), %2F (/), %3A (:)"
                ) from None
            if not url.database:
                raise BadInput(f"the store {_hidden(text)!r} names no database: {_FORMS}")
            return cls(url, _hidden(text))
        known = {"sqlite", "postgresql"}
        guess = nearest(kind, known).partition(" known")[0]
        raise BadInput(f"unknown kind of store {kind[:40]!r}{guess.rstrip(';')}; {_FORMS}")

    @classmethod
    def _file(cls, name: str) -> Address:
        if name == ":memory:":
            return cls(sa.URL.create("sqlite", database=name), name)
        path = Path(name).expanduser()
        return cls(sa.URL.create("sqlite", database=str(path)), str(path), path)


def _hidden(url: str) -> str:
    """A URL without its user, password and options, however broken it is."""
    head, slashes, rest = url.partition("://") if "://" in url else url.partition(":")
    return head + slashes + rest.rpartition("@")[2].partition("?")[0]


# -- what is read -----------------------------------------------------------------------------------


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
        from outthink.core.nouns import text_of

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


# -- the worker -------------------------------------------------------------------------------------

Work = Callable[[sa.Connection], Any]


@dataclass(eq=False)
class _Task:
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
class _Get(_Task):
    model: str = ""
    request: str = ""
    samples: Sequence[str] = ()


@dataclass(eq=False)
class _Put(_Task):
    requests: Sequence[Mapping[str, Any]] = ()
    calls: Sequence[Mapping[str, Any]] = ()


class _Worker(threading.Thread):
    """Does what is queued, in batches: all reads, then all writes in one transaction."""

    def __init__(self, address: Address, opened: _Task) -> None:
        super().__init__(name="outthink-store", daemon=True)
        self.address, self.opened = address, opened
        self.queue: queue.SimpleQueue[_Task] = queue.SimpleQueue()
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
            closing = [t for t in batch if type(t) is _Task and t.work is None]
            self._each([t for t in batch if not t.writes and t not in closing], self._read)
            self._each([t for t in batch if t.writes], self._write)
            if closing:
                if self.engine is not None:
                    self.engine.dispose()
                for task in closing:
                    task.done()
                return

    def _each(self, tasks: list[_Task], how: Callable[[list[_Task]], list[Any]]) -> None:
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

    def _read(self, tasks: list[_Task]) -> list[Any]:
        assert self.engine is not None
        wanted: dict[tuple[str, str], set[str]] = {}
        for task in tasks:
            if isinstance(task, _Get):
                wanted.setdefault((task.model, task.request), set()).update(task.samples)

        def read(connection: sa.Connection) -> list[Any]:
            found: dict[tuple[str, str], dict[str, Record]] = {}
            for (model, request), names in wanted.items():
                found[model, request] = _records(connection, model, request, sorted(names))
            out: list[Any] = []
            for task in tasks:
                if isinstance(task, _Get):
                    here = found[task.model, task.request]
                    out.append({n: here[n] for n in task.samples if n in here})
                elif task.work is not None:
                    out.append(task.work(connection))
            return out

        return self._transaction(read, writes=False)

    def _write(self, tasks: list[_Task]) -> list[Any]:
        puts = [t for t in tasks if isinstance(t, _Put)]
        bodies = {r["hash"]: r for t in puts for r in t.requests}
        rows: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        for task in puts:
            for row in task.calls:
                rows.setdefault((row["model"], row["request"], row["sample"]), row)

        def write(connection: sa.Connection) -> list[Any]:
            out = [t.work(connection) if t.work is not None else None for t in tasks]
            # in the order of the keys, so that two writers never wait for each other in a circle
            if bodies:
                statement = self.insert(schema.requests).on_conflict_do_nothing()
                connection.execute(statement, [dict(bodies[h]) for h in sorted(bodies)])
            if rows:
                statement = self.insert(schema.calls).on_conflict_do_nothing()
                connection.execute(statement, [dict(rows[k]) for k in sorted(rows)])
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


# -- the store --------------------------------------------------------------------------------------


class Store:
    """The ``Memory`` of runs, and what reads it back.  Made by ``open_store``."""

    def __init__(self, address: Address, worker: _Worker) -> None:
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
        opened = _Task(loop, loop.create_future())
        store = cls(address, _Worker(address, opened))
        store._worker.start()
        try:
            await opened.future
        except asyncio.CancelledError:
            store._worker.queue.put(_Task(loop, loop.create_future()))
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
        task = _Task(loop, loop.create_future())
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

    async def _do(self, make: Callable[..., _Task], **parts: Any) -> Any:
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

    # -- what a run asks (the protocol Memory) --------------------------------------------------

    async def get(self, model: str, request: str, samples: Sequence[str]) -> dict[str, Record]:
        """The records of these sample indices that exist."""
        if not samples:
            return {}
        found: dict[str, Record] = await self._do(
            _Get, model=key_of(model), request=digest(request), samples=tuple(samples)
        )
        return found

    async def put(self, model: str, request: str, records: Mapping[str, Record]) -> None:
        """Remember finished samples, all or none; returns when a crash can no longer undo it."""
        if not records:
            return
        name, hashed, now = key_of(model), digest(request), time.time()
        rows = [
            {
                "model": name,
                "request": hashed,
                "sample": key_of(sample),
                "generation": dump(record.generation),
                "usage": dump(record.usage),
                "created": now,
            }
            for sample, record in records.items()
        ]
        body = {"hash": hashed, "body": clean(request)}
        await self._do(_Put, writes=True, requests=[body], calls=rows)

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

        await self._do(_Task, work=work, writes=True)

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
                row[column.name] = usage[column.name]
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

        await self._do(_Task, work=work, writes=True)

    # -- what is read back ----------------------------------------------------------------------

    async def list_runs(self, limit: int | None = 20) -> list[StoredRun]:
        """The latest runs, newest first; ``None`` gives all."""
        table = schema.runs

        def work(connection: sa.Connection) -> list[StoredRun]:
            order = sa.select(table).order_by(table.c.created.desc(), table.c.id.desc())
            return [_run(row) for row in connection.execute(order.limit(limit)).mappings()]

        found: list[StoredRun] = await self._do(_Task, work=work)
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

        found: StoredRun = await self._do(_Task, work=work)
        return found

    async def samples_of(self, run: str | StoredRun) -> list[StoredSample]:
        """The samples of a run in the order of the tree; empty while it is unfinished."""
        name = key_of(run.id if isinstance(run, StoredRun) else (await self.get_run(run)).id)
        table = schema.samples

        def work(connection: sa.Connection) -> list[StoredSample]:
            rows = connection.execute(sa.select(table).where(table.c.run == name)).mappings()
            by_node: dict[Node, StoredSample] = {}
            for row in sorted(rows, key=lambda r: _node(r["node"])):
                parent = _node(row["parent"]) if row["parent"] is not None else None
                node = _node(row["node"])
                by_node[node] = StoredSample(
                    node=node,
                    parent=parent,
                    delta=json.loads(row["delta"]),
                    finish=row["finish"],
                    tokens=row["tokens"],
                    logprob=row["logprob"],
                    stored=bool(row["stored"]),
                    scores=json.loads(row["scores"]),
                    above=by_node.get(parent) if parent is not None else None,
                )
            return list(by_node.values())

        found: list[StoredSample] = await self._do(_Task, work=work)
        return found

    async def events_of(self, run: str | StoredRun) -> list[dict[str, Any]]:
        """The events of a run's trace in their order, each with its ``kind``."""
        name = key_of(run.id if isinstance(run, StoredRun) else (await self.get_run(run)).id)
        table = schema.events

        def work(connection: sa.Connection) -> list[dict[str, Any]]:
            order = sa.select(table).where(table.c.run == name).order_by(table.c.position)
            rows = connection.execute(order).mappings()
            return [{"kind": row["kind"], **json.loads(row["data"])} for row in rows]

        found: list[dict[str, Any]] = await self._do(_Task, work=work)
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
        "node": _dotted(sample["node"]),
        "parent": _dotted(parent) if parent is not None else None,
        "delta": dump(sample.get("delta", "")),
        "finish": clean(str(sample.get("finish", ""))),
        "tokens": int(sample.get("tokens", 0)),
        # SQLite keeps NaN as null: a log-probability that is not a number is none
        "logprob": float(logprob) if logprob is not None and logprob == logprob else None,
        "stored": int(bool(sample.get("stored"))),
        "scores": dump(sample.get("scores", {})),
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
