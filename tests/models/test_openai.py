import gzip
import json
import time
from dataclasses import replace
from itertools import pairwise

import anyio
import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import outthink
from outthink.core.budget import Budget, Meter, Usage
from outthink.core.errors import (
    BadInput,
    Malformed,
    MissingNeed,
    NoSuchModel,
    NotAuthorised,
    Refused,
    ServerFailed,
    Unreachable,
)
from outthink.core.model import Request
from outthink.models._server import estimate_tokens
from outthink.models.openai import OpenAI
from tests.loopback import completion, serving
from tests.models.seam import mocked

ASK = ({"role": "user", "content": "What is 3 + 4?"},)


def call(handler, request=None, budget=None, **options):
    """One request through a replaced transport; returns the reply and the bodies sent."""
    sent = []

    def answer(http):
        sent.append(json.loads(http.content))
        got = handler(sent[-1], len(sent) - 1)
        if isinstance(got, tuple):
            return httpx.Response(got[0], headers=got[1], content=json.dumps(got[2]))
        return got if isinstance(got, httpx.Response) else httpx.Response(200, json=got)

    async def main():
        model = OpenAI("m", base_url="http://127.0.0.1:1/v1", **options).open(mocked(answer))
        meter = Meter(budget or Budget())
        try:
            ticket = meter.reserve(Usage(calls=1))
            return await model.generate(request or Request(ASK), ticket), sent, model, meter
        finally:
            await model.aclose()

    return anyio.run(main)


def test_a_plain_answer_with_its_usage():
    details = {
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    body = completion(["seven is it"], prompt=9, tokens=5)
    body["usage"].update(details)
    reply, sent, _, _ = call(lambda b, i: body, Request(ASK, stop=("\n\n",), max_tokens=50))
    u = reply.usage
    assert (u.prompt_tokens, u.completion_tokens, u.cached_tokens, u.reasoning_tokens) == (
        9,
        5,
        3,
        2,
    )
    assert not u.estimated
    assert sent[0]["max_tokens"] == 50
    assert sent[0]["stop"] == ["\n\n"]


def test_missing_usage_is_estimated_from_above_and_said():
    reply, *_ = call(lambda b, i: {"choices": completion(["one two three four"])["choices"]})
    assert reply.usage.estimated
    assert reply.usage.completion_tokens >= 4


def test_impossible_usage_is_not_believed():
    reply, *_ = call(lambda b, i: completion(["word " * 100], tokens=0))
    assert reply.usage.estimated
    assert reply.usage.completion_tokens >= 100
    assert "misreports" in reply.notes[0]


def test_n_refused_is_learned_once_and_topped_up():
    def handler(body, number):
        if body.get("n", 1) > 1:
            return 400, {}, {"error": {"message": "n must be 1 for this model"}}
        return completion([f"The answer is {number}."])

    answer, bodies = through(handler, "self_consistency(n=6)")
    assert sum(b.get("n", 1) > 1 for b in bodies) == 1
    assert len(answer.candidates) == 6
    assert answer.usage.calls == 7


def test_n_ignored_is_learned_once_and_topped_up():
    answer, bodies = through(
        lambda b, i: completion([f"The answer is {i}."]), "self_consistency(n=6)"
    )
    assert sum(b.get("n", 1) > 1 for b in bodies) == 1
    assert len({s.text for s in answer.candidates}) == 6


def through(handler, strategy, **options):
    """A whole run against a real loopback server."""
    with serving(handler) as server:
        model = OpenAI("m", base_url=server.url, **options)
        return outthink.solve("What is 3 + 4?", model=model, strategy=strategy), server.bodies


def test_n_honoured_is_one_call_without_a_seed():
    answer, bodies = through(
        lambda b, i: completion([f"The answer is {k % 2}." for k in range(b["n"])]),
        "self_consistency(n=5)",
    )
    assert len(bodies) == 1
    assert "seed" not in bodies[0]
    assert answer.answer == "0"
    assert answer.usage.completion_tokens == 20


def test_seeds_are_sent_one_call_a_sample_and_differ():
    answer, bodies = through(
        lambda b, i: completion([f"The answer is {b['seed']}."]),
        "self_consistency(n=5)",
        seeds=True,
    )
    assert len({b["seed"] for b in bodies}) == 5
    assert len(answer.distribution) == 5


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, NotAuthorised),
        (403, NotAuthorised),
        (404, NoSuchModel),
        (400, Refused),
        (422, Refused),
    ],
)
def test_errors_have_their_cause_and_are_not_retried(status, kind):
    tries = []

    def handler(body, number):
        tries.append(number)
        return status, {}, {"error": {"message": "no"}}

    with pytest.raises(kind, match=str(status)):
        call(handler)
    assert len(tries) == 1


def test_retries_are_counted_and_retry_after_is_honoured():
    waits = []

    def handler(body, number):
        if number < 2:
            return 429, {"retry-after": "0.05"}, {"error": {"message": "slow down"}}
        waits.append(number)
        return completion(["ok then"])

    reply, sent, _, meter = call(handler)
    assert len(sent) == 3
    assert reply.generations[0].text == "ok then"
    assert meter.spent.calls == 2  # the first is in the open reservation


def test_retries_stop_at_the_budget():
    with pytest.raises(outthink.OutthinkError, match="calls"):
        call(lambda b, i: (500, {}, {}), budget=Budget(calls=2))


def test_a_server_that_stays_broken_is_said(monkeypatch):
    monkeypatch.setattr("outthink.models._server._pause", lambda attempt, asked: 0.0)
    with pytest.raises(ServerFailed, match="500"):
        call(lambda b, i: (500, {}, {"error": "boom"}), retries=2)
    with pytest.raises(Malformed, match="not JSON"):
        call(lambda b, i: httpx.Response(200, content="<html>hello"), retries=1)
    with pytest.raises(Malformed, match="without choices"):
        call(lambda b, i: {"choices": []}, retries=0)
    with pytest.raises(Malformed, match="without content"):
        call(lambda b, i: {"choices": [{"message": {"content": None}}]}, retries=0)


