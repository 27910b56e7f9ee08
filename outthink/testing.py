"""The laws that every strategy, model and verifier must keep, for ours and for yours.

    from outthink.testing import check_strategy, check_model, check_verifier

    def test_mine():
        check_strategy("my_strategy(n=4)")

Each function raises ``AssertionError`` with the name of the law that was broken.  They need no key, no
network and a few seconds: strategies are run on ``simulated``, whose calls can be shuffled, made to
fail and made to lie.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import anyio
import numpy as np

from outthink.api import asolve, needs_of
from outthink.core.budget import Budget, Meter, Reservation, Usage
from outthink.core.errors import (
    BadInput,
    BudgetExhausted,
    MissingNeed,
    ModelError,
    OutthinkError,
    ServerFailed,
)
from outthink.core.model import (
    HIDDEN,
    LOGITS,
    LOGPROBS,
    PREFIX,
    REWARD,
    SEEDS,
    Model,
    Reply,
    Request,
)
from outthink.core.nouns import Answer, Floats, Ints, Problem, Sample, Score, text_of
from outthink.core.registry import build, entries, spec_of
from outthink.core.run import Run, World
from outthink.lab.resample import Choose
from outthink.models.simulated import Simulated, words

T = TypeVar("T")

QUESTION = "Ada has 3 pens. Ben has 4 more than Ada. How many pens has Ben?"
#: tight and loose budgets on the model that strategies are checked on
BUDGETS = (
    "tokens=1", "tokens=40", "tokens=130", "total_tokens=100", "total_tokens=600", "calls=1",
    "calls=5", "seconds=0.03", "usd=0.0002", "flops=1e8", "tokens=100,calls=3",
)  # fmt: skip
GARBAGE = (
    "",
    "\x00",
    "\ud800 lone",
    "🙂" * 40,
    "answer:",
    "answer: \n\n",
    "no answer here",
    "((((",
)


def law(holds: bool, name: str, said: str) -> None:
    """Raise ``AssertionError`` that names the broken law."""
    if not holds:
        raise AssertionError(f"law '{name}' is broken: {said}")


class Ledger:
    """A model around a model: counts what is really asked of it and really written."""

    def __init__(self, inner: Model, without: frozenset[str] = frozenset()) -> None:
        self.inner, self.name, self.price = inner, inner.name, inner.price
        self.capabilities = inner.capabilities - without
        self.native_n, self.max_tokens = inner.native_n, inner.max_tokens
        self.requests: list[Request] = []
        self.written = self.calls = self.active = self.peak = self.largest = self.looks = 0
        for name in ("step", "thinking"):
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))

    @property
    def inside(self) -> Any:
        """The inner model's doors, where it has some; noted."""
        if not self.capabilities & {LOGITS, HIDDEN}:
            raise AttributeError("inside")
        self.looks += 1
        inner: Any = self.inner
        return inner.inside

    def count_tokens(self, messages: Sequence[Mapping[str, Any]], prefix: str = "") -> int:
        """As the inner model counts."""
        return self.inner.count_tokens(messages, prefix)

    async def generate(self, request: Request, ticket: Reservation) -> Reply:
        """Ask the inner model and note what it wrote."""
        self.requests.append(request)
        self.calls += 1
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            reply = await self.inner.generate(request, ticket)
        finally:
            self.active -= 1
        tokens = sum(g.tokens for g in reply.generations)
        self.written += tokens
        self.largest = max(self.largest, tokens)
        return reply

    async def aclose(self) -> None:
        """Close the inner model."""
        await self.inner.aclose()


class Hostile(Ledger):
    """A server that keeps no promise; ``vice`` says which one it breaks."""

    VICES = (
        "max_tokens", "n", "empty", "usage", "failures", "garbage", "silence", "refusal", "echo",
    )  # fmt: skip

    def __init__(self, inner: Model, vice: str) -> None:
        super().__init__(inner)
        self.vice = vice

    async def generate(self, request: Request, ticket: Reservation) -> Reply:
        """Answer with the vice."""
        if self.vice == "failures" and self.calls % 3 == 1:
            self.calls += 1
            raise ServerFailed("out of memory")
        if self.vice == "max_tokens":
            request = replace(request, max_tokens=10 * request.max_tokens, stop=())
        if self.vice == "n":
            request = replace(request, n=1, seeds=request.seeds[:1])
        reply = await super().generate(request, ticket)
        rows = reply.generations
        if self.vice == "empty":
            rows = tuple(replace(g, text="", finish="length") for g in rows)
        elif self.vice == "garbage":
            first = self.calls
            rows = tuple(
                replace(g, text=GARBAGE[(first + i) % len(GARBAGE)]) for i, g in enumerate(rows)
            )
        elif self.vice == "silence":
            rows = ()
        elif self.vice == "refusal":
            rows = tuple(replace(g, text="I cannot help with that.", finish="stop") for g in rows)
        elif self.vice == "echo":
            said = text_of(request.messages[-1].get("content"))
            rows = tuple(replace(g, text=f"{said}\n" * 3, finish="stop") for g in rows)
        usage = Usage() if self.vice == "usage" else reply.usage
        return Reply(rows, usage)


