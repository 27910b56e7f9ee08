"""Published claims, executable: what was claimed, how it is tried here, and what came out.

One file a system, ``sNNN_name.py``; adding one touches no other file.  It declares claims, each with the
rule that decides it (``rules``), a function that measures, and what a run costs:

    CLAIMS = {
        "gain": Claim(
            text="A vote beats one sample",
            published="17.9 points", source="arXiv 2203.11171, table 2",
            setting="live: fly on chain medium, 200 test problems, 8 samples",
            statistic="vote of 8 minus one sample, paired",
            rule=above(0),
        ),
    }

    def measure(trial: Trial) -> Findings:
        problems = tasks.problems("chain", "medium", "dev" if trial.quick else "test",
                                  8 if trial.quick else 200, trial.seed)
        (vote,) = trial.run("vote", ["self_consistency(n=8)"], problems)
        return Findings({"gain": difference(vote.right, one_sample(pools(vote, problems)))})

    REPRODUCTION = Reproduction("S999", CLAIMS, measure,
                                full=Cost(calls=1_600, tokens=140_000, seconds=60),
                                quick=Cost(calls=64, tokens=5_600, seconds=3))

Three kinds, and the setting says which:

- recorded: ``sets`` names the folders of ``--data`` that it reads (``trial.folder``); without them the run
  says what is missing, and there is no verdict;
- simulation or closed form: random numbers come from ``trial.rng()``;
- live: ``trial.run(label, strategies, problems, model)`` runs strategies on fly (or any model's spec)
  through a session whose store lies in the output folder, so that a run that was stopped goes on.

Estimates come from ``estimates`` (``exact``, ``mean``, ``difference``, ``bootstrap``) or the laws; problems
are the unit.  ``measure`` gives numbers only: the framework applies the rules.  ``quick`` runs the same
code on little, in seconds; its verdicts are marked and do not count.  A claim that does not hold is a
result: say why in ``notes`` where it can be shown.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from outthink import systems
from outthink.core.errors import BadInput, nearest

if TYPE_CHECKING:
    from outthink.reproduce.base import Reproduction


def known() -> dict[str, str]:
    """The ids that have a reproduction, with their modules."""
    return {
        module.name.partition("_")[0].upper(): f"{__name__}.{module.name}"
        for module in iter_modules(__path__)
        if module.name[0] == "s" and module.name[1:4].isdigit()
    }


def find(ident: str) -> Reproduction:
    """The reproduction of a system's id or name; ``BadInput`` names the nearest and all there are."""
    modules = known()
    wanted = ident.strip().upper()
    if wanted[:1] == "S" and wanted[1:].isdecimal():
        wanted = ident = f"S{wanted[1:]:0>3}"
    if wanted not in modules:
        try:
            row = systems.find(ident)
        except BadInput:
            raise BadInput(f"no reproduction {ident[:60]!r}{nearest(wanted, modules)}") from None
        wanted = str(row["id"])
        if wanted not in modules:
            there = ", ".join(sorted(modules))
            raise BadInput(f"{wanted} ({row['name']}) has no reproduction; there are: {there}")
    found: Reproduction = import_module(modules[wanted]).REPRODUCTION
    return found
