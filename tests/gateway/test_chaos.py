"""Faults behind the gateway and clients that leave it: nothing stays behind, and usage is true."""

import asyncio
import random

import pytest

for name in ("aiohttp", "httptools", "uvicorn", "uvloop"):
    pytest.importorskip(name, reason=f"{name} is not installed: outthink[gateway]")

from outthink.gateway.config import ServerConfig  # noqa: E402
from tests.gateway.storm import (  # noqa: E402
    Deed,
    clean,
    config_of,
    deeds,
    key_of,
    leaks,
    leave,
    rates,
    runnable,
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
        hostile(rates=rates(0.05), latency=0.02, retry_after=0.05, pace=0.002, right=0.7) as up,
        serving(
            config_of(
                up.url, [k for _, k in keys], server, usd_prompt=1.0, usd_completion=2.0, **SHORT
            )
        ) as running,
    ):
        secrets, before = [secret for secret, _ in keys], running.tasks()
        made = asyncio.run(storm(running.url, deeds(REQUESTS, secrets, 0.1, seed=1)))
        assert asyncio.run(clean(lambda: leaks(running, up.book, before, store))) == []
        answered, refused = summary(made)
        assert len(answered) > 0.75 * REQUESTS
        assert refused
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
        serving(config_of(up.url)) as running,
    ):
        specs, before = runnable(running), running.tasks()
        assert len(specs) > 20
        few = asyncio.Semaphore(8)

        async def one(spec, stream):
            async with few:
                return await leave(running.url, up, spec, stream, latency, rng.uniform(0.0, within))

        async def all_leave():
            ways = [one(spec, stream) for spec in specs for stream in (False, True)]
            slow = [way for way in await asyncio.gather(*ways) if way is not None]
            left = await clean(lambda: leaks(running, up.book, before, None))
            made = len(up.book.calls)
            await asyncio.sleep(0.2)  # time enough to ask again, were something still there
            return slow, left, [call.id for call in up.book.calls[made:]]

        assert asyncio.run(all_leave()) == ([], [], [])


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
