"""The demo: real questions, a real (small) language model, and what each budget buys.

Single samples, votes and verifier-guided search answer the same fresh problems under the same token
budgets.  Writes a picture, a JSON file and one self-contained HTML page.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio

from outthink.lab.stats import paired
from outthink.tasks import problems as problems_of
from outthink.tasks.base import TaskProblem
from outthink.train.evaluate import Contender, Result, coverage, measure

LEVEL = "medium"
#: how many problems a run takes unless told: about a minute and a half on two cores
PROBLEMS = 32
#: completion tokens a problem may cost, and the number of samples or beams tried within them
BUDGETS = ((260, 1), (1100, 4), (2100, 8))
FAMILIES = (
    ("vote", "self_consistency(n={n})"),
    ("best of n, weighted", "best_of_n(n={n}, verifier=prm, vote=weighted)"),
    ("beam search", "beam_search(n={n}, prm=prm)"),
    ("particle filter", "particle_filter(n={n}, prm=prm, vote=weighted)"),
)
COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2")


def contenders() -> list[Contender]:
    """One sample, then each family at each budget."""
    first = Contender("one sample", "self_consistency(n=1)", f"tokens={BUDGETS[0][0]}")
    rest = [
        Contender(f"{label} @{n}", spec.format(n=n), f"tokens={tokens}")
        for label, spec in FAMILIES
        for tokens, n in BUDGETS[1:]
    ]
    return [first, *rest]


def run_demo(
    out: Path, count: int = PROBLEMS, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Run the comparison on ``count`` problems; write ``demo.png``, ``.json`` and ``.html`` to ``out``.

    A second run in the same folder pays for nothing again: every call is in ``calls.db`` there.
    """
    out.mkdir(parents=True, exist_ok=True)
    problems = problems_of("chain", LEVEL, "test", count, 7)
    lineup = contenders()

    async def main() -> list[Result]:
        return await measure(lineup, problems, store=str(out / "calls.db"), progress=progress)

    results = anyio.run(main)
    single = results[0]
    rows = [
        {
            "strategy": r.contender.label,
            "spec": r.contender.strategy,
            "budget": r.contender.budget,
            "accuracy": r.accuracy,
            "interval": list(r.interval()),
            "tokens": float(r.tokens.mean()),
            "gain": list(paired(r.right, single.right)),
        }
        for r in results
    ]
    widest = next(r for r in results if r.contender.label == f"vote @{BUDGETS[-1][1]}")
    curve = coverage(widest, problems)
    each = float(widest.tokens.mean()) / BUDGETS[-1][1]
    report: dict[str, Any] = {
        "level": LEVEL,
        "problems": count,
        "rows": rows,
        "coverage": {str(k): v for k, v in curve.items()},
        "tokens_per_sample": each,
    }
    picture, page, data = out / "demo.png", out / "demo.html", out / "demo.json"
    _plot(picture, rows, curve, each, count)
    page.write_text(_page(picture, rows, results, problems), encoding="utf-8")
    data.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    report["files"] = {"picture": str(picture), "page": str(page), "data": str(data)}
    return report


