"""Budget, usage, and the meter that keeps the one above the other.

A call **reserves** its worst case before it is made and **settles** the truth after it.  With
``r`` reserved and ``u`` spent, every limit ``L`` keeps ``r + u <= L`` at all times, whatever runs
concurrently, fails, is retried or is cancelled.  Only a server that breaks its own promise (ignores
``max_tokens``, or reports more than it was asked for) can push ``u`` past ``L``: that overdraft is
detected, charged in full, and ends the run.
"""

from __future__ import annotations

import functools
import math
import numbers
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from outthink.core.errors import BadInput, BudgetExhausted, nearest

_SUFFIX = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15}
_TIME = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_QUANTITY = re.compile(r"^([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)$")


def quantity(text: str, seconds: bool = False) -> float:
    """A number with an optional unit: ``20k``, ``1.5M``; for seconds also ``ms s min h``."""
    found = _QUANTITY.match(text.strip())
    units: Mapping[str, float] = {**_TIME, "": 1.0} if seconds else _SUFFIX
    unit = found[2].lower() if found else ""
    if not found or unit not in units:
        allowed = ", ".join(u for u in units if u)
        raise BadInput(
            f"{text!r} is not a quantity: write a number, alone or with one of {allowed}"
        )
    amount = float(found[1]) * units[unit]
    if not math.isfinite(amount):
        raise BadInput(f"{text.strip()[:40]!r} is beyond all numbers")
    return amount


#: what a limit may be called in ``Budget.parse``
ALIASES = {
    "tokens": "tokens",
    "completion_tokens": "tokens",
    "total_tokens": "total_tokens",
    "calls": "calls",
    "seconds": "seconds",
    "usd": "usd",
    "flops": "flops",
}


@dataclass(frozen=True)
class Budget:
    """Limits of a run; ``None`` is no limit.

    ``tokens`` counts completion tokens, ``total_tokens`` prompt and completion, ``calls`` requests
    to any model with every retry, ``seconds`` wall time, ``usd`` dollars by the price table,
    ``flops`` floating-point operations (2 x parameters x tokens).
    """

    tokens: int | None = None
    total_tokens: int | None = None
    calls: int | None = None
    seconds: float | None = None
    usd: float | None = None
    flops: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            number = isinstance(value, numbers.Real) and not isinstance(value, bool)
            if not number or not 0 < value <= sys.float_info.max:
                shown = str(value)[:40] if number and value == value else repr(value)[:40]
                raise BadInput(f"budget {field.name}={shown}: a limit is a number above zero")
            if field.name in ("tokens", "total_tokens", "calls"):
                if value != int(value):
                    raise BadInput(f"budget {field.name}={value}: a limit in {field.name} is whole")
                object.__setattr__(self, field.name, int(value))
            else:
                object.__setattr__(self, field.name, float(value))

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read ``"tokens=20k, seconds=30, usd=0.05"``; the empty string is no limit."""
        values: dict[str, Any] = {}
        for part in text.split(","):
            if not part.strip():
                continue
            name, equals, value = part.partition("=")
            name = name.strip()
            if name not in ALIASES:
                if not equals and name[:1].isdigit():
                    raise BadInput(
                        f"{name[:40]!r} says no limit: write tokens={name[:40]}, or another"
                    )
                raise BadInput(f"unknown limit {name[:40]!r} in the budget{nearest(name, ALIASES)}")
            if not equals:
                raise BadInput(f"the limit {name!r} has no value: write {name}=NUMBER")
            if "=" in value:
                raise BadInput(f"{part.strip()[:60]!r}: put a comma between limits")
            key = ALIASES[name]
            if key in values:
                raise BadInput(f"the limit {key!r} is given twice")
            amount = quantity(value, seconds=key == "seconds")
            whole = key in ("tokens", "total_tokens", "calls") and amount == int(amount)
            values[key] = int(amount) if whole else amount
        return cls(**values)

    def limits(self) -> dict[str, float]:
        """The limits that are set."""
        return dict(self._limits)

    @functools.cached_property
    def _limits(self) -> dict[str, float]:
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: v for k, v in found.items() if v is not None}

    def __str__(self) -> str:
        shown = {k: int(v) if v == int(v) and v < 1e15 else v for k, v in self.limits().items()}
        return ", ".join(f"{k}={v!r}" for k, v in shown.items())


@dataclass(frozen=True)
class Usage:
    """What was spent.  ``estimated`` says that a count is our own upper estimate, not the server's.

    ``stored_calls`` of the ``calls`` came from the store: they count against the budget, so that a
    resumed run ends as the whole one would have, but were not paid for again.
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    seconds: float = 0.0
    usd: float = 0.0
    flops: float = 0.0
    stored_calls: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens

    # written out, as a run adds many times: a test holds both to the fields
    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.seconds + other.seconds,
            self.usd + other.usd,
            self.flops + other.flops,
            self.stored_calls + other.stored_calls,
            self.estimated or other.estimated,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.calls - other.calls,
            self.prompt_tokens - other.prompt_tokens,
            self.completion_tokens - other.completion_tokens,
            self.cached_tokens - other.cached_tokens,
            self.reasoning_tokens - other.reasoning_tokens,
            self.seconds - other.seconds,
            self.usd - other.usd,
            self.flops - other.flops,
            self.stored_calls - other.stored_calls,
            self.estimated,
        )

    def amount(self, limit: str) -> float:
        """What counts against a limit of this name."""
        return float(self.completion_tokens if limit == "tokens" else getattr(self, limit))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Usage:
        """What ``to_json`` wrote; what else is there is left out."""
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``total_tokens`` included."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**values, "total_tokens": self.total_tokens}


