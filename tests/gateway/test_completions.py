"""What a request to ``/v1/completions`` becomes for a strategy, and the text that comes back."""

import asyncio
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.gateway import completions
from outthink.gateway.completions import events, from_chat, to_chat
from outthink.gateway.errors import Fault

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
HEAD = {"id": "chatcmpl-7", "created": 1_700_000_000, "model": "m"}
BODY = {"model": "m", "prompt": "Once"}


def refusal(**body):
    with pytest.raises(Fault) as caught:
        to_chat({**BODY, **body})
    assert (caught.value.status, caught.value.param) == (400, next(iter(body)))
    return caught.value.message


def chat(*texts, finish="stop", **more):
    choices = [
        {"index": i, "message": {"role": "assistant", "content": t}, "finish_reason": finish}
        for i, t in enumerate(texts)
    ]
    return {**HEAD, "object": "chat.completion", "choices": choices, "usage": USAGE, **more}


def chunk(delta=None, finish=None, index=0, **more):
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return {**HEAD, "object": "chat.completion.chunk", "choices": [choice], **more}


LAST = {**HEAD, "object": "chat.completion.chunk", "choices": [], "usage": USAGE}
COUNTED = {**BODY, "stream": True, "stream_options": {"include_usage": True}}


def told(*chunks, body=COUNTED):
    async def source():
        for piece in chunks:
            yield piece

    async def gather():
        return [event async for event in events(source(), body)]

    found = asyncio.run(gather())
    assert {name for name, _ in found} <= {None}
    return [data for _, data in found]


# -- the request ---------------------------------------------------------------------------------

