"""``fly`` for other runtimes: a folder that transformers loads, a GGUF file that llama.cpp runs.

The weights are a plain Llama and stay as they are; what is added is what those runtimes ask for: the
chat template (the same prompts as ``prompt_ids``), the token that begins a text, and to draw from the
model's own distribution where a request does not say otherwise.

**Two layouts of rotations.**  transformers rotates dimension ``i`` of a head with ``i + d/2``, llama.cpp
``2i`` with ``2i + 1``: the rows of queries and keys are put in that order.

**The same tokens.**  llama.cpp knows how to cut texts by a name only.  Every token of this vocabulary
is one character or a word of ASCII letters, after a space or not, so any cut that parts neither words
nor a space from what follows it gives the same ids; ``poro-chat`` is one (``gpt-2`` is not: it parts
``'they`` after the ``t``).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from outthink.core.errors import BadInput, MissingNeed
from outthink.core.nouns import Floats
from outthink.models.fly import JUDGING

#: How a chat becomes a prompt, as ``prompt_ids`` does.  ``think`` is None, "free" or a dial; without a
#: generation prompt a last message of the assistant is the answer itself, whole or begun.  fly passes
#: over a system message; llama.cpp would put it before the question if the template did not look at it.
CHAT_TEMPLATE = (
    "{%- set unread = messages[0]['content'] -%}"
    "{%- set users = messages | selectattr('role', 'equalto', 'user') | list -%}"
    "{%- set tries = messages | selectattr('role', 'equalto', 'assistant') | list -%}"
    "{%- set begun = not add_generation_prompt and messages[-1]['role'] == 'assistant' -%}"
    "{%- if begun -%}{%- set tries = tries[:-1] -%}{%- endif -%}"
    "{{- '<bos>' + (users[0] if users else messages[-1])['content'] | trim + '\\n' -}}"
    "{%- if tries and users | length > 1"
    f" and (users[-1]['content'] | trim).startswith('{JUDGING}') -%}}"
    "{{- '<judge>' + tries[-1]['content'] | trim + '\\n<judge>' -}}"
    "{%- elif tries -%}"
    "{%- for message in tries[-2:] -%}"
    "{{- '<try>' + message['content'] | trim + '\\n' -}}"
    "{%- endfor -%}"
    "{{- '<try>' -}}"
    "{%- elif think is defined and think is not none -%}"
    "{{- '<think>' + ('' if think == 'free' else think | string) + '\\n' -}}"
    "{%- endif -%}"
    "{%- if begun -%}{{- messages[-1]['content'] + '<eos>' -}}{%- endif -%}"
)

#: types that a GGUF file can have, and what ``gguf`` calls the files
DTYPES = {
    "f32": ("F32", "ALL_F32"),
    "f16": ("F16", "MOSTLY_F16"),
    "bf16": ("BF16", "MOSTLY_BF16"),
    "q8_0": ("Q8_0", "MOSTLY_Q8_0"),
}
#: the most that is written where a request does not say
MOST_TOKENS = 800

_TENSORS = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def _read(weights: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration and the tokenizer of a folder of weights."""
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        if not (weights / name).exists():
            raise BadInput(
                f"no weights in {weights} ({name} is missing): 'outthink fly train' makes them"
            )
    config = json.loads((weights / "config.json").read_text(encoding="utf-8"))
    if config.get("architectures") != ["LlamaForCausalLM"]:
        raise BadInput(f"{weights} holds no language model, and only those can be exported")
    return config, json.loads((weights / "tokenizer.json").read_text(encoding="utf-8"))


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of ``path`` once all is written."""
    work = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield work
        work.replace(path)
    finally:
        work.unlink(missing_ok=True)


# -- transformers --------------------------------------------------------------------------------------


def export_hf(weights: Path, out: Path) -> Path:
    """Write the folder ``out`` for transformers; ``fly(weights=...)`` reads it too.

    Needs nothing that is not in the core.
    """
    config, tokenizer = _read(weights)
    if out.exists() and out.samefile(weights):
        raise BadInput(f"{out} is where the weights come from: name another folder")
    out.mkdir(parents=True, exist_ok=True)
    special = {kind: config[f"{kind}_token_id"] for kind in ("bos", "eos", "pad")}
    texts = {t["id"]: t["content"] for t in tokenizer["added_tokens"]}
    bos = texts[special["bos"]]
    begin = {"SpecialToken": {"id": bos, "type_id": 0}}
    a, b = ({"Sequence": {"id": name, "type_id": i}} for i, name in enumerate("AB"))
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [begin, a],
        "pair": [begin, a, b],
        "special_tokens": {bos: {"id": bos, "ids": [special["bos"]], "tokens": [bos]}},
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{kind}_token": texts[i] for kind, i in special.items()},
        "add_bos_token": True,
        "clean_up_tokenization_spaces": False,
        "model_max_length": config["max_position_embeddings"],
        "chat_template": CHAT_TEMPLATE,
    }
    # transformers draws only where it is told to, and then from the 50 likeliest tokens
    drawing = {
        **{f"{kind}_token_id": i for kind, i in special.items()},
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "max_new_tokens": MOST_TOKENS,
    }
    files = {
        # kept in bfloat16, computed in float32, as in the numpy runtime
        "config.json": {**config, "dtype": "float32"},
        "generation_config.json": drawing,
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": settings,
    }
    for name, facts in files.items():
        text = json.dumps(facts, ensure_ascii=False, indent=1) + "\n"
        _write(out / name, text.encode())
    _write(out / "model.safetensors", (weights / "model.safetensors").read_bytes())
    return out


def _write(path: Path, raw: bytes) -> None:
    with _replacing(path) as work:
        work.write_bytes(raw)


# -- llama.cpp -----------------------------------------------------------------------------------------


def rotated(weight: Floats, heads: int) -> Floats:
    """Rows of queries or keys ``(heads * d, width)``: pairs ``i, i + d/2`` of a head become neighbours."""
    rows, width = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def tensors_of(weights: Path, config: Mapping[str, Any]) -> dict[str, Floats]:
    """The weights as float32, under llama.cpp's names and in its layout."""
    from outthink.models.fly.engine import load_safetensors

    heads = config["num_attention_heads"]
    groups = {"attn_q": heads, "attn_k": config.get("num_key_value_heads") or heads}
    found: dict[str, Floats] = {}
    for name, weight in load_safetensors(weights / "model.safetensors")[0].items():
        part = name.removesuffix(".weight")
        place = ""
        if part.startswith("model.layers."):
            _, _, layer, part = part.split(".", 3)
            place = f"blk.{layer}."
        if part not in _TENSORS:
            raise BadInput(f"{weights}: a tensor {name}, which fly does not have")
        kind = _TENSORS[part]
        array: Any = weight
        found[f"{place}{kind}.weight"] = rotated(array, groups[kind]) if kind in groups else array
    return found


