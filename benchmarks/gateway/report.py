"""The results as tables for a page and as a picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

BARE = "bare upstream"
COLOURS = {"bare": "#777777", "outthink": "#0072B2", "peer": "#D55E00"}

Rows = dict[str, dict[str, float]]


def medians(results: dict[str, Any], kind: str) -> Rows:
    return {name: told["median"] for name, told in results.get(kind, {}).items()}


def shown(value: float, digits: int = 0) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def speed(rows: Rows) -> str:
    head = ["0 ms upstream", "1 client: req/s", "p50 ms", "p99 ms"]
    head += ["16: req/s", "p99 ms", "64: req/s", "p99 ms", "CPU ms a request", "errors"]
    body = []
    for name, row in rows.items():
        line = [name, shown(row["rps@1"]), shown(row["p50_ms@1"], 2), shown(row["p99_ms@1"], 1)]
        for clients in (16, 64):
            line += [shown(row[f"rps@{clients}"]), shown(row[f"p99_ms@{clients}"], 1)]
        line.append(shown(row.get("cpu_ms@64", math.nan), 2))
        line.append(shown(sum(row[f"errors@{c}"] for c in (1, 16, 64))))
        body.append(line)
    return table(head, body)


def wall(rows: Rows) -> str:
    one = rows[BARE]["p50_ms@1"]
    head = [
        "200 ms upstream",
        "1 client: ms",
        "of one call",
        "64 clients: ms",
        "of one call",
        "p99",
    ]
    body = []
    for name, row in rows.items():
        line = [name]
        for clients in (1, 64):
            value = row[f"p50_ms@{clients}"]
            line += [shown(value), f"{shown(value / one, 2)}x"]
        body.append([*line, shown(row["p99_ms@64"])])
    return table(head, body)


def house(speed: Rows, memory: Rows, stream: Rows) -> str:
    head = ["", "start to first answer, s", "resident MB", "MB after requests", "requests"]
    head += ["first word ms", "last word ms"]
    body = []
    for name in speed:
        after, told = memory.get(name, {}), stream.get(name, {})
        line = [name, shown(speed[name]["start_s"], 2), shown(speed[name]["rss_mb"])]
        line += [shown(after.get("rss_mb_after", math.nan)), shown(after.get("requests", math.nan))]
        line += [shown(told.get("first_ms", math.nan), 1), shown(told.get("p50_ms@1", math.nan))]
        body.append(line)
    return table(head, body)


def profile(shares: dict[str, dict[str, float]]) -> str:
    """Where the gateway's CPU time goes."""
    names = list(dict.fromkeys(name for told in shares.values() for name in list(told)[:9]))
    head = ["share of the gateway's CPU time (cProfile, 64 clients)", *shares]
    return table(
        head,
        [[name, *(f"{told.get(name, 0.0):.0%}" for told in shares.values())] for name in names],
    )


def dots(axis: Any, names: list[str], values: list[float], title: str, digits: int = 0) -> None:
    """A dot for each on a logarithm, the value beside it."""
    least = min(v for v in values if v > 0) / 3
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        kind = "bare" if name == BARE else "outthink" if name.startswith("outthink") else "peer"
        axis.hlines(place, least, value, color="#DDDDDD", linewidth=1)
        axis.plot(value, place, "o", color=COLOURS[kind], markersize=5)
        axis.text(value * 1.25, place, shown(value, digits), va="center", fontsize=7)
    axis.set_yticks(range(len(names)), names)
    axis.set_xscale("log")
    axis.set_xlim(least, max(values) * 8)
    axis.invert_yaxis()
    axis.set_title(title, loc="left", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=7)


def draw(results: dict[str, Any], file: Path) -> None:
    from matplotlib.figure import Figure

    rates, walls = medians(results, "speed"), medians(results, "wall")
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.subplots(2, 2)
    names = [n for n in rates if rates[n]["rps@64"] > 0]
    dots(axes[0][0], names, [rates[n]["rps@64"] for n in names], "requests/s, 64 clients")
    gates = [n for n in names if n != BARE]
    base = rates[BARE]["p50_ms@1"]
    added = [max(rates[n]["p50_ms@1"] - base, 0.01) for n in gates]
    dots(axes[0][1], gates, added, "added milliseconds, 1 client", 2)
    votes = [n for n in walls if "votes" in n and walls[n]["p50_ms@64"] > 0] + [BARE]
    dots(
        axes[1][0], votes, [walls[n]["p50_ms@64"] for n in votes], "ms, 64 clients, 200 ms upstream"
    )
    dots(axes[1][1], gates, [rates[n]["rss_mb"] for n in gates], "resident megabytes")
    figure.savefig(file, dpi=150, metadata={"Software": None})


def write(results: dict[str, Any], folder: Path) -> None:
    """Write results.md and results.png of what was measured."""
    rates, walls = medians(results, "speed"), medians(results, "wall")
    parts = []
    if rates:
        parts.append(speed(rates))
    if walls:
        parts.append(wall(walls))
    if rates:
        parts.append(house(rates, medians(results, "memory"), medians(results, "stream")))
    if results.get("profile"):
        parts.append(profile(results["profile"]))
    told = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
    parts.append(
        f"Medians of interleaved repeats on {told['cores']} cores ({', '.join(told['cpu'])}) shared by "
        f"driver, gateway and upstream; Python {told['python']}; {versions}; {told['when']}."
    )
    (folder / "results.md").write_text("\n\n".join(parts) + "\n", "utf-8")
    if rates and walls:
        draw(results, folder / "results.png")
