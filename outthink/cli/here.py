"""``demo`` and ``doctor``: what this machine can do, and whether all is well with it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outthink.cli.base import FAILED, common, flags, give, grid, print_json, progress, show_table
from outthink.cli.base import console as console_of

if TYPE_CHECKING:
    from rich.console import Console

    from outthink.doctor import Check

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def _print_demo(screen: Console, found: Mapping[str, Any]) -> None:
    from rich.text import Text

    from outthink.cli.live import bar

    screen.print(
        Text(
            f"{found['problems']} {found['level']} word problems that fly was never trained on, "
            "the same for every strategy",
            style="dim",
        )
    )
    screen.print()
    table = grid("strategy", "budget", "tokens", "solved", "gain", "", right=(2, 3))
    best = max(row["accuracy"] for row in found["rows"])
    room = min(16, screen.width - 63)
    for row in found["rows"]:
        gain, low, high = row["gain"]
        sure = low > 0 or high < 0
        label = Text(row["strategy"], style="bold" if row["accuracy"] == best else "")
        table.add_row(
            label,
            row["budget"],
            f"{row['tokens']:,.0f}",
            f"{row['accuracy']:.2f}",
            Text(
                f"{gain:+.2f} ({low:+.2f} to {high:+.2f})" if row is not found["rows"][0] else "",
                "" if sure else "dim",
            ),
            bar(row["accuracy"], room) if room >= 4 else "",
        )
    show_table(screen, table)
    screen.print()
    told = "gain over one sample on the same problems, with its 95 % interval"
    screen.print(Text(told, style="dim"))
    screen.print()
    for name, path in found.get("files", {}).items():
        screen.print(Text.assemble((f"{name:<8} ", "dim"), str(path)), soft_wrap=True)


@click.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("outthink-demo"),
    show_default=True, help="Where the picture and the page go.",
)  # fmt: skip
@click.option(
    "--problems", type=click.IntRange(min=2), default=32, show_default=True,
    help="How many questions: more take longer and narrow the intervals.",
)  # fmt: skip
@common
def demo(out: Path, problems: int) -> None:
    """Show what compute buys: real questions, a real small model."""
    from outthink.demo import run_demo

    with progress("questions answered") as step:
        found = run_demo(out, problems, step)
    give(found, lambda screen: _print_demo(screen, found))


@click.command()
@common
def doctor() -> int:
    """Check this installation and say how to mend it."""
    from rich.text import Text

    from outthink.doctor import checks

    found: list[Check] = []
    screen = console_of()
    for check in checks():
        found.append(check)
        if not flags().json:
            table = grid("state", "name", "found", head=False)
            table.columns[1].min_width = 14
            table.columns[0].min_width = 4
            what = Text(check.found)
            if check.mend and check.state != "ok":
                what.append(f"\n{check.mend}", style="dim")
            table.add_row(Text(check.state, style=COLOURS[check.state]), check.name, what)
            show_table(screen, table)
            sys.stdout.flush()
    failed = sum(c.state == "fail" for c in found)
    if flags().json:
        print_json({"ok": not failed, "checks": [asdict(c) for c in found]})
    else:
        warned = sum(c.state == "warn" for c in found)
        screen.print()
        if failed:
            screen.print(Text(f"{failed} thing{'s' * (failed > 1)} to mend", style="red"))
        else:
            optional = f"; {warned} optional things are not there" if warned else ""
            screen.print(Text(f"all that is needed works{optional}"))
    return FAILED if failed else 0