def export_gguf(weights: Path, out: Path, dtype: str = "f32", name: str = "fly") -> Path:
    """Write the file ``out`` for llama.cpp: ``f32``, ``f16``, ``bf16`` or ``q8_0``.

    Norms stay in float32.  Needs ``gguf`` (extra ``[local]``).
    """
    if dtype not in DTYPES:
        raise BadInput(f"dtype={dtype!r}: a GGUF file can have {', '.join(DTYPES)}")
    config, tokenizer = _read(weights)
    try:
        import gguf
    except ImportError as error:
        raise MissingNeed("a GGUF file needs gguf: pip install 'outthink[local]'") from error
    tensors = tensors_of(weights, config)
    kind, whole = DTYPES[dtype]
    row = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][0]
    odd = {t.shape[-1] for t in tensors.values() if t.ndim > 1 and t.shape[-1] % row}
    if odd:
        told = ", ".join(map(str, sorted(odd)))
        raise BadInput(
            f"{dtype} packs numbers by {row}, and rows of {told} do not divide: take f16 or f32"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(out) as work:
        writer = gguf.GGUFWriter(str(work), "llama")
        _add_facts(writer, config, name)
        writer.add_file_type(gguf.LlamaFileType[whole])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        _add_tokens(writer, gguf.TokenType, config, tokenizer)
        for label, weight in tensors.items():
            as_type = gguf.GGMLQuantizationType[kind if weight.ndim > 1 else "F32"]
            writer.add_tensor(label, gguf.quants.quantize(weight, as_type), raw_dtype=as_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return out


def _add_facts(writer: Any, config: Mapping[str, Any], name: str) -> None:
    heads = config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    rope = config.get("rope_parameters") or config
    writer.add_name(name)
    writer.add_license("apache-2.0")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10_000.0)))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    # llama-server draws from the model's own distribution where a request does not say otherwise
    writer.add_float32("general.sampling.temp", 1.0)
    writer.add_int32("general.sampling.top_k", 0)
    writer.add_float32("general.sampling.top_p", 1.0)
    writer.add_float32("general.sampling.min_p", 0.0)


def _add_tokens(
    writer: Any, kinds: Any, config: Mapping[str, Any], tokenizer: Mapping[str, Any]
) -> None:
    added = {t["id"]: t for t in tokenizer["added_tokens"]}
    vocab = {i: text for text, i in tokenizer["model"]["vocab"].items()}
    tokens, types = [], []
    for i in range(config["vocab_size"]):
        if i in added:
            # a special token is never shown; a mark of thoughts is, and is read in any text
            special = added[i]["special"]
            tokens.append(added[i]["content"])
            types.append(kinds.CONTROL if special else kinds.USER_DEFINED)
        else:
            tokens.append(vocab.get(i, f"[PAD{i}]"))
            types.append(kinds.NORMAL if i in vocab else kinds.UNUSED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("poro-chat")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    # for texts that no template went over; servers do not add it to what the template begins with it
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
