"""How the candidates of a chat are read and grouped: tool calls, JSON, and texts as the strategies do.

A sample that calls tools reads as its calls, ``get_weather({"city":"Paris"})``: the arguments as one text
of all that are equal, parallel calls in no order.  Where the client asked for JSON, a text reads as its
value in the same form.  What the client could not use reads as no answer, so that it cannot win while
another exists: arguments that are no JSON object or break the tool's parameters, a tool that was not
offered, calls that were cut short, a text that is not JSON from end to end (a fence around it included)
or breaks the schema.  Every other text is read by another reader.
"""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from outthink.core.nouns import Ints, Sample
from outthink.core.run import Reader
from outthink.gateway.values import read_value, write_value

if TYPE_CHECKING:
    from outthink.gateway.schemas import Schema

#: seconds of work that checking one answer may take, and all answers of a request together
SECONDS = 0.25
ALL_SECONDS = 1.0
#: and looking over all schemas of a request
SCHEMA_SECONDS = 2.0
#: stands before a text that would pass for a call
TEXT = "text: "


def cut(text: str, stops: Iterable[str]) -> str:
    """The text up to the first of the stop strings."""
    ends = [text.find(stop) for stop in stops if stop and stop in text]
    return text[: min(ends)] if ends else text


@dataclass(frozen=True)
class _Tool:
    """A tool that was offered, and what is known of its arguments."""

    kind: str
    schema: Schema | None = None
    #: does it know no argument at all?
    bare: bool = True


class ChatReader:
    """Reads samples for a client: its tools, its ``response_format``, its stop strings.

    ``schema`` is that of a ``json_schema``, ``json_mode`` says ``json_object`` (any object), ``stops`` end
    a text where the strategy did not send them to the server, ``tools`` are those of the request (its
    legacy ``functions`` too); ``choice`` and ``parallel`` are its ``tool_choice`` and
    ``parallel_tool_calls``: what does not keep to them cannot win.  Texts without tool calls and JSON
    are left to ``inner``.

    Raises ``Fault`` 400 for a schema that is invalid or cannot be checked.
    """

    def __init__(
        self,
        inner: Reader,
        schema: Mapping[str, Any] | None = None,
        json_mode: bool = False,
        stops: Sequence[str] = (),
        tools: Sequence[Mapping[str, Any]] = (),
        choice: Any = None,
        parallel: bool = True,
    ) -> None:
        self.inner, self.stops = inner, tuple(stops)
        self._must, self._only = _choice(choice)
        self._most = None if parallel else 1
        self._json = json_mode or schema is not None
        check, place = _Schemas(), "response_format"
        self._schema = (
            None if schema is None else check(schema, place, place, "invalid_json_schema")
        )
        self._tools = check.tools(tools)
        self._marks = tuple(f"{name}(" for name in self._tools)
        #: what was read: of a tool's arguments, and (with no tool's name) of whole texts
        self._known: dict[tuple[str, str], str | None] = {}
        self._left = ALL_SECONDS

    @property
    def must_call(self) -> bool:
        """Must a tool be called?"""
        return self._must

    def read(self, sample: Sample) -> str | None:
        """The calls or the answer in a sample, or ``None``."""
        calls, legacy = sample.extra.get("tool_calls"), sample.extra.get("function_call")
        short = sample.finish == "length"
        if not calls and not legacy:
            return None if self._must else self.extract(sample.text, short)
        calls = calls or [{"function": legacy}]
        wrong = short or (self._most is not None and len(calls) > self._most)
        return None if wrong else self._calls(calls)

    def extract(self, text: str, cut: bool = False) -> str | None:
        """The answer in a text, or ``None``; ``cut`` says that ``max_tokens`` ended it."""
        ended = _cut(text, self.stops)
        cut = cut and ended == text
        if self._json:
            if ("", ended) not in self._known:
                self._known["", ended] = self._value(ended)
            return self._known["", ended]
        extract: Any = self.inner.extract
        knows_cut = cut and "cut" in inspect.signature(extract).parameters
        found: str | None = extract(ended, cut=True) if knows_cut else extract(ended)
        return TEXT + found if found is not None and self._calls_tools(found) else found

    async def group(self, answers: Sequence[str | None]) -> Ints:
        """Class numbers ``(n,)`` in order of first appearance; -1 for ``None``."""
        alike = [a is not None and (self._json or self._calls_tools(a)) for a in answers]
        rest = [None if same else a for a, same in zip(answers, alike, strict=True)]
        theirs = await self.inner.group(rest)
        known: dict[Any, int] = {}
        out = np.full(len(answers), -1, dtype=np.int64)
        for i, (answer, same) in enumerate(zip(answers, alike, strict=True)):
            if same or theirs[i] >= 0:
                out[i] = known.setdefault(answer if same else int(theirs[i]), len(known))
        return out

    def quick(self) -> ChatReader:
        """The same reader, with the quick one of ``inner`` where it has one."""
        quick = getattr(self.inner, "quick", None)
        if quick is None:
            return self
        out = copy.copy(self)
        out.inner = quick()
        return out

    def _calls_tools(self, answer: str) -> bool:
        return answer.startswith(self._marks)

    def _value(self, text: str) -> str | None:
        try:
            value = read_value(text)
            found = write_value(value)
        except ValueError:
            return None
        if self._schema is None:
            return found if isinstance(value, dict) else None
        return found if self._keeps(self._schema, value) else None

    def _calls(self, calls: Any) -> str | None:
        """The class of some calls: their texts, in one order."""
        if not isinstance(calls, (list, tuple)):
            return None
        texts = [self._call(call) for call in calls]
        told = [text for text in texts if text is not None]
        return ", ".join(sorted(told)) if len(told) == len(texts) else None

    def _call(self, call: Any) -> str | None:
        """One call as ``name(arguments)``; ``None`` for one that the client cannot carry out."""
        if not isinstance(call, Mapping):
            return None
        kind = call.get("type") or ("custom" if "custom" in call else "function")
        said = call.get(kind) if isinstance(kind, str) else None
        if not isinstance(said, Mapping):
            return None
        name, given = said.get("name"), said.get("input" if kind == "custom" else "arguments")
        if not isinstance(name, str) or not isinstance(given, str):
            return None
        tool = self._tools.get(name)
        if tool is None or tool.kind != kind or (self._only is not None and name != self._only):
            return None
        if kind == "custom":
            return f"{name}({write_value(given.strip())})"
        if (name, given) not in self._known:
            self._known[name, given] = self._arguments(tool, given)
        found = self._known[name, given]
        return None if found is None else f"{name}({found})"

    def _arguments(self, tool: _Tool, given: str) -> str | None:
        if tool.bare and not given.strip():
            given = "{}"  # many servers write nothing where there is nothing to say
        try:
            value = read_value(given)
            found = write_value(value)
        except ValueError:
            return None
        fine = isinstance(value, dict) and (tool.schema is None or self._keeps(tool.schema, value))
        return found if fine else None

    def _keeps(self, schema: Schema, value: Any) -> bool:
        """Does a value keep to a schema?  ``False`` where there is no time left to say."""
        began = time.thread_time()
        try:
            return self._left > 0 and schema.valid(value, min(SECONDS, self._left))
        finally:
            self._left -= time.thread_time() - began


