"""The ledger's transaction: what requests ask of the store, done for many keys at once.

Whoever changes anything of a key locks its row in ``gateway_keys`` first; the rest is read, changed
here and written back, a handful of statements however many requests wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from outthink.gateway.errors import Fault
from outthink.store.schema import gateway_holds, gateway_keys, gateway_periods

if TYPE_CHECKING:
    from outthink.gateway.config import KeyConfig

#: seconds for which a request that was given up for dead can still be settled at the truth
MEMORY = 86400.0
#: seconds after which to ask again where other requests may give something back
SOON = 2.0
#: seconds for which the counts of minutes are kept, for clocks that differ
MINUTES = 3600.0
#: no count is larger: a server may claim any number
MOST = 1 << 61


def nano(usd: float) -> int:
    """Dollars in billionths, rounded up; a part of a thousandth of one is taken for a rounding error."""
    return max(0, math.ceil(round(usd * 1e9, 3))) if usd * 1e9 < MOST else MOST


def periods(now: float) -> tuple[str, str, str]:
    """The names of the minute, the day and the month (UTC) of a moment in seconds since 1970."""
    minute = datetime.fromtimestamp(now, UTC).isoformat()[:16]
    return minute, minute[:10], minute[:7]


def turns(now: float, period: str) -> float:
    """Seconds until a minute, day or month ends."""
    if len(period) == 16:
        return 60 - now % 60
    if len(period) == 10:
        return 86400 - now % 86400
    year, month = int(period[:4]), int(period[5:7])
    following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return following.timestamp() - now


@dataclass(frozen=True)
class Limits:
    """What a key may; ``None`` is no limit.  Money in billionths of a dollar."""

    requests: int | None
    tokens: int | None
    nano_usd: int | None
    concurrent: int | None

    @classmethod
    def of(cls, key: KeyConfig) -> Limits:
        """The limits of a key of the configuration."""
        usd = key.usd_per_month
        # rounded down, as what is spent is rounded up: never more than was allowed
        allowed = None if usd is None else min(math.floor(round(usd * 1e9, 3)), MOST)
        tokens = None if key.tokens_per_day is None else min(key.tokens_per_day, MOST)
        return cls(key.requests_per_minute, tokens, allowed, key.concurrent)

    @property
    def holds(self) -> bool:
        """Is there a limit for which a request must be followed to its end?"""
        return (self.tokens, self.nano_usd, self.concurrent) != (None, None, None)


class Full(Fault):
    """The refusal of a request when its minute is full."""

    def __init__(self, limit: int, now: float) -> None:
        super().__init__(
            429,
            f"this key may make {limit} requests a minute and has made them: wait for the next minute",
            code="rate_limit_exceeded",
            retry_after=turns(now, periods(now)[0]),
        )


@dataclass(frozen=True)
class Grant:
    """What a request holds now, and the 429 to answer with if that is too little for it."""

    tokens: int = 0
    nano_usd: int = 0
    shortage: Fault | None = None


@dataclass(frozen=True)
class Admit:
    """A request comes: count it, and let it hold this much if there is as much."""

    hold: str
    key_id: str
    now: float
    limits: Limits
    expires: float
    tokens: int = 0
    nano_usd: int = 0


@dataclass(frozen=True)
class Fund:
    """A request wants to hold this much, together with what it holds already."""

    hold: str
    key_id: str
    now: float
    limits: Limits
    tokens: int
    nano_usd: int


@dataclass(frozen=True)
class Close:
    """A request ends; this is what it spent."""

    hold: str
    key_id: str
    now: float
    tokens: int
    nano_usd: int


@dataclass
class _Period:
    """A row of ``gateway_periods``."""

    key_id: str
    period: str
    requests: int = 0
    tokens: int = 0
    nano_usd: int = 0
    held_tokens: int = 0
    held_nano_usd: int = 0

    def hold(self, tokens: int, nano_usd: int) -> None:
        """Hold so much more, or less."""
        self.held_tokens += tokens
        self.held_nano_usd += nano_usd

    def spend(self, tokens: int, nano_usd: int) -> None:
        """Count so much more as spent, or less."""
        self.tokens = min(max(self.tokens + tokens, 0), MOST)
        self.nano_usd = min(max(self.nano_usd + nano_usd, 0), MOST)


@dataclass
class _Hold:
    """A row of ``gateway_holds``."""

    id: str
    key_id: str
    day: str
    month: str
    tokens: int
    nano_usd: int
    expires: float
    lapsed: int = 0


class _Statements:
    """What is said to a database.  In PostgreSQL any number of rows is one statement, always the same:
    a list is a parameter, so that the plan is kept and rows need no way there each."""

    def __init__(self, name: str, insert: Callable[[sa.Table], Any]) -> None:
        self.arrays = name == "postgresql"
        keys, holds, periods = gateway_keys.c, gateway_holds.c, gateway_periods.c
        self.new_keys = insert(gateway_keys).on_conflict_do_nothing()
        self.lock = (
            sa.select(gateway_keys)
            .where(self._among(keys.key_id, "keys"))
            .order_by(keys.key_id)
            .with_for_update()
        )
        due = sa.and_(self._among(holds.key_id, "keys"), holds.expires < sa.bindparam("now"))
        self.holds = sa.select(gateway_holds).where(sa.or_(self._among(holds.id, "ids"), due))
        self.periods = sa.select(gateway_periods).where(
            self._among(periods.key_id, "keys"), self._among(periods.period, "names")
        )
        self.old_minutes = gateway_periods.delete().where(
            self._among(periods.key_id, "keys"),
            sa.func.length(periods.period) == 16,
            periods.period < sa.bindparam("before"),
        )
        self.remove = gateway_holds.delete().where(self._among(holds.id, "ids"))
        tables = (gateway_keys, gateway_periods, gateway_holds)
        self.write = {table: self._upsert(insert(table), table) for table in tables}

    def _among(self, column: Any, name: str) -> Any:
        if self.arrays:
            return column == sa.any_(sa.bindparam(name, type_=postgresql.ARRAY(sa.Text)))
        return column.in_(sa.bindparam(name, expanding=True))

    def _upsert(self, made: Any, table: sa.Table) -> Any:
        """Write whole rows, new or known."""
        names = [c.name for c in table.primary_key.columns]
        values = {c.name: made.excluded[c.name] for c in table.columns if c.name not in names}
        if self.arrays:
            lists = [
                sa.func.unnest(sa.bindparam(c.name, type_=postgresql.ARRAY(c.type)))
                for c in table.columns
            ]
            made = made.from_select([c.name for c in table.columns], sa.select(*lists))
        return made.on_conflict_do_update(index_elements=names, set_=values)

    def upsert(self, connection: sa.Connection, table: sa.Table, rows: Any) -> None:
        """Write these rows."""
        if rows and self.arrays:
            rows = {c.name: [row[c.name] for row in rows] for c in table.columns}
        if rows:
            connection.execute(self.write[table], rows)


_STATEMENTS = {
    name: _Statements(name, dialect.insert)
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql))
}


class _Book:
    """The rows of the keys that a transaction is about: locked, read, changed, written."""

    def __init__(self, connection: sa.Connection, items: Sequence[Admit | Fund | Close]) -> None:
        self.connection, self.say = connection, _STATEMENTS[connection.dialect.name]
        self.now = max(item.now for item in items)
        keys = sorted({item.key_id for item in items})
        self.open = self._lock(keys)
        asked = {"ids": [item.hold for item in items], "keys": keys, "now": self.now}
        found = connection.execute(self.say.holds, asked)
        self.holds = {row.id: _Hold(*row) for row in found}
        self.before = set(self.holds)
        names = {p for i in items if isinstance(i, Admit) for p in periods(i.now)}
        names |= {p for hold in self.holds.values() for p in (hold.day, hold.month)}
        found = connection.execute(self.say.periods, {"keys": keys, "names": sorted(names)})
        self.periods = {(row.key_id, row.period): _Period(*row) for row in found}
        self.changed: dict[tuple[str, str], _Period] = {}
        self.changed_holds: dict[str, _Hold] = {}
        self.changed_keys: set[str] = set()
        self.new_minutes: set[str] = set()
        self._expire()

    def _lock(self, keys: list[str]) -> dict[str, int]:
        """Lock the keys in their order, so that two processes never wait for each other in a circle."""
        found = self.connection.execute(self.say.lock, {"keys": keys}).all()
        if len(found) < len(keys):
            known = {row.key_id for row in found}
            rows = [{"key_id": key, "open": 0} for key in keys if key not in known]
            self.connection.execute(self.say.new_keys, rows)
            found = self.connection.execute(self.say.lock, {"keys": keys}).all()
        return {row.key_id: row.open for row in found}

    def period(self, key_id: str, name: str) -> _Period:
        """The row of a period, to be changed."""
        place = key_id, name
        if place not in self.periods:
            self.periods[place] = _Period(key_id, name)
            if len(name) == 16:
                self.new_minutes.add(key_id)
        self.changed[place] = self.periods[place]
        return self.periods[place]

    def look(self, key_id: str, name: str) -> _Period:
        """The row of a period, to be read."""
        return self.periods.get((key_id, name)) or _Period(key_id, name)

    def change_open(self, key_id: str, by: int) -> None:
        """So many requests more are under way."""
        self.open[key_id] += by
        self.changed_keys.add(key_id)

    def _expire(self) -> None:
        """Charge what the dead held, and forget those whose time is long past."""
        for hold in list(self.holds.values()):
            if hold.expires >= self.now:
                continue
            if hold.lapsed:
                self.drop(hold)
                continue
            for name in (hold.day, hold.month):
                row = self.period(hold.key_id, name)
                row.hold(-hold.tokens, -hold.nano_usd)
                row.spend(hold.tokens, hold.nano_usd)
            hold.lapsed, hold.expires = 1, self.now + MEMORY
            self.changed_holds[hold.id] = hold
            self.change_open(hold.key_id, -1)

    def drop(self, hold: _Hold) -> None:
        """This request has ended, for good."""
        del self.holds[hold.id]
        self.changed_holds.pop(hold.id, None)

    def write(self) -> None:
        """Write what has changed."""
        upsert, run = self.say.upsert, self.connection.execute
        keys = [{"key_id": key, "open": self.open[key]} for key in sorted(self.changed_keys)]
        upsert(self.connection, gateway_keys, keys)
        upsert(self.connection, gateway_periods, [vars(p) for p in self.changed.values()])
        upsert(self.connection, gateway_holds, [vars(h) for h in self.changed_holds.values()])
        if gone := self.before - set(self.holds):
            run(self.say.remove, {"ids": list(gone)})
        if self.new_minutes:
            before = periods(self.now - MINUTES)[0]
            run(self.say.old_minutes, {"keys": list(self.new_minutes), "before": before})


def keep(
    connection: sa.Connection, items: Sequence[Admit | Fund | Close]
) -> list[Grant | Fault | None]:
    """Do what these requests ask, of many keys at once, in the store's transaction.

    An ``Admit`` gives a ``Grant`` or the ``Fault`` that refuses it, a ``Fund`` a ``Grant``.  Done twice
    with the same items it does no more than once, for a commit whose answer was lost is repeated; but
    a request that holds nothing may count twice.
    """
    book = _Book(connection, items)
    results: list[Grant | Fault | None] = []
    for item in items:
        if isinstance(item, Admit):
            results.append(_admit(book, item))
        elif isinstance(item, Fund):
            results.append(_fund(book, item))
        else:
            _close(book, item)
            results.append(None)
    book.write()
    return results


def _admit(book: _Book, item: Admit) -> Grant | Fault:
    limits, key_id = item.limits, item.key_id
    if item.hold in book.holds:  # it was admitted by this very request
        return _grant(book, book.holds[item.hold], item)
    names = minute, day, month = periods(item.now)
    if limits.requests is not None and book.look(key_id, minute).requests >= limits.requests:
        return Full(limits.requests, item.now)
    if limits.concurrent is not None and book.open[key_id] >= limits.concurrent:
        return Fault(
            429,
            f"{book.open[key_id]} requests of this key are under way and it may have "
            f"{limits.concurrent} at a time: wait for one to end",
            code="rate_limit_exceeded",
            retry_after=SOON,
        )
    hold = _Hold(item.hold, key_id, day, month, 0, 0, item.expires)
    if (shortage := _shortage(book, hold, item, 1, 1)) is not None:
        return shortage
    for name in names:
        book.period(key_id, name).requests += 1
    if not limits.holds:
        return Grant()
    book.holds[hold.id] = book.changed_holds[hold.id] = hold
    book.change_open(key_id, 1)
    return _grant(book, hold, item)


def _fund(book: _Book, item: Fund) -> Grant:
    hold = book.holds.get(item.hold)
    if hold is None or hold.lapsed:  # what it held is charged already
        late = Fault(504, "this request is past its deadline", code="deadline_exceeded")
        return Grant(shortage=late)
    return _grant(book, hold, item)


def _close(book: _Book, item: Close) -> None:
    hold = book.holds.get(item.hold)
    if hold is None:
        return
    for name in (hold.day, hold.month):
        row = book.period(hold.key_id, name)
        if hold.lapsed:  # charged whole when it was given up; in place of that, the truth
            row.spend(item.tokens - hold.tokens, item.nano_usd - hold.nano_usd)
        else:
            row.hold(-hold.tokens, -hold.nano_usd)
            row.spend(item.tokens, item.nano_usd)
    if not hold.lapsed:
        book.change_open(hold.key_id, -1)
    book.drop(hold)


def _left(book: _Book, hold: _Hold, limits: Limits) -> tuple[float, float]:
    """What a request may hold more of its key's day and month; infinite without a limit."""
    day, month = book.look(hold.key_id, hold.day), book.look(hold.key_id, hold.month)
    tokens = math.inf if limits.tokens is None else limits.tokens - day.tokens - day.held_tokens
    nano_usd = (
        math.inf
        if limits.nano_usd is None
        else limits.nano_usd - month.nano_usd - month.held_nano_usd
    )
    return tokens, nano_usd


