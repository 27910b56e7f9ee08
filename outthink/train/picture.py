"""The picture of ``outthink fly report``: one panel an effect, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2")


def draw_report(found: Mapping[str, Any], path: Path) -> None:
    """Draw the tables of a report (``Report.to_json``) into a PNG file; absent sections are left out."""
    from matplotlib.figure import Figure

    tables = found["tables"]
    panels = [(draw, tables[name]) for name, draw in PANELS if name in tables]
    if not panels:
        return
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.1 * columns, 3.5 * rows), dpi=130, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for (draw, table), ax in zip(panels, axes, strict=False):
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
        ax.grid(axis="y", alpha=0.25, linewidth=0.6)
        draw(ax, table)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    what = f"fly on {found['problems']} fresh problems a level ({found['split']} split), 95 % intervals"
    figure.suptitle(what, fontsize=10)
    figure.savefig(str(path))


def _curve(ax: Any, points: Mapping[str, Any], colour: str, label: str, style: str = "-") -> None:
    xs = [float(k) for k in points]
    ys = [v[0] for v in points.values()]
    low, high = [v[1][0] for v in points.values()], [v[1][1] for v in points.values()]
    ax.plot(xs, ys, style, color=colour, label=label, linewidth=1.5, marker="o", markersize=2.5)
    ax.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0)


def _samples(ax: Any, title: str, x: str = "samples") -> None:
    ax.set_xscale("log", base=2)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel(x, fontsize=8)
    ax.set_title(title, fontsize=9)
    ax.legend(fontsize=7, frameon=False)


def _coverage(ax: Any, table: Mapping[str, Any]) -> None:
    for colour, level in zip(COLOURS, ("easy", "medium", "hard"), strict=False):
        if (row := table.get(f"chain {level}")) is not None:
            _curve(ax, row["pass"], colour, f"{level}: pass@k")
            voted = {"1": row["pass"]["1"], **row["vote"]}
            _curve(ax, voted, colour, f"{level}: vote@k", "--")
    _samples(ax, "chain: coverage and votes")


def _families(ax: Any, table: Mapping[str, Any]) -> None:
    for colour, name in zip(COLOURS, ("chain", "countdown", "lookup", "program"), strict=False):
        if (row := table.get(f"{name} medium")) is not None:
            _curve(ax, row["pass"], colour, name)
    _samples(ax, "medium: coverage by family")


def _reliable(ax: Any, table: Mapping[str, Any]) -> None:
    ax.plot([0, 1], [0, 1], color="#999", linewidth=0.8)
    for colour, (name, row) in zip(COLOURS, table.items(), strict=False):
        ax.plot(
            [b[0] for b in row["reliability"]], [b[1] for b in row["reliability"]],
            color=colour, marker="o", markersize=3, linewidth=1.2,
            label=f"{name}: AUROC {row['auroc'][0]:.2f}, ECE {row['ece'][0]:.2f}",
        )  # fmt: skip
    ax.set_xlabel("score", fontsize=8)
    ax.set_title("verifiers: share right by score", fontsize=9)
    ax.set_ylim(0, 1.4)  # room for the names
    ax.legend(fontsize=6.5, frameon=False)


def _bars(ax: Any, rows: Sequence[tuple[str, Any]], title: str) -> None:
    for i, (_, (value, (low, high))) in enumerate(rows):
        ax.bar(i, value, color=COLOURS[i % len(COLOURS)], width=0.65)
        ax.errorbar(i, value, [[value - low], [high - value]], color="#333", capsize=3, linewidth=1)
        ax.text(i, 0.02, f"{value:.2f}", ha="center", fontsize=7, color="white")
    ax.set_xticks(range(len(rows)), [name for name, _ in rows], fontsize=7)
    ax.set_ylim(0, 1.02)
    ax.set_title(title, fontsize=9)


def _selection(ax: Any, table: Mapping[str, Any]) -> None:
    names = {
        "one sample": "one\nsample",
        "greedy": "greedy",
        "self_consistency(n=16)": "vote\n@16",
        "best_of_n(n=16, verifier=prm)": "best of\n16",
        "best_of_n(n=16, verifier=prm, vote=weighted)": "weighted\nbest of 16",
    }
    _bars(ax, [(names[k], table[k]) for k in names if k in table], "medium: choosing among 16")


def _search(ax: Any, table: Mapping[str, Any]) -> None:
    rows = []
    for name, row in table.items():
        rows.append((f"{name.replace('_', chr(10))}\n@16", row["accuracy"]))
        base = row["best_of_n"]
        rows.append((f"best of\n{base['n']}", base["accuracy"]))
    _bars(ax, rows, "hard: search at equal tokens")


def _thinking(ax: Any, table: Mapping[str, Any]) -> None:
    dials = [row for name, row in table["dials"].items() if name.isdigit()]
    xs, ys = [r["tokens"][0] for r in dials], [r["accuracy"][0] for r in dials]
    ax.plot(xs, ys, color=COLOURS[0], linewidth=1)
    for name, row in table["dials"].items():
        x, (y, (low, high)) = row["tokens"][0], row["accuracy"]
        colour = COLOURS[0] if name.isdigit() else COLOURS[1]
        ax.errorbar(x, y, [[y - low], [high - y]], fmt="o", color=colour, markersize=4, capsize=2)
        ax.annotate(name, (x, y), textcoords="offset points", xytext=(4, 4), fontsize=7)
    ax.set_xscale("log", base=2)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("completion tokens", fontsize=8)
    ax.set_title(f"{table['level']}: one sample by the dial of thinking", fontsize=9)


def _revision(ax: Any, table: Mapping[str, Any]) -> None:
    names = {"fresh": "wrong ones:\nfresh sample", "repaired": "wrong ones:\nrevised"}
    rows = [(names[k], table[k]) for k in names if k in table] + [
        ("vote@2", table["vote of 2"]),
        ("second\nattempt", table["by attempt"][1]),
        ("vote@4", table["vote"][:2]),
        ("revision@4", table["revision"][:2]),
    ]
    _bars(ax, rows, "easy: revision against asking again")


def _sizes(ax: Any, table: Mapping[str, Any]) -> None:
    for colour, (name, row) in zip(COLOURS, table.items(), strict=False):
        scaled = {str(float(k) * row["flops"]): v for k, v in row["pass"].items()}
        _curve(ax, scaled, colour, f"{name}: pass@k")
        votes = {str(float(k) * row["flops"]): v for k, v in row["vote"].items()}
        _curve(ax, votes, colour, f"{name}: vote@k", "--")
    _samples(ax, "medium: size against samples", "FLOPs a problem")


def _flawed(ax: Any, table: Mapping[str, Any]) -> None:
    for colour, (name, row) in zip(COLOURS, table.items(), strict=False):
        _curve(ax, row, colour, name)
    _samples(ax, "medium: best of n by flawed verifiers")


PANELS: tuple[tuple[str, Callable[[Any, Mapping[str, Any]], None]], ...] = (
    ("levels", _coverage),
    ("levels", _families),
    ("selection", _selection),
    ("verifiers", _reliable),
    ("search", _search),
    ("thinking", _thinking),
    ("revision", _revision),
    ("sizes", _sizes),
    ("flawed", _flawed),
)
