"""A storm of requests through a gateway, with faults behind it and clients that leave; what is checked.

The tests run a small one and ``benchmarks/gateway/chaos.py`` the whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from outthink.core import registry
from outthink.gateway import config as settings
from outthink.gateway.config import Config, KeyConfig, ModelConfig, ServerConfig
from outthink.gateway.errors import Fault
from outthink.gateway.keys import new_key
from tests.gateway.running import Running
from tests.gateway.upstream import FAULTS, Book, Upstream

#: faults of one upstream call; those that only concern a field of the request do nothing without it
BEFALL = (*FAULTS, "400", "401", "404", "429", "500", "503")
#: what the upstream says of its usage is not true then, and a pass-through passes it on
LIES = {"few", "zero", "many", "words", "no_usage"}
#: lies that might be the truth
LIKELY = {"few", "many"}
STRATEGIES = (
    None,
    "self_consistency(n=4)",
    "shortest_majority(n=3)",
    "first_finish(n=3)",
    "short_m(n=4)",
    "universal(n=3)",
    "best_of_n(n=2, verifier=judge)",
)
ENDPOINTS = ("chat/completions", "completions", "responses")


# -- a gateway ---------------------------------------------------------------------------------------


def tasks_of(gate: Running) -> Counter[str]:
    """The tasks of a gateway's loop, by what they do, less the one that looks."""

    def names() -> Counter[str]:
        found = Counter(getattr(t.get_coro(), "__qualname__", "?") for t in asyncio.all_tasks())
        found.pop("Running.call.<locals>.inside", None)
        return found

    counted: Counter[str] = gate.call(names)
    return counted


def key_of(name: str, **limits: Any) -> tuple[str, KeyConfig]:
    """A key and what the configuration holds of it."""
    secret, known = new_key(name)
    return secret, replace(known, **limits)


def config_of(
    url: str,
    keys: Sequence[KeyConfig] = (),
    server: ServerConfig | None = None,
    key_env: str | None = None,
    **model: Any,
) -> Config:
    """A configuration with one model, ``m``, behind this address."""
    served = ModelConfig("m", (settings.Upstream(url, key_env),), **model)
    return Config(server or ServerConfig(), {"m": served}, {}, {k.id: k for k in keys})


# -- requests --------------------------------------------------------------------------------------


@dataclass
class Deed:
    """One request, and what came of it."""

    id: str
    endpoint: str
    key: str
    strategy: str | None
    stream: bool
    leaves: float | None = None  # seconds after which the client goes away
    fault: str = ""  # what befalls each of its calls
    status: int = 0  # 0: it left, or the connection broke
    raw: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    usage: tuple[int, int] | None = None
    estimated: bool = False
    error: dict[str, Any] | None = None
    wrong: list[str] = field(default_factory=list)

    def body(self) -> dict[str, Any]:
        """What is sent."""
        text = f"#id={self.id} {f'#fault={self.fault} ' * bool(self.fault)}What is 3 + 4?"
        body: dict[str, Any] = {"model": "m", "stream": self.stream}
        if self.strategy:
            body["model"] = f"{self.strategy}@m"
        if self.endpoint == "chat/completions":
            body["messages"] = [{"role": "user", "content": text}]
        else:
            body["input" if self.endpoint == "responses" else "prompt"] = text
        if self.stream and self.endpoint != "responses":
            body["stream_options"] = {"include_usage": True}
        return body


def deeds(
    count: int, keys: Sequence[str], leaving: float, seed: int, within: float = 0.5
) -> list[Deed]:
    """A mix of endpoints, streams, strategies and keys; ``leaving`` is the share of clients that leave."""
    rng = random.Random(seed)
    ways = itertools.cycle(itertools.product(STRATEGIES, ENDPOINTS, (False, True)))
    made = [
        Deed(
            f"s{seed}-{i}-k{(key := i % max(len(keys), 1))}",
            endpoint,
            keys[key] if keys else "none",
            strategy,
            stream,
            rng.uniform(0.0, within) if rng.random() < leaving else None,
        )
        for i, (strategy, endpoint, stream) in zip(range(count), ways, strict=False)
    ]
    rng.shuffle(made)
    return made


