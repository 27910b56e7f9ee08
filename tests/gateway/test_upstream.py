"""The hostile upstream: its faults are what they say, and its books are right."""

import asyncio
import json

import pytest

pytest.importorskip(
    "httptools", reason="the tests' upstream parses with httptools: outthink[serve]"
)
httpx = pytest.importorskip("httpx")

from tests.gateway.answers import truth  # noqa: E402
from tests.gateway.upstream import FAULTS, Habits, hostile  # noqa: E402

ASK = "What is 3 + 4?"
CLIENT = httpx.Client()  # one for all: its certificates take longer to load than all the rest
TOOL = {
    "type": "function",
    "function": {
        "name": "report",
        "parameters": {"type": "object", "properties": {"value": {"type": "integer"}}},
    },
}


def body(text=ASK, **more):
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def ask(up, text=ASK, **more):
    return CLIENT.post(f"{up.url}/chat/completions", json=body(text, **more), timeout=5)


def events(answer):
    return [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]


@pytest.fixture(scope="module")
def up():
    with hostile() as server:
        yield server


def test_answers_are_right_and_billed_by_the_word(up):
    said = ask(up, "#id=plain " + ASK).json()
    assert said["choices"][0]["message"]["content"].endswith("The answer is 7.")
    assert said["usage"]["completion_tokens"] == 13
    total = up.book.total("plain")
    assert (total["prompt"], total["completion"]) == (said["usage"]["prompt_tokens"], 13)
    (call,) = up.book.of("plain")
    assert call.body == body("#id=plain " + ASK)
    assert call.headers["content-type"] == "application/json"


def test_a_stream_says_the_same_as_a_whole_answer(up):
    more = {"stream": True, "stream_options": {"include_usage": True}, "seed": 3, "n": 2}
    *chunks, done = events(ask(up, **more))
    assert done == "[DONE]"
    told = [json.loads(c) for c in chunks]
    whole = ask(up, seed=3, n=2).json()
    assert told[-1]["usage"] == whole["usage"]
    for index in range(2):
        parts = [c for t in told for c in t["choices"] if c["index"] == index]
        text = "".join(p["delta"].get("content") or "" for p in parts)
        assert text == whole["choices"][index]["message"]["content"]
        assert parts[-1]["finish_reason"] == "stop"


def test_answers_are_right_as_often_as_asked(up):
    said = ask(up, n=2000, metadata={"right": "0.6"}).json()["choices"]
    answers = [c["message"]["content"].split()[-1] for c in said]
    assert 0.55 < answers.count("7.") / 2000 < 0.65
    assert len(set(answers)) == 11


def test_equal_seeds_give_equal_answers_and_others_do_not(up):
    def text(**more):
        return ask(up, n=9, metadata={"right": "0"}, **more).json()["choices"]

    assert text(seed=1) == text(seed=1)
    assert text(seed=1) != text(seed=2)
    assert text() != text()


