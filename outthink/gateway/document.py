"""The OpenAPI document of the gateway: what it reads, what it answers, how it refuses.

The fields that the gateway reads itself are typed; other fields of a request go to the upstream as
they are, so every request's schema is open.
"""

from __future__ import annotations

import functools
from typing import Any

Schema = dict[str, Any]

#: headers of an answer that a run gave, and what they hold
HEADERS = {
    "x-outthink-run": ("string", "The run's id, for `GET /v1/runs/{id}`."),
    "x-outthink-strategy": ("string", "The strategy's name; `greedy` is the pass-through."),
    "x-outthink-calls": ("integer", "Calls of models that were made, every retry included."),
    "x-outthink-prompt-tokens": ("integer", "Tokens of the prompts of all calls."),
    "x-outthink-completion-tokens": ("integer", "Tokens that all calls wrote."),
    "x-outthink-usd": ("number", "Dollars by the price table."),
    "x-outthink-estimated": ("boolean", "Sent where a count is an upper estimate."),
    "x-outthink-confidence": ("number", "The weight of the winning answer, from 0 to 1."),
    "x-outthink-stopped": ("string", "Why the run ended: `finished`, or the limit that ended it."),
}

#: headers of a request, for clients that cannot send the ``outthink`` object
WISHES = {
    "x-outthink-strategy": ("string", "As `outthink.strategy`."),
    "x-outthink-budget": ("string", "As `outthink.budget`."),
    "x-outthink-trace": ("boolean", "As `outthink.trace`."),
    "x-outthink-progress": ("boolean", "As `outthink.progress`."),
}

#: what is refused, by status
REFUSALS = {
    "400": "The request cannot be honoured; the message says what is wrong and what is allowed.",
    "401": "No key, or a wrong one; or the upstream refuses the gateway's.",
    "403": "The key may not use this model or this strategy.",
    "404": "No such model, run or address.",
    "405": "Another method is meant; `Allow` says which.",
    "408": "The headers took too long.",
    "413": "The body is larger than the gateway takes.",
    "415": "The body's type is not JSON.",
    "429": "The key's limit is reached, or the gateway or its upstream is full.",
    "431": "The headers are larger than the gateway takes.",
    "4XX": "Another refusal of the upstream's, with its status and its words.",
    "500": "The gateway failed.",
    "502": "The upstream failed, cannot be reached or answers what cannot be read.",
    "503": "The gateway is going down, or its store cannot be used.",
    "504": "No answer before the deadline.",
    "5XX": "Another failure of the upstream's, with its status and its words.",
}


def _ref(name: str, kind: str = "schemas") -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def _text(description: str = "", **more: Any) -> Schema:
    return _typed("string", description, **more)


def _typed(kind: str, description: str = "", **more: Any) -> Schema:
    return {"type": kind, **({"description": description} if description else {}), **more}


def _maybe(kind: str, description: str = "", **more: Any) -> Schema:
    """A value, or null, which is as if it were not there."""
    return {**_typed(kind, description, **more), "type": [kind, "null"]}


def _list(items: Schema, description: str = "", **more: Any) -> Schema:
    return _typed("array", description, items=items, **more)


def _object(
    properties: Schema, required: tuple[str, ...] = (), description: str = "", **more: Any
) -> Schema:
    """An object; open for other fields, as all are unless ``additionalProperties`` says otherwise."""
    needs = {"required": list(required)} if required else {}
    return _typed("object", description, properties=properties, **needs, **more)


def _any(*schemas: Schema, description: str = "") -> Schema:
    return {"anyOf": list(schemas), **({"description": description} if description else {})}


#: fields that the endpoints share
SAMPLING: Schema = {
    "model": _text(
        "A model; an alias; or a strategy and a model, as `self_consistency(n=8)@qwen3-8b`.",
        minLength=1,
    ),
    "temperature": _maybe("number", minimum=0, maximum=2),
    "top_p": _maybe("number", minimum=0, maximum=1),
    "stream": _maybe("boolean", "Answer with server-sent events."),
    "outthink": _ref("Wish"),
}
SEVERAL: Schema = {
    "n": _maybe("integer", "Distinct answers of the strategy, best first.", minimum=1, maximum=128),
    "stop": _any(_text(), _list(_text()), _typed("null")),
    "seed": _maybe("integer", "Each sample draws with a seed of its own, derived from this one."),
    "stream_options": _any(_ref("StreamOptions"), _typed("null")),
}


