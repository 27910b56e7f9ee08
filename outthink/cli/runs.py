"""``runs``, ``show``, ``replay``, ``export``: what the store remembers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from outthink.cli.base import common

if TYPE_CHECKING:
    pass

T = TypeVar("T")


def _url(store: str | None) -> str:
    from outthink.store import default_url

    return store or default_url()


where = click.option("--store", metavar="URL", help="The store: a file or a URL.")


@click.command()
@click.option(
    "--limit", "-n", type=click.IntRange(min=1), default=20, show_default=True, help="The latest N."
)
@where
@common
def runs(limit: int, store: str | None) -> None:
    """List the latest runs."""


@click.command()
@click.argument("run")
@where
@common
def show(run: str, store: str | None) -> None:
    """Show a run: its samples or tree, with scores."""


@click.command()
@click.argument("run")
@where
@common
def replay(run: str, store: str | None) -> None:
    """Run a remembered run again, from the store alone: nothing is paid."""


@click.command()
@click.argument("run")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@where
@common
def export(run: str, file: Path, store: str | None) -> None:
    """Write a run's samples to FILE (.jsonl, .json, .csv or .parquet)."""
