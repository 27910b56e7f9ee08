import asyncio
import contextlib
import json
import logging
import os
import shutil
import socket
import ssl
import struct
import subprocess

import anyio
import pytest

from outthink.core.budget import Budget, Meter, Usage
from outthink.core.errors import (
    BadInput,
    Malformed,
    ModelError,
    NotAuthorised,
    RateLimited,
    Refused,
    ServerFailed,
    TimedOut,
    Unreachable,
)
from outthink.core.model import Request
from outthink.models import _endpoint
from outthink.models._server import Address, Endpoint, Server
from outthink.models.openai import OpenAI
from tests.loopback import completion

KEY = "sk-very-secret-0123456789"
ASK = ({"role": "user", "content": "What is 3 + 4?"},)


def server(*urls, key="", retries=2, connect=2.0, read=5.0, transport=None):
    """A server over these addresses."""
    address = Address(None, "NO_SUCH_KEY", retries, connect, read)
    return Server(address, "m", transport, [Endpoint(url, key) for url in urls])


def answer(body=b"{}", status=200, headers="", length=True):
    """The bytes of an answer."""
    size = f"Content-Length: {len(body)}\r\n" if length else ""
    return f"HTTP/1.1 {status} X\r\n{size}{headers}\r\n".encode() + body


class Peer:
    """A server in this loop: ``play(self, number)`` is told each request, and writes what it likes."""

    def __init__(self, play):
        self.play = play
        self.heads, self.bodies, self.connections, self.requests = [], [], 0, 0
        self.gone = asyncio.Event()

    async def take(self, reader, writer):
        self.connections += 1
        self.reader, self.writer = reader, writer
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                fields = dict(x.lower().split(": ", 1) for x in head.split("\r\n") if ": " in x)
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(int(fields.get("content-length", 0))))
                self.requests += 1
                if await self.play(self, self.requests) == "close":
                    break
        self.gone.set()
        writer.close()

    async def say(self, raw):
        self.writer.write(raw)
        await self.writer.drain()

    def reset(self):
        """End the connection with a reset."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def playing(play, **options):
    """A peer that listens, and its address."""
    peer = Peer(play)
    listener = await asyncio.start_server(peer.take, "127.0.0.1", 0, **options)
    peer.port = listener.sockets[0].getsockname()[1]
    peer.url = f"http://127.0.0.1:{peer.port}/v1"
    try:
        yield peer
    finally:
        listener.close()


def free():
    """The address of a port where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


def always(*raw):
    async def play(peer, number):
        await peer.say(raw[min(number, len(raw)) - 1])

    return play


def body_of(endpoint):
    return json.dumps({"model": endpoint.model or "m"}).encode()


def run(main):
    """Run with a limit: what hangs fails."""

    async def limited():
        with anyio.fail_after(20):
            return await main()

    return asyncio.run(limited())


# -- connections ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["before", "within", "long"])
def test_a_cancelled_call_closes_its_connection_at_once(way):
    """Before the answer, in the middle of it, and while a body is still being sent."""

    async def main():
        asked = asyncio.Event()

        async def play(peer, number):
            if way == "within":
                await peer.say(answer(b"abc", headers="Content-Length: 10\r\n", length=False))
            asked.set()
            await peer.reader.read()
            return "close"

        async with playing(play) as peer:
            served = server(peer.url)

            async def call():
                async with served.exchange("/x", body_of) as got:
                    async for _ in got.parts():
                        asked.set()

            task = asyncio.ensure_future(
                served.post("/x", {"long": "x" * 100_000}) if way == "long" else call()
            )
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(2):
                await peer.gone.wait()
            assert served.endpoints[0].in_flight == 0
            await served.aclose()

    run(main)


