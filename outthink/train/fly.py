"""Train ``fly`` and its process reward model from nothing (extra ``[train]``).

The language model is a small Llama, trained on the reference solutions of ``outthink.tasks`` with
the loss on the solution only.  The process reward model starts from its weights and learns, at
every token of a solution (its own samples, and spoiled references), whether the line is right so
far: the label is exact, since the family knows every true step.

Everything is a function of the recipe: batch ``b`` is drawn from ``(seed, b)``, the learning rate
depends on the step, and the number of steps follows from the token budget.  A killed run goes on
from its last checkpoint and ends in the same weights (same torch, same number of threads).
"""

from __future__ import annotations

import csv
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from outthink.models.fly.tokenizer import PIECES, SPECIALS
from outthink.tasks import chain

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    seed: int = 0
    tokens: int = 16_000_000
    hidden: int = 160
    layers: int = 6
    heads: int = 5
    ffn: int = 432
    vocab: int = 512
    batch_tokens: int = 6144
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    warmup: int = 100
    threads: int = 2
    bf16: bool = True
    digit_weights: tuple[int, ...] = (2, 4, 3, 1)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise RuntimeError("training needs torch: pip install 'outthink[train]'") from error
    return torch


def train_tokenizer(recipe: Recipe, out: Path) -> Path:
    """Learn the byte-level BPE on training problems and write ``tokenizer.json``."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    problems = chain.stream("train", recipe.seed)
    texts = [p.question + "\n" + p.solution for _, p in zip(range(3000), problems, strict=False)]
    tokenizer.train_from_iterator(texts, trainer)
    path = out / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def draw(rng: random.Random, recipe: Recipe) -> chain.ChainProblem:
    """A training problem with the recipe's mixture of dials; never one of another split."""
    while True:
        digits = rng.choices(range(1, chain.MAX_DIGITS + 1), recipe.digit_weights)[0]
        problem = chain.make(rng.randint(1, chain.MAX_STEPS), digits, rng.getrandbits(48))
        if problem.split == "train":
            return problem


Rows = Callable[[random.Random], list[tuple[list[int], list[float]]]]


def pack(tag: str, rows_of: Rows, batch_tokens: int, start: int) -> Iterator[tuple[Any, Any]]:
    """``(ids (rows, length), targets (rows, length))`` from batch ``start`` on, without an end.

    Rows come in groups of 8 batches, sorted by length inside the group so that little is padded;
    targets are -100 on padding.  Batch ``b`` depends on ``tag`` and ``b`` alone.
    """
    size, number = 8, start
    while True:
        group, first = divmod(number, size)
        rng = random.Random(f"{tag}/{group}")
        rows: list[tuple[list[int], list[float]]] = []
        total = 0
        while total < size * batch_tokens:
            fresh = rows_of(rng)
            rows += fresh
            total += sum(len(ids) for ids, _ in fresh)
        rows.sort(key=lambda row: len(row[0]))
        ends = np.cumsum([len(ids) for ids, _ in rows])
        edges = [int(np.searchsorted(ends, ends[-1] * i / size)) for i in range(size + 1)]
        edges[-1] = len(rows)
        order = list(range(size))
        rng.shuffle(order)
        for i in range(first, size):
            part = rows[edges[order[i]] : edges[order[i] + 1]]
            width = max(len(ids) for ids, _ in part)
            x = np.zeros((len(part), width), dtype=np.int64)
            y = np.full((len(part), width), -100.0)
            for r, (ids, targets) in enumerate(part):
                x[r, : len(ids)] = ids
                y[r, : len(ids)] = targets
            yield x, y
            number += 1


def solutions(recipe: Recipe, tokenizer: Any) -> Rows:
    """Rows for the language model: 64 problems with their solutions, the loss on the solution."""

    def rows_of(rng: random.Random) -> list[tuple[list[int], list[float]]]:
        chunk = [draw(rng, recipe) for _ in range(64)]
        questions = tokenizer.encode_batch([p.question + "\n" for p in chunk])
        answers = tokenizer.encode_batch([p.solution for p in chunk])
        rows: list[tuple[list[int], list[float]]] = []
        for q, a in zip(questions, answers, strict=True):
            ids = [1, *q.ids, *a.ids, 2]
            rows.append(
                (ids, [-100.0] * (len(q.ids) + 1) + [float(i) for i in ids[len(q.ids) + 1 :]])
            )
        return rows

    return rows_of


def build(recipe: Recipe) -> Any:
    """The untrained Llama of this recipe (transformers' own layout)."""
    torch = _torch()
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=recipe.vocab,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.ffn,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=1024,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.04,
    )
    return LlamaForCausalLM(config)


