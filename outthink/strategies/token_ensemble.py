"""A token-level ensemble: several inputs are read, and one text is written that all of them agree on.

    p(y_t | y_<t) = 1/k sum_i p_i(y_t | x_i, y_<t)

for k inputs x_i: the question through each of the ``prompts`` (templates with {question}; one without it
is a prompt of its own), in the model and in each of ``models`` beside it, which must share its tokens.
All are decoded in lockstep: the likeliest token of the mean (or one drawn from it, above temperature 0)
is written after every input.

Exact: the mean of probabilities, taken at each token, greedy; k = 8 in the paper, of paraphrases of the
question and changed images.  Ours: templates instead of a paraphrasing model, several models as inputs.
Left out: images, the other means that were tried (of logits, of the surest, weighted by entropy), and
TTAdapt, which trains the weights on what TTAug wrote.

Source: TTAug, Kaya, Elliott and Papadopoulos 2025 (S047, arXiv 2510.03574) and its code.
Cost: one text, k passes a token: each counts as a token of the main model.  Needs LOGITS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outthink.core.errors import BadInput
from outthink.core.nouns import Answer, Message, Problem
from outthink.core.registry import part, strategy
from outthink.core.run import Run
from outthink.models.inside import State, log_softmax
from outthink.strategies._common import check
from outthink.strategies._perturbations import INSTRUCTIONS
from outthink.strategies._prompts import asking

#: the question as it stands, and with an instruction after it
PROMPTS = ("{question}", *(f"{{question}}\n\n{told}" for told in INSTRUCTIONS[:3]))


@dataclass(frozen=True)
class Text:
    """What was written together: its log-probabilities ``(tokens,)`` are those of the mean, in nats."""

    text: str
    logprobs: tuple[float, ...]
    finish: str


def write_together(
    states: Sequence[State],
    most: int,
    temperature: float = 0.0,
    rng: np.random.Generator | None = None,
    wrote: Callable[[int], None] = lambda k: None,
) -> Text:
    """One text of up to ``most`` tokens after all states, from the mean of their predictions.

    A distribution is warmed or cooled before the mean is taken; ``rng`` draws above temperature 0.
    """
    ids, logprobs, owners = list[int](), list[float](), list(dict.fromkeys(s.owner for s in states))
    going, ends = list(states), owners[0].ends
    while len(ids) < most and (not ids or ids[-1] not in ends):
        logits = np.stack([s.logits for s in going])
        p = np.exp(log_softmax(logits / (temperature or 1.0))).mean(axis=0)
        drawn = rng is not None and temperature > 0
        token = int(rng.choice(len(p), p=p / p.sum()) if rng and drawn else p.argmax())
        wrote(len(going))
        ids.append(token)
        logprobs.append(float(np.log(np.exp(log_softmax(logits)).mean(axis=0)[token])))
        if token in ends or len(ids) == most:
            break
        for owner in owners:
            mine = [i for i, s in enumerate(going) if s.owner is owner]
            moved = owner.advance([going[i] for i in mine], [token] * len(mine))
            for i, state in zip(mine, moved, strict=True):
                going[i] = state
    finish = "stop" if ids and ids[-1] in ends else "length"
    return Text(owners[0].decode(ids), tuple(logprobs), finish)


@strategy("token_ensemble", sources=("S047",), needs=("LOGITS",))
@dataclass(frozen=True)
class TokenEnsemble:
    """One text from the mean of what several prompts, or several models, would write next."""

    prompts: tuple[str, ...] = PROMPTS
    models: Any = part("model", (), many=True)
    temperature: float = 0.0
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check(self, temperature=(0.0, 5.0), max_tokens=(1, None))
        if not self.prompts or not all(p.strip() for p in self.prompts):
            raise BadInput(
                "token_ensemble: prompts are templates such as ['{question}'], none empty"
            )

    def chats(self, problem: Problem) -> list[tuple[Message, ...]]:
        """The problem, its question put into each of the templates."""
        told = [prompt.replace("{question}", problem.question) for prompt in self.prompts]
        return [asking(problem.messages, question) for question in told]

    async def __call__(self, problem: Problem, run: Run) -> Answer:
        """Read all inputs, write one text after all of them."""
        model: Any = run.model()
        models: list[Any] = [model, *(run.model(m) for m in self.models)]
        chats = self.chats(problem)
        _share_tokens(models, chats[0])
        k = len(models) * len(chats)
        reads = sum(m.count_tokens(chat) for m in models for chat in chats)
        room = min(m.inside.context - m.count_tokens(c) for m in models for c in chats)
        fits = run.meter.affordable_tokens(model.price, reads, k)
        most = max(1, min(self.max_tokens or model.max_tokens, room, fits))
        rng = run.rng("tokens")

        def work(_: Any, wrote: Callable[[int], None]) -> Text:
            states = [m.inside.read(m.inside.prompt(chat)) for m in models for chat in chats]
            return write_together(states, most, self.temperature, rng, wrote)

        made = await run.inside(work, reads=reads, writes=k * most)
        sample = run.make(
            made.text,
            tokens=len(made.logprobs),
            logprobs=np.array(made.logprobs),
            finish=made.finish,
        )
        return run.answer(await run.pool([sample]), 0)


def _share_tokens(models: Sequence[Any], chat: Sequence[Message]) -> None:
    """Raise ``BadInput`` where models cut a text into other tokens than the first."""
    said = " ".join(str(m.get("content")) for m in chat)
    first = models[0]
    for other in models[1:]:
        if not hasattr(other, "inside"):
            raise BadInput(
                f"token_ensemble: models={other.name} has no inside, as fly and local have"
            )
        same = first.inside.vocabulary == other.inside.vocabulary
        if not same or first.inside.encode(said) != other.inside.encode(said):
            raise BadInput(
                f"token_ensemble: models={other.name} has other tokens than {first.name}"
            )
