"""Facts of the pumps."""

from dataclasses import replace

import pytest

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.scheduler.commands import Command, Finish
from orchestrator_core.scheduler.events import AttemptProgress, FirstToken
from orchestrator_core.testing.facts import job_id
from support.machine_script import (
    TIMINGS,
    USAGE,
    MachineScript,
    closes,
    dispatched,
    ready,
    requeued,
    runs,
)


@pytest.fixture
def script() -> MachineScript:
    """One worker with one slot, job 1 on it, job 2 waiting."""
    script = MachineScript()
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    script.arrive(2)
    return script


def completed(number: int, attempt: int = 1) -> Finish:
    return Finish(
        job_id=job_id(number),
        attempt=attempt,
        status=JobStatus.COMPLETED,
        stop_reason="stop",
        tokens_out=5,
        usage=USAGE,
        timings=TIMINGS,
    )


def failed(number: int, attempt: int, code: Code, message: str) -> Finish:
    return Finish(
        job_id=job_id(number),
        attempt=attempt,
        status=JobStatus.FAILED,
        code=code,
        message=message,
    )


def test_accepted_attempt_runs(script: MachineScript):
    assert script.accept(1) == [runs(1, "wrk_a")]
    assert script.machine.job_status(job_id(1)) is JobStatus.RUNNING


def test_ended_attempt_completes_the_job_and_serves_the_next(script: MachineScript):
    script.accept(1)
    assert script.end(1) == [completed(1), *dispatched(2, "wrk_a")]
    assert script.machine.job_status(job_id(1)) is None


def test_answer_may_end_before_its_head_was_reported(script: MachineScript):
    assert script.end(1)[:2] == [runs(1, "wrk_a"), completed(1)]


def test_first_token_and_progress_order_nothing(script: MachineScript):
    job, at = job_id(1), script.at
    assert script.post(FirstToken(at=at, job_id=job, attempt=1)) == []
    assert script.post(AttemptProgress(at=at, job_id=job, attempt=1, tokens=9)) == []
    assert script.post(AttemptProgress(at=at, job_id=job, attempt=1, tokens=4)) == []
    finish = script.cancel(1)[1]
    assert isinstance(finish, Finish)
    assert finish.tokens_out == 9


def test_broken_attempt_returns_the_job_to_its_old_place(script: MachineScript):
    assert script.break_off(1, tokens_kept=3) == [requeued(1, tokens=3)]
    assert [script.machine.position(job_id(number)) for number in (1, 2)] == [1, 2]


def test_broken_attempt_goes_on_at_another_worker(script: MachineScript):
    script.register("barn", ready("wrk_b", slots=2))
    assert script.break_off(1) == [
        requeued(1),
        *dispatched(1, "wrk_b", attempt=2, pool="barn"),
    ]


def test_refused_attempt_may_return_to_the_same_worker(script: MachineScript):
    assert script.break_off(1, reason=Code.WORKER_REFUSED) == [
        requeued(1, reason=Code.WORKER_REFUSED),
        *dispatched(1, "wrk_a", attempt=2),
    ]


def test_engine_refusal_fails_the_job_with_its_words(script: MachineScript):
    answer = script.break_off(1, reason=Code.CONTEXT_EXCEEDED, retriable=False)
    assert answer == [
        failed(1, 1, Code.CONTEXT_EXCEEDED, "connection reset"),
        *dispatched(2, "wrk_a"),
    ]


def test_third_failed_attempt_is_the_last(script: MachineScript):
    script.break_off(1, 1, reason=Code.WORKER_REFUSED)
    script.break_off(1, 2, reason=Code.WORKER_REFUSED)
    script.end(2)
    assert script.tick(script.at + 1) == dispatched(1, "wrk_a", attempt=3)
    script.arrive(3)
    line = "3 attempts came to nothing; the last: WORKER_REFUSED: connection reset"
    answer = script.break_off(1, 3, reason=Code.WORKER_REFUSED)
    assert answer == [failed(1, 3, Code.ATTEMPTS_EXHAUSTED, line), *dispatched(3, "wrk_a")]


