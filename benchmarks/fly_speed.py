"""Tokens a second of fly's numpy runtime and of transformers' ``generate``, in one run.

Both sample at temperature 1 with a key-value cache, from the same weights and prompt, in the same
batch and with the same threads; they take turns, and medians are shown, so that whatever else the
machine does hits both (on a busy machine go by the ratio of CPU time, with one thread).  Nothing
ends early: the end of text is made impossible.  Beside them: the machine's float32 matmul rate with
those threads, what share of it decoding reaches (2 FLOP a weight and token), the most memory that a
process takes that only decodes, and the time from ``import outthink`` to a first token.  Target:
twice transformers at batch 64, 300 MB, 300 ms.

    python benchmarks/fly_speed.py                       # random weights of the shipped shape
    python benchmarks/fly_speed.py --weights FOLDER --batch 1 16 64 256 --threads 2 --json FILE
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parents[1]
BUNDLED = ROOT / "outthink" / "models" / "fly" / "weights"


def random_weights(folder: Path, hidden: int, layers: int, heads: int, inner: int) -> None:
    """Random weights of a shape, as transformers and fly read them."""
    rng = np.random.default_rng(0)
    tensors: dict[str, np.ndarray[Any, Any]] = {
        "model.embed_tokens.weight": rng.normal(0, 0.05, (512, hidden)),
        "model.norm.weight": np.ones(hidden),
    }
    for i in range(layers):
        name = f"model.layers.{i}."
        for part in "qkvo":
            tensors[f"{name}self_attn.{part}_proj.weight"] = rng.normal(0, 0.05, (hidden, hidden))
        for part, shape in (
            ("gate", (inner, hidden)),
            ("up", (inner, hidden)),
            ("down", (hidden, inner)),
        ):
            tensors[f"{name}mlp.{part}_proj.weight"] = rng.normal(0, 0.05, shape)
        for part in ("input", "post_attention"):
            tensors[f"{name}{part}_layernorm.weight"] = np.ones(hidden)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, tensor in tensors.items():
        raw = (tensor.astype(np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
        header[name] = {
            "dtype": "BF16",
            "shape": tensor.shape,
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    head = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 512,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": hidden // heads,
        "hidden_act": "silu",
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_bytes((BUNDLED / "tokenizer.json").read_bytes())


def prompt(length: int) -> tuple[int, ...]:
    return (1, *np.random.default_rng(1).integers(9, 380, length - 1).tolist())


def peak(threads: int) -> float:
    """FLOP/s of the best of some large float32 products with this many BLAS threads."""
    x = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)
    out, best = np.empty_like(x), np.inf
    with threadpool_limits(threads, user_api="blas"):
        for _ in range(8):
            began = time.perf_counter()
            np.matmul(x, x, out=out)
            best = min(best, time.perf_counter() - began)
    return 2 * 1024**3 / best


def numpy_side(folder: Path, threads: int, rows: int) -> Callable[[int, int, int], int]:
    """``decode(batch, prompt tokens, new tokens)`` by fly, giving the tokens written."""
    from outthink.models.fly.decode import Decoder, Job
    from outthink.models.fly.engine import Network
    from outthink.models.fly.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    tokenizer.eos = -1  # never drawn
    decoder = Decoder(Network(folder), tokenizer, max_rows=rows, threads=threads)

    def decode(batch: int, read: int, new: int) -> int:
        ended = threading.Event()
        failed: list[BaseException] = []

        def done(_: Job, error: BaseException | None) -> None:
            if error is not None:
                failed.append(error)
            ended.set()

        job = Job(prompt(read), tuple(range(batch)), new, 1.0, 1.0, 0, (), done)
        decoder.submit(job)
        ended.wait()
        if failed:
            raise failed[0]
        return sum(len(r.tokens) for r in job.rows)

    return decode


def torch_side(folder: Path, threads: int) -> Callable[[int, int, int], int]:
    """The same by transformers."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    model = transformers.LlamaForCausalLM.from_pretrained(str(folder)).float().eval()

    def decode(batch: int, read: int, new: int) -> int:
        ids = torch.tensor([prompt(read)] * batch)
        with torch.inference_mode():
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=new,
                min_new_tokens=new,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                use_cache=True,
            )
        return int(out.shape[0] * (out.shape[1] - read))

    return decode


