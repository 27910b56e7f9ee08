"""USD per million tokens of some hosted models: prompt, completion, cached prompt.

List prices as their makers published them in 2025; they change.  A file named by
``OUTTHINK_PRICES`` (JSON: ``{"model": [prompt, completion, cached]}``) goes before this table, and the
parameters of ``openai(...)`` before both.  A model that is nowhere costs 0: its budget in USD cannot
bind.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from outthink.core.budget import Price
from outthink.core.errors import BadInput

TABLE: dict[str, tuple[float, float, float]] = {
    "gpt-4o": (2.5, 10.0, 1.25),
    "gpt-4o-mini": (0.15, 0.6, 0.075),
    "gpt-4.1": (2.0, 8.0, 0.5),
    "gpt-4.1-mini": (0.4, 1.6, 0.1),
    "gpt-4.1-nano": (0.1, 0.4, 0.025),
    "gpt-5": (1.25, 10.0, 0.125),
    "gpt-5-mini": (0.25, 2.0, 0.025),
    "gpt-5-nano": (0.05, 0.4, 0.005),
}


def price_of(name: str) -> Price | None:
    """The price of a model by name, or ``None``.  Raises ``BadInput`` for an unreadable file."""
    table: dict[str, tuple[float, ...]] = dict(TABLE)
    path = os.environ.get("OUTTHINK_PRICES")
    if path:
        try:
            own = json.loads(Path(path).read_text(encoding="utf-8"))
            table.update({str(k): tuple(float(x) for x in v) for k, v in own.items()})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise BadInput(f"OUTTHINK_PRICES: {path} is not a price table: {error}") from None
    row = table.get(name)
    return Price(row[0], row[1], row[2] if len(row) > 2 else None) if row else None
