"""What strategies share that ask a model how likely given texts are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from outthink.core.nouns import Floats
from outthink.models.inside import log_softmax


def likelihoods(inside: Any, states: Sequence[Any], texts: Sequence[Sequence[int]]) -> Floats:
    """Log-probability (nats) of each text after each state, ``(states, texts)``; all side by side."""
    out = np.zeros((len(states), len(texts)))
    rows = [(i, j, s) for i, s in enumerate(states) for j in range(len(texts))]
    for place in range(max(map(len, texts))):
        rows = [row for row in rows if place < len(texts[row[1]])]
        for i, j, s in rows:
            out[i, j] += log_softmax(s.logits)[texts[j][place]]
        going = [row for row in rows if place + 1 < len(texts[row[1]])]
        moved = inside.advance([s for _, _, s in going], [texts[j][place] for _, j, _ in going])
        rows = [(i, j, s) for (i, j, _), s in zip(going, moved, strict=True)]
    return out
