"""Reward models behind a server: vLLM's pooling, classification and score endpoints.

``reward_server`` judges texts with a model such as Qwen2.5-Math-PRM (a process reward model: one
score for each step) or Skywork-Reward (an outcome reward model: one score for the whole), served by
``vllm serve MODEL``.  Use it in a verifier: ``prm(model=reward_server("NAME", base_url=...))``.

A process reward model wants a mark of its own after each step; ``tag`` says which.  Its scores are
read at the marks, and of two classes the last one counts ("right").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from outthink.core.budget import Price, Reservation, Usage
from outthink.core.errors import BadInput, Malformed, Refused
from outthink.core.model import REWARD, Judged, Reply, Request
from outthink.core.nouns import Message, text_of
from outthink.core.registry import register
from outthink.models._server import Address, Server, configured, count, estimate_chat, uncounted
from outthink.models._wire import Transport

#: what the makers of known models ask for: part of the name, the mark after a step, the system text
KNOWN = {
    "qwen2.5-math-prm": (
        "<extra_0>",
        "Please reason step by step, and put your final answer within \\boxed{}.",
    ),
}


@register("model", "reward_server")
@dataclass(frozen=True)
class RewardServer:
    """A reward model behind a server (vLLM's ``/pooling``, ``/classify`` or ``/score``).

    ``tag``: the mark that the model wants after each step, for a score of each; without one a text
    has one score (known models bring their own mark, and the system message, ``system``, that they
    were trained with).  ``step``: what ends a step in a text.  ``logits``: the server gives raw scores,
    to be put through a sigmoid.  Texts are judged one a call, side by side.
    """

    name: str
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    endpoint: Literal["pooling", "classify", "score"] = "pooling"
    tag: str | None = None
    step: str = "\n\n"
    system: str | None = None
    logits: bool = False
    retries: int = 4
    connect_seconds: float = 5.0
    read_seconds: float = 120.0
    usd_prompt: float | None = None
    parameters: float = 0.0

    def __post_init__(self) -> None:
        if not self.name:
            raise BadInput("reward_server: the model's name is empty")
        if not self.step:
            raise BadInput("reward_server: step is empty; write what ends a step, such as '\\n'")
        if self.tag and self.endpoint != "pooling":
            raise BadInput(f"reward_server: a tag has no meaning for endpoint={self.endpoint}")
        self.address.check("reward_server")

    @property
    def address(self) -> Address:
        """Where the server is and how it is asked."""
        return Address(
            self.base_url, self.api_key_env, self.retries, self.connect_seconds, self.read_seconds
        )

    def open(self, transport: Transport | None = None) -> RewardServerModel:
        """The running reward model; ``transport`` is a seam for tests."""
        return RewardServerModel(self, transport)

    @staticmethod
    def usable() -> tuple[bool, str]:
        """Is there a key or an address in the environment?"""
        return configured()


class RewardServerModel:
    """The live client."""

    capabilities = frozenset({REWARD})
    native_n = False
    max_tokens = 1
    per_call = 1

    def __init__(self, spec: RewardServer, transport: Transport | None) -> None:
        self.spec = spec
        self.server = Server(spec.address, spec.name, transport)
        known = next((v for k, v in KNOWN.items() if k in spec.name.lower()), ("", ""))
        if spec.endpoint != "pooling":
            known = ("", known[1])
        self.tag = known[0] if spec.tag is None else spec.tag
        self.system = known[1] if spec.system is None else spec.system
        # all that changes a score is part of the name, under which scores are stored
        dials = [spec.endpoint, *(["logits"] if spec.logits else [])]
        dials += [repr(x) for x in (self.tag, self.tag and spec.step, self.system) if x]
        self.name = f"{spec.name}@{self.server.place}/{' '.join(dials)}"
        self.price = Price(spec.usd_prompt or 0.0, 0.0, None, 2.0 * spec.parameters)
        #: limits of a budget that cannot hold, and why
        missing = "usd_prompt=" if spec.usd_prompt is None else ""
        self.uncounted = uncounted(spec.name, missing, spec.parameters)
        for endpoint in self.server.endpoints:
            endpoint.base = endpoint.base.removesuffix("/v1")

    def steps_of(self, text: str) -> list[str]:
        """The steps of a text; without a tag the text itself."""
        if not self.tag:
            return [text]
        text = text.replace(self.tag, "")
        return [part for part in text.split(self.spec.step) if part.strip()] or [text]

    def _said(self, text: str) -> str:
        return "".join(part + self.tag for part in self.steps_of(text)) if self.tag else text

    def count_tokens(self, messages: Sequence[Message], prefix: str = "") -> int:
        """An upper estimate for a question and its text, marks and template included."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        said = {"role": "assistant", "content": self._said(prefix)}
        return estimate_chat([*system, *messages, said])

    def _body(self, item: Judged) -> dict[str, Any]:
        if self.spec.endpoint == "score":
            question = "\n\n".join(text_of(m.get("content")) for m in item.messages)
            return {"model": self.spec.name, "text_1": question, "text_2": item.text}
        first = [{"role": "system", "content": self.system}] if self.system else []
        begun = [dict(m) for m in item.messages if not (first and m["role"] == "system")]
        said = {"role": "assistant", "content": self._said(item.text)}
        return {"model": self.spec.name, "messages": [*first, *begun, said]}

    async def generate(self, request: Request, ticket: Reservation) -> Reply:
        """A reward model writes nothing."""
        raise Refused(f"{self.spec.name} scores texts and writes none: use it as a verifier")

    async def reward(
        self, items: Sequence[Judged], ticket: Reservation
    ) -> tuple[list[tuple[float, ...]], Usage]:
        """The step scores of each text, one call each."""
        scores: list[tuple[float, ...]] = []
        used = Usage()
        for item in items:
            body = self._body(item)

            async def attempt(body: dict[str, Any] = body) -> Any:
                return await self.server.post("/" + self.spec.endpoint, body)

            data = await self.server.insist(ticket, attempt)
            usage = data.get("usage") if isinstance(data, dict) else None
            read = count(usage, "prompt_tokens") or None
            own = self.count_tokens(item.messages, item.text)
            used = used + self.price.usage(own if read is None else read, 0, estimated=read is None)
            ticket.partial = used
            found = self._scores(data)
            if self.tag and len(found) != len(self.steps_of(item.text)):
                raise Malformed(
                    f"{self.server.host} gave {len(found)} scores for "
                    f"{len(self.steps_of(item.text))} steps; has {self.spec.name} the tag {self.tag!r}?"
                )
            scores.append(tuple(found if self.tag else found[-1:]))
        return scores, used

    def _scores(self, data: Any) -> list[float]:
        """The scores in a body of any of the three endpoints."""
        rows = data.get("data") if isinstance(data, dict) else None
        if not isinstance(rows, list) or len(rows) != 1 or not isinstance(rows[0], dict):
            raise Malformed(f"{self.server.host}: an answer without one row of data")
        name = {"pooling": "data", "classify": "probs", "score": "score"}[self.spec.endpoint]
        found = rows[0].get(name)
        values = found if isinstance(found, list) else [found]
        flat = bool(values) and not isinstance(values[0], list)
        if self.spec.endpoint == "classify" or (flat and not self.tag):
            values = [values]  # the classes of the whole text
        out = [self._value(v) for v in values]
        if not out:
            raise Malformed(f"{self.server.host}: no score came back")
        return out

    def _value(self, value: Any) -> float:
        """One score: a number, or the last of two classes."""
        if isinstance(value, list):
            if not 1 <= len(value) <= 2:
                raise Malformed(
                    f"{self.server.host} gives {len(value)} numbers a text: "
                    f"is {self.spec.name} a reward model?"
                )
            value = value[-1]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
            raise Malformed(
                f"{self.server.host}: {self.server.clean(str(value))[:40]!r} is no score"
            )
        if self.spec.logits:
            return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
        if not 0 <= value <= 1:
            raise Malformed(
                f"{self.server.host} gives the score {value:g}, outside 0 to 1: "
                "write logits=true for raw scores"
            )
        return float(value)

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self.server.aclose()
