"""What the gateway can be told: each setting, its default and its range.

The classes check themselves when they are made, so a wrong value is the same ``BadInput`` from the
file, from an option and from Python.  Secrets are not among them: of a client's key they hold salt and
hash, of an upstream's key the name of the variable.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import numbers
import os
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from outthink.core.budget import Budget
from outthink.core.errors import BadInput, likely
from outthink.models._endpoint import check_url
from outthink.models.openai import PrefixMode
from outthink.store import default_url

#: the model that takes every other name, and all that a key may use
ANY = "*"
HOW_TO_KEY = "'outthink serve new-key NAME' makes one, with the lines for the file"

ID = re.compile(r"[a-z0-9]{12}")
SALT = re.compile(r"[0-9a-f]{32}")
HASH = re.compile(r"[0-9a-f]{64}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
#: the end of an address that was copied with its endpoint
_ENDPOINT = re.compile(r"/(chat/completions|completions|responses|models|embeddings)/*\Z")

_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    Budget: 'a text such as "tokens=20k, seconds=30"',
}


# -- checks --------------------------------------------------------------------------------------


def within(default: Any, least: float, most: float) -> Any:
    """A field for a number between two, both allowed."""
    return field(default=default, metadata={"within": (least, most)})


@functools.cache
def kinds_of(cls: type) -> dict[str, tuple[Any, ...]]:
    """The types that each field of a class may have."""
    found = {}
    for name, hint in typing.get_type_hints(cls).items():
        one = typing.get_origin(hint) in (typing.Literal, tuple)
        found[name] = (hint,) if one else typing.get_args(hint) or (hint,)
    return found


def fault_of(cls: type, name: str, value: Any) -> str | None:
    """What is wrong with the type or range of a field's value, or ``None``; a text is not repeated."""
    kinds = kinds_of(cls)[name]
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    for kind in kinds:
        if typing.get_origin(kind) is tuple:
            inner = typing.get_args(kind)[0]
            if isinstance(value, (list, tuple)):
                return None  # its elements are checked where they are read
            return f"{name} is a list{' of texts' if inner is str else ''}, not {_told(value)}"
        if typing.get_origin(kind) is typing.Literal:
            allowed = typing.get_args(kind)
            if value in allowed:
                return None
            hint = likely(value, allowed) if isinstance(value, str) else ""
            return f"{name} is one of {', '.join(allowed)}{hint}"
        if number and (kind is float or (kind is int and isinstance(value, numbers.Integral))):
            part = next(f for f in dataclasses.fields(cls) if f.name == name)
            least, most = part.metadata["within"]
            if least <= value <= most:
                return None
            return f"{name} = {_told(value)}: it is from {least:,} to {most:,}"
        if kind not in (int, float) and isinstance(value, kind):
            return None
    words = [_WORDS[kind] for kind in kinds if kind in _WORDS]
    return f"{name} is {' or '.join(words)}, not {_told(value)}"


def _told(value: Any) -> str:
    """A value in an error: a number as it is, else its kind alone, since it may be a secret."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, numbers.Real):
        return f"{value:,}"[:40]
    names: dict[type, str] = {str: "a text", list: "a list", dict: "a table"}
    return names.get(type(value), f"a {type(value).__name__}")


class _Checked:
    """Checks the types and ranges of its fields when it is made; raises ``BadInput``."""

    def __post_init__(self) -> None:
        for part in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, part.name)
            if value is not part.default and (fault := fault_of(type(self), part.name, value)):
                raise BadInput(fault)


def is_loopback(host: str) -> bool:
    """Can only this machine reach a server that is bound to ``host``?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def exposed(host: str) -> str:
    """The error of a server that others can reach, without keys."""
    return (
        f"host {host} can be reached from other machines, and there are no keys: {HOW_TO_KEY} "
        "(or bind to 127.0.0.1)"
    )


