"""S059, Fractured Chain-of-Thought Reasoning (arXiv 2505.12992): answers from the depths of a thought.

n thoughts, H depths of each, m answers at each depth.  A thought costs much and an answer little, so the
paper's scaling is steepest along H: more depths of a thought hold a right answer sooner than more thoughts
of the same tokens.  fly(think=4) thinks about 90 tokens on an easy problem, often twice over, and its
answer is one line: all arms are read off one pool of 8 thoughts, 4 depths and 2 answers a problem.

Arms are compared at equal tokens: the arm with more depths has its own, and plain thoughts (H = m = 1) are
given as many by drawing j thoughts of one problem and j + 1 of another.  Controls: as many answers, all
from the end of the thought (m instead of H), and a harder level, where few cuts are deep enough.

Not tried: a process reward model over all answers (fly's does not read thoughts), the paper's models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.pools import Bools
from outthink.reproduce.base import Claim, Cost, Findings, Line, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, difference
from outthink.reproduce.rules import above
from outthink.select.coverage import pass_at_k
from outthink.select.vote import support
from outthink.tasks import check, family
from outthink.tasks import problems as problems_of
from outthink.tasks.base import TaskProblem, stream
from outthink.train.evaluate import Result
from outthink.verify.extract import TextReader, canonical_answer

PAPER = "arXiv 2505.12992"
EASY = "live: fly(think=4) on chain easy, 120 test problems, 8 thoughts, 4 depths, 2 answers"
HARDER = "live: fly(think=4) on chain of 7 steps up to 50, 40 test problems, 8 thoughts, 4 depths"
PARTS = "live: fly(think=4) on chain easy, 120 test problems, 4 thoughts in parts of 12 tokens"
#: thoughts of the arms that are compared
N = 2

CLAIMS = {
    "coverage": Claim(
        text="More depths hold a right answer more often than more thoughts of the same tokens",
        published="H has the steepest log-linear gains in pass@k",
        source=f"{PAPER}, abstract and takeaway 2",
        setting=EASY,
        statistic=f"any of n = {N}, H = 4 right minus any of thoughts alone at equal tokens, paired",
        rule=above(0),
    ),
    "vote": Claim(
        text="A vote over all depths is better than a vote of thoughts of the same tokens",
        published="no figure (a reward model chooses there)",
        source=f"{PAPER}",
        setting=EASY,
        statistic=f"vote of n = {N}, H = 4 minus vote of thoughts alone at equal tokens, paired",
        rule=above(0),
    ),
    "depth not answers": Claim(
        text="It is the depth that pays: as many answers from the end hold fewer right ones",
        published="H steeper than m",
        source=f"{PAPER}, takeaway 2",
        setting=EASY,
        statistic=f"any of n = {N}, H = 2, m = 1 minus any of n = {N}, H = 1, m = 2, paired",
        rule=above(0),
    ),
    "slope": Claim(
        text="Coverage gains from more depths, for the logarithm of tokens, are steeper than from thoughts",
        published="H has the steepest log-linear gains",
        source=f"{PAPER}, abstract",
        setting=EASY,
        statistic="slope of pass on log tokens over H = 1, 2, 4 at n = 1, minus over n = 1, 2, 4 at H = 1",
        rule=above(0),
    ),
    "harder": Claim(
        text="More depths pay on a harder level too",
        published="five benchmarks, all",
        source=f"{PAPER}, abstract",
        setting=HARDER,
        statistic=f"any of n = {N}, H = 4 right minus any of thoughts alone at equal tokens, paired",
        rule=above(0),
    ),
    "saved": Claim(
        text="Ending a thought where two depths agree saves a fifth of the tokens",
        published="about 20 %",
        source=f"{PAPER}, takeaway 5",
        setting=PARTS,
        statistic="1 - tokens with early ends / tokens of whole thoughts, over all problems",
        rule=above(0.1),
    ),
    "kept": Claim(
        text="and costs no accuracy",
        published="without loss",
        source=f"{PAPER}, takeaway 5",
        setting=PARTS,
        statistic="vote with early ends minus vote of whole thoughts, paired",
        rule=above(-0.03),
    ),
}


@dataclass(frozen=True, eq=False)
class Cells:
    """Answers by problem, thought, depth (the deepest last) and place: ``(problems, n, depths, answers)``.

    ``classes`` and ``right`` as elsewhere, ``answer`` their tokens; ``thought (problems, n)`` those before.
    """

    classes: Ints
    right: Bools
    answer: Floats
    thought: Floats

    @classmethod
    def of(cls, r: Result, problems: Sequence[TaskProblem], n: int, depths: int, m: int) -> Cells:
        """From what a fractured run leaves: a cut's depth is its part of the whole thought's length."""
        reader = TextReader(how=family(problems[0].family).READER)
        shape = len(problems), n, depths, m
        out = cls(
            np.full(shape, -1), np.zeros(shape, dtype=bool), np.zeros(shape), np.zeros(shape[:2])
        )
        for i, (problem, found) in enumerate(zip(problems, r.answers, strict=True)):
            forms: dict[str, int] = {}
            long = dict.fromkeys(range(n), 1)
            for s in found.candidates:
                long[s.node[1]] = max(long[s.node[1]], len(_thought(s.text)))
            used: Counter[tuple[int, int]] = Counter()
            for s in found.candidates:
                trace = s.node[1]
                depth = round(depths * len(_thought(s.text)) / long[trace])
                place = trace, min(max(depth, 1), depths) - 1
                at = (i, *place, min(used[place], m - 1))
                used[place] += 1
                said = reader.extract(s.text)
                if said is not None:
                    out.classes[at] = forms.setdefault(canonical_answer(said), len(forms))
                out.right[at], out.answer[at] = check(problem, s.text), s.tokens
                out.thought[i, trace] = max(out.thought[i, trace], s.total_tokens - s.tokens)
        return out

    def depths(self, count: int) -> slice:
        """So many depths, even, the last one with them."""
        step = self.right.shape[2] // count
        return slice(step - 1, None, step)

    def tokens(self, n: int, depths: int, m: int) -> float:
        """Mean tokens of an arm: its thoughts once, and its answers."""
        answers = self.answer[:, :, self.depths(depths), :m].sum(axis=(2, 3))
        return float(n * (self.thought + answers).mean())

    def any(self, n: int, depths: int, m: int) -> Floats:
        """The chance that an arm holds a right answer, over all n of the thoughts, ``(problems,)``."""
        good = self.right[:, :, self.depths(depths), :m].any(axis=(2, 3)).sum(axis=1)
        most = self.right.shape[1]
        return np.array([pass_at_k(most, int(c), n) if n else 0.0 for c in good])

    def vote(self, n: int, depths: int, m: int) -> Floats:
        """The chance that an arm's vote is right, over all n of the thoughts, ``(problems,)``.

        A tie counts by the share of its classes that is right.
        """
        if not n:
            return np.zeros(len(self.right))
        at = np.array(list(combinations(range(self.right.shape[1]), n)))
        size = len(self.right), len(at), -1
        classes = self.classes[:, at][:, :, :, self.depths(depths), :m].reshape(size)
        right = self.right[:, at][:, :, :, self.depths(depths), :m].reshape(size)
        strength = np.where(classes >= 0, support(classes), -1.0)
        top = strength == strength.max(axis=-1, keepdims=True)
        # each class that is level at the top counts once, however many votes it has
        share = top / np.maximum(strength, 1.0)
        return np.asarray(((share * right).sum(axis=-1) / share.sum(axis=-1)).mean(axis=1))


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems and thoughts."""
    split, count, few, n, m = ("dev", 4, 3, 4, 2) if trial.quick else ("test", 120, 40, 8, 2)
    problems = problems_of("chain", "easy", split, count, trial.seed)
    hard = list(islice(stream(family("chain"), split, trial.seed, steps=(7,), top=(50,)), few))
    model, parts = "fly(think=4)", "fractured(n=4, depths=60, every=12)"
    specs = [f"fractured(n={n}, depths=4, answers={m})", parts]
    grid, early = trial.run("depths and parts", specs, problems, model)
    (deep,) = trial.run("harder", [f"fractured(n={n}, depths=4)"], hard, model)
    easy, harder = Cells.of(grid, problems, n, 4, m), Cells.of(deep, hard, n, 4, 1)
    rng = trial.rng()
    whole = 4 * (easy.thought + easy.answer[:, :, -1, 0]).mean(axis=1)
    (saved,) = bootstrap(
        lambda i: 1 - early.tokens[i].sum() / whole[i].sum(), len(problems), rng, trial.draws
    )
    (slope,) = bootstrap(lambda i: _slopes(_some(easy, i)), len(problems), rng, trial.draws)
    measured = {
        "coverage": difference(easy.any(N, 4, 1), _equal(easy, "any", N, 4, 1)),
        "vote": difference(easy.vote(N, 4, 1), _equal(easy, "vote", N, 4, 1)),
        "depth not answers": difference(easy.any(N, 2, 1), easy.any(N, 1, 2)),
        "slope": slope,
        "harder": difference(harder.any(N, 4, 1), _equal(harder, "any", N, 4, 1)),
        "saved": saved,
        "kept": difference(early.right, easy.vote(4, 1, 1)),
    }
    tables = {
        "grid, easy": _table(easy, m),
        "grid, harder": _table(harder, 1),
        "by depth": [
            {
                "depth": f"{h + 1}/4",
                "easy": float(easy.right[:, :, h].mean()),
                "harder": float(harder.right[:, :, h].mean()),
            }
            for h in range(4)
        ],
        "ending early": [
            {"way": way, "tokens": float(tokens.mean()), "accuracy": float(right.mean())}
            for way, tokens, right in (
                ("whole thoughts", whole, easy.vote(4, 1, 1)),
                ("two depths agree", early.tokens, early.right),
            )
        ],
    }
    panels = (
        Panel("fly, chain easy", "tokens", "share of problems with a right answer",
              tuple(_line(easy, "any", h, n) for h in (1, 2, 4))),
        Panel("fly, chain easy", "tokens", "accuracy of the vote",
              tuple(_line(easy, "vote", h, n) for h in (1, 2, 4))),
    )  # fmt: skip
    return Findings(measured, tables, panels)


