"""The command line: a face of the library, with no algorithm in it.

Exit codes: 0 done, 1 something outside failed, 2 wrong input, 130 Ctrl-C.  With ``--json`` standard
output holds one JSON object and nothing else; errors are then ``{"error": {...}}``.  Progress goes
to standard error.  Whatever is heavy is imported inside the commands, so ``--help`` is quick.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from outthink.cli import bench, catalog, fly, here, laws, plan, reproduce, runs, serve, solve
from outthink.cli.base import app

for section, commands in {
    "Answer": (solve.solve, serve.serve),
    "Look up": (
        catalog.strategies,
        catalog.verifiers,
        catalog.stops,
        catalog.utilities,
        catalog.models,
        catalog.tasks,
        catalog.systems,
    ),
    "Measure": (bench.bench, bench.compare, plan.plan, laws.laws, reproduce.reproduce),
    "Runs": (runs.runs, runs.show, runs.replay, runs.export),
    "This machine": (here.demo, here.doctor, fly.fly),
}.items():
    for command in commands:
        app.add(section, command)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    # fly's matrices are small: a second BLAS thread gains nothing, and on a busy machine its
    # spinning costs a factor of ten and more
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    app.main(list(args) if args is not None else None, prog_name="outthink")


__all__ = ["app", "main"]
