"""Every way to draw several answers and decide among them, at matched completion tokens.

    python benchmarks/methods.py run --out methods --processes 2      # resumes; --problems, --levels
    python benchmarks/methods.py page --out methods      # methods.json here, docs/methods.md and .png

For each level of ``chain`` (test problems, fly) each method spends about 1, 4, 16 and 64 times the
tokens of a single sample.  How many samples that is is found on a few dev problems (``pilot``), by the
tokens that the method uses there at two sizes, and never by its accuracy.  What it used on the test
problems is in the table, and each figure is also compared with a plain vote of the same tokens: the
mean over all votes of as many of the 96 samples, in proportion between the sizes in ``SIZES``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import matplotlib as mpl
import numpy as np

from outthink.core.nouns import Floats
from outthink.lab.bench import bench
from outthink.lab.design import Design
from outthink.lab.folder import Folder
from outthink.lab.processes import on_processes
from outthink.lab.recorded import from_results
from outthink.lab.records import Results
from outthink.lab.stats import share, share_difference
from outthink.laws.vote import ballots_of

BUDGETS = (1, 4, 16, 64)
LEVELS = ("easy", "medium", "hard")
#: samples of the vote that the others are compared with, and the sizes at which it is worked out
POOL = 96
SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 80, 96)
#: sizes and problems of the pilot
PILOT, TRIED = (4, 16), 8
#: problems of a test at each budget: the dear ones are measured on fewer
PROBLEMS = {1: 1.0, 4: 1.0, 16: 0.6, 64: 0.3}
HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
RESULTS = HERE / "methods.json"
THINK = "fly(think=3)"


@dataclass(frozen=True)
class Method:
    """A spec with ``{n}`` where its size stands, or a single one without; and what runs it."""

    name: str
    spec: str
    model: str = "fly"
    #: sizes above it are multiples of this, for chains and beams of equal length
    whole: int = 1

    @property
    def sized(self) -> bool:
        """Does it come in sizes?"""
        return "n}" in self.spec

    def at(self, n: int) -> str:
        """Its spec with a size."""
        return self.spec.replace("{n}", str(n)).replace("{4n}", str(4 * n))


METHODS = (
    Method("one sample", "self_consistency(n=1)"),
    Method("greedy", "greedy"),
    Method("vote", "self_consistency(n={n})"),
    Method("vote, stops when sure (beta)", "self_consistency(n={n}, stop=beta(0.95))"),
    Method("vote, stops when sure (dirichlet)", "self_consistency(n={n}, stop=dirichlet(0.95))"),
    Method("vote, stops when decided", "self_consistency(n={n}, stop=certain)"),
    Method("vote, stops on a window", "self_consistency(n={n}, stop=window(5))"),
    Method("best of n (prm)", "best_of_n(n={n}, verifier=prm)"),
    Method("weighted vote (prm)", "self_consistency(n={n}, weights=prm)"),
    Method("weighted vote (yes_no)", "self_consistency(n={n}, weights=yes_no)"),
    Method("best of majority (prm)", "best_of_majority(n={n}, verifier=prm)"),
    Method("until confident (prm)", "until_confident(n={n}, verifier=prm, threshold=0.9)"),
    Method("until confident (yes_no)", "until_confident(n={n}, verifier=yes_no, threshold=0.9)"),
    Method("rpc", "rpc(n={n})"),
    Method("soft self-consistency", "soft_self_consistency(n={n})"),
    Method("deepconf", "deepconf(n={n}, window=32)"),
    Method("deepconf, online", "deepconf_online(n={n}, warmup=4, window=32, chunk=16)"),
    Method("minimum Bayes risk", "mbr(n={n})"),
    Method("universal self-consistency", "universal(n={n})"),
    Method("tournament", "tournament(n={n})"),
    Method("shortest majority", "shortest_majority(n={n})"),
    Method("first finish", "first_finish(n={n})"),
    Method("short-3@n", "short_m(n={n}, m=3)"),
    Method("temperatures", "temperatures(n={n})"),
    Method("hedged", "hedged(n={n})"),
    Method("two models in turn", "model_switch(n={n}, models=[fly-xs, fly])"),
    Method("diverse openings", "diverse_openings(n={n}, width={4n})"),
    Method("slim-sc", "slim_sc(n={n})"),
    Method("deepprune", "deep_prune(n={n}, opening=16, finish=10)"),
    Method("revision", "revision(n={n}, length=2)", whole=4),
    Method("inverse entropy", "inverse_entropy(n={n}, length=2)", whole=4),
    Method("seat", "seat(n={n}, rounds=3)", whole=4),
    Method("carbon (prm)", "carbon(n={n}, verifier=prm)"),
    Method("beam search (prm)", "beam_search(n={n}, prm=prm)", whole=4),
    Method("dvts (prm)", "dvts(n={n}, prm=prm)", whole=4),
    Method("particle filter (prm)", "particle_filter(n={n}, prm=prm)", whole=4),
    Method("thinking, vote", "self_consistency(n={n})", THINK),
    Method("thinking, first finish", "first_finish(n={n})", THINK),
    Method("thinking, short-3@n", "short_m(n={n}, m=3)", THINK),
    Method("thinking, shortest majority", "shortest_majority(n={n})", THINK),
    Method("thinking, made to wait", "budget_forcing(n={n}, waits=1)", THINK),
    Method("thinking, fractured", "fractured(n={n}, depths=4)", THINK),
    Method("no thinking", "no_thinking(n={n})", THINK),
    Method("value of computation", "value_of_computation(n={n})", THINK),
)


def main() -> None:
    """Run or report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("run", "page"))
    parser.add_argument("--out", type=Path, default=Path("methods"))
    parser.add_argument("--levels", default=",".join(LEVELS))
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="methods whose name has this")
    asked = parser.parse_args()
    levels = asked.levels.split(",")
    if asked.what == "run":
        methods = [m for m in METHODS if asked.only in m.name]
        for level in levels:
            run(level, asked.out, asked.problems, asked.processes, methods)
        return
    rows = [row for level in levels for row in report(level, asked.out)]
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    (DOCS / "methods.md").write_text(page(rows), encoding="utf-8")
    draw(rows, DOCS / "methods.png")


