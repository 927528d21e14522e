"""Makes the order for a worker from what a person typed, and waits until the worker is ready."""

import contextlib
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from typing import Final

import click

from orchestrator_core.catalog.entries import spec_for
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.clients.pool import PoolClient
from orchestrator_core.console.endings import Pace
from orchestrator_core.console.render import Output
from orchestrator_core.contracts.pool import (
    Backend,
    DeviceReport,
    WorkerReport,
    WorkerSpec,
    WorkerStatus,
)
from orchestrator_core.errors import Code, LlorchError, Refusal, error_for

__all__ = ["make_spec", "pick_device", "progress", "wait_until_ready"]

_PACE: Final = Pace(step_s=0.1)
_READY: Final = frozenset({WorkerStatus.READY, WorkerStatus.BUSY})
_UNDER_WAY: Final = frozenset({WorkerStatus.STARTING, WorkerStatus.LOADING, WorkerStatus.UNCLAIMED})


def make_spec(
    model: str,
    *,
    backend: str,
    gpu: int | None,
    ctx: int | None,
    parallel: int | None,
    devices: Sequence[DeviceReport],
) -> WorkerSpec:
    """Resolve the model and the device; what was not typed comes from the catalogue."""
    entry = Catalog.load().resolve(model)
    if isinstance(entry, Refusal):
        raise error_for(entry)
    device_ids: tuple[str, ...] = ()
    if gpu is not None:
        device_ids = (pick_device(Backend(backend), gpu, devices),)
    return spec_for(
        entry, backend=Backend(backend), device_ids=device_ids, ctx=ctx, parallel=parallel
    )


def pick_device(backend: Backend, gpu: int, devices: Sequence[DeviceReport]) -> str:
    """Find the lasting id of the GPU that has this index today."""
    offering = [it for it in devices if it.kind == "gpu" and backend in it.backends]
    for device in offering:
        if device.index == gpu:
            return device.id
    there = ", ".join(f"{it.index} ({it.name})" for it in offering) or "none"
    text = f"this host has no {backend.value} GPU {gpu}; there is: {there}"
    raise error_for(Refusal(Code.BACKEND_UNAVAILABLE, text))


def wait_until_ready(
    pool: PoolClient,
    started: WorkerReport,
    shower: AbstractContextManager[Callable[[str], None]],
    *,
    timeout_s: float,
    pace: Pace = _PACE,
) -> WorkerReport:
    """Follow a starting worker until it is ready, has failed or takes too long."""
    deadline_s = pace.monotonic_s() + timeout_s
    report, shown = started, None
    with shower as show:
        while report.status in _UNDER_WAY:
            if report.status is not shown:
                shown = report.status
                show(f"{report.name}: {shown.value} {report.model} ...")
            if pace.monotonic_s() >= deadline_s:
                text = (
                    f"{report.name} is not ready after {timeout_s:g} s and goes on "
                    f"{report.status.value}; llorch-pool worker stop {report.name} gives it up"
                )
                raise error_for(Refusal(Code.TIMEOUT, text))
            pace.pause(pace.step_s)
            report = _look_up(pool, started)
    if report.status not in _READY:
        raise _failure(report)
    return report


def _look_up(pool: PoolClient, started: WorkerReport) -> WorkerReport:
    for report in pool.workers().items:
        if report.id == started.id:
            return report
    raise error_for(Refusal(Code.WORKER_LOST, f"{started.name} was stopped while it started"))


def _failure(report: WorkerReport) -> LlorchError:
    reason = report.error_message or f"it is {report.status.value}"
    try:
        code = Code(report.error_code or Code.WORKER_START_FAILED)
    except ValueError:
        code = Code.WORKER_START_FAILED
    # The code tells the cause; the call itself was carried out, so it is a plain failure.
    return LlorchError(Refusal(code, f"{report.name} did not start: {reason}"))


@contextlib.contextmanager
def progress(out: Output) -> Generator[Callable[[str], None], None, None]:
    """Show one moving line on a terminal, plain lines elsewhere, nothing when quiet."""
    quiet = bool(click.get_current_context().params.get("quiet"))
    if quiet or not sys.stderr.isatty():
        yield out.say
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield status.update
