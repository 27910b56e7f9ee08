"""S043, TTSPM (arXiv 2505.20522): one chance p and one ceiling say where more compute stops paying.

The law, F(N) = F_max (1 - (1 - p)^N), is fitted to few samples a problem and held against many: recorded
samples of Game of 24 and of last letters, and fly's of countdown, live.  Beside it a mixture, in which
every problem has a p of its own (``laws.coverage``).  The paper compares the N* of its formula with where
curves flatten; here N* is where one more sample gains less than 0.002.

The paper's other kind of compute, rounds of thought, is fly's dial of thinking: about 8 * 2**dial tokens.
The law is fitted to dials 0 to 3 and held against dial 6.

Not tried: the paper's models and its AIME, MATH-500 and GPQA.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.stats import Estimate
from outthink.laws.base import counts_of, grid_of
from outthink.laws.coverage import fit_beta_binomial, pass_table
from outthink.laws.saturation import fit_saturation, fit_saturation_curve
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, cell, difference
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above, below, between
from outthink.tasks import problems as problems_of

PAPER = "arXiv 2505.20522"
SETS = ("tot_game24_io", "tot_game24_cot", "esc_last_letters")
MANY = (
    "recorded: Game of 24 (GPT-4, two prompts, 100 samples), last letters (40 samples); live: fly on "
    "countdown medium, 40 test problems, 64 samples; 10 samples seen"
)
DIALS = "live: fly(think=0) to fly(think=6) on chain easy, 150 test problems"
#: a unit of compute that gains less does not pay
LEAST = 0.002

CLAIMS = {
    "curve": Claim(
        text="The law fitted to few samples predicts coverage at many",
        published="bounds agree with the curves (figures 2 to 5)",
        source=PAPER,
        setting=MANY,
        statistic="mean |error| at the most samples, over the sets",
        rule=below(0.05),
    ),
    "point": Claim(
        text="It predicts where one more sample stops paying",
        published="r = .803 between predicted and observed points (7B, MATH-500)",
        source=PAPER,
        setting=MANY,
        statistic="predicted N* to observed N*, geometric mean over the sets",
        rule=between(2 / 3, 1.5),
    ),
    "mixture": Claim(
        text="A mixture over problems predicts better than one p for all",
        published="no figure",
        source="our control",
        setting=MANY,
        statistic="mean |error| of one p minus that of the mixture",
        rule=above(0),
    ),
    "dials": Claim(
        text="The law fitted to short thoughts predicts long ones",
        published="both kinds of compute follow one form",
        source=PAPER,
        setting=DIALS,
        statistic="|error| at dial 6 of the law fitted to dials 0 to 3",
        rule=below(0.05),
    ),
    "no fall": Claim(
        text="More thinking stops paying but does not hurt",
        published="the law never falls",
        source=PAPER,
        setting=DIALS,
        statistic="dial 6 minus the best dial (chosen on the other half of the problems), paired",
        rule=above(-0.02),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few samples and problems of fly, and few draws."""
    rng = trial.rng()
    split, count, n = ("dev", 4, 6) if trial.quick else ("test", 40, 64)
    problems = problems_of("countdown", "medium", split, count, trial.seed)
    (sampled,) = trial.run("samples", [f"self_consistency(n={n})"], problems)
    counts = {name: counts_of(trial.pools(name)) for name in SETS}
    counts["fly"] = counts_of(pools(sampled, problems))
    again, draws = (2, 4) if trial.quick else (20, 100)
    found = np.array([_errors(counts, rng) for _ in range(again)])
    drawn = np.array([_errors(_redrawn(counts, rng), rng) for _ in range(draws)])
    one, mixture, ratio = (_over_sets(found, drawn, i) for i in range(3))
    measured = {
        "curve": _estimate(*one),
        "mixture": _estimate(one[0] - mixture[0], one[1] - mixture[1]),
        "point": Estimate(*np.exp(_estimate(*ratio))),
    }
    rows = [
        {
            "set": name,
            "seen": _seen(c),
            "at": int(c[0].min()),
            "|error|, one p": float(found[:, i, 0].mean()),
            "|error|, mixture": float(found[:, i, 1].mean()),
            "N*, observed": int(observed_point(c)),
            "N*, predicted to observed": float(np.exp(found[:, i, 2].mean())),
            "N*, mixture to observed": float(np.exp(found[:, i, 3].mean())),
        }
        for i, (name, c) in enumerate(counts.items())
    ]
    dials = 5 if trial.quick else 7
    easy = problems_of("chain", "easy", split, 4 if trial.quick else 150, trial.seed)
    runs = [
        trial.run(f"dial {d}", ["self_consistency(n=1)"], easy, f"fly(think={d})")[0]
        for d in range(dials)
    ]
    right = np.array([r.right for r in runs]).T
    units = np.array([2.0**d for d in range(dials)])
    (measured["dials"],) = bootstrap(
        lambda at: _dial_error(right[at], units), len(easy), trial.rng(), min(trial.draws, 500)
    )
    measured["no fall"] = difference(right[:, -1], _best(right))
    thoughts = [
        {
            "dial": d,
            "tokens": float(r.tokens.mean()),
            "accuracy": cell(r.right),
        }
        for d, r in enumerate(runs)
    ]
    return Findings(
        measured, {"samples": rows, "thinking": thoughts}, (*_panels(counts), _panel(right, units))
    )


