"""Revise or sample afresh: the best ratio of sequential to parallel work, by difficulty.

A budget of N generations is spent as ``chains`` independent chains, each of ``length`` attempts that see
those before them, with length x chains = N.  Which ratio length / chains is best depends on how hard a
problem is: S050 finds that easy problems are best revised and hard ones want both.  For each bin of
difficulty (quantiles of pass@1, 1 the easiest) the law gives the best ratio with an interval, and what
choosing by bin is worth against the one ratio that is best for all.

The best of several noisy means looks better than it is, so the gain is measured on problems that did not
choose: two halves, each judged by the other's choice, over many random halvings (S050 does it once).

Source: S050 (arXiv 2408.03314).  Cost: a millisecond a draw.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats, Ints
from outthink.lab.stats import Estimate
from outthink.laws import base
from outthink.laws.base import Band


@dataclass(frozen=True, eq=False)
class SequentialLaw:
    """The best ratio in each bin at one budget.

    ``success (problems, configurations)``, ``ratios (configurations,)`` ascending, ``bins (problems,)``
    from 0, the easiest.  ``share_best (bins, configurations)`` is how often each won in the bootstrap.
    """

    budget: int
    ratios: Floats
    bins: Ints
    success: Floats
    best: tuple[Estimate, ...]
    gain: Estimate
    share_best: Floats
    drawn: Floats

    @property
    def parameters(self) -> Mapping[str, Estimate]:
        """``bin 1`` (easiest) and on: the best ratio; ``gain``: held-out gain of choosing by bin."""
        named = {f"bin {i + 1}": found for i, found in enumerate(self.best)}
        return {**named, "gain": self.gain}

    @property
    def table(self) -> Floats:
        """Mean success, ``(bins, configurations)``."""
        return _means(self.success, self.bins, len(self.best))

    @property
    def residuals(self) -> Floats:
        """Success minus the mean of its bin at the same ratio, ``(problems, configurations)``."""
        return self.success - self.table[self.bins]

    def predict(self, x: npt.ArrayLike) -> Band:
        """The success of the best ratio for problems of bins ``x`` (1 is the easiest)."""
        at = np.atleast_1d(np.asarray(x, dtype=np.int64))
        if at.min() < 1 or at.max() > len(self.best):
            raise BadInput(f"bins are 1 to {len(self.best)}")
        value = self.table.max(axis=1)[at - 1]
        return base.band(at, value, self.drawn[:, at - 1])

    def plot(self, path: str | Path) -> Path:
        """Success against the ratio, a line a bin, its best marked."""
        with base.Sheet(path) as (ax,):
            table, styles = self.table, ("-", "--", "-.", ":", (0, (5, 1)))
            for i, row in enumerate(table):
                colour = base.COLOURS[i % len(base.COLOURS)]
                name = f"bin {i + 1}" + (" (easiest)" if i == 0 else "")
                inside = self.success[self.bins == i]
                half = 1.96 * inside.std(axis=0, ddof=1) / np.sqrt(len(inside))
                shown = Band(self.ratios, row, np.maximum(row - half, 0), np.minimum(row + half, 1))
                base.draw(ax, shown, colour, name, styles[i % len(styles)])
                at = int(row.argmax())
                ax.plot(self.ratios[at], row[at], "o", color=colour, markersize=4.5)
            ax.set_xscale("log", base=2)
            ax.set_xticks(self.ratios, [_ratio(r) for r in self.ratios])
            ax.minorticks_off()
            ax.set_xlabel("attempts in sequence to chains in parallel")
            ax.set_ylabel("share of problems right")
            ax.set_title(f"{self.budget} generations a problem", loc="left")
            ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return Path(path)

    def to_json(self) -> dict[str, Any]:
        """The best ratios, the table, and how often each ratio won."""
        return base.facts(
            "sequential",
            self.parameters,
            budget=self.budget,
            ratios=self.ratios.tolist(),
            table=self.table.tolist(),
            share_best=self.share_best.tolist(),
        )


def _ratio(value: float) -> str:
    return f"{value:g}:1" if value >= 1 else f"1:{1 / value:g}"


def fit_sequential(
    success: npt.ArrayLike,
    length: npt.ArrayLike,
    chains: npt.ArrayLike,
    difficulty: npt.ArrayLike,
    bins: int = 5,
    draws: int = base.DRAWS,
    seed: int = 0,
) -> SequentialLaw:
    """Fit to a table of success in [0, 1], ``(problems, configurations)``, all of one budget.

    ``length`` and ``chains (configurations,)`` have one product.  ``difficulty (problems,)`` is pass@1
    or a verifier's mean score, high for easy; it should not come from the runs that are compared.
    The interval of a best ratio is of the bootstrap's choices: a wide one says that ratios are alike.
    """
    table = np.asarray(success, dtype=np.float64)
    long, wide = np.asarray(length, dtype=np.int64), np.asarray(chains, dtype=np.int64)
    easy = np.asarray(difficulty, dtype=np.float64)
    if table.ndim != 2 or table.shape != (len(easy), len(long)) or long.shape != wide.shape:
        raise BadInput(
            f"success is (problems, configurations): {table.shape} with {len(easy)} difficulties, "
            f"{len(long)} lengths and {len(wide)} numbers of chains"
        )
    if len(set((long * wide).tolist())) != 1 or (long < 1).any():
        raise BadInput(f"length x chains must be one budget, not {sorted(set(long * wide))}")
    if len(easy) < 2 * bins or bins < 1:
        raise BadInput(f"{bins} bins need at least {2 * bins} problems, not {len(easy)}")
    order = np.argsort(long / wide)
    table, ratios = table[:, order], (long / wide)[order]
    # equal numbers of problems a bin, the easiest first
    place = np.empty(len(easy), dtype=np.int64)
    place[np.argsort(-easy, kind="stable")] = np.arange(len(easy)) * bins // len(easy)
    rng = base.generator(seed)
    best = _means(table, place, bins).argmax(axis=1)
    chosen, tops, gains = (np.empty((draws, bins), dtype=np.int64), np.empty((draws, bins)), [])
    for d in range(draws):
        for i in range(bins):
            members = np.flatnonzero(place == i)
            mean = table[rng.choice(members, len(members))].mean(axis=0)
            chosen[d, i], tops[d, i] = mean.argmax(), mean.max()
        drawn = rng.integers(len(table), size=len(table))
        gains.append(_gain(table[drawn], place[drawn], drawn, bins, rng))
    found = tuple(base.estimate(ratios[best[i]], ratios[chosen[:, i]]) for i in range(bins))
    share = np.stack([(chosen == j).mean(axis=0) for j in range(len(ratios))], axis=1)
    point = np.mean([_gain(table, place, np.arange(len(table)), bins, rng) for _ in range(50)])
    gain = base.estimate(float(point), np.array(gains))
    return SequentialLaw(int(long[0] * wide[0]), ratios, place, table, found, gain, share, tops)


def read_configurations(path: str | Path) -> tuple[Floats, Ints, Ints, Floats]:
    """(success, length, chains, difficulty) of a CSV file: what ``fit_sequential`` takes.

    Columns ``problem``, ``length``, ``chains``, ``success`` and ``difficulty``; a row a problem and
    configuration (several, such as seeds, are averaged).
    """
    with open(path, newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    wanted = ("problem", "length", "chains", "success", "difficulty")
    missing = [name for name in wanted if not rows or name not in rows[0]]
    if missing:
        raise BadInput(f"{path} has no column {', '.join(missing)}; it needs {', '.join(wanted)}")
    problems = list(dict.fromkeys(row["problem"] for row in rows))
    shapes = list(dict.fromkeys((int(row["length"]), int(row["chains"])) for row in rows))
    total, seen = np.zeros((2, len(problems), len(shapes)))
    easy = np.zeros(len(problems))
    for row in rows:
        i = problems.index(row["problem"])
        j = shapes.index((int(row["length"]), int(row["chains"])))
        total[i, j] += float(row["success"])
        seen[i, j] += 1
        easy[i] = float(row["difficulty"])
    if not seen.all():
        i, j = np.argwhere(seen == 0)[0]
        raise BadInput(f"{path}: problem {problems[i]} lacks length x chains = {shapes[j]}")
    length, chains = np.array(shapes).T
    return total / seen, length, chains, easy


def _means(table: Floats, place: Ints, bins: int) -> Floats:
    """Mean success of each bin; a bin without problems (in a half) has that of all."""
    rows = [table[place == i] if (place == i).any() else table for i in range(bins)]
    return np.array([r.mean(axis=0) for r in rows])


def _gain(table: Floats, place: Ints, names: Ints, bins: int, rng: np.random.Generator) -> float:
    """Held-out success of the best ratio by bin minus that of the best ratio for all.

    Copies of a problem (the same ``names``) stay in one half.
    """
    side = rng.random(int(names.max()) + 1) < 0.5
    half = side[names]
    total = 0.0
    for choose, judge in ((half, ~half), (~half, half)):
        if not choose.any() or not judge.any():
            continue
        by_bin = _means(table[choose], place[choose], bins).argmax(axis=1)[place[judge]]
        for_all = table[choose].mean(axis=0).argmax()
        rows = table[judge]
        total += float((rows[np.arange(len(rows)), by_bin] - rows[:, for_all]).sum())
    return total / len(table)