def test_the_names_of_parameters_are_learned():
    def handler(body, number):
        if "max_tokens" in body:
            return (
                400,
                {},
                {"error": {"message": "Unsupported: use 'max_completion_tokens' instead"}},
            )
        if "temperature" in body:
            return (
                400,
                {},
                {"error": {"message": "'temperature' does not support 0.3 with this model"}},
            )
        return completion(["fine"])

    reply, sent, _, _ = call(handler, Request(ASK, temperature=0.3, max_tokens=33))
    assert reply.generations[0].text == "fine"
    assert sent[-1]["max_completion_tokens"] == 33


def test_the_key_never_shows(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with pytest.raises(NotAuthorised) as caught:
        call(lambda b, i: (401, {}, {"error": {"message": "bad key sk-very-secret"}}))
    assert "very-secret" not in str(caught.value)
    assert "[key]" in str(caught.value)
    assert "secret" not in repr(OpenAI("m").open(mocked(lambda r: httpx.Response(200))))


def test_no_key_for_a_remote_server_is_said_before_anything_is_sent(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(MissingNeed, match="OPENAI_API_KEY"):
        outthink.solve("Hello?", model=OpenAI("m", base_url="https://api.example.com/v1"))
    with pytest.raises(BadInput, match="http"):
        OpenAI("m", base_url="api.example.com")


def test_stop_strings_are_kept_even_where_the_server_ignores_them():
    reply, *_ = call(lambda b, i: completion(["line one\nline two"]), Request(ASK, stop=("\n",)))
    assert reply.generations[0].text == "line one"
    assert reply.generations[0].stopped_by == "\n"


def test_what_stopped_a_text_is_read_from_vllm_and_left_open_elsewhere():
    def body(**more):
        data = completion(["line one"])
        data["choices"][0].update(more)
        return data

    ask = Request(ASK, stop=("\n",))
    assert call(lambda b, i: body(stop_reason="\n"), ask)[0].generations[0].finish == "step"
    assert call(lambda b, i: body(stop_reason=None), ask)[0].generations[0].finish == "stop"
    assert call(lambda b, i: body(), ask)[0].generations[0].finish == "unknown"


def test_logprobs_refusals_and_tool_calls_are_kept():
    data = completion(["ab"])
    data["choices"][0]["logprobs"] = {"content": [{"logprob": -0.5}, {"logprob": -1.5}]}
    g = call(lambda b, i: data, Request(ASK, logprobs=True))[0].generations[0]
    assert g.logprob == -2.0
    refused = {
        "choices": [{"message": {"content": None, "refusal": "no"}, "finish_reason": "stop"}]
    }
    assert call(lambda b, i: refused)[0].generations[0].extra["refusal"] == "no"


def test_the_likeliest_tokens_are_asked_for_and_read_in_falling_order():
    data = completion(["ab"])
    tops = [[{"logprob": -2.5}, {"logprob": -0.5}, {"logprob": -3.0}], [{"logprob": -1.5}]]
    data["choices"][0]["logprobs"] = {
        "content": [{"logprob": row[0]["logprob"], "top_logprobs": row} for row in tops]
    }
    reply, sent, *_ = call(lambda b, i: data, Request(ASK, top_logprobs=2, logit_bias={7: -3.0}))
    assert (sent[0]["logprobs"], sent[0]["top_logprobs"]) == (True, 2)
    assert sent[0]["logit_bias"] == {"7": -3.0}
    wanted = [[-0.5, -2.5], [-1.5, -np.inf]]
    np.testing.assert_array_equal(reply.generations[0].top_logprobs, wanted)
    silent = completion(["ab"])
    assert (
        call(lambda b, i: silent, Request(ASK, top_logprobs=2))[0].generations[0].top_logprobs
        is None
    )


def test_a_server_that_overruns_max_tokens_is_charged_and_ends_the_run():
    answer, _ = through(
        lambda b, i: completion(["The answer is 7."], tokens=900), "self_consistency(n=1)"
    )
    assert answer.usage.completion_tokens == 900
    with serving(lambda b, i: completion(["The answer is 7."], tokens=900)) as server:
        model = OpenAI("m", base_url=server.url)
        answer = outthink.solve(
            "3+4?", model=model, strategy="self_consistency(n=4)", budget="tokens=500"
        )
    assert answer.stopped == "tokens"
    assert any("overdraft" in note for note in answer.notes)
    assert answer.usage.completion_tokens >= 900


def test_leaving_closes_the_connections():
    with serving(lambda b, i: completion(["late"]), latency=2.0) as server:
        model = OpenAI("m", base_url=server.url, seeds=True)
        answer = outthink.solve(
            "3+4?", model=model, strategy="self_consistency(n=4)", budget="seconds=0.4"
        )
        assert answer.stopped == "seconds"
        for _ in range(50):
            if server.left_early == 4:
                break
            anyio.run(anyio.sleep, 0.02)
        assert server.left_early == 4


def test_calls_run_side_by_side():
    with serving(lambda b, i: completion([f"The answer is {i}."]), latency=0.15) as server:
        model = OpenAI("m", base_url=server.url, seeds=True)
        outthink.solve("3+4?", model=model, strategy="self_consistency(n=40)")
        assert server.peak == 40


def test_no_server_is_said():
    with pytest.raises(Unreachable, match="is the server up"):
        outthink.solve("3+4?", model=OpenAI("m", base_url="http://127.0.0.1:9/v1", retries=0))


def stream_of(pieces, usage=True):
    events = [{"choices": [{"delta": {"content": p}}]} for p in pieces]
    events.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    if usage:
        events.append(
            {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": len(pieces)}}
        )
    return "".join(f"data: {json.dumps(e)}\n\n" for e in events) + "data: [DONE]\n\n"


def test_a_stream_is_read_and_a_stop_string_ends_it():
    with serving(lambda b, i: stream_of(["The ", "answer ", "is ", "7."])) as server:
        model = OpenAI("m", base_url=server.url, stream=True)
        answer = outthink.solve("3+4?", model=model, strategy="greedy")
    assert answer.text == "The answer is 7."
    assert answer.usage.completion_tokens == 4
    assert server.bodies[0]["stream"] is True
    reply, *_ = call(
        lambda b, i: httpx.Response(200, content=stream_of(["one", "\n", "two"])),
        Request(ASK, stop=("\n",)),
        stream=True,
    )
    assert reply.generations[0].text == "one"
    assert reply.usage.estimated


def able(body, number):
    """A server that continues a prefix where vLLM's words ask for it."""
    if body.get("continue_final_message"):
        return completion([" 8, 9, 10"], tokens=8)
    return completion(["The answer is 1."])


def probed(handler, budget="", **options):
    """What a probe makes of a server: its capabilities, the meter and the bodies sent."""
    with serving(handler) as server:
        meter = Meter(Budget.parse(budget))

        async def main():
            live = OpenAI("m", base_url=server.url, **options).open()
            try:
                for _ in range(2):  # the second time nothing is asked
                    await live.prepare(frozenset({"PREFIX"}), meter)
            finally:
                await live.aclose()
            return live.capabilities

        return anyio.run(main), meter, server.bodies


def test_prefix_continuation_is_found_by_a_probe_that_a_restart_fails():
    can, meter, bodies = probed(able)
    assert "PREFIX" in can
    assert len(bodies) == 1
    assert (meter.spent.calls, meter.spent.completion_tokens) == (1, 8)
    can, meter, bodies = probed(lambda body, number: completion(["1, 2, 3, 4"]))
    assert "PREFIX" not in can
    assert meter.spent.calls == len(bodies) == 3
    assert not meter.busy()


def test_a_probe_goes_on_where_a_wish_is_refused_and_ends_where_no_one_answers():
    def picky(body, number):
        if "prompt" in body:
            return {"choices": [{"text": " 8, 9", "finish_reason": "length"}], "usage": {}}
        return 400, {}, {"error": {"message": "unknown field"}}

    can, meter, _ = probed(picky)
    assert "PREFIX" in can
    assert meter.spent.calls == 3
    with pytest.raises(NotAuthorised):
        probed(lambda body, number: (401, {}, {"error": {"message": "no"}}))
    with pytest.raises(Unreachable):
        outthink.solve(
            "q", model='openai("m", base_url="http://127.0.0.1:9/v1")',
            strategy="beam_search(n=2, branch=2, prm=prm)",
        )  # fmt: skip


@pytest.mark.parametrize("budget", ["calls=2", "tokens=7"])
def test_a_probe_that_does_not_fit_is_not_made(budget):
    asked = []

    def unable(body, number):
        asked.append(body)
        return completion(["1, 2, 3"])

    with pytest.raises(BadInput, match='prefix="continue"'):
        probed(unable, budget)
    assert len(asked) == (2 if budget.startswith("calls") else 0)


def test_a_run_is_charged_for_its_probe():
    with serving(able) as server:
        answer = outthink.solve(
            "3+4?",
            model=OpenAI("m", base_url=server.url),
            strategy="beam_search(n=1, branch=1, prm=prm(model=simulated_prm), max_steps=1)",
            budget="calls=3",
        )
    assert answer.usage.calls == 1 + 2  # the probe, one step, one score
    assert len(server.bodies) == 2


def test_a_stream_is_left_where_it_would_lose_something():
    body = completion(["7"])
    body["choices"][0]["logprobs"] = {"content": [{"token": "7", "logprob": -0.5}]}
    reply, sent, *_ = call(lambda b, i: body, Request(ASK, logprobs=True), stream=True)
    assert "stream" not in sent[0]
    assert reply.generations[0].logprob == -0.5


def test_a_busy_server_says_when_to_come_back():
    def handler(body, number):
        if number == 0:
            return 503, {"retry-after": "0"}, {"error": {"message": "loading"}}
        return completion(["7"])

    reply, sent, _, meter = call(handler)
    assert len(sent) == 2
    assert reply.generations[0].text == "7"
    assert meter.spent.calls == 1  # the further attempt; the first is settled by the run


def test_the_estimate_is_from_above():
    assert estimate_tokens("a b c d e") >= 5
    assert estimate_tokens("数学问题的答案是七") >= 9
    assert estimate_tokens("") == 0
    # a token a digit, and a token a byte where no merge is known
    assert estimate_tokens("3141592653") == 10
    assert estimate_tokens("{}[]();") == 7
    assert estimate_tokens("ᚠᛇᚻ") == 9
    assert estimate_tokens("plain words of prose") < 20


@pytest.mark.parametrize(
    ("options", "budget", "words"),
    [
        ({}, "usd=0.01", "usd_prompt="),
        ({"usd_prompt": 1.0}, "usd=0.01", "usd_completion="),
        ({}, "flops=1e9", "parameters="),
    ],
)
def test_a_limit_that_cannot_hold_is_refused(options, budget, words):
    with serving(lambda b, i: completion(["7"])) as server:
        model = OpenAI("m", base_url=server.url, **options)
        with pytest.raises(BadInput, match=words):
            outthink.solve("q", model=model, strategy="greedy", budget=budget)
        assert not server.bodies
        free = OpenAI("m", base_url=server.url, usd_prompt=0.0, usd_completion=0.0, parameters=1e9)
        answer = outthink.solve("q", model=free, strategy="greedy", budget="usd=1, flops=1e15")
    assert answer.usage.flops > 0


def test_a_limit_that_ends_the_retries_says_what_failed(monkeypatch):
    monkeypatch.setattr("outthink.models._server._pause", lambda attempt, asked: 0.0)
    with serving(lambda b, i: (500, {}, {"error": {"message": "out of order"}})) as server:
        model = OpenAI("m", base_url=server.url)
        answer = outthink.solve("q", model=model, strategy="greedy", budget="calls=3")
    assert len(server.bodies) == 3
    assert answer.stopped == "calls"
    assert any("out of order" in note for note in answer.notes)


def test_a_pause_that_the_deadline_ends_costs_the_call_and_no_tokens():
    busy = (429, {"retry-after": "30"}, {"error": {"message": "slow down"}})
    with serving(lambda b, i: busy) as server:
        model = OpenAI("m", base_url=server.url)
        answer = outthink.solve("q", model=model, strategy="greedy", budget="seconds=0.5")
    assert (answer.usage.calls, answer.usage.total_tokens) == (1, 0)
    assert answer.stopped == "seconds"
    assert any("slow down" in note for note in answer.notes)


def test_a_choice_without_content_does_not_cost_the_others():
    body = completion(["The answer is 7.", "The answer is 7.", "x"])
    body["choices"][2] = {
        "index": 2,
        "message": {"content": None},
        "finish_reason": "content_filter",
    }
    reply, sent, *_ = call(lambda b, i: body, Request(ASK, n=3))
    assert len(sent) == 1
    assert [g.finish for g in reply.generations] == ["stop", "stop", "content_filter"]
    assert reply.generations[2].text == ""


# -- attempts that fail after the server may have worked ---------------------------------------------


@pytest.fixture
def at_once(monkeypatch):
    """No pause before a retry."""
    monkeypatch.setattr("outthink.models._server._pause", lambda attempt, asked: 0.0)


def failing(first, times=1):
    """A handler that fails ``times`` times with ``first``, then answers."""
    return lambda body, number: first if number < times else completion(["The answer is 7."])


@pytest.mark.parametrize("fault", ["cut", (504, {}, {}), (200, {}, "<html>"), (200, {}, {"a": 1})])
def test_an_attempt_after_which_the_server_may_have_worked_is_charged_at_its_worst(fault, at_once):
    with serving(failing(fault)) as server:
        model = OpenAI("m", base_url=server.url, max_tokens=100)
        answer = outthink.solve("3+4?", model=model, strategy="greedy")
        whole = outthink.solve("3+4?", model=model, strategy="greedy")
    assert answer.answer == whole.answer == "7"
    assert (answer.usage.calls, answer.usage.completion_tokens) == (2, 100 + 4)
    assert answer.usage.prompt_tokens > whole.usage.prompt_tokens
    assert answer.usage.estimated
    assert any("failed attempts are charged" in note for note in answer.notes)


@pytest.mark.parametrize("fault", [(429, {}, {}), (500, {}, {}), (503, {}, {})])
def test_an_attempt_that_the_server_turned_away_costs_a_call_and_no_tokens(fault, at_once):
    with serving(failing(fault, times=2)) as server:
        answer = outthink.solve("3+4?", model=OpenAI("m", base_url=server.url), strategy="greedy")
    assert (answer.usage.calls, answer.usage.completion_tokens) == (3, 4)
    assert not answer.usage.estimated


def test_an_answer_of_no_use_costs_what_the_server_says(at_once):
    empty = {"choices": [{"message": {}}], "usage": {"prompt_tokens": 5, "completion_tokens": 9}}
    with serving(failing(empty)) as server:
        answer = outthink.solve("3+4?", model=OpenAI("m", base_url=server.url), strategy="greedy")
    assert (answer.usage.calls, answer.usage.completion_tokens) == (2, 9 + 4)


def test_attempts_that_fail_never_pass_the_budget(at_once):
    with serving(lambda b, i: "cut") as server:
        model = OpenAI("m", base_url=server.url, max_tokens=100, retries=50)
        answer = outthink.solve("3+4?", model=model, strategy="greedy", budget="tokens=350")
    assert answer.stopped == "tokens"
    assert len(server.bodies) == 3
    assert answer.usage.completion_tokens == 300


def test_a_replay_costs_what_the_failed_attempts_cost(tmp_path, at_once):
    from outthink.store import open_store
    from outthink.store.replay import replay

    url = f"sqlite:///{tmp_path}/s.db"
    with serving(failing("cut")) as server:
        model = OpenAI("m", base_url=server.url, max_tokens=100)
        answer = outthink.solve("3+4?", model=model, strategy="greedy", store=url)

    async def main():
        async with await open_store(url) as store:
            return await replay(store, answer.run)

    again = anyio.run(main).answer
    assert replace(again.usage, seconds=0, stored_calls=0) == replace(answer.usage, seconds=0)


# -- what hostile servers send -----------------------------------------------------------------------


def events(*lines):
    return httpx.Response(200, content="".join(lines))


def piece(text, **more):
    return "data: " + json.dumps({"choices": [{"delta": {"content": text}, **more}]})


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\r\r", "\n"])
def test_lines_of_a_stream_may_end_in_any_way(end):
    told = [piece("a\u2028b"), piece("c\x85d"), piece("", finish_reason="stop"), "data: [DONE]"]
    reply, *_ = call(lambda b, i: events(": hello\n\n", *(t + end for t in told)), stream=True)
    assert reply.generations[0].text == "a\u2028bc\x85d"


def test_an_event_may_have_several_lines_of_data():
    value = json.dumps(
        {"choices": [{"delta": {"content": "7"}, "finish_reason": "stop"}]}, indent=1
    )
    lines = "".join(f"data: {line}\n" for line in value.splitlines())
    reply, *_ = call(lambda b, i: events("event: x\n", lines, "\ndata: [DONE]\n\n"), stream=True)
    assert reply.generations[0].text == "7"


def test_a_stream_beyond_max_tokens_is_cut_off_and_charged():
    told = [piece(f"word{i} ") + "\n\n" for i in range(1000)]
    reply, *_ = call(lambda b, i: events(*told), Request(ASK, max_tokens=20), stream=True)
    assert reply.generations[0].finish == "length"
    assert reply.usage.completion_tokens >= 21
    assert len(reply.generations[0].text.split()) == 21


@pytest.mark.parametrize(
    "line",
    ["data: [1]", "data: 7", 'data: {"choices": 7}', 'data: {"choices": ["x"]}', "data: {oh",
     "data: " + "[" * 100_000, *["data: x\n" * 2000]],
)  # fmt: skip
def test_what_is_no_event_is_said(line):
    with pytest.raises(Malformed, match="stream"):
        call(lambda b, i: events(line, "\n\n", "data: [DONE]\n\n"), stream=True, retries=0)


def test_a_body_without_end_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr("outthink.models._server.BODY", 1 << 20)
    long = completion(["x" * (3 << 20)])
    with pytest.raises(Malformed, match="longer than"):
        call(lambda b, i: long, Request(ASK, max_tokens=1), retries=0)
    with pytest.raises(Malformed, match="longer than"):
        call(
            lambda b, i: events(piece("x" * (3 << 20))),
            Request(ASK, max_tokens=1),
            stream=True,
            retries=0,
        )


CHOICE = {"message": {"content": "The answer is 7."}}


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"choices": [{"message": {"content": [{"type": "text", "text": "so 7"}]}}]}, None),
        ({"choices": [CHOICE], "usage": {"prompt_tokens": 1e400, "completion_tokens": 1}}, None),
        ({"choices": [CHOICE], "usage": {"prompt_tokens": 10**30, "completion_tokens": 1}}, None),
        ({"choices": [CHOICE], "usage": [1]}, None),
        ({"choices": [CHOICE], "usage": {"prompt_tokens_details": "x"}}, None),
        ({"choices": [CHOICE | {"finish_reason": {"a": 1}}]}, None),
        ({"choices": [CHOICE | {"logprobs": {"content": [{"x": 1}]}}]}, "cannot be read"),
        ({"choices": [CHOICE | {"logprobs": {"content": 3}}]}, "cannot be read"),
        ({"choices": ["x"]}, "without choices"),
        ([1, 2], "without choices"),
        ("\"" + "x" * 10, "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("1" * 10_000, "not JSON"),
    ],
)  # fmt: skip
def test_odd_bodies_are_read_or_refused_with_a_word(body, wrong):
    content = body if isinstance(body, str) else json.dumps(body)
    answer = lambda b, i: httpx.Response(200, content=content)  # noqa: E731
    if wrong is None:
        reply, *_ = call(answer, Request(ASK, logprobs=True), retries=0)
        assert "7" in reply.generations[0].text
        assert 0 < reply.usage.total_tokens < 1 << 54
    else:
        with pytest.raises(Malformed, match=wrong):
            call(answer, retries=0)


