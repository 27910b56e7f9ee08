"""``bench``: every strategy on every problem, shared samples, resumable, then the report.

A group (model, problem, seed) is the unit of work.  Finished groups are in the folder's journal and
are not done again; every call is in the store, so what was under way at a kill costs nothing twice.
A group with a failed run is tried again: once at the end, and whenever the bench is run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import anyio

from outthink import __version__
from outthink.api import (
    Session,
    check_counted,
    check_main,
    check_needs,
    check_verifiers,
    parts_of,
)
from outthink.core.budget import Budget
from outthink.core.errors import BadInput
from outthink.core.nouns import Problem
from outthink.core.registry import build
from outthink.core.run import _unwrapped
from outthink.lab.design import Design
from outthink.lab.folder import Folder, need_parquet
from outthink.lab.grade import check_gradable
from outthink.lab.records import FORMAT, Arm, Results
from outthink.lab.tasks import TaskChoice, parse_task
from outthink.lab.work import Group, run_group
from outthink.store.address import Address


@dataclass(frozen=True)
class Job:
    """A group that is to be done."""

    model: str
    problem: Problem
    seed: int


@dataclass(frozen=True)
class Plan:
    """What a bench does: its arms by model, and what every group needs to know."""

    design: Design
    choice: TaskChoice
    arms: Mapping[str, tuple[Arm, ...]]
    reader: str | None
    store: str


@dataclass(frozen=True)
class Progress:
    """How far a bench is, in groups: of ``total``, ``done`` before or now; ``failed`` runs so far."""

    done: int
    total: int
    failed: int
    right: int
    finished: int


class Executor(Protocol):
    """Who does the groups: this process, or a cluster."""

    async def __call__(
        self, plan: Plan, jobs: Sequence[Job], done: Callable[[Group], None]
    ) -> None:
        """Do every job and hand each group to ``done`` when it is finished, in any order."""
        ...


async def here(plan: Plan, jobs: Sequence[Job], done: Callable[[Group], None]) -> None:
    """Do the groups in this process: one session a model, ``width`` problems at a time on each."""

    async def one(session: Session, job: Job, slot: anyio.Semaphore) -> None:
        async with slot:
            arms = plan.arms[job.model]
            done(await run_group(session, job.model, job.problem, job.seed, arms, plan.reader))

    async def all_of(model: str) -> None:
        session = Session(
            model, store=plan.store, concurrency=plan.design.concurrency, reader=plan.reader
        )
        slot = anyio.Semaphore(plan.design.width)
        async with session, anyio.create_task_group() as tasks:
            for job in jobs:
                if job.model == model:
                    tasks.start_soon(one, session, job, slot)

    with _unwrapped():
        async with anyio.create_task_group() as tasks:
            for model in dict.fromkeys(job.model for job in jobs):
                tasks.start_soon(all_of, model)


async def abench(
    design: Design,
    out: str | Path,
    *,
    store: str | None = None,
    executor: Executor = here,
    progress: Callable[[Progress], None] | None = None,
) -> Results:
    """``bench`` for async code."""
    need_parquet()
    folder, choice = Folder(out), parse_task(design.task)
    before = folder.facts()
    if before is not None:
        earlier = parse_task(before["design"]["task"])
        if replace(earlier, n=None) == replace(choice, n=None):  # else the folder refuses
            design = design.joined(Design.of(before["design"]))
            wanted = [c.n if c.n is not None else c.task.usual for c in (earlier, choice)]
            choice = replace(choice, n=None if None in wanted else max(w or 0 for w in wanted))
            design = replace(design, task=choice.spec)
    problems = choice.load()
    check_gradable(problems)
    every, baseline = design.arms(), design.base()
    arms: dict[str, tuple[Arm, ...]] = {}
    for arm in every:
        arms[arm.model] = (*arms.get(arm.model, ()), arm)
    reader = design.reader or choice.reader
    plan = Plan(design, choice, arms, reader, _store(folder, before, store))
    # what a spec names and does not hold, such as the file of a plan
    strategies = {arm.strategy: build(arm.strategy, "strategy") for arm in every}
    prints = {s: p.fingerprint for s, p in strategies.items() if hasattr(p, "fingerprint")}
    names = {model: await _checked(model, mine) for model, mine in arms.items()}
    folder.begin(
        {
            "format": FORMAT,
            "outthink": __version__,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            # of the same task more problems may be asked for later
            "task": replace(choice, n=None).spec,
            "reader": reader,
            "models": names,
            "fingerprints": prints,
            "store": Address.of(plan.store).shown,
            "design": design.to_json(),
            "baseline": baseline,
            "arms": [asdict(arm) for arm in every],
        },
        problems,
    )
    known = folder.groups()
    jobs = [
        Job(model, problem, seed)
        for seed in range(design.seeds)
        for problem in problems
        for model in arms
    ]
    #: runs that failed, and the rest, for the progress
    tally = {"done": 0, "failed": 0, "right": 0, "finished": 0}

    def count(group: Group) -> None:
        rights = [run.right for run in group.runs]
        tally["done"] += 1
        tally["failed"] += rights.count(None)
        tally["right"] += rights.count(True)
        tally["finished"] += len(rights) - rights.count(None)
        if progress:
            progress(Progress(total=len(jobs), **tally))

    todo: list[Job] = []
    for job in jobs:
        group = known.get((job.model, job.problem.id, job.seed))
        if group is not None and _whole(group, arms[job.model]):
            count(group)
        else:
            todo.append(job)
    again: list[Job] = []
    by_key = {(job.model, job.problem.id, job.seed): job for job in todo}

    def finished(group: Group) -> None:
        folder.note(group)
        if group.key in by_key and not _whole(group, arms[group.model]):
            again.append(by_key.pop(group.key))
        else:
            count(group)

    with folder.held():
        await executor(plan, todo, finished)
        await executor(plan, list(again), finished)
    return folder.load()


def bench(
    design: Design | None = None,
    out: str | Path = "bench",
    *,
    store: str | None = None,
    executor: Executor = here,
    progress: Callable[[Progress], None] | None = None,
    **fields: Any,
) -> Results:
    """Measure a design and write its report to the folder ``out``; a second call goes on from there.

    A folder only grows: strategies, models, budgets, seeds and problems that were asked for before are
    part of every later report in it.

    ``fields`` are those of ``Design`` where none is given: ``bench(task="fly:chain,n=50",
    strategies=["greedy", "self_consistency(n=[4,16])"], out="first")``.  ``store`` names the store of
    the calls, that of the folder unless said.  Raises ``BadInput`` before anything is spent where the
    task, a spec or the folder does not fit.
    """
    asked = Design.of(fields) if design is None else design

    async def main() -> Results:
        return await abench(asked, out, store=store, executor=executor, progress=progress)

    results = anyio.run(main)
    from outthink.lab.report import report

    report(results, Folder(out))
    return results


def _store(folder: Folder, before: Mapping[str, Any] | None, told: str | None) -> str:
    """The store of a bench: as told, else as it was, else that of the folder."""
    if told is not None or before is None:
        return told or folder.store
    was = str(before.get("store", folder.store))
    if "://" in was:
        raise BadInput(f"the bench in {folder.path} keeps its calls in {was}: name it with --store")
    return was


def _whole(group: Group, arms: Sequence[Arm]) -> bool:
    """Has the group a finished run of each of these arms?"""
    done = {run.arm for run in group.runs if run.right is not None}
    return all(arm.label in done for arm in arms)


async def _checked(spec: str, arms: Sequence[Arm]) -> str:
    """The name of a model that can do what these arms ask; raises before anything is spent."""
    model, opened = build(spec, "model").open(), dict[Any, Any]()
    try:
        check_main(model)
        for arm in arms:
            strategy = build(arm.strategy, "strategy")
            parts = list(parts_of(strategy, "model"))
            for part in parts:
                if part not in opened:
                    opened[part] = part.open()
            check_needs(strategy, model, probed=not hasattr(model, "prepare"))
            check_verifiers(strategy, opened)
            check_counted(Budget.parse(arm.budget), [model, *(opened[p] for p in parts)])
        return str(model.name)
    finally:
        for one in (model, *opened.values()):
            await one.aclose()
