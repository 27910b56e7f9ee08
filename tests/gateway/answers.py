"""What the upstream of the tests says: texts, tool calls and JSON whose right answer is known.

A token is a word with the space before it, so that what is billed can be counted by hand.
"""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

WORDS = ("Let", "me", "think", "of", "this", "one", "step", "after", "the", "other", "until", "it")
#: what an image counts in a prompt
IMAGE = 85


def pieces(text: str) -> list[str]:
    """The tokens of a text."""
    return re.findall(r"\s*\S+", text)


def text_of(content: Any) -> str:
    """The text of a message's content, of whichever form."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(str(p.get("text", "")) for p in parts if isinstance(p, dict))


def prompt_of(body: Mapping[str, Any]) -> str:
    """All the text that was sent: of the messages, or the prompt of a plain completion."""
    if "messages" in body:
        return "\n".join(text_of(m.get("content")) for m in body["messages"])
    return " ".join(prompts_of(body))


def prompts_of(body: Mapping[str, Any]) -> list[str]:
    """The prompts of a plain completion."""
    prompt = body.get("prompt", "")
    return [str(p) for p in prompt] if isinstance(prompt, list) else [str(prompt)]


def question_of(body: Mapping[str, Any]) -> str:
    """What the answer must answer: the last words of the user, or the prompt."""
    asked = [text_of(m["content"]) for m in body.get("messages", ()) if m.get("role") == "user"]
    return asked[-1] if asked else prompt_of(body)


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """Words of the texts, tools and earlier calls, three for a message, 85 for an image."""
    total = len(prompt_of(body).split()) + len(json.dumps(body.get("tools") or "").split())
    for message in body.get("messages", ()):
        content = message.get("content")
        total += 3 + len(json.dumps(message.get("tool_calls") or "").split())
        if isinstance(content, list):
            total += IMAGE * sum(part.get("type") == "image_url" for part in content)
    return total


def truth(question: str) -> int:
    """The right answer: the sum where two numbers are added, else a number of the text's own."""
    found = re.search(r"(\d+)\s*\+\s*(\d+)", question)
    if found:
        return int(found[1]) + int(found[2])
    return zlib.crc32(question.encode()) % 1000


@dataclass(frozen=True)
class Said:
    """One choice."""

    content: str | None
    finish: str
    tokens: int
    thoughts: str = ""
    thought: int = 0
    calls: tuple[dict[str, Any], ...] = ()


def say(
    body: Mapping[str, Any],
    rng: random.Random,
    *,
    words: int,
    right: float,
    valid: float,
    thinks: int,
    limited: bool,
) -> Said:
    """One choice: right and valid with these probabilities, cut at the limit where it is kept."""
    value = truth(question_of(body))
    if rng.random() >= right:
        value += 1 + rng.randrange(10)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    left = int(limit) if limit and limited else 1 << 40
    if limit and not limited:
        words = max(words, 4 * int(limit))
    thoughts = [" " + WORDS[i % len(WORDS)] for i in range(thinks)][:left]
    left -= len(thoughts)
    told = {"thoughts": "".join(thoughts).strip(), "thought": len(thoughts)}
    messages = body.get("messages") or [{}]
    if body.get("tools") and body.get("tool_choice") != "none" and messages[-1]["role"] != "tool":
        call = _tool_call(body, rng, value)
        size = 1 + len(pieces(call["function"]["arguments"]))
        if size <= left:
            return Said(None, "tool_calls", len(thoughts) + size, calls=(call,), **told)
    text = _text(body, rng, value, words, rng.random() < valid)
    finish = "stop"
    stops = body.get("stop") or ()
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.split(stop)[0]
    wrote = pieces(text)
    if len(wrote) > left:
        wrote, finish = wrote[:left], "length"
    return Said("".join(wrote), finish, len(thoughts) + len(wrote), **told)