_cut = cut


def _choice(choice: Any) -> tuple[bool, str | None]:
    """Of a ``tool_choice``: must a tool be called, and which one?"""
    if not isinstance(choice, Mapping):
        return choice == "required", None
    said = choice.get(str(choice.get("type", "function")), choice)
    name = said.get("name") if isinstance(said, Mapping) else None
    return isinstance(name, str), name if isinstance(name, str) else None


class _Schemas:
    """Looks over the schemas of one request, in the time that there is for all of them."""

    #: by the thread's clock, which starts at the first schema: reading it costs more than most requests
    end: float | None = None

    def __call__(self, schema: Any, what: str, param: str, code: str) -> Schema:
        # its libraries take a tenth of a second and some memory, and many clients send no schema
        from outthink.gateway.schemas import SECONDS, compiled

        now = time.thread_time()
        self.end = now + SCHEMA_SECONDS if self.end is None else self.end
        left = max(self.end - now, 0.0)
        return compiled(schema, what, param, code, min(left, SECONDS))

    def tools(self, tools: Sequence[Mapping[str, Any]]) -> dict[str, _Tool]:
        """The tools by name, but those that the server carries out itself."""
        out: dict[str, _Tool] = {}
        for place, tool in enumerate(tools):
            kind = tool.get("type", "function")
            said = tool.get(str(kind), tool if "type" not in tool else None)
            name = said.get("name") if isinstance(said, Mapping) else None
            if not isinstance(said, Mapping) or not isinstance(name, str) or not name:
                continue
            if kind == "custom":
                out[name] = _Tool(kind)
            elif kind == "function":
                where = f"tools[{place}].function" if said is not tool else f"functions[{place}]"
                out[name] = self._function(name, said.get("parameters"), f"{where}.parameters")
        return out

    def _function(self, name: str, parameters: Any, param: str) -> _Tool:
        if parameters is None or parameters == {}:
            return _Tool("function")
        schema = self(parameters, f"function {name[:64]!r}", param, "invalid_function_parameters")
        known = isinstance(parameters, Mapping) and parameters.get("properties")
        return _Tool("function", schema, not known)
