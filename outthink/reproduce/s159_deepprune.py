"""S159, DeepPrune (arXiv 2510.08483): is a judge of openings worth its price?

The paper groups 512 openings by a fine-tuned judge of pairs, finishes ten traces of the largest group,
and keeps the accuracy of the vote with a fraction of the tokens.  Ten traces at random do that nearly
as well, so what decides is a plain vote over random traces at equal tokens.  Here:

- simulation: 64 traces of 12,000 tokens, openings of 500, a judge of the published AUROC; its tokens
  (two openings a pair) left out, as in the paper, and counted;
- fly, live: a judge fitted to openings of other questions (dev), and what it adds on test problems;
- recorded: how many samples a vote needs (letters of names, 40 samples of each question).

Not tried: the language-model judge itself, its focal loss, reasoning models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats, Ints
from outthink.core.registry import build
from outthink.lab.pools import Pools
from outthink.lab.stats import Estimate
from outthink.reproduce._subsets import at, curve
from outthink.reproduce._votes import vote_credit
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import cell, difference
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above, agrees, between
from outthink.select.calibration import auroc, by_cluster
from outthink.select.cluster import greedy_clusters, to_finish
from outthink.select.pairs import NAMES, features, fit_pairs
from outthink.tasks import problems as problems_of
from outthink.train.evaluate import Result

Bools = npt.NDArray[np.bool_]
PAPER = "arXiv 2510.08483v2, abstract"
MADE = (
    "simulation: 64 traces of 12,000 tokens, openings of 500, judge of AUROC .71, 3,000 questions"
)
FLY = "live: fly on chain medium, 80 test problems, 16 openings of 40 tokens, 6 of them finished"
CONTROL = "control: a plain vote over random whole traces at equal tokens"
LETTERS = "recorded: last letters, code-davinci, 500 questions x 40 samples"
#: the simulated setting: traces, tokens of one and of an opening, and the paper's defaults
TRACES, LONG, OPENING, TAU, GROUPS, COMPARE, FINISH = 64, 12_000, 500, 0.5, 32, 10, 10
#: one trace is right .626 of the time and a vote of 64 about .89: how questions differ, how wrong ones meet
MEAN, CORRELATION, PREFERRED, WRONG = 0.626, 0.25, 0.35, 5

CLAIMS = {
    "tokens": Claim(
        text="Pruning cuts the tokens of the vote",
        published="65.73 % to 88.50 %",
        source=PAPER,
        setting=MADE,
        statistic="1 - tokens of the traces over those of 64 whole ones",
        rule=between(0.6573, 0.885),
    ),
    "accuracy": Claim(
        text="Pruning keeps within 3 points of the vote",
        published="within 3 points",
        source=PAPER,
        setting=MADE,
        statistic="accuracy minus that of the vote of all 64, paired",
        rule=above(-0.03),
    ),
    "judge free": Claim(
        text="The judge adds to what fewer traces give, its own tokens not counted",
        published="no figure",
        source=CONTROL,
        setting=MADE,
        statistic="accuracy minus that of the control, paired",
        rule=above(0),
    ),
    "judge counted": Claim(
        text="The judge adds to what fewer traces give, its own tokens counted",
        published="no figure",
        source=CONTROL,
        setting=MADE + "; a judged pair reads both openings",
        statistic="accuracy minus that of the control, paired",
        rule=above(0),
    ),
    "auroc": Claim(
        text="Openings tell which pairs will end in the same answer, on questions not learned from",
        published="AUROC .7072",
        source=PAPER,
        setting="live: fly on chain medium, openings of 40 tokens, 50 dev and 80 test problems",
        statistic="AUROC over all pairs of a question, questions resampled",
        rule=above(0.6),
    ),
    "shuffled": Claim(
        text="A judge of shuffled labels knows nothing",
        published="AUROC .5",
        source="control",
        setting="live: the same, the labels of all training pairs shuffled",
        statistic="mean AUROC over shuffles",
        rule=agrees(0.5, 0.05),
    ),
    "chosen": Claim(
        text="Traces of the largest group vote better than as many at random",
        published="no figure",
        source="arXiv 2510.08483",
        setting=FLY,
        statistic="accuracy minus that of 6 random traces, paired",
        rule=above(0),
    ),
    "equal tokens": Claim(
        text="Pruning beats fewer whole traces at equal tokens",
        published="no figure",
        source=CONTROL,
        setting=FLY,
        statistic="accuracy minus that of the control, paired",
        rule=above(0),
    ),
    "few": Claim(
        text="Few samples do without any judge: 10 of 40 within a point",
        published="no figure",
        source="what the control rests on",
        setting=LETTERS,
        statistic="vote of 10 random samples minus vote of 40, paired",
        rule=above(-0.01),
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Arms:
    """What each way came to, and the tokens of pruning, on every question: ``(questions,)``.

    ``random``: as many whole traces as were finished; ``equal``: as many as the tokens pay;
    ``counted``: and the judge's tokens.
    """

    pruned: Floats
    full: Floats
    random: Floats
    equal: Floats
    counted: Floats
    tokens: Floats
    judge: Floats


def made_up(
    questions: int, area: float, shared: float, rng: np.random.Generator, chunk: int = 250
) -> Arms:
    """The simulated setting with a judge of an ``area`` under its curve.

    The share ``shared`` of the variance of its errors belongs to the two traces, not to the pair.
    """
    from statistics import NormalDist

    d = float(np.sqrt(2) * NormalDist().inv_cdf(area))
    parts: list[list[Floats]] = []
    for first in range(0, questions, chunk):
        q = min(chunk, questions - first)
        a, b = (m * (1 - CORRELATION) / CORRELATION for m in (MEAN, 1 - MEAN))
        p = rng.beta(a, b, q)[:, None]
        other = (rng.random((q, TRACES)) >= PREFERRED) * rng.integers(2, WRONG + 1, (q, TRACES))
        classes = np.where(rng.random((q, TRACES)) < p, 0, np.where(other > 0, other, 1))
        own = rng.standard_normal((q, TRACES))
        pair = np.tril(rng.standard_normal((q, TRACES, TRACES)), -1)
        noise = np.sqrt(shared / 2) * (own[:, :, None] + own[:, None, :])
        noise = noise + np.sqrt(1 - shared) * (pair + np.swapaxes(pair, 1, 2))
        seen = d * (classes[:, :, None] == classes[:, None, :]) + noise
        # of even odds before, as the paper's judge learns from pairs of both kinds alike
        labels, asked = greedy_clusters(
            1 / (1 + np.exp(-d * (seen - d / 2))), TAU, GROUPS, COMPARE, rng
        )
        chosen = to_finish(labels, FINISH, rng).astype(np.float64)
        right = classes == 0
        finished = chosen.sum(axis=1)
        tokens = np.asarray(TRACES * OPENING + finished * (LONG - OPENING), dtype=np.float64)
        judge = np.asarray(asked * 2 * OPENING, dtype=np.float64)
        rank = np.argsort(rng.random((q, TRACES)), axis=1)
        sizes = (finished, whole(tokens / LONG, rng), whole((tokens + judge) / LONG, rng))
        votes = [chosen, np.ones((q, TRACES)), *((rank < k[:, None]).astype(float) for k in sizes)]
        parts.append([*(vote_credit(classes, w, right) for w in votes), tokens, judge])
    return Arms(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def whole(x: Floats, rng: np.random.Generator) -> Floats:
    """``x`` traces in whole ones: the number above or below, right on average."""
    return np.floor(x) + (rng.random(x.shape) < x - np.floor(x))


def openings(result: Result, width: int, tokens: int) -> list[list[str]]:
    """The first ``tokens`` tokens of each trace of each problem."""
    tokenizer = build("fly", "model").open().tokenizer
    return [
        [tokenizer.decode(tokenizer.encode(c.text)[:tokens]) for c in a.candidates[:width]]
        for a in result.answers
    ]


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs of the openings of each problem: features ``(problems, m, m, 3)``, who ends alike."""

    x: Floats
    same: Bools

    @classmethod
    def of(cls, found: Pools, texts: Sequence[Sequence[str]]) -> Pairs:
        """A trace without an answer ends as no other does."""
        c = found.classes
        alike = (c[:, :, None] == c[:, None, :]) & (c >= 0)[:, :, None]
        return cls(np.array([features(own) for own in texts]), alike)

    def flat(self) -> tuple[Floats, Floats, Ints]:
        """Each pair once: features, label, problem."""
        count, m = self.same.shape[:2]
        i, j = np.tril_indices(m, -1)
        at_problem = np.repeat(np.arange(count), len(i))
        x = self.x[:, i, j].reshape(-1, len(NAMES))
        return x, self.same[:, i, j].ravel().astype(np.float64), at_problem.astype(np.int64)


