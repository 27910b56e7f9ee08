"""A store of any version that ever was opens with today's code, whole."""

import anyio
import pytest
import sqlalchemy as sa

from outthink.core.budget import Usage
from outthink.core.errors import StoreError
from outthink.core.run import Record
from outthink.store import open_store, schema
from outthink.store.address import Address, digest

#: what version 1 made of an empty database, frozen, and a few rows of each table
VERSION_1 = """
CREATE TABLE schema_version (version INTEGER);
INSERT INTO schema_version VALUES (1);
CREATE TABLE requests (hash TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE calls (model TEXT NOT NULL, request TEXT NOT NULL REFERENCES requests (hash),
  sample TEXT NOT NULL, generation TEXT NOT NULL, usage TEXT NOT NULL,
  created DOUBLE PRECISION NOT NULL, PRIMARY KEY (model, request, sample));
CREATE TABLE runs (id TEXT NOT NULL PRIMARY KEY, created DOUBLE PRECISION NOT NULL,
  ended DOUBLE PRECISION, problem TEXT NOT NULL, strategy TEXT NOT NULL, model TEXT NOT NULL,
  budget TEXT NOT NULL, seed TEXT NOT NULL, facts TEXT NOT NULL, answer TEXT, stopped TEXT,
  calls BIGINT, prompt_tokens BIGINT, completion_tokens BIGINT, cached_tokens BIGINT,
  reasoning_tokens BIGINT, seconds DOUBLE PRECISION, usd DOUBLE PRECISION, flops DOUBLE PRECISION,
  stored_calls BIGINT, estimated INTEGER);
CREATE INDEX runs_created ON runs (created);
CREATE TABLE samples (run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  position INTEGER NOT NULL, node TEXT NOT NULL, parent TEXT, delta TEXT NOT NULL,
  finish TEXT NOT NULL, tokens BIGINT NOT NULL, logprob DOUBLE PRECISION, stored INTEGER NOT NULL,
  scores TEXT NOT NULL, PRIMARY KEY (run, position));
CREATE TABLE events (run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  position INTEGER NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (run, position));
INSERT INTO requests VALUES ('{hash}', '{"messages":[]}');
INSERT INTO calls VALUES ('fly', '{hash}', '7:0.1', '{"text":"a\\u0000b","tokens":2}',
  '{"calls":1,"usd":0.5}', 1700000000.5);
INSERT INTO runs VALUES ('abc123', 1700000000.5, 1700000001.5,
  '{"messages":[{"role":"user","content":"2+2?"}]}', 'test_vote', 'fly', '{"tokens":100}', '7',
  '{"reader":"number"}', '{"answer":"4","text":"four: 4"}', 'finished',
  3, 30, 20, 4, 5, 1.25, 0.5, 6e9, 1, 1);
INSERT INTO runs VALUES ('dead99', 1700000002.5, NULL, '{"messages":[]}', 'test_vote', 'fly', '{}',
  '123456789012345678901234567890', '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL);
INSERT INTO samples VALUES ('abc123', 0, '0', NULL, '"one\\n"', 'step', 2, -0.5, 0, '{}');
INSERT INTO samples VALUES ('abc123', 1, '0.10', '0', '"two"', 'stop', 3, NULL, 1,
  '{"prm":[0.75,0.5,0.75]}');
INSERT INTO events VALUES ('abc123', 0, 'failure', '{"error":"x"}');
"""


def engine_of(url):
    return sa.create_engine(Address.of(url).url)


def make_version_1(url):
    engine = engine_of(url)
    with engine.begin() as connection:
        for line in VERSION_1.replace("{hash}", digest('{"messages":[]}')).split(";\n"):
            if line.strip():
                connection.exec_driver_sql(line)
    engine.dispose()


async def check_version_1(url):
    async with await open_store(url) as store:
        assert await store.get("fly", '{"messages":[]}', ["7:0.1"]) == {
            "7:0.1": Record({"text": "a\x00b", "tokens": 2}, {"calls": 1, "usd": 0.5})
        }
        dead, run = await store.list_runs()
        assert (dead.id, dead.ended, dead.answer, dead.usage) == ("dead99", None, None, None)
        assert dead.seed == 123456789012345678901234567890
        assert (run.id, run.created, run.ended) == ("abc123", 1700000000.5, 1700000001.5)
        assert (run.question, run.strategy, run.model) == ("2+2?", "test_vote", "fly")
        assert (run.budget, run.seed, run.facts) == ({"tokens": 100}, 7, {"reader": "number"})
        assert (run.answer, run.stopped) == ({"answer": "4", "text": "four: 4"}, "finished")
        assert run.usage == Usage(3, 30, 20, 4, 5, 1.25, 0.5, 6e9, 1, True)
        first, second = await store.samples_of(run)
        assert (first.node, first.parent, first.text, first.finish) == ((0,), None, "one\n", "step")
        assert (first.tokens, first.logprob, first.stored, first.scores) == (2, -0.5, False, {})
        assert (second.node, second.parent, second.text) == ((0, 10), (0,), "one\ntwo")
        assert (second.logprob, second.stored, second.total_tokens) == (None, True, 5)
        assert second.scores == {"prm": [0.75, 0.5, 0.75]}
        assert await store.events_of(run) == [{"kind": "failure", "error": "x"}]


def test_version_1_reads_whole(url):
    make_version_1(url)
    anyio.run(check_version_1, url)


def test_a_later_version_keeps_it_all(url, monkeypatch):
    make_version_1(url)
    later = schema.statements(
        "ALTER TABLE runs ADD COLUMN tag TEXT", "UPDATE runs SET tag = 'old' WHERE tag IS NULL"
    )
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, later])
        anyio.run(check_version_1, url)
        anyio.run(check_version_1, url)
    engine = engine_of(url)
    with engine.connect() as connection:
        tags = connection.exec_driver_sql("SELECT tag FROM runs").scalars().all()
        assert tags == ["old", "old"]
        assert schema.version_of(connection) == len(schema.MIGRATIONS) + 1
    engine.dispose()
    with pytest.raises(StoreError, match=r"newer outthink .*upgrade outthink") as caught:
        anyio.run(check_version_1, url)
    assert "\n" not in str(caught.value)


def test_a_migration_that_fails_changes_nothing(url, monkeypatch):
    make_version_1(url)
    broken = schema.statements("ALTER TABLE runs ADD COLUMN tag TEXT", "UPDATE nowhere SET x = 1")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, broken])
        with pytest.raises(StoreError):
            anyio.run(check_version_1, url)
    anyio.run(check_version_1, url)


def test_the_migrations_make_the_tables_that_the_code_knows(url):
    async def main():
        async with await open_store(url):
            pass

    anyio.run(main)
    engine = engine_of(url)
    inspector = sa.inspect(engine)
    for table in schema.metadata.sorted_tables:
        made = {c["name"]: c["nullable"] for c in inspector.get_columns(table.name)}
        assert made == {c.name: bool(c.nullable) for c in table.columns}, table.name
        keys = inspector.get_pk_constraint(table.name)["constrained_columns"]
        assert keys == [c.name for c in table.primary_key.columns]
        links = [k["referred_table"] for k in inspector.get_foreign_keys(table.name)]
        assert links == [k.column.table.name for k in table.foreign_keys]
    engine.dispose()


def test_many_open_a_new_store_together(url):
    async def main():
        import asyncio

        stores = await asyncio.gather(*(open_store(url) for _ in range(8)))
        for store in stores:
            assert await store.list_runs() == []
            await store.aclose()

    anyio.run(main)
