"""Write the reference pages of the documentation: ``docs/reference/``, which git ignores.

    python scripts/build_docs.py

Everything in them comes from the registry, the docstrings, the price table, the list of systems and
the click commands, so a part that is registered has its section and nothing has to be kept in step by
hand.
"""

from __future__ import annotations

import html
import inspect
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from outthink import systems
from outthink.cli import app
from outthink.cli.base import BAD_INPUT, FAILED, INTERRUPTED
from outthink.cli.catalog import capabilities_of, facts_of
from outthink.core import registry
from outthink.core.errors import SpecError
from outthink.core.registry import Entry
from outthink.models.prices import TABLE

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "reference"

#: for each kind of part: its page, the title, the command that shows the same, what comes first
PAGES = {
    "strategy": (
        "strategies.md",
        "Strategies",
        "strategies",
        "A strategy spends a budget on a model. How to write one: "
        "[Writing a strategy](../strategy.md).",
    ),
    "verifier": (
        "verifiers.md",
        "Verifiers",
        "verifiers",
        "A verifier gives each sample a score. When to use which: "
        "[Verifiers and readers](../verifiers.md).",
    ),
    "model": (
        "models.md",
        "Models",
        "models",
        "A model answers requests, or scores texts. How to set one up: [Models](../models.md).",
    ),
    "stop": (
        "stops.md",
        "Stopping rules",
        "stops",
        "A stopping rule says when a vote has enough samples: `self_consistency(n=64, stop=beta)`. Replay "
        "tries it on recorded ones: [The lab](../lab.md).",
    ),
    "utility": (
        "utilities.md",
        "Utilities",
        "utilities",
        "A utility says how much a text is worth if another is what was wanted, in [0, 1]: what `mbr` and "
        "others compare texts by.",
    ),
    "task": (
        "tasks.md",
        "Tasks",
        "tasks",
        "A task is a set of problems whose answers are known: what a bench asks (its option `--task`). "
        "Options follow it after commas: `n` (how many), `seed` (which, or in which order), `skip`.",
    ),
}


def cell(text: str) -> str:
    """A text as it may stand in the cell of a Markdown table; bars that are code stay as they are."""
    parts = re.split(r"(`+[^`]+`+)", " ".join(text.split()))
    return "".join(p if p.startswith("`") else p.replace("|", "\\|") for p in parts)


def plain(text: str) -> str:
    """A text that is no Markdown, such as the title of a paper, as Markdown for a cell."""
    escaped = re.sub(r"([\\`*_\[\]])", r"\\\1", html.escape(" ".join(text.split()), quote=False))
    return escaped.replace("|", "&#124;")


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def kind_text(text: str) -> str:
    """The type of a parameter; the words that a choice allows each as code."""
    if " | " not in text:
        return text
    return "one of " + ", ".join(f"`{word}`" for word in text.split(" | "))


def builds(spec: str, kind: str) -> bool:
    """Can an example be used as it stands?  One that cannot is not shown."""
    try:
        registry.build(spec, kind)
    except SpecError:
        return False
    return True


def section(entry: Entry) -> str:
    """What is to be known of one part."""
    facts = facts_of(entry, True)
    sources = [f"[{s}](systems.md#{s.lower()})" for s in facts["sources"]]
    needs = [f"`{n}`" for n in facts["needs"]]
    can = capabilities_of(entry.make) if entry.kind == "model" else []
    can = [re.sub(r"^\w+", r"`\g<0>`", c) for c in can]  # some say when: "SEEDS (with seeds=true)"
    out = [f"## `{entry.name}`\n", f"{facts['doc']}\n"]
    lines = [("Can", can), ("Needs", needs), ("Sources", sources)]
    out += [f"{label}: {', '.join(values)}.\n" for label, values in lines if values]
    rows = [
        (
            f"`{p['name']}`",
            "required" if p["required"] else f"`{p['default']}`",
            cell(kind_text(p["type"])),
        )
        for p in facts["parameters"]
    ]
    if rows:
        out.append(table(("parameter", "default", "type"), rows))
    if builds(facts["example"], entry.kind):
        out.append(f"Example: `{facts['example']}`\n")
    return "\n".join(out)


def parts_page(kind: str) -> str:
    """The page of a kind of part: a table of all, then a section each."""
    _, title, command, first = PAGES[kind]
    entries = sorted(registry.entries(kind).items())
    # a heading's anchor has no colon
    rows = [
        (f"[`{name}`](#{name.replace(':', '')})", cell(entry.summary)) for name, entry in entries
    ]
    shown = f"; `outthink {command}` shows the same, `outthink {command} NAME` one of them"
    made = f"This page is made from the registry{shown if command else ''}."
    head = f"# {title}\n\n{first}\n\n{made}\n\n"
    return (
        head
        + table(("name", "what it does"), rows)
        + "\n"
        + "\n".join(section(entry) for _, entry in entries)
    )


