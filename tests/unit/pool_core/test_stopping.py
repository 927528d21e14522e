"""What a stop waits for; the stops of real processes stand in tests/e2e."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator_core.contracts.pool import DeviceProcess, DeviceReport, WorkerStatus
from orchestrator_core.errors import Code, HostError, Refusal
from orchestrator_core.platforms.port import ProcessIdentity
from pool_core.workers import process
from pool_core.workers.charge import Charge
from pool_core.workers.ledger import Ledger
from pool_core.workers.process import Host
from pool_core.workers.roster import Roster
from pool_core.workers.stopping import Stopper
from support.pool_builders import StillPlatform, charge, cpu, gpu, worker_id
from support.waiting import until

GIB = 1 << 30
PID = 4711


class Card:
    """A graphics card that lets go of a dead worker's memory only after some looks."""

    def __init__(self, *free_gib: float) -> None:
        self.free_gib = list(free_gib)
        self.looks = 0

    def look(self) -> list[DeviceReport]:
        """The next picture; the last one stays."""
        step = min(self.looks, len(self.free_gib) - 1)
        self.looks += 1
        lingers = () if step else (DeviceProcess(pid=PID, memory_bytes=GIB),)
        facts = {"memory_free_bytes": int(self.free_gib[step] * GIB), "processes": lingers}
        return [gpu(0).model_copy(update=facts), cpu()]


def ended(**needed_bytes: int) -> Charge:
    """A worker whose process is gone at once."""
    known = charge(
        1, pid=PID, needed_bytes={k.replace("_", "-"): v for k, v in needed_bytes.items()}
    )
    known.status = WorkerStatus.READY
    known.launched.set()
    known.exited.set()
    return known


async def stop(folder: Path, worker: Charge, look: Callable[[], list[DeviceReport]]) -> Roster:
    ledger = Ledger(folder)
    ledger.prepare()
    roster = Roster(frozenset())
    roster.add(worker)
    host = Host(StillPlatform(), ledger, Path("/bin/llorch-worker"), "instance", {})
    await Stopper(host, roster, look, lambda: None, look_every_s=0.001).stop(worker, 1.0)
    return roster


async def test_a_worker_has_stopped_once_its_card_has_let_go(tmp_path: Path) -> None:
    card = Card(2, 3, 7, 7.01)
    worker = ended(GPU_0=GIB)
    roster = await stop(tmp_path, worker, card.look)
    assert card.looks == 4
    assert worker.status is WorkerStatus.STOPPED
    assert worker.gone.is_set()
    assert roster.find(worker_id(1)) is None


async def test_a_card_that_never_lets_go_does_not_hold_a_stop_for_ever(tmp_path: Path) -> None:
    class Stuck(Card):
        def look(self) -> list[DeviceReport]:
            self.free_gib.append(self.free_gib[-1] + 1)
            return super().look()

    card = Stuck(2)
    worker = ended(GPU_0=GIB)
    await stop(tmp_path, worker, card.look)
    assert card.looks == 61
    assert worker.status is WorkerStatus.STOPPED


async def test_impatience_counts_also_while_the_worker_is_only_being_started(
    tmp_path: Path,
) -> None:
    worker = charge(1)
    us = ProcessIdentity(PID, 1, "boot")

    class Obedient(StillPlatform):
        def signal_session(self, identity: ProcessIdentity, signum: int) -> bool:
            worker.exited.set()
            return super().signal_session(identity, signum)

    ledger, roster, platform = Ledger(tmp_path), Roster(frozenset()), Obedient({PID: us})
    roster.add(worker)
    host = Host(platform, ledger, Path("/bin/llorch-worker"), "instance", {})
    stopper = Stopper(host, roster, list, lambda: None)
    async with asyncio.timeout(30), asyncio.TaskGroup() as stops:
        stops.create_task(stopper.stop(worker, 3600.0))
        stops.create_task(stopper.stop(worker, 0.0))
        await until(lambda: worker.stopping, what="the order to stop")
        worker.identity = us
        worker.launched.set()
    assert (PID, signal.SIGKILL) in platform.signalled
    assert worker.status is WorkerStatus.STOPPED


async def test_a_host_that_lets_nobody_signal_leaves_a_worker_that_does_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_KILL_WAIT_S", 0.01)
    worker = charge(1)
    worker.identity = ProcessIdentity(PID, 1, "boot")
    worker.status = WorkerStatus.READY
    worker.launched.set()

    class Full(StillPlatform):
        def signal_if_same(self, identity: ProcessIdentity, signum: int) -> bool:
            raise HostError(Refusal(Code.INTERNAL, f"no descriptor for {identity} and {signum}"))

        signal_session = signal_if_same

    roster = Roster(frozenset())
    roster.add(worker)
    host = Host(Full(), Ledger(tmp_path), Path("/bin/llorch-worker"), "instance", {})
    await Stopper(host, roster, list, lambda: None).stop(worker, 0.01)
    assert worker.status is WorkerStatus.FAILED
    assert worker.gone.is_set()
    assert roster.find(worker_id(1)) is worker


async def test_the_memory_of_the_host_needs_no_look(tmp_path: Path) -> None:
    card = Card(2)
    await stop(tmp_path, ended(cpu=GIB), card.look)
    assert card.looks == 0
