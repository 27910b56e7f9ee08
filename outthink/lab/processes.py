"""A bench over the cores of this machine: batches of groups in processes of their own.

A model that computes here in Python is held to about one core by the interpreter; a model on a server
is not, and gains nothing.  Each process has its share of the cores and its own session; all write to one
store, so a batch that is done again costs nothing twice.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import anyio
import anyio.to_thread

from outthink.core.errors import BadInput, WorldError
from outthink.lab.bench import Executor, Job, Plan, here
from outthink.lab.work import Group


def worker_environment() -> dict[str, str]:
    """What a worker process needs besides: the files of parts that were loaded here, one thread each."""
    files = [
        str(getattr(module, "__file__", ""))
        for name, module in list(sys.modules.items())
        if name.startswith("outthink_parts_")
    ]
    given = os.environ.get("OUTTHINK_PARTS", "")
    parts = os.pathsep.join(dict.fromkeys(filter(None, [*given.split(os.pathsep), *files])))
    return {"OUTTHINK_PARTS": parts, "OPENBLAS_NUM_THREADS": "1"}


def on_processes(workers: int | None = None) -> Executor:
    """An executor that spreads the groups over processes, as many as there are cores unless said.

    Raises ``WorldError`` where a process dies: what it had finished is in the store.
    """
    if workers is not None and workers < 1:
        raise BadInput(f"processes={workers}: at least one")

    async def run(plan: Plan, jobs: Sequence[Job], done: Callable[[Group], None]) -> None:
        if not jobs:
            return
        count = min(workers or os.cpu_count() or 1, len(jobs))
        size = max(1, min(plan.design.width, -(-len(jobs) // (4 * count))))
        batches = [jobs[i : i + size] for i in range(0, len(jobs), size)]
        context = multiprocessing.get_context("spawn")
        places = context.Queue()
        for place in range(count):
            places.put(place)
        before = {name: os.environ.get(name) for name in worker_environment()}
        os.environ.update(worker_environment())
        pool = ProcessPoolExecutor(count, context, _settle, (places, count))
        waiting: set[Future[list[Group]]] = set()
        try:
            waiting |= {pool.submit(batch, plan, some) for some in batches}
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            while waiting:
                ready, waiting = await anyio.to_thread.run_sync(_some, waiting)
                for future in ready:
                    for group in future.result():
                        done(group)
        except BrokenProcessPool:
            raise WorldError(
                "a process of the bench died: run it again, it goes on from where it was"
            ) from None
        finally:
            if not all(future.done() for future in waiting):
                # ended early: a batch may take long, and what it had finished is in the store
                for process in list((pool._processes or {}).values()):
                    process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)

    return run


def _some(waiting: set[Future[list[Group]]]) -> Any:
    """What is done by now, or within half a second, and the rest."""
    return wait(waiting, 0.5, FIRST_COMPLETED)


def _settle(places: Any, count: int) -> None:
    """Take a share of the cores, so that no process starts threads for all of them."""
    place = places.get()
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[place % len(cores) :: count] or cores)


def batch(plan: Plan, jobs: Sequence[Job]) -> list[Group]:
    """Some groups, in a worker."""
    groups: list[Group] = []
    anyio.run(here, plan, jobs, groups.append)
    return groups
