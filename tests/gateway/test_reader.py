import itertools
import json
import time

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("jsonschema", reason="needs the extra [gateway]")
pytest.importorskip("jsonschema_rs", reason="needs the extra [gateway]")

from outthink.api import Session
from outthink.core.nouns import Problem, Sample
from outthink.gateway import reader as module
from outthink.gateway.errors import Fault
from outthink.gateway.reader import ChatReader, cut
from outthink.verify.extract import TextReader
from tests.gateway.calling import CLOCK, WEATHER, Calling, call, calls
from tests.gateway.test_values import VALUES, turned

TOOLS = (WEATHER, CLOCK, {"type": "custom", "custom": {"name": "run_sql"}})
ANY = {"type": "function", "function": {"name": "any"}}
PARIS, ROME = calls(("get_weather", {"city": "Paris"})), calls(("get_weather", {"city": "Rome"}))
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}


def reader(**more):
    return ChatReader(TextReader(), **{"tools": TOOLS, **more})


def sample(text="", extra=(), finish="stop"):
    return Sample((0,), text, finish=finish, extra=dict(extra))


def read(extra, finish="tool_calls", **more):
    return reader(**more).read(sample(extra=extra, finish=finish))


def group(live, *answers):
    return anyio.run(live.group, answers).tolist()


# -- tool calls ------------------------------------------------------------------------------------


def test_a_call_reads_as_its_name_and_arguments_in_one_form():
    written = ('{"days": 2.0, "city":"Paris"}', ' {"city" : "Paris",\n"days":2}')
    assert {read(calls(("get_weather", text))) for text in written} == {
        'get_weather({"city":"Paris","days":2})'
    }


@given(st.dictionaries(st.text(), VALUES, max_size=4), st.integers(0, 3))
def test_layout_and_the_order_of_keys_make_no_other_call(arguments, indent):
    one = read(calls(("any", arguments)), tools=[ANY])
    assert one == read(calls(("any", json.dumps(turned(arguments), indent=indent))), tools=[ANY])
    assert one.startswith("any({")


@given(st.integers(-(10**15), 10**15))
def test_a_whole_number_is_the_same_call_however_it_is_written(number):
    forms = (f"{number}", f"{number}.0", f"{number * 100}e-2")
    assert len({read(calls(("any", f'{{"n": {form}}}')), tools=[ANY]) for form in forms}) == 1


PARALLEL = [("get_time", {}), ("get_weather", {"city": "Rome"}), ("get_weather", {"city": "Oslo"})]


@pytest.mark.parametrize("order", list(itertools.permutations(PARALLEL)))
def test_parallel_calls_are_the_same_in_any_order(order):
    found = read(calls(*order))
    assert found == 'get_time({}), get_weather({"city":"Oslo"}), get_weather({"city":"Rome"})'


def test_a_call_made_twice_is_not_the_call_made_once():
    once, twice = [("get_time", {})], [("get_time", {})] * 2
    assert read(calls(*once)) != read(calls(*twice))


def test_the_words_beside_calls_and_their_ids_make_no_difference():
    other = {"tool_calls": [{**PARIS["tool_calls"][0], "id": "z", "index": 0}]}
    live = reader()
    assert live.read(sample("I look it up.", other)) == live.read(sample("", PARIS))


@pytest.mark.parametrize(
    "extra",
    [
        calls(("get_weather", "{")),
        calls(("get_weather", "")),
        calls(("get_weather", "Paris")),
        calls(("get_weather", '"{}"')),
        calls(("get_weather", '{"city": NaN}')),
        calls(("get_weather", {"city": 5})),
        calls(("get_weather", {"days": 5})),
        calls(("get_weather", {"city": "Paris", "town": "Paris"})),
        calls(("get_time", "[]")),
        calls(("get_time", "7")),
        calls(("get_clock", {})),
        calls(("", {})),
        calls(("get_time", {}), ("get_weather", {})),
        {"tool_calls": [{"type": "custom", "custom": {"name": "get_time", "input": "{}"}}]},
        {"tool_calls": [{"type": "function", "function": {"name": "run_sql", "arguments": "{}"}}]},
        {"tool_calls": [{"type": "function", "function": {"name": "get_time", "arguments": {}}}]},
        {"tool_calls": [{"type": "function", "function": {"name": "get_time"}}]},
        {"tool_calls": [{"type": "function", "function": "get_time"}]},
        {"tool_calls": [{"type": "function"}]},
        {
            "tool_calls": [
                {"type": ["function"], "function": {"name": "get_time", "arguments": "{}"}}
            ]
        },
        {"tool_calls": [{}]},
        {"tool_calls": [None]},
        {"tool_calls": "get_time"},
        {"tool_calls": {"name": "get_time", "arguments": "{}"}},
        {"function_call": "get_time"},
        {"function_call": {"name": ["get_time"], "arguments": "{}"}},
    ],
)
def test_a_call_that_the_client_cannot_carry_out_is_no_answer(extra):
    assert read(extra) is None


