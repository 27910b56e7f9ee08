"""Responses from chat completions: bodies and streams, read by the openai library itself."""

import asyncio
import json
from typing import get_args

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.gateway.errors import Fault
from outthink.gateway.responses import events, from_chat, to_chat

openai = pytest.importorskip("openai", reason="needs the openai library")
pydantic = pytest.importorskip("pydantic", reason="needs the openai library")
types = pytest.importorskip("openai.types.responses", reason="needs the openai library")

USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 8,
    "total_tokens": 28,
    "prompt_tokens_details": {"cached_tokens": 16},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    "strict": True,
}
BODY = {"model": "m", "input": "hi"}
HEAD = {"id": "chatcmpl-7", "created": 1_700_000_000, "model": "m"}
#: the SDK's class of each event, by its type
EVENTS = {
    get_args(kind.model_fields["type"].annotation)[0]: kind
    for kind in get_args(get_args(types.ResponseStreamEvent)[0])
}


def calling(number, arguments='{"town": "Rome"}', name="weather"):
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{number}", "type": "function", "function": function}


def chat(message=None, finish="stop", logprobs=None, **more):
    message = {"role": "assistant", "content": None, **(message or {})}
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": logprobs}
    return {**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE, **more}


def chunk(delta=None, finish=None, **more):
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {**HEAD, "object": "chat.completion.chunk", "choices": [choice], **more}


def last(**more):
    return {**HEAD, "choices": [], "usage": USAGE, **more}


def told(*chunks, body=BODY):
    """The events of a stream, each of which must hold to the SDK's type of it."""

    async def source():
        for piece in chunks:
            yield piece

    async def gather():
        return [event async for event in events(source(), body)]

    found = asyncio.run(gather())
    for number, (name, data) in enumerate(found):
        assert name == data["type"]
        assert data["sequence_number"] == number
        EVENTS[name].model_validate(data, strict=True)
    return [data for _, data in found]


def read(response):
    """The response, held to the SDK's type."""
    return types.Response.model_validate(response, strict=True)


# -- bodies --------------------------------------------------------------------------------------


def test_a_text():
    body = from_chat(chat({"content": "Four"}), BODY)
    found = read(body)
    assert (found.id, found.status, found.output_text) == ("resp_7", "completed", "Four")
    assert (found.model, found.created_at) == ("m", 1_700_000_000)
    (message,) = body["output"]
    assert message["content"] == [
        {"type": "output_text", "text": "Four", "annotations": [], "logprobs": []}
    ]
    assert message["status"] == "completed"
    assert body["error"] is body["incomplete_details"] is None
    assert (body["parallel_tool_calls"], body["tool_choice"], body["tools"]) == (True, "auto", [])
    assert body["text"] == {"format": {"type": "text"}}


def test_usage_is_kept_apart():
    usage = from_chat(chat({"content": "a"}), BODY)["usage"]
    assert usage == {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 0},
        "output_tokens": 8,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 28,
    }


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None, "completion_tokens": "x"}])
def test_a_usage_that_is_missing_or_wrong_breaks_nothing(usage):
    found = read(from_chat(chat({"content": "a"}, usage=usage), BODY))
    assert found.usage is None or found.usage.total_tokens == 0


def test_thoughts_words_and_calls_in_this_order():
    message = {
        "content": "I look.",
        "reasoning_content": "Hm",
        "tool_calls": [calling(1), calling(2, "{}")],
    }
    found = read(from_chat(chat(message, "tool_calls"), {**BODY, "tools": [WEATHER]}))
    kinds = ["ResponseReasoningItem", "ResponseOutputMessage", *["ResponseFunctionToolCall"] * 2]
    assert [type(item).__name__ for item in found.output] == kinds
    assert found.output[0].content[0].text == "Hm"
    assert [(c.call_id, c.name, c.arguments) for c in found.output[2:]] == [
        ("call_1", "weather", '{"town": "Rome"}'),
        ("call_2", "weather", "{}"),
    ]
    assert {item.status for item in found.output} == {"completed"}
    assert len({item.id for item in found.output}) == 4


def test_a_custom_call():
    call = {"id": "call_1", "type": "custom", "custom": {"name": "patch", "input": "+a"}}
    (item,) = read(from_chat(chat({"tool_calls": [call]}, "tool_calls"), BODY)).output
    assert isinstance(item, types.ResponseCustomToolCall)
    assert (item.call_id, item.name, item.input) == ("call_1", "patch", "+a")


