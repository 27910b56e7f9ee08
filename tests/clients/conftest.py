"""A gateway for real clients: a process of its own, over a server whose answers and bills are known.

What a test of a client runs is what ``docs/clients.md`` shows, with the gateway's address in it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.upstream import hostile

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "clients.md"
#: the address that the page shows
SHOWN = "http://127.0.0.1:8000"
#: what a gateway needs to start
NEEDED = ("uvicorn", "aiohttp", "orjson")
#: a strategy that draws eight samples
VOTE = "self_consistency(n=8)"
SUM = [{"role": "user", "content": "What is 17 + 25?"}]


def sum_of(a: int, b: int, **more: str) -> list[dict[str, str]]:
    """A chat that asks for a sum; ``more`` tells the upstream what to do (`tests.gateway.upstream`)."""
    told = "".join(f" #{k}={v}" for k, v in more.items())
    return [{"role": "user", "content": f"What is {a} + {b}?{told}"}]


@dataclass
class Gateway:
    """A gateway that runs; ``url`` ends in /v1, ``root`` does not."""

    root: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def said(self) -> str:
        """What it has logged."""
        return self.log.read_text(errors="replace")


@contextlib.contextmanager
def serving(folder: Path, *options: str, **environment: str) -> Iterator[Gateway]:
    """``outthink serve OPTIONS`` on a free port, ready, until the block ends."""
    log = folder / "gateway.log"
    command = [sys.executable, "-m", "outthink", "serve", "--port", "0", *options]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=out, stderr=out
        )
    try:
        yield ready(Gateway("", process, log))
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ready(gateway: Gateway, seconds: float = 120.0) -> Gateway:
    """The gateway once it takes requests; fails with its log if it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and gateway.process.poll() is None:
        if found := re.search(r"serves on (http://[^/\s]+)/v1", gateway.said()):
            gateway.root = found[1]
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{gateway.root}/readyz", timeout=2).close()
                return gateway
        time.sleep(0.05)
    pytest.fail(f"the gateway did not start:\n{gateway.said()}")


@pytest.fixture(scope="session")
def _behind():
    for module in NEEDED:
        pytest.importorskip(module, reason="the gateway needs the extra [gateway]")
    with hostile(right=0.7) as server:
        yield server


@pytest.fixture(scope="session")
def _plain(_behind, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("gateway"), "--upstream", _behind.url) as made:
        yield made


@pytest.fixture(scope="session")
def _voting(_behind, tmp_path_factory):
    options = ("--upstream", _behind.url, "--strategy", VOTE)
    with serving(tmp_path_factory.mktemp("voting"), *options) as made:
        yield made


@pytest.fixture
def upstream(_behind):
    """The server behind the gateway; with its books empty it says the same in each test."""
    _behind.book.clear()
    return _behind


@pytest.fixture
def gateway(_plain, upstream):
    """A gateway in front of `upstream`."""
    return _plain


@pytest.fixture
def voting(_voting, upstream):
    """The same, which votes where a request says nothing of a strategy."""
    return _voting


@pytest.fixture(scope="session")
def fly(tmp_path_factory):
    """A gateway in front of the bundled model."""
    for module in NEEDED:
        pytest.importorskip(module, reason="the gateway needs the extra [gateway]")
    with serving(tmp_path_factory.mktemp("fly"), "--model", "fly") as made:
        yield made


# -- what the page shows ---------------------------------------------------------------------------


def shown(heading: str, language: str = "python") -> list[str]:
    """The code below a heading of the page."""
    page = PAGE.read_text()
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    assert found, f"docs/clients.md has no heading {heading!r}"
    blocks = re.findall(rf"^```{language}\n(.*?)^```", found[1], re.M | re.S)
    assert blocks, f"docs/clients.md shows no {language} below {heading!r}"
    return [textwrap.dedent(block) for block in blocks]


def run_shown(heading: str, gateway: Gateway) -> tuple[str, dict[str, Any]]:
    """Run what the page shows, against this gateway: what it prints, and its names."""
    names: dict[str, Any] = {"__name__": "shown"}
    printed = io.StringIO()
    for block in shown(heading):
        code = compile(block.replace(SHOWN, gateway.root), f"clients.md: {heading}", "exec")
        with contextlib.redirect_stdout(printed):
            exec(code, names)
    return printed.getvalue(), names


def billed(upstream: Any) -> tuple[int, int]:
    """Prompt and completion tokens of all calls that the server answered."""
    total = upstream.book.total()
    return total["prompt"], total["completion"]
