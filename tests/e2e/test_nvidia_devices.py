"""Two NVIDIA cards of a stub, seen through everything that shows devices: always the same table."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from support.fake_orchestrator import FakeOrchestrator, fake_orchestrator
from support.home import Home
from support.stub_gpus import GPU_IS_LOST, StubGpus, build_stub, gpu_id
from support.waiting import until_sync

pytestmark = pytest.mark.e2e

MIB = 1 << 20
LASTING = ("id", "index", "name", "backends", "memory_total_bytes", "architecture", "pci_address")
TABLE = [
    (gpu_id(0), 0, "NVIDIA First", ["cuda"], 24564 * MIB, "8.9", "0000:01:00.0"),
    (gpu_id(1), 1, "NVIDIA Second", ["cuda"], 16384 * MIB, "12.0", "0000:02:00.0"),
]


@pytest.fixture
def gpus(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> StubGpus:
    """Two cards that differ, the first one used by this test's own process."""
    gpus = StubGpus(build_stub(tmp_path_factory), tmp_path / "gpus.txt")
    gpus["gpu0.name"] = "NVIDIA First"
    gpus["gpu0.used"] = 2048
    gpus["gpu0.util"] = 50
    gpus["gpu0.procs"] = f"{os.getpid()}:2048"
    gpus["gpu1.name"] = "NVIDIA Second"
    gpus["gpu1.total"] = 16384
    gpus["gpu1.cc"] = "12.0"
    return gpus


@pytest.fixture
def orchestrator() -> Iterator[FakeOrchestrator]:
    """Takes every word of a pool called box."""
    reply = {"wanted": {"revision": 1, "workers": []}, "heartbeat_interval_s": 0.5}
    registered = reply | {"pool_id": "box", "session_id": "ses_1"}
    raw = {
        "POST /v2/pools/register": (200, json.dumps(registered)),
        "POST /v2/pools/box/heartbeat": (200, json.dumps(reply)),
    }
    with fake_orchestrator(raw=raw) as orchestrator:
        yield orchestrator


@pytest.fixture
def home(tmp_path: Path, gpus: StubGpus) -> Iterator[Home]:
    """An installation on a host with the two cards; at its end no process is left."""
    home = Home(tmp_path / "home", gpus.env)
    home.folder.mkdir()
    yield home
    home.pool("daemon", "stop", "--workers").must()
    until_sync(lambda: not home.processes(), what="the end of every process")


@pytest.fixture
def pool(home: Home, orchestrator: FakeOrchestrator, tmp_path: Path) -> Iterator[httpx.Client]:
    """A caller of a running pool-managerd that knows the orchestrator."""
    key_file = tmp_path / "pool.key"
    key_file.write_text("a-key-for-registering")
    home.env |= {
        "LLORCH_POOL_ORCHESTRATOR_URL": orchestrator.url,
        "LLORCH_POOL_ORCHESTRATOR_KEY_FILE": str(key_file),
        "LLORCH_POOL_POOL_ID": "box",
    }
    home.pool("daemon", "start").must()
    key = (home.state / "pool" / "pool.key").read_text().strip()
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=home.pool_url, headers=headers, trust_env=False) as client:
        yield client


def cards(devices: Any) -> list[dict[str, Any]]:
    return [device for device in devices if device["kind"] == "gpu"]


def table(devices: Any) -> list[tuple[object, ...]]:
    return [tuple(card[name] for name in LASTING) for card in cards(devices)]


def beats(orchestrator: FakeOrchestrator) -> list[Any]:
    return [it.body for it in orchestrator.asked if it.path == "/v2/pools/box/heartbeat"]


def test_a_command_without_a_daemon_shows_both_cards(home: Home) -> None:
    devices = home.pool("devices", "--format", "json").must().json()
    assert table(devices) == TABLE
    first = cards(devices)[0]
    assert first["driver"] == "570.86.15"
    assert first["memory_used_bytes"] == 2048 * MIB
    assert first["processes"] == [{"pid": os.getpid(), "memory_bytes": 2048 * MIB}]
    assert home.processes() == []


def test_a_command_is_not_held_up_by_a_driver_that_hangs(home: Home, gpus: StubGpus) -> None:
    gpus["hang"] = "*"
    devices = home.pool("devices", "--format", "json", timeout_s=30).must().json()
    assert isinstance(devices, list)
    assert [device["kind"] for device in devices] == ["cpu"]
    until_sync(lambda: not home.processes(), what="the end of the hanging helper")


def test_everything_that_shows_devices_shows_the_same_table(
    home: Home, pool: httpx.Client, orchestrator: FakeOrchestrator
) -> None:
    assert table(pool.get("/devices").json()["items"]) == TABLE
    assert table(pool.get("/status").json()["devices"]) == TABLE
    assert table(home.pool("devices", "--format", "json").must().json()) == TABLE
    until_sync(lambda: beats(orchestrator), what="a heartbeat")
    (register,) = (it.body for it in orchestrator.asked if it.path == "/v2/pools/register")
    assert table(register["devices"]) == TABLE
    assert table(beats(orchestrator)[-1]["devices"]) == TABLE
    metrics = pool.get("/metrics").text.splitlines()
    assert "pool_mgr_gpus_total 2.0" in metrics
    for identifier, total_bytes, used_bytes, ratio in (
        (gpu_id(0), 24564 * MIB, 2048 * MIB, 0.5),
        (gpu_id(1), 16384 * MIB, 0, 0.0),
    ):
        label = f'{{gpu_id="{identifier}"}}'
        for name, value in (
            ("vram_total_bytes", total_bytes),
            ("vram_used_bytes", used_bytes),
            ("vram_allocated_bytes", 0),
            ("utilization_ratio", ratio),
            ("temperature_celsius", 40),
            ("power_watts", 30),
        ):
            assert sample(metrics, f"pool_mgr_gpu_{name}{label}") == value
        assert sample(metrics, f'pool_mgr_device_stale{{device="{identifier}"}}') == 0


def test_a_lost_card_is_stale_everywhere_and_comes_back(
    pool: httpx.Client, orchestrator: FakeOrchestrator, gpus: StubGpus
) -> None:
    gpus["gpu0.err"] = GPU_IS_LOST

    def stale() -> dict[str, bool]:
        return {it["id"]: it["stale"] for it in cards(pool.get("/devices").json()["items"])}

    lost = {gpu_id(0): True, gpu_id(1): False}
    until_sync(lambda: stale() == lost, timeout_s=30, what="the loss of the card")
    assert table(pool.get("/devices").json()["items"]) == TABLE
    until_sync(
        lambda: any(cards(beat["devices"])[0]["stale"] for beat in beats(orchestrator)),
        what="a heartbeat with the loss",
    )
    marked = f'pool_mgr_device_stale{{device="{gpu_id(0)}"}}'
    assert sample(pool.get("/metrics").text.splitlines(), marked) == 1
    del gpus["gpu0.err"]
    until_sync(lambda: not any(stale().values()), timeout_s=30, what="the return of the card")


def test_the_daemon_itself_never_loads_the_library(pool: httpx.Client, home: Home) -> None:
    assert len(cards(pool.get("/devices").json()["items"])) == 2
    daemon = psutil.Process(home.pid("pool-managerd"))
    assert not [it.path for it in daemon.memory_maps() if "nvidia-ml" in it.path]


def sample(metrics: list[str], name: str) -> float:
    (line,) = (it for it in metrics if it.startswith(f"{name} "))
    return float(line.rpartition(" ")[2])
