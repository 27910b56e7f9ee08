"""The nouns: ``Problem``, ``Sample``, ``Pool``, ``Score``, ``Answer``.

A *strategy* spends a *budget* on a *model* to turn a ``Problem`` into an ``Answer``.  Samples form
a tree and are stored once: each holds only the text it adds to its parent.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from outthink.core.budget import Budget, Usage
from outthink.core.errors import BadInput

Message = Mapping[str, Any]
Node = tuple[int, ...]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def text_of(content: Any) -> str:
    """The text of a message's content: a string, or the text parts of a list of parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    parts = [p.get("text") for p in content if isinstance(p, Mapping) and p.get("type") == "text"]
    return "\n".join(p for p in parts if isinstance(p, str))


def calls_of(said: Mapping[str, Any]) -> list[str]:
    """The tool calls of a message, or beside a sample's text, each as ``name(arguments)``."""
    calls = said.get("tool_calls") or said.get("function_call") or ()
    out: list[str] = []
    for call in calls if isinstance(calls, (list, tuple)) else (calls,):
        try:
            inner = call.get("custom") or call.get("function") or call
            given = inner.get("arguments", inner.get("input", ""))
            out.append(f"{inner['name']}({given})")
        except (AttributeError, KeyError):
            out.append(canonical(call))
    return out


@dataclass(frozen=True)
class Problem:
    """Chat messages in OpenAI's form (text, image parts and tools are kept as they are).

    ``reference``, ``choices``, ``tests`` and ``checker`` are what is known of the right answer.
    They are for the lab alone: a strategy is handed ``problem.public()``.
    """

    messages: tuple[Message, ...]
    reference: str | None = None
    choices: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    checker: Callable[[str], bool] | None = None
    id: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.messages:
            raise BadInput("a problem needs at least one message")
        for i, message in enumerate(self.messages):
            plain = isinstance(message, Mapping) and all(isinstance(k, str) for k in message)
            if not plain or "role" not in message:
                raise BadInput(f"message {i} is not an object with 'role' and 'content'")
            if message["role"] not in ROLES:
                raise BadInput(f"message {i} has role {message['role']!r}: use {', '.join(ROLES)}")
            content = message.get("content")
            if content is not None and not isinstance(content, (str, list, tuple)):
                raise BadInput(f"message {i}: content is a string or a list of parts")
            for part in content if isinstance(content, (list, tuple)) else ():
                text = part.get("text", "") if isinstance(part, Mapping) else None
                if not isinstance(text, str):
                    raise BadInput(f"message {i}: a part is an object, its text a string")
        if not any(text_of(m.get("content")).strip() or m.get("content") for m in self.messages):
            raise BadInput("the question is empty")

    @classmethod
    def of(cls, question: Problem | str | Sequence[Message]) -> Problem:
        """A problem from a question, a list of messages, or a problem."""
        if isinstance(question, Problem):
            return question
        if isinstance(question, str):
            if not question.strip():
                raise BadInput("the question is empty")
            return cls(({"role": "user", "content": question},))
        if not isinstance(question, Sequence):
            kind = type(question).__name__
            raise BadInput(
                f"a problem is a question, a list of messages or a Problem, not a {kind}"
            )
        messages: Any = question
        return cls(tuple(messages))

    @property
    def question(self) -> str:
        """The text of the last user message."""
        for message in reversed(self.messages):
            if message["role"] == "user":
                return text_of(message.get("content"))
        return text_of(self.messages[-1].get("content"))

    def public(self) -> Problem:
        """The same problem without anything that is known of its answer."""
        return replace(self, reference=None, choices=(), tests=(), checker=None, meta={})