def _rate(step: int, steps: int, recipe: Recipe) -> float:
    """Linear warm-up, then linear decay to zero."""
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    return recipe.learning_rate * max(0.0, (steps - step) / max(1, steps - recipe.warmup))


def _optimizer(model: Any, recipe: Recipe, trunk: Any = None) -> Any:
    """AdamW without decay on vectors; the parameters of ``trunk`` (and embeddings) in own groups."""
    torch = _torch()
    old = {id(p) for p in trunk.parameters()} if trunk is not None else set()
    if trunk is not None:
        old |= {id(p) for p in model.model.embed_tokens.parameters()}
    groups = []
    for is_trunk in (False, True):
        for decay in (True, False):
            chosen = [
                p
                for p in model.parameters()
                if (p.ndim >= 2) == decay and (id(p) in old) == is_trunk
            ]
            if chosen:
                rate = recipe.weight_decay if decay else 0.0
                groups.append({"params": chosen, "weight_decay": rate, "trunk": is_trunk})
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95))


def train_language_model(
    recipe: Recipe, out: Path, seconds: float | None = None, progress: Progress = print
) -> dict[str, Any]:
    """Train the language model into ``out``; returns a summary.

    Goes on from ``out/checkpoint.pt`` if there is one of the same recipe.  ``seconds`` bounds this
    call only: a later call goes on where it stopped.
    """
    torch = _torch()
    import tokenizers

    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(recipe.threads)
    if not (out / "tokenizer.json").exists():
        train_tokenizer(recipe, out)
    tokenizer = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
    model = build(recipe)
    optimizer = _optimizer(model, recipe)
    steps = recipe.tokens // recipe.batch_tokens
    step, seen = 0, 0
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state["recipe"] != json.dumps(asdict(recipe)):
            raise ValueError(f"{checkpoint} has another recipe: choose another folder or remove it")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, seen = state["step"], state["tokens"]
        progress(f"resumed at step {step} of {steps}")
    curve = out / "curve.csv"
    if step == 0:
        curve.write_text("step,tokens,loss,learning_rate,seconds\n")
    started = saved = time.monotonic()

    def save() -> None:
        state = {
            "recipe": json.dumps(asdict(recipe)),
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "tokens": seen,
        }
        torch.save(state, checkpoint.with_suffix(".new"))
        checkpoint.with_suffix(".new").replace(checkpoint)

    model.train()
    losses: list[float] = []
    rows_of = solutions(recipe, tokenizer)
    for x, marks in pack(f"fly/{recipe.seed}", rows_of, recipe.batch_tokens, step):
        y = marks.astype(np.int64)
        if step >= steps or (seconds is not None and time.monotonic() - started > seconds):
            break
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, steps, recipe)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bf16):
            logits = model(input_ids=torch.from_numpy(x)).logits.float()
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].reshape(-1, recipe.vocab), torch.from_numpy(y[:, 1:]).reshape(-1)
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step, seen = step + 1, seen + int((x != 0).sum())
        losses.append(float(loss.detach()))
        if step % 25 == 0 or step == steps:
            mean, elapsed = sum(losses) / len(losses), time.monotonic() - started
            losses = []
            with curve.open("a", newline="") as file:
                rate = f"{_rate(step - 1, steps, recipe):.2e}"
                csv.writer(file).writerow([step, seen, f"{mean:.4f}", rate, round(elapsed)])
            progress(f"step {step}/{steps}  {seen:,} tokens  loss {mean:.4f}  {elapsed:.0f} s")
        if time.monotonic() - saved > 120:
            save()
            saved = time.monotonic()
    save()
    finished = step >= steps
    if finished:
        export(model, recipe, out, {"kind": "language model", "tokens_seen": seen, "steps": step})
    return {"step": step, "steps": steps, "tokens": seen, "finished": finished}


def export(model: Any, recipe: Recipe | PrmRecipe, out: Path, extra: dict[str, Any]) -> None:
    """Write bf16 safetensors with the recipe in the metadata, and ``config.json``."""
    torch = _torch()
    from safetensors.torch import save_file

    weights = {
        name: tensor.detach().to(torch.bfloat16).contiguous().clone()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }
    metadata = {"format": "pt", "recipe": json.dumps(asdict(recipe)), "torch": torch.__version__}
    metadata.update({k: str(v) for k, v in extra.items()})
    save_file(weights, str(out / "model.safetensors"), metadata=metadata)
    config = model.config.to_dict()
    config["architectures"] = [type(model).__name__]
    config.pop("_name_or_path", None)
    (out / "config.json").write_text(json.dumps(config, indent=1, default=str) + "\n")


