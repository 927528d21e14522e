"""Deadlines and the one alarm."""

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.scheduler.commands import Finish
from orchestrator_core.scheduler.limits import MachineLimits
from orchestrator_core.testing.facts import job_id
from support.machine_script import MachineScript, dispatched, ready


def test_machine_without_jobs_and_pools_has_no_alarm():
    script = MachineScript()
    assert script.machine.next_alarm_at is None
    script.arrive(1)
    assert script.machine.next_alarm_at is not None
    script.cancel(1)
    assert script.machine.next_alarm_at is None


def test_waiting_job_expires_at_its_deadline():
    script = MachineScript()
    script.arrive(1, deadline_at=130.0)
    script.arrive(2, deadline_at=120.0)
    assert script.machine.next_alarm_at == 120.0
    (finish,) = script.tick()
    assert isinstance(finish, Finish)
    assert (finish.job_id, finish.status) == (job_id(2), JobStatus.EXPIRED)
    assert script.machine.next_alarm_at == 130.0


def test_finished_job_takes_its_alarm_with_it():
    script = MachineScript()
    script.arrive(1, deadline_at=130.0)
    script.cancel(1)
    assert script.machine.next_alarm_at is None


def test_tick_before_anything_is_due_does_nothing():
    script = MachineScript()
    script.arrive(1, deadline_at=130.0)
    assert script.tick(129.9) == []


def test_many_deadlines_are_settled_in_bounded_batches():
    script = MachineScript(MachineLimits(settle_batch=2))
    for number in range(1, 6):
        script.arrive(number, deadline_at=130.0)
    assert [len(script.tick()) for _ in range(3)] == [2, 2, 1]


def test_job_past_its_deadline_is_not_dispatched_though_no_alarm_rang():
    script = MachineScript()
    script.arrive(1, deadline_at=101.0)
    script.arrive(2)
    script.at = 102.0
    finish, *rest = script.register("home", ready("wrk_a"))
    assert isinstance(finish, Finish)
    assert finish.status is JobStatus.EXPIRED
    assert rest == dispatched(2, "wrk_a")


def test_expired_head_gives_way_when_a_slot_gets_free():
    script = MachineScript()
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.arrive(2, deadline_at=101.0)
    script.arrive(3)
    script.at = 102.0
    finish, *rest = script.end(1)[2:]
    assert isinstance(finish, Finish)
    assert finish.job_id == job_id(2)
    assert rest == dispatched(3, "wrk_a")


def test_expired_wide_job_lets_the_next_pass():
    script = MachineScript()
    script.register("home", ready("wrk_a", slots=2))
    script.arrive(1)
    script.arrive(2, slots=2, deadline_at=105.0)
    script.arrive(3)
    assert script.tick()[1:] == dispatched(3, "wrk_a")
