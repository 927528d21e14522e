"""Worker states and how reports update a record."""

import pytest

from orchestrator_core.cluster.slots import SlotLedger
from orchestrator_core.cluster.workers import (
    MOVES,
    REACHABLE,
    ServiceKey,
    WorkerRecord,
    observe,
)
from orchestrator_core.contracts.pool import Owner, WorkerStatus
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.ids import JobId, PoolId, WorkerId
from orchestrator_core.testing.reports import worker_report, worker_spec

S = WorkerStatus


def known(status: WorkerStatus, *, incarnation: int = 1) -> WorkerRecord:
    record = WorkerRecord(
        worker_id=WorkerId("wrk_a"),
        pool_id=PoolId("home"),
        key=ServiceKey("tiny-chat", TaskKind.GENERATE),
        owner=Owner.ORCHESTRATOR,
        spec=worker_spec(),
        slots=SlotLedger().of(WorkerId("wrk_a")),
        slots_total=1,
        incarnation=incarnation,
    )
    assert observe(record, worker_report("wrk_a", status=status, incarnation=incarnation), 1.0)
    return record


def test_table_names_every_status():
    assert set(MOVES) == set(WorkerStatus)


def test_every_state_comes_from_starting():
    assert REACHABLE[S.STARTING] == set(WorkerStatus)


@pytest.mark.parametrize("was", [S.LOADING, S.READY, S.BUSY])
def test_a_worker_that_lost_its_proof_is_unclaimed_until_it_proves_itself(was: WorkerStatus):
    record = known(was)
    assert observe(record, worker_report("wrk_a", status=S.UNCLAIMED), 5.0)
    assert record.status is S.UNCLAIMED
    assert observe(record, worker_report("wrk_a", status=S.READY), 6.0)
    assert record.status is S.READY


@pytest.mark.parametrize("to", [S.LOADING, S.READY, S.BUSY, S.DRAINING, S.STOPPED, S.FAILED])
def test_report_may_skip_states(to: WorkerStatus):
    record = known(S.STARTING)
    assert observe(record, worker_report("wrk_a", status=to), 5.0)
    assert (record.status, record.status_since) == (to, 5.0)


@pytest.mark.parametrize(
    ("was", "to"),
    [(S.READY, S.STARTING), (S.FAILED, S.READY), (S.STOPPED, S.READY), (S.DRAINING, S.BUSY)],
)
def test_report_never_goes_back_within_one_incarnation(was: WorkerStatus, to: WorkerStatus):
    record = known(was)
    assert not observe(record, worker_report("wrk_a", status=to), 5.0)
    assert record.status is was


def test_newer_incarnation_starts_over():
    record = known(S.FAILED)
    assert observe(record, worker_report("wrk_a", status=S.STARTING, incarnation=2), 5.0)
    assert (record.status, record.incarnation) == (S.STARTING, 2)


def test_older_incarnation_is_ignored():
    record = known(S.READY, incarnation=2)
    assert not observe(record, worker_report("wrk_a", status=S.FAILED, incarnation=1), 5.0)


def test_same_state_keeps_its_moment():
    record = known(S.READY)
    assert observe(record, worker_report("wrk_a"), 9.0)
    assert record.status_since == 1.0


def test_slots_are_counted_here_whatever_the_worker_says():
    record = known(S.READY)
    record.slots.take(JobId("job_1"), 1, 1)
    assert observe(record, worker_report("wrk_a", slots_total=4, slots_busy=0), 5.0)
    assert (record.slots_total, record.free) == (4, 3)


def test_block_ends_with_a_later_word_that_the_worker_serves():
    record = known(S.READY)
    record.blocked_at = 5.0
    observe(record, worker_report("wrk_a"), 5.0)
    assert record.blocked_at == 5.0
    observe(record, worker_report("wrk_a"), 5.1)
    assert record.blocked_at is None


def test_block_ends_with_a_newer_incarnation():
    record = known(S.READY)
    record.blocked_at = 5.0
    observe(record, worker_report("wrk_a", status=S.LOADING, incarnation=2), 5.0)
    assert record.blocked_at is None
