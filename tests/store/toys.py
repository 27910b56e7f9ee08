"""A model, a strategy and a reader for the store's tests; run as a program, one run or a writer."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from outthink import Budget
from outthink.api import asolve
from outthink.core.budget import Price
from outthink.core.errors import ServerFailed
from outthink.core.model import Generation, Reply
from outthink.core.nouns import text_of
from outthink.core.registry import strategy
from outthink.core.run import Record
from outthink.store import open_store


class Toy:
    """Answers 0, 1 or 2 as the seed says, after a while; writes a line for each call it is paid."""

    capabilities = frozenset({"PREFIX", "LOGPROBS", "SEEDS"})
    price = Price(prompt=1.5, completion=6.0, flops_per_token=2e6)

    def __init__(
        self, latency=0.0, log=None, native_n=False, gives=None, fails=(), retries=(), name="toy"
    ):
        self.latency, self.log, self.native_n, self.gives = latency, log, native_n, gives
        self.retries = set(retries)
        self.fails, self.name, self.max_tokens, self.calls = set(fails), name, 64, 0
        self.api_key = "sk-planted-0123456789"

    def count_tokens(self, messages, prefix=""):
        return 3 + sum(len(text_of(m.get("content"))) for m in messages) + len(prefix)

    def _line(self, word, seeds):
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{word} {' '.join(map(str, seeds))}\n")

    async def generate(self, request, ticket):
        self.calls += 1
        self._line("start", request.seeds)
        await asyncio.sleep(self.latency)
        if self.calls in self.retries:
            ticket.another_attempt()
        if self.calls in self.fails:
            raise ServerFailed("broken for a moment")
        seeds = request.seeds[: self.gives or request.n]
        self._line("end", seeds)
        made = tuple(
            Generation(f"seed {s} says {s % 3}", 5 + s % 7, logprob=-0.25 * (s % 9)) for s in seeds
        )
        prompt = self.count_tokens(request.messages, request.prefix)
        tokens = sum(g.tokens for g in made)
        return Reply(made, self.price.usage(prompt, tokens))

    async def aclose(self):
        pass


class LastWord:
    """The answer is the last word; equal words are equal answers."""

    def extract(self, text):
        return text.split()[-1] if text.split() else None

    async def group(self, answers):
        import numpy as np

        known = list(dict.fromkeys(a for a in answers if a is not None))
        return np.array([known.index(a) if a is not None else -1 for a in answers])


def decide(run, pool):
    import numpy as np

    counts = np.bincount(pool.classes + 1)[1:]
    if not len(counts):
        return run.answer(pool, 0)
    return run.answer(pool, int(np.argmax(pool.classes == int(np.argmax(counts)))))


@strategy("test_vote")
@dataclass(frozen=True)
class Vote:
    """Votes in rounds; how many samples a round has depends on the round before."""

    n: int = 8
    rounds: int = 1

    async def __call__(self, problem, run):
        """Sample in rounds and vote."""
        samples = []

        async def vote(some):
            return decide(run, await run.pool([*samples, *some]))

        for _ in range(self.rounds):
            more = await run.gather(self.n + len(samples) % 2, propose=vote)
            samples += more
        return await vote([])


@strategy("test_steps", needs=("PREFIX",))
@dataclass(frozen=True)
class Steps:
    """A small tree: two roots, each extended twice with two children."""

    async def __call__(self, problem, run):
        """Extend everything twice."""
        level = await run.extend([run.root(), run.root()], stop=("says",))
        run.propose(decide(run, await run.pool(level)))
        for _ in range(2):
            level = [s.__class__(**{**vars(s), "finish": "step"}) for s in level]
            level = await run.extend([s for s in level for _ in range(2)], stop=("says",))
        return decide(run, await run.pool(level))


def parts(answer):
    """What must repeat of an answer."""
    values = answer.to_json()
    usage = {k: v for k, v in values["usage"].items() if k not in ("seconds", "stored_calls")}
    usage = {k: round(v, 12) if isinstance(v, float) else v for k, v in usage.items()}
    names = ("answer", "text", "confidence", "distribution", "stopped", "notes")
    return {**{k: values[k] for k in names}, "usage": usage}


async def run_once(url, log, n, rounds, concurrency, latency, budget=None):
    return await asolve(
        "Which of 0, 1, 2?",
        model=Toy(latency, log),
        strategy=Vote(n, rounds),
        budget=Budget.parse(budget) if budget else None,
        seed=11,
        store=url,
        concurrency=concurrency,
        reader=LastWord(),
    )


async def write_many(url, who, count):
    """Write ``count`` keys of one's own and ``count`` that others write too; say what won."""
    store = await open_store(url)

    async def one(i, shared):
        name = f"shared-{i}" if shared else f"{who}-{i}"
        record = Record({"text": who, "tokens": 1}, {"calls": 1})
        await store.put("toy", f"request {i % 5}", {name: record})

    for at in range(0, count, 20):
        async with asyncio.TaskGroup() as tasks:
            for i in range(at, at + 20):
                tasks.create_task(one(i, True))
                tasks.create_task(one(i, False))
    won = {}
    for i in range(count):
        found = await store.get("toy", f"request {i % 5}", [f"shared-{i}"])
        won[i] = found[f"shared-{i}"].generation["text"]
    await store.aclose()
    return won


if __name__ == "__main__":
    what, url, *rest = sys.argv[1:]
    if what == "run":
        log, n, rounds, concurrency, latency = rest
        done = asyncio.run(
            run_once(url, log, int(n), int(rounds), int(concurrency), float(latency))
        )
        print(json.dumps(parts(done)))
    else:
        who, count = rest
        print(json.dumps(asyncio.run(write_many(url, who, int(count)))))
