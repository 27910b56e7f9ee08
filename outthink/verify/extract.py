"""Reading answers from texts, and telling when two of them are the same.

A text from which no answer can be read has the answer ``None``: a class of its own, which never
equals another and cannot win a vote while an answer exists.
"""

from __future__ import annotations

import functools
import json
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np

from outthink.core.errors import BadInput, SpecError, nearest
from outthink.core.grammar import Call, parse
from outthink.core.nouns import Ints, Problem

How = Literal["auto", "boxed", "answer", "number", "choice", "json", "code", "regex", "text"]
HOWS: tuple[str, ...] = get_args(How)
EQUIVALENCES = ("normal", "exact", "math")

_NUMBER = r"[-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?|[-+\u2212]?\.\d+"
_NUMBERS = re.compile(rf"(?<![\w.])(?:{_NUMBER})")
_ANSWER = re.compile(
    r"(?:^|[\s*#>(_])(?:the\s+)?(?:final\s+|correct\s+)?answer\b[*_]*\s*(?:is\b\s*:?|:|=)[*_]*\s*(.*)"
    r"|^\s*####\s*(.*)",
    re.IGNORECASE,
)
_OPTIONS = re.compile(r"^[ \t]*\(?([A-J])[).:]\s+\S", re.MULTILINE)
_CHOICE = re.compile(r"(?<![A-Za-z])(?:\(([A-Ja-j])\)|([A-J])(?=[).,:;*}]|\s*$|\s+[-\u2013(]))")
_UNIT = r"(?:\s+(?!pi\b)[A-Za-z]{2,}(?:\s+[A-Za-z]+){0,3})?"
_SHORT = re.compile(rf"(?:[A-Za-z]\s*=\s*)?[$\u20ac\u00a3]?\s*({_NUMBER}){_UNIT}")


_THINK = re.compile(r"<(/?)think(?:ing)?>")


def spoken(text: str) -> str:
    """The text without its thinking in ``<think>`` or ``<thinking>``.

    A thought may lack its beginning, where that was part of the prompt, or its end, where it was cut
    (then it begins on its own line: elsewhere it is a word about thinking).
    """
    out, at, begun = "", 0, -1
    for tag in _THINK.finditer(text):
        if not tag[1]:
            begun = tag.start() if begun < 0 else begun
            continue
        out = out + text[at:begun] if begun >= 0 else ""
        at, begun = tag.end(), -1
    if begun >= 0 and not text[at:begun].rpartition("\n")[2].strip():
        return out + text[at:begun]
    return out + text[at:]


def boxed(text: str) -> str | None:
    r"""The content of the last ``\boxed{...}`` or ``\fbox{...}`` (nested braces kept), or ``None``.

    A box that is not closed, as in a text that was cut, holds no answer.
    """
    found = list(re.finditer(r"\\(?:boxed|fbox)\s*(\{|\s(?=\S))", text))
    if not found:
        return None
    last = found[-1]
    if last[1] != "{":
        rest = text[last.end() :].split("$")[0].split()
        return rest[0] if rest else None
    depth, start = 1, last.end()
    for i in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[start:i].strip() or None
    return None


def answer_line(text: str) -> str | None:
    """What follows the last "answer:", "the answer is" or "####", or ``None``.

    It stands on the same line, or alone on the next; a second sentence is left out.
    """
    last = None
    lines = text.split("\n")
    for i, line in enumerate(lines):
        found = None
        for found in _ANSWER.finditer(line):  # noqa: B007
            pass
        if found:
            last = (found[1] or found[2] or "").strip(" *_")
            if not last:
                after = next((x.strip() for x in lines[i + 1 :] if x.strip()), "")
                last = after if len(after) <= 80 else None
    if not last:
        return None
    inner = boxed(last)
    if inner is not None:
        return inner
    last = re.split(r"(?<=[\w)}\]$%])[.!]\s+(?=[A-Z(])|,?\s+because\b", last)[0]
    last = re.sub(r"[*_`]+$", "", last.strip().lstrip("*`")).strip().rstrip(".").strip()
    return last.strip("$").strip() or None


