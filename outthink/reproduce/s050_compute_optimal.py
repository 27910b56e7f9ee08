"""S050, compute-optimal scaling (arXiv 2408.03314): what to do with a budget depends on the difficulty.

The paper's claims, tried live on fly, on easy, medium and hard problems of ``chain``:

- easy problems are best spent on revising one answer after another, hard ones on a mixture of revising
  and trying afresh;
- search against a process reward model beats best-of-n on hard problems, and not on easy ones;
- choosing by difficulty beats best-of-n at an equal budget, and matches it with a quarter.

Difficulty is, as in the paper, measured: the share of right samples, of samples that nothing else uses
and that no budget is charged for (the paper's oracle bins; three here).  The choice by difficulty is
made on one half of the problems and reported on the other, both ways round.  A budget is a number of
generations, as in the paper; revisions also read the attempts before them.

The claim that the choice by difficulty beats a single one was added after a first run, in which the
choice gained over best-of-n by being the same search in every third.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.laws.sequential import SequentialLaw, fit_sequential
from outthink.reproduce._subsets import curve, scores_of
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import cell, difference, mean_line
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above
from outthink.tasks import problems as problems_of

PAPER, RATIO, SEARCH = (
    "arXiv 2408.03314, abstract", "arXiv 2408.03314, figure 7", "arXiv 2408.03314, figure 3"
)  # fmt: skip
FLY = "live: fly, 60 test problems each of chain easy, medium and hard"
EASY, HARD = f"{FLY}, the easiest third", f"{FLY}, the hardest third"
#: generations of a budget, and how many times it is compared with
BUDGET, TIMES = 4, 4
BINS = 3

CLAIMS = {
    "revise easy": Claim(
        text="Easy problems are best revised: one chain beats parallel samples",
        published="no figure (the best ratio is fully sequential)",
        source=RATIO,
        setting=EASY,
        statistic="revision(n=4, length=4) minus vote of 4, by majority, paired",
        rule=above(0),
    ),
    "mix hard": Claim(
        text="Hard problems want a mixture: two chains beat one",
        published="no figure (the best ratio lies between)",
        source=RATIO,
        setting=HARD,
        statistic="revision(n=4, length=2) minus revision(n=4, length=4), by majority, paired",
        rule=above(0),
    ),
    "search hard": Claim(
        text="Hard problems are best searched: beam search beats best-of-n",
        published="no figure",
        source=SEARCH,
        setting=HARD,
        statistic="beam_search(n=4) minus weighted best of 4, fly-prm, paired",
        rule=above(0),
    ),
    "sample easy": Claim(
        text="Easy problems are not: best-of-n beats beam search",
        published="no figure",
        source=SEARCH,
        setting=EASY,
        statistic="weighted best of 4 minus beam_search(n=4), fly-prm, paired",
        rule=above(0),
    ),
    "optimal": Claim(
        text="The strategy that is best by difficulty beats best-of-n at an equal budget",
        published="more than 4x as efficient",
        source=PAPER,
        setting=FLY,
        statistic="choice by thirds of difficulty at 4 generations (cross-fitted) minus weighted best "
        "of 4, paired",
        rule=above(0),
    ),
    "adaptive": Claim(
        text="Choosing by difficulty beats the one strategy that is best for all",
        published="no figure (which is best varies with the difficulty)",
        source=PAPER,
        setting=FLY,
        statistic="choice by thirds of difficulty at 4 generations minus the best single choice, both "
        "cross-fitted, paired",
        rule=above(0),
    ),
    "quarter": Claim(
        text="It matches best-of-n with a quarter of the budget, within two points",
        published="4x: 16 against 64 generations",
        source=PAPER,
        setting=FLY,
        statistic="choice by thirds of difficulty at 4 generations (cross-fitted) minus weighted best "
        "of 16, paired",
        rule=above(-0.02),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes a few easy problems."""
    quick = trial.quick
    levels, split, count = (
        (("easy",), "dev", 6) if quick else (("easy", "medium", "hard"), "test", 60)
    )
    # samples that are compared, and samples that say how hard a problem is
    wide, apart = BUDGET * TIMES, 4 if quick else 8
    columns: dict[str, list[Floats]] = {}
    tokens: dict[str, list[Floats]] = {}
    pass1: list[Floats] = []
    for level in levels:
        problems = problems_of("chain", level, split, count, trial.seed)
        some = trial.run(f"{level}: samples", [f"self_consistency(n={wide + apart})"], problems)
        every = pools(some[0], problems)
        pass1.append(every.right[:, wide:].mean(axis=1))
        best, two, four, two_rated, four_rated, beam = trial.run(
            level,
            [
                f"best_of_n(n={wide}, verifier=prm, vote=weighted)",
                f"revision(n={BUDGET}, length=2)",
                f"revision(n={BUDGET}, length={BUDGET})",
                f"revision(n={BUDGET}, length=2, verifier=prm)",
                f"revision(n={BUDGET}, length={BUDGET}, verifier=prm)",
                f"beam_search(n={BUDGET}, prm=prm)",
            ],
            problems,
        )
        found = pools(best, problems)
        weighted = curve(found, "weighted", [BUDGET, wide], scores_of(best, wide), trial.rng())
        each = found.tokens.mean(axis=1)
        by_vote = {
            "vote": (curve(found, "vote", [BUDGET])[:, 0], BUDGET * each),
            "2 chains of 2": (curve(pools(two, problems), "vote", [BUDGET])[:, 0], two.tokens),
            "1 chain of 4": (curve(pools(four, problems), "vote", [BUDGET])[:, 0], four.tokens),
        }
        by_prm = {
            "best of n": (weighted[:, 0], BUDGET * each),
            "2 chains of 2 (prm)": (two_rated.right, two_rated.tokens),
            "1 chain of 4 (prm)": (four_rated.right, four_rated.tokens),
            "beam search": (beam.right, beam.tokens),
            f"best of {wide}": (weighted[:, 1], wide * each),
        }
        for name, (right, spent) in (by_vote | by_prm).items():
            columns.setdefault(name, []).append(right)
            tokens.setdefault(name, []).append(spent)
    table = {name: np.concatenate(parts) for name, parts in columns.items()}
    spent = {name: np.concatenate(parts) for name, parts in tokens.items()}
    votes = ("vote", "2 chains of 2", "1 chain of 4")
    law = fit_sequential(
        np.stack([table[name] for name in votes], axis=1), [1, 2, 4], [4, 2, 1],
        np.concatenate(pass1), BINS, trial.draws, trial.seed,
    )  # fmt: skip
    easy, hard = law.bins == 0, law.bins == BINS - 1
    arms = ("best of n", "2 chains of 2 (prm)", "1 chain of 4 (prm)", "beam search")
    choices = {name: table[name] for name in arms}
    policy = by_difficulty(choices, law.bins)
    single = by_difficulty(choices, np.zeros_like(law.bins))

    def gap(a: str, b: str, some: Any) -> Any:
        return difference(table[a][some], table[b][some])

    measured = {
        "revise easy": gap("1 chain of 4", "vote", easy),
        "mix hard": gap("2 chains of 2", "1 chain of 4", hard),
        "search hard": gap("beam search", "best of n", hard),
        "sample easy": gap("best of n", "beam search", easy),
        "optimal": difference(policy, table["best of n"]),
        "adaptive": difference(policy, single),
        "quarter": difference(policy, table[f"best of {wide}"]),
    }
    table |= {"by difficulty": policy, "best single": single}
    rows = [_row(name, right, law.bins, spent.get(name)) for name, right in table.items()]
    return Findings(
        measured, {"strategies": rows}, _panels(law, table, arms), _notes(law, table, arms)
    )