def test_job_that_takes_two_workers_with_it_is_poison(script: MachineScript):
    script.register("barn", ready("wrk_b"))
    script.end(2)
    script.break_off(1)
    answer = script.break_off(1, 2)
    line = "2 worker processes died while they ran this job (wrk_a, wrk_b)"
    assert failed(1, 2, Code.POISON, line) in answer


def test_our_restart_costs_no_attempt(script: MachineScript):
    for attempt in range(1, 6):
        answer = script.break_off(1, attempt, reason=Code.ORCHESTRATOR_RESTART, retriable=False)
        assert answer[1:] == dispatched(1, "wrk_a", attempt=attempt + 1)


def test_worker_that_lost_a_connection_gets_nothing_until_a_later_word(script: MachineScript):
    script.break_off(1)
    assert script.beat("home", ready("wrk_a")) == []
    script.at += 0.1
    assert script.beat("home", ready("wrk_a")) == dispatched(1, "wrk_a", attempt=2)


def test_worker_nobody_could_reach_gets_nothing_either(script: MachineScript):
    answer = script.break_off(1, reason=Code.UNREACHABLE)
    assert answer == [requeued(1, reason=Code.UNREACHABLE)]


def test_worker_that_still_loads_gets_nothing_until_a_later_word(script: MachineScript):
    answer = script.break_off(1, reason=Code.LOADING)
    assert answer == [requeued(1, reason=Code.LOADING)]
    script.at += 0.1
    assert script.beat("home", ready("wrk_a")) == dispatched(1, "wrk_a", attempt=2)


def test_new_process_of_a_lost_worker_gets_work(script: MachineScript):
    script.break_off(1)
    answer = script.beat("home", ready("wrk_a", incarnation=2))
    assert answer == dispatched(1, "wrk_a", attempt=2, incarnation=2)


def test_deadline_of_a_running_job_closes_it():
    script = MachineScript()
    script.register("home", ready("wrk_a"))
    script.arrive(1, deadline_at=105.0)
    script.arrive(2)
    script.accept(1)
    assert script.machine.next_alarm_at == 105.0
    assert script.tick() == [
        closes(1, "wrk_a"),
        Finish(
            job_id=job_id(1),
            attempt=1,
            status=JobStatus.EXPIRED,
            code=Code.EXPIRED,
            message="the deadline passed while the job ran",
        ),
    ]
    assert script.seen_idle(1, "wrk_a") == dispatched(2, "wrk_a")


def late(script: MachineScript, commands: list[Command]) -> int:
    assert commands == []
    return script.machine.late_facts


def test_facts_of_attempts_that_are_over_are_counted_and_ignored(script: MachineScript):
    script.break_off(1, reason=Code.WORKER_REFUSED)
    assert late(script, script.accept(1, attempt=1)) == 1
    assert late(script, script.end(1, attempt=1)) == 2
    assert late(script, script.break_off(1, attempt=1)) == 3
    assert late(script, script.end(9)) == 4
    script.accept(1, attempt=2)
    assert late(script, script.accept(1, attempt=2)) == 5
    script.cancel(1)
    assert late(script, script.end(1, attempt=2)) == 6


def test_waiting_job_has_no_current_attempt(script: MachineScript):
    script.break_off(1)
    assert late(script, script.end(1, attempt=1)) == 1


def test_story_of_a_job_is_bounded():
    limits = replace(MachineScript().machine.state.limits, max_attempts=100)
    script = MachineScript(limits)
    script.register("home", ready("wrk_a"))
    script.arrive(1)
    for attempt in range(1, 20):
        script.break_off(1, attempt, reason=Code.WORKER_REFUSED)
        script.tick(script.at + 40)
        script.beat("home", ready("wrk_a"))
    assert len(script.machine.state.jobs[job_id(1)].notes) == 8
