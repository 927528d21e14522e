"""Decides whether this host can run a worker as it was ordered: pure.

Every no has a documented code and names the field, so that nothing is left for the engine to
abort or hang on.
"""

from collections.abc import Sequence

from orchestrator_core.contracts.pool import Backend, DeviceReport, WorkerSpec
from orchestrator_core.errors import Code, Refusal

__all__ = ["check_spec", "device_index"]


def check_spec(spec: WorkerSpec, devices: Sequence[DeviceReport], cpus: int) -> Refusal | None:
    """Name the first thing that this host cannot do, or None."""
    offering = [device for device in devices if spec.backend in device.backends]
    if not offering:
        return Refusal(
            Code.BACKEND_UNAVAILABLE,
            f"no device of this host offers {spec.backend.value}",
            {"backend": spec.backend.value, "offered": sorted(_backends(devices))},
        )
    if spec.engine != "embedded":
        return Refusal(
            Code.BACKEND_UNAVAILABLE,
            "no llama-server build is installed on this host: use the embedded engine",
            {"engine": spec.engine},
        )
    if spec.backend is not Backend.CPU:
        return Refusal(
            Code.BACKEND_UNAVAILABLE,
            f"the embedded engine runs on cpu, not on {spec.backend.value}",
            {"engine": spec.engine, "backend": spec.backend.value},
        )
    known = {device.id for device in offering}
    strangers = [device for device in spec.device_ids if device not in known]
    if strangers:
        return _invalid(
            "device_ids",
            f"{strangers[0]} is not a {spec.backend.value} device of this host",
        )
    if spec.threads is not None and spec.threads > cpus:
        return _invalid("threads", f"{spec.threads} is more than the {cpus} CPUs of this host")
    if "\0" in spec.model.file or not spec.model.model_id.isprintable():
        return _invalid("model", "holds characters that no name has")
    return None


def device_index(spec: WorkerSpec, devices: Sequence[DeviceReport]) -> int:
    """The index that a worker's name shows: of its first device, else of the first that offers."""
    offering = [device for device in devices if spec.backend in device.backends]
    named = [device for device in offering if device.id in spec.device_ids]
    return next((device.index for device in (*named, *offering)), 0)


def _backends(devices: Sequence[DeviceReport]) -> set[str]:
    return {backend.value for device in devices for backend in device.backends}


def _invalid(field: str, why: str) -> Refusal:
    return Refusal(Code.INVALID_REQUEST, f"spec.{field}: {why}", {"field": f"spec.{field}"})
