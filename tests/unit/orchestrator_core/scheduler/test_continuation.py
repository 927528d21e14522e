"""Answers that go on behind what an earlier attempt has made."""

import pytest

from orchestrator_core.errors import Code
from orchestrator_core.scheduler.commands import Finish
from orchestrator_core.scheduler.events import AttemptProgress
from orchestrator_core.testing.facts import job_id
from support.machine_script import MachineScript, dispatched, ready, requeued


@pytest.fixture
def script() -> MachineScript:
    """Two workers; job 1 runs on the first."""
    script = MachineScript()
    script.register("home", ready("wrk_a"))
    script.register("barn", ready("wrk_b"))
    script.arrive(1)
    return script


def test_next_attempt_goes_on_behind_what_is_kept(script: MachineScript):
    answer = script.break_off(1, tokens_kept=7, resumable=True)
    assert answer == [
        requeued(1, tokens=7, kept=7),
        *dispatched(1, "wrk_b", attempt=2, pool="barn", kept=7),
    ]


def test_what_cannot_be_continued_starts_over(script: MachineScript):
    answer = script.break_off(1, tokens_kept=7)
    assert answer == [
        requeued(1, tokens=7),
        *dispatched(1, "wrk_b", attempt=2, pool="barn"),
    ]


def test_attempt_that_made_nothing_loses_nothing(script: MachineScript):
    script.break_off(1, tokens_kept=7, resumable=True)
    answer = script.break_off(1, 2, reason=Code.LOADING)
    assert answer == [requeued(1, 2, reason=Code.LOADING, tokens=7, kept=7)]


def test_each_attempt_adds_to_what_is_kept(script: MachineScript):
    script.break_off(1, tokens_kept=7, resumable=True)
    answer = script.break_off(1, 2, reason=Code.TIMEOUT, tokens_kept=9, resumable=True)
    assert answer[0] == requeued(1, 2, reason=Code.TIMEOUT, tokens=9, kept=9)


def test_tokens_count_the_whole_answer(script: MachineScript):
    script.break_off(1, tokens_kept=7, resumable=True)
    script.post(AttemptProgress(at=script.at, job_id=job_id(1), attempt=2, tokens=12))
    finish = script.cancel(1)[-1]
    assert isinstance(finish, Finish)
    assert finish.tokens_out == 12


def test_failure_without_a_word_still_tells_what_was_made(script: MachineScript):
    script.break_off(1, tokens_kept=7, resumable=True)
    (finish,) = script.break_off(1, 2, reason=Code.ENGINE_ERROR, retriable=False)
    assert isinstance(finish, Finish)
    assert finish.tokens_out == 7


def test_attempt_that_lived_before_a_restart_is_continued():
    script = MachineScript()
    (requeue,) = script.restore(1, attempt=1, was_alive=True, tokens_kept=5, resumable=True)
    assert requeue.keep_tokens == 5
    answer = script.register("home", ready("wrk_a"))
    assert answer == dispatched(1, "wrk_a", attempt=2, kept=5)


def test_job_that_waited_to_be_continued_before_a_restart_still_is():
    script = MachineScript()
    assert script.restore(1, attempt=1, tokens_kept=5, resumable=True) == []
    answer = script.register("home", ready("wrk_a"))
    assert answer == dispatched(1, "wrk_a", attempt=2, kept=5)


def test_restored_job_that_cannot_be_continued_starts_over():
    script = MachineScript()
    assert script.restore(1, attempt=1, tokens_kept=5) == []
    assert script.register("home", ready("wrk_a")) == dispatched(1, "wrk_a", attempt=2)
