"""What a key may spend holds: across tasks, processes, deaths and midnight, in SQLite and PostgreSQL."""

import asyncio
import contextlib
import math
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass

import anyio
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as play

from outthink.core.budget import Budget, Meter, Usage
from outthink.core.errors import BadInput, BudgetExhausted, StoreError
from outthink.core.nouns import Problem
from outthink.core.run import Run, World, execute
from outthink.gateway import books
from outthink.gateway.config import KeyConfig
from outthink.gateway.errors import Fault
from outthink.gateway.ledger import GRACE, Ledger
from outthink.store import open_store, schema
from tests.gateway.spenders import KEYS, NOON, VICTIM, holder, key_of, spender, tokens
from tests.store.toys import LastWord, Toy, Vote

MIDNIGHT = 1_768_435_200.0
FEBRUARY = 1_769_904_000.0


class Clock:
    def __init__(self, now=NOON):
        self.now = now

    def __call__(self):
        return self.now


@contextlib.asynccontextmanager
async def ledger_of(url, clock=None):
    async with await open_store(url) as store:
        yield Ledger(store, clock or Clock())


async def rows(ledger, table, key=None):
    def read(connection, items):
        query = sa.select(table)
        if key is not None:
            query = query.where(table.c.key_id == key.id)
        return [connection.execute(query).all() for _ in items]

    return await ledger.store.together(read, None)


async def period(ledger, key, name):
    """Requests, tokens, billionths of a dollar, and what is held of the two, in a period."""
    found = {r.period: tuple(r)[2:] for r in await rows(ledger, schema.gateway_periods, key)}
    return found.get(name, (0, 0, 0, 0, 0))


def spend(account, cost, actual=None):
    account.reserve(cost).settle(cost if actual is None else actual)


async def refused(ledger, key, deadline=None):
    with pytest.raises(Fault) as caught:
        await ledger.admit(key, ledger.clock() + 60 if deadline is None else deadline)
    assert caught.value.status == 429
    return caught.value


# -- each limit ------------------------------------------------------------------------------------


def test_requests_in_a_minute(url):
    async def main():
        async with ledger_of(url) as ledger:
            key, other = key_of(requests_per_minute=3), key_of("b", requests_per_minute=1)
            for _ in range(3):
                await ledger.admit(key, ledger.clock() + 60)
            await ledger.admit(other, ledger.clock() + 60)
            fault = await refused(ledger, key)
            assert (fault.code, fault.retry_after) == ("rate_limit_exceeded", 30)
            assert "3 requests a minute" in fault.message
            before = ledger.store._worker.transactions
            for _ in range(100):
                await refused(ledger, key)
            assert ledger.store._worker.transactions == before, "a full minute asks no store"
            raised = key_of(requests_per_minute=4)
            await ledger.admit(raised, ledger.clock() + 60)
            assert (await refused(ledger, raised)).retry_after == 30
            ledger.clock.now += 30
            await ledger.admit(key, ledger.clock() + 60)

    anyio.run(main)


def test_requests_at_a_time(url):
    async def main():
        async with ledger_of(url) as ledger:
            key = key_of(concurrent=2)
            first, second = [await ledger.admit(key, NOON + 60) for _ in range(2)]
            fault = await refused(ledger, key)
            assert fault.code == "rate_limit_exceeded"
            assert "2 at a time" in fault.message
            assert 0 < fault.retry_after < 10
            await first.close()
            third = await ledger.admit(key, NOON + 60)
            await refused(ledger, key)
            for account in (second, third):
                await account.close()
            assert await rows(ledger, schema.gateway_holds) == []
            assert [tuple(r) for r in await rows(ledger, schema.gateway_keys)] == [(key.id, 0)]

    anyio.run(main)


