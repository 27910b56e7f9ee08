"""One registry for everything a spec may name: strategies, verifiers, models, stopping rules.

A part is a frozen dataclass; its fields are the parameters of its spec.  ``build`` turns a spec
into the object, checking names, types and ranges with a caret at the place; ``spec_of`` turns it
back.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import numbers
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from outthink.core.errors import BadInput, SpecError, likely, nearest
from outthink.core.grammar import Call, dump, parse

T = TypeVar("T", bound=type)

KINDS = ("strategy", "verifier", "model", "stop", "utility", "task")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A registered name."""

    kind: str
    name: str
    make: type
    sources: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.make) or "").split("\n")[0]


_ENTRIES: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
_FALLBACKS: dict[str, Callable[[str], Any]] = {}
_LOADERS: list[Callable[[], None]] = []
_LOADED: list[Callable[[], None]] = []


def register(
    kind: str, name: str, *, sources: tuple[str, ...] = (), needs: tuple[str, ...] = ()
) -> Callable[[T], T]:
    """Class decorator: make a frozen dataclass known under ``name``."""

    def decorate(cls: T) -> T:
        if not dataclasses.is_dataclass(cls):
            raise BadInput(
                f"{cls.__name__} is no dataclass: put @dataclass(frozen=True) below this"
            )
        _checked(cls)
        present = _ENTRIES[kind].get(name)
        if present is not None and present.make.__qualname__ != cls.__qualname__:
            raise BadInput(
                f"the {kind} {name!r} is registered already, by {present.make.__qualname__}"
            )
        _ENTRIES[kind][name] = Entry(kind, name, cls, sources, frozenset(needs))
        cls.registered = (kind, name)  # type: ignore[attr-defined]
        return cls

    return decorate


def _checked(cls: type) -> None:
    """Have every object of a part check its parameters' types, before its own ``__post_init__``.

    So a wrong value is the same ``BadInput`` from a spec and from Python, before anything is spent.
    """
    own = getattr(cls, "__post_init__", None)
    if hasattr(own, "checks"):  # inherited from a part
        return

    def check(self: Any) -> None:
        name = type(self).registered[1]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            plain = "kind" not in field.metadata
            if not field.init or (plain and value is field.default):
                continue
            try:
                found = _fitted(type(self), field, value)
            except SpecError as error:
                raise BadInput(f"{name}: {error}") from None
            if found is not value:
                object.__setattr__(self, field.name, found)
        if own is not None:
            own(self)

    check.checks = True  # type: ignore[attr-defined]
    cls.__post_init__ = check  # type: ignore[attr-defined]


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _fitted(cls: type, field: Any, value: Any, source: str = "", at: int = 0) -> Any:
    """A value for a field of a part, checked and converted; ``None`` for no part where that may be."""
    kind = field.metadata.get("kind")
    if kind is not None and value is None and field.default is None:
        return None
    many = bool(field.metadata.get("many"))
    return _convert(value, _hints(cls)[field.name], kind, field.name, source, at, many)


def strategy(
    name: str, *, sources: tuple[str, ...] = (), needs: tuple[str, ...] = ()
) -> Callable[[T], T]:
    """Register a strategy; see ``CONTRIBUTING.md`` for a worked example."""
    return register("strategy", name, sources=sources, needs=needs)


def fallback(kind: str, make: Callable[[str], Any]) -> None:
    """Have a bare name that is not registered (nor near one that is) be made by ``make``."""
    _FALLBACKS[kind] = make


def on_first_use(loader: Callable[[], None]) -> None:
    """Have ``loader`` run before the first lookup (keeps ``import outthink`` light)."""
    _LOADERS.append(loader)


def entries(kind: str) -> dict[str, Entry]:
    """All registered entries of a kind, by name."""
    while _LOADERS:
        loader = _LOADERS.pop(0)
        loader()
        _LOADED.append(loader)
    return _ENTRIES[kind]


def _options(hint: Any) -> tuple[Any, ...]:
    origin = typing.get_origin(hint)
    return typing.get_args(hint) if origin in (typing.Union, types.UnionType) else (hint,)


def _convert(
    value: Any, hint: Any, kind: str | None, where: str, source: str, at: int, many: bool = False
) -> Any:
    """Check and convert one parameter; ``kind`` says that it is a part of that kind (or ``many``)."""
    options = _options(hint)
    if kind is not None:
        if isinstance(value, str):
            return _build(parse(value), kind, value)
        if isinstance(value, Call):
            return _build(value, kind, source)
        if isinstance(value, (list, tuple)) and many:
            return tuple(_convert(v, Any, kind, where, source, at) for v in value)
        if not _is_part(value, kind):
            raise SpecError(
                f"{where}={_shown(value)} is no {kind}: write a spec of one", source, at
            )
        return value
    if isinstance(value, Call):
        if value.bare:
            value = value.name
        else:
            raise SpecError(f"{where} takes a plain value, not a call", source, value.at)
    for option in options:
        origin = typing.get_origin(option)
        if option is Any:
            return value
        if origin is typing.Literal and value in typing.get_args(option):
            return value
        if option is type(None) and value is None:
            return value
        if option is bool and isinstance(value, bool):
            return value
        if option is int and isinstance(value, numbers.Integral) and not isinstance(value, bool):
            return int(value)
        if option is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
            try:
                return float(value)
            except OverflowError:
                continue
        if option is str and isinstance(value, str):
            return value
        if origin is tuple and isinstance(value, (list, tuple)):
            inner = typing.get_args(option)[0]
            return tuple(_convert(v, inner, None, where, source, at) for v in value)
    allowed = [words for option in options for words in _allowed(option)]
    near = likely(value, allowed) if isinstance(value, str) and len(allowed) > 1 else ""
    choice = f"one of {', '.join(allowed)}" if len(allowed) > 1 else allowed[0]
    raise SpecError(f"{where}={_shown(value)} must be {choice}{near}", source, at)


