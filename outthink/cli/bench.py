"""``bench`` and ``compare``: measure strategies on a task, and set two measurements side by side."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outthink.cli.base import (
    FAILED,
    INTERRUPTED,
    clean,
    common,
    complete,
    console,
    flags,
    give,
    grid,
    say,
    show_table,
)
from outthink.core.errors import BadInput, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from outthink.lab.bench import Progress

#: what --ray without an address means
LOCAL = "local"


@contextmanager
def _watched(quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A bar on standard error with the time left; in a log, a line for each tenth."""
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        said = 0

        def line(p: Progress) -> None:
            nonlocal said
            tenths = 10 * p.done // max(p.total, 1)
            if tenths > said:
                said = tenths
                failed = f", {p.failed} runs failed" if p.failed else ""
                say(f"{p.done} of {p.total} problems{failed}")

        yield line
        return
    from rich import progress as bars

    bar = bars.Progress(
        "problems",
        bars.BarColumn(bar_width=24),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[told]}"),
        console=console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None, told="")

        def show(p: Progress) -> None:
            told = f"{p.right / p.finished:.0%} right over all arms" if p.finished else ""
            told += f", {p.failed} runs failed" if p.failed else ""
            bar.update(task, completed=p.done, total=p.total, told=told)

        yield show


def _interval(found: Mapping[str, float] | None, places: int, signed: bool = False) -> str:
    if found is None:
        return "no run finished"
    form = f"{'+' if signed else ''}.{places}f"
    return f"{found['value']:{form}} ({found['low']:{form}} to {found['high']:{form}})"


def _part(share: Mapping[str, float] | None) -> str:
    """What part of the baseline's tokens, of an arm that saves some."""
    return f" ({share['value']:.0%})" if share and share["value"] < 0.995 else ""


def _places(problems: int) -> int:
    """Decimals that mean something: the third does from about a thousand runs on."""
    return 3 if problems >= 500 else 2


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def print_summary(screen: Console, summary: Mapping[str, Any], why: str | None = None) -> None:
    """The table of arms, what sharing saved, what is missing; ``why`` is the error of a run."""
    from outthink.lab.summary import table

    rows, places = table(summary), _places(summary["problems"])
    heads = ("accuracy", "over the baseline", "p", "tokens", "path", "arm")
    shown = grid(*heads, right=(2, 3, 4))
    for row in rows:
        gap = row["difference"]
        shown.add_row(
            _interval(row["accuracy"], places),
            _interval(gap, places, signed=True) if gap else "baseline",
            f"{gap['p']:.2g}" if gap else "",
            f"{row['completion_tokens']:,.0f}{_part(row['tokens_share'])}",
            f"{row['critical_seconds']:.3g} s",
            row["label"],
        )
    show_table(screen, shown)
    share, missing = summary["sharing"], summary["failed"] + summary["unfinished"]
    runs, problems = summary["finished"], summary["problems"]
    lines = [f"{_many(runs, 'run')} on {_many(problems, 'problem')}; 95 % intervals"]
    if share["alone_tokens"] and share["saved"] > 0:
        lines.append(
            f"shared samples: {share['new_tokens']:,} completion tokens drawn for runs that cost "
            f"{share['alone_tokens']:,} ({share['saved']:.0%} saved)"
        )
    if missing:
        lines.append(
            f"{_many(summary['failed'], 'run')} failed and {summary['unfinished']:,} are unfinished: "
            "run it again to try them"
        )
    if why:
        lines.append(f"the first that failed: {clean(why)[:300]}")
    ends = Counter[str]()
    for arm in summary["arms"]:
        ends.update({k: n for k, n in arm["stopped"].items() if k not in ("finished", "failed")})
    if ends:
        said = ", ".join(f"{n:,} by {reason}" for reason, n in ends.most_common())
        lines.append(f"ended early, and counted as they were: {said}")
    for line in lines:
        screen.print(line)


