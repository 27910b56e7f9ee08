"""A run is remembered from its first moment: killed, resumed, replayed, exported, shown."""

import asyncio
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import anyio
import pytest
import sqlalchemy as sa

from outthink import Budget, strategy
from outthink.api import Session, asolve
from outthink.core.errors import BadInput, MissingNeed
from outthink.core.registry import build, entries
from outthink.store import open_store, schema
from outthink.store.address import Address
from outthink.store.export import COLUMNS
from outthink.store.replay import replay

from . import toys
from .toys import LastWord, Steps, Toy, Vote, parts


async def solve(url, model=None, strategy=None, budget=None, question="Which of 0, 1, 2?", **more):
    return await asolve(
        question,
        model=model or Toy(),
        strategy=strategy or Vote(8, 2),
        budget=Budget.parse(budget) if budget else None,
        seed=11,
        store=url,
        reader=LastWord(),
        **more,
    )


# -- killed and resumed -----------------------------------------------------------------------------


def stored_seeds(url):
    """The seeds of the samples that the store holds (a toy's text begins with its seed)."""
    engine = sa.create_engine(Address.of(url).url)
    with engine.connect() as connection:
        if not schema.version_of(connection):
            return set()
        texts = connection.execute(sa.select(schema.calls.c.generation)).scalars()
        seeds = {json.loads(t)["text"].split()[1] for t in texts}
    engine.dispose()
    return seeds


def paid(log, word="start"):
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.split()[1] for line in lines if line.startswith(word)]


def test_a_run_killed_again_and_again_pays_nothing_twice(url, tmp_path):
    needed, concurrency, rounds = 24, 4, 2
    whole = asyncio.run(
        toys.run_once(
            str(tmp_path / "whole.db"), tmp_path / "whole.log", 12, rounds, concurrency, 0
        )
    )
    assert len(paid(tmp_path / "whole.log")) == whole.usage.calls == needed
    log = tmp_path / "calls.log"
    command = [sys.executable, toys.__file__, "run", url, str(log), "12", str(rounds)]
    command += [str(concurrency), "0.05"]
    in_flight = 0
    for until in (3, 9, 17):
        before, known = len(paid(log)), stored_seeds(url)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        patience = time.monotonic() + 30
        while len(paid(log, "end")) < until:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < patience
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.communicate()
        started = paid(log)[before:]
        assert not known & set(started), "what was remembered is not paid for again"
        lost = set(started) - stored_seeds(url)
        assert len(lost) <= concurrency, "only the calls in flight are lost"
        in_flight += len(lost)
    before, known = len(paid(log)), stored_seeds(url)
    last = subprocess.run(command, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert not known & set(paid(log)[before:])
    assert len(paid(log)) <= needed + in_flight
    assert json.loads(last.stdout) == json.loads(json.dumps(parts(whole)))

    async def look():
        async with await open_store(url) as store:
            runs = await store.list_runs()
            assert [r.ended is None for r in runs] == [False, True, True, True]
            assert "unfinished" in await store.render(runs[-1].id)
            assert runs[0].usage.stored_calls == len(known)
            with pytest.raises(BadInput, match="is unfinished"):
                await replay(store, runs[-1].id, reader=LastWord())
            assert (await replay(store, "last", reader=LastWord())).same

    anyio.run(look)


def test_a_second_run_pays_nothing(url):
    async def main():
        first, second = Toy(), Toy()
        one, two = await solve(url, first), await solve(url, second)
        assert (first.calls, second.calls) == (16, 0)
        assert parts(one) == parts(two)
        assert (one.usage.stored_calls, two.usage.stored_calls) == (0, 16)

    anyio.run(main)


# -- replayed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "strategy", "budget"),
    [
        ({}, Vote(8, 3), None),
        ({}, Vote(8, 3), "calls=11"),
        ({}, Vote(8, 3), "tokens=200"),
        ({}, Vote(30), "usd=0.0009"),
        ({}, Steps(), None),
        ({}, Steps(), "total_tokens=400"),
        ({"native_n": True}, Vote(9, 2), None),
        ({"native_n": True, "gives": 2}, Vote(9, 2), "calls=6"),
        ({"fails": (2, 5)}, Vote(8, 2), None),
        ({"retries": (2, 5)}, Vote(8, 2), "calls=14"),
    ],
    ids=str,
)
def test_a_replay_repeats_the_run(tmp_path, model, strategy, budget):
    url = str(tmp_path / "s.db")

    async def main():
        done = await solve(url, Toy(**model), strategy, budget)
        async with await open_store(url) as store:
            counting = Toy(native_n=model.get("native_n", False))
            again = await replay(store, done.run, model=counting, reader=LastWord())
            assert again.differences == ()
            assert again.same
            assert again.answer.usage.stored_calls > 0
            assert counting.calls == 0, "a replay makes no live call"
            before = parts(done) | {"notes": ()}
            assert parts(again.answer) | {"notes": ()} == before
            assert len(await store.list_runs()) == 1, "a replay leaves no run behind"

    anyio.run(main)


