"""S138, EDIT: From Long to Short (arXiv 2509.06174): how short may the reasoning be before it breaks?

- Simulation.  Each question has a threshold t: under the limit L a text is right with probability
  0.95 / (1 + exp(-(L - t) / s)), wrong ones fall into few answers, and lengths follow the limit up to a
  natural length of 1.5 to 5 times t.  Does the limit that the search ends at follow t, is the text that is
  given shorter, and as often right as a vote without a limit?  Controls: a search without patience; one
  limit for all questions, of equal mean length.
- fly, live, with dials of thinking as limits: ``trim`` over dials 1 to 6, against a vote at dial 6 and
  against one dial for all, of equal mean length.

The search itself spends more than one long text: what is short is the text that is given.  The paper's
update, prompts and numbers were not at hand; the search is the reconstruction of ``search.trim``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.overthinking import spearman
from outthink.lab.stats import Estimate
from outthink.reproduce._lengths import thoughts
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, difference, mean_line, ratio
from outthink.reproduce.rules import above, below
from outthink.search.trim import Trim
from outthink.select.short import short_vote
from outthink.tasks import problems as problems_of

ABSTRACT, PREMISE = "arXiv 2509.06174, abstract", "arXiv 2509.06174, observations under limits"
SIMULATED = "simulation: 2,000 questions, 8 samples a round"
FLY = "live: fly on chain easy, 60 test problems, 4 samples a round, dials 1 to 6"
DIALS = (1, 2, 3, 4, 5, 6)
M = 8

CLAIMS = {
    "tracks": Claim(
        text="The search finds each question's own limit",
        published="no figure",
        source=ABSTRACT,
        setting=SIMULATED,
        statistic="rank correlation of the limit it ends at and the question's threshold",
        rule=above(0.7),
    ),
    "shorter": Claim(
        text="The text that is given is shorter",
        published="20 to 50 % (second hand)",
        source=ABSTRACT,
        setting=SIMULATED,
        statistic="its mean length over the mean length without a limit",
        rule=below(0.8),
    ),
    "kept": Claim(
        text="and as often right as a vote without a limit",
        published="at equal accuracy (second hand)",
        source=ABSTRACT,
        setting=SIMULATED,
        statistic=f"accuracy minus that of a vote of {M} without a limit, paired",
        rule=above(-0.02),
    ),
    "patience": Claim(
        text="Control: without patience the search stops too early",
        published="no figure",
        source="the method's premise",
        setting=SIMULATED,
        statistic="limit it ends at, in thresholds, with patience 0 minus with 2, paired",
        rule=above(0),
    ),
    "own": Claim(
        text="Control: one limit for all questions, of equal mean length, is right less often",
        published="no figure",
        source="the method's premise",
        setting=SIMULATED,
        statistic=f"accuracy minus that of the shortest of a vote of {M} under that limit, paired",
        rule=above(0),
    ),
    "wrong short": Claim(
        text="Under tight limits wrong answers are the short ones",
        published="wrong answers dominate short paths",
        source=PREMISE,
        setting=FLY,
        statistic="accuracy of one sample at dial 1 minus at dial 3, paired",
        rule=below(0),
    ),
    "fly shorter": Claim(
        text="The text that is given is shorter",
        published="20 to 50 % (second hand)",
        source=ABSTRACT,
        setting=FLY,
        statistic="its mean tokens over those of samples at dial 6",
        rule=below(0.8),
    ),
    "fly kept": Claim(
        text="and as often right as a vote without a limit",
        published="at equal accuracy (second hand)",
        source=ABSTRACT,
        setting=FLY,
        statistic="accuracy minus that of a vote of 4 at dial 6, paired",
        rule=above(-0.02),
    ),
    "fly own": Claim(
        text="Control: one dial for all problems, of equal mean length, is right less often",
        published="no figure",
        source="the method's premise",
        setting=FLY,
        statistic="accuracy minus that of the shortest of a vote of 4 at that dial (between two), paired",
        rule=above(0),
    ),
}  # fmt: skip


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few questions."""
    rng = trial.rng()
    world = World.draw(200 if trial.quick else 2_000, rng)
    found, hasty = search(world, 2, rng), search(world, 0, rng)
    free = world.fixed(np.full(len(world.threshold), np.inf), rng)
    shares = np.linspace(0.1, 3.0, 30) * float(world.threshold.mean())
    fixed = [world.fixed(np.full(len(world.threshold), s), rng) for s in shares]
    lengths = np.array([f.length.mean() for f in fixed])
    equal = _between(lengths, np.stack([f.right for f in fixed], axis=1), found.length.mean())

    def ranks(at: Ints) -> float:
        return spearman(found.limit[at], world.threshold[at])[0]

    size = len(world.threshold)
    measured = {
        "tracks": bootstrap(ranks, size, trial.rng(), trial.draws)[0],
        "shorter": ratio(found.length, world.natural, trial.rng(), trial.draws),
        "kept": difference(found.right, free.right),
        "patience": difference(hasty.limit / world.threshold, found.limit / world.threshold),
        "own": difference(found.right, equal),
    }
    live, rows, panel = _live(trial)
    points = [
        Line("one limit for all", lengths.tolist(), [float(f.right.mean()) for f in fixed]),
        _dot("trimmed", found.length, found.right),
        _dot("no limit", world.natural, free.right),
    ]
    table = [
        {"rule": name, "accuracy": float(o.right.mean()), "length": float(o.length.mean())}
        for name, o in (("trimmed", found), ("no patience", hasty), ("no limit, shortest", free))
    ]
    panels = (Panel("simulated questions", "mean length", "accuracy", points), panel)
    return Findings(measured | live, {"simulation": table, "fly": rows}, panels)