# -- running ----------------------------------------------------------------------------------------


def run(
    level: str, out: Path, problems: int, processes: int, methods: Sequence[Method] = METHODS
) -> None:
    """The pilot on dev, then every method at every budget on test; what is done is not done again."""
    spread = on_processes(processes)
    plan_file = out / level / "plan.json"
    plan: dict[str, dict[str, str]] = {}
    if plan_file.exists():
        plan = json.loads(plan_file.read_text(encoding="utf-8"))
    fresh = [m for m in methods if m.name not in plan]
    for model in dict.fromkeys(m.model for m in fresh):
        mine = [m for m in fresh if m.model == model]
        specs = [m.at(n) for m in mine for n in (PILOT if m.sized else (1,))]
        one = "self_consistency(n=1)"
        found = bench(
            Design(task(level, TRIED, "dev"), model, (one, *specs)),
            out / level / f"pilot-{_safe(model)}",
            executor=spread,
        )
        single = json.loads((out / level / "single.json").read_text()) if model != "fly" else None
        single = single or tokens_of(found, one)
        (out / level / "single.json").write_text(json.dumps(single))
        for m in mine:
            plan[m.name] = sizes(m, found, single)
            print(f"{level}: {m.name}: {plan[m.name]}", file=sys.stderr, flush=True)
    plan_file.parent.mkdir(parents=True, exist_ok=True)
    plan_file.write_text(json.dumps(plan, indent=1), encoding="utf-8")
    for budget in BUDGETS:
        count = max(10, round(problems * PROBLEMS[budget]))
        for model in dict.fromkeys(m.model for m in methods):
            mine = [m for m in methods if m.model == model and str(budget) in plan[m.name]]
            specs = list(dict.fromkeys(plan[m.name][str(budget)] for m in mine))
            if model == "fly":
                specs.append(f"self_consistency(n={POOL})")
            if not specs:
                continue
            print(f"{level}, {budget} x, {model}: {len(specs)} arms", file=sys.stderr, flush=True)
            # a failed arm is said in the folder's report, and leaves a gap in the table
            bench(
                Design(task(level, count), model, tuple(specs)),
                out / level / f"{budget}-{_safe(model)}",
                store=str(out / level / f"{_safe(model)}.db"),
                executor=spread,
            )


