"""The switch that closes a pool for new workers: durable, whole or not at all, and told at once."""

import errno
from pathlib import Path

import httpx
import pytest

from orchestrator_core.contracts.pool import WantedSet, WantedWorker, WorkerStatus
from orchestrator_core.errors import Code
from orchestrator_core.platforms import files
from pool_managerd.runtime.drain import DrainSwitch, only_running, refuse_start
from pool_managerd.runtime.keyring import Keyring
from support.pool_fakes import SPEC, WORKER_ID, FakeWorkers, make_worker

OTHER_ID = "wrk_01arz3ndektsv4rrffq69g5fax"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "drain.json"


@pytest.fixture
async def caller(api: httpx.AsyncClient, operator: dict[str, str]) -> httpx.AsyncClient:
    """The operator."""
    api.headers.update(operator)
    return api


def wanted(*workers: tuple[str, int]) -> WantedSet:
    named = [WantedWorker(worker_id=name, generation=number, spec=SPEC) for name, number in workers]
    return WantedSet(revision=7, workers=named)


async def test_the_switch_outlives_its_daemon_both_ways(path: Path) -> None:
    told: list[str] = []
    for draining in (True, False):
        switch = DrainSwitch(path, lambda: told.append("changed"))
        assert switch.active is not draining
        assert await (switch.drain() if draining else switch.resume()) is None
        assert switch.active is draining
        assert DrainSwitch(path, lambda: None).active is draining
    assert told == ["changed", "changed"]


async def test_turning_it_to_where_it_stands_tells_nobody(path: Path) -> None:
    told: list[str] = []
    switch = DrainSwitch(path, lambda: told.append("changed"))
    assert await switch.resume() is None
    for _ in range(2):
        assert await switch.drain() is None
    assert told == ["changed"]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, Code.DISK_LOW),
        (errno.EDQUOT, Code.DISK_LOW),
        (errno.EROFS, Code.INTERNAL),
    ],
)
async def test_what_cannot_be_stored_does_not_happen(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: Code
) -> None:
    def full(*_args: object, **_named: object) -> None:
        raise OSError(number, "no")

    told: list[str] = []
    switch = DrainSwitch(path, lambda: told.append("changed"))
    monkeypatch.setattr(files, "write_atomically", full)
    refusal = await switch.drain()
    assert refusal is not None
    assert refusal.code is code
    assert str(path) in refusal.message
    assert (switch.active, told) == (False, [])
    assert not DrainSwitch(path, lambda: None).active


async def test_a_pool_comes_back_on_a_full_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await DrainSwitch(path, lambda: None).drain() is None
    switch = DrainSwitch(path, lambda: None)
    assert switch.active

    def full(*_args: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, "no")

    monkeypatch.setattr(files, "write_atomically", full)
    assert await switch.resume() is None
    assert not switch.active


def test_a_start_is_refused_with_a_time_to_come_back() -> None:
    refusal = refuse_start(WORKER_ID, [])
    assert refusal is not None
    assert (refusal.code, refusal.retry_after_s) == (Code.DRAINING, 30)


@pytest.mark.parametrize(
    ("status", "confirmed"),
    [
        (WorkerStatus.LOADING, True),
        (WorkerStatus.READY, True),
        (WorkerStatus.FAILED, False),
        (WorkerStatus.PARKED, False),
    ],
)
def test_a_repeated_order_is_confirmed_while_its_worker_runs(
    status: WorkerStatus, *, confirmed: bool
) -> None:
    refusal = refuse_start(WORKER_ID, [make_worker(status=status)])
    assert (refusal is None) is confirmed


def test_a_wanted_set_loses_only_what_is_not_there() -> None:
    restricted = only_running(wanted((WORKER_ID, 1), (OTHER_ID, 1)), [make_worker()])
    assert restricted == wanted((WORKER_ID, 1))


def test_a_newer_generation_of_a_failed_worker_is_no_start_either() -> None:
    failed = make_worker(status=WorkerStatus.FAILED, generation=2)
    assert only_running(wanted((WORKER_ID, 3)), [failed]) == wanted((WORKER_ID, 2))
    assert only_running(wanted((WORKER_ID, 1)), [failed]) == wanted((WORKER_ID, 1))


async def test_drain_and_resume_are_orders_that_may_be_repeated(
    caller: httpx.AsyncClient, changes: list[str]
) -> None:
    seen: list[bool] = []
    for verb in ("drain", "drain", "resume", "resume"):
        response = await caller.post(f"/{verb}")
        assert response.status_code == 200
        seen.append(response.json()["draining"])
        assert (await caller.get("/status")).json()["draining"] is seen[-1]
    assert seen == [True, True, False, False]
    assert changes == ["drain", "drain"]


async def test_a_draining_pool_refuses_the_orchestrator_and_obeys_a_person(
    caller: httpx.AsyncClient, workers: FakeWorkers, keyring: Keyring
) -> None:
    order = {"spec": SPEC.model_dump(mode="json"), "worker_id": WORKER_ID, "generation": 1}
    caller.headers["authorization"] = f"Bearer {keyring.offer()}"
    assert (await caller.post("/drain")).status_code == 200
    refused = await caller.post("/workers/spawn", json=order)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "DRAINING")
    assert refused.headers["retry-after"] == "30"
    assert workers.spawned == []
    person = await caller.post("/workers/spawn", json={"spec": order["spec"]})
    assert person.status_code == 202
    assert (await caller.post("/resume")).status_code == 200
    assert (await caller.post("/workers/spawn", json=order)).status_code == 202


async def test_a_full_disk_is_told_and_changes_nothing(
    caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_atomically", full)
    response = await caller.post("/drain")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "DISK_LOW")
    assert not (await caller.get("/status")).json()["draining"]


def test_a_torn_file_still_says_that_a_person_wanted_it(path: Path) -> None:
    path.write_bytes(b"{")
    assert DrainSwitch(path, lambda: None).active
