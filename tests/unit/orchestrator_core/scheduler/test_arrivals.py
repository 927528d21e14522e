"""Jobs that come, come back, and are cancelled."""

import pytest

from orchestrator_core.contracts.tasks import JobStatus, Priority
from orchestrator_core.errors import Code
from orchestrator_core.scheduler.commands import Finish, StartWorker
from orchestrator_core.testing.facts import job_id
from orchestrator_core.testing.reports import worker_spec
from support.machine_script import MachineScript, closes, dispatched, ready, requeued, started


@pytest.fixture
def script() -> MachineScript:
    return MachineScript()


def cancelled(number: int, attempt: int = 0, message: str = "the job was cancelled") -> Finish:
    return Finish(
        job_id=job_id(number),
        attempt=attempt,
        status=JobStatus.CANCELLED,
        code=Code.CANCELLED,
        message=message,
    )


def expired(number: int, attempt: int = 0, verb: str = "waited") -> Finish:
    return Finish(
        job_id=job_id(number),
        attempt=attempt,
        status=JobStatus.EXPIRED,
        code=Code.EXPIRED,
        message=f"the deadline passed while the job {verb}",
    )


def test_job_goes_at_once_to_a_ready_worker(script: MachineScript):
    script.register("home", ready("wrk_a"))
    assert script.arrive(1) == dispatched(1, "wrk_a")
    assert script.machine.job_status(job_id(1)) is JobStatus.DISPATCHED
    assert script.machine.worker_of(job_id(1)) == "wrk_a"