def test_a_replay_of_what_a_clock_ended_gives_its_answer(tmp_path):
    url = str(tmp_path / "s.db")

    async def main():
        def start(run):
            async def stop():
                while len(run.world.samples) < 5:
                    await asyncio.sleep(0.001)
                run.cancel("interrupted")

            main.task = asyncio.ensure_future(stop())

        done = await solve(url, Toy(0.01), Vote(40), concurrency=1, on_start=start)
        assert done.stopped == "interrupted"
        async with await open_store(url) as store:
            again = await replay(store, "last", reader=LastWord())
            assert (again.answer.stopped, again.answer.answer) == ("interrupted", done.answer)
            assert again.answer.distribution == done.distribution
            assert all(d.startswith("usage.") for d in again.differences)

    anyio.run(main)


def test_a_replay_says_what_differs(tmp_path):
    url = str(tmp_path / "s.db")

    async def main():
        done = await solve(url, strategy=Vote(3))
        engine = sa.create_engine(Address.of(url).url)
        with engine.begin() as connection:
            forged = json.dumps({"text": "seed 1 says forged", "tokens": 900})
            connection.execute(schema.calls.update().values(generation=forged))
        engine.dispose()
        async with await open_store(url) as store:
            again = await replay(store, done.run, reader=LastWord())
            assert not again.same
            assert f"answer: recorded {done.answer!r}, now 'forged'" in again.differences

    anyio.run(main)


def test_another_strategy_on_the_same_samples(tmp_path):
    url = str(tmp_path / "s.db")

    async def main():
        await solve(url, strategy=Vote(8))
        fresh = await solve(None, strategy=Vote(5))
        async with await open_store(url) as store:
            less = await replay(store, "last", strategy="test_vote(n=5)", reader=LastWord())
            assert parts(less.answer) == parts(fresh)
            more = await replay(store, "last", strategy="test_vote(n=9)", reader=LastWord())
            assert more.answer.stopped == "store"
            few = await replay(store, "last", budget="calls=2", reader=LastWord())
            assert (few.answer.usage.calls, few.answer.stopped) == (2, "calls")

    anyio.run(main)


# -- found and read ---------------------------------------------------------------------------------


def test_finding_a_run(url):
    async def main():
        async with await open_store(url) as store:
            with pytest.raises(BadInput, match="no runs yet"):
                await store.get_run("last")
            for name in ("abc123", "abd456", "ff_99"):
                await store.begin(name, {"problem": [{"role": "user", "content": name}]})
            assert [r.id for r in await store.list_runs(2)] == ["ff_99", "abd456"]
            assert (await store.get_run("last")).id == "ff_99"
            assert (await store.get_run("abc")).question == "abc123"
            with pytest.raises(BadInput, match="abc123") as caught:
                await store.get_run("ab")
            assert "abd456" in str(caught.value)
            with pytest.raises(BadInput, match="did you mean 'abc123'"):
                await store.get_run("abc124")
            for nothing in ("%", "_", "abc%", "", "\x00"):
                with pytest.raises(BadInput):
                    await store.get_run(nothing)

    anyio.run(main)


