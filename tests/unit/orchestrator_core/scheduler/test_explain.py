"""Why is my job waiting?"""

import pytest

from orchestrator_core.contracts.pool import Owner, WorkerStatus
from orchestrator_core.errors import Code
from orchestrator_core.scheduler.events import AttemptProgress, Tick
from orchestrator_core.testing.facts import job_id
from orchestrator_core.testing.reports import device_report, worker_report
from support.machine_script import MachineScript, ready, started


@pytest.fixture
def script() -> MachineScript:
    return MachineScript()


def why(script: MachineScript, number: int = 1) -> list[str]:
    return script.machine.explain(job_id(number))


def test_ended_job_has_nothing_to_explain(script: MachineScript):
    assert why(script) == []


def test_no_pool(script: MachineScript):
    script.arrive(1)
    assert why(script) == [
        "waits at place 1 of 1 for tiny-chat (generate)",
        "no pool has registered",
    ]


def test_no_fitting_pool(script: MachineScript):
    script.register("home", devices=(device_report(backends=()),))
    script.arrive(1)
    assert why(script)[1:] == ["pool home has no device for backend cpu"]


def test_lost_pool(script: MachineScript):
    script.register()
    script.tick(500.0)
    script.arrive(1)
    assert why(script)[1:] == ["pool home is lost"]


def test_worker_under_way(script: MachineScript):
    script.register()
    worker_id = started(script.arrive(1)).worker_id
    script.at += 3
    script.post(Tick(at=script.at))
    ordered = f"worker {worker_id} was ordered: pool home has the most free memory: 8 GiB"
    assert why(script)[1:] == [f"worker {worker_id} was ordered from pool home 3.0 s ago", ordered]
    script.beat("home", ready(worker_id, status=WorkerStatus.LOADING))
    script.at += 12
    script.post(Tick(at=script.at))
    line = f"worker {worker_id} has been loading on pool home for 12.0 s"
    assert why(script)[1:] == [line, ordered]


def test_busy_slots(script: MachineScript):
    script.register("home", ready("wrk_a", slots=2))
    for number in (1, 2, 3, 4):
        script.arrive(number)
    assert why(script, 4) == [
        "waits at place 2 of 2 for tiny-chat (generate)",
        "worker wrk_a has 0 of 2 slots free",
    ]


def test_slot_kept_for_an_older_job(script: MachineScript):
    script.register("home", ready("wrk_a", slots=2))
    script.arrive(1)
    script.arrive(2, slots=2)
    script.arrive(3)
    assert why(script, 2)[1:] == ["worker wrk_a has 1 of 2 slots free"]
    assert why(script, 3)[1:] == ["worker wrk_a serves others first"]


def test_failed_starts(script: MachineScript):
    script.register()
    order = started(script.arrive(1))
    report = worker_report(
        order.worker_id, status=WorkerStatus.FAILED, error_message="out of memory"
    )
    script.beat("home", report)
    assert why(script)[1] == (
        "starting a worker failed once (WORKER_START_FAILED: out of memory); next try in 1.0 s"
    )
    order = started(script.tick())
    assert why(script)[1] == ("starting a worker failed once (WORKER_START_FAILED: out of memory)")
    script.refuse(order, Code.DISK_LOW)
    assert why(script)[1] == (
        "starting a worker failed 2 times (DISK_LOW: no room); next try in 2.0 s"
    )


def test_pin(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1, pin="barn")
    assert why(script)[1:] == [
        "is pinned to pool barn",
        "pool barn is not known: it never registered, or was removed",
    ]


def test_another_start_under_way(script: MachineScript):
    script.register("home")
    script.register("barn")
    script.arrive(1, pin="home")
    script.arrive(2, pin="barn")
    assert why(script, 2)[2] == (
        "another worker of this model is on its way; one is started at a time"
    )


def test_lost_connection(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.break_off(1)
    assert why(script) == [
        "waits at place 1 of 1 for tiny-chat (generate)",
        "worker wrk_a lost a connection; its pool has not confirmed it since",
        "attempt 1 goes to worker wrk_a on pool home: 0 of 1 slots were in use",
        "attempt 1 ended: WORKER_LOST: connection reset",
    ]


def test_many_workers_are_summed_up(script: MachineScript):
    script.register("home", *(ready(f"wrk_{name}") for name in "abcdefg"))
    for number in range(1, 9):
        script.arrive(number)
    lines = why(script, 8)
    assert len(lines) == 7
    assert lines[-1] == "and 2 more workers cannot take it either"


def test_running_job_tells_where_it_runs(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    assert why(script)[0] == "attempt 1 was sent to worker wrk_a on pool home"
    script.accept(1)
    script.post(AttemptProgress(at=script.at, job_id=job_id(1), attempt=1, tokens=9))
    assert why(script)[0] == "attempt 1 runs on worker wrk_a on pool home, 9 tokens so far"
    script.tick(500.0)
    assert "the pool is silent" in why(script)[0]


def test_a_failed_worker_of_a_person_says_what_is_wrong_with_it(script: MachineScript):
    report = worker_report(
        "wrk_theirs",
        owner=Owner.OPERATOR,
        status=WorkerStatus.FAILED,
        error_message="nobody listens there",
    )
    script.register("home", report, devices=(device_report(backends=()),))
    script.arrive(1)
    assert why(script)[1:] == [
        "worker-cpu-0 is failed: nobody listens there",
        "pool home has no device for backend cpu",
    ]


def test_pause_is_not_put_on_a_worker_that_is_free(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.break_off(1, reason=Code.TIMEOUT)
    script.break_off(1, 2, reason=Code.TIMEOUT)
    pause, *story = why(script)
    assert pause.startswith("pauses for")
    assert story[0].startswith("attempt 1 goes to worker wrk_a")


def test_pin_to_an_unknown_pool_is_told_whatever_fails_elsewhere(script: MachineScript):
    script.register("home")
    order = started(script.arrive(2))
    script.arrive(1, pin="barn")
    script.refuse(order, Code.DISK_LOW)
    assert why(script)[-1] == "pool barn is not known: it never registered, or was removed"
