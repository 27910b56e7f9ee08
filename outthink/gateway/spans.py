"""Stand-in until the spans are there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any


class Spans:
    """No spans."""

    @contextlib.contextmanager
    def request(self, scope: Any, endpoint: str) -> Iterator[Any]:
        yield self

    @contextlib.contextmanager
    def strategy(self, *a: Any) -> Iterator[Any]:
        yield self

    @contextlib.contextmanager
    def call(self, *a: Any) -> Iterator[Any]:
        yield self

    def headers(self) -> Mapping[str, str]:
        return {}

    def carried(self) -> Mapping[str, str]:
        return {}
