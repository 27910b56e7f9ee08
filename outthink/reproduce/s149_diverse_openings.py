"""S149, Revisiting Test-Time Scaling: A Survey and a Diversity-Aware Method (ADAPT, arXiv 2506.04611).

Models tuned to reason repeat themselves, so that more samples add little; ADAPT tunes one on beginnings of
a more diverse model's answers beside its own, and reaches 80 % on mathematical reasoning with an eighth of
the samples of strong baselines.

Training is left out.  Here fly on countdown at temperature .2, where its samples are often alike, stands
for the model of little diversity, and a spread-out choice of its beginnings for the training
(``diverse_openings``).  Everything is at equal tokens: what the beginnings that are thrown away cost is
given to plain sampling as more samples.  Control: the temperature at which one sample is as good as one
of the diverse ones (between those that were drawn, on the line through their figures).

Not tried: a reward model as in the paper's best-of-n (fly-prm judges chain only).
"""

from __future__ import annotations

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.pools import Pools
from outthink.laws.coverage import pass_table
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, cell, difference
from outthink.reproduce.live import one_sample, pools
from outthink.reproduce.rules import above
from outthink.select.coverage import maj_at_k
from outthink.tasks import problems as problems_of

PAPER = "arXiv 2506.04611, abstract"
BASE, HIGHER = 0.2, (0.4, 0.7, 1.0)
N, WIDTH, LENGTH = 8, 32, 8
FLY = (
    f"live: fly on countdown medium, 100 test problems, temperature {BASE}: {N} of {WIDTH} openings of "
    f"{LENGTH} tokens, continued, against plain samples"
)
EIGHT = "80 % with eight times less compute than strong baselines"

CLAIMS = {
    "distinct": Claim(
        text="Diverse openings give more different answers",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="different answers of 8 samples, diverse minus plain, paired",
        rule=above(0),
    ),
    "coverage": Claim(
        text="and cover more at equal tokens",
        published=EIGHT,
        source=PAPER,
        setting=FLY,
        statistic="coverage of 8 diverse samples minus that of as many tokens of plain ones, paired",
        rule=above(0),
    ),
    "vote": Claim(
        text="Their vote is better at equal tokens",
        published=EIGHT,
        source=PAPER,
        setting=FLY,
        statistic="vote of 8 diverse samples minus that of as many tokens of plain ones, paired",
        rule=above(0),
    ),
    "fidelity": Claim(
        text="One sample loses at most 3 points",
        published="no figure",
        source=PAPER,
        setting=FLY,
        statistic="share of right samples, diverse minus plain, paired",
        rule=above(-0.03),
    ),
    "temperature": Claim(
        text="A higher temperature does not do the same: more coverage at an equal share of right samples",
        published="no figure",
        source=PAPER,
        setting=FLY.replace("plain samples", f"plain samples at {BASE} to {HIGHER[-1]:g}"),
        statistic="coverage of 8 diverse samples minus that of as many tokens of plain ones at the "
        "temperature of an equal share right, bootstrap over problems",
        rule=above(0),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems and samples."""
    count, n, width, most = (4, 2, 4, 4) if trial.quick else (100, N, WIDTH, 16)
    problems = problems_of("countdown", "medium", "test", count, trial.seed)
    spread = f"diverse_openings(n={n}, width={width}, length={LENGTH}, temperature={BASE})"
    (result,) = trial.run("diverse", [spread], problems)
    diverse = pools(result, problems)
    plain: dict[float, Pools] = {}
    tokens: dict[float, float] = {}
    for t in (BASE, *HIGHER):
        (drawn,) = trial.run(
            f"temperature {t}", [f"self_consistency(n={most}, temperature={t})"], problems
        )
        plain[t] = pools(drawn, problems)
        tokens[t] = float(drawn.tokens.mean()) / most
    # plain samples for the tokens of the diverse ones, the openings that were dropped included
    spent = float(result.tokens.mean())
    same = {t: min(most, max(1, round(spent / tokens[t]))) for t in plain}
    base = plain[BASE]
    rng = trial.rng()
    votes = np.array(
        [
            maj_at_k(c, r, same[BASE], rng, 200)
            for c, r in zip(base.classes, base.right, strict=True)
        ]
    )
    covered = (diverse.correct > 0).astype(np.float64)
    own = _coverage(base, same[BASE])
    share = one_sample(diverse)
    curve = {t: (one_sample(p), _coverage(p, same[t])) for t, p in plain.items()}

    def above_temperature(rows: Ints) -> float:
        """Coverage beyond that of the temperature at which one sample is as good."""
        at = sorted(
            (float(one[rows].mean()), float(cov[rows].mean())) for one, cov in curve.values()
        )
        level = np.interp(share[rows].mean(), [x for x, _ in at], [y for _, y in at])
        return float(covered[rows].mean() - level)

    (control,) = bootstrap(above_temperature, count, trial.rng(), trial.draws)
    measured = {
        "distinct": difference(_distinct(diverse, n), _distinct(base, n)),
        "coverage": difference(covered, own),
        "vote": difference(result.right, votes),
        "fidelity": difference(share, one_sample(base)),
        "temperature": control,
    }
    tables: dict[str, list[dict[str, object]]] = {
        "countdown": [
            {
                "samples": f"{n} diverse of {width} openings",
                "tokens": spent,
                "one sample": cell(share),
                "coverage": cell(covered),
                "different answers of n": float(_distinct(diverse, n).mean()),
            },
            *(
                {
                    "samples": f"{same[t]} plain at {t}",
                    "tokens": same[t] * tokens[t],
                    "one sample": cell(curve[t][0]),
                    "coverage": cell(curve[t][1]),
                    "different answers of n": float(_distinct(p, n).mean()),
                }
                for t, p in plain.items()
            ),
        ],
        "vote": [
            {"vote of": "diverse samples", "accuracy": cell(result.right)},
            {"vote of": f"{same[BASE]} plain samples", "accuracy": cell(votes)},
        ],
    }
    ks = list(range(1, most + 1))
    panels = (
        Panel("fly, countdown medium: coverage", "completion tokens", "share solved", (
            *(Line(f"plain at {t}", [k * tokens[t] for k in ks],
                   pass_table(p.counts, p.correct, ks).mean(axis=0).tolist())
              for t, p in plain.items()),
            Line("diverse openings", [spent], [float(covered.mean())], style="dots"),
        )),
    )  # fmt: skip
    return Findings(measured, tables, panels)


def _coverage(found: Pools, k: int) -> Floats:
    """Unbiased coverage of k samples, of each problem."""
    return np.asarray(pass_table(found.counts, found.correct, [k])[:, 0])


def _distinct(found: Pools, k: int) -> Floats:
    """Different answers among the first k samples of each problem."""
    return np.array([float(len(set(row[row >= 0].tolist()))) for row in found.classes[:, :k]])


REPRODUCTION = Reproduction(
    "S149", CLAIMS, measure,
    full=Cost(calls=700, tokens=340_000, seconds=150),
    quick=Cost(calls=30, tokens=4_000, seconds=3),
)  # fmt: skip
