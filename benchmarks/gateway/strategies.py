"""What each strategy does to latency and cost behind the gateway: calls, tokens, wall time.

``python benchmarks/gateway/strategies.py`` asks the gateway, over a simulated model that takes 200 ms a
call and writes eight steps, one question with every strategy that runs over a server, and writes
``strategies.json`` and the table of ``docs/gateway.md``.  Figures are in units of one call of the same run.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import httpx

from outthink.core.registry import entries
from outthink.gateway.config import Config, ModelConfig, ServerConfig
from tests.gateway.running import running

ROOT = Path(__file__).resolve().parents[2]
REPEATS = 2
MODELS = {
    "m": ModelConfig("m", spec="simulated(latency=0.2, steps=8)"),
    "rm": ModelConfig("rm", spec="simulated_prm"),
}
QUESTION = [{"role": "user", "content": "What is 3 + 4?"}]
PAGE = ROOT / "docs" / "gateway.md"
BEGIN, END = "<!-- strategies: begin -->", "<!-- strategies: end -->"


def spec_of(name: str) -> str:
    """A strategy at eight samples, with the model itself as judge where it needs a verifier."""
    entry = entries("strategy")[name]
    fields = {f.name: f for f in dataclasses.fields(entry.make)}
    told = ["n=8"] if "n" in fields else []
    if "VERIFIER" in entry.needs:
        at = next(n for n, f in fields.items() if f.metadata.get("kind") == "verifier")
        told.append(f"{at}=prm(model=rm)")
    if name == "model_switch":
        told.append("models=[m]")
    return f"{name}({', '.join(told)})" if told else name


def once(client: httpx.Client, url: str, spec: str) -> tuple[float, dict[str, Any]]:
    """Seconds and the answer of one request."""
    body: dict[str, Any] = {"model": "m", "messages": QUESTION, "outthink": {"strategy": spec}}
    began = time.perf_counter()
    found = client.post(url + "/chat/completions", json=body, timeout=120)
    return time.perf_counter() - began, found.json()


def main() -> None:
    """Measure, print, write."""
    rows: list[dict[str, Any]] = []
    with running(Config(ServerConfig(port=0), MODELS, {}, {})) as gate, httpx.Client() as client:
        once(client, gate.url, "greedy")
        ones = [once(client, gate.url, "greedy") for _ in range(5)]
        single, base = statistics.median(wall for wall, _ in ones), ones[0][1]["usage"]
        for name in sorted(entries("strategy")):
            spec = spec_of(name)
            found = [once(client, gate.url, spec) for _ in range(REPEATS + 1)][1:]
            told = found[-1][1]
            if "error" in told:
                why = told["error"]["message"].split("\n")[0]
                rows.append({"strategy": spec, "refused": why})
                continue
            usage = told["usage"]
            rows.append(
                {
                    "strategy": spec,
                    "wall": round(statistics.median(wall for wall, _ in found) / single, 2),
                    "calls": told["outthink"]["calls"],
                    "prompt": round(usage["prompt_tokens"] / base["prompt_tokens"], 1),
                    "completion": round(usage["completion_tokens"] / base["completion_tokens"], 1),
                }
            )
            print(rows[-1], file=sys.stderr, flush=True)
    (Path(__file__).parent / "strategies.json").write_text(json.dumps(rows, indent=1) + "\n")
    table = page(rows)
    print(table)
    if PAGE.exists():
        text = PAGE.read_text()
        head, _, rest = text.partition(BEGIN)
        _, _, tail = rest.partition(END)
        PAGE.write_text(f"{head}{BEGIN}\n{table}{END}{tail}")


def page(rows: list[dict[str, Any]]) -> str:
    """The rows as a table; what cannot run over a server stands below it."""
    lines = ["| strategy | wall time | calls | prompt tokens | completion tokens |",
             "|---|---:|---:|---:|---:|"]  # fmt: skip
    for row in sorted((r for r in rows if "wall" in r), key=lambda r: r["wall"]):
        cells = (
            f"`{row['strategy']}`",
            f"{row['wall']:.1f}",
            row["calls"],
            row["prompt"],
            row["completion"],
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    refused = ", ".join(f"`{r['strategy'].partition('(')[0]}`" for r in rows if "refused" in r)
    if refused:
        told = "Not in the table, since a server cannot run them or a request may not name them so"
        lines += ["", f"{told}: {refused}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