@dataclasses.dataclass
class Trial:
    """One run of a strategy, with what the outside saw of it."""

    answer: Answer | None
    error: BaseException | None
    ledger: Ledger
    texts: tuple[str, ...]
    proposals: int
    finished: int

    def facts(self) -> dict[str, Any]:
        """What must repeat: the answer and the usage, without the time and the run's name."""
        if self.answer is None:
            return {"error": repr(self.error)}
        values = self.answer.to_json()
        values.pop("run")
        values["usage"].pop("seconds")
        for name in ("usd", "flops"):  # sums of the same numbers in another order
            values["usage"][name] = float(f"{values['usage'][name]:.9g}")
        values["samples"] = sorted(self.texts)
        return values


def _alone(work: Callable[[], Awaitable[T]], law_name: str = "structured") -> T:
    """Run async work by itself and see that no task is left when it ends."""

    async def main() -> T:
        before = asyncio.all_tasks()
        result = await work()
        left = asyncio.all_tasks() - before
        law(not left, law_name, f"{len(left)} tasks were left behind: {left}")
        return result

    return anyio.run(main)


def _try(
    strategy: Any,
    ledger: Ledger,
    budget: str = "",
    *,
    seed: int = 0,
    concurrency: int | None = None,
    cancel_after: int | None = None,
    question: str = QUESTION,
) -> Trial:
    """Run a strategy on a ledger; an error is part of the result."""
    texts: list[str] = []
    proposals = finished = 0
    runs: list[Run] = []

    def observe(kind: str, data: Mapping[str, Any]) -> None:
        nonlocal proposals, finished
        proposals += kind == "proposal" and not (runs and runs[0]._reason)
        if kind == "sample":
            texts.append(f"{data['node']} {data['text']!r}")
            finished += data["finish"] != "step"
            if cancel_after is not None and len(texts) == cancel_after:
                runs[0].cancel("cancelled")

    async def work() -> Trial:
        answer, error = None, None
        try:
            answer = await asolve(
                question,
                model=ledger,
                strategy=strategy,
                budget=budget or None,
                seed=seed,
                concurrency=concurrency,
                observer=observe,
                on_start=runs.append,
            )
        except AssertionError:
            raise
        except Exception as caught:
            error = caught
        law(ledger.active == 0, "cancellation", f"{ledger.active} calls go on after the run's end")
        if runs:
            open_claims = runs[0].meter.outstanding
            law(open_claims == 0, "budget", f"{open_claims} reservations are open after the end")
        return Trial(answer, error, ledger, tuple(texts), proposals, finished)

    return _alone(work)


def _with_verifier(strategy: Any) -> Any:
    """A strategy that needs a verifier and was given none gets ``prm(simulated_prm)``."""
    if "VERIFIER" not in needs_of(strategy):
        return strategy
    for f in dataclasses.fields(strategy):
        empty = getattr(strategy, f.name) is None
        if f.metadata.get("kind") == "verifier" and empty and "prm" in entries("verifier"):
            return replace(strategy, **{f.name: build("prm(model=simulated_prm)", "verifier")})
    return strategy


def check_strategy(strategy: Any, model: Any = None) -> None:
    """Raise ``AssertionError`` when a strategy (a spec or an object) breaks a law.

    The laws: *spec* (its spec builds an equal object), *needs* (what it uses is declared, and asked for
    before the first call), *runs* (without a budget it ends with an answer), *budget* (no limit is
    exceeded and every call goes through the meter), *anytime* (cancelled at any point it ends at once,
    with its last proposal; before the last sample there is one), *determinism* (the same answer and
    usage whatever the order in which calls finish), *seed* (one seed decides, another seed draws
    anew), *n=1*, *hostile* (a server that keeps no promise costs at most one wave more and raises
    nothing but ``OutthinkError``).

    ``model`` is what it runs on: ``simulated``, or another model's spec (``"fly"`` for a strategy that
    needs LOGITS), whose calls finish in their own order.  A strategy whose rule is about finishing
    order says so with ``order_matters = True`` and is not held to *determinism*.
    """
    built = build(strategy, "strategy")
    spec = build(model if model is not None else "simulated(price=10, flops=1e6)", "model")
    _check_spec(built, "strategy")
    ready = _with_verifier(built)

    def ledger(order: int = 0, latency: float = 0.0, wide: bool = False) -> Ledger:
        timed = spec
        if isinstance(spec, Simulated):
            timed = replace(spec, latency=latency, latency_seed=order, spread=1.2)
        live = timed.open()
        live.native_n = not wide
        return Ledger(live)

    _check_needs(ready, spec)
    free = _try(ready, ledger())
    if free.error is not None:
        raise AssertionError("law 'runs' is broken: it fails without a budget") from free.error
    made = free.answer is not None and bool(free.answer.candidates and free.answer.text)
    law(made, "runs", "it ends without an answer: make one with run.answer")
    _check_budget(ready, ledger)
    _check_anytime(ready, ledger, len(free.texts))
    if not getattr(ready, "order_matters", False):
        _check_order(ready, ledger)
    _check_seed(ready, ledger)
    if any(f.name == "n" for f in dataclasses.fields(ready)):
        one = _try(replace(ready, n=1), ledger())
        law(one.error is None, "n=1", f"it fails with {one.error!r}")
    for vice in Hostile.VICES:
        _check_hostile(ready, spec, vice)
    _check_proposes(ready, ledger, len(free.texts))


def _check_spec(part: Any, kind: str) -> None:
    law(
        dataclasses.is_dataclass(part) and getattr(part, "registered", ("",))[0] == kind,
        "spec",
        f"{part!r} is not a registered dataclass: decorate it with @register({kind!r}, name)",
    )
    frozen: bool = type(part).__dataclass_params__.frozen
    law(frozen, "spec", "its dataclass is not frozen, so its parameters can change under a run")
    text = spec_of(part)
    law(build(text, kind) == part, "spec", f"{text} builds {build(text, kind)!r}, not {part!r}")