@dataclass(frozen=True)
class PrmRecipe:
    """Everything that decides the process reward model's weights, given the language model's.

    The trunk is the language model's, with ``extra_layers`` on top: a transformer knows what it
    expected of a token only in its last layers, so what compares the token with it comes after.
    ``spoil`` is the share of lines that are made wrong in reference solutions: many more than the
    language model gets wrong, since it is wrong lines that teach; the scores are the lower for it.
    """

    seed: int = 0
    tokens: int = 8_000_000
    extra_layers: int = 2
    problems: int = 7_000
    samples: int = 4
    temperature: float = 1.0
    sample_digits: tuple[int, ...] = (1, 5, 4, 0)
    spoil_digits: tuple[int, ...] = (2, 7, 1, 0)
    own_share: float = 0.5
    spoil: float = 0.3
    batch_tokens: int = 6144
    learning_rate: float = 1.5e-3
    trunk_rate: float = 0.2
    weight_decay: float = 0.05
    warmup: int = 60
    line_weight: float = 4.0
    threads: int = 2
    bf16: bool = True


def sample_solutions(
    recipe: PrmRecipe, weights: Path, out: Path, seconds: float | None, progress: Progress
) -> bool:
    """Let the language model of ``weights`` write solutions to training problems.

    Appends to ``out/samples.jsonl`` (dials, seed, text, step labels) chunk by chunk, and goes on
    where the file ends; true when all are there.
    """
    torch = _torch()
    import tokenizers
    from transformers import LlamaForCausalLM

    path, chunk = out / "samples.jsonl", 96
    tokenizer = tokenizers.Tokenizer.from_file(str(weights / "tokenizer.json"))
    model: Any = LlamaForCausalLM.from_pretrained(str(weights))
    model = model.float().eval()
    have = len(path.read_text().splitlines()) if path.exists() else 0
    first = have // (chunk * recipe.samples)
    if path.exists():
        kept = path.read_text().splitlines(keepends=True)[: first * chunk * recipe.samples]
        path.write_text("".join(kept))
    chunks = -(-recipe.problems // chunk)
    started = time.monotonic()
    for number in range(first, chunks):
        if seconds is not None and time.monotonic() - started > seconds:
            return False
        rng = random.Random(f"prm/{recipe.seed}/{number}")
        torch.manual_seed(rng.getrandbits(48))
        dials = Recipe(seed=recipe.seed, digit_weights=recipe.sample_digits)
        problems = [draw(rng, dials) for _ in range(chunk)]
        problems.sort(key=lambda p: len(p.question))
        lines: list[str] = []
        for at in range(0, chunk, 32):
            part = [p for p in problems[at : at + 32] for _ in range(recipe.samples)]
            rows = [[1, *tokenizer.encode(p.question + "\n").ids] for p in part]
            width = max(map(len, rows))
            ids = torch.tensor([[0] * (width - len(r)) + r for r in rows])
            with torch.inference_mode():
                done = model.generate(
                    ids,
                    attention_mask=(ids != 0).long(),
                    do_sample=True,
                    temperature=recipe.temperature,
                    top_k=0,
                    max_new_tokens=230,
                    eos_token_id=2,
                    pad_token_id=0,
                )
            for p, row in zip(part, done[:, width:].tolist(), strict=True):
                text = tokenizer.decode([i for i in row if i > 2], skip_special_tokens=True)
                labels = chain.step_labels(p, text)
                dial = [len(p.steps), p.digits, p.seed]
                lines.append(json.dumps({"dials": dial, "text": text, "labels": labels}) + "\n")
        with path.open("a") as file:
            file.write("".join(lines))
        if number % 5 == 4 or number + 1 == chunks:
            elapsed = time.monotonic() - started
            progress(f"samples {(number + 1) * chunk * recipe.samples:,}  {elapsed:.0f} s")
    return True


def judged_rows(recipe: PrmRecipe, tokenizer: Any, samples: list[dict[str, Any]]) -> Rows:
    """Rows for the reward model: the language model's own texts, and spoiled reference solutions.

    Every token of the solution has a target: 1 while its line is the beginning of a right one
    (``chain.right_lines``: right given what the text says before it), else 0.
    """
    dials = Recipe(seed=recipe.seed, digit_weights=recipe.spoil_digits)

    def rows_of(rng: random.Random) -> list[tuple[list[int], list[float]]]:
        pairs: list[tuple[chain.ChainProblem, str]] = []
        for _ in range(64):
            if rng.random() < recipe.own_share:
                record = rng.choice(samples)
                pairs.append((chain.make(*record["dials"]), record["text"]))
            else:
                problem = draw(rng, dials)
                pairs.append((problem, chain.spoiled(problem, rng, recipe.spoil)))
        questions = tokenizer.encode_batch([p.question + "\n" for p, _ in pairs])
        texts = tokenizer.encode_batch([t for _, t in pairs])
        rows: list[tuple[list[int], list[float]]] = []
        for (problem, text), q, t in zip(pairs, questions, texts, strict=True):
            so_far = chain.right_so_far(problem, text)
            marks = [float(so_far[end - 1]) for _, end in t.offsets]
            rows.append(([1, *q.ids, *t.ids], [-100.0] * (len(q.ids) + 1) + marks))
        return rows

    return rows_of


def train_reward_model(
    recipe: PrmRecipe,
    weights: Path,
    out: Path,
    seconds: float | None = None,
    progress: Progress = print,
) -> dict[str, Any]:
    """Train the process reward model that starts from the language model of ``weights``.

    At every token it learns whether the line is right so far, given the lines before it; the
    newline, where the score is read, weighs ``line_weight`` times.  The probability that a solution
    is still right after line i is the product of the scores of lines 1..i.  Writes
    ``model.safetensors`` (layout of ``LlamaForTokenClassification`` with one label),
    ``config.json`` and ``curve.csv``.
    """
    torch = _torch()
    import tokenizers
    from transformers import AutoConfig, LlamaForCausalLM, LlamaForTokenClassification

    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(recipe.threads)
    started = time.monotonic()
    if not sample_solutions(recipe, weights, out, seconds, progress):
        return {"finished": False}
    tokenizer = tokenizers.Tokenizer.from_file(str(weights / "tokenizer.json"))
    newline = tokenizer.encode("\n").ids[0]
    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    torch.manual_seed(recipe.seed)
    config = AutoConfig.from_pretrained(str(weights))
    layers = config.num_hidden_layers
    config.num_hidden_layers = layers + recipe.extra_layers
    config.num_labels = 1
    config.layer_types = None
    reward: Any = LlamaForTokenClassification
    model = reward(config).float()
    language: Any = LlamaForCausalLM.from_pretrained(str(weights))
    model.model.load_state_dict(language.float().model.state_dict(), strict=False)
    for layer in model.model.layers[layers:]:
        # fresh layers add nothing at first
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    optimizer = _optimizer(
        model, Recipe(weight_decay=recipe.weight_decay), model.model.layers[:layers]
    )
    schedule = Recipe(learning_rate=recipe.learning_rate, warmup=recipe.warmup)
    steps = recipe.tokens // recipe.batch_tokens
    step, checkpoint, curve = 0, out / "checkpoint.pt", out / "curve.csv"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state["recipe"] != json.dumps(asdict(recipe)):
            raise ValueError(f"{checkpoint} has another recipe: choose another folder or remove it")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
        progress(f"resumed at step {step} of {steps}")
    else:
        curve.write_text("step,loss,line_loss,learning_rate,seconds\n")
    model.train()
    losses: list[tuple[float, float]] = []
    saved = time.monotonic()
    rows_of = judged_rows(recipe, tokenizer, samples)
    for ids, marks in pack(f"prm/{recipe.seed}/rows", rows_of, recipe.batch_tokens, step):
        if step >= steps or (seconds is not None and time.monotonic() - started > seconds):
            break
        x, y = torch.from_numpy(ids), torch.from_numpy(marks).float()
        for group in optimizer.param_groups:
            part = recipe.trunk_rate if group["trunk"] else 1.0
            group["lr"] = _rate(step, steps, schedule) * part
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bf16):
            logits = model(input_ids=x).logits.float()[..., 0]
        keep, ends = y >= 0, (x == newline)
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            logits[keep], y[keep], reduction="none"
        )
        weight = 1.0 + (recipe.line_weight - 1.0) * ends[keep].float()
        loss = (each * weight).sum() / weight.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        losses.append((float(loss.detach()), float(each[ends[keep]].mean().detach())))
        if step % 25 == 0 or step == steps:
            mean = np.mean(losses, axis=0)
            losses, elapsed = [], time.monotonic() - started
            rate = f"{_rate(step - 1, steps, schedule):.2e}"
            with curve.open("a", newline="") as file:
                line = [step, f"{mean[0]:.4f}", f"{mean[1]:.4f}", rate, round(elapsed)]
                csv.writer(file).writerow(line)
            progress(
                f"prm {step}/{steps}  loss {mean[0]:.4f}  lines {mean[1]:.4f}  {elapsed:.0f} s"
            )
        if time.monotonic() - saved > 120 or step == steps:
            state = {
                "recipe": json.dumps(asdict(recipe)),
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
            }
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
            saved = time.monotonic()
    finished = step >= steps
    if finished:
        export(model, recipe, out, {"kind": "process reward model", "steps": step})
    return {"step": step, "steps": steps, "finished": finished}
