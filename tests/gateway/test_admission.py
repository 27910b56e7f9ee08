"""The gate: never more inside than it holds, first come first served, and who leaves holds no place."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outthink.gateway.admission import Gate
from outthink.gateway.errors import Fault


async def turns(times: int = 8) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


class Visitor:
    """A request that stays inside until it is told to go."""

    def __init__(self, gate: Gate, key: str | None = None, most: int | None = None) -> None:
        self.go, self.inside, self.fault = asyncio.Event(), False, None
        self.task = asyncio.ensure_future(self.visit(gate, key, most))

    async def visit(self, gate: Gate, key: str | None, most: int | None) -> None:
        try:
            async with gate.enter(key, most):
                self.inside = True
                await self.go.wait()
        except Fault as fault:
            self.fault = fault
        finally:
            self.inside = False


def test_places_are_given_in_order_and_the_rest_is_refused_with_a_time() -> None:
    async def main() -> None:
        gate = Gate(2, 2, 5.0)
        all_ = [Visitor(gate) for _ in range(5)]
        await turns()
        assert [v.inside for v in all_] == [True, True, False, False, False]
        assert gate.waiting == 2
        assert all_[4].fault.status == 429
        assert all_[4].fault.retry_after
        all_[1].go.set()
        await turns()
        assert [v.inside for v in all_] == [True, False, True, False, False]
        for v in all_:
            v.go.set()
        await turns()
        assert gate.inside == gate.waiting == 0

    asyncio.run(main())


def test_waiting_ends_in_time() -> None:
    async def main() -> None:
        gate = Gate(1, 9, 0.02)
        first, second = Visitor(gate), Visitor(gate)
        await second.task
        assert second.fault.status == 429
        assert "0.02 s" in second.fault.message
        first.go.set()
        await first.task
        assert gate.inside == 0

    asyncio.run(main())


def test_one_key_has_its_own_bound() -> None:
    async def main() -> None:
        gate = Gate(10, 10, 1.0)
        mine = [Visitor(gate, "a", 1) for _ in range(2)]
        other = Visitor(gate, "b", 1)
        await turns()
        assert [v.inside for v in mine] == [True, False]
        assert mine[1].fault.code == "too_many_concurrent"
        assert other.inside
        for v in (*mine, other):
            v.go.set()
        await turns()
        assert not gate.keys

    asyncio.run(main())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["come", "go", "leave"]), st.integers(0, 30)), max_size=60)
)
def test_whoever_comes_goes_or_leaves_no_place_is_lost(steps: list[tuple[str, int]]) -> None:
    async def main() -> None:
        gate, here = Gate(3, 4, 60.0), list[Visitor]()
        for what, which in steps:
            if what == "come" or not here:
                here.append(Visitor(gate))
            elif what == "go":
                here[which % len(here)].go.set()
            else:
                here[which % len(here)].task.cancel()
            if which % 3:
                await turns()
                inside = sum(v.inside for v in here)
                assert inside == gate.inside <= 3
                assert gate.waiting <= 4
                assert gate.waiting == 0 or inside == 3
        for v in here:
            v.go.set()
        await asyncio.gather(*(v.task for v in here), return_exceptions=True)
        await turns()
        assert gate.inside == gate.waiting == 0

    asyncio.run(main())


def test_a_place_given_to_one_who_leaves_goes_to_the_next() -> None:
    async def main() -> None:
        gate = Gate(1, 5, 60.0)
        first, second, third = (Visitor(gate) for _ in range(3))
        await turns()
        first.go.set()
        await asyncio.sleep(0)
        second.task.cancel()
        await turns()
        assert third.inside
        third.go.set()
        await turns()
        assert gate.inside == 0

    asyncio.run(main())


def test_faults_say_when_to_come_again() -> None:
    with pytest.raises(Fault) as caught:
        asyncio.run(_full())
    headers = dict(caught.value.headers())
    assert headers[b"retry-after"] == b"1"


async def _full() -> None:
    gate = Gate(1, 0, 1.0)
    async with gate.enter(), gate.enter():
        pass