def test_calls_that_were_cut_short_are_no_answer():
    assert read(PARIS, finish="tool_calls") is not None
    assert read(PARIS, finish="length") is None


def test_no_calls_are_none_and_the_text_is_read():
    assert reader().read(sample("answer: 7", {"tool_calls": []})) == "7"
    assert reader().read(sample("answer: 7", {"refusal": None, "function_call": None})) == "7"


def test_a_tool_without_arguments_may_be_called_with_none():
    assert read(calls(("get_time", "")), tools=TOOLS) == "get_time({})"
    empty = {"type": "function", "function": {"name": "go", "parameters": {"type": "object"}}}
    assert read(calls(("go", " ")), tools=[empty]) == "go({})"


def test_without_tools_no_call_is_an_answer():
    assert read(PARIS, tools=()) is None


def test_legacy_functions_and_their_call():
    live = reader(tools=[WEATHER["function"]])
    legacy = {"function_call": PARIS["tool_calls"][0]["function"]}
    assert live.read(sample(extra=legacy)) == 'get_weather({"city":"Paris"})'
    with pytest.raises(Fault) as caught:
        reader(tools=[{"name": "go", "parameters": {"type": "objekt"}}])
    assert caught.value.param == "functions[0].parameters"


def test_a_custom_tool_is_called_with_a_text():
    said = {"type": "custom", "id": "c", "custom": {"name": "run_sql", "input": ' select "a"\n'}}
    assert read({"tool_calls": [said]}) == 'run_sql("select \\"a\\"")'
    assert read({"tool_calls": [{"custom": said["custom"]}]}) == 'run_sql("select \\"a\\"")'


def test_tools_that_the_server_carries_out_are_none_of_ours():
    odd = (
        {"type": "web_search"},
        {"type": "function"},
        {"type": 5},
        {},
        {"type": "function", "function": 5},
    )
    assert read(PARIS, tools=(*odd, WEATHER)) == 'get_weather({"city":"Paris"})'


def test_parameters_that_are_no_schema_are_refused_by_name():
    bad = {"type": "function", "function": {"name": "go", "parameters": {"type": "objekt"}}}
    with pytest.raises(Fault, match="Invalid schema for function 'go': type: ") as caught:
        reader(tools=[WEATHER, bad])
    assert caught.value.status == 400
    assert caught.value.param == "tools[1].function.parameters"
    assert caught.value.code == "invalid_function_parameters"


# -- texts -----------------------------------------------------------------------------------------


def test_a_text_never_passes_for_a_call():
    live, told = reader(), 'get_weather({"city":"Paris"})'
    text, called = live.read(sample(told)), live.read(sample("", PARIS))
    assert called == told
    assert text != called
    assert group(live, text, called, text, None) == [0, 1, 0, -1]


@given(
    st.text(max_size=30), st.sampled_from(["", "get_weather(", "get_time({})", "text: get_time("])
)
def test_no_text_at_all_passes_for_a_call(text, before):
    live = ChatReader(TextReader("text"), tools=TOOLS)
    found = live.extract(before + text)
    assert found is None or not found.startswith(("get_weather(", "get_time(", "run_sql("))


def test_texts_are_read_and_grouped_by_the_inner_reader():
    live, plain = ChatReader(TextReader()), TextReader()
    texts = ("the answer is 1/2", "answer: 0.5", "No idea, I am afraid, but it may well be 7.", "7")
    answers = [live.extract(text) for text in texts]
    assert answers == [plain.extract(text) for text in texts] == ["1/2", "0.5", None, "7"]
    assert group(live, *answers) == group(plain, *answers) == [0, 0, -1, 1]


def test_classes_are_numbered_in_order_of_appearance_over_all_kinds():
    live = reader()
    answers = [
        "2",
        "get_time({})",
        None,
        "1",
        "2.0",
        "get_time({})",
        'get_weather({"city":"a"})',
        "1",
    ]
    assert group(live, *answers) == [0, 1, -1, 2, 0, 1, 3, 2]
    assert anyio.run(live.group, []).dtype == np.int64


def test_a_text_that_max_tokens_cut_is_told_so():
    assert reader().read(sample("I think", finish="length")) is None
    assert reader().read(sample("I think", finish="stop")) == "I think"

    class Plain:
        def extract(self, text):
            return text

        async def group(self, answers):
            return np.arange(len(answers))

    assert ChatReader(Plain()).read(sample("I think", finish="length")) == "I think"
    assert ChatReader(Plain()).extract("I think", cut=True) == "I think"