def _plot(
    path: Path, rows: Sequence[dict[str, Any]], curve: dict[int, float], each: float, count: int
) -> None:
    """Accuracy against completion tokens, one line a family, with 95 % intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.3), dpi=140, layout="constrained")
    axes = figure.subplots()
    xs = [each * k for k in curve]
    axes.plot(xs, list(curve.values()), "--", color="#999999", lw=1.2, label="coverage (pass@k)")
    for place, ((label, _), colour) in enumerate(zip(FAMILIES, COLOURS, strict=True)):
        mine = [rows[0], *(r for r in rows if str(r["strategy"]).startswith(label + " @"))]
        # a little apart, so that one interval does not hide another
        apart = 1.02 ** (place - (len(FAMILIES) - 1) / 2)
        x = [mine[0]["tokens"], *(r["tokens"] * apart for r in mine[1:])]
        y = [r["accuracy"] for r in mine]
        low = [r["accuracy"] - r["interval"][0] for r in mine]
        high = [r["interval"][1] - r["accuracy"] for r in mine]
        axes.errorbar(x, y, yerr=[low, high], fmt="o-", ms=4.5, lw=1.8, capsize=2.5,
                      elinewidth=0.8, color=colour, label=label)  # fmt: skip
    axes.set_xscale("log")
    ticks = [each * k for k in (1, 2, 4, 8)]
    axes.set_xticks(ticks, [f"{t:,.0f}" for t in ticks])
    axes.minorticks_off()
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("completion tokens spent on a problem (mean)")
    axes.set_ylabel("share of problems solved")
    axes.set_title(f"What compute buys: fly on {count} fresh {LEVEL} chain problems", fontsize=10.5)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8.5, loc="lower right")
    figure.savefig(path)


def _page(
    picture: Path,
    rows: Sequence[dict[str, Any]],
    results: Sequence[Result],
    problems: Sequence[TaskProblem],
) -> str:
    image = base64.b64encode(picture.read_bytes()).decode()
    body = "".join(
        f"<tr><td>{html.escape(r['strategy'])}</td><td><code>{html.escape(r['spec'])}</code></td>"
        f"<td>{r['budget'].removeprefix('tokens=')}</td><td>{r['tokens']:,.0f}</td>"
        f"<td><b>{r['accuracy']:.2f}</b></td><td>{r['interval'][0]:.2f} to {r['interval'][1]:.2f}</td>"
        f"<td>{r['gain'][0]:+.2f} ({r['gain'][1]:+.2f} to {r['gain'][2]:+.2f})</td></tr>"
        for r in rows
    )
    single, vote = results[0], results[2]
    guided = next(
        r
        for r in results
        if r.contender.label.startswith("best") and r.contender.label.endswith(f"@{BUDGETS[-1][1]}")
    )
    worth = sorted(
        range(len(problems)),
        key=lambda i: (single.right[i], -guided.right[i], vote.right[i], i),
    )[:4]
    examples = "".join(_example(problems[i], single, vote, guided, i) for i in worth)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>outthink demo</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#222;background:#fff}}table{{border-collapse:collapse;width:100%;font-size:14px}}
td,th{{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}}
code,pre{{font-size:13px;background:#f6f6f6}}pre{{padding:.6rem;overflow-x:auto;margin:.3rem 0}}
img{{max-width:100%}}.wide{{overflow-x:auto}}.cols{{display:grid;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));gap:1rem}}
.right{{color:#2a7d2a}}.wrong{{color:#b3261e}}</style>
<h1>What compute buys</h1>
<p><b>fly</b>, the bundled language model (2.3 million parameters, numpy only), answers
{len(problems)} word problems that it never saw in training. Where strategies are compared, they have
the same budget of completion tokens a problem; the bars are 95 % intervals, the dashed line is the
share of problems that at least one of k samples solves.</p>
<img alt="Accuracy against tokens for each strategy" src="data:image/png;base64,{image}">
<div class="wide"><table>
<tr><th>strategy</th><th>spec</th><th>budget</th><th>tokens spent</th><th>accuracy</th>
<th>95 % interval</th><th>gain over one sample (paired)</th></tr>{body}</table></div>
<h2>Some of the problems</h2>{examples}</html>
"""


def _example(problem: TaskProblem, single: Result, vote: Result, guided: Result, i: int) -> str:
    parts = []
    for name, r in (("one sample", single), ("vote", vote), ("reward model", guided)):
        answer = r.answers[i]
        mark = "right" if r.right[i] else "wrong"
        ranked = ", ".join(f"{a}: {w:.2f}" for a, w in list(answer.distribution.items())[:4])
        parts.append(
            f"<div><b>{name}</b>: <span class='{mark}'>{html.escape(answer.answer or 'none')} "
            f"({mark})</span><br><small>{html.escape(ranked)}</small>"
            f"<pre>{html.escape(answer.text)}</pre></div>"
        )
    return (
        f"<h3>{html.escape(problem.question)}</h3><p>True answer: <b>{problem.answer}</b></p>"
        f"<div class='cols'>{''.join(parts)}</div>"
    )
