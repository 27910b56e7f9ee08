"""What real servers showed to be wrong: each of these is to hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

for _name in ("aiohttp", "httptools", "uvicorn", "uvloop"):
    pytest.importorskip(_name, reason=f"{_name} is not installed: outthink[gateway]")

import httpx  # noqa: E402

from outthink.gateway.config import Config, ModelConfig, ServerConfig, Upstream  # noqa: E402
from outthink.models.fly import WEIGHTS  # noqa: E402
from outthink.models.fly.tokenizer import Tokenizer  # noqa: E402
from outthink.tasks import problems  # noqa: E402
from tests.gateway.running import Running, over, running  # noqa: E402
from tests.gateway.test_broken import Answer, ask, fine, upstream  # noqa: E402
from tests.gateway.test_metrics import read, value  # noqa: E402
from tests.gateway.upstream import hostile  # noqa: E402

QUESTION = problems("chain", "medium", "dev", 2)[1].question


@pytest.fixture(scope="module")
def fly() -> Iterator[Running]:
    config = Config(ServerConfig(port=0), {"fly": ModelConfig("fly", spec="fly")}, {}, {})
    with running(config) as found:
        yield found


# -- servers that read JSON only where it is said to be that ----------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_passed_through_is_said_to_be_json(stream: bool) -> None:
    # FastAPI (vLLM, llama_cpp.server, transformers serve) and this gateway read no other type
    with hostile() as up, running(over(up.url, retries=0)) as gate:
        assert ask(gate, stream=stream).status_code == 200
        assert up.book.calls[0].headers["content-type"] == "application/json"


# -- llama-server: of several samples in one call it counts the first --------------------------------

LONG = "Three and four are two numbers, and their sum is the number seven. "


def llama_server(body: dict[str, Any]) -> Answer:
    """As it answers: ``n`` samples of 16 tokens, a usage of 16, and timings of the first."""
    status, kind, told = fine(body, LONG)
    usage = {"prompt_tokens": 20, "completion_tokens": 16, "total_tokens": 36}
    return status, kind, {**told, "usage": usage, "timings": {"prompt_n": 20, "predicted_n": 16}}


@pytest.mark.parametrize("n", [2, 4])
def test_samples_that_a_server_does_not_count_are_counted(n: int) -> None:
    with upstream(llama_server) as up, running(over(up.url, retries=0)) as gate:
        told = ask(gate, model=f"self_consistency(n={n})@m").json()
        assert told["usage"]["completion_tokens"] >= 16 * n
        # and asked one by one it says the truth, so that is how it is asked from now on
        for _ in range(2):
            told = ask(gate, model=f"self_consistency(n={n})@m").json()
        assert told["usage"]["completion_tokens"] == 16 * n
        assert told["outthink"]["calls"] == n
        assert not told["outthink"]["estimated"]


def test_choices_that_were_passed_on_are_counted_too() -> None:
    with upstream(llama_server) as up, running(over(up.url, retries=0)) as gate:
        headers = ask(gate, n=2).headers
        assert int(headers["x-outthink-completion-tokens"]) >= 32
        assert headers.get("x-outthink-estimated") == "true"


def test_log_probabilities_count_tokens_where_the_usage_does_not() -> None:
    def answer(body: dict[str, Any]) -> Answer:
        status, kind, told = llama_server(body)
        content = [{"token": "x", "logprob": -0.1, "top_logprobs": []}] * 16
        for choice in told["choices"]:
            choice["logprobs"] = {"content": content}
        del told["timings"]
        return status, kind, told

    with upstream(answer) as up, running(over(up.url, retries=0)) as gate:
        for n in (2, 3):
            told = ask(gate, model=f"rpc(n={n})@m").json()
            assert told["usage"]["completion_tokens"] == 16 * n


def test_a_sample_that_reached_its_limit_has_that_many_tokens() -> None:
    def answer(body: dict[str, Any]) -> Answer:
        status, kind, told = llama_server(body)
        for choice in told["choices"]:
            choice["finish_reason"] = "length"
        del told["timings"]
        return status, kind, told

    with upstream(answer) as up, running(over(up.url, retries=0)) as gate:
        told = ask(gate, model="self_consistency(n=2)@m", max_tokens=16).json()
        assert told["usage"]["completion_tokens"] == 32
        assert not any("cut at 8 tokens" in note for note in told["outthink"]["notes"])


# -- a gateway over a gateway ------------------------------------------------------------------------


def test_a_vote_over_another_gateways_strategy_has_draws_of_its_own() -> None:
    """Choices of a strategy are its distinct answers, best first: to vote on them says nothing."""
    with hostile(right=0.7) as up, running(over(up.url, retries=0)) as inner:
        model = ModelConfig("m", (Upstream(inner.url, model="self_consistency(n=5)@m"),), retries=0)
        with running(Config(ServerConfig(port=0), {"m": model}, {}, {})) as outer:
            for _ in range(3):
                up.book.clear()
                told = ask(outer, model="self_consistency(n=5)@m").json()
            drawn = sum(call.body.get("n", 1) for call in up.book.calls)
            assert drawn == 25
            assert told["usage"]["completion_tokens"] == up.book.total()["completion"]
            assert told["outthink"]["confidence"] > 0.5  # runs of five agree; their answers do not


# -- what is spent is counted, and what is not honoured is told ----------------------------------------


def test_what_a_probe_cost_that_found_nothing_is_counted() -> None:
    with hostile(fault="null") as up, running(over(up.url, retries=0)) as gate:
        found = ask(gate, model="budget_forcing@m")
        assert found.status_code == 400
        assert "PREFIX" in found.json()["error"]["message"]
        spent = up.book.total()
        assert spent["calls"] == 3
        numbers = read(httpx.get(gate.root + "/metrics").content)
        for kind in ("prompt", "completion"):
            counted = value(numbers, "outthink_tokens_total", kind=kind, model="m")
            assert counted == spent[kind]


def drawn(fly: Running, **sent: Any) -> set[str]:
    messages = [{"role": "user", "content": QUESTION}]
    body = {"model": "fly", "messages": messages, "temperature": 1.0, **sent}
    found = [ask(fly, **body, seed=i).json() for i in range(6)]
    return {done["choices"][0]["message"]["content"] for done in found}


@pytest.mark.parametrize("sent", [{"top_p": 0.001}, {"top_k": 1}])
def test_a_bundled_model_draws_as_the_client_says(fly: Running, sent: dict[str, Any]) -> None:
    assert len(drawn(fly)) > 1
    assert len(drawn(fly, **sent)) == 1


def test_a_bundled_model_heeds_the_clients_bias(fly: Running) -> None:
    (equals,) = Tokenizer.load(WEIGHTS / "tokenizer.json").encode(" =")
    assert all(" =" in text for text in drawn(fly))
    banned = drawn(fly, logit_bias={str(equals): -100}, max_tokens=60)
    assert not any(" =" in text for text in banned)


@pytest.mark.parametrize(
    "sent", [{"min_p": 0.9}, {"frequency_penalty": 1.0}, {"continue_final_message": True}]
)
def test_what_a_bundled_model_cannot_honour_is_refused_or_noted(fly: Running, sent: Any) -> None:
    found = ask(fly, model="fly", messages=[{"role": "user", "content": QUESTION}], **sent)
    if found.status_code == 400:
        assert next(iter(sent)) in found.json()["error"]["message"]
    else:
        assert any(next(iter(sent)) in note for note in found.json()["outthink"]["notes"])


def test_a_text_goes_out_with_a_note_where_a_tool_call_was_required() -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    with upstream(fine) as up, running(over(up.url, retries=0)) as gate:
        body = {"tools": [tool], "tool_choice": "required"}
        told = ask(gate, model="self_consistency(n=3)@m", **body).json()
        assert not told["choices"][0]["message"].get("tool_calls")
        assert any("tool" in note for note in told["outthink"]["notes"])


def test_what_fastapi_says_is_shown_as_it_says_it() -> None:
    def answer(body: dict[str, Any]) -> Answer:
        return 422, "application/json", {"detail": "Unexpected fields in the request: {'min_p'}"}

    with upstream(answer) as up, running(over(up.url, retries=0)) as gate:
        for model in ("m", "self_consistency(n=2)@m"):
            found = ask(gate, model=model)
            assert found.status_code == 422
            told = found.json()["error"]["message"]
            assert told.endswith("says 422: Unexpected fields in the request: {'min_p'}")