@dataclass(frozen=True)
class Score:
    """A verifier's verdict: one number, and one for each step where the verifier judges steps."""

    value: float
    steps: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Sample:
    """One full or partial generation; ``text`` is the parents' text with ``delta`` at its end.

    ``finish``: ``"stop"`` (the model ended), ``"length"`` (``max_tokens``), ``"step"`` (a stop
    string: the sample can be extended), ``"root"`` (nothing written yet), or the server's word.
    ``tokens`` and ``logprob`` (nats) are those of ``delta`` alone, and so are ``logprobs (tokens,)``
    and ``top_logprobs (tokens, k)``, the k largest at each place in falling order, where they were
    asked for.  ``role`` says who wrote it and what for: ``"main"``, the spec of another model,
    ``"judge"``.
    """

    node: Node
    delta: str = ""
    parent: Sample | None = None
    finish: str = "root"
    tokens: int = 0
    logprob: float | None = None
    logprobs: Floats | None = None
    messages: tuple[Message, ...] = ()
    role: str = "main"
    stored: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    top_logprobs: Floats | None = None

    @property
    def text(self) -> str:
        """The whole text, from the root of the tree on."""
        return "".join(s.delta for s in self.lineage())

    @property
    def shown(self) -> str:
        """The whole text and, below it, each tool call: what is shown to a judge, or compared."""
        calls = [f"tool call: {call}" for call in calls_of(self.extra)]
        return "\n".join([self.text, *calls] if self.text else calls)

    @property
    def depth(self) -> int:
        """The number of steps from the root."""
        return len(self.lineage()) - 1

    @property
    def total_tokens(self) -> int:
        """Completion tokens of the whole text."""
        return sum(s.tokens for s in self.lineage())

    @property
    def total_logprob(self) -> float | None:
        """Log-probability of the whole text in nats, where the model gave it."""
        # what Run.edit put there was not drawn, and has no part in it
        parts = [
            s.logprob
            for s in self.lineage()
            if s.finish != "root" and (s.tokens or s.logprob is not None)
        ]
        if not parts or any(p is None for p in parts):
            return None
        return float(sum(p for p in parts if p is not None))

    def trace(self, name: Literal["logprobs", "top_logprobs"] = "logprobs") -> Floats | None:
        """``logprobs`` or ``top_logprobs`` of the whole text; ``None`` where a part has none.

        What was added by ``Run.edit`` was not drawn and has no part in it.
        """
        parts = [getattr(s, name) for s in self.lineage() if s.tokens]
        if not parts or any(part is None for part in parts):
            return None
        if name == "logprobs":
            return np.concatenate(parts)
        width = max(part.shape[1] for part in parts)
        pads = [((0, 0), (0, width - part.shape[1])) for part in parts]
        padded = [np.pad(p, w, constant_values=-np.inf) for p, w in zip(parts, pads, strict=True)]
        return np.concatenate(padded)

    @property
    def finished(self) -> bool:
        """Has the model ended this text (or can it not go on)?"""
        return self.finish not in ("step", "root")

    def lineage(self) -> list[Sample]:
        """From the root to this sample."""
        path: list[Sample] = []
        at: Sample | None = self
        while at is not None:
            path.append(at)
            at = at.parent
        return path[::-1]


