"""Faults of the host and acts at the wrong moment: each hurts one worker at most, and none is lost."""

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator_core.contracts.pool import (
    DeviceReport,
    ModelFile,
    Owner,
    SpawnRequest,
    WantedSet,
    WantedWorker,
    WorkerReport,
    WorkerStatus,
)
from orchestrator_core.errors import Code, HostError, Refusal
from orchestrator_core.platforms.port import ExitWatch, PortHolder, ProcessIdentity
from orchestrator_core.platforms.select import current
from pool_core.catalog.host_models import HostModels
from pool_core.catalog.located import Located
from pool_core.workers.ledger import Ledger, WorkerRecord
from support.faults import is_alive
from support.odd_workers import odd_worker
from support.pool_builders import record, worker_id
from support.supervision import Crew, crew, kill, processors, tiny_spec
from support.waiting import until

pytestmark = pytest.mark.e2e

FAILED, READY, UNCLAIMED = WorkerStatus.FAILED, WorkerStatus.READY, WorkerStatus.UNCLAIMED
NOTHING = WantedSet(revision=2, workers=[])


def reap(report: WorkerReport) -> None:
    # The supervisor that started it lived in this process, so nobody else collects its children.
    os.waitpid(report.pid or 0, 0)


def wants(number: int) -> WantedSet:
    worker = WantedWorker(worker_id=worker_id(number), generation=1, spec=tiny_spec())
    return WantedSet(revision=1, workers=[worker])


def full_disk(
    monkeypatch: pytest.MonkeyPatch, is_refused: Callable[[WorkerRecord], bool]
) -> list[int]:
    """A disk that refuses some records; returns the pids that it was told of, before and after."""
    pids: list[int] = []
    write = Ledger.write

    def refuse(ledger: Ledger, known: WorkerRecord) -> None:
        if known.pid is not None:
            pids.append(known.pid)
        if is_refused(known):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(ledger, known)

    monkeypatch.setattr(Ledger, "write", refuse)
    return pids


async def test_a_disk_that_fills_up_right_after_the_start_costs_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = full_disk(monkeypatch, lambda known: known.pid is not None)
    program = odd_worker(tmp_path, "sound")
    async with crew(tmp_path, program=program, leave_workers=True) as team:
        before = await team.ready(tiny_spec())
        assert {before.pid} == set(pids)
    # The intent is on the disk, and by its marks the process is found again.
    async with crew(tmp_path, program=program) as team:
        assert [report.pid for report in team.supervisor.reports()] == [before.pid]
    reap(before)


@pytest.mark.parametrize("owner", Owner)
async def test_a_full_disk_is_the_failure_of_the_worker_that_is_to_be_started(
    owner: Owner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = full_disk(monkeypatch, lambda _known: True)
    async with crew(tmp_path, program=odd_worker(tmp_path, "sound")) as team:
        report = await team.spawn(tiny_spec(), owner)
        failed = await team.reaches(report.id, FAILED)
        assert "No space left on device" in (failed.error_message or "")
        assert pids == []
        monkeypatch.undo()
        await team.ready(tiny_spec())


def no_descriptor(_identity: ProcessIdentity, _callback: Callable[[], None]) -> ExitWatch:
    raise HostError(Refusal(Code.INTERNAL, "no descriptor is left to watch a process"))


async def test_a_process_that_nobody_can_watch_is_not_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = current()
    pids = full_disk(monkeypatch, lambda _known: False)
    monkeypatch.setattr(platform, "watch_exit", no_descriptor)
    async with crew(tmp_path, program=odd_worker(tmp_path, "sound"), platform=platform) as team:
        report = await team.spawn(tiny_spec())
        failed = await team.reaches(report.id, FAILED)
        assert "no descriptor is left" in (failed.error_message or "")
        assert not is_alive(pids[0])


async def test_an_adopted_process_that_nobody_can_watch_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = odd_worker(tmp_path, "sound")
    async with crew(tmp_path, program=program, leave_workers=True) as team:
        before = await team.ready(tiny_spec())
    platform = current()
    monkeypatch.setattr(platform, "watch_exit", no_descriptor)
    async with crew(tmp_path, program=program, platform=platform) as team:
        (report,) = team.supervisor.reports()
        assert (report.status, report.pid) == (UNCLAIMED, before.pid)
        assert "no descriptor is left" in (report.error_message or "")
    kill(before)
    reap(before)


async def test_a_process_that_cannot_be_looked_at_now_keeps_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path)
    ledger.prepare()
    ledger.write(record(1, pid=os.getpid(), start_time=1, boot_id="boot"))
    platform = current()

    def full(_identity: ProcessIdentity) -> bool:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(platform, "is_alive", full)
    async with crew(tmp_path, platform=platform) as team:
        (report,) = team.supervisor.reports()
        assert (report.status, report.id) == (UNCLAIMED, worker_id(1))
    assert len(ledger.load().records) == 1


