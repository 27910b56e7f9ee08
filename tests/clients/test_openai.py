"""OpenAI's own library in front of the gateway: answers, streams, tools, forms, errors."""

import asyncio
import json

import pytest

from tests.clients.conftest import SUM, VOTE, billed, run_shown, serving, sum_of

openai = pytest.importorskip("openai", reason="openai is not installed: make test-clients")
pydantic = pytest.importorskip("pydantic", reason="pydantic comes with openai")

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}
#: a strategy in each of the ways in which a client can say it, and none at all
WAYS = {
    "passed": {"model": "m"},
    "name": {"model": f"{VOTE}@m"},
    "body": {"model": "m", "extra_body": {"outthink": {"strategy": VOTE}}},
    "header": {"model": "m", "extra_headers": {"x-outthink-strategy": VOTE}},
}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


class Total(pydantic.BaseModel):
    value: int


@pytest.fixture
def client(gateway):
    with openai.OpenAI(base_url=gateway.url, api_key="none", max_retries=0) as made:
        yield made


def used(usage):
    return usage.prompt_tokens, usage.completion_tokens


# -- what the page shows ---------------------------------------------------------------------------


def test_the_page(gateway, upstream):
    printed, names = run_shown("openai", gateway)
    assert "The answer is 42." in printed
    done, streamed = names["done"], names["streamed"]
    prompt = used(done.usage)[0] + used(streamed.usage)[0]
    assert (prompt, used(done.usage)[1] + used(streamed.usage)[1]) == billed(upstream)
    assert done.outthink["run"] in printed
    assert done.outthink["calls"] >= 1
    assert done.outthink["confidence"] in [k / 8 for k in range(2, 9)]


# -- answers ---------------------------------------------------------------------------------------


@each_way
def test_an_answer_and_its_bill(client, upstream, way):
    done = client.chat.completions.create(messages=SUM, **way)
    assert done.object == "chat.completion"
    assert done.choices[0].message.content.endswith("The answer is 42.")
    assert done.choices[0].finish_reason == "stop"
    assert used(done.usage) == billed(upstream)
    assert done.usage.total_tokens == sum(billed(upstream))
    if way is not WAYS["passed"]:
        assert done.usage.completion_tokens > 4 * 13
        assert done.id == f"chatcmpl-{done.outthink['run']}"


