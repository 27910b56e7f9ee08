"""Everything that decides the weights of ``fly``: one recipe for each stage, three sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

#: width, layers, heads and feed-forward width of each size; two threads would wait for each other in
#: the smallest
SIZES: dict[str, dict[str, int]] = {
    "fly": {"hidden": 192, "layers": 5, "heads": 4, "ffn": 512},
    "xs": {"hidden": 112, "layers": 4, "heads": 4, "ffn": 304, "threads": 1},
    "l": {"hidden": 288, "layers": 6, "heads": 6, "ffn": 768},
}
#: those whose weights are in the package; the rest is trained on demand
PACKAGED = ("fly", "xs")


@dataclass(frozen=True)
class Training:
    """What every stage of training has: how much is read in a step, how fast it learns, and on what.

    Matrices learn by Muon at ``learning_rate``, all else by AdamW at ``vector_rate``.
    """

    seed: int = 0
    batch_tokens: int = 9216
    learning_rate: float = 0.01
    vector_rate: float = 3e-3
    weight_decay: float = 0.1
    threads: int = 2
    bf16: bool = True


@dataclass(frozen=True)
class Recipe(Training):
    """The language model: its size, and two stages on one falling learning rate.

    ``tokens`` are read in the stage ``language`` and ``skill_tokens`` in the stage ``skills``, whose
    attempts to revise and to judge are, in the share ``own``, the model's own.  There line ``i`` of a
    plain solution of ``chain`` is wrong with probability ``tiring * i**2``: text that people write has
    slips too, the more the longer it goes on, and a sampler repeats them.
    """

    size: str = "fly"
    hidden: int = 192
    layers: int = 5
    heads: int = 4
    ffn: int = 512
    vocab: int = 512
    tokens: int = 16_000_000
    skill_tokens: int = 5_000_000
    warmup: int = 60
    middle_rate: float = 0.3
    own: float = 0.3
    tiring: float = 0.002

    def of_size(self, size: str) -> Recipe:
        """The same recipe for another size."""
        shape: dict[str, Any] = dict(SIZES[size])
        return replace(self, size=size, **shape)


@dataclass(frozen=True)
class AttemptRecipe:
    """What the language model writes by itself for training problems, to be revised and judged.

    ``samples`` texts for each of ``problems``, which are told by family.
    """

    seed: int = 0
    problems: tuple[int, int, int, int] = (4400, 1000, 800, 800)
    samples: int = 4
    temperature: float = 1.0
    max_tokens: int = 200


@dataclass(frozen=True)
class RewardRecipe(Training, AttemptRecipe):
    """The reward model: the language model, frozen, with ``extra_layers`` above it and two heads.

    The fresh layers are given what the trunk, which learned for far longer, made of each token: its
    probability.  ``spoil`` is the share of lines that are made wrong in reference solutions,
    ``own_share`` the share of texts that are the language model's own, which it writes first.
    """

    learning_rate: float = 0.005
    vector_rate: float = 2e-3
    weight_decay: float = 0.05
    tokens: int = 7_000_000
    extra_layers: int = 2
    own_share: float = 0.6
    spoil: float = 0.15
    warmup: int = 40
    line_weight: float = 4.0
    outcome_weight: float = 0.5
    held_out: float = 0.1
    problems: tuple[int, int, int, int] = (2400, 200, 200, 200)


@dataclass(frozen=True)
class ExpertRecipe(Training, AttemptRecipe):
    """A round of expert iteration on thinking: of the thoughts that the model itself wrote for training
    problems, those that ended in a right answer are learned, beside the usual mixture.

    It is no part of ``train --all``.
    """

    problems: tuple[int, int, int, int] = (1600, 400, 100, 300)
    max_tokens: int = 420
    tokens: int = 1_500_000
    share: float = 0.5
    own: float = Recipe.own
    tiring: float = Recipe.tiring
    learning_rate: float = 0.002
    vector_rate: float = 6e-4
