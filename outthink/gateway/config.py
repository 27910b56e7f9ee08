"""The gateway's configuration: one TOML file, checked as a whole before anything starts.

Every error names the line and shows it with a caret, up to 20 together.  No secret stands in the
file: the keys of upstreams stay in the environment (``key_env`` names the variable), and of the
gateway's own keys it has salt and hash.  ``deploy/gateway.toml`` shows every field.
"""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from outthink.core import registry
from outthink.core.budget import Budget
from outthink.core.errors import BadInput, SpecError, nearest
from outthink.gateway import places
from outthink.gateway.settings import (
    ANY,
    HASH,
    HOW_TO_KEY,
    ID,
    SALT,
    Alias,
    Config,
    KeyConfig,
    ModelConfig,
    ServerConfig,
    Upstream,
    exposed,
    fault_of,
    host_fault,
    is_loopback,
    kinds_of,
    model_name_fault,
    name_fault,
    url_fault,
    variable_fault,
)
from outthink.models._server import uncounted
from outthink.models.prices import price_of

__all__ = [
    "Alias",
    "Config",
    "KeyConfig",
    "ModelConfig",
    "ServerConfig",
    "Upstream",
    "is_loopback",
    "quick",
    "read_config",
    "read_text",
]

T = TypeVar("T")

#: errors that are told at once
MOST_ERRORS = 20
TABLES = ("server", "models", "aliases", "keys")
#: models of a server: in a configuration they are upstreams, whose addresses it names
REMOTE = ("openai", "reward_server")
#: what a field is called that would hold a secret
_SECRET = re.compile(
    r"(.*[_-])?(api_?key|key|secret|password|passwd|bearer|authorization|auth)"
    r"|((access|api|auth|bearer|hf)[_-]?)?token",
    re.IGNORECASE,
)
_PLAIN_VARIABLE = re.compile(r"[A-Z][A-Z0-9]{0,15}(_[A-Z0-9]{0,15})*")


def read_config(path: str | Path, **over: Any) -> Config:
    """Read and check a file; ``over`` are fields of ``[server]`` that go before those of the file.

    Raises ``BadInput`` where it cannot be read, and ``SpecError`` with the line and a caret for each
    thing that is wrong in it.
    """
    try:
        raw = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{path}:{line}: this is not UTF-8") from None
    return read_text(text, str(path), **over)


def read_text(text: str, where: str, **over: Any) -> Config:
    """``read_config`` of a text; ``where`` is what errors call it."""
    return _Reading(text.replace("\r\n", "\n"), where).config(over)


def quick(
    upstream: str | None,
    model: str | None,
    key_env: str,
    strategy: str | None,
    host: str,
    port: int,
    workers: int,
    store: str | None,
) -> Config:
    """A configuration without a file: one upstream for whatever model is asked for, or one bundled model.

    ``key_env`` names the variable with the upstream's key; where it is not set, none is sent.  Raises
    ``BadInput`` for what is wrong, ``SpecError`` with a caret for a spec.
    """
    if (upstream is None) == (model is None):
        raise BadInput(
            "name what to serve: --upstream URL of a server, or --model SPEC of a model in this "
            "process, such as fly; a file of settings may have several"
        )
    if upstream is not None:
        key = key_env if os.environ.get(key_env, "").strip() else None
        if fault := key and _key_fault(key):
            raise BadInput(fault)
        served = ModelConfig(ANY, (Upstream(upstream, key),))
    else:
        served = ModelConfig(_local(model).registered[1], spec=model)
    if strategy is not None:
        registry.build(strategy, "strategy")
    server = ServerConfig(host=host, port=port, workers=workers, store=store, strategy=strategy)
    return Config(server, {served.name: served})


def _local(spec: Any) -> Any:
    """The part of a model that runs in this process; raises ``BadInput``."""
    part = registry.build(spec, "model")
    name = part.registered[1]
    if name in REMOTE:
        here = [n for n in registry.entries("model") if n not in REMOTE]
        told = "is a model of a server: name its upstreams instead"
        if not str(spec).strip().startswith(name):  # a bare name that nobody knows
            told = (
                f"is no model of this process{nearest(spec, here)}; that of a server has upstreams"
            )
        raise BadInput(f"{str(spec)[:60]!r} {told}")
    usable, why = getattr(part, "usable", lambda: (True, ""))()
    if not usable:
        raise BadInput(f"{name} cannot be used here: {why}")
    return part