#: fields that go on as they are, with a value of each
SAME = {
    "model": "m",
    "frequency_penalty": 0.1,
    "logit_bias": {"5": -100},
    "max_tokens": 9,
    "n": 2,
    "presence_penalty": 0.2,
    "seed": 0,
    "stop": ["x"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 0.0,
    "top_p": 0.5,
    "user": "u",
}


def test_every_field_of_the_sdk_goes_on_or_is_read():
    params = pytest.importorskip(
        "openai.types.completion_create_params", reason="needs the openai library"
    )
    fields = set(params.CompletionCreateParamsNonStreaming.__annotations__) | set(
        params.CompletionCreateParamsBase.__annotations__
    )
    assert fields - completions.READ == set(SAME)


@pytest.mark.parametrize("prompt", ["Once", ["Once"]])
def test_a_prompt_is_what_a_user_says(prompt):
    said = {"messages": [{"role": "user", "content": "Once"}]}
    assert to_chat({"prompt": prompt, **SAME}) == SAME | said


def test_what_is_not_known_is_passed_on():
    more = {"top_k": 5, "outthink": {"strategy": "greedy"}}
    assert to_chat({**BODY, **more, "empty": None}) == to_chat(BODY) | more


@pytest.mark.parametrize(
    "field",
    [
        {"prompt": ["a", "b"]},
        {"prompt": [1, 2]},
        {"prompt": [[1, 2]]},
        {"echo": True},
        {"suffix": "end"},
        {"best_of": 3},
        {"best_of": 3, "n": 2},
        {"logprobs": 0},
        {"logprobs": 5},
        {"messages": [{"role": "user", "content": "x"}]},
        {"tools": [{"type": "function"}]},
    ],
)
def test_what_only_a_text_model_can_do_is_refused_by_name(field):
    message = refusal(**field)
    assert message.startswith(f"{next(iter(field))}: a strategy answers chats")
    assert "without a strategy" in message


@pytest.mark.parametrize("prompt", [None, 5, {}])
def test_a_prompt_is_needed(prompt):
    assert "prompt is missing" in refusal(prompt=prompt)


def test_a_field_that_asks_for_nothing_is_no_matter():
    nothing = {"echo": False, "suffix": None, "logprobs": None, "best_of": 1}
    assert to_chat({**BODY, **nothing}) == to_chat(BODY)
    assert to_chat({**BODY, "n": 2, "best_of": 2}) == to_chat({**BODY, "n": 2})


# -- the answer ----------------------------------------------------------------------------------


def test_texts_and_all_that_is_said_of_them():
    facts = {"run": "7"}
    found = from_chat(chat("a", "b", outthink=facts, system_fingerprint="f"), BODY)
    assert found == {
        "id": "cmpl-7",
        "object": "text_completion",
        "created": 1_700_000_000,
        "model": "m",
        "choices": [
            {"index": i, "text": t, "logprobs": None, "finish_reason": "stop"}
            for i, t in enumerate("ab")
        ],
        "usage": USAGE,
        "system_fingerprint": "f",
        "outthink": facts,
    }


@pytest.mark.parametrize(
    ("finish", "found"), [("length", "length"), ("tool_calls", "stop"), (None, None)]
)
def test_a_text_ends_for_reasons_of_its_own(finish, found):
    assert from_chat(chat("a", finish=finish), BODY)["choices"][0]["finish_reason"] == found


def test_a_refusal_is_the_text():
    done = chat(None)
    done["choices"][0]["message"]["refusal"] = "No."
    assert from_chat(done, BODY)["choices"][0]["text"] == "No."


def test_the_chunks_of_a_stream():
    sign = {**HEAD, "choices": [], "outthink": {"event": "sample"}}
    found = told(
        sign,
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Fo"}),
        sign,
        chunk({"content": "ur"}, index=1),
        chunk(finish="stop"),
        LAST,
    )
    parts = [(c["index"], c["text"], c["finish_reason"]) for d in found for c in d["choices"]]
    assert parts == [(0, "Fo", None), (1, "ur", None), (0, "", "stop")]
    assert {(d["id"], d["object"]) for d in found} == {("cmpl-7", "text_completion")}
    assert [d["usage"] for d in found] == [None, None, None, USAGE]


def test_usage_goes_to_whom_asked_for_it():
    found = told(chunk({"content": "a"}), chunk(finish="stop", usage=USAGE), LAST, body=BODY)
    assert len(found) == 2
    assert not any("usage" in data for data in found)


def test_an_error_ends_a_stream():
    error = {"message": "down", "type": "upstream_error"}
    found = told(chunk({"content": "a"}), {"error": error}, chunk({"content": "b"}))
    assert [d.get("error") for d in found] == [None, error]


def test_whoever_leaves_a_stream_closes_its_source():
    closed = []

    async def source():
        try:
            while True:
                yield chunk({"content": "a"})
        finally:
            closed.append(True)

    async def leave():
        stream = events(source(), BODY)
        await anext(stream)
        await stream.aclose()
        return list(closed)  # the end of the loop would close it too

    assert asyncio.run(leave()) == [True]


@given(st.lists(st.text(max_size=4), max_size=6))
def test_any_pieces_of_a_text_make_the_same(pieces):
    found = told(*(chunk({"content": p}) for p in pieces), chunk(finish="stop"), LAST)
    assert "".join(c["text"] for d in found for c in d["choices"]) == "".join(pieces)


# -- the SDK -------------------------------------------------------------------------------------


def test_the_sdk_reads_both():
    openai = pytest.importorskip("openai", reason="needs the openai library")
    types = pytest.importorskip("openai.types", reason="needs the openai library")

    def serve(request):
        body = json.loads(request.content)
        said = to_chat(body)["messages"][0]["content"]
        if not body.get("stream"):
            done = from_chat(chat(f"{said} upon"), body)
            types.Completion.model_validate(done, strict=True)
            return httpx.Response(200, json=done)
        chunks = [chunk({"content": p}) for p in (said, " upon")]
        found = told(*chunks, chunk(finish="stop"), LAST, body=body)
        for data in found:
            # the SDK's type knows no chunk that goes on, though OpenAI sends null there
            ended = [{**c, "finish_reason": c["finish_reason"] or "stop"} for c in data["choices"]]
            types.Completion.model_validate({**data, "choices": ended}, strict=True)
        lines = [f"data: {json.dumps(data)}\n\n" for data in found]
        head = {"content-type": "text/event-stream"}
        return httpx.Response(200, text="".join(lines) + "data: [DONE]\n\n", headers=head)

    http = httpx.Client(transport=httpx.MockTransport(serve))
    sdk = openai.OpenAI(api_key="none", base_url="http://gateway/v1", http_client=http)
    whole = sdk.completions.create(model="m", prompt="Once")
    assert (whole.choices[0].text, whole.usage.total_tokens) == ("Once upon", 7)
    options = {"include_usage": True}
    found = list(
        sdk.completions.create(model="m", prompt="Once", stream=True, stream_options=options)
    )
    assert "".join(c.text for d in found for c in d.choices) == "Once upon"
    assert found[-1].usage.total_tokens == 7
