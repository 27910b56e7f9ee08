"""The gateway as processes: it starts, reloads, drains, and survives the death of a worker."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from outthink.gateway.keys import new_key, toml_of
from tests.gateway.upstream import hostile

ADD = [{"role": "user", "content": "What is 3 + 4?"}]


@dataclass
class Process:
    url: str
    process: subprocess.Popen[str]
    lines: Path

    @property
    def log(self) -> str:
        return self.lines.read_text()


@contextlib.contextmanager
def served(folder: Path, *args: str, **environ: str) -> Iterator[Process]:
    """A gateway in a process of its own, from the moment at which it answers."""
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "outthink", "serve", "--port", "0", *args],
            stderr=out, text=True, env={**os.environ, **environ},
        )  # fmt: skip
    try:
        until = time.monotonic() + 40
        while time.monotonic() < until:
            found = re.search(r"serves on (http://\S+)", log.read_text())
            if found:
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(found[1].removesuffix("/v1") + "/readyz").status_code == 200:
                        break
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        else:
            raise AssertionError(log.read_text())
        yield Process(found[1], process, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
        if process.poll() is None:
            process.kill()


def ask(url: str, model: str = "m", **more: Any) -> httpx.Response:
    return httpx.post(
        f"{url}/chat/completions", json={"model": model, "messages": ADD, **more}, timeout=20
    )


def test_one_process_answers_logs_no_prompt_and_drains(tmp_path: Path) -> None:
    with hostile() as up, served(tmp_path, "--upstream", up.url) as gate:
        for model in ("m", "self_consistency(n=4)@m"):
            assert ask(gate.url, model).status_code == 200
        assert [m["id"] for m in httpx.get(gate.url + "/models").json()["data"]] == ["m", "m2"]
        slow = {"messages": ADD, "model": "m", "metadata": {"latency": "1.0"}}
        with (
            httpx.Client() as client,
            client.stream(
                "POST", gate.url + "/chat/completions", json={**slow, "stream": True}, timeout=10
            ) as response,
        ):
            gate.process.send_signal(signal.SIGTERM)
            assert "[DONE]" in response.read().decode()
        assert gate.process.wait(10) == 0
        with pytest.raises(httpx.TransportError):
            ask(gate.url)
        assert '"strategy":"self_consistency"' in gate.log
        assert "What is" not in gate.log


CONFIG = """
[server]
workers = 2
store = "{store}"

[models.m]
upstreams = ["{url}"]

[aliases.smart]
model = "m"
strategy = "self_consistency(n={n})"

{key}
requests_per_minute = 40
tokens_per_day = 100_000
"""


def test_two_workers_share_limits_and_one_may_die(tmp_path: Path) -> None:
    key, config = new_key("app")
    auth = {"authorization": f"Bearer {key}"}
    file = tmp_path / "gateway.toml"
    with hostile() as up:
        facts = {"store": tmp_path / "g.db", "url": up.url, "key": toml_of(config).strip()}
        file.write_text(CONFIG.format(n=3, **facts))
        with served(tmp_path, "--config", str(file)) as gate:
            with httpx.Client(headers=auth) as client:
                body = {"model": "smart", "messages": ADD}
                statuses, minute = [], time.time() // 60
                for _ in range(60):
                    found = httpx.post(gate.url + "/chat/completions", json=body, headers=auth)
                    statuses.append(found.status_code)
                if time.time() // 60 == minute:  # of two workers together
                    assert statuses.count(200) == 40
                    assert set(statuses) == {200, 429}
                    assert 1 <= int(found.headers["retry-after"]) <= 60
                assert statuses.count(200) >= 40
                assert client.get(gate.url + "/models").status_code == 200
            assert ask(gate.url).status_code == 401
            file.write_text(CONFIG.format(n=5, **facts).replace("= 40", "= 4000"))
            gate.process.send_signal(signal.SIGHUP)
            until = time.monotonic() + 10
            while gate.log.count("was reloaded") < 2 and time.monotonic() < until:
                time.sleep(0.05)
            found = httpx.post(gate.url + "/chat/completions", json=body, headers=auth)
            assert found.json()["outthink"]["strategy"] == "self_consistency(n=5)"
            file.write_text("[server]\nworkerz = 2\n")
            gate.process.send_signal(signal.SIGHUP)
            while gate.log.count("not reloaded") < 2 and time.monotonic() < until + 10:
                time.sleep(0.05)
            assert "workers" in gate.log.split("not reloaded")[1]
            file.write_text(CONFIG.format(n=5, **facts).replace("= 40", "= 4000"))
            victim = _children(gate.process.pid)[-1]
            os.kill(victim, signal.SIGKILL)
            answered = 0
            until = time.monotonic() + 20
            while answered < 20 and time.monotonic() < until:
                with contextlib.suppress(httpx.TransportError):
                    found = httpx.post(gate.url + "/chat/completions", json=body, headers=auth)
                    answered += found.status_code == 200
            assert answered == 20
            while "another starts" not in gate.log and time.monotonic() < until:
                time.sleep(0.05)
            assert "another starts" in gate.log
            assert key not in gate.log


def _children(pid: int) -> list[int]:
    """The worker processes, by /proc; the resource tracker is none of them."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                stat = (path / "stat").read_text().rpartition(")")[2].split()
                line = (path / "cmdline").read_text()
                if int(stat[1]) == pid and "spawn_main" in line:
                    found.append(int(path.name))
    return found


def _run(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "outthink", "serve", *args],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environ},
    )  # fmt: skip


def test_what_cannot_be_served_is_told_before_it_starts(tmp_path: Path) -> None:
    done = _run("--model", "fly", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "new-key" in done.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = _run("--model", "fly", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "cannot listen" in done.stderr
    file = tmp_path / "g.toml"
    file.write_text(
        '[models.m]\nupstreams = ["http://h/v1"]\n[aliases.a]\nmodel = "m"\nstrategy = "token_ensemble"\n'
    )
    done = _run("--config", str(file), "--check")
    assert done.returncode == 2
    assert "LOGITS" in done.stderr


def test_a_stranger_who_sends_no_headers_is_let_go(tmp_path: Path) -> None:
    file = tmp_path / "g.toml"
    file.write_text('[server]\nheader_seconds = 1.0\n[models.fly]\nspec = "fly"\n')
    with served(tmp_path, "--config", str(file)) as gate:
        host, port = gate.url.removeprefix("http://").removesuffix("/v1").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")
            assert b" 408 " in line.recv(1000)