def prices() -> str:
    """The price table of hosted models."""
    rows = [(f"`{name}`", *(f"{price:g}" for price in row)) for name, row in sorted(TABLE.items())]
    doc = sys.modules["outthink.models.prices"].__doc__ or ""
    return (
        f"\n## Prices\n\n{inspect.cleandoc(doc)}\n\n"
        + table(("model", "prompt", "completion", "cached prompt"), rows)
    )  # fmt: skip


def systems_page() -> str:
    """The published systems with their states, and how many are in each."""
    counts = systems.counts()
    told = ", ".join(f"{n} {state}" for state, n in counts.items())

    def row(system: dict[str, str | None]) -> tuple[str, ...]:
        ident = str(system["id"])
        lines = [f"**{plain(str(system['name']))}**", plain(str(system["title"]))]
        if system["runs"]:
            lines.append(f"`{system['runs']}`")
        if system["note"]:
            lines.append(plain(system["note"]))
        if system["verdict"]:
            lines.append(f"reproduced: {plain(system['verdict'])}")
        state = str(system["state"]).replace(" ", "&nbsp;")
        return (f'<a id="{ident.lower()}"></a>{ident}', "<br>".join(lines), state)

    rows = systems.load()
    runnable = [s for s in rows if s["runs"]]
    header = ("id", "system, and what runs it", "state")
    return (
        f"# Published systems\n\nThe {len(rows)} published systems and studies that the project grew "
        "from, and what runs each. This page is made from the list that `outthink systems` shows; "
        f"`outthink systems ID` shows one.\n\nNow: {told}.\n\n"
        "What runs: "
        + ", ".join(f"[{s['id']}](#{str(s['id']).lower()}) {plain(s['name'])}" for s in runnable)
        + ".\n\n"
        + table(header, [row(s) for s in rows])
    )


def help_text(command: click.Command) -> str:
    """The help of a command as Markdown paragraphs."""
    return inspect.cleandoc(command.help or "").replace("\b\n", "").replace("\f", "")


def options_of(ctx: click.Context) -> str:
    """The options of a command, one a line."""
    lines = []
    for param in ctx.command.get_params(ctx):
        record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
        if record:
            lines.append(f"- `{record[0]}`: {' '.join(record[1].split())}\n")
    return "".join(lines)


def commands(ctx: click.Context, level: int) -> Iterator[str]:
    """The section of a command and those of the commands in it."""
    command = ctx.command
    usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
    yield (
        f"{'#' * level} {ctx.command_path}\n\n{help_text(command)}\n\n"
        f"```text\n{usage}\n```\n\n{options_of(ctx)}"
    )
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            inner = command.get_command(ctx, name)
            assert inner is not None
            yield from commands(click.Context(inner, info_name=name, parent=ctx), level + 1)


def commands_page() -> str:
    """The reference of the command line, from the click commands."""
    root = click.Context(app, info_name="outthink", **app.context_settings)
    out = [
        "# Command line\n\nThis page is made from the commands; `--help` after any of them shows the "
        "same.\n",
        f"{help_text(app)}\n\n```text\noutthink {' '.join(app.collect_usage_pieces(root))}\n```\n\n"
        f"{options_of(root)}",
        f"Exit codes: 0 done, {FAILED} something outside failed, {BAD_INPUT} wrong input, "
        f"{INTERRUPTED} Ctrl-C. With `--json` standard output holds one JSON object and nothing "
        'else; an error is then `{"error": {...}}`. Progress goes to standard error.\n',
    ]
    for title, names in app.sections.items():
        out.append(f"## {title}\n")
        for name in names:
            out += commands(click.Context(app.commands[name], info_name=name, parent=root), 3)
    return "\n".join(out)


def pages() -> dict[str, str]:
    """The text of every reference page by its file name."""
    out = {}
    for kind in registry.KINDS:
        if kind in PAGES:
            out[PAGES[kind][0]] = parts_page(kind)
        elif registry.entries(kind):
            raise SystemExit(f"parts of the kind {kind!r} are registered: add their page to PAGES")
    out["models.md"] += prices()
    out["systems.md"] = systems_page()
    out["commands.md"] = commands_page()
    return out


def write(folder: Path = OUT) -> list[Path]:
    """Write all pages into an emptied folder; returns their paths."""
    made = pages()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in made]


if __name__ == "__main__":
    print(f"{len(write())} pages in {OUT.relative_to(ROOT)}")
