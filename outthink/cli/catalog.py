"""``strategies``, ``verifiers``, ``models``, ``systems``: tables made from the registry."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from outthink.cli.base import close, common, complete, give, grid, show_table
from outthink.core.errors import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from outthink.core.registry import Entry

STATES = {"ok": "green", "works": "green", "part": "yellow", "warn": "yellow", "missing": "yellow"}
SINGULAR = {
    "strategy": "strategies", "verifier": "verifiers", "model": "models", "task": "tasks",
    "stop": "stops", "utility": "utilities",
}  # fmt: skip


#: a strategy that shows where a part stands
WITHIN = {"stop": "self_consistency(n=16, stop={})", "utility": "mbr(n=8, utility={})"}


def entry_of(kind: str, name: str) -> Entry:
    """The registered entry; an unknown name answers with the nearest one."""
    from outthink.core import registry

    known = registry.entries(kind)
    if name not in known:
        raise BadInput(
            f"no {kind} {name[:60]!r}{close(name, known)} (see 'outthink {SINGULAR[kind]}')"
        )
    return known[name]


# -- one part ------------------------------------------------------------------------------------


def type_text(hint: Any) -> str:
    """A type as a reader of specs would say it: ``whole number or none``."""
    words = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    if hint in words:
        return words[hint]
    if hint is type(None):
        return "none"
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " | ".join(map(str, inner))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_text(option) for option in inner)
    if origin in (tuple, list):
        return f"list of {type_text(inner[0])}" if inner else "list"
    return "any" if hint is Any else getattr(hint, "__name__", str(hint))


def parameters_of(entry: Entry) -> list[dict[str, Any]]:
    """Name, type and default of each parameter; ``required`` where there is no default."""
    from outthink.core.registry import spec_of

    try:
        hints = typing.get_type_hints(entry.make)
    except NameError:
        hints = {}
    found = []
    for field in dataclasses.fields(entry.make):
        if not field.init:
            continue
        default: Any = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        kind = field.metadata.get("kind")
        required = default is dataclasses.MISSING
        if kind == "verifier" and "VERIFIER" in entry.needs:
            required = True  # None is no verifier
        what = kind or type_text(hints.get(field.name, Any))
        if kind and default is None and not required:
            what += " or none"
        found.append(
            {
                "name": field.name,
                "type": what,
                "required": required,
                "default": None if required else spec_of(default),
            }
        )
    return found


def _value_for(
    part: str, parameter: Mapping[str, Any], kind: str | None, verifier: str
) -> str | None:
    """What an example spec gives a parameter; ``None`` leaves it out."""
    if kind == "verifier":
        return verifier
    if parameter["required"]:
        if parameter["name"] == "reference":
            return {"choice": '"B"', "numeric": "42"}.get(part, '"42"')
        return {"text": '"..."', "whole number": "8", "number": "0.5", "model": "fly"}.get(
            parameter["type"], "..."
        )
    told = parameter["name"] in ("n", "width") and parameter["default"] != "none"
    return parameter["default"] if told else None


def example_of(entry: Entry) -> str:
    """A spec that builds: what it needs is filled in, the rest left at its default."""
    from outthink.core import registry
    from outthink.core.errors import SpecError

    known = registry.entries("verifier")
    verifier = "prm" if "prm" in known else next(iter(known), "none")
    kinds = {f.name: f.metadata.get("kind") for f in dataclasses.fields(entry.make)}
    wants = "VERIFIER" in entry.needs
    parts = []
    for parameter in parameters_of(entry):
        kind = kinds[parameter["name"]]
        if kind == "verifier" and not wants and not parameter["required"]:
            continue
        value = _value_for(entry.name, parameter, kind, verifier)
        if value is not None:
            parts.append(f"{parameter['name']}={value}")
    spec = f"{entry.name}({', '.join(parts)})" if parts else entry.name
    try:
        registry.build(spec, entry.kind)
    except SpecError:
        return entry.name
    except Exception:
        return spec
    return spec


def doc_of(entry: Entry) -> str:
    """The docstring; with that of its file where the file holds this part alone."""
    import inspect

    from outthink.core import registry

    own = inspect.getdoc(entry.make) or ""
    module = entry.make.__module__
    alone = [e for e in registry.entries(entry.kind).values() if e.make.__module__ == module]
    whole = inspect.getdoc(sys.modules[module]) if module in sys.modules else None
    if entry.kind == "strategy" and len(alone) == 1 and whole:
        # the file's text tells the method; of the class what goes beyond its one line
        return "\n\n".join([whole, *own.split("\n\n")[1:]])
    return own


def facts_of(entry: Entry, full: bool) -> dict[str, Any]:
    """An entry in plain values."""
    facts: dict[str, Any] = {
        "name": entry.name,
        "summary": entry.summary.replace("``", ""),
        "sources": list(entry.sources),
        "needs": sorted(entry.needs),
    }
    if full:
        facts |= {
            "doc": doc_of(entry),
            "parameters": parameters_of(entry),
            "example": example_of(entry),
        }
    return facts


def blocks(doc: str) -> Iterator[tuple[list[str], bool]]:
    """The blocks of a docstring: a paragraph or a point is one line; else they stand as they are (true)."""
    for block in doc.replace("``", "").split("\n\n"):
        lines = block.strip("\n").splitlines()
        if lines and re.match(r"\d+\. |- ", lines[0]):
            points = list[str]()
            for line in lines:
                if line.startswith(" "):
                    points[-1] += " " + line.strip()
                else:
                    points.append(line)
            yield points, False
        elif any(line.startswith(" ") for line in lines):
            yield lines, True
        elif lines:
            yield [" ".join(lines)], False


def _print_one(screen: Console, kind: str, facts: Mapping[str, Any]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    screen.print(Text(facts["name"], style="bold"))
    screen.print()
    for lines, verbatim in blocks(facts["doc"]):
        for line in lines:
            if verbatim:  # a formula or an example is not broken into lines by us
                screen.print(Text("  " + line), soft_wrap=True)
            else:
                show_table(screen, Padding(Text(line), (0, 0, 0, 2)))
        screen.print()
    labels = [("can", facts.get("can")), ("needs", facts["needs"]), ("sources", facts["sources"])]
    for label, values in labels:
        if values:
            screen.print(Text.assemble((f"  {label:<9}", "dim"), ", ".join(values)))
    if "state" in facts:
        colour = STATES.get(facts["state"], "")
        screen.print(Text.assemble(("  usable   ", "dim"), (facts["state"], colour)))
        if facts["missing"]:
            screen.print(Text.assemble(("  mend     ", "dim"), facts["missing"]))
    if facts["parameters"]:
        table = grid("  parameter", "default", "type")
        for p in facts["parameters"]:
            default = "(required)" if p["required"] else str(p["default"])
            default = default if len(default) <= 40 else default[:37] + "..."
            table.add_row("  " + p["name"], Text(default), Text(p["type"]))
        screen.print()
        show_table(screen, table)
    screen.print()
    option = "in a strategy:" if kind == "verifier" else f"--{kind}"
    spec = str(facts["example"])
    if kind in WITHIN:
        option, spec = "--strategy", WITHIN[kind].format(spec)
    mark = "'" if '"' in spec else '"'
    quoted = spec if kind == "verifier" else f"{mark}{spec}{mark}"
    example = Text.assemble(("  example  ", "dim"), f"{option} {quoted}")
    screen.print(example, soft_wrap=True)


def _print_all(screen: Console, kind: str, rows: list[dict[str, Any]]) -> None:
    from rich.text import Text

    table = grid("name", "what it does", head=False)
    for facts in rows:
        what = Text(facts["summary"])
        under = [f"needs {', '.join(facts['needs'])}"] if facts["needs"] else []
        under += [" ".join(facts["sources"])] if facts["sources"] else []
        if under:
            what.append("\n" + " · ".join(under), style="dim")
        table.add_row(Text(facts["name"], style="bold"), what)
    show_table(screen, table)
    screen.print()
    more = f"outthink {SINGULAR[kind]} NAME shows one with its parameters"
    screen.print(Text(more, style="dim"))


def _catalogue(kind: str, name: str | None) -> None:
    from outthink.core import registry

    if name is not None:
        facts = facts_of(entry_of(kind, name), True)
        give(facts, lambda screen: _print_one(screen, kind, facts))
        return
    rows = [facts_of(entry, False) for _, entry in sorted(registry.entries(kind).items())]
    give({SINGULAR[kind]: rows}, lambda screen: _print_all(screen, kind, rows))


@click.command()
@click.argument("name", required=False, shell_complete=complete("strategy"))
@common
def strategies(name: str | None) -> None:
    """List the strategies; NAME shows one with its parameters."""
    _catalogue("strategy", name)


@click.command()
@click.argument("name", required=False, shell_complete=complete("task"))
@common
def tasks(name: str | None) -> None:
    """List the tasks that a bench can ask; NAME shows one with its parameters."""
    _catalogue("task", name)


@click.command()
@click.argument("name", required=False, shell_complete=complete("verifier"))
@common
def verifiers(name: str | None) -> None:
    """List the verifiers; NAME shows one with its parameters."""
    _catalogue("verifier", name)


@click.command()
@click.argument("name", required=False, shell_complete=complete("stop"))
@common
def stops(name: str | None) -> None:
    """List the rules that end a vote early; NAME shows one with its parameters."""
    _catalogue("stop", name)


@click.command()
@click.argument("name", required=False, shell_complete=complete("utility"))
@common
def utilities(name: str | None) -> None:
    """List the measures of how alike two texts are; NAME shows one with its parameters."""
    _catalogue("utility", name)


# -- models ------------------------------------------------------------------------------------


def usable(make: Any) -> tuple[bool, str]:
    """Can this model be used here, and what is missing if not?"""
    ask = getattr(make, "usable", None)
    if ask is None:
        return True, ""
    try:
        found = ask()
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"
    if isinstance(found, tuple):
        return bool(found[0]), str(found[1] or "")
    return bool(found), ""


def capabilities_of(make: Any) -> list[str]:
    """What a model can do, read from its class: nothing is opened."""
    from outthink.core.model import CAPABILITIES

    said = getattr(make, "can", None)
    if isinstance(said, tuple):
        return list(said)
    holders = [make]
    with contextlib.suppress(NameError, AttributeError, TypeError):
        holders.append(typing.get_type_hints(make.open).get("return"))
    for holder in holders:
        found = getattr(holder, "capabilities", None)
        if isinstance(found, (frozenset, set, tuple)):
            return [c for c in CAPABILITIES if c in found]
    return []


def model_facts(entry: Entry, full: bool) -> dict[str, Any]:
    """A model's facts, with what it can do and whether it is usable here."""
    well, why = usable(entry.make)
    facts = facts_of(entry, full)
    return facts | {
        "can": capabilities_of(entry.make),
        "state": "ok" if well else "missing",
        "usable": well,
        "missing": "" if well else why,
        "remark": why if well else "",
    }


