"""From the name that a client writes to a model, a strategy and a budget.

``model`` may be a model of the configuration, an alias, or ``STRATEGY@MODEL``; a strategy may also
stand in the ``outthink`` object or a header.  A strategy that a client writes may name only models of
the configuration, so no key ever leaves for another address, and no part that reads files or runs
code: those belong into an alias.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import anyio
import orjson

from outthink.api import (
    Session,
    check_counted,
    check_main,
    parts_of,
)
from outthink.core import registry
from outthink.core.budget import Budget
from outthink.core.errors import BadInput, MissingNeed, ModelError, likely
from outthink.core.model import REWARD, Model
from outthink.gateway.chat import Asked
from outthink.gateway.config import Alias, Config, KeyConfig, ModelConfig
from outthink.gateway.errors import Fault, unknown
from outthink.models._server import Endpoint, Server
from outthink.models.openai import OpenAI, OpenAIModel
from outthink.strategies.greedy import Greedy

#: parts that a client's strategy may not have, and why
BARRED = {
    ("verifier", "python_tests"): "runs code",
    ("verifier", "regex"): "takes a pattern that may never end",
    ("strategy", "auto"): "reads a file",
    ("model", "replay"): "reads a file",
    ("model", "local"): "reads a file",
}
#: what a request may spend where neither it nor the configuration says
BUDGET = Budget(calls=1024, tokens=4_000_000)
#: names of a wildcard model that are kept open
NAMES = 256
#: seconds that the server behind a wildcard has to list its models, and for which the list is kept
LISTING, LISTED = 5.0, 30.0
#: the pass-through: no strategy at all
PLAIN = "greedy"


@dataclass(eq=False)
class Served:
    """A model of the gateway, open: over a ``server``, or bundled (then there is none)."""

    name: str
    config: ModelConfig
    model: Model
    session: Session
    server: Server | None
    #: does the server refuse to be asked for the usage of a stream?
    silent: bool = False


@dataclass(frozen=True)
class Resolved:
    """What answers a request; without a ``strategy`` it is passed through."""

    served: Served
    strategy: Any | None
    budget: Budget
    #: the model's or alias's name, for metrics and logs
    label: str

    @property
    def strategy_name(self) -> str:
        """The strategy's registered name."""
        return PLAIN if self.strategy is None else str(self.strategy.registered[1])


def tightest(*budgets: Budget | None) -> Budget:
    """The smaller limit of each kind."""
    out: dict[str, Any] = {}
    for budget in budgets:
        for name, limit in (budget.limits() if budget else {}).items():
            out[name] = min(limit, out.get(name, limit))
    return Budget(**out)


@functools.lru_cache(maxsize=1024)
def _build(spec: str) -> Any:
    return registry.build(spec, "strategy")


@functools.lru_cache(maxsize=1024)
def _named(built: Any) -> tuple[tuple[str, str], ...]:
    """The kind and name of every part in a strategy."""
    kinds = ("strategy", "verifier", "model", "stop", "utility")
    return tuple(p.registered for kind in kinds for p in parts_of(built, kind))


@functools.lru_cache(maxsize=1024)
def heated(built: Any, temperature: float) -> Any:
    """The strategy at a temperature, wherever it or a strategy in it says none itself."""
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(built):
        value = getattr(built, field.name)
        if field.name == "temperature" and value == field.default:
            changed[field.name] = temperature
        elif field.metadata.get("kind") == "strategy":
            if isinstance(value, tuple):
                changed[field.name] = tuple(heated(v, temperature) for v in value)
            elif value is not None:
                changed[field.name] = heated(value, temperature)
    return replace(built, **changed) if changed else built


@functools.lru_cache(maxsize=1024)
def is_hot(built: Any) -> bool:
    """Does a strategy in it draw at a temperature above 0?"""
    return any(getattr(p, "temperature", 0) for p in parts_of(built, "strategy"))


