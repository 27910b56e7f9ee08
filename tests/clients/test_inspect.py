"""inspect_ai in front of the gateway: its counts are the server's, and votes show in its accuracy."""

import pytest

from tests.clients.conftest import VOTE, billed, run_shown

inspect_ai = pytest.importorskip(
    "inspect_ai", reason="inspect_ai is not installed: make test-clients"
)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("INSPECT_LOG_DIR", str(tmp_path))
    monkeypatch.setenv("INSPECT_DISPLAY", "plain")
    monkeypatch.setenv("OUTTHINK_BASE_URL", "")
    monkeypatch.setenv("OUTTHINK_API_KEY", "")


def counted(log):
    [usage] = log.stats.model_usage.values()
    return usage.input_tokens, usage.output_tokens


def test_the_page(gateway, upstream):
    _, names = run_shown("inspect_ai", gateway)
    assert names["log"].status == "success"
    assert counted(names["log"]) == billed(upstream)


def test_votes_show_and_every_token_is_counted(gateway, upstream, monkeypatch):
    from inspect_ai import Epochs, Task
    from inspect_ai.dataset import Sample
    from inspect_ai.scorer import includes
    from inspect_ai.solver import generate

    monkeypatch.setenv("OUTTHINK_BASE_URL", gateway.url)
    monkeypatch.setenv("OUTTHINK_API_KEY", "none")
    sums = [Sample(input=f"What is {i} + 10?", target=f"is {i + 10}.") for i in range(12)]
    task = Task(
        dataset=sums, solver=[generate()], scorer=includes(),
        epochs=Epochs(4, ["mean", "pass_at_2"]),
    )  # fmt: skip
    accuracy = {}
    for model in ("m", f"{VOTE}@m"):
        upstream.book.clear()
        [log] = inspect_ai.eval(task, model=f"openai-api/outthink/{model}")
        assert log.status == "success"
        assert counted(log) == billed(upstream)
        accuracy[model] = log.results.scores[0].metrics["accuracy"].value
    assert 0.5 < accuracy["m"] < 0.9
    assert accuracy[f"{VOTE}@m"] > 0.95
