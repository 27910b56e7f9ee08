"""A call that was put is there: as it was, once, for every process, and at once."""

import asyncio
import itertools
import json
import math
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outthink.core.errors import StoreError
from outthink.core.run import Record
from outthink.store import default_url, open_store

from . import toys

USAGE = {
    "calls": 1,
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "cached_tokens": 0,
    "reasoning_tokens": 0,
    "seconds": 0.25,
    "usd": 1e-7,
    "flops": 3e11,
    "stored_calls": 0,
    "estimated": False,
}


def test_what_was_put_comes_back(url):
    async def main():
        async with await open_store(url) as store:
            record = Record({"text": "six", "tokens": 1, "logprobs": [-0.5, -1e-300]}, USAGE)
            assert await store.get("m", "r", ["0:0"]) == {}
            await store.put("m", "r", {"0:0": record})
            assert await store.get("m", "r", ["0:0", "0:1"]) == {"0:0": record}
            for other in (("n", "r", "0:0"), ("m", "s", "0:0"), ("m", "r", "1:0")):
                assert await store.get(*other[:2], [other[2]]) == {}
        async with await open_store(url) as store:
            assert await store.get("m", "r", ["0:0"]) == {"0:0": record}

    anyio.run(main)


def test_the_first_writer_of_a_key_wins(url):
    async def main():
        async with await open_store(url) as one, await open_store(url) as two:
            first, second = (Record({"text": t, "tokens": 1}, USAGE) for t in ("a", "b"))
            await one.put("m", "r", {"0:0": first})
            await two.put("m", "r", {"0:0": second, "0:1": second})
            expected = {"0:0": first, "0:1": second}
            for store in (one, two):
                assert await store.get("m", "r", ["0:0", "0:1"]) == expected

    anyio.run(main)


def test_thousands_of_samples_in_one_question(url):
    async def main():
        async with await open_store(url) as store:
            names = [f"0:{i}" for i in range(1700)]
            some = {n: Record({"text": n, "tokens": 1}, USAGE) for n in names}
            await store.put("m", "r", some)
            assert await store.get("m", "r", names) == some

    anyio.run(main)


def test_many_puts_share_few_commits(url):
    async def main():
        async with await open_store(url) as store:
            before = store._worker.transactions

            async def put(i):
                await store.put("m", f"r{i}", {"0:0": Record({"text": str(i)}, USAGE)})

            async with asyncio.TaskGroup() as tasks:
                for i in range(500):
                    tasks.create_task(put(i))
            assert store._worker.transactions - before <= 10
            for i in (0, 499):
                assert (await store.get("m", f"r{i}", ["0:0"]))["0:0"].generation == {
                    "text": str(i)
                }

    anyio.run(main)


def test_one_bad_write_does_not_harm_those_beside_it(url):
    async def main():
        async with await open_store(url) as store:
            outcomes = await asyncio.gather(
                store.put("m", "r", {"0:0": Record({"text": "x"}, USAGE)}),
                store.finish("never begun", {"stopped": "finished"}, {}),
                store.put("m", "r", {"0:1": Record({"text": "y"}, USAGE)}),
                return_exceptions=True,
            )
            assert [type(o) for o in outcomes] == [dict, StoreError, dict]
            assert len(await store.get("m", "r", ["0:0", "0:1"])) == 2

    anyio.run(main)


def test_a_cancelled_put_is_still_remembered(url):
    async def main():
        async with await open_store(url) as store:
            task = asyncio.ensure_future(
                store.put("m", "r", {"0:0": Record({"text": "paid"}, USAGE)})
            )
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with await open_store(url) as store:
            assert await store.get("m", "r", ["0:0"])

    anyio.run(main)


def test_nothing_is_left_after_closing(url):
    async def main():
        threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
        store = await open_store(url)
        await store.put("m", "r", {"0:0": Record({"text": "x"}, USAGE)})
        await store.aclose()
        await store.aclose()
        assert set(threading.enumerate()) == threads
        assert asyncio.all_tasks() == tasks
        with pytest.raises(StoreError, match="closed"):
            await store.get("m", "r", ["0:0"])

    for _ in range(3):
        anyio.run(main)


