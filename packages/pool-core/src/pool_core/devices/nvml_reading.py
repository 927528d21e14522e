"""Decides what NVIDIA's answers mean: turns them into device reports, without input or output.

A broken card keeps what was last known of it and is called stale, and never hides the others.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator_core.contracts.pool import Backend, DeviceProcess, DeviceReport
from pool_core.devices.nvml_answer import PID_MAX, Answer, RawError, RawGpu, RawMemory

__all__ = ["Condition", "Host", "Reading", "read", "sysfs_address"]

_NOT_SUPPORTED: Final = 3
_NO_PERMISSION: Final = 4
_DRIVER_NOT_LOADED: Final = 9
_LIBRARY_NOT_FOUND: Final = 12
_LIBRARY_MISMATCH: Final = 18
# The card does not come back by itself: lost, reset required, not found any more.
_LOST: Final = frozenset({15, 16, 28})
_TEXT_MAX: Final = 200
_PERCENT_MAX: Final = 100
_CELSIUS_MAX: Final = 200
_MILLIWATTS_MAX: Final = 100_000_000
_MEMORY_MAX_BYTES: Final = 1 << 50
_PROCESSES_MAX: Final = 256

_CARD_WITHOUT_DRIVER: Final = (
    "an NVIDIA card is in this host but its driver is not loaded: "
    "install the driver, or load it with modprobe nvidia"
)
_UNNAMED: Final = "lost: the driver does not name the card any more"
_MISMATCH: Final = (
    "the NVIDIA driver and its library differ in version: reboot, or reload the nvidia module"
)


class Condition(StrEnum):
    """Whether asking the same helper again is worth it."""

    WORKING = "working"
    BROKEN = "broken"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Host:
    """What the system says beside the driver.

    driven are the PCI addresses that belong to the driver. living_pids is None where the driver's
    process ids are not ours, as in a container.
    """

    memory_total_bytes: int
    memory_free_bytes: int
    has_nvidia_card: bool
    living_pids: Collection[int] | None
    driven: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer came to."""

    condition: Condition
    devices: tuple[DeviceReport, ...] = ()
    fault: str | None = None

    @property
    def is_whole(self) -> bool:
        """True when every card could be described."""
        return self.fault is None and not any(device.stale for device in self.devices)


def read(answer: Answer, last: Sequence[DeviceReport], host: Host) -> Reading:
    """Judge an answer in the light of what was seen last."""
    if answer.error is not None:
        return _without_driver(answer.error, host)
    errors = [(gpu, _error_of(gpu)) for gpu in answer.gpus]
    healthy = {gpu.uuid for gpu, error in errors if error is None}
    devices: list[DeviceReport] = []
    faults: list[str] = []
    for gpu, error in errors:
        if error is None:
            devices += _reports(gpu, answer, host)
            continue
        words = _words(error)
        kept = _stale(_card_of(gpu, last, healthy), last, words)
        devices += kept
        if not kept:
            faults.append(f"NVIDIA GPU {gpu.index}: {words}")
    devices += _unnamed(devices, last, host)
    condition = Condition.WORKING if healthy or not (devices or faults) else Condition.BROKEN
    return Reading(condition, tuple(_with_own_index(devices)), "; ".join(faults) or None)


def sysfs_address(bus_id: str | None) -> str | None:
    """Spell a PCI address as /sys does: 00000000:0A:00.0 is 0000:0a:00.0."""
    domain, _, rest = (bus_id or "").partition(":")
    try:
        return f"{int(domain, 16):04x}:{rest.lower()}" if rest else None
    except ValueError:
        return None


def _without_driver(error: RawError, host: Host) -> Reading:
    if error.code == _LIBRARY_NOT_FOUND:
        return Reading(Condition.ABSENT)
    if error.code == _DRIVER_NOT_LOADED:
        if not host.has_nvidia_card:
            return Reading(Condition.ABSENT)
        return Reading(Condition.BROKEN, fault=_CARD_WITHOUT_DRIVER)
    if error.code == _LIBRARY_MISMATCH:
        return Reading(Condition.BROKEN, fault=_MISMATCH)
    return Reading(Condition.BROKEN, fault=f"the NVIDIA driver answers: {_words(error)}")


def _error_of(gpu: RawGpu) -> RawError | None:
    """Why nothing that is told of this card can be relied on."""
    for part in (gpu, *(gpu.parts or ())):
        if part.error is not None:
            return part.error
        if part.memory_error is not None and part.memory_error.code != _NOT_SUPPORTED:
            return part.memory_error
    return None if gpu.uuid else RawError(code=0, text="the card has no id")


def _words(error: RawError) -> str:
    text = " ".join(error.text.split())[:_TEXT_MAX] or f"error {error.code}"
    if error.code in _LOST:
        return f"lost: {text}"
    if error.code == _NO_PERMISSION:
        return f"{text}: this user may not use the card"
    return text


