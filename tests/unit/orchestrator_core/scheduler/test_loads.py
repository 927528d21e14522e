"""Services that were given up, pools that are set aside, and what makes them hope again."""

import pytest

from orchestrator_core.cluster.workers import ServiceKey
from orchestrator_core.contracts.pool import Owner, WorkerStatus
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.errors import Code
from orchestrator_core.scheduler.commands import Finish, StartWorker
from orchestrator_core.testing.facts import job_id
from orchestrator_core.testing.reports import device_report, model_report, worker_report
from support.machine_script import MachineScript, ready, started

TINY = ServiceKey("tiny-chat", TaskKind.GENERATE)


def fail(script: MachineScript, order: StartWorker, code: str | None = None) -> list:
    report = worker_report(
        order.worker_id,
        status=WorkerStatus.FAILED,
        error_code=code,
        error_message="out of memory",
    )
    return script.beat(order.pool_id, report)


def give_up(script: MachineScript) -> list:
    """Three starts fail; returns what the last one brought."""
    order = started(script.arrive(1))
    for _ in range(2):
        fail(script, order)
        order = started(script.tick())
    return fail(script, order)


@pytest.fixture
def script() -> MachineScript:
    """One pool on which three starts have failed."""
    script = MachineScript()
    script.register("home")
    (finish,) = give_up(script)
    assert isinstance(finish, Finish)
    assert finish.message == "out of memory"
    return script


def test_new_job_fails_at_once_with_the_remembered_reason(script: MachineScript):
    script.at += 10
    (finish,) = script.arrive(2)
    assert isinstance(finish, Finish)
    assert (finish.code, finish.message) == (Code.WORKER_START_FAILED, "out of memory")
    assert script.machine.job_status(job_id(2)) is None


def test_gate_is_told_why_and_when_to_come_back(script: MachineScript):
    script.at += 10
    script.beat("home")
    refusal = script.machine.supply(TINY, None).refusal
    assert refusal is not None
    assert (refusal.code, refusal.retry_after_s) == (Code.NO_CAPACITY, 20)
    assert refusal.message == "tiny-chat cannot be served for now: out of memory"


def test_final_failure_keeps_its_code():
    script = MachineScript()
    script.register("home")
    fail(script, started(script.arrive(1)), "MODEL_INCOMPATIBLE")
    refusal = script.machine.supply(TINY, None).refusal
    assert refusal is not None
    assert (refusal.code, refusal.message) == (Code.MODEL_INCOMPATIBLE, "out of memory")


def test_after_the_pause_one_start_is_tried_and_the_next_pause_is_twice_as_long(
    script: MachineScript,
):
    script.beat("home")
    begun = script.at
    script.tick(begun + 14)
    script.beat("home")
    script.tick(begun + 28)
    script.beat("home")
    assert script.tick(begun + 30) == []
    assert script.machine.supply(TINY, None).refusal is None
    fail(script, started(script.arrive(2)))
    refusal = script.machine.supply(TINY, None).refusal
    assert refusal is not None
    assert refusal.retry_after_s == 60


@pytest.mark.parametrize("news", ["a pool", "models", "devices", "a person's worker"])
def test_hope_comes_back_with(script: MachineScript, news: str):
    if news == "a pool":
        script.register("barn")
    elif news == "models":
        script.beat("home", models=(model_report("fresh"),))
    elif news == "devices":
        script.beat_with_devices("home", device_report(), device_report(id="gpu-0"))
    else:
        script.beat("home", ready("wrk_p", owner=Owner.OPERATOR, status=WorkerStatus.LOADING))
    assert script.machine.supply(TINY, None).refusal is None
    assert script.machine.state.services[TINY].given_up is None
    assert not any(isinstance(command, Finish) for command in script.arrive(2))


def test_memory_that_comes_and_goes_is_no_news(script: MachineScript):
    script.beat_with_devices("home", device_report(memory_free_bytes=1))
    assert script.machine.supply(TINY, None).refusal is not None


def test_pool_with_two_strikes_is_set_aside_while_another_can_be_home():
    script = MachineScript()
    script.register("attic")
    order = started(script.arrive(1))
    fail(script, order)
    order = started(script.tick())
    fail(script, order)
    script.register("barn", devices=(device_report(memory_free_bytes=0),))
    assert started(script.tick()).pool_id == "barn"
    trouble = script.machine.state.services[TINY].troubles["attic"]
    assert trouble.quarantined_until == pytest.approx(script.at - 2 + 300)


def test_last_possible_home_is_tried_in_spite_of_its_strikes(script: MachineScript):
    script.register("home", session=1)
    assert started(script.arrive(2)).pool_id == "home"


def test_new_session_of_a_pool_clears_its_record(script: MachineScript):
    script.register("home", session=2)
    assert script.machine.state.services[TINY].troubles == {}


def test_worker_that_comes_up_clears_the_record_of_its_pool():
    script = MachineScript()
    script.register("home")
    order = started(script.arrive(1))
    fail(script, order)
    order = started(script.tick())
    script.beat("home", ready(order.worker_id))
    service = script.machine.state.services[TINY]
    assert (service.troubles, service.failures, service.condemnations) == ({}, 0, 0)


def test_pool_that_is_set_aside_is_named_in_the_reasons():
    script = MachineScript()
    script.register("attic")
    fail(script, started(script.arrive(1)))
    fail(script, started(script.tick()))
    line = "pool attic is set aside for tiny-chat for 5 min 0 s: 2 starts failed there"
    assert f"{line}; it is tried again, no other can" in script.machine.explain(job_id(1))
    script.register("barn")
    script.cancel(1)
    script.arrive(2)
    assert line in script.machine.explain(job_id(2))
