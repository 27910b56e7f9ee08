"""Utilities: how much a text is worth if another one is what was wanted, ``u(text, reference)`` in [0, 1].

A utility is a part of the kind ``utility``, used by minimum Bayes risk and by whatever compares texts.
It is a callable of a text and a reference; it may have

- ``of``: ``"text"`` (whole texts are compared; the default) or ``"answer"`` (only the answers read from
  them: equal answers come as equal strings, a text without an answer is worth 0);
- ``matrix(texts, references)``: all pairs at once, ``(n, m)``, where that is cheaper.

Equal texts are worth 1, and all here are symmetric but ``chrf``, which weighs what is missing of the
reference more than what is too much.  No model, no download: they look at the surface, and know nothing
of meaning.  ``utility_matrix`` takes a plain function of two texts as well.

Sources: token F1: Rajpurkar et al. 2016 (arXiv 1606.05250); ROUGE-L: Lin 2004; chrF: Popovic 2015;
hashing: Weinberger et al. 2009 (arXiv 0902.2206).
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from outthink.core.errors import BadInput
from outthink.core.nouns import Floats, Pool
from outthink.core.registry import register

Of = Literal["text", "answer"]
Utility = Callable[[str, str], float]

#: a word, or a sign that stands alone
_TOKEN = re.compile(r"\w+|[^\w\s]")
#: buckets of ``embed``: about one n-gram in a dozen of a text of 500 tokens shares its own
SIZE = 1 << 14


def tokens(text: str) -> list[str]:
    """Words and signs, in lower case."""
    return _TOKEN.findall(text.casefold())


def utility_matrix(utility: Any, texts: Sequence[str], references: Sequence[str]) -> Floats:
    """``u(text, reference)`` of all pairs, ``(texts, references)``; equal strings are compared once."""
    if not len(texts) or not len(references):
        return np.zeros((len(texts), len(references)))
    kinds = list(dict.fromkeys([*texts, *references]))
    place = {text: i for i, text in enumerate(kinds)}
    rows = sorted({place[t] for t in texts})
    columns = sorted({place[t] for t in references})
    whole = getattr(utility, "matrix", None)
    if whole is not None:
        some = whole([kinds[i] for i in rows], [kinds[j] for j in columns])
    else:
        some = np.array([[float(utility(kinds[i], kinds[j])) for j in columns] for i in rows])
    spread = np.full((len(kinds), len(kinds)), np.nan)
    spread[np.ix_(rows, columns)] = some
    return spread[np.ix_([place[t] for t in texts], [place[t] for t in references])]


def utilities_of(utility: Any, pool: Pool) -> Floats:
    """``u(text, reference)`` of all pairs of a pool, ``(n, n)``; between answers where it compares those.

    An answer is written as the first of its class was, so that equal ones are equal strings; a text
    without one is worth 0, and makes others worth 0.
    """
    if getattr(utility, "of", "text") == "text":
        texts = [s.shown for s in pool.samples]
        return utility_matrix(utility, texts, texts)
    first = pool.classes.tolist().index
    answers = [pool.answers[first(c)] or "" for c in pool.classes]
    there = pool.classes >= 0
    return np.where(there[:, None] & there, utility_matrix(utility, answers, answers), 0.0)


# -- hashed n-grams ------------------------------------------------------------------------------------


@lru_cache(maxsize=1 << 16)
def _hash(token: str) -> int:
    return zlib.crc32(token.encode("utf-8", "surrogatepass"))


def embed(texts: Sequence[str], n: int = 3, size: int = SIZE) -> Floats:
    """Unit vectors of the texts, ``(texts, size)``: which 1- to ``n``-grams of tokens they hold.

    Each n-gram is hashed to one of ``size`` places, where ``1 + ln(count)`` is written: repeating
    oneself counts for little.  A text without a token is the zero vector.  No randomness.
    """
    out = np.zeros((len(texts), size))
    for row, text in zip(out, texts, strict=True):
        ids = np.array([_hash(t) for t in tokens(text)], dtype=np.uint64)
        grams = ids
        for length in range(1, n + 1):
            if length > 1:
                # a multiplier that mixes well; sums wrap around at 2**64
                grams = grams[:-1] * np.uint64(0x9E3779B97F4A7C15) + ids[length - 1 :]
            if not len(grams):
                break
            mixed = grams * np.uint64(0xD6E8FEB86659FD93) + np.uint64(length)
            places = ((mixed >> np.uint64(32)) % np.uint64(size)).astype(np.int64)
            row += np.bincount(places, minlength=size)
        row[row > 0] = 1.0 + np.log(row[row > 0])
    norms = np.sqrt((out**2).sum(axis=1, keepdims=True))
    return out / np.where(norms > 0, norms, 1.0)


def similarity_matrix(texts: Sequence[str], references: Sequence[str] | None = None) -> Floats:
    """Cosines of the texts' hashed n-grams in [0, 1], ``(n, n)``; with ``references``, ``(n, m)``.

    1 for equal texts, 0 where no word is shared (but for the rare collision).
    """
    rows = embed(texts)
    columns = rows if references is None else embed(references)
    return np.clip(rows @ columns.T, 0.0, 1.0)


# -- other measures of overlap -------------------------------------------------------------------------


def token_f1(text: str, reference: str) -> float:
    """The F1 of the two bags of tokens: ``2 |A & B| / (|A| + |B|)``."""
    a, b = Counter(tokens(text)), Counter(tokens(reference))
    total = sum(a.values()) + sum(b.values())
    return 2 * sum((a & b).values()) / total if total else float(text == reference)


def common_length(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """The length of the longest common subsequence.

    By bits of one whole number, one for each item of ``a``: a bit is cleared where the best length of
    the items so far grows (Allison and Dix 1986; Hyyro 2004).
    """
    where: dict[Hashable, int] = {}
    for i, item in enumerate(a):
        where[item] = where.get(item, 0) | 1 << i
    full = (1 << len(a)) - 1
    row = full
    for item in b:
        met = row & where.get(item, 0)
        row = ((row + met) | (row - met)) & full
    return len(a) - row.bit_count()


def rouge_l(text: str, reference: str) -> float:
    """ROUGE-L as F1: twice the longest common subsequence of tokens, over the two lengths."""
    a, b = tokens(text), tokens(reference)
    total = len(a) + len(b)
    return 2 * common_length(a, b) / total if total else float(text == reference)


@lru_cache(maxsize=1 << 13)
def _grams(text: str, n: int) -> Counter[str]:
    return Counter(text[i : i + n] for i in range(len(text) - n + 1))


def chrf(text: str, reference: str, order: int = 6, beta: float = 2.0) -> float:
    """chrF: the F-beta of the precision and recall of character n-grams, each a mean over 1 to ``order``.

    White space is left out, and so are lengths of which one of the texts has no n-gram.
    """
    a, b = "".join(text.split()), "".join(reference.split())
    precision, recall = [], []
    for n in range(1, min(order, len(a), len(b)) + 1):
        mine, its = _grams(a, n), _grams(b, n)
        shared = sum((mine & its).values())
        precision.append(shared / mine.total())
        recall.append(shared / its.total())
    if not precision:
        return float(a == b)
    p, r = float(np.mean(precision)), float(np.mean(recall))
    return (1 + beta**2) * p * r / (beta**2 * p + r) if p + r else 0.0


def edit_distance(a: str, b: str) -> int:
    """Levenshtein's distance: the fewest characters to insert, delete or replace.

    By bits of whole numbers, one for each character of ``a``: those of ``more`` and ``less`` say where a
    column of the table of distances goes up or down by one (Myers 1999, Hyyro 2003).
    """
    where: dict[str, int] = {}
    for i, letter in enumerate(a):
        where[letter] = where.get(letter, 0) | 1 << i
    full = (1 << len(a)) - 1
    top = (full + 1) >> 1
    more, less, distance = full, 0, len(a)
    for letter in b:
        met = where.get(letter, 0)
        kept = (((met & more) + more) ^ more) | met
        up, down = less | ~(kept | more), more & kept
        distance += bool(up & top) - bool(down & top)
        up, down, met = up << 1 | 1, down << 1, met | less
        more, less = (down | ~(met | up)) & full, up & met & full
    return distance if a else len(b)


def edit(text: str, reference: str) -> float:
    """``1 - edit distance / length of the longer``, in characters."""
    longest = max(len(text), len(reference))
    return 1.0 - edit_distance(text, reference) / longest if longest else 1.0


# -- the registered parts ------------------------------------------------------------------------------


@register("utility", "exact")
@dataclass(frozen=True)
class Exact:
    """1 where the answers (or the texts) are the same, else 0: minimum Bayes risk is the plain vote."""

    of: Of = "answer"

    def __call__(self, text: str, reference: str) -> float:
        """1 or 0."""
        return float(text == reference)


@register("utility", "ngram_cosine")
@dataclass(frozen=True)
class NgramCosine:
    """The cosine of hashed 1- to 3-grams of words and signs: cheap for many long texts."""

    of: Of = "text"

    def __call__(self, text: str, reference: str) -> float:
        """One pair."""
        return float(self.matrix([text], [reference])[0, 0])

    def matrix(self, texts: Sequence[str], references: Sequence[str]) -> Floats:
        """All pairs, ``(n, m)``; equal texts are 1 even without a word."""
        same: npt.NDArray[np.bool_] = np.array(texts)[:, None] == np.array(references)[None, :]
        return np.where(same, 1.0, similarity_matrix(texts, references))


@register("utility", "token_f1")
@dataclass(frozen=True)
class TokenF1:
    """The F1 of the bags of words and signs."""

    of: Of = "text"

    def __call__(self, text: str, reference: str) -> float:
        """One pair."""
        return token_f1(text, reference)


@register("utility", "rouge_l")
@dataclass(frozen=True)
class RougeL:
    """The F1 of the longest common subsequence of words and signs."""

    of: Of = "text"

    def __call__(self, text: str, reference: str) -> float:
        """One pair."""
        return rouge_l(text, reference)


@register("utility", "chrf")
@dataclass(frozen=True)
class Chrf:
    """The F-beta of character n-grams up to ``order``; ``beta`` weighs recall, 1 makes it symmetric."""

    order: int = 6
    beta: float = 2.0
    of: Of = "text"

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 20 or not 0 < self.beta <= 10:
            raise BadInput(
                f"chrf: order={self.order} must be from 1 to 20, beta={self.beta:g} above 0, at most 10"
            )

    def __call__(self, text: str, reference: str) -> float:
        """One pair."""
        return chrf(text, reference, self.order, self.beta)


@register("utility", "edit")
@dataclass(frozen=True)
class Edit:
    """One minus the edit distance in characters, over the length of the longer text."""

    of: Of = "text"

    def __call__(self, text: str, reference: str) -> float:
        """One pair."""
        return edit(text, reference)
