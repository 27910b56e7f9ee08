"""``simulated`` is what its dials say."""

import itertools
import statistics

import anyio
import numpy as np
import pytest

from outthink.core.budget import Budget, Meter, Usage
from outthink.core.errors import BadInput, ServerFailed
from outthink.core.model import Judged, Request
from outthink.models.simulated import Simulated, SimulatedPrm, Truth, right_answer, words


def ask(model, question="How many?", **params):
    messages = ({"role": "user", "content": question},)
    params.setdefault("seeds", tuple(range(params.get("n", 1))))
    ticket = Meter(Budget()).reserve(Usage(calls=1))
    return anyio.run(model.generate, Request(messages, **params), ticket)


def is_right(question, text):
    return text.endswith(f"answer: {right_answer(question)}")


def rights(spec, problems, n):
    """For each problem: how many of n samples are right, shape ``(problems,)``."""
    model = spec.open()
    return np.array(
        [
            sum(is_right(f"q{i}", g.text) for g in ask(model, f"q{i}", n=n).generations)
            for i in range(problems)
        ]
    )


@pytest.mark.parametrize("accuracy", [0.0, 0.2, 0.75, 1.0])
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_accuracy_is_what_the_dial_says(accuracy, steps):
    got = rights(Simulated(accuracy=accuracy, steps=steps), 100, 6).mean() / 6
    assert abs(got - accuracy) <= 4 * np.sqrt(accuracy * (1 - accuracy) / 600)


@pytest.mark.parametrize("rho", [0.0, 0.3, 1.0])
def test_samples_of_a_problem_are_beta_binomial(rho):
    n, m = 12, 0.5
    counts = rights(Simulated(accuracy=m, correlation=rho, steps=1), 400, n)
    # Var[count] = n m (1 - m) (1 + (n - 1) rho)
    expected = n * m * (1 - m) * (1 + (n - 1) * rho)
    assert counts.var() == pytest.approx(expected, rel=0.3)
    assert counts.mean() == pytest.approx(n * m, abs=4 * np.sqrt(expected / 400))


def test_wrong_answers_fall_into_classes_with_a_favourite():
    spec = Simulated(accuracy=0.0, wrong=4, preferred=0.55, steps=1)
    last = [g.text.rsplit(" ", 1)[1] for g in ask(spec.open(), n=600).generations]
    shares = sorted((last.count(a) / 600 for a in set(last)), reverse=True)
    assert len(shares) == 4
    assert shares[0] == pytest.approx(0.55, abs=0.09)
    assert shares[1:] == pytest.approx([0.15] * 3, abs=0.07)


def test_texts_have_the_form_they_should():
    row = ask(Simulated(steps=4, tokens=6).open()).generations[0]
    lines = row.text.split("\n")
    assert len(lines) == 5
    assert all(len(line.split()) == 6 for line in lines[:4])
    assert row.tokens == 4 * 6 + 2 == len(words(row.text))
    assert row.finish == "stop"


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("steps", [0, 3])
def test_continuing_any_beginning_gives_the_rest(temperature, steps):
    model = Simulated(steps=steps).open()
    whole = ask(model, temperature=temperature).generations[0].text
    parts = words(whole)
    for k in range(len(parts) + 1):
        prefix = "".join(parts[:k])
        rest = ask(model, prefix=prefix, temperature=temperature).generations[0]
        assert prefix + rest.text == whole


def test_a_wrong_beginning_stays_wrong_and_a_right_one_may_go_on():
    model, truth = Simulated(accuracy=0.5, steps=2).open(), Truth("q")
    for klass, right in ((0, True), (2, False)):
        prefix = f"step 1: so {truth.value(0, klass)}\n"
        texts = [g.text for g in ask(model, "q", prefix=prefix, n=40).generations]
        assert any(is_right("q", t) for t in texts) == right


def test_greedy_does_not_depend_on_the_seed():
    model = Simulated().open()
    texts = {ask(model, seeds=(s,), temperature=0.0).generations[0].text for s in range(9)}
    assert len(texts) == 1


def test_max_tokens_and_stop_strings():
    model = Simulated().open()
    whole = ask(model).generations[0]
    for limit in range(1, whole.tokens + 2):
        row = ask(model, max_tokens=limit).generations[0]
        assert row.tokens == min(limit, whole.tokens)
        assert whole.text.startswith(row.text)
        assert row.finish == ("length" if limit < whole.tokens else "stop")
    row = ask(model, stop=("answer", "\n")).generations[0]
    assert (row.finish, row.stopped_by) == ("step", "\n")
    assert row.text == whole.text.split("\n")[0]