def test_an_error_in_a_body_of_200_is_the_servers():
    with pytest.raises(ServerFailed, match="no room"):
        call(lambda b, i: {"error": {"message": "no room left"}}, retries=0)


def test_bytes_that_are_no_utf8_are_replaced():
    raw = json.dumps({"choices": [{"message": {"content": "x7"}}]}).encode().replace(b"x", b"\xff")
    reply, *_ = call(lambda b, i: httpx.Response(200, content=raw))
    assert reply.generations[0].text == "\ufffd7"


def test_a_question_with_lone_surrogates_is_sent():
    _, sent, *_ = call(
        lambda b, i: completion(["7"]), Request(({"role": "user", "content": "a\ud800b"},))
    )
    assert sent[0]["messages"][0]["content"] == "a?b"


@pytest.mark.parametrize(
    "after", ["1e999", "-5", "nan", "Tue, 01 Jan 99999 00:00:00 GMT", "x" * 99]
)
def test_an_odd_wish_to_wait_is_survived(after, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "outthink.models._server._pause", lambda attempt, wish: asked.append(wish) or 0.0
    )
    call(failing((429, {"retry-after": after}, {})))
    assert asked[0] is None or asked[0] != asked[0] or 0 <= asked[0] <= 60


def test_a_server_that_sends_elsewhere_is_not_followed_with_the_key():
    with pytest.raises(NoSuchModel, match=r"http://other\.example"):
        call(lambda b, i: (307, {"location": "http://other.example/v1"}, {}))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://[::1", "no address"),
        ("http://h:99999999/v1", "no address"),
        ("http://h:port/v1", "no address"),
        ("http:///v1", "name a host"),
        ("ftp://h/v1", "must begin with"),
        ("http://h/v1\nX: y", "no address"),
        ("http://user:hunter2@h/v1", "no name or password"),
        ("http://h/v1?key=hunter2", "ends before"),
    ],
)
def test_what_is_no_address_is_refused_and_its_secrets_not_repeated(address, said, monkeypatch):
    with pytest.raises(BadInput, match=said) as caught:
        OpenAI("m", base_url=address)
    assert "hunter2@" not in str(caught.value)
    assert "user" not in str(caught.value)
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(BadInput, match="OPENAI_BASE_URL"):
        OpenAI("m").open()


