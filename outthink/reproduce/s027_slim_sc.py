"""S027, Slim-SC (arXiv 2509.13990): are chains that think alike worth dropping?

The paper prunes chains whose newest thoughts are near-duplicates, and keeps its accuracy with less
latency and memory.  Dropping chains blindly saves as much, so what decides is the control: as many
chains, dropped in the same rounds, at random.  Here a thought is fly's latest lines, of 25 tokens or more.

Many chains of every problem are drawn once; votes of n and every way to prune n are then replayed on the
same random subsets of them, line by line, as ``slim_sc`` does it live (where the tokens are also
counted).  The unit is the problem.

Not tried: sentence encoders, reasoning models, latency and cache memory (tokens stand for them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from outthink.core.nouns import Floats, Ints
from outthink.core.registry import build
from outthink.lab.pools import Pools
from outthink.lab.stats import Estimate
from outthink.reproduce._subsets import at, curve
from outthink.reproduce._votes import vote_credit
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import cell, difference
from outthink.reproduce.live import pools
from outthink.reproduce.rules import above
from outthink.select.prune import heirs, sameness
from outthink.select.utilities import similarity_matrix
from outthink.tasks import problems as problems_of

Bools = npt.NDArray[np.bool_]
PAPER = "arXiv 2509.13990, abstract"
FLY = "live: fly on chain medium, 100 test problems, 32 chains of each; 16 of them at a time"
#: of the claims: the strategy's defaults
THRESHOLD, DELAY, LEAST = 0.98, 4, 25
GRID = [(t, d) for t in (0.98, 0.9, 0.8) for d in (2, 4, 6, 8)]

CLAIMS = {
    "alike": Claim(
        text="Chains with near-duplicate thoughts end in the same answer more often than others",
        published="no figure",
        source="arXiv 2509.13990",
        setting=FLY,
        statistic="share of equal answers among like pairs of thoughts minus among others, per problem",
        rule=above(0),
    ),
    "saves": Claim(
        text="Pruning saves",
        published="latency up to 45 %, cache up to 26 %",
        source=PAPER,
        setting="live: slim_sc(n=16) on the same problems",
        statistic="1 - tokens over the mean tokens of 16 whole chains, per problem",
        rule=above(0.1),
    ),
    "accuracy": Claim(
        text="Pruning keeps the accuracy of the vote",
        published="maintained or improved",
        source=PAPER,
        setting=FLY,
        statistic="diversity pruning minus the vote of all 16, paired",
        rule=above(-0.02),
    ),
    "control": Claim(
        text="Which chains are dropped matters",
        published="no figure",
        source="control: as many chains dropped blindly in the same rounds",
        setting=FLY,
        statistic="diversity pruning minus the control, paired",
        rule=above(0),
    ),
    "equal tokens": Claim(
        text="Pruning beats fewer whole chains",
        published="no figure",
        source="control: a vote of whole chains at the same tokens",
        setting=FLY,
        statistic="diversity pruning minus the vote of as many whole chains as its tokens pay, paired",
        rule=above(0),
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Chains:
    """Whole chains of one problem: ``lines`` of each, tokens ``(m, lines)`` up to each line's end."""

    lines: list[list[str]]
    tokens: Floats
    classes: Ints
    right: Bools

    @property
    def lengths(self) -> Ints:
        """Lines of each, ``(m,)``."""
        return np.array([len(own) for own in self.lines])


def chains_of(found: Pools, i: int, texts: Sequence[str]) -> Chains:
    """One problem's chains; the tokens after a chain's last line are those of all of it."""
    tokenizer = build("fly", "model").open().tokenizer
    lines = [text.splitlines(keepends=True) for text in texts]
    out = np.tile(found.tokens[i][:, None], (1, max(map(len, lines))))
    for row, own in zip(out, lines, strict=True):
        ends = np.cumsum([len(tokenizer.encode(line)) for line in own])
        row[: len(own) - 1] = ends[:-1]
    return Chains(lines, out, found.classes[i].astype(np.int64), found.right[i])


