"""Worker processes for the ledger's tests: they share nothing with the test but the store."""

import asyncio
import os
import time

from outthink.core.budget import Usage
from outthink.gateway.config import KeyConfig
from outthink.gateway.errors import Fault
from outthink.gateway.ledger import Ledger
from outthink.store import open_store

#: a Wednesday in the middle of a minute, an hour, a day and a month
NOON = 1_768_392_000.0 + 30


def key_of(name="a", **limits):
    return KeyConfig(id=name.rjust(12, "0"), name=name, salt="0" * 32, hash="0" * 64, **limits)


def tokens(n, usd=0.0):
    """A cost: a third of the tokens are the prompt's."""
    return Usage(calls=1, prompt_tokens=n // 3, completion_tokens=n - n // 3, usd=usd)


KEYS = [
    key_of("a", requests_per_minute=100),
    key_of("b", tokens_per_day=500),
    key_of("c", tokens_per_day=100_000, concurrent=4),
    key_of("d", requests_per_minute=60, tokens_per_day=100_000, usd_per_month=1.0),
]
VICTIM = key_of("v", tokens_per_day=100, concurrent=1)


async def one_after_another(ledger, key, made):
    """Requests of a key until it is full: 40 at most, or until nothing is left of its tokens."""
    tries = 0
    while tries < 40 or key.id == KEYS[1].id:
        tries += 1
        try:
            account = await ledger.admit(key, NOON + 60)
        except Fault as fault:
            if fault.code == "insufficient_quota":
                return
            continue
        try:
            await account.fund(tokens(10, 1e-9))
            fits = int(min(10, account.left("total_tokens")))
            account.reserve(tokens(fits)).settle(tokens(min(fits, 7)))
        finally:
            made[key.id][0] += 1
            made[key.id][1] += account.spent.total_tokens
            await account.close()


async def spend_all(url, order):
    made = {key.id: [0, 0] for key in KEYS}
    async with await open_store(url) as store, asyncio.TaskGroup() as tasks:
        ledger = Ledger(store, lambda: NOON)
        for key in KEYS[::order] * 3:
            tasks.create_task(one_after_another(ledger, key, made))
    return made


def spender(url, order, queue):
    """Say how many requests were made of each key, and what they spent."""
    queue.put(asyncio.run(spend_all(url, order)))


async def hold_and_wait(url, ready):
    async with await open_store(url) as store:
        account = await Ledger(store).admit(VICTIM, time.time() + 1, tokens(60))
        account.reserve(tokens(60))
        ready.put(os.getpid())
        await asyncio.sleep(600)


def holder(url, ready):
    """Hold 60 tokens until killed."""
    asyncio.run(hold_and_wait(url, ready))