def last_number(text: str) -> str | None:
    """The last number in the text, without thousands separators, or ``None``."""
    found = _NUMBERS.findall(text)
    return _plain(found[-1]) if found else None


def _plain(number: str) -> str:
    return number.replace(",", "").replace("\u2212", "-")


def choice(text: str) -> str | None:
    """The letter of the chosen option: after "answer", else the last that stands alone."""
    said = boxed(text) or answer_line(text)
    found = _CHOICE.search(said) if said else None
    if found:
        return (found[1] or found[2]).upper()
    bare = re.fullmatch(r"\s*\(?([A-J])[).:]?\s*", text)
    if bare:
        return bare[1]
    alone = re.findall(r"\(([A-J])\)|^[ \t]*\**([A-J])[).:]?\**[ \t]*$", text, flags=re.MULTILINE)
    return next((a or b for a, b in reversed(alone)), None)


def json_field(text: str, name: str) -> str | None:
    """The field ``name`` of the last JSON object in the text, or ``None``."""
    decoder, best = json.JSONDecoder(), None
    at = 0
    while (at := text.find("{", at)) >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        if isinstance(value, dict) and value.get(name) is not None:
            field = value[name]
            best = field if isinstance(field, str) else json.dumps(field, ensure_ascii=False)
        at = end
    return best


