"""What each key may spend, kept in the store: by the rule of the meter, for all processes together.

Requests hold what they may cost before they spend it and settle the truth after it.  All of it is in
the store and changes in its transactions, so the limits of a key hold across worker processes and
replicas that share nothing else: requests in a minute, tokens (prompt and completion) in a day and
dollars in a month (all by the calendar, UTC), and requests at a time.  What is spent passes a limit
only where a server charges more than it was asked for: that is counted in full.

**One request** is admitted (counted in its minute), takes from its key's day and month what it needs,
piece by piece, and gives the rest back when it is closed.  Its spending counts in the day and month in
which it was admitted, however long it takes.

**A worker that died** leaves its requests open.  Each ends a minute after its deadline, by whoever
next uses the key, and is charged all that it held: the calls may have been billed.  Should the worker
be alive after all, and close it later, the truth takes the place of that charge.

**What it costs.**  Requests that come while the store commits share the next transaction, a handful of
statements for all of them.  A key without limits never touches the store, one that only limits its
requests in a minute does once, and one that is over that limit is refused without it.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from outthink.core.budget import Budget, Meter, Usage
from outthink.core.errors import BadInput, StoreError
from outthink.gateway.books import (
    MOST,
    Admit,
    Close,
    Full,
    Fund,
    Grant,
    Limits,
    keep,
    nano,
    periods,
)
from outthink.gateway.errors import Fault

if TYPE_CHECKING:
    from outthink.gateway.config import KeyConfig
    from outthink.store.db import Store

#: seconds after its deadline at which a request that was not closed is given up for dead
GRACE = 60.0


def _amounts(cost: Usage) -> tuple[int, int]:
    """Tokens and money to hold for a cost: a billionth more, as the meter counts in floating point."""
    return cost.total_tokens, nano(cost.usd) + 1 if cost.usd > 0 else 0


class _Held(Budget):
    """What an account holds, as a budget: may be nothing, and follows the account."""

    def __init__(self, account: Account) -> None:
        super().__init__()
        object.__setattr__(self, "account", account)

    def limits(self) -> dict[str, float]:
        """The limits that are set."""
        account: Account = self.account  # type: ignore[attr-defined]
        return account.limits()


class Account(Meter):
    """A request's share of what its key may spend: the parent of its run's meter.

    It holds what was funded, and funding takes from the key's day and month.  A call that costs more
    than was reserved is charged in full and does not end the run: before the next call as much more is
    taken, and where there is no more, that is the end.
    """

    def __init__(self, ledger: Ledger, key_id: str, limits: Limits, hold: str | None) -> None:
        super().__init__(_Held(self))
        self._ledger, self._key_id, self._limits, self._hold = ledger, key_id, limits, hold
        self._held, self._closed = Grant(), False
        self._wanted = [0, 0]
        #: the 429 to answer with where the last funding gave too little for a single answer
        self.shortage: Fault | None = None

    def limits(self) -> dict[str, float]:
        """What may be spent: what is held, and what was spent beyond it."""
        found: dict[str, float] = {}
        if self._hold is None:
            return found
        if self._limits.tokens is not None:
            used = self.spent.total_tokens + self.reserved.total_tokens
            found["total_tokens"] = max(self._held.tokens, used)
        if self._limits.nano_usd is not None:
            found["usd"] = max(self._held.nano_usd / 1e9, self.spent.usd + self.reserved.usd)
        return found

    async def fund(self, cost: Usage) -> None:
        """Take from the key's allowance what is missing to reserve ``cost``, or what there is of it.

        Costs the store nothing when what is held is enough.  Raises ``StoreError``.
        """
        limits = self._limits
        if self._hold is None or (limits.tokens, limits.nano_usd) == (None, None):
            return
        mine = _amounts(cost)
        self._want(mine, 1)
        try:
            while not self._closed and not self._covers(mine):
                # with what others of this request wait for: each shall find its own
                tokens, nano_usd = (min(a, MOST) for a in self._needs(self._wanted))
                item = Fund(
                    self._hold, self._key_id, self._ledger.clock(), limits, tokens, nano_usd
                )
                grant: Grant = await self._ledger.ask(item)
                self._take(grant)
                if grant.shortage is not None:
                    return
        finally:
            self._want(mine, -1)

    def _want(self, cost: Sequence[int], sign: int) -> None:
        self._wanted = [a + sign * b for a, b in zip(self._wanted, cost, strict=True)]

    def _needs(self, more: Sequence[int]) -> tuple[int, int]:
        """What must be held for this much more to fit."""
        tokens = self.spent.total_tokens + self.reserved.total_tokens
        return tokens + more[0], nano(self.spent.usd + self.reserved.usd) + more[1]

    def _covers(self, more: Sequence[int]) -> bool:
        tokens, nano_usd = self._needs(more)
        enough = self._limits.tokens is None or tokens <= self._held.tokens
        return enough and (self._limits.nano_usd is None or nano_usd <= self._held.nano_usd)

    def _take(self, grant: Grant) -> None:
        self._held = grant
        self.shortage = grant.shortage

    async def close(self) -> None:
        """Settle what was spent, and give the rest back; a second call does nothing.

        A claim that is still open is charged whole.  A caller that is cancelled meanwhile still waits
        until it is done.  Raises ``StoreError``: the request then ends by itself, at all that it held.
        """
        if self._hold is None or self._closed:
            return
        self._closed = True
        tokens, nano_usd = (min(max(a, 0), MOST) for a in self._needs((0, 0)))
        await self._ledger.close(self._hold, self._key_id, tokens, nano_usd)


@dataclass
class Ledger:
    """The accounts of all keys, in the store.  ``clock`` gives seconds since 1970."""

    store: Store
    clock: Callable[[], float] = time.time
    #: keys whose minute is full, and at how many requests
    _full: dict[str, tuple[str, int]] = field(default_factory=dict, init=False)

    async def admit(self, key: KeyConfig, deadline: float, cost: Usage | None = None) -> Account:
        """Count a request of this key that ends by ``deadline`` (by the clock), and open its account.

        ``cost`` is funded with it, in the same transaction: as far as there is enough, as in
        ``Account.fund``.  Raises ``Fault`` with status 429 when the key is at a limit, ``StoreError``.
        """
        limits = Limits.of(key)
        if limits == Limits(None, None, None, None):
            return Account(self, key.id, limits, None)
        if not math.isfinite(deadline):
            raise BadInput(f"deadline={deadline}: a request of a key with limits ends some time")
        now = self.clock()
        minute, full = periods(now)[0], self._full.get(key.id)
        if (
            limits.requests is not None
            and full
            and full[0] == minute
            and limits.requests <= full[1]
        ):
            raise Full(limits.requests, now)
        tokens, nano_usd = _amounts(cost or Usage())
        hold = secrets.token_hex(12)
        item = Admit(hold, key.id, now, limits, deadline + GRACE, tokens, nano_usd)
        try:
            given: Grant | Fault = await self.ask(item)
        except anyio.get_cancelled_exc_class():
            # nobody waits for it now, but it is in the queue and will be admitted
            with contextlib.suppress(StoreError):
                await self.close(hold, key.id, 0, 0)
            raise
        if isinstance(given, Full) and limits.requests is not None:
            self._full[key.id] = minute, limits.requests
        if isinstance(given, Fault):
            raise given
        account = Account(self, key.id, limits, hold if limits.holds else None)
        account._take(given)
        return account

    async def ask(self, item: Admit | Fund | Close) -> Any:
        """What ``keep`` gives for this."""
        return await self.store.together(keep, item)

    async def close(self, hold: str, key_id: str, tokens: int, nano_usd: int) -> None:
        """End a request at what it spent."""
        with anyio.CancelScope(shield=True):
            await self.ask(Close(hold, key_id, self.clock(), tokens, nano_usd))
