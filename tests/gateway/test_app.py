"""The gateway over the hostile upstream: what is passed on, what is told, what is counted, what ends."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from outthink.core.budget import Budget
from outthink.gateway.config import Alias, Config, ModelConfig, ServerConfig, Upstream
from tests.gateway.running import Running, over, running
from tests.gateway.upstream import hostile

ADD = [{"role": "user", "content": "What is 3 + 4?"}]
VOTE = "self_consistency(n=8)@m"


@pytest.fixture(scope="module")
def up() -> Iterator[Any]:
    with hostile() as found:
        yield found


@pytest.fixture(scope="module")
def gate(up: Any) -> Iterator[Running]:
    with running(over(up.url, retries=1)) as found:
        yield found


def ask(gate: Running, body: dict[str, Any], path: str = "/chat/completions", **more: Any) -> Any:
    body = {"messages": ADD, **body} if "chat" in path else body
    return httpx.post(gate.url + path, json={"model": "m", **body}, timeout=20, **more)


def events(response: httpx.Response) -> list[Any]:
    """The data of a stream's events; comments are left out."""
    lines = [line for line in response.text.split("\n") if line.startswith("data: ")]
    return [line[6:] if line[6:] == "[DONE]" else json.loads(line[6:]) for line in lines]


# -- the pass-through ------------------------------------------------------------------------------


def test_what_the_client_sends_arrives_as_it_is(gate: Running, up: Any) -> None:
    sent = {
        "model": "m",
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is 3 + 4?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "7"},
        ],
        "temperature": 0.3, "top_p": 0.9, "seed": 5, "stop": ["X"], "logprobs": True, "top_logprobs": 2,
        "max_tokens": 77, "user": "u", "response_format": {"type": "text"}, "metadata": {"id": "as-is"},
        "a_field_of_tomorrow": {"x": [1, 2]},
    }  # fmt: skip
    found = httpx.post(gate.url + "/chat/completions", json=sent)
    assert found.status_code == 200
    (call,) = up.book.of("as-is")
    assert call.body == sent
    assert found.json()["usage"]["completion_tokens"] == call.completion
    assert found.headers["x-outthink-calls"] == "1"
    assert found.headers["x-outthink-completion-tokens"] == str(call.completion)


def test_the_same_with_a_strategy(gate: Running, up: Any) -> None:
    body = {
        "model": VOTE, "temperature": 0.3, "top_p": 0.9, "stop": ["X"], "user": "u", "max_tokens": 77,
        "metadata": {"id": "vote"}, "a_field_of_tomorrow": 1, "presence_penalty": 0.5,
    }  # fmt: skip
    found = ask(gate, body)
    assert found.status_code == 200, found.text
    (call,) = up.book.of("vote")
    kept = {k: v for k, v in body.items() if k != "model"}
    assert {k: call.body[k] for k in kept} == kept
    assert call.body["n"] == 8
    assert "outthink" not in call.body
    told = found.json()
    assert told["outthink"]["strategy"] == "self_consistency(n=8, temperature=0.3)"
    assert told["usage"]["completion_tokens"] == call.completion
    assert told["usage"]["prompt_tokens"] == call.prompt


def test_a_stream_is_passed_on_as_it_comes(gate: Running) -> None:
    body = {
        "model": "m",
        "messages": ADD,
        "stream": True,
        "metadata": {"pace": "0.05", "words": "11"},
    }
    began, times = time.perf_counter(), list[float]()
    with httpx.stream("POST", gate.url + "/chat/completions", json=body, timeout=10) as response:
        for line in response.iter_lines():
            if line.startswith("data:"):
                times.append(time.perf_counter() - began)
    assert times[-1] - times[0] > 0.35  # not all at once
    assert len(times) >= 11