def test_a_cancelled_call_is_gone_though_its_server_reads_nothing():
    """What is left of its request is not held for a server that may never take it."""

    async def main():
        stop, taken = asyncio.Event(), asyncio.Event()

        async def take(reader, writer):
            taken.set()
            await stop.wait()
            writer.transport.abort()

        listener = await asyncio.start_server(take, "127.0.0.1", 0, limit=1024)
        served = server(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1")
        call = asyncio.ensure_future(served.post("/x", {"long": "x" * 8_000_000}))
        await taken.wait()
        await asyncio.sleep(0.05)  # as much is written as is taken
        both = len(os.listdir("/dev/fd"))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(os.listdir("/dev/fd")) == both - 1
        stop.set()
        await served.aclose()
        listener.close()

    run(main)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_connection_that_was_closed_while_idle_costs_nothing(end):
    """The server ends a used connection without a word: the request goes out once more, uncharged."""

    async def play(peer, number):
        if number == 2:
            if end == "reset":
                peer.reset()
            return "close"
        return await peer.say(answer(json.dumps({"number": number}).encode()))

    async def main():
        async with playing(play) as peer:
            served = server(peer.url, retries=0)
            ticket = Meter(Budget()).reserve(Usage(calls=1))
            first = await served.post("/x", {})
            again = await served.insist(ticket, lambda: served.post("/x", {"a": 1}))
            assert (first, again) == ({"number": 1}, {"number": 3})
            assert (peer.connections, ticket.attempts) == (2, 0)
            assert peer.bodies[1] == peer.bodies[2] == b'{"a":1}'
            assert served.endpoints[0].failures == 0
            await served.aclose()

    run(main)


def test_where_all_idle_connections_were_closed_one_new_one_is_enough():
    async def main():
        both, seen = asyncio.Event(), []

        async def take(reader, writer):
            seen.append(writer)
            await reader.readuntil(b"{}")
            if len(seen) == 2:
                both.set()
            await both.wait()  # two calls side by side leave two connections
            writer.write(answer())
            with contextlib.suppress(asyncio.IncompleteReadError):
                await reader.readuntil(b"{}")
            writer.close()

        listener = await asyncio.start_server(take, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        served = server(f"http://127.0.0.1:{port}/v1")
        await asyncio.gather(*(served.post("/x", {}) for _ in range(2)))
        assert len(seen) == 2
        assert await served.post("/x", {}) == {}
        assert len(seen) == 3
        await served.aclose()
        listener.close()

    run(main)


@pytest.mark.parametrize("way", ["new", "late", "begun"])
def test_a_connection_that_breaks_otherwise_may_have_been_worked_on(way, monkeypatch):
    """A new one, one that was silent for long, one whose answer had begun: not sent again unasked."""
    if way == "late":
        monkeypatch.setattr("outthink.models._wire.STALE", 0.0)

    async def play(peer, number):
        if number == 1 and way != "new":
            return await peer.say(answer())
        if way == "begun":
            await peer.say(b"HTTP/1.1 200 OK\r\nConte")
        return "close"

    async def main():
        async with playing(play) as peer:
            served = server(peer.url)
            if way != "new":
                await served.post("/x", {})
            before = peer.requests
            with pytest.raises(Unreachable) as caught:
                await served.post("/x", {})
            assert caught.value.worked
            assert peer.requests == before + 1
            await served.aclose()

    run(main)


def test_connections_are_kept_and_calls_side_by_side_have_their_own():
    async def main():
        async with playing(always(answer())) as peer:
            served = server(peer.url)
            for _ in range(5):
                await served.post("/x", {})
            assert peer.connections == 1
            await served.aclose()
            async with asyncio.timeout(2):
                await peer.gone.wait()

    run(main)


@pytest.mark.parametrize(
    "raw",
    [
        answer(b"abc", headers="Content-Length: 10\r\n", length=False),
        answer(b"3\r\nabc\r\n", headers="Transfer-Encoding: chunked\r\n", length=False),
        b"garbage " + KEY.encode() + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"",
    ],
)
def test_half_an_answer_and_none_are_said(raw):
    async def main():
        async def play(peer, number):
            await peer.say(raw)
            return "close"

        async with playing(play) as peer:
            served = server(peer.url, key=KEY)
            with pytest.raises(Unreachable) as caught:
                await served.post("/x", {})
            assert caught.value.worked
            assert "secret" not in str(caught.value)
            assert str(peer.port) in str(caught.value)
            assert served.endpoints[0].failures == 1
            await served.aclose()

    run(main)


@pytest.mark.parametrize("end", ["zz\r\n", "reset", "closed here"])
def test_an_answer_that_breaks_in_the_middle_leaves_no_one_waiting(end):
    async def main():
        read = asyncio.Event()

        async def play(peer, number):
            head = "Transfer-Encoding: chunked\r\n"
            await peer.say(answer(b"3\r\nabc\r\n", headers=head, length=False))
            await read.wait()
            if end == "reset":
                peer.reset()
            elif end == "closed here":
                await served.aclose()
            else:
                await peer.say(end.encode())
                await peer.reader.read()
            return "close"

        async with playing(play) as peer:
            served = server(peer.url)
            parts = []

            async def call():
                async with served.exchange("/x", body_of) as got:
                    async for part in got.parts():
                        parts.append(part)
                        read.set()

            with pytest.raises(Unreachable):
                await call()
            assert parts == [b"abc"]
            await served.aclose()

    run(main)


@pytest.mark.parametrize("half", [False, True])
def test_a_server_that_falls_silent_is_not_waited_for(half):
    async def main():
        stop = asyncio.Event()

        async def play(peer, number):
            if half:
                await peer.say(answer(b"abc", headers="Content-Length: 10\r\n", length=False))
            await stop.wait()
            return "close"

        async with playing(play) as peer:
            served = server(peer.url, read=0.2)
            with pytest.raises(TimedOut, match="in time") as caught:
                await served.post("/x", {})
            assert caught.value.worked
            assert served.endpoints[0].failures == 1
            stop.set()
            await served.aclose()

    run(main)


def test_a_server_that_reads_nothing_of_a_long_request_is_not_waited_for():
    async def main():
        stop = asyncio.Event()

        async def take(reader, writer):
            await stop.wait()
            writer.transport.abort()

        listener = await asyncio.start_server(take, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        served = server(f"http://127.0.0.1:{port}/v1", read=0.1, connect=0.2)
        with pytest.raises(TimedOut, match="in time"):
            await served.post("/x", {"long": "x" * 30_000_000})
        stop.set()
        await served.aclose()
        listener.close()

    run(main)


def test_long_headers_and_long_bodies_are_handled(recwarn):
    async def main():
        head = f"X-Long: {'a' * 60_000}\r\n"
        async with playing(always(answer(b'{"a": 1}', headers=head))) as peer:
            served = server(peer.url)
            assert await served.post("/x", {"long": "x" * 3_000_000}) == {"a": 1}
            assert len(peer.bodies[0]) > 3_000_000
            await served.aclose()

    run(main)
    assert not [w for w in recwarn if "aiohttp" in w.filename or "asyncio" in str(w.message)]


# -- raw access ----------------------------------------------------------------------------------------


def test_an_exchange_hands_on_what_comes_as_it_comes():
    async def main():
        seen = asyncio.Event()

        async def play(peer, number):
            head = "Transfer-Encoding: chunked\r\nX-Own: yes\r\n"
            await peer.say(answer(b"3\r\none\r\n", 418, head, length=False))
            await seen.wait()  # the second part is written when the first was read
            await peer.say(b"3\r\ntwo\r\n0\r\n\r\n")

        async with playing(play) as peer:
            served = server(peer.url, key=KEY)
            given = {"Content-Type": "application/json", "authorization": "Bearer client"}
            given |= {"X-A": "1", "accept-encoding": "gzip"}
            parts = []
            async with served.exchange("/chat/completions", body_of, given) as got:
                assert (got.status, got.headers["x-own"]) == (418, "yes")
                assert got.endpoint is served.endpoints[0]
                assert got.endpoint.in_flight == 1
                async for part in got.parts():
                    parts.append(part)
                    seen.set()
            assert parts == [b"one", b"two"]
            assert got.endpoint.in_flight == 0
            (head,) = peer.heads
            assert head.startswith("POST /v1/chat/completions HTTP/1.1")
            assert f"Authorization: Bearer {KEY}" in head
            assert "client" not in head
            assert "X-A: 1" in head
            assert "identity" in head
            assert "gzip" not in head
            assert json.loads(peer.bodies[0]) == {"model": "m"}
            await served.aclose()

    run(main)


def test_an_exchange_passes_no_key_of_the_client_and_asks_in_any_method():
    async def main():
        async with playing(always(answer(b'{"data": []}'))) as peer:
            served = server(peer.url)
            head = {"AUTHORIZATION": "Bearer client"}
            async with served.exchange("/models", lambda e: b"", head, method="GET") as got:
                assert await got.read(100) == b'{"data": []}'
            assert peer.heads[0].startswith("GET /v1/models ")
            assert "client" not in peer.heads[0]
            await served.aclose()

    run(main)


@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 404, 429, 500, 503])
def test_an_exchange_hands_on_any_status_and_retries_none(status):
    async def main():
        raw = answer(
            b"" if status == 204 else b"[1]", status, "Location: http://other.invalid/\r\n"
        )
        async with playing(always(raw)) as peer:
            served = server(peer.url)
            async with served.exchange("/x", body_of) as got:
                assert (got.status, await got.read(10)) == (
                    status,
                    b"" if status == 204 else b"[1]",
                )
            assert peer.requests == 1
            assert served.endpoints[0].failures == (status >= 500)
            await served.aclose()

    run(main)


def test_an_exchange_unpacks_nothing_and_its_length_is_bounded():
    async def main():
        raw = answer(b"\x1f\x8b" + b"x" * 3000, headers="Content-Encoding: gzip\r\n")
        async with playing(always(raw)) as peer:
            served = server(peer.url)
            async with served.exchange("/x", body_of) as got:
                assert (await got.read(1 << 20))[:2] == b"\x1f\x8b"
            with pytest.raises(Malformed, match="longer than"):
                async with served.exchange("/x", body_of) as got:
                    await got.read(1000)
            await served.aclose()

    run(main)


def test_a_key_that_comes_back_is_starred_out_at_its_length():
    async def main():
        raw = b"wrong key " + KEY.encode() + b"!"
        async with playing(always(answer(raw, 401))) as peer:
            served = server(peer.url, key=KEY)
            async with served.exchange("/x", body_of) as got:
                assert await got.read(1000) == b"wrong key " + b"*" * len(KEY) + b"!"
            await served.aclose()

    run(main)


def test_what_a_caller_raises_in_an_exchange_is_no_fault_of_the_server():
    async def main():
        async with playing(always(answer(b"x" * 100))) as peer:
            served = server(peer.url)

            def broken(endpoint):
                raise OSError("own")

            with pytest.raises(OSError, match="own"):
                async with served.exchange("/x", broken):
                    pass
            with pytest.raises(KeyError):
                async with served.exchange("/x", body_of):
                    raise KeyError
            (only,) = served.endpoints
            assert (only.failures, only.in_flight, peer.requests) == (0, 0, 1)
            await served.aclose()

    run(main)


# -- several endpoints ---------------------------------------------------------------------------------


def test_a_connection_that_cannot_be_made_is_made_elsewhere_each_once():
    async def main():
        async with playing(always(answer(b"well"))) as peer:
            served = server(free(), free(), peer.url)
            for _ in range(6):
                async with served.exchange("/x", body_of) as got:
                    assert await got.read(10) == b"well"
            assert peer.requests == 6
            assert all(e.in_flight == 0 for e in served.endpoints)
            await served.aclose()
            dead = server(free(), free())
            with pytest.raises(Unreachable, match="is the server up") as caught:
                async with dead.exchange("/x", body_of):
                    pass
            assert not caught.value.worked
            assert [e.failures for e in dead.endpoints] == [1, 1]
            await dead.aclose()

    run(main)


def test_what_was_sent_is_not_sent_elsewhere():
    async def cut(peer, number):
        return "close"

    async def main():
        async with playing(cut) as one, playing(cut) as two:
            served = server(one.url, two.url)
            with pytest.raises(Unreachable):
                async with served.exchange("/x", body_of):
                    pass
            assert one.requests + two.requests == 1
            await served.aclose()

    run(main)


def test_calls_go_to_the_least_loaded_in_turn_among_equals():
    served = server("http://a/v1", "http://b/v1", "http://c/v1")
    a, b, c = served.endpoints
    assert {served.pick() for _ in range(3)} == {a, b, c}
    a.in_flight, b.in_flight, c.in_flight = 2, 1, 2
    assert {served.pick() for _ in range(3)} == {b}
    b.in_flight = 2
    assert [served.pick(avoid={a}) is not a for _ in range(4)] == [True] * 4
    assert served.pick(tried=[a, b]) is c


@pytest.fixture
def clock(monkeypatch):
    """The clock of endpoints and picks, moved by hand."""
    now = [1000.0]
    monkeypatch.setattr("outthink.models._endpoint.monotonic", lambda: now[0])
    monkeypatch.setattr("outthink.models._wire.monotonic", lambda: now[0])
    return now


def test_a_circuit_opens_after_three_failures_for_longer_each_time(clock):
    served = server("http://a/v1", "http://b/v1")
    a, b = served.endpoints
    a.failed()
    a.failed()
    assert a in {served.pick() for _ in range(2)}
    spans = []
    for _ in range(8):
        a.failed()
        a.failed()  # one that was under way says nothing new
        spans.append(a.open_until - clock[0])
        assert {served.pick() for _ in range(4)} == {b}
        clock[0] = a.open_until
        assert a in {served.pick() for _ in range(2)}
    assert spans == [1, 2, 4, 8, 16, 32, 60, 60]
    a.well()
    for _ in range(3):
        a.failed()
    assert a.open_until - clock[0] == 1
    a.well()
    a.failed()
    a.failed()
    a.well()
    a.failed()
    assert not a.open_until  # three in a row


def test_an_open_circuit_lets_one_call_through_when_its_time_comes(clock):
    """And where all are open, the one that opens soonest is asked: nothing is refused for that."""
    a, b = Endpoint("http://a/v1"), Endpoint("http://b/v1")
    status = {"a": 500, "b": 200}
    asked, go = [], asyncio.Event()

    async def transport(method, url, headers, body):
        asked.append(url[7])
        await go.wait()

        async def parts():
            yield b"{}"

        return status[url[7]], {}, parts()

    async def main():
        served = Server(Address(None, "X", 0, 1.0, 1.0), "m", transport, [a, b])

        async def call():
            async with served.exchange("/x", body_of) as got:
                return await got.read(10)

        for _ in range(3):
            a.failed()
        clock[0] += 1.5
        calls = [asyncio.ensure_future(call()) for _ in range(5)]
        await asyncio.sleep(0)
        assert asked.count("a") == 1
        go.set()
        await asyncio.gather(*calls)
        assert a.open_until == clock[0] + 2
        for _ in range(4):
            b.failed()
        asked.clear()
        status["a"] = 200
        assert b.open_until < a.open_until
        await call()
        assert asked == ["b"]
        assert not b.open_until  # it was well
        clock[0] += 3
        asked.clear()
        b.in_flight = 9
        await call()
        assert (asked, a.open_until, a.failures, a.trial) == (["a"], 0, 0, False)

    run(main)


def test_a_circuit_is_of_no_account_where_there_is_one_endpoint(clock):
    async def main():
        async with playing(
            always(answer(b"{}", 500), answer(b"{}", 429, "Retry-After: 9\r\n"))
        ) as p:
            served = server(p.url)
            for _ in range(6):
                with pytest.raises((ServerFailed, RateLimited)):
                    await served.post("/x", {})
            assert p.requests == 6
            await served.aclose()

    run(main)


def test_a_server_that_asks_for_rest_is_left_alone_for_so_long(clock):
    async def main():
        busy = answer(b"{}", 429, "Retry-After: 7\r\n")
        async with playing(always(busy)) as one, playing(always(answer(b"1"))) as two:
            served = server(one.url, two.url)
            for _ in range(6):
                async with served.exchange("/x", body_of):
                    pass
            assert (one.requests, two.requests) == (1, 5)
            clock[0] += 8
            for _ in range(2):
                async with served.exchange("/x", body_of):
                    pass
            assert one.requests == 2
            assert served.endpoints[0].failures == 0
            await served.aclose()

    run(main)


def test_a_retry_goes_to_another_server_at_once_and_by_its_name_for_the_model(monkeypatch):
    paused = []
    monkeypatch.setattr("outthink.models._server._pause", lambda n, w: paused.append(w) or 0.0)

    async def main():
        bad, good = answer(b"{}", 500), answer(json.dumps(completion(["7"])).encode())
        async with playing(always(bad)) as one, playing(always(good)) as two:
            ends = [Endpoint(one.url, model="x-1"), Endpoint(two.url, KEY, model="x-2")]
            model = OpenAI("x").open(endpoints=ends)
            meter = Meter(Budget())
            for _ in range(4):
                ticket = meter.reserve(Usage(calls=1))
                reply = await model.generate(Request(ASK), ticket)
                assert reply.generations[0].text == "7"
                ticket.settle(reply.usage)
            assert {json.loads(b)["model"] for b in one.bodies} == {"x-1"}
            assert {json.loads(b)["model"] for b in two.bodies} == {"x-2"}
            assert meter.spent.calls == one.requests + two.requests == 4 + one.requests
            assert one.requests >= 1
            assert not paused
            await model.aclose()
            failing = server(one.url, one.url, retries=3)
            with pytest.raises(ServerFailed):
                await failing.insist(meter.reserve(Usage(calls=1)), lambda: failing.post("/x", {}))
            assert len(paused) >= 1  # all were asked
            await failing.aclose()

    run(main)


@pytest.mark.parametrize("what", ["well", "broken", "gone", "silent", "long"])
def test_a_check_closes_the_circuit_of_a_server_that_answers(what, monkeypatch):
    monkeypatch.setattr("outthink.models._wire.CHECK", 0.2 if what == "silent" else 5.0)

    async def main():
        raw = answer(
            b"x" * (3 << 20) if what == "long" else b"{}", 500 if what == "broken" else 404
        )

        async def play(peer, number):
            if what == "silent":
                await peer.gone.wait()
            await peer.say(raw)

        async with playing(play) as peer:
            served = server(free() if what == "gone" else peer.url)
            (only,) = served.endpoints
            for _ in range(3):
                only.failed()
            good = what in ("well", "long")
            assert await served.check(only) is good
            assert (only.open_until == 0) is good
            assert only.failures == (0 if what == "well" else 2 if good else 4)
            assert only.in_flight == 0
            peer.gone.set()
            await served.aclose()

    run(main)


def test_endpoints_bring_their_own_keys_and_the_model_its_name(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere.invalid/v1")

    async def main():
        async with playing(always(answer(json.dumps(completion(["7"])).encode()))) as peer:
            model = OpenAI("big").open(endpoints=[Endpoint(peer.url), Endpoint(peer.url, KEY)])
            assert model.name == "big"
            for _ in range(2):
                await model.generate(Request(ASK), Meter(Budget()).reserve(Usage(calls=1)))
            keys = sorted(h.partition("Authorization: ")[2].split("\r\n")[0] for h in peer.heads)
            assert keys == ["", f"Bearer {KEY}"]
            assert "secret" not in repr(model.server.endpoints) + repr(model)
            await model.aclose()
        async with playing(always(answer(b"{}", 401))) as peer:
            model = OpenAI("big").open(endpoints=[Endpoint(peer.url, KEY)])
            with pytest.raises(NotAuthorised, match="check its key"):
                await model.generate(Request(ASK), Meter(Budget()).reserve(Usage(calls=1)))
            await model.aclose()

    run(main)


@pytest.mark.parametrize(
    ("address", "key", "said"),
    [
        ("ftp://h/v1", "", "must begin with"),
        ("http://user:hunter2@h/v1", "", "no name or password"),
        ("http://h/v1", "sk-a b", "holds a space"),
        ("http://h/v1", "sk-geheim\u00e9", "cannot have"),
    ],
)
def test_an_endpoint_of_no_use_is_refused_and_its_secrets_not_repeated(address, key, said):
    with pytest.raises(BadInput, match=said) as caught:
        Endpoint(address, key)
    assert "hunter2@" not in str(caught.value)
    assert "sk-" not in str(caught.value)


# -- statuses and watchers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [(302, ModelError), (400, Refused), (401, NotAuthorised), (408, TimedOut), (429, RateLimited),
     (409, ServerFailed), (503, ServerFailed)],
)  # fmt: skip
def test_an_error_tells_the_status_and_how_long_to_wait(status, kind):
    async def main():
        async with playing(always(answer(b"{}", status, "Retry-After: 4\r\n"))) as peer:
            served = server(peer.url)
            with pytest.raises(kind) as caught:
                await served.post("/x", {})
            assert caught.value.status == status
            assert getattr(caught.value, "retry_after", 4.0) == 4.0
            await served.aclose()

    run(main)
    assert Unreachable("x").status is None


