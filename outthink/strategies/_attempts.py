"""A chat that shows a model earlier attempts and asks for another."""

from __future__ import annotations

from collections.abc import Iterable

from outthink.core.nouns import Message, Problem
from outthink.strategies.revision import REQUEST


def after(problem: Problem, attempts: Iterable[str]) -> tuple[Message, ...]:
    """The problem, each attempt with the request to correct it (``revision.REQUEST``) after it."""
    messages: list[Message] = list(problem.messages)
    for text in attempts:
        messages.append({"role": "assistant", "content": text})
        messages.append({"role": "user", "content": REQUEST})
    return tuple(messages)
