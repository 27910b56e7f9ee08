"""The seam of a server's connection, for tests: what an ``httpx.Response`` says goes to the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import httpx

from outthink.models._wire import Transport


def mocked(answer: Callable[[httpx.Request], httpx.Response]) -> Transport:
    """A transport that hands each request to a function."""

    async def transport(method: str, url: str, headers: Any, body: bytes) -> Any:
        got = answer(httpx.Request(method, url, headers=dict(headers), content=body))
        return got.status_code, got.headers, aiter(cast(httpx.AsyncByteStream, got.stream))

    return transport
