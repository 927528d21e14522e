import ctypes
import struct
import threading
from pathlib import Path

import pytest

from orchestrator_core.contracts.pool import Backend, DeviceProcess, DeviceReport
from pool_core.devices.amd import AmdProbe, may_use
from pool_core.devices.amd_card import parse_card_names
from pool_core.devices.kfd import gfx_name
from pool_core.devices.port import Sighting
from support.device_trees import GIB, amd_card, kfd_node
from support.pool_builders import write_tree
from support.waiting import until_sync

MEMINFO = {"proc/meminfo": f"MemTotal: {32 << 20} kB\nMemAvailable: {8 << 20} kB\n"}


def apu() -> dict[str, str]:
    return amd_card(
        device="0x1586\n",
        revision="0xc1\n",
        mem_busy_percent=None,
        mem_info_vram_total=f"{4 * GIB}\n",
        mem_info_vram_used=f"{GIB}\n",
        hwmon__hwmon3__in1_label="vddnb\n",
    )


def probe(root: Path, *trees: dict[str, str], open_to_us: bool = True) -> AmdProbe:
    for tree in trees:
        write_tree(root, tree)
    return AmdProbe(root, access=lambda _path: open_to_us)


def look(root: Path, *trees: dict[str, str], open_to_us: bool = True) -> list[DeviceReport]:
    sighting = probe(root, *trees, open_to_us=open_to_us).look()
    assert sighting.fault is None
    return list(sighting.devices)


def test_a_card_tells_everything_it_knows(tmp_path: Path) -> None:
    held = kfd_node(1, 51000, 128, 110000, {4242: 3 * GIB, 5151: GIB, 4343: 0})
    here = {"proc/4242/stat": "", "proc/4343/stat": ""}
    cpu_node = {"sys/class/kfd/kfd/topology/nodes/0/gpu_id": "0\n"}
    module = {"sys/module/amdgpu/version": "6.8.5\n"}
    [device] = look(
        tmp_path, amd_card(unique_id="e6a41f6cf1acd5b4\n"), cpu_node, held, here, module
    )
    assert device == DeviceReport(
        id="GPU-e6a41f6cf1acd5b4",
        index=0,
        kind="gpu",
        name="AMD Radeon RX 7900 XTX",
        backends=[Backend.ROCM],
        memory_total_bytes=24 * GIB,
        memory_free_bytes=20 * GIB,
        memory_used_bytes=4 * GIB,
        vendor="amd",
        architecture="gfx1100",
        driver="amdgpu 6.8.5",
        pci_address="0000:03:00.0",
        utilization_percent=37.0,
        temperature_c=51.0,
        power_w=88.5,
        power_limit_w=303.0,
        processes=(DeviceProcess(pid=4242, memory_bytes=3 * GIB),),
    )


def test_a_host_without_amd_cards_has_none(tmp_path: Path) -> None:
    assert look(tmp_path / "nothing") == []
    other = amd_card(vendor="0x10de\n")
    assert look(tmp_path, other) == []


def test_a_card_without_a_number_is_known_by_its_place_and_kind(tmp_path: Path) -> None:
    [device] = look(tmp_path, amd_card(pci="0000:0A:00.0"))
    assert device.id == "PCI-0000:0a:00.0-1002:744c"
    assert device.pci_address == "0000:0a:00.0"


@pytest.mark.parametrize("told", ["0\n", "not hex\n", ""])
def test_a_number_that_is_none_is_not_believed(tmp_path: Path, told: str) -> None:
    [device] = look(tmp_path, amd_card(unique_id=told))
    assert device.id == "PCI-0000:03:00.0-1002:744c"


def test_two_cards_with_one_number_stay_two_devices(tmp_path: Path) -> None:
    cards = [
        amd_card("card0", "0000:43:00.0", 129, unique_id="77\n"),
        amd_card("card1", "0000:03:00.0", 128, unique_id="77\n"),
    ]
    devices = look(tmp_path, *cards)
    assert [(device.index, device.id) for device in devices] == [
        (0, "PCI-0000:03:00.0-1002:744c"),
        (1, "PCI-0000:43:00.0-1002:744c"),
    ]


