"""The gateways that are compared: how each is installed, started and asked.

Each peer lives in a virtual environment of its own under a cache folder, in the version named here,
with its defaults; where it wants something to start at all, that is given.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ASK = {"model": "m", "messages": [{"role": "user", "content": "What is 3 + 4?"}]}
#: seconds within which a gateway must give its first answer
PATIENCE = 120.0
#: what is installed, step by step: torch for CPUs first, or pip takes gigabytes of CUDA
INSTALLS = {
    "its-hub": ["its-hub[iaas]==1.2.0"],
    "litellm": ["litellm[proxy]==1.108.7"],
    "optillm": ["torch==2.13.0", "optillm==0.4.0"],
}


@dataclass(frozen=True)
class Contender:
    """A gateway in one of its uses; ``peer`` is its environment, none for our own."""

    name: str
    command: Callable[[Path, str, int], list[str]]  # cache, upstream's URL, port
    body: Mapping[str, Any]
    peer: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    configure: Mapping[str, Any] | None = None  # POST /configure before the first request
    refuse_n: bool = False  # the upstream that it is measured with refuses n > 1
    votes: int = 1


def bin_of(cache: Path, peer: str, name: str) -> str:
    return str(cache / "venvs" / peer / "bin" / name)


def ours(cache: Path, upstream: str, port: int) -> list[str]:
    return [sys.executable, "-m", "outthink", "serve", "--upstream", upstream, "--port", str(port)]


def ours_twice(cache: Path, upstream: str, port: int) -> list[str]:
    return [*ours(cache, upstream, port), "--workers", "2"]


def its_hub(cache: Path, upstream: str, port: int) -> list[str]:
    return [bin_of(cache, "its-hub", "its-iaas"), "--port", str(port)]


def litellm(cache: Path, upstream: str, port: int) -> list[str]:
    model = {"model": "openai/m", "api_base": upstream, "api_key": "k"}
    config = cache / "litellm.json"  # JSON is YAML too
    config.write_text(
        json.dumps({"model_list": [{"model_name": "m", "litellm_params": model}]}), "utf-8"
    )
    where = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    return [bin_of(cache, "litellm", "litellm"), *where]


def optillm(cache: Path, upstream: str, port: int) -> list[str]:
    where = ["--base-url", upstream, "--port", str(port), "--host", "127.0.0.1"]
    return [bin_of(cache, "optillm", "optillm"), "--approach", "none", *where]


VOTES = {**ASK, "model": "self_consistency(n=8)@m"}
CONFIGURE = {
    "endpoint": "",
    "api_key": "k",
    "model": "m",
    "alg": "self-consistency",
    "budget": 1,
    "regex_patterns": [r"then (\d+)"],
}
LITELLM = {
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}
KEY = {"OPENAI_API_KEY": "sk-none"}
CONTENDERS = (
    Contender("outthink", ours, ASK),
    Contender("outthink, 8 votes, n in a call", ours, VOTES, votes=8),
    Contender("outthink, 8 votes, 8 calls", ours, VOTES, refuse_n=True, votes=8),
    Contender("outthink, 2 workers", ours_twice, ASK),
    Contender("outthink, 2 workers, 8 votes, 8 calls", ours_twice, VOTES, refuse_n=True, votes=8),
    Contender("its-hub", its_hub, {**ASK, "budget": 1}, "its-hub", configure=CONFIGURE),
    Contender(
        "its-hub, 8 votes, 8 calls",
        its_hub,
        {**ASK, "budget": 8},
        "its-hub",
        configure=CONFIGURE,
        votes=8,
    ),
    Contender("litellm", litellm, ASK, "litellm", LITELLM),
    Contender("optillm", optillm, ASK, "optillm", KEY),
    Contender(
        "optillm, 8 votes, n in a call",
        optillm,
        {**ASK, "model": "majority_voting-m"},
        "optillm",
        KEY,
        votes=8,
    ),
)
PLAIN = [c.name for c in CONTENDERS if c.votes == 1]


def install(cache: Path) -> dict[str, str]:
    """Make the environments that are missing; what was wrong with those that could not be made."""
    wrong = {}
    for peer, steps in INSTALLS.items():
        folder = cache / "venvs" / peer
        done = folder / "installed"
        if done.is_file() and done.read_text("utf-8") == "\n".join(steps):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        for step in steps:
            print(f"installing {step} into {folder}", file=sys.stderr, flush=True)
            pip = [str(folder / "bin" / "pip"), "install", "--quiet", step]
            made = subprocess.run(pip, capture_output=True, text=True)
            if made.returncode:
                wrong[peer] = made.stderr.strip().splitlines()[-1]
                break
        else:
            done.write_text("\n".join(steps), "utf-8")
    return wrong


def installed(cache: Path, contender: Contender) -> bool:
    return contender.peer is None or (cache / "venvs" / contender.peer / "installed").is_file()


def version(cache: Path, peer: str | None) -> str:
    """The installed version of a peer, or of ours."""
    python = sys.executable if peer is None else bin_of(cache, peer, "python")
    code = f"import importlib.metadata as m; print(m.version({peer or 'outthink'!r}))"
    told = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=ROOT)
    return told.stdout.strip()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Process:
    """A server that runs, and what it used: all its processes together."""

    def __init__(self, command: list[str], port: int, env: Mapping[str, str]) -> None:
        self.port, self.started = port, time.perf_counter()
        self.child = subprocess.Popen(
            command,
            env={**os.environ, **env},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.seconds = float("nan")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def pids(self) -> list[int]:
        """This process and its descendants."""
        parents = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
                parents[int(folder.name)] = int(stat[1])
        found = {self.child.pid}
        while more := {p for p, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found)

    def rss_mb(self) -> float:
        """Resident megabytes (10^6 bytes)."""
        pages = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6

    def cpu_seconds(self) -> float:
        """CPU time used so far, user and system."""
        ticks = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(stat[11]) + int(stat[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def post(self, path: str, body: Mapping[str, Any], key: str = "k") -> int:
        """The status of a request; 0 where there is no answer."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        head = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        try:
            link.request("POST", path, json.dumps(body), head)
            answer = link.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            link.close()

    def healthy(self, path: str, body: Mapping[str, Any], key: str = "k") -> None:
        """Ask until there is an answer; notes the seconds since the start."""
        status = 0
        while time.perf_counter() - self.started < PATIENCE and self.child.poll() is None:
            if (status := self.post(path, body, key)) == 200:
                self.seconds = time.perf_counter() - self.started
                return
            time.sleep(0.01)
        raise RuntimeError(f"{self.child.args!r}: no answer (status {status})")

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()


@contextlib.contextmanager
def mock(latency: float = 0.0, pace: float = 0.0, refuse_n: bool = False) -> Iterator[Process]:
    """The bare upstream, running."""
    port = free_port()
    command = [sys.executable, str(HERE / "mock.py"), "--port", str(port)]
    command += ["--latency", str(latency), "--pace", str(pace)]
    process = Process(command + ["--refuse-n"] * refuse_n, port, {})
    try:
        process.healthy("/v1/chat/completions", ASK)
        yield process
    finally:
        process.stop()


@contextlib.contextmanager
def started(contender: Contender, cache: Path, upstream: str) -> Iterator[Process]:
    """A gateway, running in front of an upstream; healthy and asked once."""
    port = free_port()
    process = Process(contender.command(cache, upstream, port), port, contender.env)
    try:
        if contender.configure is not None:
            process.healthy("/configure", {**contender.configure, "endpoint": upstream})
        process.healthy("/v1/chat/completions", contender.body)
        yield process
    finally:
        process.stop()
