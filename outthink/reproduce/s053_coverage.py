"""S053, Large Language Monkeys (arXiv 2407.21787): coverage grows with samples, by a law.

Tried on recorded samples: GPT-4 on Game of 24 with two prompts (Tree of Thoughts, arXiv 2305.10601),
CodeGen-Mono-16B on HumanEval (CodeT, arXiv 2207.10397), GPT-3.5 on last letters (ESC); and live on fly's
hard chains.  First, whether our pass@k gives the figures that were printed for the same samples.
Then the paper's claims:

- coverage follows c(k) = exp(a k^b): the law is fitted to a random quarter of each problem's samples
  and has to predict pass@n of all of them;
- what is better at one sample need not be better at many (two prompts whose curves cross);
- a majority vote stops gaining where coverage goes on.

Intervals are over problems.  For the law, a bootstrap draw takes problems with replacement and a
fresh quarter of their samples, so that the luck of the quarter is in the interval.
"""

from __future__ import annotations

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats, Ints
from outthink.lab.pools import Bools, Classes
from outthink.lab.stats import mean_interval
from outthink.laws.base import grid_of
from outthink.laws.coverage import fit_power_law, pass_table
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, cell, difference, exact
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above, agrees, below, between
from outthink.select.coverage import maj_at_k
from outthink.tasks import problems as problems_of

GAME = "recorded: GPT-4 on Game of 24, 100 problems x 100 samples"
HUMAN = "recorded: CodeGen-Mono-16B on HumanEval, 164 problems x 100 samples"
LETTERS = "recorded: GPT-3.5 on last letters, 500 problems x 40 samples"
FLY = "live: fly on chain hard, 200 test problems x 64 samples"
TOT, CODET, PAPER = "arXiv 2305.10601", "arXiv 2207.10397", "arXiv 2407.21787"

LAW = "Coverage against samples is modelled by an exponentiated power law"
ERROR = "law of a random quarter of the samples, predicted minus observed pass@{}"


def _law(setting: str, n: int) -> Claim:
    rule = between(-0.03, 0.03)
    return Claim(
        text=LAW,
        published="no figure",
        source=f"{PAPER}, abstract",
        setting=setting,
        statistic=ERROR.format(n),
        rule=rule,
    )