def test_the_compute_driver_is_joined_by_the_render_device(tmp_path: Path) -> None:
    cards = [amd_card("card0", "0000:03:00.0", 128), amd_card("card1", "0000:43:00.0", 129)]
    first, second = look(tmp_path, *cards, kfd_node(1, 7, 129, 90010))
    assert (first.backends, first.architecture, first.fault) == ([], None, None)
    assert (second.backends, second.architecture) == ([Backend.ROCM], "gfx90a")


def test_gfx_names_are_spelled_as_engines_spell_them() -> None:
    versions = (90010, 110501, 120001, 90402, 100300, 0)
    assert [gfx_name(version) for version in versions] == [
        "gfx90a", "gfx1151", "gfx1201", "gfx942", "gfx1030", None,
    ]  # fmt: skip


def test_a_card_that_we_may_not_use_says_which_groups_help(tmp_path: Path) -> None:
    [device] = look(tmp_path, amd_card(), kfd_node(1, 7, 128, 110000), open_to_us=False)
    assert device.backends == []
    assert device.fault == (
        "no access to /dev/dri/renderD128 and /dev/kfd: "
        "add this user to the groups render and video"
    )
    assert (device.memory_total_bytes, device.stale) == (24 * GIB, False)


def test_a_container_without_the_device_file_is_told_so(tmp_path: Path) -> None:
    probing = probe(tmp_path, amd_card(), kfd_node(1, 7, 128, 110000))
    (tmp_path / "dev/kfd").unlink()
    [device] = probing.look().devices
    assert device.backends == []
    assert device.fault == "/dev/kfd is missing: a container must be started with this device"


def test_an_apu_takes_what_the_host_has_left(tmp_path: Path) -> None:
    [device] = look(tmp_path, apu(), kfd_node(1, 7, 128, 110501), MEMINFO)
    assert (device.name, device.architecture) == ("Radeon 8060S Graphics", "gfx1151")
    assert device.unified_memory
    assert device.memory_total_bytes == 20 * GIB
    assert device.memory_used_bytes == 2 * GIB
    assert device.memory_free_bytes == (3 + 8) * GIB, "its own part, and what the host has left"


def test_a_card_that_tells_nothing_of_its_kind_has_its_own_memory(tmp_path: Path) -> None:
    # The device file of a fake tree answers no question about it.
    [device] = look(tmp_path, amd_card(mem_busy_percent=None), MEMINFO)
    assert (device.unified_memory, device.memory_total_bytes) == (False, 24 * GIB)


def test_a_sleeping_card_is_left_asleep(tmp_path: Path) -> None:
    asleep = amd_card(power__runtime_status="suspended\n")
    held = kfd_node(1, 7, 128, 110000, {4242: GIB}) | {"proc/4242/stat": ""}
    [device] = look(tmp_path, asleep, held)
    assert (device.name, device.memory_total_bytes) == ("AMD Radeon RX 7900 XTX", 24 * GIB)
    assert (device.memory_free_bytes, device.memory_used_bytes) == (24 * GIB, None)
    felt = (device.utilization_percent, device.temperature_c, device.power_w, device.power_limit_w)
    assert felt == (None, None, None, None)
    assert (device.processes, device.fault, device.stale) == ((), None, False)
    assert device.backends == [Backend.ROCM]


def test_what_cannot_be_read_is_missing(tmp_path: Path) -> None:
    probing = probe(tmp_path, amd_card(gpu_busy_percent="900\n", revision="garbage\n"))
    folder = tmp_path / "sys/class/drm/card1/device"
    for name in ("hwmon/hwmon3/temp1_input", "hwmon/hwmon3/power1_average"):
        # A folder in the place of a file refuses to be read even by root.
        (folder / name).unlink()
        (folder / name).mkdir()
    (folder / "hwmon/hwmon3/power1_cap").write_bytes(b"\xff\xfe")
    [device] = probing.look().devices
    assert device.name == "AMD GPU 744c"
    assert (device.utilization_percent, device.temperature_c) == (None, 63.0)
    assert (device.power_w, device.power_limit_w, device.fault) == (None, None, None)