def test_tokens_in_a_day(url):
    async def main():
        async with ledger_of(url) as ledger:
            key = key_of(tokens_per_day=100)
            one, two = [await ledger.admit(key, NOON + 60) for _ in range(2)]
            await one.fund(tokens(70))
            assert one.left("total_tokens") == 70
            await two.fund(tokens(50))
            assert two.left("total_tokens") == 30
            assert two.shortage.code == "rate_limit_exceeded", "the other may give some back"
            assert two.shortage.retry_after < 10
            held = await refused(ledger, key)
            assert (held.code, held.type) == ("rate_limit_exceeded", "rate_limit_error")
            assert "0 spent, 100 held" in held.message
            spend(one, tokens(70), tokens(60))
            spend(two, tokens(30))
            await two.fund(tokens(1))
            assert two.left("total_tokens") == 0
            await one.close()
            assert await period(ledger, key, "2026-01-14") == (2, 60, 0, 30, 0)
            await two.fund(tokens(10))
            assert (two.left("total_tokens"), two.shortage) == (10, None)
            spend(two, tokens(10))
            await two.fund(tokens(5))
            assert two.shortage.code == "insufficient_quota"
            await two.close()
            assert await period(ledger, key, "2026-01-14") == (2, 100, 0, 0, 0)
            spent = await refused(ledger, key)
            assert (spent.code, spent.type) == ("insufficient_quota", "insufficient_quota")
            assert spent.retry_after == MIDNIGHT - NOON
            ledger.clock.now = MIDNIGHT - 0.001
            await refused(ledger, key)
            ledger.clock.now = MIDNIGHT
            await (await ledger.admit(key, MIDNIGHT + 60, tokens(100))).close()

    anyio.run(main)


def test_dollars_in_a_month(url):
    async def main():
        async with ledger_of(url) as ledger:
            key = key_of(usd_per_month=0.05)
            account = await ledger.admit(key, NOON + 60)
            price = Usage(calls=1, prompt_tokens=10, completion_tokens=1000, usd=0.02)
            child = Meter(Budget(), account)
            for _ in range(2):
                await child.secure(lambda: price)
                child.reserve(price).settle(price)
            await child.secure(lambda: price)
            assert child.left("usd") == pytest.approx(0.01)
            assert child.binding(price) == "usd"
            with pytest.raises(BudgetExhausted):
                child.reserve(price)
            await account.close()
            assert await period(ledger, key, "2026-01") == (1, 2020, 40_000_000, 0, 0)
            last = await ledger.admit(key, NOON + 60, Usage(usd=1.0))
            assert last.left("usd") == pytest.approx(0.01)
            spend(last, Usage(usd=0.01))
            await last.close()
            spent = await refused(ledger, key)
            assert spent.code == "insufficient_quota"
            assert spent.retry_after == FEBRUARY - NOON
            assert "$0.05 of this key in a month" in spent.message
            ledger.clock.now = FEBRUARY
            await ledger.admit(key, FEBRUARY + 60)

    anyio.run(main)


def test_what_began_before_midnight_counts_there(url):
    async def main():
        async with ledger_of(url, Clock(MIDNIGHT - 5)) as ledger:
            key = key_of(tokens_per_day=100)
            old = await ledger.admit(key, MIDNIGHT + 60, tokens(60))
            ledger.clock.now = MIDNIGHT + 5
            await (await ledger.admit(key, MIDNIGHT + 60, tokens(100))).close()
            spend(old, tokens(60))
            await old.fund(tokens(50))
            assert old.left("total_tokens") == 40, "of the day before"
            spend(old, tokens(40))
            await old.close()
            assert await period(ledger, key, "2026-01-14") == (1, 100, 0, 0, 0)
            assert await period(ledger, key, "2026-01-15") == (1, 0, 0, 0, 0)
            assert (await period(ledger, key, "2026-01"))[:2] == (2, 100)

    anyio.run(main)


def test_the_ends_of_months():
    for at, minute, day, month in [
        (FEBRUARY - 1, 1, 1, 1),
        (FEBRUARY, 60, 86400, 28 * 86400),
        (1_798_761_599.0, 1, 1, 1),  # the last second of 2026
        (1_798_761_600.0, 60, 86400, 31 * 86400),
    ]:
        assert [books.turns(at, p) for p in books.periods(at)] == [minute, day, month]


