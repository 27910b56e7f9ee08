"""What a request to ``/v1/responses`` becomes, and what is refused of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.gateway import responses
from outthink.gateway.errors import Fault
from outthink.gateway.responses import to_chat

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Weather of a town",
    "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    "strict": True,
}
PATCH = {
    "type": "custom",
    "name": "patch",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}


def chat(**body):
    return to_chat({"model": "m", "input": "hi", **body})


def messages(*items, **more):
    return chat(input=list(items), **more)["messages"]


def refusal(**body):
    with pytest.raises(Fault) as caught:
        chat(**body)
    assert caught.value.status == 400
    return caught.value


def call(number, name="weather"):
    return {"type": "function_call", "call_id": f"c{number}", "name": name, "arguments": "{}"}


def output(number, text="20 degrees"):
    return {"type": "function_call_output", "call_id": f"c{number}", "output": text}


def thought(text):
    parts = [{"type": "reasoning_text", "text": text}]
    return {"type": "reasoning", "id": "rs_1", "summary": [], "content": parts}


# -- every field of the SDK ----------------------------------------------------------------------

SCHEMA = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
#: a value of each field that is passed or read, and what of it must be found in the chat
TRANSLATED = {
    "model": ("gpt", {"model": "gpt"}),
    "input": ("hello", {"messages": [{"role": "user", "content": "hello"}]}),
    "instructions": (
        "Be brief",
        {
            "messages": [
                {"role": "system", "content": "Be brief"},
                {"role": "user", "content": "hi"},
            ]
        },
    ),
    "max_output_tokens": (20, {"max_completion_tokens": 20}),
    "include": (["message.output_text.logprobs"], {"logprobs": True}),
    "top_logprobs": (3, {"logprobs": True, "top_logprobs": 3}),
    "reasoning": ({"effort": "low", "summary": "auto"}, {"reasoning_effort": "low"}),
    "text": (
        {"format": SCHEMA, "verbosity": "low"},
        {
            "verbosity": "low",
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
            },
        },
    ),
    "tools": (
        [WEATHER],
        {
            "tools": [
                {"type": "function", "function": {k: WEATHER[k] for k in WEATHER if k != "type"}}
            ]
        },
    ),
    "prompt_cache_key": ("k", {"prompt_cache_key": "k"}),
    "prompt_cache_options": ({"mode": "implicit"}, {"prompt_cache_options": {"mode": "implicit"}}),
    "prompt_cache_retention": ("24h", {"prompt_cache_retention": "24h"}),
    "safety_identifier": ("s", {"safety_identifier": "s"}),
    "service_tier": ("flex", {"service_tier": "flex"}),
    "stream": (True, {"stream": True, "stream_options": {"include_usage": True}}),
    "temperature": (0.2, {"temperature": 0.2}),
    "top_p": (0.5, {"top_p": 0.5}),
    "user": ("u", {"user": "u"}),
}
#: those that mean something only beside another
BESIDE = {
    "parallel_tool_calls": ({"parallel_tool_calls": False, "tools": [WEATHER]}, False),
    "tool_choice": ({"tool_choice": "required", "tools": [WEATHER]}, "required"),
    "stream_options": (
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        {"include_usage": True},
    ),
}


def test_every_field_of_the_sdk_is_translated_echoed_or_refused():
    params = pytest.importorskip(
        "openai.types.responses.response_create_params", reason="needs the openai library"
    )
    fields = set(params.ResponseCreateParamsNonStreaming.__annotations__) | set(
        params.ResponseCreateParamsBase.__annotations__
    )
    kinds = [responses.PASSED, responses.READ, responses.ECHOED, set(responses.REFUSED)]
    known = set().union(*kinds)
    assert not fields - known, "fields of the SDK that are unknown here"
    assert not known - fields, "fields that the SDK does not have"
    assert sum(map(len, kinds)) == len(known), "a field has one fate"
    assert set(TRANSLATED) | set(BESIDE) == responses.PASSED | responses.READ


@pytest.mark.parametrize("name", sorted(TRANSLATED))
def test_a_field_is_translated(name):
    value, found = TRANSLATED[name]
    whole = chat(**{name: value})
    assert {k: whole.get(k) for k in found} == found
    assert not set(whole) - set(found) - {"model", "messages"}  # and nothing else is made up


@pytest.mark.parametrize("name", sorted(BESIDE))
def test_a_field_is_translated_beside_another(name):
    body, found = BESIDE[name]
    assert chat(**body)[name] == found


@pytest.mark.parametrize("name", sorted(responses.REFUSED))
def test_what_cannot_be_honoured_is_refused_by_name(name):
    fault = refusal(**{name: {"id": "x"}})
    assert (fault.param, fault.code) == (name, "unsupported")
    assert fault.message.startswith(f"{name}: ")
    for nothing in (None, False):
        assert name not in chat(**{name: nothing})


@pytest.mark.parametrize(
    ("name", "value"),
    [("metadata", {"a": "b"}), ("store", True), ("truncation", "auto"), ("max_tool_calls", 3)],
)
def test_what_is_only_echoed_goes_to_no_model(name, value):
    assert name in responses.ECHOED
    assert chat(**{name: value}) == chat()


def test_what_is_not_known_is_passed_on():
    more = {"top_k": 5, "seed": 0, "outthink": {"strategy": "greedy"}, "stop": ["x"]}
    assert chat(**more, empty=None) == chat() | more


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "other"}]},
        {"max_completion_tokens": 5, "max_output_tokens": 6},
        {"response_format": {"type": "json_object"}, "text": {"format": {"type": "json_object"}}},
        {"n": 2},
    ],
)
def test_two_words_for_the_same_are_refused(body):
    assert refusal(**body).param == next(iter(body))


def test_one_answer_may_be_asked_for_by_number():
    assert "n" not in chat(n=1)


# -- items ---------------------------------------------------------------------------------------


def test_messages_keep_their_roles_and_order():
    roles = ["system", "developer", "user", "assistant", "user"]
    sent = [{"role": role, "content": f"{i}"} for i, role in enumerate(roles)]
    assert messages(*sent) == sent
    assert messages(*({"type": "message", **item} for item in sent)) == sent


def test_parts_are_put_in_chats_words():
    url, pdf = "data:image/png;base64,AAAA", "data:application/pdf;base64,AAAA"
    parts = [
        {"type": "input_text", "text": "See", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "input_image", "image_url": url, "detail": "low", "file_id": None},
        {"type": "input_image", "image_url": url},
        {"type": "input_file", "file_data": pdf, "filename": "a.pdf"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]
    (message,) = messages({"role": "user", "content": parts})
    assert message["content"] == [
        {"type": "text", "text": "See", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "file", "file": {"file_data": pdf, "filename": "a.pdf"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]


def test_one_plain_text_is_sent_as_a_text():
    part = {"type": "input_text", "text": "hi"}
    assert messages({"role": "user", "content": [part]})[0]["content"] == "hi"
    assert len(messages({"role": "user", "content": [part, part]})[0]["content"]) == 2


def test_an_answer_comes_back_as_the_assistants_words():
    part = {"type": "output_text", "text": "Four", "annotations": [], "logprobs": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    assert messages({**item, "content": [part]}) == [{"role": "assistant", "content": "Four"}]
    refused = {"type": "refusal", "refusal": "No."}
    assert messages({**item, "content": [refused]}) == [
        {"role": "assistant", "content": "", "refusal": "No."}
    ]


def test_calls_of_one_go_are_one_message_with_its_words():
    words = {"role": "assistant", "content": "I look"}
    calls = [call(1), call(2)]
    wanted = [
        {"id": f"c{i}", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        for i in (1, 2)
    ]
    tool = [{"role": "tool", "tool_call_id": f"c{i}", "content": "20 degrees"} for i in (1, 2)]
    said = {"role": "assistant", "content": "I look", "tool_calls": wanted}
    # words may stand before, between or after the calls that wait for what they return
    for items in ([words, *calls], [calls[0], words, calls[1]], [*calls, words]):
        assert messages(*items, output(1), output(2)) == [said, *tool]


def test_calls_one_after_the_other_are_messages_of_their_own():
    found = messages(call(1), output(1), call(2), output(2))
    assert [m["role"] for m in found] == ["assistant", "tool"] * 2
    assert [m["tool_calls"][0]["id"] for m in found[::2]] == ["c1", "c2"]
    assert found[0]["content"] is None


def test_further_words_join_those_of_a_message_whose_calls_wait():
    a, b = ({"role": "assistant", "content": c} for c in "ab")
    image = [{"type": "input_text", "text": "c"}, {"type": "input_text", "text": "d"}]
    assert messages(a, call(1), b, output(1))[0]["content"] == "a\nb"
    (first, _) = messages(a, call(1), {"role": "assistant", "content": image}, output(1))
    assert [part["text"] for part in first["content"]] == ["a", "c", "d"]
    assert [m["content"] for m in messages(a, b)] == ["a", "b"]  # no calls: two messages


def test_custom_calls_and_their_outputs():
    found = messages(
        {"type": "custom_tool_call", "call_id": "c1", "name": "patch", "input": "+a"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"},
    )
    custom = {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": "+a"}}
    assert found == [
        {"role": "assistant", "content": None, "tool_calls": [custom]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]


def test_an_output_may_have_parts():
    parts = [
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "image_url": "http://x/y"},
    ]
    found = messages(call(1), output(1, parts))[1]["content"]
    assert found[1] == {"type": "image_url", "image_url": {"url": "http://x/y"}}


def test_thoughts_of_the_turn_that_goes_on_are_kept_and_earlier_ones_are_not():
    ask = {"role": "user", "content": "?"}
    before = [ask, thought("old"), {"role": "assistant", "content": "A"}]
    now = [ask, thought("new "), thought("idea"), call(1), output(1)]
    found = messages(*before, *now)
    assert "reasoning_content" not in found[1]
    assert found[3]["reasoning_content"] == "new idea"
    everything = messages(*before, *now, reasoning={"context": "all_turns"})
    assert everything[1]["reasoning_content"] == "old"


def test_thoughts_that_led_to_nothing_or_are_hidden_are_left_out():
    ask = {"role": "user", "content": "?"}
    assert messages(thought("alone"), ask, thought("last")) == [ask]
    hidden = {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "x"}
    assert "reasoning_content" not in messages(ask, hidden, call(1))[1]


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "item_reference", "id": "msg_1"}, "input[0]"),
        ({"type": "compaction", "id": "x", "encrypted_content": "y"}, "input[0]"),
        ({"type": "web_search_call", "id": "x", "status": "completed"}, "input[0]"),
        ({"type": "mcp_list_tools", "id": "x", "tools": []}, "input[0]"),
        ({}, "input[0]"),
        ("text", "input[0]"),
        ({"role": "tool", "content": "x"}, "input[0].role"),
        ({"role": "user"}, "input[0].content"),
        ({"role": "user", "content": [{"type": "video"}]}, "input[0].content[0].type"),
        (
            {"role": "user", "content": [{"type": "input_image", "file_id": "f"}]},
            "input[0].content[0].file_id",
        ),
        (
            {"role": "user", "content": [{"type": "input_file", "file_url": "http://x"}]},
            "input[0].content[0].file_url",
        ),
        ({"role": "user", "content": [{"type": "input_file"}]}, "input[0].content[0]"),
        ({"type": "function_call", "call_id": "c", "name": "f"}, "input[0].arguments"),
        ({"type": "function_call_output", "output": "x"}, "input[0].call_id"),
        ({"type": "function_call_output", "call_id": "c", "output": {}}, "input[0].output"),
    ],
)
def test_an_item_that_has_no_place_is_named(item, param):
    assert refusal(input=[item]).param == param


def test_an_item_that_would_have_to_be_kept_says_so():
    fault = refusal(input=[{"type": "item_reference", "id": "msg_1"}])
    assert "nothing is kept here" in fault.message


@pytest.mark.parametrize("nothing", [None, [], {}, 5])
def test_an_input_is_needed(nothing):
    assert refusal(input=nothing).param == "input"


# -- tools, formats and the rest -----------------------------------------------------------------


def test_a_custom_tool_keeps_its_grammar():
    (tool,) = chat(tools=[PATCH])["tools"]
    grammar = {"syntax": "lark", "definition": "start: /.+/"}
    custom = {"name": "patch", "format": {"type": "grammar", "grammar": grammar}}
    assert tool == {"type": "custom", "custom": custom}
    (tool,) = chat(tools=[{**PATCH, "format": {"type": "text"}}])["tools"]
    assert tool["custom"]["format"] == {"type": "text"}


@pytest.mark.parametrize(
    "kind",
    [
        "web_search",
        "web_search_preview",
        "file_search",
        "computer",
        "computer_use_preview",
        "code_interpreter",
        "mcp",
        "image_generation",
        "local_shell",
        "shell",
        "apply_patch",
        "namespace",
        "tool_search",
    ],
)
def test_a_tool_that_the_server_would_run_is_refused_by_name(kind):
    fault = refusal(tools=[WEATHER, {"type": kind}])
    assert fault.param == "tools[1]"
    assert repr(kind) in fault.message
    fault = refusal(tools=[WEATHER], tool_choice={"type": kind})
    assert (fault.param, fault.code) == ("tool_choice", "unsupported")
    assert repr(kind) in fault.message


def test_a_tool_in_chats_own_form_is_refused():
    nested = {"type": "function", "function": {"name": "weather"}}
    assert refusal(tools=[nested]).param == "tools[0].function"
    assert refusal(tools=[{"type": "function"}]).param == "tools[0].name"


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ("none", "none"),
        ("required", "required"),
        (
            {"type": "function", "name": "weather"},
            {"type": "function", "function": {"name": "weather"}},
        ),
        ({"type": "custom", "name": "patch"}, {"type": "custom", "custom": {"name": "patch"}}),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "weather"}],
            },
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "weather"}}],
                },
            },
        ),
    ],
)
def test_a_choice_of_tools(choice, found):
    assert chat(tools=[WEATHER, PATCH], tool_choice=choice)["tool_choice"] == found


def test_without_tools_nothing_is_said_of_them():
    assert chat(tools=[], tool_choice="auto", parallel_tool_calls=True) == chat()
    assert refusal(tool_choice="required").param == "tool_choice"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"text": "json"}, "text"),
        ({"include": ["everything"]}, "include"),
        ({"include": "all"}, "include"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": True}, "top_logprobs"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": True}, "max_output_tokens"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"instructions": [{"role": "user", "content": "x"}]}, "instructions"),
        ({"tool_choice": {"type": "allowed_tools"}, "tools": [WEATHER]}, "tool_choice.tools"),
        ({"tool_choice": "any", "tools": [WEATHER]}, "tool_choice"),
        ({"tools": {"type": "function"}}, "tools"),
    ],
)
def test_a_wrong_value_is_named(body, param):
    fault = refusal(**body)
    assert fault.param == param
    assert fault.code == ("unsupported" if param == "reasoning.mode" else "invalid_value")


def test_log_probabilities_at_their_limits():
    assert chat(top_logprobs=0) == chat()
    assert chat(top_logprobs=20)["top_logprobs"] == 20


def test_plain_text_needs_no_format():
    assert chat(text={"format": {"type": "text"}}) == chat()
    assert chat(text={"format": {"type": "json_object"}})["response_format"] == {
        "type": "json_object"
    }


def test_what_is_made_is_what_the_sdk_would_send():
    """The messages, tools and choice hold to the SDK's own types of a chat."""
    pydantic = pytest.importorskip("pydantic", reason="needs the openai library")
    types = pytest.importorskip("openai.types.chat", reason="needs the openai library")
    image = {"type": "input_image", "image_url": "http://x/y", "detail": "auto"}
    file = {"type": "input_file", "file_data": "data:;base64,AA", "filename": "a"}
    body = chat(
        instructions="Be brief",
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "?"}, image, file]},
            thought("hm"),
            {"role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
            call(1),
            {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "x"},
            output(1),
            {"type": "custom_tool_call_output", "call_id": "c2", "output": "y"},
        ],
        tools=[WEATHER, PATCH],
        tool_choice={"type": "function", "name": "weather"},
    )
    assert len(body["messages"]) == 5
    for name, values in (
        ("ChatCompletionMessageParam", body["messages"]),
        ("ChatCompletionToolUnionParam", body["tools"]),
        ("ChatCompletionToolChoiceOptionParam", [body["tool_choice"]]),
    ):
        adapter = pydantic.TypeAdapter(getattr(types, name))
        for value in values:
            read = adapter.validate_python(value)
            for lazy in ("content", "tool_calls"):
                if not isinstance(read, str) and not isinstance(read.get(lazy), (str, type(None))):
                    assert list(read[lazy])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "role",
                    "content",
                    "text",
                    "format",
                    "name",
                    "tools",
                    "mode",
                    "output",
                    "call_id",
                    "image_url",
                    "id",
                ]
            ),
            inner
            | st.sampled_from(
                ["message", "function", "user", "assistant", "input_text", "reasoning", "refusal"]
            ),
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(responses.READ | {"n", "stream"})), JSON))
def test_any_json_is_translated_or_refused(body):
    fault, made = None, None
    try:
        made = to_chat(body)
    except Fault as error:
        fault = error
    if fault is None:
        json.dumps(made)
        assert made["messages"]
    else:
        assert fault.status == 400
        assert fault.param
