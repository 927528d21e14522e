"""After a restart nothing is ordered twice: pools that may have the worker are waited for."""

from orchestrator_core.ids import PoolId
from orchestrator_core.testing.facts import job_id
from support.machine_script import MachineScript, dispatched, ready, started


def test_pool_that_had_the_attempt_is_waited_for():
    script = MachineScript()
    script.restore(1, attempt=1, was_alive=True, pool_id=PoolId("barn"))
    assert script.register("attic") == []
    script.at += 30
    answer = script.register("barn", ready("wrk_b"))
    assert answer == dispatched(1, "wrk_b", attempt=2, pool="barn")


def test_pool_that_comes_back_without_the_worker_ends_the_wait():
    script = MachineScript()
    script.restore(1, attempt=1, was_alive=True, pool_id=PoolId("barn"))
    script.register("attic")
    assert started(script.register("barn")).pool_id == "attic"


def test_pool_that_never_comes_is_waited_for_no_longer_than_the_recovery_window():
    script = MachineScript()
    script.restore(1, attempt=1, was_alive=True, pool_id=PoolId("barn"))
    script.register("attic")
    for at in (110.0, 120.0, 130.0, 140.0):
        script.tick(at)
        script.beat("attic")
    assert started(script.tick(145.0)).pool_id == "attic"


def test_where_the_attempt_ran_is_unknown_two_heartbeats_are_waited():
    script = MachineScript()
    script.restore(1, attempt=1, was_alive=True)
    assert script.register("attic") == []
    assert any("has just restarted" in why for why in script.machine.explain(job_id(1)))
    assert started(script.tick(110.0)).pool_id == "attic"


def test_job_that_only_waited_has_a_worker_ordered_at_once():
    script = MachineScript()
    script.restore(1)
    assert started(script.register("attic")).pool_id == "attic"