def test_a_refusal_is_a_part_of_the_message():
    found = read(from_chat(chat({"refusal": "I will not."}), BODY))
    assert found.output[0].content[0].refusal == "I will not."
    assert found.output_text == ""


def test_an_answer_of_no_words_is_a_message_of_none():
    found = read(from_chat(chat({"content": ""}), BODY))
    assert found.output[0].content[0].text == ""


def test_thoughts_that_come_in_two_fields_are_told_once():
    done = chat({"content": "a", "reasoning": "Hm", "reasoning_content": "Hm"})
    assert [p["text"] for p in from_chat(done, BODY)["output"][0]["content"]] == ["Hm"]


@pytest.mark.parametrize(
    ("finish", "why"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_a_cut_answer_is_incomplete(finish, why):
    found = read(from_chat(chat({"reasoning": "Hm", "content": "Fo"}, finish), BODY))
    assert (found.status, found.incomplete_details.reason) == ("incomplete", why)
    assert [item.status for item in found.output] == ["completed", "incomplete"]


def test_log_probabilities_have_their_bytes():
    token = {"token": "ä", "logprob": -0.1}
    logprobs = {"content": [{**token, "bytes": None, "top_logprobs": [token]}], "refusal": None}
    part = from_chat(chat({"content": "ä"}, logprobs=logprobs), BODY)["output"][0]["content"][0]
    whole = {**token, "bytes": [0xC3, 0xA4]}
    assert part["logprobs"] == [{**whole, "top_logprobs": [whole]}]


def test_the_request_is_repeated():
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}
    same = {
        "instructions": "Be brief",
        "max_output_tokens": 9,
        "max_tool_calls": 2,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "temperature": 0.5,
        "text": {"format": schema, "verbosity": "low"},
        "tool_choice": {"type": "function", "name": "weather"},
        "tools": [WEATHER],
        "top_logprobs": 2,
        "top_p": 0.5,
        "user": "u",
    }
    asked = {**BODY, **same, "reasoning": {"effort": "low"}, "store": True, "truncation": "auto"}
    body = from_chat(chat({"content": "a"}, service_tier="flex"), asked)
    found = read(body)
    assert {name: body[name] for name in same} == same
    assert body["reasoning"] == {"effort": "low", "summary": None}
    # what was not done is not said to be
    assert (body["store"], body["truncation"], body["background"]) == (False, "disabled", False)
    assert found.service_tier == "flex"
    assert from_chat(chat({"content": "a"}, service_tier="on_demand"), BODY)["service_tier"] is None


def test_every_field_of_the_sdks_response_is_given_or_known_to_be_absent():
    given_ = set(from_chat(chat({"content": "a"}), BODY))
    absent = {
        "access_programs",
        "completed_at",
        "conversation",
        "image",
        "input_transformations",
        "moderation",
        "prompt",
        "prompt_cache_diagnostics",
        "prompt_cache_options",
        "tool_usage",
    }
    assert set(types.Response.model_fields) - given_ == absent
    assert given_ - set(types.Response.model_fields) == {"store"}


def test_what_the_gateway_says_of_the_run_is_kept():
    facts = {"run": "7", "calls": 8}
    assert from_chat(chat({"content": "a"}, outthink=facts), BODY)["outthink"] == facts


@pytest.mark.parametrize("done", [{}, {"choices": []}, {"choices": [{"message": None}]}, [], "x"])
def test_an_answer_without_a_message_is_the_servers_fault(done):
    with pytest.raises(Fault) as caught:
        from_chat(done, BODY)
    assert caught.value.status == 502


@pytest.mark.parametrize("nothing", [None, "", 5])
def test_an_answer_without_an_id_or_a_model_gets_its_own(nothing):
    bare = chat({"content": "a"}, id=nothing, model=None, created=None)
    first, second = (read(from_chat(bare, BODY)) for _ in range(2))
    assert first.id != second.id
    assert first.model == "m"
    assert first.created_at > HEAD["created"]


# -- streams -------------------------------------------------------------------------------------


def test_the_events_of_a_text_in_their_order():
    found = told(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Fo"}),
        chunk({"content": "ur"}),
        chunk(finish="stop"),
        last(),
    )
    assert [event["type"].removeprefix("response.") for event in found] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["delta"] for event in found if "delta" in event] == ["Fo", "ur"]
    assert found[0]["response"]["status"] == found[1]["response"]["status"] == "in_progress"
    assert found[-1]["response"] == from_chat(chat({"content": "Four"}), BODY)


