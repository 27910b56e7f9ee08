"""What a bench says: accuracy, differences, coverage, calibration, and all of it against each cost.

``summarise`` gives plain values that JSON can hold, with null for what is not known and for an interval's
end that there is none of.  Problems are the unit throughout: seeds are averaged, and candidates pooled,
inside a problem, and draws are of whole problems.  Failed and unfinished runs are counted, and left out of
everything else: an arm is measured on the problems where it finished, a difference on those where both did.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats, Ints, digest, finite
from outthink.lab import stats
from outthink.lab.columns import Columns, columns, over_seeds
from outthink.lab.curves import cost_to_reach, mean_height
from outthink.lab.records import AXES, FORMAT, Arm, Results
from outthink.lab.stats import Estimate
from outthink.select.calibration import area_of_risk, levels
from outthink.select.coverage import pass_at_k

Plain = dict[str, Any]

#: draws of the problems behind intervals that have no formula
DRAWS = 1000
#: draws for what has to be sorted anew in each
SORTED = 400
#: bins of equal width of the confidence, as in ``calibration.ece``
RELIABILITY = 15
#: shares answered at which selective accuracy is given
ANSWERED = np.arange(1, 21) / 20
#: names of as many difficulty bins, the hardest first
BINS = {
    2: ("hard", "easy"),
    3: ("hard", "medium", "easy"),
    4: ("hardest", "hard", "easy", "easiest"),
    5: ("hardest", "hard", "medium", "easy", "easiest"),
}

pass_at = cache(pass_at_k)


def summarise(
    results: Results, baseline: str | None = None, targets: Sequence[float] | None = None
) -> Plain:
    """The summary of a bench, ``format`` 1.

    ``baseline`` is the label that differences are taken to (the first arm unless said), ``targets`` the
    accuracies whose cost is asked for (round ones that some arms have and some have not, unless said).
    Raises ``BadInput`` for a bench without arms or problems, an unknown baseline, or a target outside
    (0, 1].
    """
    found = columns(results)
    base = 0 if baseline is None else found.place(baseline)
    shares = found.shares()
    for target in targets or ():
        if not 0 < target <= 1:
            raise BadInput(f"target {target!r}: an accuracy above 0 and at most 1, as 0.8")
    draws = stats.resample(len(found.problems), DRAWS)
    arms = [_arm(results, found, shares, i, base, draws) for i in range(len(results.arms))]
    gaps = [arm["difference"] for arm in arms if arm["difference"]]
    for gap, p in zip(gaps, stats.holm([gap["p"] for gap in gaps]), strict=True):
        gap["p_holm"] = p
    wanted = round_targets(shares) if targets is None else sorted(set(targets))
    ran = np.isfinite(shares).any(axis=1)
    # arms stand side by side only on problems that all of them finished
    whole = np.isfinite(shares[ran]).all(axis=0)
    fair = np.where(whole, shares, np.nan) if whole.any() else shares
    axes, best_at = {}, {}
    for axis in AXES:
        spent = np.where(whole, found.spent(axis), np.nan) if whole.any() else found.spent(axis)
        priced = np.flatnonzero(ran & (np.nansum(spent, axis=1) > 0))
        if len(priced):
            axes[axis] = _axis(results.arms, axis, fair, spent, priced, draws, wanted, found)
            best_at[axis] = _best_at(found, fair, spent, priced)
    tried, finished = int(found.tried.sum()), int(np.isfinite(found.right).sum())
    alone = sum(run.completion_tokens for run in results.runs)
    new = sum(run.new_tokens for run in results.runs)
    summary: Plain = {
        "format": FORMAT,
        "facts": results.facts,
        "problems": len(found.problems),
        "seeds": list(found.seeds),
        "baseline": found.labels[base],
        "planned": found.right.size,
        "finished": finished,
        "failed": tried - finished,
        "unfinished": found.right.size - tried,
        "sharing": {
            "alone_tokens": alone,
            "new_tokens": new,
            "saved": 1 - new / alone if alone else 0.0,
        },
        "arms": arms,
        "axes": axes,
        "bins": _bins(found, shares),
        "best_at": best_at,
    }
    plain: Plain = finite(summary)
    return plain


def table(summary: Mapping[str, Any]) -> list[Plain]:
    """A row an arm: label, accuracy, difference to the baseline, mean tokens, calls and seconds.

    ``accuracy`` is a value with its interval, ``difference`` one with p (or null for the baseline), as
    in the summary; the costs are means a problem, ``tokens_share`` the completion tokens over those
    of the baseline.
    """
    shown = ("completion_tokens", "calls", "critical_seconds")
    return [
        {
            "label": arm["label"],
            "accuracy": arm["accuracy"],
            "difference": arm["difference"],
            "tokens_share": arm["tokens_share"],
            **{axis: arm["costs"].get(axis, {"value": 0.0})["value"] for axis in shown},
            "problems": arm["problems"],
            "failed": arm["failed"],
            "unfinished": arm["unfinished"],
        }
        for arm in summary["arms"]
    ]


# -- one arm -----------------------------------------------------------------------------------------


def _arm(
    results: Results, found: Columns, shares: Floats, i: int, base: int, draws: Floats
) -> Plain:
    known = np.isfinite(shares[i])
    both = known & np.isfinite(shares[base])
    seeds = len(found.seeds)
    arm = results.arms[i]
    gap = part = None
    if i != base and both.any():
        gap = stats.share_difference(shares[i, both], shares[base, both], seeds)._asdict()
        mine, theirs = found.spent("completion_tokens")[[i, base]][:, both]
        if theirs.any():
            part = stats.ratio(mine, theirs, draws[:, both])._asdict()
    costs = {}
    for axis in AXES if known.any() else ():
        spent = stats.mean(found.spent(axis)[i, known])
        if spent.value > 0:
            # no cost is negative; one problem has no interval at all
            low = max(0.0, spent.low) if math.isfinite(spent.low) else spent.low
            costs[axis] = spent._replace(low=low)._asdict()
    return {
        **asdict(arm),
        "runs": int(found.tried[i]),
        "failed": int(found.tried[i] - np.isfinite(found.right[i]).sum()),
        "unfinished": int(found.right[i].size - found.tried[i]),
        "problems": int(known.sum()),
        "accuracy": stats.share(shares[i, known], seeds)._asdict() if known.any() else None,
        "costs": costs,
        "difference": gap,
        "tokens_share": part,
        "coverage": _coverage(found.candidates[i], found.right_candidates[i], found.right[i]),
        "confidence": confidence_of(found.confidence[i], found.right[i], draws),
        "stopped": dict(Counter(run.stopped for run in results.of(arm))),
    }


def _coverage(candidates: Ints, good: Ints, right: Floats) -> Plain | None:
    """Unbiased pass@k of candidates ``(problems, seeds)``: the chance that one of k is right.

    The seeds' candidates are pooled inside a problem, but k goes only as far as a run does; a problem
    whose runs have fewer than k, m in the mean, counts with pass@m (rounded up): with as many as the
    arm draws there.  One without any counts as none right.
    """
    done = np.isfinite(right)
    kept = done.any(axis=1)
    if not candidates[done].any():
        return None
    n = np.where(done, candidates, 0).sum(axis=1)[kept]
    c = np.where(done, good, 0).sum(axis=1)[kept]
    usual = -(-n // done.sum(axis=1)[kept])
    most = int(usual.max())
    ks = sorted({*(2**j for j in range(most.bit_length())), most})
    points = []
    for k in ks:
        some = zip(n.tolist(), c.tolist(), np.minimum(usual, k).tolist(), strict=True)
        values = np.array([pass_at(*one) if one[0] else 0.0 for one in some])
        value, error = float(values.mean()), stats.standard_error(values)
        points.append(stats.bounded(value, error, len(values)))
    return {"k": ks, **_in_columns(points)}


def _in_columns(points: Sequence[Estimate]) -> Plain:
    return {name: [getattr(p, name) for p in points] for name in Estimate._fields}


def confidence_of(confidence: Floats, right: Floats, draws: Floats) -> Plain | None:
    """Calibration of the confidence ``(problems, seeds)`` of finished runs."""
    known = np.isfinite(confidence) & np.isfinite(right)
    if not known.any():
        return None
    at = np.nonzero(known)[0]
    said, held = np.clip(confidence[known], 0.0, 1.0), right[known]
    errors = over_seeds(np.where(known, (np.clip(confidence, 0, 1) - right) ** 2, np.nan))
    errors = errors[np.isfinite(errors)]
    brier = stats.bounded(float(errors.mean()), stats.standard_error(errors), len(errors))
    area, curve = _selective(at, said, held, draws[:SORTED])
    return {
        "ece": _ece(at, said, held, draws)._asdict(),
        "brier": brier._asdict(),
        "aurc": area._asdict(),
        "curve": {"coverage": ANSWERED.tolist(), **_renamed(_in_columns(curve))},
        "reliability": _reliability(said, held),
    }


def _renamed(table: Plain) -> Plain:
    return {"accuracy": table.pop("value"), **table}


def _bin(said: Floats) -> Ints:
    return np.minimum((said * RELIABILITY).astype(np.int64), RELIABILITY - 1)


def _reliability(said: Floats, held: Floats) -> list[Plain]:
    place = _bin(said)
    n = np.bincount(place, minlength=RELIABILITY)
    sums = [np.bincount(place, values, minlength=RELIABILITY) for values in (said, held)]
    return [
        {"said": float(sums[0][b] / n[b]), "held": float(sums[1][b] / n[b]), "n": int(n[b])}
        for b in np.flatnonzero(n)
    ]


def _ece(at: Ints, said: Floats, held: Floats, draws: Floats) -> Estimate:
    """The expected calibration error of runs of the problems ``at``, with an interval that is wide.

    What is measured is too large by about the noise in each bin, and a draw adds the noise once more.
    So the upper end is that of the draws, and the lower end supposes that bins within two standard
    errors of honesty are honest: it takes away what the noise adds then.  In simulation it holds the
    truth in 92 % of benches or more, but in 89 % for honest confidences on 100 runs.
    """
    size = draws.shape[1] * RELIABILITY
    gaps = np.bincount(at * RELIABILITY + _bin(said), said - held, minlength=size)
    counts = np.bincount(at, minlength=draws.shape[1])
    total = draws @ counts
    drawn = draws[total > 0] @ gaps.reshape(-1, RELIABILITY) / total[total > 0, None]
    gap = gaps.reshape(-1, RELIABILITY).sum(axis=0) / counts.sum()
    value = float(np.abs(gap).sum())
    noise = drawn - gap
    sure = np.where(np.abs(gap) > 2 * noise.std(axis=0), gap, 0.0)
    added = np.quantile(np.abs(sure + noise).sum(axis=1), 0.975) - np.abs(sure).sum()
    high = float(np.quantile(np.abs(drawn).sum(axis=1), 0.975))
    return Estimate(value, min(value, max(0.0, value - float(added))), min(1.0, max(value, high)))


def _selective(
    at: Ints, said: Floats, held: Floats, draws: Floats
) -> tuple[Estimate, list[Estimate]]:
    """The area under risk against coverage, and the accuracy of the most confident 5, 10 ... 100 %.

    Where a share answered ends among runs of equal confidence, they count with their mean.
    """
    _, place = levels(said)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    # the bench itself is the first draw
    times = np.vstack([np.ones((1, draws.shape[1])), draws])[:, at[order]]
    times = times[times.any(axis=1)]
    n = np.add.reduceat(times, starts, axis=1)
    good = np.add.reduceat(times * held[order], starts, axis=1)
    problems = len(np.unique(at))
    areas = area_of_risk(np.rint(n), n - good)
    area = stats.bounded(float(areas[0]), float(areas[1:].std()), problems)
    ends, sums = (np.pad(np.cumsum(x, axis=1), ((0, 0), (1, 0))) for x in (n, good))
    steps = ANSWERED * ends[:, -1:]
    risen = [np.interp(x, e, s) for x, e, s in zip(steps, ends, sums, strict=True)]
    heights = np.array(risen) / steps
    errors = heights[1:].std(axis=0)
    return area, [
        stats.bounded(float(v), float(e), max(1.0, share * problems))
        for v, e, share in zip(heights[0], errors, ANSWERED, strict=True)
    ]


# -- against a cost ----------------------------------------------------------------------------------


def round_targets(shares: Floats) -> list[float]:
    """At most five round accuracies above that of the worst arm, and not above that of the best."""
    means = over_seeds(shares)
    means = means[np.isfinite(means)]
    if not len(means):
        return []
    for step in (1, 2, 5, 10, 20, 25):
        some = [
            i / 100 for i in range(step, 101, step) if means.min() < i / 100 <= means.max() + 1e-9
        ]
        if len(some) <= 5:
            break
    return some


def pareto(costs: Floats, accuracy: Floats) -> list[int]:
    """The arms that no other is both cheaper than (or as cheap) and at least as accurate as.

    From the cheapest on; of arms that are equal in both, the first.
    """
    front: list[int] = []
    for i in np.lexsort((-accuracy, costs)):
        if not front or accuracy[i] > accuracy[front[-1]]:
            front.append(int(i))
    return front


def _ratio(draws: Floats, values: Floats) -> Floats:
    """Means over the known problems of each draw: ``(draws, problems)``, ``(arms, problems)``."""
    known = np.isfinite(values)
    count = draws @ known.T
    total = draws @ np.where(known, values, 0.0).T
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _axis(
    arms: Sequence[Arm],
    axis: str,
    shares: Floats,
    spent: Floats,
    priced: Ints,
    draws: Floats,
    targets: Sequence[float],
    found: Columns,
) -> Plain:
    """The Pareto front, and for each series its area and the cost of each target."""
    cost, accuracy = over_seeds(spent), over_seeds(shares)
    front = pareto(cost[priced], accuracy[priced])
    # the bench itself is the first row
    costs = np.vstack([cost, _ratio(draws, spent)])
    heights = np.vstack([accuracy, _ratio(draws, shares)])
    series: dict[tuple[str, str], list[int]] = {}
    for i in sorted(priced.tolist(), key=lambda i: float(cost[i])):
        series.setdefault((arms[i].series or arms[i].strategy, arms[i].model), []).append(i)
    wide = [mine for mine in series.values() if cost[mine[-1]] > cost[mine[0]]]
    low = max((float(cost[mine[0]]) for mine in wide), default=0.0)
    high = min((float(cost[mine[-1]]) for mine in wide), default=0.0)
    rows, reached = [], []
    for (name, model), mine in series.items():
        whose = {"series": name, "model": model}
        area = None
        # a cost of 0 in a draw has no logarithm
        kept = costs[(costs[:, mine] > 0).all(axis=1)]
        points = heights[(costs[:, mine] > 0).all(axis=1)][:, mine]
        kept = kept[:, mine]
        if mine in wide and low < high:
            areas = mean_height(kept, points, low, high)
            error = float(areas[1:].std()) if len(areas) > 1 else 0.0
            least = int(np.isfinite(shares[mine]).any(axis=0).sum())
            area = stats.bounded(float(areas[0]), error, least)._asdict()
        rows.append({**whose, "arms": [found.labels[i] for i in mine], "area": area})
        for target in targets:
            at = cost_to_reach(kept, points, target)
            estimate = stats.percentiles(float(at[0]), at[1:])
            told = estimate._asdict() if math.isfinite(at[0]) else None
            reached.append({"target": target, **whose, "cost": told})
    return {
        "unit": AXES[axis],
        "pareto": [found.labels[priced[i]] for i in front],
        "series": rows,
        "to_reach": reached,
    }


def halves(problems: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which problems are in the first half: by a hash of the name, so always the same ones."""
    return np.array([int(digest(name)[:8], 16) % 2 == 0 for name in problems], dtype=np.bool_)


