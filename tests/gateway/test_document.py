"""The OpenAPI document: valid, closed under its references, and true of what the gateway reads."""

import copy
import json

import pytest

from outthink.core.budget import Budget
from outthink.core.errors import BadInput
from outthink.gateway import chat
from outthink.gateway.document import HEADERS, WISHES, document
from outthink.gateway.errors import Fault

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema comes with the extra [gateway]")

DOCUMENT = document("1.2.3")
CHAT = {"model": "m", "messages": [{"role": "user", "content": "q?"}]}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def errors(name, value):
    """What a schema of the document finds wrong, by place."""
    schema = {**copy.deepcopy(DOCUMENT), "$ref": f"#/components/schemas/{name}"}
    found = jsonschema.Draft202012Validator(schema).iter_errors(value)
    return [".".join(map(str, e.absolute_path)) for e in found]


def test_it_is_a_valid_document():
    validator = pytest.importorskip(
        "openapi_spec_validator", reason="openapi-spec-validator is not installed"
    )
    validator.validate(copy.deepcopy(DOCUMENT))


def test_it_is_plain_json_of_this_version():
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert DOCUMENT["info"]["version"] == "1.2.3"


def test_every_address_is_there():
    given = {(method.upper(), path) for path, item in DOCUMENT["paths"].items()
             for method in item if method != "parameters"}  # fmt: skip
    assert given == {
        ("POST", "/v1/chat/completions"), ("POST", "/v1/completions"), ("POST", "/v1/responses"),
        ("GET", "/v1/models"), ("GET", "/v1/models/{model}"), ("GET", "/v1/runs/{id}"),
        ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/openapi.json"),
    }  # fmt: skip


def test_what_is_referred_to_is_there_and_what_is_there_is_referred_to():
    text = json.dumps(DOCUMENT)
    for kind in ("schemas", "responses", "headers", "parameters"):
        for name in DOCUMENT["components"][kind]:
            told_in_prose = name == "ChatChunk"  # the data of events, which 3.1 has no schema for
            assert f'"#/components/{kind}/{name}"' in text or told_in_prose, name


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses"])
def test_what_spends_says_how_it_answers_and_refuses(path):
    operation = DOCUMENT["paths"][path]["post"]
    done = operation["responses"]["200"]
    assert set(done["content"]) == {"application/json", "text/event-stream"}
    assert set(done["headers"]) == set(HEADERS)
    expected = ["400", "401", "403", "404", "405", "413", "429", "431", "500", "502", "503", "504"]
    assert set(expected) <= set(operation["responses"])
    assert {"bearer": []} in operation["security"]
    for status in expected:
        name = operation["responses"][status]["$ref"].rpartition("/")[2]
        told = DOCUMENT["components"]["responses"][name]
        assert told["content"]["application/json"]["schema"]["$ref"].endswith("/Error")


def test_no_key_is_wanted_to_look_whether_it_lives():
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert DOCUMENT["paths"][path]["get"]["security"] == []


def test_an_error_of_ours_is_one_of_the_document():
    assert errors("Error", Fault(429, "full", retry_after=1.0, code="full").body()) == []
    assert errors("Error", {"detail": "not OpenAI's shape"}) == [""]


# -- requests --------------------------------------------------------------------------------------

RIGHT = {
    "plain": {},
    "unknown": {"min_p": 0.1, "chat_template_kwargs": {"think": 2}},
    "nulls": {"n": None, "stop": None, "stream": None, "stream_options": None, "seed": None},
    "streamed": {"stream": True, "stream_options": {"include_usage": True}},
    "limits": {"n": 3, "stop": ["a", "b"], "max_tokens": 5, "temperature": 0.3, "seed": -7},
    "form": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
    "tools": {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"},
    "wish": {"outthink": {"strategy": "self_consistency(n=8)", "budget": "tokens=20k"}},
    "wishes": {"outthink": {"budget": {"tokens": 100, "seconds": 1.5}, "trace": True}},
}  # fmt: skip


@pytest.mark.parametrize("more", RIGHT.values(), ids=RIGHT)
def test_what_the_document_allows_the_gateway_reads(more):
    body = {**CHAT, **more}
    assert errors("ChatRequest", body) == []
    chat.parse(body, {})


WRONG = {
    "model": {"model": 3},
    "no_model": {"model": ""},
    "n": {"n": 0},
    "n_many": {"n": 1000},
    "seed": {"seed": "1"},
    "stream": {"stream": "yes"},
    "stop": {"stop": [1]},
    "max_tokens": {"max_tokens": -1},
    "temperature": {"temperature": -0.1},
    "strategy": {"outthink": {"strategy": 7}},
    "option": {"outthink": {"stratgy": "x"}},
    "trace": {"outthink": {"trace": "maybe"}},
    "limit": {"outthink": {"budget": {"token": 5}}},
    "amount": {"outthink": {"budget": {"tokens": 0}}},
}


@pytest.mark.parametrize("more", WRONG.values(), ids=WRONG)
def test_what_the_document_forbids_the_gateway_refuses(more):
    body = {**CHAT, **more}
    assert errors("ChatRequest", body)
    with pytest.raises(Fault) as refused:
        chat.parse(body, {})
    assert refused.value.status == 400


def test_messages_of_every_role_and_kind():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    messages = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "What?"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "42"},
        {"role": "assistant", "content": "42"},
    ]
    assert errors("ChatRequest", {**CHAT, "messages": messages}) == []
    for wrong in ({"role": "nobody", "content": "x"}, {"role": "tool", "content": "42"}, "hello"):
        assert errors("ChatRequest", {**CHAT, "messages": [wrong]}) == ["messages.0"]


def test_the_limits_of_a_budget_are_those_of_the_core():
    budget = DOCUMENT["components"]["schemas"]["Wish"]["properties"]["budget"]["anyOf"][1]
    known = budget["properties"]
    assert Budget(**dict.fromkeys(known, 1)).limits() == dict.fromkeys(known, 1)
    with pytest.raises(BadInput):
        Budget(**dict.fromkeys(known, 0))


def test_the_options_are_those_that_the_gateway_reads():
    wish = DOCUMENT["components"]["schemas"]["Wish"]
    assert set(wish["properties"]) == set(chat.OPTIONS)
    assert {f"x-outthink-{name}" for name in chat.OPTIONS} == set(WISHES)
