"""The gateway against the bare upstream and against its peers, in one run on one machine.

    python benchmarks/gateway/run.py install     # the peers, each into an environment of its own
    python benchmarks/gateway/run.py all         # speed, wall, memory, stream; then the report

Every figure is the median of interleaved repeats.  Client, gateway and upstream share the machine's
cores, so only ratios within a run mean something.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import pstats
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import peers
import report
from peers import Contender, Process

Row = dict[str, float]
BARE = "bare upstream"
CLIENTS = (1, 16, 64)


def load(process: Process, body: dict[str, Any], clients: int, **limits: float) -> dict[str, Any]:
    """Drive a server from a process of its own; see load.py for what comes back."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(body, file)
        file.flush()
        command = [sys.executable, str(peers.HERE / "load.py"), "--body", file.name]
        command += ["--url", f"{process.url}/chat/completions", "--concurrency", str(clients)]
        for name, value in limits.items():
            command += [f"--{name}", str(value)]
        command += ["--stream"] * bool(body.get("stream"))
        told = subprocess.run(command, capture_output=True, text=True)
    if told.returncode:
        return {"requests": 0, "errors": {"driver": told.stderr.strip().splitlines()[-1]}}
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def flat(told: dict[str, Any], at: str) -> Row:
    """What a load gave, as figures of a row; ``at`` says which."""
    names = ("rps", "p50_ms", "p99_ms")
    row = {f"{name}{at}": float(told.get(name, math.nan)) for name in names}
    row[f"errors{at}"] = float(sum(v if isinstance(v, int) else 1 for v in told["errors"].values()))
    return row


def speed(process: Process, contender: Contender | None, args: argparse.Namespace) -> Row:
    """Requests/s and latencies at 1, 16 and 64 clients; start, memory and CPU of the gateway."""
    body = dict(contender.body if contender else peers.ASK)
    row = {"start_s": process.seconds, "rss_mb": process.rss_mb()}
    load(process, body, 8, seconds=args.seconds / 4)
    for clients in CLIENTS:
        before = process.cpu_seconds()
        told = load(process, body, clients, seconds=args.seconds)
        row |= flat(told, f"@{clients}")
        if told["requests"]:
            row[f"cpu_ms@{clients}"] = (process.cpu_seconds() - before) / told["requests"] * 1e3
    return row


def wall(process: Process, contender: Contender | None, args: argparse.Namespace) -> Row:
    """Latencies over an upstream that takes 200 ms, 1 client and 64 that start together."""
    body = dict(contender.body if contender else peers.ASK)
    load(process, body, 2, total=4)
    alone = load(process, body, 1, total=10, seconds=60)
    crowd = load(process, body, 64, total=64 * 4, seconds=60)
    return flat(alone, "@1") | flat(crowd, "@64")


def memory(process: Process, contender: Contender | None, args: argparse.Namespace) -> Row:
    """Resident memory after the first requests and after 20,000 (or as many as time allowed)."""
    body = dict(contender.body if contender else peers.ASK)
    load(process, body, 16, total=500, seconds=args.seconds)
    row = {"rss_mb": process.rss_mb()}
    told = load(process, body, 16, total=args.requests, seconds=20 * args.seconds)
    return row | {"rss_mb_after": process.rss_mb(), "requests": float(told["requests"])}


def stream(process: Process, contender: Contender | None, args: argparse.Namespace) -> Row:
    """Time to the first word and to the last, one client, words 20 ms apart."""
    body = {**(contender.body if contender else peers.ASK), "stream": True}
    load(process, body, 1, total=2)
    told = load(process, body, 1, total=10, seconds=60)
    return flat(told, "@1") | {"first_ms": float(told.get("first_p50_ms", math.nan))}