def test_logprobs_sum_and_describe_the_draws():
    model = Simulated(accuracy=0.5, steps=1, tokens=3, wrong=1).open()
    row = ask(model, logprobs=True).generations[0]
    assert row.logprobs.shape == (row.tokens,)
    assert row.logprob == pytest.approx(np.log(0.5))


def test_a_sample_depends_on_its_seed_alone():
    model = Simulated().open()
    together = [g.text for g in ask(model, n=5, seeds=(5, 6, 7, 8, 9)).generations]
    alone = [ask(model, seeds=(s,)).generations[0].text for s in (5, 6, 7, 8, 9)]
    assert together == alone
    assert len(set(together)) == 5


def test_the_order_of_finishing_changes_no_text():
    slow = Simulated(latency=0.001, latency_seed=3).open()
    assert ask(slow).generations == ask(Simulated().open()).generations


def test_failures_and_retries():
    failed = 0
    for seed in range(100):
        try:
            ask(Simulated(failures=0.3).open(), seeds=(seed,))
        except ServerFailed:
            failed += 1
    assert 15 <= failed <= 45
    meter = Meter(Budget(calls=50))
    request = Request(({"role": "user", "content": "q"},), seeds=(1,))
    model = Simulated(failures=1.0, retries=4).open()
    with pytest.raises(ServerFailed):
        anyio.run(model.generate, request, meter.reserve(Usage(calls=1)))
    assert meter.spent.calls == 4


def test_price_and_usage():
    reply = ask(Simulated(price=3.0).open(), n=2)
    tokens = sum(g.tokens for g in reply.generations)
    assert reply.usage.completion_tokens == tokens
    assert reply.usage.usd == pytest.approx(3e-6 * (tokens + reply.usage.prompt_tokens))


@pytest.mark.parametrize(
    ("answer", "wrong"), [("42", "43"), (42, "43"), ("Paris", "Paris (wrong 1)")]
)
def test_a_given_answer(answer, wrong):
    right = ask(Simulated(accuracy=1.0, answer=answer).open()).generations[0].text
    bad = ask(Simulated(accuracy=0.0, answer=answer, preferred=1.0).open()).generations[0].text
    assert right.endswith(f"answer: {answer}")
    assert bad.endswith(f"answer: {wrong}")


@pytest.mark.parametrize(
    "dials",
    [{"accuracy": 1.1}, {"correlation": -1}, {"wrong": 0}, {"tokens": 2}, {"latency": -1},
     {"price": float("inf")}, {"failures": 2}, {"steps": -1}],
)  # fmt: skip
def test_dials_out_of_range(dials):
    with pytest.raises(BadInput):
        Simulated(**dials)


@pytest.mark.parametrize("auroc", [0.5, 0.7, 0.9, 1.0])
def test_the_reward_model_is_as_good_as_its_dial(auroc):
    model, prm = Simulated(accuracy=0.5, steps=2).open(), SimulatedPrm(auroc=auroc).open()
    question = "How many?"
    rows = ask(model, question, n=150).generations
    messages = ({"role": "user", "content": question},)
    ticket = Meter(Budget()).reserve(Usage(calls=1))
    scores, usage = anyio.run(prm.reward, [Judged(messages, g.text) for g in rows], ticket)
    assert all(len(s) == 3 and all(0 <= x <= 1 for x in s) for s in scores)
    good = [s[-1] for s, g in zip(scores, rows, strict=True) if is_right(question, g.text)]
    bad = [s[-1] for s, g in zip(scores, rows, strict=True) if not is_right(question, g.text)]
    wins = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(good, bad)]
    assert statistics.fmean(wins) == pytest.approx(auroc, abs=0.1)
    assert usage.calls == 1
    assert usage.prompt_tokens > 0


def test_a_step_score_does_not_change_when_the_text_goes_on():
    prm = SimulatedPrm().open()
    messages = ({"role": "user", "content": "q"},)
    text = ask(Simulated().open(), "q").generations[0].text
    lines = text.split("\n")
    items = [Judged(messages, "\n".join(lines[: k + 1]) + "\n") for k in range(len(lines) - 1)]
    ticket = Meter(Budget()).reserve(Usage(calls=1))
    scores, _ = anyio.run(prm.reward, [*items, Judged(messages, text)], ticket)
    for k, steps in enumerate(scores[:-1]):
        assert steps == scores[-1][: k + 1]