_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`]*)")
_PYTHON = ("python", "py", "python3", "py3", "ipython", "python2")


def code_of(text: str) -> str:
    """The last fenced Python block of a text, else the last without a language, or the whole text.

    Thinking is not read.  A block that is not closed, as in a text that was cut, goes to the end.
    """
    text = spoken(text)
    named: list[str] = []
    plain: list[str] = []
    opening: re.Match[str] | None = None
    body: list[str] = []
    for line in [*text.split("\n"), None]:
        found = None if line is None else _FENCE.fullmatch(line.rstrip())
        if opening is None:
            opening, body = found, []
        elif line is None or (
            found and not found["info"] and found["fence"].startswith(opening["fence"])
        ):
            code = "\n".join(body) + "\n"
            language = re.split(r"[\s,:{}=.]+", opening["info"].strip("{. ").lower())[0]
            if code.strip() and (language in _PYTHON or not language):
                (named if language else plain).append(
                    textwrap.dedent(code) if opening["indent"] else code
                )
            opening = None
        else:
            body.append(line)
    blocks = named or plain
    return blocks[-1] if blocks else text


_PLAIN = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?(?:/[-+]?\d+)?")
_MIXED = re.compile(r"([-+]?)(\d+)\s+(\d+)/(\d+)")

_RAISED = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b", "0123456789-"
)
_PARTS = "\u00bc-\u00be\u2150-\u215e"  # one half and its kin
_SIGNS = str.maketrans({
    "\u2212": "-", "\u2044": "/", "\u00f7": "/", "\u00d7": "\\times ", "\u00b7": "\\cdot ",
    "\u22c5": "\\cdot ", "\u00b1": "\\pm ", "\u03c0": "\\pi ", "\u03b8": "\\theta ", "\u221e": "\\infty ",
    "\u2264": "\\le ", "\u2265": "\\ge ", "\u2260": "\\ne ", "\u222a": "\\cup ", "\u2229": "\\cap ",
    "\u2208": "\\in ", "\u2205": "\\emptyset ", "\u00b0": "^\\circ ",
})  # fmt: skip


def latex(answer: str) -> str:
    r"""An answer in plain LaTeX: what is written in Unicode signs, repeating decimals, thousands.

    ``3\u221a2`` is ``3\sqrt{2}``, ``x\u00b2`` is ``x^{2}``, ``0.1\overline{6}`` is ``\frac{1}{6}`` and
    ``10,\!000`` is ``10000``.
    """
    text = re.sub(r"(?<=\d)(?:\\[,!]|,\\!|\{,\})(?=\d{3}(?!\d))", "", answer)
    text = re.sub(r"(?<!\d)(\d*)\.(\d*)\\overline\s*\{?(\d+)\}?", _repeating, text)
    if text.isascii():
        return text
    text = re.sub(rf"(?<=\d)\s*(?=[{_PARTS}])", " ", text)
    text = re.sub(rf"[{_PARTS}]", lambda m: unicodedata.normalize("NFKC", m[0]), text)
    text = re.sub(r"(\d+)\u2044(\d+)", r"\\frac{\1}{\2}", text)
    raised = "[\u00b9\u00b2\u00b3\u2070\u2074-\u2079\u207b]+"
    text = re.sub(raised, lambda m: f"^{{{m[0].translate(_RAISED)}}}", text)
    text = re.sub(r"\u221a\s*(?:\(([^()]*)\)|\{([^{}]*)\}|(\d+(?:\.\d+)?|[A-Za-z]))", _root, text)
    return text.translate(_SIGNS)


def _repeating(found: re.Match[str]) -> str:
    whole, before, again = found.groups()
    if len(whole + before + again) > 400:
        return found[0]
    low = (10 ** len(again) - 1) * 10 ** len(before)
    top = int(whole + before + again) - int(whole + before or "0")
    value = Fraction(top, low)
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


def _root(found: re.Match[str]) -> str:
    return f"\\sqrt{{{next(g for g in found.groups() if g is not None)}}}"


def canonical_answer(answer: str) -> str:
    """The normal form under which equal answers are equal strings.

    Numbers become exact fractions: ``1,000`` = ``1000.0``, ``0.5`` = ``1/2`` = ``\\frac{1}{2}`` =
    ``50%``, ``3\\frac{1}{2}`` = ``7/2``.  Dollar signs, degrees, LaTeX dress, case and the spaces
    that do not part words are dropped.
    """
    # a vote asks for the same few answers again and again
    return _remembered(answer) if len(answer) <= 200 else _canonical(answer)


@functools.lru_cache(maxsize=8192)
def _remembered(answer: str) -> str:
    return _canonical(answer)


def _canonical(answer: str) -> str:
    text = latex(answer).strip().strip("$").strip()
    text = re.sub(r"\\(?:left|right|displaystyle|quad)(?![a-zA-Z])|\\[!,;: ]|~", " ", text)
    text = re.sub(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"\\[dt]?frac(?![a-zA-Z])\s*(\d)\s*(\d)", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\\[dt]frac(?![a-zA-Z])", r"\\frac", text)
    text = re.sub(r"\\frac\s*\{\s*(-?\d+)\s*\}\s*\{\s*(\d+)\s*\}", r"\\frac{\1}{\2}", text)
    text = text.replace("\\%", "%").replace("\\$", "").replace("\\(", "").replace("\\)", "")
    text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?|\u00b0|\s*\bdegrees?\s*$", "", text)
    text = text.strip().rstrip(".").strip()
    plain = re.sub(r"\\frac\{(-?\d+)\}\{(\d+)\}", r" \1/\2", text).strip()
    mixed = _MIXED.fullmatch(plain)
    if mixed and len(plain) <= 400 and int(mixed[4]):
        whole = int(mixed[2]) + Fraction(int(mixed[3]), int(mixed[4]))
        return str(-whole if mixed[1] == "-" else whole)
    plain = re.sub(r"^([-+])\s+", r"\1", plain)
    plain = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", plain)
    plain = re.sub(r"^([-+]?)[$\u20ac\u00a3]\s*", r"\1", plain)
    percent = plain.endswith("%")
    plain = plain.rstrip("%").strip()
    if len(plain) <= 400 and _PLAIN.fullmatch(plain):
        try:
            top, _, low = plain.partition("/")
            number = Fraction(top) / Fraction(low or 1)
            return f"{number / 100 if percent else number}"
        except ZeroDivisionError:
            pass
    text = re.sub(r"(?<![A-Za-z0-9])\s+|\s+(?![A-Za-z0-9])", "", text)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"(?<![\w/^.])([A-Za-z]|\d+)/([A-Za-z]|\d+)(?![\w/^.!])", r"\\frac{\1}{\2}", text)
    return text.casefold()


@dataclass(frozen=True)
class TextReader:
    """Reads answers ``extract`` by one rule and groups them by one equivalence.

    ``how``: ``auto`` (the letter where the question has options, else boxed, else the answer line,
    else a bare short text that was not cut; never a number out of the reasoning), ``boxed``,
    ``answer``, ``number`` (the last one), ``choice``, ``json`` (field ``field``), ``code`` (the last
    Python block), ``regex`` (first group of ``pattern``, last match), ``text``.
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

    def extract(self, text: str, cut: bool = False) -> str | None:
        """The answer in a text, or ``None``; thinking in ``<think>`` tags is not read.

        A text that was ``cut`` short is no answer by itself: one must be marked in it.
        """
        found = self._found(spoken(text), cut)
        return found if found is not None and found.strip() else None

    def _found(self, text: str, cut: bool) -> str | None:
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
        if self.how == "code":
            return code_of(text).strip("\n") or None
        if self.how == "text":
            return text.strip() or None
        return self._auto(text, cut)

    def _auto(self, text: str, cut: bool) -> str | None:
        if self.options:
            letter = choice(text)
            if letter is not None:
                return letter
        said = boxed(text) or answer_line(text)
        if said is not None:
            number = _SHORT.fullmatch(said)
            return _plain(number[1]) if number else said
        if cut:
            return None
        short = text.strip()
        marks = ("\n", "=", "\\boxed", "\\fbox")
        if not short or len(short) > 40 or any(m in short for m in marks) or short[-1] in ":{,":
            return None
        return short

    def quick(self) -> TextReader:
        """The same reader, telling equal answers by their normal forms alone."""
        return replace(self, equivalence="normal") if self.equivalence == "math" else self

    async def group(self, answers: Sequence[str | None]) -> Ints:
        """Class numbers ``(n,)`` in order of first appearance; -1 for ``None``."""
        forms: dict[str, int] = {}
        first: list[str] = []
        out = np.full(len(answers), -1, dtype=np.int64)
        for i, answer in enumerate(answers):
            if answer is not None:
                exact = self.equivalence == "exact" or self.how == "code"
                form = answer if exact else canonical_answer(answer)
                if form not in forms:
                    forms[form] = len(forms)
                    first.append(answer)
                out[i] = forms[form]
        if self.equivalence == "math" and len(forms) > 1:
            from outthink.verify.math import merge

            joined = np.asarray(await merge(first), dtype=np.int64)
            out = np.where(out >= 0, joined[out], -1)
        return out


def reader_for(problem: Problem, spec: str | None) -> TextReader:
    """The reader of a spec: ``boxed``, ``json("field")``, ``reader(extract=..., equivalence=...)``."""
    options = bool(problem.choices) or len(_OPTIONS.findall(problem.question)) >= 2
    if spec is None:
        return TextReader(options=options)
    tree = parse(spec)
    if not isinstance(tree, Call):
        raise BadInput(f"reader={spec!r}: write one of {', '.join(HOWS)}")
    # the one value that may be given by place
    first = {"reader": "extract", "json": "field", "regex": "pattern"}.get(tree.name)
    if len(tree.args) > (first is not None):
        raise SpecError(f"{tree.name} takes fewer values by place", spec, tree.places[-1])
    named: dict[str, Any] = {
        **dict(zip([first or ""], tree.args, strict=False)),
        **dict(tree.kwargs),
    }
    values = {k: v.name if isinstance(v, Call) else v for k, v in named.items()}
    how = str(values.pop("extract", "auto")) if tree.name == "reader" else tree.name
    known = ("equivalence", "field", "pattern")
    for name in values:
        if name not in known:
            raise BadInput(f"a reader has no parameter {name!r}{nearest(name, known)}")
    return TextReader(how=how, options=options, **{k: str(v) for k, v in values.items()})
