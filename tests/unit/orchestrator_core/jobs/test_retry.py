"""Second chances and their end."""

import pytest

from orchestrator_core.errors import Code
from orchestrator_core.ids import WorkerId
from orchestrator_core.jobs.retry import (
    RetryDecision,
    counts_as_failure,
    decide_retry,
    retry_delay_s,
)
from orchestrator_core.testing.facts import job_id

A, B = WorkerId("wrk_a"), WorkerId("wrk_b")


def decide(
    reason: Code = Code.WORKER_LOST,
    *,
    retriable: bool = True,
    failures: int = 1,
    lost_on: tuple[tuple[WorkerId, int], ...] = (),
) -> RetryDecision:
    return decide_retry(
        reason=reason,
        message="it broke",
        retriable=retriable,
        failures=failures,
        lost_on=lost_on,
        max_attempts=3,
    )


def test_tries_again_while_attempts_are_left():
    assert decide(failures=2, lost_on=((A, 1),)).retry


def test_engine_refusal_ends_the_job_with_its_words():
    decision = decide(Code.INVALID_REQUEST, retriable=False)
    assert decision == RetryDecision(retry=False, code=Code.INVALID_REQUEST, message="it broke")


def test_third_failure_is_the_last():
    decision = decide(Code.WORKER_REFUSED, failures=3)
    line = "3 attempts came to nothing; the last: WORKER_REFUSED: it broke"
    assert decision == RetryDecision(retry=False, code=Code.ATTEMPTS_EXHAUSTED, message=line)


def test_job_that_killed_two_workers_is_poison():
    decision = decide(failures=2, lost_on=((B, 1), (A, 1)))
    assert decision.code is Code.POISON
    assert not decision.retry
    assert decision.message == ("2 worker processes died while they ran this job (wrk_a, wrk_b)")


def test_two_incarnations_of_one_worker_count_as_two():
    assert decide(failures=2, lost_on=((A, 1), (A, 2))).code is Code.POISON


def test_our_restart_is_never_held_against_a_job():
    assert decide(Code.ORCHESTRATOR_RESTART, retriable=False, failures=9).retry
    assert not counts_as_failure(Code.ORCHESTRATOR_RESTART)
    assert counts_as_failure(Code.TIMEOUT)


def pause_s(failures: int, *, number: int = 1, attempt: int = 1) -> float:
    return retry_delay_s(
        job_id(number), attempt, failures=failures, backoff_s=0.5, backoff_max_s=30.0
    )


def test_first_retry_does_not_pause():
    assert pause_s(1) == 0.0


@pytest.mark.parametrize(("failures", "about_s"), [(2, 0.5), (3, 1.0), (4, 2.0), (9, 30.0)])
def test_pause_doubles_up_to_its_bound(failures: int, about_s: float):
    pauses = [pause_s(failures, number=number) for number in range(200)]
    assert all(0.75 * about_s <= pause <= 1.25 * about_s for pause in pauses)
    assert max(pauses) - min(pauses) > 0.3 * about_s


def test_pause_is_the_same_whenever_it_is_asked():
    assert pause_s(3, number=5, attempt=3) == pause_s(3, number=5, attempt=3)
    assert pause_s(3, number=5, attempt=3) != pause_s(3, number=5, attempt=4)
