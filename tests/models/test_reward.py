import json

import anyio
import httpx
import pytest

import outthink
from outthink.core.budget import Budget, Meter, Usage
from outthink.core.errors import BadInput, Malformed, NotAuthorised
from outthink.core.model import Judged
from outthink.core.registry import build, spec_of
from outthink.models.reward import RewardServer
from outthink.store import open_store
from outthink.store.replay import replay
from outthink.testing import check_model
from tests.loopback import serving
from tests.models.seam import mocked

ASK = ({"role": "user", "content": "What is 3 + 4?"},)
URL = "http://127.0.0.1:1/v1"
QWEN = "Qwen/Qwen2.5-Math-PRM-7B"


def judge(handler, texts, messages=ASK, **options):
    """The scores of some texts through a replaced transport; the bodies and paths sent."""
    sent = []

    def answer(http):
        body = json.loads(http.content)
        sent.append((http.url.path, body))
        got = handler(body)
        status, got = got if isinstance(got, tuple) else (200, got)
        return httpx.Response(status, json=got)

    async def main():
        spec = RewardServer(**{"name": "rm", "base_url": URL, "retries": 0, **options})
        model = spec.open(mocked(answer))
        try:
            ticket = Meter(Budget()).reserve(Usage(calls=len(texts)))
            return await model.reward([Judged(messages, t) for t in texts], ticket)
        finally:
            await model.aclose()

    scores, usage = anyio.run(main)
    return scores, usage, sent


def rows(value, tokens=20, name="data"):
    return {"data": [{"index": 0, name: value}], "usage": {"prompt_tokens": tokens}}


def test_a_process_reward_model_gets_its_mark_after_each_step():
    scores, usage, sent = judge(
        lambda body: rows([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]]), ["one\n\ntwo\n\nthree"], name=QWEN
    )
    assert scores == [(0.9, 0.2, 0.5)]
    path, body = sent[0]
    assert path == "/pooling"  # vLLM has it beside /v1, not in it
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant"]
    assert body["messages"][-1]["content"] == "one<extra_0>two<extra_0>three<extra_0>"
    assert (usage.calls, usage.prompt_tokens, usage.completion_tokens) == (1, 20, 0)


@pytest.mark.parametrize(
    ("data", "endpoint", "logits", "score"),
    [
        (rows([0.7]), "pooling", False, 0.7),
        (rows(0.7), "pooling", False, 0.7),
        (rows([0.3, 0.7]), "pooling", False, 0.7),  # two classes of the whole text
        (rows([[0.1], [0.2], [0.7]]), "pooling", False, 0.7),  # a score after each token
        (rows([0.0]), "pooling", True, 0.5),
        (rows([-1000.0]), "pooling", True, 0.0),
        (rows([0.7], name="probs"), "classify", False, 0.7),
        (rows([0.3, 0.7], name="probs"), "classify", False, 0.7),
        (rows(0.7, name="score"), "score", False, 0.7),
    ],
)
def test_an_outcome_score_is_read_from_every_endpoint(data, endpoint, logits, score):
    scores, _, sent = judge(lambda b: data, ["a text"], endpoint=endpoint, logits=logits)
    assert scores == [(pytest.approx(score),)]
    assert sent[0][0] == "/" + endpoint
    if endpoint == "score":
        assert (sent[0][1]["text_1"], sent[0][1]["text_2"]) == ("What is 3 + 4?", "a text")


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (rows([2.5]), {}, "logits=true"),
        (rows([0.1] * 768), {}, "768 numbers a text: is rm a reward model"),
        (rows([[0.1, 0.2, 0.3]]), {}, "3 numbers"),
        (rows([[0.1, 0.9]]), {"name": QWEN}, "1 scores for 2 steps"),
        (rows(["high"]), {}, "no score"),
        (rows([]), {}, "no score"),
        (rows([True]), {}, "no score"),
        ({"data": []}, {}, "without one row"),
        ([], {}, "without one row"),
    ],
)
def test_what_is_no_score_is_said(data, options, words):
    with pytest.raises(Malformed, match=words):
        judge(lambda body: data, ["one\n\ntwo"], **options)


def test_the_meter_is_charged_by_the_servers_count_or_our_estimate_from_above():
    _, told, _ = judge(lambda body: rows([0.5], 33), ["x"] * 2, usd_prompt=1.0, parameters=10)
    assert (told.calls, told.prompt_tokens, told.estimated) == (2, 66, False)
    assert told.usd == pytest.approx(66e-6)
    assert told.flops == pytest.approx(66 * 20)
    _, own, _ = judge(lambda body: {"data": [{"data": [0.5]}]}, ["x"])
    assert own.estimated
    assert own.prompt_tokens >= 8


def test_parameters_are_checked_and_the_spec_comes_back():
    for text, words in (
        ('reward_server("")', "empty"),
        ('reward_server("m", base_url="ftp://x")', "http"),
        ('reward_server("m", endpoint=score, tag="<s>")', "tag"),
        ('reward_server("m", endpoint=scores)', "did you mean 'score'"),
        ('reward_server("m", step="")', "step"),
    ):
        with pytest.raises(BadInput, match=words):
            build(text, "model")
    spec = 'reward_server("m", base_url="http://h:1/v1", tag="<s>", step="\\n")'
    assert build(spec_of(build(spec, "model")), "model") == build(spec, "model")


