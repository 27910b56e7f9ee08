"""White-box doors: what a method that works inside the model asks of it, the same for every model.

``Inside`` is the whole interface: ids and texts, logits, hidden states and attention by layer, texts
that are read once and continued many times, teacher-forced scores, and sampling under the caller's
hand.  ``Doors`` is the part of it that is the same everywhere; a model adds six methods of its own.

    inside = outthink.core.registry.build("fly", "model").open().inside
    state = inside.read(inside.prompt(messages))
    best = state.logits.argsort()[::-1][:10]
    branches = inside.advance([state] * 10, best)

Everything here computes at once, in the caller's thread, and is not metered.  Numbers come out as
float64, whatever they were computed in; they agree between two ways to the same number (reading at
once or token by token, alone or in company) within the rounding of the model's own type.
"""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats, Message

#: ``(all ids so far, logits (vocabulary,)) -> logits``; the array is the processor's own to change
Processor = Callable[[tuple[int, ...], Floats], npt.ArrayLike]
#: vectors ``(width,)`` that are added to the hidden states of a layer, by layer
Steer = Mapping[int, npt.ArrayLike]


def log_softmax(logits: npt.ArrayLike) -> Floats:
    """Log-probabilities (nats) along the last axis."""
    x = np.asarray(logits, np.float64)
    x = x - x.max(axis=-1, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(axis=-1, keepdims=True)))


@dataclass(frozen=True, eq=False)
class State:
    """A text as a model has read it.  A value: going on from it makes new ones and leaves it as it is.

    So a state may be continued any number of times, from any thread; keys and values of what is
    common are shared or copied as the model likes.
    """

    #: what was read
    ids: tuple[int, ...]
    #: of the next token, ``(vocabulary,)``, read-only
    logits: Floats = field(repr=False)
    #: the vectors that are added in all that is read from here on
    steer: Mapping[int, Floats] = field(repr=False)
    #: keys and values, in the model's own form
    memory: Any = field(repr=False)
    owner: Any = field(repr=False)

    def fork(self) -> State:
        """Another state of the same text; costs nothing."""
        return replace(self)


@dataclass(frozen=True, eq=False)
class Written:
    """A text that ``write`` wrote; ``finish`` and ``stopped_by`` are as in ``Generation``.

    ``ids`` holds every token drawn, the last one included; ``text`` ends before a stop string.
    ``logprobs (len(ids),)`` are the model's own, in nats: at temperature 1, without bias and processors.
    """

    ids: tuple[int, ...]
    text: str
    logprobs: Floats
    finish: str
    stopped_by: str | None = None