texts = st.text(st.characters(codec=None), max_size=60) | st.text(max_size=200).map(
    lambda t: (t + "\x00é漢🦋\u2028\ud800") * 40
)
numbers = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, -0.0])
count = itertools.count()


def joined(text):
    """A text whose two halves of one character, if they met, are that character (as in JSON)."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@settings(max_examples=40, deadline=None)
@given(
    model=texts,
    request=texts,
    names=st.lists(texts, min_size=1, max_size=4, unique=True),
    text=texts,
    logprobs=st.none() | st.lists(numbers, max_size=6),
    extra=st.dictionaries(st.text(max_size=8), st.none() | st.text(max_size=8) | st.integers()),
    amount=numbers,
)
def test_any_record_round_trips(model, request, names, text, logprobs, extra, amount):
    generation = {"text": text, "tokens": 3, "logprobs": logprobs, "extra": extra}
    usage = {**USAGE, "usd": amount}
    request = f"{next(count)} {request}"

    async def main():
        from tests.conftest import SERVER

        with tempfile.TemporaryDirectory() as folder:
            for url in [f"{folder}/s.db", *([SERVER] if SERVER else [])]:
                async with await open_store(url) as store:
                    request_here = f"{url} {id(store)} {request}"
                    records = {n: Record(generation, usage) for n in names}
                    await store.put(model, request_here, records)
                    found = await store.get(model, request_here, [*names, "absent"])
                    assert list(found) == names
                    for record in found.values():
                        assert record.generation["text"] == joined(text)
                        assert record.generation["extra"] == {
                            joined(k): joined(v) if isinstance(v, str) else v
                            for k, v in extra.items()
                        }
                        again = record.generation["logprobs"]
                        assert (again is None) == (logprobs is None)
                        assert list(map(repr, again or [])) == list(map(repr, logprobs or []))
                        assert repr(record.usage["usd"]) == repr(amount)

    anyio.run(main)


def test_a_very_large_text(url):
    text = "0123456789abcdef漢" * 300_000

    async def main():
        async with await open_store(url) as store:
            record = Record({"text": text, "tokens": 1}, USAGE)
            await store.put("m", text, {"0:" + ".".join("7" * 3000): record})
            found = await store.get("m", text, ["0:" + ".".join("7" * 3000)])
            assert next(iter(found.values())).generation["text"] == text

    anyio.run(main)


def test_two_processes_write_one_store_while_a_third_reads(url):
    script = Path(toys.__file__)
    writers = [
        subprocess.Popen(
            [sys.executable, str(script), "write", url, who, "200"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for who in ("one", "two")
    ]

    async def read():
        seen = reads = 0
        async with await open_store(url) as store:
            while any(w.poll() is None for w in writers):
                names = [f"{who}-{i}" for who in ("one", "two") for i in range(0, 200, 5)]
                now = len(await store.get("toy", "request 0", names))
                assert now >= seen, "what was there is there"
                seen, reads = now, reads + 1
                await asyncio.sleep(0.002)
            assert len(await store.get("toy", "request 0", names)) == 80
        return reads

    assert anyio.run(read) > 1
    outputs = [w.communicate() for w in writers]
    assert [w.returncode for w in writers] == [0, 0], outputs
    won = [json.loads(out) for out, _ in outputs]
    assert won[0] == won[1]


def test_the_default_store(monkeypatch, tmp_path):
    monkeypatch.setenv("OUTTHINK_STORE", "postgresql://host/db")
    assert default_url() == "postgresql://host/db"
    monkeypatch.delenv("OUTTHINK_STORE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_url() == str(tmp_path / "outthink" / "outthink.db")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_url() == str(tmp_path / ".local/share/outthink/outthink.db")


def test_importing_the_package_is_light():
    code = "import sys, outthink.store; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