def _card_of(
    gpu: RawGpu, last: Sequence[DeviceReport], healthy: Collection[str | None]
) -> DeviceReport | None:
    """The card as it was seen last; a fresh helper knows a lost one by its index only."""
    for card in last:
        is_it = card.id == gpu.uuid if gpu.uuid else card.index == gpu.index
        if card.parent_id is None and card.id not in healthy and is_it:
            return card
    return None


def _unnamed(
    named: Sequence[DeviceReport], last: Sequence[DeviceReport], host: Host
) -> list[DeviceReport]:
    """Cards that the driver forgot although they are still its own.

    One that was pulled out, or handed to a virtual machine, belongs to the driver no more.
    """
    ids = {device.id for device in named}
    return [
        kept
        for card in last
        if card.parent_id is None and card.id not in ids and card.pci_address in host.driven
        for kept in _stale(card, last, _UNNAMED)
    ]


def _stale(
    card: DeviceReport | None, last: Sequence[DeviceReport], fault: str
) -> list[DeviceReport]:
    """A card as it was, with its parts."""
    if card is None:
        return []
    parts = (device for device in last if device.parent_id == card.id)
    return [it.model_copy(update={"stale": True, "fault": fault}) for it in (card, *parts)]


def _reports(gpu: RawGpu, answer: Answer, host: Host) -> Iterator[DeviceReport]:
    yield _report(gpu, gpu, answer, host)
    for part in gpu.parts or ():
        if part.uuid:
            yield _report(part, gpu, answer, host)


def _report(gpu: RawGpu, card: RawGpu, answer: Answer, host: Host) -> DeviceReport:
    # Some drivers of machines with unified memory answer with zeros instead of an error.
    memory = _credible(gpu.memory) if gpu.memory and gpu.memory.total > 0 else None
    is_part = gpu is not card
    total_bytes = memory.total if memory else host.memory_total_bytes
    return DeviceReport(
        id=gpu.uuid or "",
        index=gpu.index,
        kind="gpu",
        name=gpu.name or "NVIDIA GPU",
        # A card that is split computes only through its parts.
        backends=[Backend.CUDA] if gpu.parts is None else [],
        memory_total_bytes=total_bytes,
        memory_free_bytes=memory.free if memory else host.memory_free_bytes,
        memory_used_bytes=memory.used if memory else None,
        unified_memory=memory is None,
        vendor="nvidia",
        architecture=".".join(map(str, card.capability)) if card.capability else None,
        driver=answer.driver,
        pci_address=None if is_part else sysfs_address(gpu.bus_id),
        parent_id=card.uuid if is_part else None,
        utilization_percent=_within(gpu.utilization, _PERCENT_MAX),
        temperature_c=_within(gpu.temperature_c, _CELSIUS_MAX),
        power_w=_watts(gpu.power_mw),
        power_limit_w=_watts(gpu.power_limit_mw),
        processes=_processes(gpu, total_bytes, host.living_pids),
    )


def _credible(memory: RawMemory) -> RawMemory:
    """The amounts of a card, none larger than the whole."""
    total = min(memory.total, _MEMORY_MAX_BYTES)
    free, used = (min(max(0, amount), total) for amount in (memory.free, memory.used))
    return RawMemory(total=total, free=free, used=used)


def _within(value: int | None, highest: int) -> int | None:
    """A reading that can be true; drivers spell "unknown" as the largest number they have."""
    return value if value is not None and 0 <= value <= highest else None


def _watts(milliwatts: int | None) -> float | None:
    known = _within(milliwatts, _MILLIWATTS_MAX)
    return None if known is None else known / 1000


def _processes(
    gpu: RawGpu, total_bytes: int, living: Collection[int] | None
) -> tuple[DeviceProcess, ...]:
    """One entry per process, though it may both compute and draw; the largest where they are many.

    Some drivers fill a larger record than the library reads, so that amounts turn up as process
    ids: what cannot be true is dropped.
    """
    amounts: dict[int, int | None] = {}
    for pid, amount in gpu.processes:
        if not 0 < pid <= PID_MAX or (living is not None and pid not in living):
            continue
        if amount is not None and not 0 <= amount <= total_bytes:
            continue
        known = amounts.get(pid)
        amounts[pid] = amount if known is None else max(known, amount or 0)
    largest = sorted(amounts, key=lambda pid: (-(amounts[pid] or 0), pid))[:_PROCESSES_MAX]
    return tuple(DeviceProcess(pid=pid, memory_bytes=amounts[pid]) for pid in sorted(largest))


def _with_own_index(devices: Sequence[DeviceReport]) -> Iterator[DeviceReport]:
    """Parts are counted behind all cards, so that an index names one device only."""
    following = max((it.index for it in devices if it.parent_id is None), default=-1) + 1
    for device in devices:
        if device.parent_id is None:
            yield device
        else:
            yield device.model_copy(update={"index": following})
            following += 1
