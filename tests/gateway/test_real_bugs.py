"""What real servers showed to be wrong: each of these is to hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.gateway.running import Running, over, running
from tests.gateway.upstream import hostile

ADD = [{"role": "user", "content": "What is 3 + 4?"}]


@pytest.fixture(scope="module")
def up() -> Iterator[Any]:
    with hostile() as found:
        yield found


@pytest.fixture(scope="module")
def gate(up: Any) -> Iterator[Running]:
    with running(over(up.url, retries=0)) as found:
        yield found


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_passed_through_is_said_to_be_json(gate: Running, up: Any, stream: bool) -> None:
    body = {"model": "m", "messages": ADD, "stream": stream, "metadata": {"id": f"json{stream}"}}
    assert httpx.post(gate.url + "/chat/completions", json=body).status_code == 200
    (call,) = up.book.of(f"json{stream}")
    # FastAPI (vLLM, llama_cpp.server, transformers serve) and this gateway read no other type
    assert call.headers["content-type"] == "application/json"