def test_a_text_ends_at_the_first_of_the_stops():
    assert cut("abcdef", ("e", "cd", "x")) == "ab"
    assert cut("abcdef", ()) == cut("abcdef", ("", "x")) == "abcdef"
    live = reader(stops=("\nQ:", "END"))
    assert live.extract("answer: 7\nQ: another\nanswer: 8") == "7"
    # what a stop ended was not cut short
    assert live.read(sample("I thinkEND and so on", finish="length")) == "I think"


def test_quick_is_that_of_the_inner_reader():
    live = ChatReader(TextReader(equivalence="math"), tools=TOOLS)
    assert live.quick().inner.equivalence == "normal"
    assert live.quick().read(sample("", PARIS)) == live.read(sample("", PARIS))
    assert live.inner.equivalence == "math"

    class Slow:
        def extract(self, text):
            return text

        async def group(self, answers):
            return np.arange(len(answers))

    slow = ChatReader(Slow())
    assert slow.quick() is slow


# -- JSON ------------------------------------------------------------------------------------------


def test_json_reads_as_its_value_in_one_form():
    live = reader(schema=PERSON)
    texts = ('{"name": "Ada", "age": 36}', '\n{ "age":36.0,"name":"Ada" } ')
    assert {live.extract(text) for text in texts} == {'{"age":36,"name":"Ada"}'}


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"name": "Ada"',
        '```json\n{"name": "Ada"}\n```',
        'Here it is: {"name": "Ada"}',
        '<think>hm</think>{"name": "Ada"}',
        '{"name": "Ada"} {"name": "Ada"}',
        "{'name': 'Ada'}",
        '{"name": NaN}',
    ],
)
def test_what_is_not_json_from_end_to_end_is_no_answer(text):
    assert reader(json_mode=True).extract(text) is None
    assert reader(schema=PERSON).extract(text) is None


def test_what_breaks_the_schema_is_no_answer():
    live = reader(schema=PERSON)
    for value in ({}, {"name": 1}, {"name": "a", "b": 1}, [], "Ada", None):
        assert live.extract(json.dumps(value)) is None


def test_json_mode_takes_any_object_and_a_schema_any_value_that_it_allows():
    live = reader(json_mode=True)
    assert live.extract('{"b": [], "a": null}') == '{"a":null,"b":[]}'
    assert [live.extract(text) for text in ("[]", "7", '"a"', "null")] == [None] * 4
    assert reader(schema={}).extract("null") == "null"
    assert reader(schema={"type": "array"}, json_mode=True).extract("[1.0]") == "[1]"


def test_stops_end_json_too_and_a_cut_is_no_matter_where_it_is_whole():
    live = reader(json_mode=True, stops=("END",))
    assert live.extract('{"a": 1}END {') == '{"a":1}'
    assert live.extract('{"a": "END"}') is None
    assert live.read(sample('{"a": 1}   \n\n', finish="length")) == '{"a":1}'


def test_json_answers_are_grouped_by_their_value_alone():
    live = reader(json_mode=True)
    texts = ('{"a": 1}', '{"a": "1"}', '{"a": 1.0}', "{", '{"a": "ONE"}', '{"a": "one"}')
    assert group(live, *[live.extract(text) for text in texts]) == [0, 1, 0, -1, 2, 3]


def test_a_call_is_an_answer_where_json_is_asked_for_too():
    live = reader(schema=PERSON)
    found = [live.read(sample("", PARIS)), live.extract('{"name": "Ada"}'), live.read(sample("no"))]
    assert group(live, *found) == [0, 1, -1]
    # one raw text, once as a text and once as what a call holds
    told = 'get_weather({"city": "Paris"}'
    assert live.extract(told) is None
    assert live.read(sample("", PARIS)) is not None


def test_a_schema_that_is_none_is_refused():
    for schema in ({"type": "strin"}, {"$ref": "http://127.0.0.1:9/x"}, {"$ref": "#"}):
        with pytest.raises(Fault) as caught:
            reader(schema=schema)
        assert (caught.value.status, caught.value.param) == (400, "response_format")


def test_hostile_answers_cost_a_request_no_more_than_it_may(monkeypatch):
    monkeypatch.setattr(module, "ALL_SECONDS", 0.4)
    pair = {"properties": {"a": {"$ref": "#/$defs/s"}}, "required": ["z"]}
    live = reader(schema={"$defs": {"s": {"anyOf": [pair, pair]}}, "$ref": "#/$defs/s"})
    began = time.thread_time()
    for i in range(40):
        text = '{"a":' * (30 + i % 30) + f"{i}" + "}" * (30 + i % 30)
        assert live.extract(text) is None
    assert time.thread_time() - began < 3.0


