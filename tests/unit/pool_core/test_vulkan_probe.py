from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator_core.contracts.pool import Backend, DeviceReport
from orchestrator_core.testing.clocks import FakeClock
from pool_core.devices.commands import Ran
from pool_core.devices.port import Sighting
from pool_core.devices.vulkan import VulkanProbe
from pool_core.devices.vulkan_text import parse_vulkan
from support.device_trees import GIB, Programs, vulkan_long, vulkan_short
from support.pool_builders import write_tree

ARC = {
    "apiVersion": "1.4.335",
    "vendorID": "0x8086",
    "deviceID": "0x56a0",
    "deviceType": "PHYSICAL_DEVICE_TYPE_DISCRETE_GPU",
    "deviceName": "Intel(R) Arc(tm) A770 Graphics (DG2)",
    "driverName": "Intel open-source Mesa driver",
    "driverInfo": "Mesa 25.0.7",
    "deviceUUID": "8680a056-0800-0000-0300-000000000000",
    "pciDomain": "0",
    "pciBus": "10",
    "pciDevice": "0",
    "pciFunction": "0",
    "heap0": f"{16 * GIB} {15 * GIB} {GIB} *",
    "heap1": f"{31 * GIB} {30 * GIB} 0",
    "heap2": f"{GIB // 4} {GIB // 4} 0 *",
}
PLAYED = {
    "vendorID": "0x10005",
    "deviceID": "0x0000",
    "deviceType": "PHYSICAL_DEVICE_TYPE_CPU",
    "deviceName": "llvmpipe (LLVM 15.0.6, 256 bits)",
    "deviceUUID": "6d657361-3232-2e33-2e36-000000000000",
    "heap0": f"{2 * GIB} *",
}
NO_DRIVER = Ran(1, "", "Cannot create Vulkan instance.\nfailed with ERROR_INCOMPATIBLE_DRIVER\n")


def programs(*cards: Mapping[str, str]) -> Programs:
    return Programs({"--summary": vulkan_short(*cards), "vulkaninfo": vulkan_long(*cards)})


def look(run: Programs, root: Path = Path("/nowhere")) -> Sighting:
    return VulkanProbe(root, run=run, find=lambda name: f"/bin/{name}", clock=FakeClock()).look()


def devices(*cards: Mapping[str, str]) -> list[DeviceReport]:
    sighting = look(programs(*cards))
    assert sighting.fault is None
    return list(sighting.devices)


def test_a_card_tells_its_memory_place_and_maker() -> None:
    [device] = devices(PLAYED, ARC)
    assert device == DeviceReport(
        id="VK-8680a056-0800-0000-0300-000000000000",
        index=1,
        kind="gpu",
        name="Intel(R) Arc(tm) A770 Graphics (DG2)",
        backends=[Backend.VULKAN],
        memory_total_bytes=16 * GIB,
        memory_free_bytes=14 * GIB,
        memory_used_bytes=2 * GIB,
        vendor="intel",
        driver="Intel open-source Mesa driver Mesa 25.0.7",
        pci_address="0000:0a:00.0",
    )


def test_a_processor_that_plays_a_card_is_none() -> None:
    run = programs(PLAYED)
    assert look(run) == Sighting()
    assert run.asked == ["/bin/vulkaninfo --summary"], "without a card the long text is not needed"


@pytest.mark.parametrize(
    ("number", "vendor"),
    [("0x10de", "nvidia"), ("0x1002", "amd"), ("0x106b", "apple"), ("0x5143", "other")],
)
def test_makers_are_known_by_their_number(number: str, vendor: str) -> None:
    [device] = devices(ARC | {"vendorID": number})
    assert device.vendor == vendor


def test_an_integrated_card_has_no_more_than_the_host_has_left(tmp_path: Path) -> None:
    write_tree(tmp_path, {"proc/meminfo": f"MemTotal: {32 << 20} kB\nMemAvailable: {3 << 20} kB\n"})
    card = ARC | {"deviceType": "PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU"}
    [device] = look(programs(card), tmp_path).devices
    assert (device.unified_memory, device.memory_free_bytes) == (True, 3 * GIB)
    [elsewhere] = devices(card)
    assert elsewhere.memory_free_bytes == 14 * GIB


def test_a_driver_without_a_budget_is_taken_at_its_size() -> None:
    [device] = devices(ARC | {"heap0": f"{16 * GIB} *"})
    assert (device.memory_free_bytes, device.memory_used_bytes) == (16 * GIB, None)


