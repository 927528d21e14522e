"""Our own workers and those of somebody else, as one list with one set of orders."""

import asyncio

import pytest

from orchestrator_core.contracts.pool import (
    ModelFile,
    Owner,
    SpawnRequest,
    WantedSet,
    WorkerReport,
    WorkerSpec,
    WorkerStatus,
)
from orchestrator_core.errors import Code, Refusal
from pool_managerd.runtime.workforce import Workforce
from support.pool_fakes import SPEC, WORKER_ID, FakeWorkers, make_worker

THEIRS = make_worker(
    "wrk_00000000000000000000000007",
    WorkerStatus.READY,
    name="worker-openai-vllm",
    spec=WorkerSpec(
        model=ModelFile(model_id="m", source="external", file="org/m"), engine="openai"
    ),
)


class FakeExternals:
    """One engine of somebody else."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.cancelled = False

    async def run(self) -> None:
        self.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled = True

    def reports(self) -> list[WorkerReport]:
        return [THEIRS]

    def stop_refusal(self, worker: str) -> Refusal | None:
        if worker in (THEIRS.id, THEIRS.name):
            return Refusal(Code.CONFLICT, "is run by somebody else")
        return None


@pytest.fixture
async def externals() -> FakeExternals:
    return FakeExternals()


@pytest.fixture
async def both(workers: FakeWorkers, externals: FakeExternals) -> Workforce:
    return Workforce(workers, externals)


async def test_both_are_reported(workers: FakeWorkers, both: Workforce) -> None:
    workers.workers[WORKER_ID] = make_worker()
    assert [report.id for report in both.reports()] == [WORKER_ID, THEIRS.id]
    assert both.adopted is workers.adopted


async def test_orders_go_to_the_supervisor(workers: FakeWorkers, both: Workforce) -> None:
    spawned = await both.spawn(SpawnRequest(spec=SPEC), Owner.OPERATOR)
    assert not isinstance(spawned, Refusal)
    assert await both.stop(spawned.id, grace_s=1) is not None
    both.apply_wanted(WantedSet(revision=1, workers=[]))
    both.new_session()
    assert (len(workers.spawned), workers.stopped) == (1, [(spawned.id, 1)])
    assert (len(workers.wanted), workers.sessions) == (1, 1)


@pytest.mark.parametrize("name", [THEIRS.id, THEIRS.name])
async def test_the_stop_of_an_external_engine_reaches_nobody(
    workers: FakeWorkers, both: Workforce, name: str
) -> None:
    refusal = await both.stop(name, grace_s=1)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, workers.stopped) == (Code.CONFLICT, [])


async def test_an_external_engine_is_not_started(workers: FakeWorkers, both: Workforce) -> None:
    refusal = await both.spawn(SpawnRequest(spec=THEIRS.spec), Owner.ORCHESTRATOR)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, workers.spawned) == (Code.INVALID_REQUEST, [])
    assert "pool.toml" in refusal.message


async def test_both_are_watched_and_end_together(both: Workforce, externals: FakeExternals) -> None:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(both.run())
        await externals.running.wait()
        task.cancel()
    assert externals.cancelled
