"""Workers that misbehave: each is dealt with as it deserves, and the slow one is left in peace."""

import asyncio
from pathlib import Path

import psutil
import pytest

from orchestrator_core.contracts.pool import (
    DeviceReport,
    Owner,
    SpawnRequest,
    WorkerReport,
    WorkerStatus,
)
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms.select import current
from support.odd_workers import odd_worker
from support.supervision import HASTY, Crew, crew, processors, tiny_spec
from support.waiting import until

pytestmark = pytest.mark.e2e

FAILED, READY, PARKED = WorkerStatus.FAILED, WorkerStatus.READY, WorkerStatus.PARKED


def is_gone(report: WorkerReport) -> bool:
    assert report.pid is not None
    return current().identify(report.pid) is None


async def fails(team: Crew, report: WorkerReport) -> str:
    failed = await team.reaches(report.id, FAILED)
    assert is_gone(report)
    return failed.error_message or ""


async def test_one_that_ignores_term_is_killed_after_its_grace(tmp_path: Path) -> None:
    async with crew(tmp_path, program=odd_worker(tmp_path, "deaf")) as team:
        report = await team.ready(tiny_spec())
        stopped = await team.supervisor.stop(report.id, grace_s=0.2)
        assert not isinstance(stopped, Refusal)
        assert stopped.status is WorkerStatus.STOPPED
        assert is_gone(report)


async def test_a_loader_that_is_stuck_is_ended(tmp_path: Path) -> None:
    async with crew(tmp_path, program=odd_worker(tmp_path, "stuck"), patience=HASTY) as team:
        report = await team.spawn(tiny_spec())
        assert "stuck: nothing has moved for" in await fails(team, report)


async def test_a_loader_that_is_slow_but_moves_is_left_in_peace(tmp_path: Path) -> None:
    program = odd_worker(tmp_path, "slow")
    async with crew(tmp_path, program=program, patience=HASTY) as team:
        report = await team.spawn(tiny_spec())
        log = team.supervisor.log_path

        def lines() -> int:
            path = log(report.id)
            return len(path.read_text().splitlines()) if path else 0

        # Sixty steps of its log take several times as long as silence would have been borne.
        await until(lambda: lines() > 60, timeout_s=30, what="a long load")
        seen = team.report(report.id)
        assert seen is not None
        assert seen.status is WorkerStatus.LOADING
        program.with_suffix(".done").touch()
        assert (await team.reaches(report.id, READY)).pid == report.pid


async def test_a_green_health_without_tokens_is_not_ready(tmp_path: Path) -> None:
    async with crew(tmp_path, program=odd_worker(tmp_path, "silent"), patience=HASTY) as team:
        report = await team.spawn(tiny_spec())
        assert "stuck: nothing has moved for" in await fails(team, report)


async def test_an_answer_without_a_token_is_no_answer(tmp_path: Path) -> None:
    async with crew(tmp_path, program=odd_worker(tmp_path, "empty")) as team:
        report = await team.spawn(tiny_spec())
        assert "a first request to /v1/completions gave 200" in await fails(team, report)


async def test_a_busy_slot_without_progress_ends_the_worker(tmp_path: Path) -> None:
    program = odd_worker(tmp_path, "wedged")
    async with crew(tmp_path, program=program, patience=HASTY) as team:
        report = await team.ready(tiny_spec().model_copy(update={"stall_s": 1.0}))
        program.with_suffix(".steps").touch()
        assert "wedged: 1 busy slots and no progress" in await fails(team, report)
        failed = team.report(report.id)
        assert failed is not None
        assert failed.error_code == Code.WORKER_LOST


async def test_a_busy_worker_that_moves_is_left_in_peace(tmp_path: Path) -> None:
    program = odd_worker(tmp_path, "busy")
    async with crew(tmp_path, program=program, patience=HASTY) as team:
        report = await team.ready(tiny_spec().model_copy(update={"stall_s": 1.0}))
        steps = program.with_suffix(".steps")

        def looked() -> bool:
            text = steps.read_text() if steps.exists() else ""
            return bool(text) and int(text) > 40

        # Forty looks take twice as long as a standstill would have been borne.
        await until(looked, timeout_s=30, what="many looks")
        seen = team.report(report.id)
        assert seen is not None
        assert (seen.status, seen.slots_busy) == (READY, 1)


