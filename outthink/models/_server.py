"""The connection to an OpenAI-compatible server: one pooled client, errors by cause, retries.

This is the only place where requests are sent and made again.  Every further attempt is asked of the
meter.  The key is read from the environment and never leaves the ``Authorization`` header.
"""

from __future__ import annotations

import email.utils
import json
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
import httpx

from outthink.core.budget import Reservation, Usage
from outthink.core.errors import (
    BadInput,
    Malformed,
    MissingNeed,
    ModelError,
    NoSuchModel,
    NotAuthorised,
    RateLimited,
    Refused,
    ServerFailed,
    TimedOut,
    Unreachable,
)

T = TypeVar("T")

LOCAL = ("127.0.0.1", "localhost", "::1")
#: what may be well the next time
PASSING = (RateLimited, ServerFailed, Unreachable, TimedOut, Malformed)


def estimate_tokens(text: str) -> int:
    """An upper estimate of the tokens in a text: half its UTF-8 bytes, and at least its words.

    Common tokenizers use 3 to 5 bytes a token for English and 1.5 to 3 for Chinese.
    """
    return max((len(text.encode("utf-8", errors="replace")) + 1) // 2, len(text.split()))


def configured() -> tuple[bool, str]:
    """Does the environment name a server or a key?  Else what to do."""
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
        return True, ""
    return False, "set OPENAI_API_KEY, or give base_url= of a server"


def count(values: Any, name: str) -> int | None:
    """A count that a server reports, or ``None`` where it is missing or impossible."""
    found = values.get(name) if isinstance(values, dict) else None
    whole = isinstance(found, (int, float)) and not isinstance(found, bool) and found >= 0
    return int(found) if whole and found is not None else None


@dataclass(frozen=True)
class Address:
    """Where a server is, how it is asked, and for how long (seconds)."""

    base_url: str | None
    api_key_env: str
    retries: int
    connect_seconds: float
    read_seconds: float

    def check(self, who: str) -> None:
        """Raise ``BadInput`` for what cannot be an address."""
        if self.base_url is not None and urlsplit(self.base_url).scheme not in ("http", "https"):
            raise BadInput(f"{who}: base_url={self.base_url!r} must begin with http:// or https://")
        if self.retries < 0:
            raise BadInput(f"{who}: retries={self.retries} must be at least 0")
        for name in ("connect_seconds", "read_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise BadInput(f"{who}: {name}={getattr(self, name)} must be above 0")


class Server:
    """A live connection; ``transport`` is a seam that a test can replace with a function."""

    def __init__(
        self, address: Address, model: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.address = address
        base = address.base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        self.base = base.rstrip("/")
        self.host = urlsplit(self.base).netloc.rpartition("@")[2]
        self._key = os.environ.get(address.api_key_env, "")
        local = (urlsplit(self.base).hostname or "") in LOCAL
        if not self._key and not local and transport is None:
            told = f"{model}: no key for {self.host}: set {address.api_key_env}"
            if address.base_url is None:
                told += (
                    " (a name that outthink does not know is a model of the default server; "
                    "'outthink models' lists those that it knows)"
                )
            raise MissingNeed(told)
        self.client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(address.read_seconds, connect=address.connect_seconds, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=1024),
            transport=transport,
            trust_env=not local,
        )

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send a body to ``base`` + ``path``; the JSON that comes back.

        Raises the ``ModelError`` of the cause.
        """
        try:
            response = await self.client.post(self.base + path, json=body)
        except httpx.HTTPError as error:
            raise self.failure(error) from None
        self.refuse(response.status_code, response.headers, response.text)
        try:
            return json.loads(response.content)
        except ValueError:
            shown = self.clean(response.text)
            raise Malformed(f"{self.host}: the answer is not JSON: {shown}") from None

    async def insist(
        self,
        ticket: Reservation,
        attempt: Callable[[], Awaitable[T]],
        adapt: Callable[[str], bool] | None = None,
    ) -> T:
        """Attempt a call until it succeeds, ``retries`` times more at most.

        ``adapt`` is told what a refusal says and answers whether another attempt would now differ.
        """
        failed = 0
        while True:
            try:
                if failed:
                    ticket.another_attempt()
                return await attempt()
            except PASSING as error:
                failed += 1
                if failed > self.address.retries:
                    raise
                ticket.failure = str(error)
                # nothing is under way during the pause: ended now, the call costs what was asked
                at_work, ticket.partial = ticket.partial, Usage(calls=1)
                await anyio.sleep(_pause(failed, getattr(error, "retry_after", None)))
                ticket.partial = at_work
            except Refused as error:
                failed += 1
                if adapt is None or not adapt(str(error)):
                    raise

    def failure(self, error: httpx.HTTPError) -> ModelError:
        """The error of a connection that could not be made or broke."""
        if isinstance(error, httpx.TimeoutException):
            return TimedOut(f"{self.host}: no answer in time ({type(error).__name__})")
        text = self.clean(str(error) or type(error).__name__)
        return Unreachable(f"{self.host}: {text}; is the server up?")

    def refuse(self, status: int, headers: Mapping[str, str], text: str) -> None:
        """Raise the error of a status that says one."""
        if status < 400:
            return
        try:
            body = json.loads(text)
            error = body.get("error", body) if isinstance(body, dict) else body
            told = error.get("message", str(error)) if isinstance(error, dict) else str(error)
        except ValueError:
            told = text
        what = f"{self.host} says {status}: {self.clean(told)}"
        if status in (401, 403):
            raise NotAuthorised(f"{what}; check the key in {self.address.api_key_env}")
        if status == 404:
            raise NoSuchModel(f"{what}; check the model's name and base_url")
        if status == 429:
            raise RateLimited(what, _retry_after(headers.get("retry-after")))
        if status in (408, 504):
            raise TimedOut(what)
        if status >= 500 or status == 409:
            raise ServerFailed(what, _retry_after(headers.get("retry-after")))
        raise Refused(what)

    def clean(self, text: str) -> str:
        """A short piece of a server's text, without the key."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return " ".join(text.split())[:300]

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self.client.aclose()


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header (a number or a date), at most 60."""
    if not value:
        return None
    try:
        return min(max(float(value), 0.0), 60.0)
    except ValueError:
        try:
            when = email.utils.parsedate_to_datetime(value).timestamp()
        except (TypeError, ValueError):
            return None
        return min(max(when - time.time(), 0.0), 60.0)


def _pause(attempt: int, asked: float | None) -> float:
    """Seconds before a retry: what the server asks for, else exponential with full jitter."""
    if asked is not None and asked == asked:
        return asked
    return random.uniform(0.0, min(0.25 * 2**attempt, 8.0))