@each_way
def test_a_stream_and_its_bill(client, upstream, way):
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(messages=SUM, **options, **way))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text.endswith("The answer is 42.")
    ends = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert ends[-1] == "stop"
    assert set(ends[:-1]) == {None}
    assert used(chunks[-1].usage) == billed(upstream)
    assert [c.usage for c in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert len({c.id for c in chunks}) == 1


@each_way
def test_a_stream_whose_usage_was_not_asked_for_has_a_choice_in_each_chunk(client, way):
    chunks = list(client.chat.completions.create(messages=SUM, stream=True, **way))
    assert "".join(c.choices[0].delta.content or "" for c in chunks).endswith("is 42.")
    assert not any(c.usage for c in chunks)


@each_way
def test_the_helper_for_streams(client, way):
    with client.chat.completions.stream(messages=SUM, **way) as stream:
        pieces = [event.delta for event in stream if event.type == "content.delta"]
        done = stream.get_final_completion()
    assert "".join(pieces) == done.choices[0].message.content
    assert len(pieces) > 1


@each_way
def test_several_at_once_without_threads(gateway, way):
    async def main():
        async with openai.AsyncOpenAI(base_url=gateway.url, api_key="none") as client:
            chats = [sum_of(i, 10) for i in range(6)]
            calls = [client.chat.completions.create(messages=chat, **way) for chat in chats]
            whole = await asyncio.gather(*calls)
            stream = await client.chat.completions.create(messages=SUM, stream=True, **way)
            return whole, [c.choices[0].delta.content or "" async for c in stream if c.choices]

    whole, pieces = asyncio.run(main())
    ends = [done.choices[0].message.content.rpartition(" ")[2] for done in whole]
    if way is not WAYS["passed"]:
        assert ends == [f"{i + 10}." for i in range(6)]
    assert "".join(pieces).endswith("42.")


def test_distinct_answers_share_their_samples(client, upstream):
    done = client.chat.completions.create(messages=SUM, model=f"{VOTE}@m", n=3)
    assert [c.index for c in done.choices] == [0, 1, 2]
    assert done.choices[0].message.content.endswith("42.")
    assert used(done.usage) == billed(upstream)
    assert done.usage.completion_tokens == 8 * 13


def test_what_was_sent_arrives(client, upstream):
    given = {
        "temperature": 0.3, "top_p": 0.9, "stop": ["\n\n"], "user": "u", "max_tokens": 77,
        "presence_penalty": 0.5, "logit_bias": {"7": 1},
    }  # fmt: skip
    odd = {"min_p": 0.05, "chat_template_kwargs": {"think": True}}
    for model in ("m", f"{VOTE}@m"):
        client.chat.completions.create(messages=SUM, model=model, extra_body=odd, **given)
        sent = upstream.book.calls[-1].body
        assert {k: sent.get(k) for k in given | odd} == given | odd
        assert sent["messages"] == SUM
        assert "outthink" not in sent


@each_way
def test_a_limit_of_zero_is_none(client, way):
    limits = {"max_tokens": 0, "max_completion_tokens": 0}
    done = client.chat.completions.create(messages=SUM, **limits, **way)
    assert done.choices[0].message.content.endswith("The answer is 42.")


def test_log_probabilities_of_the_winner(client):
    done = client.chat.completions.create(
        messages=SUM, model=f"{VOTE}@m", logprobs=True, top_logprobs=2
    )
    tokens = done.choices[0].logprobs.content
    assert "".join(t.token for t in tokens) == done.choices[0].message.content
    assert len(tokens[0].top_logprobs) == 2


# -- tools and forms -------------------------------------------------------------------------------


@each_way
def test_a_tool_is_called_and_its_result_used(client, upstream, way):
    done = client.chat.completions.create(messages=SUM, tools=[ADD], **way)
    message, finish = done.choices[0].message, done.choices[0].finish_reason
    assert finish == "tool_calls"
    assert message.content is None
    [call] = message.tool_calls
    assert (call.type, call.function.name) == ("function", "add")
    assert json.loads(call.function.arguments) == {"a": 42, "b": 42}
    result = {"role": "tool", "tool_call_id": call.id, "content": "42"}
    chat = [*SUM, message.model_dump(exclude_none=True), result]
    more = client.chat.completions.create(messages=chat, tools=[ADD], **way)
    assert more.choices[0].message.content == "The answer is 42."
    sent = upstream.book.calls[-1].body["messages"]
    assert sent[1]["tool_calls"][0]["id"] == call.id
    assert sent[2] == result


@each_way
def test_a_tool_call_in_a_stream(client, way):
    with client.chat.completions.stream(messages=SUM, tools=[ADD], **way) as stream:
        done = stream.get_final_completion()
    [call] = done.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"a": 42, "b": 42}
    assert done.choices[0].finish_reason == "tool_calls"


@each_way
def test_a_form_is_filled(client, upstream, way):
    done = client.chat.completions.parse(messages=SUM, response_format=Total, **way)
    assert done.choices[0].message.parsed == Total(value=42)
    sent = upstream.book.calls[-1].body["response_format"]
    assert sent["json_schema"]["schema"]["properties"]["value"]["type"] == "integer"


def test_an_image_and_several_turns_arrive(client, upstream):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    chat = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "What is 1 + 2?"}, image]},
        {"role": "assistant", "content": "3"},
        {"role": "user", "content": "And what is 17 + 25?"},
    ]
    for model in ("m", f"{VOTE}@m"):
        client.chat.completions.create(messages=chat, model=model)
        assert upstream.book.calls[-1].body["messages"] == chat


# -- other endpoints -------------------------------------------------------------------------------


@each_way
def test_responses(client, upstream, way):
    done = client.responses.create(input="What is 17 + 25?", **way)
    assert done.output_text.endswith("The answer is 42.")
    assert (done.usage.input_tokens, done.usage.output_tokens) == billed(upstream)
    assert done.status == "completed"


@each_way
def test_a_stream_of_responses(client, way):
    with client.responses.stream(input="What is 17 + 25?", **way) as stream:
        pieces = [e.delta for e in stream if e.type == "response.output_text.delta"]
        done = stream.get_final_response()
    assert "".join(pieces) == done.output_text
    assert done.output_text.endswith("The answer is 42.")


