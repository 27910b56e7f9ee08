"""A hostile OpenAI-compatible server on loopback, with faults on demand and exact books.

A request says what shall happen to it: in ``metadata`` (``{"fault": "429*3", "id": "a"}``), in a prompt
(``#fault=cut #id=a``) or after the model's name (``m!cut``).  All that `Habits` names can be said so.
``python -m tests.gateway.upstream --port 9000 --latency 0.2`` runs one by hand; ``GET /book`` reads its
books then.

A fault is one of `FAULTS` or a status.  ``429*3`` happens to the first three calls of a request (those
of one ``id``), ``500@2`` to the second, ``reset%8`` to each eighth; ``no_usage+cut`` are two at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import httptools

from tests.gateway.answers import (
    Said,
    choice_of,
    parts_of,
    prompt_of,
    prompt_tokens,
    prompts_of,
    say,
)

try:
    from uvloop import new_event_loop
except ImportError:
    new_event_loop = asyncio.new_event_loop

FAULTS = {
    "refuse": "400, for no reason that anybody could mend",
    "echo": "400, with the Authorization header that came in its message",
    "redirect": "307 to the address in `elsewhere`",
    "reset": "the connection is reset before an answer",
    "hang": "no answer, for ever",
    "stall": "half an answer, then nothing more",
    "cut": "half an answer, then a reset",
    "ends": "half a stream, ended as if it were whole, without a reason or [DONE]",
    "closes": "the connection is closed as soon as the answer is out, unannounced",
    "broken": "JSON that ends in the middle, in a whole answer",
    "html": "a page, with 200",
    "error": "200, and an error in the body",
    "error_late": "an error in the middle of a stream (200 and an error for a whole answer)",
    "no_choices": "an empty list of choices",
    "null": "content is null",
    "empty": "no body at all",
    "no_usage": "usage is missing",
    "few": "usage tells a tenth of the truth",
    "zero": "usage tells 0",
    "many": "usage tells a thousand times the truth",
    "words": "usage tells words instead of numbers",
    "refuse_n": "400 for n > 1",
    "ignore_n": "one choice, whatever n is",
    "ignore_limit": "goes on beyond max_tokens, to four times of it",
    "endless": "a stream that never ends",
    "refuse_temperature": "400 for a temperature",
    "refuse_stream_options": "400 for stream_options",
    "refuse_max_tokens": "400 for max_tokens, wants max_completion_tokens",
}
#: what `refuse_X` looks for, and says
REFUSED = {
    "refuse_temperature": ("temperature", "Unsupported value: 'temperature' is not supported"),
    "refuse_stream_options": ("stream_options", "Unrecognized request argument: stream_options"),
    "refuse_max_tokens": (
        "max_tokens",
        "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
    ),
}


@dataclass(frozen=True)
class Habits:
    """How requests are answered; each may say otherwise for itself."""

    id: str = ""  # whose call this is in the books
    fault: str = ""
    latency: float = 0.0  # seconds before the first byte; refusals come at once
    pace: float = 0.0  # seconds between the tokens of a stream
    words: int = 13  # of an answer
    right: float = 1.0  # probability that an answer is right; wrong ones spread over ten values
    valid: float = 1.0  # probability that JSON is what was asked for
    thinks: int = 0  # words of reasoning_content before the answer
    cached: int = 0  # tokens of the prompt that are told to be cached
    seeds: bool = True  # equal seeds, equal answers
    retry_after: float = 1.0  # of 429 and 503; below 0: not said
    elsewhere: str = "http://127.0.0.1:9/v1/chat/completions"  # where `redirect` points


@dataclass
class Call:
    """One call as the upstream saw it."""

    id: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    faults: frozenset[str] = frozenset()
    status: int = 0
    prompt: int = 0  # tokens that are billed
    completion: int = 0
    told: Any = None  # the usage that was told, if any
    sent: int = 0  # tokens sent, in a stream
    cancelled: bool = False  # the client left before the end
    started: float = field(default_factory=time.perf_counter)
    ended: float = 0.0


class Book:
    """What was asked, answered and billed, of all calls and of each id."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.by_id: dict[str, list[Call]] = {}
        self.keep = True  # bodies and headers; sums and in flight are always kept
        self.totals: dict[str, Counter[str]] = {}
        self.in_flight = self.peak = self.connections = self.opened = 0

    def begin(self, call: Call) -> int:
        """Enter a call; how many there were of its id, this one included."""
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        if self.keep:
            self.calls.append(call)
            self.by_id.setdefault(call.id, []).append(call)
        self.totals.setdefault(call.id, Counter())["calls"] += 1
        return self.totals[call.id]["calls"]

    def end(self, call: Call) -> None:
        """Close a call's account."""
        call.ended = time.perf_counter()
        self.in_flight -= 1
        self.totals[call.id].update(
            prompt=call.prompt, completion=call.completion, cancelled=int(call.cancelled)
        )

    def of(self, id: str) -> list[Call]:
        """The calls of an id."""
        return self.by_id.get(id, [])

    def total(self, id: str | None = None) -> Counter[str]:
        """Calls, prompt and completion tokens billed, calls cancelled: of an id, or of all."""
        chosen = self.totals.values() if id is None else [self.totals.get(id, Counter())]
        return sum(chosen, Counter())

    def clear(self) -> None:
        """Forget all that is over."""
        self.calls, self.by_id, self.totals, self.peak = [], {}, {}, self.in_flight