def _tools() -> Schema:
    function = _object(
        {
            "name": _text(minLength=1),
            "description": _maybe("string"),
            "parameters": _typed("object", "A JSON schema."),
            "strict": _maybe("boolean"),
        },
        ("name",),
    )
    tool = _object({"type": {"const": "function"}, "function": function}, ("type", "function"))
    custom = _object({"type": {"const": "custom"}, "custom": _typed("object")}, ("type", "custom"))
    choice = _object(
        {"type": _text(), "function": _object({"name": _text()}, ("name",))}, ("type",)
    )
    call = _object(
        {
            "id": _text(),
            "type": _text(),
            "function": _object({"name": _text(), "arguments": _text()}, ("name", "arguments")),
        },
        ("id", "type"),
    )
    return {
        "Tool": _any(tool, custom),
        "ToolChoice": _any(_text(enum=["none", "auto", "required"]), choice),
        "ToolCall": call,
    }


def _messages() -> Schema:
    image = _object({"url": _text("`https:` or `data:`"), "detail": _text()}, ("url",))
    parts = [
        _object({"type": {"const": "text"}, "text": _text()}, ("type", "text")),
        _object({"type": {"const": "image_url"}, "image_url": image}, ("type", "image_url")),
        _object({"type": {"enum": ["input_audio", "file", "refusal"]}}, ("type",)),
    ]
    said = _any(_text(), _list(_ref("ContentPart"), minItems=1))
    told = _object(
        {"role": {"enum": ["system", "developer", "user"]}, "content": said, "name": _text()},
        ("role", "content"),
    )
    answered = _object(
        {
            "role": {"const": "assistant"},
            "content": _any(said, _typed("null")),
            "tool_calls": _list(_ref("ToolCall")),
            "name": _text(),
        },
        ("role",),
    )
    result = _object(
        {"role": {"const": "tool"}, "content": said, "tool_call_id": _text()},
        ("role", "content", "tool_call_id"),
    )
    return {"ContentPart": _any(*parts), "Message": _any(told, answered, result)}


def _requests() -> Schema:
    form = _object(
        {
            "type": {"enum": ["text", "json_object", "json_schema"]},
            "json_schema": _object(
                {"name": _text(), "schema": _typed("object"), "strict": _maybe("boolean")},
                ("name",),
            ),
        },
        ("type",),
    )
    limits = _object(
        {
            "tokens": _typed("integer", "Completion tokens.", minimum=1),
            "total_tokens": _typed("integer", "Prompt and completion tokens.", minimum=1),
            "calls": _typed("integer", minimum=1),
            "seconds": _typed("number", exclusiveMinimum=0),
            "usd": _typed("number", exclusiveMinimum=0),
            "flops": _typed("number", exclusiveMinimum=0),
        },
        additionalProperties=False,
    )
    wish = _object(
        {
            "strategy": _maybe("string", "A strategy's spec, as `self_consistency(n=8)`."),
            "budget": _any(_text("As `tokens=20k, seconds=30, usd=0.05`."), limits, _typed("null")),
            "trace": _maybe("boolean", "Keep the run's prompts and samples for a while."),
            "progress": _maybe("boolean", "Send `outthink.progress` events in a stream."),
        },
        description="What the gateway is to do; it goes no further.",
        additionalProperties=False,
    )
    chat = _object(
        {
            **SAMPLING,
            "messages": _list(_ref("Message"), minItems=1),
            **SEVERAL,
            "max_tokens": _maybe("integer", minimum=0),
            "max_completion_tokens": _maybe("integer", minimum=0),
            "tools": _list(_ref("Tool")),
            "tool_choice": _ref("ToolChoice"),
            "parallel_tool_calls": _maybe("boolean"),
            "response_format": _ref("ResponseFormat"),
            "logprobs": _maybe("boolean"),
            "top_logprobs": _maybe("integer", minimum=0, maximum=20),
        },
        ("model", "messages"),
    )
    completion = _object(
        {
            **SAMPLING,
            "prompt": _any(_text(), _list(_text(), minItems=1)),
            **SEVERAL,
            "max_tokens": _maybe("integer", minimum=0),
            "logprobs": _maybe("integer", minimum=0, maximum=5),
        },
        ("model", "prompt"),
    )
    response = _object(
        {
            **SAMPLING,
            "input": _any(_text(), _list(_typed("object"), minItems=1)),
            "instructions": _maybe("string"),
            "max_output_tokens": _maybe("integer", minimum=1),
            "tools": _list(_typed("object")),
            "text": _typed("object", "The form of the answer, in `format`."),
        },
        ("model", "input"),
    )
    return {
        "ResponseFormat": form,
        "StreamOptions": _object({"include_usage": _maybe("boolean")}),
        "Wish": wish,
        "ChatRequest": chat,
        "CompletionRequest": completion,
        "ResponseRequest": response,
    }


