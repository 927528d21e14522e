"""The log of what happens to jobs: one line each, after its COMMIT, and no text of anybody."""

import asyncio
import json
from typing import Any

import pytest
import structlog

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.testing.clocks import FakeClock
from orchestratord.runtime.upkeep.diary import Diary
from orchestratord.store.memory import MemoryStore
from orchestratord.store.writes import MarkRequeued, RecordUsage, RequestCancel
from support.stored_jobs import (
    admission,
    apply,
    dispatched,
    finish,
    job_id,
    new_job,
    running,
    token,
    usage,
)

CANARY = "a word that nobody may log"


class Kept:
    """The store, its diary, and what that wrote."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.store = MemoryStore()
        self.diary = Diary(clock=FakeClock(), write=self.pieces.append)
        self.store.on_applied = self.diary.note

    async def lines(self) -> list[dict[str, Any]]:
        """All lines so far."""
        await asyncio.sleep(0)
        self.diary.flush()
        return [json.loads(line) for line in b"".join(self.pieces).splitlines()]


@pytest.fixture
async def kept() -> Kept:
    return Kept()


def requeued(number: int) -> MarkRequeued:
    return MarkRequeued(
        job_id=job_id(number),
        attempt=1,
        reason=Code.WORKER_LOST,
        message=CANARY,
        tokens=3,
        at_ms=5,
    )


async def test_each_change_of_a_jobs_state_is_one_line(kept: Kept) -> None:
    await apply(kept.store, admission(new_job(1, prompt=CANARY)), dispatched(1), running(1))
    await apply(kept.store, token(1, 3), requeued(1), dispatched(1, attempt=2))
    await apply(kept.store, RequestCancel(job_id=job_id(1), at_ms=7))
    await apply(kept.store, finish(1, attempt=2, seq=4, status=JobStatus.CANCELLED))
    lines = await kept.lines()
    assert [line["event"] for line in lines] == [
        "job.admitted",
        "job.dispatched",
        "job.running",
        "attempt.broken",
        "job.requeued",
        "job.dispatched",
        "job.cancel_requested",
        "job.finished",
    ]
    assert {line["job_id"] for line in lines} == {job_id(1)}
    assert (lines[1]["pool"], lines[1]["worker"], lines[1]["attempt"]) == ("home", "wrk_a", 1)
    assert (lines[3]["code"], lines[3]["tokens"]) == ("WORKER_LOST", 3)
    assert (lines[-1]["status"], lines[-1]["attempt"]) == ("cancelled", 2)
    assert all(line["level"] == "info" and line["timestamp"].endswith("Z") for line in lines)


async def test_no_line_carries_a_text(kept: Kept) -> None:
    await apply(kept.store, admission(new_job(1, prompt=CANARY)), dispatched(1), requeued(1))
    await apply(kept.store, finish(1, attempt=1))
    await kept.lines()
    logged = b"".join(kept.pieces)
    assert CANARY.encode() not in logged
    assert b"Hello!" not in logged


async def test_an_admission_carries_the_correlation_id_of_its_request(kept: Kept) -> None:
    with structlog.contextvars.bound_contextvars(correlation_id="mine"):
        admitted = kept.store.submit(admission(1))
    await admitted
    assert (await kept.lines())[0]["correlation_id"] == "mine"


async def test_a_refused_write_and_one_without_effect_are_no_lines(kept: Kept) -> None:
    await apply(kept.store, admission(1), RequestCancel(job_id=job_id(9), at_ms=7))
    kept.store.submit(admission(1)).add_done_callback(lambda future: future.exception())
    kept.store.post(dispatched(1, attempt=7), lambda _: None)
    await apply(kept.store, admission(2))
    assert [line["event"] for line in await kept.lines()] == ["job.admitted", "job.admitted"]


async def test_a_call_that_is_not_stored_is_one_line_at_its_end(kept: Kept) -> None:
    kept.store.post(RecordUsage(usage(1)))
    await apply(kept.store, admission(2))
    line = (await kept.lines())[0]
    assert (line["event"], line["job_id"], line["status"]) == ("call.ended", job_id(1), "completed")
    assert (line["worker"], line["tokens_out"], line["duration_ms"]) == ("wrk_a", 5, 4000)


async def test_lines_of_one_round_leave_in_one_piece(kept: Kept) -> None:
    for number in range(1, 50):
        kept.store.post(RecordUsage(usage(number)))
    await apply(kept.store, admission(99))
    assert len(await kept.lines()) == 50
    assert len(kept.pieces) <= 2
