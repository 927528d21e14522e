"""Most pools fall silent at once: none of them is given up, because the fault may be ours."""

import pytest

from orchestrator_core.contracts.pool import PoolState
from orchestrator_core.scheduler.commands import StartWorker
from orchestrator_core.testing.facts import job_id
from support.machine_script import MachineScript, dispatched, ready


@pytest.fixture
def script() -> MachineScript:
    """Three pools, of which two have been silent for 45 s."""
    script = MachineScript()
    script.register("attic", ready("wrk_a"))
    script.register("barn", ready("wrk_b"))
    script.register("cellar")
    for at in (110.0, 120.0, 130.0, 140.0, 145.0):
        script.tick(at)
        script.beat("cellar")
    return script


def states(script: MachineScript) -> list[PoolState]:
    return [pool.status for pool in script.machine.pools()]


def test_silent_pools_stay_suspect_and_keep_their_workers(script: MachineScript):
    assert states(script) == [PoolState.SUSPECT, PoolState.SUSPECT, PoolState.ONLINE]
    assert [worker.worker_id for worker in script.machine.workers()] == ["wrk_a", "wrk_b"]
    assert script.machine.brake == 115.0


def test_nothing_is_ordered_in_their_place(script: MachineScript):
    answer = script.arrive(1)
    assert not any(isinstance(command, StartWorker) for command in answer)
    line = "2 of 3 pools fell silent at once: none is given up before they are heard"
    assert line in script.machine.explain(job_id(1))


def test_brake_ends_when_enough_are_heard_again(script: MachineScript):
    script.arrive(1)
    assert script.beat("attic", ready("wrk_a"))[:2] == dispatched(1, "wrk_a", pool="attic")
    assert script.machine.brake is None
    script.tick()
    assert states(script) == [PoolState.ONLINE, PoolState.LOST, PoolState.ONLINE]


def test_brake_does_not_hold_for_ever(script: MachineScript):
    since = script.machine.brake
    assert since is not None
    script.tick(since + 900)
    assert states(script)[:2] == [PoolState.LOST, PoolState.LOST]
    assert script.machine.brake is None


def test_one_silent_pool_of_three_is_lost_as_ever():
    script = MachineScript()
    for pool in ("attic", "barn", "cellar"):
        script.register(pool)
    for at in (110.0, 120.0, 130.0, 140.0, 145.0):
        script.tick(at)
        script.beat("barn")
        script.beat("cellar")
    assert states(script)[0] is PoolState.LOST
    assert script.machine.brake is None


def test_fleet_of_two_loses_both_as_ever():
    script = MachineScript()
    script.register("attic")
    script.register("barn")
    script.tick(115.0)
    script.tick(145.0)
    assert states(script) == [PoolState.LOST, PoolState.LOST]


def test_pool_that_was_lost_earlier_is_no_sign_of_anything():
    script = MachineScript()
    for pool in ("attic", "barn", "cellar"):
        script.register(pool)
    for at in (110.0, 120.0, 130.0, 140.0, 145.0):
        script.tick(at)
        script.beat("barn")
        script.beat("cellar")
    for at in (155.0, 165.0, 175.0, 185.0, 190.0):
        script.tick(at)
        script.beat("cellar")
    assert states(script) == [PoolState.LOST, PoolState.LOST, PoolState.ONLINE]
