"""What all laws share: the protocol of a fitted law, bootstrap over problems, and the look of a figure.

A law is fitted by a function (``fit_power_law(samples)``) which gives a frozen dataclass with
``parameters`` (each an ``Estimate``), ``predict(x)`` with intervals, ``residuals`` at what it was
fitted to, ``plot(path)`` and ``to_json()``.

Intervals are percentiles (2.5 %, 97.5 %) over bootstrap draws in which whole problems are drawn again
with all their samples: the problems are the unit, so the interval is that of "other problems of this
kind", not of "other samples of these".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput, MissingNeed
from outthink.core.nouns import Floats, Ints
from outthink.lab.pools import Pools
from outthink.lab.stats import Estimate

#: right samples of each problem, from pools or as counts ``(n, c)``, each ``(problems,)``
Samples = Pools | tuple[npt.ArrayLike, npt.ArrayLike]

#: bootstrap draws of a fit, where the caller says nothing
DRAWS = 200

# Okabe and Ito's colours, told apart by every kind of eye and in print
BLACK, BLUE, ORANGE, GREEN, PINK = "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7"
COLOURS = (BLUE, ORANGE, GREEN, PINK, "#E69F00", "#56B4E9")


class Band(NamedTuple):
    """Predictions with their 95 % intervals, all ``(points,)``."""

    x: Floats
    value: Floats
    low: Floats
    high: Floats

    def rows(self) -> list[dict[str, float]]:
        """A row a point, in plain numbers."""
        names = self._fields
        return [dict(zip(names, map(float, row), strict=True)) for row in zip(*self, strict=True)]


@runtime_checkable
class Law(Protocol):
    """A fitted law."""

    @property
    def parameters(self) -> Mapping[str, Estimate]:
        """The fitted parameters by name."""

    @property
    def residuals(self) -> Floats:
        """Observed minus fitted, at the points of the fit."""

    def predict(self, x: Any) -> Band:
        """The law's values at ``x`` with intervals."""

    def plot(self, path: str | Path) -> Path:
        """Draw observations and law into a PNG, SVG or PDF file."""

    def to_json(self) -> dict[str, Any]:
        """All of it in plain values."""


# -- input ---------------------------------------------------------------------------------------


def counts_of(samples: Samples) -> tuple[Ints, Ints]:
    """Samples and right samples of each problem, ``(problems,)`` each; problems without any left out."""
    if isinstance(samples, Pools):
        n, c = samples.counts, samples.correct
    else:
        n, c = np.broadcast_arrays(*(np.asarray(v, dtype=np.int64) for v in samples))
        n, c = np.atleast_1d(n), np.atleast_1d(c)
    if n.ndim != 1 or (c > n).any() or (c < 0).any():
        raise BadInput("counts are (n, c) with 0 <= c <= n, one of each a problem")
    n, c = n[n > 0], c[n > 0]
    if len(n) < 2:
        raise BadInput(f"a law is fitted over problems: {len(n)} with samples is too few")
    return n, c


def grid_of(most: int, points: int = 24) -> Ints:
    """About ``points`` whole numbers from 1 to ``most``, evenly spaced in the logarithm."""
    return np.unique(np.geomspace(1, most, points).round().astype(np.int64))


def scipy(module: str) -> Any:
    """``scipy.<module>``; raises ``MissingNeed`` where scipy is not there."""
    try:
        return import_module(f"scipy.{module}")
    except ModuleNotFoundError:
        raise MissingNeed("this law is fitted with scipy: pip install 'outthink[lab]'") from None


# -- intervals -----------------------------------------------------------------------------------


def generator(seed: int) -> np.random.Generator:
    """A generator of the laws' own: no samples that were simulated with the same seed share its stream."""
    return np.random.default_rng([seed, 0x1A55])


def bounds(drawn: Floats) -> tuple[Floats, Floats]:
    """The 95 % percentile interval along the first axis; NaN draws (no fit there) are left out."""
    if not len(drawn):
        gap = np.full(drawn.shape[1:], np.nan)
        return gap, gap
    low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    return low, high


def estimate(value: float, drawn: Floats) -> Estimate:
    """A value with the percentile interval of its draws ``(draws,)``."""
    low, high = bounds(drawn)
    return Estimate(float(value), float(low), float(high))


def band(x: npt.ArrayLike, value: Floats, drawn: Floats) -> Band:
    """Values ``(points,)`` with the percentile intervals of ``drawn (draws, points)``."""
    return Band(np.asarray(x, dtype=np.float64), value, *bounds(drawn))


def facts(law: str, parameters: Mapping[str, Estimate], **more: Any) -> dict[str, Any]:
    """The beginning of every ``to_json``."""
    named = {name: found._asdict() for name, found in parameters.items()}
    return {"law": law, "parameters": named, **more}


# -- figures -------------------------------------------------------------------------------------

LOOK: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.fonttype": "none",
}


class Sheet:
    """A figure of panels, two a row, in one look.

    ``with Sheet(path, 2) as (left, right): ...`` writes the file at the end.
    """

    def __init__(self, path: str | Path, panels: int = 1) -> None:
        self.path, self.panels = Path(path), panels
        if self.path.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise BadInput(f"{self.path.name}: a figure is .png, .svg or .pdf")

    def __enter__(self) -> Sequence[Any]:
        import matplotlib
        from matplotlib.figure import Figure

        self._look = matplotlib.rc_context(LOOK)
        self._look.__enter__()
        rows = -(-self.panels // 2)
        size = (4.6 if self.panels == 1 else 7.2, 3.1 if rows == 1 else 2.7 * rows)
        self._figure = Figure(figsize=size, dpi=200, layout="constrained")
        axes = self._figure.subplots(rows, min(2, self.panels), squeeze=False).ravel()
        for ax in axes[self.panels :]:
            ax.set_visible(False)
        for ax in axes:
            ax.grid(alpha=0.25, linewidth=0.5)
            ax.set_axisbelow(True)
        return list(axes[: self.panels])

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        try:
            if kind is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._figure.savefig(self.path)
        finally:
            self._look.__exit__(None, None, None)


def draw(ax: Any, shown: Band, colour: str, label: str, style: Any = "-") -> None:
    """A law's curve with its interval as a band."""
    ax.plot(shown.x, shown.value, linestyle=style, color=colour, label=label, linewidth=1.4)
    if np.isfinite(shown.low).any():
        ax.fill_between(shown.x, shown.low, shown.high, color=colour, alpha=0.16, linewidth=0)


def dots(ax: Any, x: npt.ArrayLike, y: npt.ArrayLike, label: str, colour: str = BLACK) -> None:
    """Observations."""
    ax.plot(x, y, "o", color=colour, label=label, markersize=3.2, markerfacecolor="white", zorder=3)


def counting(ax: Any, label: str) -> None:
    """A logarithmic axis of counts, with plain numbers at its ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    low, high = ax.get_xlim()
    if high < 1000 * low:
        ax.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}" if v >= 1 else f"{v:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(label)
