"""Whatever the document allows, and what it does not: no failure of the gateway, no answer beyond it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import outthink
from outthink.gateway.document import document
from tests.clients.conftest import NEEDED, serving

schemathesis = pytest.importorskip(
    "schemathesis", reason="schemathesis is not installed: make test-clients"
)
from hypothesis import HealthCheck, settings  # noqa: E402

#: examples of each address and each gateway
EXAMPLES = 15
#: what fits the document may be refused all the same (a strategy that does not exist), and what does
#: not may pass: fields that the gateway does not read are the upstream's to refuse
LEFT_OUT = [
    schemathesis.checks.positive_data_acceptance,
    schemathesis.checks.negative_data_rejection,
]
SAID = "The answer is 42."


class Easy(BaseHTTPRequestHandler):
    """A server that takes every body there is, and says the same to all."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        chat = self.path.endswith("/chat/completions")
        kind = "chat.completion" if chat else "text_completion"
        head = {"id": "x", "object": kind, "created": 1, "model": "m"}
        usage = {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}
        if body.get("stream"):
            part = {"delta": {"role": "assistant", "content": SAID}} if chat else {"text": SAID}
            choice = {"index": 0, "finish_reason": "stop", **part}
            chunk = {**head, "object": f"{kind}.chunk", "choices": [choice], "usage": None}
            last = {**chunk, "choices": [], "usage": usage}
            events = [json.dumps(chunk), json.dumps(last), "[DONE]"]
            raw, form = "".join(f"data: {e}\n\n" for e in events), "text/event-stream"
        else:
            part = {"message": {"role": "assistant", "content": SAID}} if chat else {"text": SAID}
            wanted = int(body.get("n") or 1)
            choices = [{"index": i, "finish_reason": "stop", **part} for i in range(wanted)]
            raw = json.dumps({**head, "choices": choices, "usage": usage})
            form = "application/json"
        self.send_response(200)
        self.send_header("Content-Type", form)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw.encode())

    def log_message(self, *told):
        """Say nothing."""


@pytest.fixture(scope="module")
def easy():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Easy)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join(5)


@pytest.fixture(scope="module", params=["passed through", "self_consistency(n=2)"])
def root(request, easy, tmp_path_factory):
    for module in NEEDED:
        pytest.importorskip(module, reason="the gateway needs the extra [gateway]")
    options = ["--upstream", easy]
    if "(" in request.param:
        options += ["--strategy", request.param]
    with serving(tmp_path_factory.mktemp("document"), *options) as gateway:
        yield gateway.root


@schemathesis.openapi.from_dict(document(outthink.__version__)).parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_of_the_document(case, root):
    case.call_and_validate(base_url=root, timeout=20, excluded_checks=LEFT_OUT)
