"""One training loop for every stage: packed batches, Muon, checkpoints, a curve.

Everything is a function of the recipe: batch ``b`` is drawn from ``(tag, b)``, the learning rate
depends on the step.  A killed run goes on from its last checkpoint and ends in the same weights (same
torch, same number of threads, same device).
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

from outthink.train.recipe import Training
from outthink.train.skills import Rows

Progress = Callable[[str], None]


def need_torch() -> Any:
    """The module ``torch``, or a ``RuntimeError`` that says how to get it."""
    try:
        import torch
    except ImportError as error:
        raise RuntimeError("training needs torch: pip install 'outthink[train]'") from error
    return torch


def clock(seconds: float | None) -> Callable[[], float | None]:
    """What is left of ``seconds`` from now on, each time it is asked; ``None`` where there is no limit."""
    started = time.monotonic()
    return lambda: None if seconds is None else max(0.0, seconds - (time.monotonic() - started))


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


class Optimizer:
    """Muon for the matrices, AdamW for embeddings, heads and vectors; what is frozen stays as it is."""

    def __init__(self, model: Any, recipe: Training) -> None:
        torch = need_torch()
        groups: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for name, p in model.named_parameters():
            if not p.requires_grad:
                continue
            matrix = p.ndim == 2 and "layers" in name
            base = recipe.learning_rate if matrix else recipe.vector_rate
            decay = recipe.weight_decay if matrix else 0.0
            groups[matrix].append({"params": [p], "base": base, "weight_decay": decay})
        self.parts = [
            torch.optim.Muon(groups[True], lr=recipe.learning_rate, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(groups[False], lr=recipe.vector_rate, betas=(0.9, 0.95)),
        ]

    def step(self, share: float) -> None:
        """One step at this share of the learning rates; gradients are cleared."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = group["base"] * share
            part.step()
            part.zero_grad(set_to_none=True)

    def state(self) -> list[Any]:
        """What a checkpoint holds of it."""
        return [part.state_dict() for part in self.parts]

    def load(self, states: list[Any]) -> None:
        """Go on from a checkpoint."""
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


@dataclass
class Stage:
    """One stage: what is trained, on which rows, by which loss, for how long."""

    name: str
    recipe: Training
    model: Any
    optimizer: Optimizer
    tag: str
    rows_of: Rows
    #: loss of ``(model, ids, targets)``
    loss: Callable[[Any, Any, Any], Any]
    steps: int
    #: share of the learning rate at a step
    rate: Callable[[int], float]


def falling(steps: int, warmup: int, high: float = 1.0, low: float = 0.0) -> Callable[[int], float]:
    """A linear warm-up to ``high``, then a line down to ``low`` at the last step."""

    def rate(step: int) -> float:
        if step < warmup:
            return high * (step + 1) / warmup
        return high + (low - high) * (step - warmup) / max(1, steps - warmup)

    return rate


def run_stage(
    stage: Stage, out: Path, seconds: float | None = None, progress: Progress = print
) -> dict[str, Any]:
    """Train until the last step or for ``seconds``; goes on from ``out/NAME.checkpoint.pt``.

    Writes the curve to ``out/NAME.csv``; returns ``step``, ``steps``, ``tokens``, ``finished``.
    """
    torch = need_torch()
    recipe, model = stage.recipe, stage.model
    torch.set_num_threads(recipe.threads)
    device = next(model.parameters()).device
    said = json.dumps(asdict(recipe))
    step, seen, before = 0, 0, 0.0
    checkpoint = out / f"{stage.name}.checkpoint.pt"
    curve = out / f"{stage.name}.csv"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        if json.loads(state["recipe"]) != json.loads(said):
            raise ValueError(f"{checkpoint} has another recipe: choose another folder or remove it")
        model.load_state_dict(state["model"])
        stage.optimizer.load(state["optimizer"])
        step, seen, before = state["step"], state["tokens"], state["seconds"]
        if step < stage.steps:
            progress(f"{stage.name}: resumed at step {step} of {stage.steps}")
    else:
        curve.write_text("step,tokens,loss,rate,seconds\n")
    started = saved = time.monotonic()

    def save() -> None:
        state = {
            "recipe": said,
            "model": model.state_dict(),
            "optimizer": stage.optimizer.state(),
            "step": step,
            "tokens": seen,
            "seconds": before + time.monotonic() - started,
        }
        torch.save(state, checkpoint.with_suffix(".new"))
        checkpoint.with_suffix(".new").replace(checkpoint)

    model.train()
    losses: list[float] = []
    if step < stage.steps:
        for x, y in pack(stage.tag, stage.rows_of, recipe.batch_tokens, step):
            if step >= stage.steps or (
                seconds is not None and time.monotonic() - started > seconds
            ):
                break
            ids, marks = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=recipe.bf16):
                loss = stage.loss(model, ids, marks)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            stage.optimizer.step(stage.rate(step))
            step, seen = step + 1, seen + int((x != 0).sum())
            losses.append(float(loss.detach()))
            if step % 25 == 0 or step == stage.steps:
                mean, elapsed = sum(losses) / len(losses), before + time.monotonic() - started
                losses = []
                with curve.open("a", newline="") as file:
                    rate = f"{stage.rate(step - 1):.3f}"
                    csv.writer(file).writerow([step, seen, f"{mean:.4f}", rate, round(elapsed)])
                left = elapsed / step * (stage.steps - step)
                progress(
                    f"{stage.name} {step}/{stage.steps}  {seen:,} tokens  loss {mean:.4f}  "
                    f"{elapsed:.0f} s, {left:.0f} s left"
                )
            if time.monotonic() - saved > 120:
                save()
                saved = time.monotonic()
        save()
    finished = step >= stage.steps
    return {"step": step, "steps": stage.steps, "tokens": seen, "finished": finished}
