"""What the studies of length share: gaps within a problem, rules and races over subsets, and a simulator.

The simulator has right texts of length N(right, s_c) and wrong ones of N(wrong, s_w), with a chance p of
being right that is Beta-distributed over problems, and wrong answers in a few classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.pools import Pools
from outthink.lab.resample import Choose, Rule, random_orders, replay
from outthink.lab.stats import Estimate
from outthink.reproduce.base import Trial
from outthink.reproduce.estimates import bootstrap
from outthink.reproduce.live import pools
from outthink.select.short import race_cost, short_vote, shortest_majority
from outthink.tasks.base import TaskProblem


def short(m: int) -> Choose:
    """The rule of short-m@k, for a replay."""
    return lambda classes, scores, tokens, rng: short_vote(classes, tokens, m)


def first_drawn() -> Choose:
    """One sample."""
    return lambda classes, scores, tokens, rng: np.zeros(len(classes), dtype=np.int64)


def longest() -> Choose:
    """The longest text."""
    return lambda classes, scores, tokens, rng: np.asarray(tokens.argmax(axis=-1))


def by_length() -> Choose:
    """Shortest majority vote."""
    return lambda classes, scores, tokens, rng: shortest_majority(classes, tokens)


def chances(found: Pools, rules: Sequence[Rule], k: int, draws: int, seed: int = 0) -> list[Floats]:
    """How often each rule is right over random subsets of k samples, ``(problems,)`` each."""
    return [r.right[:, 0] for r in replay(found, rules, [k], draws, seed)]


def costs(found: Pools, k: int, m: int, draws: int, seed: int = 0) -> Floats:
    """The mean cost of a race to the m-th of k samples, ``(problems,)``; m = k is that of all."""
    orders = random_orders(found.tokens.shape[1], draws, seed)[:, :k]
    return np.asarray([race_cost(row[orders], m).mean() for row in found.tokens], dtype=np.float64)


def gaps(found: Pools) -> Floats:
    """Of each problem, the mean length of wrong samples minus that of right ones; NaN without both."""
    right, wrong = found.right & found.present, ~found.right & found.present
    with np.errstate(invalid="ignore"):
        short_of = (found.tokens * wrong).sum(axis=1) / wrong.sum(axis=1)
        return np.asarray(short_of - (found.tokens * right).sum(axis=1) / right.sum(axis=1))


def signed(gap: Floats, gain: Floats, trial: Trial) -> Estimate:
    """The gain times the sign of the mean gap, both of the same problems, drawn again together."""

    def statistic(at: Ints) -> float:
        known = gap[at][~np.isnan(gap[at])]
        return float(np.sign(known.mean()) * gain[at].mean()) if len(known) else float("nan")

    return bootstrap(statistic, len(gap), trial.rng(), trial.draws)[0]


def mean_known(values: Floats, trial: Trial) -> Estimate:
    """The mean over the problems that have a value, by the bootstrap; NaN of fewer than two."""
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return Estimate(np.nan, np.nan, np.nan)
    return bootstrap(lambda at: float(known[at].mean()), len(known), trial.rng(), trial.draws)[0]


def thoughts(
    trial: Trial, model: str, problems: Sequence[TaskProblem], n: int, temperature: float = 1.0
) -> Pools:
    """``n`` samples of a model on each problem."""
    spec = f"self_consistency(n={n}, temperature={temperature})"
    (drawn,) = trial.run(f"{model}, {n} samples", [spec], problems, model)
    return pools(drawn, problems)


@dataclass(frozen=True)
class Lengths:
    """Right and wrong texts as two normal distributions; ``p`` has mean ``accuracy``."""

    right: float
    wrong: float
    right_sd: float
    wrong_sd: float
    accuracy: float = 0.57
    #: of p over problems; 0 for one p
    spread: float = 0.2
    kinds: int = 5

    def draw(self, problems: int, n: int, rng: np.random.Generator) -> Pools:
        """Pools of simulated samples; the first wrong answer has four in ten of the wrong ones."""
        p = np.full((problems, 1), self.accuracy)
        if self.spread:
            size = self.accuracy * (1 - self.accuracy) / self.spread**2 - 1
            p = rng.beta(self.accuracy * size, (1 - self.accuracy) * size, (problems, 1))
        right = rng.random((problems, n)) < p
        shares = [0.4, *[0.6 / (self.kinds - 1)] * (self.kinds - 1)]
        wrong = rng.choice(np.arange(1, self.kinds + 1), (problems, n), p=shares)
        mean = np.where(right, self.right, self.wrong)
        spread = np.where(right, self.right_sd, self.wrong_sd)
        tokens = np.maximum(rng.normal(mean, spread), 1.0)
        classes = np.where(right, 0, wrong).astype(np.int32)
        names = tuple(map(str, range(problems)))
        return Pools(classes, right, tokens, np.ones(right.shape, dtype=bool), names)
