"""The plot of a reproduction: its panels, drawn from the result alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from outthink.reproduce.base import Outcome, Panel, Style
from outthink.train.picture import COLOURS

LINES: dict[Style, str] = {"line": "-", "dashed": "--", "dots": ""}


def draw(outcome: Outcome, path: Path) -> None:
    """Draw the panels of a result into a PNG file."""
    from matplotlib.figure import Figure

    columns = min(3, len(outcome.panels))
    rows = -(-len(outcome.panels) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.6 * rows), dpi=120, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, ax in zip(outcome.panels, axes, strict=False):
        _panel(ax, panel)
    for ax in axes[len(outcome.panels) :]:
        ax.set_visible(False)
    quick = " (quick)" if outcome.quick else ""
    figure.suptitle(f"{outcome.ident} {outcome.name}: {outcome.verdict}{quick}", fontsize=10)
    figure.savefig(str(path))


def _panel(ax: Any, panel: Panel) -> None:
    for i, line in enumerate(panel.lines):
        again, place = divmod(i, len(COLOURS))
        colour, marker = COLOURS[place], "osD^v"[again % 5]
        ax.plot(
            line.x, line.y, color=colour, label=line.label, linewidth=1.3,
            linestyle=LINES[line.style], marker="" if line.style == "dashed" else marker,
            markersize=4 if len(line.x) == 1 else 2.5,
        )  # fmt: skip
        if len(line.low):
            ax.fill_between(line.x, line.low, line.high, color=colour, alpha=0.15, linewidth=0)
    if panel.log:
        from matplotlib.ticker import FuncFormatter, NullFormatter

        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())
        if max(max(line.x) for line in panel.lines) < 1e6:
            ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    if panel.log_y:
        ax.set_yscale("log")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.25, linewidth=0.6)
    ax.tick_params(labelsize=8)
    ax.set_xlabel(panel.x, fontsize=8)
    ax.set_ylabel(panel.y, fontsize=8)
    ax.set_title(panel.title, fontsize=9)
    ax.legend(fontsize=7, frameon=False)
