"""Starts that succeed, fail, are refused or never heard of again; stops."""

import pytest

from orchestrator_core.contracts.pool import Owner, WorkerStatus
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.scheduler.commands import Finish, StartWorker, StopWorker
from orchestrator_core.scheduler.limits import MachineLimits
from orchestrator_core.testing.facts import job_id
from orchestrator_core.testing.reports import worker_report, worker_spec
from support.machine_script import MachineScript, dispatched, ready, started

S = WorkerStatus


@pytest.fixture
def script() -> MachineScript:
    """One pool and one job that waits for the worker ordered for it."""
    script = MachineScript()
    script.register()
    return script


def fail(script: MachineScript, order: StartWorker, code: str | None = None) -> list:
    report = worker_report(
        order.worker_id, status=S.FAILED, error_code=code, error_message="no such file"
    )
    return script.beat("home", report)


def failed(number: int, code: Code = Code.WORKER_START_FAILED, line: str = "no such file"):
    return Finish(
        job_id=job_id(number),
        attempt=0,
        status=JobStatus.FAILED,
        code=code,
        message=line,
    )


def test_ordered_worker_serves_the_job_when_it_is_ready(script: MachineScript):
    order = started(script.arrive(1))
    assert script.beat("home", ready(order.worker_id, status=S.STARTING)) == []
    assert script.beat("home", ready(order.worker_id, status=S.LOADING)) == []
    assert script.beat("home", ready(order.worker_id)) == dispatched(1, order.worker_id)


def test_worker_ids_are_fresh_and_in_order(script: MachineScript):
    orders = [
        started(script.arrive(number, spec=worker_spec(f"model-{number}"))) for number in (1, 2)
    ]
    assert orders[0].worker_id < orders[1].worker_id
    assert [order.revision for order in orders] == [1, 2]


def test_failed_starts_are_repeated_after_one_and_two_seconds(script: MachineScript):
    order = started(script.arrive(1))
    assert fail(script, order) == []
    assert script.wanted_ids() == []
    assert script.machine.next_alarm_at == script.at + 1
    order = started(script.tick())
    assert fail(script, order) == []
    assert script.machine.next_alarm_at == script.at + 2


def test_third_failure_in_a_row_fails_the_waiting_jobs(script: MachineScript):
    order = started(script.arrive(1))
    script.arrive(2)
    for _ in range(2):
        fail(script, order)
        order = started(script.tick())
    assert fail(script, order, "BACKEND_UNAVAILABLE") == [
        failed(1, Code.BACKEND_UNAVAILABLE),
        failed(2, Code.BACKEND_UNAVAILABLE),
    ]


def test_incompatible_model_fails_the_jobs_at_once(script: MachineScript):
    order = started(script.arrive(1))
    assert fail(script, order, "MODEL_INCOMPATIBLE") == [failed(1, Code.MODEL_INCOMPATIBLE)]


def test_failure_without_words_is_told_in_ours(script: MachineScript):
    limits = MachineLimits(start_attempts=1)
    script = MachineScript(limits)
    script.register()
    order = started(script.arrive(1))
    answer = script.beat("home", ready(order.worker_id, status=S.STOPPED, error_code="ODD"))
    line = "worker worker-cpu-0 was stopped before it was ready"
    assert answer == [failed(1, line=line)]


def test_success_forgets_earlier_failures(script: MachineScript):
    order = started(script.arrive(1))
    for _ in range(2):
        fail(script, order)
        order = started(script.tick())
    script.beat("home", ready(order.worker_id))
    script.end(1)
    script.beat("home")
    order = started(script.arrive(2))
    assert fail(script, order) == []
    assert script.machine.next_alarm_at == script.at + 1


def test_dead_worker_that_is_still_reported_counts_once(script: MachineScript):
    order = started(script.arrive(1))
    fail(script, order)
    fail(script, order)
    assert script.machine.next_alarm_at == script.at + 1


def test_worker_that_vanishes_before_it_is_ready_is_a_failed_start(script: MachineScript):
    order = started(script.arrive(1))
    script.beat("home", ready(order.worker_id, status=S.LOADING))
    assert script.beat("home") == []
    assert script.machine.next_alarm_at == script.at + 1


def test_worker_that_dies_after_it_was_ready_is_no_failed_start(script: MachineScript):
    order = started(script.arrive(1))
    script.arrive(2)
    script.beat("home", ready(order.worker_id))
    again = started(fail(script, order))
    assert again.worker_id != order.worker_id


def test_failure_on_one_pool_sends_the_next_try_to_another(script: MachineScript):
    script.register("barn")
    order = started(script.arrive(1))
    assert order.pool_id == "barn"
    script.beat("barn", worker_report(order.worker_id, status=S.FAILED))
    assert started(script.tick()).pool_id == "home"


