"""The tables, and how a store of an older version becomes one of this version.

``MIGRATIONS[i]`` takes a store from version ``i`` to ``i + 1``; version 0 is an empty database.
A migration that was ever released is never edited: its statements are frozen, and the tables below
describe what all of them together give.  The statements are plain enough for SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from outthink.core.errors import StoreError

Migration = Callable[[sa.Connection], None]

metadata = sa.MetaData()

schema_version = sa.Table("schema_version", metadata, sa.Column("version", sa.Integer))

#: the full text of each request, once, under its SHA-256
requests = sa.Table(
    "requests",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)

#: one row for each sample that was ever paid for
calls = sa.Table(
    "calls",
    metadata,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("request", sa.Text, sa.ForeignKey("requests.hash"), primary_key=True),
    sa.Column("sample", sa.Text, primary_key=True),
    sa.Column("generation", sa.Text, nullable=False),
    sa.Column("usage", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
)

#: what ``Usage`` counts, a column each
USAGE = (
    sa.Column("calls", sa.BigInteger),
    sa.Column("prompt_tokens", sa.BigInteger),
    sa.Column("completion_tokens", sa.BigInteger),
    sa.Column("cached_tokens", sa.BigInteger),
    sa.Column("reasoning_tokens", sa.BigInteger),
    sa.Column("seconds", sa.Double),
    sa.Column("usd", sa.Double),
    sa.Column("flops", sa.Double),
    sa.Column("stored_calls", sa.BigInteger),
    sa.Column("estimated", sa.Integer),
)

#: one row for each run, from its first moment on: ``ended`` is null while it goes or if it died
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("ended", sa.Double),
    sa.Column("problem", sa.Text, nullable=False),
    sa.Column("strategy", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("budget", sa.Text, nullable=False),
    sa.Column("seed", sa.Text, nullable=False),
    sa.Column("facts", sa.Text, nullable=False),
    sa.Column("answer", sa.Text),
    sa.Column("stopped", sa.Text),
    *USAGE,
)

#: the tree of a run's samples: each holds what it adds to its parent
samples = sa.Table(
    "samples",
    metadata,
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("node", sa.Text, nullable=False),
    sa.Column("parent", sa.Text),
    sa.Column("delta", sa.Text, nullable=False),
    sa.Column("finish", sa.Text, nullable=False),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("logprob", sa.Double),
    sa.Column("stored", sa.Integer, nullable=False),
    sa.Column("scores", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("answer", sa.Text),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
)

#: one row for each key that the gateway limits; who changes anything of a key locks its row first
gateway_keys = sa.Table(
    "gateway_keys",
    metadata,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("open", sa.BigInteger, nullable=False),
)

#: what a key did in a minute, a day and a month (``2026-01-31T23:59``, ``2026-01-31``, ``2026-01``,
#: UTC), and what its requests hold of it; money in billionths of a dollar, so that sums are exact
gateway_periods = sa.Table(
    "gateway_periods",
    metadata,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("period", sa.Text, primary_key=True),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("nano_usd", sa.BigInteger, nullable=False),
    sa.Column("held_tokens", sa.BigInteger, nullable=False),
    sa.Column("held_nano_usd", sa.BigInteger, nullable=False),
)

#: one row for each request under way, until ``expires``; ``lapsed``: it ran out and was charged whole
gateway_holds = sa.Table(
    "gateway_holds",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("day", sa.Text, nullable=False),
    sa.Column("month", sa.Text, nullable=False),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("nano_usd", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.Double, nullable=False),
    sa.Column("lapsed", sa.Integer, nullable=False),
)


def statements(*lines: str) -> Migration:
    """A migration that executes these statements."""

    def apply(connection: sa.Connection) -> None:
        for line in lines:
            connection.exec_driver_sql(line)

    return apply


MIGRATIONS: list[Migration] = [
    statements(
        "CREATE TABLE requests (hash TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL)",
        "CREATE TABLE calls ("
        "model TEXT NOT NULL, request TEXT NOT NULL REFERENCES requests (hash), "
        "sample TEXT NOT NULL, generation TEXT NOT NULL, usage TEXT NOT NULL, "
        "created DOUBLE PRECISION NOT NULL, PRIMARY KEY (model, request, sample))",
        "CREATE TABLE runs ("
        "id TEXT NOT NULL PRIMARY KEY, created DOUBLE PRECISION NOT NULL, ended DOUBLE PRECISION, "
        "problem TEXT NOT NULL, strategy TEXT NOT NULL, model TEXT NOT NULL, budget TEXT NOT NULL, "
        "seed TEXT NOT NULL, facts TEXT NOT NULL, answer TEXT, stopped TEXT, "
        "calls BIGINT, prompt_tokens BIGINT, completion_tokens BIGINT, cached_tokens BIGINT, "
        "reasoning_tokens BIGINT, seconds DOUBLE PRECISION, usd DOUBLE PRECISION, "
        "flops DOUBLE PRECISION, stored_calls BIGINT, estimated INTEGER)",
        "CREATE INDEX runs_created ON runs (created)",
        "CREATE TABLE samples ("
        "run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, position INTEGER NOT NULL, "
        "node TEXT NOT NULL, parent TEXT, delta TEXT NOT NULL, finish TEXT NOT NULL, "
        "tokens BIGINT NOT NULL, logprob DOUBLE PRECISION, stored INTEGER NOT NULL, "
        "scores TEXT NOT NULL, PRIMARY KEY (run, position))",
        "CREATE TABLE events ("
        "run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, position INTEGER NOT NULL, "
        "kind TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (run, position))",
    ),
    statements(
        "ALTER TABLE samples ADD COLUMN role TEXT NOT NULL DEFAULT 'main'",
        "ALTER TABLE samples ADD COLUMN answer TEXT",
    ),
    statements(
        "CREATE TABLE gateway_keys (key_id TEXT NOT NULL PRIMARY KEY, open BIGINT NOT NULL)",
        "CREATE TABLE gateway_periods ("
        "key_id TEXT NOT NULL, period TEXT NOT NULL, requests BIGINT NOT NULL, "
        "tokens BIGINT NOT NULL, nano_usd BIGINT NOT NULL, held_tokens BIGINT NOT NULL, "
        "held_nano_usd BIGINT NOT NULL, PRIMARY KEY (key_id, period))",
        "CREATE TABLE gateway_holds ("
        "id TEXT NOT NULL PRIMARY KEY, key_id TEXT NOT NULL, day TEXT NOT NULL, "
        "month TEXT NOT NULL, tokens BIGINT NOT NULL, nano_usd BIGINT NOT NULL, "
        "expires DOUBLE PRECISION NOT NULL, lapsed INTEGER NOT NULL)",
        "CREATE INDEX gateway_holds_expiry ON gateway_holds (key_id, expires)",
    ),
]


def version_of(connection: sa.Connection) -> int:
    """The version of the store behind this connection; 0 when there is none yet."""
    if not sa.inspect(connection).has_table("schema_version"):
        return 0
    found = connection.execute(sa.select(sa.func.max(schema_version.c.version))).scalar()
    return int(found or 0)


def migrate(connection: sa.Connection, migrations: Sequence[Migration] | None = None) -> None:
    """Bring the store to this version, inside the caller's transaction.

    The caller holds the write lock, so of several processes that open a new store together one
    creates it and the others find it done.
    """
    steps = MIGRATIONS if migrations is None else migrations
    version = version_of(connection)
    if version > len(steps):
        raise StoreError(
            f"it was written by a newer outthink (schema version {version}, this one knows "
            f"{len(steps)}): upgrade outthink, or use another store"
        )
    if version == 0:
        if connection.dialect.name == "sqlite" and sa.inspect(connection).get_table_names():
            raise StoreError(
                "it is an SQLite database of another program: name a file of its own for the store"
            )
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER)")
    for number, step in enumerate(steps[version:], start=version + 1):
        step(connection)
        connection.execute(schema_version.delete())
        connection.execute(schema_version.insert(), {"version": number})
