import json

import anyio
import httpx
import pytest

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
        model = OpenAI("m", base_url="http://127.0.0.1:1/v1", **options).open(
            httpx.MockTransport(answer)
        )
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
    assert "secret" not in repr(
        OpenAI("m").open(httpx.MockTransport(lambda r: httpx.Response(200)))
    )


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