def test_a_key_without_limits_touches_no_store():
    async def main():
        ledger = Ledger(None)
        account = await ledger.admit(key_of(), math.inf)
        child = Meter(Budget(), account)
        await child.secure(lambda: tokens(10**9))
        child.reserve(tokens(10**9, 1e6)).settle(tokens(10**9, 1e6))
        assert child.left("total_tokens") == child.left("usd") == math.inf
        await account.close()

    anyio.run(main)


def test_a_key_that_only_limits_its_minute_holds_nothing(url):
    async def main():
        async with ledger_of(url) as ledger:
            key, before = key_of(requests_per_minute=3), ledger.store._worker.transactions
            account = await ledger.admit(key, NOON + 60)
            await account.fund(tokens(1000))
            spend(account, tokens(1000))
            await account.close()
            assert ledger.store._worker.transactions == before + 1
            assert await rows(ledger, schema.gateway_holds) == []

    anyio.run(main)


def test_a_request_of_a_limited_key_has_a_deadline():
    async def main():
        with pytest.raises(BadInput, match="deadline=inf"):
            await Ledger(None).admit(key_of(concurrent=1), math.inf)

    anyio.run(main)


# -- accounts and runs -----------------------------------------------------------------------------


def test_what_is_held_is_asked_for_once(url):
    async def main():
        async with ledger_of(url) as ledger:
            account = await ledger.admit(key_of(tokens_per_day=1000), NOON + 60)
            before = ledger.store._worker.transactions
            await account.fund(tokens(400))
            assert ledger.store._worker.transactions == before + 1
            for _ in range(4):
                await account.fund(tokens(100))
                spend(account, tokens(100))
            assert ledger.store._worker.transactions == before + 1

    anyio.run(main)


def test_parts_of_a_run_that_fund_at_once_find_each_its_own(url):
    async def main():
        async with ledger_of(url) as ledger:
            key = key_of(tokens_per_day=1000, usd_per_month=1.0)
            account = await ledger.admit(key, NOON + 60)
            fitted, before = [], ledger.store._worker.transactions

            async def part():
                child = Meter(Budget(), account)
                await child.secure(lambda: tokens(90, 0.01))
                ticket = child.reserve(tokens(90, 0.01))
                await anyio.sleep(0)
                ticket.settle(tokens(80, 0.01))
                fitted.append(child.spent.total_tokens)

            async with anyio.create_task_group() as tasks:
                for _ in range(11):
                    tasks.start_soon(part)
            assert fitted == [80] * 11
            assert ledger.store._worker.transactions - before <= 3, "one asks for those beside it"
            await account.close()
            assert await period(ledger, key, "2026-01-14") == (1, 880, 110_000_000, 0, 0)

    anyio.run(main)


def test_a_run_is_cut_to_what_the_key_has_left(url):
    async def main():
        async with ledger_of(url) as ledger:
            toy, key = Toy(), key_of(tokens_per_day=700, usd_per_month=1.0)

            async def ask(n):
                account = await ledger.admit(key, NOON + 60)
                world = World({"main": toy}, LastWord())
                run = Run(Problem.of("Which of 0, 1, 2?"), world, Meter(Budget(), account), 7)
                answer = await execute(Vote(n), run)
                await account.close()
                return answer, account

            whole, account = await ask(4)
            assert (whole.stopped, len(whole.candidates)) == ("finished", 4)
            assert account.shortage is None
            cut, account = await ask(100)
            assert cut.stopped == "total_tokens"
            assert len(cut.candidates) < 100
            assert account.shortage.code == "insufficient_quota"
            total = whole.usage.total_tokens + cut.usage.total_tokens
            assert total <= 700
            requests, spent, nano_usd, *held = await period(ledger, key, "2026-01")
            assert (requests, spent, held) == (2, total, [0, 0])
            assert nano_usd == round((whole.usage.usd + cut.usage.usd) * 1e9)

    anyio.run(main)


