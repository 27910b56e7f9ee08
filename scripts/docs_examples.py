"""The examples of the documentation: found, run, and held against what the pages show.

    python scripts/docs_examples.py          runs them again and writes what they print into the pages

A page shows three kinds of blocks that are more than text:

- ``python`` is run; a ``text`` block that follows shows what it prints.  The blocks of a page are one
  program.
- ``console`` holds ``$ outthink ...`` lines, each with what it prints below it.
- ``sh`` (or no name) holds commands that are not run; they, and those between backticks in the prose,
  must name commands, options and parts that exist.
- ``specs`` holds a spec a line, which must build.

A line ``<!-- fragment: REASON -->`` before a block says that it cannot be run.  ``tests/test_docs.py``
holds all pages to this.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import shlex
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
from click.testing import CliRunner
from threadpoolctl import threadpool_limits

from outthink.cli import app
from outthink.cli.base import Flags, Group
from outthink.core import registry
from outthink.core.budget import Budget
from outthink.core.nouns import Problem
from outthink.lab.design import sweep
from outthink.lab.tasks import parse_task
from outthink.verify.extract import reader_for

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^(`{3,})([\w-]*)[^`]*$")
_FRAGMENT = re.compile(r"^<!-- fragment: \S.* -->$")
_INCLUDE = re.compile(r'^--8<-- "([^"]+)"$', re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`(outthink [^`]+)`(?!`)")
#: what differs from run to run: names of runs, dates, ages, seconds; digits beyond the fourth, in which
#: another processor may round otherwise
_PASSING: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"\b[0-9a-f]{12}\b", "RUN"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "DATE"),
    (r"\b\d+(\.\d+)? (s|min|h|d)\b", "TIME"),
    (r'"seconds": [\d.e+-]+', "TIME"),
    (r"\b\d+\.\d{5,}\b", lambda found: f"{float(found[0]):.4f}"),
    (r"[ \t]+", " "),
)


@dataclasses.dataclass
class Block:
    """A fenced block: ``at`` is the index of its first line in its file ``path``."""

    path: Path
    language: str
    lines: list[str]
    at: int
    fragment: bool = False

    @property
    def text(self) -> str:
        """The lines in one."""
        return "\n".join(self.lines)

    @property
    def place(self) -> str:
        """Where it is, for a person."""
        return f"{self.path.name}, line {self.at}"


def pages() -> list[Path]:
    """The hand-written pages, and the README."""
    return [*sorted(DOCS.glob("*.md")), *sorted((DOCS / "api").glob("*.md")), ROOT / "README.md"]


# -- reading a page --------------------------------------------------------------------------------


def blocks(path: Path, text: str | None = None) -> list[Block]:
    """The fenced blocks of a page in their order, those of included files among them."""
    found: list[Block] = []
    open_: Block | None = None
    mark, before = "", ""
    lines = (path.read_text(encoding="utf-8") if text is None else text).split("\n")
    for i, line in enumerate(lines):
        if open_ is not None:
            if line.rstrip() == mark:
                found.append(open_)
                open_ = None
            else:
                open_.lines.append(line)
            continue
        fence, include = _FENCE.match(line), _INCLUDE.match(line)
        if fence:
            mark = fence[1]
            open_ = Block(path, fence[2], [], i + 1, bool(_FRAGMENT.match(before)))
        elif line.lstrip().startswith("```"):
            raise ValueError(f"{path.name}, line {i + 1}: a block begins at the line's beginning")
        elif include:
            found += blocks(ROOT / include[1])
        before = line if line.strip() else before
    if open_ is not None:
        raise ValueError(f"{open_.place}: the block has no end")
    return found


def steps(block: Block) -> list[tuple[str, list[str]]]:
    """The commands of a ``console`` block, each with the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    more = False
    for line in block.lines:
        if more:
            found[-1] = (f"{found[-1][0]}\n{line}", [])
        elif line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
        else:
            raise ValueError(f"{block.place}: a console block begins with '$ outthink ...'")
        more = line.endswith("\\") and (more or line.startswith("$ "))
    return found


def words(line: str) -> list[list[str]]:
    """The commands of a shell line (parted by pipes and the like) that are ``outthink``'s."""
    lexer = shlex.shlex(line.replace("\\\n", " "), posix=True, punctuation_chars="|;&<>")
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|;&<>"):
            commands.append([])
        else:
            commands[-1].append(word)
    out = []
    for command in commands:
        while command and re.match(r"\w+=", command[0]):
            command = command[1:]
        if command[:1] == ["outthink"]:
            out.append(command[1:])
    return out


def commands(path: Path, text: str | None = None) -> list[tuple[str, list[str], bool]]:
    """Every command line of a page: where, its words, and whether it is whole (not a mention)."""
    found: list[tuple[str, list[str], bool]] = []
    source = path.read_text(encoding="utf-8") if text is None else text
    source = _INCLUDE.sub(lambda m: (ROOT / m[1]).read_text(encoding="utf-8"), source)
    for block in blocks(path, source):
        run = block.language == "console" and not block.fragment  # its output is held to the page
        if block.language == "console":
            lines = [command for command, _ in steps(block)]
        elif block.language in ("", "sh"):
            lines = block.text.replace("\\\n", " ").split("\n")
        else:
            continue
        for line in lines:
            if "outthink" in line.split("#")[0]:
                found += [(block.place, command, not run) for command in words(line)]
    prose = re.sub(r"^```.*?^```", "", source, flags=re.DOTALL | re.MULTILINE)
    for mention in _INLINE.finditer(prose):
        found += [(path.name, command, False) for command in words(" ".join(mention[1].split()))]
    return found