def likeness(chains: Chains) -> tuple[Floats, Floats]:
    """Cosines of the thoughts that end with each line, ``(lines, m, m)``, and of a chain's own lines.

    The second as their mean after each line, ``(lines, m)``.  A thought is the line with as many before
    it as make ``LEAST`` tokens; what a chain has not is like none.
    """
    m, most = chains.tokens.shape
    begun = np.concatenate([np.zeros((m, 1)), chains.tokens], axis=1)
    thoughts: dict[tuple[int, int], str] = {}
    for i, lines in enumerate(chains.lines):
        for r in range(len(lines)):
            enough = np.flatnonzero(begun[i, r + 1] - begun[i, : r + 1] >= LEAST)
            if len(enough):
                thoughts[i, r] = "".join(lines[enough[-1] : r + 1])
    kinds = sorted({*thoughts.values(), *(line for own in chains.lines for line in own)})
    number = {text: k for k, text in enumerate(kinds)}
    cosine = similarity_matrix(kinds)
    np.fill_diagonal(cosine, 1.0)
    alike, own = np.zeros((most, m, m)), np.zeros((most, m))
    for r in range(most):
        there = np.array([j for j in range(m) if (j, r) in thoughts], dtype=np.int64)
        at_r = [number[thoughts[j, r]] for j in there]
        alike[r][np.ix_(there, there)] = cosine[np.ix_(at_r, at_r)]
        for j in np.flatnonzero(chains.lengths > r):
            mine = [number[line] for line in chains.lines[j][: r + 1]]
            own[r, j] = sameness(cosine[np.ix_(mine, mine)])
    return alike, own


@dataclass(frozen=True, eq=False)
class Pruned:
    """What pruning came to on each subset: chance to be right, tokens ``(draws,)``; ``dropped`` each round.

    ``inherited``: the chance where the votes of those dropped go to those that they were like.
    """

    right: Floats
    inherited: Floats
    tokens: Floats
    dropped: Ints


def credit(chains: Chains, chosen: Ints, weights: Floats) -> Floats:
    """The chance that a weighted vote of ``chosen (draws, n)`` is right, ``(draws,)``."""
    return vote_credit(chains.classes[chosen], weights, chains.right[chosen])


def prune(
    chains: Chains,
    known: tuple[Floats, Floats],
    chosen: Ints,
    how: str,
    rng: np.random.Generator,
    threshold: float = THRESHOLD,
    delay: int = DELAY,
    quota: Ints | None = None,
) -> Pruned:
    """Pruning as ``slim_sc`` does it, on subsets ``chosen (draws, n)`` of a problem's chains.

    ``how`` is ``diversity``, ``random`` or ``blind``: as many as ``quota (draws, rounds)`` says, any.
    After round r a chain that goes on is known by what it thought before its newest line.
    """
    alike, own = known
    rows, n = chosen.shape
    here = np.arange(n)
    lengths = chains.lengths[chosen]
    tokens = chains.tokens[chosen, -1]
    heir = np.tile(here, (rows, 1))
    rounds = alike.shape[0]
    dropped = np.zeros((rows, rounds + 1), dtype=np.int64)
    alive = np.ones((rows, n), dtype=bool)
    for r in range(max(delay, 2), rounds + 1):
        running = alive & (lengths >= r)
        worth = -own[r - 1][chosen] if how == "diversity" else rng.random((rows, n))
        if how == "blind":
            assert quota is not None
            rank = np.argsort(np.argsort(np.where(running, worth, np.inf), axis=-1), axis=-1)
            goes, taken = running & (rank < quota[:, r : r + 1]), np.tile(here, (rows, 1))
        else:
            like = alike[r - 2][chosen[:, :, None], chosen[:, None, :]]
            taken = heirs(like, worth, threshold, running)
            goes = taken != here
        tokens = np.where(goes, chains.tokens[:, r - 1][chosen], tokens)
        heir = np.take_along_axis(taken, heir, axis=-1)
        alive &= ~goes
        dropped[:, r] = goes.sum(axis=-1)
    votes = (heir[:, :, None] == here).sum(axis=1).astype(np.float64)
    return Pruned(
        credit(chains, chosen, alive.astype(np.float64)),
        credit(chains, chosen, votes),
        tokens.sum(axis=-1),
        dropped,
    )