def test_a_server_that_overdraws_is_charged_in_full_and_the_run_goes_on(url):
    async def main():
        async with ledger_of(url) as ledger:
            key = key_of(tokens_per_day=200)
            account = await ledger.admit(key, NOON + 60)
            child = Meter(Budget(), account)
            await child.secure(lambda: tokens(30))
            one, two = child.reserve(tokens(20)), child.reserve(tokens(10))
            assert one.settle(tokens(90)) is None
            assert child.left("total_tokens") == 0
            two.another_attempt()
            two.release()
            await child.secure(lambda: tokens(60))
            child.reserve(tokens(60)).settle(tokens(500))
            await child.secure(lambda: tokens(1))
            assert child.binding(tokens(1)) == "total_tokens"
            assert account.shortage.code == "insufficient_quota"
            await account.close()
            assert await period(ledger, key, "2026-01-14") == (1, 590, 0, 0, 0)
            await refused(ledger, key)

    anyio.run(main)


def test_a_closed_account_gives_nothing_more_and_closes_once(url):
    async def main():
        async with ledger_of(url) as ledger:
            key = key_of(tokens_per_day=100)
            account = await ledger.admit(key, NOON + 60, tokens(40))
            spend(account, tokens(30))
            account.reserve(tokens(5))  # never settled: charged whole
            for _ in range(3):
                await account.close()
            await account.fund(tokens(50))
            assert account.left("total_tokens") == 5
            assert await period(ledger, key, "2026-01-14") == (1, 35, 0, 0, 0)

    anyio.run(main)


def test_absurd_counts_stay_numbers(url):
    async def main():
        async with ledger_of(url) as ledger:
            key = key_of(tokens_per_day=1 << 50, usd_per_month=1e12)
            accounts = [await ledger.admit(key, NOON + 60) for _ in range(5)]
            for account in accounts:
                await account.fund(Usage(prompt_tokens=1 << 80, usd=1e30))
                spend(account, Usage(), Usage(prompt_tokens=1 << 80, usd=1e300))
                await account.close()
            assert (await period(ledger, key, "2026-01"))[1:3] == (books.MOST, books.MOST)
            assert (await refused(ledger, key)).code == "insufficient_quota"

    anyio.run(main)


def test_money_adds_up_exactly():
    assert books.nano(0.1 + 0.2) == 300_000_000
    assert sum(books.nano(0.00000015) for _ in range(10)) == books.nano(0.0000015)
    assert (books.nano(0.0), books.nano(1e-10), books.nano(-1.0)) == (0, 1, 0)
    assert books.nano(math.inf) == books.nano(1e300) == books.MOST


# -- death, cancellation, repetition ---------------------------------------------------------------


def test_what_is_never_closed_ends_a_minute_after_its_deadline(url):
    async def main():
        async with ledger_of(url) as ledger:
            key = key_of(tokens_per_day=100, concurrent=1)
            await ledger.admit(key, NOON + 10, tokens(60))
            ledger.clock.now = NOON + 10 + GRACE
            assert "at a time" in (await refused(ledger, key)).message
            ledger.clock.now += 1
            account = await ledger.admit(key, ledger.clock() + 10, tokens(50))
            assert account.left("total_tokens") == 40, "what the dead held is charged"
            await account.close()
            assert await period(ledger, key, "2026-01-14") == (2, 60, 0, 0, 0)
            ledger.clock.now += books.MEMORY + 100
            await (await ledger.admit(key, ledger.clock() + 10)).close()
            assert await rows(ledger, schema.gateway_holds) == [], "and in the end forgotten"
            assert [r.open for r in await rows(ledger, schema.gateway_keys)] == [0]

    anyio.run(main)


@pytest.mark.parametrize("actual", [20, 60, 90])
def test_who_was_taken_for_dead_settles_the_truth_once(url, actual):
    async def main():
        async with ledger_of(url) as ledger:
            key = key_of(tokens_per_day=1000, concurrent=1)
            late = await ledger.admit(key, NOON + 10, tokens(60))
            spend(late, tokens(60), tokens(actual))
            ledger.clock.now += 10 + GRACE + 1
            other = await ledger.admit(key, ledger.clock() + 10)
            assert (await period(ledger, key, "2026-01-14"))[1] == 60
            await late.fund(tokens(500))
            assert late.shortage.code == "deadline_exceeded"
            assert late.left("total_tokens") == 0
            await late.close()
            await late.close()
            assert await period(ledger, key, "2026-01-14") == (2, actual, 0, 0, 0)
            assert "at a time" in (await refused(ledger, key)).message
            await other.close()
            assert [r.open for r in await rows(ledger, schema.gateway_keys)] == [0]

    anyio.run(main)


