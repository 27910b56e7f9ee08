"""curl in front of the gateway: the plainest client, and the bytes of a stream."""

import json
import shutil
import subprocess

import pytest

from tests.clients.conftest import SHOWN, VOTE, billed, shown

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def curl(*arguments):
    done = subprocess.run(["curl", "-sS", *arguments], capture_output=True, timeout=30, check=True)
    return done.stdout


def post(gateway, *arguments, **body):
    asked = {"messages": [{"role": "user", "content": "What is 17 + 25?"}], **body}
    return curl(
        *arguments, f"{gateway.url}/chat/completions", "-H", "Content-Type: application/json",
        "-d", json.dumps(asked),
    )  # fmt: skip


def test_the_page(gateway, upstream):
    whole, stream = shown("curl", "sh")
    told = subprocess.run(
        ["sh", "-c", whole.replace(SHOWN, gateway.root)],
        capture_output=True,
        timeout=30,
        check=True,
    )
    done = json.loads(told.stdout)
    assert done["choices"][0]["message"]["content"].endswith("The answer is 42.")
    assert done["outthink"]["strategy"] == VOTE
    told = subprocess.run(
        ["sh", "-c", stream.replace(SHOWN, gateway.root)],
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert told.stdout.rstrip().endswith(b"data: [DONE]")


@pytest.mark.parametrize("model", ["m", f"{VOTE}@m"])
def test_the_bytes_of_a_stream(gateway, upstream, model):
    raw = post(gateway, "-N", model=model, stream=True, stream_options={"include_usage": True})
    events = raw.decode().replace("\r\n", "\n").split("\n\n")
    assert events[-1] == ""
    told = [e for e in events if e.startswith("data: ")]
    assert told[-1] == "data: [DONE]"
    assert all(e.startswith((":", "data: ")) for e in events[:-1])
    chunks = [json.loads(e.removeprefix("data: ")) for e in told[:-1]]
    assert {c["object"] for c in chunks} == {"chat.completion.chunk"}
    usage = chunks[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == billed(upstream)


def test_progress_and_nothing_that_a_plain_client_must_know(gateway):
    raw = post(gateway, "-N", model=f"{VOTE}@m", stream=True, outthink={"progress": True}).decode()
    assert "event: outthink.progress\n" in raw
    plain = post(gateway, "-N", model=f"{VOTE}@m", stream=True).decode()
    assert "event:" not in plain


def test_what_is_wrong_is_said_in_json(gateway):
    chat, kind = f"{gateway.url}/chat/completions", "Content-Type: application/json"
    raw = curl("-w", "%{http_code}", chat, "-d", "{not json", "-H", kind)
    assert raw.endswith(b"400")
    assert json.loads(raw[:-3])["error"]["type"] == "invalid_request_error"
    raw = curl("-i", "-X", "DELETE", f"{gateway.url}/models").decode().lower()
    assert raw.startswith("http/1.1 405")
    assert "\nallow: get" in raw
    raw = curl("-w", "%{http_code}", f"{gateway.root}/nothing")
    assert raw.endswith(b"404")


def test_addresses_that_need_no_body(gateway):
    assert json.loads(curl(f"{gateway.root}/openapi.json"))["openapi"].startswith("3.1")
    assert b"outthink" in curl(f"{gateway.root}/metrics")
    for path in ("healthz", "readyz"):
        assert curl("-o", "/dev/null", "-w", "%{http_code}", f"{gateway.root}/{path}") == b"200"
