import sys
from pathlib import Path

import pytest

from orchestrator_core.contracts.pool import Backend, DeviceReport
from pool_core.devices.apple import AppleProbe, usual_limit_bytes
from pool_core.devices.apple_text import AppleGpu, GpuLoad, parse_displays, parse_load, parse_uuid
from pool_core.devices.apple_working_set import working_set_bytes
from pool_core.devices.commands import Ran, run_command
from support.device_trees import (
    GIB,
    IOREG_PLATFORM,
    MAC_SYSCTL,
    SYSTEM_PROFILER,
    Programs,
    ioreg_load,
)

MIB = 1 << 20


def programs(**answers: Ran | str | None) -> Programs:
    usual: dict[str, Ran | str | None] = {
        "apple_working_set": f"{48 * GIB}\n",
        "system_profiler": SYSTEM_PROFILER,
        "IOAccelerator": ioreg_load(23, 5 * GIB),
        "IOPlatformExpertDevice": IOREG_PLATFORM,
    }
    return Programs(usual | answers)


def mac(run: Programs, available: int = 40 * GIB) -> AppleProbe:
    return AppleProbe(platform="darwin", run=run, available_bytes=lambda: available)


def only(probe: AppleProbe) -> DeviceReport:
    sighting = probe.look()
    assert sighting.fault is None
    [device] = sighting.devices
    return device


def sysctl(**changes: str | None) -> str:
    named = {name.replace("__", "."): value for name, value in changes.items()}
    facts = {name: value for name, value in (MAC_SYSCTL | named).items() if value is not None}
    return "".join(f"{name}: {value}\n" for name, value in facts.items())


def test_a_mac_describes_its_gpu() -> None:
    assert only(mac(programs())) == DeviceReport(
        id="APPLE-0A1B2C3D-1111-2222-3333-444455556666",
        index=0,
        kind="gpu",
        name="Apple M2 Max",
        backends=[Backend.METAL],
        memory_total_bytes=48 * GIB,
        memory_free_bytes=40 * GIB,
        memory_used_bytes=5 * GIB,
        unified_memory=True,
        cores=38,
        vendor="apple",
        architecture="metal3",
        utilization_percent=23.0,
    )


def test_elsewhere_nothing_is_asked() -> None:
    run = programs()
    assert AppleProbe(platform="linux", run=run).look().devices == ()
    assert AppleProbe(Path("/another/host"), platform="darwin", run=run).look().devices == ()
    assert run.asked == []


def test_the_limit_of_metal_bounds_what_is_free() -> None:
    assert only(mac(programs(), available=60 * GIB)).memory_free_bytes == 43 * GIB
    assert only(mac(programs(), available=2 * GIB)).memory_free_bytes == 2 * GIB


def test_slow_and_lasting_answers_are_asked_once() -> None:
    run = programs()
    probe = mac(run)
    for _ in range(3):
        only(probe)
    asked = {name: run.times(name) for name in run.answers}
    assert asked == {
        "apple_working_set": 1,
        "system_profiler": 1,
        "IOAccelerator": 3,
        "IOPlatformExpertDevice": 1,
    }


def test_metal_is_asked_again_when_the_operator_moves_the_limit() -> None:
    run = programs()
    probe = mac(run)
    only(probe)
    run.answers |= {
        "sysctl": sysctl(iogpu__wired_limit_mb=str(56 * 1024)),
        "apple_working_set": f"{56 * GIB}\n",
    }
    assert only(probe).memory_total_bytes == 56 * GIB
    assert run.times("apple_working_set") == 2


@pytest.mark.parametrize("answer", [None, Ran(1, ""), "garbage", "0", str(900 * GIB)])
def test_without_metal_the_usual_limit_holds(answer: Ran | str | None) -> None:
    assert only(mac(programs(apple_working_set=answer))).memory_total_bytes == 48 * GIB
    run = programs(apple_working_set=answer, sysctl=sysctl(iogpu__wired_limit_mb="10240"))
    assert only(mac(run)).memory_total_bytes == 10 * GIB


def test_the_usual_limit_depends_on_the_size_of_the_mac() -> None:
    assert usual_limit_bytes(18 * GIB, 0) == 12 * GIB
    assert usual_limit_bytes(128 * GIB, 0) == 96 * GIB
    assert usual_limit_bytes(16 * GIB, 12 * 1024) == 12 * GIB
    assert usual_limit_bytes(16 * GIB, 1 << 30) == 16 * GIB


def test_programs_that_fail_take_their_facts_with_them() -> None:
    run = programs(
        system_profiler=None, IOAccelerator=Ran(-9, "x"), IOPlatformExpertDevice="nothing"
    )
    device = only(mac(run))
    assert (device.id, device.name) == (f"APPLE-Mac14,6-{64 * GIB}", "Apple M2 Max")
    assert (device.cores, device.architecture) == (None, None)
    assert (device.utilization_percent, device.memory_used_bytes) == (None, None)


def test_a_mac_with_another_makers_processor_has_no_device_here() -> None:
    run = programs(sysctl=sysctl(machdep__cpu__brand_string="Imaginary Core i9"))
    assert mac(run).look().devices == ()
    assert mac(run).look().fault is None


def test_an_intel_python_on_this_processor_is_a_fault_with_a_cure() -> None:
    device = only(mac(programs(sysctl=sysctl(sysctl__proc_translated="1"))))
    assert device.backends == []
    assert device.fault is not None
    assert "Rosetta" in device.fault
    assert "arm64" in device.fault


def test_a_mac_that_cannot_say_what_it_is_keeps_its_last_device() -> None:
    assert mac(programs(sysctl=None)).look().fault == "sysctl does not tell which Mac this is"

    def broken() -> int:
        raise OSError("no")

    probe = AppleProbe(platform="darwin", run=programs(), available_bytes=broken)
    assert probe.look().fault == "the system does not tell its memory: no"
    probe.close()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", '{"SPDisplaysDataType": 3}', '{"SPDisplaysDataType": [3, {}, null]}'],
)
def test_garbage_of_the_system_profiler_is_no_gpu(text: str) -> None:
    assert parse_displays(text) == AppleGpu()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "<plist><array><dict><key>a</key></dict></array></plist>",
        "<plist><integer>x</integer></plist>",
        "<plist><string>s</string></plist>",
        ioreg_load(-1, -1),
        "<!DOCTYPE plist [<!ENTITY a 'b'>]><plist><string>&a;</string></plist>",
    ],
)
def test_garbage_of_the_driver_is_no_load(text: str) -> None:
    assert parse_load(text) == GpuLoad()


def test_a_load_never_exceeds_the_whole() -> None:
    assert parse_load(ioreg_load(250, MIB)) == GpuLoad(100.0, MIB)
    assert parse_uuid('"IOPlatformUUID" = "<not one>"') is None


def test_where_there_is_no_metal_the_helper_says_so_by_its_code() -> None:
    assert working_set_bytes("/nothing.dylib", "/nothing") is None
    if sys.platform != "darwin":
        argv = [sys.executable, "-P", "-m", "pool_core.devices.apple_working_set"]
        assert run_command(argv, 30) == Ran(1, "", "")