class Watching:
    """Notes what it is told of each call."""

    def __init__(self):
        self.seen = []

    @contextlib.contextmanager
    def __call__(self, path, endpoint):
        noted = [path, endpoint.host, None, None]
        self.seen.append(noted)

        class Watcher:
            def status(self, status):
                noted[2] = status

            def headers(self):
                return {"traceparent": "00-1-2-01", "Authorization": "no"}

        try:
            yield Watcher()
        except BaseException as error:
            noted[3] = type(error)
            raise


def test_a_watcher_is_entered_around_each_call_of_each_kind():
    async def main():
        chunk = b'data: {"choices": []}\n\n'
        async with playing(always(answer(), answer(chunk), answer(b"{}", 500))) as peer:
            dead = free()
            served = server(dead, peer.url, key=KEY)
            served.watch = watch = Watching()
            served.endpoints[0].in_flight = 0
            served._turn = 1  # the dead one first
            async with served.exchange("/a", body_of) as got:
                await got.read(10)
            served.endpoints[0].in_flight = 99
            assert [e async for e in served.events("/b", {})] == [{"choices": []}]
            with pytest.raises(ServerFailed):
                await served.post("/c", {})
            live = peer.url[7:-3]
            assert watch.seen == [
                ["/a", dead[7:-3], None, Unreachable],
                ["/a", live, 200, None],
                ["/b", live, 200, None],
                ["/c", live, 500, ServerFailed],
            ]
            assert all("traceparent: 00-1-2-01" in head for head in peer.heads)
            assert all(f"Authorization: Bearer {KEY}" in head for head in peer.heads)
            await served.aclose()

    run(main)