class Catalog:
    """The models of a configuration, open, and what their names mean; an async context manager."""

    def __init__(self, config: Config, store: Any = None) -> None:
        self.config, self.store = config, store
        self.served: dict[str, Served] = {}
        self._named: OrderedDict[str, Served] = OrderedDict()
        #: the bundled models that strategies name
        self._parts: dict[str, Model] = {}
        self._listed: tuple[float, list[str]] = (0.0, [])
        #: is told of each model that is opened later, with its name
        self.opened: Callable[[Model, str], None] = lambda model, name: None

    async def __aenter__(self) -> Catalog:
        for name, config in self.config.models.items():
            self.served[name] = await self._open(name, config)
        return self

    async def __aexit__(self, *error: object) -> None:
        served, self.served = self.served, {}
        self._named.clear()
        for one in served.values():
            await one.session.__aexit__(*error)
            await one.model.aclose()
        while self._parts:
            await self._parts.popitem()[1].aclose()

    def check(self) -> None:
        """Raise ``BadInput`` for an alias, or a default, whose model cannot do what it asks."""
        server = self.config.server
        pairs = [(a.name, a.strategy, a.model) for a in self.config.aliases.values()]
        pairs += [("the default strategy", server.strategy, name) for name in self.served]
        for what, spec, model in pairs:
            if spec and spec != PLAIN:
                served = self.served.get(model) or self._wild(model)
                if served is not None:
                    try:
                        self._suits(_build(spec), served)
                    except BadInput as error:
                        raise type(error)(f"{what} on {model}: {error}") from None

    async def _open(self, name: str, config: ModelConfig) -> Served:
        server = None
        if config.upstreams:
            model, server = self._remote(name, config)
        else:
            model = registry.build(config.spec, "model").open()
        return await self._serve(name, config, model, server)

    async def _serve(
        self, name: str, config: ModelConfig, model: Any, server: Server | None
    ) -> Served:
        session = Session(
            model, store=self.store, concurrency=config.concurrency, opener=self._named_model
        )
        await session.__aenter__()
        return Served(name, config, model, session, server)

    def _remote(
        self, name: str, config: ModelConfig, server: Server | None = None
    ) -> tuple[OpenAIModel, Server]:
        spec = OpenAI(
            name,
            base_url=config.upstreams[0].url,
            api_key_env=config.upstreams[0].key_env or "",
            prefix=config.prefix,
            seeds=config.seeds,
            max_tokens=config.max_tokens,
            retries=config.retries,
            connect_seconds=config.connect_seconds,
            read_seconds=config.read_seconds,
            usd_prompt=config.usd_prompt,
            usd_completion=config.usd_completion,
            parameters=config.parameters,
        )
        model = spec.open(endpoints=endpoints_of(config))
        if server is not None:
            model.server = server
        return model, model.server

    def _named_model(self, spec: Any) -> Model:
        """A model that a strategy names: one of the configuration, by its name, or a bundled one."""
        name = spec.name if isinstance(spec, OpenAI) else registry.spec_of(spec)
        found = self.served.get(name)
        if found is None and not isinstance(spec, OpenAI):
            found = next((s for s in self.served.values() if s.config.spec == name), None)
            # fly's reward model and its kin need no address and no file
            if found is None and name.startswith("fly"):
                return self._bundled(spec)
        if found is None:
            raise MissingNeed(
                f"the strategy names the model {name[:60]!r}, which this gateway does not serve"
                f"{likely(name, self.served)}"
            )
        return found.model

    def _bundled(self, spec: Any) -> Model:
        name = registry.spec_of(spec)
        if name not in self._parts:
            if len(self._parts) >= 8:
                raise MissingNeed(f"this gateway has enough bundled models open: {name} is not")
            self._parts[name] = spec.open()
            self.opened(self._parts[name], name)
        return self._parts[name]

    # -- names -------------------------------------------------------------------------------

    def names(self, key: KeyConfig | None) -> list[str]:
        """The models and aliases that a key may use."""
        # a reward model is for verifiers to name, and writes nothing
        mute = {n for n, s in self.served.items() if REWARD in s.model.capabilities}
        known = [
            *(n for n in self.config.models if n != "*" and n not in mute),
            *self.config.aliases,
        ]
        return [n for n in known if key is None or allows(key.models, n)]

    async def listed(self) -> list[str]:
        """The models of the server behind the wildcard, as it says itself; none where it does not."""
        base = self.served.get("*")
        now = time.monotonic()
        if base is None or base.server is None or now < self._listed[0]:
            return self._listed[1]
        found: list[str] = []
        with contextlib.suppress(ModelError, ValueError, TypeError, KeyError):
            with anyio.move_on_after(LISTING):
                async with base.server.exchange("/models", lambda _: b"", method="GET") as answer:
                    data = orjson.loads(await answer.read(1 << 20))
                    found = [str(model["id"]) for model in data["data"]]
        self._listed = (now + LISTED, found)
        return found

    async def tend(self) -> None:
        """Ask each server that was given up whether it is well again."""
        servers = {s.server for s in self.served.values() if s.server is not None}
        ill = [(s, e) for s in servers for e in s.endpoints if e.open_until]
        async with anyio.create_task_group() as tasks:
            for server, endpoint in ill:
                tasks.start_soon(server.check, endpoint)

    def _wild(self, name: str) -> Served | None:
        """A model that is served under whatever name comes."""
        base = self.served.get("*")
        if base is None or base.server is None:
            return None
        found = self._named.get(name)
        if found is None:
            model, server = self._remote(name, base.config, base.server)
            session = Session(model, store=self.store, opener=self._named_model)
            session._opened["main"], session.store = model, self.store
            session._limiter = base.session._limiter
            found = self._named[name] = Served(name, base.config, model, session, server)
            self.opened(model, "*")
            if len(self._named) > NAMES:
                self._named.popitem(last=False)
        self._named.move_to_end(name)
        return found

    def _find(self, name: str) -> tuple[Served, Alias | None] | None:
        """The model and, of an alias, the alias."""
        alias = self.config.aliases.get(name)
        served = self.served.get(alias.model if alias else name)
        if served is None and alias is not None:
            served = self._wild(alias.model)
        return None if served is None or served.name == "*" else (served, alias)

    def _locate(self, name: str, key: KeyConfig | None) -> tuple[Served, Alias | None, str | None]:
        """The model, the alias and the strategy's spec in a name; raises ``Fault`` where it says none."""
        if found := self._find(name):
            return (*found, None)
        at = name.rfind("@")
        while at > 0:  # a spec, and a name, may have an '@' of its own
            spec, right = name[:at].strip(), name[at + 1 :].strip()
            if found := self._find(right):
                return (*found, spec)
            if right and "(" not in right and (wild := self._wild(right)):
                return wild, None, spec
            at = name.rfind("@", 0, at)
        if "@" not in name:
            self._no_spec(name)
            if wild := self._wild(name):
                return wild, None, None
        raise self._unknown(name, key)

    def resolve(self, asked: Asked, key: KeyConfig | None) -> Resolved:
        """What answers this request; raises ``Fault`` 400, 403 or 404 that names the nearest."""
        trusted, param = False, "model"
        served, alias, spec = self._locate(asked.model, key)
        label = alias.name if alias else served.name
        if key is not None and not allows(key.models, label):
            raise Fault(403, f"this key may not use the model {label!r}", code="model_not_allowed")
        if asked.options.strategy is not None:
            spec, param = asked.options.strategy, "outthink.strategy"
        bare = key is None or alias is None or allows(key.models, alias.model)
        if spec is not None and not bare:
            raise Fault(
                403,
                f"this key may use {label!r} as it is, without a strategy of its own",
                code="strategy_not_allowed",
                param=param,
            )
        if spec is None and alias is not None and alias.strategy:
            spec, trusted = alias.strategy, True
        if spec is None:
            spec, trusted = self.config.server.strategy or PLAIN, True
        default = self.config.server.budget or BUDGET
        deadline = Budget(seconds=self.config.server.deadline_seconds)
        budget = tightest(default, deadline, alias.budget if alias else None, asked.options.budget)
        strategy = self.strategy(spec, served, key, trusted, param)
        if strategy is None and asked.options.budget is not None:
            try:
                check_counted(asked.options.budget, [served.model])
            except BadInput as error:
                raise Fault(
                    400, str(error), code="invalid_budget", param="outthink.budget"
                ) from None
        return Resolved(served, strategy, budget, label)

    def strategy(
        self, spec: str, served: Served, key: KeyConfig | None, trusted: bool, param: str
    ) -> Any | None:
        """The strategy that a spec names, checked; ``None`` for the pass-through."""
        try:
            built = _build(spec)
        except BadInput as error:
            code = "strategy_not_found" if "unknown strategy" in str(error) else "invalid_strategy"
            raise Fault(400, str(error), code=code, param=param) from None
        if not trusted:
            self._may(built, key, param)
        if built == Greedy():
            return None
        try:
            self._suits(built, served)
        except BadInput as error:
            raise Fault(400, str(error), code="strategy_needs", param=param) from None
        return built

    def _may(self, built: Any, key: KeyConfig | None, param: str) -> None:
        named = _named(built)
        for kind, name in named:
            if why := BARRED.get((kind, name)):
                raise Fault(
                    403,
                    f"{name} {why}: it may stand in an alias of the gateway's configuration, not in a "
                    "request",
                    code="part_not_allowed",
                    param=param,
                )
            if kind == "strategy" and key is not None and not allows(key.strategies, name):
                raise Fault(
                    403, f"this key may not use the strategy {name!r}",
                    code="strategy_not_allowed", param=param,
                )  # fmt: skip
        if not any(kind == "model" for kind, _ in named):
            return
        for spec in parts_of(built, "model"):
            name = spec.name if isinstance(spec, OpenAI) else registry.spec_of(spec)
            bare = OpenAI(spec.name) if isinstance(spec, OpenAI) else type(spec).registered[1]
            known = {s.config.spec for s in self.served.values()}
            plain = registry.spec_of(spec) in {
                registry.spec_of(bare) if isinstance(bare, OpenAI) else bare,
                *known,
            }
            if not plain:
                raise Fault(
                    403, "a strategy in a request names models of this gateway, without an address, folder "
                    "or settings of their own",
                    code="part_not_allowed", param=param,
                )  # fmt: skip
            if key is not None and name in self.served and not allows(key.models, name):
                raise Fault(
                    403, f"this key may not use the model {name[:60]!r}", code="model_not_allowed"
                )

    def _suits(self, built: Any, served: Served) -> None:
        """Can the model do what the strategy asks of it?"""
        check_main(served.model)
        opened = served.session.suit(built)
        if self.config.server.budget is not None:
            check_counted(self.config.server.budget, [served.model, *opened.values()])

    def _no_spec(self, name: str) -> None:
        """Raise for a strategy without a model, which a wildcard would send on as a model's name."""
        if "(" in name or name in registry.entries("strategy"):
            models = ", ".join(n for n in self.config.models if n != "*") or "MODEL"
            raise unknown(
                "strategy",
                f"{name[:80]!r} is a strategy without a model: write {name[:80]}@MODEL ({models})",
            )

    def _unknown(self, name: str, key: KeyConfig | None) -> Fault:
        known = self.names(key)
        if "@" in name:
            return unknown(
                "model",
                f"no model {name.rpartition('@')[2][:80]!r} after the '@'"
                f"{_told(name.rpartition('@')[2], known)}",
            )
        return unknown("model", f"no model {name[:80]!r}{_told(name, known)}")


