"""Where each key and value of a TOML text stands, and how an error is shown there.

``tomllib`` reads and checks a text but gives no places.  ``locate`` goes over a text that ``tomllib``
took, for its places alone, so it need not check anything.  What is shown of a line never holds a
secret: the values of fields that are not known to be harmless are covered.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Path = tuple[str | int, ...]
#: may the value of a field, as it is written, be shown?
Harmless = Callable[[str, str], bool]

_QUOTED = r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\''
_KEY = re.compile(rf"{_QUOTED}|[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?!")|'
    r"'''.*?'''(?!')|"
    rf"{_QUOTED}",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}#\n]+")
_SPACE = re.compile(r"(?:\s|#[^\n]*)*")
#: one piece of a basic string: a character as it may be written, or the end of a line to be left out
_WRITTEN = re.compile(r"(?P<nothing>\\[ \t]*\n\s*)|\\u.{4}|\\U.{8}|\\.|.", re.DOTALL)


@dataclass(frozen=True)
class Spot:
    """Offsets: of the key (of a table: its name in the header), of the value and of its end."""

    key: int
    value: int
    end: int


def locate(text: str) -> dict[Path, Spot]:
    """The spot of each key, table and element of an array, by its path; newlines are ``\\n``."""
    return _Scan(text).spots


class _Scan:
    """Goes over a text from its beginning to its end; ``at`` is where it is."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.spots: dict[Path, Spot] = {}
        #: how many tables ``[[array]]`` has so far
        self.counts: dict[Path, int] = {}
        table: Path = ()
        while self.space() < len(text):
            if text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)

    def space(self) -> int:
        """Skip spaces, ends of lines and comments."""
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.at

    def names(self) -> list[tuple[str, int]]:
        """The parts of a dotted key, each with its offset; ends before ``=`` or ``]``."""
        out: list[tuple[str, int]] = []
        while found := _KEY.match(self.text, self.space()):
            name = found[0]
            if name[0] in "\"'":
                name = str(tomllib.loads(f"x = {name}")["x"])
            out.append((name, found.start()))
            self.at = found.end()
            if self.text[self.space()] != ".":
                break
            self.at += 1
        return out

    def header(self) -> Path:
        """``[table]`` or ``[[table]]``; the path of what follows it."""
        width = 2 if self.text.startswith("[[", self.at) else 1
        self.at += width
        path: Path = ()
        names = self.names()
        self.at += width
        for place, (name, at) in enumerate(names, 1):
            path += (name,)
            self.spots.setdefault(path, Spot(at, at, at + len(name)))
            if width == 2 and place == len(names):
                self.counts[path] = self.counts.get(path, 0) + 1
            if path in self.counts:
                path += (self.counts[path] - 1,)
                self.spots.setdefault(path, Spot(at, at, at + len(name)))
        return path

    def pair(self, table: Path) -> None:
        """``key = value``."""
        path = table
        for name, at in self.names():
            path += (name,)
            self.spots.setdefault(path, Spot(at, at, at + len(name)))
        self.at += 1
        self.value(path)

    def value(self, path: Path) -> None:
        """A value, whatever it is."""
        start = self.space()
        sign = self.text[start]
        if sign in "[{":
            self.at += 1
            index = 0
            while (sign := self.text[self.space()]) not in "]}":
                if sign == ",":
                    self.at += 1
                elif self.text[start] == "[":
                    self.value((*path, index))
                    index += 1
                else:
                    self.pair(path)
            self.at += 1
        elif found := _STRING.match(self.text, start) or _PLAIN.match(self.text, start):
            self.at = start + len(found[0].rstrip())
        known = self.spots.get(path)
        self.spots[path] = Spot(known.key if known else start, start, self.at)


def inside(text: str, spot: Spot, at: int) -> int:
    """The offset of character ``at`` of a string whose value stands at ``spot``."""
    quote = text[spot.value]
    if quote not in "\"'":
        return spot.value
    width = 3 if text.startswith(quote * 3, spot.value) and spot.end - spot.value >= 6 else 1
    here, end = spot.value + width, spot.end - width
    here += width == 3 and text[here] == "\n"
    if quote == "'":
        return min(here + at, end)
    for piece in _WRITTEN.finditer(text, here, end):
        if piece["nothing"] is None:
            if at == 0:
                return piece.start()
            at -= 1
    return end


