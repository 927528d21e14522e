"""Pools that contradict themselves: what they say of a worker is refused, and nothing is stuck."""

from orchestrator_core.cluster.workers import ServiceKey
from orchestrator_core.contracts.pool import Owner, WorkerStatus
from orchestrator_core.contracts.tasks import Priority, TaskKind
from orchestrator_core.scheduler.limits import MachineLimits
from orchestrator_core.testing.facts import job_id
from orchestrator_core.testing.reports import worker_report, worker_spec
from support.machine_script import MachineScript, dispatched, ready, started

TINY = ServiceKey("tiny-chat", TaskKind.GENERATE)
OTHER = worker_spec("other-model")
OLD = ready("wrk_a", owner=Owner.OPERATOR)
NEW = worker_report("wrk_a", spec=OTHER, owner=Owner.OPERATOR, incarnation=2)


def test_worker_of_a_pool_that_is_heard_again_takes_work_though_its_report_is_refused():
    script = MachineScript()
    script.register("home", ready("wrk_a", incarnation=2))
    script.tick(115.0)
    script.arrive(1)
    assert script.beat("home", ready("wrk_a", incarnation=1)) == dispatched(
        1, "wrk_a", incarnation=2
    )


def test_id_that_returns_for_another_model_gets_none_of_the_old_jobs():
    script = MachineScript()
    script.register("home", OLD)
    script.beat("home", NEW)
    assert started(script.arrive(1)).worker_id != "wrk_a"
    assert script.arrive(2, spec=OTHER) == dispatched(2, "wrk_a", incarnation=2)


def test_slots_that_the_old_model_still_holds_are_counted_for_the_new_one():
    script = MachineScript()
    script.register("home", OLD)
    script.arrive(1)
    script.beat("home", NEW)
    assert script.arrive(2, spec=OTHER) == []
    script.break_off(1)
    assert script.machine.worker_of(job_id(2)) == "wrk_a"


def test_order_on_a_silent_pool_is_not_given_up_before_the_pool_is():
    script = MachineScript(MachineLimits(suspect_after_s=15.0, lost_after_s=200.0))
    script.register("home")
    script.register("barn", devices=())
    order = started(script.arrive(1))
    script.tick(170.0)
    assert script.machine.worker(order.worker_id) is not None
    script.beat("home", ready(order.worker_id))
    assert script.machine.worker_of(job_id(1)) == order.worker_id


def test_load_on_a_silent_pool_is_not_given_up_before_the_pool_is():
    script = MachineScript(MachineLimits(lost_after_s=200.0, load_timeout_s=30.0))
    script.register("home")
    order = started(script.arrive(1))
    script.beat("home", ready(order.worker_id, status=WorkerStatus.LOADING))
    script.tick(150.0)
    assert script.beat("home", ready(order.worker_id)) == dispatched(1, order.worker_id)


def test_worker_that_is_met_when_it_serves_says_nothing_about_loading():
    script = MachineScript()
    script.register("home", ready("wrk_a"))
    script.stop_worker("wrk_a")
    assert script.machine.forecast(TINY, None, Priority.BATCH).start_in_s is None


def test_models_that_nobody_asks_for_again_are_forgotten():
    script = MachineScript(validate=False)
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.arrive(2)
    for number in range(3, 1003):
        script.arrive(number, spec=worker_spec(f"model-{number}"), pin="nowhere")
        script.cancel(number)
    assert len(script.machine.state.services) == 1001
    script.tick()
    assert list(script.machine.state.services) == [TINY]
    script.beat("home", ready("wrk_a"))
    assert script.end(1)[2:] == dispatched(2, "wrk_a")