def test_an_admission_that_nobody_waits_for_leaves_nothing(url):
    async def main():
        async with ledger_of(url) as ledger:
            key = key_of(tokens_per_day=100, concurrent=8)
            for native in (False, True):
                for _ in range(4):
                    task = asyncio.ensure_future(ledger.admit(key, NOON + 60, tokens(10)))
                    await asyncio.sleep(0)
                    if native:
                        task.cancel()
                        with contextlib.suppress(asyncio.CancelledError):
                            await task
                    else:
                        with anyio.CancelScope() as scope:
                            scope.cancel()
                            await ledger.admit(key, NOON + 60, tokens(10))
                        await (await task).close()
            assert await rows(ledger, schema.gateway_holds) == []
            assert [r.open for r in await rows(ledger, schema.gateway_keys)] == [0]
            assert (await period(ledger, key, "2026-01-14"))[1:] == (0, 0, 0, 0)

    anyio.run(main)


def test_a_cancelled_request_is_closed_all_the_same(url):
    async def main():
        async with ledger_of(url) as ledger:
            key = key_of(tokens_per_day=100)
            waited = False
            with anyio.CancelScope() as scope:
                account = await ledger.admit(key, NOON + 60, tokens(50))
                try:
                    spend(account, tokens(20))
                    scope.cancel()
                    await anyio.sleep(60)
                finally:
                    await account.close()
                    waited = True
            assert waited
            assert await period(ledger, key, "2026-01-14") == (1, 20, 0, 0, 0)

    anyio.run(main)


def test_a_commit_whose_answer_was_lost_is_repeated_without_harm(url):
    limits = books.Limits(5, 100, 10**9, 3)

    async def main():
        async with ledger_of(url) as ledger:

            def twice(connection, items):
                books.keep(connection, items)
                return books.keep(connection, items)

            for item in (
                books.Admit("h", "k", NOON, limits, NOON + 60, 10, 5),
                books.Fund("h", "k", NOON, limits, 30, 7),
            ):
                grant = await ledger.store.together(twice, item)
                assert (grant.tokens, grant.nano_usd) == (item.tokens, item.nano_usd)
            held = [tuple(r)[2:] for r in await rows(ledger, schema.gateway_periods)]
            assert sorted(held) == [(1, 0, 0, 0, 0), (1, 0, 0, 30, 7), (1, 0, 0, 30, 7)]
            await ledger.store.together(twice, books.Close("h", "k", NOON, 12, 3))
            spent = [tuple(r)[2:] for r in await rows(ledger, schema.gateway_periods)]
            assert sorted(spent) == [(1, 0, 0, 0, 0), (1, 12, 3, 0, 0), (1, 12, 3, 0, 0)]
            assert [tuple(r) for r in await rows(ledger, schema.gateway_keys)] == [("k", 0)]

    anyio.run(main)


def test_a_store_that_cannot_be_used_refuses_and_lets_nobody_in(tmp_path):
    async def main():
        async with ledger_of(str(tmp_path / "store.db")) as ledger:
            await ledger.store.aclose()
            with pytest.raises(StoreError):
                await ledger.admit(key_of(requests_per_minute=5), NOON + 60)

    anyio.run(main)


def test_old_minutes_are_forgotten_and_days_are_kept(url):
    async def main():
        async with ledger_of(url) as ledger:
            key = key_of(requests_per_minute=5)
            for _ in range(100):
                await ledger.admit(key, ledger.clock() + 60)
                ledger.clock.now += 900
            names = [r.period for r in await rows(ledger, schema.gateway_periods)]
            assert sum(len(n) == 16 for n in names) <= 6
            assert sorted(n for n in names if len(n) < 16) == [
                "2026-01",
                "2026-01-14",
                "2026-01-15",
            ]

    anyio.run(main)


