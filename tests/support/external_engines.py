"""An orchestrator's side of an engine that somebody else runs: how its pool reports it."""

from typing import Any

from pydantic import SecretStr

from orchestrator_core.contracts.pool import (
    ModelFile,
    Owner,
    WorkerReport,
    WorkerSpec,
    WorkerStatus,
)
from orchestrator_core.testing.reports import worker_report
from support.event_streams import payload
from support.openai_server import OpenAiServer
from support.orchestrator import Orchestrator

__all__ = ["OURS", "SAID", "THEIRS", "events_of", "external", "served"]

OURS, THEIRS = "big", "org/big-model"
SAID = "Hello you"


def external(
    url: str,
    *,
    status: WorkerStatus = WorkerStatus.READY,
    incarnation: int = 1,
    error: str | None = None,
    key: str | None = None,
    model: str = OURS,
    upstream: str = THEIRS,
    number: int = 7,
) -> WorkerReport:
    """A model of it as its pool reports it."""
    spec = WorkerSpec(
        model=ModelFile(model_id=model, source="external", file=upstream),
        engine="openai",
        parallel=2,
    )
    report = worker_report(
        f"wrk_{number:026d}",
        owner=Owner.OPERATOR,
        status=status,
        spec=spec,
        incarnation=incarnation,
        error_code="UNREACHABLE" if error else None,
        error_message=error,
    )
    named = {"name": "worker-openai-vllm", "pid": None, "url": url}
    return report.model_copy(update={**named, "key": SecretStr(key) if key else None})


async def served(site: Orchestrator, server: OpenAiServer, **more: Any) -> None:
    """Let a pool report the server's model."""
    await site.register(external(f"{server.url}/v1", **more))


async def events_of(site: Orchestrator, job_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Every event of a job to its end."""
    async with site.events(job_id) as stream:
        return [(it.event, payload(it)) for it in await stream.rest()]