async def test_orders_to_a_supervisor_that_could_not_begin_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_ledger: Ledger) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Ledger, "prepare", broken)
    with pytest.RaisesGroup(OSError, flatten_subgroups=True):
        # It leaves by asking for the end of all workers, which must not wait for a beginning.
        async with asyncio.timeout(30), crew(tmp_path):
            pass


async def test_a_look_at_the_port_that_fails_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = current()
    look, failures = platform.port_holder, [OSError(errno.EMFILE, "full"), OSError("gone")]

    def port_holder(port: int, *, likely: int | None = None) -> PortHolder | None:
        if failures:
            raise failures.pop()
        return look(port, likely=likely)

    monkeypatch.setattr(platform, "port_holder", port_holder)
    async with crew(tmp_path, program=odd_worker(tmp_path, "sound"), platform=platform) as team:
        await team.ready(tiny_spec())
        assert failures == []


@pytest.mark.parametrize("by_stop", [True, False])
async def test_what_a_worker_has_started_does_not_outlive_it(by_stop: bool, tmp_path: Path) -> None:
    program = odd_worker(tmp_path, "parent")
    async with crew(tmp_path, program=program) as team:
        report = await team.ready(tiny_spec())
        child = int(program.with_suffix(".steps").read_text())
        assert is_alive(child)
        if by_stop:
            assert not isinstance(await team.supervisor.stop(report.id, grace_s=10), Refusal)
        else:
            kill(report)
            await team.reaches(report.id, FAILED)
        await until(lambda: not is_alive(child), what="the end of the child")


async def test_an_unclaimed_worker_that_nobody_wants_is_left_alone_too(tmp_path: Path) -> None:
    program = odd_worker(tmp_path, "sound")
    async with crew(tmp_path, program=program, leave_workers=True) as team:
        team.supervisor.apply_wanted(wants(1))
        before = await team.reaches(worker_id(1), READY)
    Ledger(tmp_path).key_path(before.id).unlink()
    async with crew(tmp_path, program=program) as team:
        team.supervisor.apply_wanted(NOTHING)
        # A whole round of another worker's life: an order to stop would have been carried out.
        await team.supervisor.stop((await team.ready(tiny_spec())).id, grace_s=5)
        report = team.report(before.id)
        assert report is not None
        assert report.status is UNCLAIMED
        assert is_alive(before.pid)
    kill(before)
    reap(before)