@pytest.mark.parametrize("wanted", [False, True])
def test_usage_is_shown_where_it_was_asked_for(gate: Running, up: Any, wanted: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if wanted else {}
    found = events(ask(gate, {"stream": True, "metadata": {"id": f"s{wanted}"}, **options}))
    assert found[-1] == "[DONE]"
    told = [e["usage"] for e in found[:-1] if e.get("usage")]
    (call,) = up.book.of(f"s{wanted}")
    assert [t["completion_tokens"] for t in told] == ([call.completion] if wanted else [])
    assert wanted or all(e["choices"] for e in found[:-1])


# -- strategies --------------------------------------------------------------------------------------


def test_a_vote_is_right_where_one_sample_is_not(gate: Running) -> None:
    right = 0
    for i in range(20):
        body = {"model": "self_consistency(n=15)@m", "metadata": {"right": "0.6", "id": f"v{i}"}}
        text = ask(gate, body).json()["choices"][0]["message"]["content"]
        right += "7" in text.split()[-1]
    assert right >= 18


def test_n_choices_share_the_samples_of_one_run(gate: Running, up: Any) -> None:
    found = ask(gate, {"model": VOTE, "n": 3, "metadata": {"right": "0.4", "id": "n3"}}).json()
    texts = [c["message"]["content"] for c in found["choices"]]
    assert [c["index"] for c in found["choices"]] == [0, 1, 2]
    assert len({t.split()[-1] for t in texts}) == 3  # distinct answers
    assert sum(len(c.body["messages"]) for c in up.book.of("n3")) == 1


def test_more_choices_than_samples_are_made_up_for(gate: Running) -> None:
    found = ask(gate, {"model": "self_consistency(n=2)@m", "n": 5}).json()
    assert len(found["choices"]) == 5
    assert found["usage"]["completion_tokens"] >= 5


def test_the_strategy_may_stand_in_the_body_a_header_or_an_alias(up: Any) -> None:
    config = over(up.url)
    config = Config(
        config.server, config.models, {"smart": Alias("smart", "m", "self_consistency(n=4)")}, {}
    )
    with running(config) as gate:
        ways: list[tuple[dict[str, Any], dict[str, str]]] = [
            ({"outthink": {"strategy": "self_consistency(n=4)"}}, {}),
            ({}, {"x-outthink-strategy": "self_consistency(n=4)"}),
            ({"model": "smart"}, {}),
            ({"model": "self_consistency(n=4)@m"}, {}),
        ]
        for body, headers in ways:
            found = ask(gate, body, headers=headers)
            assert found.json()["outthink"]["strategy"] == "self_consistency(n=4)", found.text
            assert found.headers["x-outthink-strategy"] == "self_consistency"


def test_tool_calls_vote(gate: Running) -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "add",
            "parameters": {
                "type": "object",
                "properties": {"sum": {"type": "integer"}},
                "required": ["sum"],
            },
        },
    }
    body = {"model": "self_consistency(n=15)@m", "tools": [tool], "metadata": {"right": "0.6"}}
    found = ask(gate, body).json()
    (choice,) = found["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "add"
    assert "7" in call["function"]["arguments"]
    assert found["outthink"]["confidence"] > 0.4


def test_json_that_breaks_the_schema_cannot_win(gate: Running) -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "integer"}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    for i in range(5):
        body = {
            "model": "self_consistency(n=12)@m",
            "response_format": form,
            "metadata": {"valid": "0.4", "id": f"j{i}"},
        }
        text = ask(gate, body).json()["choices"][0]["message"]["content"]
        assert json.loads(text) == {"answer": 7}


def test_temperature_zero_is_not_eight_times_the_same(gate: Running, up: Any) -> None:
    found = ask(gate, {"model": VOTE, "temperature": 0, "metadata": {"id": "cold"}}).json()
    assert up.book.of("cold")[0].body["temperature"] == 1.0
    assert any("temperature 0" in note for note in found["outthink"]["notes"])


def test_a_strategy_streams_its_winner_with_usage_and_progress(gate: Running, up: Any) -> None:
    body = {
        "model": VOTE, "stream": True, "stream_options": {"include_usage": True},
        "outthink": {"progress": True}, "metadata": {"id": "ps"},
    }  # fmt: skip
    found = events(ask(gate, body))
    assert found[-1] == "[DONE]"
    progress = [e for e in found[:-1] if e["object"] == "outthink.progress"]
    assert len(progress) >= 8
    chunks = [e for e in found[:-1] if e["object"] == "chat.completion.chunk"]
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    assert text.split()[-1].startswith("7")
    assert chunks[-1]["usage"]["completion_tokens"] == up.book.total("ps")["completion"]
    assert chunks[-1]["choices"] == []


def test_life_is_shown_while_a_strategy_thinks(up: Any) -> None:
    with running(over(up.url, server={"keepalive_seconds": 0.05})) as gate:
        found = ask(gate, {"model": VOTE, "stream": True, "metadata": {"latency": "0.3"}})
    assert found.text.count(": keep-alive") >= 3
    assert events(found)[-1] == "[DONE]"


