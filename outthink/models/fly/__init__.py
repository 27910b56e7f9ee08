"""``fly``: the bundled model organism, a Llama of 1.9 million parameters in plain numpy.

No key, no download, no torch.  It writes solutions to the word problems of ``outthink.tasks.chain``,
one step a line, and goes wrong as larger models do; ``fly-prm`` judges each of its steps.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from outthink.core.budget import Price, Reservation, Usage
from outthink.core.errors import BadInput, ModelError, Refused
from outthink.core.model import (
    LOGPROBS,
    PREFIX,
    REWARD,
    SEEDS,
    Generation,
    Judged,
    Reply,
    Request,
    reading,
)
from outthink.core.nouns import Message, text_of
from outthink.core.registry import register
from outthink.models._shared import Shared

WEIGHTS = Path(__file__).parent / "weights"

#: tokenizers, decoders and reward networks in use, by folder (and batch width)
_LOADED: Shared[Any] = Shared()


def prompt_of(messages: Sequence[Message]) -> str:
    """What fly reads of a chat: the first user message, whose question it answers."""
    for message in messages:
        if message["role"] == "user":
            return text_of(message.get("content")).strip() + "\n"
    return text_of(messages[-1].get("content")).strip() + "\n"


def remark(messages: Sequence[Message]) -> str | None:
    """What to say of a question that is none of those that fly was trained on; else ``None``."""
    from outthink.tasks.chain import is_chain

    if is_chain(prompt_of(messages)):
        return None
    return (
        "knows nothing but word problems like those of 'outthink fly problem': "
        "what it makes of another question means nothing"
    )


def _tokenizer(folder: Path) -> Any:
    from outthink.models.fly.tokenizer import Tokenizer

    path = folder / "tokenizer.json"
    return _LOADED.get(("tokenizer", str(folder)), lambda: Tokenizer.load(path))


def _folder(path: str) -> Path:
    folder = Path(os.path.expanduser(path)) if path else WEIGHTS
    if not (folder / "model.safetensors").exists():
        raise BadInput(
            f"no weights in {folder}: make them with 'outthink fly train --out {folder}'"
        )
    return folder


@register("model", "fly")
@dataclass(frozen=True)
class Fly:
    """The bundled language model: answers chain word problems, step by step.

    ``weights`` is a folder with other weights of the same layout; ``max_rows`` the batch width
    (it changes the speed, never a text).
    """

    weights: str = ""
    max_rows: int = 64

    def __post_init__(self) -> None:
        if not 1 <= self.max_rows <= 1024:
            raise BadInput(f"max_rows={self.max_rows}: 1 to 1024 rows")

    def open(self) -> FlyModel:
        """The running model; all that are opened share one worker."""
        return FlyModel(self)


class FlyModel:
    """The live ``fly``."""

    capabilities = frozenset({PREFIX, LOGPROBS, SEEDS})
    max_tokens = 256
    #: what ends a step: solutions are written one step a line
    step = "\n"

    def __init__(self, spec: Fly) -> None:
        from outthink.models.fly.decode import Decoder
        from outthink.models.fly.engine import Network

        folder = _folder(spec.weights)
        self.native_n = True
        self.tokenizer = _tokenizer(folder)
        self._decoder = _LOADED.get(
            ("decoder", str(folder), spec.max_rows),
            lambda: Decoder(Network(folder), self.tokenizer, spec.max_rows),
        )
        network = self._decoder.network
        self.name = f"fly@{network.digest}"
        self.context: int = network.context
        self.price = Price(flops_per_token=2.0 * network.parameters)

    def _ids(self, messages: Sequence[Message], prefix: str) -> tuple[int, ...]:
        encode = self.tokenizer.encode
        return (self.tokenizer.bos, *encode(prompt_of(messages)), *encode(prefix))

    def count_tokens(self, messages: Sequence[Message], prefix: str = "") -> int:
        """Prompt tokens, exactly."""
        return len(self._ids(messages, prefix))

    async def generate(self, request: Request, ticket: Reservation) -> Reply:
        """Write ``n`` texts.  The tokens of ``prefix`` but the last count as cached: fly wrote them."""
        from outthink.models.fly.decode import Job, Row

        ids = self._ids(request.messages, request.prefix)
        room = self.context - len(ids)
        if room < 1:
            raise Refused(f"fly reads {self.context} tokens at most; this problem has {len(ids)}")
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def finish(error: BaseException | None) -> None:
            if not ready.done():
                if error is None:
                    ready.set_result(None)
                else:
                    ready.set_exception(ModelError(f"fly failed: {error}"))

        def done(_: Job, error: BaseException | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(finish, error)

        job = Job(
            ids=ids,
            seeds=tuple(request.seeds) or tuple(range(request.n)),
            max_new=min(request.max_tokens, room),
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k,
            stop=tuple(s.encode() for s in request.stop if s),
            done=done,
        )
        cached = len(ids) - 1 if request.prefix else 0
        ticket.partial = self.price.usage(len(ids), 0, cached=cached)
        self._decoder.submit(job)

        def written(row: Row) -> Generation:
            return Generation(
                text=row.written.decode("utf-8", errors="replace"),
                tokens=len(row.tokens),
                finish=row.finish,
                stopped_by=row.stopped_by.decode() if row.stopped_by is not None else None,
                logprob=float(sum(row.logprobs)),
                logprobs=np.array(row.logprobs) if request.logprobs else None,
            )

        try:
            await ready
        except asyncio.CancelledError:
            job.cancelled = True
            spent = sum(len(row.tokens) for row in job.rows)
            ticket.partial = self.price.usage(len(ids), spent, cached=cached)
            ticket.arrived = {i: written(row) for i, row in enumerate(job.rows) if row.finish}
            raise
        rows = [written(row) for row in job.rows]
        usage = self.price.usage(len(ids), sum(g.tokens for g in rows), cached=cached)
        notes: tuple[str, ...] = ()
        if told := remark(request.messages):
            notes = (f"fly {told}",)
        if any(m["role"] == "assistant" for m in request.messages):
            notes += ("fly reads the first question only: earlier attempts were not seen",)
        return Reply(tuple(rows), usage, notes)

    async def aclose(self) -> None:
        """Nothing to close: the worker ends by itself when idle."""


@register("model", "fly-prm")
@dataclass(frozen=True)
class FlyPrm:
    """The process reward model of ``fly``: after each line, the probability that all is right so far."""

    weights: str = ""

    def open(self) -> FlyReward:
        """The running reward model."""
        return FlyReward(self)


class FlyReward:
    """The live ``fly-prm``; a line's score is read at its newline."""

    capabilities = frozenset({REWARD})
    max_tokens = 1
    native_n = False

    def __init__(self, spec: FlyPrm) -> None:
        from outthink.models.fly.engine import Network

        folder = _folder(spec.weights or str(WEIGHTS / "prm"))
        home = folder if (folder / "tokenizer.json").exists() else folder.parent
        self.tokenizer = _tokenizer(home)
        self._network, self._busy = _LOADED.get(
            ("prm", str(folder)), lambda: (Network(folder, block=16), threading.Lock())
        )
        self.name = f"fly-prm@{self._network.digest}"
        self.price = Price(flops_per_token=2.0 * self._network.parameters)
        self._newline = self.tokenizer.encode("\n")[0]

    def count_tokens(self, messages: Sequence[Message], prefix: str = "") -> int:
        """Tokens of the question and the text."""
        encode = self.tokenizer.encode
        return 1 + len(encode(prompt_of(messages))) + len(encode(prefix))

    def remark(self, messages: Sequence[Message]) -> str | None:
        """What to say of a problem that it was not trained to judge."""
        told = remark(messages)
        return f"fly-prm {told}" if told else None

    async def generate(self, request: Request, ticket: Reservation) -> Reply:
        """A reward model writes nothing."""
        raise Refused("fly-prm scores texts and writes none: use it as a verifier, prm(...)")

    async def reward(
        self, items: Sequence[Judged], ticket: Reservation
    ) -> tuple[list[tuple[float, ...]], Usage]:
        """Step scores of each text, none for one that is too long.  Ends soon when it is cancelled."""
        encode = self.tokenizer.encode
        texts: list[tuple[tuple[int, ...], int]] = []
        for item in items:
            head = (self.tokenizer.bos, *encode(prompt_of(item.messages)))
            texts.append(((*head, *encode(item.text)), len(head)))
        scores: list[tuple[float, ...]] = [()] * len(texts)
        short = [i for i, (ids, _) in enumerate(texts) if len(ids) <= self._network.context]
        for at in range(0, len(short), 16):
            some = short[at : at + 16]
            found = await anyio.to_thread.run_sync(
                self._score, [texts[i] for i in some], abandon_on_cancel=True
            )
            for i, steps in zip(some, found, strict=True):
                scores[i] = steps
        return scores, replace(sum(reading(self, items), Usage()), calls=1)

    def _score(self, texts: list[tuple[tuple[int, ...], int]]) -> list[tuple[float, ...]]:
        from outthink.models.fly.engine import one_thread

        with self._busy, one_thread():
            return self._batch(texts)

    def _batch(self, texts: list[tuple[tuple[int, ...], int]]) -> list[tuple[float, ...]]:
        """Score up to 16 texts; the question is read once and kept, as is what each came to."""
        net = self._network
        longest = max(len(ids) for ids, _ in texts)
        net.reserve(16, longest)
        out: list[tuple[float, ...]] = []
        groups: list[tuple[int, int, Sequence[int]]] = []
        for slot, (ids, head) in enumerate(texts):
            if net.longest(ids, head - 1) is None or head == len(ids):
                net.forward([(slot, 0, ids[: head - 1])])
                net.keep(slot, ids[: head - 1])
            # scores are read from the question's end on, so the state may end there at most
            state = net.longest(ids, head - 1)
            assert state is not None
            net.load(slot, state)
            groups.append((slot, len(state.ids), ids[len(state.ids) :]))
        hidden = net.forward(groups)
        values = net.values_of(hidden)
        first = 0
        for (ids, head), (_, start, part) in zip(texts, groups, strict=True):
            mine = values[first : first + len(part)]
            first += len(part)
            marks = [i - start for i in range(head, len(ids)) if ids[i] == self._newline]
            # each line's score is given the lines before it: still right is their product
            steps = np.cumprod([mine[m] for m in marks] or [mine[-1]])
            out.append(tuple(float(s) for s in steps))
        return out

    async def aclose(self) -> None:
        """Nothing to close."""