@dataclass(frozen=True)
class Pool:
    """Samples of one problem in columns, all of shape ``(n,)``: what decision rules work on.

    ``classes`` numbers the answers up to equivalence in order of first appearance; -1 is a text
    from which no answer could be read, a class of its own that never wins while another exists.
    """

    samples: tuple[Sample, ...]
    answers: tuple[str | None, ...]
    classes: Ints
    scores: Mapping[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def tokens(self) -> Ints:
        """Completion tokens of each sample."""
        return np.array([s.total_tokens for s in self.samples], dtype=np.int64)

    def with_scores(self, name: str, scores: Sequence[float] | Floats) -> Pool:
        """The same pool with one more column of scores."""
        return replace(self, scores={**self.scores, name: np.asarray(scores, dtype=np.float64)})


@dataclass(frozen=True, repr=False)
class Answer:
    """What a run came to.

    ``answer`` is the extracted answer (``None`` when no text held one), ``text`` the whole chosen
    text, ``confidence`` the weight of the chosen class, ``distribution`` the weight of each class,
    ``stopped`` why the run ended: ``"finished"``, the name of a limit, ``"interrupted"`` (Ctrl-C),
    ``"cancelled"`` or the reason given to ``run.cancel``, ``"error"``; of a replay also ``"store"``.
    ``submissions`` are the texts handed in where a strategy may hand in several (pass@k), best first.
    ``sample`` is the one whose text it is, where it is that of one sample.
    ``critical_seconds`` is the longest chain of calls that waited for one another: what the run takes
    where nothing else does, each call as long as it took when it was made (also one from the store).
    """

    answer: str | None
    text: str
    confidence: float | None = None
    distribution: Mapping[str, float] = field(default_factory=dict)
    candidates: tuple[Sample, ...] = ()
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    critical_seconds: float = 0.0
    budget: Budget = field(default_factory=Budget)
    stopped: str = "finished"
    run: str = ""
    strategy: str = ""
    model: str = ""
    seed: int = 0
    notes: tuple[str, ...] = ()
    submissions: tuple[str, ...] = ()
    sample: Sample | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, as the command line's ``--json`` prints them."""
        return {
            "answer": self.answer,
            "text": self.text,
            "confidence": self.confidence,
            "distribution": dict(self.distribution),
            "strategy": self.strategy,
            "model": self.model,
            "usage": self.usage.to_json(),
            "budget": self.budget.limits(),
            "stopped": self.stopped,
            "run": self.run,
            "seed": self.seed,
            "notes": list(self.notes),
            **({"submissions": list(self.submissions)} if self.submissions else {}),
        }

    @property
    def ended(self) -> str:
        """``stopped`` as a person would say it; empty for a run that came to its own end."""
        if self.stopped == "finished":
            return ""
        limits = (*(f.name for f in fields(Budget)), "error", "store")
        return f"stopped by {self.stopped}" if self.stopped in limits else self.stopped

    @property
    def spent(self) -> str:
        """The bill in a few words: calls, completion tokens, seconds, dollars."""
        u = self.usage
        told = [f"{u.calls} call{'s' * (u.calls != 1)}"]
        told.append(f"{u.completion_tokens:,} tokens" + (" (estimated)" if u.estimated else ""))
        told += [f"{u.seconds:.2f} s"] + ([f"${u.usd:.4f}"] if u.usd else [])
        return ", ".join(told + ([f"{u.stored_calls} from the store"] if u.stored_calls else []))

    def __str__(self) -> str:
        found = self.answer
        lines = [found if found is not None else f"(no answer found) {self.text[:400]}".strip()]
        if self.confidence is not None:
            lines.append(f"  confidence {self.confidence:.2f}")
        ranked = sorted(self.distribution.items(), key=lambda item: -item[1])
        if len(ranked) > 1:
            shares = [f"{' '.join(a.split())[:24]}: {w:.2f}" for a, w in ranked[:5]]
            lines.append("  " + "  ".join(shares))
        lines.append(f"  {self.strategy} on {self.model}: {self.spent}")
        if self.ended:
            lines[-1] += f"; {self.ended}"
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    def __repr__(self) -> str:
        shown = "" if self.confidence is None else f", confidence={self.confidence:.3g}"
        shown += f", stopped={self.stopped!r}, strategy={self.strategy!r}, model={self.model!r}"
        return f"Answer({self.answer!r}{shown}, {len(self.candidates)} candidates)"

    def _repr_html_(self) -> str:
        """Notebook view: the answer, a bar for each class, the spend."""
        ranked = sorted(self.distribution.items(), key=lambda item: -item[1])[:8]
        rows = "".join(
            f"<tr><td style='text-align:left'>{html.escape(a)}</td><td style='text-align:left'>"
            f"<div style='background:#4c78a8;height:.8em;width:{160 * w:.0f}px'></div></td>"
            f"<td>{w:.2f}</td></tr>"
            for a, w in ranked
        )
        head = html.escape(self.answer if self.answer is not None else "(no answer found)")
        how = f"{self.strategy} on {self.model}: {self.spent}"
        told = [how + (f"; {self.ended}" if self.ended else ""), *self.notes]
        foot = "<br>".join(html.escape(line) for line in told)
        return f"<div><b>{head}</b><table>{rows}</table><small>{foot}</small></div>"


def finite(value: Any) -> Any:
    """The value in JSON's terms: numpy's numbers as Python's, null for what JSON has no number for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return finite(value.item()) if isinstance(value, np.generic) else value


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def dotted(node: Iterable[int]) -> str:
    """A node as a text: ``0.3.1``."""
    return ".".join(str(i) for i in node)


def digest(text: str) -> str:
    """SHA-256 of a text in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_json(text: str | bytes) -> Any:
    """The value of a JSON text; ``ValueError`` for whatever is none, too deep or too large.

    Bytes that are no UTF-8 are replaced.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("nested too deep") from None
