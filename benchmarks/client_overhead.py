"""CPU time a call: our client, a bare aiohttp loop and (where installed) the openai SDK, in one run.

256 calls in flight against a loopback server in another process.  ``exchange`` is the raw access that
the gateway's pass-through has.  Targets: at most twice bare aiohttp, ``exchange`` at most 1.3 times.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import aiohttp
import anyio

from outthink.core.budget import Budget, Meter
from outthink.core.model import Request
from outthink.models._server import Address, Endpoint, Server
from outthink.models.openai import OpenAI
from tests.loopback import completion, serving

CALLS, WIDTH = 2048, 256
MESSAGES = ({"role": "user", "content": "What is 3 + 4? Think step by step."},)


def serve(pipe: Any) -> None:
    with serving(lambda body, i: completion(["The answer is 7."])) as server:
        pipe.send(server.url)
        pipe.recv()


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def drive(call: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    """CPU and wall microseconds a call."""
    left = CALLS

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    await call()
    began, started = cpu(), time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(WIDTH):
            tasks.start_soon(worker)
    return (cpu() - began) / CALLS * 1e6, (time.perf_counter() - started) / CALLS * 1e6


async def bare(url: str) -> tuple[float, float]:
    body = {"model": "m", "max_tokens": 64, "temperature": 1.0, "messages": list(MESSAGES)}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

        async def call() -> Any:
            async with client.post(url + "/chat/completions", json=body) as answer:
                return await answer.json()

        return await drive(call)


async def raw(url: str) -> tuple[float, float]:
    address = Address(None, "", 0, 5.0, 120.0)
    server = Server(address, "m", None, [Endpoint(url)])
    body = {"model": "m", "max_tokens": 64, "temperature": 1.0, "messages": list(MESSAGES)}
    head = {"Content-Type": "application/json"}

    async def call() -> Any:
        sent = json.dumps(body).encode()
        async with server.exchange("/chat/completions", lambda endpoint: sent, head) as answer:
            return json.loads(await answer.read(1 << 20))

    try:
        return await drive(call)
    finally:
        await server.aclose()


async def ours(url: str) -> tuple[float, float]:
    model = OpenAI("m", base_url=url).open()
    meter = Meter(Budget(tokens=10**9, calls=10**6))

    async def call() -> Any:
        ticket = meter.reserve(model.price.usage(50, 64))
        reply = await model.generate(Request(MESSAGES, max_tokens=64), ticket)
        ticket.settle(reply.usage)

    try:
        return await drive(call)
    finally:
        await model.aclose()


async def sdk(url: str) -> tuple[float, float]:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

        async def call() -> Any:
            await client.chat.completions.create(
                model="m", max_tokens=64, temperature=1.0, messages=list(MESSAGES)
            )

        return await drive(call)


def main() -> None:
    ours_pipe, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    url = ours_pipe.recv()
    contenders = {"bare aiohttp": bare, "outthink exchange": raw, "outthink": ours}
    try:
        import openai

        contenders[f"openai SDK {openai.__version__}"] = sdk
    except ImportError:
        pass
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(5):
        for name, run in contenders.items():
            times[name].append(anyio.run(run, url)[0])
    ours_pipe.send("stop")
    # a busy machine only ever adds: the least of the rounds is the work itself
    base = min(times["bare aiohttp"])
    for name, values in times.items():
        least = min(values)
        print(f"{name:24s} {least:7.0f} us CPU a call   {least / base:5.2f} x bare aiohttp")
    ratios = {
        name: {"ratio_to_bare_aiohttp": min(times[name]) / base, "target": target}
        for name, target in (("outthink exchange", 1.3), ("outthink", 2.0))
    }
    print(json.dumps({"calls": CALLS, "in_flight": WIDTH, **ratios}))


if __name__ == "__main__":
    main()
