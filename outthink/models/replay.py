"""Recorded samples as a model: a strategy runs over them exactly as live, for free."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outthink.core.budget import Price, Reservation
from outthink.core.errors import BadInput, Refused
from outthink.core.model import SEEDS, Generation, Reply, Request
from outthink.core.nouns import Message, read_json, text_of
from outthink.core.registry import register


@register("model", "replay")
@dataclass(frozen=True)
class Replay:
    """Samples recorded in a JSON-lines file (or ``.gz``): sample i of a question is its i-th record.

    A row has the question (``question``, ``problem``, ``prompt`` or ``messages``) and ``completions``
    (a list) or one ``completion``; ``completion_tokens`` may give their lengths.  A question whose
    options a task wrote below it (``A. ...``) is found without them too.
    """

    path: str

    def open(self) -> ReplayModel:
        """Read the file."""
        return ReplayModel(self)


class ReplayModel:
    """The recordings by question."""

    capabilities = frozenset({SEEDS})
    native_n = True
    max_tokens = 1 << 15

    def __init__(self, spec: Replay) -> None:
        path = Path(os.path.expanduser(spec.path))
        self.price = Price()
        self._texts: dict[str, list[tuple[str, int]]] = {}
        try:
            raw = path.read_bytes()
            text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
            rows = [read_json(line) for line in text.split("\n") if line.strip()]
        except (OSError, ValueError, EOFError, zlib.error) as error:
            raise BadInput(f"replay: {spec.path} cannot be read as JSON lines: {error}") from None
        # another file of the same name is another model, in the store too
        self.name = f"replay:{path.name}@{hashlib.sha256(raw).hexdigest()[:12]}"
        for number, row in enumerate(rows, 1):
            where = f"replay: row {number} of {spec.path}"
            question = self._question(row) if isinstance(row, dict) else None
            if question is None:
                raise BadInput(f"{where} has no question or messages")
            texts = row.get("completions", row.get("completion"))
            texts = texts if isinstance(texts, list) else [texts]
            counts = row.get("completion_tokens")
            counts = counts if isinstance(counts, list) else [counts] * len(texts)
            if not all(isinstance(t, str) for t in texts):
                raise BadInput(f"{where}: completions is a list of texts")
            if len(counts) != len(texts):
                raise BadInput(f"{where}: {len(counts)} counts of tokens for {len(texts)} texts")
            book = self._texts.setdefault(question, [])
            for text, given in zip(texts, counts, strict=True):
                tokens = max(1, len(text) // 4) if given is None else given
                if not isinstance(tokens, int) or not 0 <= tokens < 1 << 53:
                    raise BadInput(f"{where}: completion_tokens={str(given)[:40]} is no count")
                book.append((text, int(tokens)))

    @staticmethod
    def _question(row: Mapping[str, Any]) -> str | None:
        for name in ("question", "problem", "prompt"):
            if isinstance(row.get(name), str):
                return str(row[name]).strip()
        messages = row.get("messages")
        if isinstance(messages, list) and all(isinstance(m, Mapping) for m in messages):
            return "\n".join(text_of(m.get("content")) for m in messages).strip()
        return None

    def count_tokens(self, messages: Sequence[Message], prefix: str = "") -> int:
        """A quarter of the characters."""
        return max(1, sum(len(text_of(m.get("content"))) for m in messages) // 4)

    async def generate(self, request: Request, ticket: Reservation) -> Reply:
        """The recorded samples at the places of these samples in the run."""
        question = "\n".join(text_of(m.get("content")) for m in request.messages).strip()
        book = self._texts.get(question)
        if book is None:  # a task writes the options below the question
            book = self._texts.get(question.partition("\n\nA. ")[0])
        if book is None:
            raise Refused(f"{self.name} holds nothing for this question: {question[:80]!r}")
        out = []
        for place in [node[-1] for node in request.nodes] or range(request.n):
            if place >= len(book):
                raise Refused(
                    f"{self.name} holds {len(book)} samples of this question, not {place + 1}"
                )
            text, tokens = book[place]
            cut = tokens > request.max_tokens
            if cut:
                text, tokens = text[: request.max_tokens * len(text) // tokens], request.max_tokens
            out.append(Generation(text, tokens, "length" if cut else "stop"))
        prompt = self.count_tokens(request.messages)
        return Reply(tuple(out), self.price.usage(prompt, sum(g.tokens for g in out)))

    async def aclose(self) -> None:
        """Nothing to close."""