def test_cards_without_a_number_of_their_own_are_known_by_kind_and_order() -> None:
    zero = ARC | {"deviceUUID": "00000000-0000-0000-0000-000000000000"}
    bare = {name: value for name, value in zero.items() if not name.startswith("pci")}
    assert [device.id for device in devices(bare, bare)] == ["VK-8086:56a0:0", "VK-8086:56a0:1"]
    twins = [ARC, ARC | {"pciBus": "11"}]
    assert [device.id for device in devices(*twins)] == ["VK-8086:56a0:0", "VK-8086:56a0:1"]


def test_one_card_shown_by_two_drivers_is_one_device() -> None:
    second = ARC | {"deviceUUID": "11111111-0800-0000-0300-000000000000", "driverName": "another"}
    [device] = devices(ARC, second)
    assert device.id == "VK-8680a056-0800-0000-0300-000000000000"


def test_a_place_of_zeros_is_no_place() -> None:
    [device] = devices(ARC | {"pciBus": "0"})
    assert device.pci_address is None


def test_a_host_without_the_program_has_nothing_to_say() -> None:
    run = programs(ARC)
    assert VulkanProbe(run=run, find=lambda _name: None).look() == Sighting()
    assert run.asked == []


def test_a_host_without_a_driver_has_no_card() -> None:
    assert look(Programs({"vulkaninfo": NO_DRIVER})) == Sighting()


@pytest.mark.parametrize(
    ("ran", "fault"),
    [
        (None, "vulkaninfo did not start or gave no answer within 4 s"),
        (Ran(-11, vulkan_short(ARC)), "vulkaninfo was killed by signal 11"),
        (Ran(1, "", "ERROR_INITIALIZATION_FAILED"), "vulkaninfo ended with code 1"),
    ],
)
def test_a_hang_or_a_crash_is_a_fault(ran: Ran | None, fault: str) -> None:
    assert look(Programs({"vulkaninfo": ran})) == Sighting(fault=fault)


@pytest.mark.parametrize(
    ("long", "fault"),
    [
        (None, "vulkaninfo did not start or gave no answer within 4 s"),
        ("nothing of use", "vulkaninfo does not tell the card's memory"),
    ],
)
def test_a_card_without_the_long_text_has_no_memory_and_says_why(
    long: str | None, fault: str
) -> None:
    sighting = look(Programs({"--summary": vulkan_short(ARC), "vulkaninfo": long}))
    [device] = sighting.devices
    assert (device.name, device.vendor) == (ARC["deviceName"], "intel")
    assert (device.memory_total_bytes, device.fault) == (0, fault)


def test_an_answer_is_kept_for_half_a_minute_even_a_bad_one() -> None:
    run, clock = Programs({"vulkaninfo": None}), FakeClock()
    probe = VulkanProbe(run=run, find=lambda name: name, clock=clock)
    assert probe.look().fault
    run.answers = programs(ARC).answers
    clock.advance(29)
    assert probe.look().fault
    clock.advance(1)
    assert len(probe.look().devices) == 1
    assert len(probe.look().devices) == 1
    assert len(run.asked) == 3
    probe.close()


def test_text_that_is_cut_off_or_strange_tells_less() -> None:
    text = (
        "\tlost = 1\nGPU0:\n\tvendorID = \n\tdeviceID = 0xzz\n\tmemoryHeaps[0]:\n\t\tsize = many\n"
    )
    card = parse_vulkan(text)[0]
    assert (card.number("vendorID"), card.number("deviceID"), card.memory) == (None, None, None)
    whole = vulkan_long(ARC)
    for end in range(0, len(whole), 7):
        parse_vulkan(whole[:end])


def test_the_program_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path, {"short": vulkan_short(ARC), "long": vulkan_long(ARC)})
    program = tmp_path / "vulkaninfo"
    program.write_text(
        "#!/bin/sh\n"
        "echo 'error: XDG_RUNTIME_DIR is invalid or not set in the environment.' >&2\n"
        f'if [ "$1" = --summary ]; then cat {tmp_path}/short; else cat {tmp_path}/long; fi\n',
        "utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    [device] = VulkanProbe().look().devices
    assert (device.name, device.memory_total_bytes) == (ARC["deviceName"], 16 * GIB)
    program.write_text("#!/bin/sh\nkill -SEGV $$\n", "utf-8")
    assert VulkanProbe().look().fault == "vulkaninfo was killed by signal 11"