def _print_models(screen: Console, rows: list[dict[str, Any]]) -> None:
    from rich.text import Text

    table = grid("model", "here", "what it is")
    for facts in rows:
        what = Text(facts["summary"])
        if facts["can"]:
            what.append(f"\ncan {', '.join(facts['can'])}", style="dim")
        if facts["remark"]:
            what.append(f"\n{facts['remark']}", style="dim")
        if facts["missing"]:
            what.append(f"\n{facts['missing']}", style="yellow")
        state = Text(facts["state"], style=STATES[facts["state"]])
        table.add_row(Text(facts["name"], style="bold"), state, what)
    show_table(screen, table)


@click.command()
@click.argument("name", required=False, shell_complete=complete("model"))
@common
def models(name: str | None) -> None:
    """List the models: usable here or not, and what each can do."""
    from outthink.core import registry

    if name is not None:
        facts = model_facts(entry_of("model", name), True)
        give(facts, lambda screen: _print_one(screen, "model", facts))
        return
    rows = [model_facts(entry, False) for _, entry in sorted(registry.entries("model").items())]
    rows.sort(key=lambda facts: not facts["usable"])
    give({"models": rows}, lambda screen: _print_models(screen, rows))


# -- systems -----------------------------------------------------------------------------------


def _plain_system(system: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(system) and not isinstance(system, type):
        return dataclasses.asdict(system)
    return dict(system)


def _print_systems(screen: Console, rows: list[dict[str, Any]], counts: Mapping[str, int]) -> None:
    from rich.text import Text

    table = grid("id", "state", "name")
    for row in rows:
        name = Text(str(row["name"]))
        if row.get("runs"):
            name.append(f"\n{row['runs']}", style="dim")
        if row.get("verdict"):
            name.append(f"\nreproduced: {row['verdict']}", style="dim")
        state = Text(str(row["state"]), style=STATES.get(str(row["state"]), "dim"))
        table.add_row(str(row["id"]), state, name)
    show_table(screen, table)
    screen.print()
    screen.print(Text(", ".join(f"{n} {state}" for state, n in counts.items()), style="dim"))


def _print_system(screen: Console, row: Mapping[str, Any]) -> None:
    from rich.text import Text

    table = grid("key", "value", head=False)
    for key, value in row.items():
        if value in (None, "", [], (), {}):
            continue
        shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        table.add_row(Text(key, style="dim"), Text(shown))
    show_table(screen, table)


@click.command()
@click.argument("ident", metavar="[ID]", required=False)
@common
def systems(ident: str | None) -> None:
    """List the published systems and what runs each; ID shows one."""
    from outthink import systems as known

    if ident is not None:
        row = _plain_system(known.find(ident))
        give(row, lambda screen: _print_system(screen, row))
        return
    rows = [_plain_system(system) for system in known.load()]
    counts = dict(known.counts())
    give(
        {"systems": rows, "counts": counts},
        lambda screen: _print_systems(screen, rows, counts),
    )
