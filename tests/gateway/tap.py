"""A tap between the gateway and a real server: it forwards all, and keeps what was asked and told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession, ClientTimeout, web


@dataclass
class Seen:
    """One call: what was asked, what the server told, and whether the gateway left before the end."""

    body: dict[str, Any]
    headers: dict[str, str]
    status: int = 0
    told: bytes = b""
    left: bool = False

    @property
    def usage(self) -> tuple[int, int]:
        """Prompt and completion tokens as the server told them; 0 where it did not."""
        lines = [x[5:] for x in self.told.split(b"\n") if x.startswith(b"data:")] or [self.told]
        found: dict[str, int] = {}
        for line in lines:
            with contextlib.suppress(ValueError):
                found = json.loads(line).get("usage") or found
        return found.get("prompt_tokens", 0), found.get("completion_tokens", 0)


class Tap:
    """``url`` is where the gateway is sent to, ``seen`` what went to ``target``."""

    def __init__(self, target: str) -> None:
        self.target, self.port = target.removesuffix("/v1"), 0
        self.seen: list[Seen] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def usage(self) -> tuple[int, int]:
        """What the server told of all calls together."""
        pairs = [call.usage for call in self.seen]
        return sum(p for p, _ in pairs), sum(c for _, c in pairs)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        call = Seen(json.loads(raw) if raw else {}, dict(request.headers))
        if raw:
            self.seen.append(call)
        own = ("host", "content-length")
        headers = {k: v for k, v in request.headers.items() if k.lower() not in own}
        try:
            async with self._session.request(
                request.method, self.target + request.path_qs, data=raw or None, headers=headers
            ) as answer:
                call.status = answer.status
                kind = answer.headers.get("content-type", "")
                out = web.StreamResponse(status=answer.status, headers={"content-type": kind})
                await out.prepare(request)
                async for part in answer.content.iter_any():
                    call.told += part
                    await out.write(part)
                await out.write_eof()
                return out
        except (asyncio.CancelledError, ConnectionError):
            call.left = True
            raise

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        async with ClientSession(timeout=ClientTimeout(120)) as self._session:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self._forward)
            runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port = runner.addresses[0][1]
            ready.set()
            await stop.wait()
            await runner.cleanup()


@contextlib.contextmanager
def tapped(target: str) -> Iterator[Tap]:
    """Run a tap in a thread before a server whose address ends with /v1."""
    tap, ready, made = Tap(target), threading.Event(), list[Any]()

    async def main() -> None:
        made.extend((asyncio.get_running_loop(), asyncio.Event()))
        await tap.serve(ready, made[1])

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield tap
    finally:
        made[0].call_soon_threadsafe(made[1].set)
        thread.join(10)