@runtime_checkable
class Inside(Protocol):
    """The doors of a model.  ``outthink.testing.check_inside`` holds a model to what is said here.

    Layers are counted by what a hidden state has passed: 0 is what enters the first block (the
    embeddings), ``i`` what leaves block ``i``, and ``layers`` what leaves the last one.  -1 is what the
    output head reads: layer ``layers`` after the final norm.

    ``steer`` maps layers 0 to ``layers`` to vectors ``(width,)``, each added to the hidden state of
    every token that is read with it, before anything else sees that state.

    Ids that the model has not, no ids, more than ``context`` of them, a layer that is not there and
    vectors of another width raise ``BadInput`` before anything is computed.
    """

    #: logits for each token: ids are 0 to ``vocabulary - 1``
    vocabulary: int
    #: blocks, the width of a hidden state, attention heads of a block
    layers: int
    width: int
    heads: int
    #: the most ids that can be read
    context: int
    #: ids that end a text
    ends: frozenset[int]

    def encode(self, text: str) -> tuple[int, ...]:
        """The ids of a text, with nothing added."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; those that no text shows are left out."""
        ...

    def prompt(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The ids of a chat, up to where the answer begins."""
        ...

    def logits(self, ids: Sequence[int], *, steer: Steer | None = None) -> Floats:
        """Logits ``(len(ids), vocabulary)``; row ``i`` is of the token after ``ids[i]``."""
        ...

    def hidden(self, ids: Sequence[int], layer: int = -1, *, steer: Steer | None = None) -> Floats:
        """Hidden states ``(len(ids), width)`` of a layer."""
        ...

    def lens(self, hidden: npt.ArrayLike, layer: int = -1) -> Floats:
        """Logits ``(..., vocabulary)`` of hidden states ``(..., width)`` of a layer.

        The final norm and the output head; the head alone for layer -1.
        """
        ...

    def attention(self, ids: Sequence[int], layer: int, *, steer: Steer | None = None) -> Floats:
        """Attention ``(heads, len(ids), len(ids))`` of block ``layer``, 0 to ``layers - 1``.

        Row ``i`` is how token ``i`` looks at tokens 0 to ``i``; it sums to one.
        """
        ...

    def read(
        self, ids: Sequence[int], state: State | None = None, *, steer: Steer | None = None
    ) -> State:
        """Read ids, after what ``state`` has read.

        ``steer`` holds for these ids and all that follow; without it, that of ``state`` goes on.
        """
        ...

    def advance(self, states: Sequence[State], tokens: Sequence[int]) -> list[State]:
        """Each state after one more token of its own, read together."""
        ...

    def score(
        self, ids: Sequence[int], text_ids: Sequence[int], *, steer: Steer | None = None
    ) -> Floats:
        """Log-probabilities ``(len(text_ids),)`` of a given text after ``ids``, in nats."""
        ...

    def write(
        self,
        start: Sequence[int] | State,
        n: int = 1,
        seeds: Sequence[int] = (),
        max_tokens: int = 256,
        temperature: float = 1.0,
        bias: Mapping[int, float] | None = None,
        processors: Sequence[Processor] = (),
        stop: Sequence[str] = (),
        *,
        steer: Steer | None = None,
    ) -> list[Written]:
        """``n`` texts after ids or a state, one for each seed (0 to ``n - 1`` where none are given).

        For each token: the model's logits, plus ``bias``, go through the processors in their order,
        each of which gets what the one before it gave; then they are divided by the temperature and
        one token is drawn (at temperature 0, the likeliest is taken).  -inf forbids a token, +inf
        forces it.  A text depends on its seed, not on those beside it.
        """
        ...


def likelihoods(inside: Inside, states: Iterable[State], texts: Sequence[Sequence[int]]) -> Floats:
    """Log-probability (nats) of each text after each state, ``(states, texts)``.

    A state's texts are read side by side and forgotten before the next state is asked for: give states
    that are read as they are needed, and the memory of one is all that is taken.
    """
    return np.array([_after(inside, state, texts) for state in states])


def _after(inside: Inside, state: State, texts: Sequence[Sequence[int]]) -> Floats:
    out = np.zeros(len(texts))
    rows = [(j, state) for j in range(len(texts))]
    for place in range(max(map(len, texts))):
        rows = [(j, s) for j, s in rows if place < len(texts[j])]
        for j, s in rows:
            out[j] += log_softmax(s.logits)[texts[j][place]]
        going = [(j, s) for j, s in rows if place + 1 < len(texts[j])]
        moved = inside.advance([s for _, s in going], [texts[j][place] for j, _ in going])
        rows = [(j, s) for (j, _), s in zip(going, moved, strict=True)]
    return out


class Doors(ABC):
    """What follows from six methods: the checks, scores, and sampling.  ``Inside`` says what all do."""

    vocabulary: int
    layers: int
    width: int
    heads: int
    context: int
    ends: frozenset[int]

    # -- what a model adds -----------------------------------------------------------------------

    @abstractmethod
    def _logits(self, ids: tuple[int, ...], steer: Mapping[int, Floats]) -> Floats: ...

    @abstractmethod
    def _hidden(self, ids: tuple[int, ...], layer: int, steer: Mapping[int, Floats]) -> Floats: ...

    @abstractmethod
    def _attention(
        self, ids: tuple[int, ...], layer: int, steer: Mapping[int, Floats]
    ) -> Floats: ...

    @abstractmethod
    def _lens(self, hidden: Floats, normed: bool) -> Floats:
        """Logits of hidden states ``(rows, width)``."""

    @abstractmethod
    def _begin(
        self, ids: tuple[int, ...], state: State | None, steer: Mapping[int, Floats]
    ) -> tuple[Floats, Any]:
        """The logits after ``ids``, and the memory of all that was read."""

    @abstractmethod
    def _step(self, states: Sequence[State], tokens: Sequence[int]) -> list[tuple[Floats, Any]]:
        """As ``_begin`` for one more token of each state."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; those that no text shows are left out."""

    def _decode(self, before: tuple[int, ...], ids: Sequence[int]) -> str:
        """The text that ``ids`` add to what stands before."""
        return self.decode(ids)

    def _writing(self) -> AbstractContextManager[None]:
        """What is held while a text is written, over all of its steps."""
        return nullcontext()

    @property
    def _known(self) -> int:
        """Ids from here on stand for no text: they are not drawn."""
        return self.vocabulary

    # -- the doors -------------------------------------------------------------------------------

    def logits(self, ids: Sequence[int], *, steer: Steer | None = None) -> Floats:
        """Logits ``(len(ids), vocabulary)`` after each token."""
        return self._logits(self._text(ids), self._steer(steer))

    def hidden(self, ids: Sequence[int], layer: int = -1, *, steer: Steer | None = None) -> Floats:
        """Hidden states ``(len(ids), width)`` of a layer."""
        return self._hidden(self._text(ids), self._layer(layer), self._steer(steer))

    def lens(self, hidden: npt.ArrayLike, layer: int = -1) -> Floats:
        """Logits ``(..., vocabulary)`` of hidden states ``(..., width)`` of a layer."""
        normed = self._layer(layer) == -1
        x = np.asarray(hidden, np.float64)
        if not x.ndim or x.shape[-1] != self.width:
            raise BadInput(f"hidden states have the width {self.width}; these have shape {x.shape}")
        rows = self._lens(x.reshape(-1, self.width), normed)
        return rows.reshape(*x.shape[:-1], self.vocabulary)

    def attention(self, ids: Sequence[int], layer: int, *, steer: Steer | None = None) -> Floats:
        """Attention ``(heads, len(ids), len(ids))`` of block ``layer``."""
        if layer not in range(self.layers):
            raise BadInput(f"layer={layer!r}: attention is that of blocks 0 to {self.layers - 1}")
        return self._attention(self._text(ids), layer, self._steer(steer))

    def read(
        self, ids: Sequence[int], state: State | None = None, *, steer: Steer | None = None
    ) -> State:
        """Read ids, after what ``state`` has read."""
        before: tuple[int, ...] = ()
        if state is not None:
            before = self._mine(state).ids
        fresh = self._text(ids, len(before))
        vectors = state.steer if state is not None and steer is None else self._steer(steer)
        logits, memory = self._begin(fresh, state, vectors)
        return self._state((*before, *fresh), logits, vectors, memory)

    def advance(self, states: Sequence[State], tokens: Sequence[int]) -> list[State]:
        """Each state after one more token of its own."""
        if len(states) != len(tokens):
            raise BadInput(f"{len(states)} states and {len(tokens)} tokens: one for each")
        for state in states:
            self._fits(len(self._mine(state).ids) + 1)
        fresh = self._ids(tokens)
        if not fresh:
            return []
        return [
            self._state((*s.ids, token), logits, s.steer, memory)
            for s, token, (logits, memory) in zip(
                states, fresh, self._step(states, fresh), strict=True
            )
        ]

    def score(
        self, ids: Sequence[int], text_ids: Sequence[int], *, steer: Steer | None = None
    ) -> Floats:
        """Log-probabilities ``(len(text_ids),)`` of a given text after ``ids``."""
        before, text = self._text(ids), self._ids(text_ids)
        self._fits(len(before) + len(text))
        vectors = self._steer(steer)
        if not text:
            return np.zeros(0)
        logp = log_softmax(self._logits((*before, *text), vectors)[len(before) - 1 : -1])
        return np.asarray(logp[np.arange(len(text)), list(text)])

    def write(
        self,
        start: Sequence[int] | State,
        n: int = 1,
        seeds: Sequence[int] = (),
        max_tokens: int = 256,
        temperature: float = 1.0,
        bias: Mapping[int, float] | None = None,
        processors: Sequence[Processor] = (),
        stop: Sequence[str] = (),
        *,
        steer: Steer | None = None,
    ) -> list[Written]:
        """``n`` texts after ids or a state, one for each seed."""
        for name, count in (("n", n), ("max_tokens", max_tokens)):
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise BadInput(f"{name}={count!r}: a whole number of at least 1")
        if not 0 <= temperature < math.inf:
            raise BadInput(f"temperature={temperature!r}: a number of at least 0")
        seeds = tuple(seeds) or tuple(range(n))
        if len(seeds) != n or any(seed < 0 for seed in seeds):
            raise BadInput(f"seeds={seeds!r}: {n} of them (n={n}), each at least 0")
        if isinstance(stop, str) or not all(isinstance(s, str) and s for s in stop):
            raise BadInput(f"stop={stop!r}: a list of texts that are not empty")
        shift = np.zeros(self.vocabulary)
        for token, value in zip(self._ids(bias or ()), (bias or {}).values(), strict=True):
            if math.isnan(value):
                raise BadInput(f"bias: that of token {token} is not a number")
            shift[token] = value
        shift[self._known :] = -math.inf
        before = start.ids if isinstance(start, State) else self._text(start)
        self._fits(len(before) + 1)
        if not isinstance(start, State):
            state = self.read(before, steer=steer)
        else:
            state = self._mine(start)
            if steer is not None:
                state = replace(state, steer=self._steer(steer))
        most = min(max_tokens, self.context - len(before))
        rows = [_Row(np.random.default_rng(seed), state) for seed in seeds]
        live = rows
        with self._writing():
            while live:
                for row in live:
                    row.draw(temperature, shift, processors)
                    self._judge(row, before, most, stop)
                live = [row for row in live if not row.finish]
                moved = self.advance([r.state for r in live], [r.ids[-1] for r in live])
                for row, state in zip(live, moved, strict=True):
                    row.state = state
        return [
            Written(
                tuple(row.ids),
                row.text if row.stopped_by else self._decode(before, row.ids),
                np.array(row.logprobs),
                row.finish,
                row.stopped_by,
            )
            for row in rows
        ]

    def _judge(self, row: _Row, before: tuple[int, ...], most: int, stop: Sequence[str]) -> None:
        """Has a row ended with its latest token?"""
        if row.ids[-1] in self.ends:
            row.finish = "stop"
            return
        text = self._decode(before, row.ids) if stop else ""
        met = [(text.find(s), s) for s in stop if s in text]
        if met:
            at, row.stopped_by = min(met)
            row.text, row.finish = text[:at], "step"
        elif len(row.ids) >= most:
            row.finish = "length"

    # -- what is handed in -----------------------------------------------------------------------

    def _ids(self, ids: Iterable[int]) -> tuple[int, ...]:
        try:
            out = tuple(operator.index(i) for i in ids)
        except TypeError as error:
            raise BadInput("ids are whole numbers: encode(text) makes them of a text") from error
        wrong = next((i for i in out if not 0 <= i < self.vocabulary), None)
        if wrong is not None:
            raise BadInput(f"the id {wrong} is not in the vocabulary: 0 to {self.vocabulary - 1}")
        return out

    def _text(self, ids: Iterable[int], before: int = 0) -> tuple[int, ...]:
        out = self._ids(ids)
        if not out:
            raise BadInput("no ids: at least one is needed to read")
        self._fits(before + len(out))
        return out

    def _fits(self, count: int) -> None:
        if count > self.context:
            raise BadInput(f"{count} ids: this model reads {self.context} at most")

    def _layer(self, layer: int) -> int:
        if layer not in range(-1, self.layers + 1):
            raise BadInput(
                f"layer={layer!r}: 0 (embeddings) to {self.layers} (after the last block), or -1 "
                "(after the final norm)"
            )
        return layer

    def _steer(self, steer: Steer | None) -> dict[int, Floats]:
        out = {}
        for layer, vector in (steer or {}).items():
            x = np.array(vector, np.float64)
            if layer not in range(self.layers + 1):
                raise BadInput(f"steer: layer {layer!r} must be one of 0 to {self.layers}")
            if x.shape != (self.width,) or not np.isfinite(x).all():
                raise BadInput(
                    f"steer: layer {layer} takes {self.width} finite numbers, not shape {x.shape}"
                )
            out[int(layer)] = x
        return out

    def _mine(self, state: State) -> State:
        if not isinstance(state, State) or state.owner is not self:
            raise BadInput("a state goes on in the model that read it: read(ids) makes one")
        return state

    def _state(
        self, ids: tuple[int, ...], logits: Floats, steer: Mapping[int, Floats], memory: Any
    ) -> State:
        logits.flags.writeable = False
        return State(ids, logits, steer, memory, self)


@dataclass(eq=False)
class _Row:
    """One text in the making."""

    rng: np.random.Generator
    state: State
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    text: str = ""
    finish: str = ""
    stopped_by: str | None = None

    def draw(self, temperature: float, shift: Floats, processors: Sequence[Processor]) -> None:
        """Add a token."""
        values = self.state.logits + shift
        for place, processor in enumerate(processors):
            given = np.array(processor(self.state.ids, values.copy()), np.float64)
            if given.shape != values.shape:
                raise BadInput(f"processor {place} gave shape {given.shape}, not {values.shape}")
            values = given
        top = values.max()
        if math.isnan(top) or top == -math.inf:
            raise BadInput("the bias and the processors leave no token, or what is not a number")
        gap = np.where(values == top, 0.0, -math.inf if top == math.inf else values - top)
        if temperature > 0:
            # the largest of logits + Gumbel noise is a draw from their softmax; unlike a walk along
            # the cumulative sum it hardly notices how a batch rounds
            gap = gap / temperature - np.log(self.rng.standard_exponential(len(gap)))
        token = int(gap.argmax())
        self.ids.append(token)
        self.logprobs.append(float(log_softmax(self.state.logits)[token]))


def stacked(steers: Sequence[Mapping[int, Floats]], width: int) -> dict[int, Floats]:
    """The vectors of several rows by layer: ``(rows, 1, width)``, zeros where a row has none."""
    layers = {layer for steer in steers for layer in steer}
    none = np.zeros(width)
    return {
        layer: np.stack([steer.get(layer, none) for steer in steers])[:, None] for layer in layers
    }
