"""What broke the gateway once: one truth each, by a client, an attacker or an unkind upstream."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

for _name in ("aiohttp", "httptools", "uvicorn", "uvloop"):
    pytest.importorskip(_name, reason=f"{_name} is not installed: outthink[gateway]")

import httpx  # noqa: E402

from outthink.api import needs_of  # noqa: E402
from outthink.core import registry  # noqa: E402
from outthink.core.errors import BadInput  # noqa: E402
from outthink.gateway.config import Config, KeyConfig  # noqa: E402
from outthink.gateway.keys import new_key  # noqa: E402
from tests.gateway.running import Running, over, running, with_server  # noqa: E402
from tests.gateway.upstream import hostile  # noqa: E402

ADD = [{"role": "user", "content": "What is 3 + 4?"}]
VOTE = "self_consistency(n=2)@m"
#: an answer of the upstream: its status, its content type, its body
Answer = tuple[int, str, Any]


class Said:
    """An upstream that answers as it is told; ``raws`` are the bodies that it was sent."""

    def __init__(self, answer: Callable[[dict[str, Any]], Answer], **headers: str) -> None:
        self.raws, self.answer = list[bytes](), answer
        said = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_POST(self) -> None:
                said.raws.append(self.rfile.read(int(self.headers["content-length"])))
                status, kind, body = said.answer(json.loads(said.raws[-1]))
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"content-type": kind, **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(raw)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    @property
    def last(self) -> dict[str, Any]:
        """The body that came last."""
        found: dict[str, Any] = json.loads(self.raws[-1])
        return found


@contextlib.contextmanager
def upstream(answer: Callable[[dict[str, Any]], Answer], **headers: str) -> Iterator[Said]:
    said = Said(answer, **headers)
    threading.Thread(target=said.server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield said
    finally:
        said.server.shutdown()
        said.server.server_close()


def fine(body: dict[str, Any], text: str = "7") -> Answer:
    choices = [
        {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for i in range(body.get("n") or 1)
    ]
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    return 200, "application/json", {"id": "x", "choices": choices, "usage": usage}


def refused(message: str, status: int = 400) -> Answer:
    return status, "application/json", {"error": {"message": message}}


def chunk(text: str | None = None, finish: str | None = None, index: int = 0) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    return {"id": "x", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def stream(*chunks: dict[str, Any], done: bool = True) -> Answer:
    parts = [b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks]
    return 200, "text/event-stream", b"".join(parts) + (b"data: [DONE]\n\n" if done else b"")


def ask(
    gate: Running, key: str = "", path: str = "/chat/completions", **body: Any
) -> httpx.Response:
    said = {"messages": ADD} if "chat" in path else {}
    headers = {"authorization": f"Bearer {key}"} if key else {}
    sent = {"model": "m", **said, **body}
    return httpx.post(gate.url + path, json=sent, headers=headers, timeout=20)


def keyed(config: Config, **limits: Any) -> tuple[str, Config]:
    """A key with these limits, and the configuration with it."""
    shown, known = new_key("k")
    known = replace(known, **limits)
    return shown, replace(config, keys={known.id: known})


def tokens_of(gate: Running, key: KeyConfig) -> int:
    """What a key has spent today, when nothing of it is under way."""

    async def read() -> int:
        from outthink.store.schema import gateway_holds, gateway_periods

        def rows(connection: Any, items: Any) -> list[Any]:
            held = connection.execute(gateway_holds.select()).fetchall()
            day = [r for r in connection.execute(gateway_periods.select()) if len(r.period) == 10]
            return [(len(held), day[0].tokens if day else 0)] * len(items)

        while True:
            held, spent = await gate.gateway.store.together(rows, None)
            if not held:
                return int(spent)

    assert key.id
    return int(gate.call(read))


def connect(gate: Running, received: int = 0) -> socket.socket:
    host, _, port = gate.root.removeprefix("http://").partition(":")
    sock = socket.socket()
    if received:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received)
    sock.connect((host, int(port)))
    sock.settimeout(10)
    return sock


def raw_request(**body: Any) -> bytes:
    raw = json.dumps({"model": "m", "messages": ADD, **body}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(raw) + raw


# -- one request stops the gateway for all ---------------------------------------------------------


def test_a_name_of_many_ats_is_refused_at_once() -> None:
    # each '@' is tried as the place between strategy and model, copying the name each time: 1 MB of
    # them, of 20 that a body may have, took minutes of the one thread
    with upstream(fine) as up, running(over(up.url)) as gate:
        began = time.perf_counter()
        assert ask(gate, model="@" * 1_000_000).status_code in (400, 404)
        assert time.perf_counter() - began < 2


def test_a_strategy_in_a_strategy_in_a_strategy_costs_no_more_than_its_length() -> None:
    # needs_of walked into each part again from each part above it: twice the time a level, 64 may be
    nested = registry.build("selective(" * 20 + "self_consistency" + ")" * 20, "strategy")
    began = time.perf_counter()
    needs_of(nested)
    assert time.perf_counter() - began < 1


def test_an_event_without_an_end_is_cut_off() -> None:
    # what came was kept and searched from its beginning at each part: no bound, and time by its square
    long = b'data: "' + b"x" * (24 << 20)
    with (
        upstream(lambda body: (200, "text/event-stream", long)) as up,
        running(over(up.url)) as gate,
    ):
        began = time.perf_counter()
        assert ask(gate, stream=True).status_code == 502
        assert time.perf_counter() - began < 4


# -- what one client does to the others ------------------------------------------------------------


def test_a_temperature_that_a_server_refuses_is_not_left_out_for_all() -> None:
    # "temperature must be in [0, 2]" was taken for "this server takes none", for good
    def hot(body: dict[str, Any]) -> Answer:
        if (body.get("temperature") or 0) > 2:
            return refused("temperature must be in [0, 2]")
        return fine(body)

    with upstream(hot) as up, running(over(up.url, retries=0)) as gate:
        ask(gate, model=VOTE, temperature=3)
        ask(gate, model=VOTE, temperature=0.5)
        assert up.last["temperature"] == 0.5


def test_what_a_refusal_repeats_of_a_request_teaches_nothing() -> None:
    # servers repeat what they refuse; a client could have max_tokens renamed, and n split up, for all
    def picky(body: dict[str, Any]) -> Answer:
        return refused(f"user {body['user']}: no such user") if "user" in body else fine(body)

    with upstream(picky) as up, running(over(up.url, retries=0)) as gate:
        assert ask(gate, model=VOTE, user="n max_completion_tokens").status_code == 400
        before = len(up.raws)
        ask(gate, model=VOTE, max_tokens=50)
        assert up.last["max_tokens"] == 50
        assert len(up.raws) == before + 1


def test_stream_options_of_one_client_do_not_end_the_counting_for_all() -> None:
    def picky(body: dict[str, Any]) -> Answer:
        if "bogus" in (body.get("stream_options") or {}):
            return refused("stream_options.bogus is not known")
        return stream(chunk("7"), chunk(finish="stop"))

    with upstream(picky) as up, running(over(up.url, retries=0)) as gate:
        assert ask(gate, stream=True, stream_options={"bogus": 1}).status_code == 400
        ask(gate, stream=True)
        assert up.last["stream_options"] == {"include_usage": True}


def test_a_client_cannot_use_up_the_places_of_bundled_models() -> None:
    # nine spellings of fly, and no strategy with a reward model worked any more until a restart
    with upstream(fine) as up, running(over(up.url, retries=0)) as gate:
        for rows in range(1, 10):
            ask(gate, model=f"model_switch(n=1, models=[fly(max_rows={rows})])@m")
        assert ask(gate, model="best_of_n(n=2, verifier=prm)@m").status_code == 200


def test_a_client_names_no_folder() -> None:
    # what is in the message tells which folders there are, and weights of the client's would be read
    with upstream(fine) as up, running(over(up.url, retries=0)) as gate:
        found = ask(gate, model='best_of_n(n=2, verifier=prm(model=fly-prm(weights="/etc")))@m')
        assert (found.status_code, found.json()["error"]["code"]) == (403, "part_not_allowed")


# -- secrets ---------------------------------------------------------------------------------------


def test_what_an_upstream_says_of_its_key_is_not_repeated_by_a_strategy() -> None:
    # OpenAI's own words hold the beginning and the end of the key
    told = refused("Incorrect API key provided: sk-ups****cdef.", 401)
    with upstream(lambda body: told) as up, running(over(up.url, retries=0)) as gate:
        found = ask(gate, model=VOTE)
        assert found.status_code == 401
        assert "sk-ups" not in found.text


def test_keys_cannot_be_taken_away_while_others_can_reach_the_socket() -> None:
    # `host` needs a restart, but the check for keys looked at the new file's host
    with upstream(fine) as up:
        plain = over(up.url)
        _, keys = keyed(plain)
        exposed = Config(replace(plain.server, host="0.0.0.0"), plain.models, {}, keys.keys)
        with running(exposed) as gate:
            with pytest.raises(BadInput):
                gate.call(gate.gateway.reload, plain)
            assert ask(gate).status_code == 401


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [
    {"max_tokens": 1_000_000, "max_completion_tokens": 16},
    {"max_tokens": 16, "max_completion_tokens": 1_000_000},
])  # fmt: skip
def test_two_limits_of_a_request_are_both_held(tmp_path: Path, sent: dict[str, int]) -> None:
    # the smaller was reserved and both were sent: a server may read the other
    with upstream(fine) as up:
        key, config = keyed(over(up.url, server={"store": f"{tmp_path}/s.db"}), tokens_per_day=1000)
        with running(config) as gate:
            assert ask(gate, key, **sent).status_code == 200
            assert max(up.last["max_tokens"], up.last["max_completion_tokens"]) == 16


@pytest.mark.parametrize("sent", [
    {"prompt": ["a"] * 100, "max_tokens": 100}, {"prompt": "a", "max_tokens": 100, "best_of": 20},
])  # fmt: skip
def test_what_a_text_completion_multiplies_is_held_too(tmp_path: Path, sent: Any) -> None:
    # 100 prompts of 100 tokens were held as one: ten times of the key's day went out in one request
    with upstream(fine) as up:
        key, config = keyed(over(up.url, server={"store": f"{tmp_path}/s.db"}), tokens_per_day=1000)
        with running(config) as gate:
            found = ask(gate, key, "/completions", **sent)
            times = len(sent["prompt"]) * sent.get("best_of", 1)
            assert found.status_code in (400, 429) or up.last["max_tokens"] * times <= 1000


@pytest.mark.parametrize("raw", [
    b'{"model": "other", "model": "m", "max_tokens": 9999999, "max_tokens": 16, "messages": []}',
    b'{"model": "m", "Model": "other", "max_tokens": 16, "MAX_TOKENS": 9999999, "messages": []}',
])  # fmt: skip
def test_a_body_says_the_same_to_every_reader(tmp_path: Path, raw: bytes) -> None:
    # some servers take the first of two equal names, those in Go take names in any case: another model
    # and other limits than those that were checked
    with upstream(fine) as up:
        key, config = keyed(
            over(up.url, server={"store": f"{tmp_path}/s.db"}), tokens_per_day=1000, models=("m",)
        )
        with running(config) as gate:
            kind = {"content-type": "application/json", "authorization": f"Bearer {key}"}
            found = httpx.post(f"{gate.url}/chat/completions", content=raw, headers=kind)
            assert found.status_code == 400 or b"other" not in up.raws[-1]


def test_a_key_with_limits_passes_to_a_model_that_takes_no_max_tokens(tmp_path: Path) -> None:
    # the limit that we add had the old name: no reasoning model of OpenAI could be used with such a key
    def newer(body: dict[str, Any]) -> Answer:
        if "max_tokens" in body:
            return refused("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.")
        return fine(body)

    with upstream(newer) as up:
        key, config = keyed(
            over(up.url, server={"store": f"{tmp_path}/s.db"}), tokens_per_day=100_000
        )
        with running(config) as gate:
            assert ask(gate, key).status_code == 200


def test_one_after_the_other_is_one_at_a_time(tmp_path: Path) -> None:
    # the place was given back after the answer had gone out: the next request of the same client was
    # refused now and then
    with upstream(fine) as up:
        key, config = keyed(over(up.url, server={"store": f"{tmp_path}/s.db"}), concurrent=1)
        with (
            running(config) as gate,
            httpx.Client(headers={"authorization": f"Bearer {key}"}) as client,
        ):
            sent = {"model": "m", "messages": ADD}
            found = {client.post(f"{gate.url}/chat/completions", json=sent).status_code for _ in range(300)}  # fmt: skip  # noqa: E501
            assert found == {200}


def test_a_budget_that_cannot_hold_is_refused_in_a_pass_through() -> None:
    # the price of m is not known; a strategy says so
    with upstream(fine) as up, running(over(up.url)) as gate:
        assert ask(gate, outthink={"budget": "usd=0.000001"}).status_code == 400


def test_a_budget_of_seconds_changes_nothing_in_what_is_passed_on() -> None:
    with upstream(fine) as up, running(over(up.url)) as gate:
        ask(gate, outthink={"budget": "seconds=5"})
        assert "max_tokens" not in up.last


# -- usage -----------------------------------------------------------------------------------------


def test_a_stream_that_is_asked_for_twice_is_charged(tmp_path: Path) -> None:
    # the refusal of stream_options closed the account of the stream that followed: it was free
    def old(body: dict[str, Any]) -> Answer:
        if "stream_options" in body:
            return refused("Unrecognized request argument: stream_options")
        return stream(*[chunk("word ") for _ in range(50)], chunk(finish="stop"))

    with upstream(old) as up:
        key, config = keyed(
            over(up.url, server={"store": f"{tmp_path}/s.db"}), tokens_per_day=100_000
        )
        with running(config) as gate:
            assert ask(gate, key, stream=True, max_tokens=100).status_code == 200
            assert tokens_of(gate, next(iter(config.keys.values()))) >= 50


def test_a_stream_without_usage_is_charged_by_its_text(tmp_path: Path) -> None:
    # a piece counted as a token, whatever it held; so did the pieces of a stream that was left
    long = stream(chunk("word " * 1000), chunk(finish="stop"))
    with upstream(lambda body: long) as up:
        key, config = keyed(
            over(up.url, server={"store": f"{tmp_path}/s.db"}), tokens_per_day=100_000
        )
        with running(config) as gate:
            assert ask(gate, key, stream=True).status_code == 200
            assert tokens_of(gate, next(iter(config.keys.values()))) >= 1000


@pytest.mark.parametrize("case", ["budget", "failure"])
def test_choices_that_cannot_be_had_do_not_cost_those_that_were_paid(case: str) -> None:
    # n=4 of two samples: where the further two failed, the two that were there were thrown away
    def once(body: dict[str, Any]) -> Answer:
        return fine(body) if len(up.raws) == 1 else refused("boom", 500)

    with upstream(once) as up, running(over(up.url, retries=0)) as gate:
        options = {"outthink": {"budget": "calls=1"}} if case == "budget" else {}
        found = ask(gate, model=VOTE, n=4, **options)
        assert found.status_code == 200, found.text
        assert len(found.json()["choices"]) == 2


# -- what is no answer is told ---------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [
    [chunk("it ends with [DONE]")],  # a text of the model, no end
    [chunk("a"), chunk(finish="stop"), chunk("b", index=1)],  # the second choice never ended
])  # fmt: skip
def test_a_stream_that_broke_off_says_so(chunks: list[Any]) -> None:
    with (
        upstream(lambda body: stream(*chunks, done=False)) as up,
        running(over(up.url)) as gate,
    ):
        assert '"error"' in ask(gate, stream=True, n=2).text


@pytest.mark.parametrize("choices", [[None], [{}], ["x"]])
def test_choices_that_are_none_are_a_502(choices: Any) -> None:
    told = {"choices": choices}
    with (
        upstream(lambda body: (200, "application/json", told)) as up,
        running(over(up.url)) as gate,
    ):
        assert ask(gate).status_code == 502


def test_a_packed_stream_is_refused() -> None:
    packed = gzip.compress(stream(chunk("7"), chunk(finish="stop"))[2])
    headers = {"content-encoding": "gzip"}
    with (
        upstream(lambda body: (200, "text/event-stream", packed), **headers) as up,
        running(over(up.url)) as gate,
    ):
        assert ask(gate, stream=True).status_code == 502


def test_half_a_sign_in_an_answer_is_no_failure_of_ours() -> None:
    # half a surrogate pair is JSON, and servers that cut texts by tokens send it
    with (
        upstream(lambda body: fine(body, "7 \ud83d")) as up,
        running(over(up.url, retries=0)) as gate,
    ):
        found = ask(gate, model=VOTE)
        assert found.status_code == 200
        assert found.json()["choices"][0]["message"]["content"].startswith("7 ")


def deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("body", [
    {"model": VOTE, "functions": 5}, {"model": VOTE, "modalities": 5}, {"model": VOTE, "modalities": True},
    {"stream": True, "metadata": deep(300)}, {"model": VOTE, "seed": 5, "metadata": deep(300)},
])  # fmt: skip
def test_an_odd_field_is_no_failure_of_ours(body: dict[str, Any]) -> None:
    def either(sent: dict[str, Any]) -> Answer:
        return stream(chunk("7"), chunk(finish="stop")) if sent.get("stream") else fine(sent)

    with upstream(either) as up, running(over(up.url, retries=0)) as gate:
        assert ask(gate, **body).status_code < 500


@pytest.mark.parametrize("content", [5, [{"type": "text", "text": 5}], [5]])
def test_an_odd_message_is_no_failure_of_ours_under_a_limit(tmp_path: Path, content: Any) -> None:
    with upstream(fine) as up:
        key, config = keyed(
            over(up.url, server={"store": f"{tmp_path}/s.db"}), tokens_per_day=100_000
        )
        with running(config) as gate:
            messages = [{"role": "user", "content": content}]
            assert ask(gate, key, messages=messages).status_code < 500


# -- connections -----------------------------------------------------------------------------------


def test_a_body_that_never_ends_does_not_keep_a_connection_without_a_key() -> None:
    # the answer was out, and one byte more took the connection's last clock away: open for ever
    with upstream(fine) as up:
        _, config = keyed(over(up.url, server={"header_seconds": 1.0}))
        with running(config) as gate, connect(gate) as sock:
            head = raw_request().partition(b"Content-Length")[0]
            sock.sendall(head + b"Content-Length: 1000000\r\n\r\n{")
            assert b" 401 " in sock.recv(4096)
            sock.sendall(b"x")
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(4096):  # until it is closed, within the socket's ten seconds
                    pass


def test_headers_may_end_between_two_pieces() -> None:
    # the body behind them was taken for headers that are too large
    with upstream(fine) as up, running(over(up.url, server={"header_bytes": 4096})) as gate:
        raw = raw_request(messages=[{"role": "user", "content": "x" * 20_000}])
        at = raw.index(b"\r\n\r\n") + 2
        with connect(gate) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(raw[:at])
            assert gate.call(lambda: True)  # the first piece was taken
            time.sleep(0.05)
            sock.sendall(raw[at:])
            assert b" 200 " in sock.recv(4096)


def test_who_sends_two_requests_and_leaves_is_missed_at_once() -> None:
    # reading stops while a second request waits, so the departure was not seen
    with hostile() as up, running(over(up.url, server={"drain_seconds": 1.0})) as gate:
        one = raw_request(metadata={"fault": "hang", "id": "p"})
        with connect(gate) as sock:
            sock.sendall(one + one)
            sock.settimeout(5)
            assert sock.recv(1000) == b""  # a request waits for the answer before it
        assert up.wait(lambda book: book.in_flight == 0, 3)
        assert gate.gateway.gate.inside == 0


def test_who_does_not_read_holds_no_place_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    # a strategy's stream waited for its reader, beyond every deadline
    monkeypatch.setattr("outthink.gateway.serve.Guarded.reading_seconds", 1.0, raising=False)
    with upstream(lambda body: fine(body, "w " * 3_000_000)) as up:
        config = over(up.url, server={"deadline_seconds": 1.0, "header_seconds": 1.0})
        with running(config) as gate, connect(gate, 4096) as sock:
            sock.sendall(raw_request(model="self_consistency(n=1)@m", stream=True))
            end = time.monotonic() + 8
            while not gate.gateway.gate.inside and time.monotonic() < end:
                time.sleep(0.01)
            while gate.gateway.gate.inside and time.monotonic() < end:
                time.sleep(0.05)
            assert not gate.gateway.gate.inside


# -- reload and drain ------------------------------------------------------------------------------


def test_what_is_under_way_ends_by_the_deadline_that_it_began_with() -> None:
    # the old connections were closed after the new deadline
    def slow(body: dict[str, Any]) -> Answer:
        time.sleep(2.0)
        return fine(body)

    with upstream(slow) as up:
        config = over(up.url, retries=0)
        with running(config) as gate:
            found: list[int] = []
            thread = threading.Thread(target=lambda: found.append(ask(gate).status_code))
            thread.start()
            while not up.raws:
                time.sleep(0.01)
            gate.call(gate.gateway.reload, with_server(config, deadline_seconds=0.5))
            thread.join()
            assert found == [200]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_drain_ends_what_is_passed_through_in_openais_shape(streamed: bool) -> None:
    # uvicorn ended it: 500 "Internal Server Error", or a stream that broke off without a word
    with hostile() as up:
        found: list[httpx.Response] = []
        with running(over(up.url, server={"drain_seconds": 2.0})) as gate:
            way = {"pace": "0.2", "words": "200"} if streamed else {"fault": "hang"}

            def go() -> None:
                found.append(ask(gate, stream=streamed, metadata={"id": "d", **way}))

            thread = threading.Thread(target=go)
            thread.start()
            assert up.wait(lambda book: book.in_flight > 0)
        thread.join()
        assert found, "the stream broke off"
        assert '"error"' in found[0].text
        assert streamed or found[0].status_code == 503
