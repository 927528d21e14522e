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
    ModelFile,
    Owner,
    SpawnRequest,
    WorkerReport,
    WorkerSpec,
    WorkerStatus,
)
from orchestrator_core.errors import Refusal
from orchestrator_core.idgen import IdSource
from orchestrator_core.platforms.select import current
from pool_core.catalog.builtin import BuiltinModels
from pool_core.workers.supervisor import Models, Supervisor
from support.waiting import until

__all__ = ["Crew", "OneModel", "ask", "crew", "kill", "tiny_spec"]

_PROGRAM = Path(sys.executable).parent / "llorch-worker"


def tiny_spec(model: str = "tiny-chat") -> WorkerSpec:
    """The catalogue's own worker for a built-in model, on one thread."""
    entry = Catalog.load().resolve(model)
    assert not isinstance(entry, Refusal)
    return spec_for(entry, threads=1)


class OneModel:
    """Finds the same file for every model."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def locate(self, model: ModelFile) -> Path | Refusal:
        """The file, whatever was asked for."""
        assert model.model_id
        return self.path


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
    load_timeout_s: float = 60.0,
    reserved_ports: frozenset[int] = frozenset(),
    leave_workers: bool = False,
) -> AsyncIterator[Crew]:
    """Run a supervisor; its workers are stopped with it unless they are to be left."""
    clock = SystemClock()
    team = Crew(
        lambda on_change: Supervisor(
            folder=folder,
            models=models or BuiltinModels(),
            platform=current(),
            clock=clock,
            ids=IdSource(clock),
            instance="supervision-test",
            worker_program=program,
            host_env=dict(os.environ),
            reserved_ports=reserved_ports,
            on_change=on_change,
            load_timeout_s=load_timeout_s,
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
