"""A bench on a Ray cluster: batches of groups as Ray tasks, as many times as a worker dies.

What is drawn depends on the problem and the seed alone, and every call is in the store, so a batch that
is done again on another worker gives the same runs and pays nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio.to_thread

from outthink.core.errors import BadInput, MissingNeed, OutthinkError, WorldError
from outthink.lab.bench import Executor, Job, Plan
from outthink.lab.processes import batch, worker_environment
from outthink.lab.work import Group


def on_ray(address: str | None = None, workers: int | None = None) -> Executor:
    """An executor that spreads the groups over the cluster at ``address``; ``None`` starts one here.

    ``workers``: processes of one that is started here, as many as processors unless said.  A cluster
    of several machines needs a store that they share, in PostgreSQL.  Raises ``MissingNeed`` without
    Ray, ``WorldError`` where the cluster cannot be reached.
    """
    try:
        import ray
    except ImportError:
        raise MissingNeed("a cluster needs Ray: pip install 'outthink[ray]'") from None

    async def run(plan: Plan, jobs: Sequence[Job], done: Callable[[Group], None]) -> None:
        if not jobs:
            return
        if not ray.is_initialized():
            # in this thread: what Ray starts ends with the thread that started it
            _connect(ray, address, workers)
        machines = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
        if len(machines) > 1 and "://" not in plan.store:
            raise BadInput(
                f"the store {plan.store} is a file of one machine and the cluster has {len(machines)}: "
                "write --store postgresql://..."
            )
        # -1: as often as it takes; an error of ours is no reason to do it again
        work: Any = ray.remote(num_cpus=1, max_retries=-1)(batch)
        shared = ray.put(plan)
        width = plan.design.width
        # small enough that every processor has some
        size = max(1, min(width, -(-len(jobs) // int(ray.cluster_resources().get("CPU", 1)))))
        waiting = [work.remote(shared, jobs[i : i + size]) for i in range(0, len(jobs), size)]
        try:
            while waiting:
                ready, waiting = await anyio.to_thread.run_sync(
                    lambda some: ray.wait(some, num_returns=1, timeout=0.5), waiting
                )
                for ref in ready:
                    try:
                        groups = await anyio.to_thread.run_sync(ray.get, ref)
                    except ray.exceptions.RayTaskError as error:
                        cause = error.cause
                        raise cause if isinstance(cause, OutthinkError) else error from None
                    for group in groups:
                        done(group)
        finally:
            for ref in waiting:
                ray.cancel(ref, force=True)

    return run


def _connect(ray: Any, address: str | None, workers: int | None) -> None:
    env = {"env_vars": worker_environment()}
    try:
        ray.init(
            address=address, num_cpus=workers, runtime_env=env, log_to_driver=False,
            include_dashboard=False if address is None else None, logging_level="ERROR",
        )  # fmt: skip
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise WorldError(f"the Ray cluster at {address} cannot be reached: {error}") from None