@dataclass(frozen=True)
class Outcome:
    """Of each question: was the text right, how long is it, under which limit; ``(questions,)``."""

    right: Floats
    length: Floats
    limit: Floats


@dataclass(frozen=True)
class World:
    """Questions with a threshold and a natural length in tokens, ``(questions,)``."""

    threshold: Floats
    natural: Floats

    @classmethod
    def draw(cls, questions: int, rng: np.random.Generator) -> World:
        """Thresholds from 50 to 800 tokens, natural lengths of 1.5 to 5 times as much."""
        threshold = np.exp(rng.uniform(np.log(50), np.log(800), questions))
        return cls(threshold, threshold * rng.uniform(1.5, 5.0, questions))

    def sample(self, at: int, limit: float, rng: np.random.Generator) -> tuple[Ints, Floats]:
        """``M`` answers of a question under a limit (0 is right) and their lengths."""
        size = min(limit, float(self.natural[at]))
        slope = 0.1 * float(self.threshold[at])
        p = 0.95 / (1 + np.exp(-(size - float(self.threshold[at])) / slope))
        wrong = rng.choice([1, 2, 3, 4], M, p=[0.55, 0.15, 0.15, 0.15])
        classes = np.where(rng.random(M) < p, 0, wrong)
        return classes, np.maximum(size * np.exp(rng.normal(0, 0.1, M)), 1.0)

    def fixed(self, limits: Floats, rng: np.random.Generator) -> Outcome:
        """The shortest text with the answer of most, under one limit each."""
        chosen = []
        for at, limit in enumerate(limits):
            classes, lengths = self.sample(at, float(limit), rng)
            place = int(short_vote(classes, lengths))
            chosen.append((float(classes[place] == 0), lengths[place], limit))
        return Outcome(*np.array(chosen).T)


def search(world: World, patience: int, rng: np.random.Generator) -> Outcome:
    """What trimming gives for each question."""
    chosen = []
    for at in range(len(world.threshold)):
        classes, lengths = world.sample(at, np.inf, rng)
        mean = int(np.ceil(lengths.mean()))
        core = Trim(mean, gap=max(1, mean // 10), patience=patience)
        core.start(classes, lengths)
        said, sizes = [classes], [lengths]
        while (limit := core.ask()) is not None:
            classes, lengths = world.sample(at, limit, rng)
            core.tell(limit, classes, lengths)
            said.append(classes)
            sizes.append(lengths)
        right = np.concatenate(said)[core.best] == 0
        chosen.append((float(right), np.concatenate(sizes)[core.best], core.high))
    return Outcome(*np.array(chosen, dtype=np.float64).T)


def _live(trial: Trial) -> tuple[dict[str, Estimate], list[dict[str, object]], Panel]:
    """The claims on fly, what each dial does, and the picture."""
    split, size, m = ("dev", 5, 3) if trial.quick else ("test", 60, 4)
    problems = problems_of("chain", "easy", split, size, trial.seed)
    dials = ", ".join(f'"fly(think={d})"' for d in DIALS)
    (trimmed,) = trial.run("trim", [f"trim(m={m}, models=[{dials}])"], problems)
    given = np.array([
        float(next(s.tokens for s in a.candidates if s.text == a.text)) for a in trimmed.answers
    ])  # fmt: skip
    rows = np.arange(size)
    one, right, length = {}, {}, {}
    for d in DIALS:
        found = thoughts(trial, f"fly(think={d})", problems, m)
        place = short_vote(found.classes.astype(np.int64), found.tokens)
        one[d] = found.right.mean(axis=1)
        right[d] = found.right[rows, place].astype(np.float64)
        length[d] = found.tokens[rows, place]
        if d == DIALS[-1]:
            whole = found.tokens.mean(axis=1)
    means = np.array([length[d].mean() for d in DIALS])
    equal = _between(means, np.stack([right[d] for d in DIALS], axis=1), float(given.mean()))
    measured = {
        "wrong short": difference(one[1], one[3]),
        "fly shorter": ratio(given, whole, trial.rng(), trial.draws),
        "fly kept": difference(trimmed.right, right[DIALS[-1]]),
        "fly own": difference(trimmed.right, equal),
    }
    table: list[dict[str, object]] = [
        {
            "dial": d,
            "one sample": float(one[d].mean()),
            "shortest of the vote": float(right[d].mean()),
            "its tokens": float(length[d].mean()),
        }
        for d in DIALS
    ]
    table.append({
        "dial": "trimmed",
        "shortest of the vote": trimmed.accuracy,
        "its tokens": float(given.mean()),
        "tokens spent": float(trimmed.tokens.mean()),
    })  # fmt: skip
    lines = [
        Line(
            "one dial for all",
            means.tolist(),
            [float(right[d].mean()) for d in DIALS],
            style="dots",
        ),
        _dot("trimmed", given, trimmed.right),
    ]
    return measured, table, Panel("fly, chain easy", "tokens of the text", "accuracy", lines)


def _between(lengths: Floats, right: Floats, length: float) -> Floats:
    """Each problem's accuracy at a mean length between those of two limits, ``(problems,)``."""
    order = np.argsort(lengths)
    return np.array([np.interp(length, lengths[order], row[order]) for row in right])


def _dot(label: str, length: Floats, right: Floats) -> Line:
    return mean_line(label, [float(length.mean())], [right], "dots")


REPRODUCTION = Reproduction(
    "S138", CLAIMS, measure,
    full=Cost(calls=2_000, tokens=170_000, seconds=130),
    quick=Cost(calls=100, tokens=11_000, seconds=8),
)  # fmt: skip
