"""The whole storm: faults behind the gateway, clients that leave it, and what is left of it all.

First ``--requests`` at once on a gateway in this process, whose tasks, slots, connections and ledger are
looked into afterwards; then ``--long`` of them, 64 at a time, on ``outthink serve`` in a process of its
own, whose memory is watched.  Ends with status 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


import peers

from outthink.gateway.config import ServerConfig
from outthink.gateway.keys import toml_of
from tests.gateway import storm
from tests.gateway.running import running
from tests.gateway.storm import Deed
from tests.gateway.upstream import hostile

#: of the upstream's calls, of the clients
FAULTS, LEAVING = 0.05, 0.1
SHORT = {"read_seconds": 2.0, "retries": 1}
HABITS = {"latency": 0.1, "retry_after": 0.05, "pace": 0.002, "right": 0.7}


def told(made: Sequence[Deed], seconds: float) -> dict[str, Any]:
    """How a storm went, in figures."""
    left = sum(d.leaves is not None and not d.status for d in made)
    statuses = Counter(str(d.status) for d in made if d.status)
    late = sum(d.status == 200 and d.error is not None for d in made)
    return {
        "requests": len(made),
        "seconds": round(seconds, 2),
        "statuses": dict(sorted(statuses.items())),
        "errors in mid-stream": late,
        "clients that left": left,
    }


def at_once(count: int, seed: int) -> tuple[dict[str, Any], list[str]]:
    """All requests at the same time; figures, and what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "ledger.db")
        keys = [
            storm.key_of("free"),
            storm.key_of("tokens", tokens_per_day=10**9),
            storm.key_of("money", usd_per_month=10**6),
        ]
        server = ServerConfig(store=store, deadline_seconds=20.0, concurrent=count)
        prices = {"usd_prompt": 1.0, "usd_completion": 2.0}
        with hostile(rates=storm.rates(FAULTS), seed=seed, **HABITS) as up:
            config = storm.config_of(up.url, [k for _, k in keys], server, **prices, **SHORT)
            with running(config) as gate:
                secrets, before = [secret for secret, _ in keys], storm.tasks_of(gate)
                made = storm.deeds(count, secrets, LEAVING, seed, within=2.0)
                began = time.perf_counter()
                asyncio.run(storm.storm(gate.url, made))
                figures = told(made, time.perf_counter() - began)
                wrong = asyncio.run(
                    storm.clean(lambda: storm.leaks(gate, up.book, before, store), 5.0)
                )
                wrong += storm.untrue(made, up.book)
                charged = storm.spent(store)
                for place, (_, key) in enumerate(keys[1:], 1):
                    total = sum(
                        (up.book.total(i) for i in up.book.totals if i.endswith(f"-k{place}")),
                        Counter(),
                    )
                    billed = total["prompt"] + total["completion"]
                    if not charged.get(key.id, 0) >= billed > 0:
                        wrong.append(
                            f"key {key.name}: {charged.get(key.id)} charged, {billed} billed"
                        )
            known = [d for d in made if d.usage is not None]
            calls = Counter(fault for call in up.book.calls for fault in call.faults)
            figures |= {
                "calls": len(up.book.calls),
                "faults": sum(calls.values()),
                "kinds of faults": len(calls),
                "peak in flight": up.book.peak,
                "usage checked": len(known),
                "of it estimated": sum(d.estimated for d in known),
            }
            if not up.wait(lambda book: book.connections == 0):
                wrong.append(f"{up.book.connections} connections stay open at the upstream")
    return figures, wrong


def leaving() -> tuple[dict[str, Any], list[str]]:
    """For each strategy, how long after its client left the last of its calls ends."""
    wrong, times = [], []
    with (
        hostile(fault="refuse_n", pace=0.01) as up,
        running(storm.config_of(up.url)) as gate,
    ):
        specs = storm.runnable(gate)

        async def one(spec: str | None, stream: bool) -> None:
            told = await storm.leave(gate.url, up, spec, stream, 30.0, 0.05)
            if told is not None:
                wrong.append(told)
            calls = up.book.of(f"{spec}-{stream}")
            # it left 0.05 s after the first of them
            times.append(max(c.ended for c in calls) - min(c.started for c in calls) - 0.05)

        for spec in specs:
            for stream in (False, True):
                asyncio.run(one(spec, stream))
    times.sort()
    middle, most = times[len(times) // 2], times[-1]
    figures = {"strategies": len(specs), "median_s": round(middle, 4), "most_s": round(most, 4)}
    if most > 0.5:
        wrong.append(f"calls went on for {most:.2f} s after their client had left")
    return figures, wrong


def long(count: int, seed: int) -> tuple[dict[str, Any], list[str]]:
    """Many requests, 64 at a time, on a gateway in its own process; its memory as they go by."""
    secret, key = storm.key_of("tokens", tokens_per_day=10**12)
    port = peers.free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        hostile(rates=storm.rates(FAULTS), seed=seed, **HABITS) as up,
    ):
        up.book.keep = False
        file = Path(folder) / "gateway.toml"
        file.write_text(
            f'[server]\nport = {port}\nstore = "{folder}/ledger.db"\ndeadline_seconds = 20\n'
            f'[models.m]\nupstreams = [{{url = "{up.url}"}}]\nread_seconds = 2\nretries = 1\n'
            f"{toml_of(key)}",
            "utf-8",
        )
        command = [sys.executable, "-m", "outthink", "serve", "--config", str(file), "--quiet"]
        process = peers.Process(command, port, {})
        sizes, made = [], list[Deed]()
        try:
            process.healthy("/v1/chat/completions", peers.ASK, key=secret)
            began, step = time.perf_counter(), max(count // 10, 1)
            for turn in range(10):
                some = storm.deeds(step, [secret], LEAVING, seed + turn)
                made += asyncio.run(storm.storm(process.url, some, width=64))
                up.book.clear()
                time.sleep(0.5)
                sizes.append(round(process.rss_mb(), 1))
                print(f"{(turn + 1) * step} requests: {sizes[-1]} MB", file=sys.stderr, flush=True)
            figures = told(made, time.perf_counter() - began)
        finally:
            process.stop()
        held = storm.held(f"{folder}/ledger.db")
    figures |= {"resident MB": sizes}
    wrong = [f"{d.id}: {w}" for d in made for w in d.wrong]
    wrong += [f"the ledger's {name}: {value}" for name, value in held.items() if value]
    # the first half may still fill caches and pools
    grown = statistics.mean(sizes[-2:]) - statistics.mean(sizes[4:6])
    if grown > 0.03 * sizes[4]:
        wrong.append(f"memory grew by {grown:.1f} MB in the second half: {sizes}")
    return figures, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1000, help="at once")
    parser.add_argument("--long", type=int, default=20_000, help="64 at a time; 0: none")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    figures, wrong = at_once(args.requests, args.seed)
    print(json.dumps({"at once": figures}, indent=1), flush=True)
    more, others = leaving()
    print(json.dumps({"clients that leave": more}, indent=1), flush=True)
    wrong += others
    if args.long:
        more, others = long(args.long, args.seed)
        print(json.dumps({"one after the other": more}, indent=1))
        wrong += others
    for line in wrong:
        print(f"wrong: {line}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