def _answers() -> Schema:
    count = _typed("integer", minimum=0)
    told = _object(
        {
            "run": _text("The run's id."),
            "strategy": _text("Its spec, with all parameters."),
            "model": _text(),
            "answer": _maybe("string", "What was read from the text and voted on."),
            "confidence": _maybe("number", "The weight of the winning answer, from 0 to 1."),
            "stopped": _text("`finished`, or the limit that ended the run."),
            "calls": count,
            "samples": count,
            "usd": _typed("number"),
            "seconds": _typed("number"),
            "estimated": _typed("boolean", "Is a count our own upper estimate?"),
            "notes": _list(_text(), "What a person should know of it."),
        },
        ("run",),
        "What the run was, in every answer that a strategy gave.",
    )
    usage = _object(
        {
            "prompt_tokens": count,
            "completion_tokens": count,
            "total_tokens": count,
            "prompt_tokens_details": _maybe("object", "`cached_tokens`"),
            "completion_tokens_details": _maybe("object", "`reasoning_tokens`"),
        },
        ("prompt_tokens", "completion_tokens", "total_tokens"),
        "The sum over all calls that were made for this answer.",
    )
    message = _object(
        {
            "role": {"const": "assistant"},
            "content": _maybe("string"),
            "tool_calls": _any(_list(_ref("ToolCall")), _typed("null")),
        },
        ("role",),
    )
    finish = _maybe("string", "`stop`, `length`, `tool_calls` ...")
    choice = _object(
        {
            "index": count,
            "message": message,
            "finish_reason": finish,
            "logprobs": _maybe("object"),
        },
        ("index", "message"),
    )
    written = _object({"index": count, "text": _text(), "finish_reason": finish}, ("index", "text"))
    base = {"id": _text(), "created": _typed("integer"), "model": _text()}
    more = {"usage": _any(_ref("Usage"), _typed("null")), "outthink": _ref("Outthink")}
    always = ("id", "object", "created", "model", "choices")
    delta = _object({"index": count, "delta": _typed("object"), "finish_reason": finish})
    return {
        "Outthink": told,
        "Usage": usage,
        "ChatCompletion": _object(
            {**base, "object": {"const": "chat.completion"}, "choices": _list(choice), **more},
            always,
        ),
        "ChatChunk": _object(
            {**base, "object": {"const": "chat.completion.chunk"}, "choices": _list(delta), **more},
            always,
            "The `data` of an event of a stream.",
        ),
        "Completion": _object(
            {**base, "object": {"const": "text_completion"}, "choices": _list(written), **more},
            always,
        ),
        "Response": _object(
            {
                "id": _text(),
                "object": {"const": "response"},
                "created_at": _typed("number"),
                "status": _text(),
                "model": _text(),
                "output": _list(_object({"type": _text()}, ("type",))),
                "usage": _maybe("object"),
                "outthink": _ref("Outthink"),
            },
            ("id", "object", "created_at", "model", "output"),
        ),
        "Model": _object(
            {
                "id": _text(),
                "object": {"const": "model"},
                "created": _typed("integer"),
                "owned_by": _text(),
            },
            ("id", "object", "created", "owned_by"),
        ),
        "ModelList": _object(
            {"object": {"const": "list"}, "data": _list(_ref("Model"))}, ("object", "data")
        ),
        "Run": _object(
            {
                "object": {"const": "outthink.run"},
                "id": _text(),
                "samples": _list(_typed("object")),
            },
            ("object", "id"),
            "The run, with its text and samples where a trace was asked for.",
        ),
        "Error": _object(
            {
                "error": _object(
                    {
                        "message": _text(),
                        "type": _text(),
                        "param": _maybe("string", "The field that is meant."),
                        "code": _maybe("string"),
                    },
                    ("message", "type", "param", "code"),
                )
            },
            ("error",),
        ),
    }


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _refusals(*statuses: str) -> Schema:
    return {s: _ref(f"Refused{s}", "responses") for s in statuses}


