"""JSON values: read as strictly as a client will read them, written so that equal ones are one text.

Equal are 1 and 1.0, and objects whatever the order of their keys; a number is the double nearest to it,
unless it is a whole one, and what is beyond all doubles is no value.
"""

from __future__ import annotations

import json
import math
from typing import Any

from outthink.core.nouns import canonical

#: how deep values may be nested: what goes deeper is no answer of use, and may be meant to break us
DEPTH = 64


def read_value(text: str) -> Any:
    """The value of a text that is JSON and nothing else; ``ValueError`` for any other.

    NaN, infinities, a fence around it, a word before it or after it are none.
    """
    try:
        return json.loads(text, parse_constant=_none, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _none(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number too large")
    return value


def write_value(value: Any) -> str:
    """The one text of all values that equal this; ``ValueError`` where it is nested too deep."""
    # half of a surrogate pair is written as the escape that it came as, and can be encoded
    return canonical(_plain(value, DEPTH)).encode("utf-8", "backslashreplace").decode()


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if not isinstance(value, (dict, list)):
        return value
    if not depth:
        raise ValueError(f"nested deeper than {DEPTH}")
    if isinstance(value, dict):
        return {key: _plain(inner, depth - 1) for key, inner in value.items()}
    return [_plain(inner, depth - 1) for inner in value]
