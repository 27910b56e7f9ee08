"""The inside of ``fly``: a plain forward pass over its weights, with keys and values of its own.

Apart from the decoder that serves ``generate``: nothing here is shared between calls but the weights,
so it may be used from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats, Message
from outthink.models.fly.engine import F32, Network, one_thread
from outthink.models.fly.tokenizer import Tokenizer
from outthink.models.inside import Doors, State, stacked


class _Memory:
    """Keys and values ``(layers, heads, positions, head_dim)``, of which ``used`` are taken.

    States of one text and its continuations share one: a position is written once, by the state that
    takes it, and a state that finds the next one taken goes on in a copy.
    """

    def __init__(self, keys: F32, values: F32, used: int = 0) -> None:
        self.keys, self.values, self.used = keys, values, used


class FlyInside(Doors):
    """The doors of a ``Network``; ``think`` is as in ``fly``."""

    def __init__(
        self, network: Network, tokenizer: Tokenizer, think: int | str | None = None
    ) -> None:
        self.network, self.tokenizer, self.think = network, tokenizer, think
        self.vocabulary, self.width = network.embed.shape
        self.layers, self.heads, self.context = len(network.layers), network.heads, network.context
        self.ends = frozenset({tokenizer.eos})
        self._taking = threading.Lock()

    @property
    def _known(self) -> int:
        return min(self.tokenizer.size, self.vocabulary)

    def encode(self, text: str) -> tuple[int, ...]:
        """The ids of a text."""
        return tuple(self.tokenizer.encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; those that no text shows are left out."""
        return self.tokenizer.decode(i for i in self._ids(ids) if i < self._known)

    def prompt(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The ids of a chat, as ``generate`` reads it."""
        from outthink.models.fly import prompt_ids

        if not messages:
            raise BadInput("a chat has at least one message")
        return prompt_ids(self.tokenizer, messages, self.think)

    def _writing(self) -> AbstractContextManager[None]:
        return one_thread()

    # -- the forward pass ------------------------------------------------------------------------

    def _logits(self, ids: tuple[int, ...], steer: Mapping[int, Floats]) -> Floats:
        with one_thread():
            for x, _ in self._passes([ids], [0], [self._empty(len(ids))], [steer]):
                last = x
            return self._head(self._norm(last[0]))

    def _hidden(self, ids: tuple[int, ...], layer: int, steer: Mapping[int, Floats]) -> Floats:
        with one_thread():
            passes = self._passes([ids], [0], [self._empty(len(ids))], [steer])
            for _ in range(self.layers + 1 if layer == -1 else layer + 1):
                x, _ = next(passes)
            return np.asarray(self._norm(x[0]) if layer == -1 else x[0], np.float64)

    def _attention(self, ids: tuple[int, ...], layer: int, steer: Mapping[int, Floats]) -> Floats:
        with one_thread():
            passes = self._passes([ids], [0], [self._empty(len(ids))], [steer])
            for _ in range(layer + 2):
                _, looks = next(passes)
            return np.asarray(looks[0], np.float64)

    def _lens(self, hidden: Floats, normed: bool) -> Floats:
        with one_thread():
            x = hidden.astype(np.float32)
            return self._head(x if normed else self._norm(x))

    def _begin(
        self, ids: tuple[int, ...], state: State | None, steer: Mapping[int, Floats]
    ) -> tuple[Floats, Any]:
        if state is None:
            start, memory = 0, self._empty(2 * len(ids))
            memory.used = len(ids)
        else:
            start = len(state.ids)
            memory = self._taken(state.memory, start, len(ids))
        with one_thread():
            for x, _ in self._passes([ids], [start], [memory], [steer]):
                last = x
            return self._head(self._norm(last[0, -1:]))[0], memory

    def _step(self, states: Sequence[State], tokens: Sequence[int]) -> list[tuple[Floats, Any]]:
        starts = [len(s.ids) for s in states]
        memories = [self._taken(s.memory, at, 1) for s, at in zip(states, starts, strict=True)]
        with one_thread():
            steers = [s.steer for s in states]
            for x, _ in self._passes([(t,) for t in tokens], starts, memories, steers):
                last = x
            logits = self._head(self._norm(last[:, 0]))
        return [(row.copy(), memory) for row, memory in zip(logits, memories, strict=True)]

    def _empty(self, room: int) -> _Memory:
        net = self.network
        room = min(max(64, room), self.context)
        shape = (self.layers, self.heads, room, net.head_dim)
        return _Memory(np.empty(shape, np.float32), np.empty(shape, np.float32))

    def _taken(self, memory: _Memory, length: int, more: int) -> _Memory:
        """A memory with the first ``length`` positions of this one, and ``more`` to be written."""
        with self._taking:
            if memory.used == length and length + more <= memory.keys.shape[2]:
                memory.used += more
                return memory
        other = self._empty(2 * (length + more))
        other.keys[:, :, :length] = memory.keys[:, :, :length]
        other.values[:, :, :length] = memory.values[:, :, :length]
        other.used = length + more
        return other

    def _passes(
        self,
        texts: Sequence[Sequence[int]],
        starts: Sequence[int],
        memories: Sequence[_Memory],
        steers: Sequence[Mapping[int, Floats]],
    ) -> Iterator[tuple[F32, list[F32]]]:
        """The hidden states ``(texts, t, width)`` of layer 0, 1, ..., and how each text attended.

        The texts are of one length ``t``; text ``i`` begins at position ``starts[i]`` and fills its
        memory from there on.
        """
        net = self.network
        ids = np.array(texts, np.int64)
        rows, t = ids.shape
        at = np.array(starts)[:, None] + np.arange(t)
        added = {k: v.astype(np.float32) for k, v in stacked(steers, self.width).items()}
        cos, sin = net.cos[at][:, :, None], net.sin[at][:, :, None]
        scale = np.float32(net.head_dim**-0.5)
        x: F32 = net.embed[ids]
        x = x + added.get(0, np.float32(0))
        yield x, []
        for i, layer in enumerate(net.layers):
            qkv = _linear(_rms(x, layer.norm1, net.eps), layer.qkv)
            q, k, v = np.moveaxis(qkv.reshape(rows, t, 3, self.heads, net.head_dim), 2, 0)
            q, k = _turn(q, cos, sin), _turn(k, cos, sin)
            mixed: F32 = np.empty((rows, t, self.heads, net.head_dim), np.float32)
            looks = []
            for row, (start, memory) in enumerate(zip(starts, memories, strict=True)):
                end = start + t
                memory.keys[i, :, start:end] = k[row].swapaxes(0, 1)
                memory.values[i, :, start:end] = v[row].swapaxes(0, 1)
                keys, values = memory.keys[i, :, :end], memory.values[i, :, :end]
                scores = q[row].swapaxes(0, 1) @ keys.swapaxes(1, 2) * scale
                scores[:, np.arange(end) > at[row][:, None]] = -np.inf
                look = np.exp(scores - scores.max(axis=2, keepdims=True))
                look /= look.sum(axis=2, keepdims=True)
                mixed[row] = (look @ values).swapaxes(0, 1)
                looks.append(look)
            x = x + _linear(mixed.reshape(rows, t, -1), layer.out)
            gate, up = np.split(_linear(_rms(x, layer.norm2, net.eps), layer.up), 2, axis=-1)
            with np.errstate(over="ignore"):
                x = x + _linear(gate / (1 + np.exp(-gate)) * up, layer.down)
            x = x + added.get(i + 1, np.float32(0))
            yield x, looks

    def _norm(self, x: F32) -> F32:
        return _rms(x, self.network.norm, self.network.eps)

    def _head(self, x: F32) -> Floats:
        return (x @ self.network.head).astype(np.float64)


def _linear(x: F32, w: F32) -> F32:
    return np.asarray((x.reshape(-1, x.shape[-1]) @ w).reshape(*x.shape[:-1], w.shape[1]))


def _rms(x: F32, weight: F32, eps: np.float32) -> F32:
    mean = np.mean(x * x, axis=-1, keepdims=True, dtype=np.float32)
    return np.asarray(x / np.sqrt(mean + eps) * weight)


def _turn(x: F32, cos: F32, sin: F32) -> F32:
    half = x.shape[-1] // 2
    turned = np.concatenate([-x[..., half:], x[..., :half]], axis=-1)
    return np.asarray(x * cos + turned * sin)