def test_tools_json_thoughts_stops_and_limits(up):
    (choice,) = ask(up, tools=[TOOL]).json()["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert json.loads(call["function"]["arguments"]) == {"value": truth(ASK)}
    said = ask(up, response_format={"type": "json_object"}).json()["choices"][0]
    assert json.loads(said["message"]["content"]) == {"answer": 7}
    said = ask(up, metadata={"thinks": "5", "cached": "4"}).json()
    assert len(said["choices"][0]["message"]["reasoning_content"].split()) == 5
    assert said["usage"]["completion_tokens_details"] == {"reasoning_tokens": 5}
    assert said["usage"]["prompt_tokens_details"] == {"cached_tokens": 4}
    said = ask(up, stop=["The answer"], logprobs=True, top_logprobs=2).json()["choices"][0]
    assert "answer" not in said["message"]["content"]
    assert len(said["logprobs"]["content"][0]["top_logprobs"]) == 2
    said = ask(up, max_tokens=5).json()
    assert said["usage"]["completion_tokens"] == 5
    assert said["choices"][0]["finish_reason"] == "length"


def test_plain_completions_and_lists(up):
    said = CLIENT.post(
        f"{up.url}/completions",
        json={"model": "m", "prompt": ["1 + 1", "2 + 2"], "n": 2, "logprobs": 1},
    ).json()
    ends = [c["text"].split()[-1] for c in said["choices"]]
    assert ends == ["2.", "2.", "4.", "4."]
    assert len(said["choices"][0]["logprobs"]["tokens"]) == 13
    assert [m["id"] for m in CLIENT.get(f"{up.url}/models").json()["data"]] == ["m", "m2"]


def test_faults_of_an_answer(up):
    def see(fault, **more):
        return ask(up, metadata={"fault": fault}, **more)

    assert see("no_choices").json()["choices"] == []
    assert see("null").json()["choices"][0]["message"]["content"] is None
    assert "usage" not in see("no_usage").json()
    assert see("few").json()["usage"]["completion_tokens"] == 1
    assert see("words").json()["usage"]["completion_tokens"] == "plenty"
    assert "error" in see("error").json()
    assert see("html").text.startswith("<html>")
    assert see("ignore_limit", max_tokens=10).json()["usage"]["completion_tokens"] == 40
    assert len(see("ignore_n", n=3).json()["choices"]) == 1
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        see("broken").json()
    for fault, more in (
        ("refuse_n", {"n": 2}),
        ("refuse_temperature", {"temperature": 1}),
        ("refuse_stream_options", {"stream_options": {}}),
        ("refuse_max_tokens", {"max_tokens": 9}),
    ):
        assert see(fault, **more).status_code == 400
        assert see(fault).status_code == 200
    assert see("redirect").headers["location"] == Habits.elsewhere
    for status in (401, 404, 429, 500, 503):
        assert see(str(status)).status_code == status


def test_faults_of_a_connection(up):
    for fault in ("reset", "cut"):
        for stream in (False, True):
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                ask(up, metadata={"fault": fault}, stream=stream)
    for fault in ("hang", "stall"):
        with pytest.raises(httpx.ReadTimeout):
            CLIENT.post(f"{up.url}/chat/completions", json=body(f"#fault={fault}"), timeout=0.2)
    assert up.wait(lambda book: book.in_flight == 0)
    assert sum(call.cancelled for call in up.book.calls) == 2
    ends = events(ask(up, stream=True, metadata={"fault": "ends"}))
    assert "[DONE]" not in ends
    assert "stop" not in str(ends)
    assert "the engine died" in ask(up, stream=True, metadata={"fault": "error_late"}).text
    with httpx.Client() as client:
        client.post(f"{up.url}/chat/completions", json=body("#fault=closes #id=c"))
        opened = up.book.opened
        client.post(f"{up.url}/chat/completions", json=body())
        assert up.book.opened == opened + 1


def test_faults_are_counted_by_id(up):
    def seen(fault, id):
        return [ask(up, metadata={"fault": fault, "id": id}).status_code for _ in range(4)]

    assert seen("429*2", "s1") == [429, 429, 200, 200]
    assert seen("500@2", "s2") == [200, 500, 200, 200]
    assert seen("503%3", "s3") == [200, 200, 503, 200]
    assert up.book.total("s1")["calls"] == 4
    with pytest.raises(ValueError, match="faults are"):
        hostile(fault="nonsense").__enter__()


def test_rates_keys_and_room():
    with hostile(rates={"500": 0.3, "429": 0.3}, seed=1) as up:
        seen = [ask(up).status_code for _ in range(100)]
    assert 15 < seen.count(500) < 45
    assert 15 < seen.count(429) < 45
    with hostile(key="sk-right") as up:
        assert ask(up).status_code == 401
    with hostile(room=3, latency=0.2) as up:

        async def many():
            async with httpx.AsyncClient() as client:
                asked = [client.post(f"{up.url}/chat/completions", json=body()) for _ in range(8)]
                return sorted(a.status_code for a in await asyncio.gather(*asked))

        assert asyncio.run(many()) == [200] * 3 + [429] * 5
        assert up.book.peak == 4


def test_a_client_that_leaves_is_seen_with_what_it_had(up):
    async def leave():
        async with (
            httpx.AsyncClient() as client,
            client.stream(
                "POST",
                f"{up.url}/chat/completions",
                json=body("#id=left #pace=0.02", stream=True),
            ) as answer,
        ):
            async for line in answer.aiter_lines():
                if "Let" in line:
                    return

    asyncio.run(leave())
    assert up.wait(lambda book: book.in_flight == 0, 0.5)
    (call,) = up.book.of("left")
    assert call.cancelled
    assert 1 <= call.sent < 13
    assert call.completion == call.sent


@pytest.mark.parametrize("fault", [f for f in FAULTS if f not in ("hang", "stall", "endless")])
def test_each_fault_ends_with_empty_books(up, fault):
    for stream in (False, True):
        try:
            ask(up, metadata={"fault": fault, "id": fault}, stream=stream)
        except httpx.HTTPError:
            continue
    assert up.wait(lambda book: book.in_flight == 0)
    assert len(up.book.of(fault)) == 2
