"""Asks NVIDIA's library for all it knows about every card, and survives what the library does.

Runs only inside nvml_helper. It sorts errors into three kinds: a fact is not told, a card is
broken, the driver as a whole is. What the answers mean is decided by nvml_reading.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from pool_core.devices.nvml_library import Handle, Nvml, Process

__all__ = ["Driver", "Record"]

T = TypeVar("T")
Record = dict[str, object]

# No machine has more; a driver that says so writes nonsense.
_GPUS_MAX: Final = 64
_MIG_DEVICES_MAX: Final = 16
_PROCESSES_MAX: Final = 512

_UNINITIALIZED: Final = 1
_INVALID_ARGUMENT: Final = 2
_NOT_FOUND: Final = 6
_DRIVER_NOT_LOADED: Final = 9
_FUNCTION_NOT_FOUND: Final = 13
_GPU_IS_LOST: Final = 15
_RESET_REQUIRED: Final = 16
_VERSION_MISMATCH: Final = 25
_UNKNOWN: Final = 999
# These speak about the card or the driver, and not about the one fact that was asked for.
_FATAL: Final = frozenset({_UNINITIALIZED, _DRIVER_NOT_LOADED, _GPU_IS_LOST, _RESET_REQUIRED})


class Driver:
    """The library, initialised once and kept; every card is asked apart from the others."""

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self._is_ready = False
        self._version: str | None = None
        self._lasting: dict[int, Record] = {}

    def look(self) -> Record:
        """Everything that the library tells; an error that concerns all cards stands alone."""
        answer = self._try_look()
        if answer is None:
            # The driver was reloaded beneath us: the library wants to be initialised again.
            answer = self._try_look()
        return answer or {"error": {"code": _UNINITIALIZED, "text": "Uninitialized"}}

    def _try_look(self) -> Record | None:
        nvml = self._nvml
        try:
            self._enter()
            count = min(nvml.nvmlDeviceGetCount(), _GPUS_MAX)
            return {"driver": self._version, "gpus": [self._gpu(index) for index in range(count)]}
        except nvml.NVMLError as error:
            self._leave()
            return None if _code(error) == _UNINITIALIZED else {"error": _described(error)}

    def _enter(self) -> None:
        if not self._is_ready:
            self._nvml.nvmlInit()
            self._is_ready = True
            self._version = self._fact(self._nvml.nvmlSystemGetDriverVersion)

    def _leave(self) -> None:
        if self._is_ready:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
        self._is_ready = False
        self._lasting.clear()

    def _gpu(self, index: int) -> Record:
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            return {
                "index": index,
                **self._lasting_facts(index, handle),
                **self._moving_facts(handle),
                "temperature_c": self._fact(lambda: nvml.nvmlDeviceGetTemperature(handle, 0)),
                "power_mw": self._fact(lambda: nvml.nvmlDeviceGetPowerUsage(handle)),
                "power_limit_mw": self._fact(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle)),
                "parts": self._parts(handle),
            }
        except nvml.NVMLError as error:
            if _code(error) == _UNINITIALIZED:
                raise
            return self._broken(index, _described(error))
        except ValueError as error:
            # An id or a name that is not even text.
            return self._broken(index, {"code": _UNKNOWN, "text": str(error)})

    def _broken(self, index: int, error: Record) -> Record:
        return {"index": index, "uuid": self._lasting.get(index, {}).get("uuid"), "error": error}

    def _lasting_facts(self, index: int, handle: Handle) -> Record:
        """What never changes is asked once; the id tells whether it is still the same card."""
        nvml = self._nvml
        uuid = nvml.nvmlDeviceGetUUID(handle)
        known = self._lasting.get(index)
        if known is None or known["uuid"] != uuid:
            capability = self._fact(lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
            fresh: Record = {
                "uuid": uuid,
                "name": nvml.nvmlDeviceGetName(handle),
                "bus_id": self._fact(lambda: nvml.nvmlDeviceGetPciInfo(handle).busId),
                "capability": None if capability is None else list(capability),
            }
            known = self._lasting[index] = fresh
        return known

    def _moving_facts(self, handle: Handle) -> Record:
        nvml = self._nvml
        return {
            **self._memory(handle),
            "utilization": self._fact(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
            "processes": [
                *self._processes(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle)),
                *self._processes(lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses(handle)),
            ],
        }

    def _parts(self, parent: Handle) -> list[Record] | None:
        """The MIG devices that a card is split into; None when it is whole."""
        nvml = self._nvml
        mode = self._fact(lambda: nvml.nvmlDeviceGetMigMode(parent))
        if not mode or mode[0] != 1:
            return None
        count = self._fact(lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(parent)) or 0
        parts: list[Record] = []
        for index in range(min(count, _MIG_DEVICES_MAX)):
            try:
                handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(parent, index)
            except nvml.NVMLError as error:
                # Places without a part answer with one of these.
                if _code(error) not in (_NOT_FOUND, _INVALID_ARGUMENT):
                    raise
            else:
                uuid, name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
                facts = self._moving_facts(handle)
                parts.append({"index": index, "uuid": uuid, "name": name, **facts})
        return parts

    def _memory(self, handle: Handle) -> Record:
        """The second version keeps apart what the driver reserves; old drivers lack it."""
        nvml = self._nvml
        try:
            memory = nvml.nvmlDeviceGetMemoryInfo(handle, nvml.nvmlMemory_v2)
        except nvml.NVMLError as error:
            if _code(error) not in (_FUNCTION_NOT_FOUND, _VERSION_MISMATCH):
                return _no_memory(error)
            try:
                memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            except nvml.NVMLError as older:
                return _no_memory(older)
        return {"memory": {"total": memory.total, "free": memory.free, "used": memory.used}}

    def _processes(self, ask: Callable[[], Sequence[Process]]) -> list[tuple[int, int | None]]:
        running = self._fact(ask) or ()
        return [(process.pid, process.usedGpuMemory) for process in running[:_PROCESSES_MAX]]

    def _fact(self, ask: Callable[[], T]) -> T | None:
        """One fact that a card may lack; what it says about the card itself is not swallowed."""
        try:
            return ask()
        except self._nvml.NVMLError as error:
            if _code(error) in _FATAL:
                raise
            return None


def _no_memory(error: Exception) -> Record:
    if _code(error) in _FATAL:
        raise error
    return {"memory": None, "memory_error": _described(error)}


def _described(error: Exception) -> Record:
    return {"code": _code(error), "text": str(error)}


def _code(error: Exception) -> int:
    value: object = getattr(error, "value", None)
    return value if isinstance(value, int) else _UNKNOWN
