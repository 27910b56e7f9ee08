"""Every strategy over a model whose answers are tool calls: it ends, and its answer is a call."""

import dataclasses

import anyio
import pytest

pytest.importorskip("jsonschema", reason="needs the extra [gateway]")
pytest.importorskip("jsonschema_rs", reason="needs the extra [gateway]")

from outthink.api import Session
from outthink.core.model import LOGITS
from outthink.core.nouns import Problem
from outthink.core.registry import entries
from outthink.gateway.reader import ChatReader
from outthink.verify.extract import TextReader
from tests.gateway.calling import CLOCK, WEATHER, Calling, calls

PARIS, ROME, OSLO = (calls(("get_weather", {"city": c})) for c in ("Paris", "Rome", "Oslo"))
RIGHT = 'get_weather({"city":"Paris"})'
#: seven of ten are right
ANSWERS = (ROME, PARIS, PARIS, OSLO, PARIS, PARIS, PARIS, ROME, PARIS, PARIS)
#: three of ten are: a vote is wrong, and who sees the calls can tell
FEW = (ROME, OSLO, ROME, PARIS, ROME, PARIS, ROME, ROME, ROME, PARIS)
#: what these take is the first, or the first to come
FIRST = ("greedy", "first_finish")
SIZE = {"beam_search": 8, "dvts": 8, "deep_prune": 20, "deepconf_online": 20}
TOLD = {
    "model_switch": "models=[simulated]",
    "deepconf_online": "warmup=5",
    "inverse_entropy": "length=5",
    "revision": "length=5",
}


def spec_of(name):
    """The strategy at a small size, with the run's own model as its judge where it needs a verifier."""
    entry = entries("strategy")[name]
    names = {f.name: f for f in dataclasses.fields(entry.make)}
    told = [f"n={SIZE.get(name, 10)}"] if "n" in names else []
    if "VERIFIER" in entry.needs:
        at = next(n for n, f in names.items() if f.metadata.get("kind") == "verifier")
        told.append(f"{at}=judge")
    told += [TOLD[name]] if name in TOLD else []
    return f"{name}({', '.join(told)})"


CHAT = ({"role": "user", "content": "How is the weather in Paris?"},)


def solve(spec, answers=ANSWERS, live=None, tools=(WEATHER, CLOCK), chat=CHAT):
    problem = Problem(chat, tools=tools)
    live = live or Calling(answers)

    async def main():
        reader = ChatReader(TextReader(), tools=tools)
        async with Session(live, reader=reader) as session:
            with anyio.fail_after(20):
                return await session.solve(problem, spec)

    return anyio.run(main)


@pytest.mark.parametrize("name", sorted(entries("strategy")))
def test_every_strategy_ends_with_a_call(name):
    if LOGITS in entries("strategy")[name].needs:
        pytest.skip("it writes inside the model, where there are no tools")
    answer = solve(spec_of(name))
    assert answer.stopped == "finished"
    assert answer.answer in (RIGHT, *((RIGHT.replace("Paris", "Rome"),) if name in FIRST else ()))
    assert answer.sample.extra["tool_calls"]
    assert answer.answer == ChatReader(TextReader(), tools=(WEATHER, CLOCK)).read(answer.sample)


@pytest.mark.parametrize(
    "spec",
    [
        "best_of_n(n=10, verifier=judge)",
        "best_of_n(n=10, verifier=judge(style=pairwise))",
        "best_of_n(n=10, verifier=yes_no)",
        "best_of_majority(n=10, verifier=judge)",
        "until_confident(n=10, verifier=judge)",
        "beam_search(n=8, prm=yes_no)",
        "tournament(n=10)",
        "tournament(n=10, form=league, distinct=true)",
        "universal(n=10)",
        "chops(n=10)",
        "hedged(n=10, verifier=judge)",
    ],
)
def test_who_judges_sees_the_calls(spec):
    answer = solve(spec, FEW)
    assert answer.answer == RIGHT
    assert answer.sample.extra == PARIS
    assert not answer.notes


def test_a_judge_is_told_of_the_tools_and_of_earlier_calls():
    live = Calling(FEW)
    tool = {
        "type": "function",
        "function": {**WEATHER["function"], "description": "Looks outside."},
    }
    earlier = {"role": "assistant", "content": None, **calls(("get_time", "{}"))}
    chat = (
        {"role": "user", "content": "How is the weather in Paris?"},
        earlier,
        {"role": "tool", "tool_call_id": "c0", "content": "noon"},
    )
    solve("best_of_n(n=4, verifier=judge)", live=live, tools=(tool,), chat=chat)
    shown = [r.messages[-1]["content"] for r in live.asked if r.role == "judge"]
    assert shown
    for text in shown:
        assert "get_weather: Looks outside." in text
        assert "get_time({})" in text
        assert 'tool call: get_weather({"city": ' in text


def test_a_verifier_of_the_chosen_call_is_asked_about_that_call():
    sure = solve("selective(strategy=self_consistency(n=10), verifier=judge)", ANSWERS)
    assert (sure.answer, sure.confidence) == (RIGHT, 1.0)
    unsure = solve("selective(strategy=self_consistency(n=10), verifier=judge)", FEW)
    assert (unsure.answer, unsure.confidence) == (None, 0.0)


def test_attempts_that_see_those_before_them_see_their_calls():
    live = Calling(ANSWERS)
    solve("revision(n=2, length=2)", live=live)
    before = [m["content"] for m in live.asked[-1].messages if m["role"] == "assistant"]
    assert before == ['tool call: get_weather({"city": "Rome"})']


def test_calls_and_texts_vote_side_by_side():
    text = "It rains in Paris: take a coat, an umbrella and good shoes."
    mixed = (text, PARIS, PARIS, "answer: rain", PARIS)
    answer = solve("self_consistency(n=5)", mixed)
    assert answer.answer == RIGHT
    assert answer.distribution == {RIGHT: 0.6, "rain": 0.2}
