"""Train the family of ``fly`` models and their reward models from nothing (extra ``[train]``).

Four stages, each a function of its recipe, each resumable:

1. ``language``: a small Llama learns the mixture of ``outthink.train.skills``;
2. ``attempts``: it writes solutions to training problems by itself, with the numpy runtime;
3. ``skills``: it goes on with the mixture, now revising and judging its own attempts too, and with
   slips in what it learns to solve by;
4. ``reward``: fresh layers above it, which are told how likely it found each token, learn at every
   token of a text that it wrote whether the line is right so far and whether the text will end in a
   right answer; what they say is then calibrated on texts that were kept out.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from outthink.models.fly import ended
from outthink.models.fly.engine import surprise
from outthink.models.fly.export import CHAT_TEMPLATE
from outthink.models.fly.tokenizer import PIECES, SPECIALS, VISIBLE
from outthink.tasks import FAMILIES, check, family
from outthink.tasks.base import stream
from outthink.train.loop import Optimizer, Progress, Stage, clock, falling, need_torch, run_stage
from outthink.train.recipe import PACKAGED, AttemptRecipe, ExpertRecipe, Recipe, RewardRecipe
from outthink.train.skills import Attempts, Dials, Draft, Row, Rows, Writer, draw, problem_of

__all__ = ["ExpertRecipe", "Recipe", "RewardRecipe"]


def _device() -> str:
    return "cuda" if need_torch().cuda.is_available() else "cpu"


# -- the tokenizer -----------------------------------------------------------------------------------


def train_tokenizer(recipe: Recipe, out: Path) -> Path:
    """Learn the byte-level BPE on training problems of all families and write ``tokenizer.json``."""
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
    rng = random.Random(f"tokenizer/{recipe.seed}")
    texts: list[str] = []
    for name in FAMILIES:
        maker = family(name)
        for _, problem in zip(range(1500), stream(maker, "train", recipe.seed), strict=False):
            thoughts = "".join(piece for piece, _ in maker.thoughts(problem, rng)[0])
            text = maker.spoiled(problem, rng, 0.2)
            check = maker.critique(problem, text)
            texts += [problem.question + "\n" + problem.solution, thoughts, check, "yes\n", "no\n"]
    tokenizer.train_from_iterator(texts, trainer)
    whole = json.loads(tokenizer.to_str())
    for token in whole["added_tokens"]:
        token["special"] = token["content"] not in VISIBLE
    path = out / "tokenizer.json"
    path.write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
        "chat_template": CHAT_TEMPLATE,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    return path


#: tokens that a text may have
CONTEXT = 1024


# -- the language model ------------------------------------------------------------------------------


def build(recipe: Recipe) -> Any:
    """The untrained Llama of this recipe (transformers' own layout)."""
    torch = need_torch()
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=recipe.vocab,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.ffn,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.04,
    )
    return LlamaForCausalLM(config)


def copy_tokenizer(folder: Path, out: Path) -> None:
    """Put the tokenizer of one folder of weights into another."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, out / name)


def _tokenizer(folder: Path) -> Any:
    import tokenizers

    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))


def _attention(model: Any, ids: Any) -> None:
    """Of torch's ways to attend, the plain one is faster on a CPU for rows and heads this small."""
    plain = ids.device.type == "cpu" and ids.shape[1] <= 256
    model.config._attn_implementation = "eager" if plain else "sdpa"


def _next_token(model: Any, ids: Any, marks: Any) -> Any:
    """Cross-entropy of the tokens that are to be learned."""
    torch = need_torch()
    _attention(model, ids)
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    wanted = marks[:, 1:].long()
    keep = wanted >= 0
    logits = model.lm_head(hidden[keep]).float()
    return torch.nn.functional.cross_entropy(logits, wanted[keep])