# -- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["m", VOTE])
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("400", 400), ("401", 401), ("404", 404), ("429", 429), ("500", 500), ("503", 503),
        ("html", 502), ("broken", 502), ("reset", 502), ("cut", 502), ("no_choices", 502),
        ("error", 502), ("empty", 502),
    ],
)  # fmt: skip
def test_an_upstream_error_is_told_as_it_is(
    gate: Running, model: str, fault: str, status: int
) -> None:
    body = {
        "model": model,
        "metadata": {"fault": fault, "retry_after": "0", "id": f"{fault}{model}"},
    }
    found = ask(gate, body)
    assert found.status_code == status, found.text
    error = found.json()["error"]
    assert error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "Bearer" not in found.text


def test_retry_after_is_passed_on(gate: Running) -> None:
    found = ask(gate, {"metadata": {"fault": "429", "retry_after": "7"}})
    assert (found.status_code, found.headers["retry-after"]) == (429, "7")


def test_a_stream_that_breaks_off_ends_with_an_error(gate: Running) -> None:
    for fault in ("cut", "ends", "error_late"):
        about = {"fault": fault, "words": "40", "pace": "0.005"}
        found = events(ask(gate, {"stream": True, "metadata": about}))
        assert len(found) > 3, fault
        assert found[-1]["error"]["code"].startswith("upstream"), fault


