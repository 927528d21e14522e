"""Compares what the orchestrator wants with what runs here and names the acts: pure.

An operator's worker is never touched. A worker that failed stays down until the orchestrator
orders a newer generation or another worker: what follows a crash is its decision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator_core.contracts.pool import Owner, WantedWorker, WorkerStatus

__all__ = ["Action", "Observed", "Start", "Stop", "reconcile"]


@dataclass(frozen=True, slots=True)
class Observed:
    """One worker of this host as far as the decision needs it."""

    id: str
    generation: int
    owner: Owner
    status: WorkerStatus


@dataclass(frozen=True, slots=True)
class Start:
    """Start this worker."""

    worker: WantedWorker


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop this worker, or forget it if it has ended."""

    id: str


Action = Start | Stop


def reconcile(
    wanted: Sequence[WantedWorker],
    observed: Sequence[Observed],
    ended: Mapping[str, int],
) -> list[Action]:
    """Stops first, since they free memory; ended maps stopped ids to their last generation."""
    here = {worker.id: worker for worker in observed}
    named = {worker.worker_id for worker in wanted}
    actions: list[Action] = [
        Stop(worker.id)
        for worker in observed
        if worker.owner is Owner.ORCHESTRATOR
        and worker.id not in named
        and worker.status is not WorkerStatus.DRAINING
    ]
    actions += [Start(worker) for worker in wanted if _is_missing(worker, here, ended)]
    return actions


def _is_missing(
    worker: WantedWorker, here: Mapping[str, Observed], ended: Mapping[str, int]
) -> bool:
    present = here.get(worker.worker_id)
    if present is not None:
        failed = present.status is WorkerStatus.FAILED
        return (
            failed
            and present.owner is Owner.ORCHESTRATOR
            and (worker.generation > present.generation)
        )
    return worker.generation > ended.get(worker.worker_id, 0)