def test_the_events_of_thoughts_and_calls():
    found = told(
        chunk({"reasoning_content": "H"}),
        chunk({"reasoning_content": "m"}),
        chunk({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "weather"}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"town":'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": ' "Rome"}'}}]}),
        chunk(finish="tool_calls"),
        last(),
    )
    assert [event["type"].removeprefix("response.") for event in found] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    done = chat({"reasoning_content": "Hm", "tool_calls": [calling(1)]}, "tool_calls")
    assert found[-1]["response"] == from_chat(done, BODY)


def test_a_call_is_told_of_once_its_name_is_whole():
    pieces = ({"index": 0, "id": "c", "function": {"name": n}} for n in ("wea", "ther"))
    found = told(
        *(chunk({"tool_calls": [p]}) for p in pieces),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"name": "weather", "arguments": " "}}]}),
        chunk(finish="tool_calls"),
        last(),
    )
    (added,) = (e["item"] for e in found if e["type"] == "response.output_item.added")
    assert (added["name"], added["call_id"], added["arguments"]) == ("weather", "c", "")
    (call,) = found[-1]["response"]["output"]
    assert (call["name"], call["arguments"]) == ("weather", "{} ")


def test_calls_whose_pieces_are_mixed():
    def piece(index, **function):
        first = {"id": f"call_{index}"} if "name" in function else {}
        return chunk({"tool_calls": [{"index": index, **first, "function": function}]})

    found = told(
        piece(0, name="a"),
        piece(1, name="b"),
        piece(1, arguments="{"),
        piece(0, arguments="{"),
        piece(1, arguments="}"),
        piece(0, arguments="}"),
        chunk(finish="tool_calls"),
        last(),
    )
    output = found[-1]["response"]["output"]
    assert [(c["name"], c["arguments"], c["call_id"]) for c in output] == [
        ("a", "{}", "call_0"),
        ("b", "{}", "call_1"),
    ]


def test_calls_without_an_index_are_told_apart_by_their_ids():
    calls = [calling(1, "{}"), calling(2, "{}")]
    found = told(chunk({"tool_calls": calls}), chunk(finish="tool_calls"), last())
    assert [c["call_id"] for c in found[-1]["response"]["output"]] == ["call_1", "call_2"]


def test_a_call_without_arguments_or_id():
    piece = {"index": 0, "function": {"name": "now"}}
    found = told(chunk({"tool_calls": [piece]}), chunk(finish="tool_calls"), last())
    (call,) = found[-1]["response"]["output"]
    assert (call["name"], call["arguments"]) == ("now", "")
    assert call["call_id"]


def test_a_custom_call_in_pieces():
    pieces = [
        {"index": 0, "id": "c", "type": "custom"},
        {"index": 0, "custom": {"name": "patch", "input": "+"}},
        {"index": 0, "custom": {"input": "a"}},
    ]
    found = told(
        *(chunk({"tool_calls": [piece]}) for piece in pieces),
        chunk(finish="tool_calls"),
        last(),
    )
    kinds = [e["type"] for e in found if "custom_tool_call_input" in e["type"]]
    assert kinds == [f"response.custom_tool_call_input.{k}" for k in ("delta", "delta", "done")]
    assert found[-1]["response"]["output"][0]["input"] == "+a"


def test_a_refusal_in_pieces():
    found = told(chunk({"refusal": "N"}), chunk({"refusal": "o"}), chunk(finish="stop"), last())
    kinds = [e["type"] for e in found if "refusal" in e["type"]]
    assert kinds == [f"response.refusal.{k}" for k in ("delta", "delta", "done")]
    assert found[-1]["response"]["output"][0]["content"] == [{"type": "refusal", "refusal": "No"}]