def test_a_card_whose_memory_is_silent_keeps_its_last_word_as_stale(tmp_path: Path) -> None:
    probing = probe(tmp_path, amd_card())
    assert probing.look().devices[0].memory_free_bytes == 20 * GIB
    write_tree(tmp_path, amd_card(mem_info_vram_used="\n"))
    [device] = probing.look().devices
    assert (device.stale, device.fault) == (True, "the driver does not tell the card's memory")
    assert (device.memory_total_bytes, device.memory_free_bytes) == (24 * GIB, 20 * GIB)
    assert device.memory_used_bytes is None
    write_tree(tmp_path, amd_card())
    assert not probing.look().devices[0].stale


def test_a_card_that_never_told_its_memory_offers_none(tmp_path: Path) -> None:
    [device] = look(tmp_path, amd_card(mem_info_vram_total=None, mem_info_vram_used=None))
    assert (device.memory_total_bytes, device.memory_free_bytes, device.stale) == (0, 0, True)


def test_names_come_from_the_list_of_the_driver_or_the_card_itself(tmp_path: Path) -> None:
    names = parse_card_names(
        "# x\n744C,\tC8,\tA, with comma\n744c,\tc8,\tlater\nZ,\tC8,\tno\n1,2\n"
    )
    assert names == {(0x744C, 0xC8): "A, with comma"}
    [device] = look(tmp_path, amd_card(revision="0x01\n", product_name="Instinct MI210\n"))
    assert device.name == "Instinct MI210"


def test_a_card_that_leaves_the_bus_is_gone(tmp_path: Path) -> None:
    probing = probe(tmp_path, amd_card())
    assert len(probing.look().devices) == 1
    (tmp_path / "sys/class/drm/card1/device/vendor").unlink()
    assert probing.look().devices == ()
    probing.close()


def test_a_driver_that_hangs_is_a_fault_and_not_a_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pool_core.devices.amd._TIMEOUT_S", 0.05)
    released = threading.Event()
    write_tree(tmp_path, amd_card())
    probing = AmdProbe(tmp_path, access=lambda _path: released.wait(60))
    assert probing.look() == Sighting(fault="the driver of AMD cards gave no answer within 0.05 s")
    released.set()
    until_sync(lambda: probing.look().devices, what="the card after the driver came back")


@pytest.mark.parametrize("is_apu", [True, False])
def test_the_driver_itself_is_asked_when_no_file_tells_the_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_apu: bool
) -> None:
    def answer(_device: int, request: int, question: bytes) -> int:
        pointer, size, query = struct.unpack_from("QII", question)
        assert (request, len(question), query) == (0x40206445, 32, 0x16)
        facts = bytearray(size)
        struct.pack_into("=Q", facts, 136, 0b110 | is_apu)
        ctypes.memmove(pointer, bytes(facts), size)
        return 0

    monkeypatch.setattr("fcntl.ioctl", answer)
    [device] = look(tmp_path, amd_card(mem_busy_percent=None))
    assert device.unified_memory == is_apu


def test_a_card_without_a_render_device_is_shown_but_cannot_be_used(tmp_path: Path) -> None:
    write_tree(tmp_path, amd_card(mem_busy_percent=None, drm__renderD128__dev=None))
    [device] = AmdProbe(tmp_path).look().devices
    assert (device.backends, device.fault, device.unified_memory) == ([], None, False)


def test_access_is_what_the_system_says(tmp_path: Path) -> None:
    assert may_use(tmp_path)
    assert not may_use(tmp_path / "nothing")
