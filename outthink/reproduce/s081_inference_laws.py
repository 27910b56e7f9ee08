"""S081, inference scaling laws (arXiv 2408.00724): where votes end, and small models with search.

- A vote of n samples has a limit, the share of problems whose likeliest answer is right, and nears it
  fast (theorems 1 and 2 of the paper): what n samples are worth follows from the distribution of
  answers alone.  ``outthink.laws.vote`` has that in closed form; it is put to the test by predicting
  one half of the samples from the other.
- Weighting by a reward model raises the limit.
- A tree search with a small model reaches what a larger one reaches by sampling, at fewer FLOPs.  The
  paper's search is REBASE; here it is beam search by ``fly-prm``, and the models are fly-xs and fly (a
  third and the whole of 2.3 million parameters).

FLOPs are ``2 x parameters x completion tokens``, as in the paper, which leaves out the reward model.
Fly's reward model is larger than fly-xs, so the table has FLOPs with its reading as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outthink.core.nouns import Floats
from outthink.lab.pools import Pools
from outthink.lab.stats import mean_interval
from outthink.laws.vote import ballots_of, vote_accuracy
from outthink.reproduce._subsets import at, curve, scores_of
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import cell, difference
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above, below, between
from outthink.tasks import problems as problems_of
from outthink.train.evaluate import Result

PAPER, THEORY = "arXiv 2408.00724, abstract", "arXiv 2408.00724, theorems 1 and 2"
SET = "chain medium, 200 test problems"
FLY, XS = f"live: fly on {SET}", f"live: fly-xs on {SET}"
BOTH = f"live: fly-xs with beam search of 16 by fly-prm against fly, {SET}"

CLAIMS = {
    "saturates": Claim(
        text="A majority vote saturates: its last doubling gains less than two points",
        published="no figure",
        source=THEORY,
        setting=f"{FLY}, 64 samples",
        statistic="vote of 64 minus vote of 32, paired",
        rule=below(0.02),
    ),
    "limit": Claim(
        text="The limit of the vote lies below what the samples cover",
        published="no figure",
        source=THEORY,
        setting=f"{FLY}, 64 samples",
        statistic="pass@64 minus the share of problems whose most frequent answer is right, paired",
        rule=above(0),
    ),
    "closed form": Claim(
        text="The accuracy of a vote follows from the distribution of answers",
        published="exact",
        source=THEORY,
        setting=f"{FLY}, two halves of 32 samples",
        statistic="vote of 16 by the closed form, over subsets of the first half, minus votes of 16 "
        "counted on the second, paired",
        rule=between(-0.03, 0.03),
    ),
    "weighted": Claim(
        text="A vote weighted by a reward model beats the plain vote",
        published="no figure",
        source=PAPER,
        setting=f"{FLY}, 16 samples, fly-prm",
        statistic="weighted vote of 16 minus vote of 16, the same samples, paired",
        rule=above(0),
    ),
    "search": Claim(
        text="Tree search beats sampling with the weighted vote at equal tokens",
        published="7B: 2x fewer FLOPs and more",
        source=PAPER,
        setting=XS,
        statistic="beam search of 16 minus the weighted vote of as many tokens, paired",
        rule=above(0),
    ),
    "small over vote": Claim(
        text="The small model with search beats the larger one's majority vote at equal FLOPs",
        published="Llemma-7B over Llemma-34B",
        source=PAPER,
        setting=BOTH,
        statistic="minus fly's vote of as many FLOPs (interpolated in n), paired",
        rule=above(0),
    ),
    "small over weighted": Claim(
        text="The small model with search beats the larger one's weighted vote at equal FLOPs",
        published="Llemma-7B over Llemma-34B",
        source=PAPER,
        setting=BOTH,
        statistic="minus fly's weighted vote of as many FLOPs (interpolated in n), paired",
        rule=above(0),
    ),
    "half": Claim(
        text="It reaches the larger one's weighted vote with half the FLOPs, within two points",
        published="2x fewer FLOPs",
        source=PAPER,
        setting=BOTH,
        statistic="minus fly's weighted vote of twice the FLOPs (interpolated in n), paired",
        rule=above(-0.02),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few easy problems and samples."""
    quick = trial.quick
    level, split, count = ("easy", "dev", 6) if quick else ("medium", "test", 200)
    n, many = (4, 8) if quick else (16, 64)
    half = many // 2
    problems = problems_of("chain", level, split, count, trial.seed)
    # the same calls at every use: a vote, and the samples of it that are scored
    votes: dict[str, Result] = {}
    rated: dict[str, Result] = {}
    for model in ("fly", "fly-xs"):
        votes[model], rated[model] = trial.run(
            model,
            [f"self_consistency(n={many})", f"best_of_n(n={n}, verifier=prm, vote=weighted)"],
            problems,
            model,
        )
    (search,) = trial.run("search", [f"beam_search(n={n}, prm=prm)"], problems, "fly-xs")

    fly = pools(votes["fly"], problems)
    ballots = ballots_of(fly)
    last = curve(fly, "vote", [half, many])
    parts = halves(fly, n)
    measured = {
        "saturates": difference(last[:, 1], last[:, 0]),
        "limit": difference(
            np.asarray(fly.right.any(axis=1), dtype=np.float64),
            np.array([b.limit for b in ballots]),
        ),
        "closed form": difference(parts.predicted, parts.counted),
    }
    sizes = range(1, n + 1)
    steps = [2**i for i in range(many.bit_length()) if 2**i <= many]
    tables: dict[tuple[str, str], Floats] = {}
    each: dict[str, float] = {}
    for model in ("fly", "fly-xs"):
        found = pools(rated[model], problems)
        scores = scores_of(rated[model], n)
        tables[model, "weighted"] = curve(found, "weighted", sizes, scores, trial.rng())
        tables[model, "vote"] = curve(pools(votes[model], problems), "vote", steps)
        each[model] = float(found.tokens.mean())
    per_token = {model: _flops_per_token(votes[model]) for model in each}
    tokens = float(search.tokens.mean())
    # as many samples as the search's tokens, or its FLOPs, buy
    own = tokens / each["fly-xs"]
    bought = tokens * per_token["fly-xs"] / (each["fly"] * per_token["fly"])
    weighted = tables["fly", "weighted"]
    at_n = curve(pools(rated["fly"], problems), "vote", [n])[:, 0]
    measured |= {
        "weighted": difference(weighted[:, -1], at_n),
        "search": difference(search.right, at(tables["fly-xs", "weighted"], sizes, own)),
        "small over vote": difference(search.right, at(tables["fly", "vote"], steps, bought)),
        "small over weighted": difference(search.right, at(weighted, sizes, bought)),
        "half": difference(search.right, at(weighted, sizes, 2 * bought)),
    }
    cost = {model: each[model] * per_token[model] for model in each}
    rows = [
        _row(f"{model}, vote of {k}", tables[model, "vote"][:, i], k * cost[model],
             float(votes[model].flops.mean()) * k / many)
        for model in each for i, k in enumerate(steps)
    ]  # fmt: skip
    rows += [
        _row(f"{model}, weighted vote of {k}", tables[model, "weighted"][:, k - 1],
             k * cost[model], float(rated[model].flops.mean()) * k / n)
        for model in each for k in steps if k <= n
    ]  # fmt: skip
    beam = _row(
        f"fly-xs, beam search of {n}", search.right, tokens * per_token["fly-xs"],
        float(search.flops.mean()),
    )  # fmt: skip
    rows.append(beam)
    dear = float(search.flops.mean()) / (float(rated["fly"].flops.mean()) / n)
    rival = at(weighted, sizes, dear)
    gap = difference(search.right, rival)
    plugged = difference(parts.plugged, parts.counted)
    notes = (
        f"The shares of {half} samples plugged into the closed form give a vote of {n} that is off by "
        f"{plugged.value:+.3f} ({plugged.low:+.3f} to {plugged.high:+.3f}): their own error adds to the "
        f"vote's. They give {parts.plugged.mean():.3f}, a vote of {1 / (1 / n + 1 / half):.1f} has "
        f"{parts.fewer.mean():.3f}. The first run of this claim had that statistic, which says "
        "nothing about the paper's, and was replaced by the subsets', which is without bias.",
        f"The search's FLOPs buy {bought:.1f} samples of fly; with the reward model's reading counted "
        f"on both sides {dear:.1f}, whose weighted vote has {rival.mean():.3f}: the search is better by "
        f"{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}).",
        f"One sample: fly {tables['fly', 'vote'][:, 0].mean():.3f}, fly-xs "
        f"{tables['fly-xs', 'vote'][:, 0].mean():.3f}, at {cost['fly'] / cost['fly-xs']:.1f} times fewer "
        "FLOPs: where the small model is nearly as good, it wins by its price, and search has little "
        f"part in it. Without search, its weighted vote of {n} has "
        f"{tables['fly-xs', 'weighted'][:, -1].mean():.3f}, beam search {search.right.mean():.3f}.",
    )
    return Findings(measured, {"cost": rows}, _panels(level, fly, tables, steps, cost, beam), notes)


