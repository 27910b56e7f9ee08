"""Write the verdicts of ``reproductions/`` into the list of published systems.

    python scripts/verdicts.py

Run it after ``outthink reproduce``; ``tests/test_systems.py`` holds the list to the folder.
"""

from __future__ import annotations

import json
from pathlib import Path

from outthink.reproduce import known
from outthink.reproduce.shelf import summaries

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Set ``verdict`` of every system that has a full result, null of the others."""
    path = ROOT / "outthink" / "data" / "systems.json"
    found = summaries(ROOT / "reproductions", known())
    rows = json.loads(path.read_text(encoding="utf-8"))
    for row in rows:
        row["verdict"] = found.get(row["id"])
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(found)} verdicts written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
