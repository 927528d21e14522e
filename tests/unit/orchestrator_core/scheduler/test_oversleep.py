"""An orchestrator that slept past its alarms blames nobody for what it could not hear."""

import pytest

from orchestrator_core.cluster.workers import ServiceKey
from orchestrator_core.contracts.pool import PoolState, WorkerStatus
from orchestrator_core.contracts.tasks import JobStatus, Priority, TaskKind
from orchestrator_core.errors import Code
from orchestrator_core.scheduler import commands as c
from orchestrator_core.scheduler import events as e
from orchestrator_core.scheduler.limits import MachineLimits
from orchestrator_core.testing.facts import job_id
from orchestrator_core.testing.reports import worker_spec
from support.machine_script import MachineScript, dispatched, ready, started

KEY = ServiceKey(worker_spec().model.model_id, TaskKind.GENERATE)


@pytest.fixture
def script() -> MachineScript:
    return MachineScript(MachineLimits(attempt_timeout_s=60.0))


def states(script: MachineScript) -> set[PoolState]:
    return {pool.status for pool in script.machine.pools()}


def test_pools_are_heard_again_before_any_is_lost(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.register("barn", ready("wrk_b"))
    script.oversleep(30_000.0)
    assert states(script) == {PoolState.SUSPECT}
    script.beat("home", ready("wrk_a"))
    script.beat("barn", ready("wrk_b"))
    assert states(script) == {PoolState.ONLINE}


def test_pool_that_stays_silent_afterwards_is_lost_in_its_time(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.oversleep(30_000.0)
    script.tick(30_030.0)
    assert states(script) == {PoolState.LOST}


def test_fact_that_comes_before_the_alarm_counts_as_well(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.register("barn", ready("wrk_b"))
    script.at = 30_000.0
    script.beat("home", ready("wrk_a"))
    script.oversleep(30_000.1)
    assert PoolState.LOST not in states(script)


def test_attempt_goes_on_where_it_was(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    assert script.oversleep(30_000.0) == []
    script.beat("home", ready("wrk_a"))
    (_, finish) = script.end(1)
    assert isinstance(finish, c.Finish)
    assert finish.status is JobStatus.COMPLETED


def test_sleep_does_not_spoil_the_forecasts(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.oversleep(30_000.0)
    script.beat("home", ready("wrk_a"))
    script.end(1)
    run_s = script.machine.forecast(KEY, None, Priority.INTERACTIVE).run_s
    assert run_s is not None
    assert run_s < 60.0


def test_deadline_is_a_promise_about_the_clock(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1, deadline_at=200.0)
    (close, finish) = script.oversleep(30_000.0)
    assert isinstance(close, c.CancelAttempt)
    assert isinstance(finish, c.Finish)
    assert finish.code is Code.EXPIRED


def test_worker_that_comes_is_given_its_time(script: MachineScript):
    script.register("home")
    order = started(script.arrive(1))
    script.oversleep(30_000.0)
    came = ready(order.worker_id, status=WorkerStatus.LOADING)
    assert script.beat("home", came) == []
    script.at += 1.0
    assert script.beat("home", ready(order.worker_id)) == dispatched(1, order.worker_id)


def test_deadlines_of_a_backlog_ring_in_bounded_batches():
    script = MachineScript(
        MachineLimits(settle_batch=10, suspect_after_s=500.0, lost_after_s=1000.0)
    )
    script.register("home", ready("wrk_a"))
    for number in range(1, 102):
        script.arrive(number, deadline_at=150.0)
    script.arrive(102)
    script.at = 151.0
    counts = [len(script.end(1))]
    while (due := script.machine.next_alarm_at) is not None and due <= script.at:
        counts.append(len(script.post(e.Tick(at=script.at))))
    assert max(counts) < 30
    assert script.machine.worker_of(job_id(102)) == "wrk_a"