def _check_needs(strategy: Any, spec: Any) -> None:
    for need in (PREFIX, LOGPROBS, LOGITS):
        ledger = Ledger(spec.open(), frozenset({need}))
        trial = _try(strategy, ledger)
        if need in needs_of(strategy):
            law(
                isinstance(trial.error, MissingNeed) and not ledger.calls,
                "needs",
                f"on a model without {need} it must raise MissingNeed before the first call",
            )
        used = {
            PREFIX: any(r.prefix for r in ledger.requests),
            LOGPROBS: any(r.logprobs for r in ledger.requests),
            LOGITS: ledger.looks > 0,
        }
        law(
            not used[need],
            "needs",
            f"it asks for {need} and does not declare it: needs=({need!r},)",
        )


def _check_budget(strategy: Any, ledger: Callable[..., Ledger]) -> None:
    for budget in BUDGETS:
        for wide in (False, True):
            book = ledger(1, 0.004 if "seconds" in budget else 0.0, wide)
            trial = _try(strategy, book, budget)
            if trial.error is not None:
                raise AssertionError(
                    f"law 'budget' is broken: {budget} raises instead of ending"
                ) from trial.error
            assert trial.answer is not None
            usage = trial.answer.usage
            for limit, bound in Budget.parse(budget).limits().items():
                grace = 0.5 if limit == "seconds" else 1e-9 * bound
                spent = usage.amount(limit)
                law(spent <= bound + grace, "budget", f"{limit}={spent} were spent of {bound}")
            law(
                book.written <= usage.completion_tokens and book.calls <= usage.calls,
                "budget",
                f"the model wrote {book.written} tokens in {book.calls} calls, the meter saw "
                f"{usage.completion_tokens} in {usage.calls}: call models through the run",
            )


