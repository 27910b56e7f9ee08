"""instructor in front of the gateway: answers that fill a form, by a tool call or as JSON."""

import pytest

from tests.clients.conftest import SUM, VOTE, billed, run_shown

instructor = pytest.importorskip(
    "instructor", reason="instructor is not installed: make test-clients"
)
openai = pytest.importorskip("openai", reason="openai comes with instructor")
pydantic = pytest.importorskip("pydantic", reason="pydantic comes with instructor")


class Total(pydantic.BaseModel):
    value: int


def test_the_page(gateway, upstream):
    printed, names = run_shown("instructor", gateway)
    assert printed.startswith("42 ")
    usage = names["done"].usage
    assert (usage.prompt_tokens, usage.completion_tokens) == billed(upstream)
    assert 0 < names["done"].outthink["confidence"] <= 1


@pytest.mark.parametrize("model", ["m", f"{VOTE}@m"])
@pytest.mark.parametrize("mode", ["TOOLS", "JSON_SCHEMA"])
def test_each_way_to_fill_a_form(gateway, upstream, model, mode):
    with openai.OpenAI(base_url=gateway.url, api_key="none") as made:
        client = instructor.from_openai(made, mode=instructor.Mode[mode])
        total = client.chat.completions.create(model=model, response_model=Total, messages=SUM)
    # a single sample is wrong with probability 0.3, a vote of eight hardly ever
    assert total.value == 42 or model == "m"
    asked = {"TOOLS": "tools", "JSON_SCHEMA": "response_format"}[mode]
    assert asked in upstream.book.calls[-1].body