def host_fault(host: str) -> str | None:
    """Why nothing can be bound to a host, or ``None``."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if host.replace(".", "").isdigit() or not _HOST.fullmatch(host):
            return "host is an address or a name to bind to, such as 127.0.0.1 or 0.0.0.0"
    return None


def url_fault(url: str) -> str | None:
    """Why a text is no address of an upstream, or ``None``."""
    try:
        check_url(url, "url")
    except BadInput as error:
        return str(error).replace("api_key_env", "key_env")
    if found := _ENDPOINT.search(url):
        return f"url ends in {found[1]}: write what stands before it, such as http://HOST:PORT/v1"
    return None


def variable_fault(name: str) -> str | None:
    """Why a text is no name of a variable, or ``None``; it is not repeated, as it may be a key."""
    if len(name) > 128 or not _VARIABLE.fullmatch(name):
        return "key_env is the name of a variable of the environment, never the key itself"
    return None


def name_fault(name: str, what: str, most: int = 200) -> str | None:
    """Why a text is no name, or ``None``."""
    if not name or name != name.strip() or not name.isprintable() or len(name) > most:
        return f"{what} has 1 to {most} printable characters, and no spaces around them"
    return None


def model_name_fault(name: str) -> str | None:
    """Why clients could not ask for a model or an alias by this name, or ``None``."""
    if sign := next((c for c in name if c in "@()" or c.isspace()), ""):
        return (
            f"a model's name cannot hold {sign!r}, which is part of STRATEGY(...)@MODEL: name it "
            "otherwise here, and say what its server calls it with model = in upstreams"
        )
    return name_fault(name, "a model's name")


# -- the settings --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Upstream(_Checked):
    """A server that has a model.

    ``key_env`` is the variable that holds its key (``None``: none is sent), ``model`` the model's name
    there if it is another.
    """

    url: str
    key_env: str | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        fault = url_fault(self.url) or (self.key_env and variable_fault(self.key_env))
        if self.model is not None and not fault:
            fault = name_fault(self.model, "a model's name")
        if fault:
            raise BadInput(fault)

    @property
    def host(self) -> str:
        """The host and port of the address."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True)
class ModelConfig(_Checked):
    """A model that clients may name: behind ``upstreams``, or the ``spec`` of one in this process.

    All below ``spec`` but ``concurrency`` (calls in flight of each process) is of upstreams only.
    ``max_tokens`` is for requests that say none; ``usd_prompt`` and ``usd_completion`` are per million
    tokens; ``parameters`` is for FLOPs.
    """

    name: str
    upstreams: tuple[Upstream, ...] = ()
    spec: str | None = None
    max_tokens: int = within(4096, 1, 1 << 24)
    seeds: bool = False
    prefix: PrefixMode = "auto"
    retries: int = within(2, 0, 100)
    connect_seconds: float = within(5.0, 0.001, 3600)
    read_seconds: float = within(300.0, 0.001, 86400)
    usd_prompt: float | None = within(None, 0, 10**9)
    usd_completion: float | None = within(None, 0, 10**9)
    parameters: float = within(0.0, 0, 10**18)
    concurrency: int | None = within(None, 1, 1 << 20)

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.upstreams) == (self.spec is not None):
            raise BadInput(f"the model {self.name!r} has upstreams, or a spec: one of them")


@dataclass(frozen=True)
class Alias(_Checked):
    """A name for a model with a strategy and a budget, which requests may tighten."""

    name: str
    model: str
    strategy: str | None = None
    budget: Budget | None = None


@dataclass(frozen=True)
class KeyConfig(_Checked):
    """What is known of a client's key, and what it may do; ``None`` is no limit.

    ``models`` counts aliases as models; ``strategies`` are names without parameters, among which
    ``greedy`` is the pass-through.
    """

    id: str
    name: str
    salt: str = field(repr=False)
    hash: str = field(repr=False)
    models: tuple[str, ...] = (ANY,)
    strategies: tuple[str, ...] = (ANY,)
    requests_per_minute: int | None = within(None, 1, 1 << 40)
    tokens_per_day: int | None = within(None, 1, 1 << 50)
    usd_per_month: float | None = within(None, 0.000001, 10**12)
    concurrent: int | None = within(None, 1, 1 << 20)
    admin: bool = False


@dataclass(frozen=True)
class ServerConfig(_Checked):
    """How the gateway listens and what bounds it; sizes in bytes, times in seconds.

    ``strategy`` is for requests that name none (``None``: they pass through), ``budget`` for each
    request unless it or its alias has a tighter one.  ``store`` is a file or URL (``None``:
    ``OUTTHINK_STORE``, else the user's own).  ``concurrent`` and ``queue`` bound the requests in work
    and waiting in each process.  ``record`` keeps prompts and samples of every run, else only of those
    that ask for a trace.
    """

    host: str = "127.0.0.1"
    port: int = within(8000, 0, 65535)
    workers: int = within(1, 1, 1024)
    store: str | None = field(default=None, repr=False)
    strategy: str | None = None
    budget: Budget | None = None
    deadline_seconds: float = within(300.0, 0.001, 86400)
    concurrent: int = within(1024, 1, 1 << 20)
    queue: int = within(1024, 0, 1 << 20)
    queue_seconds: float = within(30.0, 0, 86400)
    body_bytes: int = within(20 << 20, 1 << 10, 1 << 30)
    header_bytes: int = within(64 << 10, 1 << 10, 1 << 24)
    header_seconds: float = within(20.0, 0.001, 3600)
    keepalive_seconds: float = within(15.0, 0.001, 3600)
    drain_seconds: float = within(30.0, 0, 86400)
    open_metrics: bool = False
    record: bool = False
    traces: int = within(1000, 0, 1 << 30)
    trace_seconds: float = within(3600.0, 0.001, 10**9)

    def __post_init__(self) -> None:
        super().__post_init__()
        if fault := host_fault(self.host):
            raise BadInput(fault)
        if self.store is not None and _address(self.store) == ":memory:" and self.workers > 1:
            raise BadInput(
                "a store in memory is not shared by several workers: name a file or a URL"
            )