def _seen(counts: tuple[Ints, Ints]) -> int:
    """10 samples, or a third of a small set."""
    return min(10, int(counts[0].min()) // 3)


def _few(counts: tuple[Ints, Ints], rng: np.random.Generator) -> tuple[Ints, Ints]:
    """The counts of as many random samples of each problem as are seen."""
    n, c = counts
    seen = _seen(counts)
    return np.full(len(n), seen), rng.hypergeometric(c, n - c, seen)


def _errors(counts: Mapping[str, tuple[Ints, Ints]], rng: np.random.Generator) -> Floats:
    """Of each set: |error| of one p and of the mixture, log N* of both to the observed: (sets, 4)."""
    out = []
    for n, c in counts.values():
        few, most = _few((n, c), rng), int(n.min())
        if not few[1].any():  # nothing right was seen: both laws say that nothing will be
            miss = float(pass_table(n, c, [most]).mean())
            out.append([miss, miss, np.nan, np.nan])
            continue
        truth = float(pass_table(n, c, [most]).mean())
        one, mixture = fit_saturation(few, draws=0), fit_beta_binomial(few, draws=0)
        star = np.log(observed_point((n, c)))
        grid = np.arange(1, 20 * most)
        gains = np.diff(mixture.predict(grid).value)
        out.append(
            [
                abs(float(one.predict(most).value[0]) - truth),
                abs(float(mixture.predict(most).value[0]) - truth),
                np.log(max(one.saturation(LEAST).value, 1.0)) - star,
                np.log(1 + (gains >= LEAST).sum()) - star,
            ]
        )
    return np.array(out)


def observed_point(counts: tuple[Ints, Ints]) -> int:
    """The number of samples after which one more gains less than ``LEAST``."""
    n, c = counts
    curve = pass_table(n, c, np.arange(1, int(n.min()) + 1)).mean(axis=0)
    return 1 + int((np.diff(curve) >= LEAST).sum())


def _redrawn(
    counts: Mapping[str, tuple[Ints, Ints]], rng: np.random.Generator
) -> dict[str, tuple[Ints, Ints]]:
    """Every set with its problems drawn again."""
    out = {}
    for name, (n, c) in counts.items():
        at = rng.integers(0, len(n), len(n))
        out[name] = n[at], c[at]
    return out


def _over_sets(found: Floats, drawn: Floats, i: int) -> tuple[float, Floats]:
    """The mean of a column over sets, and in each draw."""
    return float(np.nanmean(found[:, :, i])), np.nanmean(drawn[:, :, i], axis=1)


def _estimate(value: float, drawn: Floats) -> Estimate:
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(value, float(low), float(high))


def _dial_error(right: Floats, units: Floats) -> float:
    """How far the law of dials 0 to 3 is from the last dial; NaN where none of them was right."""
    if not right[:, :4].any():
        return float("nan")
    law = fit_saturation_curve(right[:, :4], units[:4], draws=0)
    return abs(float(law.predict(units[-1]).value[0]) - float(right[:, -1].mean()))


def _best(right: Floats) -> Floats:
    """Each problem's result at the dial that is best on the other half, ``(problems,)``."""
    out, half = np.empty(len(right)), np.arange(len(right)) % 2 == 0
    for mine in (half, ~half):
        out[mine] = right[mine, right[~mine].mean(axis=0).argmax()]
    return out


def _panels(counts: Mapping[str, tuple[Ints, Ints]]) -> list[Panel]:
    rng, out = np.random.default_rng(0), []
    for name, (n, c) in counts.items():
        k = grid_of(int(n.min()))
        few, x = _few((n, c), rng), k.tolist()
        lines = [Line("all samples", x, pass_table(n, c, k).mean(axis=0).tolist(), style="dots")]
        if few[1].any():
            mixture = fit_beta_binomial(few, draws=0).predict(k).value
            lines.append(Line("one p", x, fit_saturation(few, draws=0).predict(k).value.tolist()))
            lines.append(Line("mixture", x, mixture.tolist(), style="dashed"))
        out.append(Panel(f"{name}: {_seen((n, c))} samples seen", "samples", "pass@k", lines))
    return out


def _panel(right: Floats, units: Floats) -> Panel:
    lines = [Line("fly", units.tolist(), right.mean(axis=0).tolist(), style="dots")]
    if right[:, :4].any():
        law = fit_saturation_curve(right[:, :4], units[:4], draws=0).predict(units).value
        lines.append(Line("the law of dials 0 to 3", units.tolist(), law.tolist()))
    return Panel("fly, chain easy: thinking", "2^dial (8 tokens each)", "accuracy", lines)


REPRODUCTION = Reproduction(
    "S043", CLAIMS, measure,
    full=Cost(calls=1_100, tokens=150_000, seconds=180),
    quick=Cost(calls=40, tokens=4_000, seconds=6),
    sets=("tot_game24", "esc_last_letters"),
)  # fmt: skip
