"""S036, particle filtering (arXiv 2502.01618): resampling steps against keeping the best ones.

The paper reports that a particle filter scales 4 to 16 times better than deterministic searches (beam
search, DVTS) and best-of-n.  Here all are run live on fly with its process reward model, and compared
on the same problems at equal completion tokens: beam search and DVTS with as many particles write as
many tokens as the filter, give or take two in a hundred; best-of-n is taken at the number of samples
that the filter's tokens buy, linear between whole numbers.

The paper's reason is that reward models err, and what a search prunes by mistake is lost.  Fly's hardly
errs, so both are also compared with one that is wrong about every fifth text on purpose.

"Four times better" is tried as what it means for a user: a quarter of the particles does as well.

The claims on few particles, and the rate over best-of-n, were added after a first run that had compared
16 particles alone; the one on errors after it too, before anything with errors was run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.pools import Bools
from outthink.lab.stats import Estimate
from outthink.reproduce._subsets import at, curve, samples_to_match, scores_of
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, cell, difference, mean_line
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above
from outthink.tasks import problems as problems_of
from outthink.train.evaluate import Result

PAPER = "arXiv 2502.01618, abstract"
FLY = "live: fly and fly-prm on chain hard, 200 test problems, temperature 1"
BETTER = "4-16x better scaling rate"
ERRS = "flawed(prm, false_positives=0.2, false_negatives=0.2)"

CLAIMS = {
    "few, beam": Claim(
        text="Few particles beat beam search at equal tokens",
        published=BETTER,
        source=PAPER,
        setting=FLY,
        statistic="particle filter of 4 minus beam search of 4 (which is DVTS of 4), paired",
        rule=above(0),
    ),
    "few, best of n": Claim(
        text="Few particles beat best-of-n at equal tokens",
        published=BETTER,
        source=PAPER,
        setting=FLY,
        statistic="particle filter of 4 minus best-of-n of as many tokens (interpolated in n), paired",
        rule=above(0),
    ),
    "beam": Claim(
        text="A particle filter beats beam search at equal tokens",
        published=BETTER,
        source=PAPER,
        setting=FLY,
        statistic="particle filter of 16 minus beam search of 16, paired",
        rule=above(0),
    ),
    "dvts": Claim(
        text="A particle filter beats diverse verifier tree search at equal tokens",
        published=BETTER,
        source=PAPER,
        setting=FLY,
        statistic="particle filter of 16 minus DVTS of 16, paired",
        rule=above(0),
    ),
    "best of n": Claim(
        text="A particle filter beats best-of-n at equal tokens",
        published=BETTER,
        source=PAPER,
        setting=FLY,
        statistic="particle filter of 16 minus best-of-n of as many tokens (interpolated in n), paired",
        rule=above(0),
    ),
    "rate over beam": Claim(
        text="A quarter of the particles does as well as beam search, within two points",
        published="4x (the least of 4-16x)",
        source=PAPER,
        setting=FLY,
        statistic="particle filter of 4 minus beam search of 16, paired",
        rule=above(-0.02),
    ),
    "rate over dvts": Claim(
        text="A quarter of the particles does as well as DVTS, within two points",
        published="4x (the least of 4-16x)",
        source=PAPER,
        setting=FLY,
        statistic="particle filter of 4 minus DVTS of 16, paired",
        rule=above(-0.02),
    ),
    "rate over best of n": Claim(
        text="A quarter of the particles does as well as best-of-n, within two points",
        published="4x (the least of 4-16x)",
        source=PAPER,
        setting=FLY,
        statistic="particle filter of 4 minus best of 16, paired",
        rule=above(-0.02),
    ),
    "errors": Claim(
        text="With a reward model that errs a particle filter beats beam search",
        published="no figure (the reason given for 4-16x)",
        source=PAPER,
        setting=f"{FLY}, {ERRS}",
        statistic="particle filter of 8 minus beam search of 8, paired",
        rule=above(0),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few easy problems and particles."""
    quick = trial.quick
    level, split, count = ("easy", "dev", 4) if quick else ("hard", "test", 200)
    few, many = (2, 4) if quick else (4, 16)
    problems = problems_of("chain", level, split, count, trial.seed)
    best, small, filtered, small_beam, beam, dvts = trial.run(
        "samples and searches",
        [
            f"best_of_n(n={many + 1}, verifier=prm)",
            f"particle_filter(n={few}, prm=prm)",
            f"particle_filter(n={many}, prm=prm)",
            f"beam_search(n={few}, prm=prm)",
            f"beam_search(n={many}, prm=prm)",
            f"dvts(n={many}, prm=prm)",
        ],
        problems,
    )
    some = many // 2
    erring, erring_vote, erring_beam = trial.run(
        "a reward model that errs",
        [
            f"particle_filter(n={some}, prm={ERRS})",
            f"particle_filter(n={some}, prm={ERRS}, vote=weighted)",
            f"beam_search(n={some}, prm={ERRS})",
        ],
        problems,
    )
    found = pools(best, problems)
    sizes = range(1, many + 2)
    table = curve(found, "best", sizes, scores_of(best, many + 1))
    each = float(found.tokens.mean())

    def matched(result: Result) -> Floats:
        """Best-of-n of as many tokens."""
        return at(table, sizes, float(result.tokens.mean()) / each)

    measured = {
        "few, beam": difference(small.right, small_beam.right),
        "few, best of n": difference(small.right, matched(small)),
        "beam": difference(filtered.right, beam.right),
        "dvts": difference(filtered.right, dvts.right),
        "best of n": difference(filtered.right, matched(filtered)),
        "rate over beam": difference(small.right, beam.right),
        "rate over dvts": difference(small.right, dvts.right),
        "rate over best of n": difference(small.right, table[:, many - 1]),
        "errors": difference(erring.right, erring_beam.right),
    }
    searches = (small, filtered, beam, dvts)
    shown = (*searches, small_beam, erring, erring_vote, erring_beam)
    rows = [_row(r.contender.strategy, r.right, float(r.tokens.mean())) for r in shown]
    rows += [_row(f"best of {n}", table[:, n - 1], n * each) for n in (1, few, many)]
    panel = Panel(
        f"fly, chain {level}", "completion tokens", "accuracy",
        (
            _line("best of n", [(n * each, table[:, n - 1]) for n in sizes]),
            _line("particle filter", [_point(small), _point(filtered)]),
            _line("beam search", [_point(small_beam), _point(beam)]),
            _line("DVTS", [_point(dvts)]),
            _line("particle filter, prm errs", [_point(erring)]),
            _line("beam search, prm errs", [_point(erring_beam)]),
        ),
    )  # fmt: skip

    def times(result: Result) -> Estimate:
        """The tokens of the best-of-n that is as good, over the result's."""

        def of(problems: Ints) -> float:
            right = float(result.right[problems].mean())
            needed = samples_to_match(table[problems].mean(axis=0), right)
            # where not even all of them are, as many as there are
            needed = many + 1 if np.isnan(needed) else needed
            return needed * each / float(result.tokens.mean())

        return bootstrap(of, count, trial.rng(), trial.draws)[0]

    rates = [times(small), times(small_beam)]
    shown_rates = [f"{r.value:.1f} ({r.low:.1f} to {r.high:.1f})" for r in rates]
    voted = difference(erring_vote.right, erring_beam.right)
    notes = [
        f"Best-of-n needs {shown_rates[0]} times the tokens of a filter of {few} for its accuracy, and "
        f"{shown_rates[1]} times those of a beam of {few}; {many + 1} samples are known, so more than "
        f"{(many + 1) / few:.1f} cannot be told.",
        "The filter gives its heaviest particle, as published, beam search a weighted vote. With a reward "
        f"model that errs the filter's own weighted vote has {erring_vote.right.mean():.3f}, over beam "
        f"search by {voted.value:+.3f} ({voted.low:+.3f} to {voted.high:+.3f}).",
        *_reasons(found.right, searches, best),
    ]
    return Findings(measured, {"strategies": rows}, (panel,), notes)


