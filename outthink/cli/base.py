"""What all commands share: the root command, ``--json`` and ``--debug``, errors, and printing."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from outthink import __version__
from outthink.core.errors import BadInput, OutthinkError, SpecError, WorldError, likely

if TYPE_CHECKING:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table

F = TypeVar("F", bound=Callable[..., Any])

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130
#: columns of a table that goes to a file or a pipe
PIPE_WIDTH = 100


@dataclass
class Flags:
    """The flags that every command takes."""

    json: bool = False
    debug: bool = False


def flags() -> Flags:
    """Those of the command that runs."""
    found = click.get_current_context().find_object(Flags)
    return found if found is not None else Flags()


def _keep(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def keep(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            setattr(context.ensure_object(Flags), name, True)

    return keep


def _import(context: click.Context, _: click.Parameter, files: tuple[str, ...]) -> None:
    if files and not context.resilient_parsing:
        from outthink import load_file

        for file in files:
            load_file(file)


def common(command: F) -> F:
    """Add ``--json``, ``--debug`` and ``--import``."""
    add_import = click.option(
        "--import",
        multiple=True,
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_import,
        help="A Python file with strategies, verifiers or models of yours.",
    )
    add_json = click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_keep("json"),
        help="Print one JSON object on standard output.",
    )
    add_debug = click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_keep("debug"),
        help="Show the traceback of an error.",
    )
    return add_json(add_debug(add_import(command)))


def complete(kind: str) -> Callable[[click.Context, click.Parameter, str], list[Any]]:
    """The shell's completion of a spec of this kind."""

    def names_of(_: click.Context, __: click.Parameter, incomplete: str) -> list[Any]:
        from outthink.cli.completion import names

        return names(kind, incomplete)

    return names_of


# -- printing ----------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """The value in JSON's terms: numbers that JSON lacks become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if hasattr(value, "item"):
        return plain(value.item())
    return str(value)


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object: indented on a terminal, else on one line."""
    indent = 2 if sys.stdout.isatty() else None
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(plain(value), ensure_ascii=not utf8, allow_nan=False, indent=indent)
    print(text.encode("utf-8", "replace").decode(), flush=True)


def give(value: Mapping[str, Any], text: Callable[[Console], None]) -> None:
    """Print a command's result: as JSON if asked for, else by ``text``."""
    if flags().json:
        print_json(value)
    else:
        text(console())


def console(stderr: bool = False) -> Console:
    """A Rich console that honours NO_COLOR and is as wide as the terminal."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    stream = sys.stderr if stderr else sys.stdout
    width = None
    if not stream.isatty():
        told = os.environ.get("COLUMNS", "")
        width = int(told) if told.isdecimal() and 19 < int(told) < 10_000 else PIPE_WIDTH
    return Screen(
        file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False
    )


def show_table(screen: Console, table: Table | Padding) -> None:
    """Print a table; without the blanks at the ends of lines where they would only be noise."""
    if screen.is_terminal:
        screen.print(table)
        return
    with screen.capture() as caught:
        screen.print(table)
    print("\n".join(line.rstrip() for line in caught.get().splitlines()))


_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), "�")
del _CONTROLS[ord("\n")], _CONTROLS[ord("\t")]


def clean(text: str) -> str:
    """A model's text without what would steer the terminal."""
    return text.translate(_CONTROLS)


def say(text: str) -> None:
    """A line on standard error: progress, hints."""
    print(text, file=sys.stderr, flush=True)


def grid(*header: str, right: Iterable[int] = (), head: bool = True) -> Table:
    """A table without lines whose last column takes what is left and wraps inside itself.

    ``right`` numbers the columns that are aligned to the right; ``head`` shows the names.
    """
    from rich.table import Table

    table = Table(
        box=None,
        show_header=head,
        header_style="dim",
        pad_edge=False,
        padding=(0, 2, 0, 0),
        collapse_padding=False,
        show_edge=False,
    )
    for i, name in enumerate(header):
        last = i == len(header) - 1
        table.add_column(
            name,
            no_wrap=not last,
            overflow="fold" if last else "ellipsis",
            justify="right" if i in set(right) else "left",
        )
    return table


@contextlib.contextmanager
def progress(text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error while the block lasts; in a log, a line for each tenth."""
    if sys.stderr.isatty():
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        bar = Progress(
            "{task.description}",
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            console=console(stderr=True),
            transient=True,
        )
        with bar:
            task = bar.add_task(text, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    said = 0

    def line(done: int, total: int) -> None:
        nonlocal said
        tenths = 10 * done // max(total, 1)
        if tenths > said:
            said = tenths
            say(f"{text}: {done} of {total}")

    yield line


# -- the root command and its errors -------------------------------------------------------------


class Group(click.Group):
    """A group that names the nearest command when it knows none of that name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"invoke_without_command": True, **kwargs})

    def whole(self, args: list[str]) -> list[str]:
        """The arguments with what may be left out."""
        return args

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what was given, and what was left out of it."""
        return super().parse_args(ctx, self.whole(args))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; without one, show the help."""
        result = super().invoke(ctx)
        if ctx.invoked_subcommand is None:
            if flags().json:
                raise click.UsageError("no command given", ctx)
            click.echo(ctx.get_help())
        return result

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; the error says what was likely meant."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            raise click.UsageError(f"no command {name[:60]!r}{close(name, self.commands)}", ctx)
        return super().resolve_command(ctx, args)