async def do(deed: Deed, url: str, client: aiohttp.ClientSession) -> Deed:
    """Make a request and note what came of it; a client that leaves closes its connection."""
    headers = {"Authorization": f"Bearer {deed.key}"}
    try:
        async with (
            asyncio.timeout(deed.leaves),
            client.post(f"{url}/{deed.endpoint}", json=deed.body(), headers=headers) as answer,
        ):
            raw = await answer.read()
    except TimeoutError:
        return deed
    except aiohttp.ClientError as error:
        if deed.leaves is None:
            deed.wrong.append(f"no answer: {error!r}")
        return deed
    deed.status, deed.raw = answer.status, raw
    deed.headers = {name.lower(): value for name, value in answer.headers.items()}
    try:
        if "event-stream" in answer.headers.get("content-type", ""):
            read_events(deed, raw.decode())
        else:
            deed.estimated = answer.headers.get("x-outthink-estimated") == "true"
            read_body(deed, json.loads(raw))
    except (ValueError, LookupError, TypeError) as error:
        deed.wrong.append(f"cannot be read: {error!r}: {raw[:200]!r}")
    return deed


def read_body(deed: Deed, body: dict[str, Any]) -> None:
    """Note the usage, or the error, of a whole answer."""
    if deed.status != 200:
        read_error(deed, body)
    elif not body.get("choices") and not body.get("output"):
        deed.wrong.append(f"200 without an answer: {str(body)[:200]}")
    else:
        read_usage(deed, body)


def read_error(deed: Deed, body: dict[str, Any]) -> None:
    deed.error = error = body["error"]
    if not error["message"] or set(error) != {"message", "type", "param", "code"}:
        deed.wrong.append(f"an error in another shape: {body}")
    if error["code"] == "internal_error":
        deed.wrong.append(f"the gateway's own failure: {body}")


def read_usage(deed: Deed, body: dict[str, Any]) -> None:
    told = body.get("usage")
    if isinstance(told, dict):
        names = ("prompt_tokens", "completion_tokens")
        if deed.endpoint == "responses":
            names = ("input_tokens", "output_tokens")
        if all(isinstance(told.get(name), int) for name in names):
            deed.usage = (told[names[0]], told[names[1]])
    deed.estimated |= bool((body.get("outthink") or {}).get("estimated"))


def read_events(deed: Deed, text: str) -> None:
    """Note the usage, or the error, of a stream, which must have a proper end."""
    events = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    for data in events:
        event = json.loads(data) if data != "[DONE]" else {}
        if event.get("error"):
            read_error(deed, event)
        elif event.get("type") in ("response.failed", "error"):
            deed.error = event
            if "internal_error" in data:
                deed.wrong.append(f"the gateway's own failure: {data}")
        read_usage(deed, event.get("response") or event)
    ended = events and (events[-1] == "[DONE]" or "response." in events[-1])
    if not ended and deed.error is None:
        deed.wrong.append(f"a stream without an end: {text[-200:]!r}")


async def storm(url: str, made: Sequence[Deed], width: int | None = None) -> list[Deed]:
    """All requests at once, or at most ``width`` at a time."""
    gate = asyncio.Semaphore(width or len(made))
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(60)
    ) as client:

        async def one(deed: Deed) -> Deed:
            async with gate:
                return await do(deed, url, client)

        return await asyncio.gather(*map(one, made))


def runnable(gate: Running) -> list[str | None]:
    """The strategies that a plain server can answer, with the model as judge where one is needed."""
    catalog = gate.gateway.catalog

    def runs(spec: str) -> bool:
        try:
            catalog.strategy(spec, catalog.served["m"], None, False, "model")
        except Fault:
            return False
        return True

    names = [name for name in registry.entries("strategy") if name != "greedy"]
    ways = [(name, f"{name}(verifier=judge)") for name in names]
    return [None, *(next(filter(runs, way)) for way in ways if any(map(runs, way)))]


