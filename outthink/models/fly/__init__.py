"""``fly``: the bundled model organisms, small Llamas in plain numpy, and their reward model.

No key, no download, no torch.  ``fly`` answers word problems one step a line, and goes wrong as larger
models do; it may think before it answers (``fly(think=4)``), revises an attempt that it is shown, and
judges a solution.  ``fly-prm`` scores each step and ``fly-orm`` the whole.  ``fly-xs`` is smaller;
``fly-l`` is larger and trained on demand.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import anyio
import numpy as np

from outthink.core.budget import Price, Reservation, Usage
from outthink.core.errors import BadInput, ModelError, Refused
from outthink.core.model import (
    HIDDEN,
    LOGITS,
    LOGPROBS,
    PREFIX,
    REWARD,
    SEEDS,
    Generation,
    Judged,
    Reply,
    Request,
    Thinking,
    reading,
)
from outthink.core.nouns import Floats, Message, text_of
from outthink.core.registry import register
from outthink.models._shared import Shared, cache_home

WEIGHTS = Path(__file__).parent / "weights"

#: tokenizers, decoders and reward networks in use, by folder (and batch width)
_LOADED: Shared[Any] = Shared()


#: how a user asks fly to judge the solution that the assistant has given
JUDGING = "Is this solution right?"
#: fly is shown this many of its latest attempts
SHOWN = 2
#: the largest dial of thinking: about ``8 * 2**dial`` tokens
MOST = 6


#: how long to think: not at all, as long as it likes, or a dial from 0 to 6
Think = int | str | None


def question_of(messages: Sequence[Message]) -> str:
    """The question of a chat: its first user message."""
    first = next((m for m in messages if m["role"] == "user"), messages[-1])
    return text_of(first.get("content")).strip() + "\n"


def remark(messages: Sequence[Message]) -> str | None:
    """What to say of a question that is none of those that fly was trained on; else ``None``."""
    from outthink.tasks import family_of

    if family_of(question_of(messages)) is not None:
        return None
    return (
        "knows nothing but problems like those of 'outthink fly problem': "
        "what it makes of another question means nothing"
    )


def prompt_ids(tokenizer: Any, messages: Sequence[Message], think: Think = None) -> tuple[int, ...]:
    """A chat as fly reads it: the question, then what is to be done.

    After attempts by the assistant, fly revises the latest two; when the last user message begins with
    ``JUDGING``, it judges the last one.  ``think`` opens its thoughts before a first
    attempt: ``"free"``, or a dial.
    """
    from outthink.models.fly.tokenizer import JUDGE, TRY

    encode = tokenizer.encode
    ids = [tokenizer.bos, *encode(question_of(messages))]
    said = [m for m in messages if m["role"] == "assistant"]
    tries = [text_of(m.get("content")).strip() for m in said]
    users = [m for m in messages if m["role"] == "user"]
    judging = len(users) > 1 and text_of(users[-1].get("content")).strip().startswith(JUDGING)
    if tries:
        mark = tokenizer.vocab[JUDGE if judging else TRY]
        for text in tries[-1:] if judging else tries[-SHOWN:]:
            ids += [mark, *encode(text + "\n")]
        ids.append(mark)
    elif think is not None:
        ids += encode(f"<think>{'' if think == 'free' else think}\n")
    return tuple(ids)


def _tokenizer(folder: Path) -> Any:
    from outthink.models.fly.tokenizer import Tokenizer

    path = folder / "tokenizer.json"
    if not path.exists():
        raise BadInput(
            f"no tokenizer.json in {folder}: it is no folder of a language model like fly"
        )
    return _LOADED.get(("tokenizer", str(folder)), lambda: Tokenizer.load(path))


def _folder(path: str, size: str) -> Path:
    folder = Path(os.path.expanduser(path)) if path else home_of(size)
    if not (folder / "model.safetensors").exists():
        told = f"outthink fly train --size {size} --out {folder}"
        raise BadInput(f"no weights in {folder}: make them with '{told}'")
    return folder


def home_of(size: str) -> Path:
    """Where the weights of a size are: in the package, or, for ``l``, where a training here puts them."""
    if size == "l":
        return cache_home() / "fly-l"
    return WEIGHTS if size == "fly" else WEIGHTS / size


@register("model", "fly")
@dataclass(frozen=True)
class Fly:
    """The bundled language model: solves word problems, countdowns, lookups and small programs.

    ``think`` has it reason before the answer: ``"free"`` as long as it likes, 1 to 6 about
    ``8 * 2**think`` tokens, or more where the problem needs more; with 0 it answers at once.  Without, it
    writes the steps of a solution.
    ``weights`` is a folder with other weights of the same layout; ``max_rows`` the batch width (it
    changes the speed, never a text).
    """

    think: int | str | None = None
    weights: str = ""
    max_rows: int = 64
    #: which member of the family
    size: ClassVar[str] = "fly"

    def __post_init__(self) -> None:
        if not 1 <= self.max_rows <= 1024:
            raise BadInput(f"max_rows={self.max_rows}: 1 to 1024 rows")
        fine = self.think in (None, "free") or (
            isinstance(self.think, int) and 0 <= self.think <= MOST
        )
        if not fine or isinstance(self.think, bool):
            raise BadInput(f'think={self.think!r}: "free", or a dial from 0 to {MOST}')

    def open(self) -> FlyModel:
        """The running model; all that are opened share one worker."""
        name = "fly" if self.size == "fly" else f"fly-{self.size}"
        return FlyModel(self, _folder(self.weights, self.size), name)


@register("model", "fly-xs")
@dataclass(frozen=True)
class FlyXs(Fly):
    """``fly`` with a third of the parameters, by the same recipe, in the package."""

    size = "xs"


@register("model", "fly-l")
@dataclass(frozen=True)
class FlyL(Fly):
    """``fly`` with nearly three times the parameters, by the same recipe; trained on demand.

    Its weights would take 12 MB.  ``outthink fly train --size l`` makes them.
    """

    size = "l"


class FlyModel:
    """The live ``fly``."""

    capabilities = frozenset({PREFIX, LOGPROBS, SEEDS, LOGITS, HIDDEN})
    max_tokens = 256
    #: what ends a step: solutions are written one step a line
    step = "\n"

    def __init__(self, spec: Fly, folder: Path, name: str) -> None:
        from outthink.models.fly.decode import Decoder
        from outthink.models.fly.engine import Network
        from outthink.models.fly.inside import FlyInside

        self.think = spec.think
        #: its prompt opens the thought
        self.thinking: Thinking | None = None
        if spec.think is not None:
            self.max_tokens = 800
            self.thinking = Thinking(open="", close="</think>\n", wait="again\n")
        self.native_n = True
        self.tokenizer = _tokenizer(folder)
        self._decoder = _LOADED.get(
            ("decoder", str(folder), spec.max_rows),
            lambda: Decoder(Network(folder), self.tokenizer, spec.max_rows),
        )
        network = self._decoder.network
        #: the doors of ``outthink.models.inside``
        self.inside = FlyInside(network, self.tokenizer, spec.think)
        thinking = "" if spec.think is None else f"(think={spec.think})"
        self.name = f"{name}{thinking}@{network.digest}"
        self.context: int = network.context
        self.price = Price(flops_per_token=2.0 * network.parameters)

    def _ids(self, messages: Sequence[Message], prefix: str) -> tuple[int, ...]:
        head = self.inside.prompt(messages)
        return (*head, *self.tokenizer.encode(prefix))

    def _bias(self, request: Request) -> Floats | None:
        if not request.logit_bias:
            return None
        bias = np.zeros(self.inside.vocabulary)
        for token, value in request.logit_bias.items():
            if token >= len(bias):
                raise BadInput(f"logit_bias: fly has the tokens 0 to {len(bias) - 1}, not {token}")
            bias[token] = value
        return bias[: self.tokenizer.size]  # no text has the ids beyond

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
            top=request.top_logprobs,
            bias=self._bias(request),
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
                top_logprobs=(
                    np.array(row.tops[: len(row.tokens)]) if request.top_logprobs else None
                ),
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
        tries = sum(m["role"] == "assistant" for m in request.messages)
        if tries > SHOWN:
            notes += (f"fly reads its latest {SHOWN} attempts; earlier ones were not seen",)
        return Reply(tuple(rows), usage, notes)

    async def aclose(self) -> None:
        """Nothing to close: the worker ends by itself when idle."""


def write(
    weights: Path,
    questions: Sequence[str],
    seeds: Sequence[Sequence[int]],
    max_tokens: int,
    temperature: float,
    think: Think = None,
) -> list[list[str]]:
    """Texts for each question, one a seed, without a run: for training, on weights that change."""
    from outthink.models.fly.decode import Decoder, Job
    from outthink.models.fly.engine import Network

    tokenizer = _tokenizer(weights)
    decoder = _LOADED.get(
        ("decoder", str(weights), 64), lambda: Decoder(Network(weights), tokenizer, 64)
    )
    waiting = threading.Semaphore(0)
    failed: list[BaseException] = []

    def done(_: Job, error: BaseException | None) -> None:
        if error is not None:
            failed.append(error)
        waiting.release()

    jobs = [
        Job(
            ids=prompt_ids(tokenizer, ({"role": "user", "content": question},), think),
            seeds=tuple(mine),
            max_new=max_tokens,
            temperature=temperature,
            top_p=1.0,
            top_k=0,
            stop=(),
            done=done,
        )
        for question, mine in zip(questions, seeds, strict=True)
    ]
    for job in jobs:
        decoder.submit(job)
    for _ in jobs:
        waiting.acquire()
    if failed:
        raise failed[0]
    return [[row.written.decode("utf-8", errors="replace") for row in job.rows] for job in jobs]


def raw_rewards(
    folder: Path, texts: Sequence[tuple[str, str]]
) -> list[tuple[list[float], list[float]]]:
    """For each (question, text) what the two heads say at each line's end, before calibration.

    The product of the lines' probabilities up to there, and the probability of a right answer.
    """
    from outthink.models.fly.engine import one_thread

    reward = FlyReward(folder, "step", calibrated=False)
    read = [reward.read(question.strip() + "\n", text) for question, text in texts]
    out: list[tuple[list[float], list[float]]] = []
    with one_thread():
        for some in batches(read):
            for marks in reward.marks(some):
                out.append((np.cumprod(marks[:, 0]).tolist(), marks[:, 1].tolist()))
    return out


def ended(text: str) -> str:
    """A text with a newline at its end, as texts are judged."""
    return text if text.endswith("\n") else text + "\n"


#: a question and a text as ids, and how many of them are the question's
Read = tuple[tuple[int, ...], int]


def batches(texts: Sequence[Read], rows: int = 16, tokens: int = 4096) -> Iterator[list[Read]]:
    """Texts in the same order, some at a time: at most ``rows`` of at most ``tokens`` in all (or one)."""
    some: list[Read] = []
    total = 0
    for text in texts:
        if some and (len(some) == rows or total + len(text[0]) > tokens):
            yield some
            some, total = [], 0
        some.append(text)
        total += len(text[0])
    if some:
        yield some


def _reward_folder(path: str) -> Path:
    folder = Path(os.path.expanduser(path)).resolve() if path else WEIGHTS / "prm"
    if not (folder / "model.safetensors").exists():
        raise BadInput(
            f"no reward model in {folder}: 'outthink fly train --stage reward --out DIR' makes one of the "
            "language model in DIR, in DIR/prm"
        )
    return folder


@register("model", "fly-prm")
@dataclass(frozen=True)
class FlyPrm:
    """The process reward model of ``fly``: after each line, the probability that all is right so far."""

    weights: str = ""

    def open(self) -> FlyReward:
        """The running reward model."""
        return FlyReward(_reward_folder(self.weights), "step")


@register("model", "fly-orm")
@dataclass(frozen=True)
class FlyOrm:
    """The outcome reward model of ``fly``: after each line, the probability of a right answer."""

    weights: str = ""

    def open(self) -> FlyReward:
        """The running reward model."""
        return FlyReward(_reward_folder(self.weights), "outcome")


class FlyReward:
    """The live reward models: one network with two heads; scores are read at newlines.

    A last line without one is judged as if it had ended there.
    """

    capabilities = frozenset({REWARD})
    max_tokens = 1
    native_n = False

    def __init__(self, folder: Path, head: str, calibrated: bool = True) -> None:
        from outthink.models.fly.engine import Network

        self._network, self._busy = _LOADED.get(
            ("prm", str(folder)), lambda: (Network(folder), threading.Lock())
        )
        if not self._network.trunk:
            raise BadInput(
                f"{folder} holds no reward model, but a language model: its reward model, where it has "
                "one, is in its folder 'prm'"
            )
        self.tokenizer = _tokenizer(folder.parent)
        self._head = head
        config = json.loads((folder / "config.json").read_text()) if calibrated else {}
        slope, offset = config.get("calibration", {}).get(head, (1.0, 0.0))
        self._calibration = (float(slope), float(offset))
        name = "fly-prm" if head == "step" else "fly-orm"
        self.name = f"{name}@{self._network.digest}"
        self.price = Price(flops_per_token=2.0 * self._network.parameters)
        self._newline = self.tokenizer.encode("\n")[0]

    def count_tokens(self, messages: Sequence[Message], prefix: str = "") -> int:
        """Tokens of the question and the text."""
        encode = self.tokenizer.encode
        return 1 + len(encode(question_of(messages))) + len(encode(ended(prefix) if prefix else ""))

    def remark(self, messages: Sequence[Message]) -> str | None:
        """What to say of a problem that it was not trained to judge."""
        told = remark(messages)
        return f"{self.name.partition('@')[0]} {told}" if told else None

    async def generate(self, request: Request, ticket: Reservation) -> Reply:
        """A reward model writes nothing."""
        name = self.name.partition("@")[0]
        verifier = "prm" if self._head == "step" else "orm"
        raise Refused(f"{name} scores texts and writes none: use it as a verifier, {verifier}(...)")

    async def reward(
        self, items: Sequence[Judged], ticket: Reservation
    ) -> tuple[list[tuple[float, ...]], Usage]:
        """Step scores of each text, none for one that is too long.  Ends soon when it is cancelled."""
        texts = [self.read(question_of(item.messages), item.text) for item in items]
        fits = [len(ids) <= self._network.context for ids, _ in texts]
        found: list[tuple[float, ...]] = []
        for some in batches([text for text, fit in zip(texts, fits, strict=True) if fit]):
            found += await anyio.to_thread.run_sync(self._score, some, abandon_on_cancel=True)
        each = iter(found)
        scores = [next(each) if fit else () for fit in fits]
        return scores, replace(sum(reading(self, items), Usage()), calls=1)

    def read(self, question: str, text: str) -> Read:
        """A question, which ends in a newline, and a text as they are judged."""
        head = (self.tokenizer.bos, *self.tokenizer.encode(question))
        return (*head, *self.tokenizer.encode(ended(text))), len(head)

    def _score(self, texts: list[Read]) -> list[tuple[float, ...]]:
        from outthink.models.fly.engine import one_thread

        with self._busy, one_thread():
            marks = self.marks(texts)
            self._network.release()
        if self._head == "outcome":
            return [self._told(m[:, 1]) for m in marks]
        # each line's score is given the lines before it: still right is their product
        return [self._told(np.cumprod(m[:, 0])) for m in marks]

    def _told(self, raw: Any) -> tuple[float, ...]:
        """Probabilities out of raw scores: a logistic function of their logits, order kept."""
        slope, offset = self._calibration
        if (slope, offset) == (1.0, 0.0):
            return tuple(float(s) for s in raw)
        p = np.clip(raw, 1e-250, 1 - 1e-9)
        logits = slope * np.log(p / (1 - p)) + offset
        return tuple(float(s) for s in np.exp(-np.logaddexp(0, -logits)))

    def marks(self, texts: Sequence[Read]) -> list[Any]:
        """What the heads say at each newline of some texts ``(lines, heads)``.

        The question is read once and kept.
        """
        net = self._network
        net.reserve(len(texts))
        out: list[Any] = []
        groups: list[tuple[int, int, Sequence[int]]] = []
        for slot, (ids, head) in enumerate(texts):
            # scores are read from the question's end on, so the state may end there at most
            state = net.longest(ids, head - 1)
            if state is None or len(state.ids) < head - 1:
                net.clear(slot)
                net.forward([(slot, 0, ids[: head - 1])])
                state = net.keep(slot, ids[: head - 1])
            net.load(slot, state)
            groups.append((slot, len(state.ids), ids[len(state.ids) :]))
        values = net.values_of(net.forward(groups, [head for _, head in texts]))
        first = 0
        for (ids, head), (_, start, part) in zip(texts, groups, strict=True):
            mine = values[first : first + len(part)]
            first += len(part)
            marks = [i - start for i in range(head, len(ids)) if ids[i] == self._newline]
            out.append(mine[marks])
        return out

    async def aclose(self) -> None:
        """Nothing to close."""
