"""S153, Don't Think Twice! (arXiv 2508.15050): does thinking longer make a model over-confident?

The paper asks models how sure experts are of a statement, on four levels, within budgets of thinking: the
longer they think the higher they aim, and past a modest budget the less often they are right; looking the
statement up mends it.  Here the instrument is tried where the truth is known, and then put to fly:

- simulation: a judge who sees a statement's level through noise that falls as it thinks, and drifts upward
  by d for each e-fold of tokens; the trend has to find d, and accuracy has to have its best inside;
- fly's dial of thinking (``fly(think=k)``), and forced extensions ("again" in place of the end of a
  thought): the share of a vote of 8, or the probability of the answer's tokens, as the confidence.

Not here: the climate and health statements, and the search that mends it (fly has nothing to look up).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, difference
from outthink.reproduce.rules import above, agrees, below
from outthink.select.calibration import brier, ece
from outthink.select.overconfidence import bias, overconfidence, slope, trend
from outthink.tasks import check
from outthink.tasks import problems as problems_of
from outthink.train.evaluate import Result

PAPER = "arXiv 2508.15050, abstract"
SIMULATED = "simulation: 2,000 statements of four levels, 64 to 16,384 tokens"
DIALS, WAITS = (1, 2, 3, 5), (0, 1, 3)
VOTE = "vote share of 8 as the confidence"
DIAL = "live: fly(think=1), 2, 3 and 5 on chain easy, 60 test problems x 8 samples"
AGAIN = "live: fly(think=3) with 0, 1 and 3 forced extensions on chain easy, 30 test problems x 8 samples"
#: levels that the simulated judge gains for each e-fold of tokens
DRIFT = 0.25

CLAIMS = {
    "drift": Claim(
        text="The trend of the bias finds a drift that was planted",
        published="no figure (a check of the instrument)",
        source=PAPER,
        setting=SIMULATED,
        statistic=f"trend of the bias on log tokens; planted: {DRIFT}",
        rule=agrees(DRIFT, 0.02),
    ),
    "no drift": Claim(
        text="Without a drift it finds none",
        published="no figure (a control)",
        source=PAPER,
        setting=SIMULATED,
        statistic="trend of the bias on log tokens; planted: 0",
        rule=agrees(0.0, 0.02),
    ),
    "peak": Claim(
        text="With a drift thinking pays at first, and costs accuracy later",
        published="diminishing and negative returns beyond modest budgets",
        source=PAPER,
        setting=SIMULATED,
        statistic="accuracy of the level at the best budget inside minus that at the longest",
        rule=above(0),
    ),
    "over-confidence, dial": Claim(
        text="Over-confidence rises with the budget of thinking",
        published="no figure in the abstract",
        source=PAPER,
        setting=DIAL,
        statistic=f"trend of over-confidence on log tokens, {VOTE}",
        rule=above(0),
    ),
    "over-confidence, beyond": Claim(
        text="Beyond a modest budget over-confidence rises",
        published="no figure in the abstract",
        source=PAPER,
        setting=DIAL,
        statistic=f"over-confidence at dial 5 minus dial 3, {VOTE}",
        rule=above(0),
    ),
    "over-confidence, tokens": Claim(
        text="Beyond a modest budget over-confidence rises",
        published="no figure in the abstract",
        source=PAPER,
        setting="live: fly(think=3) and 5 on chain easy, 250 test problems, one answer each",
        statistic="over-confidence at dial 5 minus dial 3, probability of the answer's tokens",
        rule=above(0),
    ),
    "accuracy, beyond": Claim(
        text="Beyond a modest budget accuracy falls",
        published="negative returns",
        source=PAPER,
        setting=DIAL,
        statistic="share of right samples at dial 5 minus dial 3, paired",
        rule=below(0),
    ),
    "over-confidence, again": Claim(
        text="A model that is made to think on is more over-confident",
        published="no figure in the abstract",
        source=PAPER,
        setting=AGAIN,
        statistic=f"over-confidence with 3 extensions minus without, {VOTE}",
        rule=above(0),
    ),
    "accuracy, again": Claim(
        text="A model that is made to think on is right less often",
        published="negative returns",
        source=PAPER,
        setting=AGAIN,
        statistic="share of right samples with 3 extensions minus without, paired",
        rule=below(0),
    ),
}


def judged(gold: Ints, tokens: float, drift: float, rng: np.random.Generator) -> Floats:
    """What a judge thinks of statements of these levels after so many tokens, on the same scale.

    The noise is 1.2 levels at 64 tokens and falls with the logarithm of the tokens.  A judge that drifts
    begins below the truth, by 1.5 times the drift, and ends above it.
    """
    steps = np.log(tokens / 64.0)
    noise = 1.2 / np.sqrt(1.0 + 2.0 * steps)
    return np.asarray(gold + drift * (steps - 1.5) + noise * rng.standard_normal(len(gold)))


def leveled(said: Floats) -> Ints:
    """The nearest of the four levels."""
    return np.clip(np.rint(said), 0, 3).astype(np.int64)


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few statements, problems and samples."""
    measured, rows, panels = _simulated(trial)
    live = _vote_of(trial)
    measured |= live[0]
    measured["over-confidence, tokens"] = _tokens(trial)
    return Findings(
        measured, {"simulated": rows, "fly": live[1]}, [*panels, *live[2]], [_why(live[1])]
    )


