"""The device watch: fresh pictures, and a probe that fails or hangs."""

import asyncio
import threading
from collections.abc import Callable

from orchestrator_core.contracts.pool import DeviceReport
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


async def test_tells_of_a_change_but_not_of_moving_free_memory() -> None:
    changes: list[str] = []
    probe = Probe()
    devices = watch(probe, on_change=lambda: changes.append("now"))
    await devices.refresh()
    assert devices.reports() == CPU
    probe.answer = [CPU[0].model_copy(update={"memory_free_bytes": 1})]
    await devices.refresh()
    assert devices.reports()[0].memory_free_bytes == 1
    assert changes == ["now"]


async def test_a_failing_probe_leaves_the_last_picture_marked_stale() -> None:
    probe = Probe()
    devices = watch(probe)
    await devices.refresh()
    probe.answer = OSError("gone")
    await devices.refresh()
    assert [device.stale for device in devices.reports()] == [True]
    probe.answer = CPU
    await devices.refresh()
    assert devices.reports() == CPU


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
