"""Chats with an instruction beside the problem, or with the question in other words."""

from __future__ import annotations

from collections.abc import Sequence

from outthink.core.nouns import Message


def instructed(
    messages: Sequence[Message], instruction: str, *, first: bool = False
) -> tuple[Message, ...]:
    """The messages with an instruction at the end of the system message, or at its head (``first``).

    In a system message of its own where there is none.  So what the user asked stays as it is, and no
    two messages of one role follow each other.
    """
    head, *rest = messages
    if head["role"] not in ("system", "developer"):
        return ({"role": "system", "content": instruction}, *messages)
    told = head.get("content") or ""
    if isinstance(told, str):
        both = (instruction, told) if first else (told, instruction)
        return ({**head, "content": "\n\n".join(filter(None, both))}, *rest)
    more = [{"type": "text", "text": instruction}]
    parts = [*more, *told] if first else [*told, *more]
    return ({**head, "content": parts}, *rest)


def asking(messages: Sequence[Message], question: str) -> tuple[Message, ...]:
    """The messages with another text in the last user message; what is not text in it stays."""
    at = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=len(messages) - 1)
    old = messages[at].get("content")
    content: object = question
    if isinstance(old, (list, tuple)):
        content = [{"type": "text", "text": question}, *(p for p in old if p.get("type") != "text")]
    return (*messages[:at], {**messages[at], "content": content}, *messages[at + 1 :])
