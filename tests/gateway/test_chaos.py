"""Faults behind the gateway and clients that leave it: nothing stays behind, and usage is true."""

import asyncio
import json
import random

import pytest

for name in ("aiohttp", "httptools", "uvicorn", "uvloop"):
    pytest.importorskip(name, reason=f"{name} is not installed: outthink[gateway]")

from outthink.gateway.config import ServerConfig  # noqa: E402
from tests.gateway.running import running  # noqa: E402
from tests.gateway.storm import (  # noqa: E402
    ENDPOINTS,
    Deed,
    clean,
    config_of,
    deeds,
    key_of,
    leaks,
    leave,
    rates,
    runnable,
    spent,
    storm,
    tasks_of,
    until,
    untrue,
)
from tests.gateway.upstream import hostile  # noqa: E402

REQUESTS = 300
#: short enough that what hangs is over before the test is
SHORT = {"read_seconds": 1.0, "retries": 1}


def test_a_storm_leaves_nothing_behind_and_tells_the_truth(tmp_path):
    store = str(tmp_path / "ledger.db")
    keys = [
        key_of("free"),
        key_of("tokens", tokens_per_day=10**9),
        key_of("money", usd_per_month=10**6, concurrent=REQUESTS),
    ]
    server = ServerConfig(store=store, deadline_seconds=6.0, concurrent=100)
    with (
        hostile(rates=rates(0.05), latency=0.02, retry_after=0.05, pace=0.002, right=0.7) as up,
        running(
            config_of(
                up.url, [k for _, k in keys], server, usd_prompt=1.0, usd_completion=2.0, **SHORT
            )
        ) as gate,
    ):
        secrets, before = [secret for secret, _ in keys], tasks_of(gate)
        made = asyncio.run(storm(gate.url, deeds(REQUESTS, secrets, 0.1, seed=1)))
        assert asyncio.run(clean(lambda: leaks(gate, up.book, before, store))) == []
        befallen = [call for call in up.book.calls if call.faults]
        assert len({fault for call in befallen for fault in call.faults}) > 10
        assert sum(d.status == 200 and d.error is None for d in made) > 0.75 * REQUESTS
        assert [d for d in made if d.leaves and not d.status], "nobody left"
        wrong = untrue(made, up.book)
        assert not wrong, "\n".join(wrong)
        charged = spent(store)
        for place, (_, key) in enumerate(keys[1:], 1):
            ids = [id for id in up.book.totals if id.endswith(f"-k{place}")]
            billed = sum(
                (up.book.total(id)["prompt"] + up.book.total(id)["completion"]) for id in ids
            )
            assert charged[key.id] >= billed > 0
    assert up.wait(lambda book: book.connections == 0)


@pytest.mark.parametrize(
    ("latency", "within"), [(30.0, 0.0), (0.02, 0.4)], ids=["in the first call", "anywhere"]
)
def test_a_client_that_leaves_stops_every_call(latency, within):
    rng = random.Random(1)
    with (
        hostile(fault="refuse_n", pace=0.01) as up,
        running(config_of(up.url)) as gate,
    ):
        specs, before = runnable(gate), tasks_of(gate)
        assert len(specs) > 20
        few = asyncio.Semaphore(8)

        async def one(spec, stream):
            async with few:
                return await leave(gate.url, up, spec, stream, latency, rng.uniform(0.0, within))

        async def all_leave():
            ways = [one(spec, stream) for spec in specs for stream in (False, True)]
            slow = [way for way in await asyncio.gather(*ways) if way is not None]
            left = await clean(lambda: leaks(gate, up.book, before, None))
            made = len(up.book.calls)
            await asyncio.sleep(0.2)  # time enough to ask again, were something still there
            return slow, left, [call.id for call in up.book.calls[made:]]

        assert asyncio.run(all_leave()) == ([], [], [])


def test_a_cold_start_with_a_host_name_does_not_deadlock():
    with hostile(fault="refuse_n", latency=0.02) as up:
        url = up.url.replace("127.0.0.1", "localhost")
        with running(config_of(url)) as gate:
            made = [
                Deed(f"c{i}", "chat/completions", "none", "self_consistency(n=8)", False, None)
                for i in range(64)
            ]
            done = asyncio.run(asyncio.wait_for(storm(gate.url, made), 30))
    assert [d.status for d in done] == [200] * 64
    assert untrue(done, up.book) == []


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_nothing_piles_up_for_a_client_that_does_not_read(endpoint):
    deed = Deed("slow", endpoint, "none", None, True, fault="endless")

    async def ask(port):
        body = json.dumps({**deed.body(), "metadata": {"words": "3000"}}).encode()
        head = f"POST /v1/{endpoint} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)

        def sent():
            return sum(call.sent for call in up.book.of("slow"))

        assert await until(lambda: sent() > 0)
        last, begun = 0, asyncio.get_running_loop().time()
        while sent() > last and asyncio.get_running_loop().time() < begun + 8:
            last = sent()
            await asyncio.sleep(0.5)
        going = sent() > last
        writer.transport.abort()
        return going

    with hostile() as up, running(config_of(up.url)) as gate:
        assert not asyncio.run(ask(int(gate.root.rpartition(":")[2])))
        assert up.wait(lambda book: book.in_flight == 0)
