"""What files and programs of a host say, whatever that is: numbers, and every parser of texts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_core.devices.amd import AmdProbe
from pool_core.devices.amd_card import parse_card_names
from pool_core.devices.apple_text import parse_displays, parse_load, parse_uuid
from pool_core.devices.cgroups import parse_groups
from pool_core.devices.cpu import CpuProbe, parse_cpu_times, parse_cpuinfo
from pool_core.devices.host_memory import parse_meminfo
from pool_core.devices.mac_facts import parse_sysctl
from pool_core.devices.tree import whole
from pool_core.devices.vulkan_text import parse_vulkan
from support.device_trees import amd_card
from support.pool_builders import write_tree

ENDLESS = "9" * 5000
LINES = (
    "GPU0:",
    "\tdeviceName = x",
    "\tmemoryHeaps[0]:",
    f"\t\tsize = {ENDLESS}",
    f"cpu {ENDLESS} 1 2 3 4",
    f"MemTotal: {ENDLESS} kB",
    "MemAvailable: -1 kB",
    "flags: avx2",
    "core id: 1",
    "0::/../..",
    "5:memory,cpu:/x",
)
HWMON = "sys/class/drm/card1/device/hwmon/hwmon3"
TEXTS = st.text() | st.lists(st.text(max_size=12) | st.sampled_from(LINES)).map("\n".join)
PARSERS: list[Callable[[str], object]] = [
    parse_card_names,
    parse_cpu_times,
    parse_cpuinfo,
    parse_displays,
    parse_groups,
    parse_load,
    parse_meminfo,
    parse_sysctl,
    parse_uuid,
    parse_vulkan,
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", 12),
        (" 12\n", 12),
        ("0", 0),
        (str(2**64 - 1), 2**64 - 1),
        (str(2**64), None),
        ("-1", None),
        ("", None),
        ("max", None),
        ("1.5", None),
        (ENDLESS, None),
    ],
)
def test_a_number_is_one_that_a_kernel_could_count(text: str, expected: int | None) -> None:
    assert whole(text) == expected


@pytest.mark.parametrize("parse", PARSERS)
@given(text=TEXTS)
def test_no_text_is_too_strange_for_a_parser(parse: Callable[[str], object], text: str) -> None:
    parse(text)


def test_a_nested_text_without_end_is_no_description() -> None:
    assert parse_displays("[" * 100_000).name is None


def test_files_full_of_digits_leave_their_facts_out(tmp_path: Path) -> None:
    names = ("proc/cpuinfo", "proc/meminfo", "proc/stat", "proc/self/cgroup")
    files = dict.fromkeys(names, f"MemTotal: {ENDLESS} kB\ncpu {ENDLESS}\n0::/\n")
    files |= {
        f"sys/fs/cgroup/{name}": f"{ENDLESS}\n" for name in ("cpu.max", "memory.max", "memory.stat")
    }
    (device,) = CpuProbe(write_tree(tmp_path, files), platform="linux").look().devices
    assert (device.memory_total_bytes, device.memory_free_bytes) == (0, 0)


def test_sensors_of_a_card_out_of_its_mind_are_left_out(tmp_path: Path) -> None:
    names = ("temp1_input", "temp2_input", "power1_average", "power1_cap")
    files = amd_card() | {f"{HWMON}/{name}": "9" * 400 for name in names}
    (device,) = AmdProbe(write_tree(tmp_path, files)).look().devices
    assert (device.temperature_c, device.power_w, device.power_limit_w) == (None, None, None)
