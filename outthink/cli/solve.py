"""``outthink solve``: one question, one strategy, one budget, one answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
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
from outthink.core.errors import BadInput, StoreError

if TYPE_CHECKING:
    from rich.console import Console

    from outthink.core.nouns import Answer, Problem
    from outthink.core.run import Run


# -- the question --------------------------------------------------------------------------------


def messages_of(value: Any, where: str) -> Problem:
    """A problem from the value of a JSON text: a list of messages, or ``{"messages": [...]}``."""
    from outthink.core.nouns import Problem

    tools: Any = ()
    if isinstance(value, Mapping):
        if "messages" not in value:
            raise BadInput(
                f'{where}: an object needs "messages": [{{"role": ..., "content": ...}}]'
            )
        value, tools = value["messages"], value.get("tools", ())
    if not isinstance(value, list):
        raise BadInput(f"{where}: expected a list of messages, found a {type(value).__name__}")
    if not isinstance(tools, (list, tuple)) or not all(isinstance(t, Mapping) for t in tools):
        raise BadInput(f'{where}: "tools" is a list of objects')
    try:
        return Problem(tuple(value), tools=tuple(tools))
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from None


def read_file(path: Path) -> Problem:
    """The problem in a JSON file of messages."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise BadInput(f"{path} is not UTF-8 text (byte {error.start})") from None
        raise BadInput(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    try:
        value = json.loads(text)
    except RecursionError:
        raise BadInput(f"{path} is nested too deep") from None
    except ValueError as error:
        detail = f": {error}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadInput(f"{path} is not JSON{detail}") from None
    return messages_of(value, str(path))


def read_question(question: str) -> Problem:
    """The problem of QUESTION: ``-`` reads standard input, ``*.json`` a file, else it is the text."""
    from outthink.core.nouns import Problem, read_json

    if question == "-":
        if sys.stdin is None:
            raise BadInput("standard input is closed: there is no question to read")
        try:
            text = sys.stdin.buffer.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadInput(f"standard input is not UTF-8 text (byte {error.start})") from None
        if text.lstrip()[:1] in ("[", "{"):
            try:
                value = read_json(text)
            except ValueError:
                value = None
            if isinstance(value, list) and value and isinstance(value[0], Mapping):
                return messages_of(value, "standard input")
            if isinstance(value, Mapping) and "messages" in value:
                return messages_of(value, "standard input")
        return Problem.of(text.strip())
    if question.lower().endswith(".json") and "\n" not in question and len(question) < 4096:
        path = Path(os.path.expanduser(question))
        if os.path.exists(path) or not any(c.isspace() for c in question):
            return read_file(path)
    return Problem.of(question)


# -- the answer ----------------------------------------------------------------------------------


def print_answer(screen: Console, answer: Answer) -> None:
    """The answer as a person reads it; plain lines where they go to a file."""
    if not screen.is_terminal:
        print(answer, flush=True)
        return
    from rich.padding import Padding
    from rich.text import Text

    from outthink.cli.live import bar

    text = clean(answer.text.strip())
    head = clean(answer.answer) if answer.answer is not None else "(no answer found)"
    if text and text != head:
        screen.print(Padding(Text(text, style="dim"), (0, 0, 1, 2)))
    screen.print(Text(head, style="bold"))
    ranked = sorted(answer.distribution.items(), key=lambda item: -item[1])
    if len(ranked) > 1 or (ranked and (answer.confidence or 0) < 1):
        table = grid("answer", "share", "bar", right=(1,), head=False)
        for name, share in ranked[:6]:
            chosen = name == answer.answer
            label = Text("  " + clean(name).replace("\n", " ")[:32], style="" if chosen else "dim")
            table.add_row(label, f"{share:.2f}", bar(share, style="cyan" if chosen else "dim"))
        screen.print()
        show_table(screen, table)
        if len(ranked) > 6:
            screen.print(Text(f"  and {len(ranked) - 6} more", style="dim"))
    screen.print()
    how = f"{answer.strategy} on {answer.model}\n{answer.spent}, run {answer.run}"
    screen.print(Padding(Text(how, style="dim"), (0, 0, 0, 2)))
    if answer.ended:
        screen.print(Text(f"  {answer.ended}", style="yellow"))
    for note in answer.notes:
        screen.print(Padding(Text(f"note: {note}", style="yellow"), (0, 0, 0, 2)))


def exit_code(answer: Answer) -> int:
    """What an answer's end means to the shell."""
    return {"error": FAILED, "interrupted": INTERRUPTED}.get(answer.stopped, 0)


@click.command()
@click.argument("question")
@click.option(
    "--model", "-m", default="fly", show_default=True, metavar="SPEC",
    shell_complete=complete("model"), help="Who answers; see 'outthink models'.",
)  # fmt: skip
@click.option(
    "--strategy", "-s", metavar="SPEC", shell_complete=complete("strategy"),
    help="How the budget is spent; see 'outthink strategies'.  [default: a vote that stops when sure]",
)  # fmt: skip
@click.option(
    "--budget", "-b", metavar="LIMITS",
    help="What may be spent: tokens=20k,seconds=30,usd=0.05 (also calls, total_tokens, flops).",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Decides everything that is drawn.")
@click.option(
    "--store", metavar="URL", help="Where calls are remembered: a file, a URL, or 'none'."
)
@click.option("--reader", metavar="SPEC", help="How answers are read from texts and compared.")
@click.option(
    "--concurrency", type=click.IntRange(min=1), metavar="N", help="Calls in flight at most."
)
@click.option("--quiet", "-q", is_flag=True, help="No live view.")
@common
def solve(
    question: str,
    model: str,
    strategy: str | None,
    budget: str | None,
    seed: int,
    store: str | None,
    reader: str | None,
    concurrency: int | None,
    quiet: bool,
) -> int:
    """Answer a question within a budget.

    QUESTION is a text, '-' for standard input, or a .json file of messages.  Ctrl-C ends
    the run with the best answer so far.

    Exit code: 0 for an answer or the end of the budget (with --json, "answer" is null where
    there was none yet), 2 for bad input, 1 where a server or a file failed, 130 after Ctrl-C.
    """
    from outthink import api
    from outthink.core import registry
    from outthink.core.budget import Budget
    from outthink.store import default_url

    problem = read_question(question)
    limits = Budget.parse(budget or "")
    if budget is not None and not limits.limits():
        raise BadInput("the budget is empty: leave --budget out for no limit")
    given: dict[str, Any] = {
        "model": registry.build(model, "model"),
        "strategy": registry.build(strategy or api.DEFAULT_STRATEGY, "strategy"),
        "budget": limits,
        "seed": seed,
        "concurrency": concurrency,
        "reader": reader,
    }
    started: list[Run] = []

    def run(url: str | None, view: Any = None) -> Answer:
        def start(live: Run) -> None:
            started.append(live)
            if view is not None:
                view.start(live)

        observer = view.see if view is not None else None
        return api.solve(problem, store=url, observer=observer, on_start=start, **given)

    def watched(url: str | None) -> Answer:
        if quiet or not sys.stderr.isatty():
            return run(url)
        from outthink.cli.live import Live

        with Live(console(stderr=True), problem.question) as view:
            return run(url, view)

    url = default_url() if store is None else None if store.lower() == "none" else store
    try:
        answer = watched(url)
    except StoreError as error:
        if store is not None or started:
            raise
        say(f"warning: {' '.join(str(error).split())}; this run is not remembered")
        answer = watched(None)
    give(answer.to_json(), lambda screen: print_answer(screen, answer))
    code = exit_code(answer)
    if code == FAILED and not flags().json:
        say("error: the run ended early; what it had reached is above")
    return code
