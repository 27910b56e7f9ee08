"""``outthink laws``: laws of inference, fitted to recorded samples: list, fit, check."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from outthink.cli.base import Group, common, give, grid, progress, show_table
from outthink.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from outthink.lab.pools import Pools
    from outthink.laws.base import Law
    from outthink.laws.check import Row


class About(NamedTuple):
    """A law in words, for the list: what it says, where it is from, what it is fitted to."""

    formula: str
    source: str
    needs: str


LAWS = {
    "coverage": About("pass@k = exp(a k^b)", "S053, arXiv 2407.21787", "samples"),
    "beta": About("p_i ~ Beta(alpha, beta)", "arXiv 2502.17578", "samples"),
    "saturation": About("F = F_max (1 - (1 - p)^N)", "S043, arXiv 2505.20522", "samples"),
    "vote": About("accuracy of a vote of n, and its limit", "arXiv 2203.11171", "samples"),
    "verifier": About(
        "right answers of at most n tries, by p, f, g", "S077, arXiv 2411.17501",
        "samples with a score",
    ),
    "split": About(
        "S ~ C^a solutions, V ~ C^b verifications", "S093, arXiv 2504.01005",
        "samples with several scores",
    ),
    "sequential": About(
        "best ratio of revisions to samples, by difficulty", "S050, arXiv 2408.03314",
        "a table of success",
    ),
    "chinchilla": About(
        "L = E + A / N^alpha + B / D^beta", "S148, arXiv 2404.10102", "a table of runs"
    ),
}  # fmt: skip


@click.group(cls=Group)
@common
def laws() -> None:
    """Laws of inference: fit them to recorded samples, see what they predict.

    \b
    outthink laws fit coverage samples.parquet --seen 10
    outthink laws fit vote esc_last_letters --data DATA --out plots
    """


# -- list ----------------------------------------------------------------------------------------


@laws.command("list")
@common
def list_() -> None:
    """List the laws, with what they are fitted to."""
    from rich.text import Text

    def text(screen: Console) -> None:
        table = grid("law", "source", "fitted to", "what it says")
        for name, about in LAWS.items():
            table.add_row(Text(name), about.source, about.needs, Text(about.formula, style="dim"))
        show_table(screen, table)

    give({"laws": [{"law": name, **about._asdict()} for name, about in LAWS.items()]}, text)


# -- fit -----------------------------------------------------------------------------------------

_data = click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
    help="The folder of the recorded sets, where FILE names one.",
)  # fmt: skip
_draws = click.option(
    "--draws", type=click.IntRange(min=0), default=200, show_default=True,
    help="Bootstrap draws over problems; 0 gives no intervals.",
)  # fmt: skip


@laws.command("fit")
@click.argument("law", metavar="LAW")
@click.argument("file", metavar="FILE")
@_data
@click.option("--arm", metavar="LABEL", help="Of a bench with several arms, the one to read.")
@click.option(
    "--k", "points", multiple=True, type=click.FloatRange(min=0, min_open=True), metavar="K",
    help="Predict at so many samples, or so much budget; may be repeated.",
)  # fmt: skip
@click.option(
    "--seen", type=click.IntRange(min=2), metavar="N",
    help="Also fit to N samples a problem, and hold the prediction against all.",
)  # fmt: skip
@click.option("--zero", is_flag=True, help="beta: allow a share of problems that is never solved.")
@click.option("--score", metavar="NAME", help="verifier, split: the score, or its beginning.")
@click.option(
    "--threshold", type=float, default=0.5, show_default=True,
    help="verifier: the least score that is accepted.",
)  # fmt: skip
@click.option(
    "--ratio", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True,
    help="split: tokens of a verification a token of a solution.",
)  # fmt: skip
@click.option(
    "--bins", type=click.IntRange(min=1), default=5, show_default=True,
    help="sequential: bins of difficulty.",
)  # fmt: skip
@click.option(
    "--drop", type=click.IntRange(min=0), default=0, show_default=True,
    help="chinchilla: leave out so many of the highest losses.",
)  # fmt: skip
@_draws
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Draw LAW.png and LAW.svg into DIR.",
)  # fmt: skip
@common
def fit(law: str, file: str, out: Path | None, points: tuple[float, ...], **options: Any) -> None:
    """Fit a law; show its parameters with 95 % intervals, and what it predicts.

    LAW is one of 'outthink laws list'.  FILE is a file of recorded samples (Parquet, JSON lines,
    CSV), the folder of a bench, or with --data the name of a recorded set; for sequential and
    chinchilla a CSV table.
    """
    from outthink.cli.base import close

    if law not in LAWS:
        known = ", ".join(LAWS)
        raise BadInput(f"no law {law[:40]!r}{close(law, LAWS)}; known: {known}")
    if law in ("sequential", "chinchilla"):
        if options["seen"]:
            raise BadInput(f"--seen is for laws of samples, not for {law}")
        fitted, checked = _fit_table(law, Path(file), options), None
        if points:
            raise BadInput(f"--k is for laws of samples and budgets, not for {law}")
    else:
        pools = _pools(file, options["data"], options["arm"])
        fitted = _fit_pools(law, pools, options)
        seen = options["seen"]
        checked = _check(law, pools, seen, options) if seen else None
    shown = fitted.predict(list(points)).rows() if points else []
    files = []
    if out is not None:
        files = [str(fitted.plot(out / f"{law}.{form}")) for form in ("png", "svg")]
    facts = fitted.to_json() | {
        "predictions": shown,
        "held_out": checked._asdict() if checked else None,
        "files": files,
    }

    def text(screen: Console) -> None:
        table = grid("parameter", "value", "95 % interval", right=(1,))
        for name, found in fitted.parameters.items():
            table.add_row(name, _number(found.value), _interval(found.low, found.high))
        show_table(screen, table)
        if shown:
            print()
            table = grid("at", "predicted", "95 % interval", right=(0, 1))
            for row in shown:
                interval = _interval(row["low"], row["high"])
                table.add_row(f"{row['x']:,g}", _number(row["value"]), interval)
            show_table(screen, table)
        if checked:
            print()
            _print_rows(screen, [checked])
        for name in files:
            print(name)

    give(facts, text)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"


def _interval(low: float, high: float) -> str:
    return f"{_number(low)} to {_number(high)}" if math.isfinite(low) else "-"


def _pools(file: str, data: Path | None, arm: str | None) -> Pools:
    """Recorded samples: a known set of ``data``, a bench's folder, or a file."""
    from outthink.lab.recorded import from_results, known_set, read_pools

    path = Path(file)
    if data is not None and not path.exists():
        return known_set(file, data)
    if path.is_dir():
        from outthink.lab.folder import Folder

        results = Folder(path).load()
        labels = [a.label for a in results.arms]
        if arm is None and len(labels) > 1:
            raise BadInput(f"the bench {path} has several arms: add --arm, one of {labels}")
        return from_results(results, arm or labels[0])
    return read_pools(path)


