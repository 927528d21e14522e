"""What happened between two pictures of the workers."""

from orchestrator_core.contracts.pool import WorkerReport, WorkerStatus
from pool_managerd.runtime.tally import Happening, compare, pictures
from support.pool_fakes import make_worker

READY_AT = "2026-01-01T00:00:01.000Z"


def happenings(before: list[WorkerReport], after: list[WorkerReport]) -> list[Happening]:
    return [event.happening for event in compare(pictures(before), pictures(after))]


def test_a_worker_appears_and_becomes_ready() -> None:
    starting = make_worker()
    loading = make_worker(status=WorkerStatus.LOADING)
    ready = make_worker(status=WorkerStatus.READY)
    assert happenings([], [starting]) == [Happening.STARTING]
    assert happenings([starting], [loading]) == []
    assert happenings([loading], [ready]) == [Happening.READY]


def test_a_busy_worker_does_not_become_ready_again() -> None:
    busy = make_worker(status=WorkerStatus.BUSY)
    assert happenings([busy], [make_worker(status=WorkerStatus.READY)]) == []


def test_a_worker_that_never_was_ready_failed_to_start_and_another_crashed() -> None:
    failed = make_worker(status=WorkerStatus.FAILED)
    crashed = make_worker(status=WorkerStatus.FAILED, ready_at=READY_AT)
    assert happenings([make_worker()], [failed]) == [Happening.START_FAILED]
    ready = make_worker(status=WorkerStatus.READY, ready_at=READY_AT)
    assert happenings([ready], [crashed]) == [Happening.CRASHED]


def test_a_worker_that_leaves_was_stopped_and_is_counted_once() -> None:
    ready = make_worker(status=WorkerStatus.READY)
    stopped = make_worker(status=WorkerStatus.STOPPED)
    assert happenings([ready], []) == [Happening.STOPPED]
    assert happenings([ready], [stopped]) == [Happening.STOPPED]
    assert happenings([stopped], []) == []


def test_a_crash_that_leads_to_parking_is_counted_once() -> None:
    failed = make_worker(status=WorkerStatus.FAILED, ready_at=READY_AT)
    parked = make_worker(status=WorkerStatus.PARKED, ready_at=READY_AT)
    assert happenings([failed], [parked]) == []


def test_a_restart_is_a_process_of_its_own() -> None:
    failed = make_worker(status=WorkerStatus.FAILED)
    assert happenings([failed], [make_worker(incarnation=2)]) == [Happening.STARTING]
