"""JSON Schemas that clients send: checked in bounded time, and without the network.

A schema is as hostile as whoever sends it: a pattern that backtracks for ever, references that double at
each step, a reference to a file or an address.  So patterns and formats are left to ``jsonschema-rs``,
whose engine is linear and counts its steps where it must go back; the rest is walked by ``jsonschema``,
which looks at the clock at every keyword; references go no further than the schema itself and the
published meta-schemas.  What cannot be decided in time counts as broken: it must not win.

Formats are checked where they are those that OpenAI's structured outputs know, others are remarks.
"""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import attrs
import jsonschema
import jsonschema_rs
from jsonschema.exceptions import ValidationError
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from outthink.core.nouns import canonical
from outthink.gateway.errors import Fault
from outthink.gateway.values import DEPTH, write_value

#: the longest schema, in characters of its shortest JSON
MOST = 128 << 10
#: seconds of this thread's work that it may take to look a schema over: a busy machine breaks none
SECONDS = 1.0
DEFAULT = "https://json-schema.org/draft/2020-12/schema"
DIALECTS = (
    DEFAULT,
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-04/schema",
)
FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
)
#: bytes of a compiled pattern, and of what matching it keeps
SIZE, CACHE = 4 << 20, 256 << 10
#: how often matching may go back, and in how long a text: each time costs up to the text's length
BACK, LONGEST = 10_000, 4_000
_LINEAR = jsonschema_rs.RegexOptions(size_limit=SIZE, dfa_size_limit=CACHE)
_BACKTRACKING = jsonschema_rs.FancyRegexOptions(BACK, SIZE, CACHE)
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class _Bad(Exception):
    """What is wrong with a schema."""


class _Late(Exception):
    """The time for a check is over."""


_clock = threading.local()


def _start(seconds: float) -> None:
    _clock.wall, _clock.work = time.perf_counter() + seconds, time.thread_time() + seconds


def _tick() -> None:
    # the time on the wall is had for less, and is never behind that of the work
    if time.perf_counter() > _clock.wall and time.thread_time() > _clock.work:
        raise _Late


# -- what is not left to jsonschema ----------------------------------------------------------------


@functools.lru_cache(maxsize=32)
def _matcher(pattern: str) -> Callable[[str], bool]:
    """Does a text match?  In time that grows as its length, but for what only going back can tell."""
    try:
        return jsonschema_rs.validator_for({"pattern": pattern}, pattern_options=_LINEAR).is_valid
    except ValueError:
        pass
    try:
        check = jsonschema_rs.validator_for({"pattern": pattern}, pattern_options=_BACKTRACKING)
    except ValueError:
        raise _Bad(f"pattern {pattern[:80]!r} is no regular expression, or too large") from None
    return lambda text: len(text) <= LONGEST and check.is_valid(text)


@functools.lru_cache(maxsize=len(FORMATS))
def _former(name: str) -> Callable[[str], bool]:
    return jsonschema_rs.validator_for({"format": name}, validate_formats=True).is_valid


def _found(pattern: str, text: str) -> bool:
    _tick()
    return _matcher(pattern)(text)


Errors = Iterator[ValidationError]


def _pattern(validator: Any, pattern: Any, instance: Any, schema: Any) -> Errors:
    if isinstance(instance, str) and not _found(pattern, instance):
        yield ValidationError("it does not match the pattern")


def _format(validator: Any, name: Any, instance: Any, schema: Any) -> Errors:
    known = isinstance(instance, str) and name in FORMATS
    if known and not _former(name)(instance):
        yield ValidationError("it is not of the format")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, schema: Any) -> Errors:
    for name, value in instance.items() if isinstance(instance, dict) else ():
        for pattern, inner in patterns.items():
            if _found(pattern, name):
                yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _additional_properties(validator: Any, rest: Any, instance: Any, schema: Any) -> Errors:
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, value in instance.items() if isinstance(instance, dict) else ():
        if name not in named and not any(_found(p, name) for p in patterns):
            yield from validator.descend(value, rest, path=name)


def _unique_items(validator: Any, unique: Any, instance: Any, schema: Any) -> Errors:
    # jsonschema compares all pairs
    if unique and isinstance(instance, list):
        kinds = {write_value(item) for item in instance}
        if len(kinds) < len(instance):
            yield ValidationError("items are equal")


_OWN: dict[str, Callable[..., Errors]] = {
    "pattern": _pattern,
    "format": _format,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}


def _timed(keyword: Callable[..., Any]) -> Callable[..., Any]:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        _tick()
        return keyword(validator, value, instance, schema)

    return check


@functools.lru_cache(maxsize=len(DIALECTS))
def _kind(dialect: str) -> Any:
    """The class of validators of a dialect that looks at the clock at each keyword."""
    usual = jsonschema.validators.validator_for({"$schema": dialect})
    own = {name: check for name, check in _OWN.items() if name in usual.VALIDATORS}
    every = {name: _timed(check) for name, check in {**usual.VALIDATORS, **own}.items()}
    kind: Any = jsonschema.validators.extend(usual, every)  # type: ignore[no-untyped-call]

    fields = [(field.name, field.alias) for field in attrs.fields(kind) if field.init]

    def evolve(self: Any, **changes: Any) -> Any:
        # as it is there, a part that names its dialect would be left to the class without a clock
        return kind(**{alias: getattr(self, name) for name, alias in fields} | changes)

    setattr(kind, "evolve", evolve)  # noqa: B010
    return kind