def test_a_run_that_begins_again_is_unfinished_again(url):
    async def main():
        async with await open_store(url) as store:
            await store.begin("r", {"seed": 1})
            sample = {"node": [0], "parent": None, "delta": "x", "finish": "stop", "tokens": 1}
            answer = {"answer": "x", "stopped": "finished", "usage": {"calls": 1}}
            await store.finish("r", answer, {"samples": [sample], "events": [{"kind": "k"}]})
            assert (await store.get_run("r")).usage.calls == 1
            assert len(await store.samples_of("r")) == 1
            await store.begin("r", {"seed": 2})
            run = await store.get_run("r")
            assert (run.seed, run.ended, run.answer, run.usage) == (2, None, None, None)
            assert await store.samples_of("r") == await store.events_of("r") == []

    anyio.run(main)


def test_odd_texts_in_a_trace(url):
    async def main():
        async with await open_store(url) as store:
            odd = "a\x00b\ud800c\x1b[31mred\n漢"
            await store.begin("r", {"problem": [{"role": "user", "content": odd}], "strategy": odd})
            sample = {
                "node": [0, 12],
                "parent": [0],
                "delta": odd,
                "finish": odd,
                "tokens": 1,
                "logprob": float("nan"),
                "scores": {odd: [float("nan"), float("inf")]},
            }
            answer = {"answer": odd, "text": odd, "stopped": odd, "usage": {"usd": float("inf")}}
            await store.finish(
                "r", answer, {"samples": [sample], "events": [{"kind": odd, "node": (1, 2)}]}
            )
            run = await store.get_run("r")
            assert (run.question, run.answer["text"]) == (odd, odd)
            (found,) = await store.samples_of(run)
            assert (found.text, found.parent, found.node) == (odd, (0,), (0, 12))
            (values,) = found.scores.values()
            assert repr(values) == "[nan, inf]"
            assert (await store.events_of(run))[0]["node"] == [1, 2]
            shown = await store.render("r")
            assert not any(ord(c) < 32 and c != "\n" for c in shown)
            shown.encode()

    anyio.run(main)


def test_the_tree_as_text(tmp_path):
    url = str(tmp_path / "s.db")

    async def main():
        done = await solve(url, strategy=Steps())
        async with await open_store(url) as store:
            samples = await store.samples_of(done.run)
            assert len(samples) == 2 + 4 + 8
            shown = await store.render(done.run)
            lines = shown.splitlines()
            # two roots that wrote nothing, and a line for each sample under its parent
            assert sum("(root)" in line for line in lines) == 2
            for sample in samples:
                name = ".".join(map(str, sample.node))
                shape = re.compile(rf"[│├└─ ]*[ *]{re.escape(name)}  \[")
                assert sum(bool(shape.match(line)) for line in lines) == 1
            at = {s.node: i for i, s in enumerate(samples)}
            assert all(at[s.parent] < at[s.node] for s in samples if s.parent in at)
            assert any(line.lstrip("│├└─ ").startswith("*") for line in lines)
            assert f"answer: {done.answer}" in shown
            assert max(map(len, lines)) <= 140

    anyio.run(main)


def test_a_tree_deeper_than_the_stack(tmp_path):
    async def main():
        async with await open_store(str(tmp_path / "s.db")) as store:
            await store.begin("r", {})
            deep = [
                {"node": [0] * (i + 1), "parent": [0] * i or None, "delta": "x", "tokens": 1}
                for i in range(1500)
            ]
            await store.finish("r", {"answer": None, "stopped": "finished"}, {"samples": deep})
            samples = await store.samples_of("r")
            assert len(samples[-1].text) == samples[-1].total_tokens == 1500
            assert len((await store.render("r")).splitlines()) > 1500

    anyio.run(main)


# -- exported ---------------------------------------------------------------------------------------