def status(field: str) -> float:
    """MB of a field of this process's memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return float("nan")


def memory(folder: Path, threads: int, batch: int, read: int, new: int) -> None:
    """(in a process of its own) Decode once and print the most memory taken."""
    import outthink  # noqa: F401

    start = status("VmHWM")
    numpy_side(folder, threads, batch)(batch, read, new)
    print(json.dumps([start, status("VmHWM")]))


def first(folder: Path) -> None:
    """(in a process of its own) Milliseconds from the end of ``import outthink`` to a first token."""
    import outthink  # noqa: F401

    began, spent = time.perf_counter(), time.process_time()
    import anyio

    from outthink.core.budget import Budget, Meter, Usage
    from outthink.core.model import Request
    from outthink.models.fly import Fly

    async def ask() -> int:
        model = Fly(weights=str(folder)).open()
        ticket = Meter(Budget()).reserve(Usage())
        messages = ({"role": "user", "content": "Ada has 3 pens. How many pens has Ada?"},)
        reply = await model.generate(Request(messages, max_tokens=1), ticket)
        return reply.generations[0].tokens

    assert anyio.run(ask) == 1
    wall, used = time.perf_counter() - began, time.process_time() - spent
    print(json.dumps([wall * 1000, used * 1000]))


def apart(*arguments: object) -> Any:
    """What this file prints in a process of its own."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--weights", type=Path, help="a folder; without it random weights")
    parser.add_argument("--shape", type=int, nargs=4, default=[192, 5, 4, 512])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--threads", type=int, default=min(os.cpu_count() or 1, 4))
    parser.add_argument("--prompt", type=int, default=100)
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=["memory", "first"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = args.weights or Path(made)
        if not args.weights:
            random_weights(folder, *args.shape)
        if args.only == "memory":
            memory(folder, args.threads, args.batch[0], args.prompt, args.new)
        elif args.only == "first":
            first(folder)
        else:
            report(args, folder)


def versus(ours: list[float], theirs: list[float]) -> float:
    """The median of the ratios, turn by turn."""
    return statistics.median([a / b for a, b in zip(ours, theirs, strict=False)] or [float("nan")])


def report(args: argparse.Namespace, folder: Path) -> None:
    sides = {"numpy": numpy_side(folder, args.threads, max(args.batch))}
    versions = {"numpy": np.__version__, "python": platform.python_version()}
    try:
        sides["transformers"] = torch_side(folder, args.threads)
        import torch
        import transformers

        versions |= {"torch": torch.__version__, "transformers": transformers.__version__}
    except ImportError:
        print("transformers or torch is not installed: no comparison")
    shape = json.loads((folder / "config.json").read_text())
    hidden, layers, inner = (
        shape[k] for k in ("hidden_size", "num_hidden_layers", "intermediate_size")
    )
    weights = layers * hidden * (4 * hidden + 3 * inner) + shape["vocab_size"] * hidden
    rows = []
    print(
        f"{weights / 1e6:.2f}M weights in products, {args.prompt} + {args.new} tokens, "
        f"{args.threads} threads, {args.turns} turns"
    )
    head = f"{'batch':>5}  {'numpy':>9}  {'transformers':>12}  {'ratio':>6}  {'by CPU':>6}  {'of peak':>8}"
    print(head + "   (tokens/s)")
    for batch in args.batch:
        rates: dict[str, list[float]] = {name: [] for name in sides}
        costs: dict[str, list[float]] = {name: [] for name in sides}
        peaks = []
        for decode in sides.values():
            decode(batch, args.prompt, args.new)
        for _ in range(args.turns):
            peaks.append(peak(args.threads))
            for name, decode in sides.items():
                began, spent = time.perf_counter(), time.process_time()
                tokens = decode(batch, args.prompt, args.new)
                rates[name].append(tokens / (time.perf_counter() - began))
                costs[name].append((time.process_time() - spent) / tokens)
        middle = {name: statistics.median(values) for name, values in rates.items()}
        best = statistics.median(peaks)
        share = middle["numpy"] * 2 * weights / best
        theirs = middle.get("transformers", float("nan"))
        ratio = versus(rates["numpy"], rates.get("transformers", []))
        by_cpu = versus(costs.get("transformers", []), costs["numpy"])
        rows.append(
            {
                "batch": batch,
                "numpy": middle["numpy"],
                "transformers": theirs,
                "ratio": ratio,
                "ratio_by_cpu_time": by_cpu,
                "cpu_us_a_token": {n: statistics.median(c) * 1e6 for n, c in costs.items()},
                "of_peak": share,
                "peak_gflops": best / 1e9,
            }
        )
        print(
            f"{batch:5d}  {middle['numpy']:9.0f}  {theirs:12.0f}  {ratio:6.2f}  {by_cpu:6.2f}  {share:8.1%}"
            f"   (peak {best / 1e9:.0f} GFLOP/s)",
            flush=True,
        )
    common = ("--weights", folder, "--threads", args.threads)
    most = max(args.batch)
    lengths = ("--prompt", args.prompt, "--new", args.new)
    start, top = apart(*common, "--only", "memory", "--batch", most, *lengths)
    firsts = [apart(*common, "--only", "first") for _ in range(args.turns)]
    wall, used = (statistics.median(values) for values in zip(*firsts, strict=True))
    print(f"most memory at batch {most}: {top:.0f} MB ({start:.0f} MB after import outthink)")
    print(f"first token after import outthink: {wall:.0f} ms ({used:.0f} ms of CPU)")
    found = {
        "machine": platform.processor() or platform.machine(),
        "versions": versions,
        "threads": args.threads,
        "prompt": args.prompt,
        "new": args.new,
        "turns": args.turns,
        "weights": weights,
        "rows": rows,
        "memory_mb": top,
        "memory_after_import_mb": start,
        "first_token_ms": wall,
        "first_token_cpu_ms": used,
        "targets": {"ratio_at_64": 2.0, "memory_mb": 300, "first_token_ms": 300},
    }
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
