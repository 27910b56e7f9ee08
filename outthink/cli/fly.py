"""``outthink fly``: the bundled model's problems, training, evaluation and card."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
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
from outthink.core.errors import BadInput, WorldError

if TYPE_CHECKING:
    from rich.console import Console

LEVELS = ("easy", "medium", "hard")


@click.group(cls=Group)
def fly() -> None:
    """The bundled model: its problems, training, evaluation, card."""


# -- problems ------------------------------------------------------------------------------------


@fly.command()
@click.option(
    "--family", type=click.Choice(["chain"]), default="chain", show_default=True,
    help="The kind of problem.",
)  # fmt: skip
@click.option(
    "--steps", type=click.IntRange(1, 12), default=6, show_default=True, help="Dependent steps."
)
@click.option(
    "--digits", type=click.IntRange(1, 4), default=2, show_default=True,
    help="Digits of the largest number.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Which problem of these dials.")
@click.option("--solution", is_flag=True, help="Show the steps and the answer too.")
@common
def problem(family: str, steps: int, digits: int, seed: int, solution: bool) -> None:
    """Print the problem of these dials and seed."""
    from outthink.tasks import chain

    made = chain.make(steps, digits, seed)
    facts: dict[str, Any] = {
        "family": family,
        "steps": steps,
        "digits": digits,
        "seed": seed,
        "split": made.split,
        "question": made.question,
    }
    if solution:
        facts |= {"solution": made.solution, "answer": str(made.answer)}
    if flags().json:
        print_json(facts)
        return
    print(made.question)
    if solution:
        print(f"\n{made.solution}", end="")


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
    "--stage", type=click.Choice(["language", "reward", "all"]), default="all", show_default=True,
    help="The language model, its reward model, or both.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Decides the weights.")
@click.option("--background", is_flag=True, help="Train in a process of its own, with a log.")
@common
def train(
    out: Path, seconds: float | None, tokens: float | None, stage: str, seed: int, background: bool
) -> None:
    """Train the bundled model from nothing; resumes where it stopped.

    Needs the extra [train].  With --tokens or --seconds the training is shorter; a call with the
    same dials goes on from the last checkpoint.
    """
    _need_torch()
    if background:
        _in_background(out)
        return
    from outthink.train import fly as training

    started = time.monotonic()
    dials: dict[str, Any] = {"seed": seed}
    if tokens is not None:
        dials["tokens"] = int(tokens)
    recipe = training.Recipe(**dials)
    if recipe.tokens < recipe.batch_tokens:
        raise BadInput(f"--tokens {recipe.tokens}: one batch has {recipe.batch_tokens:,} tokens")

    def left() -> float | None:
        return None if seconds is None else max(0.0, seconds - (time.monotonic() - started))

    done: dict[str, Any] = {}
    try:
        if stage in ("language", "all"):
            done["language"] = training.train_language_model(recipe, out, left(), say)
        ready = (out / "model.safetensors").exists()
        if stage == "reward" and not ready:
            raise BadInput(f"no language model in {out}: first --stage language")
        if stage == "reward" or (stage == "all" and done["language"]["finished"]):
            done["reward"] = training.train_reward_model(
                training.PrmRecipe(seed=seed), out, out / "prm", left(), say
            )
    except BadInput:
        raise
    except ValueError as error:
        raise BadInput(str(error)) from None
    except RuntimeError as error:
        raise WorldError(str(error)) from None
    wanted = ("language", "reward") if stage == "all" else (stage,)
    finished = all(done.get(s, {}).get("finished", False) for s in wanted)
    facts = {"out": str(out), "finished": finished, "stages": done}

    def text(_: Console) -> None:
        if finished:
            print(f"trained; use it: outthink solve QUESTION --model 'fly(weights=\"{out}\")'")
        else:
            print("stopped before the end; the same command goes on from here")

    give(facts, text)


# -- evaluation ----------------------------------------------------------------------------------


def _print_evaluation(screen: Console, found: Mapping[str, Any]) -> None:
    from rich.text import Text

    what = f"{found['problems']} {found['level']} problems of the {found['split']} split"
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
@click.option("--level", type=click.Choice(LEVELS), default="medium", show_default=True)
@click.option("--problems", type=click.IntRange(min=2), default=500, show_default=True)
@click.option(
    "--n", type=click.IntRange(min=1), default=16, show_default=True, help="Samples a problem."
)
@click.option("--split", type=click.Choice(["dev", "test"]), default="test", show_default=True)
@click.option("--seed", default=0, show_default=True, help="Which problems, and what is drawn.")
@click.option(
    "--strategies", "specs", multiple=True, metavar="SPEC",
    help="Strategies to compare; may be given several times.",
)  # fmt: skip
@common
def eval(level: str, problems: int, n: int, split: str, seed: int, specs: tuple[str, ...]) -> None:
    """Measure the bundled model: pass@1, votes, verifier."""
    from outthink.core import registry
    from outthink.train.evaluate import evaluate

    for spec in specs:
        registry.build(spec, "strategy")
    with progress(f"{problems} {level} problems") as step:
        found = evaluate(level, problems, n, split, specs or None, seed=seed, progress=step)
    give(found, lambda screen: _print_evaluation(screen, found))


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