def ends_alike(chains: Chains, alike: Floats, threshold: float, delay: int) -> float:
    """P(same answer | like thoughts) - P(same answer | others), all pairs and rounds; NaN for none."""
    same = (chains.classes[:, None] == chains.classes) & (chains.classes >= 0)
    pair = np.tril(np.ones(same.shape, dtype=bool), -1)
    hits, counts = np.zeros(2), np.zeros(2)
    for r in range(max(delay, 2), alike.shape[0] + 1):
        running = chains.lengths >= r
        able = pair & running[:, None] & running
        for k in (0, 1):
            some = able & ((alike[r - 2] >= threshold) == bool(k))
            hits[k] += same[some].sum()
            counts[k] += some.sum()
    return float("nan") if not counts.all() else float(hits[1] / counts[1] - hits[0] / counts[0])


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few short problems."""
    level, split, count, m, n, draws = (
        ("easy", "dev", 6, 6, 4, 8) if trial.quick else ("medium", "test", 100, 32, 16, 40)
    )
    delay = 2 if trial.quick else DELAY
    problems = problems_of("chain", level, split, count, trial.seed)
    (vote,) = trial.run("chains", [f"self_consistency(n={m})"], problems)
    (slim,) = trial.run("pruned", [f"slim_sc(n={n}, delay={delay})"], problems)
    found, rng = pools(vote, problems), trial.rng()
    arms: dict[str, list[tuple[float, float]]] = {}
    alike: list[float] = []
    for i, answer in enumerate(vote.answers):
        chains = chains_of(found, i, [c.text for c in answer.candidates[: found.classes.shape[1]]])
        known = likeness(chains)
        alike.append(ends_alike(chains, known[0], THRESHOLD, delay))
        chosen = np.argsort(rng.random((draws, chains.tokens.shape[0])), axis=-1)[:, :n]
        whole = chains.tokens[chosen, -1].sum(axis=-1)

        def note(name: str, right: Floats, tokens: Floats) -> None:
            arms.setdefault(name, []).append((float(right.mean()), float(tokens.mean())))

        note("vote of all", credit(chains, chosen, np.ones(chosen.shape)), whole)
        slimmed = prune(chains, known, chosen, "diversity", rng, delay=delay)
        note("diversity", slimmed.right, slimmed.tokens)
        note("diversity, votes inherited", slimmed.inherited, slimmed.tokens)
        blind = prune(chains, known, chosen, "blind", rng, delay=delay, quota=slimmed.dropped)
        note("blind, as many in each round", blind.right, blind.tokens)
        other = prune(chains, known, chosen, "random", rng, delay=delay)
        note("random", other.right, other.tokens)
        for t, d in [] if trial.quick else GRID:
            one = prune(chains, known, chosen, "diversity", rng, t, d)
            two = prune(chains, known, chosen, "blind", rng, t, d, one.dropped)
            note(f"grid {t} {d} pruned", one.right, one.tokens)
            note(f"grid {t} {d} blind", two.right, two.tokens)
    right = {name: np.array([r for r, _ in rows]) for name, rows in arms.items()}
    tokens = {name: np.array([t for _, t in rows]) for name, rows in arms.items()}

    sizes = list(range(1, found.classes.shape[1] + 1))
    whole_curve = curve(found, "vote", sizes)
    each = float(found.tokens.mean())
    equal = at(whole_curve, sizes, float(tokens["diversity"].mean()) / each)
    measured = {
        "alike": mean_of_gaps(np.array(alike)),
        "saves": difference(np.ones(count), slim.tokens / (n * found.tokens.mean(axis=1))),
        "accuracy": difference(right["diversity"], right["vote of all"]),
        "control": difference(right["diversity"], right["blind, as many in each round"]),
        "equal tokens": difference(right["diversity"], equal),
    }
    names = [name for name in arms if not name.startswith("grid")]
    table = [_row(name, right[name], tokens[name]) for name in names]
    table.append(_row("whole chains at the tokens of diversity", equal, tokens["diversity"]))
    table.append(_row(f"slim_sc(n={n}) live", slim.right, slim.tokens))
    grid = [
        {
            "threshold": t,
            "delay": d,
            "tokens saved": 1 - float((tokens[name] / tokens["vote of all"]).mean()),
            "accuracy": float(right[name].mean()),
            "blind": float(right[f"grid {t} {d} blind"].mean()),
            "gap": list(difference(right[name], right[f"grid {t} {d} blind"])),
        }
        for t, d in GRID
        if (name := f"grid {t} {d} pruned") in right
    ]
    line = Line(
        "votes of whole chains", [k * each for k in sizes], whole_curve.mean(axis=0).tolist()
    )
    dots = [
        Line(name, [float(tokens[name].mean())], [float(right[name].mean())], style="dots")
        for name in names
    ]
    panel = Panel(f"fly, chain {level}: what pruning saves", "tokens", "accuracy", [line, *dots])
    return Findings(measured, {"arms": table, "grid": grid}, [panel], _notes(right))


def mean_of_gaps(gaps: Floats) -> Estimate:
    """Over the problems that have both kinds of pairs."""
    known = gaps[~np.isnan(gaps)]
    return difference(known, np.zeros(len(known)))


def _row(name: str, right: Floats, tokens: Floats) -> dict[str, object]:
    value = cell(right)
    return {"arm": name, "accuracy": value, "tokens": float(tokens.mean())}


def _notes(right: dict[str, Floats]) -> list[str]:
    gap = difference(right["diversity, votes inherited"], right["diversity"])
    return [
        "Where chains that are alike end alike, dropping one of each pair takes votes from the answer "
        "that most chains reach and leaves the odd ones theirs. Votes that are inherited put that right: "
        f"{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}) over pruning without, at the same tokens."
    ]


REPRODUCTION = Reproduction(
    "S027", CLAIMS, measure,
    full=Cost(calls=2_300, tokens=340_000, seconds=220),
    quick=Cost(calls=50, tokens=2_100, seconds=3),
)  # fmt: skip
