"""Stands in for the parts that pool-managerd drives: workers, devices and an orchestrator."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from orchestrator_core.contracts.pool import (
    Backend,
    DeviceReport,
    ModelFile,
    ModelReport,
    Owner,
    SpawnRequest,
    WantedSet,
    WorkerReport,
    WorkerSpec,
    WorkerStatus,
)
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.errors import Code, Refusal

__all__ = [
    "SPEC",
    "WORKER_ID",
    "FakeDevices",
    "FakeModels",
    "FakeOrchestrator",
    "FakeWorkers",
    "make_worker",
]

WORKER_ID = "wrk_01arz3ndektsv4rrffq69g5fav"
SPEC = WorkerSpec(
    model=ModelFile(model_id="tiny-chat", source="builtin", file="tiny-chat.gguf"),
    ctx=1024,
    parallel=1,
)


def make_worker(
    worker_id: str = WORKER_ID, status: WorkerStatus = WorkerStatus.STARTING, **changes: object
) -> WorkerReport:
    """A worker as its pool reports it, key included."""
    facts: dict[str, object] = {
        "id": worker_id,
        "name": "worker-cpu-0",
        "owner": Owner.OPERATOR,
        "status": status,
        "model": "tiny-chat",
        "task": TaskKind.GENERATE,
        "backend": Backend.CPU,
        "spec": SPEC,
        "pid": 4242,
        "port": 8001,
        "key": "the-worker-key",
        "slots_total": 1,
        "started_at": "2026-01-01T00:00:00.000Z",
    }
    return WorkerReport.model_validate(facts | changes)


class FakeWorkers:
    """Remembers every order and obeys it at once."""

    def __init__(self) -> None:
        self.adopted = asyncio.Event()
        self.adopted.set()
        self.workers: dict[str, WorkerReport] = {}
        self.spawned: list[tuple[SpawnRequest, Owner]] = []
        self.stopped: list[tuple[str, float]] = []
        self.wanted: list[WantedSet] = []
        self.sessions = 0
        self.answer: Refusal | None = None
        self.failure: Exception | None = None
        self.logs: dict[str, Path] = {}

    async def run(self) -> None:
        """Supervise nothing."""

    async def spawn(self, order: SpawnRequest, owner: Owner) -> WorkerReport | Refusal:
        """Start a worker on paper."""
        self.spawned.append((order, owner))
        if self.failure is not None:
            raise self.failure
        if self.answer is not None:
            return self.answer
        worker = make_worker(order.worker_id or WORKER_ID, owner=owner)
        self.workers[worker.id] = worker
        return worker

    async def stop(self, worker: str, *, grace_s: float) -> WorkerReport | Refusal:
        """Stop a worker on paper."""
        self.stopped.append((worker, grace_s))
        report = self.workers.pop(worker, None)
        if report is None:
            return Refusal(Code.WORKER_NOT_FOUND, f"there is no worker {worker}")
        return report.model_copy(update={"status": WorkerStatus.STOPPED})

    def apply_wanted(self, wanted: WantedSet) -> None:
        """Remember what is wanted."""
        self.wanted.append(wanted)

    def new_session(self) -> None:
        """Count the sessions."""
        self.sessions += 1

    def reports(self) -> list[WorkerReport]:
        """All workers."""
        return list(self.workers.values())

    def log_path(self, worker: str) -> Path | None:
        """A log that a test has written."""
        return self.logs.get(worker)


class FakeModels:
    """The built-in model, and what a test adds."""

    def __init__(self) -> None:
        self.models = [ModelReport(id="tiny-chat", file="tiny-chat.gguf", size_bytes=924160)]

    def reports(self) -> list[ModelReport]:
        """All of them."""
        return list(self.models)


class FakeDevices:
    """One processor."""

    def reports(self) -> list[DeviceReport]:
        """A CPU."""
        return [
            DeviceReport(
                id="cpu",
                index=0,
                kind="cpu",
                name="Test CPU",
                backends=[Backend.CPU],
                memory_total_bytes=8 << 30,
                memory_free_bytes=4 << 30,
            )
        ]


@dataclass
class FakeOrchestrator:
    """An ASGI app that takes registrations and beats and answers as it is told."""

    interval_s: float = 0.02
    keys: set[str] = field(default_factory=lambda: {"pool-key"})
    refusals: list[Refusal] = field(default_factory=list[Refusal])
    registers: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    beats: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    refused: list[Refusal] = field(default_factory=list[Refusal])
    sessions: set[str] = field(default_factory=set[str])
    wanted: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    revision: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        request = Request(scope, receive)
        answer = self._answer(request, await request.body())
        await answer(scope, receive, send)

    def forget(self) -> None:
        """Lose every session, as a restart does."""
        self.sessions.clear()

    def _answer(self, request: Request, body: bytes) -> Response:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if key not in self.keys:
            return self._refuse(Refusal(Code.BAD_KEY, "unknown key"))
        if self.refusals:
            return self._refuse(self.refusals.pop(0))
        message: dict[str, Any] = json.loads(body)
        session = str(message["session_id"])
        self.revision += 1
        wanted = {"revision": self.revision, "workers": self.wanted}
        reply: dict[str, object] = {"wanted": wanted, "heartbeat_interval_s": self.interval_s}
        if request.url.path == "/v2/pools/register":
            self.registers.append(message)
            self.sessions = {session}
            reply |= {"pool_id": message["pool_id"], "session_id": session}
        elif session not in self.sessions:
            return self._refuse(Refusal(Code.STALE_SESSION, "a newer session runs"))
        else:
            self.beats.append(message)
        return Response(json.dumps(reply), media_type="application/json")

    def _refuse(self, refusal: Refusal) -> Response:
        self.refused.append(refusal)
        body = {"error": {"code": refusal.code.value, "message": refusal.message}}
        status = refusal.outcome.http_status
        return Response(json.dumps(body), status, media_type="application/json")
