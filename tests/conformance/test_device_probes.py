"""What every device probe promises, whatever its driver does: one suite for all of them."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from pool_core.devices.amd import AmdProbe
from pool_core.devices.apple import AppleProbe
from pool_core.devices.commands import Ran
from pool_core.devices.cpu import CpuProbe
from pool_core.devices.inventory import Inventory
from pool_core.devices.nvidia import NvidiaProbe
from pool_core.devices.port import Probe, Sighting
from pool_core.devices.registry import PROBES
from pool_core.devices.vulkan import VulkanProbe
from support.device_trees import Programs, amd_card, vulkan_long, vulkan_short
from support.pool_builders import write_tree
from support.stub_gpus import UNKNOWN_ERROR, StubGpus, build_stub
from support.waiting import until_sync

NOISE = "\x00\ufffd: 99999999999999999999999 = {{{\n" * 50
VULKAN_CARD = {
    "deviceName": "Test Card",
    "deviceType": "PHYSICAL_DEVICE_TYPE_DISCRETE_GPU",
    "vendorID": "0x8086",
    "deviceUUID": "00000000-0000-0000-0000-000000000001",
    "heap0": f"{8 << 30} *",
}
MEMORY = "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n"
CPU_WORD = "processor: 0\nmodel name: Test CPU\nflags: avx2\n"


@dataclass(frozen=True)
class World:
    """Where a probe is put: an empty folder that is its host, and the stub of one driver."""

    root: Path
    gpus: StubGpus


Make = Callable[[World], Probe]


@dataclass(frozen=True)
class Case:
    """A probe on three hosts: without its hardware, with it, and with a driver out of its mind."""

    bare: Make
    fitted: Make
    mad: Make


def nvidia(world: World, **state: object) -> Probe:
    for key, value in state.items():
        world.gpus[key] = value
    return NvidiaProbe(world.root, timeout_s=2.0)


def nvidia_without_library(world: World) -> Probe:
    os.environ["LD_LIBRARY_PATH"] = str(world.root)
    return NvidiaProbe(world.root, timeout_s=2.0)


def amd(world: World, tree: dict[str, str]) -> Probe:
    return AmdProbe(write_tree(world.root, tree), access=lambda path: True)


def apple(answers: dict[str, Ran | str | None]) -> Probe:
    return AppleProbe(platform="darwin", run=Programs(answers), available_bytes=lambda: 1 << 30)


def vulkan(answers: dict[str, Ran | str | None], world: World, program: str | None) -> Probe:
    return VulkanProbe(world.root, run=Programs(answers), find=lambda name: program)


def cpu(world: World, tree: dict[str, str]) -> Probe:
    return CpuProbe(write_tree(world.root, tree), platform="linux")


VULKAN_WORDS: dict[str, Ran | str | None] = {
    "vulkaninfo": vulkan_long(VULKAN_CARD),
    "vulkaninfo --summary": vulkan_short(VULKAN_CARD),
}
CASES = {
    "nvidia": Case(nvidia_without_library, nvidia, lambda world: nvidia(world, init=UNKNOWN_ERROR)),
    "nvidia that hangs": Case(
        lambda world: nvidia(world, count=0), nvidia, lambda world: nvidia(world, hang="*")
    ),
    "amd": Case(
        lambda world: amd(world, {}),
        lambda world: amd(world, amd_card()),
        lambda world: amd(world, dict.fromkeys(amd_card(), NOISE)),
    ),
    "apple": Case(
        lambda world: AppleProbe(world.root, platform="linux"),
        lambda world: apple({}),
        lambda world: apple({"sysctl": NOISE}),
    ),
    "vulkan": Case(
        lambda world: vulkan({}, world, None),
        lambda world: vulkan(VULKAN_WORDS, world, "vulkaninfo"),
        lambda world: vulkan({"vulkaninfo": None}, world, "vulkaninfo"),
    ),
    "cpu": Case(
        lambda world: cpu(world, {}),
        lambda world: cpu(world, {"proc/meminfo": MEMORY, "proc/cpuinfo": CPU_WORD}),
        lambda world: cpu(world, {"proc/meminfo": NOISE, "proc/cpuinfo": NOISE}),
    ),
}


@pytest.fixture
def world(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> World:
    gpus = StubGpus(build_stub(tmp_path_factory), tmp_path / "gpus.txt")
    for name, value in gpus.env.items():
        monkeypatch.setenv(name, value)
    root = tmp_path / "root"
    root.mkdir()
    return World(root, gpus)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def opened() -> Iterator[Callable[[Probe], Probe]]:
    """Closes what a test opens, twice, because that is part of the promise."""
    probes: list[Probe] = []

    def note(probe: Probe) -> Probe:
        probes.append(probe)
        return probe

    yield note
    for probe in probes:
        probe.close()
        probe.close()


Opened = Callable[[Probe], Probe]


def settled(probe: Probe) -> Sighting:
    """A look that is more than waiting for a helper to start."""

    def said() -> Sighting | None:
        sighting = probe.look()
        return None if "no answer in 2 s" in (sighting.fault or "") else sighting

    return until_sync(said, timeout_s=30, what="an answer")


def test_every_registered_probe_is_here() -> None:
    assert {name.split()[0] for name in CASES} == set(PROBES)


def test_missing_hardware_is_no_fault(case: Case, world: World, opened: Opened) -> None:
    sighting = settled(opened(case.bare(world)))
    assert sighting.fault is None
    assert [device for device in sighting.devices if device.kind == "gpu"] == []


def test_hardware_is_shown_with_an_id_that_stays(case: Case, world: World, opened: Opened) -> None:
    probe = opened(case.fitted(world))
    first = settled(probe)
    assert first.fault is None
    assert first.devices
    ids = [device.id for device in first.devices]
    assert len(set(ids)) == len(ids)
    assert [device.id for device in probe.look().devices] == ids
    for device in first.devices:
        assert device.id
        assert device.name
        assert not device.stale
        assert 0 <= device.memory_free_bytes <= device.memory_total_bytes
        assert device.memory_total_bytes > 0


def test_a_mad_driver_neither_raises_nor_invents_a_device(
    case: Case, world: World, opened: Opened
) -> None:
    probe = opened(case.mad(world))
    for _ in range(2):
        sighting = probe.look()
        assert isinstance(sighting, Sighting)
        assert [it for it in sighting.devices if it.kind == "gpu"] == []
        assert "\n" not in (sighting.fault or "")


def test_closing_needs_no_look_and_leaves_no_process(
    case: Case, world: World, opened: Opened
) -> None:
    before = set(psutil.Process().children())
    opened(case.fitted(world)).close()
    looked = opened(case.fitted(world))
    settled(looked)
    looked.close()
    assert set(psutil.Process().children()) <= before


def test_an_inventory_of_a_mad_host_keeps_what_the_sane_one_showed(
    case: Case, world: World, opened: Opened
) -> None:
    sane = settled(opened(case.fitted(world)))

    class Turning:
        """Sane at first, mad from then on."""

        def __init__(self) -> None:
            self.looks = 0

        def look(self) -> Sighting:
            self.looks += 1
            return sane if self.looks == 1 else mad.look()

        def close(self) -> None:
            """The two halves are closed by the fixture."""

    mad = opened(case.mad(world))
    inventory = Inventory({"it": Turning()})
    before = [device.id for device in inventory.look()]
    after = inventory.look()
    if inventory.faults():
        assert [device.id for device in after] == before
        assert all(device.stale for device in after)
    inventory.close()