def _thought(text: str) -> str:
    return text.partition("</think>")[0]


def _some(cells: Cells, rows: Ints) -> Cells:
    return Cells(cells.classes[rows], cells.right[rows], cells.answer[rows], cells.thought[rows])


def _equal(cells: Cells, kind: str, n: int, depths: int, m: int) -> Floats:
    """What thoughts alone come to at the tokens of an arm: j of them on one problem, j + 1 on another."""
    ratio = cells.tokens(n, depths, m) / cells.tokens(1, 1, 1)
    ratio = min(ratio, float(cells.right.shape[1]))
    j = int(ratio)
    value = getattr(cells, kind)
    if j == ratio:
        return np.asarray(value(j, 1, 1))
    return np.asarray((j + 1 - ratio) * value(j, 1, 1) + (ratio - j) * value(j + 1, 1, 1))


def _slopes(cells: Cells) -> float:
    """The slope of coverage on log tokens along the depths, less that along the thoughts."""
    found = []
    for arms in ([(1, h) for h in (1, 2, 4)], [(k, 1) for k in (1, 2, 4)]):
        tokens = [np.log(cells.tokens(k, h, 1)) for k, h in arms]
        found.append(np.polyfit(tokens, [cells.any(k, h, 1).mean() for k, h in arms], 1)[0])
    return float(found[0] - found[1])


def _table(cells: Cells, most: int) -> list[dict[str, Any]]:
    return [
        {
            "n": n,
            "H": h,
            "m": m,
            "tokens": cells.tokens(n, h, m),
            "any right": float(cells.any(n, h, m).mean()),
            "vote": float(cells.vote(n, h, m).mean()),
        }
        for n in (1, 2, 4)
        for h in (1, 2, 4)
        for m in range(1, most + 1)
    ]


def _line(cells: Cells, kind: str, depths: int, most: int) -> Line:
    ns = range(1, most + 1)
    values = [float(getattr(cells, kind)(n, depths, 1).mean()) for n in ns]
    return Line(f"H = {depths}", [cells.tokens(n, depths, 1) for n in ns], values)


REPRODUCTION = Reproduction(
    "S059", CLAIMS, measure,
    full=Cost(calls=12_000, tokens=260_000, seconds=170),
    quick=Cost(calls=250, tokens=7_000, seconds=7),
)  # fmt: skip