def round_budgets(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, from the first that allows ``low`` to the first for ``high``."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    some = [float(f"{m}e{e}") for e in range(first, last + 1) for m in (1, 2, 5)]
    end = min(x for x in some if x >= high)
    return [x for x in some if low <= x <= end]


def _best_at(found: Columns, shares: Floats, spent: Floats, priced: Ints) -> list[Plain]:
    """For each budget the arm that is best on one half of the problems, and how it is on the other.

    Its mean cost on the first half is within the budget; of equally good ones, the cheapest.
    """
    first = halves(found.problems)
    cost, seen = over_seeds(spent[:, first]), over_seeds(shares[:, first])
    mine = [i for i in priced if cost[i] > 0 and np.isfinite(shares[i, ~first]).any()]
    if not mine:
        return []
    runs = len(found.seeds)
    rows = []
    for budget in round_budgets(min(cost[mine]), max(cost[mine])):
        within = [i for i in mine if cost[i] <= budget]
        if not within:
            continue
        best = min(within, key=lambda i: (-seen[i], cost[i]))
        told = {
            name: stats.share(values[np.isfinite(values)], runs)._asdict()
            for name, values in (
                ("seen", shares[best, first]),
                ("reported", shares[best, ~first]),
            )
        }
        rows.append({"budget": budget, "chosen": found.labels[best], **told})
    return rows


# -- by difficulty -----------------------------------------------------------------------------------


def _bins(found: Columns, shares: Floats) -> Plain | None:
    """Problems by pass@1, estimated on samples that are held out as far as there are such.

    ``names`` are the problems of a bin.
    """
    done = np.isfinite(found.right)
    count = np.where(done, found.candidates, 0)
    widest = int(np.argmax(count.sum(axis=(1, 2))))
    n, label = count[widest], found.labels[widest]
    what = f"Problems in order of pass@1 of the candidates of {label!r}"
    runs = len(found.seeds) - 1
    if runs:
        held_out = int(np.argmax(n.any(axis=0)))
        n, c = n[:, held_out], found.right_candidates[widest, :, held_out]
        shares = over_seeds(np.delete(found.right, held_out, axis=2))
        how = (
            f"{what} with seed {found.seeds[held_out]}, in groups of equal size as far as ties allow. "
            "The accuracies are those of the other seeds, whose samples had no part in this."
        )
    else:
        n, c, runs = n[:, 0] // 2, found.odd[widest, :, 0], 1
        how = (
            f"{what} at the odd places (1, 3, ... from 0), in groups of equal size as far as ties "
            "allow. There is one seed, so arms that choose among these very samples look somewhat "
            "too bad where it is hard and too good where it is easy; more seeds would show by how much."
        )
    rated = n > 0
    if not rated.any():
        return None
    level = np.divide(c, n, out=np.full(len(n), np.nan), where=rated)
    group = quantile_groups(level[rated])
    count_of = int(group.max()) + 1
    if count_of < 2:
        return None
    place = np.full(len(n), -1)
    place[rated] = group
    if not rated.all():
        how += f" {int((~rated).sum())} problems have no such samples and are in no group."
    bins = []
    for b in range(count_of):
        inside = place == b
        arms = {}
        for i, of_arm in enumerate(found.labels):
            values = shares[i, inside]
            values = values[np.isfinite(values)]
            if len(values):
                arms[of_arm] = stats.share(values, runs)._asdict()
        bins.append(
            {
                "name": BINS[count_of][b],
                "low": float(level[inside].min()),
                "high": float(level[inside].max()),
                "problems": int(inside.sum()),
                "names": [found.problems[i] for i in np.flatnonzero(inside)],
                "arms": arms,
            }
        )
    return {"how": how, "bins": bins}


def quantile_groups(level: Floats, most: int = 5) -> Ints:
    """Numbers 0, 1, ... of at most ``most`` groups of about equal size, equal levels together."""
    _, place, counts = np.unique(level, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    fifth = np.minimum((middle * most / len(level)).astype(np.int64), most - 1)
    _, group = np.unique(fifth, return_inverse=True)
    return np.asarray(group.ravel()[place.ravel()], dtype=np.int64)
