"""What is not a store says so in one line, and says what to do; no password is ever shown."""

import os
import sqlite3
import traceback

import anyio
import pytest

from outthink.core.errors import BadInput, MissingNeed, OutthinkError, StoreError
from outthink.store import db, open_store, worker


def opening(url):
    async def main():
        async with await open_store(url):
            pass

    anyio.run(main)


def said(url, kind):
    with pytest.raises(kind) as caught:
        opening(url)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_forms_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for url, path in {
        "runs.db": "runs.db",
        "deep/er/runs.db": "deep/er/runs.db",
        "sqlite:///relative.db": "relative.db",
        f"sqlite:///{tmp_path}/absolute.db": "absolute.db",
        "~/home.db": "home.db",
        "odd #?%20 name.db": "odd #?%20 name.db",
    }.items():
        opening(url)
        assert (tmp_path / path).is_file(), url
    opening(":memory:")
    opening("sqlite://")


@pytest.mark.parametrize(
    "given", ["", "  ", "mysql://host/db", "sqlite://runs.db", "sqlite:runs.db", "postgresql://host",
            "postgresql:/host/db", "postgresql://host:port/db", "a\x00b"]
)  # fmt: skip
def test_what_cannot_be_a_store(given):
    text = said(given, BadInput)
    assert "sqlite:///FILE" in text
    assert "postgresql://" in text


def test_a_file_that_is_not_a_database(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, not a database\n" * 100)
    text = said(str(path), StoreError)
    assert "not a database" in text
    assert "name another file" in text
    assert path.read_text().startswith("these are notes")


def test_a_database_of_another_program(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    assert "another program" in said(str(path), StoreError)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]


def test_a_directory(tmp_path):
    assert "it is a directory" in said(str(tmp_path), StoreError)


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be made" in said(str(tmp_path / "file" / "runs.db"), StoreError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path):
    tmp_path.chmod(0o500)
    assert "check that you may write" in said(str(tmp_path / "runs.db"), StoreError)


def test_no_permission_seen_from_sqlite(tmp_path):
    if not os.path.exists("/proc/self"):
        pytest.skip("needs a place where nobody may write")
    assert "cannot be" in said("/proc/self/runs.db", StoreError)


PASSWORD = "hunter2"
BROKEN = [
    f"postgresql://me:{PASSWORD}@127.0.0.1:1/db",
    f"postgresql://me:{PASSWORD}@127.0.0.1:port/db",
    f"postgresql://me:a/{PASSWORD}@127.0.0.1:1/db",
    f"postgresql://me:a@{PASSWORD}@127.0.0.1:1",
    f"postgresql://127.0.0.1:1/db?password={PASSWORD}",
    f"postgresql:/me:{PASSWORD}@host/db",
    f"mysql://me:{PASSWORD}@host/db",
    f"postgresql://me:x{PASSWORD}%zz@127.0.0.1:1/db?sslpassword={PASSWORD}&sslcert=/none",
]


@pytest.mark.parametrize("given", BROKEN)
def test_a_password_is_never_shown(given):
    pytest.importorskip("psycopg")
    with pytest.raises(OutthinkError) as caught:
        opening(given)
    whole = "".join(traceback.format_exception(caught.value, chain=True))
    assert PASSWORD not in whole
    assert "\n" not in str(caught.value)


def test_an_address_does_not_show_its_password():
    address = db.Address.of(f"postgresql://me:{PASSWORD}@host/db?password={PASSWORD}")
    assert PASSWORD not in repr(address) + str(address) + f"{address}" + address.shown
    assert address.shown == "postgresql://host/db"


def test_a_missing_driver_names_the_extra(monkeypatch):
    monkeypatch.setattr(db.importlib.util, "find_spec", lambda name: None)
    assert "outthink[postgres]" in said("postgresql://host/db", MissingNeed)


def test_a_store_that_another_process_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "PATIENCE", 0.2)
    path = tmp_path / "held.db"
    opening(str(path))

    async def main():
        async with await open_store(str(path)) as store:
            with sqlite3.connect(path, isolation_level=None) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreError, match="another process has held it"):
                    await store.begin("r", {"problem": []})
                assert await store.list_runs() == [], "reading goes on while another writes"
                other.execute("ROLLBACK")
            await store.begin("r", {"problem": []})
            assert len(await store.list_runs()) == 1

    anyio.run(main)


def test_a_commit_is_synced(tmp_path):
    async def main():
        async with await open_store(str(tmp_path / "s.db")) as store:
            with store._worker.engine.connect() as connection:
                ask = connection.exec_driver_sql
                assert ask("PRAGMA journal_mode").scalar() == "wal"
                assert ask("PRAGMA synchronous").scalar() == 2
                assert ask("PRAGMA foreign_keys").scalar() == 1

    anyio.run(main)
