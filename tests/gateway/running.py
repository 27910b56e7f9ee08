"""A gateway on loopback in a thread, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import uvicorn

from outthink.gateway.app import Gateway
from outthink.gateway.config import Config, ModelConfig, ServerConfig, Upstream
from outthink.gateway.serve import Guarded, Server, listen


@dataclass
class Running:
    """``url`` ends with /v1; ``call`` runs a function in the gateway's loop and gives its result."""

    gateway: Gateway
    url: str
    loop: asyncio.AbstractEventLoop
    server: Server

    @property
    def root(self) -> str:
        return self.url.removesuffix("/v1")

    def call(self, function: Any, *args: Any) -> Any:
        async def inside() -> Any:
            found = function(*args)
            return await found if asyncio.iscoroutine(found) else found

        return asyncio.run_coroutine_threadsafe(inside(), self.loop).result(20)


def over(url: str, *, server: dict[str, Any] | None = None, **more: Any) -> Config:
    """A configuration with the model ``m`` over one upstream; ``more`` are fields of the model."""
    model = ModelConfig(name="m", upstreams=(Upstream(url),), **more)
    return Config(ServerConfig(port=0, **(server or {})), {"m": model}, {}, {})


def with_server(config: Config, **fields: Any) -> Config:
    """The configuration with other fields of its server."""
    return replace(config, server=replace(config.server, **fields))


@contextlib.contextmanager
def running(config: Config) -> Iterator[Running]:
    """Serve in a thread until the block ends."""
    ready, made = threading.Event(), list[Any]()
    sock = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
    failed: list[BaseException] = []

    def serve() -> None:
        gateway = Gateway(config)
        limits = {
            "header_bytes": config.server.header_bytes,
            "header_seconds": config.server.header_seconds,
        }
        settings = uvicorn.Config(
            gateway,
            http=type("Protocol", (Guarded,), limits),
            ws="none",
            lifespan="on",
            interface="asgi3",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=max(1, int(config.server.drain_seconds)),
        )
        server = Server(settings)
        server.gateway, server.drain_seconds = gateway, config.server.drain_seconds

        async def main() -> None:
            made.extend((gateway, asyncio.get_running_loop(), server))
            task = asyncio.ensure_future(server.serve([sock]))
            while not server.started and not task.done():
                await asyncio.sleep(0.005)
            ready.set()
            await task

        try:
            asyncio.run(main())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(20)
    if failed:
        raise failed[0]
    gateway, loop, server = made
    try:
        yield Running(gateway, url, loop, server)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