@pytest.mark.parametrize("key", ["sk-geheim\u00e9", "sk-a b", "sk-a\nX-Evil: 1"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(BadInput, match="OPENAI_API_KEY") as caught:
        OpenAI("m").open()
    assert "sk-" not in str(caught.value)
    monkeypatch.setenv("OPENAI_API_KEY", "  sk-fine\n")
    assert OpenAI("m").open().server.endpoints[0].headers["authorization"] == "Bearer sk-fine"


def test_models_of_two_servers_are_told_apart_in_the_store(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    names = [OpenAI("m", base_url=u).open().name for u in ("http://a/v1", "http://a/v2")]
    names.append(OpenAI("m").open().name)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://a/v1")
    assert [*names, OpenAI("m").open().name] == ["m@a/v1", "m@a/v2", "m", "m@a/v1"]


# -- tokens that nobody counted ----------------------------------------------------------------------


def test_tools_are_part_of_the_prompt():
    tool = {"type": "function", "function": {"name": "f", "description": "long " * 200}}
    bare = {"choices": [CHOICE]}
    plain, *_ = call(lambda b, i: bare)
    with_tools, *_ = call(lambda b, i: bare, Request(ASK, tools=(tool,)))
    assert with_tools.usage.prompt_tokens >= plain.usage.prompt_tokens + 200


def test_our_own_estimate_does_not_accuse_a_server_that_kept_to_its_limit():
    text = " ".join(["antidisestablishment"] * 10)
    reply, *_ = call(
        lambda b, i: {"choices": [{"message": {"content": text}}]}, Request(ASK, max_tokens=50)
    )
    assert reply.usage.completion_tokens == 50
    reply, *_ = call(
        lambda b, i: {"choices": [{"message": {"content": text}}]}, Request(ASK, max_tokens=5)
    )
    assert reply.usage.completion_tokens == 10


# -- calls side by side ------------------------------------------------------------------------------


def resumed(model, url, strategy, **options):
    """The answer of a run, of the same run again with its store, and of its replay."""
    from outthink.store import open_store
    from outthink.store.replay import replay

    first = outthink.solve("3+4?", model=model, strategy=strategy, store=url, **options)

    async def main():
        async with await open_store(url) as store:
            return await replay(store, first.run)

    return first, anyio.run(main)


def test_what_a_server_wants_is_learned_by_all_calls_in_flight(at_once):
    def handler(body, number):
        if "max_tokens" in body:
            return 400, {}, {"error": {"message": "use 'max_completion_tokens' instead"}}
        if "temperature" in body:
            return 400, {}, {"error": {"message": "'temperature' does not support 1"}}
        return completion(["The answer is 7."])

    with serving(handler, latency=0.05) as server:
        model = OpenAI("m", base_url=server.url, seeds=True)
        answer = outthink.solve("3+4?", model=model, strategy="self_consistency(n=4)")
    assert answer.answer == "7"
    assert len(answer.candidates) == 4


def test_a_call_that_cannot_be_retried_does_not_end_those_beside_it(at_once):
    def handler(body, number):
        return (503, {}, {}) if number == 0 else completion(["The answer is 7."])

    with serving(handler, latency=0.2) as server:
        model = OpenAI("m", base_url=server.url, seeds=True)
        answer = outthink.solve(
            "3+4?", model=model, strategy="self_consistency(n=4)", budget="calls=4"
        )
    assert (answer.answer, answer.stopped, len(answer.candidates)) == ("7", "calls", 3)
    assert (answer.usage.calls, answer.usage.completion_tokens) == (4, 12)


@pytest.mark.parametrize("budget", ["", "tokens=150", "calls=3"])
@pytest.mark.parametrize("fault", ["cut", (503, {}, {}), (200, {}, "<html>")])
@pytest.mark.parametrize("times", [1, 2, 9])
def test_runs_with_failed_attempts_are_replayed_and_resumed(
    tmp_path, budget, fault, times, at_once
):
    """Whatever failed and however tightly the budget held: the same answer at the same cost."""
    turns = {}

    def handler(body, number):
        turns[body["seed"]] = turns.get(body["seed"], 0) + 1
        first = min(turns)
        return fault if body["seed"] == first and turns[first] <= times else completion(["is 7."])

    with serving(handler) as server:
        model = OpenAI("m", base_url=server.url, seeds=True, max_tokens=64, retries=2)
        options = {"budget": budget} if budget else {}
        spec = "self_consistency(n=2, max_tokens=64)"
        try:
            first, again = resumed(model, f"sqlite:///{tmp_path}/s.db", spec, **options)
        except outthink.OutthinkError:
            pytest.fail("one sample of two came")
    assert again.same, again.differences
    assert again.answer.answer == first.answer


# -- the probe ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": "usd=1"}, "usd_prompt"),
        ({"reader": "nonsense"}, "nonsense"),
        ({"strategy": "beam_search(n=2, prm=prm(model=simulated))"}, "needs a reward model"),
        ({"strategy": "beam_search(n=2)"}, "needs a verifier"),
    ],
)
def test_bad_input_comes_before_the_probe(options, words):
    with serving(able) as server:
        model = OpenAI("m", base_url=server.url)
        strategy = "beam_search(n=2, prm=prm(model=simulated_prm))"
        with pytest.raises(BadInput, match=words):
            outthink.solve("q?", **{"model": model, "strategy": strategy, **options})
    assert not server.bodies


def test_a_busy_server_is_probed_again_and_its_wishes_are_met(at_once):
    def handler(body, number):
        if number == 0:
            return 503, {}, {}
        if "max_tokens" in body:
            return 400, {}, {"error": {"message": "use 'max_completion_tokens' instead"}}
        return able(body, number)

    capabilities, meter, sent = probed(handler)
    assert "PREFIX" in capabilities
    assert meter.spent.calls == len(sent) == 3
    with serving(lambda b, i: (503, {}, {})) as server, pytest.raises(ServerFailed):
        outthink.solve(
            "q?",
            model=OpenAI("m", base_url=server.url, retries=1),
            strategy="beam_search(n=2, prm=prm(model=simulated_prm))",
        )


def test_a_deadline_during_the_probe_ends_the_run():
    with serving(able, latency=5.0) as server:
        answer = outthink.solve(
            "q?",
            model=OpenAI("m", base_url=server.url),
            strategy="beam_search(n=2, prm=prm(model=simulated_prm))",
            budget="seconds=0.3",
        )
    assert (answer.answer, answer.stopped) == (None, "seconds")


# -- streams and whole answers are read alike --------------------------------------------------------


def told(text, finish=None, **more):
    return (
        f"data: {json.dumps({'choices': [{'delta': text, 'finish_reason': finish, **more}]})}\n\n"
    )


@pytest.mark.parametrize(("reason", "finish"), [(None, "stop"), ("\n\n", "step")])
def test_what_stopped_a_stream_is_read_from_vllm(reason, finish):
    lines = [
        told({"role": "assistant"}),
        told({"content": "a step"}),
        told({"content": ""}, "stop", stop_reason=reason),
        'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}\n\n',
        "data: [DONE]\n\n",
    ]
    reply, *_ = call(lambda b, i: events(*lines), Request(ASK, stop=("\n\n", "#")), stream=True)
    (only,) = reply.generations
    assert (only.text, only.finish, only.stopped_by) == ("a step", finish, reason)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 2)


