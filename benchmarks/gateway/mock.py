"""The bare upstream of the benchmarks: a canned answer of 13 words, as fast as Python sends one.

It looks for ``n`` and ``stream`` in the bytes of a body and parses nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
from typing import Any

import httptools
import uvloop

WORDS = (
    "I",
    "add",
    "the",
    "two",
    "numbers",
    "one",
    "after",
    "another;",
    "the",
    "sum",
    "is",
    "then",
)
N = re.compile(rb'"n"\s*:\s*(\d+)')
STREAM = re.compile(rb'"stream"\s*:\s*true')
MODELS = {
    "object": "list",
    "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "me"}],
}


def reply(body: Any, status: str = "200 OK") -> bytes:
    raw = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}"
    return f"{head}\r\n\r\n".encode() + raw


def head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "m"}


def answer(n: int, turn: int) -> bytes:
    """A whole answer of ``n`` choices; what they say varies with ``turn``, as samples do."""
    choices = [
        {
            "index": i,
            "message": {"role": "assistant", "content": " ".join([*WORDS, f"{(turn + i) % 3}."])},
            "logprobs": None,
            "finish_reason": "stop",
        }
        for i in range(n)
    ]
    usage = {"prompt_tokens": 9, "completion_tokens": 13 * n, "total_tokens": 9 + 13 * n}
    return reply({**head("chat.completion"), "choices": choices, "usage": usage})


def chunks() -> list[bytes]:
    """A streamed answer: its head, a piece for each word, its end."""

    def event(data: str) -> bytes:
        raw = f"data: {data}\n\n".encode()
        return b"%x\r\n%b\r\n" % (len(raw), raw)

    def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return event(json.dumps({**head("chat.completion.chunk"), "choices": [choice]}))

    begin = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    usage = {"prompt_tokens": 9, "completion_tokens": 13, "total_tokens": 22}
    last = {**head("chat.completion.chunk"), "choices": [], "usage": usage}
    words = [chunk({"content": f" {word}"}) for word in [*WORDS, "7."]]
    end = chunk({}, "stop") + event(json.dumps(last)) + event("[DONE]") + b"0\r\n\r\n"
    return [begin + chunk({"role": "assistant", "content": ""}), *words, end]


ANSWERS = {n: [answer(n, turn) for turn in range(3)] for n in range(1, 65)}
REFUSED = reply({"error": {"message": "n must be 1", "type": "invalid_request_error"}}, "400 Bad")
CHUNKS = chunks()
LISTED = reply(MODELS)


class Connection(asyncio.Protocol):
    """One connection of the mock; ``settings`` are latency, pace and whether ``n`` is refused."""

    calls = 0

    def __init__(self, settings: argparse.Namespace) -> None:
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self.parser = httptools.HttpRequestParser(self)
        self.body: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        raw = b"".join(self.body)
        self.body.clear()
        if self.parser.get_method() == b"GET":
            self.transport.write(LISTED)
            return
        Connection.calls += 1
        found = N.search(raw)
        n = int(found[1]) if found else 1
        if n > 1 and self.settings.refuse_n:
            self.transport.write(REFUSED)
            return
        if STREAM.search(raw):
            self.later(self.settings.latency, self.stream, 0)
        else:
            # it writes its words as slowly where nobody sees them come
            seconds = self.settings.latency + self.settings.pace * len(CHUNKS)
            self.later(seconds, self.write, ANSWERS[n][Connection.calls % 3])

    def later(self, seconds: float, call: Any, *args: Any) -> None:
        if seconds:
            self.loop.call_later(seconds, call, *args)
        else:
            call(*args)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def stream(self, place: int) -> None:
        if not self.settings.pace:
            self.transport.write(b"".join(CHUNKS))
            return
        self.transport.write(CHUNKS[place])
        if place + 1 < len(CHUNKS) and not self.transport.is_closing():
            self.loop.call_later(self.settings.pace, self.stream, place + 1)


async def serve(settings: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: Connection(settings), "127.0.0.1", settings.port, backlog=4096
    )
    await listener.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="the bare upstream of the gateway's benchmarks")
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds between streamed words")
    parser.add_argument("--refuse-n", action="store_true", help="400 for n > 1")
    uvloop.run(serve(parser.parse_args()))