class SlowLook:
    """Devices that are looked at for as long as the test likes."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> list[DeviceReport]:
        self.begun.set()
        assert self.go_on.wait(30)
        return processors()


@pytest.mark.parametrize("can_run", [True, False])
async def test_a_worker_that_is_withdrawn_while_we_look_is_neither_started_nor_shown(
    can_run: bool, tmp_path: Path
) -> None:
    look = SlowLook()
    program = odd_worker(tmp_path, "sound")
    async with crew(tmp_path, program=program, probe=look) as team:
        wanted = wants(1)
        if not can_run:
            missing = ModelFile(model_id="gone", source="file", file=str(tmp_path / "gone.gguf"))
            spec = tiny_spec().model_copy(update={"model": missing})
            worker = wanted.workers[0].model_copy(update={"spec": spec})
            wanted = wanted.model_copy(update={"workers": [worker]})
        seen: list[str] = []
        team.changed = lambda: seen.extend(report.id for report in team.supervisor.reports())
        team.supervisor.apply_wanted(wanted)
        await until(look.begun.is_set, what="the look")
        team.supervisor.apply_wanted(NOTHING)
        look.go_on.set()
        mine = await team.ready(tiny_spec())
        assert set(seen) == {mine.id}


async def test_a_late_order_for_a_withdrawn_worker_is_refused(tmp_path: Path) -> None:
    async with crew(tmp_path, program=odd_worker(tmp_path, "sound")) as team:
        team.supervisor.apply_wanted(NOTHING)
        late = SpawnRequest(worker_id=worker_id(1), revision=1, spec=tiny_spec())
        refusal = await team.supervisor.spawn(late, Owner.ORCHESTRATOR)
        assert isinstance(refusal, Refusal)
        assert refusal.code is Code.STALE_GENERATION
        team.supervisor.new_session()
        assert not isinstance(await team.supervisor.spawn(late, Owner.ORCHESTRATOR), Refusal)


async def test_everyone_whom_the_ledger_names_is_shown_however_many_they_are(
    tmp_path: Path,
) -> None:
    ledger = Ledger(tmp_path)
    ledger.prepare()
    us = current().identify(os.getpid())
    assert us is not None
    dead = {"pid": us.pid, "start_time": us.start_time + 1, "boot_id": us.boot_id}
    for number in range(30):
        ledger.write(record(number, name=f"worker-{number}", owner=Owner.OPERATOR, **dead))
    async with crew(tmp_path, leave_workers=True) as team:
        await until(
            lambda: all(report.error_code for report in team.supervisor.reports()),
            what="a reason of each end",
        )
        shown = [report.id for report in team.supervisor.reports()]
        assert shown == [known.id for known in ledger.load().records]
        assert len(shown) == 30


async def test_a_record_that_tells_of_a_failure_and_of_no_end_is_understood(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.prepare()
    us = current().identify(os.getpid())
    assert us is not None
    facts = {"pid": us.pid, "start_time": us.start_time + 1, "boot_id": us.boot_id}
    told = {"ready_at": "2026-01-01T00:00:00.000Z", "failure_code": Code.WORKER_LOST}
    ledger.write(record(1, owner=Owner.OPERATOR, **facts, **told))
    async with crew(tmp_path, restarts=True) as team:
        report = await team.reaches(worker_id(1), FAILED)
        await until(lambda: "comes back in" in _message(team, report.id), what="its next start")


def _message(team: Crew, worker: str) -> str:
    report = team.report(worker)
    return (report.error_message or "") if report else ""


class Share(HostModels):
    """Model files on a share that comes and goes."""

    mounted = True

    def locate(self, model: ModelFile) -> Located | Refusal:
        """The file while the share is there."""
        gone = Refusal(Code.MODEL_NOT_FOUND, "the share is not mounted")
        return super().locate(model) if self.mounted else gone


async def test_a_worker_waits_for_a_share_that_is_away_and_is_not_parked(tmp_path: Path) -> None:
    share = Share()
    program = odd_worker(tmp_path, "sound")
    async with crew(tmp_path, program=program, models=share, restarts=True) as team:
        report = await team.ready(tiny_spec())
        share.mounted = False
        kill(report)
        await until(
            lambda: "not mounted; it comes back in 4 s (end 3" in _message(team, report.id),
            timeout_s=30,
            what="two refused starts",
        )
        share.mounted = True
        assert (await team.reaches(report.id, READY)).incarnation == 4


async def test_a_note_that_a_worker_is_ready_never_outlives_its_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noting, go_on, noted = threading.Event(), threading.Event(), threading.Event()
    write = Ledger.write

    def slow(ledger: Ledger, known: WorkerRecord) -> None:
        if known.ready_at is not None:
            noting.set()
            # Only a thread may keep others waiting.
            if threading.current_thread() is not threading.main_thread():
                assert go_on.wait(30)
        write(ledger, known)
        if known.ready_at is not None:
            noted.set()

    monkeypatch.setattr(Ledger, "write", slow)
    async with crew(tmp_path, program=odd_worker(tmp_path, "sound")) as team:
        report = await team.spawn(tiny_spec())
        await until(noting.is_set, what="the note")
        assert not isinstance(await team.supervisor.stop(report.id, grace_s=0), Refusal)
        go_on.set()
        await until(noted.is_set, what="the note to be written")
        assert list((tmp_path / "workers").iterdir()) == []


async def test_whoever_waits_for_a_stop_is_told_when_the_pool_ends_first(tmp_path: Path) -> None:
    program = odd_worker(tmp_path, "deaf")
    async with (
        asyncio.TaskGroup() as asking,
        crew(tmp_path, program=program, leave_workers=True) as team,
    ):
        report = await team.ready(tiny_spec())
        stopping = asking.create_task(team.supervisor.stop(report.id, grace_s=3600))
        await team.reaches(report.id, WorkerStatus.DRAINING)
    answer = stopping.result()
    assert isinstance(answer, Refusal)
    assert answer.code is Code.DRAINING
    late = await team.supervisor.spawn(SpawnRequest(spec=tiny_spec()), Owner.OPERATOR)
    assert isinstance(late, Refusal)
    assert late.code is Code.DRAINING
    kill(report)
    reap(report)


async def test_a_storm_of_orders_and_stops_leaves_nothing_behind(tmp_path: Path) -> None:
    pids: list[int | None] = []

    async def come_and_go(team: Crew, grace_s: float) -> None:
        report = await team.spawn(tiny_spec())
        pids.append(report.pid)
        async with asyncio.TaskGroup() as twice:
            for patience in (grace_s, 0.0):
                twice.create_task(team.supervisor.stop(report.id, grace_s=patience))

    async with crew(tmp_path, program=odd_worker(tmp_path, "deaf")) as team:
        async with asyncio.TaskGroup() as storm:
            for number in range(12):
                storm.create_task(come_and_go(team, float(number)))
        assert team.supervisor.reports() == []
        assert list((tmp_path / "workers").iterdir()) == []
    assert not any(is_alive(pid) for pid in pids)