def test_what_changes_a_score_changes_the_name_under_which_it_is_stored():
    def name(**options):
        model = RewardServer("rm", base_url=URL, **options).open(mocked(print))
        anyio.run(model.aclose)
        return model.name

    options = [{}, {"tag": "<s>"}, {"tag": "<s>", "step": "\n"}, {"logits": True}, {"system": "x"}]
    options += [{"endpoint": "classify"}]
    assert len({name(**o) for o in options}) == len(options)
    assert name(retries=1, read_seconds=3.0) == name()


def right_when_seven(body, number):
    """Gives 0.9 to a text that says 7 and 0.2 to others."""
    said = body["messages"][-1]["content"]
    return rows([0.9 if "answer: 7" in said else 0.2], 12)


def test_the_model_keeps_the_laws():
    with serving(right_when_seven) as server:
        check_model(RewardServer("rm", base_url=server.url))


def test_best_of_n_by_a_server_is_metered_stored_and_side_by_side(tmp_path):
    options = {
        "model": "simulated(accuracy=0.4, answer=7)",
        "budget": "calls=40",
        "store": str(tmp_path / "calls.db"),
    }
    with serving(right_when_seven, latency=0.05) as server:
        strategy = (
            f'best_of_n(n=8, verifier=orm(model=reward_server("rm", base_url="{server.url}")))'
        )
        answer = outthink.solve("3 + 4?", strategy=strategy, **options)
        judged = len(server.bodies)
        again = outthink.solve("3 + 4?", strategy=strategy, **options)
    assert answer.answer == "7"
    different = len({s.text for s in answer.candidates})
    assert judged == different == len(server.bodies)
    assert server.peak > 1
    assert answer.usage.calls == 1 + judged
    assert again.usage.calls == answer.usage.calls
    assert again.usage.stored_calls == again.usage.calls
    assert again.usage.total_tokens == answer.usage.total_tokens


def test_a_text_that_the_server_refuses_gets_no_score_and_cannot_win():
    def picky(body, number):
        if "answer: 7" not in body["messages"][-1]["content"]:
            return 400, {}, {"error": {"message": "too long"}}
        return rows([0.1], 12)

    with serving(picky) as server:
        answer = outthink.solve(
            "3 + 4?",
            model="simulated(accuracy=0.4, answer=7)",
            strategy=f'best_of_n(n=8, verifier=orm(model=reward_server("rm", base_url="{server.url}")))',
        )
    assert answer.answer == "7"
    assert any("got no score" in note and "too long" in note for note in answer.notes)


def test_what_came_before_a_failure_is_kept_and_charged(tmp_path):
    """One of the calls breaks: the others are stored, and the next run pays for the rest alone."""
    broken = [True]

    def fragile(body, number):
        if broken[0] and number == 2:
            return 401, {}, {"error": {"message": "expired"}}
        return rows([0.5], 12)

    with serving(fragile) as server:
        options = {
            "model": "simulated(accuracy=0.1, answer=7)",
            "strategy": "best_of_n(n=6, verifier=orm(model=reward_server("
            f'"rm", base_url="{server.url}", retries=0)))',
            "store": str(tmp_path / "calls.db"),
            "concurrency": 1,
        }
        first = outthink.solve("3 + 4?", **options)
        assert first.stopped == "error"
        assert first.answer is not None  # the vote proposed before the scores
        broken[0], before = False, len(server.bodies)
        second = outthink.solve("3 + 4?", **options)
    assert first.usage.calls >= 1 + before >= 1 + 3
    different = len({s.text for s in second.candidates})
    assert len(server.bodies) == before + different - 2
    assert second.usage.stored_calls == 1 + 2


def test_a_wrong_key_is_said():
    with pytest.raises(NotAuthorised, match="OPENAI_API_KEY"):
        judge(lambda body: (401, {"error": {"message": "no"}}), ["x"])


@pytest.mark.parametrize("fault", ["cut", (503, {}, {}), (400, {}, {"error": "too long"})])
@pytest.mark.parametrize("times", [1, 2, 99])
@pytest.mark.parametrize("budget", [None, "total_tokens=1500", "calls=9"])
def test_scores_that_failed_are_replayed_at_their_cost(tmp_path, fault, times, budget, monkeypatch):
    """One text's scores fail ``times`` times: answer, end and usage come back from the store."""
    monkeypatch.setattr("outthink.models._server._pause", lambda attempt, asked: 0.0)
    seen = []

    def handler(body, number):
        said = body["messages"][-1]["content"]
        seen.append(said)
        return fault if said == seen[0] and seen.count(said) <= times else rows([0.5], 12)

    url = f"sqlite:///{tmp_path}/s.db"
    with serving(handler) as server:
        spec = f'reward_server("rm", base_url="{server.url}", retries=2)'
        answer = outthink.solve(
            "3 + 4?",
            model="simulated(accuracy=0.4, answer=7)",
            strategy=f"best_of_n(n=6, verifier=orm(model={spec}))",
            budget=budget,
            store=url,
        )

    async def main():
        async with await open_store(url) as store:
            return await replay(store, answer.run)

    again = anyio.run(main)
    assert again.same, again.differences


def test_what_a_server_says_as_a_score_is_cut_and_without_the_key(monkeypatch):
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(Malformed) as caught:
        judge(lambda body: rows([key]), ["x"])
    assert "secret" not in str(caught.value)


def test_the_mark_in_a_text_is_no_step():
    told = rows([[0.1, 0.9]])
    scores, *_ = judge(lambda body: told, ["one <extra_0> and the same step"], name=QWEN)
    assert scores == [(0.9,)]