def test_responses_in_a_form_and_with_tools(client):
    parsed = client.responses.parse(model=f"{VOTE}@m", input="What is 17 + 25?", text_format=Total)
    assert parsed.output_parsed == Total(value=42)
    tool = {"type": "function", **ADD["function"], "strict": False}
    called = client.responses.create(model=f"{VOTE}@m", input="What is 17 + 25?", tools=[tool])
    [call] = called.output
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"a": 42, "b": 42}


@each_way
def test_plain_completions(client, upstream, way):
    done = client.completions.create(prompt="What is 17 + 25?", **way)
    assert done.choices[0].text.endswith("The answer is 42.")
    assert used(done.usage) == billed(upstream)


def test_models(client, fly):
    assert client.models.list().object == "list"
    with openai.OpenAI(base_url=fly.url, api_key="none") as bundled:
        assert "fly" in [model.id for model in bundled.models.list()]
        assert bundled.models.retrieve("fly").id == "fly"
        with pytest.raises(openai.NotFoundError, match="fly"):
            bundled.models.retrieve("fyl")


def test_a_name_that_the_upstream_is_asked_for_can_be_looked_up(client):
    assert client.models.retrieve("gpt-4o-mini").id == "gpt-4o-mini"
    assert client.models.retrieve("org/model").id == "org/model"


def test_headers_tell_of_the_run(client):
    raw = client.chat.completions.with_raw_response.create(messages=SUM, model=f"{VOTE}@m")
    told = raw.parse().outthink
    assert raw.headers["x-outthink-run"] == told["run"]
    assert int(raw.headers["x-outthink-calls"]) == told["calls"]
    assert float(raw.headers["x-outthink-confidence"]) == pytest.approx(
        told["confidence"], abs=1e-3
    )


def test_a_run_can_be_looked_at(client):
    asked = {"strategy": VOTE, "trace": True}
    done = client.chat.completions.create(messages=SUM, model="m", extra_body={"outthink": asked})
    run = client.get(f"/runs/{done.outthink['run']}", cast_to=object)
    assert len(run["samples"]) == 8
    with pytest.raises(openai.NotFoundError):
        client.get("/runs/no-such-run", cast_to=object)


# -- the bundled model -----------------------------------------------------------------------------


def test_fly_gains_by_votes(fly):
    chat = [{
        "role": "user",
        "content": "Ada has 47 pens. Ben has 3 times as many as Ada. How many pens has Ben?",
    }]  # fmt: skip
    with openai.OpenAI(base_url=fly.url, api_key="none") as client:
        done = client.chat.completions.create(model=f"{VOTE}@fly", messages=chat, seed=1)
        again = client.chat.completions.create(model=f"{VOTE}@fly", messages=chat, seed=1)
        stream = client.chat.completions.create(model="fly", messages=chat, stream=True)
        pieces = [c.choices[0].delta.content or "" for c in stream if c.choices]
    assert done.outthink["answer"] == "141"
    assert done.choices[0].message.content == again.choices[0].message.content
    assert done.usage == again.usage
    assert "".join(pieces)


# -- keys ------------------------------------------------------------------------------------------

SETTINGS = """
[server]
store = "store.db"

[models.m]
upstreams = ["{url}"]

[models.other]
upstreams = ["{url}"]

[aliases.careful]
model = "m"
strategy = "{vote}"
budget = "tokens=2k"
"""


@pytest.fixture(scope="module")
def keyed(_behind, tmp_path_factory):
    """A gateway that wants keys: one for two names and votes alone, one that may ask but once."""
    keys = pytest.importorskip(
        "outthink.gateway.keys", reason="the gateway needs the extra [gateway]"
    )
    folder = tmp_path_factory.mktemp("keyed")
    narrow, narrowed = keys.new_key("narrow")
    once, bounded = keys.new_key("once")
    limits = 'models = ["m", "careful"]\nstrategies = ["greedy", "self_consistency"]\n'
    lines = SETTINGS.format(url=_behind.url, vote=VOTE) + keys.toml_of(narrowed) + limits
    (folder / "gateway.toml").write_text(
        lines + keys.toml_of(bounded) + "requests_per_minute = 1\n"
    )
    with serving(folder, "--config", "gateway.toml") as made:
        yield made, narrow, once