def _key_fault(variable: str) -> str | None:
    """Why the key of an upstream cannot be had from a variable, or ``None``."""
    if fault := variable_fault(variable):
        return fault
    if places.has_secret(variable):
        return "key_env is the name of a variable of the environment, never the key itself"
    plain = _PLAIN_VARIABLE.fullmatch(variable) or len(variable) < 20
    shown = variable if plain else "that key_env names"
    value = os.environ.get(variable, "").strip()
    if not value:
        return f"the variable {shown} is not set: it holds the key of this upstream"
    if not (value.isascii() and value.isprintable() and " " not in value):
        return f"the variable {shown} holds a space or a character that a key cannot have"
    return None


def _harmless(name: str, value: str) -> bool:
    """May the value of a field be shown in an error?"""
    if name == "key_env":
        return bool(_PLAIN_VARIABLE.fullmatch(value.strip("\"'")))
    return name in _SHOWN


_SHOWN = {
    f.name
    for cls in (Upstream, ModelConfig, Alias, KeyConfig, ServerConfig)
    for f in dataclasses.fields(cls)
} - {"salt", "hash", "key_env"}


@dataclass
class _Reading:
    """Reads one text; ``errors`` are offsets and messages, so that many are told at once."""

    text: str
    where: str
    errors: list[tuple[int, str]] = field(default_factory=list)
    spots: dict[places.Path, places.Spot] = field(default_factory=dict)

    # -- errors ----------------------------------------------------------------------------------

    def wrong(self, path: places.Path, message: str, *, key: bool = False, at: int = 0) -> None:
        """Note an error at a value, at character ``at`` of it if that is a text, or at its ``key``."""
        while path and path not in self.spots:
            path, key = path[:-1], True
        spot = self.spots.get(path, places.Spot(0, 0, 0))
        key = key or not path
        self.errors.append((spot.key if key else places.inside(self.text, spot, at), message))

    def error(self) -> SpecError:
        """All errors in one."""
        found = sorted(set(self.errors))
        shown = places.cover_values(self.text, self.spots, _harmless)
        if not self.spots:  # it is no TOML
            shown = "\n".join(places.cover_line(n, _harmless) for n in self.text.split("\n"))
        told = [places.show(shown, self.where, at, said) for at, said in found[:MOST_ERRORS]]
        if len(found) > 1:
            told.insert(0, f"{self.where} has {len(found)} errors")
        if len(found) > MOST_ERRORS:
            told.append(f"and {len(found) - MOST_ERRORS} more")
        return SpecError("\n".join(told))

    def _syntax(self, said: str) -> tuple[int, str]:
        """The place and the words of an error of ``tomllib``."""
        words, _, place = said.rpartition(" (at ")
        message = f"this is no TOML: {words or said}"
        found = re.match(r"line (\d+), column (\d+)", place)
        if not found:
            return len(self.text.rstrip()), message
        before = self.text.split("\n")[: int(found[1]) - 1]
        return sum(len(line) + 1 for line in before) + int(found[2]) - 1, message

    # -- the file --------------------------------------------------------------------------------

    def config(self, over: Mapping[str, Any]) -> Config:
        """The whole; raises ``SpecError``."""
        try:
            values = tomllib.loads(self.text)
            self.spots = places.locate(self.text)
        except RecursionError:
            raise SpecError(f"{self.where}: nested too deep") from None
        except tomllib.TOMLDecodeError as error:
            self.errors.append(self._syntax(str(error)))
            raise self.error() from None
        tables = self._tables(values)
        server = self._server(tables["server"])
        if server is not None and over:
            server = dataclasses.replace(server, **over)
            if server.strategy is not None:
                registry.build(server.strategy, "strategy")
        if not tables["models"] and not self.errors:
            self.wrong((), "no models: write [models.NAME] with upstreams, or with a spec")
        models = {n: self._model(n, table) for n, table in tables["models"].items()}
        aliases = {n: self._alias(n, table, models) for n, table in tables["aliases"].items()}
        keys = {i: self._key(i, table, {*models, *aliases}) for i, table in tables["keys"].items()}
        if server is not None and not keys and not is_loopback(server.host):
            self.wrong(("server", "host"), exposed(server.host))
        if server is None or self.errors:
            raise self.error()
        config = Config(server, _made(models), _made(aliases), _made(keys))
        self._counted(config)
        if self.errors:
            raise self.error()
        return config

    def _tables(self, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The tables of the file; in all but the first each entry is a table too."""
        found: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
        for name, value in values.items():
            if name not in TABLES:
                self._unknown((name,), TABLES, "the file has no")
            elif not isinstance(value, dict):
                self.wrong((name,), f"{name} is a table: write [{name}]", key=True)
            elif name == "server":
                found[name] = value
            else:
                for entry, inner in value.items():
                    if isinstance(inner, dict):
                        found[name][entry] = inner
                    else:
                        said = f"{name} holds tables: write [{name}.NAME]"
                        self._unknown((name, entry), (), "", said)
        return found

    def _unknown(
        self, path: places.Path, known: Iterable[str], lacks: str, said: str | None = None
    ) -> None:
        """Note a name that has no place here; of one that would hold a secret, where that belongs."""
        name = str(path[-1])
        if not _SECRET.fullmatch(name) and not places.has_secret(name):
            self.wrong(path, said or f"{lacks} {name[:60]!r}{nearest(name, known)}", key=True)
        elif path[0] == "keys":
            told = f"of a key the file holds salt and hash, never the key itself: {HOW_TO_KEY}"
            self.wrong(path, told, key=True)
        else:
            told = "a key belongs in the environment, not in the file: set a variable, and write "
            self.wrong(path, told + 'key_env = "NAME" in upstreams', key=True)

    # -- tables ----------------------------------------------------------------------------------

    def _object(
        self, cls: Callable[..., T], path: places.Path, table: Mapping[str, Any], **given: Any
    ) -> T | None:
        """The object of a table; ``None`` where something in it is wrong, which is noted."""
        before = len(self.errors)
        values = self._values(cast("type", cls), path, table, given)
        if len(self.errors) > before:
            return None
        try:
            return cls(**values)
        except BadInput as error:
            self.wrong(path, str(error), key=True)
            return None

    def _values(
        self, kind: type, path: places.Path, table: Mapping[str, Any], given: dict[str, Any]
    ) -> dict[str, Any]:
        """The values of a table's fields, with those ``given``; what is wrong is noted."""
        parts = {f.name: f for f in dataclasses.fields(kind) if f.name not in given}
        what = f"[{_header(path)}]"
        for name, value in table.items():
            here = (*path, name)
            if name not in parts:
                self._unknown(here, parts, f"{what} has no field")
                continue
            kinds = kinds_of(kind)[name]
            budget = Budget in kinds and isinstance(value, str)  # it is written as a text
            fault = None if budget else fault_of(kind, name, value)
            if fault is None and name in _CHECKS:
                fault = _CHECKS[name](value)
            if fault:
                self.wrong(here, fault)
            elif read := self._readers.get(name):
                given[name] = read(here, value)
            else:
                given[name] = float(value) if float in kinds else value
        required = [n for n, f in parts.items() if f.default is dataclasses.MISSING]
        if missing := [n for n in required if n not in table]:
            self.wrong(path, f"{what} lacks {' and '.join(missing)}", key=True)
        return given

    @property
    def _readers(self) -> dict[str, Callable[[places.Path, Any], Any]]:
        """How the fields are read that are more than a plain value."""
        return {
            "budget": self._budget,
            "strategy": lambda path, value: self._spec(path, value, _strategy),
            "spec": lambda path, value: self._spec(path, value, _local),
            "upstreams": self._upstreams,
            "models": self._texts,
            "strategies": self._texts,
        }

    def _server(self, table: Mapping[str, Any]) -> ServerConfig | None:
        return self._object(ServerConfig, ("server",), table)

    def _model(self, name: str, table: Mapping[str, Any]) -> ModelConfig | None:
        path: places.Path = ("models", name)
        what, before = f"[{_header(path)}]", len(self.errors)
        if fault := model_name_fault(name):
            self.wrong(path, fault, key=True)
        if "spec" not in table and "upstreams" not in table:
            told = (
                'needs upstreams = ["http://HOST:PORT/v1"], or the spec of a model in this process'
            )
            self.wrong(path, f'{what} {told}: spec = "fly"', key=True)
        elif "spec" in table:
            if name == ANY:
                self.wrong(path, "the model '*' takes every other name: it has upstreams", key=True)
            if "upstreams" in table:
                self.wrong((*path, "spec"), f"{what} has upstreams too: keep one", key=True)
            own = {"spec", "upstreams", "concurrency"}
            for other in {f.name for f in dataclasses.fields(ModelConfig)} & set(table) - own:
                told = f"{other} is for upstreams: the spec holds its own parameters, in brackets"
                self.wrong((*path, other), told, key=True)
        if len(self.errors) > before:
            self._values(ModelConfig, path, table, {"name": name})
            return None
        return self._object(ModelConfig, path, table, name=name)

    def _alias(self, name: str, table: Mapping[str, Any], models: Iterable[str]) -> Alias | None:
        path: places.Path = ("aliases", name)
        found = self._object(Alias, path, table, name=name)
        if fault := model_name_fault(name):
            self.wrong(path, fault, key=True)
        if name in models:
            self.wrong(
                path, f"a model is called {name[:60]!r} too: clients could not tell", key=True
            )
        target = table.get("model")
        if isinstance(target, str) and (target == ANY or target not in models):
            if target == ANY or ANY not in models:
                told = f"no model {target[:60]!r}{nearest(target, set(models) - {ANY})}"
                self.wrong((*path, "model"), told)
            elif fault := model_name_fault(target):
                self.wrong((*path, "model"), fault)
        return found

    def _key(self, ident: str, table: Mapping[str, Any], names: set[str]) -> KeyConfig | None:
        path: places.Path = ("keys", ident)
        found = self._object(KeyConfig, path, table, id=ident)
        if not ID.fullmatch(ident):
            told = f"the id of a key has 12 small letters and figures: {HOW_TO_KEY}"
            self.wrong(path, told, key=True)
        if found is None:
            return None
        if ANY not in names:
            self._known((*path, "models"), found.models, names, "model or alias")
        strategies = registry.entries("strategy")
        self._known((*path, "strategies"), found.strategies, strategies, "strategy")
        return found

    def _known(
        self, path: places.Path, given: Iterable[str], names: Iterable[str], what: str
    ) -> None:
        for place, name in enumerate(given):
            if name != ANY and name not in names:
                told = f"no {what} {name[:60]!r}{nearest(name, names)}"
                self.wrong((*path, place), told)

    # -- values ----------------------------------------------------------------------------------

    def _texts(self, path: places.Path, value: list[Any]) -> tuple[str, ...]:
        for place, item in enumerate(value):
            if not isinstance(item, str):
                self.wrong((*path, place), f"{path[-1]} is a list of texts")
        if not value:
            self.wrong(path, f"{path[-1]} is empty, which allows nothing: leave it out for all")
        return tuple(value)

    def _upstreams(self, path: places.Path, value: list[Any]) -> tuple[Upstream, ...]:
        found: list[Upstream] = []
        for place, item in enumerate(value):
            here = (*path, place)
            if isinstance(item, str):
                if fault := url_fault(item):
                    self.wrong(here, fault)
                    continue
                one: Upstream | None = Upstream(item)
            elif isinstance(item, dict):
                one = self._object(Upstream, here, item)
            else:
                self.wrong(here, 'an upstream is an address, or a table: {url = "...", ...}')
                continue
            if one is not None and one in found:
                self.wrong(here, f"the upstream {one.url} stands here twice")
            elif one is not None:
                found.append(one)
        if not value:
            self.wrong(path, "upstreams is empty: name the address of a server")
        return tuple(found)

    def _budget(self, path: places.Path, value: str) -> Budget | None:
        at = 0
        for part in value.split(","):
            try:
                Budget.parse(part)
            except BadInput as error:
                self.wrong(path, str(error), at=at + len(part) - len(part.lstrip()))
                return None
            at += len(part) + 1
        try:
            return Budget.parse(value)
        except BadInput as error:
            self.wrong(path, str(error))
            return None

    def _spec(self, path: places.Path, value: str, build: Callable[[str], Any]) -> str:
        try:
            build(value)
        except SpecError as error:
            # of a spec inside this one the place is told within the inner one
            start = max(value.find(error.source), 0) if error.source else 0
            self.wrong(path, error.reason, at=start + error.at)
        except BadInput as error:
            self.wrong(path, " ".join(str(error).split()))
        return value

    # -- budgets that cannot hold ----------------------------------------------------------------

    def _counted(self, config: Config) -> None:
        """Note each limit that cannot hold since the price, or the size, of a model is not known."""
        models, aliases = config.models, config.aliases

        def missing(name: str) -> dict[str, str]:
            """What a model does not count, and why; ``name`` may be one that ``*`` takes."""
            model = models.get(name) or models[ANY]
            unpriced = model.usd_prompt is None or model.usd_completion is None
            names = {one.model or name for one in model.upstreams}
            unknown = unpriced and any(price_of(n) is None for n in names)
            prices = "usd_prompt and usd_completion" if unknown else ""
            return {} if model.spec else uncounted(name, prices, model.parameters)

        def check(path: places.Path, limits: Iterable[str], names: Iterable[str]) -> None:
            for limit in limits:
                told = next((t for n in names if (t := missing(n).get(limit))), None)
                if told:
                    self.wrong(path, f"a limit in {limit} cannot hold: {told}")

        every = [*(n for n in models if n != ANY), *(a.model for a in aliases.values())]
        if config.server.budget is not None:
            check(("server", "budget"), config.server.budget.limits(), every)
        for alias in aliases.values():
            if alias.budget is not None:
                check(("aliases", alias.name, "budget"), alias.budget.limits(), [alias.model])
        for key in config.keys.values():
            if key.usd_per_month is not None:
                own = [aliases[n].model if n in aliases else n for n in key.models]
                names = every if ANY in key.models else own
                check(("keys", key.id, "usd_per_month"), ["usd"], names)


def _made(found: Mapping[str, T | None]) -> dict[str, T]:
    return {name: one for name, one in found.items() if one is not None}


def _header(path: places.Path) -> str:
    """A table as its header would be written."""
    names = [n for n in path if isinstance(n, str)]
    return ".".join(n if re.fullmatch(r"[\w-]+", n) else f'"{n[:60]}"' for n in names)


def _strategy(spec: str) -> Any:
    return registry.build(spec, "strategy")


def _store_fault(name: str) -> str | None:
    try:
        from outthink.store.address import Address

        secret = Address.of(name).secrets
    except BadInput as error:
        return str(error)
    if secret:
        return (
            "a password belongs in the environment, not in the file: leave store out and set "
            "OUTTHINK_STORE, or set PGPASSWORD"
        )
    return None


def _digest_fault(form: re.Pattern[str], name: str) -> Callable[[str], str | None]:
    def fault(value: str) -> str | None:
        if form.fullmatch(value):
            return None
        return f"the {name} of a key is malformed (it is not repeated here): {HOW_TO_KEY}"

    return fault


#: what is wrong with the text of a field, by its name
_CHECKS: dict[str, Callable[[str], str | None]] = {
    "host": host_fault,
    "store": _store_fault,
    "url": url_fault,
    "key_env": _key_fault,
    "name": lambda value: name_fault(value, "a key's name", most=64),
    "salt": _digest_fault(SALT, "salt"),
    "hash": _digest_fault(HASH, "hash"),
}
