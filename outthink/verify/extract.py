"""Reading answers from texts, and telling when two of them are the same.

A text from which no answer can be read has the answer ``None``: a class of its own, which never
equals another and cannot win a vote while an answer exists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np

from outthink.core.errors import BadInput, nearest
from outthink.core.grammar import Call, parse
from outthink.core.nouns import Ints, Problem

How = Literal["auto", "boxed", "answer", "number", "choice", "json", "regex", "text"]
HOWS: tuple[str, ...] = get_args(How)
EQUIVALENCES = ("normal", "exact", "math")

_NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?|[-+]?\.\d+"
_NUMBERS = re.compile(rf"(?<![\w.]){_NUMBER}")
_ANSWER = re.compile(
    r"(?:^|[\s*#>(])(?:the\s+)?(?:final\s+|correct\s+)?answer\b\s*(?:is\s*:?|:|=)\s*\**\s*(.+)",
    re.IGNORECASE,
)
_OPTIONS = re.compile(r"^\s*\(?([A-J])[).:]\s+\S", re.MULTILINE)
_CHOICE = re.compile(r"(?<![A-Za-z])\(?([A-J])\)?(?=[).,:;*\s]|$)")


def boxed(text: str) -> str | None:
    r"""The content of the last ``\boxed{...}`` (nested braces kept), or ``None``."""
    for found in reversed(list(re.finditer(r"\\(?:boxed|fbox)\s*(\{|\s)", text))):
        if found[1] != "{":
            rest = text[found.end() :].split("$")[0].split()
            return rest[0] if rest else None
        depth, start = 1, found.end()
        for i in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[i], 0)
            if depth == 0:
                return text[start:i].strip() or None
    return None


def answer_line(text: str) -> str | None:
    """What follows the last "answer:" or "the answer is" on its line, or ``None``."""
    last = None
    for line in text.split("\n"):
        found = _ANSWER.search(line)
        if found:
            last = found[1]
    if last is None:
        return None
    inner = boxed(last)
    if inner is not None:
        return inner
    last = re.sub(r"[*_`]+$", "", last.strip()).strip().rstrip(".").strip()
    return last.strip("$").strip() or None


def last_number(text: str) -> str | None:
    """The last number in the text, without thousands separators, or ``None``."""
    found = _NUMBERS.findall(text)
    return found[-1].replace(",", "") if found else None


def choice(text: str) -> str | None:
    """The letter of the chosen option: after "answer", else the last that stands alone."""
    said = boxed(text) or answer_line(text)
    found = _CHOICE.findall(said) if said else []
    if found:
        return str(found[0])
    bare = re.fullmatch(r"\s*\(?([A-J])[).:]?\s*", text)
    if bare:
        return bare[1]
    alone = re.findall(r"\(([A-J])\)|^\s*\**([A-J])[).:]?\**\s*$", text, flags=re.MULTILINE)
    return next((a or b for a, b in reversed(alone)), None)


def json_field(text: str, name: str) -> str | None:
    """The field ``name`` of the last JSON object in the text, or ``None``."""
    decoder, best = json.JSONDecoder(), None
    at = 0
    while (at := text.find("{", at)) >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError:
            at += 1
            continue
        if isinstance(value, dict) and value.get(name) is not None:
            field = value[name]
            best = field if isinstance(field, str) else json.dumps(field, ensure_ascii=False)
        at = end
    return best


def canonical_answer(answer: str) -> str:
    """The normal form under which equal answers are equal strings.

    Numbers become exact fractions (``1,000`` = ``1000.0``, ``0.5`` = ``1/2`` = ``\\frac{1}{2}``);
    dollar signs, spaces, case and LaTeX dress are dropped.
    """
    text = answer.strip().strip("$").strip()
    text = re.sub(r"\\(?:left|right|!|,|;|:|quad|displaystyle)(?![a-zA-Z])", "", text)
    text = re.sub(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\[dt]?frac\s*\{([^{}]+)\}\s*\{([^{}]+)\}", r"\1/\2", text)
    text = re.sub(r"\\[dt]?frac\s*(\d)\s*(\d)", r"\1/\2", text)
    text = text.replace("\\%", "%").replace("\\$", "").replace("^\\circ", "").replace("°", "")
    text = text.rstrip(".").strip()
    plain = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text).lstrip("$€£").replace(" ", "")
    percent = plain.endswith("%")
    try:
        number = Fraction(plain.rstrip("%"))
        return f"{number / 100 if percent else number}"
    except (ValueError, ZeroDivisionError):
        return re.sub(r"\s+", " ", text).casefold()


@dataclass(frozen=True)
class TextReader:
    """Reads answers ``extract`` by one rule and groups them by one equivalence.

    ``extract``: ``auto`` (boxed, else the answer line, else the letter where the question has
    options, else a bare short text), ``boxed``, ``answer``, ``number``, ``choice``, ``json`` (field
    ``field``), ``regex`` (first group of ``pattern``), ``text``.
    ``equivalence``: ``normal`` (normal form), ``exact`` (the string), ``math`` (math-verify).
    """

    how: str = "auto"
    equivalence: str = "normal"
    field: str = "answer"
    pattern: str = ""
    options: bool = False

    def __post_init__(self) -> None:
        if self.how not in HOWS:
            raise BadInput(f"reader {self.how!r}{nearest(self.how, HOWS)}")
        if self.equivalence not in EQUIVALENCES:
            raise BadInput(
                f"equivalence {self.equivalence!r}{nearest(self.equivalence, EQUIVALENCES)}"
            )
        if self.how == "regex":
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise BadInput(f"the pattern {self.pattern!r} is not a regex: {error}") from None

    def extract(self, text: str) -> str | None:
        """The answer in a text, or ``None``."""
        if self.how == "boxed":
            return boxed(text)
        if self.how == "answer":
            return answer_line(text)
        if self.how == "number":
            said = boxed(text) or answer_line(text)
            return (last_number(said) if said else None) or last_number(text)
        if self.how == "choice":
            return choice(text)
        if self.how == "json":
            return json_field(text, self.field)
        if self.how == "regex":
            found = list(re.finditer(self.pattern, text, re.MULTILINE))
            return (found[-1][1] if found[-1].groups() else found[-1][0]) if found else None
        if self.how == "text":
            return text.strip() or None
        return self._auto(text)

    def _auto(self, text: str) -> str | None:
        if self.options:
            letter = choice(text)
            if letter is not None:
                return letter
        said = boxed(text) or answer_line(text)
        if said is not None:
            number = re.fullmatch(rf"[^\d]{{0,3}}({_NUMBER})(?:\s*[%a-zA-Z ]{{0,24}})?", said)
            return number[1].replace(",", "") if number and "%" not in said else said
        short = text.strip()
        return (
            short if short and len(short) <= 40 and "\n" not in short and "=" not in short else None
        )

    async def group(self, answers: Sequence[str | None]) -> Ints:
        """Class numbers ``(n,)`` in order of first appearance; -1 for ``None``."""
        forms: dict[str, int] = {}
        out = np.full(len(answers), -1, dtype=np.int64)
        for i, answer in enumerate(answers):
            if answer is not None:
                form = answer if self.equivalence == "exact" else canonical_answer(answer)
                out[i] = forms.setdefault(form, len(forms))
        if self.equivalence == "math" and len(forms) > 1:
            from outthink.verify.math import merge

            joined = await merge(list(forms))
            renamed: dict[int, int] = {}
            for i, c in enumerate(out):
                if c >= 0:
                    out[i] = renamed.setdefault(joined[int(c)], len(renamed))
        return out


def reader_for(problem: Problem, spec: str | None) -> TextReader:
    """The reader of a spec: ``boxed``, ``json("field")``, ``reader(extract=..., equivalence=...)``."""
    options = bool(problem.choices) or len(_OPTIONS.findall(problem.question)) >= 2
    if spec is None:
        return TextReader(options=options)
    tree = parse(spec)
    if not isinstance(tree, Call):
        raise BadInput(f"reader={spec!r}: write one of {', '.join(HOWS)}")
    named: dict[str, Any] = dict(tree.kwargs)
    values = {k: v.name if isinstance(v, Call) else v for k, v in named.items()}
    if tree.name == "reader":
        how = str(values.pop("extract", "auto"))
    else:
        how = tree.name
        if tree.args and how in ("json", "regex"):
            first = tree.args[0].name if isinstance(tree.args[0], Call) else tree.args[0]
            values["field" if how == "json" else "pattern"] = first
    known = ("equivalence", "field", "pattern")
    for name in values:
        if name not in known:
            raise BadInput(f"a reader has no parameter {name!r}{nearest(name, known)}")
    return TextReader(how=how, options=options, **{k: str(v) for k, v in values.items()})
