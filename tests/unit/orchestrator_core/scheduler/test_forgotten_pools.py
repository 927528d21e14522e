"""A pool that was removed: it and its workers are known no longer, and nothing waits for them."""

import pytest

from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.scheduler import events as e
from orchestrator_core.testing.facts import job_id, session_id
from orchestrator_core.testing.reports import model_report
from support.machine_script import MachineScript, dispatched, ready, started

HOME, MAC = PoolId("home"), PoolId("mac")


@pytest.fixture
def script() -> MachineScript:
    return MachineScript()


def forget(script: MachineScript, pool: PoolId = HOME):
    return script.post(e.PoolForgotten(at=script.at, pool_id=pool))


def test_a_removed_pool_is_as_if_it_had_never_been(script: MachineScript):
    script.register("home", ready("wrk_a"), models=(model_report("m"),))
    assert script.machine.held_models
    assert forget(script) == []
    assert script.machine.pool(HOME) is None
    assert script.machine.pool_status(HOME) is None
    assert script.machine.workers() == []
    assert script.machine.held_models == {}
    assert script.machine.beat_refusal(HOME, session_id(1)) is not None
    assert script.machine.next_alarm_at is None


def test_removing_it_twice_changes_nothing(script: MachineScript):
    script.register("home", ready("wrk_a"))
    forget(script)
    assert forget(script) == []
    assert script.machine.late_facts == 1


def test_an_answer_in_flight_goes_on_to_its_end(script: MachineScript):
    script.arrive(1)
    script.register("home", ready("wrk_a"))
    script.accept(1)
    assert forget(script) == []
    assert script.machine.job_status(job_id(1)) is JobStatus.RUNNING
    ended = script.end(1)
    assert ended
    assert script.machine.job_status(job_id(1)) is None


def test_an_attempt_that_breaks_later_goes_to_another_pool(script: MachineScript):
    script.arrive(1)
    script.register("home", ready("wrk_a"))
    script.accept(1)
    script.register("mac", ready("wrk_b"))
    forget(script)
    script.break_off(1)
    script.tick()
    assert script.machine.worker_of(job_id(1)) == WorkerId("wrk_b")


def test_what_waits_gets_a_worker_elsewhere(script: MachineScript):
    script.register("home", ready("wrk_a", slots=1))
    script.register("mac")
    script.arrive(1)
    assert script.arrive(2) == []
    assert started(forget(script)).pool_id == MAC


def test_a_start_that_was_under_way_there_is_no_failed_start(script: MachineScript):
    script.register("home")
    assert started(script.arrive(1)).pool_id == HOME
    forget(script)
    script.register("mac")
    assert not any("failed" in line for line in script.machine.explain(job_id(1)))
    assert [worker.pool_id for worker in script.machine.workers()] == [MAC]


def test_restored_jobs_wait_no_longer_for_what_it_might_bring(script: MachineScript):
    script.restore(1, attempt=1, was_alive=True, pool_id=HOME)
    assert script.register("mac") == []
    assert started(forget(script)).pool_id == MAC


def test_jobs_pinned_to_it_wait_and_say_why(script: MachineScript):
    script.register("home")
    script.arrive(1, pin="home")
    forget(script)
    assert script.machine.job_status(job_id(1)) is JobStatus.QUEUED
    script.register("home", ready("wrk_a"), session=2)
    assert script.machine.job_status(job_id(1)) is JobStatus.DISPATCHED


def test_a_silent_pool_that_is_removed_holds_no_brake(script: MachineScript):
    for name in ("home", "mac", "box"):
        script.register(name)
    script.oversleep(script.at + 16.0)
    assert script.machine.brake is not None
    forget(script, HOME)
    forget(script, MAC)
    assert script.machine.brake is None


def test_one_that_comes_back_begins_anew(script: MachineScript):
    script.register("home", ready("wrk_a", status=WorkerStatus.LOADING))
    forget(script)
    script.arrive(1)
    assert script.register("home", ready("wrk_a"), session=2) == dispatched(1, "wrk_a")
