"""Keeps the newest picture of the host's devices without ever blocking the loop.

A probe can hang inside a driver. It therefore runs in a daemon thread of its own, one at a
time: past the deadline the last picture stays, marked stale, until the thread comes back.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from orchestrator_core.contracts.pool import DeviceReport

__all__ = ["DeviceWatch", "Probe"]

Probe = Callable[[], list[DeviceReport]]

_log: Final = structlog.stdlib.get_logger()


class DeviceWatch:
    """Refreshes the device reports every few seconds."""

    def __init__(
        self,
        probe: Probe,
        *,
        on_change: Callable[[], None],
        every_s: float = 5.0,
        deadline_s: float = 5.0,
    ) -> None:
        self._probe = probe
        self._on_change = on_change
        self._every_s = every_s
        self._deadline_s = deadline_s
        self._reports: list[DeviceReport] = []
        self._running: asyncio.Future[list[DeviceReport]] | None = None
        self.probed = asyncio.Event()

    def reports(self) -> list[DeviceReport]:
        """The newest picture."""
        return list(self._reports)

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._every_s)

    async def refresh(self) -> None:
        """Take one picture, or mark the last one stale."""
        if self._running is None:
            self._running = self._start()
        done, _ = await asyncio.wait({self._running}, timeout=self._deadline_s)
        if not done:
            self._keep_stale("the probe does not answer")
        else:
            finished, self._running = self._running, None
            error = finished.exception()
            if error is None:
                self._take(finished.result())
            else:
                self._keep_stale(f"{type(error).__name__}: {error}")
        self.probed.set()

    def _start(self) -> asyncio.Future[list[DeviceReport]]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[DeviceReport]] = loop.create_future()
        # An executor's thread would keep the interpreter from exiting while a probe hangs.
        threading.Thread(
            target=_run_probe, args=(self._probe, loop, future), name="probe", daemon=True
        ).start()
        return future

    def _take(self, reports: list[DeviceReport]) -> None:
        changed = [_facts(device) for device in reports] != [
            _facts(device) for device in self._reports
        ]
        self._reports = reports
        if changed:
            _log.info("devices.changed", devices=[device.id for device in reports])
            self._on_change()

    def _keep_stale(self, reason: str) -> None:
        if all(device.stale for device in self._reports) and self.probed.is_set():
            return
        _log.warning("devices.stale", reason=reason)
        self._reports = [device.model_copy(update={"stale": True}) for device in self._reports]
        self._on_change()


def _facts(device: DeviceReport) -> DeviceReport:
    # Free memory moves all the time; only what a device is counts as a change.
    return device.model_copy(update={"memory_free_bytes": 0})


def _run_probe(
    probe: Probe,
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[list[DeviceReport]],
) -> None:
    settle: Callable[[], None]
    try:
        settle = partial(future.set_result, probe())
    except Exception as error:  # noqa: BLE001 - the thread's edge: the waiting loop judges it.
        settle = partial(future.set_exception, error)
    # The loop is closed when the probe hung past the daemon's end; nobody waits any more.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_settle_once, future, settle)


def _settle_once(future: asyncio.Future[list[DeviceReport]], settle: Callable[[], None]) -> None:
    if not future.done():
        settle()
