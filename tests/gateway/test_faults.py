"""Each fault of an upstream, at each endpoint, with and without a strategy, whole and in a stream."""

import asyncio
import itertools
import json

import pytest

for name in ("aiohttp", "httptools", "uvicorn", "uvloop"):
    pytest.importorskip(name, reason=f"{name} is not installed: outthink[gateway]")

import aiohttp  # noqa: E402

from outthink.gateway.config import ServerConfig  # noqa: E402
from tests.gateway.running import running  # noqa: E402
from tests.gateway.storm import (  # noqa: E402
    BEFALL,
    ENDPOINTS,
    Deed,
    clean,
    config_of,
    key_of,
    leaks,
    spent,
    storm,
    tasks_of,
    untrue,
)
from tests.gateway.upstream import hostile  # noqa: E402

VOTES = "self_consistency(n=3)"
SECRET = "sk-upstream-0123456789abcdef"
#: what a client is told of a fault that befalls every call; where nothing is said here: 200
TOLD = {
    "refuse": 400,
    "echo": 400,
    "redirect": 502,
    "reset": 502,
    "hang": 504,
    "stall": 504,
    "cut": 502,
    "broken": 502,
    "html": 502,
    "error": 502,
    "error_late": 502,
    "no_choices": 502,
    "empty": 502,
    **{status: int(status) for status in ("400", "401", "404", "429", "500", "503")},
}
#: what only a strategy minds: it has to read the answer
MINDED = {"null": 502}
#: what only a stream has
STREAMED = {"ends", "endless"}
#: what a client may ask for, and these upstreams refuse
ASKED = {"refuse_stream_options"}


def body(text="What is 3 + 4?", model="m", **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def post(url, sent, path="chat/completions"):
    async def inside():
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{url}/{path}", json=sent, timeout=aiohttp.ClientTimeout(20)) as answer,
        ):
            return answer.status, dict(answer.headers), await answer.text()

    return asyncio.run(inside())


@pytest.fixture(scope="module")
def told():
    """Every fault in every way at once: the requests with what came of them, and what stayed behind."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HOSTILE_KEY", SECRET)
    ways = itertools.product(BEFALL, (None, VOTES), ENDPOINTS, (False, True))
    made = [
        Deed(
            f"{fault}/{strategy}/{endpoint}/{stream}",
            endpoint,
            "none",
            strategy,
            stream,
            fault=fault,
        )
        for fault, strategy, endpoint, stream in ways
    ]
    with (
        hostile() as thief,
        hostile(
            key=SECRET, retry_after=0.05, pace=0.001, elsewhere=f"{thief.url}/chat/completions"
        ) as up,
    ):
        config = config_of(
            up.url,
            server=ServerConfig(deadline_seconds=5.0),
            key_env="HOSTILE_KEY",
            read_seconds=1.0,
            retries=1,
            max_tokens=64,
        )
        with running(config) as gate:
            before = tasks_of(gate)
            asyncio.run(storm(gate.url, made))
            left = asyncio.run(clean(lambda: leaks(gate, up.book, before, None)))
        yield made, left, up, thief
    patch.undo()


def test_a_fault_is_told_by_its_cause(told):
    made, *_ = told
    wrong = []
    for deed in made:
        passed = deed.strategy is None
        due = TOLD.get(deed.fault, 200 if passed else MINDED.get(deed.fault, 200))
        if passed and deed.stream and deed.endpoint != "responses" and deed.fault in ASKED:
            due = 400
        if passed and deed.stream and deed.fault == "no_choices":
            due = 200  # its chunks are chunks, and go on as they are
        late = deed.stream and deed.status == 200 and deed.error is not None
        if due != deed.status and not (late and due >= 500):
            wrong.append(f"{deed.id}: {deed.status} {deed.error}, not {due}")
        broke_off = passed and deed.stream and deed.fault in STREAMED
        if (due != 200 or broke_off) and deed.error is None:
            wrong.append(f"{deed.id}: no error was told")
    assert not wrong, "\n".join(wrong)


def test_nothing_is_wrong_in_any_answer_and_usage_is_true(told):
    made, _, up, _ = told
    wrong = untrue(made, up.book)
    assert not wrong, "\n".join(wrong)


def test_nothing_stays_behind(told):
    assert told[1] == []


def test_a_limit_of_the_upstream_says_when_to_come_again(told):
    limited = [d for d in told[0] if d.fault in ("429", "503") and d.error]
    assert len(limited) == 24
    assert {d.headers.get("retry-after") for d in limited} == {"1"}


def test_the_upstreams_key_goes_to_the_upstream_alone(told):
    made, _, up, thief = told
    assert not [d.id for d in made if SECRET.encode() in d.raw or SECRET in str(d.headers)]
    assert thief.book.calls == []
    assert {call.headers["authorization"] for call in up.book.calls} == {f"Bearer {SECRET}"}
    assert all("none" not in call.headers["authorization"] for call in up.book.calls)


def test_a_server_without_stream_options_streams_all_the_same():
    with hostile(fault="refuse_stream_options") as up, running(config_of(up.url)) as gate:
        for model, path in itertools.product(("m", f"{VOTES}@m"), ENDPOINTS):
            sent = {"model": model, "stream": True, "prompt": "1 + 1", "input": "1 + 1"}
            sent["messages"] = [{"role": "user", "content": "1 + 1"}]
            for name in {"messages", "prompt", "input"} - {
                {"completions": "prompt", "responses": "input"}.get(path, "messages")
            }:
                del sent[name]
            status, _, text = post(gate.url, sent, path)
            assert status == 200, text
            assert "error" not in text.replace('"error":null', "")


def test_what_one_sample_could_not_give_others_do():
    with (
        hostile(fault="refuse_n+400@5", latency=0.1) as up,
        running(config_of(up.url, retries=0)) as gate,
    ):
        status, _, text = post(gate.url, body("#id=p 3 + 4", "self_consistency(n=8)@m"))
    assert status == 200, text
    done = json.loads(text)
    assert done["outthink"]["answer"] == "7"
    assert done["outthink"]["samples"] == 7
    assert any("400" in note for note in done["outthink"]["notes"])


@pytest.fixture(params=["zero", "few", "words", "no_usage"])
def lied(request, tmp_path):
    """Requests that pass to an upstream which lies of its usage: what was charged and billed."""
    store = str(tmp_path / "ledger.db")
    secret, key = key_of("k", tokens_per_day=10**9)
    made = [Deed(f"{e}{s}", e, secret, None, s) for e in ENDPOINTS for s in (False, True)]
    with (
        hostile(fault=request.param) as up,
        running(config_of(up.url, [key], ServerConfig(store=store))) as gate,
    ):
        asyncio.run(storm(gate.url, made))
        total = up.book.total()
    assert [d.status for d in made] == [200] * 6
    return made, spent(store)[key.id], total["prompt"] + total["completion"]


def test_a_key_is_charged_what_was_written_whatever_the_upstream_says(lied):
    _, charged, billed = lied
    assert charged >= billed


def test_an_answer_that_is_translated_has_a_usage_all_the_same(lied):
    for deed in lied[0]:
        if deed.endpoint == "responses":
            assert deed.usage is not None
            assert min(deed.usage) > 0