def task(level: str, n: int, split: str = "test") -> str:
    """A task's spec."""
    return f'fly:chain(level="{level}", split="{split}"),n={n}'


def tokens_of(found: Results, spec: str) -> float:
    """Mean completion tokens of an arm; NaN where no run finished."""
    arm = next(a for a in found.arms if a.series == spec)
    used = [r.completion_tokens for r in found.of(arm) if r.right is not None]
    return float(np.mean(used)) if used else math.nan


def sizes(m: Method, found: Results, single: float) -> dict[str, str]:
    """The spec at each budget at which the method can be had, by its tokens in the pilot."""
    if not m.sized:
        at = tokens_of(found, m.spec) / single
        nearest = min(BUDGETS, key=lambda b: abs(math.log(b / at)))
        return {str(nearest): m.spec}
    small, large = (tokens_of(found, m.at(n)) / single for n in PILOT)
    if not small > 0 or not large > 0:
        return {}
    # tokens = a n^b between the two sizes, and beyond
    b = max(math.log(large / small) / math.log(PILOT[1] / PILOT[0]), 0.15)
    out: dict[str, str] = {}
    for budget in BUDGETS:
        # what grows nearly in proportion does so beyond the larger size
        slow = b < 0.6 or budget < large
        n = PILOT[0] * (budget / small) ** (1 / b) if slow else PILOT[1] * budget / large
        told = max(1, min(round(n), 4 * budget) if slow else round(n))
        told = told if told <= m.whole else m.whole * round(told / m.whole)
        if small * (told / PILOT[0]) ** b < 1.6 * budget and m.at(told) not in out.values():
            out[str(budget)] = m.at(told)
    return out


def _safe(model: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in model).strip("-")


# -- reporting --------------------------------------------------------------------------------------


def report(level: str, out: Path) -> list[dict[str, Any]]:
    """One row for each method and budget of a level."""
    plan = json.loads((out / level / "plan.json").read_text(encoding="utf-8"))
    rows = []
    for budget in BUDGETS:
        folders = {m.model: out / level / f"{budget}-{_safe(m.model)}" for m in METHODS}
        results = {model: Folder(f).load() for model, f in folders.items() if f.exists()}
        whole = results["fly"]
        pool = from_results(whole, f"self_consistency(n={POOL})")
        single = float(pool.tokens[pool.present].mean())
        table = np.array([[b.accuracy(k) for k in SIZES] for b in ballots_of(pool)])
        for m in METHODS:
            spec = plan.get(m.name, {}).get(str(budget))
            if spec is None or m.model not in results:
                continue
            row = measured(results[m.model], spec, pool.problems, single, table)
            if row:
                rows.append({"level": level, "method": m.name, "budget": budget, "spec": spec,
                             "model": m.model, **row})  # fmt: skip
    return rows


def measured(
    found: Results, spec: str, problems: Sequence[str], single: float, table: Floats
) -> dict[str, Any] | None:
    """Accuracy, tokens in single samples, and the gap to a plain vote of the same tokens."""
    arm = next((a for a in found.arms if a.series == spec), None)
    if arm is None:
        return None
    runs = {r.problem: r for r in found.of(arm) if r.right is not None}
    if len(runs) < len(problems):
        return None
    right = np.array([float(bool(runs[p].right)) for p in problems])
    used = float(np.mean([runs[p].completion_tokens for p in problems])) / single
    at = min(max(used, 1.0), float(POOL))
    vote = np.array([np.interp(at, SIZES, row) for row in table])
    gap = share_difference(right, vote)
    sure = share(right)
    return {
        "accuracy": [round(v, 4) for v in (sure.value, sure.low, sure.high)],
        "tokens": round(used, 2),
        "over_vote": [round(v, 4) for v in (gap.value, gap.low, gap.high)],
        "problems": len(problems),
    }


