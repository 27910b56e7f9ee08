"""What all requests for a judgement share: texts as data, replies read, silent ones asked once more.

Texts stand between tags that carry a hash of them all, which is in none of them, so that no text can
close its tag.  A reply is read without its thinking and its dress; one that says nothing is asked for
once more, with a reminder.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from outthink.core.errors import ModelError
from outthink.core.nouns import Message, Problem, calls_of, text_of
from outthink.core.run import Run
from outthink.verify.extract import spoken

T = TypeVar("T")

# -- showing texts -----------------------------------------------------------------------------------

#: hexadecimal digits of the mark
MARK_DIGITS = 10


def mark_of(*texts: str) -> str:
    """A mark for the tags around these texts: a hash of them that is in none of them."""
    turn = 0
    while True:
        known = "\0".join((str(turn), *texts)).encode("utf-8", "surrogatepass")
        mark = hashlib.sha256(known).hexdigest()[:MARK_DIGITS]
        if not any(mark in text for text in texts):
            return mark
        turn += 1


def block(name: str, mark: str, text: str) -> str:
    """A text between tags of a name and a mark."""
    return f"<{name}-{mark}>\n{text}\n</{name}-{mark}>"


def question_of(problem: Problem) -> str:
    """What was asked: the one message, or the whole conversation with its roles; and the tools, if any."""
    if len(problem.messages) == 1:
        told = [problem.question]
    else:
        told = [
            "\n".join([f"{m['role']}: {text_of(m.get('content'))}", *calls_of(m)])
            for m in problem.messages
        ]
    if problem.tools:
        said = (tool.get("function") or tool.get("custom") for tool in problem.tools)
        named = [tool for tool in said if isinstance(tool, Mapping)]
        lines = [f"{tool.get('name')}: {tool.get('description') or ''}" for tool in named]
        told.append("\n".join(["Tools that may be called:", *lines]))
    return "\n\n".join(told)


# -- reading a reply -----------------------------------------------------------------------------------

_DRESS = re.compile(r"[*`$\"'\[\]|\u2605]|(?<!\w)_+|_+(?!\w)")
_LATEX = re.compile(r"\\(?:boxed|fbox|text|textbf|mathbf|mathrm)\s*\{([^{}]*)\}")


def last_match(patterns: Sequence[re.Pattern[str]], text: str) -> re.Match[str] | None:
    """The last match of the first pattern that matches at all."""
    for pattern in patterns:
        hits = list(pattern.finditer(text))
        if hits:
            return hits[-1]
    return None


_BRACKETS = re.compile(r"\[\[[ \t]*+([^\[\]\s](?:[^\[\]\n]{0,10}[^\[\]\s])?+)[ \t]*+\]\]")


def plain(text: str, names: Sequence[str], letters: Mapping[str, str] | None = None) -> str:
    """A judgement without thinking and dress; what JSON, tags and brackets say as ``name: value``.

    ``letters``: what a value that is one of them stands for.
    """
    said = _fields(spoken(text), names).replace("\uff1a", ":")
    said = re.sub(r"[\u2010-\u2015\u2212]", "-", said)
    said = _BRACKETS.sub(rf"\n{names[0]}: \1\n", said)
    for letter, meant in (letters or {}).items():
        said = said.replace(f"\n{names[0]}: {letter}\n", f"\n{names[0]}: {meant}\n")
    said = re.sub(rf"<({'|'.join(names)})>", rf"\n{names[0]}: ", said, flags=re.IGNORECASE)
    said = re.sub(rf"</({'|'.join(names)})>", "\n", said, flags=re.IGNORECASE)
    said = _LATEX.sub(r" \1 ", _LATEX.sub(r" \1 ", said))
    lines = (" ".join(line.split()) for line in _DRESS.sub(" ", said).splitlines())
    return "\n".join(line for line in lines if line)


def _fields(text: str, names: Sequence[str]) -> str:
    """The text with each JSON object that holds one of the names as a line ``name: value``."""
    decoder, out, at = json.JSONDecoder(), "", 0
    while (start := text.find("{", at)) >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            out, at = out + text[at : start + 1], start + 1
            continue
        fields = {str(k).lower(): v for k, v in value.items()}
        said = [fields[name] for name in names if name in fields]
        plain = said[0] if said and isinstance(said[0], (str, int, float)) else ""
        out += text[at:start] + f"\n{names[0]}: {plain}\n" if said else text[at:end]
        at = end
    return out + text[at:]


# -- asking again --------------------------------------------------------------------------------------

#: for each prompt: did a reply come, and what does it say?
Asked = list[tuple[bool, T | None]]


async def insist(
    run: Run,
    name: str,
    noun: str,
    found: Asked[T],
    again: Callable[[Sequence[int]], Awaitable[Asked[T]]],
) -> list[T | None]:
    """What each reply says; ``again(places)`` asks those once more that came and said nothing."""
    silent = [i for i, (came, said) in enumerate(found) if came and said is None]
    if silent:
        try:
            for i, second in zip(silent, await again(silent), strict=True):
                found[i] = second
        except ModelError as error:
            run.warn(f"{name}: asking again failed: {error}")
    missing = sum(said is None for _, said in found)
    if missing:
        run.warn(f"{name}: {missing} of {len(found)} {noun} gave no verdict")
    return [said for _, said in found]


def reminded(prompt: tuple[Message, ...]) -> tuple[Message, ...]:
    """The same request with a reminder, in one message: many models refuse two users in a row."""
    *before, last = prompt
    text = f"{last['content']}\n\nBe brief, and do end with the one line that is asked for."
    return (*before, {"role": last["role"], "content": text})
