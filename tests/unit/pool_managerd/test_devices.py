"""The device watch: fresh pictures, and a probe that fails or hangs."""

import asyncio
import threading
from collections.abc import Callable

import pytest
import structlog.testing

from orchestrator_core.contracts.pool import DeviceProcess, DeviceReport
from pool_managerd.runtime.devices import DeviceWatch
from support.pool_fakes import FakeDevices
from support.waiting import until

CPU = FakeDevices().reports()


class Probe:
    """Answers with what it was given last, or raises it."""

    def __init__(self) -> None:
        self.answer: list[DeviceReport] | Exception = CPU
        self.calls = 0

    def __call__(self) -> list[DeviceReport]:
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def watch(
    probe: Callable[[], list[DeviceReport]],
    *,
    deadline_s: float = 10,
    on_change: Callable[[], None] = lambda: None,
) -> DeviceWatch:
    return DeviceWatch(probe, on_change=on_change, every_s=0.01, deadline_s=deadline_s)


async def test_tells_of_a_change_but_not_of_what_moves_all_the_time() -> None:
    changes: list[str] = []
    probe = Probe()
    devices = watch(probe, on_change=lambda: changes.append("now"))
    await devices.refresh()
    assert devices.reports() == CPU
    moving: dict[str, object] = {
        "memory_free_bytes": 1,
        "memory_used_bytes": 7,
        "utilization_percent": 99.0,
        "temperature_c": 70.0,
        "power_w": 300.0,
        "power_limit_w": 115.0,
        "processes": (DeviceProcess(pid=1),),
    }
    probe.answer = [CPU[0].model_copy(update=moving)]
    await devices.refresh()
    assert devices.reports() == probe.answer
    assert changes == ["now"]


@pytest.mark.parametrize(
    "change",
    [{"stale": True}, {"fault": "lost"}, {"driver": "571"}, {"memory_total_bytes": 1}],
    ids=lambda it: next(iter(it)),
)
async def test_what_lasts_is_a_change(change: dict[str, object]) -> None:
    changes: list[str] = []
    probe = Probe()
    devices = watch(probe, on_change=lambda: changes.append("now"))
    await devices.refresh()
    probe.answer = [CPU[0].model_copy(update=change)]
    await devices.refresh()
    assert changes == ["now", "now"]


async def test_a_failing_probe_leaves_the_last_picture_marked_stale() -> None:
    changes: list[str] = []
    probe = Probe()
    devices = watch(probe, on_change=lambda: changes.append("now"))
    await devices.refresh()
    probe.answer = OSError("gone")
    for _ in range(3):
        await devices.refresh()
    stale = {"stale": True, "fault": "OSError: gone"}
    assert devices.reports() == [CPU[0].model_copy(update=stale)]
    assert changes == ["now", "now"]
    probe.answer = CPU
    await devices.refresh()
    assert devices.reports() == CPU
    assert len(changes) == 3


async def test_a_fault_is_logged_once_and_again_when_it_differs() -> None:
    faults = {"nvidia": "the driver hangs"}
    devices = DeviceWatch(list, on_change=lambda: None, faults=lambda: faults)
    with structlog.testing.capture_logs() as logged:
        await devices.refresh()
        await devices.refresh()
        faults = {"nvidia": "the driver is missing"}
        await devices.refresh()
        faults = {}
        await devices.refresh()
    assert [(entry["source"], entry["fault"]) for entry in logged] == [
        ("nvidia", "the driver hangs"),
        ("nvidia", "the driver is missing"),
    ]


async def test_a_hanging_probe_is_not_started_twice_and_does_not_block() -> None:
    free = threading.Event()
    calls: list[int] = []

    def hang() -> list[DeviceReport]:
        calls.append(1)
        free.wait(30)
        return CPU

    devices = watch(hang, deadline_s=0.02)
    await devices.refresh()
    await devices.refresh()
    assert devices.probed.is_set()
    assert len(calls) == 1
    free.set()

    async def answered() -> bool:
        await devices.refresh()
        return devices.reports() == CPU

    await until(answered, what="the probe to come back")


async def test_probes_again_and_again() -> None:
    probe = Probe()
    devices = watch(probe)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(devices.run())
        await until(lambda: probe.calls >= 3, what="three probes")
        running.cancel()


async def test_a_host_without_a_thread_to_spare_keeps_the_last_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError(f"can't start new thread {thread.name}")

    devices = watch(Probe())
    await devices.refresh()
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        await devices.refresh()
    (device,) = devices.reports()
    assert device.stale
    assert "can't start new thread" in (device.fault or "")
    await devices.refresh()
    assert devices.reports() == CPU
