"""``/v1/responses`` as chat completions.

Nothing is kept here, so a request must carry its whole conversation.  What chat completions have no
word for is refused by name before anything is spent; what is not known at all is passed on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from outthink.gateway.errors import Fault, shown, wrong
from outthink.gateway.replies import events, from_chat

__all__ = ["events", "from_chat", "to_chat"]

#: fields that chat completions have by the same name, with the same meaning
PASSED = frozenset(
    {
        "model",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "stream",
        "temperature",
        "top_p",
        "user",
    }
)
#: fields that are put in chat completions' words
READ = frozenset(
    {
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "reasoning",
        "stream_options",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
    }
)
#: fields that the answer repeats, and that no model needs to see.  OpenAI's chat completions refuse
#: ``metadata`` of what is not stored; ``max_tool_calls`` counts the tools that the server runs.
ECHOED = frozenset({"max_tool_calls", "metadata", "store", "truncation"})
_ITEMS = "nothing is kept here: send the earlier items in input"
#: fields that cannot be honoured, and what to do instead
REFUSED = {
    "access_programs": "only OpenAI's own server has them: leave it out",
    "background": "every answer is given in its own request: leave it out, or use stream",
    "background_options": "every answer is given in its own request: leave it out",
    "context_management": "a conversation is not shortened here: send the items that matter",
    "conversation": _ITEMS,
    "image": "images go on as they were sent: leave it out",
    "moderation": "nothing is moderated here: leave it out, or ask /v1/chat/completions of a "
    "model whose server does it",
    "previous_response_id": _ITEMS,
    "prompt": "no prompts are stored here: send its text in instructions or input",
}
#: what may be asked for beside the answer; all but the log probabilities need nothing to be done
INCLUDE = frozenset(
    {
        "code_interpreter_call.outputs",
        "computer_call_output.output.image_url",
        "file_search_call.results",
        "message.input_image.image_url",
        "message.output_text.logprobs",
        "reasoning.encrypted_content",
        "web_search_call.action.sources",
        "web_search_call.results",
    }
)


def to_chat(body: dict[str, Any]) -> dict[str, Any]:
    """The body of a chat completion that asks the same; raises ``Fault`` 400 that names the field."""
    for name, instead in REFUSED.items():
        if body.get(name):
            raise _refused(name, instead)
    chat = {k: v for k, v in body.items() if k in PASSED and v is not None}
    chat["messages"] = _messages(body)
    chat |= _limits(body) | _format(body) | _reasoning(body) | _logprobs_asked(body)
    tools = _tools(body)
    chat |= tools
    if not tools:  # chat completions refuse it without tools, where it means nothing
        chat.pop("parallel_tool_calls", None)
    if body.get("stream"):
        # what pads our own stream is no matter of the model's server
        options = _object(body, "stream_options")
        kept = {k: v for k, v in options.items() if k != "include_obfuscation"}
        chat["stream_options"] = {**kept, "include_usage": True}
    if body.get("n") not in (None, 1):
        raise _refused("n", "a response is one answer: ask /v1/chat/completions for several")
    for name, value in body.items():
        if name in PASSED or name in READ or name in ECHOED or name in REFUSED or value is None:
            continue
        if name in chat:
            raise _refused(name, "this endpoint has another name for it, which was sent too")
        if name != "n":
            chat[name] = value
    return chat


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    given = body.get("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise wrong("input", given, "a text or a list of items")
    for place, item in enumerate(given):
        if not isinstance(item, dict):
            raise wrong(f"input[{place}]", item, "an object")
    script = _Script()
    instructions = body.get("instructions")
    if instructions:
        if not isinstance(instructions, str):
            raise wrong("instructions", instructions, "a text")
        # more servers know this role than "developer"; OpenAI's take either for the other
        script.messages.append({"role": "system", "content": instructions})
    # models want back what they thought since the user last spoke; earlier thoughts they are
    # trained to do without
    turn = max((i for i, item in enumerate(given) if item.get("role") == "user"), default=-1)
    if _object(body, "reasoning").get("context") == "all_turns":
        turn = -1
    for place, item in enumerate(given):
        script.add(item, f"input[{place}]", recent=place > turn)
    return script.messages


@dataclass
class _Script:
    """A chat that is being written; what the assistant did in one go becomes one message."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    #: what the assistant thought before what comes next
    thought: str = ""

    def add(self, item: Mapping[str, Any], where: str, recent: bool) -> None:
        """One item; ``recent``: is it of the turn that goes on?"""
        kind = item.get("type") or ("message" if "role" in item else None)
        if kind == "message":
            self._message(item, where)
        elif kind == "function_call":
            function = {k: _text(item, k, where) for k in ("name", "arguments")}
            self._call(item, where, {"type": "function", "function": function})
        elif kind == "custom_tool_call":
            custom = {k: _text(item, k, where) for k in ("name", "input")}
            self._call(item, where, {"type": "custom", "custom": custom})
        elif kind in ("function_call_output", "custom_tool_call_output"):
            content = _content(item.get("output"), f"{where}.output")
            call = _text(item, "call_id", where)
            self._other({"role": "tool", "tool_call_id": call, "content": content})
        elif kind == "reasoning":
            if recent:
                self.thought += _thought_of(item)
        else:
            instead = (
                _ITEMS if kind == "item_reference" else "leave it out, or send it as a message"
            )
            raise _refused(
                where, f"an item of type {shown(kind)} has no place in a chat: {instead}"
            )

    def _message(self, item: Mapping[str, Any], where: str) -> None:
        role, content = item.get("role"), item.get("content")
        if role not in ("user", "assistant", "system", "developer"):
            raise wrong(f"{where}.role", role, "user, assistant, system or developer")
        refusals: list[str] = []
        if isinstance(content, list):
            parts = [p for p in content if isinstance(p, dict) and p.get("type") == "refusal"]
            refusals = [_text(p, "refusal", f"{where}.content") for p in parts]
            content = [p for p in content if p not in parts]
        if content == []:
            content = ""
        said = _content(content, f"{where}.content")
        if role != "assistant":
            return self._other({"role": role, "content": said})
        last = self._assistant(fresh=True)
        last["content"] = _joined(last["content"], said)
        if refusals:
            last["refusal"] = last.get("refusal", "") + "".join(refusals)
        return None

    def _call(self, item: Mapping[str, Any], where: str, call: dict[str, Any]) -> None:
        call = {"id": _text(item, "call_id", where), **call}
        self._assistant(fresh=False).setdefault("tool_calls", []).append(call)

    def _assistant(self, fresh: bool) -> dict[str, Any]:
        """The message that the assistant is writing; ``fresh`` words begin another one.

        Not while calls wait for what they return: that must follow them at once.
        """
        last = self.messages[-1] if self.messages else {}
        full = last.get("content") is not None and not last.get("tool_calls")
        if last.get("role") != "assistant" or (fresh and full):
            last = {"role": "assistant", "content": None}
            self.messages.append(last)
        if self.thought:
            last["reasoning_content"] = last.get("reasoning_content", "") + self.thought
            self.thought = ""
        return last

    def _other(self, message: dict[str, Any]) -> None:
        self.thought = ""
        self.messages.append(message)


