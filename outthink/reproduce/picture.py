"""The plot of a reproduction: its panels, drawn from the result alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from outthink.reproduce.base import Outcome, Panel, Style
from outthink.train.picture import COLOURS

#: names that find room beside the lines
FEW = 4
LINES: dict[Style, str] = {"line": "-", "dashed": "--", "dots": ""}


def draw(outcome: Outcome, path: Path) -> None:
    """Draw the panels of a result into a PNG file."""
    from matplotlib.figure import Figure

    columns = min(3, len(outcome.panels))
    rows = -(-len(outcome.panels) // columns)
    # names below the axes need room of their own
    names = max(-(-len(p.lines) // _abreast(p)) for p in outcome.panels)
    height = 3.6 + (0.16 * names if max(len(p.lines) for p in outcome.panels) > FEW else 0.0)
    figure = Figure(figsize=(4.6 * columns, height * rows), dpi=120, layout="constrained")
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
    if len(panel.lines) <= FEW:
        ax.legend(fontsize=7, frameon=False)
    else:  # so many names cover the lines: below the axes
        ax.legend(
            fontsize=6.5, frameon=False, ncols=_abreast(panel), loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
        )  # fmt: skip


def _abreast(panel: Panel) -> int:
    """How many names stand side by side below the axes."""
    longest = max((len(line.label) for line in panel.lines), default=1)
    return max(1, min(3, 66 // (longest + 6)))