def by_difficulty(columns: Mapping[str, Floats], bins: Ints) -> Floats:
    """Each problem's success with the arm that is best, in its bin, on the other half: ``(problems,)``.

    Halves are every other problem; an arm wins a tie by coming first.
    """
    names = list(columns)
    values = np.stack([columns[name] for name in names])
    out = np.empty(values.shape[1])
    half = np.arange(values.shape[1]) % 2 == 0
    for mine in (half, ~half):
        for b in np.unique(bins[mine]):
            there = ~mine & (bins == b)
            others = values[:, there] if there.any() else values[:, ~mine]
            best = int(others.mean(axis=1).argmax())
            out[mine & (bins == b)] = values[best, mine & (bins == b)]
    return out


def _row(what: str, right: Floats, bins: Ints, spent: Floats | None) -> dict[str, Any]:
    row: dict[str, Any] = {"what": what, "accuracy": cell(right)}
    for b in range(BINS):
        row[f"bin {b + 1}"] = float(right[bins == b].mean())
    row["tokens"] = None if spent is None else float(spent.mean())
    return row


def _notes(law: SequentialLaw, table: Mapping[str, Floats], arms: Sequence[str]) -> list[str]:
    ratios = ", ".join(
        f"{name} {found.value:g}:1 ({found.low:g} to {found.high:g})"
        for name, found in law.parameters.items()
        if name != "gain"
    )
    gain = law.gain
    wide = table[f"best of {BUDGET * TIMES}"]
    ceiling = [f"bin {b + 1} {wide[law.bins == b].mean():.3f}" for b in range(BINS)]
    return [
        f"Best ratio of attempts in sequence to chains, by majority, bin 1 the easiest: {ratios}. "
        f"Choosing it by bin gains {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) over one "
        "ratio for all.",
        f"At {BUDGET} generations the best in each bin, seen afterwards: {_winners(law, table, arms)}.",
        f"Weighted best of {BUDGET * TIMES} has {', '.join(ceiling)}: what is left to gain.",
    ]


def _winners(law: SequentialLaw, table: Mapping[str, Floats], arms: Sequence[str]) -> str:
    """The best arms of each bin; several where they are level."""
    told = []
    for b in range(BINS):
        means = {name: float(table[name][law.bins == b].mean()) for name in arms}
        best = [name for name, value in means.items() if value > max(means.values()) - 1e-9]
        told.append(f"bin {b + 1} {' and '.join(best)}")
    return "; ".join(told)


def _panels(
    law: SequentialLaw, table: Mapping[str, Floats], arms: Sequence[str]
) -> tuple[Panel, Panel]:
    def line(label: str, right: Floats, by: Floats) -> Line:
        inside = [right[law.bins == b] for b in range(BINS)]
        return mean_line(label, by.tolist(), inside)

    bins = np.arange(1.0, BINS + 1)
    ratio = Panel(
        f"{law.budget} generations, by majority", "attempts in sequence to chains", "accuracy",
        tuple(
            Line(f"bin {b + 1}", law.ratios.tolist(), law.table[b].tolist()) for b in range(BINS)
        ),
    )  # fmt: skip
    strategies = Panel(
        f"{law.budget} generations, by fly-prm", "difficulty (bin 1 the easiest)", "accuracy",
        tuple(line(name, table[name], bins) for name in (*arms, "by difficulty")),
        log=False,
    )  # fmt: skip
    return ratio, strategies


REPRODUCTION = Reproduction(
    "S050", CLAIMS, measure,
    full=Cost(calls=7_600, tokens=820_000, seconds=400),
    quick=Cost(calls=200, tokens=12_000, seconds=5),
)  # fmt: skip
