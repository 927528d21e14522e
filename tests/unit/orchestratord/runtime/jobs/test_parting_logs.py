"""The logs of jobs that ended just now: kept whole, found by id, and let go in time."""

import pytest

from orchestrator_core.contracts.tasks import EventKind
from orchestrator_core.testing.clocks import FakeClock
from orchestrator_core.testing.facts import job_id, key_id
from orchestratord.runtime.jobs import parting_logs
from orchestratord.runtime.jobs.joblog import JobLog
from orchestratord.runtime.jobs.parting_logs import PartingLogs


def ended_log(size: int = 10) -> JobLog:
    log = JobLog(0)
    log.commit(1, EventKind.QUEUED, "{}")
    log.commit(2, EventKind.END, "x" * size)
    return log


def test_a_log_is_found_with_its_owner_until_its_time_is_over() -> None:
    clock = FakeClock()
    partings = PartingLogs(clock.monotonic_s)
    log = ended_log()
    partings.keep(job_id(1), key_id(), log)
    assert partings.find(job_id(1)) == (key_id(), log)
    clock.advance(9)
    partings.sweep()
    assert len(partings) == 1
    clock.advance(2)
    partings.sweep()
    assert partings.find(job_id(1)) is None


def test_a_log_that_begins_late_is_not_kept() -> None:
    partings = PartingLogs(FakeClock().monotonic_s)
    log = JobLog(5)
    log.commit(6, EventKind.END, "{}")
    partings.keep(job_id(1), key_id(), log)
    assert len(partings) == 0


def test_the_oldest_go_first_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parting_logs, "_LIMIT", 3)
    partings = PartingLogs(FakeClock().monotonic_s)
    for number in range(5):
        partings.keep(job_id(number), key_id(), ended_log())
    kept = [number for number in range(5) if partings.find(job_id(number))]
    assert kept == [2, 3, 4]


def test_the_oldest_go_first_when_they_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parting_logs, "_LIMIT_BYTES", 3_000)
    partings = PartingLogs(FakeClock().monotonic_s)
    for number in range(5):
        partings.keep(job_id(number), key_id(), ended_log(1_000))
    assert [number for number in range(5) if partings.find(job_id(number))] == [3, 4]
