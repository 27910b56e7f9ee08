"""``outthink fly report``: what fly can show, measured on fresh test problems, with intervals.

Each section measures one thing and makes claims; a claim has a target that was set beforehand, a
value, its 95 % interval, and whether it holds.  A gap between two strategies is taken on the same
problems and holds when its interval lies above zero.  Every call goes through the store in the output
folder, so that a report that was stopped goes on where it was, and pays nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from outthink.core.model import Judged
from outthink.core.nouns import Floats
from outthink.core.registry import build
from outthink.lab.stats import half_width, mean_interval, paired
from outthink.models.fly import MOST
from outthink.select.calibration import auroc, by_cluster, ece
from outthink.select.coverage import best_at_k, maj_at_k, pass_at_k
from outthink.tasks import FAMILIES, check, family
from outthink.tasks import problems as problems_of
from outthink.tasks.base import TaskProblem
from outthink.train.evaluate import Contender, Result, measure
from outthink.verify.extract import TextReader, canonical_answer
from outthink.verify.flawed import Flawed
from outthink.verify.prm import Prm

Progress = Callable[[str, int, int], None]

#: samples a problem, where a target asks for more than 16
SAMPLES = {("chain", "medium"): 64, ("chain", "hard"): 32, ("countdown", "medium"): 64}


@dataclass(frozen=True)
class Claim:
    """Something that was to hold, and what was found."""

    section: str
    text: str
    wanted: str
    value: float
    interval: tuple[float, float]
    holds: bool


@dataclass
class Report:
    """What was measured: claims, and a table of plain values for each section."""

    problems: int
    split: str
    seed: int
    models: dict[str, str] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    tables: dict[str, Any] = field(default_factory=dict)

    def at_least(self, section: str, text: str, found: tuple[float, Any], low: float) -> None:
        """A claim that a value is at least this much."""
        self.within(section, text, found, low, None)

    def within(
        self, section: str, text: str, found: tuple[float, Any], low: float, high: float | None
    ) -> None:
        """A claim that a value lies in a range (open upwards where ``high`` is ``None``)."""
        value, interval = found
        wanted = f">= {low:g}" if high is None else f"in [{low:g}, {high:g}]"
        holds = value >= low and (high is None or value <= high)
        self.claims.append(Claim(section, text, wanted, float(value), _pair(interval), bool(holds)))

    def above(self, section: str, text: str, gap: tuple[float, float, float]) -> None:
        """A claim that a paired gap is above zero, its interval too."""
        mean, low, high = gap
        self.claims.append(Claim(section, text, "> 0, interval too", mean, (low, high), low > 0))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "format": 1,
            "problems": self.problems,
            "split": self.split,
            "seed": self.seed,
            "models": self.models,
            "claims": [asdict(claim) for claim in self.claims],
            "tables": self.tables,
        }


def _pair(interval: Any) -> tuple[float, float]:
    low, high = interval
    return float(low), float(high)


@dataclass
class Bench:
    """Where a report measures: problems, store, seed, and results that sections share."""

    out: Path
    count: int
    split: str
    seed: int
    progress: Progress | None
    kept: dict[tuple[Any, ...], list[Result]] = field(default_factory=dict)
    checked: dict[tuple[str, str, str], tuple[Result, Pools]] = field(default_factory=dict)

    def problems(self, name: str, level: str, count: int | None = None) -> list[TaskProblem]:
        """The problems of a family and level: the same in every section."""
        return problems_of(name, level, self.split, count or self.count, self.seed)

    def samples(self, name: str, level: str, model: str = "fly") -> tuple[Result, Pools]:
        """The vote over all samples of a level, and the samples, which are checked once."""
        key = (name, level, model)
        if key not in self.checked:
            fresh, k = self.problems(name, level), SAMPLES.get((name, level), 16)
            (result,) = self.run(
                f"{model} {name} {level}", [f"self_consistency(n={k})"], fresh, model
            )
            self.checked[key] = result, Pools.of(result, fresh)
        return self.checked[key]

    def run(
        self,
        label: str,
        specs: Sequence[str | tuple[str, str]],
        problems: Sequence[TaskProblem],
        model: str = "fly",
    ) -> list[Result]:
        """Every strategy (or strategy and budget) on every problem."""
        contenders = [
            Contender(s, s) if isinstance(s, str) else Contender(s[0], s[0], s[1]) for s in specs
        ]
        key = (problems[0].question, len(problems), tuple(contenders), model)
        if key not in self.kept:

            def step(done: int, total: int) -> None:
                if self.progress:
                    self.progress(label, done, total)

            async def main() -> list[Result]:
                return await measure(
                    contenders,
                    problems,
                    model=model,
                    store=str(self.out / "calls.db"),
                    seed=self.seed,
                    progress=step,
                )

            self.kept[key] = anyio.run(main)
        return self.kept[key]


@dataclass
class Pools:
    """Samples of many problems: ``right`` and ``classes`` are ``(problems, k)``."""

    right: Floats
    classes: Any
    tokens: Floats
    texts: list[list[str]]

    @classmethod
    def of(cls, result: Result, problems: Sequence[TaskProblem]) -> Pools:
        """The samples of a vote."""
        texts = [[s.text for s in a.candidates] for a in result.answers]
        width = min(map(len, texts))
        texts = [row[:width] for row in texts]
        known = [{t: check(p, t) for t in set(row)} for p, row in zip(problems, texts, strict=True)]
        right = np.array(
            [[k[t] for t in row] for k, row in zip(known, texts, strict=True)], dtype=np.float64
        )
        reader = TextReader(how=family(problems[0].family).READER)
        classes = np.array([_classes(row, reader) for row in texts])
        tokens = np.array(
            [r / len(a.candidates) for r, a in zip(result.tokens, result.answers, strict=True)]
        )
        return cls(right, classes, tokens, texts)

    def coverage(self, k: int) -> Floats:
        """The unbiased pass@k of each problem."""
        n = self.right.shape[1]
        return np.array([pass_at_k(n, int(row.sum()), k) for row in self.right])

    def vote(self, k: int, seed: int = 0) -> Floats:
        """The chance that a vote over k samples is right, for each problem."""
        rng = np.random.default_rng(seed)
        return np.array(
            [
                maj_at_k(classes, right > 0.5, k, rng, draws=200)
                for classes, right in zip(self.classes, self.right, strict=True)
            ]
        )


def _classes(texts: Sequence[str], reader: TextReader) -> list[int]:
    """The answers of texts, numbered up to normal form; -1 for none."""
    numbers, out = dict[str, int](), list[int]()
    for text in texts:
        found = reader.extract(text)
        form = None if found is None else canonical_answer(found)
        out.append(-1 if form is None else numbers.setdefault(form, len(numbers)))
    return out


def _mean(values: Floats) -> tuple[float, tuple[float, float]]:
    return float(values.mean()), mean_interval(values)


def _amount(values: Floats) -> tuple[float, tuple[float, float]]:
    """The mean of what is no share, and its 95 % interval."""
    mean, half = float(values.mean()), half_width(values)
    return mean, (mean - half, mean + half)


def _powers(most: int) -> list[int]:
    return [2**i for i in range(most.bit_length()) if 2**i <= most]


# -- sections ----------------------------------------------------------------------------------------


def levels(bench: Bench, report: Report) -> None:
    """Coverage and votes of every family and level."""
    for name in FAMILIES:
        for level in family(name).LEVELS:
            fresh = bench.problems(name, level)
            _, pools = bench.samples(name, level)
            k = pools.right.shape[1]
            covered = {n: _mean(pools.coverage(n)) for n in _powers(k)}
            voted = {n: _mean(pools.vote(n)) for n in (16, k)}
            false = [
                family(name).false_path(p, t)
                for p, row in zip(fresh, pools.texts, strict=True)
                for t in row[:4]
            ]
            report.tables.setdefault("levels", {})[f"{name} {level}"] = {
                "dials": {d: list(v) for d, v in family(name).LEVELS[level].items()},
                "tokens": float(pools.tokens.mean()),
                "pass": {str(n): v for n, v in covered.items()},
                "vote": {str(n): v for n, v in voted.items()},
                "false_paths": float(np.mean(false)),
            }
            _level_claims(report, name, level, pools, covered)


def _level_claims(
    report: Report, name: str, level: str, pools: Pools, covered: dict[int, Any]
) -> None:
    where = f"{name} {level}"
    if where == "chain easy":
        report.at_least("levels", f"{where}: pass@1", covered[1], 0.90)
    if where == "chain medium":
        report.within("levels", f"{where}: pass@1", covered[1], 0.35, 0.65)
        report.at_least("levels", f"{where}: pass@64", covered[64], 0.95)
        gap = paired(pools.vote(64), pools.coverage(1))
        report.at_least("levels", f"{where}: vote@64 - pass@1", (gap[0], gap[1:]), 0.15)
    if where == "chain hard":
        report.within("levels", f"{where}: pass@1", covered[1], 0.02, 0.20)
        # what is wanted of 256 samples: fewer cover no more
        most = max(covered)
        report.at_least(
            "levels", f"{where}: pass@256, which is at least pass@{most}", covered[most], 0.70
        )
    if where == "countdown medium":
        one, many = pools.coverage(1), pools.coverage(64)
        ratio = by_cluster(
            lambda a, b: float(b.mean() / max(a.mean(), 1e-9)),
            [([a], [b]) for a, b in zip(one, many, strict=True)],
            np.random.default_rng(0),
            2000,
        )
        report.at_least("levels", f"{where}: pass@64 / pass@1", ratio, 5.0)


def verifiers(bench: Bench, report: Report) -> None:
    """How well the reward models and the judge tell right from wrong, and how sure they should be."""
    fresh = bench.problems("chain", "medium")
    _, pools = bench.samples("chain", "medium")
    rng = np.random.default_rng(0)
    table: dict[str, Any] = {}
    for head in ("fly-prm", "fly-orm"):
        clusters: list[tuple[list[float], list[float]]] = []
        rows = [row[:16] for row in pools.texts]
        found = _rewards(bench, head, fresh, rows)
        for p, row, scored in zip(fresh, rows, found, strict=True):
            scores, labels = list[float](), list[float]()
            for text, steps in zip(row, scored, strict=True):
                if head == "fly-prm":
                    right = family(p.family).step_labels(p, text)
                    scores += steps[: len(right)]
                    labels += map(float, right[: len(steps)])
                else:
                    scores.append(steps[-1])
                    labels.append(float(check(p, text)))
            clusters.append((scores, labels))
        table[head] = _quality(clusters, rng)
        what = "step" if head == "fly-prm" else "outcome"
        report.at_least("verifiers", f"{head}: {what} AUROC", table[head]["auroc"], 0.85)
        if head == "fly-prm":
            value, interval = table[head]["ece"]
            claim = Claim(
                "verifiers", f"{head}: step ECE", "<= 0.08", value, interval, value <= 0.08
            )
            report.claims.append(claim)
    report.tables["verifiers"] = table
    few = fresh[: min(len(fresh), 250)]
    for label, spec in (
        ("judge", "best_of_n(n=8, verifier=yes_no)"),
        # the dials that did best on dev
        (
            "judge, written check",
            "best_of_n(n=8, verifier=yes_no(check=true, n=4, temperature=1))",
        ),
    ):
        (judged,) = bench.run(label, [spec], few)
        clusters = []
        for p, a in zip(few, judged.answers, strict=True):
            values = next(iter(a.scores.values()))
            pairs = [
                (v, float(check(p, s.text)))
                for v, s in zip(values, a.candidates, strict=True)
                if np.isfinite(v)
            ]
            clusters.append(([v for v, _ in pairs], [y for _, y in pairs]))
        table[label] = _quality(clusters, rng)
        report.at_least("verifiers", f"{label}: AUROC", table[label]["auroc"], 0.75)


def _rewards(
    bench: Bench, model: str, problems: Sequence[TaskProblem], rows: Sequence[Sequence[str]]
) -> list[list[tuple[float, ...]]]:
    """The step scores of each text of each problem."""
    live: Any = build(model, "model").open()

    async def main() -> list[list[tuple[float, ...]]]:
        out = []
        for i, (problem, texts) in enumerate(zip(problems, rows, strict=True)):
            message = ({"role": "user", "content": problem.question},)
            out.append((await live.reward([Judged(message, t) for t in texts], None))[0])
            if bench.progress:
                bench.progress(model, i + 1, len(problems))
        return out

    return anyio.run(main)


def _quality(
    clusters: Sequence[tuple[Sequence[float], Sequence[float]]], rng: np.random.Generator
) -> dict[str, Any]:
    """How well scores rank and how far they are off, with intervals, and the reliability diagram."""
    return {
        "auroc": by_cluster(auroc, clusters, rng, 200),
        "ece": by_cluster(ece, clusters, rng, 200),
        "reliability": _reliability(clusters),
    }


def _reliability(clusters: Sequence[tuple[Sequence[float], Sequence[float]]]) -> list[list[float]]:
    """For ten bins of scores: mean score, share right, share of texts."""
    scores = np.concatenate([np.asarray(s) for s, _ in clusters])
    labels = np.concatenate([np.asarray(y) for _, y in clusters])
    place = np.minimum((scores * 10).astype(int), 9)
    return [
        [
            float(scores[place == b].mean()),
            float(labels[place == b].mean()),
            float((place == b).mean()),
        ]
        for b in range(10)
        if (place == b).any()
    ]


def selection(bench: Bench, report: Report) -> None:
    """Verifier above vote above one sample, at 16 samples on medium."""
    fresh = bench.problems("chain", "medium")
    (greedy, vote, best, weighted) = bench.run(
        "selection",
        [
            "greedy",
            "self_consistency(n=16)",
            "best_of_n(n=16, verifier=prm)",
            "best_of_n(n=16, verifier=prm, vote=weighted)",
        ],
        fresh,
    )
    one = Pools.of(vote, fresh).right.mean(axis=1)
    report.above(
        "selection", "medium: best_of_n(prm)@16 over vote@16", paired(best.right, vote.right)
    )
    report.above("selection", "medium: vote@16 over one sample", paired(vote.right, one))
    report.tables["selection"] = {
        "one sample": _mean(one),
        **{r.contender.label: (r.accuracy, r.interval()) for r in (greedy, vote, best, weighted)},
        "weighted over vote": paired(weighted.right, vote.right),
    }


def searching(bench: Bench, report: Report) -> None:
    """Search over best-of-n on hard problems, at the same completion tokens."""
    fresh = bench.problems("chain", "hard")
    specs = ["beam_search(n=16, prm=prm)", "particle_filter(n=16, prm=prm)"]
    found = bench.run("search", specs, fresh)
    (rough,) = bench.run("best of 16", ["best_of_n(n=16, verifier=prm)"], fresh)
    table: dict[str, Any] = {}
    for r in found:
        # best-of-n gets as many samples as the same tokens buy
        n = max(1, round(16 * float(r.tokens.mean() / rough.tokens.mean())))
        (base,) = bench.run("best of n", [f"best_of_n(n={n}, verifier=prm)"], fresh)
        gap = paired(r.right, base.right)
        name = r.contender.label.partition("(")[0]
        table[name] = {
            "accuracy": (r.accuracy, r.interval()),
            "tokens": float(r.tokens.mean()),
            "best_of_n": {
                "n": n,
                "accuracy": (base.accuracy, base.interval()),
                "tokens": float(base.tokens.mean()),
            },
            "gap": gap,
        }
        report.above("search", f"hard: {name}@16 over best_of_{n} at equal tokens", gap)
    report.tables["search"] = table


#: the dial that did best on dev
DIAL = 3


def thinking(bench: Bench, report: Report) -> None:
    """Thinking against answering at once, by the length that is asked for."""
    level = "easy"  # on dev, twelve steps are too many to think through
    fresh = bench.problems("chain", level)
    rows: dict[str, Any] = {}
    found: dict[str, Floats] = {}
    for think in (*range(MOST + 1), "free", None):
        spec = "fly" if think is None else f"fly(think={think})"
        (r,) = bench.run(f"{level}, think {think}", ["self_consistency(n=4)"], fresh, spec)
        pools = Pools.of(r, fresh)
        name = "steps" if think is None else str(think)
        found[name] = pools.right.mean(axis=1)
        rows[name] = {"accuracy": _mean(found[name]), "tokens": _amount(pools.tokens)}
    dials = [str(k) for k in range(MOST + 1)]
    best, last = str(DIAL), dials[-1]
    gap, beyond = paired(found[best], found["0"]), paired(found[last], found[best])
    cost = rows[best]["tokens"][0] / rows["0"]["tokens"][0]
    report.above(
        "thinking", f"{level}: dial {best} over answering at once, at {cost:.1f} x the tokens", gap
    )
    report.claims.append(
        Claim("thinking", f"{level}: past dial {best}, more length does not help (dial {last})",
              "gap not above 0", beyond[0], beyond[1:], beyond[1] <= 0)
    )  # fmt: skip
    told = [rows[k]["tokens"][0] for k in dials]
    rises = [a < b for a, b in pairwise(told)]
    report.claims.append(
        Claim("thinking", f"{level}: tokens rise with the dial", "at every step",
              float(sum(rises)), (0.0, float(MOST)), all(rises))
    )  # fmt: skip
    report.tables["thinking"] = {
        "level": level,
        "dials": rows,
        "best over direct": gap,
        "longest over best": beyond,
        "best over steps": paired(found[best], found["steps"]),
    }


def revising(bench: Bench, report: Report) -> None:
    """Showing fly its own attempt against asking again."""
    fresh = bench.problems("chain", "easy", 4 * bench.count)
    length = 4
    chains, votes = bench.run(
        "revision",
        [f"revision(n={length}, length={length})", f"self_consistency(n={length})"],
        fresh,
    )
    grown = [
        [check(p, s.text) for s in sorted(a.candidates, key=lambda s: s.node)]
        for p, a in zip(fresh, chains.answers, strict=True)
    ]
    missed = [i for i, row in enumerate(grown) if not row[0] and len(row) > 1]
    repaired = np.array([float(grown[i][1]) for i in missed])
    pools = Pools.of(votes, fresh)
    # the first sample is the attempt itself where both were drawn alike: it is not a fresh one
    sampled = pools.right[:, 1:].mean(axis=1)
    again = np.array([sampled[i] for i in missed])
    table: dict[str, Any] = {"problems": len(fresh), "wrong attempts": len(missed)}
    if missed:
        what = f"easy: repairing a wrong attempt over a fresh sample ({len(missed)} of them)"
        report.above("revision", what, paired(repaired, again))
        table |= {"repaired": _mean(repaired), "fresh": _mean(again)}
    second = np.array([float(row[1]) if len(row) > 1 else 0.0 for row in grown])
    two = pools.vote(2)
    pair, whole = paired(second, two), paired(chains.right, votes.right)
    report.above("revision", "easy: the second attempt over a vote of 2 at equal tokens", pair)
    report.above("revision", f"easy: revision({length}) over vote@{length} at equal tokens", whole)
    first_kept = np.array([float(row[1]) for row in grown if row[0] and len(row) > 1])
    report.tables["revision"] = table | {
        "right ones kept": _mean(first_kept),
        "by attempt": [
            _mean(np.array([float(row[t]) for row in grown if len(row) > t])) for t in range(length)
        ],
        "revision": (chains.accuracy, chains.interval(), float(chains.tokens.mean())),
        "vote": (votes.accuracy, votes.interval(), float(votes.tokens.mean())),
        "vote of 2": _mean(two),
        "second over vote@2": pair,
        "revision over vote": whole,
    }


def sizes(bench: Bench, report: Report) -> None:
    """Size against samples at equal FLOPs: coverage and votes of each member of the family."""
    table: dict[str, Any] = {}
    for name in ("fly-xs", "fly", "fly-l"):
        try:
            build(name, "model").open()
        except ValueError:
            continue
        r, pools = bench.samples("chain", "medium", name)
        each = float(r.flops.mean()) / pools.right.shape[1]
        table[name] = {
            "flops": each,
            "pass": {str(n): _mean(pools.coverage(n)) for n in _powers(64)},
            "vote": {str(n): _mean(pools.vote(n)) for n in _powers(64)},
        }
    report.tables["sizes"] = table


#: a perfect verifier, and what is done to it
FLAWS: dict[str, dict[str, float]] = {
    "perfect": {},
    "false positives .05": {"false_positives": 0.05},
    "false positives .2": {"false_positives": 0.2},
    "normal noise 3": {"noise": 3.0},
    "heavy tails": {"noise": 3.0, "tail": 1.0},
    "likes length": {"length_bias": 8.0, "noise": 1.0},
}


def flawed(bench: Bench, report: Report) -> None:
    """What best-of-n makes of verifiers that are wrong now and then, too sure, or fond of length."""
    fresh = bench.problems("chain", "medium")
    _, pools = bench.samples("chain", "medium")
    found: dict[str, dict[int, Floats]] = {}
    for name, dials in FLAWS.items():
        verifier = Flawed(Prm(), **dials)  # type: ignore[arg-type]
        scores = [
            [verifier.value(y, p.question, t) for y, t in zip(right, row, strict=True)]
            for p, right, row in zip(fresh, pools.right, pools.texts, strict=True)
        ]
        found[name] = {
            k: np.array([best_at_k(s, y, k) for s, y in zip(scores, pools.right, strict=True)])
            for k in _powers(64)
        }
    report.tables["flawed"] = {
        name: {str(k): _mean(v) for k, v in row.items()} for name, row in found.items()
    }
    covered = pools.coverage(64)
    report.above("flawed", "medium: coverage@64 over best of 64 with .2 false positives",
                 paired(covered, found["false positives .2"][64]))  # fmt: skip
    tails = found["heavy tails"]
    top = max(tails, key=lambda k: float(tails[k].mean()))
    report.above("flawed", f"medium: heavy tails, best of {top} over best of 64 (over-optimisation)",
                 paired(tails[top], tails[64]))  # fmt: skip


SECTIONS: dict[str, Callable[[Bench, Report], None]] = {
    "levels": levels,
    "verifiers": verifiers,
    "selection": selection,
    "search": searching,
    "thinking": thinking,
    "revision": revising,
    "sizes": sizes,
    "flawed": flawed,
}


def _shown(value: Any) -> str:
    """A value with its interval, as tables show it."""
    mean, (low, high) = value[0], value[1]
    return f"{mean:.3f} ({low:.3f} to {high:.3f})"


def markdown(found: dict[str, Any]) -> str:
    """The report as Markdown tables: the claims, then the coverage of every level, thinking, search."""
    lines = [
        f"{found['problems']} problems a level, {found['split']} split, seed {found['seed']}; "
        + ", ".join(found["models"].values()),
        "",
        "| claim | wanted | found (95 % interval) | |",
        "|---|---|---|---|",
    ]
    for c in found["claims"]:
        low, high = c["interval"]
        holds = "holds" if c["holds"] else "**does not hold**"
        lines.append(
            f"| {c['text']} | {c['wanted']} | {c['value']:.3f} ({low:.3f} to {high:.3f}) | {holds} |"
        )
    tables = found["tables"]
    if "levels" in tables:
        head = (
            "level",
            "dials",
            "pass@1",
            "pass@16",
            "vote@16",
            "most samples",
            "tokens",
            "false paths",
        )
        lines += ["", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for name, row in tables["levels"].items():
            dials = ", ".join(f"{d} {'/'.join(map(str, v))}" for d, v in row["dials"].items())
            last = list(row["pass"])[-1]
            lines.append(
                f"| {name} | {dials} | {_shown(row['pass']['1'])} | {row['pass']['16'][0]:.3f} | "
                f"{row['vote']['16'][0]:.3f} | pass@{last} {row['pass'][last][0]:.3f}, "
                f"vote@{last} {row['vote'][last][0]:.3f} | {row['tokens']:.0f} | {row['false_paths']:.3f} |"
            )
    if "thinking" in tables:
        level = tables["thinking"]["level"]
        lines += ["", f"| dial | {level}: one sample | completion tokens |", "|---|---|---|"]
        for name, row in tables["thinking"]["dials"].items():
            lines.append(f"| {name} | {_shown(row['accuracy'])} | {row['tokens'][0]:.0f} |")
    return "\n".join(lines) + "\n"


def make_report(
    out: Path,
    problems: int = 500,
    split: str = "test",
    seed: int = 0,
    sections: Sequence[str] = (),
    progress: Progress | None = None,
) -> Report:
    """Measure the sections (all unless told) and write ``report.json``, ``.md`` and ``.png`` to ``out``."""
    from outthink.train.picture import draw_report

    out.mkdir(parents=True, exist_ok=True)
    report = Report(problems, split, seed)
    for name in ("fly", "fly-prm", "fly-xs"):
        try:
            report.models[name] = build(name, "model").open().name
        except ValueError:
            continue
    bench = Bench(out, problems, split, seed, progress)
    for name in sections or SECTIONS:
        SECTIONS[name](bench, report)
        text = json.dumps(report.to_json(), indent=1)
        (out / "report.json").write_text(text + "\n", encoding="utf-8")
    (out / "report.md").write_text(markdown(report.to_json()), encoding="utf-8")
    draw_report(report.to_json(), out / "report.png")
    return report