def _check_anytime(strategy: Any, ledger: Callable[..., Ledger], total: int) -> None:
    for after in sorted({1, 2, 3, max(1, total // 2), max(1, total - 1)}):
        trial = _try(strategy, ledger(2, 0.002, True), cancel_after=after)
        law(trial.error is None, "anytime", f"cancelled after {after} samples: {trial.error!r}")
        assert trial.answer is not None
        stopped = trial.answer.stopped
        law(
            stopped in ("cancelled", "finished"),
            "anytime",
            f"cancelled after {after} samples it says stopped={stopped!r}",
        )
        if trial.proposals:
            kept = bool(trial.answer.text or trial.answer.candidates)
            law(kept, "anytime", f"cancelled after {after} samples its last proposal is lost")


def _check_proposes(strategy: Any, ledger: Callable[..., Ledger], total: int) -> None:
    if total < 3:
        return
    trial = _try(strategy, ledger(2, 0.002, True), cancel_after=total - 1)
    answer = trial.answer
    if trial.finished > 1 and answer is not None and answer.stopped != "finished":
        law(
            bool(answer.text or answer.candidates),
            "anytime",
            f"cancelled before the last of {total} samples it has no answer: write "
            "run.gather(n, propose=...), or call run.propose after each round",
        )


def _check_order(strategy: Any, ledger: Callable[..., Ledger]) -> None:
    for budget in ("", "tokens=200", "calls=6"):
        first: dict[str, Any] | None = None
        for order, concurrency in ((0, 1), (1, 3), (2, 64), (3, 64)):
            facts = _try(
                strategy, ledger(order, 0.002, True), budget, concurrency=concurrency
            ).facts()
            first = first if first is not None else facts
            changed = [k for k in facts if facts[k] != first.get(k)]
            law(
                not changed,
                "determinism",
                f"{', '.join(changed)} depend on the order in which calls finish "
                f"(budget {budget or 'none'}): {_difference(first, facts, changed)}",
            )


def _difference(a: Mapping[str, Any], b: Mapping[str, Any], names: Sequence[str]) -> str:
    return "; ".join(f"{k}: {str(a.get(k))[:120]} / {str(b.get(k))[:120]}" for k in names[:2])


def _check_seed(strategy: Any, ledger: Callable[..., Ledger]) -> None:
    trials = [_try(strategy, ledger(), seed=seed) for seed in range(5)]
    again = _try(strategy, ledger(), seed=0)
    simulated = isinstance(getattr(trials[0].ledger.inner, "spec", None), Simulated)
    # who is first is decided by the clock, on a model that has a real one
    if simulated or not getattr(strategy, "order_matters", False):
        same = again.facts() == trials[0].facts()
        law(same, "seed", "the same seed gives another answer or usage")
    drawn = any(r.temperature > 0 for t in trials for r in t.ledger.requests)
    law(
        not drawn or len({t.texts for t in trials}) > 1,
        "seed",
        "five seeds give the same samples: draw through the run, or from run.rng()",
    )


def _check_hostile(strategy: Any, spec: Any, vice: str) -> None:
    limits = {"tokens": 150, "calls": 12}
    budget = ", ".join(f"{k}={v}" for k, v in limits.items())
    server = Hostile(spec.open(), vice)
    trial = _try(strategy, server, budget)
    law(trial.answer is None or isinstance(trial.answer.text, str), "hostile", f"{vice}: no text")
    if trial.error is not None and not isinstance(trial.error, OutthinkError):
        raise AssertionError(
            f"law 'hostile' is broken: a server with the vice {vice!r} makes it raise "
            f"{trial.error!r}, which is no OutthinkError"
        ) from trial.error
    law(server.calls <= limits["calls"], "hostile", f"{vice}: {server.calls} calls of 12")
    slack = server.peak * server.largest if vice == "max_tokens" else 0
    law(
        server.written <= limits["tokens"] + slack,
        "hostile",
        f"{vice}: {server.written} tokens of {limits['tokens']}, more than one wave beyond",
    )
    if trial.answer is not None:
        seen = trial.answer.usage.completion_tokens
        law(seen >= server.written, "hostile", f"{vice}: {seen} of {server.written} tokens charged")


def check_rule(rule: Choose, scores: Sequence[str] = (), seed: int = 0) -> None:
    """Raise ``AssertionError`` when a choosing rule breaks a law.

    A rule is a function ``(classes, scores, tokens, rng) -> place`` of samples in rows, ``(rows, n)``
    each, that gives the place of the chosen sample in each row, ``(rows,)``: what
    ``outthink.lab.resample.replay`` takes.  ``scores`` names the columns that it asks for.

    The laws: *place* (one place in range for each row), *n=1* (of one sample it chooses that),
    *answer* (a text without an answer is not chosen while another has one), *renaming* (the numbers of
    the classes mean nothing), *rows* (what is decided in one row does not depend on the others),
    *repeats* (the same call decides the same), *order* (another order of the samples chooses another
    class only where both have as many samples: a tie that the first wins).
    """
    rng = np.random.default_rng(seed)

    def choose(rows: tuple[Ints, Floats, Floats], which: Any = slice(None)) -> Ints:
        classes, columns, tokens = rows
        named = {name: columns[i][which] for i, name in enumerate(scores)}
        place = np.asarray(rule(classes[which], named, tokens[which], np.random.default_rng(seed)))
        count, n = classes[which].shape
        fine = place.shape == (count,) and np.issubdtype(place.dtype, np.integer)
        law(fine, "place", f"{count} rows give the shape {place.shape} of {place.dtype}")
        law(bool(((place >= 0) & (place < n)).all()), "place", f"places {place} of {n} samples")
        return place

    for n in (1, 2, 3, 5, 8, 13):
        shape = (40, n)
        classes = rng.integers(-1, rng.integers(1, 5), shape)
        columns = rng.uniform(0.01, 0.99, (max(len(scores), 1), *shape))
        tokens = rng.permuted(np.arange(2, 2 + shape[0] * n)).reshape(shape).astype(np.float64)
        rows = classes.astype(np.int64), columns, tokens
        place = choose(rows)
        if n == 1:
            law(not place.any(), "n=1", f"of one sample it chooses {place}")
        at = np.arange(len(place))
        chosen = classes[at, place]
        read = (classes >= 0).any(axis=1)
        law(bool((chosen[read] >= 0).all()), "answer", "a text without an answer was chosen")
        law(bool((choose(rows) == place).all()), "repeats", "the same call decides otherwise")
        alone = np.concatenate([choose(rows, slice(i, i + 1)) for i in range(8)])
        law(bool((alone == place[:8]).all()), "rows", "a row alone is decided otherwise")
        names = np.array([7, 3, 11, 2, 5])
        renamed = np.where(classes >= 0, names[classes], -1), columns, tokens
        law(bool((choose(renamed) == place).all()), "renaming", "renamed answers change the choice")
        turn = rng.permuted(np.tile(np.arange(n), (len(place), 1)), axis=1)
        moved: list[Any] = [np.take_along_axis(a, turn, axis=-1) for a in (rows[0], tokens)]
        shuffled = np.stack([np.take_along_axis(c, turn, axis=-1) for c in columns])
        second = moved[0][at, choose((moved[0], shuffled, moved[1]))]
        votes = (classes[:, :, None] == np.stack([chosen, second], axis=1)[:, None]).sum(axis=1)
        level = (chosen == second) | (votes[:, 0] == votes[:, 1])
        law(bool(level.all()), "order", "another order of the samples changes the choice")


def check_model(model: Any, question: str = QUESTION) -> None:
    """Raise ``AssertionError`` when a model (a spec, a part or an opened model) breaks a law.

    The laws: *spec*, *usage* (the counts are those of the texts), *max_tokens*, *stop* (a stop
    string ends the text and is not in it), *n* (n texts, which differ), and with the capability
    *seeds* (the same seed gives the same text, whatever is asked beside it), *prefix* (continuing a
    greedy text gives its rest), *logprobs*; *concurrency* (calls side by side give what they give
    alone) and *cancellation* (a cancelled call ends at once).  A model with REWARD is held to:
    a score in [0, 1] for each text, in order, the same in any company.
    """
    spec = None
    if isinstance(model, str) or not hasattr(model, "generate"):
        spec = build(model, "model")
        _check_spec(spec, "model")
    messages = Problem.of(question).messages

    async def main() -> None:
        live: Any = spec.open() if spec is not None else model
        try:
            if REWARD in live.capabilities:
                await _check_reward(live, messages)
            else:
                await _check_source(live, messages)
        finally:
            if spec is not None:
                await live.aclose()

    _alone(main)


def _ticket() -> Reservation:
    return Meter(Budget()).reserve(Usage(calls=1))


async def _check_source(live: Any, messages: tuple[Any, ...]) -> None:
    seeded = SEEDS in live.capabilities
    cap = min(live.max_tokens, 48)

    async def ask(**params: Any) -> Reply:
        n = params.get("n", 1)
        params.setdefault("seeds", tuple(range(11, 11 + n)))
        params.setdefault("max_tokens", cap)
        reply: Reply = await live.generate(Request(messages, **params), _ticket())
        return reply

    law(live.count_tokens(messages) > 0, "usage", "a prompt counts for no tokens")
    law(
        live.count_tokens(messages, "a few words more") > live.count_tokens(messages),
        "usage",
        "a prefix counts for no tokens",
    )
    reply = await ask(n=4)
    rows = reply.generations
    usage = reply.usage
    total = sum(g.tokens for g in rows)
    law(usage.calls == 1, "usage", f"one call counts as {usage.calls}")
    law(usage.completion_tokens == total, "usage", f"{usage.completion_tokens} is not {total}")
    law(
        usage.prompt_tokens <= live.count_tokens(messages),
        "usage",
        f"a prompt counted as {live.count_tokens(messages)} was charged as {usage.prompt_tokens}",
    )
    if live.native_n:
        law(len(rows) == 4, "n", f"{len(rows)} texts for n=4")
    if len(rows) > 1 and len({g.text for g in rows}) == 1:  # it may be very sure of itself
        hot = (await ask(n=4, temperature=2.0)).generations
        law(len({g.text for g in hot}) > 1, "n", "four samples at temperature 2 are one text")
    for limit in (1, 2, 7):
        row = (await ask(max_tokens=limit)).generations[0]
        law(row.tokens <= limit, "max_tokens", f"{row.tokens} tokens where {limit} are allowed")
        law(row.finish in ("length", "stop"), "max_tokens", f"it ends with {row.finish!r}")
    greedy = (await ask(temperature=0.0)).generations[0]
    await _check_stop(ask, greedy.text)
    if seeded:
        alone = [(await ask(seeds=(seed,))).generations[0].text for seed in (11, 12, 13, 14)]
        law([g.text for g in rows] == alone[: len(rows)], "seeds", "n=4 differs from four calls")
        law((await ask()).generations[0].text == alone[0], "seeds", "a seed gives two texts")
        side: dict[int, str] = {}

        async def one(seed: int) -> None:
            side[seed] = (await ask(seeds=(seed,))).generations[0].text

        async with anyio.create_task_group() as tasks:
            for seed in (14, 12, 13, 11):
                tasks.start_soon(one, seed)
        law([side[s] for s in (11, 12, 13, 14)] == alone, "concurrency", "beside others it differs")
    if PREFIX in live.capabilities:
        short = (await ask(temperature=0.0, max_tokens=max(1, greedy.tokens // 2))).generations[0]
        rest = await ask(temperature=0.0, prefix=short.text, max_tokens=cap - short.tokens)
        joined = short.text + rest.generations[0].text
        law(joined == greedy.text, "prefix", f"{joined!r} in two parts, {greedy.text!r} in one")
    if LOGPROBS in live.capabilities:
        row = (await ask(logprobs=True)).generations[0]
        law(row.logprobs is not None, "logprobs", "none came when asked for")
        assert row.logprobs is not None
        law(len(row.logprobs) == row.tokens, "logprobs", "not one for each token")
        law(bool((np.asarray(row.logprobs) <= 1e-6).all()), "logprobs", "a probability above one")
        said = row.logprob if row.logprob is not None else math.nan
        law(abs(said - float(row.logprobs.sum())) < 1e-3, "logprobs", "their sum is another")
    ticket = _ticket()
    with anyio.move_on_after(1e-4):
        await live.generate(Request(messages, n=4, max_tokens=cap, seeds=(1, 2, 3, 4)), ticket)
    started = anyio.current_time()
    with anyio.move_on_after(0.001):
        await ask(n=4)
    took = anyio.current_time() - started
    law(took < 2.0, "cancellation", f"a cancelled call took {took:.1f} s to end")


async def _check_stop(ask: Callable[..., Awaitable[Reply]], text: str) -> None:
    for mark in dict.fromkeys([*[w.strip() for w in words(text)[1:4]], "\n"]):
        if not mark or mark not in text:
            continue
        row = (await ask(temperature=0.0, stop=(mark,))).generations[0]
        law(mark not in row.text, "stop", f"{mark!r} is in the text {row.text!r}")
        law(text.startswith(row.text), "stop", f"{row.text!r} is not the beginning of {text!r}")
        law(row.finish in ("step", "unknown"), "stop", f"it ends with {row.finish!r}")
        if row.finish == "step":
            law(row.stopped_by == mark, "stop", f"stopped by {mark!r}, it says {row.stopped_by!r}")


async def _check_reward(live: Any, messages: tuple[Any, ...]) -> None:
    from outthink.core.model import Judged

    texts = ["3 + 4 = 7\n", "3 + 4 = 7\nanswer: 7\n", "3 + 4 = 8\nanswer: 8\n", "nothing"]
    items = [Judged(messages, text) for text in texts]
    together, usage = await live.reward(items, _ticket())
    law(len(together) == len(texts), "reward", f"{len(together)} scores for {len(texts)} texts")
    for steps in together:
        law(len(steps) > 0, "reward", "a text has no score")
        law(all(0 <= s <= 1 for s in steps), "reward", f"{steps} are not in [0, 1]")
    calls = math.ceil(len(texts) / (getattr(live, "per_call", None) or len(texts)))
    law(usage.calls == calls, "usage", f"{usage.calls} calls are counted where {calls} were made")
    worst = sum(live.count_tokens(messages, text) for text in texts)
    law(0 < usage.prompt_tokens <= worst, "usage", f"{usage.prompt_tokens} tokens of {worst}")
    for item, steps in zip(items, together, strict=True):
        alone, _ = await live.reward([item], _ticket())
        law(bool(np.allclose(alone[0], steps, atol=1e-4)), "reward", "company changes a score")


def check_verifier(verifier: Any, texts: Sequence[str] = (), question: str = QUESTION) -> None:
    """Raise ``AssertionError`` when a verifier (a spec or an object) breaks a law.

    The laws: *spec*; *scores* (a finite number for each sample, in order, garbage included),
    *company* (a sample's score does not depend on those beside it), *budget* (what it calls goes
    through the run's meter) and *structured* (no task is left behind).
    """
    from outthink.api import Session, parts_of
    from outthink.verify.extract import reader_for

    built = build(verifier, "verifier")
    _check_spec(built, "verifier")
    problem = Problem.of(question)
    shown = (*texts, "3 + 4 = 7\nanswer: 7\n", "3 + 4 = 8\nanswer: 8\n", *GARBAGE)
    samples = [
        Sample((i,), text, Sample((i,)), "stop", len(words(text)), messages=problem.messages)
        for i, text in enumerate(shown)
    ]

    async def main() -> None:
        async with Session("simulated") as session:
            opened: dict[Any, Any] = {"main": session.model}
            for spec in parts_of(built, "model"):
                opened[spec] = spec.open()

            def run(budget: str = "") -> Run:
                world = World(opened, reader_for(problem, None))
                return Run(problem, world, Meter(Budget.parse(budget)))

            live = run()
            together: list[Score] = await built(problem, samples, live)
            law(len(together) == len(samples), "scores", f"{len(together)} for {len(samples)}")
            for text, score in zip(shown, together, strict=True):
                law(math.isfinite(score.value), "scores", f"{score.value} for {text!r}")
            for sample, score in list(zip(samples, together, strict=True))[:4]:
                alone = (await built(problem, [sample], run()))[0]
                same = abs(alone.value - score.value) < 1e-4
                law(same, "company", f"{alone.value} alone, {score.value} beside others")
            if live.meter.spent.total_tokens:
                tight = run("total_tokens=1")
                with contextlib.suppress(BudgetExhausted, ModelError):
                    await built(problem, samples, tight)
                spent = tight.meter.spent.total_tokens
                law(spent <= 1, "budget", f"{spent} tokens were spent of 1")
            for spec in parts_of(built, "model"):
                await opened[spec].aclose()

    _alone(main)


def check_inside(model: Any, question: str = QUESTION, tolerance: float = 1e-3) -> None:
    """Raise ``AssertionError`` when the inside of a model (a spec, a model or an ``Inside``) breaks a law.

    Two ways to one number may differ by ``tolerance`` (absolute, for logits and log-probabilities;
    relative to the largest for hidden states): a model in bfloat16 needs a wider one than 1e-3.

    The laws: *tokens* (a text comes back from its ids), *logits* (those of a beginning do not depend on
    what follows), *states* (reading in parts, token by token or in a batch gives what reading at once
    gives; going on from a state leaves it and its forks as they are), *score* (the log-softmax of the
    logits), *hidden* (the head makes the logits of layer -1, and of the last layer after the norm),
    *attention* (rows sum to one and look back only), *steer* (what is added to a layer is there, and
    goes on with the state), *write* (bias and processors in their order decide what is drawn; a seed
    decides a text, alone and in company; log-probabilities are the model's own; stop strings and
    limits hold) and *errors* (``BadInput`` for what is not there).
    """
    from outthink.models.inside import Inside

    if isinstance(model, str) or hasattr(model, "open"):
        model = build(model, "model").open()
    inside: Any = getattr(model, "inside", model)
    law(isinstance(inside, Inside), "inside", f"{inside!r} lacks some of the doors of Inside")
    ids = tuple(inside.prompt(Problem.of(question).messages))[: max(4, inside.context // 2)]
    law(len(ids) >= 4, "tokens", f"the prompt of {question!r} has {len(ids)} ids: ask more")
    law(all(0 <= i < inside.vocabulary for i in ids), "tokens", "a prompt is not of the vocabulary")
    law(all(0 <= i < inside.vocabulary for i in inside.ends), "tokens", "an end is not in it")
    text = inside.decode(inside.encode(question))
    law(text.strip() == question.strip(), "tokens", f"{question!r} comes back as {text!r}")
    _check_states(inside, ids, tolerance)
    _check_layers(inside, ids, tolerance)
    _check_writing(inside, ids, tolerance)
    _check_inside_errors(inside, ids)


def _near(name: str, found: Any, wanted: Any, tolerance: float, said: str) -> None:
    a, b = np.asarray(found), np.asarray(wanted)
    law(a.shape == b.shape, name, f"{said}: the shapes are {a.shape} and {b.shape}")
    law(a.dtype == np.float64, name, f"{said}: {a.dtype} is not float64")
    gap = float(np.abs(a - b).max(initial=0.0))
    law(gap <= tolerance, name, f"{said}: they differ by {gap:.2g}, more than {tolerance:g}")


def _check_states(inside: Any, ids: tuple[int, ...], tolerance: float) -> None:
    from outthink.models.inside import log_softmax

    logits = inside.logits(ids)
    law(logits.shape == (len(ids), inside.vocabulary), "logits", f"their shape is {logits.shape}")
    law(bool(np.isfinite(logits).all()), "logits", "some are not finite")
    half = len(ids) // 2
    _near("logits", inside.logits(ids[:half]), logits[:half], tolerance, "the beginning alone")
    state = inside.read(ids[:1])
    for at in range(1, len(ids)):
        _near("states", state.logits, logits[at - 1], tolerance, f"token by token, at {at}")
        (state,) = inside.advance([state], [ids[at]])
    law(tuple(state.ids) == ids, "states", f"what was read is {state.ids}, not {ids}")
    _near("states", state.logits, logits[-1], tolerance, "token by token")
    first = inside.read(ids[:half])
    parts = inside.read(ids[half:], first)
    law(tuple(parts.ids) == ids, "states", f"read in two parts it is {parts.ids}, not {ids}")
    _near("states", parts.logits, logits[-1], tolerance, "read in two parts")
    a, b = ids[0], next((i for i in ids if i != ids[0]), ids[0])
    fork, before = state.fork(), state.logits.copy()
    law(inside.advance([], []) == [], "states", "no states give some")
    mixed = inside.advance([state, fork, first, state], [a, b, a, b])
    for found, wanted in zip(
        mixed, ((*ids, a), (*ids, b), (*ids[:half], a), (*ids, b)), strict=True
    ):
        law(tuple(found.ids) == wanted, "states", f"in a batch {wanted} became {found.ids}")
        _near("states", found.logits, inside.logits(wanted)[-1], tolerance, "in a batch")
    again = inside.advance(mixed[:2], [b, a])
    for kept in (state, fork):
        law(tuple(kept.ids) == ids, "states", "going on from a fork changed another")
        _near("states", kept.logits, before, 0.0, "going on from a fork changed another")
    late = inside.advance([mixed[1], mixed[0], fork], [a, b, a])
    for found, wanted in ((again[0], (*ids, a, b)), (late[0], (*ids, b, a)), (late[2], (*ids, a))):
        law(tuple(found.ids) == wanted, "states", f"of a fork: {found.ids}, not {wanted}")
        _near("states", found.logits, inside.logits(wanted)[-1], tolerance, "a fork of a fork")
    own = log_softmax(logits)[np.arange(half - 1, len(ids) - 1), list(ids[half:])]
    _near("score", inside.score(ids[:half], ids[half:]), own, tolerance, "a given text")
    law(inside.score(ids, ()).shape == (0,), "score", "an empty text has a score")


def _check_layers(inside: Any, ids: tuple[int, ...], tolerance: float) -> None:
    logits, last = inside.logits(ids), inside.layers
    shape = (len(ids), inside.width)
    for layer in range(-1, last + 1):
        found = inside.hidden(ids, layer)
        law(found.shape == shape, "hidden", f"layer {layer} has shape {found.shape}, not {shape}")
        law(bool(np.isfinite(found).all()), "hidden", f"layer {layer} is not finite")
        short = inside.hidden(ids[:2], layer)
        scale = tolerance * max(1.0, float(np.abs(found).max()))
        _near("hidden", short, found[:2], scale, f"layer {layer} of a beginning")
        if layer in (-1, last):
            _near(
                "hidden", inside.lens(found, layer), logits, tolerance, f"the lens of layer {layer}"
            )
    back = np.triu(np.ones((len(ids), len(ids)), bool), 1)
    for block in range(last):
        look = inside.attention(ids, block)
        wanted = (inside.heads, len(ids), len(ids))
        law(look.shape == wanted, "attention", f"block {block} has {look.shape}, not {wanted}")
        law(bool((look >= 0).all()), "attention", f"block {block} has negative weights")
        law(not look[:, back].any(), "attention", f"block {block} looks ahead")
        _near("attention", look.sum(axis=2), np.ones(wanted[:2]), tolerance, "the sum of a row")
    for layer in sorted({0, last // 2, last}):
        plain = inside.hidden(ids, layer)
        vector = np.random.default_rng(layer).normal(size=inside.width) * np.abs(plain).mean()
        steer = {layer: vector}
        scale = tolerance * max(1.0, float(np.abs(plain).max()))
        _near(
            "steer", inside.hidden(ids, layer, steer=steer), plain + vector, scale, f"layer {layer}"
        )
        wanted = inside.logits(ids, steer=steer)
        moved = float(np.abs(wanted - logits).max())
        law(moved > 0, "steer", f"layer {layer}: the logits do not move")
        (found,) = inside.advance([inside.read(ids[:-1], steer=steer)], ids[-1:])
        _near("steer", found.logits, wanted[-1], tolerance, f"layer {layer}, going on")
        beside = inside.advance(
            [inside.read(ids[:-1]), inside.read(ids[:-1], steer=steer)], ids[-1:] * 2
        )
        _near("steer", beside[0].logits, logits[-1], tolerance, "beside a steered text")
        _near("steer", beside[1].logits, wanted[-1], tolerance, "beside a plain text")
    _near("steer", inside.logits(ids), logits, 0.0, "when it is over")


def _check_writing(inside: Any, ids: tuple[int, ...], tolerance: float) -> None:
    a = next(i for i in ids if i not in inside.ends)
    b = next((i for i in ids if i not in inside.ends and i != a), a)
    most = min(8, inside.context - len(ids) - 1)

    def write(**params: Any) -> list[Any]:
        params.setdefault("max_tokens", most)
        rows: list[Any] = inside.write(ids, **params)
        law(len(rows) == params.get("n", 1), "write", f"{len(rows)} texts for {params.get('n', 1)}")
        for row in rows:
            law(1 <= len(row.ids) <= params["max_tokens"], "write", f"{len(row.ids)} tokens")
            own = inside.score(ids, row.ids)
            _near("write", row.logprobs, own, tolerance, "log-probabilities and the model's own")
            ended = {"stop": row.ids[-1] in inside.ends, "step": row.stopped_by is not None}
            fine = ended.get(row.finish, len(row.ids) == params["max_tokens"])
            law(fine, "write", f"it ends with {row.finish!r}")
        return rows

    (greedy,) = write(temperature=0.0)
    for at, token in enumerate(greedy.ids):
        best = inside.logits((*ids, *greedy.ids[:at]))[-1]
        gap = float(best.max() - best[token])
        law(gap <= tolerance, "write", "at temperature 0 it does not take the likeliest token")
    (on,) = inside.write(inside.read(ids), max_tokens=most, temperature=0.0)
    law(on.ids == greedy.ids, "write", "after a state it differs from after its ids")
    rows = write(n=4, temperature=20.0)
    law(len({r.ids for r in rows}) > 1, "write", "four seeds at temperature 20 are one text")
    seeds = (3, 1, 0, 2)
    mixed = write(n=4, seeds=seeds, temperature=20.0)
    law([m.ids for m in mixed] == [rows[s].ids for s in seeds], "write", "a seed gives two texts")
    alone = write(seeds=(2,), temperature=20.0)[0]
    law(alone.ids == rows[2].ids, "write", "a text depends on those beside it")
    for much in (1e6, math.inf):
        forced = write(bias={a: much})[0]
        law(set(forced.ids) == {a}, "write", f"with a bias of {much:g} it draws {forced.ids}")
    taken = write(n=4, temperature=20.0, bias={rows[0].ids[0]: -math.inf})
    law(rows[0].ids[0] not in {i for t in taken for i in t.ids}, "write", "-inf forbids nothing")
    seen: list[tuple[tuple[int, ...], float, float]] = []

    def first(read: tuple[int, ...], logits: Any) -> Any:
        seen.append((tuple(read), float(logits[a]), float(inside.read(read).logits[a])))
        logits[:] = -math.inf
        logits[b] = 7.0
        return logits

    def second(read: tuple[int, ...], logits: Any) -> Any:
        law(logits[b] == 7.0, "write", "a processor does not get what the one before it gave")
        return logits

    (led,) = write(bias={a: 2.5}, processors=(first, second), max_tokens=min(3, most))
    law(set(led.ids) == {b}, "write", f"a processor that leaves {b} only gets {led.ids}")
    for at, (read, given, own) in enumerate(seen):
        law(read == (*ids, *led.ids[:at]), "write", "a processor sees other ids than were read")
        law(abs(given - own - 2.5) <= tolerance, "write", "a processor does not see the bias")
    mark = inside.decode(greedy.ids)[:1]
    if mark:
        (cut,) = write(temperature=0.0, stop=(mark,))
        law(
            cut.finish == "step" and cut.stopped_by == mark, "write", f"it passes the stop {mark!r}"
        )
        law(mark not in cut.text, "write", f"the stop {mark!r} is in the text {cut.text!r}")


def _check_inside_errors(inside: Any, ids: tuple[int, ...]) -> None:
    state, wide = inside.read(ids), np.zeros(inside.width + 1)
    long = ids[:1] * (inside.context + 1)
    bad: dict[str, Callable[[], Any]] = {
        "no ids": lambda: inside.logits(()),
        "no ids to score after": lambda: inside.score((), ids),
        "no ids to read": lambda: inside.read((), state),
        "an id beyond the vocabulary": lambda: inside.logits((*ids, inside.vocabulary)),
        "a negative id": lambda: inside.read((*ids, -1)),
        "a text for ids": lambda: inside.logits("ids"),
        "a token beyond the vocabulary": lambda: inside.advance([state], [inside.vocabulary]),
        "fewer tokens than states": lambda: inside.advance([state, state], ids[:1]),
        "too many ids": lambda: inside.hidden(long),
        "too many ids after a state": lambda: inside.read(long[1:], state),
        "a text too long to score": lambda: inside.score(ids, long[1:]),
        "no room to write": lambda: inside.write(long[1:]),
        "a layer beyond the last": lambda: inside.hidden(ids, inside.layers + 1),
        "a layer below -1": lambda: inside.hidden(ids, -2),
        "a block beyond the last": lambda: inside.attention(ids, inside.layers),
        "hidden states of another width": lambda: inside.lens(wide),
        "a vector of another width": lambda: inside.read(ids, steer={0: wide}),
        "a vector at an unknown layer": lambda: inside.logits(
            ids, steer={inside.layers + 1: wide[1:]}
        ),
        "a bias beyond the vocabulary": lambda: inside.write(ids, bias={inside.vocabulary: 1.0}),
        "fewer seeds than texts": lambda: inside.write(ids, n=2, seeds=(1,)),
        "no texts": lambda: inside.write(ids, n=0),
        "no tokens": lambda: inside.write(ids, max_tokens=0),
        "a negative temperature": lambda: inside.write(ids, temperature=-1.0),
        "an empty stop string": lambda: inside.write(ids, stop=("",)),
        "a processor of another shape": lambda: inside.write(
            ids, processors=(lambda read, logits: logits[1:],)
        ),
        "a processor that forbids all": lambda: inside.write(
            ids, processors=(lambda read, logits: logits - math.inf,)
        ),
    }
    for name, act in bad.items():
        try:
            act()
        except BadInput:
            continue
        except Exception as error:
            raise AssertionError(f"law 'errors' is broken: {name} raises {error!r}") from error
        law(False, "errors", f"{name}: no BadInput")