def test_an_echoed_prefix_does_not_stop_a_stream():
    lines = [told({"content": p}) for p in ("a", " step\n", "\nthe", " answer is 5\n\n", "more")]
    reply, *_ = call(
        lambda b, i: events(*lines),
        Request(ASK, prefix="a step\n\n", stop=("\n\n",)),
        stream=True,
        prefix="continue",
    )
    assert reply.generations[0].text == "the answer is 5"
    assert reply.generations[0].finish == "step"


def test_thoughts_and_refusals_in_a_stream_are_kept_and_counted():
    lines = [told({"reasoning_content": f"w{i} "}) for i in range(30)]
    lines += [
        told({"content": [{"type": "text", "text": "so 7"}]}),
        told({"refusal": "no"}, "stop"),
    ]
    reply, *_ = call(lambda b, i: events(*lines), stream=True)
    (only,) = reply.generations
    assert only.text == "so 7"
    assert only.extra["refusal"] == "no"
    assert only.extra["reasoning_content"].split()[-1] == "w29"
    assert reply.usage.completion_tokens >= 32
    reply, *_ = call(lambda b, i: events(*lines), Request(ASK, max_tokens=10), stream=True)
    assert reply.generations[0].finish == "length"
    body = {"choices": [{"message": {"content": "7", "reasoning_content": "word " * 150}}]}
    reply, *_ = call(lambda b, i: body)
    assert reply.usage.completion_tokens >= 150