@click.command()
@click.argument(
    "design",
    required=False,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="[DESIGN.toml]",
)
@click.option("--task", "-t", metavar="TASK", help='As fly:chain(level="medium"),n=500, or a file.')
@click.option(
    "--model", "-m", multiple=True, metavar="SPEC", shell_complete=complete("model"),
    help="Who answers; more than one are compared.  [default: fly]",
)  # fmt: skip
@click.option(
    "--strategy", "-s", multiple=True, metavar="SPEC", shell_complete=complete("strategy"),
    help="A strategy; lists in it are swept.  [default: self_consistency(n=[1,4,16])]",
)  # fmt: skip
@click.option(
    "--budget", "-b", multiple=True, metavar="LIMITS", help="What a run may spend: tokens=20k."
)
@click.option(
    "--seeds", type=click.IntRange(min=1), show_default="1", help="Tries of each problem."
)
@click.option(
    "--baseline", metavar="ARM", help="What differences are taken to.  [default: the first]"
)
@click.option("--reader", metavar="SPEC", help="How answers are read from texts and compared.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    metavar="N",
    help="Calls in flight on a model at most.",
)
@click.option(
    "--width",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="12",
    help="Problems under way at once.",
)
@click.option(
    "--out", "-o", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Where everything is written; a bench that is there goes on.  [default: bench]",
)  # fmt: skip
@click.option("--store", metavar="URL", help="Where calls are remembered.  [default: in DIR]")
@click.option(
    "--ray", metavar="[ADDRESS]", is_flag=False, flag_value=LOCAL,
    help="Spread the work over a Ray cluster; without an address, over one started here.",
)  # fmt: skip
@click.option(
    "--processes", type=click.IntRange(min=1), metavar="N", show_default="this one",
    help="Processes, for a model that computes here, such as fly.",
)  # fmt: skip
@click.option("--report", "only", is_flag=True, help="Run nothing: report what DIR holds.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@common
def bench(
    design: Path | None,
    out: Path | None,
    store: str | None,
    ray: str | None,
    processes: int | None,
    only: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Measure strategies on a task, with intervals.

    What is asked stands in DESIGN.toml (task, model, strategy, budget, ...), in the options, or in both,
    where the options win.  Arms see the same problems and share their samples.  A bench that was
    stopped goes on where it was: 'outthink bench --out DIR' is enough.

    Exit code: 0 when all runs are done, 1 when some failed, 2 for bad input, 130 after Ctrl-C.
    """
    import anyio

    from outthink.lab.bench import abench, here
    from outthink.lab.design import Design, beginning, fields_of, read_toml
    from outthink.lab.folder import Folder
    from outthink.lab.report import report

    file = read_toml(design) if design else {}
    # a file may say where, too
    out_too, store_too = file.pop("out", "bench"), file.pop("store", None)
    if not isinstance(out_too, str) or not isinstance(store_too, (str, type(None))):
        raise BadInput(f"{design}: out and store are texts, not {out_too!r} and {store_too!r}")
    where, store = out or Path(out_too), store or store_too
    # an option that is not given says nothing
    said = {k: v for k, v in given.items() if v is not None and v != ()}
    name = str(design or "the design")
    values = {**fields_of(file, name), **fields_of(said, name)}
    folder = Folder(where)
    facts = folder.facts()
    if facts is None and not values:
        raise BadInput(
            f"{where} holds no bench yet: say what to measure, as in outthink bench --task "
            "'fly:chain,n=50' --strategy 'self_consistency(n=[1,4,16])' --out first"
        )
    if facts is not None:  # what is not said is as it was
        values = {**facts["design"], **values}
    try:
        asked = Design.of(values, name)
    except SpecError as error:
        if facts is None:
            raise
        raise BadInput(
            f"{' '.join(str(error).split())} (if the bench in {where} has a part of your own, name "
            "its file: --import FILE)"
        ) from None
    executor = here
    if ray is not None and processes is not None:
        raise BadInput("--ray and --processes both say where the work is done: give one")
    if processes is not None:
        from outthink.lab.processes import on_processes

        executor = on_processes(processes)
    if ray is not None:
        from outthink.lab.cluster import on_ray

        executor = on_ray(None if ray == LOCAL else ray)
    if only:
        results = folder.load()
        if said:
            if set(said) != {"baseline"}:
                raise BadInput("--report runs nothing: only --baseline and --out go with it")
            labels = tuple(arm.label for arm in results.arms)
            results.facts["baseline"] = beginning(said["baseline"], labels)
    else:
        with _watched(quiet or flags().json) as progress:

            async def main() -> Any:
                return await abench(asked, where, store=store, executor=executor, progress=progress)

            try:
                results = anyio.run(main)
            except KeyboardInterrupt:
                say(f"interrupted; 'outthink bench --out {where}' goes on from here")
                return INTERRUPTED
    summary = report(results, folder)

    def show(screen: Console) -> None:
        print_summary(screen, summary, next((r.error for r in results.runs if r.error), None))
        screen.print(f"report: {where / 'report.html'}")

    give(summary, show)
    return FAILED if summary["failed"] or (summary["unfinished"] and not only) else 0


@click.command()
@click.argument("first", type=click.Path(file_okay=False, path_type=Path))
@click.argument("second", type=click.Path(file_okay=False, path_type=Path))
@common
def compare(first: Path, second: Path) -> None:
    """Compare two benches, arm by arm.

    Arms of one label are paired over the problems that both have; differences are SECOND minus FIRST.
    """
    from outthink.lab.compare import compare as compared
    from outthink.lab.folder import Folder

    found = compared(Folder(first).load(), Folder(second).load())

    def show(screen: Console) -> None:
        rows = grid("first", "second", "second over first", "p", "tokens", "arm", right=(3, 4))
        for row in found["arms"]:
            gap, tokens = row["difference"], row["costs"].get("completion_tokens")
            rows.add_row(
                f"{row['a']['value']:.2f}" if row["a"] else "",
                f"{row['b']['value']:.2f}" if row["b"] else "",
                _interval(gap, 2, signed=True) if gap else "",
                f"{gap['p_holm']:.2g}" if gap else "",
                f"{tokens['a']:,.0f} / {tokens['b']:,.0f}" if tokens else "",
                row["label"],
            )
        show_table(screen, rows)
        shared = found["problems"]["shared"]
        how = f"paired over {shared:,} problems" if found["paired"] else "on different problems"
        screen.print(f"{how}; p by Holm over all arms; 95 % intervals")
        for which, name in (("first", "only_a"), ("second", "only_b")):
            if found[name]:
                screen.print(f"only in the {which}: {', '.join(found[name])}")
        for row in found["design"]:
            screen.print(f"{row['what']}: {row['a']!r} in the first, {row['b']!r} in the second")

    give(found, show)
