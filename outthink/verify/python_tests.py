"""Unit tests as a verifier: run a sample's code with the tests in the sandbox."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from outthink.core.errors import BadInput
from outthink.core.nouns import Problem, Sample, Score
from outthink.core.registry import register
from outthink.core.run import Run
from outthink.verify.sandbox import run_python


def code_of(text: str) -> str:
    """The last fenced Python block of a text, or the whole text."""
    blocks = re.findall(r"```(?:python|py)?[ \t]*\n(.*?)```", text, re.DOTALL)
    return str(blocks[-1]) if blocks else text


@register("verifier", "python_tests")
@dataclass(frozen=True)
class PythonTests:
    """1 if the sample's code passes the tests (Python statements that raise on failure), else 0."""

    tests: str
    seconds: float = 5.0

    def __post_init__(self) -> None:
        if not self.tests.strip() or self.seconds <= 0:
            raise BadInput("python_tests: give tests, and seconds above 0")

    async def __call__(self, problem: Problem, samples: Sequence[Sample], run: Run) -> list[Score]:
        """Run each sample's code, two at a time."""
        scores = [Score(0.0)] * len(samples)
        slot = anyio.Semaphore(2)

        async def one(i: int, text: str) -> None:
            async with slot:
                program = f"{code_of(text)}\n\n{self.tests}"
                outcome = await anyio.to_thread.run_sync(run_python, program, self.seconds)
                scores[i] = Score(float(outcome.passed))

        async with anyio.create_task_group() as tasks:
            for i, sample in enumerate(samples):
                tasks.start_soon(one, i, sample.text)
        return scores