async def test_one_that_keeps_ending_is_parked_with_its_reason(tmp_path: Path) -> None:
    program = odd_worker(tmp_path, "frail")
    async with crew(tmp_path, program=program, restarts=True) as team:
        report = await team.ready(tiny_spec())
        psutil.Process(report.pid).kill()
        parked = await team.reaches(report.id, PARKED)
        assert parked.incarnation == 3
        message = parked.error_message or ""
        assert "fatal: the same fault again" in message
        assert "twice in the same way" in message
        stopped = await team.supervisor.stop(report.id, grace_s=1)
        assert not isinstance(stopped, Refusal)
        assert team.supervisor.reports() == []
    async with crew(tmp_path, program=program, restarts=True) as team:
        assert team.supervisor.reports() == []


async def test_a_parked_worker_stays_down_over_a_restart_of_the_daemon(tmp_path: Path) -> None:
    program = odd_worker(tmp_path, "frail")
    async with crew(tmp_path, program=program, restarts=True, leave_workers=True) as team:
        report = await team.ready(tiny_spec())
        psutil.Process(report.pid).kill()
        parked = await team.reaches(report.id, PARKED)
    async with crew(tmp_path, program=program, restarts=True) as team:
        after = await team.reaches(report.id, PARKED)
        assert (after.id, after.incarnation) == (parked.id, parked.incarnation)
        assert "the same fault again" in (after.error_message or "")


async def test_a_stop_ends_the_rest_before_the_next_start(tmp_path: Path) -> None:
    program = odd_worker(tmp_path, "sound")
    async with crew(tmp_path, program=program, restarts=True) as team:
        report = await team.ready(tiny_spec())
        psutil.Process(report.pid).kill()
        await team.reaches(report.id, FAILED)
        assert not isinstance(await team.supervisor.stop(report.id, grace_s=1), Refusal)
        assert team.supervisor.reports() == []


async def test_a_storm_of_orders_gives_each_worker_its_own_place(tmp_path: Path) -> None:
    async with crew(tmp_path, program=odd_worker(tmp_path, "sound")) as team:
        order = SpawnRequest(spec=tiny_spec())
        async with asyncio.TaskGroup() as storm:
            asked = [
                storm.create_task(team.supervisor.spawn(order, Owner.OPERATOR)) for _ in range(20)
            ]
        reports = [_report(task.result()) for task in asked]
        for given in ("port", "name", "pid"):
            assert len({getattr(report, given) for report in reports}) == 20
        for report in reports:
            await team.reaches(report.id, READY)
        assert await team.supervisor.stop_all(5) == 20
        assert all(is_gone(report) for report in reports)


def small_host() -> list[DeviceReport]:
    """A host with room for a few tiny workers."""
    (found,) = processors()
    return [found.model_copy(update={"memory_free_bytes": 400 << 20})]


async def test_a_storm_is_never_promised_more_memory_than_there_is(tmp_path: Path) -> None:
    program = odd_worker(tmp_path, "stuck")
    async with crew(tmp_path, program=program, probe=small_host) as team:
        order = SpawnRequest(spec=tiny_spec())
        async with asyncio.TaskGroup() as storm:
            asked = [
                storm.create_task(team.supervisor.spawn(order, Owner.OPERATOR)) for _ in range(20)
            ]
        refused = [it for it in (task.result() for task in asked) if isinstance(it, Refusal)]
        assert 0 < len(refused) < 20
        assert {refusal.code for refusal in refused} == {Code.NO_CAPACITY}


def _report(answer: WorkerReport | Refusal) -> WorkerReport:
    assert not isinstance(answer, Refusal), answer
    return answer
