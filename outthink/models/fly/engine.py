"""The numpy runtime of ``fly``: a Llama forward pass over a batch of rows, with a key-value cache.

**Same bits in any company.**  A row's numbers must not depend on which other rows are computed
beside it, or answers would change with concurrency.  BLAS gives equal bits for equal shapes only, so
every product here has a fixed shape: linear layers run in blocks of rows (as many as this machine's
BLAS treats alike, found when the weights are read), the cache is cut into chunks of ``CHUNK``
positions, and attention takes queries ``block`` at a time, aligned to their position.  Sums over
chunks are taken in order, and what lies beyond a row's end adds exact zeros.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
CHUNK = 64


_COUNT_LOCK = threading.Lock()
_COMPUTING: list[object] = []
_LIMITS: list[Any] = []


def _after_fork() -> None:
    """Nothing computes in a child yet."""
    global _COUNT_LOCK
    _COUNT_LOCK = threading.Lock()
    _COMPUTING.clear()
    _LIMITS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _take_control() -> None:
    """Let this thread set the number of BLAS threads, whichever thread set it last.

    From threadpoolctl 3.8 on, the first thread to set it owns it, and others are silently ignored.
    """
    import threadpoolctl

    owner = getattr(threadpoolctl, "OpenBLASController", None)
    clear = getattr(owner, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One BLAS thread while fly computes: products this small only lose by more, and on a busy
    machine threads that wait for each other lose everything.  Nested and concurrent uses count."""
    from threadpoolctl import threadpool_limits

    token = object()
    with _COUNT_LOCK:
        if not _COMPUTING:
            _take_control()
            _LIMITS.append(threadpool_limits(1, user_api="blas"))
            _take_control()
        _COMPUTING.append(token)
    try:
        yield
    finally:
        with _COUNT_LOCK:
            _COMPUTING.remove(token)
            if not _COMPUTING:
                _take_control()
                _LIMITS.pop().restore_original_limits()
                _take_control()


def load_safetensors(path: Path) -> tuple[dict[str, F32], dict[str, str]]:
    """The tensors of a safetensors file as float32, and its metadata."""
    return read_safetensors(path.read_bytes(), path.name)


def read_safetensors(raw: bytes, name: str) -> tuple[dict[str, F32], dict[str, str]]:
    """As ``load_safetensors``, from the bytes of a file of this name."""
    source = name
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    tensors: dict[str, F32] = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        data = raw[8 + size + begin : 8 + size + end]
        if entry["dtype"] == "BF16":
            wide = np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16
            array = wide.view(np.float32)
        elif entry["dtype"] == "F32":
            array = np.frombuffer(data, dtype="<f4").astype(np.float32)
        else:
            raise ValueError(f"{source}: tensor {name} has the type {entry['dtype']}")
        tensors[name] = array.reshape(entry["shape"])
    return tensors, metadata


@dataclass(frozen=True)
class Layer:
    """The weights of one layer, laid out for ``x @ w``."""

    norm1: F32
    qkv: F32
    out: F32
    norm2: F32
    up: F32
    down: F32


@dataclass
class State:
    """The cache of one text: keys and values ``(layers, heads, chunks, CHUNK, head_dim)``."""

    ids: tuple[int, ...]
    keys: F32
    values: F32


