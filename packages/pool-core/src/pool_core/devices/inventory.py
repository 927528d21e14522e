"""Asks every probe, keeps what a failing one saw last, and merges all into one list of devices."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestrator_core.contracts.pool import DeviceReport
from pool_core.devices.merge import merge
from pool_core.devices.port import Probe, Sighting
from pool_core.devices.registry import PROBES

__all__ = ["Inventory", "keep_seen", "open_inventory"]

_FAREWELL_S: Final = 1.0


def keep_seen(last: tuple[DeviceReport, ...], sighting: Sighting) -> tuple[DeviceReport, ...]:
    """What one probe's devices are after a look: with a fault, unnamed ones stay as stale."""
    if sighting.fault is None:
        return sighting.devices
    named = {device.id for device in sighting.devices}
    fault = {"stale": True, "fault": sighting.fault}
    kept = (device.model_copy(update=fault) for device in last if device.id not in named)
    return (*sighting.devices, *kept)


class Inventory:
    """The devices of this host. Threads may share it: they look one after the other."""

    def __init__(self, probes: Mapping[str, Probe]) -> None:
        self._probes = dict(probes)
        self._seen: dict[str, tuple[DeviceReport, ...]] = {}
        self._faults: dict[str, str] = {}
        self._is_closed = False
        self._lock = threading.Lock()

    def look(self) -> list[DeviceReport]:
        """Every device, GPUs first; blocks as long as all probes together may take."""
        with self._lock:
            if not self._is_closed:
                for name, probe in self._probes.items():
                    self._take(name, _look_at(probe))
            if self._is_closed:
                self._close_probes()
            return merge([self._seen.get(name, ()) for name in self._probes])

    def faults(self) -> dict[str, str]:
        """What was wrong at the last look, by probe; a fault may concern a device unseen yet."""
        return dict(self._faults)

    def close(self) -> None:
        """Close every probe; one that is just looking is closed by its look, not waited for."""
        self._is_closed = True
        if self._lock.acquire(timeout=_FAREWELL_S):
            try:
                self._close_probes()
            finally:
                self._lock.release()

    def _take(self, name: str, sighting: Sighting) -> None:
        self._seen[name] = keep_seen(self._seen.get(name, ()), sighting)
        # Replaced as a whole, so that faults() may be asked meanwhile.
        faults = {known: fault for known, fault in self._faults.items() if known != name}
        self._faults = faults | ({name: sighting.fault} if sighting.fault else {})

    def _close_probes(self) -> None:
        for probe in self._probes.values():
            probe.close()


def _look_at(probe: Probe) -> Sighting:
    try:
        return probe.look()
    except Exception as error:  # noqa: BLE001 - a probe's defect must not hide the other devices.
        return Sighting(fault=f"the probe failed: {type(error).__name__}: {error}")


def open_inventory(root: Path = Path("/")) -> Inventory:
    """The inventory of every registered probe; whoever opens it closes it."""
    return Inventory({name: make(root) for name, make in PROBES.items()})
