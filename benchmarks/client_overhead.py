"""CPU time a call: our client, a bare httpx loop and (where installed) the openai SDK, in one run.

256 calls in flight against a loopback server in another process.  Target: at most twice bare httpx.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import anyio
import httpx

from outthink.core.budget import Budget, Meter
from outthink.core.model import Request
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
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=120) as client:

        async def call() -> Any:
            return (await client.post(url + "/chat/completions", json=body)).json()

        return await drive(call)


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
    contenders = {"bare httpx": bare, "outthink": ours}
    try:
        import openai

        contenders[f"openai SDK {openai.__version__}"] = sdk
    except ImportError:
        pass
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(3):
        for name, run in contenders.items():
            times[name].append(anyio.run(run, url)[0])
    ours_pipe.send("stop")
    base = statistics.median(times["bare httpx"])
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"{name:24s} {middle:7.0f} us CPU a call   {middle / base:5.2f} x bare httpx")
    ratio = statistics.median(times["outthink"]) / base
    print(
        json.dumps(
            {"calls": CALLS, "in_flight": WIDTH, "ratio_to_bare_httpx": ratio, "target": 2.0}
        )
    )


if __name__ == "__main__":
    main()