# -- a schema --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Schema:
    """A schema that was looked over."""

    validator: Any

    def valid(self, value: Any, seconds: float) -> bool:
        """Does the value keep to it?  ``False`` too where so many seconds of work do not tell."""
        _start(seconds)
        try:
            return bool(self.validator.is_valid(value))
        except Exception:  # too late, deeper than the stack, or a part that is no schema after all
            return False


def compiled(
    schema: Any,
    what: str,
    param: str,
    code: str = "invalid_json_schema",
    seconds: float = SECONDS,
) -> Schema:
    """A client's schema, looked over (once: equal schemas are kept) in so many ``seconds`` of work.

    Raises ``Fault`` 400 of ``param`` and ``code`` for one that is invalid or that cannot be checked here.
    """
    _start(seconds)
    try:
        try:
            text = canonical(schema)
        except (RecursionError, ValueError, TypeError):
            raise _Bad("it is no JSON, or nested too deep") from None
        if len(text) > MOST:
            raise _Bad(f"it has {len(text):,} characters, and {MOST:,} is the most")
        return _short(text) if len(text) <= 4096 else _long(text)
    except _Bad as bad:
        raise Fault(400, f"Invalid schema for {what}: {bad}", code=code, param=param) from None


def _build(text: str) -> Schema:
    schema = json.loads(text)
    if not isinstance(schema, (dict, bool)):
        raise _Bad("it is no object")
    dialect = schema.get("$schema", DEFAULT) if isinstance(schema, dict) else DEFAULT
    if not isinstance(dialect, str) or dialect.rstrip("#") not in DIALECTS:
        raise _Bad(f"$schema {str(dialect)[:80]!r} is not known; known: {', '.join(DIALECTS)}")
    try:
        if _depth(schema) > DEPTH:
            raise _Bad(f"it is nested deeper than {DEPTH}")
        _look_over(schema, dialect)
        found = Schema(_kind(dialect.rstrip("#"))(schema, registry=REGISTRY))
        some: list[Any] = [None, True, 0, "", [], {}]
        for value in some:
            found.validator.is_valid(value)
    except _Late:
        raise _Bad("it takes too long to check") from None
    except RecursionError:
        raise _Bad("a reference leads back to itself") from None
    except _Bad:
        raise
    except (
        Exception
    ) as error:  # such as an $id that is no address: a client's schema is never our fault
        raise _Bad(f"it cannot be checked here ({type(error).__name__})") from None
    return found


#: many small ones, few large ones
_short = functools.lru_cache(maxsize=512)(_build)
_long = functools.lru_cache(maxsize=16)(_build)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= DEPTH:
        depth += 1
        parts = [v for v in level if isinstance(v, (dict, list))]
        level = [x for v in parts for x in (v.values() if isinstance(v, dict) else v)]
    return depth


def _look_over(schema: Any, dialect: str) -> None:
    """Raise ``_Bad`` for what is wrong in the schema and in all that its references lead to."""
    _valid(schema, dialect)
    specification = specification_with(dialect)
    root = specification.create_resource(schema)
    todo = [(root, REGISTRY.resolver_with_root(root))]
    seen: set[int] = set()
    used: set[str] = set()
    while todo:
        _tick()
        part, resolver = todo.pop()
        contents = part.contents
        if id(contents) in seen or not isinstance(contents, dict):
            continue
        seen.add(id(contents))
        used |= contents.keys() & {"patternProperties", "unevaluatedProperties"}
        for pattern in _patterns(contents):
            _tick()
            _matcher(pattern)
        for name in _REFERENCES:
            reference = contents.get(name)
            if not isinstance(reference, str):
                continue
            try:
                led = resolver.lookup(reference)
            except Unresolvable:
                raise _Bad(
                    f"{name} {reference[:80]!r} leads nowhere: only what is in the schema is read"
                ) from None
            if id(led.contents) not in seen:
                # what stands where no schema is looked for has not been checked
                _valid(led.contents, dialect)
                todo.append((specification.create_resource(led.contents), led.resolver))
        for inner in specification.subresources_of(contents):
            if isinstance(inner, dict) and inner.get("$schema", dialect) != dialect:
                raise _Bad("a part of it has another $schema")
            below = specification.create_resource(inner)
            todo.append((below, resolver.in_subresource(below)))
    if len(used) == 2:
        raise _Bad("patternProperties beside unevaluatedProperties cannot be checked here")


def _valid(schema: Any, dialect: str) -> None:
    """Raise ``_Bad`` for what its meta-schema does not allow."""
    if isinstance(schema, dict):
        schema = {**schema, "$schema": dialect}
    try:
        jsonschema_rs.meta.validate(schema)
    except jsonschema_rs.ValidationError as error:
        place = ".".join(map(str, error.instance_path))
        raise _Bad(f"{place + ': ' if place else ''}{error.message[:200]}") from None
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise _Bad(str(error)[:200]) from None


def _patterns(schema: Mapping[str, Any]) -> list[str]:
    named = schema.get("patternProperties")
    found = [*(named if isinstance(named, dict) else ()), schema.get("pattern")]
    return [pattern for pattern in found if isinstance(pattern, str)]
