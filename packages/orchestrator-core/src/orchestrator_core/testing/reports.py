"""Builders for what pools report and are ordered: valid by default, every field can be named."""

from typing import Literal

from pydantic import SecretStr

from orchestrator_core.contracts.pool import (
    Backend,
    DeviceReport,
    ModelFile,
    ModelReport,
    Owner,
    WorkerReport,
    WorkerSpec,
    WorkerStatus,
)
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.units import GIB

__all__ = ["device_report", "model_file", "model_report", "worker_report", "worker_spec"]


def model_file(
    model_id: str = "tiny-chat", *, source: Literal["builtin", "hub", "file"] = "builtin"
) -> ModelFile:
    """A resolved model."""
    return ModelFile(model_id=model_id, source=source, file=f"{model_id}.gguf")


def model_report(model_id: str = "tiny-chat", *, size_bytes: int = 1_000_000) -> ModelReport:
    """A model that lies on a host."""
    return ModelReport(id=model_id, file=f"{model_id}.gguf", size_bytes=size_bytes)


def worker_spec(
    model_id: str = "tiny-chat",
    *,
    model: ModelFile | None = None,
    backend: Backend = Backend.CPU,
    task: TaskKind = TaskKind.GENERATE,
    ctx: int = 1024,
    parallel: int = 1,
) -> WorkerSpec:
    """What a worker shall be."""
    return WorkerSpec(
        model=model or model_file(model_id),
        backend=backend,
        task=task,
        ctx=ctx,
        parallel=parallel,
    )


def device_report(
    *,
    id: str = "cpu-0",  # noqa: A002 - named like the field it fills
    index: int = 0,
    kind: Literal["cpu", "gpu"] = "cpu",
    backends: tuple[Backend, ...] = (Backend.CPU,),
    memory_total_bytes: int = 16 * GIB,
    memory_free_bytes: int = 8 * GIB,
) -> DeviceReport:
    """One device of a host."""
    return DeviceReport(
        id=id,
        index=index,
        kind=kind,
        name=f"{kind} {index}",
        backends=list(backends),
        memory_total_bytes=memory_total_bytes,
        memory_free_bytes=memory_free_bytes,
    )


def worker_report(
    worker_id: str,
    *,
    status: WorkerStatus = WorkerStatus.READY,
    owner: Owner = Owner.ORCHESTRATOR,
    spec: WorkerSpec | None = None,
    slots_total: int | None = None,
    slots_busy: int = 0,
    incarnation: int = 1,
    generation: int = 1,
    port: int = 8001,
    ready_at: str | None = None,
    error_code: str | None = None,
    error_message: str | None = None,
) -> WorkerReport:
    """A worker as its pool sees it."""
    spec = spec or worker_spec()
    return WorkerReport(
        id=worker_id,
        name=f"worker-{spec.backend}-0",
        incarnation=incarnation,
        generation=generation,
        owner=owner,
        status=status,
        model=spec.model.model_id,
        task=spec.task,
        backend=spec.backend,
        spec=spec,
        pid=4242,
        port=port,
        url=f"http://127.0.0.1:{port}",
        key=SecretStr("worker-key"),
        slots_total=(spec.parallel or 1) if slots_total is None else slots_total,
        slots_busy=slots_busy,
        started_at="2024-01-01T00:00:00.000Z",
        ready_at=ready_at,
        error_code=error_code,
        error_message=error_message,
    )
