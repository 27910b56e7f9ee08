"""One exception tree, by cause.

``BadInput`` is the caller's to mend and comes before anything is spent; ``WorldError`` is a failure
of a server, a file or a model; ``BudgetExhausted`` never leaves a run.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class OutthinkError(Exception):
    """The root of every error that outthink raises on purpose."""


class BadInput(OutthinkError, ValueError):
    """A wrong value from the caller; the message says what is allowed."""


class SpecError(BadInput):
    """A spec that cannot be read; the message carries the line and a caret."""

    def __init__(self, message: str, source: str = "", at: int = 0) -> None:
        self.source, self.at, self.reason = source, at, message
        if source:
            start, end = max(0, at - 60), min(len(source), at + 20)
            window = source[start:end].replace("\n", " ").replace("\t", " ")
            lead = "..." if start else ""
            tail = "..." if end < len(source) else ""
            caret = " " * (len(lead) + at - start) + "^"
            message = f"{message}\n  {lead}{window}{tail}\n  {caret}"
        super().__init__(message)


class MissingNeed(BadInput):
    """A strategy needs something that the model, or the spec, does not give."""


class WorldError(OutthinkError):
    """Something outside failed."""


class ModelError(WorldError):
    """A model could not answer; ``status`` is the HTTP status, where a server gave one."""

    status: int | None = None


class Broken(ModelError):
    """There is no answer, though the server may have ``worked`` for one, which costs."""

    def __init__(self, message: str, worked: bool = True) -> None:
        super().__init__(message)
        self.worked = worked


class Unreachable(Broken):
    """No connection, or it broke."""


class TimedOut(Broken):
    """No answer in time."""


class Busy(ModelError):
    """The server cannot answer now; ``retry_after`` in seconds when it says."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimited(Busy):
    """The server asks for fewer requests (HTTP 429)."""


class Refused(ModelError):
    """The server rejects the request as such (HTTP 400, 413, 422)."""


class NotAuthorised(ModelError):
    """The key is missing, wrong or not enough (HTTP 401, 403)."""


class NoSuchModel(ModelError):
    """The server does not know the model or the address (HTTP 404)."""


class ServerFailed(Busy):
    """The server broke (HTTP 5xx)."""


class Malformed(Broken):
    """The answer is not what the protocol says."""


class VerifierError(WorldError):
    """A verifier could not give a score."""


class StoreError(WorldError):
    """The store cannot be opened, read or written."""


class BudgetExhausted(OutthinkError):
    """The next call does not fit into what is left; ``limit`` names the limit that binds."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"the budget of {limit} is used up")
        self.limit = limit


def likely(name: str, known: Iterable[str], cutoff: float = 0.55) -> str:
    """``"; did you mean 'x'?"``, or nothing where no known name is near."""
    close = difflib.get_close_matches(name[:80], sorted(known), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]!r}?" if close else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the nearest known name, or the list of the known ones."""
    names = sorted(known)
    hint = likely(name, names)
    more = f" and {len(names) - 40} more" if len(names) > 40 else ""
    listed = ", ".join(names[:40]) + more
    if not listed:
        return hint
    return f"{hint} known: {listed}" if hint else f"; known: {listed}"
