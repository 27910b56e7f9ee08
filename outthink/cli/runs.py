"""``runs``, ``show``, ``replay``, ``export``: what the store remembers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from outthink.cli.base import FAILED, clean, close, common, give, grid, say, show_table
from outthink.core.errors import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from outthink.store.db import Store, StoredRun, StoredSample

T = TypeVar("T")

where = click.option("--store", metavar="URL", help="The store: a file or a URL.")


def with_store(url: str | None, ask: Callable[[Store], Awaitable[T]]) -> T:
    """Open the store, ask it, close it.  A named store that is not there is an error, not made."""
    import anyio

    from outthink.store import default_url, open_store
    from outthink.store.db import Address

    if url is not None and url.lower() == "none":
        raise BadInput("--store none keeps nothing: name a file or a URL, or leave it out")
    path = Address.of(url).path if url else None
    if path is not None and not path.exists():
        raise BadInput(f"no store {path}; 'outthink solve --store {path} ...' would begin one")

    async def main() -> T:
        async with await open_store(url or default_url()) as store:
            return await ask(store)

    return anyio.run(main)


def facts_of(run: StoredRun) -> dict[str, Any]:
    """A run in plain values; ``answer`` is the extracted one, ``text`` the whole chosen text."""
    answer = run.answer or {}
    return {
        "run": run.id,
        "created": datetime.fromtimestamp(run.created, UTC).isoformat(timespec="seconds"),
        "question": run.question,
        "strategy": run.strategy,
        "model": run.model,
        "budget": dict(run.budget),
        "seed": run.seed,
        "answer": answer.get("answer"),
        "text": answer.get("text"),
        "confidence": answer.get("confidence"),
        "distribution": dict(answer.get("distribution") or {}),
        "stopped": run.stopped,
        "usage": run.usage.to_json() if run.usage else None,
        "notes": list(answer.get("notes") or ()),
    }


# -- runs ----------------------------------------------------------------------------------------


def _ago(created: float) -> str:
    from time import time

    seconds = max(0.0, time() - created)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds / size)} {unit}"
    return f"{int(seconds)} s"


def _print_runs(screen: Console, found: Sequence[StoredRun]) -> None:
    from rich.text import Text

    if not found:
        screen.print(Text("no runs yet: outthink solve QUESTION makes one", style="dim"))
        return
    table = grid("run", "ago", "answer", "tokens", "how", right=(3,))
    for run in found:
        answer = (run.answer or {}).get("answer")
        shown = clean(str(answer)).replace("\n", " ") if answer is not None else "-"
        shown = shown if len(shown) <= 14 else shown[:13] + "…"
        how = Text(f"{run.strategy} on {run.model}")
        if run.stopped != "finished":
            how.append(f" ({run.stopped or 'unfinished'})", style="yellow")
        tokens = f"{run.usage.completion_tokens:,}" if run.usage else ""
        table.add_row(Text(run.id, style="dim"), _ago(run.created), Text(shown), tokens, how)
    show_table(screen, table)


@click.command()
@click.option(
    "--limit", "-n", type=click.IntRange(min=1), default=20, show_default=True, metavar="N",
    help="The latest N.",
)  # fmt: skip
@where
@common
def runs(limit: int, store: str | None) -> None:
    """List the latest runs."""
    found = with_store(store, lambda opened: opened.list_runs(limit))
    give({"runs": [facts_of(run) for run in found]}, lambda screen: _print_runs(screen, found))


# -- show ----------------------------------------------------------------------------------------


def _one(samples: Sequence[StoredSample], node: str) -> StoredSample:
    """The sample at a place of the tree, such as ``0.2.1``."""
    from outthink.core.nouns import dotted

    for sample in samples:
        if dotted(sample.node) == node.strip():
            return sample
    known = [dotted(s.node) for s in samples]
    raise BadInput(f"the run has no sample {node[:40]!r}{close(node, known)}")


def _print_sample(screen: Console, facts: Mapping[str, Any]) -> None:
    from rich.text import Text

    told = [facts["role"]] if facts["role"] != "main" else []
    told += [f"{facts['total_tokens']} tokens", str(facts["finish"])]
    for name, values in facts["scores"].items():
        steps = ", ".join(f"{v:.3f}" for v in values[1:])
        told.append(f"{name} {values[0]:.3f}" + (f" (steps {steps})" if steps else ""))
    screen.print(Text("; ".join(told), style="dim"), soft_wrap=True)
    screen.print()
    text = str(facts["text"])
    print(clean(text) if screen.is_terminal else text)


@click.command()
@click.argument("run")
@click.argument("node", required=False)
@where
@common
def show(run: str, node: str | None, store: str | None) -> None:
    """Show a run: its samples or tree, with scores; or one sample in full.

    RUN is an id, the beginning of one, or 'last'.  NODE is a sample's place, such as 3 or
    0.2.1.
    """
    from outthink.cli.base import console, flags

    if node is not None:

        async def one(opened: Store) -> dict[str, Any]:
            from outthink.store.export import row_of

            found = await opened.get_run(run)
            return row_of(found, _one(await opened.samples_of(found), node))

        sample = with_store(store, one)
        give(sample, lambda screen: _print_sample(screen, sample))
        return
    width = 0 if flags().json else console().width

    async def ask(opened: Store) -> tuple[dict[str, Any], str]:
        found = await opened.get_run(run)
        if width:
            return {}, await opened.render(found.id, width)
        samples = [
            {k: v for k, v in asdict(replace(s, above=None)).items() if k != "above"}
            for s in await opened.samples_of(found)
        ]
        events = await opened.events_of(found)
        return {**facts_of(found), "samples": samples, "events": events}, ""

    facts, text = with_store(store, ask)

    def lines(screen: Console) -> None:
        shown = clean(text).rstrip() if screen.is_terminal else text.rstrip()
        for line in shown.splitlines():
            cut = screen.is_terminal and len(line) > width
            print(line[: width - 1] + "…" if cut else line)

    give(facts, lines)


# -- replay --------------------------------------------------------------------------------------


@click.command()
@click.argument("run")
@click.option("--strategy", "-s", metavar="SPEC", help="Another strategy on the same samples.")
@click.option("--budget", "-b", metavar="LIMITS", help="Another budget.")
@click.option("--reader", metavar="SPEC", help="Another way to read answers.")
@where
@common
def replay(
    run: str, strategy: str | None, budget: str | None, reader: str | None, store: str | None
) -> int:
    """Run a remembered run again, from the store alone.

    RUN is an id, the beginning of one, or 'last'.  No model is asked and nothing is paid.  The
    answer must be the recorded one; with another strategy, budget or reader it is what that would
    have made of the same samples.
    """
    from outthink.cli.solve import print_answer
    from outthink.store.replay import replay as again

    found = with_store(
        store,
        lambda opened: again(opened, run, strategy=strategy, budget=budget, reader=reader),
    )
    other = any(option is not None for option in (strategy, budget, reader))

    def text(screen: Console) -> None:
        print_answer(screen, found.answer)
        if found.same:
            say("the same answer as recorded")
        else:
            say("other than recorded" if other else "error: other than recorded")
            for line in found.differences:
                say(f"  {clean(line)}")

    facts = {"same": found.same, "differences": list(found.differences)}
    give(found.answer.to_json() | facts, text)
    return 0 if found.same or other else FAILED


# -- export --------------------------------------------------------------------------------------


@click.command()
@click.argument("run")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@where
@common
def export(run: str, file: Path, store: str | None) -> None:
    """Write a run's samples to a file.

    RUN is an id, the beginning of one, 'last' or 'all'; the ending of FILE says the form: .jsonl,
    .json, .csv or .parquet.
    """
    rows = with_store(store, lambda opened: opened.export(run, file))

    def text(_: Console) -> None:
        print(f"{rows} sample{'s' * (rows != 1)} in {file}")

    give({"run": run, "file": str(file), "samples": rows}, text)
