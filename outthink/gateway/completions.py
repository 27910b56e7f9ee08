"""``/v1/completions`` for strategies, as chat completions: a prompt is what a user says.

Without a strategy such a request goes to the model's server as it came, so all that only a text
model can do is refused here by name, before anything is spent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from outthink.gateway.errors import Fault

#: what a chat has no place for, and what to do instead
REFUSED = {
    "echo": "put the prompt before the text yourself",
    "suffix": "say in the prompt what follows",
    "messages": "send a prompt, or these to /v1/chat/completions",
    "tools": "a text holds no calls: send messages to /v1/chat/completions",
    "functions": "a text holds no calls: send messages to /v1/chat/completions",
}
#: fields that are read here; every other goes on as it is
READ = frozenset({*REFUSED, "best_of", "logprobs", "prompt"})
#: the reasons to end that a text can have
REASONS = ("stop", "length", "content_filter")


def to_chat(body: dict[str, Any]) -> dict[str, Any]:
    """The body of a chat completion that asks the same; raises ``Fault`` 400 that names the field."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        (prompt,) = prompt
    if isinstance(prompt, list):
        several = all(isinstance(text, str) for text in prompt)
        instead = (
            "send one request for each prompt" if several else "send it as text, not as tokens"
        )
        raise _refused("prompt", instead)
    if not isinstance(prompt, str):
        raise Fault(400, "prompt is missing: send a text", code="invalid_value", param="prompt")
    for name, instead in REFUSED.items():
        if body.get(name):
            raise _refused(name, instead)
    logprobs, best = body.get("logprobs"), body.get("best_of")
    if logprobs is not None and logprobs is not False:
        raise _refused("logprobs", "ask /v1/chat/completions with logprobs true and top_logprobs")
    if best is not None and best != (body.get("n") or 1):
        raise _refused(
            "best_of", "leave it out: a strategy that picks the best draws its own samples"
        )
    chat = {k: v for k, v in body.items() if k not in READ and v is not None}
    return {**chat, "messages": [{"role": "user", "content": prompt}]}


def _refused(name: str, instead: str) -> Fault:
    message = f"{name}: a strategy answers chats, which have no such thing; {instead}"
    return Fault(
        400, f"{message}, or name a model without a strategy", code="unsupported", param=name
    )


def from_chat(done: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """The text completion that a chat completion makes; ``body`` is the request as it came."""
    return {**_head(done), "choices": [_choice(c, c.get("message")) for c in _choices(done)]}


async def events(
    chunks: AsyncIterator[dict[str, Any]], body: dict[str, Any]
) -> AsyncIterator[tuple[str | None, dict[str, Any]]]:
    """The chunks of a text completion, from those of a chat completion, which are closed at the end.

    A chunk with neither text nor an end, such as that of a progress, makes none; ``{"error": ...}``
    goes out as it is and ends the stream.  The usage goes to whom asked for it.
    """
    counted = bool((body.get("stream_options") or {}).get("include_usage"))
    try:
        async for chunk in chunks:
            if chunk.get("error"):
                yield None, {"error": chunk["error"]}
                return
            told = [_choice(choice, choice.get("delta")) for choice in _choices(chunk)]
            told = [choice for choice in told if choice["text"] or choice["finish_reason"]]
            head = _head(chunk)
            usage = head.pop("usage", None)
            if told or (counted and usage):
                yield None, {**head, "choices": told, **({"usage": usage} if counted else {})}
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


def _head(done: Mapping[str, Any]) -> dict[str, Any]:
    """All but the choices, which are a text completion's own."""
    name = str(done.get("id") or "")
    head = {"id": f"cmpl-{name.removeprefix('chatcmpl-')}", "object": "text_completion"}
    return {**done, **head}


def _choices(done: Mapping[str, Any]) -> list[dict[str, Any]]:
    choices = done.get("choices")
    return [c for c in choices if isinstance(c, dict)] if isinstance(choices, list) else []


def _choice(choice: Mapping[str, Any], message: Any) -> dict[str, Any]:
    said = message if isinstance(message, dict) else {}
    text, reason = said.get("content") or said.get("refusal") or "", choice.get("finish_reason")
    # a text has fewer reasons to end than a chat
    reason = reason if reason is None or reason in REASONS else "stop"
    index = choice.get("index") or 0
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}