# -- simulation ----------------------------------------------------------------------------------------


def _simulated(trial: Trial) -> tuple[dict[str, Any], list[dict[str, Any]], list[Panel]]:
    count = 200 if trial.quick else 2000
    budgets = [64 * 4**k for k in range(5)]
    rng = trial.rng()
    gold = np.repeat(np.arange(4), count // 4)
    measured: dict[str, Any] = {}
    rows = []
    for name, drift in (("drift", DRIFT), ("no drift", 0.0)):
        said = np.stack([judged(gold, t, drift, rng) for t in budgets], axis=1)
        (measured[name],) = bootstrap(
            partial(_drift, budgets, said - gold[:, None]), count, trial.rng(), trial.draws
        )
        levels = leveled(said)
        right = (levels == gold[:, None]).astype(float)
        for t, given, hit in zip(budgets, levels.T, right.T, strict=True):
            rows.append(
                {
                    "drift": drift, "tokens": t, "accuracy": float(hit.mean()),
                    "bias": bias(given, gold), "slope": slope(given, gold),
                }
            )  # fmt: skip
        if drift:
            inside = 1 + int(right[:, 1:-1].mean(axis=0).argmax())
            measured["peak"] = difference(right[:, inside], right[:, -1])
    of = [row for row in rows if row["drift"]]
    lines = [
        Line(what, budgets, [row[what] for row in of]) for what in ("accuracy", "bias", "slope")
    ]
    return measured, rows, [Panel("a judge that drifts", "tokens", "level", lines)]


def _drift(budgets: Sequence[float], excess: Floats, at: Ints) -> float:
    return float(trend(budgets, excess[at].mean(axis=0)))


# -- fly -----------------------------------------------------------------------------------------------


def _vote_of(trial: Trial) -> tuple[dict[str, Any], list[dict[str, Any]], list[Panel]]:
    quick = trial.quick
    split, n = ("dev", 3) if quick else ("test", 8)
    many, few = (8, 6) if quick else (60, 30)
    problems = problems_of("chain", "easy", split, many, trial.seed)
    dials = {}
    for k in DIALS:
        (dials[k],) = trial.run(
            f"dial {k}", [f"self_consistency(n={n})"], problems, f"fly(think={k})"
        )
    specs = [f"budget_forcing(waits={w}, n={n})" for w in WAITS]
    forced = trial.run("forced extensions", specs, problems[:few], "fly(think=3)")
    again = dict(zip(WAITS, forced, strict=True))
    said = {k: _said(r, problems) for k, r in dials.items()}
    more = {w: _said(r, problems[:few]) for w, r in again.items()}
    tokens = [float(r.tokens.mean()) / n for r in dials.values()]

    def rising(at: Ints) -> float:
        return float(trend(tokens, np.array([_over(some, at) for some in said.values()])))

    def over(a: tuple[Floats, ...], b: tuple[Floats, ...], count: int) -> Any:
        return bootstrap(lambda at: _over(a, at) - _over(b, at), count, trial.rng(), trial.draws)[0]

    measured = {
        "over-confidence, dial": bootstrap(rising, many, trial.rng(), trial.draws)[0],
        "over-confidence, beyond": over(said[5], said[3], many),
        "accuracy, beyond": difference(said[5][2], said[3][2]),
        "over-confidence, again": over(more[WAITS[-1]], more[0], few),
        "accuracy, again": difference(more[WAITS[-1]][2], more[0][2]),
    }
    rows = [_row(f"dial {k}", dials[k], said[k], n) for k in DIALS]
    rows += [_row(f"{w} extensions", again[w], more[w], n) for w in WAITS]
    panels = []
    for title, some in (("dial", rows[: len(DIALS)]), ("forced extensions", rows[len(DIALS) :])):
        lines = [
            Line(what, [r["tokens"] for r in some], [r[what] for r in some])
            for what in ("confidence", "vote right", "over-confidence", "ece")
        ]
        panels.append(Panel(f"fly on chain easy: {title}", "tokens of a sample", "share", lines))
    return measured, rows, panels


def _said(result: Result, problems: Sequence[Any]) -> tuple[Floats, ...]:
    """Of each problem: the share of the winning answer, whether it is right, the share of right samples."""
    share = np.array([a.confidence or 0.0 for a in result.answers])
    ones = [
        np.mean([check(p, s.text) for s in a.candidates])
        for p, a in zip(problems, result.answers, strict=True)
    ]
    return share, result.right, np.array(ones, dtype=np.float64)


def _over(some: tuple[Floats, ...], at: Ints) -> float:
    return overconfidence(some[0][at], some[1][at])


def _tokens(trial: Trial) -> Any:
    split, count = ("dev", 12) if trial.quick else ("test", 250)
    problems = problems_of("chain", "easy", split, count, trial.seed)
    spec = "selective(strategy=self_consistency(n=1), threshold=0, verifier=final_answer)"
    gap = []
    for k in (5, 3):
        (found,) = trial.run(f"dial {k}, one answer", [spec], problems, f"fly(think={k})")
        gap.append(np.array([a.confidence or 0.0 for a in found.answers]) - found.right)
    return difference(gap[0], gap[1])


def _row(name: str, result: Result, said: tuple[Floats, ...], n: int) -> dict[str, Any]:
    share, right, ones = said
    return {
        "budget": name, "tokens": float(result.tokens.mean()) / n,
        "one right": float(ones.mean()), "vote right": float(right.mean()),
        "confidence": float(share.mean()), "over-confidence": overconfidence(share, right),
        "ece": ece(share, right), "brier": brier(share, right),
    }  # fmt: skip


def _why(rows: Sequence[dict[str, Any]]) -> str:
    best = max(rows, key=lambda r: r["one right"])
    return (
        f"fly's samples are right most often at {best['budget']} ({best['one right']:.3f}, "
        f"{best['tokens']:.0f} tokens). The share of a vote falls where its samples scatter, so it is "
        "modest where thinking goes wrong each time in another way; the probability of the answer's "
        "tokens is not."
    )


REPRODUCTION = Reproduction(
    "S153", CLAIMS, measure,
    full=Cost(calls=4_500, tokens=260_000, seconds=180),
    quick=Cost(calls=250, tokens=14_000, seconds=8),
)  # fmt: skip
