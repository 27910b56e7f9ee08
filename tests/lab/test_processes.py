"""A bench over processes gives what one process gives."""

import multiprocessing
import os
import time

import anyio
import pytest

import outthink
from outthink.core import registry
from outthink.core.errors import BadInput, NotAuthorised, WorldError
from outthink.lab.bench import abench
from outthink.lab.design import Design
from outthink.lab.processes import on_processes
from tests.lab.test_bench import facts, questions, run

PART = '''
import os
from dataclasses import dataclass
from outthink import register
from outthink.core.errors import NotAuthorised
from outthink.models.simulated import Simulated, SimulatedModel

class OddModel(SimulatedModel):
    async def generate(self, request, ticket):
        said = request.messages[-1]["content"]
        if "deadly" in said:
            os._exit(1)
        if "forbidden" in said:
            raise NotAuthorised("wrong key")
        return await super().generate(request, ticket)

@register("model", "odd")
@dataclass(frozen=True)
class Odd(Simulated):
    """Dies or refuses at a word."""

    def open(self):
        return OddModel(self)
'''


@pytest.fixture
def odd(tmp_path):
    (tmp_path / "odd_parts.py").write_text(PART)
    outthink.load_file(str(tmp_path / "odd_parts.py"))
    yield
    del registry.entries("model")["odd"]


def test_processes_change_nothing_and_parts_of_ones_own_are_known_there(odd, tmp_path):
    design = Design(
        questions(tmp_path / "q.jsonl"), "odd(accuracy=.6)", ("self_consistency(n=[1,4])",), width=2
    )
    before = dict(os.environ)
    spread = run(design, tmp_path / "spread", executor=on_processes(2))
    assert dict(os.environ) == before
    whole = run(design, tmp_path / "here")
    assert facts(spread) == facts(whole)
    assert spread.samples == whole.samples


@pytest.mark.parametrize(("word", "error"), [("forbidden", NotAuthorised), ("deadly", WorldError)])
def test_what_ends_a_process_is_said(odd, tmp_path, word, error):
    (tmp_path / "q.jsonl").write_text(f'{{"question": "A {word} one?", "answer": "1"}}\n')
    design = Design(str(tmp_path / "q.jsonl"), "odd", "greedy")
    with pytest.raises(error, match=r"wrong key|run it again"):
        run(design, tmp_path / "out", executor=on_processes(2))


def test_at_least_one_process():
    with pytest.raises(BadInput, match="processes=0"):
        on_processes(0)


def test_a_bench_that_is_ended_does_not_wait_for_its_batches(tmp_path):
    """Each run takes a minute; the processes are gone soon after the bench was cancelled."""
    design = Design(questions(tmp_path / "q.jsonl"), "simulated(latency=60, spread=0)", "greedy")

    async def main():
        with anyio.move_on_after(6):
            await abench(design, tmp_path / "out", executor=on_processes(2))

    anyio.run(main)
    begun = time.monotonic()
    while multiprocessing.active_children() and time.monotonic() - begun < 10:
        time.sleep(0.05)
    assert time.monotonic() - begun < 10
