"""langchain-openai in front of the gateway."""

import json

import pytest

from tests.clients.conftest import VOTE, billed, run_shown

langchain = pytest.importorskip(
    "langchain_openai", reason="langchain-openai is not installed: make test-clients"
)
pydantic = pytest.importorskip("pydantic", reason="pydantic comes with langchain-openai")
QUESTION = "What is 17 + 25?"


class Total(pydantic.BaseModel):
    """A total."""

    value: int


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture(params=["m", f"{VOTE}@m"])
def llm(request, gateway):
    return langchain.ChatOpenAI(
        model=request.param, base_url=gateway.url, api_key="none", max_retries=0, stream_usage=True
    )


def used(usage):
    return usage["input_tokens"], usage["output_tokens"]


def test_the_page(gateway, upstream):
    printed, names = run_shown("langchain-openai", gateway)
    assert "The answer is 42." in printed
    assert used(names["said"].usage_metadata) == billed(upstream)
    assert names["said"].response_metadata["headers"]["x-outthink-run"] in printed
    assert upstream.book.total()["completion"] == 8 * 13


def test_a_stream(llm, upstream):
    chunks = list(llm.stream(QUESTION))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert "The answer is" in whole.content
    assert used(whole.usage_metadata) == billed(upstream)
    assert len([c for c in chunks if c.content]) > 1


def test_tools(llm):
    said = llm.bind_tools([add]).invoke(QUESTION)
    [call] = said.tool_calls
    assert call["name"] == "add"
    assert set(call["args"]) == {"a", "b"}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "42"}
    more = llm.bind_tools([add]).invoke([("user", QUESTION), said, result])
    assert more.content == "The answer is 42."


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_structured_output(llm, method):
    asked = llm.with_structured_output(Total, method=method, include_raw=True)
    done = asked.invoke(f"{QUESTION} Answer in JSON.")
    if method == "json_mode":  # which tells the model of no schema
        assert list(json.loads(done["raw"].content)) == ["answer"]
    elif llm.model_name == "m":  # one sample may be wrong, a vote of eight hardly ever is
        assert isinstance(done["parsed"], Total)
    else:
        assert done["parsed"] == Total(value=42)