@pytest.mark.parametrize("where", ["enter", "headers", "status"])
def test_a_watcher_that_fails_holds_no_place(where):
    class Broken:
        def __enter__(self):
            if where == "enter":
                raise KeyError
            return self

        def __exit__(self, *told):
            pass

        def headers(self):
            return {} if where == "status" else {}["x"]

        def status(self, status):
            raise KeyError

    async def main():
        async with playing(always(answer())) as peer:
            served = server(peer.url)
            served.watch = lambda path, endpoint: Broken()
            with pytest.raises(KeyError):
                await served.post("/x", {})
            (only,) = served.endpoints
            assert (only.in_flight, only.failures) == (0, 0)
            await served.aclose()

    run(main)


# -- the environment -----------------------------------------------------------------------------------


def test_a_proxy_of_the_environment_is_used_and_its_password_not_shown(monkeypatch):
    async def main():
        async with playing(always(answer(b'{"a": 1}'), answer(b"", 407))) as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"http://me:hunter2@127.0.0.1:{proxy.port}")
            monkeypatch.setenv("HTTPS_PROXY", f"http://me:hunter2@127.0.0.1:{proxy.port}")
            served = server("http://nowhere.invalid/v1", key=KEY)
            assert await served.post("/x", {}) == {"a": 1}
            assert proxy.heads[0].startswith("POST http://nowhere.invalid/v1/x ")
            assert "Proxy-Authorization: Basic bWU6aHVudGVyMg==" in proxy.heads[0]
            await served.aclose()
            served = server("https://nowhere.invalid/v1", key=KEY)
            with pytest.raises(Unreachable, match="the proxy says 407") as caught:
                await served.post("/x", {})
            assert not caught.value.worked
            assert "hunter2" not in str(caught.value)
            assert "Authorization: Bearer" not in proxy.heads[1]
            await served.aclose()
            monkeypatch.setenv("NO_PROXY", "nowhere.invalid")
            served = server("http://nowhere.invalid/v1", connect=1.0)
            with pytest.raises((Unreachable, TimedOut)):
                await served.post("/x", {})
            assert proxy.requests == 2
            await served.aclose()

    run(main)