def test_hostile_tools_cost_a_request_no_more_than_they_may(monkeypatch):
    monkeypatch.setattr(module, "SCHEMA_SECONDS", 0.4)
    parts = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(14)}
    parts["a14"] = {"type": "string"}
    tools = [
        {"name": f"f{i}", "parameters": {"title": f"{i}", "$defs": parts, "$ref": "#/$defs/a0"}}
        for i in range(128)
    ]
    began = time.thread_time()
    with pytest.raises(Fault, match="takes too long"):
        reader(tools=tools)
    assert time.thread_time() - began < 0.9


# -- votes -----------------------------------------------------------------------------------------


def solve(answers, spec="self_consistency(n={n})", n=None, **more):
    live = reader(**more)
    problem = Problem(({"role": "user", "content": "How is the weather?"},), tools=TOOLS)

    async def main():
        async with Session(Calling(answers), reader=live) as session:
            return await session.solve(problem, spec.format(n=n or len(answers)))

    return anyio.run(main)


def test_tool_calls_vote():
    again = calls(("get_weather", '{ "city":"Paris" }'))
    answer = solve([ROME, PARIS, "I cannot tell.", again, calls(("get_weather", "{"))])
    assert answer.answer == 'get_weather({"city":"Paris"})'
    assert answer.confidence == pytest.approx(0.4)
    assert answer.distribution == {
        'get_weather({"city":"Paris"})': 0.4,
        'get_weather({"city":"Rome"})': 0.2,
        "I cannot tell.": 0.2,
    }
    assert answer.sample.extra == PARIS
    assert answer.text == ""


GOOD = st.sampled_from([
    PARIS,
    ROME,
    calls(("get_weather", '{"days": 1.0, "city": "Rome"}')),
    calls(*PARALLEL),
    calls(*PARALLEL[::-1]),
    {"tool_calls": [{"type": "custom", "custom": {"name": "run_sql", "input": "select 1"}}]},
])  # fmt: skip
BAD = st.sampled_from([
    calls(("get_weather", "{")),
    calls(("get_weather", {"city": 1})),
    calls(("get_rain", {})),
    {"tool_calls": [call("get_time", {}), call("get_time", "nothing")]},
])  # fmt: skip


@given(st.lists(GOOD, min_size=1, max_size=3), st.lists(BAD, max_size=9), st.randoms())
def test_a_broken_call_never_wins_against_a_whole_one(good, bad, random):
    answers = [*good, *bad]
    random.shuffle(answers)
    answer = solve(answers)
    assert answer.answer is not None
    assert answer.sample.extra in good
    assert answer.confidence <= len(good) / len(answers) + 1e-9


@given(
    st.lists(st.sampled_from(['{"name": "Ada"}', '{"name":"Bob"}']), min_size=1, max_size=2),
    st.lists(st.sampled_from(['```json\n{"name": "Eve"}\n```', '{"name": 5}', "Eve"]), max_size=6),
    st.randoms(),
)
def test_json_that_breaks_the_schema_never_wins_against_json_that_does_not(good, bad, random):
    answers = [*good, *bad]
    random.shuffle(answers)
    answer = solve(answers, schema=PERSON)
    assert answer.text in good
    assert json.loads(answer.answer) == json.loads(answer.text)


def test_where_all_are_broken_one_is_given_and_nothing_is_said_of_it():
    answer = solve([calls(("get_weather", "{"))] * 3)
    assert answer.answer is None
    assert answer.confidence is None
    assert answer.sample.extra["tool_calls"]


def test_a_vote_of_calls_may_stop_early():
    answer = solve([PARIS], "self_consistency(n=16, stop=certain)")
    assert answer.answer == 'get_weather({"city":"Paris"})'
    assert len(answer.candidates) < 16


def test_what_breaks_the_choice_of_tools_cannot_win() -> None:
    tools = [{"type": "function", "function": {"name": n}} for n in ("f", "g")]

    def sample(*names):
        made = [
            {"id": "c", "type": "function", "function": {"name": n, "arguments": "{}"}}
            for n in names
        ]
        return Sample((0,), "7", finish="tool_calls", extra={"tool_calls": made})

    text = Sample((0,), "The answer is 7.", finish="stop")
    free = ChatReader(TextReader(), tools=tools)
    must = ChatReader(TextReader(), tools=tools, choice="required")
    named = ChatReader(
        TextReader(), tools=tools, choice={"type": "function", "function": {"name": "g"}}
    )
    one = ChatReader(TextReader(), tools=tools, parallel=False)
    assert (free.read(text), must.read(text), named.read(text)) == ("7", None, None)
    assert (must.read(sample("f")), named.read(sample("f"))) == ("f({})", None)
    assert named.read(sample("g")) == "g({})"
    assert (free.read(sample("f", "g")), one.read(sample("f", "g"))) == ("f({}), g({})", None)
