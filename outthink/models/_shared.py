"""What all opened models of one kind share: loaded once in a process, by whichever thread is first."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


def cache_home() -> Path:
    """Where what is made once on this machine is kept."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "outthink"


class Shared(Generic[T]):
    """Objects by key, each made when it is first asked for.  Thread-safe; a forked process makes its own.

    After a fork the threads that worked for an object are the parent's, and a lock may be held by one
    of them for ever.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._made: dict[Hashable, T] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The object of a key, made by ``make`` where there is none."""
        if self._owner != os.getpid():
            self._begin()
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]
