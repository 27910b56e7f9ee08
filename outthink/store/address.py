"""The names of stores, and texts that any database takes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from outthink.core.errors import BadInput, nearest
from outthink.core.nouns import Node, digest

_FORMS = "write a file name (runs.db), sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"


def clean(text: str) -> str:
    """The text with what no database takes (NUL, lone surrogates) written as JSON would."""
    return text.replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode("utf-8")


def key_of(name: str) -> str:
    """A name as part of a key: itself, or a readable beginning and a hash if too long or strange."""
    safe = clean(name)
    if safe == name and len(safe.encode()) <= 200:
        return name
    return f"{safe[:40]}#{digest(name)}"


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return str(value)


def dump(value: Any) -> str:
    """JSON that any database takes: NUL is escaped, and lone surrogates too where there are some."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), default=_plain)
    return text


def node_of(text: str) -> Node:
    """The node that ``dotted`` wrote."""
    return tuple(int(i) for i in text.split(".")) if text else ()


@dataclass(frozen=True)
class Address:
    """A checked store URL; ``shown`` is how it may be printed (no password)."""

    url: sa.URL
    shown: str
    path: Path | None = None

    @property
    def secrets(self) -> list[str]:
        """The passwords in the URL, to be kept out of every message."""
        found = [self.url.password or ""]
        for name, value in self.url.query.items():
            if "pass" in name.lower():
                found += [value] if isinstance(value, str) else list(value)
        return [text for text in found if text]

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"

    @classmethod
    def of(cls, text: str) -> Address:
        """Read a file name or URL; raises ``BadInput`` with the allowed forms."""
        if not isinstance(text, str) or not text.strip():
            raise BadInput(f"the store has no name: {_FORMS}")
        text = text.strip()
        if "\x00" in text:
            raise BadInput(f"a store's name holds no NUL character: {_FORMS}")
        scheme, colon, rest = text.partition("://")
        if not colon:
            if re.match(r"(sqlite|postgres(ql)?)(\+\w+)?:", text):
                raise BadInput(f"the store {_hidden(text)!r} lacks '//': {_FORMS}")
            return cls._file(text)
        kind = scheme.lower().partition("+")[0]
        if kind == "sqlite":
            name = rest.partition("?")[0]
            if name and not name.startswith("/"):
                raise BadInput(f"the store {text!r} needs three slashes before the file: {_FORMS}")
            return cls._file(name[1:] or ":memory:")
        if kind in ("postgresql", "postgres"):
            try:
                url = sa.make_url(text).set(drivername="postgresql+psycopg")
            except (ArgumentError, ValueError):
                raise BadInput(
                    f"the store {_hidden(text)!r} is not a URL: {_FORMS}; write special characters "
                    "of a password as %40 (@), %2F (/), %3A (:)"
                ) from None
            if not url.database:
                raise BadInput(f"the store {_hidden(text)!r} names no database: {_FORMS}")
            return cls(url, _hidden(text))
        known = {"sqlite", "postgresql"}
        guess = nearest(kind, known).partition(" known")[0]
        raise BadInput(f"unknown kind of store {kind[:40]!r}{guess.rstrip(';')}; {_FORMS}")

    @classmethod
    def _file(cls, name: str) -> Address:
        if name == ":memory:":
            return cls(sa.URL.create("sqlite", database=name), name)
        path = Path(os.path.expanduser(name))
        return cls(sa.URL.create("sqlite", database=str(path)), str(path), path)


def _hidden(url: str) -> str:
    """A URL without its user, password and options, however broken it is."""
    head, slashes, rest = url.partition("://") if "://" in url else url.partition(":")
    return head + slashes + rest.rpartition("@")[2].partition("?")[0]
