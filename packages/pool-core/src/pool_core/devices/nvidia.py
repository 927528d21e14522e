"""The probe for NVIDIA's cards: asks nvml_helper, lets nvml_reading judge, remembers both.

A driver that hangs or is broken is asked less and less often; one that is not there costs nothing
but a look every minute.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from orchestrator_core.clock import Clock, SystemClock
from orchestrator_core.contracts.pool import DeviceReport
from pool_core.devices import nvml_answer, nvml_reading
from pool_core.devices.helper_process import HelperProcess, NoAnswer, backoff_s
from pool_core.devices.host_memory import parse_meminfo
from pool_core.devices.nvml_answer import Answer
from pool_core.devices.nvml_reading import Condition, Host, Reading
from pool_core.devices.port import Sighting
from pool_core.devices.tree import Tree

__all__ = ["HELPER_ARGV", "NvidiaProbe", "has_nvidia_card", "process_exists"]

HELPER_ARGV: Final = (sys.executable, "-I", "-m", "pool_core.devices.nvml_helper")
_PCI: Final = "sys/bus/pci/devices"
_DRIVEN: Final = "sys/bus/pci/drivers/nvidia"
_VENDOR: Final = "0x10de"
_DISPLAY_CLASS: Final = "0x03"
# The pid namespace that the kernel starts with always has this number.
_FIRST_PID_NAMESPACE: Final = "pid:[4026531836]"
_ABSENT_RETRY_S: Final = 60.0
_BROKEN_RETRY_MAX_S: Final = 60.0
_RENEWAL_S: Final = 60.0


class NvidiaProbe:
    """Looks at NVIDIA's cards through one helper process. For one thread at a time.

    An answer may take timeout_s. The first one of a new helper may take first_timeout_s, because
    a driver without persistence mode wakes card by card; meanwhile a look says so and returns.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        clock: Clock | None = None,
        timeout_s: float = 5.0,
        first_timeout_s: float = 30.0,
        argv: Sequence[str] = HELPER_ARGV,
        exists: Callable[[int], bool] | None = None,
    ) -> None:
        self._tree = Tree(root)
        self._clock = clock or SystemClock()
        self._exists = exists or process_exists
        self._helper = HelperProcess(argv, timeout_s=timeout_s, first_timeout_s=first_timeout_s)
        self._last: tuple[DeviceReport, ...] = ()
        self._standing = Sighting()
        self._not_before_s: float | None = None
        self._failures = 0
        self._renew_at_s: float | None = None
        self._driven: frozenset[str] | None = None

    @property
    def helper_pid(self) -> int | None:
        """The process that is asked; None while there is none."""
        return self._helper.pid

    def look(self) -> Sighting:
        """Every card; between two tries of a broken driver the last word stands."""
        self._helper.reap()
        if self._is_due():
            self._standing = self._ask()
        return self._standing

    def close(self) -> None:
        """End the helper."""
        self._helper.close()

    def _is_due(self) -> bool:
        return self._not_before_s is None or self._clock.monotonic_s() >= self._not_before_s

    def _ask(self) -> Sighting:
        self._notice_new_cards()
        answer = self._helper.ask("look")
        if isinstance(answer, NoAnswer):
            if not answer.is_pending:
                self._rest(backoff_s(self._failures + 1))
            return Sighting(fault=f"the NVIDIA driver does not answer: {answer.reason}")
        parsed = nvml_answer.parse(answer)
        if isinstance(parsed, str):
            self._rest(backoff_s(self._failures + 1))
            return Sighting(fault=f"the NVIDIA driver does not answer: {parsed}")
        return self._heed(nvml_reading.read(parsed, self._last, self._host(parsed)))

    def _heed(self, reading: Reading) -> Sighting:
        match reading.condition:
            case Condition.WORKING:
                self._not_before_s, self._failures = None, 0
                self._renew(reading)
            case Condition.BROKEN:
                # A new process loads the library anew: it may have been replaced on the disk.
                self._rest(backoff_s(self._failures + 1, longest_s=_BROKEN_RETRY_MAX_S))
            case Condition.ABSENT:
                self._rest(_ABSENT_RETRY_S)
                self._failures = 0
        if reading.devices or reading.fault is None:
            self._last = reading.devices
        return Sighting(reading.devices, reading.fault)

    def _renew(self, reading: Reading) -> None:
        """A card that was reset is seen only by a library that was initialised after that."""
        if reading.is_whole:
            self._renew_at_s = None
            return
        now_s = self._clock.monotonic_s()
        if self._renew_at_s is not None and now_s >= self._renew_at_s:
            self._helper.stop()
            self._renew_at_s = None
        if self._renew_at_s is None:
            self._renew_at_s = now_s + _RENEWAL_S

    def _notice_new_cards(self) -> None:
        """A card that was plugged in is seen only by a library that was initialised after that."""
        driven = frozenset(self._tree.names(_DRIVEN))
        if self._driven is not None and driven - self._driven:
            self._helper.stop()
        self._driven = driven

    def _rest(self, pause_s: float) -> None:
        self._helper.stop()
        self._failures += 1
        self._not_before_s = self._clock.monotonic_s() + pause_s

    def _host(self, answer: Answer) -> Host:
        total_bytes, free_bytes = parse_meminfo(self._tree.text("proc/meminfo"))
        living = frozenset(filter(self._exists, nvml_answer.mentioned_pids(answer)))
        return Host(
            memory_total_bytes=total_bytes,
            memory_free_bytes=free_bytes,
            has_nvidia_card=has_nvidia_card(self._tree),
            living_pids=living if _sees_all_processes(self._tree) else None,
            driven=self._driven or frozenset(),
        )


def has_nvidia_card(tree: Tree) -> bool:
    """Tell whether a card is plugged in, whatever its driver does."""
    return any(
        tree.text(f"{_PCI}/{device}/vendor") == _VENDOR
        and tree.text(f"{_PCI}/{device}/class").startswith(_DISPLAY_CLASS)
        for device in tree.names(_PCI)
    )


def process_exists(pid: int) -> bool:
    """Tell whether there is such a process, hidden ones of other users included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _sees_all_processes(tree: Tree) -> bool:
    # Inside a container the driver names the host's processes, which look like nobody there.
    with contextlib.suppress(OSError):
        return str(tree.path("proc/self/ns/pid").readlink()) == _FIRST_PID_NAMESPACE
    return True