def _post(name: str, asked: str, given: str, events: str, summary: str) -> Schema:
    """An operation that a model answers."""
    stream = _text(f"Server-sent events: {events}", contentMediaType="text/event-stream")
    done = {
        "description": "The answer.",
        "headers": {header: _ref(header, "headers") for header in HEADERS},
        "content": {**_json(_ref(given)), "text/event-stream": {"schema": stream}},
    }
    return {
        "operationId": name,
        "summary": summary,
        "parameters": [_ref(f"wish-{header}", "parameters") for header in WISHES],
        "requestBody": {"required": True, "content": _json(_ref(asked))},
        "responses": {"200": done, **_refusals(*REFUSALS)},
        "security": [{"bearer": []}, {}],
    }


def _get(name: str, summary: str, content: Schema, *refused: str, open_: bool = False) -> Schema:
    told = {"description": summary, "content": content}
    common = ("400", "405", "408", "431", "500", "503") + (() if open_ else ("401", "403"))
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": told, **_refusals(*sorted({*common, *refused}))},
        "security": [] if open_ else [{"bearer": []}, {}],
    }


def _of(name: str, description: str, operation: Schema) -> Schema:
    """A path with a part that varies."""
    where = {"name": name, "in": "path", "required": True, "description": description}
    return {"get": operation, "parameters": [{**where, "schema": _text(minLength=1)}]}


def _paths() -> Schema:
    plain = {"text/plain": {"schema": _text()}}
    state = _json(_typed("object"))
    ready = _get("ready", "Requests are taken.", state, open_=True)
    ready["responses"]["503"] = {"description": "They are not: it is going down.", "content": state}
    end = 'then `data: [DONE]`; an error ends the stream as `data: {"error": ...}`.'
    chunks = f"`data: ` with a ChatChunk each, {end}"
    return {
        "/v1/chat/completions": {
            "post": _post("chat", "ChatRequest", "ChatCompletion", chunks, "Answer a chat.")
        },
        "/v1/completions": {
            "post": _post("complete", "CompletionRequest", "Completion",
                          f"`data: ` with a piece of a Completion each, {end}", "Go on with a text.")
        },
        "/v1/responses": {
            "post": _post("respond", "ResponseRequest", "Response",
                          "`response.created` to `response.completed`, or `response.failed`.",
                          "Answer in the form of OpenAI's Responses API.")
        },
        "/v1/models": {
            "get": _get("models", "The models and aliases that the key may use.",
                        _json(_ref("ModelList")), "502", "504")
        },
        "/v1/models/{model}": _of(
            "model", "A model's name.",
            _get("model", "A model.", _json(_ref("Model")), "404", "502", "504"),
        ),
        "/v1/runs/{id}": _of(
            "id", "The id in `x-outthink-run`.",
            _get("run", "A run, for the key that made it.", _json(_ref("Run")), "404"),
        ),
        "/healthz": {"get": _get("alive", "The process lives.", state, open_=True)},
        "/readyz": {"get": ready},
        "/metrics": {"get": _get("metrics", "Metrics in Prometheus' form.", plain)},
        "/openapi.json": {"get": _get("document", "This document.", state, open_=True)},
    }  # fmt: skip


def _refused(status: str, description: str) -> Schema:
    told: Schema = {"description": description, "content": _json(_ref("Error"))}
    if status in ("429", "503"):
        told["headers"] = {
            "Retry-After": {
                "description": "Seconds to wait.",
                "schema": _typed("integer", minimum=1),
            }
        }
    return told


@functools.cache
def document(version: str) -> dict[str, Any]:
    """The document as plain values, for the gateway of this version of outthink.

    The same object each time: who changes it copies it first.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "outthink",
            "version": version,
            "summary": "Strategies of inference-time scaling behind the OpenAI API.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(),
        "components": {
            "schemas": {**_requests(), **_messages(), **_tools(), **_answers()},
            "headers": {
                name: {"description": told, "schema": {"type": kind}}
                for name, (kind, told) in HEADERS.items()
            },
            "parameters": {
                f"wish-{name}": {
                    "name": name,
                    "in": "header",
                    "description": told,
                    "schema": {"type": kind},
                }
                for name, (kind, told) in WISHES.items()
            },
            "responses": {f"Refused{s}": _refused(s, told) for s, told in REFUSALS.items()},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key of the gateway's; none is needed where none is configured.",
                }
            },
        },
    }
