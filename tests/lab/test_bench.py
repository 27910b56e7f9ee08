"""A bench end to end: shared samples, resuming after any kill, failures that are kept and retried."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import anyio
import numpy as np
import pytest

from outthink.core import registry
from outthink.core.errors import BadInput, MissingNeed, NotAuthorised, ServerFailed
from outthink.core.model import Request
from outthink.lab import work
from outthink.lab.bench import abench
from outthink.lab.design import Design
from outthink.lab.folder import Folder
from outthink.lab.records import RunRow, SampleRow
from outthink.models.simulated import Simulated, SimulatedModel

SWEEP = ("self_consistency(n=[1,4,8])", "best_of_n(n=[4,8], verifier=prm(model=simulated_prm))")


def questions(path, count=12):
    """Problems whose right answer is what ``simulated`` takes for right."""
    from outthink.models.simulated import right_answer

    rows = [{"question": f"What is number {i}?", "id": f"q{i}"} for i in range(count)]
    for row in rows:
        row["answer"] = right_answer(row["question"])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def run(design, out, **more):
    async def main():
        return await abench(design, out, **more)

    return anyio.run(main)


def facts(results, *leave_out):
    """What must not depend on how the bench was run."""
    leave_out = ("seconds", "critical_seconds", *leave_out)
    return [replace(row, **dict.fromkeys(leave_out, 0)) for row in results.runs]


@pytest.fixture
def design(tmp_path):
    return Design(
        questions(tmp_path / "q.jsonl"), "simulated(accuracy=.6, latency=0.002)", SWEEP, seeds=2
    )


def test_arms_share_their_samples_and_pay_for_the_widest_alone(design, tmp_path):
    results = run(design, tmp_path / "out")
    assert len(results.runs) == 5 * 12 * 2
    widest = results.of("self_consistency(n=8)")
    alone = sum(row.completion_tokens for row in results.runs)
    drawn = sum(row.new_tokens for row in results.runs)
    assert drawn == sum(row.completion_tokens for row in widest)
    # 1 + 4 + 8 + 4 + 8 samples were wanted, 8 drawn
    assert drawn / alone == pytest.approx(8 / 25, rel=0.02)

    with sqlite3.connect(Folder(tmp_path / "out").store) as store:
        samples = store.execute("select count(*) from calls where generation like '%text%'")
        assert samples.fetchone() == (8 * 12 * 2,)
    # the first four candidates of the wide vote are those of the narrow one
    for narrow, wide in zip(results.of("self_consistency(n=4)"), widest, strict=True):
        assert (narrow.problem, narrow.seed) == (wide.problem, wide.seed)
        assert narrow.candidates == wide.candidates[:4]


def test_rows_agree_with_the_candidates_they_name(design, tmp_path):
    results = run(design, tmp_path / "out")
    by_number = {(s.problem, s.seed, s.number): s for s in results.samples}
    for row in results.of("self_consistency(n=1)"):
        sample = by_number[row.problem, row.seed, row.candidates[0]]
        assert (row.right, row.answer) == (sample.right, sample.answer)
        assert sample.right == (sample.answer == results.references[row.problem])
        assert row.completion_tokens == sample.tokens
    for row in results.of("self_consistency(n=8)"):
        mine = [by_number[row.problem, row.seed, i] for i in set(row.candidates)]
        assert sum(s.count for s in mine) == 8
        assert all(row.candidates.count(s.number) == s.count for s in mine)
    for row in results.of(results.arms[-1]):
        assert len(row.scores) == len(row.candidates) == 8


def test_the_same_seed_gives_the_same_bench_at_any_width(design, tmp_path):
    wide = run(design, tmp_path / "a")
    narrow = run(replace(design, width=1, concurrency=1), tmp_path / "b")
    assert facts(wide) == facts(narrow)
    assert wide.samples == narrow.samples


def test_a_finished_bench_runs_nothing_again_and_a_wider_one_only_what_is_new(design, tmp_path):
    out = tmp_path / "out"
    first = run(design, out)
    size = os.path.getsize(out / "journal.jsonl")
    assert run(design, out).runs == first.runs
    assert os.path.getsize(out / "journal.jsonl") == size
    more = run(replace(design, strategies=(*SWEEP, "greedy")), out)
    assert [r for r in facts(more) if r.arm != "greedy"] == facts(first)
    assert len(more.of("greedy")) == 24


def test_a_folder_only_grows(design, tmp_path):
    out = tmp_path / "out"
    first = run(design, out)
    again = run(replace(design, strategies=("greedy",), task=design.task + ",n=3", seeds=1), out)
    assert [r for r in facts(again) if r.arm != "greedy"] == facts(first)
    assert len(again.of("greedy")) == 24
    assert Folder(out).facts()["baseline"] == first.facts["baseline"]


def test_more_problems_of_the_same_task_go_into_the_same_folder(design, tmp_path):
    few = replace(design, task=design.task + ",n=5")
    first = run(few, tmp_path / "out")
    whole = run(design, tmp_path / "out")
    assert len(first.questions) == 5
    assert len(whole.questions) == 12
    names = set(first.questions)
    assert [r for r in facts(whole) if r.problem in names] == facts(first)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": "fly:chain,n=2"}, "task"),
        ({"reader": "boxed"}, "reader"),
    ],
)
def test_a_folder_of_another_bench_is_refused(design, tmp_path, change, said):
    run(design, tmp_path / "out")
    with pytest.raises(BadInput, match=f"with {said} .* another folder"):
        run(replace(design, **change), tmp_path / "out")


def test_another_budget_in_the_same_folder_is_another_arm(design, tmp_path):
    one = replace(design, strategies=("self_consistency(n=8)",), budgets=("tokens=60",), seeds=1)
    small = run(one, tmp_path / "out")
    both = run(replace(one, budgets=("tokens=20k",)), tmp_path / "out")
    spent = {a.budget: sum(r.completion_tokens for r in both.of(a)) for a in both.arms}
    assert spent["tokens=60"] == sum(r.completion_tokens for r in small.runs)
    assert spent["tokens=20000"] > 2 * spent["tokens=60"]


def test_a_task_that_changed_under_its_name_is_refused(design, tmp_path):
    run(design, tmp_path / "out")
    text = (tmp_path / "q.jsonl").read_text()
    (tmp_path / "q.jsonl").write_text(text.replace("number 3?", "number 33?"))
    with pytest.raises(BadInput, match="'q3' is another one"):
        run(design, tmp_path / "out")


def test_a_store_is_remembered(design, tmp_path, flaky):
    run(design, tmp_path / "out", store=str(tmp_path / "elsewhere.db"))
    asked = flaky.asked
    run(replace(design, strategies=("self_consistency(n=3)",)), tmp_path / "out")
    assert flaky.asked == asked
    assert not (tmp_path / "out" / "calls.db").exists()


def test_a_plan_that_changed_in_its_file_is_refused(design, tmp_path):
    def write(spec):
        level = {"agreement": 0, "strategy": spec}
        text = json.dumps({"format": 1, "probe": 4, "levels": [level]})
        (tmp_path / "plan.json").write_text(text)

    write("greedy")
    planned = replace(design, strategies=(f'auto(plan="{tmp_path}/plan.json")',))
    run(planned, tmp_path / "out")
    write("self_consistency(n=8)")
    with pytest.raises(BadInput, match="another folder"):
        run(planned, tmp_path / "out")


def test_two_benches_do_not_work_in_one_folder_at_once(design, tmp_path):
    run(design, tmp_path / "out")
    with Folder(tmp_path / "out").held(), pytest.raises(BadInput, match="another bench"):
        run(replace(design, seeds=3), tmp_path / "out")


def test_a_line_that_was_torn_inside_a_letter_stays_alone(design, tmp_path):
    whole = run(design, tmp_path / "out")
    with (tmp_path / "out" / "journal.jsonl").open("ab") as file:
        file.write('{"model": "é'.encode()[:-1])
    assert run(design, tmp_path / "out").runs == whole.runs


@pytest.fixture
def odd():
    """A strategy that answers in ways that one should not, or may; forgotten afterwards."""
    known = dict(registry.entries("strategy"))
    registry.strategy("odd_for_bench")(dataclass(frozen=True)(Odd))
    yield
    registry.entries("strategy").clear()
    registry.entries("strategy").update(known)


class Odd:
    how: str = "text"
    n: int | None = None

    async def __call__(self, problem, run):
        sample = await run.sample()
        answer = run.answer(await run.pool([sample]), 0)
        if self.how == "text":  # a text that is no candidate of its own
            return replace(answer, candidates=())
        wrong = {
            "sure": {"confidence": "high"},
            "number": {"answer": 5},
            "nan": {"confidence": np.nan},
        }
        return replace(answer, **wrong[self.how])


def test_what_a_strategy_should_not_give_is_a_failed_run_and_no_more(design, tmp_path, odd):
    specs = ["odd_for_bench(how=[text, sure, number, nan])", "self_consistency(n=1)"]
    results = run(replace(design, strategies=specs, seeds=1), tmp_path / "out")
    for how, finished in (("text", True), ("nan", True), ("sure", False), ("number", False)):
        rows = results.of(f"odd_for_bench(how={how})")
        assert all((row.right is not None) == finished for row in rows), how
    # the text of the one is a candidate of the other
    assert len(results.samples) == 12
    results.summary()


KILLED = """
import sys, anyio
from outthink.lab.bench import abench
from outthink.lab.design import Design
design, out = Design.read(sys.argv[1]), sys.argv[2]
async def main():
    await abench(design, out, progress=lambda p: print(p.done, flush=True))
