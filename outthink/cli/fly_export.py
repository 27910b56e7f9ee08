"""``outthink fly export``: the bundled models for transformers, llama.cpp and their servers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from outthink.cli.base import common, give
from outthink.core.errors import BadInput, WorldError
from outthink.train.recipe import SIZES

if TYPE_CHECKING:
    from rich.console import Console

DTYPES = ("f32", "f16", "bf16", "q8_0")


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), required=True,
    help="A file that ends in .gguf, for llama.cpp, or a folder, for transformers.",
)  # fmt: skip
@click.option(
    "--size", type=click.Choice(tuple(SIZES)), default="fly", show_default=True,
    help="Which member of the family.",
)  # fmt: skip
@click.option(
    "--weights", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
    help="Weights of your own, instead.",
)  # fmt: skip
@click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    help="Of a GGUF file: how numbers are kept [default: f32].",
)
@common
def export(out: Path, size: str, weights: Path | None, dtype: str | None) -> None:
    """Write the bundled model for transformers (a folder) or llama.cpp (a GGUF file).

    Both hold the chat template, so that their servers answer as fly does.  A GGUF file needs the extra
    [local].
    """
    from outthink.models.fly import home_of
    from outthink.models.fly.export import export_gguf, export_hf

    home = weights or home_of(size)
    gguf = out.suffix == ".gguf"
    if dtype and not gguf:
        raise BadInput(
            f"--dtype {dtype}: a folder keeps the weights as they are; end --out in .gguf"
        )
    try:
        if gguf:
            name = "fly" if size == "fly" else f"fly-{size}"
            export_gguf(home, out, dtype or "f32", name)
        else:
            export_hf(home, out)
    except OSError as error:
        raise WorldError(f"cannot write {out}: {error.strerror}") from None
    amount = sum(f.stat().st_size for f in ([out] if gguf else out.iterdir()))
    kind = "gguf" if gguf else "transformers"
    facts = {"out": str(out), "kind": kind, "bytes": amount, "weights": str(home)}

    def text(_: Console) -> None:
        serve = f"llama-server -m {out}" if gguf else f"transformers serve {out}"
        print(f"{amount / 1e6:.1f} MB in {out}; serve it: {serve}")

    give(facts, text)
