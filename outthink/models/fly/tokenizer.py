"""The tokenizer of ``fly``: byte-level BPE over words, single digits and single signs.

It reads the same ``tokenizer.json`` that transformers loads, in a hundred lines of standard
library: text is cut into words (with a leading space), digits and single characters, each piece is
written as bytes, and learned merges join them.  Digits never merge, so arithmetic sees every digit
(a space goes with the digit that follows it).
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

#: How text is cut before merging.  The same expression is in ``tokenizer.json``.
PIECES = r" ?[A-Za-z]+| ?[0-9]| ?[^A-Za-z0-9 \n]|\n| "

THINK, THOUGHT, TRY, JUDGE = "<think>", "</think>", "<try>", "<judge>"
#: Tokens that no text is cut into; the ones around thoughts are seen in texts, the others are not.
SPECIALS = ("<pad>", "<bos>", "<eos>", THINK, THOUGHT, TRY, JUDGE)
VISIBLE = (THINK, THOUGHT)


_MARK = re.compile(r"</?[a-z]+>")


def byte_alphabet() -> dict[int, str]:
    """The printable character that stands for each byte (the GPT-2 table)."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in keep}
    extra = 0
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + extra)
            extra += 1
    return table


class Tokenizer:
    """Text to token ids and back; exact inverse on any text without special tokens."""

    def __init__(
        self, vocab: dict[str, int], merges: Iterable[tuple[str, str]], pieces: str = PIECES
    ) -> None:
        self.vocab = vocab
        self.tokens = {i: t for t, i in vocab.items()}
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.size = max(self.tokens) + 1
        self.pad, self.bos, self.eos = (vocab[s] for s in SPECIALS[:3])
        self._bytes = byte_alphabet()
        self._chars = {c: b for b, c in self._bytes.items()}
        self._pieces = re.compile(pieces)
        self._cache: dict[str, list[int]] = {}
        special = {i for t, i in vocab.items() if _MARK.fullmatch(t) and t not in VISIBLE}
        self._visible = {s: vocab[s] for s in VISIBLE if s in vocab}
        self._marks = re.compile("(" + "|".join(map(re.escape, VISIBLE)) + ")")
        #: the bytes of each id (empty for special tokens)
        self.id_bytes = [
            b""
            if i in special or i not in self.tokens
            else self.tokens[i].encode()
            if i in self._visible.values()
            else bytes(self._chars[c] for c in self.tokens[i])
            for i in range(self.size)
        ]

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read a ``tokenizer.json``."""
        model = json.loads(path.read_text(encoding="utf-8"))
        bpe = model["model"]
        merges = [m.split(" ") if isinstance(m, str) else m for m in bpe["merges"]]
        vocab = dict(bpe["vocab"])
        vocab.update({t["content"]: t["id"] for t in model.get("added_tokens", [])})
        cut = model["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
        return cls(vocab, [(left, right) for left, right in merges], cut)

    def encode(self, text: str) -> list[int]:
        """The ids of ``text``: the marks of thoughts are read as tokens, no other special token."""
        ids: list[int] = []
        for part in self._marks.split(text):
            if part in self._visible:
                ids.append(self._visible[part])
            else:
                self._words(part, ids)
        return ids

    def _words(self, text: str, ids: list[int]) -> None:
        for piece in self._pieces.findall(text):
            found = self._cache.get(piece)
            if found is None:
                found = self._merge(piece)
                if len(self._cache) < 20_000 and len(piece) < 100:
                    self._cache[piece] = found
            ids.extend(found)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; special tokens that no text shows are left out, broken UTF-8 is replaced."""
        return b"".join(self.id_bytes[i] for i in ids).decode("utf-8", errors="replace")

    def _merge(self, piece: str) -> list[int]:
        """Join the pair of the lowest rank, the leftmost of equals, until none is left."""
        parts = [self._bytes[b] for b in piece.encode("utf-8", errors="replace")]
        n = len(parts)
        after, before = list(range(1, n + 1)), list(range(-1, n - 1))
        heap = [(self.ranks[p], i) for i, p in enumerate(pairwise(parts)) if p in self.ranks]
        heapq.heapify(heap)
        while heap:
            rank, i = heapq.heappop(heap)
            j = after[i]
            # an entry of a pair that is no more is passed over
            if not parts[i] or j >= n or self.ranks.get((parts[i], parts[j])) != rank:
                continue
            parts[i], parts[j] = parts[i] + parts[j], ""
            after[i] = after[j]
            if after[i] < n:
                before[after[i]] = i
            for left, right in ((before[i], i), (i, after[i])):
                if left >= 0 and right < n and (parts[left], parts[right]) in self.ranks:
                    heapq.heappush(heap, (self.ranks[parts[left], parts[right]], left))
        return [self.vocab[p] for p in parts if p]