def _joined(old: Any, new: Any) -> Any:
    """Two contents as one, each of which is a text or a list of parts."""
    if not old or not new:
        return old or new
    if isinstance(old, str) and isinstance(new, str):
        return f"{old}\n{new}"
    lists = [[{"type": "text", "text": c}] if isinstance(c, str) else c for c in (old, new)]
    return [*lists[0], *lists[1]]


def _thought_of(item: Mapping[str, Any]) -> str:
    """What a model wrote while it thought: the text itself, not a summary and nothing encrypted."""
    parts = item.get("content")
    texts = [p.get("text") for p in parts if isinstance(p, dict)] if isinstance(parts, list) else []
    return "".join(t for t in texts if isinstance(t, str))


def _content(content: Any, where: str) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong(where, content, "a text or a list of parts")
    parts = [_part(part, f"{where}[{i}]") for i, part in enumerate(content)]
    if len(parts) == 1 and set(parts[0]) == {"type", "text"}:
        return str(parts[0]["text"])  # which every server takes; some take no list
    return parts


def _part(part: Any, where: str) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise wrong(where, part, "an object")
    kind, rest = part.get("type"), {k: v for k, v in part.items() if k != "type" and v is not None}
    if kind in ("input_text", "output_text", "text"):
        more = {k: v for k, v in rest.items() if k not in ("text", "annotations", "logprobs")}
        return {"type": "text", "text": _text(part, "text", where), **more}
    if kind == "input_image":
        if "image_url" not in rest and "file_id" in rest:
            raise _refused(f"{where}.file_id", "no files are kept here: send image_url")
        image = {"url": _text(part, "image_url", where)}
        if "detail" in rest:
            image["detail"] = rest["detail"]
        more = {k: v for k, v in rest.items() if k not in ("image_url", "detail", "file_id")}
        return {"type": "image_url", "image_url": image, **more}
    if kind == "input_file":
        if rest.get("file_url"):
            raise _refused(f"{where}.file_url", "nothing is fetched here: send file_data")
        names = ("file_data", "file_id", "filename")
        file = {k: rest[k] for k in names if k in rest}
        if not {"file_data", "file_id"} & set(file):
            raise wrong(where, part, "a file with file_data or file_id")
        more = {k: v for k, v in rest.items() if k not in names and k != "file_url"}
        return {"type": "file", "file": file, **more}
    if kind == "input_audio":
        return dict(part)
    known = "input_text, output_text, refusal, input_image, input_file or input_audio"
    raise wrong(f"{where}.type", kind, known)