def test_job_waits_when_all_slots_are_taken(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    assert script.arrive(2) == []
    assert script.machine.position(job_id(2)) == 1
    assert script.machine.waiting == 1


def test_job_waits_when_no_pool_has_registered(script: MachineScript):
    assert script.arrive(1) == []
    assert script.machine.job_status(job_id(1)) is JobStatus.QUEUED


def test_job_without_a_worker_makes_one_start(script: MachineScript):
    script.register()
    (order,) = script.arrive(1)
    assert order == StartWorker(
        pool_id="home",
        worker_id=order.worker_id,
        generation=1,
        revision=1,
        spec=worker_spec(),
    )
    assert script.wanted_ids() == [order.worker_id]


def test_second_job_joins_the_start_of_the_first(script: MachineScript):
    script.register()
    order = started(script.arrive(1))
    assert script.arrive(2) == []
    script.beat("home", ready(order.worker_id, status="loading"))
    assert script.arrive(3) == []


def test_jobs_of_two_models_do_not_wait_for_each_other(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1, spec=worker_spec("tiny-story"))
    assert script.arrive(2) == dispatched(2, "wrk_a")


def test_least_busy_worker_gets_the_job(script: MachineScript):
    script.register("home", ready("wrk_a", slots=2), ready("wrk_b", slots=2))
    sent = [script.arrive(number)[1].worker_id for number in (1, 2, 3, 4)]
    assert sent == ["wrk_a", "wrk_b", "wrk_a", "wrk_b"]


def test_same_job_arriving_twice_is_one_job(script: MachineScript):
    script.arrive(1)
    assert script.arrive(1) == []
    assert script.machine.waiting == 1
    assert script.machine.late_facts == 1


def test_job_that_arrives_too_late_expires_at_once(script: MachineScript):
    script.register("home", ready("wrk_a"))
    assert script.arrive(1, deadline_at=script.at) == [expired(1)]
    assert script.machine.next_alarm_at == script.at + 15


def test_pinned_job_waits_for_its_pool_and_holds_up_nobody(script: MachineScript):
    script.register("home", ready("wrk_a"))
    assert script.arrive(1, pin="barn") == []
    assert script.arrive(2) == dispatched(2, "wrk_a")
    script.arrive(3)
    assert script.machine.position(job_id(3)) == 1
    assert started(script.register("barn")).pool_id == "barn"


def test_pinned_job_takes_its_turn_on_its_pool(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.register("barn", ready("wrk_b"))
    script.arrive(1, pin="barn")
    script.arrive(2)
    script.arrive(3)
    script.arrive(4, pin="barn")
    script.arrive(5)
    assert script.end(2)[2:] == dispatched(3, "wrk_a")
    assert script.end(1)[2:] == dispatched(4, "wrk_b", pool="barn")
    assert script.end(4)[2:] == dispatched(5, "wrk_b", pool="barn")


def test_wide_job_waits_for_all_its_slots_and_is_not_overtaken(script: MachineScript):
    script.register("home", ready("wrk_a", slots=3))
    for number in (1, 2):
        script.arrive(number)
    assert script.arrive(3, slots=2) == []
    assert script.arrive(4) == []
    assert script.end(1)[2:] == dispatched(3, "wrk_a")
    assert script.end(2)[2:] == dispatched(4, "wrk_a")


def test_job_wider_than_the_worker_takes_all_of_it(script: MachineScript):
    script.register("home", ready("wrk_a", slots=2))
    assert script.arrive(1, slots=9) == dispatched(1, "wrk_a")
    assert script.arrive(2) == []


def test_cancelled_wide_job_lets_the_next_pass(script: MachineScript):
    script.register("home", ready("wrk_a", slots=2))
    script.arrive(1)
    script.arrive(2, slots=2)
    script.arrive(3)
    assert script.cancel(2) == [cancelled(2), *dispatched(3, "wrk_a")]


def test_cancel_of_a_waiting_job_ends_it(script: MachineScript):
    script.arrive(1)
    assert script.cancel(1) == [cancelled(1)]
    assert script.machine.job_status(job_id(1)) is None


def test_cancel_of_a_running_job_closes_it_and_serves_the_next(script: MachineScript):
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.arrive(2)
    script.accept(1)
    assert script.cancel(1) == [
        closes(1, "wrk_a"),
        cancelled(1, attempt=1),
    ]
    assert script.seen_idle(1, "wrk_a") == dispatched(2, "wrk_a")


def test_cancel_of_an_unknown_or_ended_job_does_nothing(script: MachineScript):
    script.arrive(1)
    script.cancel(1)
    assert script.cancel(1) == []
    assert script.cancel(9) == []


def test_restored_job_keeps_its_place(script: MachineScript):
    for number in (1, 2, 3):
        script.restore(number)
    assert [script.machine.position(job_id(number)) for number in (1, 2, 3)] == [1, 2, 3]
    assert script.register("home", ready("wrk_a", slots=2)) == [
        *dispatched(1, "wrk_a"),
        *dispatched(2, "wrk_a"),
    ]


def test_attempt_that_lived_is_over_after_a_restart(script: MachineScript):
    line = "the orchestrator restarted while the attempt ran"
    assert script.restore(1, attempt=2, was_alive=True, tokens_kept=7) == [
        requeued(1, 2, reason=Code.ORCHESTRATOR_RESTART, message=line, tokens=7)
    ]
    assert script.register("home", ready("wrk_a")) == dispatched(1, "wrk_a", attempt=3)


def test_restart_costs_a_job_none_of_its_attempts(script: MachineScript):
    script.restore(1, attempt=3, was_alive=True)
    script.register("home", ready("wrk_a"))
    answer = script.break_off(1, 4, reason=Code.WORKER_REFUSED)
    assert answer[0] == requeued(1, 4, reason=Code.WORKER_REFUSED)


def test_restored_job_that_was_to_be_cancelled_ends(script: MachineScript):
    line = "the job was cancelled before the orchestrator restarted"
    answer = script.restore(1, attempt=1, was_alive=True, cancel_requested=True)
    assert answer == [cancelled(1, attempt=1, message=line)]


def test_job_restored_twice_is_one_job(script: MachineScript):
    script.restore(1)
    assert script.restore(1) == []
    assert script.machine.late_facts == 1


def test_deadline_may_pass_while_the_orchestrator_is_down(script: MachineScript):
    answer = script.restore(1, attempt=1, was_alive=True, deadline_at=script.at - 1)
    assert answer == [expired(1, attempt=1)]
    assert script.machine.next_alarm_at is None


def places(script: MachineScript, *numbers: int) -> list[int | None]:
    return [script.machine.position(job_id(number)) for number in numbers]


def test_places_of_batch_jobs_are_behind_everybody_else(script: MachineScript):
    script.arrive(1, priority=Priority.BATCH)
    script.arrive(2)
    script.arrive(3)
    assert places(script, 1, 2, 3) == [3, 1, 2]


def test_places_tell_of_aged_batch_jobs_that_take_every_other_turn(script: MachineScript):
    script.arrive(1, priority=Priority.BATCH)
    script.arrive(2, priority=Priority.BATCH)
    script.at += 400
    script.arrive(3)
    script.arrive(4)
    assert places(script, 1, 3, 2, 4) == [1, 2, 3, 4]
