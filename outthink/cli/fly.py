"""``outthink fly``: the bundled model's problems, training, evaluation and card."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from outthink.cli.base import (
    Group,
    common,
    flags,
    give,
    grid,
    missing_extra,
    print_json,
    progress,
    say,
    show_table,
)
from outthink.cli.fly_export import export
from outthink.core.errors import BadInput, WorldError
from outthink.tasks import FAMILIES
from outthink.train.recipe import SIZES

if TYPE_CHECKING:
    from rich.console import Console

LEVELS = ("easy", "medium", "hard")


@click.group(cls=Group)
def fly() -> None:
    """The bundled model: its problems, training, evaluation, card."""


fly.add_command(export)


# -- problems ------------------------------------------------------------------------------------


def _dials(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    found: dict[str, int] = {}
    for value in values:
        name, equals, number = value.partition("=")
        if not equals or not number.strip().lstrip("-").isdigit():
            raise BadInput(f"--dial {value}: write NAME=NUMBER, such as --dial steps=6")
        found[name.strip()] = int(number)
    return found


def _made(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except ValueError as error:
        raise BadInput(str(error)) from None


_family = click.option(
    "--family", type=click.Choice(FAMILIES), default="chain", show_default=True,
    help="The kind of problem.",
)  # fmt: skip


@fly.command()
@_family
@click.option(
    "--dial", "dials", multiple=True, callback=_dials, metavar="NAME=N",
    help="How hard: chain has steps and top, countdown numbers, top and target, "
    "lookup hops and facts, program lines and examples.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Which problem of these dials.")
@click.option("--solution", is_flag=True, help="Show the steps and the answer too.")
@click.option("--thoughts", is_flag=True, help="Show what may be thought before the answer.")
@common
def problem(family: str, dials: dict[str, int], seed: int, solution: bool, thoughts: bool) -> None:
    """Print the problem of these dials and seed."""
    import random

    from outthink.tasks import family as family_named
    from outthink.tasks.base import check_dials

    maker = family_named(family)
    _made(lambda: check_dials(family, dials, maker.DIALS))
    made = maker.make(seed=seed, **dials)
    facts = made.record()
    if not solution:
        del facts["solution"], facts["answer"]
    if thoughts:
        pieces, answer = maker.thoughts(made, random.Random(seed))
        facts["thoughts"] = "".join(text for text, _ in pieces) + "</think>\n" + answer
    if flags().json:
        print_json(facts)
        return
    print(made.question)
    for name in ("solution", "thoughts"):
        if name in facts:
            print(f"\n{facts[name]}", end="")


@fly.command()
@_family
@click.option("--level", type=click.Choice(LEVELS), default="medium", show_default=True)
@click.option(
    "--split", type=click.Choice(["train", "dev", "test"]), default="dev", show_default=True
)
@click.option("--count", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Which problems.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True,
    help="The JSON lines file that is written.",
)  # fmt: skip
@common
def problems(family: str, level: str, split: str, count: int, seed: int, out: Path) -> None:
    """Write problems of a level and split to a JSON lines file, with solutions."""
    from outthink.tasks import problems as problems_of
    from outthink.tasks.base import export

    made = _made(lambda: problems_of(family, level, split, count, seed))
    try:
        written = export(made, out)
    except OSError as error:
        raise WorldError(f"cannot write {out}: {error.strerror}") from None
    facts = {
        "file": str(out),
        "problems": written,
        "family": family,
        "level": level,
        "split": split,
    }

    def text(_: Console) -> None:
        print(f"{written} problems in {out}")

    give(facts, text)


# -- training ------------------------------------------------------------------------------------


def _quantity(_: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    from outthink.core.budget import quantity

    if value is None:
        return None
    amount = quantity(value, seconds=parameter.name == "seconds")
    if amount <= 0:
        raise BadInput(f"--{parameter.name} {value}: more than zero")
    return amount


def _need_torch() -> None:
    lacking = [
        m for m in ("torch", "transformers", "tokenizers", "safetensors") if find_spec(m) is None
    ]
    if lacking:
        raise missing_extra("train", f"training needs {', '.join(lacking)}")


def _in_background(out: Path) -> None:
    """Start the same command as a process of its own that outlives this one."""
    out.mkdir(parents=True, exist_ok=True)
    args = [a for a in sys.argv[1:] if a not in ("--background", "--json")]
    with (out / "train.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "outthink", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    facts = {"pid": child.pid, "log": str(out / "train.log"), "out": str(out)}

    def text(_: Console) -> None:
        print(
            f"training in the background (process {child.pid}); follow it: tail -f {facts['log']}"
        )

    give(facts, text)


@fly.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("fly-weights"),
    show_default=True, help="Where weights, curve and checkpoint go.",
)  # fmt: skip
@click.option(
    "--seconds", callback=_quantity, metavar="S",
    help="Stop after this time (20min, 2h); call again to go on.",
)  # fmt: skip
@click.option(
    "--tokens", callback=_quantity, metavar="N", help="Tokens of the language model's training."
)
@click.option(
    "--size", type=click.Choice(tuple(SIZES)), default="fly", show_default=True,
    help="Which member of the family.",
)  # fmt: skip
@click.option(
    "--all", "everything", is_flag=True,
    help="All that is in the package: fly, xs and the reward model, in folders.",
)  # fmt: skip
@click.option(
    "--stage", type=click.Choice(["language", "reward", "all", "expert"]), default="all",
    show_default=True,
    help="The language model, its reward model, or both (only fly has one); or a round of expert "
    "iteration from what is there.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Decides the weights.")
@click.option("--background", is_flag=True, help="Train in a process of its own, with a log.")
@common
def train(
    out: Path,
    seconds: float | None,
    tokens: float | None,
    size: str,
    everything: bool,
    stage: str,
    seed: int,
    background: bool,
) -> None:
    """Train the bundled models from nothing; resumes where it stopped.

    Needs the extra [train]; uses a GPU if there is one.  With --tokens or --seconds the training is
    shorter; a call with the same dials goes on from the last checkpoint.  --all trains what
    is in the package, in about three hours on two cores; fly alone takes 75 minutes.
    """
    _need_torch()
    if background:
        _in_background(out)
        return
    from outthink.train import fly as training
    from outthink.train.loop import clock

    left = clock(seconds)
    recipe = training.Recipe(seed=seed).of_size(size)
    if tokens is not None:
        share = tokens / (recipe.tokens + recipe.skill_tokens)
        recipe = replace(
            recipe,
            tokens=int(recipe.tokens * share),
            skill_tokens=int(recipe.skill_tokens * share),
        )
    if recipe.skill_tokens < recipe.batch_tokens:
        raise BadInput(
            f"--tokens {tokens:.0f}: a stage needs a batch of {recipe.batch_tokens:,} at least"
        )

    done: dict[str, Any] = {}
    wanted = 2 if stage == "all" and size == "fly" else 1
    try:
        if everything:
            done = training.train_all(out, seed=seed, seconds=seconds, progress=say)["stages"]
            wanted = len(done)  # it ends early only where a stage did
        else:
            if stage in ("language", "all"):
                done["language"] = training.train_language_model(recipe, out, left(), say)
            elif not (out / "attempts.jsonl").exists():
                raise BadInput(f"no language model in {out}: first --stage language")
            if stage == "expert":
                done["expert"] = training.train_expert(
                    training.ExpertRecipe(seed=seed), out, out / "expert", left(), say
                )
            whole = stage == "all" and size == "fly" and done["language"]["finished"]
            if stage == "reward" or whole:
                done["reward"] = training.train_reward_model(
                    training.RewardRecipe(seed=seed), out, out / "prm", left(), say
                )
    except BadInput:
        raise
    except ValueError as error:
        raise BadInput(str(error)) from None
    except RuntimeError as error:
        raise WorldError(str(error)) from None
    finished = len(done) == wanted and all(d["finished"] for d in done.values())
    facts = {"out": str(out), "finished": finished, "stages": done}

    def text(_: Console) -> None:
        if finished:
            folder = out / "fly" if everything else out
            print(f"trained; use it: outthink solve QUESTION --model 'fly(weights=\"{folder}\")'")
        else:
            print("stopped before the end; the same command goes on from here")

    give(facts, text)


# -- evaluation ----------------------------------------------------------------------------------


def _print_evaluation(screen: Console, found: Mapping[str, Any]) -> None:
    from rich.text import Text

    what = f"{found['problems']} {found['level']} {found['family']} problems of the {found['split']} split"
    screen.print(Text(what + ", 95 % intervals", style="dim"))
    screen.print()
    table = grid("accuracy", "interval", "tokens", "strategy", right=(0, 2))
    for row in found["rows"]:
        low, high = row["interval"]
        spread = f"{low:.3f} - {high:.3f}"
        table.add_row(f"{row['accuracy']:.3f}", spread, f"{row['tokens']:,.0f}", row["label"])
    show_table(screen, table)
    screen.print()
    gaps = grid("gap", "interval", "paired, same problems", right=(0,))
    for gap in found["gaps"]:
        low, high = gap["interval"]
        sure = low > 0 or high < 0
        style = "" if sure else "dim"
        text = f"{gap['of']} over {gap['over']}"
        gaps.add_row(
            Text(f"{gap['gap']:+.3f}", style), Text(f"{low:+.3f} - {high:+.3f}", style), text
        )
    show_table(screen, gaps)
    if found["coverage"]:
        curve = ", ".join(f"pass@{k} {v:.3f}" for k, v in found["coverage"].items())
        screen.print()
        screen.print(Text(curve), soft_wrap=True)


@fly.command()
@_family
@click.option("--level", type=click.Choice(LEVELS), default="medium", show_default=True)
@click.option("--problems", "count", type=click.IntRange(min=2), default=500, show_default=True)
@click.option(
    "--n", type=click.IntRange(min=1), default=16, show_default=True, help="Samples a problem."
)
@click.option("--split", type=click.Choice(["dev", "test"]), default="test", show_default=True)
@click.option("--seed", default=0, show_default=True, help="Which problems, and what is drawn.")
@click.option("--model", default="fly", show_default=True, help="The model, as a spec.")
@click.option(
    "--strategies", "specs", multiple=True, metavar="SPEC",
    help="Strategies to compare; may be given several times.",
)  # fmt: skip
@common
def eval(
    family: str,
    level: str,
    count: int,
    n: int,
    split: str,
    seed: int,
    model: str,
    specs: tuple[str, ...],
) -> None:
    """Measure a bundled model: pass@1, votes, verifier."""
    from outthink.core import registry
    from outthink.train.evaluate import evaluate

    for spec in specs:
        registry.build(spec, "strategy")
    registry.build(model, "model")
    with progress(f"{count} {level} {family} problems") as step:
        found = evaluate(
            level,
            count,
            n,
            split,
            specs or None,
            family=family,
            model=model,
            seed=seed,
            progress=step,
        )
    give(found, lambda screen: _print_evaluation(screen, found))


def _print_report(screen: Console, found: Mapping[str, Any]) -> None:
    from rich.text import Text

    table = grid("", "value", "interval", "wanted", "claim", right=(1,))
    for claim in found["claims"]:
        low, high = claim["interval"]
        mark = Text("holds", "green") if claim["holds"] else Text("does not", "red")
        table.add_row(
            mark, f"{claim['value']:.3f}", f"{low:.3f} - {high:.3f}", claim["wanted"], claim["text"]
        )
    show_table(screen, table)
    held = sum(claim["holds"] for claim in found["claims"])
    screen.print()
    screen.print(
        Text(f"{held} of {len(found['claims'])} claims hold; {found['out']}"), soft_wrap=True
    )


@fly.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("fly-report"),
    show_default=True, help="Where report.json, report.png and the calls go.",
)  # fmt: skip
@click.option("--problems", "count", type=click.IntRange(min=2), default=500, show_default=True)
@click.option("--split", type=click.Choice(["dev", "test"]), default="test", show_default=True)
@click.option("--seed", default=0, show_default=True, help="Which problems, and what is drawn.")
@click.option(
    "--section", "sections", multiple=True, metavar="NAME",
    help="Only this section (several times for more): levels, verifiers, selection, search, "
    "thinking, revision, sizes, flawed.",
)  # fmt: skip
@common
def report(out: Path, count: int, split: str, seed: int, sections: tuple[str, ...]) -> None:
    """Measure every effect that fly is to show, against targets set beforehand.

    Resumes where it stopped: every call is in the output folder.
    """
    from outthink.train.report import SECTIONS, make_report

    for name in sections:
        if name not in SECTIONS:
            raise BadInput(f"--section {name}: the sections are {', '.join(SECTIONS)}")
    started: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:

        def step(label: str, done: int, total: int) -> None:
            if label not in started:
                stack.pop_all().close()
                started[label] = stack.enter_context(progress(label))
            started[label](done, total)

        made = make_report(out, count, split, seed, sections, step)
    found = {**made.to_json(), "out": str(out)}
    give(found, lambda screen: _print_report(screen, found))


@fly.command()
@common
def card() -> None:
    """Print the model card."""
    path = Path(__file__).parent.parent / "models" / "fly" / "CARD.md"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise WorldError(
            f"cannot read the card: {error.strerror}; install outthink again"
        ) from None

    def show(screen: Console) -> None:
        if screen.is_terminal:
            from rich.markdown import Markdown

            screen.print(Markdown(text))
        else:
            print(text, end="")

    give({"card": text}, show)