def _told(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    return f"{likely(name, names)}; this gateway serves: {', '.join(names[:20]) or 'nothing'}"


def allows(patterns: Iterable[str], name: str) -> bool:
    """Is the name in a list in which ``*`` is every name?"""
    return any(p in ("*", name) for p in patterns)


def endpoints_of(config: ModelConfig) -> list[Endpoint]:
    """Where the calls of a model go, each with its own key from the environment."""
    return [
        Endpoint(
            u.url.rstrip("/"), os.environ.get(u.key_env, "").strip() if u.key_env else "", u.model
        )
        for u in config.upstreams
    ]


def refuse_beyond(served: Served, body: Mapping[str, Any]) -> None:
    """Raise ``Fault`` 400 for what a bundled model has no notion of, by name."""
    if served.server is not None:
        return
    told = f"{served.name} is a bundled model"
    kind = (
        (body.get("response_format") or {}).get("type", "text")
        if isinstance(body.get("response_format"), dict)
        else "text"
    )
    wrong = [
        name
        for name in ("tools", "functions", "logprobs", "audio", "prediction", "web_search_options")
        if body.get(name)
    ] + (["response_format"] if kind != "text" else [])
    if wrong:
        raise Fault(
            400, f"{told} and cannot honour {', '.join(wrong)}", code="unsupported", param=wrong[0]
        )