@dataclass(frozen=True)
class Halves:
    """A vote of n from two halves of the samples, each ``(problems,)``.

    ``predicted`` by the closed form over subsets of the first, ``plugged`` with the first's shares
    taken for the truth, ``counted`` in groups of n of the second.  ``fewer`` is the closed form over
    subsets of the second at 1 / (1/n + 1/half) samples: what shares of so few samples are worth, since
    their own error comes on top of the vote's.
    """

    predicted: Floats
    plugged: Floats
    counted: Floats
    fewer: Floats


def halves(found: Pools, n: int) -> Halves:
    """Predict one half of the samples from the other; n divides the half."""
    half = found.classes.shape[1] // 2
    first, second = ballots_of(found.first(half)), _part(found, half, 2 * half)
    plugged = [
        vote_accuracy(b.counts, b.right, n, b.blank) if len(b.counts) else 0.0 for b in first
    ]
    groups = [
        [b.limit for b in ballots_of(_part(found, start, start + n))]
        for start in range(half, 2 * half, n)
    ]
    near = 1 / (1 / n + 1 / half)
    sizes = [int(near), int(near) + 1]
    return Halves(
        curve(found.first(half), "vote", [n])[:, 0],
        np.array(plugged),
        np.mean(groups, axis=0),
        at(curve(second, "vote", sizes), sizes, near),
    )


