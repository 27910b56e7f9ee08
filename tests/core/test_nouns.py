"""The nouns keep their promises: what is known of an answer stays hidden, a tree stores once."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outthink.core.budget import Usage
from outthink.core.errors import BadInput
from outthink.core.nouns import Answer, Pool, Problem, Sample, canonical, text_of

USER = {"role": "user", "content": "How many?"}


@pytest.mark.parametrize(
    "wrong",
    [
        "", "  \n", [], [{}], ["text"], [{"role": "wizard", "content": "x"}],
        [{"role": "user", "content": ""}], [{"role": "user", "content": 3}],
        [{"role": "user"}], [{"content": "x"}],
    ],
)  # fmt: skip
def test_wrong_problems_are_bad_input(wrong):
    with pytest.raises(BadInput):
        Problem.of(wrong)


def test_a_problem_of_a_problem_is_itself():
    problem = Problem.of("How many?")
    assert Problem.of(problem) is problem
    assert problem.messages == (USER,)
    assert problem.question == "How many?"


def test_the_question_is_the_last_user_message():
    chat = [USER, {"role": "assistant", "content": "7"}, {"role": "user", "content": "Sure?"}]
    assert Problem.of(chat).question == "Sure?"


def test_public_hides_all_that_is_known():
    problem = Problem((USER,), "7", ("7", "8"), ("assert f() == 7",), lambda t: True, "id1",
                      meta={"answer": 7})  # fmt: skip
    public = problem.public()
    assert (public.reference, public.choices, public.tests, public.checker) == (None, (), (), None)
    assert not public.meta
    assert public.messages == problem.messages


def test_text_parts_of_a_message():
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}},
             {"type": "text", "text": "b"}]  # fmt: skip
    assert text_of(parts) == "a\nb"
    assert text_of(None) == ""


@given(st.lists(st.tuples(st.text(max_size=5), st.integers(0, 9), st.floats(-9, 0)), max_size=30))
def test_a_sample_is_the_sum_of_its_lineage(steps):
    sample = Sample((0,))
    for i, (delta, tokens, logprob) in enumerate(steps):
        sample = Sample((*sample.node, i), delta, sample, "step", tokens, logprob)
    assert sample.text == "".join(s[0] for s in steps)
    assert sample.total_tokens == sum(s[1] for s in steps)
    assert sample.depth == len(steps)
    if steps:
        assert sample.total_logprob == pytest.approx(sum(s[2] for s in steps))
    else:
        assert sample.total_logprob is None


def test_one_step_without_a_logprob_leaves_the_whole_without():
    first = Sample((0, 0), "a", Sample((0,)), "step", 1, -1.0)
    assert Sample((0, 0, 0), "b", first, "stop", 1, None).total_logprob is None


def test_a_very_deep_tree_is_read_without_recursion():
    sample = Sample((0,))
    for _ in range(20_000):
        sample = Sample((0,), "x", sample, "step", 1)
    assert len(sample.text) == 20_000


def test_a_pool_gains_a_column_and_stays_as_it_was():
    pool = Pool((Sample((0,)), Sample((1,))), ("1", None), np.array([0, -1]))
    more = pool.with_scores("v", [0.5, 0.25])
    assert not pool.scores
    assert list(more.scores["v"]) == [0.5, 0.25]
    assert list(more.tokens) == [0, 0]


def test_an_answer_is_plain_json_and_prints_itself():
    answer = Answer("<7>", "so 7", 0.75, {"<7>": 0.75, "8": 0.25}, usage=Usage(calls=2), notes=("n",),
                    strategy="s", model="m", stopped="tokens")  # fmt: skip
    values = json.loads(json.dumps(answer.to_json()))
    assert values["usage"]["calls"] == 2
    assert values["answer"] == "<7>"
    text = str(answer)
    for part in ("<7>", "0.75", "stopped by tokens", "note: n"):
        assert part in text
    assert "&lt;7&gt;" in answer._repr_html_()
    assert "no answer found" in str(Answer(None, "x"))


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_canonical_does_not_depend_on_the_order(values):
    turned = dict(reversed(values.items()))
    assert canonical(values) == canonical(turned)