def test_a_cut_stream_is_incomplete():
    found = told(chunk({"content": "Fo"}), chunk(finish="length"), last())
    assert found[-1]["type"] == "response.incomplete"
    assert found[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert found[-2]["item"]["status"] == "incomplete"


def test_log_probabilities_wait_for_their_text():
    token = {"token": "F", "logprob": -0.5, "bytes": [70], "top_logprobs": []}
    held = chunk({"content": ""})
    held["choices"][0]["logprobs"] = {"content": [token]}
    more = chunk({"content": "our"})
    more["choices"][0]["logprobs"] = {"content": [{**token, "token": "our"}]}
    found = told(held, chunk({"content": "F"}), more, chunk(finish="stop"), last())
    deltas = [e["logprobs"] for e in found if e["type"] == "response.output_text.delta"]
    assert [[t["token"] for t in tokens] for tokens in deltas] == [["F"], ["our"]]
    whole = found[-1]["response"]["output"][0]["content"][0]["logprobs"]
    assert whole == [token for tokens in deltas for token in tokens]


def test_signs_of_progress_are_no_events():
    sign = {**HEAD, "object": "outthink.progress", "choices": [], "outthink": {"event": "sample"}}
    facts = {"run": "7", "calls": 2}
    plain = told(chunk({"content": "a"}), chunk(finish="stop"), last(outthink=facts))
    signed = told(sign, chunk({"content": "a"}), sign, chunk(finish="stop"), last(outthink=facts))
    assert signed == plain
    assert signed[-1]["response"]["outthink"] == facts


def test_other_choices_are_left_out():
    other = chunk({"content": "b"})
    other["choices"][0]["index"] = 1
    found = told(chunk({"content": "a"}), other, chunk(finish="stop"), last())
    assert found[-1]["response"]["output"][0]["content"][0]["text"] == "a"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"message": "busy", "type": "rate_limit_error", "code": "x"}, "rate_limit_exceeded"),
        ({"message": "busy", "code": "upstream_rate_limited"}, "rate_limit_exceeded"),
        ({"message": "long", "type": "invalid_request_error", "param": "p"}, "invalid_prompt"),
        ({"message": "down", "type": "upstream_error", "code": 502}, "server_error"),
        ("down", "server_error"),
    ],
)
def test_an_error_in_midstream_fails_the_response(error, code):
    found = told(chunk({"content": "Fo"}), {"error": error}, chunk({"content": "ur"}))
    assert [event["type"] for event in found[-2:]] == ["error", "response.failed"]
    raised, failed = found[-2], found[-1]["response"]
    message = error if isinstance(error, str) else error["message"]
    assert raised["message"] == raised["error"]["message"] == failed["error"]["message"] == message
    assert (failed["status"], failed["error"]["code"]) == ("failed", code)
    assert raised["param"] == (error.get("param") if isinstance(error, dict) else None)
    (item,) = failed["output"]
    assert (item["status"], item["content"][0]["text"]) == ("incomplete", "Fo")


@pytest.mark.parametrize("chunks", [(), (chunk({"content": "Fo"}),), ({"error": "down"},)])
def test_a_stream_that_only_stops_has_failed(chunks):
    found = told(*chunks)
    assert found[0]["type"] == "response.created"
    assert found[-1]["type"] == "response.failed"


@pytest.mark.parametrize("ends", [(chunk(finish="stop"),), (last(),)])
def test_a_reason_or_a_usage_is_an_end(ends):
    assert told(chunk({"content": "Four"}), *ends)[-1]["type"] == "response.completed"


def test_what_a_server_should_not_send_breaks_nothing():
    odd = {"content": 5, "refusal": {}, "reasoning": [], "tool_calls": "x"}
    calls = {"tool_calls": [None, {"index": 0, "id": "c", "function": None}]}
    parts = {"content": [{"type": "text", "text": "Fo"}, {"type": "text", "text": "ur"}, None]}
    choices = {**HEAD, "choices": [None]}
    found = told(None, choices, chunk(odd), chunk(calls), chunk(parts), chunk(finish=5), last())
    assert [item["type"] for item in found[-1]["response"]["output"]] == [
        "message",
        "function_call",
    ]
    assert read(found[-1]["response"]).output_text == "Four"


def test_nothing_comes_before_the_first_chunk():
    async def broken():
        raise Fault(502, "down")
        yield

    async def gather():
        return [event async for event in events(broken(), BODY)]

    with pytest.raises(Fault):
        asyncio.run(gather())


