"""S152, Don't Overthink it (arXiv 2505.17813): short-m@k, the vote of the m that end first of k.

- Simulation: with right texts 4,000 tokens shorter, level, or longer than wrong ones (of normal length)
  the method gains, has nothing to gain, or loses.  The control is the setting without a gap, where it
  may not beat the vote.
- Recorded code samples of a model that does not think: a second control.
- fly, live, thinking freely: the shortest, a random and the longest of 16 thoughts of one problem; and
  short-1@8 and short-3@8 against the vote of 8, over random subsets, by samples, tokens and time (as in
  the paper, the length of the longest text that is waited for).  And fly that writes steps.

The vote knows no lengths: of answers that tie a random one.

The clock of the paper is the thought alone; here it is the whole text, whose answer takes fly few tokens.
Left out: the paper's models and contests, and fine-tuning on short chains.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from outthink.core.nouns import Floats, Ints
from outthink.lab.pools import Pools
from outthink.lab.resample import Rule, Vote, random_orders
from outthink.lab.stats import Estimate
from outthink.reproduce._lengths import (
    Lengths,
    chances,
    costs,
    first_drawn,
    gaps,
    longest,
    short,
    thoughts,
)
from outthink.reproduce.base import Claim, Cost, Findings, Panel, Reproduction, Trial
from outthink.reproduce.estimates import bootstrap, difference, mean_line, ratio
from outthink.reproduce.rules import above, below
from outthink.tasks import problems as problems_of

ABSTRACT, TABLE = "arXiv 2505.17813, abstract", "arXiv 2505.17813, table 1"
SIMULATED = "simulation: normal lengths +- 3k tokens, 57 % right, five wrong answers, k = 9"
HUMAN = "recorded: CodeGen-Mono-16B on HumanEval, 164 problems x 100 samples, lengths in characters"
THINKS = "fly(think=free)"
FLY = f"live: {THINKS} on chain easy, 120 test problems, 16 samples"
SETTINGS = {
    "right shorter": Lengths(12_000, 16_000, 3_000, 3_000),
    "no difference": Lengths(12_000, 12_000, 3_000, 3_000),
    "right longer": Lengths(16_000, 12_000, 3_000, 3_000),
}

CLAIMS = {
    "pays": Claim(
        text="Where right texts are shorter, short-3 beats the vote at equal samples",
        published="no figure",
        source=ABSTRACT,
        setting=f"{SIMULATED}; right 12k, wrong 16k",
        statistic="short-3@9 minus the vote of 9, paired",
        rule=above(0),
    ),
    "nothing": Claim(
        text="Control: where lengths are alike, short-3 does not beat the vote",
        published="no figure",
        source="the method's premise",
        setting=f"{SIMULATED}; both 12k",
        statistic="short-3@9 minus the vote of 9, paired",
        rule=below(0),
    ),
    "hurts": Claim(
        text="Control: where right texts are longer, the shortest is worse than one sample",
        published="no figure",
        source="the method's premise",
        setting=f"{SIMULATED}; right 16k, wrong 12k",
        statistic="short-1@9 minus one sample, paired",
        rule=below(0),
    ),
    "code": Claim(
        text="Control: of a model that does not think, short-3 does not beat the vote",
        published="no figure",
        source="the method's premise",
        setting=HUMAN,
        statistic="short-3@8 minus the vote of 8, paired",
        rule=below(0),
    ),
    "longest": Claim(
        text="The shortest thought of a problem is more often right than the longest",
        published="up to 34.5 points (Nemotron 49B: 63.4 against 28.9)",
        source=TABLE,
        setting=FLY,
        statistic="shortest minus longest of 16, paired",
        rule=above(0),
    ),
    "random": Claim(
        text="The shortest thought of a problem is more often right than a random one",
        published="2.2 to 15.7 points",
        source=TABLE,
        setting=FLY,
        statistic="shortest of 16 minus one sample, paired",
        rule=above(0),
    ),
    "hard": Claim(
        text="Between problems it is the other way: harder ones take longer thoughts",
        published="up to 2.9 times as long",
        source="arXiv 2505.17813, section 5.1",
        setting=FLY,
        statistic="mean length on the third of problems least often solved over that on the most",
        rule=above(1),
    ),
    "short-1": Claim(
        text="short-1 is at least as good as the vote of as many samples, where compute is low",
        published="similar or better, with up to 40 % fewer tokens",
        source=ABSTRACT,
        setting=FLY,
        statistic="short-1@3 minus the vote of 3, paired",
        rule=above(-0.01),
    ),
    "short-3": Claim(
        text="short-3 beats the vote at equal samples",
        published="at all budgets",
        source=ABSTRACT,
        setting=FLY,
        statistic="short-3@8 minus the vote of 8, paired",
        rule=above(0),
    ),
    "steps": Claim(
        text="short-3 beats the vote at equal samples",
        published="at all budgets",
        source=ABSTRACT,
        setting=FLY.replace(THINKS, "fly, which writes steps,").replace("easy", "medium"),
        statistic="short-3@8 minus the vote of 8, paired",
        rule=above(0),
    ),
    "tokens": Claim(
        text="short-1 takes fewer tokens than the vote of as many samples",
        published="up to 40 % fewer",
        source=ABSTRACT,
        setting=FLY,
        statistic="tokens of short-1@8 over those of all 8",
        rule=below(0.8),
    ),
    "time": Claim(
        text="short-3 is done before the vote",
        published="up to 33 % less time",
        source=ABSTRACT,
        setting=FLY,
        statistic="third shortest over longest of 8 lengths, mean over subsets",
        rule=below(0.8),
    ),
}  # fmt: skip


def measure(trial: Trial) -> Findings:
    """All claims; quick takes few problems."""
    count, draws = (400, 20) if trial.quick else (4_000, 50)
    rng = trial.rng()
    simulated = {name: s.draw(count, 20, rng) for name, s in SETTINGS.items()}
    by_setting = {name: _rules(found, 9, draws) for name, found in simulated.items()}
    code = trial.pools("codet_humaneval")
    plain = _rules(code, 8, 100)
    split, size, n = ("dev", 6, 8) if trial.quick else ("test", 120, 16)
    drawn = thoughts(trial, THINKS, problems_of("chain", "easy", split, size, trial.seed), n)
    k = min(8, n)
    mine = _rules(drawn, k, 200)
    steps = thoughts(trial, "fly", problems_of("chain", "medium", split, size, trial.seed), k)
    written = _rules(steps, k, 200)
    shortest, any_one, last = chances(drawn, [short(1), first_drawn(), longest()], n, 200)
    low_1, low_vote = chances(drawn, [short(1), Vote()], 3, 200)
    measured = {
        "pays": _against(by_setting["right shorter"], "short-3", "vote"),
        "nothing": _against(by_setting["no difference"], "short-3", "vote"),
        "hurts": _against(by_setting["right longer"], "short-1", "one"),
        "code": _against(plain, "short-3", "vote"),
        "longest": difference(shortest, last),
        "random": difference(shortest, any_one),
        "hard": _hard(drawn, trial),
        "short-1": difference(low_1, low_vote),
        "short-3": _against(mine, "short-3", "vote"),
        "steps": _against(written, "short-3", "vote"),
        "tokens": ratio(costs(drawn, k, 1, 200), costs(drawn, k, k, 200), trial.rng(), trial.draws),
        "time": ratio(_waits(drawn, k, 3), _waits(drawn, k, k), trial.rng(), trial.draws),
    }
    tables = {
        "accuracy": [
            {"setting": name, **{rule: float(v.mean()) for rule, v in rules.items()}}
            for name, rules in {
                **by_setting,
                "code (k = 8)": plain,
                "fly thinks (k = 8)": mine,
                "fly writes steps (k = 8)": written,
            }.items()
        ],
        "lengths, wrong minus right": [
            {"setting": name, "gap": float(np.nanmean(gaps(found)))}
            for name, found in {
                **simulated,
                "code": code,
                "fly thinks": drawn,
                "fly writes steps": steps,
            }.items()
        ],
    }
    return Findings(measured, tables, (_curves(drawn, k),))


def _rules(found: Pools, k: int, draws: int) -> dict[str, Floats]:
    """How often each rule is right over subsets of k samples."""
    rules: dict[str, Rule] = {
        "one": first_drawn(), "short-1": short(1), "short-3": short(3), "vote": Vote()
    }  # fmt: skip
    return dict(zip(rules, chances(found, list(rules.values()), k, draws), strict=True))


def _against(rules: Mapping[str, Floats], a: str, b: str) -> Estimate:
    return difference(rules[a], rules[b])


def _waits(found: Pools, k: int, m: int) -> Floats:
    """The mean m-th smallest of k lengths, ``(problems,)``: how long one waits."""
    orders = random_orders(found.tokens.shape[1], 200, 0)[:, :k]
    return np.asarray([np.sort(row[orders], axis=1)[:, m - 1].mean() for row in found.tokens])


def _hard(found: Pools, trial: Trial) -> Estimate:
    """Length on the hardest third of the problems over that on the easiest."""
    share, length = found.right.mean(axis=1), found.tokens.mean(axis=1)

    def of(at: Ints) -> float:
        order = at[np.argsort(share[at], kind="stable")]
        third = max(len(order) // 3, 1)
        return float(length[order[:third]].mean() / length[order[-third:]].mean())

    return bootstrap(of, len(share), trial.rng(), trial.draws)[0]


def _curves(found: Pools, most: int) -> Panel:
    """Accuracy against tokens for k = 1 ... most."""
    lines = []
    for name, m in (("short-1", 1), ("short-3", 3), ("vote", 0)):
        x, columns = [], []
        for k in range(max(m, 1), most + 1):
            (right,) = chances(found, [short(m) if m else Vote()], k, 100)
            x.append(float(costs(found, k, m or k, 100).mean()))
            columns.append(right)
        lines.append(mean_line(name, x, columns))
    return Panel(f"{THINKS}, chain easy, k to {most}", "tokens", "accuracy", lines)


REPRODUCTION = Reproduction(
    "S152", CLAIMS, measure,
    full=Cost(calls=1_920, tokens=150_000, seconds=120),
    quick=Cost(calls=48, tokens=4_000, seconds=6),
    sets=("codet_humaneval",),
)  # fmt: skip