def test_a_key_opens_what_it_may(keyed, upstream):
    gateway, narrow, _ = keyed
    with openai.OpenAI(base_url=gateway.url, api_key=narrow, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["m", "careful"]
        done = client.chat.completions.create(model="careful", messages=SUM)
        assert done.choices[0].message.content.endswith("The answer is 42.")
        assert done.outthink["strategy"] == VOTE
        for model in ("other", "tournament(n=2)@m"):
            with pytest.raises(openai.PermissionDeniedError):
                client.chat.completions.create(model=model, messages=SUM)
    assert narrow not in gateway.said()
    assert not any(narrow in str(call.headers) for call in upstream.book.calls)


def test_no_key_and_a_wrong_one(keyed, upstream):
    gateway, narrow, _ = keyed
    for key in ("none", f"{narrow[:-1]}{'b' if narrow[-1] == 'a' else 'a'}"):
        with (
            openai.OpenAI(base_url=gateway.url, api_key=key, max_retries=0) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.chat.completions.create(model="m", messages=SUM)
    assert upstream.book.total()["calls"] == 0


def test_a_limit_says_when_to_come_again(keyed):
    gateway, _, once = keyed
    with openai.OpenAI(base_url=gateway.url, api_key=once, max_retries=0) as client:

        def ask(times):
            for _ in range(times):
                client.chat.completions.create(model="m", messages=SUM)

        with pytest.raises(openai.RateLimitError) as caught:
            ask(3)  # the second is too many, the third if a minute begins just then
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60


# -- errors ----------------------------------------------------------------------------------------

#: what an upstream says, and what a client must make of it
FAILURES = {
    "400": openai.BadRequestError,
    "401": openai.AuthenticationError,
    "403": openai.PermissionDeniedError,
    "404": openai.NotFoundError,
    "409": openai.ConflictError,
    "422": openai.UnprocessableEntityError,
    "429": openai.RateLimitError,
    "500": openai.InternalServerError,
    "503": openai.InternalServerError,
    "html": openai.InternalServerError,
    "no_choices": openai.InternalServerError,
}
failing = pytest.mark.parametrize(("fault", "kind"), FAILURES.items(), ids=FAILURES)


@failing
@pytest.mark.parametrize("model", ["m", f"{VOTE}@m"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_upstreams_failure_is_the_right_error(client, fault, kind, model, stream):
    if (fault, model, stream) == ("no_choices", "m", True):
        return  # a stream that is passed through shows what came
    chat = sum_of(1, 2, fault=fault, retry_after="0.01")
    with pytest.raises(kind) as caught:
        list(client.chat.completions.create(messages=chat, model=model, stream=stream))
    error = caught.value
    assert type(error) is kind
    assert error.message
    assert error.body["type"]
    assert set(error.body) == {"message", "type", "param", "code"}
    if fault == "429":
        assert float(error.response.headers["retry-after"]) > 0


@pytest.mark.parametrize("fault", ["cut", "error_late"])
def test_a_stream_that_breaks_off_is_an_error(client, fault):
    chat = sum_of(1, 2, fault=fault)
    with pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(messages=chat, model="m", stream=True))
    assert caught.value.body["type"]


WRONG = {
    "strategy": ({"model": "self_consistancy(n=8)@m"}, "self_consistency"),
    "parameter": ({"model": "self_consistency(m=8)@m"}, "n"),
    "range": ({"model": "self_consistency(n=0)@m"}, "n"),
    "budget": ({"model": "m", "extra_body": {"outthink": {"budget": "token=5"}}}, "tokens"),
    "option": ({"model": "m", "extra_body": {"outthink": {"stratgy": "x"}}}, "strategy"),
    "messages": ({"model": f"{VOTE}@m", "messages": []}, "messages"),
    "temperature": ({"model": "m", "temperature": -1}, "temperature"),
    "n": ({"model": f"{VOTE}@m", "n": 0}, "n"),
}


@pytest.mark.parametrize(("asked", "named"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_refused_by_name_before_anything_is_spent(client, upstream, asked, named):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"messages": SUM, **asked})
    assert named in f"{caught.value} {caught.value.param}"
    assert caught.value.type == "invalid_request_error"
    assert upstream.book.total()["calls"] == 0


def test_a_model_that_is_not_there(fly):
    with openai.OpenAI(base_url=fly.url, api_key="none") as client:
        with pytest.raises(openai.NotFoundError, match="fly"):
            client.chat.completions.create(messages=SUM, model="gpt-5")
        with pytest.raises(openai.NotFoundError):
            client.get("/nothing/here", cast_to=object)
