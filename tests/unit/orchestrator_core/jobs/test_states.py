"""The table of job states."""

import pytest

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.jobs.notes import Note
from orchestrator_core.jobs.states import MOVES, TERMINAL, InvalidTransition, move


def test_table_names_every_status():
    assert set(MOVES) == set(JobStatus)


def test_nothing_leaves_a_terminal_state():
    terminal = {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.EXPIRED}
    assert terminal == TERMINAL


def test_only_a_running_job_completes():
    sources = {status for status, targets in MOVES.items() if JobStatus.COMPLETED in targets}
    assert sources == {JobStatus.RUNNING}


def test_move_returns_the_new_state():
    assert move(JobStatus.QUEUED, JobStatus.DISPATCHED) is JobStatus.DISPATCHED


def test_invalid_move_tells_the_story():
    story = [Note(1.0, "attempt {} went to {}", (1, "wrk_a"))]
    with pytest.raises(InvalidTransition) as caught:
        move(JobStatus.COMPLETED, JobStatus.QUEUED, subject="job_1", story=story)
    assert str(caught.value) == (
        "job_1 cannot go from completed to queued\n  attempt 1 went to wrk_a"
    )
    assert caught.value.story == tuple(story)