def _text(body: Mapping[str, Any], rng: random.Random, value: int, words: int, valid: bool) -> str:
    wanted = body.get("response_format") or {}
    if wanted.get("type") in ("json_object", "json_schema"):
        schema = (wanted.get("json_schema") or {}).get("schema") or {
            "type": "object",
            "properties": {"answer": {"type": "integer"}},
        }
        made = instance(schema, value, schema)
        text = json.dumps(made, indent=rng.choice((None, 1, 2)), sort_keys=rng.random() < 0.5)
        if valid:
            return text
        broken = isinstance(made, dict) and wanted["type"] == "json_schema" and rng.random() < 0.5
        return json.dumps({"broken": [made]}) if broken else text[: len(text) // 2]
    messages = body.get("messages") or [{"content": prompt_of(body)}]
    last = text_of(messages[-1].get("content"))
    if messages[-1].get("role") == "tool":
        return f"The answer is {last.strip()}."
    counted = re.search(r"(\d+),\s*$", last)
    if counted:  # someone counts, and is gone on with
        return "".join(f" {int(counted[1]) + i}," for i in range(1, 14))
    end = ["The", "answer", "is", f"{value}."]
    return " ".join([WORDS[i % len(WORDS)] for i in range(max(words - len(end), 0))] + end)


def _tool_call(body: Mapping[str, Any], rng: random.Random, value: int) -> dict[str, Any]:
    """A call of the tool that was chosen, else of the first; spaces and order vary."""
    functions = [t["function"] for t in body["tools"] if t.get("type") == "function"]
    choice = body.get("tool_choice")
    named = choice["function"]["name"] if isinstance(choice, dict) else functions[0]["name"]
    function = next(f for f in functions if f["name"] == named)
    schema = function.get("parameters") or {"type": "object"}
    made = instance(schema, value, schema)
    names = list(made)
    rng.shuffle(names)
    arguments = json.dumps({k: made[k] for k in names}, indent=rng.choice((None, 2)))
    return {
        "id": f"call_{rng.randrange(16**12):012x}",
        "type": "function",
        "function": {"name": named, "arguments": arguments},
    }


def instance(schema: Mapping[str, Any], value: int, root: Mapping[str, Any]) -> Any:
    """The plainest value that a small schema allows, with ``value`` as each number and text."""
    if "$ref" in schema:
        return instance(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root)
    for name in ("anyOf", "oneOf", "allOf"):
        if name in schema:
            return instance(schema[name][0], value, root)
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][value % len(schema["enum"])]
    kind = schema.get("type", "object")
    if kind == "object":
        return {k: instance(s, value, root) for k, s in (schema.get("properties") or {}).items()}
    if kind == "array":
        return [instance(schema.get("items") or {"type": "integer"}, value, root)]
    plain = {"integer": value, "number": value, "string": str(value), "boolean": True, "null": None}
    return plain[kind]


def _logprobs(text: str | None, body: Mapping[str, Any], chat: bool) -> Any:
    """Log-probabilities that depend on the text alone."""
    if not body.get("logprobs") or text is None:
        return None
    tokens = pieces(text)
    values = [-0.01 - (sum(t.encode()) % 89) / 100 for t in tokens]
    if not chat:
        tops = [{t: v, " other": v - 1.0} for t, v in zip(tokens, values, strict=True)]
        starts = [len("".join(tokens[:i])) for i in range(len(tokens))]
        return {
            "tokens": tokens,
            "token_logprobs": values,
            "top_logprobs": tops,
            "text_offset": starts,
        }
    most = int(body.get("top_logprobs") or 0)
    rows = []
    for token, value in zip(tokens, values, strict=True):
        tops = [(token, value), *((f" other{i}", value - i) for i in range(1, most))][:most]
        rows.append({**_entry(token, value), "top_logprobs": [_entry(t, v) for t, v in tops]})
    return {"content": rows, "refusal": None}


def _entry(token: str, value: float) -> dict[str, Any]:
    return {"token": token, "logprob": value, "bytes": list(token.encode())}


def choice_of(said: Said, index: int, body: Mapping[str, Any], chat: bool) -> dict[str, Any]:
    """A choice of a whole answer."""
    found: dict[str, Any] = {"index": index, "finish_reason": said.finish}
    found["logprobs"] = _logprobs(said.content, body, chat)
    if not chat:
        return {**found, "text": said.content}
    message: dict[str, Any] = {"role": "assistant", "content": said.content, "refusal": None}
    if said.thoughts:
        message["reasoning_content"] = said.thoughts
    if said.calls:
        message["tool_calls"] = list(said.calls)
    return {**found, "message": message}


def parts_of(
    said: list[Said], body: Mapping[str, Any], chat: bool, null: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The choices of a stream's chunks, and the tokens in each; choices take turns."""
    streams = [list(_of_one(s, i, body, chat, null)) for i, s in enumerate(said)]
    for turn in range(max(map(len, streams))):
        for stream in streams:
            if turn < len(stream):
                yield stream[turn]


def _of_one(
    said: Said, index: int, body: Mapping[str, Any], chat: bool, null: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    def part(delta: Any, finish: str | None = None, logprobs: Any = None) -> dict[str, Any]:
        told = {"index": index, "finish_reason": finish, "logprobs": logprobs}
        return {**told, "delta": delta} if chat else {**told, "text": delta.get("content", "")}

    if chat:
        yield 0, part({"role": "assistant", "content": None if null or said.calls else ""})
    for word in pieces(said.thoughts):
        yield 1, part({"reasoning_content": word})
    for number, call in enumerate(said.calls):
        first = {"name": call["function"]["name"], "arguments": ""}
        yield 1, part({"tool_calls": [{**call, "index": number, "function": first}]})
        for word in pieces(call["function"]["arguments"]):
            yield 1, part({"tool_calls": [{"index": number, "function": {"arguments": word}}]})
    for word in pieces(said.content or ""):
        yield 1, part({"content": None if null else word}, None, _logprobs(word, body, chat))
    yield 0, part({}, said.finish)
