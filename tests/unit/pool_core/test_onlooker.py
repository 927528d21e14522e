"""What can be told about workers without the pool's lock."""

import os
from pathlib import Path

import httpx
import pytest

from orchestrator_core.config.layout import Layout
from orchestrator_core.platforms.names import program_of
from orchestrator_core.platforms.port import ProcessIdentity
from pool_core.workers.ledger import Ledger
from pool_core.workers.onlooker import Onlooker
from pool_core.workers.readiness import Stage
from support.pool_builders import StillPlatform, record

LIVING = ProcessIdentity(4242, 7, "this-boot")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.from_env({"LLORCH_HOME": str(tmp_path)})


@pytest.fixture
def ledger(layout: Layout) -> Ledger:
    ledger = Ledger(layout.pool_folder)
    ledger.prepare()
    return ledger


@pytest.fixture
def onlooker(layout: Layout) -> Onlooker:
    return Onlooker(layout, StillPlatform({LIVING.pid: LIVING}))


def test_nothing_is_seen_and_nothing_is_made_on_an_empty_home(
    onlooker: Onlooker, layout: Layout
) -> None:
    assert onlooker.records() == []
    assert onlooker.find("worker-cpu-0") is None
    assert not layout.state.exists()


def test_records_are_read_and_broken_ones_are_left_where_they_are(
    onlooker: Onlooker, layout: Layout, ledger: Ledger
) -> None:
    first, second = record(1, name="worker-cpu-0"), record(2, name="worker-cpu-0-2")
    ledger.write(second)
    ledger.write(first)
    broken = layout.worker_records / "broken.json"
    broken.write_text("{")
    assert onlooker.records() == [first, second]
    assert onlooker.find(second.id) == second
    assert onlooker.find("worker-cpu-0-2") == second
    assert broken.exists()


def test_only_the_very_process_of_a_record_counts_as_alive(onlooker: Onlooker) -> None:
    facts = {"pid": LIVING.pid, "start_time": LIVING.start_time, "boot_id": LIVING.boot_id}
    assert onlooker.is_alive(record(1, **facts))
    assert not onlooker.is_alive(record(1, **facts | {"start_time": 8}))
    assert not onlooker.is_alive(record(1))


async def test_a_worker_that_nobody_hears_is_silent(onlooker: Onlooker) -> None:
    # Port 1 of loopback answers nobody.
    seen = await onlooker.ask(record(1, port=1), answer_s=1.0)
    assert seen.stage is Stage.SILENT
    assert httpx.ConnectError.__name__ in seen.reason


def test_a_program_is_called_as_people_know_it() -> None:
    name = program_of(os.getpid())
    assert name is not None
    assert "/" not in name
    assert program_of(2**22 + 1) is None
