"""A load driver that costs little itself: uvloop, httptools, and the same bytes again and again.

Prints one line of JSON: requests/s, p50 and p99 in milliseconds, the time to the first byte of a body
after the first event of a stream, and what went wrong.  Clients ask again as soon as they have their
answer, over connections that are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httptools
import uvloop


class Client(asyncio.Protocol):
    """One client: asks until the run is over, then leaves."""

    def __init__(self, run: Run) -> None:
        self.run, self.over = run, run.loop.create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.parser = httptools.HttpResponseParser(self)
        self.ask()

    def ask(self) -> None:
        self.asking = self.run.take()
        if not self.asking:
            self.transport.close()
            return
        self.first, self.size = 0.0, 0
        self.started = time.perf_counter()
        self.transport.write(self.run.request)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()

    def on_body(self, body: bytes) -> None:
        self.size += len(body)
        if not self.first and self.run.mark in body:
            self.first = time.perf_counter()

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        status = self.parser.get_status_code()
        if status == 200 and self.size:
            self.run.times.append(now - self.started)
            self.run.firsts.append((self.first or now) - self.started)
        else:
            self.run.wrong[str(status)] = self.run.wrong.get(str(status), 0) + 1
        stays = self.parser.should_keep_alive()
        self.parser = httptools.HttpResponseParser(self)
        self.asking = False
        if stays:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self.asking:
            self.run.wrong["lost"] = self.run.wrong.get("lost", 0) + 1
        if not self.over.done():
            self.over.set_result(None)


class Run:
    """What all clients of a run share."""

    def __init__(self, request: bytes, mark: bytes, total: int, seconds: float) -> None:
        self.request, self.mark, self.left = request, mark, total
        self.loop = asyncio.get_running_loop()
        self.until = time.perf_counter() + seconds
        self.times: list[float] = []
        self.firsts: list[float] = []
        self.wrong: dict[str, int] = {}

    def take(self) -> bool:
        """Whether one more request is to be made."""
        self.left -= 1
        return self.left >= 0 and time.perf_counter() < self.until

    async def client(self, host: str, port: int) -> None:
        while self.left > 0 and time.perf_counter() < self.until:
            try:
                _, client = await self.loop.create_connection(lambda: Client(self), host, port)
            except OSError:
                self.wrong["refused"] = self.wrong.get("refused", 0) + 1
                await asyncio.sleep(0.05)
                continue
            await client.over


def at(values: list[float], share: float) -> float:
    """The value below which a share of the sorted values lies, in milliseconds."""
    return values[min(int(share * len(values)), len(values) - 1)] * 1e3 if values else float("nan")


async def drive(args: argparse.Namespace) -> dict[str, Any]:
    where, body = urlsplit(args.url), Path(args.body).read_bytes()
    more = "".join(f"{line}\r\n" for line in args.header)
    request = (
        f"POST {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
        f"Accept: */*\r\nAuthorization: Bearer k\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    run = Run(request, b'"content"' if args.stream else b"", args.total, args.seconds)
    started = time.perf_counter()
    assert where.hostname
    port = where.port or 80
    async with asyncio.timeout(args.seconds + args.patience):
        await asyncio.gather(*(run.client(where.hostname, port) for _ in range(args.concurrency)))
    seconds = time.perf_counter() - started
    times, firsts = sorted(run.times), sorted(run.firsts)
    return {
        "requests": len(times),
        "seconds": seconds,
        "rps": len(times) / seconds,
        "p50_ms": at(times, 0.5),
        "p99_ms": at(times, 0.99),
        "first_p50_ms": at(firsts, 0.5),
        "last_ms": at(times, 1.0),
        "errors": run.wrong,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a load driver for OpenAI-compatible servers")
    parser.add_argument("--url", required=True, help="of the endpoint, by number: http://127.0...")
    parser.add_argument("--body", required=True, help="a file: the JSON that is sent")
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--total", type=int, default=1 << 30, help="requests at most")
    parser.add_argument("--seconds", type=float, default=3600.0, help="seconds at most")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds for the last answers")
    parser.add_argument("--stream", action="store_true", help="time the first event with content")
    parser.add_argument("--header", action="append", default=[], help="one more line: 'X-Y: z'")
    print(json.dumps(uvloop.run(drive(parser.parse_args()))))
