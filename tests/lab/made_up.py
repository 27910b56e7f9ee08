"""A bench that never ran: results of made-up models, for what reads results."""

from __future__ import annotations

from typing import Any

import numpy as np

from outthink.lab.records import Arm, Results, RunRow, SampleRow
from outthink.select.best import best
from outthink.select.vote import majority

MODELS = {"small": 0.0, "large": 1.3}
#: (model, series, how it chooses, samples of each arm)
SWEEPS = (
    ("small", "self_consistency(n=[1, 4, 8, 16])", "vote", (1, 4, 8, 16)),
    ("small", "best_of_n(n=[4, 8, 16], verifier=prm)", "best", (4, 8, 16)),
    ("large", "self_consistency(n=[1, 2, 4])", "vote", (1, 2, 4)),
)


def results(problems: int = 60, seeds: int = 2, length: int = 400, seed: int = 1) -> Results:
    """Ten arms in three series over two models; problems from easy to hopeless."""
    rng = np.random.default_rng(seed)
    arms = [
        Arm(f"{m}: {s.split('(')[0]} n={n}", m, f"{s.split('[')[0]}{n})", series=s)
        for m, s, _, ns in SWEEPS
        for n in ns
    ]
    names = [f"chain-{i:03d}" for i in range(problems)]
    runs: list[RunRow] = []
    samples: list[SampleRow] = []
    ease = rng.normal(0.0, 1.6, problems)
    for i, name in enumerate(names):
        for s in range(seeds):
            for model, skill in MODELS.items():
                chance = 1 / (1 + np.exp(-(ease[i] + skill)))
                most = max(n for m, _, _, ns in SWEEPS if m == model for n in ns)
                right = rng.random(most) < chance
                group = np.where(right, 0, rng.integers(-1, 4, most))
                group = np.where(~right & (group == 0), 1, group)
                tokens = rng.integers(120, 400, most)
                score = np.round(np.clip(rng.normal(0.35 + 0.3 * right, 0.2), 0, 1), 4)
                answers = [None if g < 0 else str(i * 7 + 3 * int(g)) for g in group]
                said = [
                    ("step " * (length // 5)) + f"{j}: the answer is {a}"
                    for j, a in enumerate(answers)
                ]
                samples += [
                    SampleRow(model, name, s, j, said[j], answers[j], int(group[j]), bool(right[j]),
                              int(tokens[j]), float(-tokens[j] * 0.2))
                    for j in range(most)
                ]  # fmt: skip
                seen = 0
                for m, series, how, ns in SWEEPS:
                    for n in ns if m == model else ():
                        pick = majority(group[:n]) if how == "vote" else best(score[:n])
                        spent, price = int(tokens[:n].sum()), 4e-7 if m == "small" else 3e-6
                        runs.append(RunRow(
                            f"{m}: {series.split('(')[0]} n={n}", name, s, bool(right[pick]),
                            answers[pick], float((group[:n] == group[pick]).mean()),
                            calls=n, prompt_tokens=90 * n, completion_tokens=spent,
                            new_tokens=int(tokens[seen:n].sum()), seconds=0.01,
                            critical_seconds=float(tokens[:n].max()) / 60, usd=spent * price,
                            flops=spent * (5e9 if m == "small" else 7e10),
                            candidates=tuple(range(n)),
                            scores=tuple(map(float, score[:n])) if how == "best" else (),
                        ))  # fmt: skip
                        seen = max(seen, n)
    facts: dict[str, Any] = {
        "task": "chain", "level": "medium", "baseline": arms[0].label,
        "versions": {"outthink": "0.1.0", "python": "3.11"}, "started": "2025-11-26T09:00:00+00:00",
        "seeds": list(range(seeds)),
    }  # fmt: skip
    return Results(
        facts, arms, runs, samples,
        {n: f"Ada has {i} pens & buys {i} more, each < 3 coins. How many?" for i, n in enumerate(names)},
        {n: str(i * 7) for i, n in enumerate(names)},
    )  # fmt: skip
