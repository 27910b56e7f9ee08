"""What a bench comes to: the summary, its tables, plots and page, all from the folder's journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outthink.lab.folder import Folder
from outthink.lab.page import page
from outthink.lab.plots import draw
from outthink.lab.records import Results
from outthink.lab.summary import summarise
from outthink.store.export import replacing


def report(
    results: Results, folder: Folder, targets: Sequence[float] | None = None
) -> dict[str, Any]:
    """Write everything to the folder; gives the summary, with ``files``."""
    summary = summarise(results, baseline=results.facts["baseline"], targets=targets)
    files = folder.export(results, summary)
    plots = folder.path / "plots"
    plots.mkdir(exist_ok=True)
    files += draw(summary, plots)
    files.append(folder.path / "report.html")
    with replacing(files[-1]) as beside:
        beside.write_text(page(results, summary), encoding="utf-8")
    return {**summary, "files": [str(path) for path in files]}