def test_seven_of_eight_are_enough(up: Any) -> None:
    with running(over(up.url, retries=0)) as gate:
        body = {"model": VOTE, "metadata": {"fault": "refuse_n+500@4", "id": "seven"}}
        found = ask(gate, body)
    assert found.status_code == 200, found.text
    assert found.json()["outthink"]["samples"] == 7
    assert any("failed" in note for note in found.json()["outthink"]["notes"])


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"model": "self_consistensy(n=8)@m"}, 400, "self_consistency"),
        ({"model": "self_consistency(m=8)@m"}, 400, "no parameter 'm'"),
        ({"model": "self_consistency(n=8)"}, 400, "write self_consistency(n=8)@MODEL (m)"),
        ({"model": "mm"}, 404, "'m'"),
        ({"model": ""}, 400, "model"),
        ({"n": 0}, 400, "n=0"),
        ({"stream": "yes"}, 400, "stream"),
        ({"outthink": {"strategi": "x"}}, 400, "'strategy'"),
        ({"outthink": {"budget": "token=5"}}, 400, "tokens"),
        ({"model": VOTE, "messages": []}, 400, "message"),
        ({"model": VOTE, "messages": [{"role": "nobody", "content": "x"}]}, 400, "role"),
        ({"model": "particle_filter(n=4)@m"}, 400, "verifier"),
        ({"model": "best_of_n(n=2, verifier=regex(\"x\"))@m"}, 403, "alias"),
        ({"model": 'best_of_n(n=2, verifier=judge(model="gpt-5"))@m'}, 400, "gpt-5"),
        ({"model": 'best_of_n(verifier=judge(model=openai("m", base_url="http://e/v1")))@m'}, 403,
         "address"),
        ({"model": "token_ensemble@m"}, 400, "LOGITS"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_before_anything_is_spent(
    gate: Running, up: Any, body: dict[str, Any], status: int, said: str
) -> None:
    before = up.book.total()["calls"]
    found = ask(gate, body)
    assert found.status_code == status, found.text
    assert said in found.json()["error"]["message"]
    assert up.book.total()["calls"] == before


def test_what_is_no_json_or_too_large_is_told(up: Any) -> None:
    with running(over(up.url, server={"body_bytes": 2000, "header_bytes": 3000})) as gate:
        at = gate.url + "/chat/completions"
        json_ = {"content-type": "application/json"}
        assert httpx.post(at, content="{", headers=json_).status_code == 400
        assert httpx.post(at, content="{}").status_code == 415
        assert httpx.post(at, content=b"[" * 1999, headers=json_).status_code == 400
        assert ask(gate, {"user": "x" * 3000}).status_code == 413
        assert httpx.get(at).status_code == 405
        assert httpx.get(gate.url + "/nothing").status_code == 404
        assert httpx.get(gate.root + "/healthz", headers={"x": "y" * 4000}).status_code == 431
        for found in (httpx.get(at), httpx.get(gate.url + "/nothing")):
            assert found.json()["error"]["message"]


def test_a_gateway_without_keys_answers_only_to_this_machine(gate: Running) -> None:
    assert httpx.get(gate.url + "/models", headers={"host": "evil.example:80"}).status_code == 403
    assert httpx.get(gate.url + "/models", headers={"host": "localhost:9"}).status_code == 200


# -- budgets and deadlines ---------------------------------------------------------------------------


def test_a_budget_holds(gate: Running, up: Any) -> None:
    body = {
        "model": VOTE, "max_tokens": 20, "outthink": {"budget": "tokens=60"}, "metadata": {"id": "b"},
    }  # fmt: skip
    found = ask(gate, body)
    assert found.status_code == 200, found.text
    assert up.book.total("b")["completion"] <= 60
    assert found.json()["outthink"]["stopped"] == "tokens"
    small = ask(gate, {**body, "outthink": {"budget": "tokens=2"}})
    assert small.json()["error"]["code"] == "budget_exhausted"


def test_a_budget_holds_for_the_pass_through_too(gate: Running, up: Any) -> None:
    body = {"outthink": {"budget": "tokens=20"}, "metadata": {"words": "50", "id": "pb"}}
    assert ask(gate, body).json()["choices"][0]["finish_reason"] == "length"
    assert up.book.total("pb")["completion"] == 20


@pytest.mark.parametrize("model", ["m", VOTE])
def test_a_deadline_ends_what_hangs(gate: Running, up: Any, model: str) -> None:
    began = time.monotonic()
    body = {"model": model, "outthink": {"budget": "seconds=0.4"}, "metadata": {"fault": "hang"}}
    found = ask(gate, body)
    assert found.status_code == 504, found.text
    assert time.monotonic() - began < 2.5
    assert up.wait(lambda book: book.in_flight == 0)


def test_at_the_deadline_what_came_is_the_answer(gate: Running) -> None:
    body = {
        "model": VOTE, "outthink": {"budget": "seconds=0.6"},
        "metadata": {"fault": "refuse_n*1+hang@5", "id": "late"},
    }  # fmt: skip
    found = ask(gate, body)
    assert found.status_code == 200, found.text
    assert found.json()["outthink"]["stopped"] == "seconds"


# -- leaving -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["m", VOTE, "mbr(n=4)@m", "revision(n=4)@m"])
def test_who_leaves_stops_the_upstream(gate: Running, up: Any, model: str, stream: bool) -> None:
    body = {"model": model, "stream": stream, "metadata": {"latency": "5", "fault": "refuse_n"}}
    gone = threading.Thread(target=lambda: _leave(gate, body))
    gone.start()
    assert up.wait(lambda book: book.in_flight > 0)
    gone.join()
    assert up.wait(lambda book: book.in_flight == 0, 1.0)
    held = gate.gateway.gate
    for _ in range(200):
        if not held.inside:
            break
        time.sleep(0.005)
    assert (held.inside, held.waiting, gate.gateway.runs) == (0, 0, set())


def _leave(gate: Running, body: dict[str, Any]) -> None:
    body = {"messages": ADD, **body}
    with pytest.raises(httpx.TimeoutException):
        httpx.post(gate.url + "/chat/completions", json=body, timeout=0.3)


# -- the rest ----------------------------------------------------------------------------------------


def test_a_trace_is_for_the_key_that_made_it(gate: Running) -> None:
    run = ask(gate, {"model": VOTE, "outthink": {"trace": True}}).headers["x-outthink-run"]
    found = httpx.get(f"{gate.url}/runs/{run}").json()
    assert len(found["samples"]) == 8
    assert sum(s["chosen"] for s in found["samples"]) == 1
    plain = ask(gate, {"model": VOTE}).headers["x-outthink-run"]
    assert "samples" not in httpx.get(f"{gate.url}/runs/{plain}").json()
    assert httpx.get(gate.url + "/runs/0000").status_code == 404


def test_the_other_endpoints(gate: Running) -> None:
    listed = httpx.get(gate.url + "/models").json()
    assert [m["id"] for m in listed["data"]] == ["m"]
    assert httpx.get(gate.url + "/models/m").json()["object"] == "model"
    assert httpx.get(gate.url + "/models/x").status_code == 404
    assert httpx.get(gate.root + "/healthz").status_code == 200
    assert httpx.get(gate.root + "/readyz").status_code == 200
    assert "outthink_requests_total" in httpx.get(gate.root + "/metrics").text
    assert httpx.get(gate.root + "/openapi.json").json()["openapi"].startswith("3.")


def test_a_seeded_request_that_comes_again_is_told(gate: Running) -> None:
    body = {"model": VOTE, "seed": 1234, "metadata": {"right": "0.5"}}
    first, second = ask(gate, body).json(), ask(gate, body).json()
    assert not any("seed" in n for n in first["outthink"]["notes"])
    assert any("seed" in n for n in second["outthink"]["notes"])


def test_a_bundled_model_answers_without_any_server() -> None:
    config = Config(ServerConfig(port=0), {"fly": ModelConfig("fly", spec="fly")}, {}, {})
    question = [
        {
            "role": "user",
            "content": "Ada has 3 pens. Ben has 4 more than Ada. How many pens has Ben?",
        }
    ]
    with running(config) as gate:
        for model in ("fly", "self_consistency(n=4)@fly"):
            found = ask(gate, {"model": model, "messages": question, "max_tokens": 200})
            assert "7" in found.json()["choices"][0]["message"]["content"], found.text
        tools = [{"type": "function", "function": {"name": "f"}}]
        assert "tools" in ask(gate, {"model": "fly", "tools": tools}).json()["error"]["message"]


def test_calls_go_to_another_server_where_one_is_down(up: Any) -> None:
    two = (Upstream("http://127.0.0.1:9/v1"), Upstream(up.url))
    with running(Config(ServerConfig(port=0), {"m": ModelConfig("m", two)}, {}, {})) as gate:
        for i in range(6):
            assert ask(gate, {"metadata": {"id": f"two{i}"}}).status_code == 200
            assert ask(gate, {"model": VOTE}).status_code == 200


def test_draining_refuses_and_ends_runs_with_what_they_have(up: Any) -> None:
    with running(over(up.url)) as gate:
        body = {"model": VOTE, "metadata": {"fault": "refuse_n*1+hang@6", "id": "drain"}}
        found: list[Any] = []
        asking = threading.Thread(target=lambda: found.append(ask(gate, body)))
        asking.start()
        assert up.wait(lambda book: len(book.of("drain")) >= 9)
        time.sleep(0.2)
        gate.call(gate.gateway.drain)
        assert ask(gate, {}).status_code == 503
        assert httpx.get(gate.root + "/readyz").status_code == 503
        gate.call(gate.gateway.end_runs)
        asking.join()
    assert found[0].status_code == 200, found[0].text
    assert found[0].json()["outthink"]["stopped"] == "draining"


def test_a_reload_takes_what_is_new_and_keeps_the_old_where_it_is_wrong(up: Any) -> None:
    config = over(up.url)
    with running(config) as gate:
        more = Config(
            config.server, config.models, {"fast": Alias("fast", "m", None, Budget(calls=1))}, {}
        )
        gate.call(gate.gateway.reload, more)
        assert ask(gate, {"model": "fast"}).status_code == 200
        wrong = Config(config.server, config.models, {"x": Alias("x", "m", "token_ensemble")}, {})
        with pytest.raises(Exception, match="LOGITS"):
            gate.call(gate.gateway.reload, wrong)
        assert ask(gate, {"model": "fast"}).status_code == 200


def test_a_pass_through_says_that_its_body_is_json(gate: Running, up: Any) -> None:
    for path, body in (
        ("/chat/completions", {"metadata": {"id": "kind1"}}),
        ("/completions", {"prompt": "1 + 1 #id=kind2"}),
        ("/responses", {"input": "1 + 1 #id=kind3"}),
    ):
        assert ask(gate, body, path).status_code == 200
    for i in (1, 2, 3):
        (call,) = up.book.of(f"kind{i}")
        assert call.headers["content-type"] == "application/json"


def test_a_run_that_a_drain_ends_without_an_answer_may_be_sent_again(up: Any) -> None:
    with running(over(up.url)) as gate:
        found: list[Any] = []
        body = {"model": VOTE, "metadata": {"fault": "hang", "id": "drained"}}
        asking = threading.Thread(target=lambda: found.append(ask(gate, body)))
        asking.start()
        assert up.wait(lambda book: len(book.of("drained")) == 1)
        gate.call(gate.gateway.drain)
        gate.call(gate.gateway.end_runs)
        asking.join()
    assert found[0].status_code == 503, found[0].text
    assert found[0].headers["retry-after"]
    assert found[0].json()["error"]["code"] == "draining"


def test_a_header_that_is_not_known_is_refused(gate: Running) -> None:
    found = ask(gate, {}, headers={"x-outthink-stratgy": "self_consistency"})
    assert found.status_code == 400
    assert "'strategy'" in found.json()["error"]["message"]
    assert "/v1/chat" in httpx.post(gate.root + "/chat/completions", json={}).text
