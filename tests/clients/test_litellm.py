"""litellm in front of the gateway."""

import os

import pytest

from tests.clients.conftest import SUM, VOTE, billed, run_shown, sum_of

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for prices
litellm = pytest.importorskip("litellm", reason="litellm is not installed: make test-clients")


@pytest.fixture
def ask(gateway):
    def ask(model, messages=SUM, **more):
        return litellm.completion(
            model=f"openai/{model}", api_base=gateway.url, api_key="none", messages=messages,
            num_retries=0, max_retries=0, **more,
        )  # fmt: skip

    return ask


def test_the_page(gateway, upstream):
    printed, names = run_shown("litellm", gateway)
    assert "The answer is 42." in printed
    usage = names["done"].usage
    assert (usage.prompt_tokens, usage.completion_tokens) == billed(upstream)
    assert upstream.book.total()["completion"] == 8 * 13


@pytest.mark.parametrize("model", ["m", f"{VOTE}@m"])
def test_eight_choices(ask, upstream, model):
    done = ask(model, n=8)
    assert len(done.choices) == 8
    assert [c.index for c in done.choices] == list(range(8))
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == billed(upstream)
    assert done.usage.completion_tokens == 8 * 13


@pytest.mark.parametrize("model", ["m", f"{VOTE}@m"])
def test_a_stream_with_its_bill(ask, upstream, model):
    chunks = list(ask(model, stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert "The answer is" in text
    [usage] = [c.usage for c in chunks if getattr(c, "usage", None)]
    assert (usage.prompt_tokens, usage.completion_tokens) == billed(upstream)


def test_a_strategy_in_the_body_or_a_header(ask, upstream):
    for more in (
        {"extra_body": {"outthink": {"strategy": VOTE}}},
        {"extra_headers": {"x-outthink-strategy": VOTE}},
    ):
        upstream.book.clear()
        assert ask("m", **more).choices[0].message.content.endswith("The answer is 42.")
        assert upstream.book.total()["completion"] == 8 * 13


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("400", "BadRequestError"), ("401", "AuthenticationError"), ("404", "NotFoundError"),
     ("429", "RateLimitError"), ("500", "InternalServerError")],
)  # fmt: skip
def test_errors(ask, fault, kind):
    with pytest.raises(getattr(litellm, kind)):
        ask(f"{VOTE}@m", sum_of(1, 2, fault=fault, retry_after="0.01"))
