"""``simulated``: samplers with known truth, for tests and for planning on paper.

A text has ``steps`` lines ``step i: ... value`` and the line ``answer: N``.  With ``p`` the chance
that a sample of this problem is right, each step keeps to the truth with ``p^(1/steps)``; a wrong
step falls into one of ``wrong`` classes and stays there, so wrong answers meet as those of real
models do.  ``p`` is drawn for each problem from the Beta distribution of mean ``accuracy`` and
intra-class correlation ``rho = correlation``:

    p ~ Beta(m (1 - rho) / rho, (1 - m) (1 - rho) / rho)

so the samples of a problem are beta-binomial; ``rho = 0`` is ``p = accuracy`` everywhere, ``rho = 1``
makes every problem all right or all wrong.  Everything written is a function of (problem, seed of the
sample): it repeats whatever the concurrency.  The truth is a function of the problem alone, so that
``simulated_prm`` knows it too.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np

from outthink.core.budget import Price, Reservation, Usage
from outthink.core.errors import BadInput, Refused, ServerFailed
from outthink.core.model import (
    LOGPROBS,
    PREFIX,
    REWARD,
    SEEDS,
    Generation,
    Judged,
    Reply,
    Request,
    falling,
    reading,
)
from outthink.core.nouns import Floats, Message, text_of
from outthink.core.registry import register, spec_of

#: what stands between the number of a step and its value: the seed's choice, without meaning
FILLER = ("so", "then", "next", "now", "thus", "hence", "here", "well")

_WORD = re.compile(r"\s*\S+\s*|\s+")
_NORMAL = NormalDist()


def _tops(logprobs: Floats, k: int) -> Floats:
    """The ``k`` likeliest at each place: what was drawn, and others as likely that share the rest."""
    rows = list[list[float]]()
    for drawn in logprobs:
        p = math.exp(drawn)
        others = min(max(round((1 - p) / p), 1), 1000) if p < 1 else 0
        share = math.log((1 - p) / others) if others else -math.inf
        rows.append([drawn] + [share] * min(others, k))
    return falling(rows, k)


def question_of(messages: Sequence[Message]) -> str:
    """The problem that a chat is about: its first user message."""
    for message in messages:
        if message["role"] == "user":
            return text_of(message.get("content")).strip()
    return text_of(messages[-1].get("content")).strip()


def draw(*key: Any) -> float:
    """A uniform number in [0, 1) that is a function of ``key``."""
    text = "\x1f".join(map(str, key))
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / float(1 << 53)


def normal(*key: Any) -> float:
    """A standard normal number that is a function of ``key``."""
    return _NORMAL.inv_cdf(min(max(draw(*key), 1e-12), 1 - 1e-12))


@dataclass(frozen=True)
class Truth:
    """What is right for a problem: the value of each step, and the answer."""

    question: str
    answer: str | int | None = None

    def value(self, step: int, klass: int = 0) -> str:
        """The value of a step in a class; class 0 is right."""
        return str(100 + int(900 * draw("value", self.question, step)) + klass)

    def final(self, klass: int = 0) -> str:
        """The answer of a class; class 0 is right."""
        if self.answer is None:
            return str(100 + int(900 * draw("answer", self.question)) + klass)
        try:
            return str(int(self.answer) + klass)
        except ValueError:
            return str(self.answer) + (f" (wrong {klass})" if klass else "")

    def class_of(self, line: str, step: int, wrong: int) -> int | None:
        """The class that a line is in; ``None`` when it holds no value."""
        name, colon, rest = line.partition(":")
        if name.strip() == "answer" and colon and rest.strip():
            said = rest.strip()
            return next((k for k in range(wrong + 1) if self.final(k) == said), wrong)
        words = line.split()
        if len(words) > 2 and words[0] == "step" and words[-1].isdigit():
            off = int(words[-1]) - int(self.value(step))
            return off if 0 <= off <= wrong else wrong
        return None


def right_answer(question: str | Sequence[Message], answer: str | int | None = None) -> str:
    """The right answer to a problem, as ``simulated`` has it."""
    text = question.strip() if isinstance(question, str) else question_of(question)
    return Truth(text, answer).final()


@register("model", "simulated")
@dataclass(frozen=True)
class Simulated:
    """Writes steps and an answer whose truth is known, with dials for how often it is right.

    ``accuracy``: mean chance that a sample is right.  ``correlation``: of the samples of one problem,
    0 to 1.  ``wrong``: classes of wrong answers, of which the first draws the share ``preferred``.
    ``steps``, ``tokens``: lines before the answer, and tokens of each.  ``latency``: mean seconds of a
    call, log-normal with ``spread`` and drawn from ``latency_seed``, which changes no text;
    ``token_seconds``: more for each token.  ``price``: USD per million tokens; ``flops`` per token.
    ``failures``: chance that an attempt fails, made again up to ``retries`` times.  ``answer``: the
    right answer to everything; without it, a hash of the problem.
    """

    accuracy: float = 0.6
    correlation: float = 0.0
    wrong: int = 5
    preferred: float = 0.4
    steps: int = 3
    tokens: int = 8
    latency: float = 0.0
    spread: float = 0.5
    latency_seed: int = 0
    token_seconds: float = 0.0
    price: float = 0.0
    flops: float = 2e6
    failures: float = 0.0
    retries: int = 0
    answer: str | int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("accuracy", "correlation", "preferred", "failures"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"simulated: {name}={getattr(self, name)} must be from 0 to 1")
        for name in ("latency", "spread", "token_seconds", "price", "flops", "steps", "retries"):
            if not 0 <= getattr(self, name) < math.inf:
                raise BadInput(f"simulated: {name}={getattr(self, name)} must be at least 0")
        if self.steps > 10_000 or self.retries > 10_000 or self.spread > 10:
            raise BadInput("simulated: steps and retries are at most 10000, spread at most 10")
        for name, least in (("wrong", 1), ("tokens", 3)):
            if not least <= getattr(self, name) <= 10_000:
                raise BadInput(f"simulated: {name}={getattr(self, name)} must be {least} to 10000")

    def open(self) -> SimulatedModel:
        """The running model."""
        return SimulatedModel(self)


class SimulatedModel:
    """The live ``simulated``."""

    capabilities = frozenset({PREFIX, LOGPROBS, SEEDS})
    native_n = True
    #: what ends a step
    step = "\n"

    def __init__(self, spec: Simulated) -> None:
        self.spec = spec
        # what changes no text is no part of the name, under which texts are stored
        self.name = spec_of(
            replace(spec, latency=0.0, spread=0.5, latency_seed=0, token_seconds=0.0)
        )
        self.price = Price(spec.price, spec.price, flops_per_token=spec.flops)
        self.max_tokens = max(64, (spec.steps + 2) * spec.tokens)
        #: calls in flight, and calls ever begun
        self.active = self.begun = 0

    def chance(self, question: str) -> float:
        """The chance that a sample of this problem is right."""
        return _chance(self.spec.accuracy, self.spec.correlation, f"{self.spec.seed}/{question}")

    def count_tokens(self, messages: Sequence[Message], prefix: str = "") -> int:
        """Prompt tokens, exactly: words with the space after them."""
        return max(1, sum(len(words(text_of(m.get("content")))) for m in messages)) + len(
            words(prefix)
        )

    async def generate(self, request: Request, ticket: Reservation) -> Reply:
        """Write ``n`` texts after the simulated latency; a cancelled call costs what it had written."""
        question = question_of(request.messages)
        seeds = (*request.seeds, *(int(1e9 * draw("seed", i)) for i in range(request.n)))
        seeds = seeds[: request.n]
        rows = []
        for seed in seeds:
            rows.append(self._write(question, request, seed))
            if len(rows) % 64 == 0:
                await anyio.lowlevel.checkpoint()
        prompt = self.count_tokens(request.messages, request.prefix)
        delay = self._delay(question, request, seeds) + self.spec.token_seconds * max(
            (row.tokens for row in rows), default=0
        )
        started = time.monotonic()
        self.active += 1
        self.begun += 1
        try:
            ticket.partial = self.price.usage(prompt, 0)
            await anyio.sleep(delay)
            for attempt in range(self.spec.retries + 1):
                if draw("fail", self.spec.seed, question, request.prefix, seeds, attempt) >= (
                    self.spec.failures
                ):
                    break
                if attempt == self.spec.retries:
                    ticket.partial = None
                    raise ServerFailed("the simulated server failed, as its dial says")
                ticket.another_attempt()
                await anyio.sleep(delay)
        except ServerFailed:
            raise
        except BaseException:
            share = min((time.monotonic() - started) / delay, 1.0) if delay > 0 else 0.0
            written = sum(int(share * row.tokens) for row in rows)
            ticket.partial = self.price.usage(prompt, written)
            raise
        finally:
            self.active -= 1
        return Reply(tuple(rows), self.price.usage(prompt, sum(row.tokens for row in rows)))

    def _delay(self, question: str, request: Request, seeds: tuple[int, ...]) -> float:
        spec = self.spec
        if not spec.latency:
            return 0.0
        z = normal("latency", spec.latency_seed, question, request.prefix, seeds)
        return spec.latency * math.exp(spec.spread * z - spec.spread**2 / 2)

    def _write(self, question: str, request: Request, seed: int) -> Generation:
        """One continuation of the prefix: words until the end, a stop string or ``max_tokens``."""
        own: int | str = "greedy" if request.temperature == 0 else seed
        text, finish = "", "stop"
        logprobs: list[float] = []
        starts: list[int] = []
        for word, logprob in self._words(question, request.prefix, own):
            if len(logprobs) >= request.max_tokens:
                finish = "length"
                break
            starts.append(len(text))
            text += word
            logprobs.append(logprob)
            met = [(text.find(s), s) for s in request.stop if s and s in text]
            if met:
                at, stop = min(met)
                text, finish = text[:at], "step"
                break
        kept = np.array(logprobs, dtype=np.float64)
        return Generation(
            text=text,
            tokens=len(logprobs),
            finish=finish,
            stopped_by=stop if finish == "step" else None,
            logprob=float(kept.sum()),
            logprobs=kept if request.logprobs else None,
            top_logprobs=_tops(kept, request.top_logprobs) if request.top_logprobs else None,
        )

    def _words(self, question: str, prefix: str, seed: int | str) -> Iterator[tuple[str, float]]:
        """The words after ``prefix`` with their log-probabilities (nats)."""
        spec, truth = self.spec, Truth(question, self.spec.answer)
        lines = prefix.split("\n")
        klass = 0
        for i, line in enumerate(lines):
            found = truth.class_of(line, i, spec.wrong)
            klass = klass or found or 0
            if line.startswith("answer:") and found is not None:
                return
        first, partial = len(lines) - 1, lines[-1]
        decided = truth.class_of(partial, first, spec.wrong) is not None
        keep = self.chance(question) ** (1 / max(spec.steps, 1))
        gap = " " if partial and not partial[-1].isspace() else ""
        for i in range(first, max(first, spec.steps) + 1):
            last = i >= spec.steps
            logprob = 0.0
            if not klass and not (i == first and decided) and (not last or spec.steps == 0):
                klass, logprob = self._step(question, seed, i, keep)
            line_words = [(w, 0.0) for w in (("answer:",) if last else ("step", f"{i + 1}:"))]
            if not last:
                for j in range(spec.tokens - 3):
                    k = int(len(FILLER) * draw("word", spec.seed, question, seed, i, j))
                    line_words.append((FILLER[k], -math.log(len(FILLER))))
            line_words.append((truth.final(klass) if last else truth.value(i, klass), logprob))
            done = len(line_words) if i == first and decided else 0
            if i == first and not decided:
                done = min(len(partial.split()), len(line_words) - 1)
            for j in range(done, len(line_words)):
                word, p = line_words[j]
                end = " " if j < len(line_words) - 1 else "" if last else "\n"
                yield gap + word + end, p
                gap = ""
            if i == first and decided and not last:
                yield "\n", 0.0
            gap = ""

    def _step(self, question: str, seed: int | str, i: int, keep: float) -> tuple[int, float]:
        """The class that a step from the truth goes to, and the log-probability of going there."""
        spec = self.spec
        if draw("step", spec.seed, question, seed, i) < keep:
            return 0, math.log(keep)
        share = spec.preferred if spec.wrong > 1 else 1.0
        klass, weight = 1, share
        if draw("class", spec.seed, question, seed, i) >= share:
            klass = 2 + int((spec.wrong - 1) * draw("other", spec.seed, question, seed, i))
            weight = (1 - share) / (spec.wrong - 1)
        return klass, math.log(max((1 - keep) * weight, 1e-300))

    async def aclose(self) -> None:
        """Nothing to close."""


@register("model", "simulated_prm")
@dataclass(frozen=True)
class SimulatedPrm:
    """Judges the steps of ``simulated``, as well as its dial ``auroc`` says.

    The evidence for a step is normal with mean ``+d/2`` for a right and ``-d/2`` for a wrong one,
    ``d = sqrt(2) Phi^-1(auroc)``; the score is the probability that the step is right, given the
    evidence and even odds.  It is a function of the text up to the step.
    """

    auroc: float = 0.85
    latency: float = 0.0
    price: float = 0.0
    flops: float = 2e6
    answer: str | int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.5 <= self.auroc <= 1:
            raise BadInput(f"simulated_prm: auroc={self.auroc} must be from 0.5 to 1")
        for name in ("latency", "price", "flops"):
            if not 0 <= getattr(self, name) < math.inf:
                raise BadInput(f"simulated_prm: {name}={getattr(self, name)} must be at least 0")

    def open(self) -> SimulatedReward:
        """The running reward model."""
        return SimulatedReward(self)


@dataclass
class SimulatedReward:
    """The live ``simulated_prm``."""

    spec: SimulatedPrm
    capabilities = frozenset({REWARD})
    native_n = False
    max_tokens = 1
    name: str = field(init=False)
    price: Price = field(init=False)

    def __post_init__(self) -> None:
        self.name = spec_of(self.spec)
        self.price = Price(self.spec.price, self.spec.price, flops_per_token=self.spec.flops)

    def count_tokens(self, messages: Sequence[Message], prefix: str = "") -> int:
        """Words of the question and the text."""
        return max(1, len(words(question_of(messages))) + len(words(prefix)))

    async def generate(self, request: Request, ticket: Reservation) -> Reply:
        """A reward model writes nothing."""
        raise Refused("simulated_prm scores texts and writes none: use it as a verifier")

    async def reward(
        self, items: Sequence[Judged], ticket: Reservation
    ) -> tuple[list[tuple[float, ...]], Usage]:
        """The score of each line of each text."""
        await anyio.sleep(self.spec.latency)
        usage = replace(sum(reading(self, items), Usage()), calls=1)
        return [self._score(item) for item in items], usage

    def _score(self, item: Judged) -> tuple[float, ...]:
        question = question_of(item.messages)
        truth = Truth(question, self.spec.answer)
        d = math.sqrt(2) * _NORMAL.inv_cdf(min(self.spec.auroc, 1 - 1e-9))
        right, before, scores = True, "", []
        for i, line in enumerate(item.text.rstrip("\n").split("\n")):
            right = right and truth.class_of(line, i, 1) in (None, 0)
            before += line + "\n"
            evidence = (d if right else -d) / 2 + normal("prm", self.spec.seed, question, before)
            scores.append(1 / (1 + math.exp(-d * evidence)))
        return tuple(scores)

    async def aclose(self) -> None:
        """Nothing to close."""


def words(text: str) -> list[str]:
    """The tokens of a text: words with the space around them; together they are the text."""
    return _WORD.findall(text)


@lru_cache(maxsize=65_536)
def _chance(mean: float, rho: float, key: str) -> float:
    if rho <= 0 or mean in (0.0, 1.0):
        return mean
    if rho >= 1:
        return float(draw("chance", key) < mean)
    scale = (1 - rho) / rho
    rng = np.random.default_rng(int(draw("chance", key) * (1 << 53)))
    return float(rng.beta(mean * scale, (1 - mean) * scale))