def _shown(value: Any) -> str:
    """A value in an error: short, whatever it is."""
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def _is_part(value: Any, kind: str) -> bool:
    """Is this object a part of a kind?  A function may be a verifier."""
    found = getattr(value, "registered", (None,))[0]
    if isinstance(value, type) or (found is not None and found != kind):
        return False
    return found == kind or (kind not in ("strategy", "model", "task") and callable(value))


_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _allowed(option: Any) -> list[str]:
    """What one option of a type allows, in words."""
    if typing.get_origin(option) is typing.Literal:
        return [str(a) for a in typing.get_args(option)]
    if option is type(None):
        return ["none"]
    return [_WORDS.get(option) or str(getattr(option, "__name__", option))]


def _build(tree: Any, kind: str, source: str) -> Any:
    if isinstance(tree, str):
        tree = Call(tree, bare=True)
    if not isinstance(tree, Call):
        raise SpecError(f"a {kind} is named, such as {next(iter(entries(kind)), 'name')}", source)
    known = entries(kind)
    if tree.name not in known and kind in _FALLBACKS and tree.bare:
        close = difflib.get_close_matches(tree.name, list(known), n=1, cutoff=0.6)
        if not close:
            return _FALLBACKS[kind](tree.name)
    if tree.name not in known:
        raise SpecError(
            f"unknown {kind} {tree.name[:60]!r}{nearest(tree.name, known)}", source, tree.at
        )
    cls = known[tree.name].make
    fields = [f for f in dataclasses.fields(cls) if f.init]
    if len(tree.args) > len(fields):
        raise SpecError(f"{tree.name} takes at most {len(fields)} values", source, tree.at)
    given = [(f.name, v) for f, v in zip(fields, tree.args, strict=False)]
    given += tree.kwargs
    places = tree.places or (tree.at,) * len(given)
    by_name = {f.name: f for f in fields}
    values: dict[str, Any] = {}
    for (name, value), at in zip(given, places, strict=True):
        if name in values:
            raise SpecError(f"{tree.name} has {name!r} twice", source, at)
        if name not in by_name:
            raise SpecError(
                f"{tree.name} has no parameter {name[:60]!r}{nearest(name, by_name)}", source, at
            )
        values[name] = _fitted(cls, by_name[name], value, source, at)
    try:
        return cls(**values)
    except TypeError as error:
        missing = [
            f.name
            for f in fields
            if f.name not in values
            and f.default is dataclasses.MISSING
            and f.default_factory is dataclasses.MISSING
        ]
        if not missing:
            raise
        raise SpecError(f"{tree.name} needs {', '.join(missing)}", source, tree.at) from error
    except SpecError:
        raise
    except BadInput as error:
        # "part: parameter=value ..." is shown at the parameter, where it was given
        said = str(error).removeprefix(f"{tree.name}: ").partition("=")[0]
        at = next(
            (at for (name, _), at in zip(given, places, strict=True) if name == said), tree.at
        )
        raise SpecError(str(error), source, at) from None


def build(spec: Any, kind: str) -> Any:
    """The object that a spec names; an object of the right kind passes through.

    Raises ``SpecError`` with a caret, before anything is spent.
    """
    if isinstance(spec, str):
        return _build(parse(spec), kind, spec)
    if isinstance(spec, Call):
        return _build(spec, kind, dump(spec))
    if not _is_part(spec, kind):
        found = getattr(spec, "registered", (None, ""))
        what = f"the {found[0]} {found[1]}" if found[0] else _shown(spec)
        raise BadInput(f"{what} is no {kind}: write a spec, such as {next(iter(entries(kind)))}")
    return spec


def _tree(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and hasattr(value, "registered"):
        kwargs = []
        for field in dataclasses.fields(value):
            if not field.init:
                continue
            current = getattr(value, field.name)
            default = field.default
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            if current != default:
                kwargs.append((field.name, _tree(current)))
        name = value.registered[1]
        return Call(name, (), tuple(kwargs), bare=not kwargs)
    if isinstance(value, (list, tuple)):
        return [_tree(item) for item in value]
    return value


def spec_of(part: Any) -> str:
    """The shortest spec that builds an equal object."""
    return dump(_tree(part))


def part(kind: str, default: Any = dataclasses.MISSING, many: bool = False) -> Any:
    """A dataclass field that holds a part of a kind (``verifier: Any = part("verifier")``), or ``many``."""
    facts = {"kind": kind, "many": many}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=facts)
    return dataclasses.field(default=default, metadata=facts)