CLAIMS = {
    "io@100": Claim(
        text="Best of 100 with the io prompt",
        published=".33",
        source=TOT,
        setting=GAME,
        statistic="pass@100, io",
        rule=agrees(0.33, 0.005),
    ),
    "cot@100": Claim(
        text="Best of 100 with a chain of thought",
        published=".49",
        source=TOT,
        setting=GAME,
        statistic="pass@100, cot",
        rule=agrees(0.49, 0.005),
    ),
    "humaneval@10": Claim(
        text="pass@10 of CodeGen-Mono-16B",
        published=".503",
        source=CODET,
        setting=HUMAN,
        statistic="pass@10",
        rule=agrees(0.503, 0.01),
    ),
    "humaneval@100": Claim(
        text="pass@100 of CodeGen-Mono-16B",
        published=".737",
        source=CODET,
        setting=HUMAN,
        statistic="pass@100",
        rule=agrees(0.737, 0.01),
    ),
    "law io": _law(f"{GAME}, io", 100),
    "law cot": _law(f"{GAME}, cot", 100),
    "law humaneval": _law(HUMAN, 100),
    "law letters": _law(LETTERS, 40),
    "law fly": _law(FLY, 64),
    "worse at 1": Claim(
        text="Of two prompts the chain of thought is worse at one sample",
        published=".04 against .073",
        source=TOT,
        setting=GAME,
        statistic="pass@1 of cot minus that of io, paired",
        rule=below(0),
    ),
    "better at 100": Claim(
        text="The same chain of thought is better at a hundred samples",
        published=".49 against .33",
        source=TOT,
        setting=GAME,
        statistic="pass@100 of cot minus that of io, paired",
        rule=above(0),
    ),
    "plateau": Claim(
        text="A majority vote stops gaining where coverage goes on",
        published="plateau beyond several hundred samples",
        source=f"{PAPER}, abstract",
        setting=LETTERS,
        statistic="gain of coverage from 10 to 40 samples minus gain of the vote, paired",
        rule=above(0),
    ),
    "plateau fly": Claim(
        text="A majority vote stops gaining where coverage goes on",
        published="plateau beyond several hundred samples",
        source=f"{PAPER}, abstract",
        setting=FLY,
        statistic="gain of coverage from a quarter to all samples minus gain of the vote, paired",
        rule=above(0),
    ),
    "vote": Claim(
        text="The vote itself gains next to nothing",
        published="plateau",
        source=f"{PAPER}, abstract",
        setting=LETTERS,
        statistic="vote@40 minus vote@10, paired",
        rule=below(0.01),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes fewer draws."""
    rng = trial.rng()
    names = ("tot_game24_io", "tot_game24_cot", "codet_humaneval", "esc_last_letters")
    io, cot, human, letters = (trial.pools(name).right for name in names)
    classes = trial.pools("esc_last_letters").classes
    count, width = (24, 16) if trial.quick else (200, 64)
    fresh = problems_of("chain", "hard", "test", count, trial.seed)
    (drawn,) = trial.run("fly", [f"self_consistency(n={width})"], fresh)
    live = pools(drawn, fresh)
    fly = live.right
    series = {"io": io, "cot": cot, "humaneval": human, "letters": letters, "fly": fly}

    measured = {
        "io@100": exact(_pass(io, 100).mean()),
        "cot@100": exact(_pass(cot, 100).mean()),
        "humaneval@10": exact(_pass(human, 10).mean()),
        "humaneval@100": exact(_pass(human, 100).mean()),
        "worse at 1": difference(_pass(cot, 1), _pass(io, 1)),
        "better at 100": difference(_pass(cot, 100), _pass(io, 100)),
    }
    draws = trial.draws // 4 if trial.quick else trial.draws // 2
    laws, panels = [], []
    for name, right in series.items():
        quarter = right.shape[1] // 4

        def error(problems: Ints, right: Bools = right, quarter: int = quarter) -> float:
            return _held_out(right[problems], quarter, rng)

        (found,) = bootstrap(error, len(right), rng, draws)
        # one quarter is luck: the value is the mean over many
        value = float(np.mean([_held_out(right, quarter, rng) for _ in range(20)]))
        measured[f"law {name}"] = found._replace(value=value)
        law = fit_power_law(_counts(right), most=quarter, draws=0)
        fitted = {n: round(float(e.value), 4) for n, e in law.parameters.items()}
        laws.append({"series": name, "seen": quarter, **fitted, "error": value})
        panels.append(_panel(name, right, quarter))

    few, many = (_vote(classes, letters, k, trial) for k in (10, 40))
    gain = _pass(letters, 40) - _pass(letters, 10)
    measured["plateau"] = difference(gain, many - few)
    measured["vote"] = difference(many, few)
    few, many = (_vote(live.classes, fly, k, trial) for k in (width // 4, width))
    gain = _pass(fly, width) - _pass(fly, width // 4)
    measured["plateau fly"] = difference(gain, many - few)

    def crossing(problems: Ints) -> float:
        return _crossing(io[problems], cot[problems])

    (cross,) = bootstrap(crossing, len(io), rng, trial.draws)
    tables = {"pass@k": [_row(name, right) for name, right in series.items()], "law": laws}
    note = (
        f"The curves of io and cot cross at k = {cross.value:.1f} "
        f"({cross.low:.1f} to {cross.high:.1f})."
    )
    return Findings(measured, tables, panels, [note])


def _counts(right: Bools) -> tuple[Ints, Ints]:
    return np.full(len(right), right.shape[1]), right.sum(axis=1)


def _pass(right: Bools, k: int) -> Floats:
    """Unbiased pass@k of each problem, ``(problems,)``."""
    return pass_table(*_counts(right), [k])[:, 0]


def _held_out(right: Bools, seen: int, rng: np.random.Generator) -> float:
    """Predicted minus observed pass@n, from ``seen`` random samples a problem; NaN without a fit."""
    n, c = _counts(right)
    quarter = rng.hypergeometric(c, n - c, seen)
    try:
        law = fit_power_law((np.full(len(n), seen), quarter), draws=0)
    except BadInput:  # no right sample at all
        return float("nan")
    return float(law.predict(n[0]).value[0] - _pass(right, int(n[0])).mean())


def _vote(classes: Classes, right: Bools, k: int, trial: Trial) -> Floats:
    """The chance that a vote of k is right, ``(problems,)``."""
    rng = trial.rng()
    return np.array(
        [
            maj_at_k(c.astype(np.int64), r, k, rng, trial.draws // 10)
            for c, r in zip(classes, right, strict=True)
        ]
    )


def _crossing(a: Bools, b: Bools) -> float:
    """The k from which on ``b`` covers more than ``a``, between whole k by a line in log k."""
    n = a.shape[1]
    k = np.arange(1, n + 1)
    gap = pass_table(*_counts(b), k).mean(axis=0) - pass_table(*_counts(a), k).mean(axis=0)
    behind = np.flatnonzero(gap <= 0)
    if not len(behind) or behind[-1] == n - 1:
        return float("nan")
    i = behind[-1]
    share = -gap[i] / (gap[i + 1] - gap[i])
    return float(k[i] * (k[i + 1] / k[i]) ** share)


def _row(name: str, right: Bools) -> dict[str, object]:
    found = {k: _pass(right, k) for k in (1, 4, 10, 16, 32, 40, 64, 100) if k <= right.shape[1]}
    each = {f"@{k}": cell(v) for k, v in found.items()}
    return {"series": name, "problems": len(right), **each}


def _panel(name: str, right: Bools, seen: int) -> Panel:
    k = grid_of(right.shape[1])
    values = pass_table(*_counts(right), k)
    ends = np.array([mean_interval(v) for v in values.T])
    law = fit_power_law(_counts(right), most=seen, draws=0).predict(k).value
    return Panel(
        f"{name}: coverage, and the law of k <= {seen}", "samples k", "pass@k",
        (
            Line("observed", k.tolist(), values.mean(axis=0).tolist(),
                 ends[:, 0].tolist(), ends[:, 1].tolist()),
            Line("exp(a k^b)", k.tolist(), law.tolist(), style="dashed"),
        ),
    )  # fmt: skip


REPRODUCTION = Reproduction(
    "S053", CLAIMS, measure,
    full=Cost(12_800, 1_400_000, 420), quick=Cost(384, 41_000, 15),
    sets=("tot_game24", "codet_humaneval", "esc_last_letters"),
)  # fmt: skip