@pytest.mark.parametrize(
    "lines",
    [
        ["\ufeff", told({"content": "7"}, "stop"), "data: [DONE]\n\n"],
        [told({"content": "7"}, "stop")],
        [told({"content": "7"}, "stop").rstrip()],
        ["data:\n\n", told({"content": "7"}, "stop"), "data: [DONE]"],
        [json.dumps({"choices": [{"message": {"content": "7"}, "finish_reason": "stop"}]})],
    ],
)
def test_streams_of_every_shape_are_read(lines):
    kind = "application/json" if lines[0].startswith("{") else "text/event-stream"
    answer = httpx.Response(200, content="".join(lines), headers={"content-type": kind})
    reply, *_ = call(lambda b, i: answer, stream=True, retries=0)
    assert reply.generations[0].text == "7"


def test_an_error_instead_of_a_stream_is_said():
    answer = httpx.Response(200, json={"error": {"message": "no room left"}})
    with pytest.raises(ServerFailed, match="no room"):
        call(lambda b, i: answer, stream=True, retries=0)


def test_lines_of_data_are_not_read_over_and_over():
    begun = time.monotonic()
    with pytest.raises(Malformed, match="stream"):
        call(
            lambda b, i: events("data: [" + "1," * 500_000 + "\n", "data:\n" * 2000),
            stream=True,
            retries=0,
        )
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("stream", [False, True])
def test_a_packed_answer_is_not_unpacked(stream):
    raw = gzip.compress(gzip.compress(b"0" * (1 << 20)))
    with (
        serving(
            lambda b, i: (200, {"content-encoding": "gzip, gzip"}, raw.decode("latin-1"))
        ) as server,
        pytest.raises(Malformed, match="packed"),
    ):
        outthink.solve(
            "q?",
            model=OpenAI("m", base_url=server.url, stream=stream, retries=0),
            strategy="greedy",
        )
    assert server.headers[0]["accept-encoding"] == "identity"