def test_requests_that_come_together_share_transactions(url):
    async def main():
        async with ledger_of(url) as ledger:
            key = key_of(tokens_per_day=10_000, requests_per_minute=200, concurrent=64)
            before = ledger.store._worker.transactions

            async def one():
                account = await ledger.admit(key, NOON + 60, tokens(100))
                spend(account, tokens(100))
                await account.close()

            async with anyio.create_task_group() as tasks:
                for _ in range(64):
                    tasks.start_soon(one)
            assert ledger.store._worker.transactions - before <= 40
            assert await period(ledger, key, "2026-01-14") == (64, 6400, 0, 0, 0)

    anyio.run(main)


# -- several processes -----------------------------------------------------------------------------


def test_processes_that_share_only_the_store_keep_the_limits_together(url):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    jobs = [context.Process(target=spender, args=(url, order, queue)) for order in (1, -1, 1)]
    for process in jobs:
        process.start()
    made = [queue.get(timeout=60) for _ in jobs]
    for process in jobs:
        process.join(timeout=60)
        assert process.exitcode == 0
    counts = {key.id: [sum(m[key.id][i] for m in made) for i in (0, 1)] for key in KEYS}
    minute, parallel, busy, both = (counts[key.id] for key in KEYS)
    assert minute[0] == 100
    assert parallel[1] == 500, "to the last token"
    assert 0 < busy[0] <= 360
    assert both[0] == 60

    async def main():
        async with ledger_of(url) as ledger:
            for key in KEYS:
                requests, spent, _, held, _ = await period(ledger, key, "2026-01-14")
                assert (requests, held) == (counts[key.id][0], 0)
                assert spent == (counts[key.id][1] if key.tokens_per_day else 0)
            assert await rows(ledger, schema.gateway_holds) == []
            assert {r.open for r in await rows(ledger, schema.gateway_keys)} == {0}

    anyio.run(main)


def test_a_killed_worker_leaves_no_reservation_for_ever(url):
    context = multiprocessing.get_context("spawn")
    ready = context.Queue()
    process = context.Process(target=holder, args=(url, ready))
    process.start()
    os.kill(ready.get(timeout=60), signal.SIGKILL)
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL

    async def main():
        clock = Clock(time.time())
        async with ledger_of(url, clock) as ledger:
            (held,) = await rows(ledger, schema.gateway_holds)
            assert (held.tokens, held.lapsed) == (60, 0)
            assert "at a time" in (await refused(ledger, VICTIM)).message
            clock.now = held.expires + 0.1
            account = await ledger.admit(VICTIM, clock() + 1)
            assert (await period(ledger, VICTIM, held.day))[1:] == (60, 0, 0, 0)
            await account.close()

    anyio.run(main)


# -- against a model -------------------------------------------------------------------------------


@dataclass
class Open:
    """A request as the model knows it."""

    account: object
    key: KeyConfig
    day: str
    month: str
    expires: float
    held: list
    known: list  # what the account thinks that it holds
    spent: list
    lapsed: bool = False
    forgotten: bool = False


def tables(connection, items):
    """All that the store knows of these keys."""
    ids = [key.id for key in items[0]]
    both = (schema.gateway_periods, schema.gateway_keys)
    return [
        [connection.execute(sa.select(t).where(t.c.key_id.in_(ids))).all() for t in both]
        for _ in items
    ]