def _part(found: Pools, start: int, end: int) -> Pools:
    """Some of the samples of each problem."""
    here = (slice(None), slice(start, end))
    columns = found.classes[here], found.right[here], found.tokens[here], found.present[here]
    return Pools(*columns, found.problems)


def _flops_per_token(votes: Result) -> float:
    """FLOPs a token of a model that only writes."""
    return float(votes.flops.sum() / sum(a.usage.total_tokens for a in votes.answers))


def _row(what: str, right: Floats, flops: float, whole: float) -> dict[str, Any]:
    accuracy = cell(right)
    return {"what": what, "accuracy": accuracy, "flops": flops, "flops with reading": whole}


def _panels(
    level: str,
    fly: Pools,
    tables: Mapping[tuple[str, str], Floats],
    steps: Sequence[int],
    cost: Mapping[str, float],
    beam: Mapping[str, Any],
) -> tuple[Panel, Panel]:
    def line(label: str, x: Sequence[float], table: Floats) -> Line:
        ends = [mean_interval(column) for column in table.T]
        lows, highs = [low for low, _ in ends], [high for _, high in ends]
        return Line(label, x, table.mean(axis=0).tolist(), lows, highs)

    limit = float(np.mean([b.limit for b in ballots_of(fly)]))
    vote = Panel(f"fly, chain {level}: a vote's end", "samples", "accuracy", (
        line("vote", list(steps), tables["fly", "vote"]),
        Line("limit", [1, steps[-1]], [limit, limit], style="dashed"),
    ))  # fmt: skip
    lines = []
    for (model, rule), table in tables.items():
        if rule == "weighted":
            at_steps = [k for k in steps if k <= table.shape[1]]
            table = table[:, [k - 1 for k in at_steps]]
        else:
            at_steps = list(steps)
        lines.append(line(f"{model}, {rule}", [k * cost[model] for k in at_steps], table))
    value, low, high = beam["accuracy"]
    lines.append(Line("fly-xs, beam search", [beam["flops"]], [value], [low], [high]))
    return vote, Panel(f"chain {level}: models", "FLOPs of generation", "accuracy", lines)


REPRODUCTION = Reproduction(
    "S081", CLAIMS, measure,
    full=Cost(calls=6_100, tokens=3_000_000, seconds=1_000),
    quick=Cost(calls=110, tokens=6_000, seconds=4),
)  # fmt: skip
