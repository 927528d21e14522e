"""The four timeouts: queue, load, attempt, total."""

import pytest

from orchestrator_core.contracts.pool import Owner, WorkerStatus
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.scheduler.commands import Finish, StopWorker
from orchestrator_core.scheduler.events import FirstToken
from orchestrator_core.scheduler.limits import MachineLimits
from orchestrator_core.testing.facts import job_id
from orchestrator_core.testing.reports import worker_spec
from support.machine_script import MachineScript, closes, dispatched, ready, requeued, started

LIMITS = MachineLimits(
    suspect_after_s=1e9,
    lost_after_s=2e9,
    queue_timeout_s=50.0,
    load_timeout_s=20.0,
    attempt_timeout_s=30.0,
    total_timeout_s=80.0,
)


@pytest.fixture
def script() -> MachineScript:
    return MachineScript(LIMITS)


def told(commands: list) -> Finish:
    (finish,) = (command for command in commands if isinstance(command, Finish))
    return finish


def test_job_that_no_worker_takes_expires_and_says_what_it_waited_for(script: MachineScript):
    script.arrive(1)
    assert script.machine.next_alarm_at == 150.0
    finish = told(script.tick())
    assert (finish.status, finish.code) == (JobStatus.EXPIRED, Code.EXPIRED)
    assert finish.message == "no worker took the job within 50.0 s: no pool has registered"


def test_job_behind_busy_workers_expires_with_that_reason(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.at += 10
    script.arrive(2)
    script.tick(130.0)
    line = "no worker took the job within 50.0 s: the workers of tiny-chat were busy all the time"
    assert told(script.tick(160.0)).message == line


def test_job_that_a_worker_took_once_waits_on(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.break_off(1)
    assert script.tick(151.0) == []
    assert script.machine.job_status(job_id(1)) is JobStatus.QUEUED


def test_total_time_ends_a_job_without_a_deadline(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.break_off(1)
    assert (
        told(script.tick(180.0)).message
        == "the job had not ended after 1 min 20 s; it still waited"
    )


def test_earlier_of_deadline_and_total_time_rings(script: MachineScript):
    script.arrive(1, deadline_at=120.0)
    assert told(script.tick(120.0)).message == "the deadline passed while the job waited"


def test_long_attempt_is_broken_off_and_retried_elsewhere(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.register("barn", ready("wrk_b"))
    script.arrive(1)
    script.accept(1)
    line = "the attempt was broken off after 30.0 s"
    assert script.tick(130.0) == [
        closes(1, "wrk_a"),
        requeued(1, reason=Code.TIMEOUT, message=line),
        *dispatched(1, "wrk_b", attempt=2, pool="barn"),
    ]
    assert script.machine.next_alarm_at == 160.0


def test_slots_of_a_long_attempt_are_free_when_it_is_seen_idle(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    assert len(script.tick(130.0)) == 2
    assert script.seen_idle(1, "wrk_a") == dispatched(1, "wrk_a", attempt=2)


def test_call_whose_client_has_seen_text_is_not_started_over(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1, durable=False)
    script.accept(1)
    script.post(FirstToken(at=script.at, job_id=job_id(1), attempt=1))
    close, finish = script.tick(130.0)
    assert close == closes(1, "wrk_a")
    assert (finish.status, finish.code) == (JobStatus.FAILED, Code.TIMEOUT)


def test_worker_that_comes_and_comes_is_stopped_and_counts_as_a_failed_start(
    script: MachineScript,
):
    script.register("home")
    order = started(script.arrive(1))
    script.beat("home", ready(order.worker_id, status=WorkerStatus.LOADING))
    (stop,) = script.tick(120.0)
    assert isinstance(stop, StopWorker)
    assert stop.worker_id == order.worker_id
    line = "worker worker-cpu-0 on pool home was not ready after 20.0 s"
    assert any(line in why for why in script.machine.explain(job_id(1)))
    assert started(script.tick(121.0)).worker_id != order.worker_id


def test_slow_worker_of_a_person_is_not_stopped_but_not_waited_for(script: MachineScript):
    script.register("home", ready("wrk_p", owner=Owner.OPERATOR, status=WorkerStatus.LOADING))
    assert script.arrive(1) == []
    assert script.tick(120.0) == []
    assert started(script.tick(121.0)).pool_id == "home"
    answer = script.beat(
        "home", ready("wrk_p", owner=Owner.OPERATOR), ready("wrk_x", status=WorkerStatus.LOADING)
    )
    assert answer == dispatched(1, "wrk_p")


def test_load_time_begins_anew_with_a_new_process(script: MachineScript):
    script.register("home")
    order = started(script.arrive(1))
    script.at += 15
    script.beat("home", ready(order.worker_id, status=WorkerStatus.LOADING, incarnation=2))
    assert script.tick(120.0) == []
    assert isinstance(script.tick(135.0)[0], StopWorker)


def test_slot_of_another_model_is_not_held_up(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1, spec=worker_spec("other"))
    assert script.arrive(2) == dispatched(2, "wrk_a")