def test_a_key_that_a_server_sends_back_is_not_kept(monkeypatch):
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    reply, *_ = call(lambda b, i: completion([f"your key is {key}"]))
    assert reply.generations[0].text == "your key is [key]"
    with pytest.raises(Malformed) as caught:
        call(lambda b, i: httpx.Response(200, content=" " * 3990 + key + "<html>"), retries=0)
    assert "secret" not in str(caught.value)
    reply, *_ = call(lambda b, i: events(told({"content": f"x {key}"}, "stop")), stream=True)
    assert reply.generations[0].text == "x [key]"


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALL_PROXY", "foo://x"), ("HTTPS_PROXY", "http://[::1"), ("SSL_CERT_FILE", "/none/such.pem")],
)
def test_an_environment_that_cannot_be_used_is_said(name, value, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match="proxy or the certificates"):
        OpenAI("m").open()


def test_no_prompt_at_all_is_no_count():
    reply, *_ = call(lambda b, i: completion(["7"], prompt=0, tokens=1))
    assert reply.usage.prompt_tokens > 10
    assert reply.usage.estimated


def test_an_echoed_prefix_is_not_counted_as_written():
    prefix = "a long first step that was written"
    pieces = [prefix[i : i + 2] for i in range(0, len(prefix), 2)] + ["the ", "answer"]
    lines = [told({"content": p}) for p in pieces] + [told({}, "stop")]
    lines.append('data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}\n\n')
    reply, *_ = call(
        lambda b, i: events(*lines),
        Request(ASK, prefix=prefix, max_tokens=8),
        stream=True,
        prefix="continue",
    )
    assert reply.generations[0].text == "the answer"
    assert (reply.usage.completion_tokens, reply.usage.estimated) == (2, False)


@given(st.data())
def test_how_a_stream_is_cut_into_chunks_changes_nothing(data):
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    lines = [told({"content": c}).strip() for c in ("so é", "\u2028 ", "🙂7")]
    lines += [told({}, "stop").strip(), "data: [DONE]"]
    raw = (end + end).join(lines).encode() + end.encode() * data.draw(st.integers(0, 2))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))

    class Chunks(httpx.AsyncByteStream):
        async def __aiter__(self):
            for a, b in pairwise([0, *cuts, len(raw)]):
                yield raw[a:b]

    reply, *_ = call(lambda b, i: httpx.Response(200, stream=Chunks()), stream=True, retries=0)
    assert reply.generations[0].text == "so é\u2028 🙂7"
    assert reply.usage.completion_tokens >= 3


@pytest.mark.parametrize("late", [0, 1])
def test_an_overdraft_leaves_those_beside_it_and_does_not_depend_on_order(tmp_path, late):
    """One of three reports far too much: the others are used, and a replay tells the same."""
    seeds = []

    def handler(body, number):
        if body["seed"] not in seeds:
            seeds.append(body["seed"])
        which = seeds.index(body["seed"])
        time.sleep(0.05 * (which == late))
        return completion([f"The answer is {which}."], tokens=900 if which == late else 4)

    with serving(handler) as server:
        model = OpenAI("m", base_url=server.url, seeds=True, max_tokens=60)
        first, again = resumed(
            model, f"sqlite:///{tmp_path}/s.db", "self_consistency(n=3)", budget="tokens=200"
        )
    assert first.stopped == "tokens"
    assert len(first.candidates) == 3
    assert first.usage.completion_tokens == 908
    assert sum("overdraft of tokens" in note for note in first.notes) == 1
    assert again.same, again.differences


