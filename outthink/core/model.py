"""What a model is to the rest: something that answers a ``Request`` with a ``Reply``.

Every source of samples (a server, ``fly``, a recording, a simulation) is a ``Model``.  It is handed
a ``Reservation`` with each request: it asks it for every further attempt, and tells it what is known
to be spent so that a cancelled call is charged for what it cost and no more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from outthink.core.budget import Price, Reservation, Usage
from outthink.core.errors import BadInput
from outthink.core.nouns import Floats, Message, canonical

#: what a model may be able to do
PREFIX = "PREFIX"  # continue a given beginning of its own answer
LOGPROBS = "LOGPROBS"  # log-probabilities of what it wrote
SEEDS = "SEEDS"  # the same seed gives the same text
REWARD = "REWARD"  # scores texts instead of writing them
LOGITS = "LOGITS"
HIDDEN = "HIDDEN"
CAPABILITIES = (PREFIX, LOGPROBS, SEEDS, REWARD, LOGITS, HIDDEN)


@dataclass(frozen=True)
class Request:
    """``n`` continuations of ``messages`` (and of ``prefix``, the beginning of the answer).

    ``seeds`` holds one seed for each sample and ``nodes`` its place; ``stop`` strings end a sample
    and are not part of its text.  ``top_logprobs`` asks for the log-probabilities of so many of the
    likeliest tokens at each place (and for ``logprobs``); ``logit_bias`` adds to the logits of token
    ids before the temperature divides them.  ``extra`` goes to a server as it is.  ``role`` says what
    the texts are for (as ``Sample.role``); it is no part of the key.
    """

    messages: tuple[Message, ...]
    prefix: str = ""
    max_tokens: int = 1024
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    nodes: tuple[tuple[int, ...], ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    tools: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    role: str = "main"

    def __post_init__(self) -> None:
        whole = {"max_tokens": 1, "n": 1, "top_k": 0, "top_logprobs": 0}
        for name, least in whole.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise BadInput(f"{name}={value!r}: a whole number of at least {least}")
        for name, most in (("temperature", math.inf), ("top_p", 1.0)):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0 <= value <= most or math.isinf(value):
                raise BadInput(f"{name}={value!r}: a number of at least 0")
        if not all(isinstance(s, str) for s in (*self.stop, self.prefix)):
            raise BadInput("stop strings and the prefix are texts")
        for token, value in self.logit_bias.items():
            if not isinstance(token, int) or token < 0 or not math.isfinite(value):
                raise BadInput(f"logit_bias={{{token!r}: {value!r}}}: token ids and finite numbers")
        if self.top_logprobs and not self.logprobs:
            object.__setattr__(self, "logprobs", True)

    def key(self) -> str:
        """What makes two requests the same for the store: everything but ``n`` and the seeds."""
        values: dict[str, Any] = {
            "messages": [dict(m) for m in self.messages],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
        }
        optional = {
            "prefix": self.prefix,
            "top_k": self.top_k,
            "stop": list(self.stop),
            "logprobs": self.logprobs,
            "top_logprobs": self.top_logprobs,
            "logit_bias": {str(k): v for k, v in sorted(self.logit_bias.items())},
            "tools": [dict(t) for t in self.tools],
            "extra": dict(self.extra),
        }
        return canonical({**values, **{k: v for k, v in optional.items() if v}})


@dataclass(frozen=True)
class Generation:
    """One written text.

    ``finish`` is ``"stop"``, ``"length"``, ``"step"`` (a stop string was met; ``stopped_by`` says
    which), ``"unknown"`` (the server does not tell an end from a stop string) or the server's word.
    """

    text: str
    tokens: int
    finish: str = "stop"
    stopped_by: str | None = None
    logprob: float | None = None
    logprobs: Floats | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    #: ``(tokens, k)``, falling along each row; -inf where a server gave fewer
    top_logprobs: Floats | None = None


def falling(rows: Sequence[Sequence[float]], k: int) -> Floats:
    """The ``k`` largest of each row in falling order, ``(rows, k)``; -inf where there are fewer."""
    out = np.full((len(rows), k), -np.inf)
    for line, row in zip(out, rows, strict=True):
        best = sorted(row, reverse=True)[:k]
        line[: len(best)] = best
    return out


@dataclass(frozen=True)
class Thinking:
    """The marks of a model that thinks before it answers, as they stand in its texts.

    ``open`` begins a thought (empty where the prompt does), ``close`` ends it; ``wait`` is what makes
    it go on thinking (budget forcing, arXiv 2501.19393).
    """

    open: str = "<think>\n"
    close: str = "</think>\n"
    wait: str = "Wait"


@dataclass(frozen=True)
class Reply:
    """What came back: fewer generations than asked for means that ``n`` was not honoured."""

    generations: tuple[Generation, ...]
    usage: Usage
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judged:
    """A text for a reward model; ``known`` is its beginning that was scored before, if any."""

    messages: tuple[Message, ...]
    text: str
    known: str = ""

    def key(self) -> str:
        """What makes two texts the same for the store."""
        return canonical({"reward": [dict(m) for m in self.messages], "text": self.text})


def prompt_tokens(
    model: Any, messages: Sequence[Message], prefix: str = "", tools: Sequence[Any] = ()
) -> int:
    """What a prompt counts for, the tools that are offered with it included."""
    total: int = model.count_tokens(messages, prefix)
    if tools:
        told = {"role": "system", "content": canonical([dict(t) for t in tools])}
        total += model.count_tokens((told,))
    return total


def reading(model: Any, items: Sequence[Judged]) -> list[Usage]:
    """What it costs to read these texts in one call of a model that keeps what it has read.

    A function of the texts alone: of each, what was scored ``known`` before counts as cached, and the
    question of an earlier text of the same call.  The call itself is not in it.
    """
    out: list[Usage] = []
    seen: set[str] = set()
    for item in items:
        question = canonical([dict(m) for m in item.messages])
        cached = 0
        if item.known:
            cached = model.count_tokens(item.messages, item.known)
        elif question in seen:
            cached = model.count_tokens(item.messages)
        seen.add(question)
        read = model.count_tokens(item.messages, item.text)
        out.append(model.price.usage(read, 0, cached=cached, calls=0))
    return out


@runtime_checkable
class Model(Protocol):
    """A live source of samples.  Made by a model's spec (``spec.open()``), closed by ``aclose``."""

    name: str
    capabilities: frozenset[str]
    price: Price
    #: does one call give ``n`` samples?  Learned: a server that ignores ``n`` turns it off.
    native_n: bool
    #: ``max_tokens`` of a request that does not say
    max_tokens: int

    def count_tokens(self, messages: Sequence[Message], prefix: str = "") -> int:
        """Prompt tokens of a request: exact, or an upper estimate."""
        ...

    async def generate(self, request: Request, ticket: Reservation) -> Reply:
        """Answer a request; raises ``ModelError`` when it cannot."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and memory."""
        ...


@runtime_checkable
class RewardModel(Protocol):
    """A model with REWARD: gives each text its step scores in [0, 1], one a line or step.

    ``per_call = 1`` says that each text is a call of its own, charged by what the server says; else
    one call judges as many as there are, and costs what ``reading`` says.  A text without any score
    (one that is too long) gets ``()``.  A method ``remark(messages)`` may say why its scores of a
    problem mean little.
    """

    name: str
    price: Price

    def count_tokens(self, messages: Sequence[Message], prefix: str = "") -> int:
        """Tokens that scoring this text reads."""
        ...

    async def reward(
        self, items: Sequence[Judged], ticket: Reservation
    ) -> tuple[list[tuple[float, ...]], Usage]:
        """The step scores of each item, and what it cost."""
        ...
