"""S042, Examining False Positives under Inference Scaling (arXiv 2502.06217): right answers, wrong paths.

People read the derivations of answers that an automatic check had passed: of those of Qwen2.5-72B on AIME
a fifth is wrong, whatever chooses among its samples, and of what pass@64 counts a third.  Here fly's lines
are checked by rule (``outthink.tasks.paths``): a text is right by its path where its answer and every line
of it are.  Two families with unlike ways to be right by luck:

- chain: two mistakes that cancel, or a line that is left out; fly's reward models know it;
- lookup: a name that is one of few, by a wrong hop; guessed more often the harder it is.

The published rates were counted from the labels in the paper's repository (its figures show them).  Not
here: detecting false positives by a model, and Monte Carlo tree search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.stats import Estimate
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, difference
from outthink.reproduce.rules import above
from outthink.tasks import check
from outthink.tasks import problems as problems_of
from outthink.tasks.base import TaskProblem
from outthink.tasks.paths import by_path, covered, false_positive_rate
from outthink.train.evaluate import Result

LABELS = "labels in the repository of arXiv 2502.06217"
LOOKUP = "live: fly on lookup easy, 200 test problems x 16 samples"
CHAIN = "live: fly on chain hard, 80 test problems x 8 samples"
PASS = (
    "Qwen2.5-72B on AIME, right by answer -> by path: 21 -> 19 at 4, 37 -> 29 at 16, 48 -> 31 at 64"
)
GROWS = "gap of pass@{n} by answer and by path minus that of pass@1, paired"
#: how much lower a rate may be and still count as no less
SLACK = 0.05

CLAIMS = {
    "gap, lookup": Claim(
        text="The gap between pass@N by answer and by path grows with N",
        published=PASS,
        source=LABELS,
        setting=LOOKUP,
        statistic=GROWS.format(n=16),
        rule=above(0),
    ),
    "gap, chain": Claim(
        text="The gap between pass@N by answer and by path grows with N",
        published=PASS,
        source=LABELS,
        setting=CHAIN,
        statistic=GROWS.format(n=8),
        rule=above(0),
    ),
    "vote": Claim(
        text="A vote has false positives no less often than a sample",
        published="weighted vote: Llama-70B .542 of 4, .481 of 256; Qwen2.5-72B .143 and .042",
        source=LABELS,
        setting=LOOKUP,
        statistic="false-positive rate of the vote of 16 minus that of one sample",
        rule=above(-SLACK),
    ),
    "best of n": Claim(
        text="Best-of-n has false positives no less often than a sample",
        published="Llama-70B .560 of 4, .464 of 256; Qwen2.5-72B .143 and .188",
        source=LABELS,
        setting=CHAIN,
        statistic="false-positive rate of best of 8 by fly-orm minus that of one sample",
        rule=above(-SLACK),
    ),
    "search": Claim(
        text="A search by a process reward model has false positives no less often than a sample",
        published="Llama-8B, DVTS: .114 of 4, .113 of 256",
        source=LABELS,
        setting=CHAIN,
        statistic="false-positive rate of beam_search(n=8, prm=prm) minus that of one sample",
        rule=above(-SLACK),
    ),
    "pass, lookup": Claim(
        text="Of all figures pass@N counts most false positives",
        published="Qwen2.5-72B on AIME at 64: pass@N .354, best-of-n .138, weighted vote .045",
        source=LABELS,
        setting=LOOKUP,
        statistic="false-positive rate of pass@16 minus that of the vote of 16",
        rule=above(0),
    ),
    "pass, chain": Claim(
        text="Of all figures pass@N counts most false positives",
        published="Qwen2.5-72B on AIME at 64: pass@N .354, best-of-n .138, weighted vote .045",
        source=LABELS,
        setting=CHAIN,
        statistic="false-positive rate of pass@8 minus that of best of 8 by fly-orm",
        rule=above(0),
    ),
    "difficulty, lookup": Claim(
        text="Harder problems have more false positives",
        published="Qwen2.5-72B, best of 256: MATH .044, AIME .188, OmniMATH .294",
        source=LABELS,
        setting="live: fly on lookup, 200 easy and 100 medium test problems x 16 samples",
        statistic="false-positive rate of a sample, medium minus easy",
        rule=above(0),
    ),
    "difficulty, chain": Claim(
        text="Harder problems have more false positives",
        published="Qwen2.5-72B, best of 256: MATH .044, AIME .188, OmniMATH .294",
        source=LABELS,
        setting="live: fly on chain, 80 hard and 80 easy test problems x 8 samples",
        statistic="false-positive rate of a sample, hard minus easy",
        rule=above(0),
    ),
}


@dataclass(frozen=True)
class Graded:
    """Labels by answer and by path: of samples ``(problems, samples)``, and of the text that each method
    gives ``(problems,)``."""

    answer: Floats
    path: Floats
    chosen: dict[str, tuple[Floats, Floats]]

    def sample(self, at: Ints) -> float:
        """The false-positive rate of a sample."""
        return false_positive_rate(self.answer[at], self.path[at])

    def method(self, name: str, at: Ints) -> float:
        """The false-positive rate of what a method gives."""
        answer, path = self.chosen[name]
        return false_positive_rate(answer[at], path[at])

    def passing(self, k: int, at: Ints) -> float:
        """The false-positive rate of what pass@k counts."""
        return false_positive_rate(covered(self.answer, k)[at], covered(self.path, k)[at])

    def gap(self, k: int) -> Floats:
        """pass@k by answer minus by path, ``(problems,)``."""
        return covered(self.answer, k) - covered(self.path, k)


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems and samples."""
    quick = trial.quick
    few, wide, narrow = (8, 4, 2) if quick else (80, 16, 8)
    split = "dev" if quick else "test"
    names = {
        "lookup easy": ("lookup", "easy", 12 if quick else 200, [f"self_consistency(n={wide})"]),
        "lookup medium": ("lookup", "medium", 8 if quick else 100, [f"self_consistency(n={wide})"]),
        "chain easy": ("chain", "easy", few, [f"self_consistency(n={narrow})"]),
        "chain hard": (
            "chain",
            "medium" if quick else "hard",
            few,
            [
                f"self_consistency(n={narrow})",
                f"best_of_n(n={narrow}, verifier=orm)",
                f"best_of_n(n={narrow}, verifier=prm)",
                f"beam_search(n={narrow}, prm=prm)",
            ],
        ),
    }
    found: dict[str, Graded] = {}
    for label, (family, level, count, specs) in names.items():
        problems = problems_of(family, level, split, count, trial.seed)
        found[label] = graded(trial.run(label, specs, problems), problems)
    easy, hard = found["lookup easy"], found["chain hard"]
    _, best, _, search = hard.chosen
    (voted,) = easy.chosen

    def gap(of: Callable[[Ints], float], minus: Callable[[Ints], float], count: int) -> Estimate:
        return bootstrap(lambda at: of(at) - minus(at), count, trial.rng(), trial.draws)[0]

    def harder(hard: Graded, easy: Graded) -> Estimate:
        a, b = (_draws(g, trial) for g in (hard, easy))
        low, high = np.nanquantile(a[1:] - b[1:], (0.025, 0.975))
        return Estimate(float(a[0] - b[0]), float(low), float(high))

    n_easy, n_hard = len(easy.answer), len(hard.answer)
    measured = {
        "gap, lookup": difference(easy.gap(wide), easy.gap(1)),
        "gap, chain": difference(hard.gap(narrow), hard.gap(1)),
        "vote": gap(lambda at: easy.method(voted, at), easy.sample, n_easy),
        "best of n": gap(lambda at: hard.method(best, at), hard.sample, n_hard),
        "search": gap(lambda at: hard.method(search, at), hard.sample, n_hard),
        "pass, lookup": gap(
            lambda at: easy.passing(wide, at), lambda at: easy.method(voted, at), n_easy
        ),
        "pass, chain": gap(
            lambda at: hard.passing(narrow, at), lambda at: hard.method(best, at), n_hard
        ),
        "difficulty, lookup": harder(found["lookup medium"], easy),
        "difficulty, chain": harder(hard, found["chain easy"]),
    }
    panels = [
        _panel(label, found[label]) for label in ("lookup easy", "lookup medium", "chain hard")
    ]
    rows = [row for label, some in found.items() for row in _rows(label, some)]
    return Findings(measured, {"rates": rows}, panels)


