"""dspy in front of the gateway."""

import os

import pytest

from tests.clients.conftest import VOTE, billed, run_shown

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else litellm asks the network for prices
dspy = pytest.importorskip("dspy", reason="dspy is not installed: make test-clients")


def test_the_page(gateway, upstream):
    printed, names = run_shown("dspy", gateway)
    assert printed.startswith("42\n")
    usage = names["lm"].history[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == billed(upstream)
    assert len(upstream.book.calls[-1].body["messages"]) == 2
    assert upstream.book.total()["completion"] > 8


def test_a_sampler_over_the_gateway(gateway, upstream):
    lm = dspy.LM(
        "openai/m", api_base=gateway.url, api_key="none", cache=False,
        response_format={"type": "json_object"}, extra_body={"outthink": {"strategy": VOTE}},
    )  # fmt: skip
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
        best = dspy.BestOfN(
            dspy.Predict("question -> answer: int"),
            N=2, threshold=1.0, reward_fn=lambda asked, told: float(told.answer == 42),
        )  # fmt: skip
        assert best(question="What is 17 + 25?").answer == 42
    assert all("outthink" not in call.body for call in upstream.book.calls)