async def leave(
    url: str, up: Upstream, strategy: str | None, stream: bool, latency: float, after: float
) -> str | None:
    """Ask, go away some seconds after the first call, and say what is wrong if calls do not end then.

    The upstream's own answers take ``latency``; what has not ended within 5 s was not stopped.
    """
    deed = Deed(f"{strategy}-{stream}", ENDPOINTS[0], "none", strategy, stream, None)
    body, calls = deed.body(), up.book.by_id
    body["messages"][0]["content"] += f" #latency={latency}"
    async with aiohttp.ClientSession() as client:
        asking = asyncio.ensure_future(client.post(f"{url}/{deed.endpoint}", json=body))
        if not await until(lambda: deed.id in calls):
            return f"{deed.id}: no call came"
        await asyncio.sleep(after)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            (await asking).close()
    if not await until(lambda: all(call.ended for call in calls[deed.id])):
        return f"{deed.id}: calls go on"
    return None


async def until(done: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether something is so within that time."""
    end = asyncio.get_running_loop().time() + seconds
    while not done() and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.005)
    return done()


# -- what must hold afterwards -----------------------------------------------------------------------


def rates(total: float) -> dict[str, float]:
    """Every fault, with this probability in all."""
    return dict.fromkeys(BEFALL, total / len(BEFALL))


def untrue(made: Sequence[Deed], book: Book) -> list[str]:
    """What the answers say wrongly, of their usage against the upstream's books among other things."""
    found = [f"{deed.id} ({describe(deed)}): {wrong}" for deed in made for wrong in deed.wrong]
    for deed in made:
        if deed.usage is None or deed.error is not None:
            continue
        calls = book.of(deed.id)
        faults = {fault for call in calls for fault in call.faults}
        passed = deed.strategy is None
        if faults & (LIES if passed else LIKELY):
            continue
        billed = (sum(call.prompt for call in calls), sum(call.completion for call in calls))
        if deed.estimated:
            true = all(told >= due for told, due in zip(deed.usage, billed, strict=True))
        else:
            true = deed.usage == billed
        if not true:
            told = "estimated" if deed.estimated else "exact"
            found.append(
                f"{deed.id} ({describe(deed)}): usage {deed.usage}, {told}, but {billed} were billed; "
                f"faults {sorted(faults)} in {len(calls)} calls"
            )
    return found


def describe(deed: Deed) -> str:
    """What kind of request it was."""
    return f"{deed.strategy or 'pass-through'}, {deed.endpoint}{', stream' * deed.stream}"


def held(store: str) -> dict[str, int]:
    """What the ledger still holds: rows, tokens and requests under way."""
    with contextlib.closing(sqlite3.connect(store)) as link:
        (rows,) = link.execute("SELECT count(*) FROM gateway_holds").fetchone()
        (tokens,) = link.execute("SELECT sum(held_tokens) FROM gateway_periods").fetchone()
        (under_way,) = link.execute("SELECT sum(open) FROM gateway_keys").fetchone()
    return {"rows": rows, "tokens": tokens or 0, "under way": under_way or 0}


def spent(store: str) -> dict[str, int]:
    """Tokens that the ledger counts as spent today, by the id of the key."""
    with contextlib.closing(sqlite3.connect(store)) as link:
        rows = link.execute("SELECT key_id, tokens FROM gateway_periods WHERE length(period) = 10")
        return {key: int(tokens) for key, tokens in rows}


def leaks(gate: Running, book: Book, before: Counter[str], store: str | None) -> list[str]:
    """What is still there that a request left behind."""
    gateway = gate.gateway
    seen = {
        "calls at the upstream": book.in_flight,
        "requests inside": gateway.gate.inside,
        "requests waiting": gateway.gate.waiting,
        "keys counted": len(gateway.gate.keys),
        "runs": len(gateway.runs),
        "connections of clients": len(gate.server.server_state.connections),
        "tasks": {k: v - before[k] for k, v in tasks_of(gate).items() if v > before[k]},
    }
    if store is not None:
        seen |= {f"the ledger's {name}": value for name, value in held(store).items()}
    return [f"{name}: {value}" for name, value in seen.items() if value]


async def clean(look: Callable[[], list[str]], seconds: float = 3.0) -> list[str]:
    """What is still there after a while, if anything."""
    found = await asyncio.to_thread(look)
    end = asyncio.get_running_loop().time() + seconds
    while found and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.02)
        found = await asyncio.to_thread(look)
    return found
