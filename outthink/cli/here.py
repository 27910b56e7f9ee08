"""``demo`` and ``doctor``: what this machine can do, and whether all is well with it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outthink.cli.base import FAILED, common, flags, grid, print_json, say, show_table
from outthink.cli.base import console as console_of

if TYPE_CHECKING:
    from outthink.doctor import Check

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("outthink-demo"),
    show_default=True, help="Where the picture and the page go.",
)  # fmt: skip
@click.option("--quick", is_flag=True, help="Fewer problems: half a minute.")
@common
def demo(out: Path, quick: bool) -> None:
    """Show what compute buys: real questions, a real small model."""
    from outthink.demo import run_demo

    found: Mapping[str, Any] = run_demo(out, quick, say)
    if flags().json:
        print_json(found)
        return
    if found.get("table"):
        print(found["table"])
    for key in ("png", "picture", "html", "page"):
        if found.get(key):
            print(f"{key}: {found[key]}")


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
