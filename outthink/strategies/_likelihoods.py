"""What strategies share that ask a model how likely given texts are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from outthink.core.nouns import Floats
from outthink.models.inside import log_softmax


def likelihoods(inside: Any, states: Iterable[Any], texts: Sequence[Sequence[int]]) -> Floats:
    """Log-probability (nats) of each text after each state, ``(states, texts)``.

    A state's texts are read side by side and forgotten before the next state is asked for: give states
    that are read as they are needed, and the memory of one is all that is taken.
    """
    return np.array([_after(inside, state, texts) for state in states])


def _after(inside: Any, state: Any, texts: Sequence[Sequence[int]]) -> Floats:
    out = np.zeros(len(texts))
    rows = [(j, state) for j in range(len(texts))]
    for place in range(max(map(len, texts))):
        rows = [(j, s) for j, s in rows if place < len(texts[j])]
        for j, s in rows:
            out[j] += log_softmax(s.logits)[texts[j][place]]
        going = [(j, s) for j, s in rows if place + 1 < len(texts[j])]
        moved = inside.advance([s for _, s in going], [texts[j][place] for j, _ in going])
        rows = [(j, s) for (j, _), s in zip(going, moved, strict=True)]
    return out
