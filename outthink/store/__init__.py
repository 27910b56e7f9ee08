"""Every call is remembered: the store behind runs that resume, replay and become data sets.

``open_store`` takes a file name (SQLite) or a ``postgresql://`` URL.  Importing this package is
light; SQLAlchemy is imported when a store is opened.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outthink.store.db import Store


def default_url() -> str:
    """The store used when none is named: ``OUTTHINK_STORE``, else a file in the user's data folder."""
    named = os.environ.get("OUTTHINK_STORE", "").strip()
    if named:
        return named
    home = os.environ.get("XDG_DATA_HOME", "").strip()
    base = Path(home) if home else Path.home() / ".local" / "share"
    return str(base / "outthink" / "outthink.db")


async def open_store(url: str) -> Store:
    """Open (and create or upgrade) the store at a file name or URL; close it with ``aclose``.

    Raises ``BadInput`` for a URL that cannot be one, ``MissingNeed`` when a driver is not
    installed, and ``StoreError`` when the store is there but cannot be used.
    """
    from outthink.store.db import Store

    return await Store.open(url)


__all__ = ["default_url", "open_store"]
