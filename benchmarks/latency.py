"""Wall time of self_consistency(n=8) against one call, on a loopback server with 200 ms latency.

The server refuses ``n``, so that eight calls go out side by side.  Target: at most 1.15 times.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import anyio

from outthink.api import Session
from outthink.models.openai import OpenAI
from tests.loopback import completion, serving


async def measure(url: str) -> tuple[list[float], list[float]]:
    one, eight = [], []
    async with Session(OpenAI("m", base_url=url, seeds=True)) as session:
        await session.solve("warm up", "self_consistency(n=8)")
        for _ in range(9):
            for spec, times in (("greedy", one), ("self_consistency(n=8)", eight)):
                started = time.perf_counter()
                await session.solve("What is 3 + 4?", spec)
                times.append(time.perf_counter() - started)
    return one, eight


def main() -> None:
    with serving(lambda body, i: completion([f"The answer is {i % 3}."]), latency=0.2) as server:
        one, eight = anyio.run(measure, server.url)
    a, b = statistics.median(one), statistics.median(eight)
    print(json.dumps({"one_ms": a * 1e3, "eight_ms": b * 1e3, "ratio": b / a, "target": 1.15}))


if __name__ == "__main__":
    main()
