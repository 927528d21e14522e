"""Keeps the newest picture of the host's devices without ever blocking the loop.

The inventory looks in a daemon thread of its own, one look at a time. Its probes know their
deadlines; should one hang all the same, the last picture stays, marked stale, until it is back.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import structlog

from orchestrator_core.contracts.pool import DeviceReport

__all__ = ["DeviceWatch", "Probe"]

Probe = Callable[[], list[DeviceReport]]

_log: Final = structlog.stdlib.get_logger()


class DeviceWatch:
    """Refreshes the device reports every few seconds.

    The deadline is for probes that broke their own; a slow look is not cut short by it.
    """

    def __init__(
        self,
        probe: Probe,
        *,
        on_change: Callable[[], None],
        faults: Callable[[], Mapping[str, str]] = dict,
        every_s: float = 5.0,
        deadline_s: float = 20.0,
    ) -> None:
        self._probe = probe
        self._on_change = on_change
        self._ask_faults = faults
        self._every_s = every_s
        self._deadline_s = deadline_s
        self._reports: list[DeviceReport] = []
        self._faults: dict[str, str] = {}
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
        try:
            running = self._running = self._running or self._start()
        except RuntimeError as error:
            # A host at its limit of threads has more by the next look.
            self._keep_stale(str(error))
            return
        done, _ = await asyncio.wait({running}, timeout=self._deadline_s)
        if not done:
            self._keep_stale("the probe does not answer")
        else:
            self._running = None
            error = running.exception()
            if error is None:
                self._take(running.result(), self._ask_faults())
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

    def _take(self, reports: list[DeviceReport], faults: Mapping[str, str]) -> None:
        for source, fault in faults.items():
            if self._faults.get(source) != fault:
                _log.warning("devices.fault", source=source, fault=fault)
        self._faults = dict(faults)
        changed = [_facts(it) for it in reports] != [_facts(it) for it in self._reports]
        self._reports = reports
        if changed:
            stale = [device.id for device in reports if device.stale]
            _log.info("devices.changed", devices=[it.id for it in reports], stale=stale)
            self._on_change()

    def _keep_stale(self, reason: str) -> None:
        stale = {"stale": True, "fault": reason}
        self._take([it.model_copy(update=stale) for it in self._reports], {"inventory": reason})


# What moves all the time, and what it is replaced by before two pictures are compared: only what
# a device is counts as a change, and whether its driver still speaks.
_MOVING: Final[dict[str, object]] = {
    "memory_free_bytes": 0,
    "memory_used_bytes": None,
    "utilization_percent": None,
    "temperature_c": None,
    "power_w": None,
    # A laptop shares its power between processor and card anew all the time.
    "power_limit_w": None,
    "processes": (),
}


def _facts(device: DeviceReport) -> DeviceReport:
    return device.model_copy(update=_MOVING)


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