# -- what is shown -------------------------------------------------------------------------------

#: how the keys of well-known services begin, ours among them
_SECRET = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:sk|ot|xai|nvapi|pplx|csk|tgp)-|(?:hf|gsk|ghp|r8|sk|pk|rk)_|AIza|eyJ)"
    r"[\w\-.+/=]{8,}"
)
#: in an address: who asks, with the password, and all after the question mark
_USER = re.compile(r"(://)[^\s\"']*@")
_QUERY = re.compile(r"(://[^\s\"'?#]*[?#])[^\s\"']+")
_COMMENT = re.compile(rf"({_QUOTED})|#.*")
_FIELD = re.compile(
    rf"(?P<key>(?:{_QUOTED}|[\w-]+)\s*=\s*)"
    r"(?P<value>\"\"\".*|'''.*|\"(?:[^\"\\]|\\.)*\"?|'[^']*'?|[\[{].*|[^\s,}\]]+)"
)
#: a long piece that mixes letters and figures, where nothing says what it is
_RANDOM = re.compile(r"(?=[\w+/=-]*\d)(?=[\w+/=-]*[A-Za-z])[\w+/=-]{20,}")


def has_secret(text: str) -> bool:
    """Does a text hold what looks like the key of a service?"""
    return bool(_SECRET.search(text))


def cover(text: str) -> str:
    """A text with ``*`` for what looks like a key, and for what an address may hold of one."""
    text = _SECRET.sub(lambda found: "*" * len(found[0]), text)
    for pattern in (_USER, _QUERY):
        text = pattern.sub(lambda found: found[1] + "*" * (len(found[0]) - len(found[1])), text)
    return text


def _covered(text: str) -> str:
    """A value that is not to be read, though still to be seen as a text, a list or a table."""
    return re.sub(r"[^\s\"'\[\]{},]", "*", text)


def cover_values(text: str, spots: Mapping[Path, Spot], harmless: Harmless) -> str:
    """A TOML text of the same shape, in which values can be read where they are ``harmless``."""
    above = {path[:-1] for path in spots}
    parts, at = [], 0
    for path, spot in sorted(spots.items(), key=lambda item: item[1].value):
        name = next((str(n) for n in reversed(path) if isinstance(n, str)), "")
        value = text[spot.value : spot.end]
        written = spot.value > spot.key or isinstance(path[-1], int)
        if written and path not in above and not harmless(name, value):
            parts += [text[at : spot.value], _covered(value)]
            at = spot.end
    return "".join([*parts, text[at:]])


def cover_line(line: str, harmless: Harmless) -> str:
    """``cover_values`` of a line that may be no TOML."""

    def field(found: re.Match[str]) -> str:
        key, value = found["key"], found["value"]
        if value[0] == "{" or harmless(key.rstrip("= \t").strip("\"'"), value):
            return key + (fields(value) if value[0] in "[{" else value)
        return key + _covered(value)

    def fields(text: str) -> str:
        return _FIELD.sub(field, text)

    if not _FIELD.search(line) and "://" not in line:
        line = _RANDOM.sub(lambda found: _covered(found[0]), line)
    return fields(line)


def show(text: str, where: str, at: int, message: str) -> str:
    """``where:line: message``, and below it the line, less its comment, with a caret at ``at``."""
    at = min(at, len(text))
    begin = text.rfind("\n", 0, at) + 1
    number = text.count("\n", 0, at) + 1
    line = text[begin:].partition("\n")[0].replace("\t", " ")
    line = cover(_COMMENT.sub(lambda found: found[1] or "", line).rstrip())
    column = at - begin
    start = max(0, column - 70)
    head = "..." if start else ""
    tail = "..." if len(line) > start + 100 else ""
    window = "".join(c if c.isprintable() else "?" for c in line[start : start + 100])
    caret = " " * (len(head) + column - start) + "^"
    return f"{where}:{number}: {cover(message)}\n  {head}{window}{tail}\n  {caret}"
