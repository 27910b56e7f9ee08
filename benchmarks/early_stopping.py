"""What a vote that stops leaves of the tokens of a whole vote, live and in replay, on mixed difficulty.

    python benchmarks/early_stopping.py --out early --problems 100 --processes 2     # resumes

As many test problems of ``chain`` easy, medium and hard each, fly; every rule against the vote of 64,
paired over the problems.  Live: the strategies themselves (in waves; with a width of 16, of which what
is under way when the vote is decided is cancelled).  Replay: the same rules over 200 random orders of the
recorded 64 samples.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from outthink.core.registry import build
from outthink.lab.bench import bench
from outthink.lab.design import Design
from outthink.lab.processes import on_processes
from outthink.lab.recorded import from_results
from outthink.lab.resample import Vote, replay, saving
from outthink.tasks import problems as problems_of

WHOLE = "self_consistency(n=64)"
RULES = (
    "certain",
    "beta(0.8)",
    "beta(0.9)",
    "beta(0.95)",
    "beta(0.99)",
    "dirichlet(0.95)",
    "window(5)",
    "share(0.8, 4)",
)
WIDE = "self_consistency(n=64, stop=beta(0.95), width=16)"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("early"))
    parser.add_argument("--problems", type=int, default=100, help="of each level")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    file = asked.out / "mixed.jsonl"
    rows = [
        {"question": p.question, "answer": p.answer}
        for level in ("easy", "medium", "hard")
        for p in problems_of("chain", level, "test", asked.problems)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    specs = {rule: f"self_consistency(n=64, stop={rule})" for rule in RULES}
    design = Design(str(file), strategies=(WHOLE, *specs.values(), WIDE), width=6)
    found = bench(design, asked.out / "bench", executor=on_processes(asked.processes))
    summary = found.summary(WHOLE)
    arms = {arm["series"]: arm for arm in summary["arms"]}
    whole = arms[WHOLE]
    print(f"{len(rows)} problems; the vote of 64: {_shown(whole['accuracy'])[1:]} right, "
          f"{whole['costs']['completion_tokens']['value']:,.0f} tokens")  # fmt: skip
    pools = from_results(found, WHOLE)
    votes = [Vote(), *(Vote(stop=build(rule, "stop")) for rule in RULES)]
    fixed, *early = replay(pools, votes, [64], 200)
    print(
        "| rule | live: accuracy over the vote's | tokens | replay: accuracy over the vote's | tokens |"
    )
    print("| --- | --- | --- | --- | --- |")
    for rule, one in zip(RULES, early, strict=True):
        arm, again = arms[specs[rule]], saving(one, fixed)
        gain = again.accuracy._asdict()
        print(f"| `{rule}` | {_shown(arm['difference'])} | {_share(arm['tokens_share'])} | "
              f"{_shown(gain)} | {_share(again.tokens._asdict())} |")  # fmt: skip
    arm = arms[WIDE]
    print(
        f"| `beta(0.95)`, width 16 | {_shown(arm['difference'])} | {_share(arm['tokens_share'])} | | |"
    )


def _shown(e: dict[str, float]) -> str:
    return f"{e['value']:+.3f} ({e['low']:+.3f} to {e['high']:+.3f})"


def _share(e: dict[str, float]) -> str:
    return f"{e['value']:.1%} ({e['low']:.1%} to {e['high']:.1%})"


if __name__ == "__main__":
    main()
