"""The pictures of a bench, as they go into a paper: PNG and SVG at the width of a column.

All intervals are 95 %.  A colour and a marker together name a series on a model, the same ones in
every picture; the colours are those of Okabe and Ito (2008), which colour-blind readers tell apart.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from outthink.core.errors import BadInput

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#777777"
#: inches: a column of a two-column paper
WIDTH = 3.5
DPI = 200
#: names under a picture, and rows of differences, at most: beyond, a page is no place to read them
NAMES, ROWS = 24, 60

#: what is set as a budget: the best at each has a picture on these axes, a table on all
BUDGETED = ("completion_tokens", "usd")

Arm = Mapping[str, Any]
Key = tuple[str, str]


def draw(summary: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write every picture that the summary has data for to ``folder``; the files, sorted by kind.

    An arm without cost on an axis has no place on its logarithm and is left out there.  Where a
    picture has one line a series and no axis of cost, the line is that of its most costly arm.
    """
    if summary.get("format") != 1:
        raise BadInput(
            f"a summary of format {summary.get('format')!r}; this version draws format 1: "
            "summarise the results again"
        )
    from matplotlib import rc_context

    folder.mkdir(parents=True, exist_ok=True)
    styles = _styles(summary)
    files: list[Path] = []
    with rc_context({"svg.hashsalt": "outthink", "font.family": "DejaVu Sans", "font.size": 8}):
        for name, figure in _figures(summary, styles):
            for path in (folder / f"{name}.png", folder / f"{name}.svg"):
                # a date, or the version of the library, would make each drawing another file
                facts = {"Date": None} if path.suffix == ".svg" else {"Software": None}
                figure.savefig(path, dpi=DPI, metadata=facts)
                files.append(path)
    return files


def _figures(summary: Mapping[str, Any], styles: _Styles) -> Iterable[tuple[str, Any]]:
    arms = [arm for arm in summary["arms"] if _known(arm["accuracy"])]
    for axis in summary["axes"]:
        if any(_cost(arm, axis) > 0 for arm in arms):
            yield f"accuracy_{axis}", _accuracy(summary, arms, axis, styles)
    if any(arm["coverage"] for arm in arms):
        yield "coverage", _coverage(arms, styles)
    if any(arm["confidence"] for arm in arms):
        sure = _one_a_series([arm for arm in arms if arm["confidence"]])
        yield "risk_coverage", _risk(sure, styles)
        yield "reliability", _reliability(sure, styles)
    if summary["bins"] and arms:
        yield "difficulty", _difficulty(summary["bins"], arms, styles)
    if any(_known(arm["difference"]) for arm in arms):
        yield "differences", _differences(summary, arms, styles)
    for axis in BUDGETED:
        rows = summary["best_at"].get(axis, ())
        rows = [r for r in rows if r["budget"] > 0 and _known(r["seen"]) and _known(r["reported"])]
        if rows:
            yield f"best_at_{axis}", _best_at(summary, axis, rows, styles)


