"""S084, RPC (arXiv 2510.15444 and 2502.00511): the model's own probabilities in place of counts.

Two kinds of trial:

- simulation of the theory: problems of twelve paths with Dirichlet(0.8) probabilities that lead to three
  answers.  The confidence in an answer is estimated by counting (self-consistency) and by adding up the
  probabilities of the different paths that were seen (perplexity consistency).  Theory: the squared error
  falls as 1/n, and exponentially;
- live on fly: random subsets of 32 samples a problem.  RPC with half of the samples against a vote with
  all, at equal samples, its calibration (error over ten bins, as in the released code), and the control:
  the probabilities dealt out anew among the paths.  Each with the mean log-probability of a token, which
  the released code uses, and with the sum, which the theory is about.

Not tried: the seven math and code benchmarks of the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.pools import Pools
from outthink.lab.stats import Estimate
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, cell, difference, mean_line
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above, agrees, below
from outthink.select.calibration import ece
from outthink.select.likelihood import path_weights
from outthink.select.vote import elect, support
from outthink.tasks import problems as problems_of
from outthink.tasks.base import TaskProblem
from outthink.train.evaluate import Result

PAPER = "arXiv 2510.15444, abstract"
MADE = "simulation: 400 problems of 12 paths and 3 answers, 1,000 draws each"
FLY = "live: fly on chain medium, 120 test problems x 32 samples, 20 random subsets"
SIZES = (4, 8, 16, 32, 64, 128, 256)
PATHS, ANSWERS = 12, 3
#: the least squared error that so few draws can show
LEAST = 1e-12
NAMES = {"mean": "mean log-probability", "sum": "log-probability of the text"}


def _live(path: str) -> dict[str, Claim]:
    told = f"RPC by the {NAMES[path]}"
    return {
        f"half {path}": Claim(
            text="RPC needs half the samples of self-consistency",
            published="half (abstract)",
            source=PAPER,
            setting=FLY,
            statistic=f"{told}, 16 samples, minus a vote of 32, paired",
            rule=above(-0.01),
        ),
        f"equal {path}": Claim(
            text="RPC is more accurate than self-consistency at equal samples",
            published="no figure",
            source=PAPER,
            setting=FLY,
            statistic=f"{told}, 16 samples, minus a vote of 16, paired",
            rule=above(0),
        ),
        f"calibrated {path}": Claim(
            text="RPC's confidence is better calibrated",
            published="no figure",
            source=PAPER,
            setting=FLY,
            statistic=f"calibration error of {told} minus that of a vote, 16 samples",
            rule=below(0),
        ),
        f"shuffled {path}": Claim(
            text="The probabilities carry information: dealt out anew they are worth less",
            published="control",
            source=PAPER,
            setting=FLY,
            statistic=f"{told} minus the same with shuffled probabilities, 16 samples, paired",
            rule=above(0),
        ),
    }


CLAIMS = {
    "vote": Claim(
        text="The error of self-consistency's confidence falls as 1/n",
        published="slope -1",
        source="arXiv 2510.15444, section 2",
        setting=MADE,
        statistic="slope of log squared error on log n, 16 to 256 samples, mean of problems",
        rule=agrees(-1, 0.1),
    ),
    "slope": Claim(
        text="The error of perplexity consistency falls faster than any vote's",
        published="exponential",
        source="arXiv 2510.15444, section 3",
        setting=MADE,
        statistic="slope of log squared error on log n, 16 to 64 samples, mean of problems",
        rule=below(-1.5),
    ),
    "steepens": Claim(
        text="It falls exponentially: the slope steepens, as no power law's does",
        published="exponential",
        source="arXiv 2510.15444, section 3",
        setting=MADE,
        statistic="its slope from 32 to 64 samples minus that from 16 to 32, mean of problems",
        rule=below(-0.2),
    ),
    **_live("mean"),
    **_live("sum"),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems, samples and draws."""
    rng = trial.rng()
    counted, summed = errors(rng, *((20, 400) if trial.quick else (400, 1000)))
    log_v, log_c = np.log(np.maximum(counted, LEAST)), np.log(np.maximum(summed, LEAST))
    at = {n: i for i, n in enumerate(SIZES)}

    def slope(logs: Floats, low: int, high: int) -> Floats:
        return np.asarray((logs[:, at[high]] - logs[:, at[low]]) / np.log(high / low))

    nothing = np.zeros(len(log_v))
    measured = {
        "vote": difference(slope(log_v, 16, 256), nothing),
        "slope": difference(slope(log_c, 16, 64), nothing),
        "steepens": difference(slope(log_c, 32, 64), slope(log_c, 16, 32)),
    }
    split, count, n = ("dev", 8, 8) if trial.quick else ("test", 120, 32)
    problems = problems_of("chain", "medium", split, count, trial.seed)
    (drawn,) = trial.run("fly", [f"rpc(n={n})"], problems)
    found, draws = columns(drawn, problems), 4 if trial.quick else 20
    half, full = (subsets(found, m, draws, rng) for m in (n // 2, n))
    for path in NAMES:
        ours, vote = half[f"rpc {path}"], half["vote"]
        measured |= {
            f"half {path}": difference(ours.accuracy, full["vote"].accuracy),
            f"equal {path}": difference(ours.accuracy, vote.accuracy),
            f"calibrated {path}": _calibration(ours, vote, rng, trial.draws),
            f"shuffled {path}": difference(ours.accuracy, half[f"shuffled {path}"].accuracy),
        }
    lines = [
        Line(label, list(SIZES), np.exp(np.log(np.maximum(v, LEAST)).mean(axis=0)).tolist())
        for label, v in (("vote", counted), ("probabilities of distinct paths", summed))
    ]
    shown = {n // 2: half, n: full}
    panels = (
        Panel("Squared error of the confidence", "samples", "geometric mean", lines, log_y=True),
        Panel("fly, chain medium", "samples", "accuracy", _lines(shown)),
    )
    tables: dict[str, list[dict[str, object]]] = {
        "simulation": [
            {"samples": k, "vote": float(v), "probabilities": float(c)}
            for k, v, c in zip(SIZES, counted.mean(axis=0), summed.mean(axis=0), strict=True)
        ],
        "live": [_row(name, m, rule) for m, some in shown.items() for name, rule in some.items()],
    }
    texts = [len({s.text for s in a.candidates}) for a in drawn.answers]
    note = f"Of {n} samples of a problem on fly {np.mean(texts):.1f} are different texts."
    return Findings(measured, tables, panels, [note])


def errors(rng: np.random.Generator, problems: int, draws: int) -> tuple[Floats, Floats]:
    """Mean squared errors of the confidences in the three answers, ``(problems, sizes)`` each.

    Of counting, p^(a) = N_a / n, and of adding up, p^(a) = sum over the seen paths t of a of p(t).
    """
    p = rng.dirichlet(np.full(PATHS, 0.8), problems)
    leads = (np.arange(PATHS)[:, None] % ANSWERS == np.arange(ANSWERS)).astype(np.float64)
    truth = (p @ leads)[:, None]
    counted, summed = list[Floats](), list[Floats]()
    for n in SIZES:
        times = np.stack([rng.multinomial(n, row, draws) for row in p])
        for out, guess in (
            (counted, times @ leads / n),
            (summed, np.where(times > 0, p[:, None], 0.0) @ leads),
        ):
            out.append(((guess - truth) ** 2).mean(axis=(1, 2)))
    return np.stack(counted, axis=1), np.stack(summed, axis=1)


@dataclass(frozen=True)
class Decided:
    """What a rule came to: was it right, and how sure was it?  ``(problems, subsets)`` each."""

    right: Floats
    confidence: Floats

    @property
    def accuracy(self) -> Floats:
        """The share of subsets in which each problem was answered rightly, ``(problems,)``."""
        return np.asarray(self.right.mean(axis=1))

    def ece(self, rows: Ints | slice = slice(None)) -> float:
        """The calibration error over these problems, ten bins."""
        return ece(self.confidence[rows].ravel(), self.right[rows].ravel(), bins=10)


def columns(drawn: Result, problems: Sequence[TaskProblem]) -> Pools:
    """The samples with a number for each text, and log p(t) as sum and as mean."""
    found = pools(drawn, problems)
    scores = {name: np.empty(found.right.shape) for name in ("text", *NAMES)}
    for i, answer in enumerate(drawn.answers):
        known: dict[str, int] = {}
        for j, sample in enumerate(answer.candidates[: found.right.shape[1]]):
            scores["text"][i, j] = known.setdefault(sample.text, len(known))
            scores["sum"][i, j] = sample.total_logprob
            scores["mean"][i, j] = scores["sum"][i, j] / max(sample.total_tokens, 1)
    return replace(found, scores=scores)


def subsets(found: Pools, size: int, draws: int, rng: np.random.Generator) -> dict[str, Decided]:
    """Each rule on ``draws`` random subsets of ``size`` samples of every problem."""
    rows: dict[str, list[tuple[Floats, Floats]]] = {}
    for i in range(len(found)):
        n = found.classes.shape[1]
        at = rng.permuted(np.tile(np.arange(n), (draws, 1)), axis=1)[:, :size]
        c, right = found.classes[i][at].astype(np.int64), found.right[i][at]
        texts = found.scores["text"][i][at].astype(np.int64)
        weights = {"vote": np.ones(c.shape)}
        for path in NAMES:
            column = found.scores[path][i]
            logp = column[at]
            # the control deals the probabilities out among the different texts
            _, first = np.unique(found.scores["text"][i], return_index=True)
            dealt = rng.permuted(np.tile(column[first], (draws, 1)), axis=1)
            weights |= {
                f"rpc {path}": path_weights(c, logp, texts),
                f"pc {path}": path_weights(c, logp, texts, prune=False),
                f"shuffled {path}": path_weights(c, np.take_along_axis(dealt, texts, 1), texts),
                f"ppl {path}": _alone(np.where(c >= 0, logp, -np.inf)),
            }
        for name, w in weights.items():
            strength = support(c, w)
            place = elect(strength, c)[:, None]
            share = np.take_along_axis(strength, place, axis=1) / w.sum(axis=1, keepdims=True)
            hit = np.take_along_axis(right, place, axis=1).astype(np.float64)
            rows.setdefault(name, []).append((hit[:, 0], np.minimum(share[:, 0], 1.0)))
    return {
        name: Decided(np.stack([r for r, _ in some]), np.stack([c for _, c in some]))
        for name, some in rows.items()
    }


def _calibration(a: Decided, b: Decided, rng: np.random.Generator, draws: int) -> Estimate:
    """The calibration error of ``a`` minus that of ``b``, over the same problems."""
    return bootstrap(lambda rows: a.ece(rows) - b.ece(rows), len(a.right), rng, draws)[0]


def _alone(logp: Floats) -> Floats:
    """The weights that choose the single most probable path of each row."""
    return np.asarray(logp == logp.max(axis=1, keepdims=True), dtype=np.float64)


def _row(name: str, samples: int, rule: Decided) -> dict[str, object]:
    shares = rule.accuracy
    accuracy = cell(shares)
    return {"rule": name, "samples": samples, "accuracy": accuracy, "ece": rule.ece()}


def _lines(shown: Mapping[int, Mapping[str, Decided]]) -> list[Line]:
    names = [name for name in next(iter(shown.values())) if not name.startswith("shuffled")]
    out = []
    for name in names:
        rows = [some[name].accuracy for some in shown.values()]
        out.append(mean_line(name, list(shown), rows))
    return out


REPRODUCTION = Reproduction(
    "S084", CLAIMS, measure,
    full=Cost(calls=120, tokens=350_000, seconds=180),
    quick=Cost(calls=8, tokens=6_000, seconds=6),
)  # fmt: skip
