"""Reads the facts of this host: each part in a bounded call, so that nothing here hangs or raises.

A dead network mount or a driver that does not answer costs its own part and no other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from orchestrator_core.config.layout import Layout
from orchestrator_core.platforms.port import Platform
from pool_core.devices.bounded_call import BoundedCall, StillPending
from pool_core.doctor import daemon_reading, host_reading
from pool_core.doctor.facts import HostFacts

__all__ = ["Patient", "examine"]

T = TypeVar("T")

_PART_TIMEOUT_S: Final = 10.0
_DEVICES_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Which installation on which host; root is another folder in tests."""

    layout: Layout
    platform: Platform
    env: Mapping[str, str]
    version: str
    root: Path = Path("/")


def examine(patient: Patient, *, timeout_s: float = _PART_TIMEOUT_S) -> HostFacts:
    """Read everything; what fails or takes too long is named in `unread`."""
    unread: dict[str, str] = {}
    layout, root = patient.layout, patient.root

    def part(name: str, read: Callable[[], T], limit_s: float = timeout_s) -> T | None:
        try:
            return BoundedCall(read, limit_s).ask()
        except StillPending:
            unread[name] = f"no answer in {limit_s:g} s"
        except Exception as error:  # noqa: BLE001 - a doctor that falls ill tells the rest.
            unread[name] = f"{type(error).__name__}: {error}"
        return None

    return HostFacts(
        software=part("software", lambda: host_reading.software(layout, patient.env)),
        storage=part(
            "storage",
            lambda: host_reading.storage(
                layout, root, host_reading.models_folder(layout, patient.env)
            ),
        ),
        devices=part("devices", lambda: host_reading.devices(root), _DEVICES_TIMEOUT_S),
        kernel=part("kernel", lambda: host_reading.kernel(root)),
        daemon=part(
            "daemon",
            lambda: daemon_reading.daemon(layout, patient.platform, patient.env, patient.version),
        ),
        service=part("service", lambda: daemon_reading.service(patient.env, root)),
        unread=unread,
    )