def _fit_pools(law: str, pools: Pools, options: dict[str, Any]) -> Law:
    draws, seed = options["draws"], options["seed"]
    if law == "coverage":
        from outthink.laws.coverage import fit_power_law

        return fit_power_law(pools, draws=draws, seed=seed)
    if law == "beta":
        from outthink.laws.coverage import fit_beta_binomial

        return fit_beta_binomial(pools, options["zero"], draws, seed)
    if law == "saturation":
        from outthink.laws.saturation import fit_saturation

        return fit_saturation(pools, draws=draws, seed=seed)
    if law == "vote":
        from outthink.laws.vote import fit_vote

        return fit_vote(pools, draws, seed)
    if law == "verifier":
        from outthink.laws.verifier import fit_verifier

        return fit_verifier(pools, options["score"], options["threshold"], draws, seed)
    from outthink.laws.split import fit_split, verdicts_of

    if not pools.present.all():
        raise BadInput("a split needs as many solutions of every problem")
    verdicts = verdicts_of(pools, options["score"] or "")
    return fit_split(pools.right, verdicts, options["ratio"], pools.classes, draws=draws, seed=seed)


def _fit_table(law: str, path: Path, options: dict[str, Any]) -> Law:
    draws, seed = options["draws"], options["seed"]
    if law == "chinchilla":
        from outthink.laws.chinchilla import fit_loss, read_runs

        return fit_loss(*read_runs(path), drop=options["drop"], draws=draws, seed=seed)
    from outthink.laws.sequential import fit_sequential, read_configurations

    table = read_configurations(path)
    return fit_sequential(*table, bins=options["bins"], draws=draws, seed=seed)


def _check(law: str, pools: Pools, seen: int, options: dict[str, Any]) -> Row:
    from outthink.laws import check

    if law in ("coverage", "beta"):
        name = "beta with zero" if law == "beta" and options["zero"] else law
        return check.check_coverage(pools, name, seen)
    if law == "vote":
        return check.check_vote(pools, seen)
    if law == "verifier":
        return check.check_verifier(pools, seen, options["score"], options["threshold"])
    raise BadInput(f"--seen is for laws of coverage, votes and verifiers, not for {law}")


# -- check ---------------------------------------------------------------------------------------

#: recorded sets with many samples a problem
SETS = ("tot_game24_io", "tot_game24_cot", "codet_humaneval", "esc_last_letters")


@laws.command("check")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--set", "sets", multiple=True, metavar="NAME", help="Only this set; may be repeated."
)
@click.option(
    "--seen", type=click.IntRange(min=2), default=10, show_default=True, metavar="N",
    help="Samples a problem that the laws see.",
)  # fmt: skip
@click.option(
    "--again", type=click.IntRange(min=1), default=50, show_default=True,
    help="Random choices of the seen samples.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Draw check.png and check.svg into DIR.",
)  # fmt: skip
@common
def check(folder: Path, sets: tuple[str, ...], seen: int, again: int, out: Path | None) -> None:
    """Hold predictions from few samples against many, on the recorded sets of FOLDER."""
    from outthink.lab.recorded import known_set
    from outthink.laws.check import check as run
    from outthink.laws.check import plot

    names = sets or SETS
    rows: list[Row] = []
    pools = [known_set(name, folder) for name in names]
    with progress("sets") as bar:
        for i, one in enumerate(pools):
            rows += run([one], seen, again)
            bar(i + 1, len(pools))
    files = []
    if out is not None:
        files = [str(plot(pools, out / f"check.{form}", seen)) for form in ("png", "svg")]

    def text(screen: Console) -> None:
        _print_rows(screen, rows)
        for name in files:
            print(name)

    give({"rows": [row._asdict() for row in rows], "files": files}, text)


def _print_rows(screen: Console, rows: Sequence[Row]) -> None:
    table = grid(
        "set", "law", "seen", "at", "observed", "predicted", "error", "mean |error|", "inside",
        right=range(2, 9),
    )  # fmt: skip
    for r in rows:
        table.add_row(
            r.name, r.law, str(r.seen), str(r.at), f"{r.observed:.3f}", f"{r.predicted:.3f}",
            f"{r.error:+.3f}", f"{r.size:.3f}",
            f"{r.inside:.0%}" if math.isfinite(r.inside) else "-",
        )  # fmt: skip
    show_table(screen, table)
