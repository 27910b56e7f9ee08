"""``outthink reproduce``: published claims, tried here: list, run, table."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outthink.cli.base import Group, clean, common, give, grid, progress, say, show_table
from outthink.core.errors import BadInput, WorldError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from outthink.reproduce.base import Outcome, Reproduction

COLOURS = {"holds": "green", "does not hold": "red", "cannot tell": "yellow"}


class _Runs(Group):
    """A group where ``outthink reproduce S053`` means ``outthink reproduce run S053``."""

    def whole(self, args: list[str]) -> list[str]:
        """Put ``run`` before what is no command of its own."""
        words = [a for a in args if not a.startswith("-")]
        if "--all" in args or (words and words[0] not in self.commands):
            return args if words[:1] == ["run"] else ["run", *args]
        return args


@click.group(cls=_Runs)
@common
def reproduce() -> None:
    """Try published claims: recorded samples, simulations, fly live.

    \b
    outthink reproduce S053 --data DATA   one system's claims, with verdicts
    outthink reproduce --all --quick      all that can run, in seconds
    """


_out = click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("reproductions"),
    show_default=True, help="Where results, plots and the calls of live runs lie.",
)  # fmt: skip


# -- list ----------------------------------------------------------------------------------------


@reproduce.command("list")
@_out
@common
def list_(out: Path) -> None:
    """List the reproductions, with what they need and the verdicts so far."""
    from outthink import systems
    from outthink.reproduce import find, known, shelf

    told = shelf.summaries(out, known())
    # where nothing was run here, what the package's own record says
    published = {r["id"]: f"{r['verdict']}, by the record" for r in systems.load() if r["verdict"]}
    rows: list[dict[str, Any]] = []
    for r in map(find, sorted(known())):
        rows.append(
            {
                "id": r.ident,
                "name": r.name,
                "claims": len(r.claims),
                "sets": list(r.sets),
                "cost": str(r.full),
                "verdict": told.get(r.ident) or published.get(r.ident),
            }
        )

    def text(screen: Console) -> None:
        table = grid("id", "claims", "name, needs, cost, verdict", right=(1,))
        for row in rows:
            needs = f"needs {', '.join(row['sets'])}; " if row["sets"] else ""
            last = f"{row['name']}\n{needs}{row['cost']}\n{row['verdict'] or 'has not run yet'}"
            table.add_row(row["id"], str(row["claims"]), last)
        show_table(screen, table)

    give({"reproductions": rows}, text)


# -- run -----------------------------------------------------------------------------------------


def _chosen(ids: Sequence[str], everything: bool) -> list[Reproduction]:
    from outthink.reproduce import find, known

    if everything and ids:
        raise BadInput(f"--all runs all there are: leave out {' '.join(ids)}")
    if not everything and not ids:
        raise BadInput("nothing to reproduce: name an id, such as S053, or write --all")
    return [find(ident) for ident in (sorted(known()) if everything else ids)]


def _run(r: Reproduction, quick: bool, data: Path | None, seed: int, out: Path) -> Outcome:
    from outthink.reproduce import base, shelf

    lacks = r.lacks(data)
    if lacks:
        raise WorldError(f"{r.ident} cannot run: {lacks}")
    cost = r.quick if quick else r.full
    say(f"{r.ident} {r.name}: {cost}{' (quick)' if quick else ''}")
    shown: list[str] = []
    with contextlib.ExitStack() as stack:
        bars: list[Any] = []

        def step(label: str, done: int, total: int) -> None:
            if shown[-1:] != [label]:
                stack.pop_all().close()
                shown.append(label)
                bars[:] = [stack.enter_context(progress(f"{r.ident}, {label}"))]
            bars[0](done, total)

        outcome = base.reproduce(r, quick=quick, data=data, seed=seed, out=out, progress=step)
    path = shelf.save(outcome, out)
    say(f"{r.ident}: {outcome.summary}; {outcome.seconds:.0f} s; {path}")
    return outcome


def _print_outcomes(screen: Console, outcomes: Sequence[Outcome]) -> None:
    from rich.text import Text

    from outthink.reproduce.shelf import measured

    for o in outcomes:
        screen.print(Text(f"{o.ident} {o.name}: {o.summary}", style="bold"), soft_wrap=True)
        table = grid("", "measured", "claim")
        for c in o.claims:
            claim = Text(clean(c.text))
            claim.append(f"\npublished: {c.published}; rule: {c.rule}", style="dim")
            claim.append(f"\n{c.setting}: {c.statistic}", style="dim")
            table.add_row(Text(c.verdict, COLOURS[c.verdict]), measured(c), claim)
        show_table(screen, table)
        for note in o.notes:
            screen.print(Text(note, style="dim"), soft_wrap=True)
        screen.print()


@reproduce.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All that can run here.")
@click.option("--quick", is_flag=True, help="Little of everything, in seconds; does not count.")
@click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
    help="The folder of the recorded sets.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Which problems, and what is drawn.")
@_out
@common
def run(
    ids: tuple[str, ...], everything: bool, quick: bool, data: Path | None, seed: int, out: Path
) -> None:
    """Run the claims of systems; 'run' may be left out.

    Results go to the output folder.  A live run that was stopped goes on where it was.
    """
    chosen = _chosen(ids, everything)
    # with --all the others go on; what was asked for by name has to run
    missing = {r.ident: lacks for r in chosen if everything and (lacks := r.lacks(data))}
    for ident, lacks in missing.items():
        say(f"{ident} cannot run: {lacks}")
    outcomes = [_run(r, quick, data, seed, out) for r in chosen if r.ident not in missing]
    found = {"reproductions": [o.to_json() for o in outcomes], "missing": missing}
    give(found, lambda screen: _print_outcomes(screen, outcomes))


# -- table ---------------------------------------------------------------------------------------


@reproduce.command()
@click.option(
    "--page", type=click.Path(dir_okay=False, path_type=Path),
    default=Path("docs/reproductions.md"), show_default=True,
    help="The page whose table is written anew.",
)  # fmt: skip
@_out
@common
def table(page: Path, out: Path) -> None:
    """Write the results into the page of reproductions."""
    from outthink.reproduce import known, shelf

    outcomes = [o for ident in sorted(known()) if (o := shelf.read(out, ident))]
    shelf.write_table(page, shelf.table(outcomes))
    facts = {"page": str(page), "reproductions": [o.ident for o in outcomes]}

    def text(_: Console) -> None:
        print(f"{len(outcomes)} reproductions in {page}")

    give(facts, text)
