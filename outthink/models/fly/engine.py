"""The numpy runtime of ``fly``: a Llama forward pass over a batch of rows, with a key-value cache.

**Same bits in any company.**  A row's numbers must not depend on which other rows are computed
beside it, or answers would change with concurrency.  BLAS promises equal bits for equal shapes only,
and often keeps them for others: when the weights are read, ``alike`` finds the block sizes in which
this machine's BLAS gives a row the same bits in any block and at any place of it, and every product
runs in blocks of those.  The cache is cut into chunks of ``CHUNK`` positions, sums over chunks are
taken in order, and what lies beyond a row's end adds exact zeros.

**Where time goes.**  Products with the weights run near the machine's float32 peak in most block
sizes, and which is fastest is timed on reading the weights (all give the same bits).  The rest is
kept small: the norms' weights, the scale of attention and the sign of the gate are folded into the
matrices; a head's dimensions are stored in pairs, so that a rotation is one complex product; rows
that began from one prompt read its keys and values from one place, as one product with all of their
queries, and only what they wrote themselves row by row.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput

F32 = npt.NDArray[np.float32]
CHUNK = 32
#: rows in which products are tried
SIZES = (2, 4, 8, 16, 32, 64)
#: the longest sum that BLAS takes in one go; longer ones it splits where the shape says
LONGEST = 256
#: rows of one prompt from which on its keys and values are read from one place
MANY = 4
#: a slot apart from the others, for reading a prompt
DESK = -1


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
    try:
        (size,) = struct.unpack("<Q", raw[:8])
        header = json.loads(raw[8 : 8 + size])
    except (struct.error, ValueError):
        raise BadInput(f"{source} is no safetensors file") from None
    metadata = header.pop("__metadata__", {})
    if len(raw) < 8 + size + max((e["data_offsets"][1] for e in header.values()), default=0):
        raise BadInput(f"{source} is cut short: copy it again")
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
    """The cache of one text: keys and values ``(layers, 2, heads, chunks, CHUNK, head_dim)``."""

    ids: tuple[int, ...]
    kv: F32


class Cache:
    """Keys and values of the texts in slots, a column of ``CHUNK`` positions at a time.

    A column is ``(layers, 2, slots, heads, CHUNK, head_dim)``, so that what one product reads lies
    together, and as wide as the last slot that has come so far.  A slot may refer to a kept state for
    the whole chunks that it began with; its columns hold what comes after.
    """

    def __init__(self, column: Callable[[int], F32]) -> None:
        self._column = column
        self.columns: list[F32] = []
        self.base: list[State | None] = []
        self.length: list[int] = []

    def reserve(self, slots: int) -> None:
        """Let there be ``slots`` slots."""
        more = max(0, slots - len(self.base))
        self.base += [None] * more
        self.length += [0] * more

    def column(self, c: int, slots: int) -> F32:
        """Column ``c``, at least ``slots`` wide."""
        while len(self.columns) <= c:
            self.columns.append(self._column(0))
        old = self.columns[c]
        width = old.shape[2]
        if width < slots:
            self.columns[c] = self._column(min(max(slots, 2 * width, 16), len(self.base)))
            self.columns[c][:, :, :width] = old
        return self.columns[c]

    def start(self, row: int) -> int:
        """How many chunks of a row are in the state that it refers to."""
        base = self.base[row]
        return 0 if base is None else len(base.ids) // CHUNK

    def own(self, row: int, length: int) -> int:
        """How many columns a row of ``length`` tokens takes."""
        return max(0, -(-length // CHUNK) - self.start(row))

    def unshare(self, row: int) -> None:
        """Copy what a row refers to into the columns."""
        base, start, own = self.base[row], self.start(row), self.own(row, self.length[row])
        if base is None:
            return
        for c in range(own - 1, -1, -1):
            self.column(start + c, row + 1)[:, :, row] = self.columns[c][:, :, row]
        for c in range(start):
            self.column(c, row + 1)[:, :, row] = base.kv[:, :, :, c]
        self.base[row] = None


class Product:
    """``x @ w`` in blocks of rows that do not change a row's bits."""

    def __init__(self, w: F32) -> None:
        parts = -(-len(w) // LONGEST)
        edges = [len(w) * i // parts for i in range(parts + 1)]
        self.parts = [(slice(a, b), np.ascontiguousarray(w[a:b])) for a, b in pairwise(edges)]
        self.width = w.shape[1]
        #: seconds a row in blocks of each size
        self.cost: dict[int, float] = {}

    def learn(self) -> None:
        """Find the block sizes that may be used here and what each costs."""
        length = self.parts[-1][0].stop
        self.cost = alike(length, lambda x: self(x.reshape(-1, length), x.shape[1]))

    def __call__(self, x: F32, size: int) -> F32:
        """The product, in blocks of ``size`` rows."""
        blocks = x.reshape(-1, size, x.shape[1])
        out = np.empty((len(x), self.width), np.float32)
        whole = out.reshape(-1, size, self.width)
        (part, w), *rest = self.parts
        np.matmul(blocks[..., part], w, out=whole)
        for part, w in rest:
            whole += np.matmul(blocks[..., part], w)
        return out


@dataclass(frozen=True)
class Folded:
    """One layer as it is computed: norms, scale and sign are in the matrices."""

    qkv: Product
    out: Product
    up: Product
    down: Product


@dataclass(frozen=True)
class Plan:
    """In how many rows (padding included) some rows are computed, and in blocks of which sizes."""

    rows: int
    qkv: int
    out: int
    up: int
    down: int
    head: int


class Network:
    """A Llama read from ``config.json`` and safetensors, or a reward model that lies above one.

    A reward model's folder lies in the folder of its trunk and holds the layers above it.  The first of
    them is told how likely the trunk found each token of a text (``surprise``).
    """

    def __init__(self, folder: Path) -> None:
        said = (folder / "config.json").read_bytes()
        config = json.loads(said)
        self._raw = (folder / "model.safetensors").read_bytes()
        w, self.metadata = read_safetensors(self._raw, f"{folder.name}/model.safetensors")
        #: of a reward model: the layers of its trunk, and what its first layer is told of a token
        self.trunk: int = config.get("trunk_layers", 0)
        #: what tells these weights from others: samples are stored under it, and scores, which
        #: depend on the calibration too
        told = self._raw + said if self.trunk else self._raw
        self.digest = hashlib.blake2b(told, digest_size=4).hexdigest()
        if self.trunk:
            below = _trunk(folder.parent, self.metadata)
            self._trunk_norm = below["model.norm.weight"]
            self._trunk_scale = np.float32(1 / config["trunk_scale"])
            self._surprise = np.ascontiguousarray(w["surprise.weight"].T)
            w = below | w
        elif "model.embed_tokens.weight" not in w:
            raise BadInput(f"{folder} holds no language model: its weights have no embeddings")
        self.hidden: int = config["hidden_size"]
        self.heads: int = config["num_attention_heads"]
        self.head_dim = self.hidden // self.heads
        self.context: int = config["max_position_embeddings"]
        self.eps = np.float32(config["rms_norm_eps"])
        self.embed = w["model.embed_tokens.weight"]
        self.norm = w["model.norm.weight"]
        self.depth: int = config["num_hidden_layers"]
        self.score: tuple[F32, F32] | None = None
        if "score.weight" in w:
            weight = w["score.weight"]
            self.score = weight, w.get("score.bias", np.zeros(len(weight), np.float32))
        self.head = np.ascontiguousarray(self.embed.T)
        self.parameters = int(sum(t.size for t in w.values()))
        rope = config.get("rope_parameters") or {}
        theta = float(rope.get("rope_theta", config.get("rope_theta", 10000.0)))
        half = self.head_dim // 2
        speed = 1.0 / theta ** (np.arange(half, dtype=np.float64) / half)
        angle = np.arange(self.context, dtype=np.float64)[:, None] * speed
        self.cos = np.concatenate([np.cos(angle)] * 2, 1).astype(np.float32)
        self.sin = np.concatenate([np.sin(angle)] * 2, 1).astype(np.float32)
        self._turn = np.exp(1j * angle).astype(np.complex64)[:, None, :]
        self._folded = [self._fold(w, i) for i in range(self.depth)]
        self._head = Product(self.head)
        with one_thread():
            self._learn()
        self._plans: dict[int, Plan] = {}
        #: slots 0, 1, ... for texts, and one more, ``DESK``, to read in
        self._cache, self._desk = Cache(self._column), Cache(self._column)
        self._desk.reserve(1)
        #: bytes of one token's keys and values
        self.token_bytes = 2 * self.depth * self.hidden * 4
        self.states: OrderedDict[int, State] = OrderedDict()
        self.state_bytes, self.state_limit = 0, 96 << 20

    @cached_property
    def layers(self) -> list[Layer]:
        """The weights as they are in the file (nothing is computed with these)."""
        w, _ = read_safetensors(self._raw, "model.safetensors")
        found = []
        for i in range(self.depth):
            norm1, qkv, out, norm2, up, down = _weights(w, i)
            t = np.ascontiguousarray
            found.append(Layer(norm1, t(qkv.T), t(out.T), norm2, t(up.T), t(down.T)))
        return found

    def _fold(self, w: dict[str, F32], i: int) -> Folded:
        norm1, qkv, out, norm2, up, down = _weights(w, i)
        # a rotation turns dimension j with j + half: put them side by side, in queries and keys
        pairs = np.arange(self.head_dim).reshape(2, -1).T.reshape(-1)
        order = (np.arange(2 * self.heads)[:, None] * self.head_dim + pairs).reshape(-1)
        qkv = np.concatenate([qkv[order], qkv[2 * self.hidden :]]) * norm1
        qkv[: self.hidden] *= np.float32(self.head_dim**-0.5)
        up = up * norm2
        up[: len(up) // 2] *= -1
        return Folded(Product(qkv.T), Product(out.T), Product(up.T), Product(-down.T))

    def _learn(self) -> None:
        first = self._folded[0]
        for product in (first.qkv, first.out, first.up, first.down, self._head):
            product.learn()
        for layer in self._folded[1:]:
            layer.qkv.cost = first.qkv.cost
            layer.out.cost = first.out.cost
            layer.up.cost = first.up.cost
            layer.down.cost = first.down.cost
        rng = np.random.default_rng(1)
        keys = rng.standard_normal((CHUNK, self.head_dim)).astype(np.float32)
        scores = alike(self.head_dim, lambda x: np.matmul(x, keys.T))
        mixes = alike(CHUNK, lambda x: np.matmul(x, keys))
        #: how many queries may be answered by one product
        self._queries = sorted(set(scores) & set(mixes)) or [1]

    def _plan(self, count: int) -> Plan:
        """The cheapest way to compute ``count`` rows."""
        plan = self._plans.get(count)
        if plan is None:
            f = self._folded[0]
            products = {"qkv": f.qkv, "out": f.out, "up": f.up, "down": f.down, "head": self._head}
            best = np.inf
            for unit in sorted({s for p in products.values() for s in p.cost}):
                rows = -(-count // unit) * unit
                fits = {
                    name: min((c, s) for s, c in p.cost.items() if rows % s == 0)
                    for name, p in products.items()
                    if any(rows % s == 0 for s in p.cost)
                }
                cost = rows * sum(c for c, _ in fits.values())
                if len(fits) == len(products) and cost < best:
                    best, plan = cost, Plan(rows, **{name: s for name, (_, s) in fits.items()})
            assert plan is not None
            self._plans[count] = plan
        return plan

    # -- the cache -------------------------------------------------------------------------------

    def _column(self, slots: int) -> F32:
        shape = (self.depth, 2, slots, self.heads, CHUNK, self.head_dim)
        return np.zeros(shape, np.float32)

    def _at(self, slot: int) -> tuple[Cache, int]:
        return (self._desk, 0) if slot == DESK else (self._cache, slot)

    @property
    def slots(self) -> int:
        """For how many texts there is room."""
        return len(self._cache.base)

    def reserve(self, slots: int) -> None:
        """Let there be slots for ``slots`` rows; memory is taken as they grow."""
        self._cache.reserve(slots)

    def release(self) -> None:
        """Give back the memory of all slots."""
        for cache in (self._cache, self._desk):
            cache.columns.clear()
            for row in range(len(cache.base)):
                cache.base[row], cache.length[row] = None, 0

    def settle(self, count: int) -> None:
        """Prepare the first ``count`` slots for a token more each, before threads share them out."""
        cache = self._cache
        users = Counter(map(id, cache.base[:count]))
        for row in range(count):
            base = cache.base[row]
            if base is not None and (users[id(base)] < MANY or self._queries[-1] < MANY):
                cache.unshare(row)
            if cache.length[row] % CHUNK == 0:
                cache.column(cache.length[row] // CHUNK - cache.start(row), row + 1)

    def load(self, slot: int, state: State) -> None:
        """Put a kept state into a slot (its whole chunks are only referred to)."""
        cache, row = self._at(slot)
        whole = len(state.ids) // CHUNK
        if whole < state.kv.shape[3]:
            cache.column(0, row + 1)[:, :, row] = state.kv[:, :, :, whole]
        cache.base[row] = state if whole else None
        cache.length[row] = len(state.ids)

    def move(self, source: int, target: int) -> None:
        """Copy what one slot has read into another."""
        cache = self._cache
        length = cache.length[source]
        for column in cache.columns[: cache.own(source, length)]:
            column[:, :, target] = column[:, :, source]
        cache.base[target], cache.length[target] = cache.base[source], length

    def clear(self, slot: int) -> None:
        """Forget what is in a slot."""
        cache, row = self._at(slot)
        cache.base[row], cache.length[row] = None, 0

    def keep(self, slot: int, ids: Sequence[int]) -> State:
        """Remember the state of a slot that has read ``ids`` (least recently used ones go)."""
        whole = tuple(ids)
        mark = hash(whole)
        state = self.states.get(mark)
        if state is None or state.ids != whole:
            cache, row = self._at(slot)
            base, own = cache.base[row], cache.own(row, len(whole))
            start = 0 if base is None else len(base.ids) // CHUNK
            kv = np.zeros(
                (self.depth, 2, self.heads, max(1, start + own), CHUNK, self.head_dim), np.float32
            )
            if base is not None:
                kv[:, :, :, :start] = base.kv[:, :, :, :start]
            for c, column in enumerate(cache.columns[:own]):
                kv[:, :, :, start + c] = column[:, :, row]
            if state is not None:
                self.state_bytes -= state.kv.nbytes
            state = State(whole, kv)
            self.state_bytes += kv.nbytes
        self.states[mark] = state
        self.states.move_to_end(mark)
        while self.state_bytes > self.state_limit and len(self.states) > 1:
            _, gone = self.states.popitem(last=False)
            self.state_bytes -= gone.kv.nbytes
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

    def forward(
        self, groups: Sequence[tuple[int, int, Sequence[int]]], texts: Sequence[int] | None = None
    ) -> F32:
        """Read tokens into slots: ``(slot, first position, ids)`` each.

        For a reward model ``texts`` says at which position the text of each group begins; the token
        before it must be in the group too.

        Returns the normed last hidden state of every token, in order: ``(tokens, hidden)``.  Groups of
        one token each, in slots that follow each other, take the batched path of decoding.
        Calls on different slots may run in different threads.
        """
        ids = np.array([i for _, _, part in groups for i in part], dtype=np.int64)
        at = np.array([s + i for _, s, part in groups for i in range(len(part))])
        count, first = len(ids), groups[0][0]
        cache, _ = self._at(first)
        dense = all(s == first + i for i, (s, _, _) in enumerate(groups))
        if count == len(groups) and dense and first != DESK:
            attend = self._decoding(first, at)
        else:
            attend = self._reading(groups)
        plan = self._plan(count)
        x = np.zeros((plan.rows, self.hidden), np.float32)
        x[:count] = self.embed[ids]
        rows = np.array([max(slot, 0) for slot, _, part in groups for _ in part])
        chunk = at // CHUNK - np.array(
            [cache.start(max(s, 0)) for s, _, part in groups for _ in part]
        )
        writes = [
            (cache.columns[c], tokens, rows[tokens], at[tokens] % CHUNK)
            for c in sorted(set(chunk.tolist()))
            for tokens in [np.flatnonzero(chunk == c)]
        ]
        turn, heads, width = self._turn[at], self.heads, 2 * self.hidden
        begins = texts or [self.context] * len(groups)
        inner = self._folded[0].up.width // 2
        with np.errstate(over="ignore"):  # the gate's exponential may: it is divided by
            for i, layer in enumerate(self._folded):
                if i == self.trunk > 0:
                    self._tell(x, ids, at, np.repeat(begins, [len(part) for _, _, part in groups]))
                qkv = layer.qkv(self._normed(x), plan.qkv)
                pairs = qkv[:count, :width].view(np.complex64).reshape(count, 2 * heads, -1)
                pairs *= turn
                parts = qkv[:count].reshape(count, 3, heads, -1)
                for column, tokens, row, place in writes:
                    column[i][:, row, :, place] = parts[tokens, 1:]
                mixed = np.zeros((plan.rows, heads, self.head_dim), np.float32)
                attend(i, parts[:, 0], mixed[:count])
                x += layer.out(mixed.reshape(plan.rows, -1), plan.out)
                both = layer.up(self._normed(x), plan.up)
                gate, up = both[:, :inner], both[:, inner:]
                rate = np.exp(gate)
                rate += 1
                np.divide(gate, rate, out=rate)
                rate *= up
                x += layer.down(rate, plan.down)
            return self._normed(x[:count]) * self.norm

    def _tell(
        self, x: F32, ids: npt.NDArray[Any], at: npt.NDArray[Any], begins: npt.NDArray[Any]
    ) -> None:
        """Make the trunk's stream ``x`` what the layers above it read."""
        of_text = np.flatnonzero(at >= begins)
        if not len(of_text):
            x *= self._trunk_scale
            return
        said = self.logits(self._normed(x[of_text - 1]) * self._trunk_norm)
        best = said.max(axis=1, keepdims=True)
        said -= best
        own = said[np.arange(len(of_text)), ids[of_text]]
        total = np.log(np.exp(said).sum(axis=1))
        x *= self._trunk_scale
        for told, weight in zip(surprise(own - total, -total, np), self._surprise, strict=True):
            x[of_text] += told[:, None] * weight

    def logits(self, hidden: F32) -> F32:
        """Next-token logits ``(rows, vocabulary)`` of hidden states."""
        plan = self._plan(len(hidden))
        x = hidden
        if plan.rows != len(hidden):
            x = np.zeros((plan.rows, self.hidden), np.float32)
            x[: len(hidden)] = hidden
        return self._head(x, plan.head)[: len(hidden)]

    def values_of(self, hidden: F32) -> npt.NDArray[np.float64]:
        """The score head's probabilities for each hidden state ``(rows, labels)``."""
        if self.score is None:
            raise ValueError("these weights have no score head")
        weight, bias = self.score
        raw = (hidden[:, None, :] * weight).sum(axis=2, dtype=np.float64) + bias
        return np.asarray(1.0 / (1.0 + np.exp(-raw)))

    def _normed(self, x: F32) -> F32:
        """Rows of mean square 1."""
        out = x * x
        scale = np.add.reduce(out, axis=1, keepdims=True)
        scale /= np.float32(self.hidden)
        scale += self.eps
        np.sqrt(scale, out=scale)
        np.divide(x, scale, out=out)
        return out

    def _reading(
        self, groups: Sequence[tuple[int, int, Sequence[int]]]
    ) -> Callable[[int, F32, F32], None]:
        """Attention of consecutive tokens of a slot over what the slot holds."""
        texts = []
        first, d = 0, self.head_dim
        for slot, start, part in groups:  # first, since a column that grows is a new one
            cache, row = self._at(slot)
            cache.unshare(row)
            for c in range(-(-(start + len(part)) // CHUNK)):
                cache.column(c, row + 1)
        for slot, start, part in groups:
            cache, row = self._at(slot)
            count, end = len(part), start + len(part)
            cache.length[row] = end
            size = next((s for s in self._queries if s >= count), self._queries[-1])
            blocks, chunks = -(-count // size), -(-end // CHUNK)
            at = start + np.minimum(np.arange(blocks * size), count - 1).reshape(-1, 1, 1, size, 1)
            places = np.arange(chunks * CHUNK).reshape(1, 1, chunks, 1, CHUNK)
            mask = np.where(places > at, np.float32(-np.inf), np.float32(0))
            columns = [cache.columns[c][:, :, row] for c in range(chunks)]
            texts.append((slice(first, first + count), columns, mask))
            first += count

        def attend(i: int, q: F32, out: F32) -> None:
            for span, columns, mask in texts:
                count, (blocks, _, chunks, size, _) = span.stop - span.start, mask.shape
                asked = np.empty((blocks, self.heads, size, d), np.float32)
                spread = np.zeros((blocks * size, self.heads, d), np.float32)
                spread[:count] = q[span]
                asked[:] = spread.reshape(blocks, size, self.heads, d).swapaxes(1, 2)
                w = np.empty((blocks, self.heads, chunks, size, CHUNK), np.float32)
                for c, column in enumerate(columns):
                    np.matmul(asked, column[i, 0].swapaxes(-1, -2), out=w[:, :, c])
                w += mask
                w -= w.max(axis=(2, 4), keepdims=True)
                np.exp(w, out=w)
                sums = np.add.reduce(w, axis=4)
                total, mixed = sums[:, :, 0], np.matmul(w[:, :, 0], columns[0][i, 1])
                for c, column in enumerate(columns[1:], 1):
                    total += sums[:, :, c]
                    mixed += np.matmul(w[:, :, c], column[i, 1])
                mixed /= total[..., None]
                out[span] = mixed.swapaxes(1, 2).reshape(-1, self.heads, d)[:count]

        return attend

    def _decoding(self, first: int, at: npt.NDArray[Any]) -> Callable[[int, F32, F32], None]:
        """Attention of one token in each slot from ``first`` on, at the positions ``at``.

        What several of these rows share is read once for all of them.
        """
        cache, heads, d, size = self._cache, self.heads, self.head_dim, self._queries[0]
        count, end = len(at), first + len(at)
        users: dict[int, list[int]] = {}
        for row in range(count):
            cache.length[first + row] = int(at[row]) + 1
            base = cache.base[first + row]
            if base is not None:
                users.setdefault(id(base), []).append(row)
        shared: list[tuple[npt.NDArray[Any] | slice, int, int, int, F32]] = []
        for rows in users.values():
            base = cache.base[first + rows[0]]
            assert base is not None
            for a in range(0, len(rows), self._queries[-1]):
                some = rows[a : a + self._queries[-1]]
                wide = next(s for s in self._queries if s >= len(some))
                dense = some[-1] - some[0] + 1 == len(some)
                index = slice(some[0], some[-1] + 1) if dense else np.array(some)
                shared.append((index, len(some), wide, len(base.ids) // CHUNK, base.kv))
        own = at - CHUNK * np.array([cache.start(row) for row in range(first, end)])
        chunks = int(own.max()) // CHUNK + 1
        places = np.arange(chunks * CHUNK)
        mask = np.where(places > own[:, None], np.float32(-np.inf), np.float32(0))
        mask = mask.reshape(count, 1, chunks, CHUNK)
        columns: list[tuple[int, slice, F32]] = []
        for c in range(chunks):
            reach = np.flatnonzero(own >= c * CHUNK)  # the rows that have come so far
            span = slice(int(reach[0]), int(reach[-1]) + 1)
            column = cache.column(c, first + span.stop)
            columns.append((c, span, column[:, :, first + span.start : first + span.stop]))
        asked = np.zeros((count, heads, size, d), np.float32)
        scores = np.empty((count, heads, size, CHUNK), np.float32)
        parts = np.empty((count, heads, size, d), np.float32)
        flat = np.full((count, heads, chunks, CHUNK), -np.inf, np.float32)
        padded = np.zeros((count, heads, chunks, size, CHUNK), np.float32)
        w = padded[:, :, :, 0]

        def attend(i: int, q: F32, out: F32) -> None:
            asked[:, :, 0] = q
            for c, span, column in columns:
                np.matmul(asked[span], column[i, 0].swapaxes(-1, -2), out=scores[span])
                np.add(scores[span, :, 0], mask[span, :, c], out=flat[span, :, c])
            top = flat.reshape(count, heads, -1).max(axis=2)
            theirs = []
            for index, some, wide, whole, kv in shared:
                block = np.zeros((heads, 1, wide, d), np.float32)
                block[:, 0, :some] = q[index].swapaxes(0, 1)
                s = np.matmul(block, kv[i, 0, :, :whole].swapaxes(-1, -2))
                most = s.max(axis=(1, 3))
                top[index] = np.maximum(top[index], most[:, :some].T)
                theirs.append((s, most))
            np.subtract(flat, top[:, :, None, None], out=w)
            np.exp(w, out=w)
            sums = np.add.reduce(w, axis=3)
            total = np.zeros((count, heads), np.float32)
            for (index, some, _, whole, kv), (s, most) in zip(shared, theirs, strict=True):
                most[:, :some] = top[index].T
                s -= most[:, None, :, None]
                np.exp(s, out=s)
                amounts, mixes = np.add.reduce(s, axis=3), np.matmul(s, kv[i, 1, :, :whole])
                amount, mixed = amounts[:, 0], mixes[:, 0]
                for c in range(1, whole):
                    amount += amounts[:, c]
                    mixed += mixes[:, c]
                total[index] = amount[:, :some].T
                out[index] = mixed[:, :some].swapaxes(0, 1)
            for c, span, column in columns:
                np.matmul(padded[span, :, c], column[i, 1], out=parts[span])
                total[span] += sums[span, :, c]
                out[span] += parts[span, :, 0]
            out /= total[:, :, None]

        return attend


def surprise(own: Any, best: Any, xp: Any) -> tuple[Any, Any, Any]:
    """What a reward model is told of a token of log probability ``own`` where the likeliest had ``best``.

    Its probability, and within bounds its log probability and that against the likeliest, by the arrays
    of ``xp`` (numpy or torch).
    """
    return xp.exp(own), xp.clip(own, -12, 0) / 4, xp.clip(own - best, -12, 0) / 4


def _trunk(folder: Path, metadata: dict[str, str]) -> dict[str, F32]:
    """The weights of the language model that a reward model lies above."""
    path = folder / "model.safetensors"
    if not path.exists():
        raise BadInput(f"no language model in {folder}: its reward model cannot work without it")
    raw = path.read_bytes()
    if hashlib.sha256(raw).hexdigest() != metadata.get("trunk"):
        raise BadInput(
            f"{folder} holds other weights than those that its reward model was trained on: "
            f"'outthink fly train --stage reward --out {folder}' trains one for them, where fly made them"
        )
    return read_safetensors(raw, "model.safetensors")[0]


def _weights(w: dict[str, F32], i: int) -> tuple[F32, F32, F32, F32, F32, F32]:
    """Norm, query-key-value, output, norm, gate-up and down of layer ``i``, as in the file."""
    name = f"model.layers.{i}."
    att, mlp = name + "self_attn.", name + "mlp."
    return (
        w[name + "input_layernorm.weight"],
        np.concatenate([w[f"{att}{p}_proj.weight"] for p in "qkv"]),
        w[att + "o_proj.weight"],
        w[name + "post_attention_layernorm.weight"],
        np.concatenate([w[f"{mlp}gate_proj.weight"], w[f"{mlp}up_proj.weight"]]),
        w[mlp + "down_proj.weight"],
    )


def alike(length: int, product: Callable[[F32], F32]) -> dict[int, float]:
    """Block sizes in which rows of ``length`` get equal bits from ``product``, with seconds a row.

    BLAS may treat the rows of one product differently by place (threads, edge kernels), and take
    the same sum in another order in another shape.  ``product`` maps ``(blocks, size, length)``; of
    the sizes that keep bits, those that agree with most others are taken; where none does, 1.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((SIZES[-1], length)).astype(np.float32)
    turned = np.roll(x, 1, axis=0)
    found: list[tuple[F32, dict[int, float]]] = []
    for size in SIZES:
        shape = (-1, size, length)
        costs = []
        for rows in (x, x, turned):
            began = time.perf_counter()
            out = product(rows.reshape(shape)).reshape(len(x), -1)
            costs.append(time.perf_counter() - began)
            if rows is x:
                straight = out
        if not np.array_equal(np.roll(out, -1, axis=0), straight):
            continue
        for other, sizes in found:
            if np.array_equal(other, straight):
                sizes[size] = min(costs) / len(x)
                break
        else:
            found.append((straight, {size: min(costs) / len(x)}))
    if not found:
        return {1: 1.0}
    return max((sizes for _, sizes in found), key=len)
