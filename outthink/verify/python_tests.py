"""Unit tests as a verifier: run a sample's code with the tests in the sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from outthink.core.errors import BadInput
from outthink.core.nouns import Problem, Sample, Score
from outthink.core.registry import register
from outthink.core.run import Run
from outthink.verify.extract import code_of
from outthink.verify.sandbox import check_python

#: programs that run side by side in one call of the verifier
SIDE_BY_SIDE = 2


@register("verifier", "python_tests")
@dataclass(frozen=True)
class PythonTests:
    """1 if the sample's code passes the tests (Python statements that raise on failure), else 0."""

    tests: str
    seconds: float = 5.0

    #: how answers are read in a run that does not say: the code is the answer
    reader = "code"

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
