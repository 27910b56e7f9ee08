"""USD per million tokens of some hosted models: prompt, completion, cached prompt.

List prices as their makers published them in 2025; they change.  A file named by
``OUTTHINK_PRICES`` (JSON: ``{"model": [prompt, completion, cached]}``) goes before this table, and the
parameters of ``openai(...)`` before both.  Of a model that is nowhere the price is not known, and a
budget in USD is refused.
"""

from __future__ import annotations

import os
from pathlib import Path

from outthink.core.budget import Price
from outthink.core.errors import BadInput
from outthink.core.nouns import read_json

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
            own = read_json(Path(path).read_bytes())
        except (OSError, ValueError) as error:
            raise BadInput(f"OUTTHINK_PRICES: {path} is not a price table: {error}") from None
        for model, values in own.items() if isinstance(own, dict) else [("", None)]:
            row = values if isinstance(values, list) else []
            known = all(isinstance(v, (int, float)) and 0 <= v < 1e9 for v in row)
            if not known or not 2 <= len(row) <= 3:
                raise BadInput(
                    f"OUTTHINK_PRICES: {path} is not a price table (at {model[:60]!r}): write "
                    '{"model": [prompt, completion, cached]}, USD per million tokens'
                )
            table[model] = tuple(float(v) for v in row)
    found = table.get(name)
    if found is None:
        return None
    return Price(found[0], found[1], found[2] if len(found) > 2 else None)