class Network:
    """A Llama (or its trunk with a score head) read from ``config.json`` and safetensors."""

    def __init__(self, folder: Path, block: int = 1) -> None:
        config = json.loads((folder / "config.json").read_text())
        raw = (folder / "model.safetensors").read_bytes()
        #: what tells these weights from others: samples are stored under it
        self.digest = hashlib.blake2b(raw, digest_size=4).hexdigest()
        w, self.metadata = read_safetensors(raw, f"{folder.name}/model.safetensors")
        self.block = block
        self.hidden: int = config["hidden_size"]
        self.heads: int = config["num_attention_heads"]
        self.head_dim = self.hidden // self.heads
        self.context: int = config["max_position_embeddings"]
        self.eps = np.float32(config["rms_norm_eps"])
        self.embed = w["model.embed_tokens.weight"]
        self.norm = w["model.norm.weight"]
        self.layers: list[Layer] = []
        for i in range(config["num_hidden_layers"]):
            name = f"model.layers.{i}."
            att, mlp = name + "self_attn.", name + "mlp."
            qkv = np.concatenate([w[f"{att}{p}_proj.weight"] for p in "qkv"])
            up = np.concatenate([w[f"{mlp}gate_proj.weight"], w[f"{mlp}up_proj.weight"]])
            self.layers.append(
                Layer(
                    w[name + "input_layernorm.weight"],
                    np.ascontiguousarray(qkv.T),
                    np.ascontiguousarray(w[att + "o_proj.weight"].T),
                    w[name + "post_attention_layernorm.weight"],
                    np.ascontiguousarray(up.T),
                    np.ascontiguousarray(w[mlp + "down_proj.weight"].T),
                )
            )
        if "score.weight" in w:
            self.score: tuple[F32, float] | None = (
                w["score.weight"][0],
                float(w["score.bias"][0]) if "score.bias" in w else 0.0,
            )
        else:
            self.score = None
        self.head = np.ascontiguousarray(self.embed.T)
        first = self.layers[0]
        with one_thread():
            self.rows = _alike([first.qkv, first.out, first.up, first.down, self.head])
        self.parameters = int(sum(t.size for t in w.values()))
        rope = config.get("rope_parameters") or {}
        theta = float(rope.get("rope_theta", config.get("rope_theta", 10000.0)))
        half = self.head_dim // 2
        speed = 1.0 / theta ** (np.arange(half, dtype=np.float64) / half)
        angle = np.arange(self.context, dtype=np.float64)[:, None] * speed
        self.cos = np.concatenate([np.cos(angle)] * 2, 1).astype(np.float32)
        self.sin = np.concatenate([np.sin(angle)] * 2, 1).astype(np.float32)
        self.slots = self.chunks = 0
        self.keys: F32 = np.zeros((0,), np.float32)
        self.values: F32 = np.zeros((0,), np.float32)
        self.states: OrderedDict[int, State] = OrderedDict()
        self.state_bytes, self.state_limit = 0, 192 << 20

    # -- the cache -------------------------------------------------------------------------------

    def reserve(self, slots: int, length: int) -> None:
        """Make room for ``slots`` rows of up to ``length`` tokens; what is there is kept."""
        chunks = -(-length // CHUNK)
        if slots <= self.slots and chunks <= self.chunks:
            return
        old_slots, old_chunks = self.slots, self.chunks
        self.slots, self.chunks = max(slots, old_slots), max(chunks, old_chunks)
        shape = (len(self.layers), self.slots, self.heads, self.chunks, CHUNK, self.head_dim)
        keys, values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        if old_slots:
            keys[:, :old_slots, :, :old_chunks] = self.keys
            values[:, :old_slots, :, :old_chunks] = self.values
        self.keys, self.values = keys, values

    def load(self, slot: int, state: State) -> None:
        """Put a kept state into a slot."""
        chunks = state.keys.shape[2]
        self.keys[:, slot, :, :chunks] = state.keys
        self.values[:, slot, :, :chunks] = state.values

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` positions of one slot into another."""
        chunks = -(-length // CHUNK)
        self.keys[:, target, :, :chunks] = self.keys[:, source, :, :chunks]
        self.values[:, target, :, :chunks] = self.values[:, source, :, :chunks]

    def keep(self, slot: int, ids: Sequence[int]) -> State:
        """Remember the state of a slot that has read ``ids`` (least recently used ones go)."""
        chunks = max(1, -(-len(ids) // CHUNK))
        keys = self.keys[:, slot, :, :chunks].copy()
        state = State(tuple(ids), keys, self.values[:, slot, :, :chunks].copy())
        mark = hash(state.ids)
        if mark not in self.states:
            self.state_bytes += 2 * state.keys.nbytes
        self.states[mark] = state
        self.states.move_to_end(mark)
        while self.state_bytes > self.state_limit and len(self.states) > 1:
            _, gone = self.states.popitem(last=False)
            self.state_bytes -= 2 * gone.keys.nbytes
        return state

    def longest(self, ids: Sequence[int], most: int) -> State | None:
        """The kept state of the longest beginning of ``ids`` with at most ``most`` tokens."""
        whole = tuple(ids)
        for length in sorted({len(s.ids) for s in self.states.values()}, reverse=True):
            if length <= most:
                mark = hash(whole[:length])
                state = self.states.get(mark)
                if state is not None and state.ids == whole[:length]:
                    self.states.move_to_end(mark)
                    return state
        return None

    # -- the forward pass ------------------------------------------------------------------------

    def forward(self, groups: Sequence[tuple[int, int, Sequence[int]]]) -> F32:
        """Read tokens into slots: ``(slot, first position, ids)`` each.

        Returns the normed last hidden state of every token, in order: ``(tokens, hidden)``.  Groups
        of one token each, in slots 0, 1, 2, ..., take the batched path of decoding.
        """
        ids = np.array([i for _, _, part in groups for i in part], dtype=np.int64)
        at = np.concatenate([np.arange(s, s + len(p)) for _, s, p in groups])
        count = len(ids)
        rows = -(-count // self.rows) * self.rows
        x = np.zeros((rows, self.hidden), np.float32)
        x[:count] = self.embed[ids]
        cos, sin = self.cos[at][:, None, :], self.sin[at][:, None, :]
        slot = np.concatenate([np.full(len(p), s) for s, _, p in groups])
        decode = self.block == 1 and bool((slot == np.arange(count)).all()) and count == len(groups)
        for i, layer in enumerate(self.layers):
            qkv = self._linear(self._rms(x, layer.norm1), layer.qkv)[:count]
            q, k, v = qkv.reshape(count, 3, self.heads, self.head_dim).transpose(1, 0, 2, 3)
            q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
            self.keys[i, slot, :, at // CHUNK, at % CHUNK] = k
            self.values[i, slot, :, at // CHUNK, at % CHUNK] = v
            mixed = np.zeros((rows, self.hidden), np.float32)
            if decode:
                mixed[:count] = self._attend(
                    q[:, :, None, None, :],
                    self.keys[i, :count],
                    self.values[i, :count],
                    at[:, None],
                ).reshape(count, -1)
            else:
                first = 0
                for s, start, part in groups:
                    mixed[first : first + len(part)] = self._attend_text(
                        i, s, start, q[first : first + len(part)]
                    )
                    first += len(part)
            x = x + self._linear(mixed, layer.out)
            both = self._linear(self._rms(x, layer.norm2), layer.up)
            gate, up = np.split(both, 2, axis=1)
            x = x + self._linear(gate / (1 + np.exp(-gate)) * up, layer.down)
        return self._rms(x, self.norm)[:count]

    def logits(self, hidden: F32) -> F32:
        """Next-token logits ``(rows, vocabulary)`` of hidden states."""
        return self._linear(_padded(hidden, self.rows), self.head)[: len(hidden)]

    def values_of(self, hidden: F32) -> npt.NDArray[np.float64]:
        """The score head's probability for each hidden state ``(rows,)``."""
        if self.score is None:
            raise ValueError("these weights have no score head")
        weight, bias = self.score
        raw = (hidden * weight).sum(axis=1, dtype=np.float64) + bias
        return np.asarray(1.0 / (1.0 + np.exp(-raw)))

    def _rms(self, x: F32, weight: F32) -> F32:
        mean = np.mean(x * x, axis=1, keepdims=True, dtype=np.float32)
        return np.asarray(x / np.sqrt(mean + self.eps) * weight)

    def _linear(self, x: F32, w: F32) -> F32:
        out = np.matmul(x.reshape(-1, self.rows, x.shape[1]), w)
        return np.asarray(out.reshape(len(x), -1))

    def _attend_text(self, layer: int, slot: int, start: int, q: F32) -> F32:
        """Attention of consecutive tokens of one slot, in blocks aligned to their position."""
        count, size = len(q), self.block
        lead = start % size
        blocks = -(-(lead + count) // size)
        padded = np.zeros((blocks * size, self.heads, self.head_dim), np.float32)
        padded[lead : lead + count] = q
        at = start - lead + np.arange(blocks * size).reshape(blocks, size)
        shaped = padded.reshape(blocks, size, self.heads, self.head_dim).transpose(0, 2, 1, 3)
        out = self._attend(
            shaped[:, :, None], self.keys[layer, slot][None], self.values[layer, slot][None], at
        )
        flat = out.transpose(0, 2, 1, 3).reshape(blocks * size, -1)
        return np.asarray(flat[lead : lead + count])

    def _attend(self, q: F32, keys: F32, values: F32, at: npt.NDArray[Any]) -> F32:
        """``q (b, heads, 1, t, d)`` over ``keys (b or 1, heads, chunks, CHUNK, d)``.

        ``at (b, t)`` are the queries' positions: they see positions up to their own.
        """
        chunks = int(at.max()) // CHUNK + 1
        keys, values = keys[:, :, :chunks], values[:, :, :chunks]
        scores = np.matmul(q, keys.swapaxes(-1, -2)) * np.float32(self.head_dim**-0.5)
        places = np.arange(chunks * CHUNK).reshape(1, chunks, 1, CHUNK)
        hidden = (places > at[:, None, :, None])[:, None]
        scores[np.broadcast_to(hidden, scores.shape)] = -np.inf
        top = scores.max(axis=(2, 4), keepdims=True)
        weights = np.exp(scores - top)
        sums = weights.sum(axis=4)
        parts = np.matmul(weights, values)
        total, out = sums[:, :, 0], parts[:, :, 0]
        for c in range(1, chunks):
            total, out = total + sums[:, :, c], out + parts[:, :, c]
        return np.asarray(out / total[..., None])


def _alike(weights: Sequence[F32]) -> int:
    """The largest block of rows in which a product gives equal rows equal bits, wherever they stand.

    BLAS may treat the rows of one product differently by place (threads, edge kernels).
    """
    rng = np.random.default_rng(0)
    for rows in (32, 16, 8, 4, 2):
        same = True
        for w in weights:
            one = rng.standard_normal((1, w.shape[0])).astype(np.float32)
            x = rng.standard_normal((2, rows, w.shape[0])).astype(np.float32)
            base = np.matmul(np.repeat(one, rows, axis=0), w)
            same = same and bool((base == base[0]).all())
            for place in range(rows):
                mixed = x.copy()
                mixed[1, place] = one
                same = same and bool((np.matmul(mixed, w)[1, place] == base[0]).all())
            if not same:
                break
        if same:
            return rows
    return 1


def _padded(x: F32, block: int) -> F32:
    rows = -(-len(x) // block) * block
    if rows == len(x):
        return x
    out = np.zeros((rows, x.shape[1]), np.float32)
    out[: len(x)] = x
    return out


def _rotate(x: F32, cos: F32, sin: F32) -> F32:
    half = x.shape[-1] // 2
    turned = np.concatenate([-x[..., half:], x[..., :half]], axis=-1)
    return np.asarray(x * cos + turned * sin)
