"""``plan``: what to run for a budget or a target accuracy, from a bench."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outthink.cli.base import common, give
from outthink.core.errors import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from outthink.lab.stats import Estimate
    from outthink.laws.plan import Advice, DifficultyPlan


def _shown(found: Estimate) -> str:
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def print_advice(screen: Console, advice: Advice) -> None:
    """What to run, what to expect of it, and what the data cannot tell."""
    screen.print(advice.goal)
    if advice.arm is None:
        screen.print(f"  nothing: {advice.reason}")
        return
    arm = advice.arm
    on = "" if " on " in arm.label else f" on {arm.model}"
    screen.print(f"  {arm.label}{on}")
    if advice.expected is not None:
        screen.print(f"  expected accuracy {_shown(advice.expected)}, by halves")
    units = {"completion_tokens": "{:,.0f} completion tokens", "calls": "{:,.1f} calls"}
    units |= {"critical_seconds": "{:.3g} s on the critical path", "usd": "{:.3g} USD"}
    costs = [u.format(advice.costs[a].value) for a, u in units.items() if a in advice.costs]
    screen.print(f"  a problem costs {', '.join(costs)}")
    screen.print(f"  {advice.reason}")
    for label, gap in advice.rivals[:8]:
        if label != arm.label:
            screen.print(f"    {gap.value:+.2f} ({gap.low:+.2f} to {gap.high:+.2f})  {label}")
    if advice.cheapest:
        screen.print(f"  the cheapest of these: {advice.cheapest}")


def print_levels(screen: Console, plan: DifficultyPlan) -> None:
    """The levels, and what the plan is worth beside the best single arm."""
    screen.print(f"by difficulty, within {plan.budget}: first a vote of {plan.probe} samples")
    ends = [*(level.agreement for level in plan.levels[1:]), 1.0]
    for level, end in zip(plan.levels, ends, strict=True):
        vote = level.strategy == f"self_consistency(n={plan.probe})"
        what = "its answer, nothing more" if vote else level.strategy
        screen.print(f"  agreement {level.agreement:.2f} to {end:.2f}: {what}")
    gap = plan.over_best
    screen.print(
        f"  expected accuracy {_shown(plan.expected)} at {plan.cost.value:,.0f} "
        f"{plan.axis.replace('_', ' ')} a problem, by halves"
    )
    screen.print(
        f"  over {plan.single} alone {gap.value:+.2f} ({gap.low:+.2f} to {gap.high:+.2f})"
        + ("" if gap.low > 0 or gap.high < 0 else ": the data cannot tell them apart")
    )
    if gap.value <= 0:
        screen.print(f"  nothing speaks for spending by difficulty here: run {plan.single}")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@click.option("--budget", "-b", metavar="LIMITS", help="Mean cost a problem: tokens=1k, usd=0.01.")
@click.option(
    "--target", type=float, metavar="ACCURACY", help="The accuracy to reach, such as 0.9."
)
@click.option(
    "--axis", default="completion_tokens", show_default=True,
    help="The cost that is kept small: completion_tokens, calls, critical_seconds, usd, ...",
)  # fmt: skip
@click.option("--by-difficulty", is_flag=True, help="A strategy for each level of difficulty.")
@click.option(
    "--model", metavar="SPEC", help="Whose plan by difficulty; the bench's first unless said."
)
@click.option("--probe", type=int, metavar="N", help="Samples that tell the difficulty.")
@click.option(
    "--save", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write the plan by difficulty for auto(plan=\"FILE\").",
)  # fmt: skip
@common
def plan(
    folder: Path,
    budget: str | None,
    target: float | None,
    axis: str,
    by_difficulty: bool,
    model: str | None,
    probe: int | None,
    save: Path | None,
) -> None:
    """Choose strategy, n and model from the bench in DIR.

    For a budget, the most accurate; for a target accuracy, the cheapest.  Says when the data cannot
    tell.  --by-difficulty spends by how far the first samples agree, as the strategy auto does.
    """
    from outthink.lab.folder import Folder
    from outthink.laws import plan as plans

    if not by_difficulty and (save or model or probe):
        raise BadInput("--save, --model and --probe belong to --by-difficulty")
    if by_difficulty and (target is not None or budget is None):
        raise BadInput("--by-difficulty needs a --budget, such as tokens=1k, and no --target")
    results = Folder(folder).load()
    value: dict[str, Any]
    if by_difficulty:
        levels = plans.by_difficulty(results, budget or "", model, probe)
        if save:
            levels.save(save)
        value = levels.to_json()
        give(value, lambda screen: print_levels(screen, levels))
        return
    advice = plans.advise(results, budget, target, axis)
    give(advice.to_json(), lambda screen: print_advice(screen, advice))