def test_refused_order_is_a_failed_start(script: MachineScript):
    order = started(script.arrive(1))
    assert script.refuse(order, Code.CONFLICT) == []
    assert script.wanted_ids() == []
    assert script.machine.next_alarm_at == script.at + 1
    assert started(script.tick()).worker_id != order.worker_id


def test_order_that_was_not_heard_stands_and_heals_with_the_next_beat(script: MachineScript):
    order = started(script.arrive(1))
    assert script.refuse(order, Code.UNREACHABLE) == []
    assert script.wanted_ids() == [order.worker_id]
    assert script.beat("home", ready(order.worker_id)) == dispatched(1, order.worker_id)


def test_refusal_after_a_report_is_late(script: MachineScript):
    order = started(script.arrive(1))
    script.beat("home", ready(order.worker_id, status=S.STARTING))
    assert script.refuse(order, Code.CONFLICT) == []
    assert script.machine.late_facts == 1
    assert script.wanted_ids() == [order.worker_id]


def test_order_without_a_report_is_given_up_after_a_minute(script: MachineScript):
    order = started(script.arrive(1))
    for at in (110.0, 120.0, 130.0, 140.0, 150.0, 159.0):
        script.at = at
        script.beat()
    assert script.machine.next_alarm_at == 160.0
    (stop,) = script.tick()
    assert stop == StopWorker(
        pool_id=order.pool_id,
        worker_id=order.worker_id,
        generation=1,
        revision=order.revision + 2,
    )
    assert script.machine.next_alarm_at == 161.0


def test_order_lost_with_its_pool_is_a_failed_start(script: MachineScript):
    script.arrive(1)
    script.tick(140.0)
    script.register("barn")
    assert script.tick(145.0) == []
    assert script.machine.next_alarm_at == 146.0
    assert started(script.tick()).pool_id == "barn"


def test_order_lost_with_a_session_is_a_failed_start(script: MachineScript):
    order = started(script.arrive(1))
    assert script.register(session=2) == []
    assert script.wanted_ids() == []
    again = started(script.tick(script.at + 1))
    assert again.worker_id != order.worker_id
    assert again.revision == 1


def test_model_that_no_pool_holds_starts_nothing():
    script = MachineScript()
    script.register(devices=())
    assert script.arrive(1) == []


def test_person_stops_a_worker_of_ours(script: MachineScript):
    script.register("home", ready("wrk_a"), session=2)
    (stop,) = script.stop_worker("wrk_a")
    assert isinstance(stop, StopWorker)
    assert stop.revision == script.machine.wanted(stop.pool_id).revision
    assert script.wanted_ids() == []
    assert started(script.arrive(1)).worker_id != "wrk_a"


def test_stopped_worker_is_not_adopted_again(script: MachineScript):
    script.register("home", ready("wrk_a"), session=2)
    script.stop_worker("wrk_a")
    script.register("home", ready("wrk_a"), session=3)
    assert script.wanted_ids() == []


def test_person_stops_a_person_s_worker(script: MachineScript):
    script.register("home", ready("wrk_a", owner=Owner.OPERATOR), session=2)
    (stop,) = script.stop_worker("wrk_a")
    assert isinstance(stop, StopWorker)
    assert stop.revision == 1


def test_stopping_an_order_under_way_takes_it_back(script: MachineScript):
    order = started(script.arrive(1))
    answer = script.stop_worker(order.worker_id)
    assert [type(command) for command in answer] == [StopWorker, StartWorker]


def test_stopping_an_unknown_worker_is_late(script: MachineScript):
    assert script.stop_worker("wrk_x") == []
    assert script.machine.late_facts == 1


def test_failed_loading_after_a_stop_is_no_failed_start(script: MachineScript):
    order = started(script.arrive(1))
    script.beat("home", ready(order.worker_id, status=S.LOADING))
    script.cancel(1)
    script.stop_worker(order.worker_id)
    script.beat("home", ready(order.worker_id, status=S.STOPPED))
    assert started(script.arrive(2))


def test_many_condemned_jobs_fail_in_bounded_batches():
    script = MachineScript(MachineLimits(settle_batch=2))
    script.register()
    order = started(script.arrive(1))
    for number in range(2, 6):
        script.arrive(number)
    assert len(fail(script, order, "MODEL_INCOMPATIBLE")) == 2
    assert script.machine.next_alarm_at == script.at
    assert [len(script.tick()) for _ in range(2)] == [2, 1]
    assert script.machine.waiting == 0


def test_second_worker_for_a_pinned_job_waits_for_the_first_to_come_up(script: MachineScript):
    script.register("barn")
    order = started(script.arrive(1, pin="home"))
    assert script.arrive(2, pin="barn") == []
    answer = script.beat("home", ready(order.worker_id))
    assert answer[:2] == dispatched(1, order.worker_id)
    assert started(answer).pool_id == "barn"