def read(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_table(path).to_pylist()
    found = json.loads(path.read_text())
    return [s for run in (found if isinstance(found, list) else [found]) for s in run["samples"]]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_exports_hold_every_sample(tmp_path, suffix):
    url = str(tmp_path / "s.db")

    async def main():
        await solve(url, strategy=Steps())
        done = await solve(url, strategy=Vote(6))
        async with await open_store(url) as store:
            await store.begin("unfinished", {})
            path = tmp_path / f"out{suffix}"
            assert await store.export("all", path) == len(read(path)) == 14 + 6
            assert await store.export(done.run, path) == len(read(path)) == 6
            rows, samples = read(path), await store.samples_of(done.run)
            if suffix != ".json":
                assert all(tuple(row) == COLUMNS for row in rows)
                assert [row["text"] for row in rows] == [s.text for s in samples]
                assert {row["question"] for row in rows} == {"Which of 0, 1, 2?"}
            assert [int(row["tokens"]) for row in rows] == [s.tokens for s in samples]
            assert [float(row["logprob"]) for row in rows] == [s.logprob for s in samples]
            assert [p.name for p in tmp_path.glob(".*")] == []

    anyio.run(main)


def test_what_cannot_be_exported(tmp_path, monkeypatch):
    url = str(tmp_path / "s.db")

    async def main():
        await solve(url, strategy=Vote(2))
        async with await open_store(url) as store:
            with pytest.raises(BadInput, match=r"\.jsonl, \.json, \.csv, \.parquet"):
                await store.export("last", tmp_path / "out.xlsx")
            with pytest.raises(BadInput, match="does not exist"):
                await store.export("last", tmp_path / "nowhere" / "out.csv")
            monkeypatch.setitem(sys.modules, "pyarrow", None)
            with pytest.raises(MissingNeed, match=r"outthink\[parquet\]"):
                await store.export("last", tmp_path / "out.parquet")

    anyio.run(main)


# -- secrets ----------------------------------------------------------------------------------------


def test_no_key_is_ever_stored(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-environment")
    model = Toy()
    assert model.api_key.startswith("sk-planted")

    async def main():
        async with await open_store(str(tmp_path / "s.db")) as store:
            await solve(str(tmp_path / "s.db"), model)
            files = list(tmp_path.glob("s.db*"))
            assert len(files) >= 2, "the database and its log"
            for path in files:
                assert b"sk-planted" not in path.read_bytes(), path
            await store.export("all", tmp_path / "out.json")
            assert "sk-planted" not in (tmp_path / "out.json").read_text()

    anyio.run(main)


# -- what was stored by another run ----------------------------------------------------------------


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("filled", [0, 3, 8, 10])
def test_usage_does_not_depend_on_what_the_store_holds(tmp_path, native, filled):
    """A part of the samples is there, from a run that asked for fewer: the whole counts the same."""
    url = str(tmp_path / "s.db")

    async def main():
        model = {"native_n": native}
        if filled:
            await solve(url, Toy(**model), Vote(filled))
        budget = "calls=1" if native else "calls=10"
        mixed = await solve(url, Toy(**model), Vote(10), budget)
        plain = await solve(str(tmp_path / "t.db"), Toy(**model), Vote(10), budget)
        assert parts(mixed) == parts(plain)
        assert mixed.stopped == "finished"

    anyio.run(main)


def test_a_server_that_ignored_n_is_resumed_as_it_was(tmp_path):
    url = str(tmp_path / "s.db")

    async def main():
        first = await solve(url, Toy(native_n=True, gives=2), Vote(7))
        again = Toy(native_n=True, gives=2)
        second = await solve(url, again, Vote(7))
        assert again.calls == 0
        assert parts(first) == parts(second)
        assert second.usage.stored_calls == second.usage.calls == 6

    anyio.run(main)


def test_what_a_judge_wrote_is_told_from_samples(tmp_path):
    url = str(tmp_path / "s.db")

    async def main():
        async with Session("simulated(answer=7)", store=url) as session:
            await session.solve("3 + 4?", "best_of_n(n=3, verifier=judge)")
        async with await open_store(url) as store:
            await store.export("last", tmp_path / "s.jsonl")
            return await store.render("last")

    shown = anyio.run(main)
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    mine = [r for r in rows if r["role"] == "main"]
    assert len(mine) == 3
    assert {r["role"] for r in rows} == {"main", "judge"}
    assert all(r["answer"] == r["text"].split("answer: ")[1] for r in mine)
    assert all(r["answer"] is None for r in rows if r["role"] == "judge")
    assert shown.count("[judge") == len(rows) - 3


@pytest.mark.parametrize("held", [3, 6])
def test_what_the_store_gave_counts_when_the_call_is_cut(tmp_path, held):
    """Ended by a clock while the rest of a call is under way: the stored part was used."""
    url = str(tmp_path / "s.db")

    async def main():
        await solve(url, Toy(native_n=True), Vote(held))
        cut = await solve(url, Toy(native_n=True, latency=9.0), Vote(9), "seconds=1")
        tokens = sum(s.tokens for s in cut.candidates)
        assert len(cut.candidates) == held
        assert cut.stopped == "seconds"
        assert cut.usage.completion_tokens >= tokens > 0
        return cut.run

    anyio.run(main)


def test_what_another_strategy_used_of_a_run_is_counted(url):
    """A replay that ends where the store does still counts the samples that it had."""

    async def main():
        async with Session("simulated", store=url) as session:
            done = await session.solve("q?", "self_consistency(n=4)")
            async with await open_store(url) as store:
                other = (await replay(store, done.run, strategy="self_consistency(n=6)")).answer
        assert other.stopped == "store"
        assert len(other.candidates) == 4
        assert other.usage.completion_tokens == done.usage.completion_tokens
        assert any("does not hold sample 4, 5" in note for note in other.notes)

    anyio.run(main)


def test_leaving_early_costs_the_same_in_a_replay(url):
    """What was in flight when a strategy had seen enough was paid for, and is in the record."""

    @strategy("test_first_two")
    @dataclass(frozen=True)
    class FirstTwo:
        """The first two of five that finish."""

        async def __call__(self, problem, run):
            """Leave after two."""
            seen = []
            async with run.samples(5) as stream:
                async for sample in stream:
                    seen.append(sample)
                    run.propose(run.answer(await run.pool(seen), 0))
                    if len(seen) == 2:
                        break
            return run.answer(await run.pool(seen), 0)

    async def main():
        model = build("simulated(latency=0.1, spread=1.0)", "model")
        live = model.open()
        live.native_n = False
        async with Session(live, store=url) as session:
            done = await session.solve("q?", FirstTwo())
        async with await open_store(url) as store:
            again = await replay(store, done.run, strategy=FirstTwo(), model=model)
        assert done.usage.calls == 5
        usage = [d for d in again.differences if d.startswith("usage")]
        assert not usage

    try:
        anyio.run(main)
    finally:
        entries("strategy").pop("test_first_two")


@pytest.mark.parametrize(
    "strategy",
    ["first_finish(n=2)", "short_m(n=4, m=2)", "self_consistency(n=12, stop=beta, width=4)",
     "self_consistency(n=12, stop=window(size=3), width=8)"],
)  # fmt: skip
def test_a_race_is_replayed_in_the_order_in_which_its_samples_came(tmp_path, strategy):
    async def main():
        for seed in range(5):
            url = str(tmp_path / f"{seed}.db")
            model = f"simulated(accuracy=0.6, latency=0.003, spread=1.2, latency_seed={seed})"
            answer = await asolve("q?", model=model, strategy=strategy, seed=seed, store=url)
            store = await open_store(url)
            found = await replay(store, answer.run)
            await store.aclose()
            assert found.same, found.differences

    anyio.run(main)


@pytest.mark.parametrize("spec", ["value_of_computation(n=2)", "token_ensemble(models=[fly-xs])"])
def test_what_was_computed_inside_a_model_is_computed_again(tmp_path, spec):
    async def main():
        question = "Ada has 8 stamps. Jade has 4 fewer than Ada. How many stamps has Jade?"
        answer = await asolve(question, strategy=spec, store=str(tmp_path / "s.db"))
        store = await open_store(str(tmp_path / "s.db"))
        found = await replay(store, answer.run)
        await store.aclose()
        assert found.same, found.differences

    anyio.run(main)
