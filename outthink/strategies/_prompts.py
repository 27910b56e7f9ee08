"""Instructions beside a problem."""

from __future__ import annotations

from collections.abc import Sequence

from outthink.core.nouns import Message, text_of


def instructed(messages: Sequence[Message], instruction: str) -> tuple[Message, ...]:
    """The messages with an instruction at the end of the system message, or in one of its own.

    So what the user asked stays as it is, and no two messages of one role follow each other.
    """
    first, rest = messages[0], tuple(messages[1:])
    if first["role"] != "system":
        return ({"role": "system", "content": instruction}, *messages)
    told = text_of(first.get("content"))
    return ({**first, "content": f"{told}\n\n{instruction}".strip()}, *rest)
