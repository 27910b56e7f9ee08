"""A small OpenAI-compatible server on loopback, with faults on request; for tests and benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Handler = Callable[[dict[str, Any], int], Any]


def completion(texts: list[str], prompt: int = 7, tokens: int | None = None, **more: Any) -> dict:
    """A chat completion body with these choices."""
    written = sum(len(t.split()) for t in texts) if tokens is None else tokens
    return {
        "choices": [
            {"index": i, "message": {"role": "assistant", "content": t}, "finish_reason": "stop"}
            for i, t in enumerate(texts)
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": written},
        **more,
    }


@dataclass
class Server:
    """``handler(body, number)`` gives a dict (200), ``(status, headers, body)`` or ``"cut"``."""

    handler: Handler
    latency: float = 0.0
    port: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    in_flight: int = 0
    peak: int = 0
    left_early: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")
                fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
                body = json.loads(await reader.readexactly(int(fields.get("content-length", 0))))
                number = len(self.bodies)
                self.bodies.append(body)
                self.headers.append(fields)
                self.paths.append(lines[0].split(" ")[1])
                self.in_flight += 1
                self.peak = max(self.peak, self.in_flight)
                try:
                    if self.latency:
                        gone = asyncio.ensure_future(reader.read(1))
                        done, _ = await asyncio.wait([gone], timeout=self.latency)
                        if done:
                            self.left_early += 1
                            return
                        gone.cancel()
                        with contextlib.suppress(asyncio.CancelledError):
                            await gone
                    answer = self.handler(body, number)
                finally:
                    self.in_flight -= 1
                if answer == "cut":
                    return
                status, extra, payload = answer if isinstance(answer, tuple) else (200, {}, answer)
                raw = payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()
                kind = (
                    "text/event-stream" if str(payload).startswith("data:") else "application/json"
                )
                more = "".join(f"{k}: {v}\r\n" for k, v in extra.items())
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{more}"
                    f"Content-Length: {len(raw)}\r\n\r\n".encode()
                    + raw
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@contextlib.contextmanager
def serving(handler: Handler, latency: float = 0.0) -> Iterator[Server]:
    """Run a server in a thread."""
    server = Server(handler, latency)
    ready, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        listener = await asyncio.start_server(server._serve, "127.0.0.1", 0, backlog=1024)
        server.port = listener.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        listener.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    ready.wait(5)
    try:
        yield server
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(5)
