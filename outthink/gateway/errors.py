"""Errors in OpenAI's shape, and what each cause is to a client.

An upstream's refusal keeps its status and its words (less any key); a failure of the gateway's own
never shows more than its kind.
"""

from __future__ import annotations

import math
from typing import Any

from outthink.core.errors import (
    BadInput,
    BudgetExhausted,
    Busy,
    Malformed,
    ModelError,
    NoSuchModel,
    NotAuthorised,
    RateLimited,
    Refused,
    StoreError,
    TimedOut,
    Unreachable,
    VerifierError,
)

#: the ``type`` that OpenAI gives to errors of a status
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
}


class Fault(Exception):
    """An answer that is an error; ``retry_after`` in seconds goes out as the header of that name."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        allow: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.type = type or TYPES.get(status, "server_error" if status >= 500 else TYPES[400])
        self.retry_after, self.allow = retry_after, allow

    def body(self) -> dict[str, Any]:
        """The JSON body."""
        told = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": told}

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers that go with it."""
        found = [(b"content-type", b"application/json")]
        if self.retry_after is not None:
            found.append((b"retry-after", str(max(1, math.ceil(self.retry_after))).encode()))
        if self.allow is not None:
            found.append((b"allow", self.allow.encode()))
        if self.status == 401:
            found.append((b"www-authenticate", b"Bearer"))
        return found


def shown(value: Any) -> str:
    """A value in an error, cut short."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def wrong(where: str, value: Any, allowed: str) -> Fault:
    """A value of a field that it cannot have."""
    message = f"{where}={shown(value)}: it must be {allowed}"
    return Fault(400, message, code="invalid_value", param=where)


def unknown(what: str, message: str, param: str = "model") -> Fault:
    """A name that is not known: 404 for a model, as OpenAI says it, else 400."""
    status = 404 if what == "model" else 400
    return Fault(status, message, code=f"{what}_not_found", param=param)


def fault_of(error: BaseException) -> Fault:
    """What a client is told of an error, by its cause."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, BadInput):
        return Fault(400, str(error), code="invalid_request")
    if isinstance(error, ModelError):
        status, code = _upstream(error)
        wait = error.retry_after if isinstance(error, Busy) else None
        kind = "upstream_error" if status >= 500 or status in (401, 403) else None
        return Fault(status, str(error), type=kind, code=code, retry_after=wait)
    if isinstance(error, BudgetExhausted):
        return exhausted(error.limit)
    if isinstance(error, VerifierError):
        return Fault(502, str(error), code="verifier_failed")
    if isinstance(error, StoreError):
        return Fault(503, "the gateway's store cannot be used now", code="store_failed")
    return Fault(500, "the gateway failed; its log says more", code="internal_error")


def exhausted(limit: str) -> Fault:
    """The budget, or the gateway's own end, ended a run before it had an answer."""
    if limit in ("draining", "cancelled", "interrupted"):
        return Fault(
            503, "the gateway is going down: send it again", code="draining", retry_after=1.0
        )
    if limit == "seconds":
        return Fault(
            504, "the deadline passed before there was an answer", code="deadline_exceeded"
        )
    return Fault(
        400,
        f"the budget of {limit} is too small for one answer: raise it, or lower max_tokens",
        code="budget_exhausted",
        param="outthink.budget",
    )


def _upstream(error: ModelError) -> tuple[int, str]:
    status: int | None = getattr(error, "status", None)
    if isinstance(error, NotAuthorised):
        return status or 401, "upstream_unauthorized"
    if isinstance(error, NoSuchModel):
        # an upstream that sends elsewhere is set up wrongly: its key is sent nowhere else
        moved = status is not None and status < 400
        return (502, "upstream_moved") if moved else (status or 404, "upstream_not_found")
    if isinstance(error, Refused):
        return status or 400, "upstream_refused"
    if isinstance(error, TimedOut):
        return 504, "upstream_timeout"
    if isinstance(error, Unreachable):
        return 502, "upstream_unreachable"
    if isinstance(error, Malformed):
        return 502, "upstream_malformed"
    if isinstance(error, RateLimited):
        return status or 429, "upstream_rate_limited"
    return status or 502, "upstream_failed"