def profile(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Where our own CPU time goes at 64 clients: shares of packages, by cProfile, less the start."""
    found = {}
    for contender in peers.CONTENDERS[:3]:
        idle, busy = (profiled(contender, args, load) for load in (0.0, 3 * args.seconds))
        busy.subtract(idle)
        total = sum(v for v in busy.values() if v > 0)
        found[contender.name] = {k: v / total for k, v in busy.most_common(12) if v > 0}
    return found


def profiled(contender: Contender, args: argparse.Namespace, seconds: float) -> Counter[str]:
    """CPU seconds by package of a gateway that is started, driven for a while and ended."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "profile")

        def watched(cache: Path, upstream: str, port: int) -> list[str]:
            python, *rest = peers.ours(cache, upstream, port)
            return [python, "-m", "cProfile", "-o", file, *rest]

        with (
            peers.mock(refuse_n=contender.refuse_n) as upstream,
            peers.started(replace(contender, command=watched), args.cache, upstream.url) as ours,
        ):
            if seconds:
                load(ours, dict(contender.body), 64, seconds=seconds)
            ours.child.terminate()
            ours.child.wait(60)
        return times_of(file)


def times_of(file: str) -> Counter[str]:
    """Seconds by package in a profile; what is built in counts where it is called."""
    times: Counter[str] = Counter()
    for (where, _, name), told in pstats.Stats(file).stats.items():  # type: ignore[attr-defined]
        if where == "~" and ("poll" in name or "run_until" in name):
            continue  # waiting, and the loop itself
        if where != "~":
            times[package(where)] += told[2]
            continue
        for (caller, _, _), part in told[4].items():
            times[package(caller)] += part[2]
    return times


def package(where: str) -> str:
    """The package that a file belongs to: of ours the part, of others the name."""
    for start in ("site-packages/", f"{peers.ROOT}/"):
        if start in where:
            parts = where.rpartition(start)[2].split("/")
            return "/".join(parts[:2]) if parts[0] == "outthink" else parts[0]
    if "/" not in where:  # code that has no file, of dataclasses for the most part
        return "python: made at run time"
    file = Path(where)
    return f"python: {file.stem if file.parent.name.startswith('python') else file.parent.name}"


def measure(
    what: Callable[[Process, Contender | None, argparse.Namespace], Row],
    contenders: Iterable[Contender],
    args: argparse.Namespace,
    **habits: float,
) -> dict[str, Any]:
    """One kind of measurement of all contenders, in turn and again; medians and each run's rows."""
    runs: dict[str, list[Row]] = {}
    for turn in range(args.repeats):
        with peers.mock(**habits) as bare:
            runs.setdefault(BARE, []).append(what(bare, None, args))
        for contender in contenders:
            with ExitStack() as stack:
                upstream = stack.enter_context(peers.mock(**habits, refuse_n=contender.refuse_n))
                try:
                    process = stack.enter_context(
                        peers.started(contender, args.cache, upstream.url)
                    )
                except RuntimeError as error:
                    print(f"{contender.name}: {error}", file=sys.stderr)
                    continue
                row = what(process, contender, args)
            runs.setdefault(contender.name, []).append(row)
            print(f"{what.__name__} {turn + 1}/{args.repeats} {contender.name}: ", end="")
            print(", ".join(f"{k} {v:.3g}" for k, v in row.items()), flush=True)
    return {
        name: {
            "median": {k: statistics.median(row.get(k, math.nan) for row in rows) for k in rows[0]},
            "runs": rows,
        }
        for name, rows in runs.items()
    }


def machine(cache: Path) -> dict[str, Any]:
    """What the figures were measured on and with."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    found = {"python": platform.python_version(), "cores": os.cpu_count(), "cpu": sorted(names)}
    found["when"] = datetime.now(UTC).strftime("%Y-%m-%d")
    known = [None, *(p for p in peers.INSTALLS if (cache / "venvs" / p / "installed").is_file())]
    found["versions"] = {peer or "outthink": peers.version(cache, peer) for peer in known}
    return found


def main() -> None:
    kinds = {"speed": {}, "wall": {"latency": 0.2}, "memory": {}, "stream": {"pace": 0.02}}
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["install", "all", "report", "profile", *kinds])
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "outthink-bench")
    parser.add_argument("--only", help="contenders whose names begin so, with commas between")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="of each cell of the speed table"
    )
    parser.add_argument("--requests", type=int, default=20_000, help="of the memory table")
    parser.add_argument("--out", type=Path, default=peers.HERE, help="folder of the results")
    args = parser.parse_args()
    if args.what == "install":
        args.cache.mkdir(parents=True, exist_ok=True)
        for peer, why in peers.install(args.cache).items():
            print(f"{peer} could not be installed: {why}")
        return
    file = args.out / "results.json"
    results = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    chosen = [c for c in peers.CONTENDERS if peers.installed(args.cache, c)]
    if args.only:
        chosen = [c for c in chosen if c.name.startswith(tuple(args.only.split(",")))]
    for kind, habits in kinds.items():
        if args.what not in (kind, "all"):
            continue
        plain = [c for c in chosen if c.name in peers.PLAIN]
        few = [c for c in chosen if c.peer is None or c in plain]
        asked = {"stream": plain, "memory": few}.get(kind, chosen)
        results[kind] = measure(globals()[kind], asked, args, **habits)
        results["machine"] = machine(args.cache)
        file.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    if args.what in ("profile", "all"):
        results["profile"] = profile(args)
        file.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    report.write(results, args.out)


if __name__ == "__main__":
    main()
