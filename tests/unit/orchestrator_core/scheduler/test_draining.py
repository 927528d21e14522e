"""A pool that drains: nothing new goes there, what runs there runs on, and resuming undoes it."""

import pytest

from orchestrator_core.contracts.pool import Owner, PoolState, WorkerStatus
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.ids import PoolId
from orchestrator_core.testing.facts import job_id
from support.machine_script import MachineScript, dispatched, ready, started

HOME = PoolId("home")


@pytest.fixture
def script() -> MachineScript:
    return MachineScript()


def status_of(script: MachineScript, pool: str = "home") -> PoolState:
    found = script.machine.pool(PoolId(pool))
    assert found is not None
    return found.status


@pytest.mark.parametrize("owner", list(Owner))
def test_a_draining_pool_gets_no_new_job(script: MachineScript, owner: Owner):
    worker = ready("wrk_a", slots=2, owner=owner)
    script.register("home", worker)
    script.arrive(1)
    script.beat("home", worker, draining=True)
    assert status_of(script) is PoolState.DRAINING
    assert script.arrive(2) == []
    assert "pool home is draining" in script.machine.explain(job_id(2))


def test_what_runs_on_a_draining_pool_finishes(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.arrive(2)
    script.beat("home", ready("wrk_a"), draining=True)
    assert script.machine.job_status(job_id(1)) is JobStatus.DISPATCHED
    assert [type(command).__name__ for command in script.end(1)] == ["PersistRunning", "Finish"]
    assert script.machine.job_status(job_id(2)) is JobStatus.QUEUED


def test_its_workers_stay_wanted(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.beat("home", ready("wrk_a"), draining=True)
    assert script.wanted_ids() == ["wrk_a"]


def test_a_draining_pool_gets_no_new_worker(script: MachineScript):
    script.register(draining=True)
    assert status_of(script) is PoolState.DRAINING
    assert script.arrive(1) == []
    assert "pool home is draining" in script.machine.explain(job_id(1))


def test_what_waits_for_its_workers_gets_one_elsewhere(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.register("barn")
    script.arrive(1)
    script.arrive(2)
    order = started(script.beat("home", ready("wrk_a"), draining=True))
    assert order.pool_id == "barn"
    assert script.beat("barn", ready(order.worker_id)) == dispatched(
        2, order.worker_id, pool="barn"
    )


def test_a_job_pinned_to_a_draining_pool_waits_and_says_why(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.register("barn")
    script.beat("home", ready("wrk_a"), draining=True)
    assert script.arrive(1, pin="home") == []
    assert "pool home is draining" in script.machine.explain(job_id(1))


def test_an_order_that_it_did_not_take_up_is_given_elsewhere_without_a_failure(
    script: MachineScript,
):
    script.register("home")
    first = started(script.arrive(1))
    script.register("barn")
    second = started(script.beat("home", draining=True))
    assert (first.pool_id, second.pool_id) == ("home", "barn")
    assert script.wanted_ids() == []
    assert not any("failed" in line for line in script.machine.explain(job_id(1)))


def test_the_late_refusal_of_such_an_order_means_nothing(script: MachineScript):
    script.register("home")
    order = started(script.arrive(1))
    script.beat("home", draining=True)
    assert script.refuse(order, Code.DRAINING) == []
    assert script.machine.late_facts == 1
    assert started(script.beat("home")).pool_id == "home"


def test_a_worker_on_its_way_may_still_come_up_but_gets_no_job(script: MachineScript):
    script.register("home")
    order = started(script.arrive(1))
    loading = ready(order.worker_id, status=WorkerStatus.LOADING)
    script.beat("home", loading)
    assert script.beat("home", loading, draining=True) == []
    assert script.beat("home", ready(order.worker_id), draining=True) == []
    assert script.wanted_ids() == [order.worker_id]
    assert script.beat("home", ready(order.worker_id)) == dispatched(1, order.worker_id)


def test_resuming_serves_what_waited(script: MachineScript):
    script.register("home", ready("wrk_a"), draining=True)
    assert script.arrive(1) == []
    assert script.beat("home", ready("wrk_a")) == dispatched(1, "wrk_a")
    assert status_of(script) is PoolState.ONLINE


def test_resuming_makes_it_a_home_again(script: MachineScript):
    script.register(draining=True)
    script.arrive(1)
    assert started(script.beat()).pool_id == "home"


def test_a_silent_pool_is_suspect_and_lost_whether_it_drains_or_not(script: MachineScript):
    script.register("home", ready("wrk_a"), draining=True)
    assert script.machine.next_alarm_at == 115.0
    script.tick()
    assert status_of(script) is PoolState.SUSPECT
    assert script.arrive(1) == []
    script.at += 1
    script.beat("home", ready("wrk_a"), draining=True)
    assert status_of(script) is PoolState.DRAINING
    script.tick(script.at + 45)
    assert status_of(script) is PoolState.LOST
    assert script.register("home", ready("wrk_a"), session=2) == dispatched(1, "wrk_a")


def test_silence_does_not_turn_a_draining_pool_into_a_supply(script: MachineScript):
    script.register("home", ready("wrk_a"), draining=True)
    script.at = 110.0
    script.register("barn")
    script.tick(115.0)
    assert status_of(script) is PoolState.SUSPECT
    assert started(script.arrive(1)).pool_id == "barn"


def test_a_new_session_may_begin_or_end_the_draining(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.register("home", ready("wrk_a"), session=2, draining=True)
    assert script.arrive(1) == []
    assert script.register("home", ready("wrk_a"), session=3) == dispatched(1, "wrk_a")