def judged_fly(
    found: Pools, judged: Floats, opening: int, finish: int, n: int, draws: int,
    rng: np.random.Generator,
) -> Arms:  # fmt: skip
    """Pruning replayed on ``draws`` random subsets of ``n`` of each problem's traces."""
    rows: list[list[float]] = []
    spent: list[float] = []
    for i in range(len(found)):
        m = found.classes.shape[1]
        chosen = np.argsort(rng.random((draws, m)), axis=1)[:, :n]
        classes, right = found.classes[i][chosen].astype(np.int64), found.right[i][chosen]
        tokens = found.tokens[i][chosen]
        labels, _ = greedy_clusters(
            judged[i][chosen[:, :, None], chosen[:, None, :]], TAU, GROUPS, COMPARE, rng
        )
        follow = to_finish(labels, finish, rng).astype(np.float64)
        begun = np.minimum(tokens, opening)
        spent.append(float((begun + follow * (tokens - begun)).sum(axis=1).mean()))
        # chosen is in a random order: its first ones are a random subset
        some = (np.arange(n) < follow.sum(axis=1, keepdims=True)).astype(np.float64)
        votes = (follow, np.ones(chosen.shape), some)
        rows.append([float(vote_credit(classes, w, right).mean()) for w in votes])
    pruned, full, random = np.array(rows).T
    tokens = np.array(spent)
    sizes = list(range(1, found.classes.shape[1] + 1))
    equal = at(curve(found, "vote", sizes), sizes, float(tokens.mean() / found.tokens.mean()))
    return Arms(pruned, full, random, equal, equal, tokens, np.zeros(len(found)))


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few questions."""
    rng = trial.rng()
    questions = 200 if trial.quick else 3_000
    cases = {
        "AUROC .71": (0.71, 0.0),
        "AUROC .87": (0.87, 0.0),
        "AUROC .71, half of its errors a trace's own": (0.71, 0.5),
        "a judge that knows nothing": (0.5, 0.0),
    }
    sim = {name: made_up(questions, *case, rng) for name, case in cases.items()}
    base, all_tokens = sim["AUROC .71"], TRACES * LONG

    level, dev, test, m, n, opening, finish, draws = (
        ("medium", 5, 5, 8, 6, 40, 2, 8) if trial.quick else ("medium", 50, 80, 32, 16, 40, 6, 40)
    )
    learn = problems_of("chain", level, "dev", dev, trial.seed)
    split = "dev" if trial.quick else "test"
    problems = problems_of("chain", level, split, test, trial.seed + trial.quick)
    (old,) = trial.run("learned from", [f"self_consistency(n={n})"], learn)
    (new,) = trial.run("traces", [f"self_consistency(n={m})"], problems)
    known, found = pools(old, learn), pools(new, problems)
    x, y, _ = Pairs.of(known, openings(old, known.classes.shape[1], opening)).flat()
    held = Pairs.of(found, openings(new, found.classes.shape[1], opening))
    weights = [round(w, 4) for w in fit_pairs(x, y)]
    judged = 1 / (1 + np.exp(-(held.x @ np.array(weights[1:]) + weights[0])))
    fly = judged_fly(found, judged, opening, finish, n, draws, rng)
    spec = (
        f"deep_prune(n={n}, opening={opening}, finish={finish}, judge=same_end(weights={weights}))"
    )
    (live,) = trial.run("pruned", [spec], problems)

    pairs = found_pairs(held)
    areas = {
        name: by_cluster(
            auroc, [(list(score[q]), list(y)) for q, (_, y) in enumerate(pairs)], rng, trial.draws
        )
        for name, score in _scores(held, weights).items()
    }
    value, (low, high) = areas["fitted"]
    letters = trial.pools("esc_last_letters")
    ks = [1, 5, 10, 20, 40]
    votes = curve(letters, "vote", ks)
    measured = {
        "tokens": difference(np.ones(questions), base.tokens / all_tokens),
        "accuracy": difference(base.pruned, base.full),
        "judge free": difference(base.pruned, base.equal),
        "judge counted": difference(base.pruned, base.counted),
        "auroc": Estimate(value, low, high),
        "shuffled": shuffled(x, y, held, rng, 20 if trial.quick else 200),
        "chosen": difference(fly.pruned, fly.random),
        "equal tokens": difference(fly.pruned, fly.equal),
        "few": difference(votes[:, ks.index(10)], votes[:, ks.index(40)]),
    }
    each = float(found.tokens.mean())
    tables = {
        "simulated": [_case(name, arms, all_tokens) for name, arms in sim.items()],
        "fly": [
            *_fly(fly, n, finish, each),
            {"arm": "deep_prune live", "accuracy": cell(live.right),
             "tokens": float(live.tokens.mean())},
        ],
        "judge": [{"score": name, "auroc": v, "interval": list(i)} for name, (v, i) in areas.items()],
        "letters": [{"samples": k, "accuracy": cell(votes[:, j])} for j, k in enumerate(ks)],
    }  # fmt: skip
    sizes = list(range(1, found.classes.shape[1] + 1))
    line = curve(found, "vote", sizes).mean(axis=0).tolist()
    panel = Panel(
        f"fly, chain {level}: pruned by a judge of openings", "tokens", "accuracy",
        [Line("votes of whole traces", [k * each for k in sizes], line),
         Line("deep_prune", [float(fly.tokens.mean())], [float(fly.pruned.mean())], style="dots")],
    )  # fmt: skip
    asked = float(base.judge.mean())
    note = (
        f"The judge of the paper reads two openings a pair: at {asked / OPENING / 2:,.0f} pairs a "
        f"question that is {asked / all_tokens:.2f} of the tokens of all traces, though by a "
        "smaller model and read, not written. The judge on fly reads the surface and costs nothing."
    )
    return Findings(measured, tables, [panel], [note])


def found_pairs(held: Pairs) -> list[tuple[Floats, Floats]]:
    """The features and labels of each problem's pairs."""
    x, y, q = held.flat()
    return [(x[q == k], y[q == k]) for k in range(held.same.shape[0])]