@dataclass(frozen=True)
class Price:
    """USD per million tokens, and FLOPs per token (2 x active parameters)."""

    prompt: float = 0.0
    completion: float = 0.0
    cached: float | None = None
    flops_per_token: float = 0.0

    def __post_init__(self) -> None:
        for name in ("prompt", "completion", "cached", "flops_per_token"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise BadInput(f"a price of {name}={value}: it must be at least 0 and finite")

    def usage(
        self,
        prompt: int,
        completion: int,
        *,
        cached: int = 0,
        reasoning: int = 0,
        calls: int = 1,
        estimated: bool = False,
    ) -> Usage:
        """The usage of one call with these counts, in dollars and FLOPs too."""
        cached = min(cached, prompt)
        cheap = self.prompt if self.cached is None else self.cached
        usd = (
            self.prompt * (prompt - cached) + cheap * cached + self.completion * completion
        ) / 1e6
        flops = self.flops_per_token * (prompt - cached + completion)
        return Usage(
            calls, prompt, completion, cached, reasoning, 0.0, usd, flops, 0, estimated
        )  # fmt: skip


class Reservation:
    """One call's claim on a meter: exactly one of ``settle`` and ``release`` ends it."""

    def __init__(self, meter: Meter, cost: Usage) -> None:
        self.meter, self.cost, self.open = meter, cost, True
        self.attempts = 0
        #: what failed attempts may have cost, charged already
        self.lost = Usage()
        #: what it was settled at
        self.actual = Usage()
        #: did the call give what it was asked for?
        self.given = False
        #: what a model knows to have been spent so far, for a call that is cancelled half-way
        self.partial: Usage | None = None
        #: is that all of the call, with what was stored of it?
        self.whole = False
        #: what the last attempt failed with, while there is another
        self.failure: str | None = None
        #: the samples of a cancelled call that were finished all the same, by their place in it
        self.arrived: dict[int, Any] = {}

    def another_attempt(self, stored: bool = False, lost: Usage | None = None) -> None:
        """Count one more request of the same call; raises ``BudgetExhausted`` if none is left.

        ``lost`` is what the failed attempt may have cost beside the call itself.  ``stored``: it was
        made, and paid for, when the call was recorded; it fitted then, and is not asked for again.
        """
        cost = replace(lost or Usage(), calls=1, stored_calls=int(stored))
        if stored:
            self.meter.charge(cost)
        else:
            self.meter.reserve(cost).settle(cost)
        self.attempts += 1
        self.lost = self.lost + (lost or Usage())

    def settle(self, actual: Usage) -> str | None:
        """Replace the claim by the truth; names the limit that the truth overdraws, if any."""
        self._close()
        self.actual = actual
        over = None
        for meter in self.meter.chain():
            meter.spent = meter.spent + actual
            for limit, bound in meter.budget.limits().items():
                # of what is spent alone: whether it is too much does not depend on who settles first
                if limit != "seconds" and meter.spent.amount(limit) > bound * (1 + 1e-9):
                    meter.overdrawn = over = limit
        self.meter.changed()
        return over

    def release(self) -> None:
        """Give the claim back: the call was not made, or cost nothing."""
        self._close()
        self.meter.changed()

    def _close(self) -> None:
        if not self.open:
            raise RuntimeError("a reservation is closed once")
        self.open = False
        for meter in self.meter.chain():
            meter.outstanding -= 1
            meter.reserved = meter.reserved - self.cost if meter.outstanding else Usage()


def _within(cost: Usage, meters: Sequence[Meter]) -> Usage:
    """As much of a cost as these meters let through at most."""
    for meter in meters:
        limits = meter.budget.limits()
        left = {k: limits[k] - meter.spent.amount(k) - meter.reserved.amount(k) for k in limits}
        whole = left.get("total_tokens", math.inf) - cost.prompt_tokens
        most = min(left.get("tokens", math.inf), whole, cost.completion_tokens)
        usd = min(left.get("usd", math.inf), cost.usd)
        cost = replace(cost, completion_tokens=max(int(most), 0), usd=max(usd, 0.0))
    return cost


class Meter:
    """Holds a run below its budget.  A child's claims count against every meter above it too."""

    def __init__(
        self,
        budget: Budget,
        parent: Meter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget, self.parent, self.clock = budget, parent, clock
        self.spent, self.reserved, self.outstanding = Usage(), Usage(), 0
        self.overdrawn: str | None = None
        self.started = clock()
        self._watchers: list[Callable[[], None]] = []

    def chain(self) -> list[Meter]:
        """This meter and those above it."""
        meters: list[Meter] = []
        meter: Meter | None = self
        while meter is not None:
            meters.append(meter)
            meter = meter.parent
        return meters

    def busy(self) -> bool:
        """Is a claim open, here or beside, whose settling may give something back?"""
        return any(meter.outstanding for meter in self.chain())

    def on_change(self, call: Callable[[], None]) -> None:
        """Have ``call`` run once, when the next claim on any meter of the chain is closed."""
        for meter in self.chain():
            meter._watchers.append(call)

    def changed(self) -> None:
        """Tell those who wait that a claim was closed."""
        for meter in self.chain():
            waiting, meter._watchers = meter._watchers, []
            for call in waiting:
                call()

    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self.started

    def deadline(self) -> float:
        """Seconds left until the nearest deadline; infinite without one."""
        left = [
            meter.budget.seconds - meter.elapsed()
            for meter in self.chain()
            if meter.budget.seconds is not None
        ]
        return min(left, default=math.inf)

    def left(self, limit: str) -> float:
        """What may still be reserved of a limit, here and above; infinite without one."""
        if limit == "seconds":
            return self.deadline()
        best = math.inf
        for meter in self.chain():
            bound = meter.budget.limits().get(limit)
            if bound is not None:
                used = meter.spent.amount(limit) + meter.reserved.amount(limit)
                best = min(best, bound - used)
        return best

    def tightest(self, limit: str) -> Meter:
        """The meter of the chain with the least left of a limit; of equals the outermost."""

        def own(meter: Meter) -> float:
            bound = meter.budget.limits().get(limit, math.inf)
            if limit == "seconds":
                return bound - meter.elapsed()
            return bound - meter.spent.amount(limit) - meter.reserved.amount(limit)

        return min(reversed(self.chain()), key=own)

    def binding(self, cost: Usage) -> str | None:
        """The limit that this cost would break, or ``None`` when it fits."""
        for meter in self.chain():
            if meter.overdrawn:
                return meter.overdrawn
        if self.deadline() <= 0:
            return "seconds"
        for limit in ("calls", "tokens", "total_tokens", "usd", "flops"):
            if cost.amount(limit) > self.left(limit) * (1 + 1e-12):
                return limit
        return None

    async def fund(self, cost: Usage) -> None:
        """Have room for this cost, where what this meter may spend is lent to it piece by piece."""

    async def secure(self, cost: Usage | Callable[[], Usage]) -> None:
        """Have room for what will be reserved next in every meter of the chain that is funded.

        A function is asked for the cost where one is.
        """
        chain = self.chain()
        for i, meter in enumerate(chain):
            if type(meter).fund is not Meter.fund:
                whole = cost if isinstance(cost, Usage) else cost()
                await meter.fund(_within(whole, chain[:i]))

    def reserve(self, cost: Usage) -> Reservation:
        """Claim the worst case of a call; raises ``BudgetExhausted`` when it does not fit."""
        limit = self.binding(cost)
        if limit is not None:
            raise BudgetExhausted(limit)
        for meter in self.chain():
            meter.reserved = meter.reserved + cost
            meter.outstanding += 1
        return Reservation(self, cost)

    def charge(self, cost: Usage) -> None:
        """Count what was spent within this budget before, and recorded."""
        for meter in self.chain():
            meter.spent = meter.spent + cost
        self.changed()

    def affordable_tokens(self, price: Price, prompt: int, n: int) -> int:
        """The largest ``max_tokens`` for which a call of ``n`` samples still fits (0 if none)."""
        best = math.inf
        best = min(best, self.left("tokens") / n, (self.left("total_tokens") - prompt) / n)
        if price.completion > 0:
            best = min(
                best, (self.left("usd") - price.prompt * prompt / 1e6) * 1e6 / price.completion / n
            )
        if price.flops_per_token > 0:
            best = min(best, (self.left("flops") / price.flops_per_token - prompt) / n)
        if self.left("calls") < 1:
            return 0
        return int(min(max(best + 1e-9, 0), 1 << 40))

    def usage(self) -> Usage:
        """What was spent so far, with the wall time."""
        return replace(self.spent, seconds=self.elapsed())
