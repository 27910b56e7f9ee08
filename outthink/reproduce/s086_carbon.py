"""S086, CarBoN (arXiv 2510.15674): a model calibrated to its best samples draws better ones.

Live on fly: half of the samples explore, the logits are fitted to the best of them by fly-prm, the other
half is drawn from the fitted logits.  Beside it three controls, all with the same first half and the
same judge at the end: plain samples (best-of-n), a fit to texts that were chosen at random, and a fit of
the temperature alone.

Simulated: the paper's motivating search for a number up to 10,000, where each step may first ask for n
noisy rewards.  Its details are not published; ours: the reward of a point at distance d is 1 / (1 + d/100)
plus noise of 0.05, the n points are drawn at random from what is left, and the next probe is the median
of what the rewards leave likely.

Not tried: beam search, MATH-500 and AIME.
"""

from __future__ import annotations

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.pools import Classes
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, cell, difference
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above, agrees
from outthink.tasks import problems as problems_of

PAPER, PAGE = "arXiv 2510.15674, abstract", "arXiv 2510.15674, project page, figure 1"
FLY = "live: fly on chain hard, 60 test problems, 16 samples, 8 of them to explore, fly-prm"
TOY = "simulation: 10,000 numbers, 400 targets"
#: numbers searched, the reward's reach and its noise
SIZE, REACH, NOISE = 10_000, 100.0, 0.05
QUERIES = (0, 1, 2, 4, 8, 16)

CLAIMS = {
    "reward": Claim(
        text="Samples from the calibrated model have a higher reward",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="mean reward of the second half minus that of the first, paired",
        rule=above(0),
    ),
    "accuracy": Claim(
        text="At the same number of samples it answers better than best-of-n",
        published="up to 4x fewer rollouts to the same accuracy",
        source=PAPER,
        setting=FLY,
        statistic="accuracy of carbon(16) minus best_of_n(16), paired",
        rule=above(0),
    ),
    "rewards matter": Claim(
        text="The gain is the rewards': fitted to texts chosen at random there is less of it",
        published="no figure",
        source="our control",
        setting=FLY,
        statistic="mean reward of the second half minus that of one fitted to random texts, paired",
        rule=above(0),
    ),
    "shift matters": Claim(
        text="The shift adds to the temperature",
        published="complementary roles of T and delta",
        source=PAPER,
        setting=FLY,
        statistic="mean reward of the second half minus that of one at the fitted T alone, paired",
        rule=above(0),
    ),
    "search": Claim(
        text="A search without rewards takes log2 of what there is to search",
        published="13.3 steps",
        source=PAGE,
        setting=TOY,
        statistic="mean steps at 0 queries",
        rule=agrees(13.3, 0.3),
    ),
    "search saved": Claim(
        text="Noisy rewards before each step save most of the steps",
        published="up to 74 % with 16 queries",
        source=PAGE,
        setting=TOY,
        statistic="share of the steps saved with 16 queries",
        rule=above(0.5),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems and samples on fly, and few targets."""
    level, split, count, n = ("medium", "dev", 3, 4) if trial.quick else ("hard", "test", 60, 16)
    problems = problems_of("chain", level, split, count, trial.seed)
    arms = {
        "best of n": f"best_of_n(n={n}, verifier=prm)",
        "carbon": f"carbon(n={n}, verifier=prm)",
        "random texts": f"carbon(n={n}, verifier=prm, guide=flawed(prm, noise=100))",
        "temperature alone": f"carbon(n={n}, verifier=prm, fit=temperature)",
    }
    found = dict(zip(arms, trial.run("arms", list(arms.values()), problems), strict=True))
    first, second = dict[str, Floats](), dict[str, Floats]()
    for name, result in found.items():
        rewards = np.array([a.scores["verifier"] for a in result.answers])
        first[name], second[name] = (
            rewards[:, : n // 2].mean(axis=1),
            rewards[:, n // 2 :].mean(axis=1),
        )
    measured = {
        "reward": difference(second["carbon"], first["carbon"]),
        "accuracy": difference(found["carbon"].right, found["best of n"].right),
        "rewards matter": difference(second["carbon"], second["random texts"]),
        "shift matters": difference(second["carbon"], second["temperature alone"]),
    }
    targets = trial.rng().integers(0, SIZE, 40 if trial.quick else 400)
    asked = QUERIES[::5] if trial.quick else QUERIES
    steps = {q: search(targets, q, trial.rng()) for q in asked}
    few, many = steps[0], steps[QUERIES[-1]]
    (measured["search"], measured["search saved"]) = bootstrap(
        lambda at: np.array([few[at].mean(), 1 - many[at].mean() / few[at].mean()]),
        len(targets), trial.rng(), trial.draws,
    )  # fmt: skip
    drawn = {name: pools(r, problems) for name, r in found.items()}
    rows = [
        {
            "arm": name,
            "accuracy": cell(r.right),
            "reward, first half": float(first[name].mean()),
            "reward, second half": float(second[name].mean()),
            "right, second half": float(drawn[name].right[:, n // 2 :].mean()),
            "different answers, second half": _different(drawn[name].classes[:, n // 2 :]),
            "tokens": float(r.tokens.mean()),
        }
        for name, r in found.items()
    ]
    curve = [mean_of(steps[q]) for q in asked]
    panel = Panel(
        "search for a number", "noisy rewards before a step", "steps",
        (Line("mean", list(asked), [c[0] for c in curve], [c[1] for c in curve], [c[2] for c in curve]),),
        log=False,
    )  # fmt: skip
    return Findings(measured, {"arms": rows}, (panel,))


def search(targets: Ints, queries: int, rng: np.random.Generator) -> Floats:
    """The steps of a search for each target: until one number is left, ``(targets,)``."""
    cells = np.arange(SIZE)
    out = np.zeros(len(targets))
    for i, target in enumerate(targets):
        low, high = 0, SIZE
        belief = np.zeros(SIZE)
        while high - low > 1:
            if queries:
                at = rng.integers(low, high, queries)
                reward = 1 / (1 + abs(at - target) / REACH) + NOISE * rng.normal(size=queries)
                expected = 1 / (1 + abs(at[:, None] - cells[low:high]) / REACH)
                belief[low:high] -= (((reward[:, None] - expected) / NOISE) ** 2).sum(axis=0) / 2
            weight = np.exp(belief[low:high] - belief[low:high].max()).cumsum()
            # at least one number on each side of the probe
            probe = low + 1 + min(int(np.searchsorted(weight, weight[-1] / 2)), high - low - 2)
            low, high = (low, probe) if target < probe else (probe, high)
            out[i] += 1
    return out


def mean_of(values: Floats) -> tuple[float, float, float]:
    """A mean with its 95 % interval."""
    half = 1.96 * float(values.std()) / np.sqrt(len(values))
    return float(values.mean()), float(values.mean()) - half, float(values.mean()) + half


def _different(classes: Classes) -> float:
    return float(np.mean([len(np.unique(row)) for row in classes]))


REPRODUCTION = Reproduction(
    "S086", CLAIMS, measure,
    full=Cost(calls=2_000, tokens=270_000, seconds=240),
    quick=Cost(calls=50, tokens=2_000, seconds=4),
)  # fmt: skip