def page(rows: Sequence[Mapping[str, Any]]) -> str:
    """The page: what is compared, the picture, a table for each level."""
    out = [INTRODUCTION]
    for level in dict.fromkeys(r["level"] for r in rows):
        mine = [r for r in rows if r["level"] == level]
        counts = {b: next((r["problems"] for r in mine if r["budget"] == b), 0) for b in BUDGETS}
        told = ", ".join(f"{counts[b]} at {b} x" for b in BUDGETS)
        out += [f"## {level}", "", f"Problems: {told}.", ""]
        out += ["| method | " + " | ".join(f"{b} x" for b in BUDGETS) + " |"]
        out += ["| --- |" + " --- |" * len(BUDGETS)]
        there = {r["method"] for r in mine}
        for name in [m.name for m in METHODS if m.name in there]:
            cells = []
            for b in BUDGETS:
                row = next((r for r in mine if r["method"] == name and r["budget"] == b), None)
                cells.append(_cell(row) if row else "")
            out.append(f"| {name} | " + " | ".join(cells) + " |")
        out.append("")
    return "\n".join(out)


def _cell(row: Mapping[str, Any]) -> str:
    value, low, high = row["over_vote"]
    told = f"{row['accuracy'][0]:.2f} ({value:+.2f})"
    told = f"**{told}**" if low > 0 else f"*{told}*" if high < 0 else told
    return f"{told} {row['tokens']:.3g}"


INTRODUCTION = """# Methods compared

Every way to draw several answers and decide among them, on `fly`, at about 1, 4, 16 and 64 times
the completion tokens of one sample, judges included; what reading prompts and scoring takes is not
in it. Test problems of `chain`; sizes were chosen by tokens on dev problems, nothing by accuracy.
Made by `python benchmarks/methods.py run`, then `page`; the specs, intervals and counts are in
`benchmarks/methods.json`. What each method is: [Parallel sampling](sampling.md).

A cell is the accuracy, in parentheses what that is over a plain vote of the same tokens (paired,
the vote between two whole numbers of samples in proportion), and the tokens used, in single
samples. **Bold**: the 95 % interval of the difference lies above 0; *italic*: below. With so few
problems, and so many cells, some of each are luck.

![Accuracy against tokens for each level; the named methods in colour, all others grey](methods.png)

Two things to know of `fly`: greedy decoding leaves out most of the slips that its samples have, so
whatever has a greedy sample in it (`greedy`, `hedged`, `temperatures`) looks better here than a
larger model's would; and it thinks badly on all but easy problems, so the methods for thinking are
worth a look on easy alone.
"""

#: drawn in colour; the others are grey
SHOWN = (
    "vote", "vote, stops when sure (beta)", "best of n (prm)", "weighted vote (prm)",
    "until confident (prm)", "beam search (prm)", "thinking, vote", "weighted vote (yes_no)",
)  # fmt: skip


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Accuracy against tokens, a panel for each level."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    levels = list(dict.fromkeys(r["level"] for r in rows))
    figure, axes = plt.subplots(
        1, len(levels), figsize=(5.2 * len(levels), 5.4), squeeze=False, sharey=True
    )
    # all but the grey one
    colours = dict(zip(SHOWN, np.delete(mpl.colormaps["tab10"].colors, 7, axis=0), strict=False))
    for axis, level in zip(axes[0], levels, strict=True):
        mine = [r for r in rows if r["level"] == level]
        for name in dict.fromkeys(r["method"] for r in mine):
            line = sorted((r for r in mine if r["method"] == name), key=lambda r: r["tokens"])
            x, y = [r["tokens"] for r in line], [r["accuracy"][0] for r in line]
            if name in colours:
                low = [r["accuracy"][0] - r["accuracy"][1] for r in line]
                high = [r["accuracy"][2] - r["accuracy"][0] for r in line]
                axis.errorbar(x, y, [low, high], marker="o", ms=4, lw=1.6, capsize=2, elinewidth=0.7,
                              color=colours[name], label=name, zorder=3)  # fmt: skip
            else:
                axis.plot(x, y, ".-", color="0.75", lw=0.7, ms=3, zorder=1)
        axis.set(xscale="log", xlabel="completion tokens / those of a single sample", title=level)
        axis.set_xticks(BUDGETS, [str(b) for b in BUDGETS])
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("accuracy")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.11, 1, 1))
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