def check_command(args: Sequence[str], whole: bool = True) -> None:
    """Raise ``click.UsageError`` or ``BadInput`` for a command, an option or a spec that is not there.

    A mention (``whole`` is false) may leave arguments out.
    """
    command: click.Command = app
    ctx = click.Context(app, info_name="outthink", obj=Flags(), **app.context_settings)
    rest = list(args)
    while isinstance(command, Group):
        _, rest, _ = command.make_parser(ctx).parse_args(command.whole(rest))
        if not rest:
            return
        name, *rest = rest
        inner = command.get_command(ctx, name)
        if inner is None:
            raise click.UsageError(f"no command {name!r}", ctx)
        command, ctx = inner, click.Context(inner, info_name=name, parent=ctx)
    if not whole:
        command.make_parser(ctx).parse_args(rest)
        return
    with ctx.scope(cleanup=False), contextlib.suppress(click.exceptions.Exit):
        command.parse_args(ctx, rest)
    # an option that may be given several times has a tuple of specs, with lists to sweep over
    for option, kind in (("model", "model"), ("strategy", "strategy")):
        given = ctx.params.get(option) or ()
        for spec in given if isinstance(given, tuple) else ():
            sweep(spec, kind)
        if isinstance(given, str):
            registry.build(given, kind)
    if isinstance(ctx.params.get("budget"), str):
        Budget.parse(ctx.params["budget"])
    if ctx.params.get("task"):
        parse_task(ctx.params["task"])
    if ctx.params.get("reader"):
        reader_for(Problem.of("?"), ctx.params["reader"])


def check_spec(spec: str) -> None:
    """Raise ``SpecError`` when no strategy, verifier or model is made by a spec."""
    name = spec.partition("(")[0]
    kind = next((k for k in registry.KINDS if name in registry.entries(k)), "strategy")
    registry.build(spec, kind)


# -- running a page --------------------------------------------------------------------------------


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """An empty folder with a store of its own, no keys, and a registry that forgets what is added."""
    kept, here = dict(os.environ), Path.cwd()
    known = {kind: dict(registry.entries(kind)) for kind in registry.KINDS}
    # one thread, as the command line does: BLAS threads that wait for each other on a busy machine
    # cost a factor of ten
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1, user_api="blas"):
        for name in [n for n in os.environ if n.startswith(("OPENAI_", "OUTTHINK_"))]:
            del os.environ[name]
        os.environ |= {"OUTTHINK_STORE": f"{folder}/outthink.db", "COLUMNS": "90", "NO_COLOR": "1"}
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(kept)
            for kind, entries in known.items():
                registry.entries(kind).clear()
                registry.entries(kind).update(entries)


def run_command(line: str) -> list[str]:
    """What a command prints, on both streams."""
    found = words(line)
    if len(found) != 1:
        raise ValueError(f"{line!r}: one outthink command without pipes")
    done = CliRunner().invoke(app, found[0])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output.split("\n")


def trimmed(lines: Sequence[str]) -> list[str]:
    """The lines without blanks at their ends, and without empty ones before and after."""
    return "\n".join(line.rstrip() for line in lines).strip("\n").split("\n")


def alike(shown: Sequence[str], printed: Sequence[str]) -> bool:
    """Are the two the same but for what passes (times, dates, names of runs)?"""
    both = []
    for lines in (shown, printed):
        text = "\n".join(trimmed(lines))
        for pattern, mark in _PASSING:
            text = re.sub(pattern, mark, text)
        both.append(text)
    return both[0] == both[1]


def run_page(path: Path, text: str | None = None) -> list[tuple[Block, list[str]]]:
    """Run a page's examples; gives each block whose shown output is not what came, with what came.

    Raises what an example raises, with a note that says where.
    """
    wrong: list[tuple[Block, list[str]]] = []
    program = types.ModuleType(f"page_{path.stem}")
    sys.modules[program.__name__] = program  # dataclasses look their module up
    printed: list[str] | None = None
    try:
        with workplace():
            for block in blocks(path, text):
                if block.language == "text" and printed is not None:
                    if not alike(block.lines, printed):
                        wrong.append((block, trimmed(printed)))
                    printed = None
                    continue
                printed = None
                if block.fragment or block.language not in ("python", "console"):
                    continue
                try:
                    if block.language == "python":
                        code = compile("\n" * block.at + block.text, str(path), "exec")
                        with contextlib.redirect_stdout(io.StringIO()) as out:
                            exec(code, program.__dict__)
                        printed = out.getvalue().split("\n")
                        continue
                    fresh: list[str] = []
                    same = True
                    for command, shown in steps(block):
                        came = trimmed(run_command(command))
                        same = same and alike(shown, came)
                        gap = [""] if fresh else []
                        fresh += [*gap, *f"$ {command}".split("\n"), *came]
                    if not same:
                        wrong.append((block, fresh))
                except BaseException as error:
                    error.add_note(f"in the example of {block.place}")
                    raise
    finally:
        del sys.modules[program.__name__]
    return wrong


def refresh(path: Path) -> int:
    """Write what the examples of a page print into it; returns the number of blocks that changed."""
    mine = [(block, came) for block, came in run_page(path) if block.path == path]
    lines = path.read_text(encoding="utf-8").split("\n")
    for block, came in reversed(mine):
        lines[block.at : block.at + len(block.lines)] = came
    path.write_text("\n".join(lines), encoding="utf-8")
    return len(mine)


if __name__ == "__main__":
    for page in pages():
        if page.is_relative_to(DOCS):
            print(f"{page.relative_to(ROOT)}: {refresh(page)} blocks renewed")
