"""The gateway's processes: one or several workers on one socket, reload and drain by signals.

SIGTERM (and Ctrl-C) drains: no new connection is taken, what is under way may end; shortly before the
time is up every run ends with the best answer it has.  SIGHUP reads the configuration again, and
keeps the old one where the new one cannot be used.  Workers share nothing but the socket and the
store; one that dies is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from outthink.core.errors import BadInput, OutthinkError
from outthink.gateway import metrics
from outthink.gateway.app import Gateway
from outthink.gateway.config import Config

log = logging.getLogger("outthink.gateway")

#: gives the configuration, again at each reload; must be picklable for several workers
Load = Callable[[], Config]
#: connections that may wait to be taken
BACKLOG = 4096
#: of the time to drain, how much goes by before runs are ended with what they have
PATIENCE = 0.8
#: how a worker ends that cannot start at all
HOPELESS = 3


class Guarded(HttpToolsProtocol):
    """HTTP with bounded headers: in bytes, and in the time that they may take to come."""

    header_bytes = 64 << 10
    header_seconds = 20.0
    #: seconds in which a client must have read something of what waits for it
    reading_seconds = 60.0
    _stuck: asyncio.TimerHandle | None = None
    _tail = b""

    def connection_made(self, transport: Any) -> None:
        """Wait for the headers of the first request."""
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._complete()
        if self._stuck is not None:
            self._stuck.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes while the headers are not whole."""
        if self._timer is not None:
            self._size += len(data)
            if self._size > self.header_bytes and not self._whole(data):
                self._refuse(431, "the headers are too large")
                return
            self._tail = (self._tail + data)[-3:]
        super().data_received(data)

    def _whole(self, data: bytes) -> bool:
        """Does this piece end the headers, so that the rest of it is the body?"""
        end = (self._tail + data).find(b"\r\n\r\n") - len(self._tail)
        return end >= -len(self._tail) and self._size - len(data) + end <= self.header_bytes

    def on_message_begin(self) -> None:
        """The next request on a connection that was kept.

        One that does not wait for the answer before it would keep a departure from being seen.
        """
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.transport.close()
        super().on_message_begin()
        if self._timer is None:
            self._expect()

    def on_headers_complete(self) -> None:
        """The headers are whole."""
        self._complete()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Who was answered before the end of its body gets no more time for that than for headers."""
        cycle = self.cycle
        super().on_response_complete()
        if cycle is not None and cycle.more_body:
            self.loop.call_later(self.header_seconds, self._unread, cycle)

    def _unread(self, cycle: Any) -> None:
        if self.cycle is cycle and cycle.more_body:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not read: it has some time for it."""
        super().pause_writing()
        self._stuck = self.loop.call_later(self.reading_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _expect(self) -> None:
        self._size, self._tail = 0, b""
        self._timer = self.loop.call_later(self.header_seconds, self._late)

    def _complete(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if self.cycle is None and not self._size:
            self.transport.close()  # it never asked anything
        else:
            self._refuse(408, "the headers took too long")

    def _refuse(self, status: int, told: str) -> None:
        self._complete()
        kind = "invalid_request_error"
        body = f'{{"error":{{"message":"{told}","type":"{kind}","param":null,"code":null}}}}'
        head = f"HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\n"
        head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write((head + body).encode())
        self.transport.close()


class Server(uvicorn.Server):
    """Uvicorn's server, which drains."""

    gateway: Gateway
    drain_seconds = 30.0
    #: what is said once it serves
    greeting = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say so when it serves, and not before."""
        await super().startup(sockets)
        if self.greeting and self.started:
            print(self.greeting, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A signal ends the serving, and not the process as well: to drain is to end well."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {n: signal.signal(n, self.handle_exit) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, how in before.items():
                signal.signal(number, how)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what is under way with what it has, before the time is up."""
        self.gateway.drain()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self.drain_seconds * PATIENCE, self.gateway.end_runs)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()


def listen(host: str, port: int) -> socket.socket:
    """The socket that the workers share; raises ``BadInput`` where it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise BadInput(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port or --host"
        ) from None
    sock.set_inheritable(True)
    return sock


def work(load: Load, sock: socket.socket, quiet: bool, greeting: str = "") -> None:
    """One worker: serves until it is told to end."""
    _logging(quiet)
    config = load()
    gateway = Gateway(config)
    server = config.server
    protocol = type(
        "Protocol",
        (Guarded,),
        {"header_bytes": server.header_bytes, "header_seconds": server.header_seconds},
    )
    settings = uvicorn.Config(
        gateway,
        http=protocol,
        ws="none",
        loop="uvloop",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, int(server.drain_seconds)),
    )
    running = Server(settings)
    running.gateway, running.drain_seconds = gateway, server.drain_seconds
    running.greeting = greeting

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()

        def reread() -> None:
            task = loop.create_task(_reload(gateway, load))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        if hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, reread)
        # what was loaded stays: the collector need not look at it again
        gc.collect()
        gc.freeze()
        await running.serve([sock])

    try:
        with asyncio.Runner(loop_factory=settings.get_loop_factory()) as runner:
            runner.run(main())
    except KeyboardInterrupt:
        pass


async def _reload(gateway: Gateway, load: Load) -> None:
    try:
        config = load()
        await gateway.reload(config)
    except OutthinkError as error:
        log.error("the configuration was not reloaded: %s", error)
    else:
        log.warning("the configuration was reloaded")


def _logging(quiet: bool) -> None:
    """Requests and warnings to standard error, a line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    for name in ("uvicorn", "uvicorn.error"):
        other = logging.getLogger(name)
        other.handlers[:] = [handler]
        other.propagate = False
        other.setLevel(logging.ERROR)


def serve(load: Load, config: Config, *, quiet: bool = False) -> None:
    """Serve until a signal ends it; ``config`` is what ``load`` gave first."""
    server = config.server
    with contextlib.closing(listen(server.host, server.port)) as sock:
        host, port = sock.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        greeting = f"outthink serves on http://{shown}:{port}/v1"
        if server.workers == 1:
            work(load, sock, quiet, greeting)
        else:
            _logging(quiet)
            print(greeting, file=sys.stderr, flush=True)
            with metrics.shared():
                _Workers(load, sock, server.workers, quiet, server.drain_seconds).run()


class _Workers:
    """Several processes on one socket."""

    def __init__(
        self, load: Load, sock: socket.socket, count: int, quiet: bool, drain: float
    ) -> None:
        self.load, self.sock, self.quiet, self.drain = load, sock, quiet, drain
        self.count = count
        self.context = multiprocessing.get_context("spawn")
        self.processes: list[BaseProcess] = []
        self.ending = False

    def _start(self) -> BaseProcess:
        process = self.context.Process(target=work, args=(self.load, self.sock, self.quiet))
        process.start()
        return process

    def _tell(self, number: int) -> None:
        for process in self.processes:
            if process.is_alive() and process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def end(number: int, _: Any) -> None:
            self.ending = True
            self._tell(signal.SIGTERM)

        def again(number: int, _: Any) -> None:
            self._tell(number)

        wanted = {signal.SIGTERM: end, signal.SIGINT: end}
        if hasattr(signal, "SIGHUP"):
            wanted[signal.SIGHUP] = again
        before = {number: signal.signal(number, how) for number, how in wanted.items()}
        try:
            yield
        finally:
            for number, how in before.items():
                signal.signal(number, how)

    def run(self) -> None:
        """Until all have ended."""
        with self._signals():
            self.processes = [self._start() for _ in range(self.count)]
            born = time.monotonic()
            while not self.ending:
                time.sleep(0.2)
                for i, process in enumerate(self.processes):
                    if process.is_alive() or self.ending:
                        continue
                    if process.pid is not None:
                        metrics.ended(process.pid)
                    if process.exitcode == HOPELESS or time.monotonic() - born < 1.0:
                        self.ending = True
                        self._tell(signal.SIGTERM)
                        break
                    log.error("worker %s died (%s): another starts", process.pid, process.exitcode)
                    self.processes[i] = self._start()
            until = time.monotonic() + self.drain + 5.0
            for process in self.processes:
                process.join(max(0.1, until - time.monotonic()))
                if process.is_alive():
                    process.kill()
                    process.join()
