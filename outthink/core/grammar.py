"""The one-line grammar of specs: read, never evaluated.

    value  := call | name | number | string | list | true | false | none
    call   := name "(" [argument ("," argument)*] ")"
    argument := [name "="] value

``best_of_n(n=16, verifier=judge("gpt-5-mini"))`` is a call; a bare name is a call without
arguments or a plain word, whichever its place asks for.  Numbers may carry ``k`` or ``M``.
``parse`` and ``dump`` are inverse on the tree.  Length and depth are bounded, so hostile input is
refused at once.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

from outthink.core.errors import SpecError

MAX_LENGTH = 65_536
MAX_DEPTH = 64

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>-?+(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?+\d++)?+(?P<suffix>[kKmM]?+)(?![\w.]))
    | (?P<name>[A-Za-z_][\w]*(?:[.\-:/][\w]+)*)
    | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<sign>[()\[\],=])
    )""",
    re.VERBOSE | re.DOTALL,
)
_NAME = re.compile(r"[A-Za-z_][\w]*(?:[.\-:/][\w]+)*\Z")
#: whole numbers in a spec stay below this, as floats do by themselves
_LARGEST = 10**308
_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None}


@dataclass(frozen=True)
class Call:
    """A name with arguments, by place and by name.  ``bare`` marks a name without brackets.

    ``at`` and ``places`` are where the name and each argument stand in the source.
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()
    bare: bool = False
    at: int = field(default=0, compare=False)
    places: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class _Lexeme:
    kind: str
    text: str
    at: int


def _lex(source: str) -> list[_Lexeme]:
    out: list[_Lexeme] = []
    at, end, depth = 0, len(source.rstrip()), 0
    while at < end:
        found = _TOKEN.match(source, at)
        if not found:
            while source[at].isspace():
                at += 1
            what = "an unfinished string" if source[at] in "\"'" else f"the sign {source[at]!r}"
            raise SpecError(f"{what} has no meaning here", source, at)
        kind = next(k for k in ("number", "name", "string", "sign") if found.group(k))
        out.append(_Lexeme(kind, found.group(kind), found.start(kind)))
        at = found.end()
        if kind == "sign":
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(out[-1].text, 0)
            if depth > MAX_DEPTH + 1:
                raise SpecError(f"nested more than {MAX_DEPTH} deep", source, out[-1].at)
    out.append(_Lexeme("end", "the end", end))
    return out


def _number(text: str) -> int | float:
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1].lower(), 1)
    body = text[:-1] if factor > 1 else text
    if re.fullmatch(r"-?\d+", body) and len(body) < 400:
        return int(body) * factor
    value = float(body) * factor
    whole = factor > 1 and math.isfinite(value) and value == int(value)
    return int(value) if whole else value


def _fits(number: int | float) -> bool:
    if isinstance(number, float):
        return math.isfinite(number)
    return -_LARGEST < number < _LARGEST


def _string(lexeme: _Lexeme, source: str) -> str:
    body = lexeme.text
    if body[0] == "'":
        turned = {"\\'": "'", '"': '\\"'}
        body = re.sub(r'\\.|"', lambda m: turned.get(m[0], m[0]), body[1:-1], flags=re.DOTALL)
        body = f'"{body}"'
    try:
        return str(json.loads(body, strict=False))
    except ValueError:
        raise SpecError(
            "a string with a wrong escape (write \\\\ for \\)", source, lexeme.at
        ) from None


def parse(source: str) -> Any:
    """The tree of a spec: ``Call``, ``list``, ``str``, number, bool or ``None``.

    Raises ``SpecError`` with a caret at the place.
    """
    if not isinstance(source, str):
        raise SpecError(f"a spec is a string, not {type(source).__name__}")
    if len(source) > MAX_LENGTH:
        raise SpecError(f"a spec of {len(source):,} characters: the limit is {MAX_LENGTH:,}")
    if not source.strip():
        raise SpecError("an empty spec: write a name such as greedy or self_consistency(n=8)")
    lexemes = _lex(source)
    position = 0

    def peek() -> _Lexeme:
        return lexemes[position]

    def take(sign: str | None = None, wanted: str = "") -> _Lexeme:
        nonlocal position
        lexeme = lexemes[position]
        if sign is not None and (lexeme.kind != "sign" or lexeme.text != sign):
            raise SpecError(
                f"expected {wanted or repr(sign)}, found {lexeme.text[:40]}", source, lexeme.at
            )
        position += 1
        return lexeme

    def value(depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise SpecError(f"nested more than {MAX_DEPTH} deep", source, peek().at)
        lexeme = take()
        if lexeme.kind == "number":
            number = _number(lexeme.text)
            if not _fits(number):
                raise SpecError("a number that is too large", source, lexeme.at)
            return number
        if lexeme.kind == "string":
            return _string(lexeme, source)
        if lexeme.kind == "name":
            if peek().kind == "sign" and peek().text == "(":
                return call(lexeme, depth)
            if lexeme.text.lower() in _WORDS:
                return _WORDS[lexeme.text.lower()]
            return Call(lexeme.text, bare=True, at=lexeme.at)
        if lexeme.text == "[":
            items: list[Any] = []
            while not (peek().kind == "sign" and peek().text == "]"):
                if items:
                    take(",", "',' or ']'")
                items.append(value(depth + 1))
            take("]")
            return items
        raise SpecError(f"expected a value, found {lexeme.text[:40]}", source, lexeme.at)

    def call(name: _Lexeme, depth: int) -> Call:
        take("(")
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        places: list[int] = []
        first = True
        while not (peek().kind == "sign" and peek().text == ")"):
            if not first:
                take(",", "',' or ')'")
            first = False
            here, after = peek(), lexemes[min(position + 1, len(lexemes) - 1)]
            places.append(here.at)
            if here.kind == "name" and after.kind == "sign" and after.text == "=":
                take()
                take()
                if here.text in kwargs:
                    raise SpecError(f"{here.text!r} is given twice", source, here.at)
                kwargs[here.text] = value(depth + 1)
            elif kwargs:
                raise SpecError("a value by place comes before those by name", source, here.at)
            else:
                args.append(value(depth + 1))
        take(")")
        return Call(name.text, tuple(args), tuple(kwargs.items()), False, name.at, tuple(places))

    tree = value(0)
    if peek().kind != "end":
        raise SpecError(f"unexpected {peek().text[:40]!r} after the spec", source, peek().at)
    return tree


def dump(tree: Any) -> str:
    """The spec of a tree: ``parse(dump(tree)) == tree``."""
    return _dump(tree, 0)


def _dump(tree: Any, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise SpecError(f"nested more than {MAX_DEPTH} deep")
    below = depth + 1
    if isinstance(tree, Call):
        if tree.bare:
            return tree.name
        parts = [_dump(a, below) for a in tree.args]
        parts += [f"{k}={_dump(v, below)}" for k, v in tree.kwargs]
        return f"{tree.name}({', '.join(parts)})"
    if tree is None or isinstance(tree, bool):
        return str(tree).lower()
    if isinstance(tree, (list, tuple)):
        return f"[{', '.join(_dump(item, below) for item in tree)}]"
    if isinstance(tree, (int, float)):
        if not _fits(tree):
            raise SpecError("a number that is too large, or none, cannot be written in a spec")
        return repr(tree)
    if isinstance(tree, str):
        return json.dumps(tree, ensure_ascii=False)
    raise SpecError(f"a {type(tree).__name__} cannot be written in a spec")


def is_name(text: str) -> bool:
    """Can this text stand in a spec without quotes?"""
    return bool(_NAME.match(text)) and text.lower() not in _WORDS