class Upstream:
    """A running server; see `hostile`."""

    def __init__(
        self,
        habits: Habits,
        key: str | None = None,
        room: int | None = None,
        rates: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        self.habits, self.key, self.room, self.seed = habits, key, room, seed
        self.rates = dict(rates or {})
        self.book, self.port = Book(), 0
        self.loop: asyncio.AbstractEventLoop | None = None
        self.connections: set[Connection] = set()
        for name in [*self.rates, *habits.fault.split("+")]:
            _check(name)

    @property
    def url(self) -> str:
        """The base address, with /v1."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, port: int, ready: Callable[[], object], stop: asyncio.Event) -> None:
        """Listen until ``stop`` is set."""
        self.loop = asyncio.get_running_loop()
        listener = await self.loop.create_server(
            lambda: Connection(self), "127.0.0.1", port, backlog=4096
        )
        self.port = listener.sockets[0].getsockname()[1]
        ready()
        await stop.wait()
        listener.close()
        for connection in list(self.connections):
            connection.transport.abort()

    def wait(self, done: Callable[[Book], bool], seconds: float = 2.0) -> bool:
        """Whether the books say so within that time."""
        end = time.monotonic() + seconds
        while not done(self.book) and time.monotonic() < end:
            time.sleep(0.005)
        return done(self.book)

    async def until(self, done: Callable[[Book], bool], seconds: float = 2.0) -> bool:
        """The same, for a test whose own loop must go on."""
        return await asyncio.to_thread(self.wait, done, seconds)

    def drop_idle(self) -> None:
        """Close each connection that nobody waits on, as a server that restarts does."""

        def drop() -> None:
            for connection in list(self.connections):
                if connection.task is None:
                    connection.transport.close()

        assert self.loop is not None
        self.loop.call_soon_threadsafe(drop)

    def plan(self, call: Call) -> Habits:
        """What a request asks to happen to it."""
        said = dict(re.findall(r"#(\w+)=([^\s\]#\"']+)", prompt_of(call.body)))
        said |= call.body.get("metadata") or {}
        if "!" in str(call.body.get("model", "")):
            said["fault"] = call.body["model"].partition("!")[2]
        known = {f.name: type(f.default) for f in fields(Habits)}
        told = {
            k: v in ("true", "True", True) if known[k] is bool else known[k](v)
            for k, v in said.items()
            if k in known
        }
        return replace(self.habits, **told)

    def faults(self, habits: Habits, number: int, rng: random.Random) -> frozenset[str]:
        """The faults that befall call ``number`` of an id."""
        found = set()
        for part in filter(None, habits.fault.split("+")):
            name, sign, count = _check(part)
            when = {"*": number <= count, "@": number == count, "%": number % max(count, 1) == 0}
            if when.get(sign, True):
                found.add(name)
        pick = rng.random()
        for name, rate in self.rates.items():
            if 0 <= pick < rate:
                found.add(name)
            pick -= rate
        return frozenset(found)


def _check(part: str) -> tuple[str, str, int]:
    """A fault's name, sign and count; an unknown one fails the test that wrote it."""
    found = re.fullmatch(r"(\w*?)(?:([*@%])(\d+))?", part)
    if not found or not (found[1] in FAULTS or found[1].isdigit() or not found[1]):
        raise ValueError(f"{part!r}: faults are {', '.join(FAULTS)} or a status")
    return found[1], found[2] or "", int(found[3] or 0)


class Left(Exception):
    """The connection shall end here; ``hard`` is a reset."""


class Connection(asyncio.Protocol):
    """One connection: requests one after the other."""

    def __init__(self, server: Upstream) -> None:
        self.server, self.book = server, server.book
        self.task: asyncio.Task[None] | None = None
        self.waiting: list[tuple[str, str, dict[str, str], bytes]] = []
        self.parser = httptools.HttpRequestParser(self)
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.server.connections.add(self)
        self.book.connections += 1
        self.book.opened += 1

    def connection_lost(self, error: Exception | None) -> None:
        self.server.connections.discard(self)
        self.book.connections -= 1
        self.writable.set()
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_message_begin(self) -> None:
        self.path, self.headers, self.body = b"", {}, []

    def on_url(self, url: bytes) -> None:
        self.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        method = self.parser.get_method().decode()
        self.waiting.append((method, self.path.decode(), self.headers, b"".join(self.body)))
        self.next()

    def next(self) -> None:
        """Take up the next request, where none is under way."""
        if self.task is None and self.waiting and not self.transport.is_closing():
            self.task = asyncio.ensure_future(self.answer(*self.waiting.pop(0)))
            self.task.add_done_callback(self.done)

    def done(self, task: asyncio.Task[None]) -> None:
        self.task = None
        if not task.cancelled() and task.exception() is not None:
            self.transport.abort()
            if not isinstance(task.exception(), Left):
                raise task.exception()  # a mistake of this file: shown by the loop
        self.next()

    def reset(self) -> None:
        """End the connection as a crashed server does."""
        linger = struct.pack("ii", 1, 0)
        with contextlib.suppress(OSError):
            self.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
        raise Left

    # -- answers -------------------------------------------------------------------------------------

    def send(
        self, status: int, body: Any, headers: Mapping[str, str] = {}, half: bool = False
    ) -> None:
        """Send a whole answer, or half of one that is announced as whole."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = {"Content-Type": "application/json", "Content-Length": str(len(raw)), **headers}
        head = "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        raw = raw[: len(raw) // 2] if half else raw
        self.transport.write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + raw)

    def refuse(
        self, call: Call, status: int, message: str, headers: Mapping[str, str] = {}
    ) -> None:
        """Send an error in OpenAI's shape."""
        call.status = status
        kind = "rate_limit_error" if status == 429 else "invalid_request_error"
        error = {"message": message, "type": kind, "param": None, "code": None}
        self.send(status, {"error": error}, headers)

    async def answer(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> None:
        path = path.partition("?")[0]
        if method == "GET":
            return self.look(path)
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        call = Call("", path, headers, body if isinstance(body, dict) else {})
        try:
            habits = self.server.plan(call)
        except (TypeError, ValueError, LookupError, AttributeError):
            return self.refuse(call, 400, "that cannot be read")
        call.id = habits.id
        number = self.book.begin(call)
        try:
            await self.judge(call, habits, number)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            self.refuse(call, 400, f"that cannot be read: {type(error).__name__}: {error}")
        except (asyncio.CancelledError, Left) as error:
            call.cancelled = isinstance(error, asyncio.CancelledError)
            if call.sent:
                call.completion = call.sent
            raise
        finally:
            self.book.end(call)
            if not self.book.keep:
                call.body, call.headers = {}, {}
        if "closes" in call.faults:
            self.transport.close()
        return None

    def look(self, path: str) -> None:
        """Lists, and the books."""
        if path == "/v1/models":
            self.send(200, {"object": "list", "data": [_model("m"), _model("m2")]})
        elif path == "/book":
            book = self.book
            told = {"in_flight": book.in_flight, "peak": book.peak, "connections": book.connections}
            ids = {id: dict(total) for id, total in book.totals.items()}
            self.send(200, {**told, **book.total(), "ids": ids})
        else:
            error = {"message": f"no such path: {path}", "type": "invalid_request_error"}
            self.send(404, {"error": error})

    async def judge(self, call: Call, habits: Habits, number: int) -> None:
        """Decide what a call gets, and send it."""
        server, body = self.server, call.body
        seed = body.get("seed") if habits.seeds else None
        own = (
            f"{server.seed}/{call.id}/{number}"
            if call.id
            else f"{server.seed}/{len(self.book.calls)}"
        )
        call.faults = faults = server.faults(habits, number, random.Random(f"{own}/fault"))
        if self.refused(call, habits, faults):
            return None  # at once, as servers do
        if habits.latency:
            await asyncio.sleep(habits.latency)
        for status in filter(str.isdigit, faults):
            later = _later(habits) if status == "503" else {}
            return self.refuse(call, int(status), f"told to answer {status}", later)
        n = int(body.get("n") or 1)
        if "reset" in faults:
            self.reset()
        if "hang" in faults:
            await asyncio.Event().wait()
        call.status = 200
        if "html" in faults:
            return self.send(200, b"<html><h1>Welcome</h1></html>", {"Content-Type": "text/html"})
        if "empty" in faults:
            return self.send(200, b"")
        if "error" in faults or ("error_late" in faults and not body.get("stream")):
            return self.send(
                200, {"error": {"message": "the engine is ill", "type": "server_error"}}
            )
        prompts = prompts_of(body) if "messages" not in body else [""]
        times = len(prompts) * (1 if "ignore_n" in faults else n)
        said = [
            say(
                body
                if "messages" in body
                else {**body, "prompt": prompts[i * len(prompts) // times]},
                random.Random(f"{own if seed is None else seed}/{i}"),
                words=habits.words,
                right=habits.right,
                valid=habits.valid,
                thinks=habits.thinks,
                limited="ignore_limit" not in faults,
            )
            for i in range(times)
        ]
        call.prompt = prompt_tokens(body)
        written = sum(s.tokens for s in said)
        call.told = usage = _usage(
            call.prompt, written, sum(s.thought for s in said), habits, faults
        )
        if body.get("stream"):
            return await self.stream(call, habits, said, usage)
        call.completion = written
        return await self.whole(call, said, usage)

    def refused(self, call: Call, habits: Habits, faults: frozenset[str]) -> bool:
        """Send a refusal where the request deserves one, or is to get one."""
        server, body = self.server, call.body
        why: tuple[int, str] | None = None
        if server.room is not None and self.book.in_flight > server.room:
            why = 429, "too many at once"
        elif server.key is not None and call.headers.get("authorization") != f"Bearer {server.key}":
            why = 401, "Incorrect API key provided"
        elif call.path not in ("/v1/chat/completions", "/v1/completions"):
            why = 404, f"no such path: {call.path}"
        elif not body or not (body.get("messages") or "prompt" in body):
            why = 400, "no messages"
        elif found := [int(f) for f in faults if f.isdigit() and f < "500"]:
            why = found[0], f"told to answer {found[0]}"
        elif "refuse" in faults:
            why = 400, "we do not like this"
        elif "echo" in faults:
            why = 400, f"what is {call.headers.get('authorization')}?"
        elif "refuse_n" in faults and (n := int(body.get("n") or 1)) > 1:
            why = 400, f"n={n}: only n = 1 is supported"
        elif found := [name for name in faults & REFUSED.keys() if REFUSED[name][0] in body]:
            why = 400, REFUSED[found[0]][1]
        if why is not None:
            self.refuse(call, *why, _later(habits) if why[0] == 429 else {})
        elif "redirect" in faults:
            call.status = 307
            self.send(307, b"", {"Location": habits.elsewhere})
        return bool(call.status)

    async def whole(self, call: Call, said: list[Said], usage: Any) -> None:
        """Send an answer in one piece."""
        chat, faults = "messages" in call.body, call.faults
        if "null" in faults:
            said = [replace(s, content=None, calls=()) for s in said]
        choices = [choice_of(s, i, call.body, chat) for i, s in enumerate(said)]
        body = _head(call, "chat.completion" if chat else "text_completion")
        body["choices"] = [] if "no_choices" in faults else choices
        if usage is not None:
            body["usage"] = usage
        raw = json.dumps(body).encode()
        if "broken" in faults:
            return self.send(200, raw[: len(raw) // 2])
        half = bool(faults & {"cut", "stall"})
        self.send(200, raw, half=half)
        if "cut" in faults:
            self.reset()
        if "stall" in faults:
            await asyncio.Event().wait()
        return None

    async def stream(self, call: Call, habits: Habits, said: list[Said], usage: Any) -> None:
        """Send an answer token by token."""
        chat, faults = "messages" in call.body, call.faults
        head = _head(call, "chat.completion.chunk" if chat else "text_completion")
        asked = (call.body.get("stream_options") or {}).get("include_usage")
        if asked and usage is not None:
            head["usage"] = None
        steps = [
            (token, {**head, "choices": [] if "no_choices" in faults else [part]})
            for token, part in parts_of(said, call.body, chat, "null" in faults)
        ]
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        halfway = faults & {"cut", "stall", "ends", "error_late", "broken"}
        if halfway:
            steps = steps[: max(len(steps) // 2, 1)]
        held: list[bytes] = []
        while True:
            for token, event in steps:
                held.append(_event(json.dumps(event).encode()))
                call.sent += token
                if habits.pace:
                    await self.flush(held)
                    await asyncio.sleep(habits.pace)
            if "endless" not in faults:
                break
            await self.flush(held)
            await asyncio.sleep(max(habits.pace, 0.001))
        call.completion = call.sent
        if "error_late" in faults:
            held.append(
                _event(b'{"error": {"message": "the engine died", "type": "server_error"}}')
            )
        if "broken" in faults:
            held.append(_event(b'{"choices": [{"delta'))
        await self.flush(held)
        if "cut" in faults:
            self.reset()
        if "stall" in faults:
            await asyncio.Event().wait()
        if not halfway:
            if asked and usage is not None:
                held.append(_event(json.dumps({**head, "choices": [], "usage": usage}).encode()))
            held.append(_event(b"[DONE]"))
        held.append(b"0\r\n\r\n")
        await self.flush(held)

    async def flush(self, held: list[bytes]) -> None:
        """Write what is held, as far as the client reads it."""
        self.transport.write(b"".join(held))
        held.clear()
        await self.writable.wait()


def _later(habits: Habits) -> dict[str, str]:
    return {} if habits.retry_after < 0 else {"Retry-After": f"{habits.retry_after:g}"}


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1700000000, "owned_by": "tests"}


def _event(data: bytes) -> bytes:
    """A server-sent event in a chunk of its own."""
    return b"%x\r\ndata: %b\n\n\r\n" % (len(data) + 8, data)


def _head(call: Call, kind: str) -> dict[str, Any]:
    """What each body and each chunk begins with."""
    made = f"{'chatcmpl' if 'chat' in kind else 'cmpl'}-{id(call):x}"
    name = str(call.body.get("model", "m"))
    return {"id": made, "object": kind, "created": int(time.time()), "model": name}


def _usage(prompt: int, written: int, thought: int, habits: Habits, faults: frozenset[str]) -> Any:
    """What is told of the tokens, true or not."""
    if "no_usage" in faults:
        return None
    factor = (
        0.1 if "few" in faults else 0.0 if "zero" in faults else 1000 if "many" in faults else 1
    )
    told: dict[str, Any] = {
        "prompt_tokens": int(prompt * factor),
        "completion_tokens": int(written * factor),
        "total_tokens": int(prompt * factor) + int(written * factor),
    }
    if "words" in faults:
        told = dict.fromkeys(told, "plenty")
    if habits.cached:
        told["prompt_tokens_details"] = {"cached_tokens": min(habits.cached, prompt)}
    if thought:
        told["completion_tokens_details"] = {"reasoning_tokens": thought}
    return told


@contextlib.contextmanager
def hostile(
    *,
    key: str | None = None,
    room: int | None = None,
    rates: Mapping[str, float] | None = None,
    seed: int = 0,
    **habits: Any,
) -> Iterator[Upstream]:
    """Run an upstream in a thread.

    ``key``: the bearer that it wants (else 401).  ``room``: calls in flight beyond which it says 429.
    ``rates``: faults and their probabilities, decided by ``seed``.  ``habits``: see `Habits`.
    """
    server = Upstream(Habits(**habits), key, room, rates, seed)
    ready, stop = threading.Event(), asyncio.Event()
    loop = new_event_loop()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(server.serve(0, ready.set, stop))
        loop.run_until_complete(asyncio.sleep(0.01))  # what was cancelled ends
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(5)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)


def main() -> None:
    """Run an upstream by hand, in the foreground."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--key", help="the bearer that requests must carry")
    parser.add_argument("--room", type=int, help="calls in flight beyond which it says 429")
    parser.add_argument("--keep", action="store_true", help="keep bodies and headers of calls")
    for habit in fields(Habits):
        kind = type(habit.default)
        convert = (lambda text: text == "true") if kind is bool else kind
        parser.add_argument(
            f"--{habit.name.replace('_', '-')}", type=convert, default=habit.default
        )
    given = vars(parser.parse_args())
    port, key, room, keep = (given.pop(name) for name in ("port", "key", "room", "keep"))
    server = Upstream(Habits(**given), key, room)
    server.book.keep = keep
    loop = new_event_loop()
    with contextlib.suppress(KeyboardInterrupt):
        loop.run_until_complete(
            server.serve(port, lambda: print(server.url, flush=True), asyncio.Event())
        )


if __name__ == "__main__":
    main()
