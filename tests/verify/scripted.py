"""A model that writes what a function says, and a verifier asked through a real run."""

import asyncio
import itertools
import re
from pathlib import Path

import anyio
import pytest

from outthink.core.budget import Budget, Meter, Price
from outthink.core.model import Generation, Reply
from outthink.core.nouns import Problem, Sample
from outthink.core.run import Run, World
from outthink.verify.extract import reader_for

DATA = Path(__file__).parents[3] / "shared" / "data"

QUESTION = "Ada has 3 pens. Ben has 4 more than Ada. How many pens has Ben?"
_BLOCK = re.compile(
    r"<(question|solution|solution-A|solution-B)-([0-9a-f]+)>\n(.*)\n</\1-\2>", re.S
)


def data(*path):
    """A file of recorded data, or the test is skipped."""
    file = DATA.joinpath(*path)
    if not file.exists():
        pytest.skip(
            f"the recorded data {'/'.join(path)} of ../shared/data is not beside this checkout"
        )
    return file


class Scripted:
    """``write(messages)`` gives a text, or raises; ten tokens of prompt and five of text a call."""

    name, capabilities, native_n, max_tokens = "scripted", frozenset(), False, 5
    price = Price(1e6, 1e6)

    def __init__(self, write):
        self.write, self.asked = write, []

    def count_tokens(self, messages, prefix=""):
        return 10

    async def generate(self, request, ticket):
        self.asked.append(request.messages)
        await anyio.sleep(0)
        text = self.write(request.messages)
        texts = [text] * request.n
        return Reply(tuple(Generation(t, 5) for t in texts), self.price.usage(10, 5 * request.n))

    async def aclose(self):
        pass


def shown(messages):
    """What a judge is shown, by the name of its tags, which all carry one mark."""
    found = _BLOCK.findall(messages[-1]["content"])
    assert len({mark for _, mark, _ in found}) == 1
    return {name: text for name, _, text in found}


def sample(i, text, problem, finish="stop"):
    root = Sample((i,), messages=problem.messages)
    return Sample((i, 0), text, root, finish, 5, messages=problem.messages)


def live_run(models, budget="", question=QUESTION, reader=None):
    problem = Problem.of(question)
    world = World(models, reader_for(problem, reader))
    return Run(problem, world, Meter(Budget.parse(budget)))


def scores(
    verifier, texts, models=None, question=QUESTION, budget="", reader=None, open_parts=True
):
    """The values that a verifier gives to texts, with the run that it was asked in."""
    from outthink.api import parts_of

    async def main():
        before = asyncio.all_tasks()
        opened = dict(models or {})
        own = [spec for spec in parts_of(verifier, "model") if spec not in opened]
        opened.update({spec: spec.open() for spec in own})
        run = live_run(opened, budget, question, reader)
        counter = itertools.count()
        samples = [sample(1000 + next(counter), text, run.problem) for text in texts]
        try:
            found = await run.score(samples, verifier)
        finally:
            for spec in own:
                await opened[spec].aclose()
        assert asyncio.all_tasks() == before, "a task was left behind"
        assert run.meter.outstanding == 0, "a reservation was left open"
        return [s.value for s in found], run

    return anyio.run(main)