def _scores(held: Pairs, weights: Sequence[float]) -> dict[str, list[Floats]]:
    """Scores of each problem's pairs: the fitted judge, each feature, and the judge inside problems.

    The last takes each problem's mean off, so that nothing is left of how hard the problem is.
    """
    pairs = found_pairs(held)
    fitted = [x @ np.array(weights[1:]) for x, _ in pairs]
    out = {"fitted": fitted, "fitted, within a problem": [s - s.mean() for s in fitted]}
    return out | {name: [x[:, f] for x, _ in pairs] for f, name in enumerate(NAMES)}


def shuffled(x: Floats, y: Floats, held: Pairs, rng: np.random.Generator, times: int) -> Estimate:
    """The mean AUROC of judges fitted to shuffled labels, and its 95 % interval.

    One such judge leans this way or that at random; only their mean is .5.
    """
    test, labels, _ = held.flat()
    areas = [
        auroc(test @ np.array(fit_pairs(x, rng.permutation(y))[1:]), labels) for _ in range(times)
    ]
    half = 1.96 * float(np.std(areas, ddof=1)) / times**0.5
    return Estimate(
        float(np.mean(areas)), float(np.mean(areas)) - half, float(np.mean(areas)) + half
    )


def _case(name: str, arms: Arms, all_tokens: int) -> dict[str, object]:
    return {
        "judge": name,
        "pruned": cell(arms.pruned),
        "vote of all": cell(arms.full),
        "as many at random": cell(arms.random),
        "equal tokens": cell(arms.equal),
        "equal tokens, judge counted": cell(arms.counted),
        "tokens": float(arms.tokens.mean()) / all_tokens,
        "judge's tokens": float(arms.judge.mean()) / all_tokens,
    }


def _fly(arms: Arms, n: int, finish: int, each: float) -> list[dict[str, object]]:
    rows = (
        ("pruned", arms.pruned, float(arms.tokens.mean())),
        ("vote of all", arms.full, n * each),
        ("as many whole traces at random", arms.random, finish * each),
        ("whole traces at equal tokens", arms.equal, float(arms.tokens.mean())),
    )
    return [{"arm": a, "accuracy": cell(v), "tokens": t} for a, v, t in rows]


REPRODUCTION = Reproduction(
    "S159", CLAIMS, measure,
    full=Cost(calls=300, tokens=360_000, seconds=260),
    quick=Cost(calls=20, tokens=7_300, seconds=5),
    sets=("esc_last_letters",),
)  # fmt: skip