class Keys(RuleBasedStateMachine):
    """Requests of two keys, by the ledger and by the simplest account of what is allowed."""

    url = None

    @initialize(
        rpm=st.sampled_from([None, 2, 6]),
        day=st.sampled_from([None, 1, 40]),
        month=st.sampled_from([None, 60]),
        at_once=st.sampled_from([None, 1, 3]),
    )
    def begin(self, rpm, day, month, at_once):
        self.runner, self.clock = asyncio.Runner(), Clock(MIDNIGHT - 100)
        self.store = self.runner.run(self._open())
        self.ledger = Ledger(self.store, self.clock)
        unique = os.urandom(5).hex()
        limits = {"requests_per_minute": rpm, "tokens_per_day": day, "concurrent": at_once}
        usd = None if month is None else month / 1e9 * 1000
        self.keys = [key_of(f"{unique}{i}", usd_per_month=usd, **limits) for i in "ab"]
        self.day, self.month = day, None if month is None else month * 1000
        self.requests, self.spent, self.over = {}, {}, {}
        self.open, self.all = [], []

    async def _open(self):
        return await open_store(self.url)

    def teardown(self):
        if hasattr(self, "store"):
            self.runner.run(self.store.aclose())
            self.runner.close()

    # the model: what is spent and held of a period

    def held(self, key, period, i):
        alive = [o for o in self.all if o.key is key and not o.lapsed]
        return sum(o.held[i] for o in alive if period in (o.day, o.month))

    def left(self, o):
        day, month = (self.spent.get((o.key.id, p), [0, 0]) for p in (o.day, o.month))
        return [
            math.inf if self.day is None else self.day - day[0] - self.held(o.key, o.day, 0),
            math.inf
            if self.month is None
            else self.month - month[1] - self.held(o.key, o.month, 1),
        ]

    def charge(self, o, amounts):
        for p in (o.day, o.month):
            before = self.spent.get((o.key.id, p), [0, 0])
            self.spent[o.key.id, p] = [a + b for a, b in zip(before, amounts, strict=True)]

    def overdraw(self, o, amounts):
        for p in (o.day, o.month):
            before = self.over.get((o.key.id, p), [0, 0])
            self.over[o.key.id, p] = [a + max(b, 0) for a, b in zip(before, amounts, strict=True)]

    def expire(self, key):
        for o in [o for o in self.all if o.key is key and o.expires < self.clock()]:
            if o.lapsed:
                o.forgotten = True
                self.all.remove(o)
            else:
                o.lapsed, o.expires = True, self.clock() + books.MEMORY
                self.charge(o, o.held)

    def give(self, o, want):
        """Hold up to ``want`` in all; is it whole?"""
        whole, left = True, self.left(o)
        for i, limit in enumerate((self.day, self.month)):
            if limit is not None:
                more = max(0, want[i] - o.held[i])
                whole = whole and more <= left[i]
                o.held[i] += max(0, min(more, left[i]))
        o.known = list(o.held)
        return whole

    # what may happen

    @rule(
        which=st.sampled_from([0, 1]),
        lasts=st.sampled_from([1, 100, 4000]),
        want=st.tuples(st.integers(0, 30), st.integers(0, 40).map(lambda n: n * 1000)),
    )
    def admit(self, which, lasts, want):
        key, now = self.keys[which], self.clock()
        minute, day, month = books.periods(now)
        o = Open(None, key, day, month, now + lasts + GRACE, [0, 0], [0, 0], [0, 0])
        unlimited = books.Limits.of(key) == books.Limits(None, None, None, None)
        full = self.requests.get((key.id, minute), 0) >= (key.requests_per_minute or math.inf)
        cost = Usage(prompt_tokens=want[0], usd=want[1] / 1e9)
        if not unlimited and not full:
            self.expire(key)
        alive = sum(o.key is key and not o.lapsed for o in self.all)
        busy = alive >= (key.concurrent or math.inf)
        fits = full or busy or min(self.left(o)) > 0
        try:
            o.account = self.runner.run(self.ledger.admit(key, now + lasts, cost))
        except Fault as fault:
            refusal = fault
        else:
            refusal = None
        if refusal:
            assert full or busy or not fits
            assert refusal.retry_after > 0
            return
        assert not full
        assert not busy
        assert fits
        if unlimited:
            return
        for p in (minute, day, month):
            self.requests[key.id, p] = self.requests.get((key.id, p), 0) + 1
        if books.Limits.of(key).holds:
            self.all.append(o)
            self.open.append(o)
            whole = self.give(o, [want[0], want[1] + 1 if want[1] else 0])
            assert (o.account.shortage is None) == whole

    @precondition(lambda self: self.open)
    @rule(
        data=st.data(),
        want=st.tuples(st.integers(0, 30), st.integers(0, 40).map(lambda n: n * 1000)),
    )
    def fund(self, data, want):
        o = data.draw(st.sampled_from(self.open))
        needs = [o.spent[0] + want[0], o.spent[1] + (want[1] + 1 if want[1] else 0)]
        limits = (self.day, self.month)
        asks = any(v is not None and n > h for v, n, h in zip(limits, needs, o.known, strict=True))
        cost = Usage(prompt_tokens=want[0], usd=want[1] / 1e9)
        self.runner.run(o.account.fund(cost))
        if not asks:
            return
        self.expire(o.key)
        if o.lapsed:
            o.known = [0, 0]
            assert o.account.shortage.code == "deadline_exceeded"
        else:
            assert (o.account.shortage is None) == self.give(o, needs)
        if o.account.shortage is None:
            assert o.account.binding(cost) is None

    @precondition(lambda self: self.open)
    @rule(data=st.data(), part=st.sampled_from([0.0, 0.5, 1.0]), over=st.sampled_from([0, 0, 0, 9]))
    def spend(self, data, part, over):
        o = data.draw(st.sampled_from(self.open))
        free = [max(0, k - s) for k, s in zip(o.known, o.spent, strict=True)]
        said = [int(f * part) // d * d for f, d in zip(free, (1, 1000), strict=True)]
        used = [said[0] + over, said[1] + over * 1000]
        ticket = o.account.reserve(Usage(prompt_tokens=said[0], usd=said[1] / 1e9))
        assert ticket.settle(Usage(prompt_tokens=used[0], usd=used[1] / 1e9)) is None
        o.spent = [a + b for a, b in zip(o.spent, used, strict=True)]

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def close(self, data):
        o = data.draw(st.sampled_from(self.open))
        self.open.remove(o)
        self.runner.run(o.account.close())
        self.runner.run(o.account.close())
        self.expire(o.key)
        if o.forgotten:
            return
        self.all.remove(o)
        self.overdraw(o, [a - b for a, b in zip(o.spent, o.held, strict=True)])
        before = o.held if o.lapsed else [0, 0]
        self.charge(o, [a - b for a, b in zip(o.spent, before, strict=True)])

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def die(self, data):
        self.open.remove(data.draw(st.sampled_from(self.open)))

    @rule(seconds=st.sampled_from([1, 40, 110, 5000, 90_000, 20 * 86400]))
    def wait(self, seconds):
        self.clock.now += seconds

    @invariant()
    def the_store_says_what_the_model_says(self):
        if not hasattr(self, "store"):
            return
        found, counted = self.runner.run(self.ledger.store.together(tables, self.keys))
        for key in self.keys:
            for row in (r for r in found if r.key_id == key.id):
                place = row.key_id, row.period
                requests = self.requests.get(place, 0)
                if len(row.period) == 16:
                    assert row.requests == requests <= (key.requests_per_minute or math.inf)
                    continue
                spent = self.spent.get(place, [0, 0])
                held = [self.held(key, row.period, i) for i in (0, 1)]
                assert tuple(row)[2:] == (requests, *spent, *held)
                over = self.over.get(place, [0, 0])
                if self.day is not None and len(row.period) == 10:
                    assert spent[0] + held[0] <= self.day + over[0]
                if self.month is not None and len(row.period) == 7:
                    assert spent[1] + held[1] <= self.month + over[1]
            alive = sum(o.key is key and not o.lapsed for o in self.all)
            assert alive <= (key.concurrent or math.inf)
            assert sum(row.open for row in counted if row.key_id == key.id) == alive


def test_any_course_of_events_agrees_with_the_model(url):
    machine = type("Keys", (Keys,), {"url": url})
    play(
        machine,
        settings=settings(stateful_step_count=25, suppress_health_check=list(HealthCheck)),
    )