class Root(Group):
    """The root: commands in sections, and the one place where errors become exit codes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections: dict[str, list[str]] = {}

    def add(self, section: str, command: click.Command) -> None:
        """Add a command under a heading of the help."""
        self.add_command(command)
        self.sections.setdefault(section, []).append(str(command.name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by section, their first columns aligned."""
        width = max(len(name) for name in self.commands)
        for section, names in self.sections.items():
            rows = [
                (name.ljust(width), self.commands[name].get_short_help_str(limit=100))
                for name in names
            ]
            with formatter.section(section):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run; a reader that went away (``| head``) is not an error."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _hush()
            return 0
        return result

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run and exit: 0 done, 1 something outside failed, 2 wrong input, 130 Ctrl-C."""
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None:  # closed by the caller
                setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
            elif hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        given = list(sys.argv[1:] if args is None else args)
        said = given[: given.index("--")] if "--" in given else given
        extra.setdefault("obj", Flags())
        try:
            code = super().main(
                given, prog_name or "outthink", complete_var, standalone_mode=False, **extra
            )
        except Exception as error:
            code = report(error, as_json="--json" in said, debug="--debug" in said)
        except KeyboardInterrupt as error:
            code = report(error, as_json="--json" in said, debug="--debug" in said)
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _hush()
        except OSError as error:
            _hush()
            code = report(error, as_json=False, debug="--debug" in said)
        sys.exit(code if isinstance(code, int) else 0)


def _hush() -> None:
    """Let nothing complain about a closed standard output while Python ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def close(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"``, or nothing when no known name is near."""
    return likely(name, known, cutoff=0.5)


def explain(error: BaseException) -> tuple[int, str]:
    """The exit code of an error and its message: what is wrong and what to do."""
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return INTERRUPTED, "interrupted before there was an answer"
    if isinstance(error, click.UsageError):
        message = " ".join(error.format_message().split())
        message = message.replace(". Did you", "; did you").rstrip(".")
        path = error.ctx.command_path if error.ctx else "outthink"
        return BAD_INPUT, f"{message[:1].lower()}{message[1:]} (see '{path} --help')"
    if isinstance(error, click.ClickException):
        return FAILED, " ".join(error.format_message().split())
    if isinstance(error, SpecError):
        return BAD_INPUT, str(error)
    if isinstance(error, BadInput):
        return BAD_INPUT, " ".join(str(error).split())
    if isinstance(error, OutthinkError):
        return FAILED, " ".join(str(error).split())
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return FAILED, f"{place}{error.strerror or error}"
    if isinstance(error, ModuleNotFoundError):
        return FAILED, f"{error}: run 'outthink doctor' to see what is missing"
    text = " ".join(str(error).split())
    kind = type(error).__name__
    return FAILED, f"unexpected {kind}: {text or 'no message'} (--debug shows where)"


def report(error: BaseException, *, as_json: bool, debug: bool) -> int:
    """Say an error, on standard error or as JSON on standard output; returns the exit code."""
    if debug:
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    code, message = explain(error)
    if as_json:
        facts: dict[str, Any] = {"type": type(error).__name__, "message": message, "exit": code}
        if isinstance(error, SpecError):
            facts |= {"message": error.reason, "spec": error.source, "at": error.at}
        try:
            print_json({"error": facts})
        except OSError:
            _hush()
        else:
            return code
    try:
        head = click.style("error:", fg="red") if _colour() else "error:"
        shown = clean(message) if sys.stderr.isatty() else message
        print(f"{head} {shown}", file=sys.stderr, flush=True)
    except OSError:
        pass
    return code


def _colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def missing_extra(extra: str, what: str) -> WorldError:
    """The error for a library that an extra would bring."""
    return WorldError(f"{what}: pip install 'outthink[{extra}]'")


# -- the root's own options --------------------------------------------------------------------

EPILOG = """\b
Examples:
  outthink demo
  outthink solve "Ada has 3 pens. Ben has 4 more than Ada. How many pens has Ben?"
  outthink solve - --strategy "best_of_n(n=16, verifier=prm)" --budget tokens=20k
  outthink strategies best_of_n
"""


def _version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    if context.ensure_object(Flags).json:
        print_json({"version": __version__})
    else:
        click.echo(f"outthink {__version__}")
    context.exit()


def _completion(install: bool) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def run(context: click.Context, _: click.Parameter, shell: str | None) -> None:
        if shell and not context.resilient_parsing:
            from outthink.cli.completion import install_completion, show_completion

            (install_completion if install else show_completion)(context, shell)
            context.exit()

    return run


SHELLS = click.Choice(["auto", "bash", "zsh", "fish"])


@click.group(
    cls=Root,
    name="outthink",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88},
    epilog=EPILOG,
)
@common
@click.option(
    "--version", is_flag=True, is_eager=False, expose_value=False, callback=_version,
    help="Show the version.",
)  # fmt: skip
@click.option(
    "--install-completion", type=SHELLS, is_flag=False, flag_value="auto", expose_value=False,
    metavar="[SHELL]", callback=_completion(True), help="Install completion for your shell.",
)  # fmt: skip
@click.option(
    "--show-completion", type=SHELLS, is_flag=False, flag_value="auto", expose_value=False,
    metavar="[SHELL]", callback=_completion(False), help="Print the completion script.",
)  # fmt: skip
def app() -> None:
    """Inference-time scaling for language models, under budgets that hold."""
