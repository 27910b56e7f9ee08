"""How many requests are worked on at once, and how many may wait.

Waiting is bounded in number and in time, first come first served; who leaves while waiting leaves its
place, and who cannot be taken in is told at once, with a time to come again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable

from outthink.gateway.errors import Fault

#: seconds after which one who was refused may come again
AGAIN = 1.0


class Gate:
    """``concurrent`` requests at once, ``queue`` more that wait ``seconds`` at most."""

    def __init__(
        self,
        concurrent: int,
        queue: int,
        seconds: float,
        told: Callable[[int], None] = lambda change: None,
    ) -> None:
        self.concurrent, self.queue, self.seconds = concurrent, queue, seconds
        #: is told how many more wait (fewer, below zero)
        self._told = told
        self.inside = 0
        self.keys: Counter[str] = Counter()
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @contextlib.asynccontextmanager
    async def enter(self, key: str | None = None, most: int | None = None) -> AsyncIterator[None]:
        """A place inside, given back at the end; raises ``Fault`` 429 or 503 where there is none.

        ``most`` is how many requests of this key there may be at once in this process.
        """
        if key is not None and most is not None and self.keys[key] >= most:
            raise Fault(
                429,
                f"this key has {most} requests under way, as many as it may",
                code="too_many_concurrent",
                retry_after=AGAIN,
            )
        if key is not None:
            self.keys[key] += 1
        try:
            await self._take()
            try:
                yield
            finally:
                self._give()
        finally:
            if key is not None:
                self.keys[key] -= 1
                if not self.keys[key]:
                    del self.keys[key]

    async def _take(self) -> None:
        if self.inside < self.concurrent and not self._waiting:
            self.inside += 1
            return
        if len(self._waiting) >= self.queue:
            raise Fault(
                429, "the gateway is full: come again", code="gateway_full", retry_after=AGAIN
            )
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._told(1)
        try:
            async with asyncio.timeout(self.seconds):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self._give()  # it was given a place as it left
            else:
                place.cancel()
                with contextlib.suppress(ValueError):
                    self._waiting.remove(place)
            if isinstance(error, TimeoutError):
                raise Fault(
                    429,
                    f"no place within {self.seconds:g} s: the gateway is full",
                    code="gateway_full",
                    retry_after=AGAIN,
                ) from None
            raise
        finally:
            self._told(-1)

    def _give(self) -> None:
        self.inside -= 1
        while self._waiting and self.inside < self.concurrent:
            place = self._waiting.popleft()
            if not place.done():
                self.inside += 1
                place.set_result(None)