def _grant(book: _Book, hold: _Hold, item: Admit | Fund) -> Grant:
    """Let a request hold what it wants, or of that what there is."""
    left_tokens, left_nano = _left(book, hold, item.limits)
    tokens = item.tokens - hold.tokens if item.limits.tokens is not None else 0
    nano_usd = item.nano_usd - hold.nano_usd if item.limits.nano_usd is not None else 0
    shortage = _shortage(book, hold, item, tokens, nano_usd)
    more = int(max(0, min(tokens, left_tokens))), int(max(0, min(nano_usd, left_nano)))
    if more != (0, 0):
        hold.tokens, hold.nano_usd = hold.tokens + more[0], hold.nano_usd + more[1]
        book.changed_holds[hold.id] = hold
        for name in (hold.day, hold.month):
            book.period(hold.key_id, name).hold(*more)
    return Grant(hold.tokens, hold.nano_usd, shortage)


def _shortage(
    book: _Book, hold: _Hold, item: Admit | Fund, tokens: int, nano_usd: int
) -> Fault | None:
    """The 429 that says that this much more is not left, or ``None`` where it is."""
    limits, (left_tokens, left_nano) = item.limits, _left(book, hold, item.limits)
    day, month = book.look(hold.key_id, hold.day), book.look(hold.key_id, hold.month)
    if limits.tokens is not None and tokens > left_tokens:
        others = day.held_tokens - hold.tokens
        told = (
            f"{limits.tokens:,} tokens of this key in a day (UTC)",
            f"{day.tokens:,}",
            f"{others:,}",
        )
        return _short(*told, tokens <= left_tokens + others, turns(item.now, hold.day))
    if limits.nano_usd is not None and nano_usd > left_nano:
        held = month.held_nano_usd - hold.nano_usd
        told = (
            f"${limits.nano_usd / 1e9:,.2f} of this key in a month (UTC)",
            f"${month.nano_usd / 1e9:,.6f}",
            f"${held / 1e9:,.6f}",
        )
        return _short(*told, nano_usd <= left_nano + held, turns(item.now, hold.month))
    return None


def _short(limit: str, spent: str, held: str, may_come: bool, turn: float) -> Fault:
    said = f"too little is left of the {limit}: {spent} spent, {held} held by requests under way"
    if may_come:
        return Fault(429, said, code="rate_limit_exceeded", retry_after=SOON)
    return Fault(
        429, said, type="insufficient_quota", code="insufficient_quota", retry_after=max(turn, SOON)
    )