class _Styles:
    """A colour, a marker and a name for each (series, model)."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self.place = {key: i for i, key in enumerate(keys)}
        self.models = len({model for _, model in keys})

    def of(self, key: Key) -> dict[str, Any]:
        """What ``plot`` takes: more than a colour, since there may be more series than colours."""
        i = self.place[key]
        return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}

    def name(self, key: Key) -> str:
        """The series, and the model where there is more than one."""
        series, model = key
        return _plain(f"{model}: {series}" if self.models > 1 else series)


def _styles(summary: Mapping[str, Any]) -> _Styles:
    return _Styles(list(dict.fromkeys(_key(arm) for arm in summary["arms"])))


def _key(arm: Arm) -> Key:
    return arm["series"] or arm["strategy"], arm["model"]


def _cost(arm: Arm, axis: str) -> float:
    return float(arm["costs"][axis]["value"]) if axis in arm["costs"] else 0.0


def _spent(arm: Arm) -> float:
    """What orders arms where no axis is asked for: the first cost that there is."""
    return next((float(cost["value"]) for cost in arm["costs"].values()), 0.0)


def _known(estimate: Mapping[str, Any] | None) -> bool:
    value = None if estimate is None else estimate["value"]
    return value is not None and math.isfinite(value)


def _one_a_series(arms: Sequence[Arm]) -> list[Arm]:
    last = {_key(arm): arm for arm in sorted(arms, key=_spent)}
    return [arm for arm in arms if last[_key(arm)] is arm]


def _plain(text: str, width: int = 46) -> str:
    """Text as it is: no formula between dollars, no line wider than a column."""
    lines = textwrap.wrap(text.replace("$", r"\$"), width, break_on_hyphens=False) or [" "]
    return "\n".join([*lines[:2], "…"] if len(lines) > 3 else lines)


def _error(points: Sequence[Mapping[str, Any]], at: str = "value") -> list[list[float]]:
    """Lengths of the bars below and above; none where the interval has no end."""

    def length(a: float | None, b: float | None) -> float:
        known = a is not None and b is not None and math.isfinite(a) and math.isfinite(b)
        return max(0.0, a - b) if known and a is not None and b is not None else 0.0

    return [[length(p[at], p["low"]) for p in points], [length(p["high"], p[at]) for p in points]]


def _start(height: float = 2.6, width: float = WIDTH) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    ax = figure.subplots()
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#dddddd", linewidth=0.5)
    ax.set_axisbelow(True)
    return figure, ax


def _legend(figure: Any, ax: Any) -> Any:
    """The names under the picture, where they hide nothing; the figure grows by their height."""
    from matplotlib.container import Container

    handles, labels = ax.get_legend_handles_labels()
    if labels:
        # first what was measured (lines with intervals), then what only helps to read it
        order = sorted(range(len(labels)), key=lambda i: not isinstance(handles[i], Container))
        handles, labels = [handles[i] for i in order], [labels[i] for i in order]
        if len(labels) > NAMES:
            handles, labels = handles[:NAMES], labels[:NAMES]
            labels[-1] += f"\nand {len(order) - NAMES} more"
        lines = sum(label.count("\n") + 1 for label in labels)
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + 0.15 * lines + 0.08)
        figure.legend(handles, labels, loc="outside lower center", frameon=False, fontsize=7,
                      handlelength=2.6, labelspacing=0.3, borderaxespad=0.1)  # fmt: skip
    return figure


def _share(value: float, _: Any = None) -> str:
    return f"{100 * value:.4g}"


def _percent(ax: Any, label: str, low: float, high: float, which: str = "y") -> None:
    """An axis of shares, in per cent, a little wider than its data and never beyond 0 and 100."""
    pad = 0.06 * max(high - low, 0.1)
    axis = ax.yaxis if which == "y" else ax.xaxis
    (ax.set_ylim if which == "y" else ax.set_xlim)(max(-0.03, low - pad), min(1.03, high + pad))
    axis.set_major_formatter(_share)
    (ax.set_ylabel if which == "y" else ax.set_xlabel)(label)


def short(value: float) -> str:
    """A number as a tick says it: ``500``, ``20k``, ``1.5M``, ``3e15``, ``2e-05``."""
    if value and not 1e-4 <= abs(value) < 1e9:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def log_ticks(low: float, high: float) -> list[float]:
    """Three to six ticks on a logarithm from ``low`` to ``high`` (``0 < low <= high``).

    Powers of ten, with 3, or 2 and 5, between them where there is room; on a span too short for
    those, round steps.
    """
    span = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    for between in ((1,), (1, 3), (1, 2, 5)):
        ticks = [m * 10.0**e for e in span for m in between]
        ticks = [t for t in ticks if low * 0.999 <= t <= high * 1.001]
        if len(ticks) >= 3:
            return ticks[:: -(-len(ticks) // 6)]
    room = max(high - low, low * 1e-3)
    step = 10.0 ** math.floor(math.log10(room))
    step = next(step * m for m in (0.2, 0.5, 1, 2, 5, 10) if room / (step * m) <= 4)
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)] or [low]


def _log(ax: Any, values: Sequence[float], label: str) -> None:
    low, high = min(values) / 1.15, max(values) * 1.15
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ticks = log_ticks(low, high)
    ax.set_xticks(ticks, [short(t) for t in ticks])
    ax.minorticks_off()
    ax.set_xlabel(label)


def _ends(points: Iterable[Mapping[str, Any]]) -> list[float]:
    found = [p[end] for p in points for end in ("value", "low", "high")]
    return [v for v in found if v is not None and math.isfinite(v)]


def _accuracy(summary: Mapping[str, Any], arms: Sequence[Arm], axis: str, styles: _Styles) -> Any:
    """Accuracy against a cost; what none of the arms improves on without costing more is ringed.

    The series stand a hair apart, so that an interval does not hide another of the same cost.
    """
    figure, ax = _start(2.7)
    table = summary["axes"][axis]
    named = {arm["label"]: arm for arm in arms if _cost(arm, axis) > 0}
    front = [named[label] for label in table["pareto"] if label in named]
    covered: list[float] = []
    if axis == "completion_tokens":
        covered = _ceilings(ax, named, table["series"], styles)
    spent = [_cost(arm, axis) for arm in named.values()]
    width = max(math.log(max(spent) / min(spent)), 0.3)

    def place(arm: Arm) -> float:
        shift = (styles.place[_key(arm)] + 0.5) / len(styles.place) - 0.5
        return _cost(arm, axis) * math.exp(0.03 * width * shift)

    for key in styles.place:
        mine = sorted((a for a in named.values() if _key(a) == key), key=place)
        if mine:
            x, y = [place(arm) for arm in mine], [arm["accuracy"] for arm in mine]
            ax.errorbar(x, [p["value"] for p in y], yerr=_error(y), lw=1.2, ms=4, capsize=1.5,
                        elinewidth=0.7, label=styles.name(key), **styles.of(key))  # fmt: skip
    if len(front) > 1:
        ax.plot([place(a) for a in front], [a["accuracy"]["value"] for a in front], "o",
                ms=8, mfc="none", mec="#333333", mew=0.8, label="Pareto front")  # fmt: skip
    ends = _ends(arm["accuracy"] for arm in named.values()) + covered
    _percent(ax, "accuracy (% of problems)", min(ends), max(ends))
    _log(ax, spent, f"{table['unit']} a problem (mean)")
    return _legend(figure, ax)


def _ceilings(
    ax: Any, named: Mapping[str, Arm], series: Sequence[Mapping[str, Any]], styles: _Styles
) -> list[float]:
    """Dashed: the share of problems with a right candidate among those that the arm paid for.

    Each arm's coverage stands at the arm's own cost, so the gap to its accuracy is what choosing
    loses.  Series that choose among the same candidates have the same line, which is drawn once.
    """
    lines: list[tuple[dict[int, float], dict[float, float], Arm]] = []
    for row in series:
        mine = [named[a] for a in row["arms"] if a in named and named[a]["coverage"]]
        for arm in mine:
            table = arm["coverage"]
            known = dict(zip(table["k"], table["value"], strict=True))
            point = {_cost(arm, "completion_tokens"): table["value"][-1]}
            for values, points, _ in lines:
                if all(abs(values[k] - v) < 1e-9 for k, v in known.items() if k in values):
                    values.update(known)
                    points.update(point)
                    break
            else:
                lines.append((known, point, arm))
    label: str | None = "coverage: any candidate right"
    for _, points, arm in lines:
        marker = styles.of(_key(arm))["marker"]
        ax.plot(*zip(*sorted(points.items()), strict=True), "--", color=GREY, lw=0.9,
                marker=marker, ms=3, mfc="white", mew=0.7, label=label)  # fmt: skip
        label = None
    return [y for _, points, _ in lines for y in points.values()]


def _band(ax: Any, x: Sequence[float], table: Mapping[str, Any], colour: str) -> None:
    low, high = ([math.nan if v is None else v for v in table[end]] for end in ("low", "high"))
    ax.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)


def _coverage(arms: Sequence[Arm], styles: _Styles) -> Any:
    """pass@k: of each series the arm with the most candidates, equal curves of a model once."""
    figure, ax = _start()
    widest: dict[Key, Arm] = {}
    for arm in (a for a in arms if a["coverage"]):
        best = widest.get(_key(arm))
        if best is None or arm["coverage"]["k"][-1] > best["coverage"]["k"][-1]:
            widest[_key(arm)] = arm
    same: dict[tuple[Any, ...], list[Key]] = {}
    for key, arm in widest.items():
        same.setdefault((arm["model"], *arm["coverage"]["value"]), []).append(key)
    ks: set[int] = set()
    ends: list[float] = []
    for keys in same.values():
        table, style = widest[keys[0]]["coverage"], styles.of(keys[0])
        label = styles.name(keys[0])
        if len(keys) > 1:
            label += f"\n  and {len(keys) - 1} more on the same candidates"
        ax.plot(table["k"], table["value"], lw=1.2, ms=3.5, label=label, **style)
        _band(ax, table["k"], table, style["color"])
        ks |= set(table["k"])
        ends += [v for end in ("value", "low", "high") for v in table[end] if v is not None]
    _percent(ax, "pass@k (% of problems)", min(ends), max(ends))
    ax.set_xscale("log", base=2)
    powers = [k for k in sorted(ks) if not k & (k - 1)]
    powers = powers[:: -(-len(powers) // 9)]
    ax.set_xticks(powers, [str(k) for k in powers])
    ax.minorticks_off()
    ax.set_xlabel("k (candidates)")
    return _legend(figure, ax)


def _risk(arms: Sequence[Arm], styles: _Styles) -> Any:
    """Share wrong among those answered, when only the most confident are."""
    figure, ax = _start()
    for arm in arms:
        curve, style = arm["confidence"]["curve"], styles.of(_key(arm))
        risk = {
            k: [None if v is None else 1 - v for v in curve[k]] for k in ("accuracy", "low", "high")
        }
        aurc = arm["confidence"]["aurc"]["value"]
        n = len(curve["coverage"])
        ax.plot(curve["coverage"], risk["accuracy"], lw=1.2, ms=3.5, markevery=max(1, n // 8),
                label=f"{_plain(arm['label'])} (area {100 * aurc:.1f})", **style)  # fmt: skip
        _band(ax, curve["coverage"], risk, style["color"])
    most = max(1 - v for arm in arms for v in arm["confidence"]["curve"]["accuracy"])
    _percent(ax, "risk (% of answered wrong)", 0.0, min(1.0, most + 0.05))
    _percent(ax, "coverage (% answered, surest first)", 0.0, 1.0, "x")
    return _legend(figure, ax)


def _reliability(arms: Sequence[Arm], styles: _Styles) -> Any:
    """Confidence against the share right; the larger the mark, the more runs said so."""
    figure, ax = _start(3.1)
    ax.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=":")
    for arm in arms:
        table, style = arm["confidence"]["reliability"], styles.of(_key(arm))
        said, held = [b["said"] for b in table], [b["held"] for b in table]
        most = max((b["n"] for b in table), default=1)
        ax.plot(said, held, color=style["color"], lw=1)
        ax.scatter(said, held, s=[6 + 34 * b["n"] / most for b in table], linewidths=0, zorder=3,
                   label=f"{_plain(arm['label'])} (ECE {100 * arm['confidence']['ece']['value']:.1f})",
                   **style)  # fmt: skip
    ax.set_aspect("equal")
    _percent(ax, "share right (%)", 0.0, 1.0)
    _percent(ax, "confidence (%)", 0.0, 1.0, "x")
    return _legend(figure, ax)


def _difficulty(bins: Mapping[str, Any], arms: Sequence[Arm], styles: _Styles) -> Any:
    """Accuracy in each bin, of the most costly arm of each series, side by side."""
    figure, ax = _start()
    mine = _one_a_series(arms)
    for i, arm in enumerate(mine):
        apart = 0.7 * ((i + 0.5) / len(mine) - 0.5)
        have = [(j, b["arms"][arm["label"]]) for j, b in enumerate(bins["bins"])
                if _known(b["arms"].get(arm["label"]))]  # fmt: skip
        if have:
            points = [p for _, p in have]
            ax.errorbar([j + apart for j, _ in have], [p["value"] for p in points],
                        yerr=_error(points), lw=0, elinewidth=1, capsize=2, ms=4.5,
                        label=_plain(arm["label"]), **styles.of(_key(arm)))  # fmt: skip
    names = [f"{_plain(b['name'], 10)}\nn={b['problems']}" for b in bins["bins"]]
    ax.set_xticks(range(len(names)), names, fontsize=7)
    for edge in range(1, len(names)):
        ax.axvline(edge - 0.5, color="#dddddd", lw=0.5)
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.tick_params(axis="x", length=0)
    _percent(ax, "accuracy (% of problems)", 0.0, 1.0)
    return _legend(figure, ax)


def _differences(summary: Mapping[str, Any], arms: Sequence[Arm], styles: _Styles) -> Any:
    """Paired differences to the baseline, an arm a row, with the figures beside them.

    Of more than ``ROWS`` arms those with the smallest p.
    """
    from matplotlib.transforms import blended_transform_factory

    rows = [arm for arm in arms if _known(arm["difference"])]
    if len(rows) > ROWS:
        kept = sorted(range(len(rows)), key=lambda i: rows[i]["difference"]["p"])[:ROWS]
        rows = [rows[i] for i in sorted(kept)]
    names = [_plain(arm["label"], 30) for arm in rows]
    heights = [0.09 + 0.12 * (name.count("\n") + 1) for name in names]
    widest = max(len(line) for name in names for line in name.split("\n"))
    figure, ax = _start(sum(heights) + 0.65, max(WIDTH, 2.7 + 0.068 * widest))
    place = [-sum(heights[:i]) - heights[i] / 2 for i in range(len(rows))]
    at_right = blended_transform_factory(ax.transAxes, ax.transData)
    for y, arm in zip(place, rows, strict=True):
        d = arm["difference"]
        ax.errorbar([d["value"]], [y], xerr=_error([d]), ms=4.5, elinewidth=1, capsize=2,
                    **styles.of(_key(arm)))  # fmt: skip
        text = f"{100 * d['value']:+.1f} [{_signed(d['low'])}, {_signed(d['high'])}]"
        ax.text(1.02, y, text, transform=at_right, va="center", fontsize=6.5)
    ax.axvline(0, color="#333333", lw=0.8)
    ax.set_yticks(place, names, fontsize=7)
    ax.set_ylim(-sum(heights), 0)
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", color="#dddddd", linewidth=0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ends = [0.0, *_ends(arm["difference"] for arm in rows)]
    pad = 0.05 * max(max(ends) - min(ends), 0.02)
    ax.set_xlim(min(ends) - pad, max(ends) + pad)
    ax.xaxis.set_major_formatter(lambda v, _: f"{100 * v:+.0f}" if v else "0")
    baseline = _plain(summary["baseline"])
    of = sum(_known(arm["difference"]) for arm in arms)
    note = f"\n(the {len(rows)} of {of} arms with the smallest p)" if len(rows) < of else ""
    ax.set_xlabel(f"accuracy minus that of\n{baseline} (points){note}", fontsize=7.5)
    return figure


def _signed(value: float | None) -> str:
    return f"{100 * value:+.1f}" if value is not None and math.isfinite(value) else "?"


def _best_at(
    summary: Mapping[str, Any], axis: str, rows: Sequence[Mapping[str, Any]], styles: _Styles
) -> Any:
    """The best arm within each budget by one half of the problems, and how it does on the other."""
    figure, ax = _start()
    arms = {arm["label"]: arm for arm in summary["arms"]}
    x = [r["budget"] for r in rows]
    ax.plot(x, [r["seen"]["value"] for r in rows], color=GREY, ls="--", lw=0.9, marker=".", ms=3,
            label="on the half it was chosen on")  # fmt: skip
    told = [r["reported"] for r in rows]
    ax.errorbar(x, [p["value"] for p in told], yerr=_error(told), color="#333333", lw=1,
                elinewidth=0.7, capsize=1.5, label="on the other half")  # fmt: skip
    for key in dict.fromkeys(_key(arms[r["chosen"]]) for r in rows):
        mine = [r for r in rows if _key(arms[r["chosen"]]) == key]
        ax.plot([r["budget"] for r in mine], [r["reported"]["value"] for r in mine], ls="none", ms=5,
                zorder=4, label=f"chosen: {styles.name(key)}", **styles.of(key))  # fmt: skip
    ends = _ends([*told, *({**r["seen"], "low": None, "high": None} for r in rows)])
    _percent(ax, "accuracy (% of problems)", min(ends), max(ends))
    _log(ax, x, f"budget: {summary['axes'][axis]['unit']} a problem (mean)")
    return _legend(figure, ax)
