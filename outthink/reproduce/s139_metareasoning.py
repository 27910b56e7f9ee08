"""S139, Rational Metareasoning for Large Language Models (arXiv 2410.05563): chains worth their tokens.

The paper trains a model on its own chains of thought of greatest reward: what the chain does for the right
answer less a price of its length.  Training is left out here; what is tried is the choice that it trains
on, among 8 chains of fly(think=4), with the answer that the chains together make likeliest in the place of
the right one (``value_of_computation``): is it shorter at equal accuracy, does it adapt to the problem?

Controls: the vote of the same chains; each chain judged by its own answer; a dearer price; and the shortest
chain that reaches the answer, since a price of length alone would choose that.

Not tried: training, and with it what a model learns from such chains; the paper's models and tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from outthink.core.nouns import Floats
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import difference, mean
from outthink.reproduce.rules import above, below
from outthink.tasks import family
from outthink.tasks.base import TaskProblem, stream
from outthink.train.evaluate import Result
from outthink.verify.extract import TextReader, canonical_answer

PAPER = "arXiv 2410.05563"
FLY = "live: fly(think=4) on chain of 1 and of 5 steps up to 20, 60 test problems each, 8 chains"

CLAIMS = {
    "shorter": Claim(
        text="The chosen chains are shorter",
        published="20 to 37 % fewer tokens",
        source=f"{PAPER}, abstract (v2); there after training",
        setting=FLY,
        statistic="1 - tokens of the chosen chain / mean tokens of chains with its answer, mean",
        rule=above(0.2),
    ),
    "kept": Claim(
        text="at equal accuracy",
        published="maintained",
        source=f"{PAPER}, abstract",
        setting=FLY,
        statistic="accuracy of the choice minus the vote of the same chains, paired",
        rule=above(-0.02),
    ),
    "adaptive": Claim(
        text="and the more so the easier the problem",
        published="adaptive (figures)",
        source=f"{PAPER}",
        setting=FLY,
        statistic="the share saved with 1 step minus with 5 steps",
        rule=above(0),
    ),
    "dear": Claim(
        text="A dearer token makes the chosen chains shorter",
        published="no figure",
        source=f"{PAPER}, the reward",
        setting=FLY,
        statistic="tokens of the chosen chain at gamma = 2 minus at .1, paired",
        rule=below(0),
    ),
    "own": Claim(
        text="Judged by its own answer, a chain is worth more the odder that answer is: accuracy falls",
        published="no figure (ours)",
        source="the reward favours what is unlikely without the chain",
        setting=FLY,
        statistic="accuracy by own answers minus by the likeliest, paired",
        rule=below(0),
    ),
}


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems and chains."""
    split, count, n = ("dev", 3, 3) if trial.quick else ("test", 60, 8)
    home = family("chain")
    sets = {
        steps: list(islice(stream(home, split, trial.seed, steps=(steps,), top=(20,)), count))
        for steps in (1, 5)
    }
    problems = [p for some in sets.values() for p in some]
    specs = [
        f"value_of_computation(n={n})",
        f"value_of_computation(n={n}, gamma=2)",
        f"value_of_computation(n={n}, target=own)",
        f"self_consistency(n={n})",
    ]
    worth, dear, own, vote = trial.run("choices", specs, problems, "fly(think=4)")
    tokens = {name: _lengths(r) for name, r in (("worth", worth), ("dear", dear), ("own", own))}
    chosen, usual, least = tokens["worth"].T
    saved = 1 - chosen / usual
    easy, hard = saved[:count], saved[count:]
    measured = {
        "shorter": mean(saved),
        "kept": difference(worth.right, vote.right),
        "adaptive": difference(easy, hard),
        "dear": difference(tokens["dear"][:, 0], chosen),
        "own": difference(own.right, worth.right),
    }
    rows = [
        ("the likeliest answer, gamma = .1", worth, tokens["worth"]),
        ("the likeliest answer, gamma = 2", dear, tokens["dear"]),
        ("own answers, gamma = .1", own, tokens["own"]),
    ]
    tables: dict[str, list[dict[str, Any]]] = {
        "choices": [
            {
                "choice": name,
                "steps": steps,
                "accuracy": float(r.right[at].mean()),
                "tokens chosen": float(found[at, 0].mean()),
                "tokens of such chains": float(found[at, 1].mean()),
                "tokens of the shortest": float(found[at, 2].mean()),
            }
            for name, r, found in rows
            for steps, at in ((1, slice(0, count)), (5, slice(count, None)))
        ],
        "vote": [
            {"steps": 1, "accuracy": float(vote.right[:count].mean())},
            {"steps": 5, "accuracy": float(vote.right[count:].mean())},
        ],
    }
    panel = Panel(
        "fly(think=4), chain", "steps", "tokens",
        (_line("chains with the answer", usual, count), _line("chosen, gamma = .1", chosen, count),
         _line("chosen, gamma = 2", tokens["dear"][:, 0], count), _line("shortest", least, count)),
        log=False,
    )  # fmt: skip
    return Findings(measured, tables, (panel,), [_told(chosen, least, worth, problems)])


def _lengths(r: Result) -> Floats:
    """Tokens of the chosen chain, and the mean and least of those with its answer: ``(problems, 3)``."""
    reader = TextReader(how=family("chain").READER)

    def form(text: str) -> str | None:
        said = reader.extract(text)
        return None if said is None else canonical_answer(said)

    rows = []
    for a in r.answers:
        mine = next(s.total_tokens for s in a.candidates if s.text == a.text)
        # an answer without a chain has no tokens of one
        same = [s.total_tokens for s in a.candidates if s.tokens and form(s.text) == form(a.text)]
        rows.append((mine, np.mean(same or [mine]), min(same or [mine])))
    return np.array(rows, dtype=np.float64)


def _told(chosen: Floats, least: Floats, worth: Result, problems: Sequence[TaskProblem]) -> str:
    none = sum(not s.tokens for a in worth.answers for s in a.candidates)
    return (
        f"On {np.mean(chosen == least):.2f} of the problems the chosen chain is the shortest that reaches "
        "the answer: so far a price of length alone would choose alike. No chain at all was chosen on "
        f"{none} of {len(problems)}."
    )


def _line(label: str, values: Any, count: int) -> Line:
    return Line(label, [1.0, 5.0], [float(values[:count].mean()), float(values[count:].mean())])


REPRODUCTION = Reproduction(
    "S139", CLAIMS, measure,
    full=Cost(calls=900, tokens=75_000, seconds=150),
    quick=Cost(calls=60, tokens=1_500, seconds=5),
)  # fmt: skip
