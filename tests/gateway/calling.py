"""A model whose answers are tool calls, and which judges what it is shown."""

import itertools
import json
import re

import anyio
import numpy as np

from outthink.core.budget import Price
from outthink.core.model import LOGPROBS, PREFIX, Generation, Reply

#: a tool that takes a city and may take a unit
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "number"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "get_time"}}
_BLOCK = re.compile(r"<(candidate-\d+|solution[-AB]*)-[0-9a-f]{10}>\n(.*?)\n</\1-", re.S)


def call(name, arguments, number=0):
    """One entry of ``tool_calls``; ``arguments`` is a value or the text itself."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": text}}


def calls(*pairs):
    """What a sample holds beside its text that calls these tools."""
    return {"tool_calls": [call(n, a, i) for i, (n, a) in enumerate(pairs)]}


class Calling:
    """Gives ``answers`` in turn where tools are offered: texts, or what stands beside an empty text.

    Those that hold ``liked`` are the likelier ones.  Without tools it is asked about such answers, and
    is for those too.
    """

    name, native_n, max_tokens = "calling", True, 40
    price = Price(1e6, 1e6)

    def __init__(self, answers, liked="Paris", capabilities=(PREFIX, LOGPROBS)):
        self.turn, self.liked = itertools.cycle(answers), liked
        self.capabilities, self.asked = frozenset(capabilities), []

    def count_tokens(self, messages, prefix=""):
        return 10

    async def generate(self, request, ticket):
        self.asked.append(request)
        await anyio.sleep(0)
        written = [self._write(request) for _ in range(request.n)]
        return Reply(tuple(written), self.price.usage(10, 5 * request.n))

    def _write(self, request):
        if not request.tools:
            return Generation(self.judge(request.messages), 5)
        answer = next(self.turn)
        text, extra = (answer, {}) if isinstance(answer, str) else ("", answer)
        # what it is surer of: the likelier the token, the less likely are the others
        each, others = (-0.1, -6.0) if self.liked in json.dumps(answer) else (-0.5, -2.0)
        lines = np.full(5, each) if request.logprobs else None
        tops = np.full((5, request.top_logprobs), others) if request.top_logprobs else None
        if tops is not None:
            tops[:, 0] = each
        finish = "tool_calls" if extra else "stop"
        total = None if lines is None else float(lines.sum())
        return Generation(text, 5, finish, None, total, lines, extra, tops)

    def judge(self, messages):
        """A rating, a verdict, a choice, yes or no: whatever is asked for."""
        body = messages[-1]["content"]
        shown = [text for _, text in _BLOCK.findall(body)]
        good = [i for i, text in enumerate(shown, 1) if self.liked in text]
        if "Rating: N" in body:
            return "Rating: 10" if good else "Rating: 1"
        if "Verdict: X" in body:
            return f"Verdict: {'tie' if len(good) != 1 else 'AB'[good[0] - 1]}"
        if "Choice: N" in body:
            return f"Choice: {good[0]}" if good else "none of them"
        return "yes" if self.liked in (messages[-2].get("content") or "") else "no"

    async def aclose(self):
        pass
