import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("jsonschema", reason="needs the extra [gateway]")
pytest.importorskip("jsonschema_rs", reason="needs the extra [gateway]")

import jsonschema

from outthink.gateway import schemas
from outthink.gateway.errors import Fault
from outthink.gateway.schemas import DIALECTS, MOST, compiled
from tests.gateway.test_values import VALUES

DRAFT7 = "http://json-schema.org/draft-07/schema#"
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^\\p{Lu}"},
        "age": {"type": "integer", "minimum": 0},
        "friends": {"type": "array", "items": {"$ref": "#"}, "uniqueItems": True},
    },
    "required": ["name"],
    "additionalProperties": False,
}


def of(schema):
    return compiled(schema, "response_format", "response_format")


def refused(schema):
    """Is this refused as the client's mistake?"""
    try:
        of(schema)
    except Fault as error:
        return error.status == 400
    return False


def fault(schema):
    with pytest.raises(Fault) as caught:
        of(schema)
    assert caught.value.status == 400
    assert caught.value.param == "response_format"
    return caught.value.message


def valid(schema, value, seconds=5.0):
    return of(schema).valid(value, seconds)


def doubling(steps):
    """References that double at each step: 2 ** steps ways to the last."""
    parts = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(steps)}
    return {**parts, f"a{steps}": {"type": "string"}}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test may ask the network for anything."""

    def refuse(*_):
        raise AssertionError("a schema asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_value_keeps_to_its_schema_or_not():
    ada = {"name": "Ada", "age": 36, "friends": [{"name": "Bob"}, {"name": "Eve"}]}
    assert valid(PERSON, ada)
    for wrong in (
        {"name": "ada"},
        {"name": "Ada", "age": 3.5},
        {"name": "Ada", "age": -1},
        {"name": "Ada", "size": 1},
        {"age": 3},
        {"name": "Ada", "friends": [{"name": "Bob"}, {"name": "Bob"}]},
        {"name": "Ada", "friends": [{}]},
        [],
    ):
        assert not valid(PERSON, wrong), wrong


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "", "a", "ab"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=8,
))  # fmt: skip
def test_our_keywords_say_what_the_plain_validator_says(value):
    schema = {
        "properties": {"a": {"pattern": "^a"}},
        "patternProperties": {"[bc]": {"type": ["integer", "string", "null"], "pattern": "b$"}},
        "additionalProperties": False,
        "items": {"uniqueItems": True, "additionalProperties": {"type": "integer"}},
        "uniqueItems": True,
    }
    plain = jsonschema.Draft202012Validator(schema)
    assert valid(schema, value) == plain.is_valid(value)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_dialect_that_a_schema_names_is_the_one_it_is_read_in(dialect):
    for name in (dialect, dialect.rstrip("#") + "#"):
        assert valid({"$schema": name, "type": "integer"}, 1)
        assert not valid({"$schema": name, "type": "integer"}, "1")
    old = {"minimum": 3, "exclusiveMinimum": True, "$schema": dialect}
    if "draft-04" in dialect:
        assert not valid(old, 3)
        assert valid(old, 4)
    else:
        assert "exclusiveMinimum" in fault(old)


def test_definitions_ids_and_anchors_are_found_within_the_schema():
    old = {"$schema": DRAFT7, "definitions": {"A": {"type": "integer"}}, "$ref": "#/definitions/A"}
    ids = {
        "$id": "http://a.example/root",
        "$defs": {"A": {"$id": "a", "$anchor": "z", "type": "integer"}},
        "items": {"anyOf": [{"$ref": "a"}, {"$ref": "a#z"}]},
    }
    elsewhere = {"$ref": "#/components/A", "components": {"A": {"type": "integer"}}}
    assert valid(old, 1)
    assert valid(ids, [1])
    assert valid(elsewhere, 1)
    assert not valid(old, "1")
    assert not valid(ids, ["1"])
    assert not valid(elsewhere, "1")


def test_formats_that_openai_knows_are_checked_and_others_are_remarks():
    assert valid({"format": "date-time"}, "2024-02-29T10:00:00Z")
    assert not valid({"format": "date-time"}, "2023-02-29T10:00:00Z")
    assert not valid({"format": "uuid"}, "1234")
    assert valid({"format": "date"}, 5)
    assert valid({"format": "my-own"}, "anything")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strin"}, "type: "),
        ({"properties": {"a": {"required": "x"}}}, "properties.a.required: "),
        ({"pattern": "("}, "no regular expression"),
        ({"patternProperties": {"[": {}}}, "no regular expression"),
        ({"$schema": "http://a.example/mine"}, "$schema 'http://a.example/mine' is not known"),
        ({"$schema": "http://json-schema.org/draft-03/schema#"}, "is not known"),
        ({"$schema": 5}, "is not known"),
        ({"$defs": {"A": {"$id": "http://a.example/", "$schema": DRAFT7}}}, "another $schema"),
        ({"$ref": "#/components/A", "components": {"A": {"type": "strin"}}}, "type: "),
        ({"$ref": "#/nowhere"}, "leads nowhere"),
        ([], "no object"),
        (5, "no object"),
        ({"description": "x" * MOST}, "is the most"),
        ({"items": 5}, "items: "),
        ({"patternProperties": {"a": {}}, "unevaluatedProperties": False}, "cannot be checked"),
    ],
)
def test_a_schema_that_cannot_be_honoured_is_refused_and_the_error_says_why(schema, said):
    message = fault(schema)
    assert message.startswith("Invalid schema for response_format: ")
    assert said in message
    assert len(message) < 600


@pytest.mark.parametrize(
    "reference",
    [
        "http://127.0.0.1:9/x",
        "https://a.example/x#/A",
        "file:///etc/passwd",
        "x.json",
        "//a.example",
    ],
)
def test_a_reference_out_of_the_schema_is_never_followed(reference):
    assert "leads nowhere" in fault({"properties": {"a": {"items": {"$ref": reference}}}})
    assert "leads nowhere" in fault({"$id": "http://127.0.0.1:9/", "$dynamicRef": reference + "y"})


def test_the_published_meta_schemas_are_at_hand():
    assert valid({"$ref": DIALECTS[0]}, {"type": "string"})
    assert not valid({"$ref": DIALECTS[0]}, {"type": "strin"})


def nested(depth, make):
    out = {}
    for _ in range(depth):
        out = make(out)
    return out


CIRCLE = {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"items": {"$ref": "#/$defs/a"}, "$defs": CIRCLE, "$ref": "#/$defs/a"},
        {"$defs": doubling(60), "$ref": "#/$defs/a0"},
        {"pattern": "(?:" * 40 + "x?" + "){1,9}" * 40},
        {"properties": {f"p{i}": {"pattern": f"\\p{{L}}{{{i + 1},900}}"} for i in range(200)}},
        nested(5000, lambda inner: {"not": inner}),
        nested(100, lambda inner: {"not": inner}),
    ],
    ids=["self", "circle", "doubling", "pattern", "patterns", "very deep", "deep"],
)  # fmt: skip
def test_a_hostile_schema_is_refused_soon(schema):
    began = time.thread_time()
    fault(schema)
    assert time.thread_time() - began < 4 * schemas.SECONDS


PAIR = {"properties": {"a": {"$ref": "#/$defs/s"}}, "required": ["z"]}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": "(a+)+$"}, "a" * 50_000 + "b"),
        ({"pattern": "(?=(a+)+$)a*b"}, "a" * 50_000 + "b"),
        ({"items": {"pattern": "(?=(a+)+$)a*b"}}, ["a" * 3_900 + "b"] * 1000),
        ({"pattern": r"(a*)*\1b"}, "a" * 3_900 + "c"),
        ({"additionalProperties": False, "patternProperties": {"(?=(a+)+$)a*b": {}}}, {"a" * 3_900: 1}),
        ({"properties": {"a": {"$ref": "#/$defs/a0"}}, "$defs": doubling(60)}, {"a": "x"}),
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, {"a": 1}),
        ({"$defs": {"s": {"anyOf": [PAIR, PAIR]}}, "$ref": "#/$defs/s"}, nested(60, lambda x: {"a": x})),
        ({"anyOf": [{"type": "string", "maxLength": i} for i in range(3000)]}, [["x" * 50] * 2000]),
        ({"items": {"enum": list(range(9_000))}}, [8_999] * 3000),
        ({"contains": {"type": "string"}, "unevaluatedItems": False}, [1] * 5000),
    ],
    ids=["plus", "ahead", "many", "back", "name", "doubling", "loop", "pairs", "any", "enum", "uneval"],
)  # fmt: skip
def test_what_is_not_decided_in_time_counts_as_broken(schema, value):
    checked = of(schema)
    began = time.thread_time()
    assert not checked.valid(value, 0.1)
    assert time.thread_time() - began < 1.5


def test_equal_items_are_found_in_a_long_list_without_comparing_all_pairs():
    began = time.thread_time()
    items = [{"a": i} for i in range(20_000)]
    assert valid({"uniqueItems": True}, items)
    assert not valid({"uniqueItems": True}, [*items, {"a": 7.0}])
    assert time.thread_time() - began < 4


def test_a_part_that_names_its_dialect_is_checked_by_the_same_means():
    own = {"$schema": DIALECTS[0], "pattern": "(a+)+$"}
    schema = {**own, "properties": {"p": own, "r": {"$ref": "#"}}}
    began = time.thread_time()
    assert not valid(schema, {"r": {"r": {"p": "a" * 100 + "b"}}})
    assert time.thread_time() - began < 1


WORDS = (
    "$ref", "$id", "$anchor", "$schema", "type", "properties", "items", "anyOf", "not", "pattern", "enum",
    "minimum", "$defs", "patternProperties", "uniqueItems", "format", "required", "a",
)  # fmt: skip
LEAVES = ["#", "#/a", "http://[", "object", "(", "a+", DIALECTS[0], "date"]
PARTS = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=3) | st.sampled_from(LEAVES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner),
    max_leaves=10,
)


@given(PARTS, VALUES)
def test_whatever_is_sent_as_a_schema_is_refused_or_checks_whatever_is_sent_as_a_value(
    schema, value
):
    assert refused(schema) or valid(schema, value) in (True, False)


@pytest.mark.parametrize("name", ["http://[", "a b", "\ud800", "#/", "http://127.0.0.1:9/"])
def test_an_id_that_is_no_address_is_refused_or_harmless(name):
    schema = {"$id": name, "items": {"$id": name, "type": "string"}}
    assert refused(schema) or valid(schema, ["x"])


def test_patterns_may_look_ahead_and_name_unicode():
    decimal = {"pattern": "^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$"}
    assert valid(decimal, "-10.50")
    assert not valid(decimal, "+.")
    assert valid({"pattern": "^\\p{L}{1,50}$"}, "Åse")


def test_equal_schemas_are_looked_over_once():
    schema = {"title": "only here", "type": "object"}
    first = of(schema)
    assert of(dict(reversed(schema.items()))) is first
    assert of({**schema, "title": "another"}) is not first


def test_only_so_many_schemas_are_kept():
    for i in range(600):
        of({"title": f"many {i}"})
    for i in range(20):
        of({"title": f"long {i}", "description": "x" * 5000})
    assert schemas._short.cache_info().currsize <= 512
    assert schemas._long.cache_info().currsize <= 16


def test_a_text_that_no_encoding_has_is_broken_or_equal_to_itself():
    assert not valid({"pattern": "a"}, "\ud800a")
    assert valid({"const": "\ud800"}, "\ud800")