def _reasons(right: Bools, searches: tuple[Result, ...], best: Result) -> list[str]:
    """Where each of them goes wrong: problems that samples cover, and those that they do not."""
    covered: Bools = np.asarray(right.any(axis=1))
    names = ("particle filter of few", "particle filter", "beam search", "DVTS", "best of n")
    told = [
        f"{name} {_share(r.right, covered)} and {_share(r.right, ~covered)}"
        for name, r in zip(names, (*searches, best), strict=True)
    ]
    return [
        f"{int(covered.sum())} of {len(covered)} problems have a right one among "
        f"{right.shape[1]} samples. Right on these, and on the others: {'; '.join(told)}."
    ]


def _share(right: Floats, among: Bools) -> str:
    return f"{right[among].mean():.3f}" if among.any() else "none"


def _row(what: str, right: Floats, tokens: float) -> dict[str, Any]:
    accuracy = cell(right)
    return {"what": what, "accuracy": accuracy, "tokens": tokens}


def _point(result: Result) -> tuple[float, Floats]:
    return float(result.tokens.mean()), result.right


def _line(label: str, points: list[tuple[float, Floats]]) -> Line:
    return mean_line(label, [tokens for tokens, _ in points], [right for _, right in points])


REPRODUCTION = Reproduction(
    "S036", CLAIMS, measure,
    full=Cost(calls=57_000, tokens=2_100_000, seconds=1_800),
    quick=Cost(calls=370, tokens=3_500, seconds=5),
)  # fmt: skip
