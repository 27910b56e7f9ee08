"""Unit tests as a verifier: run a sample's code with the tests in the sandbox."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from outthink.core.errors import BadInput
from outthink.core.nouns import Problem, Sample, Score
from outthink.core.registry import register
from outthink.core.run import Run
from outthink.verify.extract import spoken
from outthink.verify.sandbox import check_python

#: programs that run side by side in one call of the verifier
SIDE_BY_SIDE = 2

_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`]*)")
_PYTHON = ("python", "py", "python3", "py3", "ipython", "python2")


def code_of(text: str) -> str:
    """The last fenced Python block of a text, else the last without a language, or the whole text.

    Thinking is not read.  A block that is not closed, as in a text that was cut, goes to the end.
    """
    text = spoken(text)
    named: list[str] = []
    plain: list[str] = []
    opening: re.Match[str] | None = None
    body: list[str] = []
    for line in [*text.split("\n"), None]:
        found = None if line is None else _FENCE.fullmatch(line.rstrip())
        if opening is None:
            opening, body = found, []
        elif line is None or (
            found and not found["info"] and found["fence"].startswith(opening["fence"])
        ):
            code = "\n".join(body) + "\n"
            language = re.split(r"[\s,:{}=.]+", opening["info"].strip("{. ").lower())[0]
            if code.strip() and (language in _PYTHON or not language):
                (named if language else plain).append(
                    textwrap.dedent(code) if opening["indent"] else code
                )
            opening = None
        else:
            body.append(line)
    blocks = named or plain
    return blocks[-1] if blocks else text


@register("verifier", "python_tests")
@dataclass(frozen=True)
class PythonTests:
    """1 if the sample's code passes the tests (Python statements that raise on failure), else 0."""

    tests: str
    seconds: float = 5.0

    def __post_init__(self) -> None:
        if not self.tests.strip():
            raise BadInput(
                "python_tests: tests is empty: write statements such as assert f(1) == 2"
            )
        if not 0 < self.seconds <= 600:
            raise BadInput(f"python_tests: seconds={self.seconds} must be above 0 and at most 600")

    async def __call__(self, problem: Problem, samples: Sequence[Sample], run: Run) -> list[Score]:
        """Run each sample's code, two at a time; equal codes once."""
        codes = [code_of(s.text) for s in samples]
        passed: dict[str, bool] = {}
        slot = anyio.Semaphore(SIDE_BY_SIDE)

        async def one(code: str) -> None:
            async with slot:
                passed[code] = (await check_python(code, self.tests, self.seconds)).passed

        async with anyio.create_task_group() as tasks:
            for code in dict.fromkeys(codes):
                tasks.start_soon(one, code)
        return [Score(float(passed[code])) for code in codes]
