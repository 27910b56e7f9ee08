"""Token-level ensembles: one input is plain decoding, and the mean is what is written from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import outthink
from outthink.core.errors import BadInput, MissingNeed
from outthink.core.nouns import Problem
from outthink.core.registry import build
from outthink.models.inside import log_softmax
from outthink.strategies.token_ensemble import TokenEnsemble, write_together
from outthink.tasks import chain
from outthink.testing import check_strategy

PROBLEM = chain.make(4, 20, 2)
ALONE = '["{question}"]'


@pytest.fixture(scope="module")
def inside():
    return build("fly", "model").open().inside


@pytest.fixture(scope="module")
def smaller():
    return build("fly-xs", "model").open().inside


def start(inside, question=PROBLEM.question):
    return inside.read(inside.prompt([{"role": "user", "content": question}]))


def solve(spec, **more):
    return outthink.solve(PROBLEM.question, strategy=f"token_ensemble({spec})", **more)


def test_it_keeps_the_laws_of_a_strategy():
    check_strategy(f"token_ensemble(prompts={ALONE}, models=[fly-xs], temperature=1.0)", "fly")


def test_one_input_and_equal_inputs_are_plain_greedy_decoding(inside):
    (greedy,) = inside.write(start(inside), max_tokens=200, temperature=0.0)
    for k in (1, 3):
        made = write_together([start(inside)] * k, 200)
        assert (made.text, made.finish) == (greedy.text, greedy.finish)
        assert made.logprobs == pytest.approx(greedy.logprobs, abs=1e-4)
    assert solve(f"prompts={ALONE}").text == greedy.text


def test_at_each_place_the_mean_decides(inside, smaller):
    made = write_together([start(inside), start(smaller)], 60)
    ids = inside.encode(made.text)
    rows = []
    for model in (inside, smaller):
        head = start(model).ids
        rows.append(np.exp(log_softmax(model.logits([*head, *ids])[len(head) - 1 : -1])))
    mean = np.mean(rows, axis=0)
    assert mean.argmax(axis=1).tolist() == list(ids)
    top = np.log(mean.max(axis=1))
    assert made.logprobs[: len(ids)] == pytest.approx(top, abs=1e-4)


@settings(max_examples=8)
@given(st.permutations(range(3)))
def test_the_order_of_the_inputs_is_nothing(order):
    model = build("fly", "model").open().inside
    starts = [start(model, chain.make(4, 20, i).question) for i in range(3)]
    assert write_together([starts[i] for i in order], 20).text == write_together(starts, 20).text


def test_draws_come_from_the_mean():
    model = build("fly", "model").open().inside
    first = start(model, chain.make(4, 20, 0).question), start(model, chain.make(4, 20, 7).question)
    mean = np.exp(log_softmax(np.stack([s.logits for s in first]))).mean(axis=0)
    rng = np.random.default_rng(0)
    drawn = [write_together(first, 1, 1.0, rng).text for _ in range(300)]
    best = model.decode([int(mean.argmax())])
    assert drawn.count(best) / 300 == pytest.approx(mean.max(), abs=0.1)


def test_every_pass_is_counted():
    alone, three = (
        solve(f"prompts={ALONE}"),
        solve('prompts=["{question}", "{question}", "{question}"]'),
    )
    assert three.text == alone.text
    assert three.usage.completion_tokens == 3 * alone.usage.completion_tokens
    assert three.usage.prompt_tokens == 3 * alone.usage.prompt_tokens
    assert three.candidates[0].tokens == alone.candidates[0].tokens
    few = solve(f"prompts={ALONE}, models=[fly-xs]", budget="tokens=20")
    assert few.usage.completion_tokens <= 20
    assert few.candidates[0].tokens == 10


def test_a_template_takes_the_place_of_the_last_question():
    problem = outthink.Problem.of(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is {x}?"}]
    )
    (told, said), (_, other) = TokenEnsemble(("Q: {question} A:", "another")).chats(problem)
    assert told == problem.messages[0]
    assert said == {"role": "user", "content": "Q: What is {x}? A:"}
    assert other["content"] == "another"


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(BadInput, match="none empty"):
        build('token_ensemble(prompts=["{question}", " "])', "strategy")
    with pytest.raises(BadInput, match="none empty"):
        build("token_ensemble(prompts=[])", "strategy")
    with pytest.raises(MissingNeed, match="LOGITS"):
        outthink.solve("x?", model="simulated", strategy="token_ensemble")
    with pytest.raises(BadInput, match="no inside"):
        solve("models=[simulated]")


def test_without_a_message_of_a_user_the_last_one_is_put_into_the_template():
    problem = Problem(
        ({"role": "system", "content": "Be brief."}, {"role": "system", "content": "Q"})
    )
    ((first, last),) = TokenEnsemble(prompts=("Well, {question}",)).chats(problem)
    assert (first["content"], last["content"]) == ("Be brief.", "Well, Q")
