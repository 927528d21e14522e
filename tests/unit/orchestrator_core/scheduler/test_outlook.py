"""What the gate is told before it admits a job."""

import pytest

from orchestrator_core.cluster.workers import ServiceKey
from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.contracts.tasks import Priority, TaskKind
from orchestrator_core.ids import PoolId
from orchestrator_core.scheduler.outlook import Forecast
from orchestrator_core.testing.reports import worker_report, worker_spec
from support.machine_script import MachineScript, ready, started

TINY = ServiceKey("tiny-chat", TaskKind.GENERATE)
PEOPLE = Priority.INTERACTIVE


@pytest.fixture
def script() -> MachineScript:
    return MachineScript()


def start_in_s(script: MachineScript, priority: Priority = PEOPLE) -> float | None:
    return script.machine.forecast(TINY, None, priority).start_in_s


def test_unknown_model_has_no_supply(script: MachineScript):
    supply = script.machine.supply(TINY, None)
    assert (supply.slots_open, supply.coming, supply.waiting) == (0, False, 0)
    assert (supply.ctx, supply.workers, supply.refusal) == (None, (), None)
    assert script.machine.forecast(TINY, None, PEOPLE) == Forecast(start_in_s=None, run_s=None)


def test_workers_that_serve_are_counted_with_all_their_slots(script: MachineScript):
    big = worker_report("wrk_b", spec=worker_spec(ctx=4096, parallel=3))
    script.register("attic", ready("wrk_a"))
    script.register("barn", big)
    script.arrive(1)
    supply = script.machine.supply(TINY, None)
    assert (supply.slots_open, supply.ctx, supply.coming) == (4, 4096, False)
    assert sorted(supply.workers) == [("attic", "wrk_a"), ("barn", "wrk_b")]


def test_pin_counts_its_own_pool_only(script: MachineScript):
    script.register("attic", ready("wrk_a"))
    script.register("barn", ready("wrk_b", slots=3))
    supply = script.machine.supply(TINY, PoolId("barn"))
    assert (supply.slots_open, supply.workers) == (3, (("barn", "wrk_b"),))


def test_supply_follows_the_workers(script: MachineScript):
    script.register("attic", ready("wrk_a"))
    assert script.machine.supply(TINY, None).slots_open == 1
    script.beat("attic", ready("wrk_a"), ready("wrk_b", status=WorkerStatus.LOADING))
    script.tick(115.0)
    assert script.machine.supply(TINY, None).slots_open == 0


def test_worker_on_its_way_is_told(script: MachineScript):
    script.register("attic")
    order = started(script.arrive(1))
    supply = script.machine.supply(TINY, None)
    assert (supply.slots_open, supply.coming, supply.waiting) == (0, True, 1)
    script.beat("attic", ready(order.worker_id))
    assert script.machine.supply(TINY, None).coming is False


def test_free_slot_starts_a_job_at_once(script: MachineScript):
    script.register("attic", ready("wrk_a"))
    assert start_in_s(script) == 0.0


def test_start_is_unknown_before_anything_ran(script: MachineScript):
    script.register("attic", ready("wrk_a"))
    script.arrive(1)
    assert start_in_s(script) is None


def test_start_counts_those_who_wait_by_what_a_job_takes(script: MachineScript):
    script.register("attic", ready("wrk_a"))
    script.arrive(1)
    script.at += 10
    script.end(1)
    for number in (2, 3):
        script.arrive(number)
    script.arrive(4, priority=Priority.BATCH)
    assert script.machine.forecast(TINY, None, PEOPLE) == Forecast(start_in_s=20.0, run_s=10.0)
    assert start_in_s(script, Priority.BATCH) == 30.0


def test_model_that_must_be_loaded_takes_its_usual_time(script: MachineScript):
    script.register("attic")
    order = started(script.arrive(1))
    script.at += 8
    script.beat("attic", ready(order.worker_id))
    script.end(1)
    script.stop_worker(order.worker_id)
    assert start_in_s(script) == 8.0


def test_room_is_expected_when_the_next_job_ends(script: MachineScript):
    assert script.machine.room_in_s() == 5
    script.register("attic", ready("wrk_a", slots=3))
    for number in (1, 2, 3):
        script.arrive(number)
    for number in (1, 2, 3):
        script.at += 4
        script.end(number)
    assert script.machine.room_in_s() == 4
    script.tick(script.at + 600)
    assert script.machine.room_in_s() == 60
