"""Slots by (job, attempt)."""

from orchestrator_core.cluster.slots import SlotLedger
from orchestrator_core.ids import JobId, WorkerId

A = WorkerId("wrk_a")
JOB = JobId("job_1")


def test_counts_by_job_and_attempt():
    slots = SlotLedger().of(A)
    slots.take(JOB, 1, 2)
    slots.take(JobId("job_2"), 1, 1)
    assert slots.used == 3
    assert slots.release(JOB, 1) == 2
    assert slots.used == 1


def test_releasing_twice_frees_once():
    slots = SlotLedger().of(A)
    slots.take(JOB, 1, 1)
    assert [slots.release(JOB, 2), slots.release(JOB, 1), slots.release(JOB, 1)] == [0, 1, 0]
    assert slots.used == 0


def test_count_outlives_a_worker_that_still_runs_something():
    ledger = SlotLedger()
    ledger.of(A).take(JOB, 1, 1)
    ledger.forget_idle(A)
    assert ledger.of(A).used == 1
    ledger.of(A).release(JOB, 1)
    ledger.forget_idle(A)
    ledger.forget_idle(A)
    assert ledger.items() == []