def _tools(body: Mapping[str, Any]) -> dict[str, Any]:
    tools, choice = body.get("tools") or [], body.get("tool_choice")
    if not isinstance(tools, list):
        raise wrong("tools", tools, "a list of tools")
    if tools:
        out: dict[str, Any] = {
            "tools": [_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools)]
        }
        if choice is not None:
            out["tool_choice"] = _choice(choice)
        return out
    if choice not in (None, "auto", "none"):
        raise wrong("tool_choice", choice, "left out where there are no tools")
    return {}


def _tool(tool: Any, where: str) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise wrong(where, tool, "an object")
    kind = tool.get("type")
    if kind not in ("function", "custom"):
        raise _refused(
            where,
            f"a tool of type {shown(kind)} is not run here: give it as a function of your own",
        )
    if isinstance(tool.get(kind), dict):
        raise wrong(f"{where}.{kind}", tool[kind], "flat: its name and the rest beside the type")
    _text(tool, "name", where)
    rest = {k: v for k, v in tool.items() if k != "type" and v is not None}
    shape = rest.get("format")
    if kind == "custom" and isinstance(shape, dict) and shape.get("type") == "grammar":
        grammar = {k: v for k, v in shape.items() if k != "type"}
        rest["format"] = {"type": "grammar", "grammar": grammar}
    return {"type": kind, kind: rest}


def _choice(choice: Any) -> Any:
    if choice in ("none", "auto", "required"):
        return choice
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind in ("function", "custom"):
        return {"type": kind, kind: {"name": _text(choice, "name", "tool_choice")}}
    if kind == "allowed_tools":
        tools = choice.get("tools")
        if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
            raise wrong("tool_choice.tools", tools, "a list of tools")
        rest = {"mode": choice.get("mode", "auto"), "tools": [_choice(tool) for tool in tools]}
        return {"type": kind, kind: rest}
    if kind is not None:
        raise _refused("tool_choice", f"a tool of type {shown(kind)} is not run here")
    raise wrong("tool_choice", choice, "none, auto, required or the name of a tool in an object")


def _limits(body: Mapping[str, Any]) -> dict[str, Any]:
    limit = body.get("max_output_tokens")
    if limit is None:
        return {}
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise wrong("max_output_tokens", limit, "a whole number of at least 1")
    return {"max_completion_tokens": limit}


def _format(body: Mapping[str, Any]) -> dict[str, Any]:
    text = _object(body, "text")
    out = {"verbosity": text["verbosity"]} if text.get("verbosity") is not None else {}
    shape = _object(text, "format", "text.format")
    kind = shape.get("type", "text")
    if kind == "json_schema":
        for name, wanted in (("name", str), ("schema", dict)):
            if not isinstance(shape.get(name), wanted):
                raise wrong(f"text.format.{name}", shape.get(name), f"given, as {wanted.__name__}")
        schema = {k: v for k, v in shape.items() if k != "type" and v is not None}
        out["response_format"] = {"type": kind, "json_schema": schema}
    elif kind == "json_object":
        out["response_format"] = {"type": kind}
    elif kind != "text":
        raise wrong("text.format.type", kind, "text, json_object or json_schema")
    return out


def _reasoning(body: Mapping[str, Any]) -> dict[str, Any]:
    reasoning = _object(body, "reasoning")
    mode = reasoning.get("mode")
    if mode not in (None, "standard"):
        instead = "name a strategy to have more computed: outthink.strategy"
        raise _refused(
            "reasoning.mode", f"{shown(mode)} is known to OpenAI's own server: {instead}"
        )
    effort = reasoning.get("effort")
    return {} if effort is None else {"reasoning_effort": effort}


def _logprobs_asked(body: Mapping[str, Any]) -> dict[str, Any]:
    include, top = body.get("include") or [], body.get("top_logprobs")
    if not isinstance(include, list):
        raise wrong("include", include, "a list of names")
    for name in include:
        if not isinstance(name, str) or name not in INCLUDE:
            raise wrong("include", name, f"one of {', '.join(sorted(INCLUDE))}")
    if top is not None and (
        isinstance(top, bool) or not isinstance(top, int) or not 0 <= top <= 20
    ):
        raise wrong("top_logprobs", top, "a whole number from 0 to 20")
    if not top and "message.output_text.logprobs" not in include:
        return {}
    return {"logprobs": True, **({"top_logprobs": top} if top else {})}


def _object(body: Mapping[str, Any], name: str, where: str | None = None) -> Mapping[str, Any]:
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise wrong(where or name, value, "an object")
    return value or {}


def _text(item: Mapping[str, Any], name: str, where: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise wrong(f"{where}.{name}", value, "a text")
    return value


def _refused(where: str, instead: str) -> Fault:
    return Fault(400, f"{where[:60]}: {instead}", code="unsupported", param=where[:60])