anyio.run(main)
"""


def test_killed_at_any_time_it_goes_on_as_if_it_had_not_been(design, tmp_path):
    toml = tmp_path / "d.toml"
    slow = replace(design, models=("simulated(accuracy=.6, latency=0.03)",), width=2)
    toml.write_text(
        f"task = {json.dumps(slow.task)}\nmodel = {json.dumps(slow.models[0])}\n"
        f"strategy = {json.dumps(list(slow.strategies))}\nseeds = 2\nwidth = 2\n"
    )
    out = tmp_path / "out"
    for kills in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(toml), str(out)], stdout=subprocess.PIPE, text=True
        )
        for line in process.stdout:
            if int(line) >= 5 * (kills + 1):
                break
        time.sleep(0.02 * kills)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = len(Folder(out).groups())
    assert 15 <= done < 24
    with (out / "journal.jsonl").open("ab") as file:
        file.write(b'{"model": "simul')  # and a line that was cut short
    resumed = run(slow, out)
    whole = run(slow, tmp_path / "whole")
    assert facts(resumed) == facts(whole)
    assert resumed.samples == whole.samples


class Flaky(SimulatedModel):
    """Fails for some questions, as long as ``broken`` names them."""

    broken: dict[str, Exception] = {}
    asked = 0

    async def generate(self, request: Request, ticket):
        Flaky.asked += 1
        for text, error in self.broken.items():
            if text in request.messages[-1]["content"]:
                raise error
        return await super().generate(request, ticket)


@pytest.fixture
def flaky(monkeypatch):
    monkeypatch.setattr(Flaky, "broken", {})
    monkeypatch.setattr(Flaky, "asked", 0)
    monkeypatch.setattr(Simulated, "open", lambda self: Flaky(self))
    return Flaky


def test_a_run_that_failed_is_kept_tried_again_and_counted(design, tmp_path, flaky):
    flaky.broken["number 3?"] = ServerFailed("the server is on fire")
    first = run(design, tmp_path / "out")
    failed = [row for row in first.runs if row.right is None]
    assert {row.problem for row in failed} == {"q3"}
    assert len(failed) == 5 * 2
    assert all("on fire" in row.error for row in failed)
    # nothing is dropped: every run that was planned has its row
    assert len(first.runs) == 5 * 12 * 2
    flaky.broken.clear()
    asked = flaky.asked
    again = run(design, tmp_path / "out")
    assert not [row for row in again.runs if row.right is None]
    assert 0 < flaky.asked - asked <= 2 * 5
    assert facts(again) == facts(run(design, tmp_path / "other"))


def test_a_server_that_recovers_is_tried_again_at_the_end(design, tmp_path, flaky):
    flaky.broken["number 3?"] = ServerFailed("busy")
    seen = []

    def recover(progress):
        seen.append(progress)
        if progress.done >= 20:
            flaky.broken.clear()

    results = run(replace(design, width=1), tmp_path / "out", progress=recover)
    assert not [row for row in results.runs if row.right is None]
    assert seen[-1].done == seen[-1].total == 24
    assert seen[-1].failed == 0


def test_benches_that_share_a_store_pay_once(design, tmp_path, flaky, url):
    first = run(design, tmp_path / "a", store=url)
    asked = flaky.asked
    second = run(design, tmp_path / "b", store=url)
    assert flaky.asked == asked
    assert facts(second) == facts(first)
    assert not (tmp_path / "a" / "calls.db").exists()


def test_a_wrong_key_ends_the_bench_at_once(design, tmp_path, flaky):
    flaky.broken["number"] = NotAuthorised("wrong key")
    with pytest.raises(NotAuthorised):
        run(replace(design, width=2), tmp_path / "out")
    assert flaky.asked <= 4


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"strategies": ("best_of_n(n=2)",)}, MissingNeed),
        ({"models": ("simulated_prm",)}, BadInput),
        ({"baseline": "nothing"}, BadInput),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_called(
    design, tmp_path, flaky, change, error
):
    with pytest.raises(error):
        run(replace(design, **change), tmp_path / "out")
    assert flaky.asked == 0
    assert not (tmp_path / "out").exists()


def test_a_problem_without_an_answer_is_refused_before_anything_is_called(tmp_path, flaky):
    (tmp_path / "q.jsonl").write_text('{"question": "Why?"}\n')
    with pytest.raises(BadInput):
        run(Design(str(tmp_path / "q.jsonl"), "simulated"), tmp_path / "out")
    assert flaky.asked == 0


def test_recorded_samples_give_the_same_report_as_the_model_that_wrote_them(design, tmp_path):
    live = run(replace(design, seeds=1, strategies=SWEEP[:1]), tmp_path / "live")
    texts = {(s.problem, s.number): s for s in live.samples}
    with (tmp_path / "recorded.jsonl").open("w") as file:
        for row in live.of("self_consistency(n=8)"):
            samples = [texts[row.problem, i] for i in row.candidates]
            record = {
                "question": live.questions[row.problem],
                "id": row.problem,
                "answer": live.references[row.problem],
                "completions": [s.text for s in samples],
                "completion_tokens": [s.tokens for s in samples],
            }
            file.write(json.dumps(record) + "\n")
    file = str(tmp_path / "recorded.jsonl")
    replayed = run(Design(file, f'replay("{file}")', SWEEP[:1]), tmp_path / "replayed")
    same = ("usd", "flops", "prompt_tokens")
    assert facts(replayed, *same) == facts(live, *same)


def test_rows_survive_the_journal(tmp_path):
    run_row = RunRow("a", "p", 1, True, "4", 0.5, candidates=(0, 2), scores=(0.25, float("nan")))
    sample = SampleRow("m", "p", 1, 0, "text \u2028 \ud800", None, -1, False, 3, -1.5)
    folder = Folder(tmp_path)
    folder.note(work.Group("m", "p", 1, (run_row,), (replace(sample, text="text"),)))
    (found,) = folder.groups().values()
    assert found.runs[0].scores[0] == 0.25
    assert found.runs[0].scores[1] != found.runs[0].scores[1]
    assert replace(found.runs[0], scores=()) == replace(run_row, scores=())
    assert found.samples == (replace(sample, text="text"),)
