"""Slots of attempts that were cut short stay taken until the worker is seen to have let go."""

import pytest

from orchestrator_core.contracts.pool import Owner, WorkerReport, WorkerStatus
from orchestrator_core.errors import Code
from orchestrator_core.testing.facts import job_id
from orchestrator_core.testing.reports import worker_report, worker_spec
from support.machine_script import MachineScript, closes, dispatched, ready, requeued


@pytest.fixture
def script() -> MachineScript:
    """One worker with one slot, on which job 1 runs; job 2 waits."""
    script = MachineScript()
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.accept(1)
    script.arrive(2)
    return script


def used(script: MachineScript, worker_id: str = "wrk_a") -> int:
    return next(it.slots_used for it in script.machine.workers() if it.worker_id == worker_id)


def test_cancelled_attempt_keeps_its_slot_until_it_is_seen_idle(script: MachineScript):
    answer = script.cancel(1)
    assert answer[0] == closes(1, "wrk_a")
    assert len(answer) == 2
    assert used(script) == 1
    assert script.seen_idle(1, "wrk_a") == dispatched(2, "wrk_a")


def test_slot_is_given_back_only_once(script: MachineScript):
    script.cancel(1)
    script.seen_idle(1, "wrk_a")
    before = script.machine.late_facts
    assert script.seen_idle(1, "wrk_a") == []
    assert script.machine.late_facts == before + 1
    assert used(script) == 1


def test_broken_attempt_that_still_computes_is_retried_elsewhere(script: MachineScript):
    script.cancel(2)
    script.register("barn", ready("wrk_b"))
    answer = script.break_off(1, reason=Code.TIMEOUT, computing=True)
    assert answer == [
        requeued(1, reason=Code.TIMEOUT),
        *dispatched(1, "wrk_b", attempt=2, pool="barn"),
    ]
    assert used(script) == 1
    assert script.seen_idle(1, "wrk_a") == []
    assert used(script) == 0


def test_job_may_come_back_to_the_worker_that_still_holds_its_old_attempt():
    script = MachineScript()
    script.register("home", ready("wrk_a", slots=2))
    script.arrive(1)
    script.arrive(2)
    answer = script.break_off(1, reason=Code.TIMEOUT, computing=True)
    assert answer == [requeued(1, reason=Code.TIMEOUT)]
    assert script.end(2)[2:] == dispatched(1, "wrk_a", attempt=2)
    assert used(script) == 2
    script.seen_idle(1, "wrk_a")
    assert used(script) == 1


def test_final_break_of_an_attempt_that_still_computes_keeps_its_slot(script: MachineScript):
    answer = script.break_off(1, reason=Code.ENGINE_ERROR, retriable=False, computing=True)
    assert len(answer) == 1
    assert used(script) == 1


@pytest.mark.parametrize(
    "report",
    [
        ready("wrk_a", incarnation=2),
        ready("wrk_a", status=WorkerStatus.FAILED),
    ],
)
def test_new_or_dead_process_frees_what_the_old_one_held(
    script: MachineScript, report: WorkerReport
):
    script.cancel(1)
    script.beat("home", report)
    assert used(script) == (0 if report.status is WorkerStatus.FAILED else 1)
    assert script.machine.state.slots.of(report.id).lingering == set()
    assert script.seen_idle(1, "wrk_a") == []


def test_worker_that_leaves_holds_nothing_back(script: MachineScript):
    script.cancel(1)
    script.beat("home")
    answer = script.register("home", ready("wrk_a"), session=2)
    assert answer[:2] == dispatched(2, "wrk_a")


def test_lost_pool_frees_what_lingers_on_its_workers(script: MachineScript):
    script.cancel(1)
    script.tick(115.0)
    script.tick(145.0)
    assert script.machine.state.slots.items() == []
    assert script.seen_idle(1, "wrk_a") == []


def test_engine_that_somebody_else_runs_is_free_at_once():
    spec = worker_spec().model_copy(update={"engine": "openai"})
    script = MachineScript()
    script.register("home", worker_report("wrk_x", spec=spec, owner=Owner.OPERATOR))
    script.arrive(1, spec=spec)
    script.arrive(2, spec=spec)
    assert script.cancel(1)[2:] == dispatched(2, "wrk_x")


def test_waiting_job_is_told_that_a_slot_is_being_let_go(script: MachineScript):
    script.cancel(1)
    line = "worker wrk_a has 0 of 1 slots free; 1 slot of it is being let go"
    assert line in script.machine.explain(job_id(2))
