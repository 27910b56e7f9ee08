"""Keys over HTTP: who may what, how much, and what they are told; on SQLite, by the same meter."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from outthink.gateway.config import Alias, Config, KeyConfig
from outthink.gateway.keys import new_key
from tests.gateway.running import Running, over, running
from tests.gateway.upstream import hostile

ADD = [{"role": "user", "content": "What is 3 + 4?"}]
VOTE = "self_consistency(n=8)@m"


@pytest.fixture(scope="module")
def up() -> Iterator[Any]:
    with hostile() as found:
        yield found


class Keys:
    """A gateway with keys of these limits; ``ask(name)`` asks with one."""

    def __init__(self, up: Any, store: Path, **limits: dict[str, Any]) -> None:
        self.secrets: dict[str, str] = {}
        keys: dict[str, KeyConfig] = {}
        for name, values in limits.items():
            self.secrets[name], key = new_key(name)
            keys[key.id] = dataclasses.replace(key, **values)
        config = over(
            up.url, server={"store": str(store)}, usd_prompt=1000.0, usd_completion=1000.0
        )
        aliases = {"smart": Alias("smart", "m", "self_consistency(n=4)")}
        self.config = Config(config.server, config.models, aliases, keys)

    def ask(self, gate: Running, name: str, model: str = "m", **body: Any) -> httpx.Response:
        return httpx.post(
            gate.url + "/chat/completions",
            json={"model": model, "messages": ADD, **body},
            headers={"authorization": f"Bearer {self.secrets[name]}"},
            timeout=20,
        )


def test_who_may_what(up: Any, tmp_path: Path) -> None:
    keys = Keys(
        up,
        tmp_path / "g.db",
        every={},
        narrow={"models": ("smart",), "strategies": ("best_of_n",)},
        voter={"strategies": ("self_consistency",)},
        admin={"admin": True},
    )
    with running(keys.config) as gate:
        assert httpx.get(gate.url + "/models").status_code == 401
        wrong = {"authorization": "Bearer ot-aaaaaaaaaaaa-xxxx"}
        assert httpx.get(gate.url + "/models", headers=wrong).status_code == 401
        assert keys.ask(gate, "every", VOTE).status_code == 200
        assert keys.ask(gate, "narrow", "smart").status_code == 200  # an alias is the operator's
        assert keys.ask(gate, "narrow").status_code == 403
        assert keys.ask(gate, "narrow", "self_consistency(n=2)@smart").status_code == 403
        assert keys.ask(gate, "voter", VOTE).status_code == 200
        refused = keys.ask(gate, "voter", "mbr(n=2)@m")
        assert refused.json()["error"]["code"] == "strategy_not_allowed"
        mine = {"authorization": f"Bearer {keys.secrets['narrow']}"}
        assert [m["id"] for m in httpx.get(gate.url + "/models", headers=mine).json()["data"]] == [
            "smart"
        ]
        for name, status in (("every", 403), ("admin", 200)):
            auth = {"authorization": f"Bearer {keys.secrets[name]}"}
            assert httpx.get(gate.root + "/metrics", headers=auth).status_code == status
        # the gateway's key stays here: the upstream never sees it
        assert all("authorization" not in call.headers for call in up.book.calls)


def test_a_trace_is_nobody_elses(up: Any, tmp_path: Path) -> None:
    keys = Keys(up, tmp_path / "g.db", a={}, b={})
    with running(keys.config) as gate:
        run = keys.ask(gate, "a", VOTE, outthink={"trace": True}).headers["x-outthink-run"]
        for name, status in (("a", 200), ("b", 404)):
            auth = {"authorization": f"Bearer {keys.secrets[name]}"}
            assert httpx.get(f"{gate.url}/runs/{run}", headers=auth).status_code == status
        gate.gateway.shelf._runs.clear()  # as in another worker: from the store
        for name, status in (("a", 200), ("b", 404)):
            auth = {"authorization": f"Bearer {keys.secrets[name]}"}
            assert httpx.get(f"{gate.url}/runs/{run}", headers=auth).status_code == status


@pytest.mark.parametrize("model", ["m", VOTE])
@pytest.mark.parametrize("stream", [False, True])
def test_tokens_of_a_day_hold(up: Any, tmp_path: Path, model: str, stream: bool) -> None:
    keys = Keys(up, tmp_path / "g.db", k={"tokens_per_day": 1000})
    up.book.clear()
    with running(keys.config) as gate:
        found = [keys.ask(gate, "k", model, max_tokens=30, stream=stream) for _ in range(120)]
        last = found[-1]
    assert last.status_code == 429
    assert last.json()["error"]["code"] == "insufficient_quota"
    assert int(last.headers["retry-after"]) > 0
    billed = up.book.total()
    assert 600 < billed["prompt"] + billed["completion"] <= 1000


def test_dollars_of_a_month_hold_together_with_tokens(up: Any, tmp_path: Path) -> None:
    # 1,000 dollars a million tokens: a tenth of a cent each
    keys = Keys(up, tmp_path / "g.db", k={"usd_per_month": 0.5, "tokens_per_day": 100_000})
    up.book.clear()
    with running(keys.config) as gate:
        found = [keys.ask(gate, "k", VOTE, max_tokens=16).status_code for _ in range(20)]
    assert found[0] == 200
    assert found[-1] == 429
    billed = up.book.total()
    assert (billed["prompt"] + billed["completion"]) * 1e-3 <= 0.5


def test_requests_of_a_minute_and_at_a_time(up: Any, tmp_path: Path) -> None:
    keys = Keys(up, tmp_path / "g.db", slow={"concurrent": 1}, few={"requests_per_minute": 3})
    with running(keys.config) as gate:
        about = {"metadata": {"latency": "0.6"}}
        other = threading.Thread(target=lambda: keys.ask(gate, "slow", **about))
        before = up.book.in_flight
        other.start()
        assert up.wait(lambda book: book.in_flight > before)
        refused = keys.ask(gate, "slow")
        assert refused.status_code == 429
        other.join()
        assert keys.ask(gate, "slow").status_code == 200
        # a minute may turn in between
        assert [keys.ask(gate, "few").status_code for _ in range(8)].count(429) >= 2


def test_no_hold_is_left_after_faults_and_departures(up: Any, tmp_path: Path) -> None:
    keys = Keys(up, tmp_path / "g.db", k={"tokens_per_day": 10_000_000})
    with running(keys.config) as gate:
        for fault in ("500", "cut", "html", "400"):
            keys.ask(gate, "k", metadata={"fault": fault})
            keys.ask(gate, "k", VOTE, metadata={"fault": fault, "retry_after": "0"})
        for model in ("m", VOTE):
            with pytest.raises(httpx.TimeoutException):
                httpx.post(
                    gate.url + "/chat/completions",
                    json={"model": model, "messages": ADD, "metadata": {"latency": "5"}},
                    headers={"authorization": f"Bearer {keys.secrets['k']}"},
                    timeout=0.3,
                )
        assert up.wait(lambda book: book.in_flight == 0)
        for _ in range(200):
            if not _holds(tmp_path / "g.db"):
                break
            time.sleep(0.01)
        assert _holds(tmp_path / "g.db") == 0


def _holds(store: Path) -> int:
    with contextlib.closing(sqlite3.connect(store)) as connection:
        return int(connection.execute("SELECT count(*) FROM gateway_holds").fetchone()[0])