@pytest.mark.parametrize("after", [1, 4])
def test_whoever_leaves_a_stream_closes_its_source(after):
    closed = []

    async def source():
        try:
            while True:
                yield chunk({"content": "a"})
        finally:
            closed.append(True)

    async def leave():
        stream = events(source(), BODY)
        for _ in range(after):
            await anext(stream)
        await stream.aclose()
        return list(closed)  # the end of the loop would close it too

    assert asyncio.run(leave()) == [True]


def cuts(text):
    """A text in any pieces."""
    return st.lists(st.integers(0, len(text)), max_size=6).map(
        lambda at: [
            text[i:j] for i, j in zip([0, *sorted(at)], [*sorted(at), len(text)], strict=True)
        ]
    )


@st.composite
def streams(draw):
    """A message and the chunks that bring it."""
    text = st.text(st.characters(codec="utf-8"), max_size=8)
    message = {"content": draw(text)}
    deltas = []
    thought = draw(text)
    if thought:
        message["reasoning_content"] = thought
        deltas += [{"reasoning_content": p} for p in draw(cuts(thought))]
    deltas += [{"content": p} for p in draw(cuts(message["content"]))]
    refusal = draw(text)
    if refusal:
        message["refusal"] = refusal
        deltas += [{"refusal": p} for p in draw(cuts(refusal))]
    message["tool_calls"] = []
    for index in range(draw(st.integers(0, 2))):
        call = calling(index, draw(text), draw(st.text("ab", min_size=1, max_size=4)))
        message["tool_calls"].append(call)
        names, arguments = (draw(cuts(call["function"][k])) for k in ("name", "arguments"))
        parts = [{"name": n} for n in names] + [{"arguments": a} for a in arguments]
        pieces = [{"index": index, "function": part} for part in parts]
        pieces[0]["id"] = call["id"]
        deltas += [{"tool_calls": [piece]} for piece in pieces]
    finish = draw(st.sampled_from(["stop", "length", "tool_calls"]))
    return chat(message, finish), [*map(chunk, deltas), chunk(finish=finish), last()]


@given(streams())
def test_any_pieces_of_a_message_make_the_same_response(stream):
    done, chunks = stream
    found = told(*chunks)
    assert found[-1]["response"] == from_chat(done, BODY)
    read(found[-1]["response"])
    # and the pieces that were told of make up what was told at the end of each part
    for item in found[-1]["response"]["output"]:
        deltas = [e["delta"] for e in found if e.get("item_id") == item["id"] and "delta" in e]
        written = item.get("arguments")
        if written is None:
            written = "".join(p.get("text", p.get("refusal")) for p in item["content"])
        assert "".join(deltas) == written


# -- the SDK over all of it ----------------------------------------------------------------------


class Town(pydantic.BaseModel):
    name: str
    people: int


TOWN = '{"name": "Rome", "people": 3}'


def answer(body):
    """What a model would say to a chat."""
    said = body["messages"][-1]
    if said["role"] == "tool":
        return chat({"content": f"It is {said['content']}."})
    if body.get("tools"):
        return chat({"reasoning_content": "I must look", "tool_calls": [calling(1)]}, "tool_calls")
    if "response_format" in body:
        return chat({"content": TOWN})
    if said["content"] == "refuse":
        return chat({"refusal": "No."})
    if said["content"] == "cut":
        return chat({"content": "Once"}, "length")
    return chat({"content": "Four"})


def chunks_of(done, error=None):
    (choice,) = done["choices"]
    message = choice["message"]
    for name in ("reasoning_content", "content", "refusal"):
        for letter in message.get(name) or "":
            yield chunk({name: letter})
    if error is not None:
        yield {"error": error}
        return
    for index, call in enumerate(message.get("tool_calls") or ()):
        yield chunk({"tool_calls": [{"index": index, **call}]})
    yield chunk(finish=choice["finish_reason"])
    yield last()


def client(error=None):
    """The SDK over the two translations, without a server."""

    def serve(request):
        body = json.loads(request.content)
        try:
            done = answer(to_chat(body))
        except Fault as fault:
            return httpx.Response(fault.status, json=fault.body())
        if not body.get("stream"):
            return httpx.Response(200, json=from_chat(done, body))
        lines = [
            f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
            for event in told(*chunks_of(done, error), body=body)
        ]
        head = {"content-type": "text/event-stream"}
        return httpx.Response(200, text="".join(lines), headers=head)

    http = httpx.Client(transport=httpx.MockTransport(serve))
    return openai.OpenAI(
        api_key="none", base_url="http://gateway/v1", http_client=http, max_retries=0
    )