def graded(results: Sequence[Result], problems: Sequence[TaskProblem]) -> Graded:
    """The samples of the first result, and what each result gives, by answer and by path."""

    def labels(texts: Sequence[Sequence[str]], judge: Callable[[Any, str], bool]) -> Floats:
        return np.array(
            [[judge(p, t) for t in row] for p, row in zip(problems, texts, strict=True)],
            dtype=float,
        )

    drawn = [[s.text for s in answer.candidates] for answer in results[0].answers]
    chosen = {}
    for result in results:
        given = [[answer.text] for answer in result.answers]
        chosen[result.contender.strategy] = (
            labels(given, check)[:, 0],
            labels(given, by_path)[:, 0],
        )
    return Graded(labels(drawn, check), labels(drawn, by_path), chosen)


def _draws(some: Graded, trial: Trial) -> Floats:
    """The rate of a sample, and of problems drawn again with replacement."""
    n, rng = len(some.answer), trial.rng()
    drawn = [some.sample(rng.integers(0, n, n)) for _ in range(trial.draws)]
    return np.array([some.sample(np.arange(n)), *drawn])


def _sizes(some: Graded) -> list[int]:
    n = some.answer.shape[1]
    return [2**i for i in range(n.bit_length()) if 2**i <= n]


def _rows(label: str, some: Graded) -> list[dict[str, Any]]:
    """What is counted by answer and by path: a sample, pass@k, and each method."""
    at = np.arange(len(some.answer))
    rows = [
        _row(label, f"pass@{k}", covered(some.answer, k), covered(some.path, k))
        for k in _sizes(some)
    ]
    return rows + [_row(label, name, a[at], p[at]) for name, (a, p) in some.chosen.items()]


def _row(label: str, what: str, answer: Floats, path: Floats) -> dict[str, Any]:
    return {
        "problems": label, "what": what, "by answer": float(answer.mean()),
        "by path": float(path.mean()), "rate": false_positive_rate(answer, path),
    }  # fmt: skip


def _panel(label: str, some: Graded) -> Panel:
    sizes = _sizes(some)
    lines = [
        Line(f"pass@N by {name}", sizes, [float(covered(labels, k).mean()) for k in sizes])
        for name, labels in (("answer", some.answer), ("path", some.path))
    ]
    return Panel(f"fly, {label}", "samples", "share of problems", lines)


REPRODUCTION = Reproduction(
    "S042", CLAIMS, measure,
    full=Cost(calls=9_000, tokens=290_000, seconds=180),
    quick=Cost(calls=300, tokens=5_000, seconds=6),
)  # fmt: skip
