"""A real Supervisor over a folder of the test, with real workers behind it."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx

from orchestrator_core.catalog.entries import spec_for
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.clock import SystemClock
from orchestrator_core.contracts.pool import (
    DeviceReport,
    Owner,
    SpawnRequest,
    WorkerReport,
    WorkerSpec,
    WorkerStatus,
)
from orchestrator_core.errors import Refusal
from orchestrator_core.idgen import IdSource
from orchestrator_core.platforms.port import Platform
from orchestrator_core.platforms.select import current
from pool_core.catalog.host_models import HostModels
from pool_core.devices.cpu import CpuProbe
from pool_core.workers.loading import LoadPatience
from pool_core.workers.supervisor import Supervisor
from pool_core.workers.survey import Models
from pool_core.workers.tending import Patience
from support.waiting import until

__all__ = ["HASTY", "Crew", "ask", "crew", "kill", "processors", "tiny_spec"]

HASTY = Patience(
    load=LoadPatience(quiet_s=0.5, computing_s=2.0), sample_every_s=0.05, look_every_s=0.05
)
"""For workers whose oddity a test does not want to wait for."""

_PROGRAM = Path(sys.executable).parent / "llorch-worker"


def tiny_spec(model: str = "tiny-chat") -> WorkerSpec:
    """The catalogue's own worker for a built-in model, on one thread."""
    entry = Catalog.load().resolve(model)
    assert not isinstance(entry, Refusal)
    return spec_for(entry, threads=1)


def processors() -> list[DeviceReport]:
    """What this host computes with, its graphics cards aside."""
    return list(CpuProbe().look().devices)


class Crew:
    """A supervisor under test and what it has said."""

    def __init__(self, make: Callable[[Callable[[], None]], Supervisor]) -> None:
        self.changed: Callable[[], None] = lambda: None
        self.supervisor = make(self._tell)

    def _tell(self) -> None:
        self.changed()

    def report(self, worker: str) -> WorkerReport | None:
        """The newest word about a worker, by id or name."""
        return next((r for r in self.supervisor.reports() if worker in (r.id, r.name)), None)

    async def spawn(self, spec: WorkerSpec, owner: Owner = Owner.OPERATOR) -> WorkerReport:
        """Start a worker that must not be refused."""
        report = await self.supervisor.spawn(SpawnRequest(spec=spec), owner)
        assert not isinstance(report, Refusal), report
        return report

    async def reaches(self, worker: str, status: WorkerStatus) -> WorkerReport:
        """Wait until a worker has this status."""

        def arrived() -> WorkerReport | None:
            report = self.report(worker)
            return report if report and report.status is status else None

        report = await until(arrived, timeout_s=60, what=f"{worker} to be {status.value}")
        assert report is not None
        return report

    async def ready(self, spec: WorkerSpec, owner: Owner = Owner.OPERATOR) -> WorkerReport:
        """Start a worker and wait until it is ready."""
        return await self.reaches((await self.spawn(spec, owner)).id, WorkerStatus.READY)


async def ask(report: WorkerReport, prompt: str) -> str:
    """One whole answer of a worker, with the key of its report."""
    assert report.url is not None
    assert report.key is not None
    body = {
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": 200,
    }
    headers = {"Authorization": f"Bearer {report.key.get_secret_value()}"}
    async with httpx.AsyncClient(base_url=report.url, trust_env=False, timeout=60) as client:
        answer = await client.post("/v1/chat/completions", json=body, headers=headers)
    return str(answer.json()["choices"][0]["message"]["content"])


@contextlib.asynccontextmanager
async def crew(
    folder: Path,
    *,
    models: Models | None = None,
    program: Path = _PROGRAM,
    patience: Patience | None = None,
    probe: Callable[[], list[DeviceReport]] = processors,
    restarts: bool = False,
    reserved_ports: frozenset[int] = frozenset(),
    leave_workers: bool = False,
    platform: Platform | None = None,
) -> AsyncIterator[Crew]:
    """Run a supervisor; its workers are stopped with it unless they are to be left."""
    clock = SystemClock()
    team = Crew(
        lambda on_change: Supervisor(
            folder=folder,
            models=models or HostModels(),
            platform=platform or current(),
            clock=clock,
            ids=IdSource(clock),
            instance="supervision-test",
            worker_program=program,
            host_env=dict(os.environ),
            reserved_ports=reserved_ports,
            on_change=on_change,
            probe=probe,
            roll=lambda: 0.5,
            restarts=restarts,
            patience=patience,
        )
    )
    supervisor = team.supervisor
    async with asyncio.TaskGroup() as group:
        running = group.create_task(supervisor.run())
        try:
            await supervisor.adopted.wait()
            yield team
        finally:
            if not leave_workers:
                await supervisor.stop_all(5.0)
            running.cancel()


def kill(report: WorkerReport) -> None:
    """End a worker's process as a crash would."""
    assert report.pid is not None
    os.kill(report.pid, signal.SIGKILL)