@pytest.mark.parametrize("proxy", ["socks5://user:hunter2@h:1", "http://:1", "foo"])
def test_a_proxy_of_no_use_is_said(proxy, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", proxy)
    if proxy == "foo":  # a host without a scheme
        server("https://h/v1")
        return
    with pytest.raises(BadInput, match="m: the proxy or the certificates") as caught:
        server("https://h/v1")
    assert "hunter2" not in str(caught.value)
    server("http://localhost:1/v1")  # it is not asked there


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make a certificate")
def test_certificates_are_checked(tmp_path, monkeypatch):
    key, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def main():
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        async with playing(always(answer(b'{"a": 1}')), ssl=context) as peer:
            url = f"https://127.0.0.1:{peer.port}/v1"
            monkeypatch.delenv("SSL_CERT_FILE", raising=False)
            served = server(url)
            with pytest.raises(Unreachable, match="certificate verify failed") as caught:
                await served.post("/x", {})
            assert not caught.value.worked
            await served.aclose()
            monkeypatch.setenv("SSL_CERT_FILE", cert)
            served = server(url)
            assert await served.post("/x", {}) == {"a": 1}
            await served.aclose()

    run(main)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(BadInput, match="certificates"):
        server("https://h/v1")


def test_certifis_certificates_are_trusted_where_the_machine_has_none(monkeypatch):
    empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr("ssl.create_default_context", lambda **options: empty)
    assert _endpoint.trusted.__wrapped__(None, None).cert_store_stats()["x509_ca"] > 50
