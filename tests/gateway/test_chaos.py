"""Faults behind the gateway and clients that leave it: nothing stays behind, and usage is true."""

import asyncio
import contextlib

import pytest

for name in ("aiohttp", "httptools", "uvicorn", "uvloop"):
    pytest.importorskip(name, reason=f"{name} is not installed: outthink[gateway]")

import aiohttp  # noqa: E402

from outthink.core import registry  # noqa: E402
from outthink.gateway.config import ServerConfig  # noqa: E402
from outthink.gateway.errors import Fault  # noqa: E402
from tests.gateway.storm import (  # noqa: E402
    Deed,
    clean,
    config_of,
    deeds,
    key_of,
    leaks,
    rates,
    serving,
    spent,
    storm,
    untrue,
)
from tests.gateway.upstream import hostile  # noqa: E402

REQUESTS = 300
#: short enough that what hangs is over before the test is
SHORT = {"read_seconds": 1.0, "retries": 1}


def summary(made):
    answered = [d for d in made if d.status == 200 and d.error is None]
    refused = [d for d in made if d.error is not None]
    return answered, refused


def test_a_storm_leaves_nothing_behind_and_tells_the_truth(tmp_path):
    store = str(tmp_path / "ledger.db")
    keys = [
        key_of("free"),
        key_of("tokens", tokens_per_day=10**9),
        key_of("money", usd_per_month=10**6, concurrent=REQUESTS),
    ]
    server = ServerConfig(store=store, deadline_seconds=6.0)
    with (
        hostile(rates=rates(0.05), retry_after=0.05, pace=0.002, right=0.7) as up,
        serving(
            config_of(
                up.url, [k for _, k in keys], server, usd_prompt=1.0, usd_completion=2.0, **SHORT
            )
        ) as running,
    ):
        secrets = [secret for secret, _ in keys]
        warm = asyncio.run(storm(running.url, deeds(36, secrets, 0.0, seed=0)))
        assert asyncio.run(clean(lambda: leaks(running, up.book, running.tasks(), store))) == []
        before = running.tasks()
        made = asyncio.run(storm(running.url, deeds(REQUESTS, secrets, 0.1, seed=1)))
        assert asyncio.run(clean(lambda: leaks(running, up.book, before, store))) == []
        answered, refused = summary(made)
        assert len(answered) > 0.75 * REQUESTS
        assert refused
        assert [d for d in made if d.leaves and not d.status], "nobody left"
        wrong = untrue([*warm, *made], up.book)
        assert not wrong, "\n".join(wrong)
        charged = spent(store)
        for place, (_, key) in enumerate(keys[1:], 1):
            ids = [id for id in up.book.totals if id.endswith(f"-k{place}")]
            billed = sum(
                (up.book.total(id)["prompt"] + up.book.total(id)["completion"]) for id in ids
            )
            assert charged[key.id] >= billed > 0
    assert up.wait(lambda book: book.connections == 0)


def runnable(running):
    """The strategies that a plain server can answer, with the model as judge where one is needed."""
    catalog = running.gateway.catalog

    def runs(spec):
        try:
            catalog.strategy(spec, catalog.served["m"], None, False, "model")
        except Fault:
            return False
        return True

    names = [name for name in registry.entries("strategy") if name != "greedy"]
    ways = [(name, f"{name}(verifier=judge)") for name in names]
    return [None, *(next(filter(runs, way)) for way in ways if any(map(runs, way)))]


def test_a_client_that_leaves_stops_every_call_at_once():
    with hostile(fault="refuse_n") as up, serving(config_of(up.url)) as running:
        specs = runnable(running)
        assert len(specs) > 10

        async def leave(spec, stream):
            deed = Deed(f"{spec}-{stream}", "chat/completions", "none", spec, stream, None)
            body = deed.body()
            body["messages"][0]["content"] += " #latency=30"
            async with aiohttp.ClientSession() as client:
                asking = asyncio.ensure_future(
                    client.post(f"{running.url}/chat/completions", json=body)
                )
                came = await up.until(lambda book: any(not c.ended for c in book.of(deed.id)), 5)
                asking.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asking
            stopped = await up.until(lambda book: all(c.ended for c in book.of(deed.id)), 0.5)
            calls = len(up.book.of(deed.id))
            await asyncio.sleep(0.1)
            more = len(up.book.of(deed.id)) - calls
            return [
                w
                for w, bad in (
                    ("no call came", not came),
                    ("calls went on", not stopped),
                    (f"{more} more calls", more),
                )
                if bad
            ]

        async def all_of_them():
            ways = [(spec, stream) for spec in specs for stream in (False, True)]
            return dict(zip(ways, await asyncio.gather(*(leave(*w) for w in ways)), strict=True))

        wrong = {way: told for way, told in asyncio.run(all_of_them()).items() if told}
        assert wrong == {}
        assert asyncio.run(clean(lambda: leaks(running, up.book, running.tasks(), None))) == []


def test_a_cold_start_with_a_host_name_does_not_deadlock():
    with hostile(fault="refuse_n", latency=0.02) as up:
        url = up.url.replace("127.0.0.1", "localhost")
        with serving(config_of(url)) as running:
            made = [
                Deed(f"c{i}", "chat/completions", "none", "self_consistency(n=8)", False, None)
                for i in range(64)
            ]
            done = asyncio.run(asyncio.wait_for(storm(running.url, made), 30))
    assert [d.status for d in done] == [200] * 64
    assert untrue(done, up.book) == []