def test_a_replay_is_not_changed_by_what_the_store_was_given_later(tmp_path, at_once):
    url, broken = f"sqlite:///{tmp_path}/s.db", [True]
    seeds = []

    def handler(body, number):
        if body["seed"] not in seeds:
            seeds.append(body["seed"])
        which = seeds.index(body["seed"])
        return (503, {}, {}) if broken[0] and which == 1 else completion([f"answer: {which}"])

    from outthink.store import open_store
    from outthink.store.replay import replay

    with serving(handler) as server:
        model = OpenAI("m", base_url=server.url, seeds=True, retries=1)
        first = outthink.solve("3+4?", model=model, strategy="self_consistency(n=3)", store=url)
        broken[0] = False
        second = outthink.solve("3+4?", model=model, strategy="self_consistency(n=3)", store=url)
    assert (len(first.candidates), len(second.candidates)) == (2, 3)

    async def main():
        async with await open_store(url) as store:
            return [await replay(store, a.run) for a in (first, second)]

    for again in anyio.run(main):
        assert again.same, again.differences


# -- what a client behind the gateway sent -------------------------------------------------------------


def test_a_callers_wishes_go_beside_those_of_a_strategy_and_not_over_them():
    own = Request(
        ASK,
        stop=("\n\n",),
        seeds=(5,),
        top_logprobs=4,
        extra={"stop": "END", "seed": 1, "logprobs": False, "top_logprobs": 2, "user": "u"},
    )
    _, sent, *_ = call(lambda b, i: completion(["7"]), own, seeds=True)
    wanted = {"stop": ["\n\n", "END"], "seed": 5, "logprobs": True, "top_logprobs": 4, "user": "u"}
    assert {k: sent[0][k] for k in wanted} == wanted
    theirs = {"stop": ["a", "b"], "seed": 1, "logprobs": True, "top_logprobs": 2}
    _, sent, *_ = call(lambda b, i: completion(["7"]), Request(ASK, extra=theirs))
    assert {k: sent[0][k] for k in theirs} == theirs


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_that_a_caller_wants_are_kept_as_they_came_and_not_counted_as_text(stream):
    logprobs = {"content": [{"token": "7", "logprob": -0.5, "bytes": [55], "top_logprobs": []}] * 9}
    body = completion(["7"], tokens=1)
    body["choices"][0]["logprobs"] = logprobs
    ask = Request(ASK, extra={"logprobs": True})
    reply, sent, *_ = call(lambda b, i: body, ask, stream=stream)
    assert "stream" not in sent[0]
    assert reply.generations[0].extra["logprobs"] == logprobs
    assert (reply.usage.completion_tokens, reply.usage.estimated) == (1, False)
    reply, *_ = call(lambda b, i: body, Request(ASK, logprobs=True))
    assert "logprobs" not in reply.generations[0].extra


def test_all_of_a_message_is_kept_and_what_was_not_written_is_not_counted():
    beside = {
        "annotations": [{"type": "url_citation", "url_citation": {"url": "x" * 4000}}],
        "audio": {"id": "a", "data": "x" * 4000},
        "function_call": {"name": "f", "arguments": "{}"},
        "reasoning_details": [{"type": "reasoning.text", "text": "x" * 4000}],
    }
    body = completion(["7"], tokens=5)
    body["choices"][0]["message"].update(beside)
    body["choices"][0]["finish_reason"] = "function_call"
    reply, *_ = call(lambda b, i: body)
    (only,) = reply.generations
    assert (dict(only.extra), only.finish) == (beside, "function_call")
    assert (reply.usage.completion_tokens, reply.usage.estimated) == (5, False)


def test_a_call_of_a_tool_is_a_finished_sample_with_the_servers_word_for_it():
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    body = {"choices": [{"message": message, "finish_reason": "tool_calls"}]}
    answer, _ = through(lambda b, i: body, "greedy")
    (sample,) = answer.candidates
    assert (sample.finish, sample.finished, sample.text) == ("tool_calls", True, "")
    assert sample.extra["tool_calls"] == calls
    reply, *_ = call(lambda b, i: body, Request(ASK, stop=("\n\n",)))
    assert reply.generations[0].finish == "tool_calls"


DETAILS = {
    "prompt_tokens_details": {"cached_tokens": 30},
    "completion_tokens_details": {"reasoning_tokens": 8},
}


def test_cached_and_reasoning_tokens_survive_in_streams_and_in_answers_of_no_use():
    usage = {"prompt_tokens": 40, "completion_tokens": 9, **DETAILS}
    lines = [
        told({"content": "7"}, "stop"),
        f"data: {json.dumps({'choices': [], 'usage': usage})}\n\n",
        "data: [DONE]\n\n",
    ]
    reply, *_ = call(lambda b, i: events(*lines), stream=True)
    assert (reply.usage.cached_tokens, reply.usage.reasoning_tokens) == (30, 8)
    more = [told({"content": f"w{i} "}) for i in range(20)]
    reply, *_ = call(lambda b, i: events(*more, *lines), stream=True)
    assert (reply.usage.cached_tokens, reply.usage.reasoning_tokens) == (30, 8)
    assert (reply.usage.completion_tokens, reply.usage.estimated) == (21, True)
    with serving(lambda b, i: {"choices": [{"message": {}}], "usage": usage}) as server:
        live = OpenAI("m", base_url=server.url, retries=0).open()
        ticket = Meter(Budget()).reserve(Usage(calls=1))

        async def main():
            with pytest.raises(Malformed):
                await live.generate(Request(ASK), ticket)
            await live.aclose()

        anyio.run(main)
    assert (ticket.partial.cached_tokens, ticket.partial.reasoning_tokens) == (30, 8)


def test_notes_in_pieces_of_a_stream_are_joined():
    lines = [
        told({"content": "so", "annotations": [{"n": 1}]}),
        told({"content": " 7", "annotations": [{"n": 2}]}, "stop"),
    ]
    reply, *_ = call(lambda b, i: events(*lines), stream=True)
    assert reply.generations[0].extra["annotations"] == [{"n": 1}, {"n": 2}]
