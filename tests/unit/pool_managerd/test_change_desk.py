"""Whatever changes on this host, the orchestrator is told at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pool_managerd.runtime.announcer import NoLink
from pool_managerd.runtime.drain import DrainSwitch
from pool_managerd.runtime.metrics import PoolMetrics
from pool_managerd.runtime.pool import ChangeDesk
from support.pool_fakes import FakeWorkers


class Announcer(NoLink):
    def __init__(self) -> None:
        self.pokes = 0

    def poke(self) -> None:
        self.pokes += 1


CHANGES: dict[str, Callable[[ChangeDesk], None]] = {
    "workers": ChangeDesk.workers_changed,
    "devices": ChangeDesk.devices_changed,
    "models": ChangeDesk.models_changed,
    "drain": ChangeDesk.drain_changed,
}


@pytest.mark.parametrize("what", CHANGES)
async def test_every_change_is_told_at_once(what: str, tmp_path: Path) -> None:
    desk, announcer = ChangeDesk(PoolMetrics()), Announcer()
    CHANGES[what](desk)
    drain = DrainSwitch(tmp_path / "drain.json", desk.drain_changed)
    desk.connect(FakeWorkers(), announcer, drain)
    CHANGES[what](desk)
    assert announcer.pokes == 1