def train_language_model(
    recipe: Recipe,
    out: Path,
    seconds: float | None = None,
    progress: Progress = print,
    *,
    attempts: AttemptRecipe | None = None,
) -> dict[str, Any]:
    """The stages ``language``, ``attempts`` and ``skills`` into ``out``; returns what each came to.

    ``out/language`` holds the model after the first stage, ``out/attempts.jsonl`` what it wrote,
    ``out`` the finished model.  ``seconds`` bounds this call: a later one goes on.
    """
    out.mkdir(parents=True, exist_ok=True)
    left = clock(seconds)
    if not (out / "tokenizer.json").exists():
        train_tokenizer(recipe, out)
    tokenizer = _tokenizer(out)
    first = out / "language"
    first.mkdir(exist_ok=True)
    copy_tokenizer(out, first)
    steps = max(1, recipe.tokens // recipe.batch_tokens)
    done = {"language": _train(recipe, first, "language", steps, Writer(tokenizer).rows, left(), progress,
                               falling(steps, recipe.warmup, 1.0, recipe.middle_rate))}  # fmt: skip
    if not done["language"]["finished"]:
        return {"finished": False, "stages": done}
    written = write_attempts(
        attempts or AttemptRecipe(seed=recipe.seed), first, out / "attempts.jsonl", left(), progress
    )
    if not written:
        return {"finished": False, "stages": done}
    own = Attempts(read_attempts(out / "attempts.jsonl"))
    writer = Writer(tokenizer, own, recipe.own, recipe.tiring)
    steps = max(1, recipe.skill_tokens // recipe.batch_tokens)
    done["skills"] = _train(recipe, out, "skills", steps, writer.rows, left(), progress,
                            falling(steps, 0, recipe.middle_rate, 0.0), first)  # fmt: skip
    return {"finished": done["skills"]["finished"], "stages": done}


def _train(
    recipe: Recipe,
    out: Path,
    name: str,
    steps: int,
    rows_of: Rows,
    seconds: float | None,
    progress: Progress,
    rate: Callable[[int], float],
    start: Path | None = None,
) -> dict[str, Any]:
    """One stage of the language model; ``start`` holds the weights that it begins with."""
    model = build(recipe)
    if start is not None:
        load_weights(model, start)
    model = model.to(_device())
    optimizer = Optimizer(model, recipe)
    tag = f"fly/{name}/{recipe.seed}"
    stage = Stage(name, recipe, model, optimizer, tag, rows_of, _next_token, steps, rate)
    done = run_stage(stage, out, seconds, progress)
    if done["finished"]:
        facts = {"kind": "language model", "stage": name, "tokens_seen": done["tokens"]}
        export(model, recipe, out, facts)
    return done


def load_weights(model: Any, folder: Path) -> None:
    """Put exported weights into a model; what it has beyond them stays as it is."""
    from safetensors.torch import load_file

    weights = load_file(str(folder / "model.safetensors"))
    model.load_state_dict({k: v.float() for k, v in weights.items()}, strict=False)


def export(model: Any, recipe: Any, out: Path, facts: dict[str, Any]) -> None:
    """Write the weights of a model of transformers and its ``config.json``."""
    weights = {k: v for k, v in model.state_dict().items() if k != "lm_head.weight"}
    save_weights(weights, recipe, out, facts)
    write_config(model.config.to_dict() | {"architectures": [type(model).__name__]}, out)


def save_weights(
    tensors: Mapping[str, Any], recipe: Any, out: Path, facts: Mapping[str, Any]
) -> None:
    """Write bf16 safetensors with recipe and versions in the metadata."""
    torch = need_torch()
    import transformers
    from safetensors.torch import save_file

    weights = {
        name: tensor.detach().cpu().to(torch.bfloat16).contiguous().clone()
        for name, tensor in tensors.items()
    }
    metadata = {
        "format": "pt",
        "recipe": json.dumps(asdict(recipe)),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        **{k: str(v) for k, v in facts.items()},
    }
    save_file(weights, str(out / "model.safetensors"), metadata=metadata)


def write_config(config: dict[str, Any], out: Path) -> None:
    """Write ``config.json``, without the name of a folder."""
    config.pop("_name_or_path", None)
    (out / "config.json").write_text(json.dumps(config, indent=1, default=str) + "\n")


def fingerprint(folder: Path) -> str:
    """The SHA-256 of the weights in a folder, as the card gives it."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


# -- its own attempts --------------------------------------------------------------------------------

#: the dials that attempts are made with: problems at which the model does go wrong
ATTEMPT_DIALS: Dials = {
    "chain": {
        "steps": (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 12),
        "top": (20, 99, 99, 120, 120, 150, 200, 250),
    },
    "countdown": {"numbers": (3, 4, 4, 5), "top": (10, 12, 15), "target": (40, 60, 99)},
    "lookup": {"hops": (1, 2, 3, 4, 5, 6), "facts": (6, 8, 12, 16)},
    "program": {"lines": (1, 1, 2, 3), "examples": (4, 5, 6)},
}


def write_attempts(
    recipe: AttemptRecipe,
    weights: Path,
    path: Path,
    seconds: float | None,
    progress: Progress,
    think: bool = False,
) -> bool:
    """Let the model of ``weights`` write ``samples`` solutions to each of many training problems, or
    thoughts and the answer after them (``think``).

    Appends a line a problem (family, dials, seed, texts), chunk by chunk, and goes on where the file
    ends; true when all are there.  The name of the file and the seed decide which problems.
    """
    from outthink.models.fly import write

    chunk = 50
    wanted = [name for name, n in zip(FAMILIES, recipe.problems, strict=True) for _ in range(n)]
    tag = f"{path.stem}/{recipe.seed}"
    random.Random(tag).shuffle(wanted)
    have = path.read_text().splitlines(keepends=True) if path.exists() else []
    first = len(have) // chunk
    if first * chunk < len(have) < len(wanted):
        path.write_text("".join(have[: first * chunk]))
    started = time.monotonic()
    for number in range(first, -(-len(wanted) // chunk)):
        if len(have) >= len(wanted):
            break
        if seconds is not None and time.monotonic() - started > seconds:
            return False
        rng = random.Random(f"{tag}/{number}")
        some = wanted[number * chunk : (number + 1) * chunk]
        problems = [draw(name, rng, ATTEMPT_DIALS) for name in some]
        seeds = [[rng.getrandbits(48) for _ in range(recipe.samples)] for _ in problems]
        texts = write(
            weights,
            [p.question for p in problems],
            seeds,
            recipe.max_tokens,
            recipe.temperature,
            "free" if think else None,
        )
        lines = []
        for p, mine in zip(problems, texts, strict=True):
            record = {"family": p.family, "dials": dict(p.dials), "seed": p.seed, "texts": mine}
            lines.append(json.dumps(record) + "\n")
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(lines))
        if number % 10 == 9:
            progress(
                f"{path.stem}: {(number + 1) * chunk:,} of {len(wanted):,} problems  "
                f"{time.monotonic() - started:.0f} s"
            )
    return True


def read_attempts(path: Path) -> list[dict[str, Any]]:
    """The records of ``attempts.jsonl``."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# -- the reward model --------------------------------------------------------------------------------

#: how often each family is judged, in the order of ``FAMILIES``
REWARD_MIX = (80, 8, 6, 6)


def judged(tokenizer: Any, pairs: list[tuple[Any, str]]) -> list[Row]:
    """Rows for the reward model: every token of a text has a target.

    Targets are ``2 * right + outcome``: 1 for ``right`` while the line is the beginning of a right
    one, given the lines before it; 1 for ``outcome`` where the text ends in a right answer.
    """
    questions = tokenizer.encode_batch([p.question + "\n" for p, _ in pairs])
    texts = tokenizer.encode_batch([text for _, text in pairs])
    rows: list[Row] = []
    for (problem, text), q, t in zip(pairs, questions, texts, strict=True):
        maker = family(problem.family)
        so_far = maker.right_so_far(problem, text)
        outcome = float(maker.check(problem, text))
        marks = [2.0 * so_far[min(end, len(so_far)) - 1] + outcome for _, end in t.offsets]
        rows.append(([1, *q.ids, *t.ids], [-100.0] * (len(q.ids) + 1) + marks))
    return rows


def _reward_rows(recipe: RewardRecipe, tokenizer: Any, own: Attempts) -> Rows:
    def rows_of(rng: random.Random) -> list[Row]:
        pairs: list[tuple[Any, str]] = []
        for name in rng.choices(FAMILIES, REWARD_MIX, k=64):
            found = own.draw(name, rng) if rng.random() < recipe.own_share else None
            if found is None:
                problem = draw(name, rng, ATTEMPT_DIALS)
                pairs.append((problem, family(name).spoiled(problem, rng, recipe.spoil)))
            else:
                pairs.append((found[0], ended(rng.choice(found[1]))))
        return judged(tokenizer, pairs)

    return rows_of


class Judge:
    """What is trained as a reward model: ``fly`` itself, frozen, and fresh layers that read its stream.

    ``model`` is one torch module with ``trunk``, ``top`` and ``surprise``; ``__call__`` gives both heads'
    logits ``(rows, length, 2)``.
    """

    def __init__(self, recipe: RewardRecipe, weights: Path) -> None:
        torch = need_torch()
        from transformers import AutoConfig, LlamaForCausalLM, LlamaForTokenClassification

        torch.manual_seed(recipe.seed)
        config = AutoConfig.from_pretrained(str(weights))
        kind: Any = LlamaForCausalLM
        trunk = kind(config).float()
        load_weights(trunk, weights)
        self.layers: int = config.num_hidden_layers
        config = AutoConfig.from_pretrained(str(weights))
        config.num_hidden_layers, config.num_labels = recipe.extra_layers, 2
        config.layer_types = None
        kind = LlamaForTokenClassification
        top = kind(config).float()
        del top.model.embed_tokens
        for layer in top.model.layers:
            # fresh layers add nothing at first
            torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
            torch.nn.init.zeros_(layer.mlp.down_proj.weight)
        surprise = torch.nn.Linear(3, config.hidden_size, bias=False)
        torch.nn.init.normal_(surprise.weight, std=1.0)
        trunk.requires_grad_(False)
        # the stream is wanted as it is, and the norm apart from it
        norm, trunk.model.norm = trunk.model.norm, torch.nn.Identity()
        self.model = torch.nn.ModuleDict(
            {"trunk": trunk, "norm": norm, "top": top, "surprise": surprise}
        )
        #: root mean square of the trunk's stream, which the fresh layers see divided by it
        self.scale = 1.0

    def measure(self, rows: Sequence[Row]) -> None:
        """Set ``scale`` by these rows.

        Left as large as language models grow it (29 in fly), what fresh layers write would be lost in
        it for hundreds of steps.
        """
        torch = need_torch()
        squares, count = 0.0, 0
        for ids, _ in rows:
            stream, _ = self.read(torch.tensor([ids]))
            squares += float(stream.pow(2).sum())
            count += stream.numel()
        self.scale = float((squares / count) ** 0.5)

    def read(self, ids: Any) -> tuple[Any, Any]:
        """The trunk's stream ``(rows, length, width)`` and log probabilities of next tokens."""
        torch = need_torch()
        trunk = self.model["trunk"]
        with torch.no_grad():
            _attention(trunk, ids)
            stream = trunk.model(input_ids=ids).last_hidden_state
            told = trunk.lm_head(self.model["norm"](stream)).float().log_softmax(-1)
        return stream.float(), told

    def __call__(self, ids: Any, text: Any) -> Any:
        """Logits of both heads; ``text`` is 1 where a token is of the text, 0 in its question."""
        torch = need_torch()
        stream, told = self.read(ids)
        told = told[:, :-1]
        own = told.gather(-1, ids[:, 1:, None])[..., 0]
        facts = torch.stack(surprise(own, told.max(-1).values, torch), -1)
        facts = torch.nn.functional.pad(facts, (0, 0, 1, 0)) * text[..., None]
        top = self.model["top"]
        _attention(top, ids)
        seen = stream / self.scale + self.model["surprise"](facts)
        return top(inputs_embeds=seen).logits.float()

    def export(self, recipe: RewardRecipe, out: Path, facts: dict[str, Any]) -> None:
        """Write what was learned: the layers above the trunk, their norm, the heads, ``surprise``."""
        top = self.model["top"]
        tensors = {"surprise.weight": self.model["surprise"].weight}
        for name, tensor in top.state_dict().items():
            _, *rest = name.split("model.layers.")
            if rest:
                number, _, part = rest[0].partition(".")
                name = f"model.layers.{int(number) + self.layers}.{part}"
            tensors[name] = tensor
        save_weights(tensors, recipe, out, facts)
        config = top.config.to_dict() | {
            "num_hidden_layers": self.layers + recipe.extra_layers,
            "trunk_layers": self.layers,
            "trunk_scale": self.scale,
            "architectures": ["FlyReward"],
        }
        write_config(config, out)


def train_reward_model(
    recipe: RewardRecipe,
    weights: Path,
    out: Path,
    seconds: float | None = None,
    progress: Progress = print,
) -> dict[str, Any]:
    """Train the reward model on top of the language model of ``weights``, and calibrate it.

    The language model first writes what is to be judged.  At every token of it the reward model learns
    whether the line is right so far, given the lines before it, and whether the answer will be right;
    the newline, where scores are read, weighs ``line_weight`` times.
    ``out`` is a folder in ``weights``: its ``model.safetensors`` holds what lies above the trunk.
    """
    torch = need_torch()
    if out.resolve().parent != weights.resolve():
        raise ValueError(f"{out} is not in {weights}: a reward model lies with its trunk")
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(weights)
    newline = tokenizer.encode("\n").ids[0]
    left = clock(seconds)
    if not write_attempts(recipe, weights, out / "judged.jsonl", left(), progress):
        return {"finished": False}
    records = read_attempts(out / "judged.jsonl")
    kept_out = int(len(records) * recipe.held_out)
    rows_of = _reward_rows(recipe, tokenizer, Attempts(records[kept_out:]))
    judge = Judge(recipe, weights)
    judge.measure(rows_of(random.Random(f"measure/{recipe.seed}"))[:16])
    model = judge.model.to(_device())

    def loss(_: Any, ids: Any, marks: Any) -> Any:
        keep = marks >= 0
        told, marked = judge(ids, keep.float())[keep], marks[keep].float()
        line, outcome = (marked >= 2).float(), torch.remainder(marked, 2)
        weight = 1.0 + (recipe.line_weight - 1.0) * (ids[keep] == newline).float()
        each = torch.nn.functional.binary_cross_entropy_with_logits
        right = each(told[:, 0], line, reduction="none")
        ends = each(told[:, 1], outcome, reduction="none")
        return ((right + recipe.outcome_weight * ends) * weight).sum() / weight.sum()

    steps = max(1, recipe.tokens // recipe.batch_tokens)
    stage = Stage(
        "reward", recipe, model, Optimizer(model, recipe), f"prm/{recipe.seed}", rows_of, loss, steps,
        falling(steps, recipe.warmup),
    )  # fmt: skip
    done = run_stage(stage, out, left(), progress)
    if done["finished"]:
        facts = {"kind": "reward model", "tokens_seen": done["tokens"]}
        judge.export(recipe, out, facts | {"trunk": fingerprint(weights)})
        done["calibration"] = calibrate(out, records[:kept_out])
    return done


def calibrate(folder: Path, records: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Fit what turns raw scores into probabilities, on texts that training did not see.

    The score of a step is the product of the lines up to it; a logistic function of its logit, which
    keeps every order of scores, is fitted to whether all is right; likewise for the outcome.  The two
    pairs (slope, offset) go into ``config.json`` as ``calibration``.
    """
    from outthink.models.fly import raw_rewards

    pairs = [
        (problem_of(record), ended(text))
        for record in records
        if record["family"] == "chain"
        for text in record["texts"]
    ]
    raw = raw_rewards(folder, [(p.question, text) for p, text in pairs])
    steps: list[tuple[float, float]] = []
    outcomes: list[tuple[float, float]] = []
    for (p, text), (line, outcome) in zip(pairs, raw, strict=True):
        maker = family(p.family)
        labels = maker.step_labels(p, text)
        steps += list(zip(line, map(float, labels), strict=False))
        outcomes.append((outcome[-1], float(maker.check(p, text))))
    found = {"step": fit_logistic(steps), "outcome": fit_logistic(outcomes)}
    config = json.loads((folder / "config.json").read_text())
    config["calibration"] = found
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    return found


def fit_logistic(pairs: list[tuple[float, float]]) -> list[float]:
    """Slope and offset of the logistic function of logits that predicts the labels best (Platt)."""
    p = np.clip(np.array([a for a, _ in pairs]), 1e-9, 1 - 1e-9)
    x, y = np.log(p / (1 - p)), np.array([b for _, b in pairs])
    found = np.array([1.0, 0.0])

    def loss(at: Any) -> float:
        z = at[0] * x + at[1]
        return float((np.logaddexp(0, z) - y * z).sum() + 5e-4 * (at[0] - 1) ** 2)

    for _ in range(100):
        q = 1 / (1 + np.exp(-np.clip(found[0] * x + found[1], -30, 30)))
        w = np.maximum(q * (1 - q), 1e-9)
        gradient = np.array([((q - y) * x).sum() + 1e-3 * (found[0] - 1), (q - y).sum()])
        cross = (w * x).sum()
        hessian = np.array([[(w * x * x).sum() + 1e-3, cross], [cross, w.sum() + 1e-3]])
        change = np.linalg.solve(hessian, gradient)
        while loss(found - change) > loss(found) and np.abs(change).max() > 1e-12:
            change /= 2  # a whole step would go too far
        found -= change
        if np.abs(change).max() < 1e-9:
            break
    return [float(v) for v in found]


# -- expert iteration --------------------------------------------------------------------------------


def train_expert(
    recipe: ExpertRecipe,
    weights: Path,
    out: Path,
    seconds: float | None = None,
    progress: Progress = print,
) -> dict[str, Any]:
    """A round of expert iteration from the model of ``weights`` into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    left = clock(seconds)
    if not write_attempts(recipe, weights, out / "thoughts.jsonl", left(), progress, think=True):
        return {"finished": False}
    copy_tokenizer(weights, out)
    tokenizer = _tokenizer(out)
    right: list[tuple[Any, str]] = []
    total = 0
    for record in read_attempts(out / "thoughts.jsonl"):
        problem = problem_of(record)
        total += len(record["texts"])
        fine = {text for text in record["texts"] if check(problem, text)}
        right += [(problem, text) for text in sorted(fine)]
    if not right:
        raise ValueError(f"no thought of {total} in {out} ends in a right answer: nothing to learn")
    progress(f"expert: {len(right):,} different right thoughts of {total:,}")
    own = Attempts(read_attempts(weights / "attempts.jsonl"))
    writer = Writer(tokenizer, own, recipe.own, recipe.tiring)

    def rows_of(rng: random.Random) -> list[Row]:
        some = [rng.choice(right) for _ in range(int(64 * recipe.share))]
        drafts: list[Draft] = [
            [(p.question + "\n", False), (writer.think, False), ("\n", False), (text, True)]
            for p, text in some
        ]
        return [*writer.encode(drafts), *writer.rows(rng, 64 - len(some))]

    from transformers import AutoConfig, LlamaForCausalLM

    model: Any = LlamaForCausalLM(AutoConfig.from_pretrained(str(weights))).float()
    load_weights(model, weights)
    model = model.to(_device())
    optimizer = Optimizer(model, recipe)
    steps = max(1, recipe.tokens // recipe.batch_tokens)
    stage = Stage("expert", recipe, model, optimizer, f"expert/{recipe.seed}", rows_of,
                  _next_token, steps, falling(steps, 10))  # fmt: skip
    done = run_stage(stage, out, left(), progress)
    if done["finished"]:
        export(model, recipe, out, {"kind": "language model", "stage": "expert"})
    return done


# -- everything --------------------------------------------------------------------------------------


def train_all(
    out: Path,
    sizes: Sequence[str] = PACKAGED,
    seed: int = 0,
    seconds: float | None = None,
    progress: Progress = print,
) -> dict[str, Any]:
    """The models of the package into ``out/SIZE``, the reward model into ``out/fly/prm``."""
    left = clock(seconds)
    done: dict[str, Any] = {}
    for size in sizes:
        recipe = Recipe(seed=seed).of_size(size)
        folder = out / size

        def say(text: str, size: str = size) -> None:
            progress(f"{size}: {text}")

        done[size] = train_language_model(recipe, folder, left(), say)
        if size == "fly" and done[size]["finished"]:
            done["prm"] = train_reward_model(
                RewardRecipe(seed=seed), folder, folder / "prm", left(), progress
            )
        if not all(stage["finished"] for stage in done.values()):
            break
    return {"finished": all(stage["finished"] for stage in done.values()), "stages": done}