@dataclass(frozen=True)
class Config:
    """All settings; ``keys`` by id.  Raises ``BadInput`` where others could use it without a key."""

    server: ServerConfig
    models: Mapping[str, ModelConfig]
    aliases: Mapping[str, Alias] = field(default_factory=dict)
    keys: Mapping[str, KeyConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.keys and not is_loopback(self.server.host):
            raise BadInput(exposed(self.server.host))

    @property
    def store(self) -> str | None:
        """The store that is opened: as named, or the usual one where something has to be kept."""
        limited = any(
            limit is not None
            for key in self.keys.values()
            for limit in (key.requests_per_minute, key.tokens_per_day, key.usd_per_month)
        )
        named = self.server.store or os.environ.get("OUTTHINK_STORE", "").strip() or None
        return named or (default_url() if limited or self.server.record else None)

    def describe(self) -> str:
        """What ``outthink serve --check`` prints, without secrets."""
        rows = [
            *_rows("server", _server_words(self)),
            *_rows("models", [(m.name, _model_words(m)) for m in self.models.values()]),
            *_rows("aliases", [(a.name, _alias_words(a)) for a in self.aliases.values()]),
            *_rows("keys", [(f"{k.name} ({k.id})", _key_words(k)) for k in self.keys.values()]),
        ]
        wide = max(len(name) for _, name, _ in rows)
        return "\n".join(f"{head:<9}{name:<{wide}}  {words}".rstrip() for head, name, words in rows)


# -- what --check prints -------------------------------------------------------------------------


def _rows(head: str, facts: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Rows of a table; its head stands in the first."""
    facts = facts or [("none", "")]
    return [(head if i == 0 else "", name, words) for i, (name, words) in enumerate(facts)]


def _address(url: str) -> str:
    """A store's address as it may be shown."""
    # the database library takes a tenth of a second, and many gateways keep nothing
    from outthink.store.address import Address

    return Address.of(url).shown


def _server_words(config: Config) -> list[tuple[str, str]]:
    server, keys = config.server, bool(config.keys)
    host = f"[{server.host}]" if ":" in server.host else server.host
    who = "keys required" if keys else "no keys: this machine only"
    if keys and server.open_metrics:
        who += ", but for /metrics"
    workers = f"{server.workers} worker{'s' * (server.workers > 1)}"
    each = [f"{server.deadline_seconds:g} s at most"]
    if server.budget:
        each.append(str(server.budget))
    plenty = f"{server.concurrent:,} in work and {server.queue:,} waiting in each worker"
    kept = "prompts and samples of every run" if server.record else "what is asked to be traced"
    return [
        ("address", f"http://{host}:{server.port}, {workers}, {who}"),
        ("requests", f"{server.strategy or 'pass through'}; {', '.join(each)}; {plenty}"),
        ("store", f"{_address(config.store)}, keeps {kept}" if config.store else "none"),
    ]


def _model_words(model: ModelConfig) -> str:
    if model.spec is not None:
        return f"in this process: {model.spec}"
    told = []
    for one in model.upstreams:
        more = [f"as {one.model}"] if one.model else []
        more.append(f"key in {one.key_env}" if one.key_env else "no key")
        told.append(f"{one.host} ({', '.join(more)})")
    return ", ".join(told)


def _alias_words(alias: Alias) -> str:
    return "; ".join(filter(None, (alias.model, alias.strategy, str(alias.budget or ""))))


def _key_words(key: KeyConfig) -> str:
    limits = (
        (key.requests_per_minute, "requests a minute"),
        (key.tokens_per_day, "tokens a day"),
        (key.usd_per_month, "USD a month"),
        (key.concurrent, "at once"),
    )
    told = [f"models {', '.join(key.models)}", f"strategies {', '.join(key.strategies)}"]
    held = [f"{most:,} {what}" for most, what in limits if most is not None]
    told.append(", ".join(held) or "no limits")
    return "; ".join(told + ["admin"] * key.admin)
