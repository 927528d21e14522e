"""The end of a run of the machine's world: nothing goes wrong any more, so every job must end."""

from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.errors import Code
from support.machine_world import MachineWorld

__all__ = ["settle"]


def settle(world: MachineWorld) -> None:
    """Let everything work from now on, until every job has ended."""
    for _ in range(300):
        if all(job.finish is not None for job in world.jobs.values()):
            return
        for pool in world.pools.values():
            pool.draining = False
            while pool.orders:
                world.take_order(pool, None)
            for worker in pool.workers.values():
                if worker.status in (WorkerStatus.STARTING, WorkerStatus.LOADING):
                    worker.status = WorkerStatus.READY
            world.beat(pool)
        while world.holds:
            world.let_go(0)
        for job in [job for job in world.jobs.values() if job.run is not None]:
            if job.doomed:
                world.break_off(job, Code.WORKER_LOST, retriable=True)
            else:
                world.end(job)
        world.advance(4.0)
    stuck = [job.facts.id for job in world.jobs.values() if job.finish is None]
    story = "\n".join(world.machine.explain(stuck[0]))
    raise AssertionError(f"{len(stuck)} jobs never ended; the first:\n{story}")