def test_sdk_create():
    found = client().responses.create(model="m", input="2 + 2?", instructions="Be brief")
    assert found.output_text == "Four"
    assert found.usage.total_tokens == 28
    assert found.instructions == "Be brief"


def test_sdk_create_streaming():
    stream = client().responses.create(model="m", input="2 + 2?", stream=True)
    found = list(stream)
    assert "".join(e.delta for e in found if e.type == "response.output_text.delta") == "Four"
    assert found[-1].response.output_text == "Four"


def test_sdk_stream_helper():
    with client().responses.stream(model="m", input="2 + 2?") as stream:
        texts = [e.snapshot for e in stream if e.type == "response.output_text.delta"]
        assert texts == ["F", "Fo", "Fou", "Four"]
        assert stream.get_final_response().output_text == "Four"


def test_sdk_parse():
    found = client().responses.parse(model="m", input="A town", text_format=Town)
    assert found.output_parsed == Town(name="Rome", people=3)
    with client().responses.stream(model="m", input="A town", text_format=Town) as stream:
        assert stream.get_final_response().output_parsed == found.output_parsed


def test_sdk_parses_the_arguments_of_a_tool():
    class Weather(pydantic.BaseModel):
        town: str

    tool = openai.pydantic_function_tool(Weather, name="weather")["function"]
    tools = [{"type": "function", **tool}]
    found = client().responses.parse(model="m", input="?", tools=tools)
    assert found.output[-1].parsed_arguments == {"town": "Rome"}
    with client().responses.stream(model="m", input="?", tools=tools) as stream:
        deltas = [e for e in stream if e.type == "response.function_call_arguments.delta"]
        assert deltas[-1].snapshot == '{"town": "Rome"}'
        assert stream.get_final_response().output[-1].parsed_arguments == {"town": "Rome"}


@pytest.mark.parametrize("streaming", [False, True])
def test_sdk_a_loop_of_tools(streaming):
    """The output of a first request, sent back as it is, leads to the answer of a second."""
    sdk = client()

    def ask(items):
        if not streaming:
            return sdk.responses.create(model="m", input=items, tools=[WEATHER])
        with sdk.responses.stream(model="m", input=items, tools=[WEATHER]) as stream:
            return stream.get_final_response()

    items = [{"role": "user", "content": "The weather in Rome?"}]
    first = ask(items)
    items += first.output if not streaming else [item.to_dict() for item in first.output]
    (call,) = (item for item in first.output if item.type == "function_call")
    items.append({"type": "function_call_output", "call_id": call.call_id, "output": "20 degrees"})
    assert ask(items).output_text == "It is 20 degrees."


def test_sdk_refusals_and_cut_answers():
    refused = client().responses.create(model="m", input="refuse")
    assert refused.output[0].content[0].refusal == "No."
    with client().responses.stream(model="m", input="cut") as stream:
        ended = list(stream)[-1]
    assert (ended.type, ended.response.output_text) == ("response.incomplete", "Once")


def test_sdk_an_error_in_midstream_is_raised():
    error = {"message": "the server went away", "type": "upstream_error", "code": "x"}
    with pytest.raises(openai.APIError, match="went away") as caught:
        list(client(error).responses.create(model="m", input="?", stream=True))
    assert caught.value.code == "x"
    with (
        pytest.raises(openai.APIError, match="went away"),
        client(error).responses.stream(model="m", input="?") as stream,
    ):
        stream.get_final_response()


def test_sdk_a_field_that_cannot_be_honoured():
    with pytest.raises(openai.BadRequestError, match="previous_response_id") as caught:
        client().responses.create(model="m", input="?", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"


def test_sdk_async():
    async def ask():
        transport = client()._client._transport
        http = httpx.AsyncClient(transport=httpx.MockTransport(transport.handler))
        sdk = openai.AsyncOpenAI(api_key="none", base_url="http://gateway/v1", http_client=http)
        return (await sdk.responses.create(model="m", input="?")).output_text

    assert asyncio.run(ask()) == "Four"
