"""The first retry is immediate; from the second failure on a job pauses, and stands in no lane."""

import pytest

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.testing.facts import job_id
from support.machine_script import MachineScript, dispatched, ready


@pytest.fixture
def script() -> MachineScript:
    """One worker; the job has failed twice and pauses."""
    script = MachineScript()
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.break_off(1, 1, reason=Code.WORKER_REFUSED)
    script.break_off(1, 2, reason=Code.WORKER_REFUSED)
    return script


def test_first_retry_is_immediate():
    script = MachineScript()
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    assert script.break_off(1, reason=Code.WORKER_REFUSED)[1:] == dispatched(1, "wrk_a", attempt=2)


def test_second_retry_comes_after_a_pause(script: MachineScript):
    assert script.machine.job_status(job_id(1)) is JobStatus.QUEUED
    assert script.machine.waiting == 0
    due = script.machine.next_alarm_at
    assert due is not None
    assert 0.375 <= due - script.at <= 0.625
    assert script.tick() == dispatched(1, "wrk_a", attempt=3)


def test_others_are_served_meanwhile(script: MachineScript):
    assert script.arrive(2) == dispatched(2, "wrk_a")
    script.tick()
    assert script.machine.position(job_id(1)) == 1


def test_job_that_pauses_keeps_its_place(script: MachineScript):
    script.arrive(2)
    script.arrive(3)
    script.tick()
    assert script.end(2)[2:] == dispatched(1, "wrk_a", attempt=3)


def test_job_that_pauses_can_be_cancelled(script: MachineScript):
    (finish,) = script.cancel(1)
    assert finish.status is JobStatus.CANCELLED
    assert not script.machine.state.alarms.wakeups


def test_job_that_pauses_can_reach_its_deadline():
    script = MachineScript()
    script.register("home", ready("wrk_a"))
    script.arrive(1, deadline_at=100.1)
    script.break_off(1, 1, reason=Code.WORKER_REFUSED)
    script.break_off(1, 2, reason=Code.WORKER_REFUSED)
    (finish,) = script.tick(100.1)
    assert finish.status is JobStatus.EXPIRED


def test_job_that_pauses_says_so(script: MachineScript):
    assert script.machine.explain(job_id(1))[0].startswith("pauses for ")


def test_restart_of_ours_never_counts_and_has_no_pause():
    script = MachineScript()
    script.register("home", ready("wrk_a"))
    for attempt in range(1, 6):
        if attempt == 1:
            script.arrive(1)
        else:
            assert script.machine.job_status(job_id(1)) is JobStatus.DISPATCHED
        script.break_off(1, attempt, reason=Code.ORCHESTRATOR_RESTART)
